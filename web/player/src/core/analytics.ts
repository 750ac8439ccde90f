import { type Mark, short } from './mark.ts';
import { asObject, type Json } from './record.ts';
import type { LooseRow } from './rows.ts';
import { readVitals } from './timing.ts';

/** Reads one line of a block of analytics events, which is the `number`th of it; null where it is none. */
export function readAnalytics(line: string, number: number): { mark: Mark; rows: LooseRow[] } | null {
  let event: Json | null;
  try {
    event = asObject(JSON.parse(line));
  } catch {
    return null;
  }
  const name = event?.['event'];
  const at = event?.['timestamp'];
  if (event === null || typeof name !== 'string' || typeof at !== 'number') return null;
  const window = typeof event['window_id'] === 'string' ? event['window_id'] : '';
  const properties = asObject(event['properties']) ?? {};
  const { kind, label } = describe(name, properties, event);
  const text = short(label);
  const isException = name === '$exception';
  const rows: LooseRow[] = isException
    ? [{ kind: 'exception', at, window, line: number, item: 0, text }]
    : name === '$web_vitals'
      ? readVitals({ at, window, line: number }, properties)
      : [];
  const words = properties['$el_text'];
  const rage = name === '$rageclick' ? { rageOn: typeof words === 'string' ? words : '' } : {};
  return { mark: { kind, at, window, label: text, line: number, ...rage }, rows };
}

function describe(name: string, properties: Json, event: Json): { kind: Mark['kind']; label: string } {
  const of = (text: unknown) => (typeof text === 'string' && text !== '' ? `: ${text}` : '');
  switch (name) {
    case '$exception':
      return { kind: 'error', label: exceptionLabel(properties) };
    case '$rageclick':
      return { kind: 'event', label: `Rage click${of(properties['$el_text'])}` };
    case '$dead_click':
      return { kind: 'event', label: `Dead click${of(properties['$el_text'])}` };
    case '$identify':
      return { kind: 'event', label: `Identified as ${String(event['distinct_id'] ?? 'someone')}` };
    case '$pageview':
      return { kind: 'system', label: `$pageview${of(properties['$pathname'])}` };
    case '$autocapture':
      return { kind: 'system', label: `$autocapture${of(properties['$el_text'])}` };
    default:
      return { kind: name.startsWith('$') ? 'system' : 'event', label: name };
  }
}

function exceptionLabel(properties: Json): string {
  const list = properties['$exception_list'];
  const first = Array.isArray(list) ? asObject(list[0]) : null;
  const type = first?.['type'] ?? properties['$exception_type'];
  const value = first?.['value'] ?? properties['$exception_message'];
  return [type, value].filter((part) => typeof part === 'string' && part !== '').join(': ') || '$exception';
}
