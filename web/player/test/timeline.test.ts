import { expect, test } from 'vitest';
import { LineSplitter } from '../src/core/lines.ts';
import { splitMoves } from '../src/core/pointer.ts';
import { type Piece, type Purpose, Reading } from '../src/core/reading.ts';
import { readHead, readRecord } from '../src/core/record.ts';
import { mergeSpans, Timeline } from '../src/core/timeline.ts';

const T = 1_700_000_000_000;

const line = (ms: number, type: number, data: object, window = 'w') =>
  JSON.stringify([window, { type, data, timestamp: T + ms }]);
const click = (ms: number, window = 'w', id = 1) =>
  line(ms, 3, { source: 2, type: 2, id, x: 3, y: 4 }, window);
const input = (ms: number, text: string, id = 1) => line(ms, 3, { source: 5, text, isChecked: false, id });

/** What lines turn into, each block's lines read after those of the block before. */
function read(lines: string[], purpose: Purpose = 'marks', reading = new Reading()): Piece {
  reading.begin(purpose);
  return reading.read(lines, purpose);
}
const labels = (piece: Piece) => piece.marks.map(({ label }) => label);

test('a line is a window and an event, kept as it came', () => {
  const json = '{"type":4,"data":{"href":"http://a.test/"},"timestamp":1700000000000.5,"x":"\\ud83d"}';
  const text = `["w\\"1]",${json}]`;
  expect(readRecord(text)).toMatchObject({ window: 'w"1]', at: T + 0.5, type: 4, json });
  expect(read([text]).marks).toMatchObject([{ kind: 'page', label: 'http://a.test/' }]);
});

test('the usual form of an event is read without parsing it, and means the same', () => {
  const usual = line(7, 3, { source: 2, texts: [] });
  const head = readHead(usual);
  expect(head).toEqual({ window: 'w', at: T + 7, type: 3, source: 2, jsonStart: 5 });
  for (const event of [
    { timestamp: T + 7, type: 3, data: { source: 2 } },
    { type: 3, timestamp: T + 7, data: { texts: [], source: 2 }, delay: 3 },
    { type: 3, data: { text: ',"timestamp":1}]', source: 2 }, timestamp: T + 7 },
  ]) {
    expect(readHead(JSON.stringify(['w', event]))).toEqual(head);
  }
});

test('what plugins wrote is not held for the replay, and is no damage', () => {
  const lines = [click(1), line(2, 6, { plugin: 'rrweb/console@1', payload: {} }), line(3, 4, { href: '' })];
  const { records, damaged } = read(lines, 'records');
  expect([records.map(({ type }) => type), damaged]).toEqual([[3, 4], 0]);
});

test('what is not a line costs only itself', () => {
  const texts = ['{}', '["w"]', '["w",{]', '["w",3]', '["w",{"type":"x","timestamp":1}]', '[1,{}]', '["w'];
  for (const text of texts) expect(readRecord(text)).toBeNull();
  expect(read([...texts, click(1)])).toMatchObject({ damaged: texts.length, marks: [{ kind: 'click' }] });
});

test('a click says what it hit, by the control around it', () => {
  const node = (id: number, tagName: string, attributes: object, childNodes: object[] = []) => ({
    type: 2,
    id,
    tagName,
    attributes,
    childNodes,
  });
  const words = (id: number, textContent: string) => ({ type: 3, id, textContent });
  const button = node(2, 'button', {}, [node(3, 'span', {}, [words(4, ' Add to  cart ')])]);
  const field = node(5, 'input', { placeholder: 'Search' });
  const snapshot = line(0, 2, { node: node(1, 'body', {}, [button, field]) });
  const link = { parentId: 1, nextId: null, node: node(6, 'a', { href: '#' }) };
  const adds = [link, { parentId: 6, nextId: null, node: words(7, 'Sign in') }];
  const mutation = line(50, 3, { source: 0, texts: [], attributes: [], removes: [], adds });
  const reading = new Reading();
  expect(
    labels(read([snapshot, click(10, 'w', 3), input(20, 'chair', 5)], 'marks-elsewhere', reading)),
  ).toEqual(['Click on button “Add to cart”', 'chair in input “Search”']);
  expect(labels(read([mutation, click(60, 'w', 6)], 'marks', reading))).toEqual(['Click on a “Sign in”']);
  // Elsewhere in the recording the same number is another node.
  expect(labels(read([click(70, 'w', 6)], 'marks-elsewhere', reading))).toEqual(['Click at 3, 4']);
});

test('analytics events are marks, and what the SDK sends by itself is told apart', () => {
  const event = (name: string, properties: object = {}) =>
    JSON.stringify({
      kind: 'event',
      event: name,
      timestamp: T,
      distinct_id: 'ada',
      window_id: 'w',
      properties,
    });
  const exception = { $exception_list: [{ type: 'TypeError', value: 'x is undefined' }] };
  const lines = [event('order_completed'), event('$rageclick', { $el_text: 'Buy' }), event('$identify')];
  const piece = read([...lines, event('$exception', exception), event('$web_vitals'), '{'], 'analytics');
  expect(piece.marks.map(({ kind, label }) => [kind, label])).toEqual([
    ['event', 'order_completed'],
    ['event', 'Rage click: Buy'],
    ['event', 'Identified as ada'],
    ['error', 'TypeError: x is undefined'],
    ['system', '$web_vitals'],
  ]);
  expect(piece.damaged).toBe(1);
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
  timeline.add(read([click(1000), click(2000), click(30_000), click(35_000)]));
  expect(timeline.idle()).toEqual([]);
  timeline.markRead({ from: T, to: T + 40_000 });
  expect(timeline.idle()).toEqual([{ from: T + 2000, to: T + 30_000 }]);
  timeline.markRead({ from: T + 40_000, to: T + 60_000 });
  expect(timeline.idle().at(-1)).toEqual({ from: T + 35_000, to: T + 60_000 });
});

test('marks are in order of time, and a typed word is one mark', () => {
  const timeline = new Timeline(T, T + 10_000);
  timeline.add(read([input(5000, 'c'), input(6400, 'ca'), input(7800, 'cat'), input(8000, 'dog', 2)]));
  timeline.add(read([click(1000)]));
  expect(timeline.marks.map(({ at, label }) => [at - T, label])).toEqual([
    [1000, 'Click at 3, 4'],
    [5000, 'cat'],
    [8000, 'dog'],
  ]);
});

/** A click at a place, or a double click. */
const clickAt = (ms: number, x: number, y: number, type = 2, window = 'w') =>
  line(ms, 3, { source: 2, type, id: 1, x, y }, window);
const kinds = (timeline: Timeline) => timeline.marks.map(({ kind, at, label }) => [kind, at - T, label]);

test('three clicks on one spot, each within a second of the one before, are rage', () => {
  const timeline = new Timeline(T, T + 20_000);
  timeline.add(
    read([clickAt(0, 50, 50), clickAt(1000, 60, 60), clickAt(2000, 50, 50), clickAt(3001, 50, 50)]),
  );
  timeline.add(read([clickAt(9000, 1, 1), clickAt(9100, 1, 1)]));
  expect(kinds(timeline)).toEqual([
    ['rage', 0, 'Rage click at 50, 50, 3 times'],
    ['click', 3001, 'Click at 50, 50'],
    ['click', 9000, 'Click at 1, 1'],
    ['click', 9100, 'Click at 1, 1'],
  ]);
});

test('double clicks are counted as the clicks that they consist of, and clicks elsewhere are not', () => {
  const timeline = new Timeline(T, T + 20_000);
  const twice = [clickAt(0, 5, 5), clickAt(100, 5, 5), clickAt(101, 5, 5, 4)];
  timeline.add(read(twice));
  expect(kinds(timeline).map(([kind]) => kind)).toEqual(['click', 'click', 'click']);
  timeline.add(read([clickAt(200, 5, 5), clickAt(210, 5, 5, 2, 'other'), clickAt(300, 25, 15)]));
  expect(kinds(timeline)).toEqual([
    ['rage', 0, 'Rage click at 5, 5, 3 times'],
    ['click', 210, 'Click at 5, 5'],
    ['click', 300, 'Click at 25, 15'],
  ]);
});

/** PostHog's own event of clicks in anger, as the block of analytics events has it. */
const sent = (ms: number, words?: string, window = 'w') =>
  read(
    [
      JSON.stringify({
        kind: 'event',
        event: '$rageclick',
        timestamp: T + ms,
        window_id: window,
        properties: { $el_text: words },
      }),
    ],
    'analytics',
  );
const rage = [clickAt(5000, 50, 50), clickAt(5300, 50, 50), clickAt(5600, 50, 50)];

test('what PostHog sent of clicks in anger is one mark with them, and is what that leads to', () => {
  const [before, after] = [4000, 6600];
  for (const ms of [before, 5602, after]) {
    const timeline = new Timeline(T, T + 20_000);
    timeline.add(read([clickAt(1, 900, 900), ...rage]));
    timeline.add(sent(ms));
    expect(kinds(timeline)).toEqual([
      ['click', 1, 'Click at 900, 900'],
      ['rage', 5000, 'Rage click at 50, 50, 3 times'],
    ]);
    expect(timeline.marks[1]).toMatchObject({ isSent: true, line: 0 });
  }
  for (const ms of [before - 1, after + 1]) {
    const timeline = new Timeline(T, T + 20_000);
    timeline.add(read(rage));
    timeline.add(sent(ms));
    expect(kinds(timeline).map(([kind]) => kind)).toEqual(ms < 5000 ? ['event', 'rage'] : ['rage', 'event']);
  }
});

test('what PostHog sent of other clicks stays a mark of its own', () => {
  const button = { type: 2, id: 1, tagName: 'button', attributes: {} };
  const page = line(0, 2, { node: { ...button, childNodes: [{ type: 3, id: 2, textContent: 'Pay now' }] } });
  const told = (...events: Piece[]) => {
    const timeline = new Timeline(T, T + 20_000);
    timeline.add(read([page, ...rage]));
    for (const event of events) timeline.add(event);
    return kinds(timeline).map(([, , label]) => label);
  };
  const ours = 'Rage click on button “Pay now”, 3 times';
  expect(told(sent(5601, ' pay\nNow'))).toEqual([ours]);
  expect(told(sent(5601, 'Pay'))).toEqual([ours]);
  expect(told(sent(5601, '*** ***'))).toEqual([ours]);
  expect(told(sent(5601, 'Help'))).toEqual([ours, 'Rage click: Help']);
  expect(told(sent(5601, 'Pay', 'other'))).toEqual([ours, 'Rage click: Pay']);
  expect(told(sent(5601, 'Pay'), sent(5602, 'Pay'))).toEqual([ours, 'Rage click: Pay']);
});

test('fingers on the screen of an app rage as well', () => {
  const touch = (ms: number, type: number) => line(ms, 3, { source: 2, type, id: 1, x: 5, y: 5 });
  const timeline = new Timeline(T, T + 9_000);
  const taps = [0, 300, 600, 900].flatMap((ms) => [touch(1000 + ms, 7), touch(1050 + ms, 9)]);
  timeline.add(read([line(0, 2, { wireframes: [], initialOffset: { top: 0, left: 0 } }), ...taps]));
  expect(kinds(timeline)).toEqual([['rage', 1000, 'Rage tap at 5, 5, 4 times']]);
});

test('going on in another window is told, at the first thing that was done there', () => {
  const timeline = new Timeline(T, T + 10_000);
  timeline.add(read([click(1000, 'a'), click(1200, 'b'), click(1500, 'b'), click(4000, 'b')]));
  timeline.add(read([click(5000, 'b'), click(5100, 'a'), click(5900, 'a'), click(6000, 'a')]));
  expect(timeline.switches().map(({ at, label }) => [at - T, label])).toEqual([[5100, 'a']]);
  timeline.add(read([click(500, 'a')]));
  expect(timeline.switches().map(({ at, label }) => [at - T, label])).toEqual([
    [1200, 'b'],
    [5100, 'a'],
  ]);
});

test('a part of the recording has the activity of that part', () => {
  const timeline = new Timeline(T, T + 240_000);
  timeline.add(read([click(1000), click(100_000), click(101_000), click(200_000)]));
  expect(timeline.activity().filter((value) => value > 0)).toHaveLength(4);
  const part = timeline.activity({ from: T + 100_000, to: T + 102_000 });
  expect([part.length, part[0], part[120], part.filter((value) => value > 0).length]).toEqual([240, 1, 1, 2]);
});

test('the window to show is where somebody last acted', () => {
  const timeline = new Timeline(T, T + 10_000);
  timeline.add(read([click(1000, 'a'), click(4000, 'b')]));
  expect(timeline.lastMoment(T + 500)).toBeNull();
  expect(timeline.lastMoment(T + 3000)?.window).toBe('a');
  expect(timeline.lastMoment(T + 9000)?.window).toBe('b');
  expect(timeline.lastMoment(T + 900_000)?.window).toBe('b');
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
  const record = readRecord(line(1000, 3, { source: 1, positions }));
  const moves = record === null ? [] : splitMoves(record);
  expect(moves.map(({ at }) => at - T)).toEqual([600, 1000]);
});

test('on the screen of an app a touch is a tap on what is written there, or a swipe', () => {
  const text = (id: number, words: string, y: number) => ({
    id,
    type: 'text',
    text: words,
    x: 10,
    y,
    width: 80,
    height: 20,
  });
  const row = { id: 2, x: 0, y: 100, width: 390, height: 64, childWireframes: [text(3, 'Lens', 120)] };
  const screen = { id: 1, x: 0, y: 0, width: 390, height: 844, text: 'too large', childWireframes: [row] };
  const touch = (ms: number, type: number, x: number, y: number) =>
    line(ms, 3, { source: 2, type, id: 0, x, y });
  const tap = (ms: number, x: number, y: number) => [touch(ms, 7, x, y), touch(ms + 50, 9, x, y)];
  const views = (ms: number, ...wireframes: object[]) => line(ms, 2, { wireframes });
  const change = (ms: number, data: object) => line(ms, 3, { source: 0, ...data });
  const piece = read([
    line(0, 4, { href: 'List', width: 390, height: 844 }),
    views(1, screen),
    ...tap(10, 300, 110),
    change(100, { adds: [{ parentId: 1, wireframe: text(4, 'Sold out', 300) }] }),
    ...tap(200, 20, 310),
    change(300, { removes: [{ parentId: 1, id: 2 }], updates: [{ wireframe: text(4, 'Back', 300) }] }),
    ...tap(400, 20, 310),
    ...tap(500, 20, 125),
    touch(600, 7, 200, 700),
    touch(900, 9, 190, 300),
    line(1000, 4, { href: 'List', width: 390, height: 844 }),
    views(1001, { ...screen, childWireframes: [] }),
    touch(1100, 9, 1, 1),
    line(1200, 5, { tag: 'keyboard', payload: { open: true, height: 300 } }),
    line(1300, 4, { href: 'Cart', width: 390, height: 844 }),
  ]);
  expect(labels(piece)).toEqual([
    'List',
    'Tap on “Lens”',
    'Tap on “Sold out”',
    'Tap on “Back”',
    'Tap at 20, 125',
    'Swipe up',
    'Keyboard shown',
    'Cart',
  ]);
  expect(piece.marks[5]).toMatchObject({ kind: 'click', at: T + 600 });
  expect(piece.marks[6]).toMatchObject({ kind: 'system' });
});
