import type { Mark, ParsedLine } from './record.ts';

/** A stretch of time, in milliseconds since 1970. */
export type Span = { readonly from: number; readonly to: number };

/** Nobody did anything for longer than this: an idle stretch. */
export const IDLE_MS = 10_000;
const MARKS_MAX = 50_000;
const BUCKETS = 240;

/**
 * What the timeline shows, grown as blocks arrive and in whatever order they do. It outlives the events: a block
 * may leave memory, its marks stay.
 */
export class Timeline {
  #from: number;
  #to: number;
  #marks: Mark[] = [];
  #unsorted = false;
  /** Seconds in which somebody did something: enough to find idle stretches, and bounded by the length. */
  readonly #activeSeconds = new Map<number, { at: number; last: number; count: number; window: string }>();
  #read: Span[] = [];

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

  /** Takes the lines of a block. */
  add(lines: readonly ParsedLine[]): void {
    for (const { record, mark } of lines) {
      if (mark !== null && this.#marks.length < MARKS_MAX) {
        const last = this.#marks.at(-1);
        if (last !== undefined && last.at > mark.at) this.#unsorted = true;
        this.#marks.push(mark);
      }
      if (!record.active) continue;
      const second = Math.floor(record.at / 1000);
      const entry = this.#activeSeconds.get(second);
      if (entry === undefined) {
        this.#activeSeconds.set(second, { at: record.at, last: record.at, count: 1, window: record.window });
      } else {
        entry.count++;
        entry.at = Math.min(entry.at, record.at);
        if (record.at >= entry.last) {
          entry.last = record.at;
          entry.window = record.window;
        }
      }
    }
  }

  /** Says that everything in this stretch has been read; only there silence means idleness. */
  markRead(span: Span): void {
    this.#read = mergeSpans([...this.#read, span]);
  }

  get read(): readonly Span[] {
    return this.#read;
  }

  /** All marks in order of time; typing in one field is one mark. */
  get marks(): readonly Mark[] {
    if (this.#unsorted) {
      this.#marks.sort((a, b) => a.at - b.at);
      this.#unsorted = false;
    }
    const out: Mark[] = [];
    for (const mark of this.#marks) {
      const last = out.at(-1);
      const joins =
        last !== undefined &&
        last.window === mark.window &&
        last.kind === mark.kind &&
        mark.at - last.at < 1500;
      // Letters of one word come as one input each, and an SDK repeats a page's address beside each snapshot.
      if (joins && (mark.kind === 'input' || (mark.kind === 'page' && mark.label === last.label))) {
        out[out.length - 1] = mark.kind === 'input' ? { ...mark, at: last.at } : last;
      } else out.push(mark);
    }
    return out;
  }

  /** How much went on, from start to end, each value from 0 to 1. */
  activity(): number[] {
    const buckets = new Array<number>(BUCKETS).fill(0);
    const length = Math.max(1, this.#to - this.#from);
    for (const { at, count } of this.#activeSeconds.values()) {
      const index = Math.min(BUCKETS - 1, Math.max(0, Math.floor(((at - this.#from) / length) * BUCKETS)));
      buckets[index] = (buckets[index] ?? 0) + count;
    }
    const max = Math.max(1, ...buckets);
    return buckets.map((count) => Math.sqrt(count / max));
  }

  /** The stretches without anybody's action that are longer than ten seconds, as far as the blocks are read. */
  idle(): Span[] {
    const moments = [...this.#activeSeconds.values()].sort((a, b) => a.at - b.at);
    const spans: Span[] = [];
    let quietSince = this.#from;
    const close = (until: number) => {
      if (until - quietSince > IDLE_MS) spans.push({ from: quietSince, to: until });
    };
    for (const { at, last } of moments) {
      close(at);
      quietSince = Math.max(quietSince, last);
    }
    close(this.#to);
    return spans.filter((span) => this.#read.some((read) => read.from <= span.from && read.to >= span.to));
  }

  /** The window a viewer most likely wants to see at a time: where somebody last did something. */
  windowAt(at: number): string | null {
    let best: { last: number; window: string } | null = null;
    for (const entry of this.#activeSeconds.values()) {
      if (entry.at <= at && (best === null || entry.last > best.last)) best = entry;
    }
    return best?.window ?? null;
  }
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
