/** What stands on the timeline. Labels are text from a recording: show them as text, never as HTML. */
export type Mark = {
  readonly kind: 'page' | 'click' | 'input' | 'error' | 'warning' | 'custom';
  /** Milliseconds since 1970, on the recorded browser's clock. */
  readonly at: number;
  readonly window: string;
  readonly label: string;
};

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

/** What one block's lines turned into. */
export type ParsedLine = { readonly record: EventRecord; readonly mark: Mark | null };

const LABEL_MAX = 160;

type Json = Readonly<Record<string, unknown>>;

function asObject(value: unknown): Json | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : null;
}

function short(text: string): string {
  const flat = text.replace(/\s+/g, ' ').trim();
  return flat.length > LABEL_MAX ? `${flat.slice(0, LABEL_MAX - 1)}…` : flat;
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

/** Reads one line `["window",{event}]`. A line that is not one gives null: a damaged line costs itself only. */
export function parseLine(line: string): ParsedLine | null {
  if (!line.startsWith('["') || !line.endsWith(']')) return null;
  const quote = endOfString(line, 1);
  if (quote < 0 || line[quote + 1] !== ',') return null;
  const json = line.slice(quote + 2, -1);
  let window: unknown;
  let event: Json | null;
  try {
    window = JSON.parse(line.slice(1, quote + 1));
    event = asObject(JSON.parse(json));
  } catch {
    return null;
  }
  if (typeof window !== 'string' || event === null) return null;
  const type = event['type'];
  const at = event['timestamp'];
  if (typeof type !== 'number' || typeof at !== 'number' || !Number.isFinite(at)) return null;
  const data = asObject(event['data']);
  const source = type === 3 && data !== null ? data['source'] : undefined;
  const active = typeof source === 'number' && [1, 2, 3, 4, 5, 6, 7, 12].includes(source);
  const moves = source === 1 || source === 6 || source === 12;
  const record = { window, at, type, active, moves, json };
  return { record, mark: data === null ? null : markOf(type, at, window, data) };
}

function markOf(type: number, at: number, window: string, data: Json): Mark | null {
  switch (type) {
    case 4:
      return { kind: 'page', at, window, label: short(String(data['href'] ?? 'page')) };
    case 3:
      if (data['source'] === 2) return clickMark(at, window, data);
      if (data['source'] !== 5) return null;
      return { kind: 'input', at, window, label: short(inputLabel(data)) };
    case 5: {
      const tag = data['tag'];
      // An SDK's own housekeeping starts with `$`; only what the page's author sent is worth a mark.
      if (typeof tag !== 'string' || (tag.startsWith('$') && tag !== '$pageview')) return null;
      const href = asObject(data['payload'])?.['href'];
      if (tag === '$pageview') return { kind: 'page', at, window, label: short(String(href ?? tag)) };
      return { kind: 'custom', at, window, label: short(tag) };
    }
    case 6:
      return consoleMark(at, window, data);
    default:
      return null;
  }
}

function clickMark(at: number, window: string, data: Json): Mark | null {
  if (data['type'] !== 2 && data['type'] !== 4) return null;
  const x = data['x'];
  const y = data['y'];
  const place =
    typeof x === 'number' && typeof y === 'number' ? ` at ${Math.round(x)}, ${Math.round(y)}` : '';
  return { kind: 'click', at, window, label: (data['type'] === 4 ? 'Double click' : 'Click') + place };
}

function inputLabel(data: Json): string {
  const text = data['text'];
  if (typeof text === 'string' && text !== '' && text !== 'on') return text;
  return data['isChecked'] === true ? 'checked' : 'changed';
}

function consoleMark(at: number, window: string, data: Json): Mark | null {
  const payload = asObject(data['payload']);
  if (payload === null || !String(data['plugin']).startsWith('rrweb/console@')) return null;
  const level = payload['level'];
  if (level !== 'error' && level !== 'assert' && level !== 'warn') return null;
  const items = Array.isArray(payload['payload']) ? payload['payload'] : [];
  const label = items.map(unquote).join(' ');
  return { kind: level === 'warn' ? 'warning' : 'error', at, window, label: short(label || String(level)) };
}

function unquote(item: unknown): string {
  if (typeof item !== 'string') return String(item);
  try {
    const value: unknown = JSON.parse(item);
    return typeof value === 'string' ? value : item;
  } catch {
    return item;
  }
}
