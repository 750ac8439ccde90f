import { expect, test } from 'vitest';
import { Log, ROWS_MAX } from '../src/core/log.ts';
import { Reading } from '../src/core/reading.ts';
import { formatted, type LooseRow, type RequestRow, type Row } from '../src/core/rows.ts';

const T = 1_700_000_000_000;

function rowsOf(plugin: string, payload: object, at = T): readonly LooseRow[] {
  const reading = new Reading();
  reading.begin('marks-elsewhere');
  const event = { type: 6, data: { plugin, payload }, timestamp: at };
  return reading.read([JSON.stringify(['w', event])], 'marks-elsewhere').rows;
}

const said = (level: string, ...args: unknown[]) =>
  rowsOf('rrweb/console@1', { level, payload: args.map((arg) => JSON.stringify(arg)), trace: [] });
const entries = (list: object[], at = T) => rowsOf('rrweb/network@1', { requests: list }, at);
const requests = (list: object[], at = T) =>
  entries(list, at).filter(({ kind }) => kind === 'request') as readonly Omit<RequestRow, 'block'>[];
const placed = (rows: readonly LooseRow[]) => rows.map((row) => ({ ...row, block: '/b' })) as Row[];

test('a line of the console is a row with its level and what a console would print', () => {
  expect(said('warn', 'old', { page: 1 }, 7)).toMatchObject([
    { kind: 'console', level: 'warn', text: 'old {"page":1} 7', at: T, window: 'w', line: 0 },
  ]);
  expect(said('assert', 'no')[0]).toMatchObject({ level: 'error' });
  expect(said('trace', 'here')[0]).toMatchObject({ level: 'debug' });
  expect(said('table', [1])[0]).toMatchObject({ level: 'log', text: '[1]' });
  expect(said('log')[0]).toMatchObject({ text: 'log' });
  // What is no JSON text is shown as it came.
  expect(rowsOf('rrweb/console@1', { level: 'log', payload: ['{', 3, null] })[0]).toMatchObject({
    text: '{ 3 null',
  });
  // PostHog's iOS library writes the text alone.
  expect(rowsOf('rrweb/console@1', { level: 'warn', payload: 'low memory' })[0]).toMatchObject({
    text: 'low memory',
  });
  expect(rowsOf('rrweb/console@1', { level: 'log' })).toHaveLength(1);
  expect(rowsOf('rrweb/sequential-id@1', {})).toEqual([]);
});

test('placeholders take the next argument, as in a console', () => {
  expect(formatted(['%cBig%c %s has %d%%', 'color: red', '', 'Ada', 3, 'rest'])).toBe('Big Ada has 3% rest');
  expect(formatted(['100%', 'sure'])).toBe('100% sure');
  expect(formatted(['%s'])).toBe('%s');
});

test('a long line is cut for the list', () => {
  const [row] = said('log', 'x'.repeat(100_000));
  expect(row?.kind === 'console' && row.text.length).toBe(240);
});

test('a request is a row with its own time, its answer and how long it took', () => {
  const timed = {
    timeOrigin: T - 5000,
    timestamp: T - 4000,
    startTime: 1000,
    responseStart: 1030,
    responseEnd: 1080,
  };
  const base = { name: 'https://a.test/api?x=1', entryType: 'resource', initiatorType: 'fetch' };
  expect(requests([{ ...base, ...timed, method: 'post', status: 402, transferSize: 361 }])).toMatchObject([
    {
      kind: 'request',
      at: T - 4000,
      method: 'POST',
      status: 402,
      durationMs: 80,
      waitMs: 30,
      bytes: 361,
      type: 'fetch',
    },
  ]);
  // Without absolute times, what is listed last has just ended.
  const loose = [
    { ...base, startTime: 100, endTime: 150 },
    { ...base, startTime: 400, endTime: 700 },
  ];
  expect(requests(loose).map(({ at, durationMs }) => [at - T, durationMs])).toEqual([
    [-600, 50],
    [-300, 300],
  ]);
  const odd = [
    null,
    3,
    { name: 5 },
    { ...base, entryType: 'paint' },
    { ...base, startTime: 'x', duration: -1 },
  ];
  expect(requests(odd as object[])).toMatchObject([{ durationMs: 0, status: null, method: null, item: 4 }]);
});

test('requests are told apart by what they were for', () => {
  const type = (name: string, initiatorType: string, entryType = 'resource') =>
    requests([{ name, initiatorType, entryType }])[0]?.type;
  expect(type('https://a.test/', 'navigation', 'navigation')).toBe('document');
  expect(type('https://a.test/x', 'xmlhttprequest')).toBe('fetch');
  expect(type('https://a.test/x.css?v=1', 'link')).toBe('style');
  expect(type('https://a.test/x.js', 'link')).toBe('script');
  expect(type('https://a.test/x', 'img')).toBe('image');
  expect(type('https://a.test/font.woff2', 'css')).toBe('other');
});

test('requests of early posthog-js, which wrote numbers for names, are read', () => {
  const early = {
    0: 'resource',
    1: T - 100,
    2: 'https://a.test/x',
    3: 40,
    18: 'fetch',
    21: 500,
    39: 12,
    40: T - 60,
  };
  expect(rowsOf('posthog/network@1', early)).toMatchObject([
    { kind: 'request', at: T - 60, status: 500, durationMs: 12, type: 'fetch' },
  ]);
});

test('a request that was told of several times is one row, the one that says most', () => {
  const base = { name: 'https://a.test/api', entryType: 'resource', initiatorType: 'fetch', timestamp: T };
  const log = new Log();
  log.add(placed(requests([base])));
  log.add(placed(requests([{ ...base, method: 'POST', status: 401 }])));
  log.add(placed(requests([base, { ...base, name: 'https://a.test/other' }])));
  const { requests: rows, errors } = log.sorted;
  expect(rows.map(({ url, method }) => [url, method])).toEqual([
    ['https://a.test/api', 'POST'],
    ['https://a.test/other', null],
  ]);
  expect(errors).toMatchObject([{ kind: 'request', status: 401 }]);
});

test('rows are in order of time in whatever order blocks are read, and errors are joined from all lists', () => {
  const exception = { event: '$exception', timestamp: T + 5, properties: { $exception_message: 'boom' } };
  const reading = new Reading();
  reading.begin('analytics');
  const { rows } = reading.read(
    [JSON.stringify({ event: 'x', timestamp: T }), JSON.stringify(exception)],
    'analytics',
  );
  const log = new Log();
  log.add(placed(rows));
  log.add(placed(rowsOf('rrweb/console@1', { level: 'error', payload: ['"late"'] }, T + 9)));
  log.add(placed(rowsOf('rrweb/console@1', { level: 'log', payload: ['"early"'] }, T)));
  expect(log.sorted.console.map(({ text }) => text)).toEqual(['early', 'late']);
  expect(log.sorted.errors.map(({ kind, at, line }) => [kind, at - T, line])).toEqual([
    ['exception', 5, 1],
    ['console', 9, 0],
  ]);
  log.clear();
  expect(log.sorted).toEqual({ console: [], requests: [], timings: [], errors: [] });
});

test('a page that logs without end fills its list and no more', () => {
  const [row] = placed(said('log', 'again'));
  const log = new Log();
  if (row !== undefined) for (let i = 0; i < ROWS_MAX + 3; i += 1) log.add([row]);
  expect(log.sorted.console.length).toBe(ROWS_MAX);
  expect(log.leftOut).toBe(3);
});

const timings = (list: object[]) => entries(list).filter(({ kind }) => kind === 'timing');

test('the load of a page is a row with its steps, besides the request that it is', () => {
  const entry = {
    name: 'https://a.test/',
    entryType: 'navigation',
    timestamp: T - 4000,
    startTime: 0,
    responseStart: 120.4,
    domContentLoadedEventEnd: 870,
    loadEventEnd: 0,
    domComplete: 1700,
    duration: 328,
  };
  expect(entries([entry]).map(({ kind }) => kind)).toEqual(['timing', 'request']);
  expect(timings([entry])[0]).toMatchObject({
    name: 'Load',
    at: T - 4000,
    value: 1700,
    text: 'https://a.test/',
    grade: null,
    steps: { answered: 120.4, ready: 870, loaded: 1700 },
  });
  // A page that is left before it has loaded has a row with what was known.
  expect(timings([{ name: 'https://a.test/', entryType: 'navigation', responseStart: 50 }])[0]).toMatchObject(
    {
      value: 50,
      steps: { answered: 50, ready: null, loaded: null },
    },
  );
});

test('tasks that held the page up and first paints are rows where they were recorded', () => {
  const told = [
    { name: 'self', entryType: 'longtask', startTime: 5, duration: 340, timestamp: T },
    { name: 'first-contentful-paint', entryType: 'paint', startTime: 1900, timestamp: T },
    { name: 'first-paint', entryType: 'paint', startTime: 5, timestamp: T },
  ];
  expect(timings(told)).toMatchObject([
    { name: 'Task', value: 340, grade: null },
    { name: 'FCP', value: 1900, grade: 'fair' },
  ]);
});

test('web vitals are rows, each when it was known, with their grade and element', () => {
  const reading = new Reading();
  reading.begin('analytics');
  const properties = {
    $web_vitals_LCP_value: 4100,
    $web_vitals_LCP_event: { value: 4100, timestamp: T + 5, attribution: { target: 'main > h1' } },
    $web_vitals_INP_value: 80,
    $web_vitals_INP_event: { attribution: { interactionTarget: '#pay' } },
    $web_vitals_CLS_event: { value: 0.2, timestamp: 'x' },
    $web_vitals_FCP_value: 'fast',
  };
  const { rows } = reading.read(
    [JSON.stringify({ event: '$web_vitals', timestamp: T + 9, properties })],
    'analytics',
  );
  expect(rows).toMatchObject([
    { kind: 'timing', name: 'LCP', value: 4100, at: T + 5, grade: 'poor', text: 'main > h1' },
    { kind: 'timing', name: 'INP', value: 80, at: T + 9, grade: 'good', text: '#pay' },
    { kind: 'timing', name: 'CLS', value: 0.2, at: T + 9, grade: 'fair', text: '' },
  ]);
});

test('a click that the page answers late is a row; one that other doings follow, or that is never answered, is none', () => {
  const line = (ms: number, data: object, type = 3) =>
    JSON.stringify(['w', { type, data, timestamp: T + ms }]);
  const click = (ms: number) => line(ms, { source: 2, type: 2, id: 1, x: 3, y: 4 });
  const change = (ms: number) =>
    line(ms, { source: 0, adds: [], removes: [], texts: [], attributes: [{ id: 1 }] });
  const waits = (...lines: string[]) => {
    const reading = new Reading();
    reading.begin('marks-elsewhere');
    return reading
      .read(lines, 'marks-elsewhere')
      .rows.map((row) => (row.kind === 'timing' ? [row.at - T, row.value] : []));
  };
  expect(waits(click(0), change(3200), change(9000))).toEqual([[0, 3200]]);
  expect(waits(click(0), change(999))).toEqual([]);
  expect(waits(click(0), click(3000), change(4500))).toEqual([[3000, 1500]]);
  expect(waits(click(0), line(500, { source: 5, id: 2, text: 'a' }), change(4500))).toEqual([]);
  expect(waits(click(0), line(900, { href: 'x' }, 4), change(4500))).toEqual([]);
  expect(waits(click(0), change(60_000))).toEqual([]);
});

test('a timing that is told again is one row, with the most that was known of it', () => {
  const log = new Log();
  const row = {
    kind: 'timing',
    name: 'Load',
    at: T,
    window: 'w',
    text: 'a',
    block: '/b',
    line: 1,
    item: 0,
    grade: null,
    steps: null,
  };
  log.add([
    { ...row, value: 50 },
    { ...row, value: 900 },
    { ...row, value: 900, at: T + 1 },
  ] as Row[]);
  expect(log.sorted.timings.map(({ value }) => value)).toEqual([900, 900]);
  expect(log.sorted.errors).toEqual([]);
});
