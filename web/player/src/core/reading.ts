import { readAnalytics } from './analytics.ts';
import { type Mark, MarkReader } from './mark.ts';
import { type EventRecord, isActive, readRecord } from './record.ts';

/** What a block is read for. */
export type Purpose =
  /** The events, for the replay. */
  | 'records'
  /** What stands on the timeline; the block follows the one read before. */
  | 'marks'
  /** The same, but the block does not follow the one read before. */
  | 'marks-elsewhere'
  /** A block of analytics events, for the timeline. */
  | 'analytics';

/** A second in which somebody did something. Times are milliseconds since 1970. */
export type Moment = {
  readonly second: number;
  first: number;
  last: number;
  count: number;
  /** Where the last of it happened. */
  window: string;
};

/** What some lines turned into. */
export type Piece = {
  readonly records: readonly EventRecord[];
  readonly marks: readonly Mark[];
  readonly moments: readonly Moment[];
  /** Lines that could not be read. */
  readonly damaged: number;
};

/** Reads lines for one purpose after another. Kept from block to block, because marks need to know what was before. */
export class Reading {
  readonly #marks = new MarkReader();

  begin(purpose: Purpose): void {
    if (purpose === 'marks-elsewhere') this.#marks.forget();
  }

  read(lines: readonly string[], purpose: Purpose): Piece {
    switch (purpose) {
      case 'records': {
        const records = lines.map(readRecord).filter((record) => record !== null);
        return { records, marks: [], moments: [], damaged: lines.length - records.length };
      }
      case 'analytics': {
        const marks = lines.map(readAnalytics).filter((mark) => mark !== null);
        return { records: [], marks, moments: [], damaged: lines.length - marks.length };
      }
      case 'marks':
      case 'marks-elsewhere':
        return this.#readMarks(lines);
    }
  }

  #readMarks(lines: readonly string[]): Piece {
    const marks: Mark[] = [];
    const moments = new Map<number, Moment>();
    let damaged = 0;
    for (const line of lines) {
      const found = this.#marks.read(line);
      if (found === 'damaged') {
        damaged++;
        continue;
      }
      if (found.mark !== null) marks.push(found.mark);
      if (isActive(found.head)) addMoment(moments, found.head.at, found.head.window);
    }
    return { records: [], marks, moments: [...moments.values()], damaged };
  }
}

function addMoment(moments: Map<number, Moment>, at: number, window: string): void {
  const second = Math.floor(at / 1000);
  joinMoment(moments, { second, first: at, last: at, count: 1, window });
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
  if (moment.last < known.last) return;
  known.last = moment.last;
  known.window = moment.window;
}
