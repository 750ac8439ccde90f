import { expect, test } from 'vitest';
import { Clock, skipPlan } from '../src/core/clock.ts';

function clockAt() {
  const time = { now: 1000 };
  return { time, clock: new Clock(() => time.now) };
}

test('the clock stands until it runs, and stands again when held', () => {
  const { time, clock } = clockAt();
  clock.seek(500);
  time.now += 100;
  expect(clock.at).toBe(500);
  clock.run();
  time.now += 100;
  expect(clock.at).toBe(600);
  clock.hold();
  time.now += 100;
  expect(clock.at).toBe(600);
});

test('a change of speed does not move the position', () => {
  const { time, clock } = clockAt();
  clock.run();
  time.now += 1000;
  clock.setRate(4);
  expect(clock.at).toBe(1000);
  time.now += 100;
  expect(clock.at).toBe(1400);
  clock.setRate(0.5);
  time.now += 100;
  expect(clock.at).toBe(1450);
});

test('an idle minute is run through, an idle day is jumped', () => {
  expect(skipPlan(60_000, 1)).toEqual({ kind: 'run', rate: 40 });
  expect(skipPlan(12_000, 16)).toEqual({ kind: 'run', rate: 16 });
  expect(skipPlan(86_400_000, 1)).toEqual({ kind: 'jump' });
});
