import type { Span } from './timeline.ts';

export type Keyframe = {
  readonly window: string;
  readonly timestamp_ms: number;
  readonly plain_offset: number;
};

/** A block as the API lists it. */
export type BlockInfo = {
  readonly index: number;
  readonly kind: 'lines' | 'events';
  readonly start_ms: number;
  readonly end_ms: number;
  readonly event_count: number;
  readonly plain_bytes: number;
  readonly stored_bytes: number;
  readonly windows: readonly string[];
  readonly keyframes: readonly Keyframe[];
  readonly url: string;
};

export type BlockList = {
  readonly blocks: readonly BlockInfo[];
  readonly is_live: boolean;
  readonly version: string;
  /** First and last moment of a clip: what comes before only makes the page what it was then. */
  readonly from_ms?: number;
  readonly to_ms?: number;
};

/** Which blocks there are, arranged for the questions that playback asks many times a second. Never changes. */
export class BlockIndex {
  /** Blocks with events for the replay, in order of time. */
  readonly lines: readonly BlockInfo[];
  /** Blocks with analytics events. */
  readonly analytics: readonly BlockInfo[];
  /** Windows that can be shown, in the order in which they appeared. */
  readonly windows: readonly string[];
  readonly urls: ReadonlySet<string>;
  readonly from: number;
  readonly to: number;
  /** Whether there is more in the blocks than is to be shown. */
  readonly isClip: boolean;
  /** For each block, the latest end among it and those before it: blocks that arrived late overlap others. */
  readonly #endMax: number[] = [];
  /** By window, times of full snapshots in order. */
  readonly #keyframes = new Map<string, number[]>();

  constructor({ blocks, from_ms, to_ms }: Pick<BlockList, 'blocks' | 'from_ms' | 'to_ms'>) {
    const filled = blocks.filter((block) => block.event_count > 0);
    const inOrder = (a: BlockInfo, b: BlockInfo) => a.start_ms - b.start_ms || a.index - b.index;
    this.lines = filled.filter((block) => block.kind === 'lines').sort(inOrder);
    this.analytics = filled.filter((block) => block.kind === 'events').sort(inOrder);
    this.urls = new Set(filled.map((block) => block.url));
    this.isClip = from_ms !== undefined;
    this.from = from_ms ?? this.lines[0]?.start_ms ?? 0;
    let end = this.lines[0]?.start_ms ?? 0;
    const frames: Keyframe[] = [];
    for (const block of this.lines) {
      end = Math.max(end, block.end_ms);
      this.#endMax.push(end);
      for (const frame of block.keyframes) frames.push(frame);
    }
    this.to = to_ms ?? end;
    frames.sort((a, b) => a.timestamp_ms - b.timestamp_ms);
    for (const { window, timestamp_ms } of frames) {
      const times = this.#keyframes.get(window);
      if (times === undefined) this.#keyframes.set(window, [timestamp_ms]);
      else times.push(timestamp_ms);
    }
    this.windows = [...this.#keyframes.keys()];
  }

  /** The blocks that hold anything of a stretch. */
  overlapping(from: number, to: number): BlockInfo[] {
    const out: BlockInfo[] = [];
    for (let i = firstAtLeast(this.#endMax, from); i < this.lines.length; i++) {
      const block = this.lines[i];
      if (block === undefined || block.start_ms > to) break;
      if (block.end_ms >= from) out.push(block);
    }
    return out;
  }

  /** The last full snapshot of a window at or before a time; the first one where there is none before. */
  keyframe(window: string, at: number): number | null {
    const times = this.#keyframes.get(window) ?? [];
    return times[lastAtMost(times, at)] ?? times[0] ?? null;
  }

  /** The window whose full snapshot came last before a time; the first window where there is none before. */
  windowAt(at: number): string | null {
    let best: { window: string; at: number } | null = null;
    for (const [window, times] of this.#keyframes) {
      const time = times[lastAtMost(times, at)];
      if (time !== undefined && (best === null || time > best.at)) best = { window, at: time };
    }
    return best?.window ?? this.windows[0] ?? null;
  }

  /** A block with the silence before it: between two blocks nothing was recorded. */
  stretchOf(block: BlockInfo): Span {
    const before = this.#endMax[firstAtLeast(this.#endMax, block.start_ms) - 1] ?? this.from;
    return { from: Math.min(block.start_ms, before), to: block.end_ms };
  }
}

function firstAtLeast(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] ?? 0) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Index of the last value that is not above, -1 where all are. */
function lastAtMost(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] ?? 0) <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
