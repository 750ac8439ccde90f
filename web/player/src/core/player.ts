import type { Screen } from '../mobile/screen.ts';
import type { Motion } from '../protocol.ts';
import type { BlockInfo } from './blocks.ts';
import { Clock, type Speed, skipPlan } from './clock.ts';
import { follow } from './follow.ts';
import { FrameLink } from './frame-link.ts';
import { Loader } from './loader.ts';
import { Log } from './log.ts';
import type { Mark } from './mark.ts';
import { isScreen, newScreen } from './mobile.ts';
import { lateParser, newParser } from './parser.ts';
import type { Picture, Status } from './picture.ts';
import { type Move, splitMoves } from './pointer.ts';
import { asObject, type EventRecord, type Json } from './record.ts';
import { Scan } from './scan.ts';
import { drawable, loadScene, type Scene } from './scene.ts';
import { type Api, LoadError, Source, type Trouble } from './source.ts';
import { type Span, Timeline } from './timeline.ts';

export type PlayerOptions = {
  readonly recording: string;
  /** Path below which the server is mounted; empty at the root. */
  readonly base?: string;
  readonly api: Api;
  /** Origin of the frame's document; see `Place`. */
  readonly frameOrigin: string;
  readonly onPicture: (picture: Picture) => void;
};

const HELD_BYTES_MAX = 20 << 20;
const AHEAD_BYTES_MAX = 8 << 20;
const AHEAD_MS = 10_000;
const LOOK_AHEAD_MS = 700;
const FEEDS_MAX = 3;
/**
 * How far behind what is being recorded the position may be before it hurries. Uploads bring some five seconds at once;
 * with this they are played within one, so that a change is seen less than two after its upload left the page.
 */
const LIVE_LAG_MS = 300;
const WINDOW_CHECK_MS = 250;
/** How often films and sounds are compared with the position. */
const MEDIA_CHECK_MS = 1000;
/** How often the view is told of a growing timeline, at most; and how much less often with each row that it sorts anew. */
const TIMELINE_PAUSE_MS = 200;
const TIMELINE_PAUSE_ROW_MS = 0.01;
/** The same of how much has come. */
const PROGRESS_PAUSE_MS = 50;

const pause = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

/** Plays one recording: joins clock, loader, timeline and frame. It knows nothing of how things look. */
export class Player {
  readonly #options: PlayerOptions;
  readonly #source: Source;
  readonly #loader: Loader;
  readonly #scan: Scan;
  readonly #clock = new Clock(() => performance.now());
  /** What the inspector lists, besides the marks. */
  readonly log = new Log();
  #timeline = new Timeline(0, 0);
  #timelineVersion = 0;
  #timelineTimer: ReturnType<typeof setTimeout> | null = null;
  #idle: Span[] = [];
  #idleVersion = -1;
  #link: FrameLink | null = null;
  #status: Status = { kind: 'opening' };
  #trouble: Trouble | null = null;
  #wantsPlay = true;
  #speed: Speed = 1;
  #skipsIdle = true;
  #skipping: Span | null = null;
  #window: string | null = null;
  /** Draws a mobile screen; null while pages are shown. */
  #screen: Screen | null = null;
  #pinned: string | null = null;
  #fedUntil = 0;
  #moves: Move[] = [];
  #movesUntil = 0;
  #seeks = 0;
  #isLoadingAhead = false;
  #windowChecked = 0;
  /** When the frame was last told how to run, and how fast that was. */
  #animated = { since: 0, rate: 1 };
  #progressTold = 0;
  #isClosed = false;
  #isFollowing = false;
  #isAtEdge = false;
  #hasEnded = false;
  #frameRequest = 0;

  constructor(options: PlayerOptions) {
    this.#options = options;
    this.#source = new Source(options, (trouble) => {
      this.#trouble = trouble;
      this.#emit();
    });
    const onBroken = (block: BlockInfo) => {
      this.#timeline.markBroken({ from: block.start_ms, to: Math.max(block.end_ms, block.start_ms + 1) });
      this.#timelineChanged();
    };
    this.#loader = new Loader({
      source: this.#source,
      parser: newParser(),
      bytesMax: HELD_BYTES_MAX,
      onProgress: () => {
        const now = performance.now();
        if (!this.#isBusy || now - this.#progressTold < PROGRESS_PAUSE_MS) return;
        this.#progressTold = now;
        this.#emit();
      },
      onBroken,
    });
    this.#scan = new Scan({
      source: this.#source,
      // A parser of its own: reading for the timeline must not stand before what a seek waits for.
      parser: lateParser(),
      timeline: () => this.#timeline,
      log: this.log,
      index: () => this.#loader.index,
      at: () => this.#clock.at,
      quiet: async () => {
        while (!this.#isClosed && (this.#isBusy || this.#loader.isLoading)) await pause(40);
      },
      onChange: () => this.#timelineChanged(),
      onBroken,
      refresh: async () => {
        this.#loader.take(await this.#source.list());
      },
    });
  }

  /** The marks with their offsets from the start. */
  get timeline(): Timeline {
    return this.#timeline;
  }

  /** Whether the timeline holds everything there is. */
  get isScanned(): boolean {
    return this.#scan.isComplete;
  }

  /** Uses this frame element from now on; it must not have loaded yet. */
  attach(frame: HTMLIFrameElement): void {
    this.#link?.close();
    this.#link = new FrameLink(
      frame,
      this.#options.frameOrigin,
      () => {},
      () => this.#emit(),
    );
    if (this.#timeline.from !== 0) void this.seek(this.#offset());
  }

  /** Loads the list of blocks and shows the first frame. */
  async open(startMs: number): Promise<void> {
    this.#set({ kind: 'opening' });
    try {
      this.#loader.take(await this.#source.list());
      if (this.#isClosed) return;
      this.#measure();
      if (this.#loader.index.lines.length > 0) await this.seek(startMs);
      else this.#set({ kind: 'empty', reason: 'no-events' });
      this.#scan.run();
      // A second try after a failure comes through here again.
      if (this.#loader.isLive && !this.#isFollowing) void this.#follow();
      cancelAnimationFrame(this.#frameRequest);
      this.#frameRequest = requestAnimationFrame(() => this.#tick());
    } catch (reason) {
      this.#fail(reason);
    }
  }

  /** Asks the server again now, without waiting for the next try. */
  retry(): void {
    this.#source.hurry();
  }

  play(): void {
    if (this.#status.kind === 'ended') return void this.seek(0, true);
    this.#wantsPlay = true;
    if (this.#status.kind !== 'paused') {
      this.#emit();
      return;
    }
    this.#clock.run();
    this.#animate(true);
    this.#set({ kind: 'playing' });
  }

  pause(): void {
    this.#wantsPlay = false;
    this.#isAtEdge = false;
    if (this.#status.kind !== 'playing') {
      this.#emit();
      return;
    }
    this.#clock.hold();
    this.#animate(false);
    this.#skipping = null;
    this.#set({ kind: 'paused' });
  }

  toggle(): void {
    if (this.#status.kind === 'playing' || (this.#isBusy && this.#wantsPlay)) this.pause();
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

  /** Goes to what is being recorded now, and follows it. */
  seekLive(): void {
    void this.seek(this.#timeline.to - this.#timeline.from, true);
    this.#isAtEdge = this.#loader.isLive;
  }

  /** Goes to a time from the start, drawn from the nearest full snapshot before it. */
  async seek(offset: number, play = this.#wantsPlay): Promise<void> {
    const seek = ++this.#seeks;
    const { from, to } = this.#timeline;
    const at = from + Math.min(Math.max(0, offset), Math.max(0, to - from));
    this.#wantsPlay = play;
    this.#isAtEdge = false;
    this.#clock.hold();
    this.#clock.seek(at);
    this.#skipping = null;
    if (this.#status.kind !== 'opening') this.#set({ kind: 'waiting' });
    try {
      let window = this.#windowFor(at);
      if (window === null) return this.#set({ kind: 'empty', reason: 'no-snapshot' });
      let isPage = true;
      let shown = await this.#load(window, at, (events) => {
        // Screens are drawn by what is fetched only once it is known that there are any.
        isPage &&= seek === this.#seeks && !events.some(isScreen);
        if (isPage) this.#link?.read(seek, drawable(null, events));
      });
      // Only now is it known who did something where; the first guess may have been another window.
      const better = this.#windowFor(at);
      if (seek === this.#seeks && better !== null && better !== window) {
        window = better;
        shown = await this.#load(window, at);
      }
      if (seek !== this.#seeks || this.#link === null) return;
      if (shown.events.length === 0) return this.#showNothing(window, at);
      const screen = shown.events.some(isScreen) ? await newScreen() : null;
      if (seek !== this.#seeks) return;
      const result = await this.#link.show(drawable(screen, shown.events), this.#motion(this.#wantsPlay));
      if (seek !== this.#seeks) return;
      this.#screen = screen;
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

  /**
   * What draws the page as it was at a time from the start, for a look that leaves playback alone; null where there is
   * nothing to draw, or where playback itself waits.
   */
  async glance(offset: number): Promise<string[] | null> {
    const at = this.#timeline.from + offset;
    const window = this.#windowFor(at);
    if (this.#isBusy || window === null) return null;
    const { events } = await this.#load(window, at);
    if (events.length === 0) return null;
    return drawable(events.some(isScreen) ? await newScreen() : null, events);
  }

  /** Goes to the mark before or after the position, or to where somebody went to another window. */
  step(direction: 1 | -1): void {
    const mark = this.#timeline.markBeside(this.#clock.at, direction);
    if (mark !== null) void this.seek(mark.at - this.#timeline.from);
  }

  /** The page that is shown at a time. */
  pageAt(offset: number): Mark | null {
    return this.#timeline.pageAt(this.#timeline.from + offset, this.#window);
  }

  /** The whole event of a line, fetched again; null where there is none any more. */
  async event(block: string, line: number): Promise<Json | null> {
    const text = await this.#source.line(block, line);
    if (text === null) return null;
    try {
      const value: unknown = JSON.parse(text);
      // A line of the replay says first in which window it was.
      return asObject(Array.isArray(value) ? value[1] : value);
    } catch {
      return null;
    }
  }

  /** The frame that draws the page: what its tree is, and what in it to draw a frame around. */
  get frame(): Pick<FrameLink, 'tree' | 'find' | 'outline' | 'still'> | null {
    return this.#link;
  }

  /** What the server knows of the recording. */
  summary(): Promise<Json> {
    return this.#source.summary();
  }

  /** The first analytics event, which says on what the page was seen; null where there is none. */
  async firstAnalytics(): Promise<Json | null> {
    const block = this.#loader.index.analytics[0];
    return block === undefined ? null : this.event(block.url, 0);
  }

  close(): void {
    this.#isClosed = true;
    cancelAnimationFrame(this.#frameRequest);
    if (this.#timelineTimer !== null) clearTimeout(this.#timelineTimer);
    this.#source.close();
    this.#link?.close();
    this.#scan.close();
    this.#loader.close();
  }

  get #isBusy(): boolean {
    return this.#status.kind === 'opening' || this.#status.kind === 'waiting';
  }

  #offset(): number {
    return this.#clock.at - this.#timeline.from;
  }

  #measure(): void {
    const { from, to, lines } = this.#loader.index;
    if (lines.length === 0) return;
    if (this.#timeline.from === 0) this.#timeline = new Timeline(from, to);
    else this.#timeline.extend(from, to);
    this.#timelineChanged();
  }

  #windowFor(at: number): string | null {
    const { index } = this.#loader;
    const usable = (window: string | null) => {
      const frame = window === null ? null : index.keyframe(window, at);
      return frame !== null && frame <= at;
    };
    if (this.#pinned !== null && index.keyframe(this.#pinned, at) !== null) return this.#pinned;
    const seen = this.#loader.lastActive(at - 60_000, at);
    const known = this.#timeline.lastMoment(at);
    const active = known === null || (seen !== null && seen.at >= known.last) ? seen : known;
    if (usable(active?.window ?? null)) return active?.window ?? null;
    if (usable(this.#window)) return this.#window;
    return index.windowAt(at);
  }

  #load(window: string, at: number, onSome?: (events: EventRecord[]) => void): Promise<Scene> {
    return loadScene(this.#loader, this.#timeline, window, at, onSome);
  }

  #showNothing(window: string, at: number): void {
    const frame = this.#loader.index.keyframe(window, at);
    if (frame === null || this.#timeline.gapAt(frame) === null) {
      this.#set({ kind: 'empty', reason: 'no-snapshot' });
      return;
    }
    const { lines } = this.#loader.index;
    const frames = lines.flatMap((block) => block.keyframes.map(({ timestamp_ms }) => timestamp_ms));
    const next = frames
      .filter((time) => time > at && this.#timeline.gapAt(time) === null)
      .sort((a, b) => a - b)[0];
    this.#set({ kind: 'damaged', next: next === undefined ? null : next - this.#timeline.from });
  }

  #resume(): void {
    if (this.#wantsPlay) this.#clock.run();
    this.#animate(this.#wantsPlay);
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
    this.#loadAhead(at);
    if (this.#followWindow(at)) return;
    if (!this.#feed(this.#window, at)) return;
    if (at >= end) {
      this.#clock.seek(end);
      if (!this.#loader.isLive) {
        this.#clock.hold();
        this.#animate(false);
        this.#skipping = null;
        this.#set({ kind: 'ended' });
        return;
      }
      this.#isAtEdge = true;
    }
    this.#pace(at);
    const { since, rate } = this.#animated;
    if (rate !== this.#clock.rate || performance.now() - since > MEDIA_CHECK_MS) this.#animate(true);
    this.#emit();
  }

  #motion(running: boolean): Motion {
    return { running, at: this.#clock.at, rate: this.#clock.rate };
  }

  /** Has animations and media run as the position does. */
  #animate(running: boolean): void {
    this.#animated = { since: performance.now(), rate: this.#clock.rate };
    this.#link?.animate(this.#motion(running));
  }

  /** Shows what has happened by now. False where that needs a page to be built anew. */
  #feed(window: string, at: number): boolean {
    for (const record of this.#loader.events(window, this.#movesUntil, at + LOOK_AHEAD_MS)) {
      if (record.moves) this.#moves.push(...splitMoves(record));
    }
    this.#movesUntil = at + LOOK_AHEAD_MS;
    const records = this.#loader.events(window, this.#fedUntil, at);
    // What draws screens has to be fetched first.
    if (this.#screen === null && records.some(isScreen)) {
      void this.seek(at - this.#timeline.from);
      return false;
    }
    const due = records.filter((record) => !record.moves).map(({ at: time, json }) => ({ at: time, json }));
    const moved = this.#moves.filter((move) => move.at <= at);
    this.#moves = this.#moves.filter((move) => move.at > at);
    this.#fedUntil = at;
    // Of the positions within one frame of the screen only the last can be seen.
    const last = moved.at(-1);
    const all = last === undefined ? due : [...due, last].sort((a, b) => a.at - b.at);
    const texts = drawable(this.#screen, all);
    if (texts.length > 0) this.#link?.feed(texts);
    return true;
  }

  #followWindow(at: number): boolean {
    const now = performance.now();
    if (this.#pinned !== null || now - this.#windowChecked < WINDOW_CHECK_MS) return false;
    this.#windowChecked = now;
    const wanted = this.#windowFor(at);
    if (wanted === null || wanted === this.#window) return false;
    const wasAtEdge = this.#isAtEdge;
    void this.seek(at - this.#timeline.from);
    this.#isAtEdge = wasAtEdge;
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

  #loadAhead(at: number): void {
    const until = Math.min(at + AHEAD_MS * Math.max(1, this.#clock.rate), this.#timeline.to);
    if (this.#isLoadingAhead || this.#loader.has(at, until)) return;
    this.#isLoadingAhead = true;
    this.#loader
      .loadAhead(at, until, AHEAD_BYTES_MAX)
      .catch(() => pause(1000))
      .finally(() => {
        this.#isLoadingAhead = false;
      });
  }

  /** Sets the clock's rate: the viewer's, or more to cross an idle stretch or to catch up with a live recording. */
  #pace(at: number): void {
    if (this.#isAtEdge) {
      const lag = this.#timeline.to - at;
      this.#skipping = null;
      this.#clock.setRate(Math.max(1, lag / LIVE_LAG_MS));
      return;
    }
    const span = this.#skipsIdle ? this.#idleAt(at) : null;
    this.#skipping = span;
    if (span === null) {
      this.#clock.setRate(this.#speed);
      return;
    }
    // The rate is for the whole stretch: worked out anew each time, it would fall towards the end for ever.
    const plan = skipPlan(span.to - span.from, this.#speed);
    if (plan.kind === 'run') this.#clock.setRate(plan.rate);
    else void this.seek(span.to - 800 - this.#timeline.from);
  }

  #idleAt(at: number): Span | null {
    if (this.#idleVersion !== this.#timelineVersion) {
      this.#idle = this.#timeline.idle();
      this.#idleVersion = this.#timelineVersion;
    }
    const isOpenEnd = (span: Span) => this.#loader.isLive && span.to >= this.#timeline.to;
    return this.#idle.find((item) => item.from + 1000 < at && at < item.to - 800 && !isOpenEnd(item)) ?? null;
  }

  async #follow(): Promise<void> {
    this.#isFollowing = true;
    await follow({
      source: this.#source,
      loader: this.#loader,
      isClosed: () => this.#isClosed,
      onNews: () => this.#takeNews(),
      onEnd: (hasEnded) => {
        if (this.#hasEnded === hasEnded) return;
        this.#hasEnded = hasEnded;
        if (hasEnded) this.#isAtEdge = false;
        this.#emit();
      },
      onRefused: (reason) => this.#fail(reason),
    });
    this.#isFollowing = false;
  }

  async #takeNews(): Promise<void> {
    const { index } = this.#loader;
    const known = this.#timeline.to;
    const isFirst = this.#timeline.from === 0 || this.#status.kind === 'empty';
    // Loaded before the end moves, so that the position never has to wait for it.
    if (this.#isAtEdge) await this.#loader.load(known, index.to, null);
    const isLate = (block: BlockInfo) =>
      block.end_ms > known && block.start_ms < this.#fedUntil && block.windows.includes(this.#window ?? '');
    const missed = this.#isAtEdge && index.overlapping(known, index.to).some(isLate);
    this.#measure();
    this.#scan.run();
    if (isFirst) await this.seek(this.#offset());
    else if (missed || this.#status.kind === 'ended') {
      // Who saw it to its end sees how it goes on.
      await this.seek(known - this.#timeline.from, true);
      this.#isAtEdge = true;
    }
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

  #timelineChanged(): void {
    if (this.#timelineTimer !== null || this.#isClosed) return;
    this.#timelineTimer = setTimeout(
      () => {
        this.#timelineTimer = null;
        this.#timelineVersion++;
        this.#emit();
      },
      TIMELINE_PAUSE_MS + TIMELINE_PAUSE_ROW_MS * this.log.count,
    );
  }

  #emit(): void {
    if (this.#isClosed) return;
    const { from, to } = this.#timeline;
    const shift = (span: Span) => ({ from: span.from - from, to: span.to - from });
    const here = this.#clock.at;
    const gap = this.#timeline.gapAt(here);
    this.#options.onPicture({
      status: this.#status,
      wantsPlay: this.#wantsPlay,
      at: Math.max(0, Math.min(here, to) - from),
      duration: Math.max(0, to - from),
      progress: this.#isBusy ? this.#loader.progress : null,
      speed: this.#speed,
      skipsIdle: this.#skipsIdle,
      skipping: this.#skipping === null ? null : shift(this.#skipping),
      gap: gap === null ? null : shift(gap),
      trouble: this.#trouble,
      isLive: this.#loader.isLive,
      isAtEdge: this.#isAtEdge,
      hasEnded: this.#hasEnded,
      isScreen: this.#screen !== null,
      windows: this.#loader.index.windows,
      window: this.#window,
      isPinned: this.#pinned !== null,
      missing: this.#link?.missing ?? [],
      leftOut: [...(this.#link?.leftOut ?? []), ...(this.#screen?.leftOut ?? [])],
      timelineVersion: this.#timelineVersion,
    });
  }
}
