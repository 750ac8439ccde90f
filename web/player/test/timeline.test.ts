import { expect, test } from 'vitest';
import { LineSplitter } from '../src/core/lines.ts';
import { splitMoves } from '../src/core/pointer.ts';
import { type ParsedLine, parseLine } from '../src/core/record.ts';
import { mergeSpans, Timeline } from '../src/core/timeline.ts';

const T = 1_700_000_000_000;

function line(ms: number, type: number, data: object, window = 'w'): ParsedLine {
  const parsed = parseLine(JSON.stringify([window, { type, data, timestamp: T + ms }]));
  if (parsed === null) throw new Error('not a line');
  return parsed;
}
const click = (ms: number, window = 'w') => line(ms, 3, { source: 2, type: 2, id: 1, x: 3, y: 4 }, window);
const input = (ms: number, text: string) => line(ms, 3, { source: 5, id: 1, text, isChecked: false });

test('a line is a window and an event, kept as it came', () => {
  const json = '{"type":4,"data":{"href":"http://a.test/"},"timestamp":1700000000000.5,"x":"\\ud83d"}';
  const parsed = parseLine(`["w\\"1]",${json}]`);
  expect(parsed?.record).toMatchObject({ window: 'w"1]', at: T + 0.5, type: 4, json });
  expect(parsed?.mark).toMatchObject({ kind: 'page', label: 'http://a.test/' });
});

test('what is not a line costs only itself', () => {
  for (const text of [
    '',
    '{}',
    '["w"]',
    '["w",{]',
    '["w",3]',
    '["w",{"type":"x","timestamp":1}]',
    '[1,{}]',
    '["w',
  ]) {
    expect(parseLine(text)).toBeNull();
  }
});

test('lines come out whole however the bytes are cut', () => {
  const bytes = new TextEncoder().encode('aé\nb😀b\n\nlast');
  for (let size = 1; size <= bytes.length; size++) {
    const splitter = new LineSplitter();
    const lines: string[] = [];
    for (let i = 0; i < bytes.length; i += size) lines.push(...splitter.push(bytes.slice(i, i + size)));
    lines.push(...splitter.finish());
    expect(lines).toEqual(['aé', 'b😀b', 'last']);
  }
});

test('idle stretches need ten seconds and need to have been read', () => {
  const timeline = new Timeline(T, T + 60_000);
  timeline.add([click(1000), click(2000), click(30_000), click(35_000)]);
  expect(timeline.idle()).toEqual([]);
  timeline.markRead({ from: T, to: T + 40_000 });
  expect(timeline.idle()).toEqual([{ from: T + 2000, to: T + 30_000 }]);
  timeline.markRead({ from: T + 40_000, to: T + 60_000 });
  expect(timeline.idle().at(-1)).toEqual({ from: T + 35_000, to: T + 60_000 });
});

test('marks are in order of time, and a typed word is one mark', () => {
  const timeline = new Timeline(T, T + 10_000);
  timeline.add([input(5000, 'c'), input(5100, 'ca'), input(5200, 'cat')]);
  timeline.add([click(1000)]);
  expect(timeline.marks.map(({ at, label }) => [at - T, label])).toEqual([
    [1000, 'Click at 3, 4'],
    [5000, 'cat'],
  ]);
});

test('the window to show is where somebody last acted', () => {
  const timeline = new Timeline(T, T + 10_000);
  timeline.add([click(1000, 'a'), click(4000, 'b')]);
  expect(timeline.windowAt(T + 500)).toBeNull();
  expect(timeline.windowAt(T + 3000)).toBe('a');
  expect(timeline.windowAt(T + 9000)).toBe('b');
});

test('stretches that touch are joined', () => {
  expect(
    mergeSpans([
      { from: 5, to: 9 },
      { from: 0, to: 2 },
      { from: 2, to: 4 },
    ]),
  ).toEqual([
    { from: 0, to: 4 },
    { from: 5, to: 9 },
  ]);
});

test('pointer positions get their own times', () => {
  const positions = [
    { x: 1, y: 2, id: 3, timeOffset: -400 },
    { x: 5, y: 6, id: 3, timeOffset: 0 },
  ];
  const moves = splitMoves(line(1000, 3, { source: 1, positions }).record);
  expect(moves.map(({ at }) => at - T)).toEqual([600, 1000]);
});
