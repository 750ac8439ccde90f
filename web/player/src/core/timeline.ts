import type { Mark } from './mark.ts';
import { merged, Ordered } from './ordered.ts';
import { withRage } from './rage.ts';
import { joinMoment, type Moment, type Piece } from './reading.ts';

type Last = { readonly place: number; at: number };

/** What of a block stands on the timeline. */
type Read = Pick<Piece, 'marks' | 'moments' | 'damaged'>;

/** A stretch of time, in milliseconds since 1970. */
export type Span = { readonly from: number; readonly to: number };

/** Nobody did anything for longer than this: an idle stretch. */
export const IDLE_MS = 10_000;
const MARKS_MAX = 50_000;
const BUCKETS = 240;
/** Letters of one word come as one input each, and an SDK repeats a page's address beside each snapshot. */
const JOIN_MS = 1_500;
/** How far from a time the next mark is at least, and the one before: while it plays, one is soon far behind a mark. */
const STEP_ON_MS = 50;
const STEP_BACK_MS = 1_000;

/**
 * What the timeline shows, grown as blocks are read and in whatever order they are. It outlives the events: a block
 * leaves memory, its marks stay.
 */
export class Timeline {
  #from: number;
  #to: number;
  readonly #all = new Ordered<Mark>();
  #marks: readonly Mark[] | null = null;
  /** Seconds in which somebody did something: enough to find idle stretches, and bounded by the length. */
  readonly #moments = new Map<number, Moment>();
  #read: Span[] = [];
  #broken: Span[] = [];
  /** Lines that could not be read. */
  damaged = 0;

  constructor(from: number, to: number) {
    this.#from = from;
    this.#to = to;
  }

  get from(): number {
    return this.#from;
  }

  get to(): number {
    return this.#to;
  }

  /** A live recording grows. */
  extend(from: number, to: number): void {
    this.#from = Math.min(this.#from, from);
    this.#to = Math.max(this.#to, to);
  }

  /** Takes what was read of a block. */
  add({ marks, moments, damaged }: Read): void {
    this.damaged += damaged;
    for (const moment of moments) joinMoment(this.#moments, moment);
    if (marks.length === 0) return;
    this.#all.add(marks.slice(0, MARKS_MAX - this.#all.length));
    this.#marks = null;
  }

  /** Says that everything in this stretch has been read; only there silence means idleness. */
  markRead(span: Span): void {
    this.#read = mergeSpans([...this.#read, span]);
  }

  /** Says that a stretch cannot be read. */
  markBroken(span: Span): void {
    this.#broken = mergeSpans([...this.#broken, span]);
  }

  /** Forgets all that was read. */
  clear(): void {
    this.#all.clear();
    this.#marks = null;
    this.#moments.clear();
    this.#read = [];
    this.#broken = [];
    this.damaged = 0;
  }

  get read(): readonly Span[] {
    return this.#read;
  }

  get broken(): readonly Span[] {
    return this.#broken;
  }

  /** All marks in order of time; typing in one field is one mark, and so are clicks that are rage. */
  get marks(): readonly Mark[] {
    this.#marks ??= joined(withRage(this.#all.all));
    return this.#marks;
  }

  /** When somebody went on in another window, and in which: its name is the label. */
  switches(): Mark[] {
    const moments = [...this.#moments.values()].sort((a, b) => a.second - b.second);
    return moments.flatMap(({ window, since }, i) => {
      const before = moments[i - 1]?.window ?? window;
      return window === before ? [] : [{ kind: 'tab', at: since, window, label: window }];
    });
  }

  /** How much went on in a stretch, from its start to its end, each value from 0 to 1. */
  activity({ from, to }: Span = { from: this.#from, to: this.#to }): number[] {
    const buckets = new Array<number>(BUCKETS).fill(0);
    const length = Math.max(1, to - from);
    for (const { first, count } of this.#moments.values()) {
      if (first < from || first > to) continue;
      const place = Math.floor(((first - from) / length) * BUCKETS);
      const index = Math.min(BUCKETS - 1, Math.max(0, place));
      buckets[index] = (buckets[index] ?? 0) + count;
    }
    const max = Math.max(1, ...buckets);
    return buckets.map((count) => Math.sqrt(count / max));
  }

  /** The stretches without anybody's action that are longer than ten seconds, as far as the blocks are read. */
  idle(): Span[] {
    const moments = [...this.#moments.values()].sort((a, b) => a.first - b.first);
    const spans: Span[] = [];
    let quietSince = this.#from;
    const close = (until: number) => {
      if (until - quietSince > IDLE_MS) spans.push({ from: quietSince, to: until });
    };
    for (const { first, last } of moments) {
      close(first);
      quietSince = Math.max(quietSince, last);
    }
    close(this.#to);
    return spans.filter((span) => this.#read.some((read) => read.from <= span.from && read.to >= span.to));
  }

  /** The mark before or after a time, or where somebody went to another window. */
  markBeside(at: number, direction: 1 | -1): Mark | null {
    const marks = merged(
      this.switches(),
      this.marks.filter((mark) => mark.kind !== 'system'),
    );
    const found =
      direction > 0
        ? marks.find((mark) => mark.at > at + STEP_ON_MS)
        : marks.findLast((mark) => mark.at < at - STEP_BACK_MS);
    return found ?? null;
  }

  /** The page that a window shows at a time. */
  pageAt(at: number, window: string | null): Mark | null {
    const isPage = (mark: Mark) => mark.kind === 'page' && mark.window === window;
    return this.marks.findLast((mark) => isPage(mark) && mark.at <= at) ?? null;
  }

  /** The damaged stretch that a time is in. */
  gapAt(at: number): Span | null {
    return this.#broken.find((span) => span.from <= at && at <= span.to) ?? null;
  }

  /** What somebody last did before a time, and where: the window a viewer most likely wants to see. */
  lastMoment(at: number): Moment | null {
    const second = Math.floor(at / 1000);
    let best: Moment | null = null;
    for (let back = 0; back < 60 && best === null; back++) best = this.#moments.get(second - back) ?? null;
    if (best !== null && best.first <= at) return best;
    for (const moment of this.#moments.values()) {
      if (moment.first <= at && (best === null || best.first > at || moment.last > best.last)) best = moment;
    }
    return best !== null && best.first <= at ? best : null;
  }
}

function joined(marks: readonly Mark[]): readonly Mark[] {
  const out: Mark[] = [];
  /** The last of each window that may go on: where it is in `out`, and when it was last heard of. */
  const lasts = { input: new Map<string, Last>(), page: new Map<string, Last>() };
  for (const mark of marks) {
    if (mark.kind !== 'input' && mark.kind !== 'page') {
      out.push(mark);
      continue;
    }
    const last = lasts[mark.kind].get(mark.window);
    const before = last === undefined ? undefined : out[last.place];
    if (last !== undefined && before !== undefined && mark.at - last.at < JOIN_MS) {
      const isSameField = mark.kind === 'input' && before.target === mark.target;
      const isSamePage = mark.kind === 'page' && before.label === mark.label;
      if (isSameField) out[last.place] = { ...mark, at: before.at };
      if (isSameField || isSamePage) {
        last.at = mark.at;
        continue;
      }
    }
    lasts[mark.kind].set(mark.window, { place: out.length, at: mark.at });
    out.push(mark);
  }
  return out;
}

/** Joins stretches that touch or overlap. */
export function mergeSpans(spans: readonly Span[]): Span[] {
  const out: Span[] = [];
  for (const span of [...spans].sort((a, b) => a.from - b.from)) {
    const last = out.at(-1);
    if (last !== undefined && span.from <= last.to) {
      out[out.length - 1] = { from: last.from, to: Math.max(last.to, span.to) };
    } else out.push(span);
  }
  return out;
}
