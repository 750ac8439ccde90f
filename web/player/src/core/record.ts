/**
 * One recorded event as the page holds it. The event itself stays text: a string takes a fifth of the memory of
 * the object, and only the frame ever needs the object.
 */
export type EventRecord = {
  readonly window: string;
  readonly at: number;
  /** rrweb's event type; 2 is a full snapshot, 4 the page's address and size. */
  readonly type: number;
  /** Whether a person did this: pointer, scroll, input. Idle stretches are where nobody did anything. */
  readonly active: boolean;
  /** Whether it holds pointer positions, which lie before its own time. */
  readonly moves: boolean;
  readonly json: string;
};

/** What can be told of a line without looking into its event. */
export type LineHead = {
  readonly window: string;
  readonly at: number;
  readonly type: number;
  /** rrweb's source of an incremental event. */
  readonly source: number | null;
  /** Where the event's JSON begins in the line; it ends one character before the line. */
  readonly jsonStart: number;
};

export type Json = Readonly<Record<string, unknown>>;

const ACTIVE = new Set<number | null>([1, 2, 3, 4, 5, 6, 7, 12]);
const MOVES = new Set<number | null>([1, 6, 12]);
/** How recorders write an event: type first, time last. Both ends tell enough to leave the middle unparsed. */
const USUAL_START = /^\["([^"\\]*)",\{"type":(\d),"data":\{(?:"source":(\d{1,2})[,}])?/;
const USUAL_END = /,"timestamp":(\d{1,16}(?:\.\d+)?)\}\]$/;
const END_CHARACTERS = 48;

export function asObject(value: unknown): Json | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : null;
}

/** Whether a person did something. */
export function isActive(head: LineHead): boolean {
  return head.type === 3 && ACTIVE.has(head.source);
}

/** Reads the head of a line `["window",{event}]`. A line that is not one gives null: it costs itself only. */
export function readHead(line: string): LineHead | null {
  const start = USUAL_START.exec(line);
  const end = start === null ? null : USUAL_END.exec(line.slice(-END_CHARACTERS));
  if (start === null || end === null) return readOddHead(line);
  const [, window = '', type, source] = start;
  if (type === '3' && source === undefined) return readOddHead(line);
  return {
    window,
    at: Number(end[1]),
    type: Number(type),
    source: source === undefined ? null : Number(source),
    jsonStart: window.length + 4,
  };
}

/** The event of a line, or null where it is no JSON object. */
export function readEventOf(line: string, head: LineHead): Json | null {
  try {
    return asObject(JSON.parse(line.slice(head.jsonStart, -1)));
  } catch {
    return null;
  }
}

/** Reads one line for the replay. */
export function readRecord(line: string): EventRecord | null {
  const head = readHead(line);
  if (head === null) return null;
  return {
    window: head.window,
    at: head.at,
    type: head.type,
    active: isActive(head),
    moves: head.type === 3 && MOVES.has(head.source),
    json: line.slice(head.jsonStart, -1),
  };
}

function readOddHead(line: string): LineHead | null {
  if (!line.startsWith('["') || !line.endsWith(']')) return null;
  const quote = endOfString(line, 1);
  if (quote < 0 || line[quote + 1] !== ',') return null;
  const jsonStart = quote + 2;
  try {
    const window: unknown = JSON.parse(line.slice(1, quote + 1));
    const event = asObject(JSON.parse(line.slice(jsonStart, -1)));
    if (typeof window !== 'string' || event === null) return null;
    const { type, timestamp: at } = event;
    if (typeof type !== 'number' || typeof at !== 'number' || !Number.isFinite(at)) return null;
    const source = type === 3 ? asObject(event['data'])?.['source'] : null;
    return { window, at, type, source: typeof source === 'number' ? source : null, jsonStart };
  } catch {
    return null;
  }
}

/** The end of the JSON string that starts at `start`, or -1. */
function endOfString(line: string, start: number): number {
  for (let i = start + 1; i < line.length; i++) {
    const c = line.charCodeAt(i);
    if (c === 92) i++;
    else if (c === 34) return i;
  }
  return -1;
}
