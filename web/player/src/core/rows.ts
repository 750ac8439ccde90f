import { asObject, type Json, type LineHead } from './record.ts';
import { readEntry } from './timing.ts';

/**
 * The rows of the inspector. A row holds what a list shows and where it came from; all else is fetched again when
 * somebody opens it, so that a hundred thousand of them cost little. Texts are from a recording: show them as text only.
 */
export type Row = ConsoleRow | RequestRow | ExceptionRow | TimingRow;

/** Where something stands in a recording, which is enough to fetch all of it. */
export type Place = {
  /** Address of the block. */
  readonly block: string;
  /** Which line of the block, from 0. */
  readonly line: number;
  /** Which item within the line's event, where that is a list. */
  readonly item: number;
};

type Common = Place & {
  /** Milliseconds since 1970, on the recorded browser's clock. */
  readonly at: number;
  readonly window: string;
};

/** How loud a line of the console is. Other methods of the console count as `log`. */
export const LEVELS = ['error', 'warn', 'info', 'log', 'debug'] as const;
export type Level = (typeof LEVELS)[number];

export type ConsoleRow = Common & { readonly kind: 'console'; readonly level: Level; readonly text: string };

export type ExceptionRow = Common & { readonly kind: 'exception'; readonly text: string };

export type RequestRow = Common & {
  readonly kind: 'request';
  readonly url: string;
  readonly type: RequestType;
  /** Absent where the browser told of the request without saying how it was made. */
  readonly method: string | null;
  /** 0 and absent are the same: the page was not told. */
  readonly status: number | null;
  readonly durationMs: number;
  /** Until the first byte of the answer. */
  readonly waitMs: number | null;
  /** Of the answer, as it came over the network. */
  readonly bytes: number | null;
};

/** How long something took. */
export type TimingRow = Common & {
  readonly kind: 'timing';
  /** A page's load, a figure of web vitals, a task that held up the page, or the wait for an answer to a click. */
  readonly name: 'Load' | 'LCP' | 'FCP' | 'INP' | 'CLS' | 'TTFB' | 'Task' | 'Wait';
  /** Milliseconds, but for CLS, which has no unit. */
  readonly value: number;
  /** What it was: an address, an element, what was clicked. */
  readonly text: string;
  readonly grade: 'good' | 'fair' | 'poor' | null;
  /** Of a load, milliseconds until the first byte, until all of the document was there, and until all was. */
  readonly steps: Readonly<Record<'answered' | 'ready' | 'loaded', number | null>> | null;
};

export const REQUEST_TYPES = ['fetch', 'document', 'script', 'style', 'image', 'media', 'other'] as const;
export type RequestType = (typeof REQUEST_TYPES)[number];

/** A row without its block, which the reader of lines does not know. */
export type LooseRow = Row extends infer R ? (R extends Row ? Omit<R, 'block'> : never) : never;

const TEXT_MAX = 240;
const URL_MAX = 400;
/** One event of the network recorder may list this many requests; a page load has hundreds. */
const REQUESTS_PER_EVENT_MAX = 5_000;

/** The rows that an event of a plugin stands for. */
export function readRows({ at, window }: LineHead, line: number, data: Json): LooseRow[] {
  const plugin = String(data['plugin']);
  if (plugin.startsWith('rrweb/console@')) {
    const said = readConsole(data);
    return said === null ? [] : [{ kind: 'console', at, window, line, item: 0, ...said }];
  }
  if (plugin.startsWith('rrweb/network@')) {
    const payload = asObject(data['payload']);
    const list = Array.isArray(payload?.['requests']) ? payload['requests'] : [];
    return requestsOf(list.slice(0, REQUESTS_PER_EVENT_MAX).map(asObject), at, window, line);
  }
  // The network recorder of early posthog-js wrote one request an event, with numbers for names.
  const early = plugin.startsWith('posthog/network@') ? asObject(data['payload']) : null;
  return early === null ? [] : requestsOf([named(early)], at, window, line);
}

/** What a line of the console says, short enough for a list. */
export function readConsole(data: Json): { level: Level; text: string } | null {
  const payload = asObject(data['payload']);
  if (payload === null) return null;
  const level = levelOf(payload['level']);
  const text = formatted(argumentsOf(payload).map(readArgument));
  return { level, text: flat(text, TEXT_MAX) || String(payload['level']) };
}

/** What was given to the console: a list, for which PostHog's iOS library writes the text alone. */
export function argumentsOf({ payload }: Json): readonly unknown[] {
  if (typeof payload === 'string') return [payload];
  return Array.isArray(payload) ? payload : [];
}

/** One argument as it was given to the console, which the recorder writes as JSON. */
export function readArgument(item: unknown): unknown {
  if (typeof item !== 'string') return item;
  try {
    return JSON.parse(item) as unknown;
  } catch {
    return item;
  }
}

/** Joins arguments as a console does: `%s` and its like take the next one, `%c` takes it away. */
export function formatted(args: readonly unknown[]): string {
  const [first, ...rest] = args;
  if (typeof first !== 'string' || !first.includes('%')) return args.map(asText).join(' ');
  const head = first.slice(0, 4 * TEXT_MAX).replace(/%([sdifoOc%])/g, (whole, letter: string) => {
    if (letter === '%') return '%';
    if (rest.length === 0) return whole;
    const next = rest.shift();
    return letter === 'c' ? '' : asText(next);
  });
  return [head, ...rest.map(asText)].join(' ');
}

function asText(value: unknown): string {
  if (typeof value === 'string') return value.slice(0, 4 * TEXT_MAX);
  return value !== null && typeof value === 'object'
    ? JSON.stringify(value).slice(0, TEXT_MAX)
    : String(value);
}

function levelOf(method: unknown): Level {
  switch (method) {
    case 'error':
    case 'assert':
      return 'error';
    case 'warn':
      return 'warn';
    case 'info':
      return 'info';
    case 'debug':
    case 'trace':
      return 'debug';
    default:
      return 'log';
  }
}

function flat(text: string, max: number): string {
  const line = text
    .slice(0, 4 * max)
    .replace(/\s+/g, ' ')
    .trim();
  return line.length > max ? `${line.slice(0, max - 1)}…` : line;
}

function requestsOf(list: readonly (Json | null)[], at: number, window: string, line: number): LooseRow[] {
  const ends = list.map((request) => number(request?.['endTime']) ?? number(request?.['startTime']) ?? 0);
  // Some recorders count from the page's start, which they do not tell: what they list has just ended.
  const origin = at - Math.max(0, ...ends);
  const rows: LooseRow[] = [];
  list.forEach((request, item) => {
    if (request === null || typeof request['name'] !== 'string') return;
    const start = number(request['startTime']) ?? 0;
    const began = number(request['timestamp']) ?? (number(request['timeOrigin']) ?? origin) + start;
    const timing = readEntry(request, began, { at, window, line }, item);
    if (timing !== null) rows.push(timing);
    if (request['entryType'] !== 'resource' && request['entryType'] !== 'navigation') return;
    const first = number(request['responseStart']) ?? 0;
    const responseEnd = number(request['responseEnd']) ?? 0;
    const end = responseEnd > 0 ? responseEnd : (number(request['endTime']) ?? 0);
    // A page's own entry lasts until it has loaded, which is not how long its document took.
    const durationMs = end > start ? end - start : (number(request['duration']) ?? 0);
    const status = number(request['status']) || number(request['responseStatus']);
    rows.push({
      kind: 'request',
      at: Math.round(began),
      window,
      line,
      item,
      url: request['name'].slice(0, URL_MAX),
      type: typeOf(String(request['initiatorType']), request['name'], request['entryType']),
      method: typeof request['method'] === 'string' ? request['method'].slice(0, 20).toUpperCase() : null,
      status: status || null,
      durationMs: Math.max(0, durationMs),
      waitMs: first > start ? Math.min(first - start, durationMs) : null,
      bytes: number(request['transferSize']) || number(request['encodedBodySize']) || null,
    });
  });
  return rows;
}

function number(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : null;
}

function typeOf(initiator: string, url: string, entry: unknown): RequestType {
  if (entry === 'navigation' || initiator === 'iframe') return 'document';
  if (initiator === 'fetch' || initiator === 'xmlhttprequest' || initiator === 'beacon') return 'fetch';
  const [, ending = ''] = /\.(\w{2,5})(?:[?#]|$)/.exec(url.slice(0, URL_MAX)) ?? [];
  if (initiator === 'script' || /^m?js$/.test(ending)) return 'script';
  if (ending === 'css') return 'style';
  if (/^(png|jpe?g|gif|webp|avif|svg|ico|bmp)$/.test(ending)) return 'image';
  if (['video', 'audio'].includes(initiator) || /^(mp4|webm|mp3|ogg|wav|m3u8|ts)$/.test(ending))
    return 'media';
  return ['img', 'image', 'icon'].includes(initiator) ? 'image' : 'other';
}

/** Names of the numbers that early posthog-js wrote in their place. */
const EARLY = {
  0: 'entryType',
  1: 'timeOrigin',
  2: 'name',
  3: 'startTime',
  14: 'responseStart',
  15: 'responseEnd',
  16: 'decodedBodySize',
  17: 'encodedBodySize',
  18: 'initiatorType',
  21: 'responseStatus',
  22: 'transferSize',
  39: 'duration',
  40: 'timestamp',
} as const;

function named(early: Json): Json {
  return Object.fromEntries(Object.entries(EARLY).map(([key, name]) => [name, early[key]]));
}
