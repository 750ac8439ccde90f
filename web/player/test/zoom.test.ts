import { expect, test } from 'vitest';
import { following, moved, zoomed } from '../src/view/zoom.ts';

const HOUR = 3_600_000;

test('what the pointer is over stays in its place', () => {
  const half = zoomed(null, 0.5, 900_000, HOUR);
  expect(half).toEqual({ from: 450_000, to: 2_250_000 });
  expect(zoomed(half, 0.5, 900_000, HOUR)).toEqual({ from: 675_000, to: 1_575_000 });
});

test('a stretch lies within the recording, and one as long is all of it', () => {
  const end = zoomed(null, 0.1, HOUR, HOUR);
  expect(end).toEqual({ from: HOUR * 0.9, to: HOUR });
  expect(zoomed(end, 5, HOUR * 0.95, HOUR)).toEqual({ from: HOUR / 2, to: HOUR });
  expect(zoomed(end, 10, HOUR, HOUR)).toBeNull();
  expect(zoomed(end, 1_000, 0, HOUR)).toBeNull();
});

test('there is a shortest stretch, and a recording as short is not stretched at all', () => {
  expect(zoomed(null, 1e-9, 5_000, HOUR)).toEqual({
    from: 5_000 - (2_000 * 5_000) / HOUR,
    to: expect.any(Number),
  });
  expect(zoomed(null, 0.5, 500, 2_000)).toBeNull();
  expect(zoomed(null, 0.5, 0, 0)).toBeNull();
});

test('it moves as far as there is a recording', () => {
  expect(moved({ from: 1_000, to: 11_000 }, 500, HOUR)).toEqual({ from: 1_500, to: 11_500 });
  expect(moved({ from: 1_000, to: 11_000 }, -5_000, HOUR)).toEqual({ from: 0, to: 10_000 });
  expect(moved({ from: 1_000, to: 11_000 }, 2 * HOUR, HOUR)).toEqual({ from: HOUR - 10_000, to: HOUR });
});

test('a position that leaves the stretch takes it along, and one that was out of sight only where it jumps', () => {
  const shown = { from: 10_000, to: 20_000 };
  expect(following(shown, 15_000, 15_016, HOUR)).toBe(shown);
  expect(following(shown, 20_000, 20_016, HOUR)).toEqual({ from: 19_016, to: 29_016 });
  expect(following(shown, 50_000, 50_016, HOUR)).toBe(shown);
  expect(following(shown, 50_000, 90_000, HOUR)).toEqual({ from: 89_000, to: 99_000 });
});
