/** Numbers, times and names as people read them. */
import type { Failure } from './api';
import type { Person, Recording } from './types';

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;

const exact = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const day = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric' });
const whole = new Intl.NumberFormat();

/** `0:07`, `12:30`, `1:02:03`. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / SECOND_MS));
  const two = (part: number) => String(part).padStart(2, '0');
  const hours = Math.floor(seconds / 3_600);
  const minutes = Math.floor(seconds / 60) % 60;
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

/** The same for a screen reader: `1 hour 2 minutes 3 seconds`. */
export function durationSpoken(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / SECOND_MS));
  const parts: readonly (readonly [number, string])[] = [
    [Math.floor(seconds / 3_600), 'hour'],
    [Math.floor(seconds / 60) % 60, 'minute'],
    [seconds % 60, 'second'],
  ];
  const said = parts.filter(([value]) => value > 0).map(([value, unit]) => counted(value, unit));
  return said.length > 0 ? said.join(' ') : '0 seconds';
}

/** `now`, `40 s ago`, `3 min ago`, `5 h ago`, `2 d ago`, then the date. */
export function ago(thenMs: number, nowMs: number): string {
  const passed = nowMs - thenMs;
  if (passed < 5 * SECOND_MS) return 'now';
  if (passed < MINUTE_MS) return `${Math.floor(passed / SECOND_MS)} s ago`;
  if (passed < HOUR_MS) return `${Math.floor(passed / MINUTE_MS)} min ago`;
  if (passed < DAY_MS) return `${Math.floor(passed / HOUR_MS)} h ago`;
  if (passed < 7 * DAY_MS) return `${Math.floor(passed / DAY_MS)} d ago`;
  return day.format(thenMs);
}

/** The date, in the reader's own time zone. */
export function dateOf(ms: number): string {
  return day.format(ms);
}

/** The moment to the second, in the reader's own time zone. */
export function exactTime(ms: number): string {
  return exact.format(ms);
}

/** `512 B`, `18 KB`, `1.4 MB`: decimal units, two digits that matter. */
export function bytes(value: number): string {
  const units = ['B', 'KB', 'MB', 'GB', 'TB'] as const;
  let scaled = Math.max(0, value);
  for (const unit of units) {
    if (scaled < 999.5 || unit === 'TB') {
      return `${unit !== 'B' && scaled < 9.95 ? scaled.toFixed(1) : Math.round(scaled)} ${unit}`;
    }
    scaled /= 1_000;
  }
  return '';
}

/** A whole number with the reader's grouping. */
export function number(value: number): string {
  return whole.format(value);
}

/** What the server says, which begins small and ends without a full stop, as a sentence. */
export function sentence(said: string): string {
  const text = said.trim();
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}${/[.!?…]$/.test(text) ? '' : '.'}`;
}

/** Why nothing came of what somebody wanted. */
export function reasonOf(failure: Failure): string {
  return failure.kind === 'refused' ? sentence(failure.message) : 'No answer from the server.';
}

/** `1 click`, `2 clicks`. */
export function counted(value: number, unit: string, plural = `${unit}s`): string {
  return `${whole.format(value)} ${value === 1 ? unit : plural}`;
}

/** How to call who was recorded. `isAnonymous` says that the name is only a generated id. */
export function personName(person: Person | null): { readonly name: string; readonly isAnonymous: boolean } {
  for (const property of ['email', '$email', 'name', '$name', 'username']) {
    const value = person?.properties[property];
    if (typeof value === 'string' && value.trim() !== '') return { name: value.trim(), isAnonymous: false };
  }
  const named = person?.distinct_ids.find((id) => !isGenerated(id));
  if (named !== undefined) return { name: named, isAnonymous: false };
  const generated = person?.distinct_ids[0];
  if (generated === undefined) return { name: 'Unknown', isAnonymous: true };
  return { name: `Anonymous ${generated.slice(-6)}`, isAnonymous: true };
}

/** A recorded address in two parts, for display only. What is no address comes back whole as the path. */
export function pageOf(url: string | null): { readonly host: string; readonly path: string } {
  if (url === null) return { host: '', path: 'no page address' };
  try {
    const parsed = new URL(url);
    if (parsed.host === '') return { host: '', path: url };
    return { host: parsed.host, path: readable(parsed.pathname) + readable(parsed.search) + parsed.hash };
  } catch {
    return { host: '', path: url };
  }
}

/** What the recording was made on, where that is known: `Chrome on Linux`. */
export function deviceOf(recording: Recording): string | null {
  const properties = recording.person?.properties ?? {};
  const property = (name: string) => {
    const value = properties[name] ?? properties[`$${name}`];
    return typeof value === 'string' && value !== '' ? value : null;
  };
  const device = [property('browser'), property('os')].filter((part) => part !== null).join(' on ');
  return device || (recording.source === 'mobile' ? 'Mobile app' : null);
}

/** What the recording was made on and with: `Chrome on Linux, posthog-js 1.449.2`. */
export function madeWith(recording: Recording): string {
  // The browser library calls itself `web` on the wire.
  const name = recording.library === 'web' ? 'posthog-js' : recording.library;
  const library = [name, recording.library_version].filter((part) => part !== null).join(' ');
  return [deviceOf(recording), library].filter((part) => part !== null && part !== '').join(', ');
}

function isGenerated(id: string): boolean {
  return /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(id);
}

function readable(part: string): string {
  try {
    return decodeURI(part);
  } catch {
    return part;
  }
}
