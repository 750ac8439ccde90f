import { asObject, type Json } from './record.ts';
import type { LooseRow, TimingRow } from './rows.ts';

type LooseTiming = Extract<LooseRow, { kind: 'timing' }>;
type Place = Pick<TimingRow, 'at' | 'window' | 'line'>;

/** How good a figure is, by the limits that Google gives for it: up to the first is good, past the second is poor. */
const LIMITS: Readonly<Record<string, readonly [good: number, poor: number]>> = {
  LCP: [2500, 4000],
  FCP: [1800, 3000],
  INP: [200, 500],
  CLS: [0.1, 0.25],
  TTFB: [800, 1800],
};
const VITALS = ['LCP', 'FCP', 'INP', 'CLS', 'TTFB'] as const;
const TEXT_MAX = 240;

/** How good a figure is; null for one that nobody judges. */
export function gradeOf(name: string, value: number): TimingRow['grade'] {
  const limits = LIMITS[name];
  if (limits === undefined) return null;
  return value <= limits[0] ? 'good' : value <= limits[1] ? 'fair' : 'poor';
}

function row(place: Place, name: TimingRow['name'], value: number, text: string, item = 0): LooseTiming {
  return {
    kind: 'timing',
    ...place,
    item,
    name,
    value,
    text: text.slice(0, TEXT_MAX),
    grade: gradeOf(name, value),
    steps: null,
  };
}

/** The figures of an event of web vitals: each when it was known, or with the event where that is not told. */
export function readVitals({ window, line, at }: Place, properties: Json): LooseTiming[] {
  return VITALS.flatMap((name) => {
    const told = asObject(properties[`$web_vitals_${name}_event`]);
    const value = figure(properties[`$web_vitals_${name}_value`]) ?? figure(told?.['value']);
    if (value === null) return [];
    const attribution = asObject(told?.['attribution']);
    const target = attribution?.['target'] ?? attribution?.['interactionTarget'] ?? attribution?.['element'];
    const where = { window, line, at: figure(told?.['timestamp']) ?? at };
    return [row(where, name, value, typeof target === 'string' ? target : '')];
  });
}

/** What an entry of the network recorder tells besides a request; null where that is nothing. */
export function readEntry(entry: Json, began: number, place: Place, item: number): LooseTiming | null {
  const start = figure(entry['startTime']) ?? 0;
  const after = (name: string) => {
    const time = figure(entry[name]) ?? 0;
    return time > start ? time - start : null;
  };
  const name = String(entry['name'] ?? '');
  const where = { ...place, at: Math.round(began) };
  switch (entry['entryType']) {
    case 'navigation': {
      const [answered, ready, loaded] = [
        after('responseStart'),
        after('domContentLoadedEventEnd'),
        after('loadEventEnd') ?? after('domComplete'),
      ];
      const value = loaded ?? ready ?? answered ?? figure(entry['duration']) ?? 0;
      return { ...row(where, 'Load', value, name, item), steps: { answered, ready, loaded } };
    }
    case 'longtask':
    case 'long-animation-frame':
      return row(where, 'Task', figure(entry['duration']) ?? 0, name, item);
    case 'paint':
      return name === 'first-contentful-paint' ? row(where, 'FCP', start, '', item) : null;
    default:
      return null;
  }
}

/** Past this the page is late to answer; what is faster nobody waits for. */
const LATE_MS = 1_000;
/** What comes later than this was hardly meant as the answer. */
const ANSWER_MS = 20_000;

/**
 * How long the page took to change after a click, where that was long. It is what was recorded and no more: a click on
 * something that never changes the page has no answer, and a page that changes all the time always has one.
 */
export class Answers {
  readonly #clicks = new Map<string, { readonly at: number; readonly label: string }>();

  clicked(window: string, at: number, label: string): void {
    this.#clicks.set(window, { at, label });
  }

  /** Something else happened, so that what changes next may be its doing. */
  acted(window: string): void {
    this.#clicks.delete(window);
  }

  /** The page has changed: how long that took, where a click waited for it for long. */
  changed(window: string, at: number, line: number): LooseTiming | null {
    const click = this.#clicks.get(window);
    this.#clicks.delete(window);
    const value = click === undefined ? 0 : at - click.at;
    if (click === undefined || value < LATE_MS || value > ANSWER_MS) return null;
    return row({ at: click.at, window, line }, 'Wait', value, click.label);
  }
}

function figure(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : null;
}
