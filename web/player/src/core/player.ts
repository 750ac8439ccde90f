import type { LeftOut } from '../limits.ts';
import { Clock, type Speed, skipPlan } from './clock.ts';
import { FrameLink } from './frame-link.ts';
import { type Api, LoadError, Loader } from './loader.ts';
import { inlineParser, workerParser } from './parser.ts';
import { type Move, splitMoves } from './pointer.ts';
import type { EventRecord, Mark } from './record.ts';
import { type Span, Timeline } from './timeline.ts';

/** What the player is doing. */
export type Status =
  | { readonly kind: 'opening' }
  /** Loading what the position needs. */
  | { readonly kind: 'waiting' }
  | { readonly kind: 'playing' }
  | { readonly kind: 'paused' }
  | { readonly kind: 'ended' }
  /** There is nothing that could be drawn. */
  | { readonly kind: 'empty'; readonly reason: 'no-events' | 'no-snapshot' | 'broken-snapshot' }
  | { readonly kind: 'failed'; readonly reason: LoadError['kind']; readonly message: string };

/** What the view shows, all times in milliseconds from the recording's start. */
export type Picture = {
  readonly status: Status;
  readonly at: number;
  readonly duration: number;
  readonly speed: Speed;
  readonly skipsIdle: boolean;
  /** The idle stretch that is being skipped. */
  readonly skipping: Span | null;
  readonly isLive: boolean;
  readonly windows: readonly string[];
  readonly window: string | null;
  /** Whether the viewer chose the window, or the player follows the person. */
  readonly isPinned: boolean;
  /** Lines that could not be read. */
  readonly damaged: number;
  /** What was left out of the page that is shown, because it is more than a page may take. */
  readonly leftOut: readonly LeftOut[];
  /** Rises when the timeline has changed. */
  readonly timelineVersion: number;
};

export type PlayerOptions = {
  readonly recording: string;
  readonly api: Api;
  readonly onPicture: (picture: Picture) => void;
};

const HELD_BYTES_MAX = 48 << 20;
const BACKGROUND_BYTES_MAX = 64 << 20;
const LOOK_AHEAD_MS = 700;
const FEEDS_MAX = 3;
const LIVE_WAIT_MS = 20_000;

const hasWorkers = () => typeof Worker !== 'undefined';

/** Plays one recording: joins clock, loader, timeline and frame. It knows nothing of how things look. */
export class Player {
  readonly #options: PlayerOptions;
  readonly #loader: Loader;
  readonly #clock = new Clock(() => performance.now());
  #timeline = new Timeline(0, 0);
  #timelineVersion = 0;
  #idle: Span[] = [];
  #idleVersion = -1;
  #link: FrameLink | null = null;
  #status: Status = { kind: 'opening' };
  #wantsPlay = true;
  #speed: Speed = 1;
  #skipsIdle = true;
  #skipping: Span | null = null;
  #window: string | null = null;
  #pinned: string | null = null;
  #fedUntil = 0;
  #moves: Move[] = [];
  #movesUntil = 0;
  #seeks = 0;
  #fetching = false;
  #windowChecked = 0;
  #damaged = 0;
  #isClosed = false;
  #isFollowing = false;
  #frameRequest = 0;

  constructor(options: PlayerOptions) {
    this.#options = options;
    this.#loader = new Loader({
      recording: options.recording,
      api: options.api,
      parser: hasWorkers() ? workerParser() : inlineParser(),
      bytesMax: HELD_BYTES_MAX,
      onLines: (_block, lines, damaged) => {
        this.#timeline.add(lines);
        this.#damaged += damaged;
        this.#timelineVersion++;
      },
      onBlockRead: (block) => {
        this.#timeline.markRead(this.#stretchOf(block.start_ms, block.end_ms));
        this.#timelineVersion++;
      },
    });
  }

  /** The marks with their offsets from the start. */
  get timeline(): Timeline {
    return this.#timeline;
  }

  /** Uses this frame element from now on; it must not have loaded yet. */
  attach(frame: HTMLIFrameElement): void {
    this.#link?.close();
    this.#link = new FrameLink(
      frame,
      () => {},
      () => this.#emit(),
    );
    if (this.#timeline.from !== 0) void this.seek(this.#offset());
  }

  /** Loads the list of blocks and shows the first frame. */
  async open(startMs: number): Promise<void> {
    this.#set({ kind: 'opening' });
    try {
      await this.#loader.refresh();
      const { blocks } = this.#loader;
      if (blocks.length === 0 && !this.#loader.isLive)
        return this.#set({ kind: 'empty', reason: 'no-events' });
      this.#measure();
      await this.seek(startMs);
      void this.#readAll();
      // A second try after a failure comes through here again.
      if (this.#loader.isLive && !this.#isFollowing) void this.#follow();
      cancelAnimationFrame(this.#frameRequest);
      this.#frameRequest = requestAnimationFrame(() => this.#tick());
    } catch (reason) {
      this.#fail(reason);
    }
  }

  play(): void {
    if (this.#status.kind === 'ended') return void this.seek(0, true);
    this.#wantsPlay = true;
    if (this.#status.kind !== 'paused') return;
    this.#clock.run();
    this.#link?.animate(true);
    this.#set({ kind: 'playing' });
  }

  pause(): void {
    this.#wantsPlay = false;
    if (this.#status.kind !== 'playing') return;
    this.#clock.hold();
    this.#link?.animate(false);
    this.#skipping = null;
    this.#set({ kind: 'paused' });
  }

  toggle(): void {
    if (this.#status.kind === 'playing') this.pause();
    else this.play();
  }

  setSpeed(speed: Speed): void {
    this.#speed = speed;
    this.#clock.setRate(speed);
    this.#emit();
  }

  setSkipsIdle(skips: boolean): void {
    this.#skipsIdle = skips;
    if (!skips) this.#skipping = null;
    this.#emit();
  }

  /** Shows one window; null follows the person from window to window. */
  selectWindow(window: string | null): void {
    this.#pinned = window;
    void this.seek(this.#offset());
  }

  /** Goes to a time from the start, drawn from the nearest full snapshot before it. */
  async seek(offset: number, play = this.#wantsPlay): Promise<void> {
    const seek = ++this.#seeks;
    const { from, to } = this.#timeline;
    const at = from + Math.min(Math.max(0, offset), Math.max(0, to - from));
    this.#wantsPlay = play;
    this.#clock.hold();
    this.#clock.seek(at);
    this.#skipping = null;
    if (this.#status.kind !== 'opening') this.#set({ kind: 'waiting' });
    try {
      let window = this.#windowFor(at);
      if (window === null) return this.#set({ kind: 'empty', reason: 'no-snapshot' });
      let shown = await this.#loadFor(window, at);
      // Only now is it known who did something where; the first guess may have been another window.
      const better = this.#windowFor(at);
      if (seek === this.#seeks && better !== null && better !== window) {
        window = better;
        shown = await this.#loadFor(window, at);
      }
      if (seek !== this.#seeks || this.#link === null) return;
      if (shown.events.length === 0) return this.#set({ kind: 'empty', reason: 'no-snapshot' });
      const result = await this.#link.show(shown.events.map((event) => event.json));
      if (seek !== this.#seeks) return;
      if (!result.ok) return this.#set({ kind: 'empty', reason: 'broken-snapshot' });
      this.#window = window;
      this.#fedUntil = shown.until;
      this.#movesUntil = shown.until;
      this.#moves = [];
      this.#resume();
    } catch (reason) {
      if (seek === this.#seeks) this.#fail(reason);
    }
  }

  /** Goes to the mark before or after the position. */
  step(direction: 1 | -1): void {
    const here = this.#clock.at;
    const { marks } = this.#timeline;
    const mark =
      direction > 0 ? marks.find(({ at }) => at > here + 50) : marks.findLast(({ at }) => at < here - 1000);
    if (mark !== undefined) void this.seek(mark.at - this.#timeline.from);
  }

  /** The page that is shown at a time. */
  pageAt(offset: number): Mark | null {
    const at = this.#timeline.from + offset;
    const isPage = (mark: Mark) => mark.kind === 'page' && mark.window === this.#window;
    return this.#timeline.marks.findLast((mark) => isPage(mark) && mark.at <= at) ?? null;
  }

  close(): void {
    this.#isClosed = true;
    cancelAnimationFrame(this.#frameRequest);
    this.#link?.close();
    this.#loader.close();
  }

  #offset(): number {
    return this.#clock.at - this.#timeline.from;
  }

  #measure(): void {
    const { blocks } = this.#loader;
    const from = Math.min(...blocks.map((block) => block.start_ms));
    const to = Math.max(...blocks.map((block) => block.end_ms));
    if (blocks.length === 0) return;
    if (this.#timeline.from === 0) this.#timeline = new Timeline(from, to);
    else this.#timeline.extend(from, to);
    this.#timelineVersion++;
  }

  /** A block with the silence up to its neighbours: between two blocks nothing was recorded. */
  #stretchOf(from: number, to: number): Span {
    const { blocks } = this.#loader;
    const before = Math.max(this.#timeline.from, ...blocks.map((b) => b.end_ms).filter((end) => end < from));
    return { from: Math.min(from, before), to };
  }

  #windowFor(at: number): string | null {
    const usable = (window: string | null) => {
      const frame = window === null ? null : this.#loader.keyframe(window, at);
      return frame !== null && frame <= at;
    };
    if (this.#pinned !== null && this.#loader.keyframe(this.#pinned, at) !== null) return this.#pinned;
    const active = this.#timeline.windowAt(at);
    if (usable(active)) return active;
    if (usable(this.#window)) return this.#window;
    const frames = this.#loader.blocks.flatMap((block) => block.keyframes);
    const before = frames.filter((frame) => frame.timestamp_ms <= at);
    const latest = before.sort((a, b) => b.timestamp_ms - a.timestamp_ms)[0];
    return (latest ?? frames.sort((a, b) => a.timestamp_ms - b.timestamp_ms)[0])?.window ?? null;
  }

  /** Loads what a window needs to be drawn at a time: its last full snapshot and everything since. */
  async #loadFor(window: string, at: number): Promise<{ events: EventRecord[]; until: number }> {
    const frame = this.#loader.keyframe(window, at) ?? at;
    const until = Math.max(at, frame + 1);
    // What follows the position proves that everything up to it has arrived, also within a block.
    const enough = () => this.#loader.events(window, until, until + 60_000).length > 0;
    await this.#loader.load(frame - 1, until, window, enough);
    const events = this.#loader.events(window, frame - 5000, until);
    const base = events.findLastIndex((event) => event.type === 2);
    if (base < 0) return { events: [], until };
    const before = events.slice(0, base).findLastIndex((event) => event.type === 4 || event.type === 2);
    const start = before >= 0 && events[before]?.type === 4 ? before : base;
    return { events: events.slice(start), until };
  }

  #resume(): void {
    this.#link?.animate(this.#wantsPlay);
    if (this.#wantsPlay) this.#clock.run();
    this.#set({ kind: this.#wantsPlay ? 'playing' : 'paused' });
  }

  #tick(): void {
    if (this.#isClosed) return;
    this.#frameRequest = requestAnimationFrame(() => this.#tick());
    if (this.#status.kind !== 'playing' || this.#window === null || this.#link === null) return;
    // A frame that is behind holds the clock up: better slow than a queue that grows.
    if (this.#link.outstanding >= FEEDS_MAX) this.#clock.seek(this.#fedUntil);
    const end = this.#timeline.to;
    const at = Math.min(this.#clock.at, end);
    if (!this.#loader.has(this.#fedUntil, at)) return void this.#fetch(at);
    this.#prefetch(at);
    if (this.#followWindow(at)) return;
    this.#feed(this.#window, at);
    if (at >= end) {
      this.#clock.seek(end);
      if (!this.#loader.isLive) {
        this.#clock.hold();
        this.#link.animate(false);
        this.#skipping = null;
        this.#set({ kind: 'ended' });
        return;
      }
    }
    this.#skip(at);
    this.#emit();
  }

  #feed(window: string, at: number): void {
    for (const record of this.#loader.events(window, this.#movesUntil, at + LOOK_AHEAD_MS)) {
      if (record.moves) this.#moves.push(...splitMoves(record));
    }
    this.#movesUntil = at + LOOK_AHEAD_MS;
    const due = this.#loader
      .events(window, this.#fedUntil, at)
      .filter((record) => !record.moves)
      .map(({ at: time, json }) => ({ at: time, json }));
    const moved = this.#moves.filter((move) => move.at <= at);
    this.#moves = this.#moves.filter((move) => move.at > at);
    this.#fedUntil = at;
    // Of the positions within one frame of the screen only the last can be seen.
    const last = moved.at(-1);
    const all = last === undefined ? due : [...due, last].sort((a, b) => a.at - b.at);
    if (all.length > 0) this.#link?.feed(all.map(({ json }) => json));
  }

  #followWindow(at: number): boolean {
    const now = performance.now();
    if (this.#pinned !== null || now - this.#windowChecked < 250) return false;
    this.#windowChecked = now;
    const wanted = this.#windowFor(at);
    if (wanted === null || wanted === this.#window) return false;
    void this.seek(at - this.#timeline.from);
    return true;
  }

  async #fetch(at: number): Promise<void> {
    const seek = this.#seeks;
    this.#clock.hold();
    this.#clock.seek(this.#fedUntil);
    this.#set({ kind: 'waiting' });
    try {
      await this.#loader.load(this.#fedUntil, at + 1000, null);
      if (seek === this.#seeks) this.#resume();
    } catch (reason) {
      if (seek === this.#seeks) this.#fail(reason);
    }
  }

  #prefetch(at: number): void {
    const until = Math.min(at + 10_000 * Math.max(1, this.#clock.rate), this.#timeline.to);
    if (this.#fetching || this.#loader.has(at, until)) return;
    this.#fetching = true;
    this.#loader
      .load(at, until, null)
      .catch(() => {})
      .finally(() => {
        this.#fetching = false;
      });
  }

  #skip(at: number): void {
    if (!this.#skipsIdle) {
      this.#clock.setRate(this.#speed);
      return;
    }
    if (this.#idleVersion !== this.#timelineVersion) {
      this.#idle = this.#timeline.idle();
      this.#idleVersion = this.#timelineVersion;
    }
    const isOpenEnd = (span: Span) => this.#loader.isLive && span.to >= this.#timeline.to;
    const span = this.#idle.find((item) => item.from + 1000 < at && at < item.to - 800 && !isOpenEnd(item));
    this.#skipping = span ?? null;
    if (span === undefined) {
      this.#clock.setRate(this.#speed);
      return;
    }
    // The rate is for the whole stretch: worked out anew each time, it would fall towards the end for ever.
    const plan = skipPlan(span.to - span.from, this.#speed);
    if (plan.kind === 'run') this.#clock.setRate(plan.rate);
    else void this.seek(span.to - 800 - this.#timeline.from);
  }

  /** Reads the rest in the background, for the marks; a very long recording is read as it plays. */
  async #readAll(): Promise<void> {
    let bytes = 0;
    for (const block of this.#loader.blocks) {
      bytes += block.plain_bytes;
      if (this.#isClosed || bytes > BACKGROUND_BYTES_MAX) return;
      if (this.#loader.wasRead(block)) continue;
      try {
        await this.#loader.load(block.start_ms, block.end_ms, null);
      } catch {
        return;
      }
      this.#emit();
    }
  }

  async #follow(): Promise<void> {
    this.#isFollowing = true;
    while (!this.#isClosed && this.#loader.isLive) {
      try {
        const asked = performance.now();
        const changed = await this.#loader.refresh(LIVE_WAIT_MS);
        // A server that does not wait must not be asked without end.
        if (performance.now() - asked < 500) await new Promise((done) => setTimeout(done, 1000));
        if (!changed) continue;
        const isFirst = this.#timeline.from === 0;
        this.#measure();
        await this.#readAll();
        if (this.#status.kind === 'empty' || isFirst) await this.seek(this.#offset());
      } catch {
        await new Promise((done) => setTimeout(done, 3000));
      }
      this.#emit();
    }
    this.#isFollowing = false;
    this.#emit();
  }

  #fail(reason: unknown): void {
    if (this.#isClosed) return;
    this.#clock.hold();
    const error = reason instanceof LoadError ? reason : new LoadError('server', String(reason));
    this.#set({ kind: 'failed', reason: error.kind, message: error.message });
  }

  #set(status: Status): void {
    this.#status = status;
    this.#emit();
  }

  #emit(): void {
    if (this.#isClosed) return;
    const { from, to } = this.#timeline;
    const windows = new Set(
      this.#loader.blocks.flatMap((block) => block.keyframes.map((frame) => frame.window)),
    );
    this.#options.onPicture({
      status: this.#status,
      at: Math.max(0, Math.min(this.#clock.at, to) - from),
      duration: Math.max(0, to - from),
      speed: this.#speed,
      skipsIdle: this.#skipsIdle,
      skipping:
        this.#skipping === null ? null : { from: this.#skipping.from - from, to: this.#skipping.to - from },
      isLive: this.#loader.isLive,
      windows: [...windows],
      window: this.#window,
      isPinned: this.#pinned !== null,
      damaged: this.#damaged,
      leftOut: this.#link?.leftOut ?? [],
      timelineVersion: this.#timelineVersion,
    });
  }
}
