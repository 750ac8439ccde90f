import { readAnalytics } from './analytics.ts';
import { type Mark, MarkReader } from './mark.ts';
import { type EventRecord, isActive, readRecord } from './record.ts';
import type { LooseRow } from './rows.ts';

/** What a block is read for. */
export type Purpose =
  /** The events, for the replay. */
  | 'records'
  /** What stands on the timeline and in the inspector; the block follows the one read before. */
  | 'marks'
  /** The same, but the block does not follow the one read before. */
  | 'marks-elsewhere'
  /** A block of analytics events, for the same. */
  | 'analytics';

/** A second in which somebody did something. Times are milliseconds since 1970. */
export type Moment = {
  readonly second: number;
  first: number;
  last: number;
  count: number;
  /** Where the last of it happened, and since when in this second nothing happened elsewhere. */
  window: string;
  since: number;
};

/** rrweb's type of what its plugins write: the console, the network. */
const PLUGIN = 6;

/** What some lines turned into. */
export type Piece = {
  readonly records: readonly EventRecord[];
  readonly marks: readonly Mark[];
  readonly rows: readonly LooseRow[];
  readonly moments: readonly Moment[];
  /** Lines that could not be read. */
  readonly damaged: number;
};

/**
 * Reads lines for one purpose after another. Kept from block to block, because marks need to know what was before.
 * Blocks may be read side by side for the replay, but only one after the other for marks.
 */
export class Reading {
  readonly #marks = new MarkReader();
  /** Lines of the block that were read. */
  #line = 0;

  begin(purpose: Purpose): void {
    if (purpose !== 'records') this.#line = 0;
    if (purpose === 'marks-elsewhere') this.#marks.forget();
  }

  read(lines: readonly string[], purpose: Purpose): Piece {
    switch (purpose) {
      case 'records': {
        const read = lines.map(readRecord).filter((record) => record !== null);
        // What plugins wrote is most of some recordings, and nothing that is drawn.
        const records = read.filter(({ type }) => type !== PLUGIN);
        return { records, marks: [], rows: [], moments: [], damaged: lines.length - read.length };
      }
      case 'analytics': {
        const found = lines
          .map((line) => readAnalytics(line, this.#line++))
          .filter((event) => event !== null);
        const marks = found.map(({ mark }) => mark);
        const rows = found.flatMap((event) => event.rows);
        return { records: [], marks, rows, moments: [], damaged: lines.length - found.length };
      }
      case 'marks':
      case 'marks-elsewhere':
        return this.#readMarks(lines);
    }
  }

  #readMarks(lines: readonly string[]): Piece {
    const marks: Mark[] = [];
    const rows: LooseRow[] = [];
    const moments = new Map<number, Moment>();
    let damaged = 0;
    for (const line of lines) {
      const found = this.#marks.read(line, this.#line++);
      if (found === 'damaged') {
        damaged++;
        continue;
      }
      if (found.mark !== null) marks.push(found.mark);
      rows.push(...found.rows);
      if (isActive(found.head)) addMoment(moments, found.head.at, found.head.window);
    }
    return { records: [], marks, rows, moments: [...moments.values()], damaged };
  }
}

function addMoment(moments: Map<number, Moment>, at: number, window: string): void {
  const second = Math.floor(at / 1000);
  joinMoment(moments, { second, first: at, last: at, count: 1, window, since: at });
}

/** Adds a moment to those that are known. */
export function joinMoment(moments: Map<number, Moment>, moment: Moment): void {
  const known = moments.get(moment.second);
  if (known === undefined) {
    moments.set(moment.second, { ...moment });
    return;
  }
  known.count += moment.count;
  known.first = Math.min(known.first, moment.first);
  if (moment.window === known.window) known.since = Math.min(known.since, moment.since);
  else if (moment.last >= known.last) known.since = moment.since;
  if (moment.last < known.last) return;
  known.last = moment.last;
  known.window = moment.window;
}
