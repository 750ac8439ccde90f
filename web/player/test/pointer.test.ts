import { expect, test } from 'vitest';
import { splitMoves } from '../src/core/pointer.ts';
import type { EventRecord } from '../src/core/record.ts';

const batch = (positions: unknown) =>
  splitMoves({
    window: 'w1',
    at: 1000,
    json: JSON.stringify({ type: 3, timestamp: 1000, data: { source: 1, positions } }),
  } as EventRecord);

test('each position of a batch has its own time', () => {
  expect(batch([{ x: 1, y: 2, id: 3, timeOffset: -400 }]).map(({ at }) => at)).toEqual([600]);
});

test('what is no position costs itself only', () => {
  expect(batch([null, 7, 'x', { x: 1, y: 2, id: 3 }])).toHaveLength(1);
  expect(batch('x')).toEqual([]);
});
