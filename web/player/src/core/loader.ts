import type { Parser } from './parser.ts';
import type { EventRecord, ParsedLine } from './record.ts';

/** One way to reach the API: a path in, a response out. The app adds what access needs. */
export type Api = (path: string, signal?: AbortSignal) => Promise<Response>;

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
};

/** Why something could not be loaded, in a form the view has words for. */
export class LoadError extends Error {
  readonly kind: 'offline' | 'access' | 'missing' | 'server';

  constructor(kind: LoadError['kind'], message: string) {
    super(message);
    this.kind = kind;
  }
}

type Entry = {
  readonly block: BlockInfo;
  records: EventRecord[];
  bytes: number;
  done: boolean;
  sorted: boolean;
  usedAt: number;
  loading: Promise<void> | null;
};

export type LoaderOptions = {
  readonly recording: string;
  readonly api: Api;
  readonly parser: Parser;
  /** Most text of events to hold; blocks far from the position leave first. */
  readonly bytesMax: number;
  /** Called the first time a line of a block is seen, for the timeline. */
  readonly onLines: (block: BlockInfo, lines: readonly ParsedLine[], damaged: number) => void;
  readonly onBlockRead: (block: BlockInfo) => void;
};

/** Loads blocks, holds the ones near the position as text, and forgets the others. */
export class Loader {
  readonly #options: LoaderOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #seen = new Set<string>();
  readonly #abort = new AbortController();
  #blocks: BlockInfo[] = [];
  #version = '';
  #uses = 0;
  isLive = false;

  constructor(options: LoaderOptions) {
    this.#options = options;
  }

  /** The blocks with events for the replay, in order of time. */
  get blocks(): readonly BlockInfo[] {
    return this.#blocks;
  }

  get heldBytes(): number {
    let sum = 0;
    for (const entry of this.#entries.values()) sum += entry.bytes;
    return sum;
  }

  /** Asks for the list of blocks; with `waitMs`, waits for a newer one. Returns whether it changed. */
  async refresh(waitMs = 0): Promise<boolean> {
    const query = waitMs > 0 ? `?after=${encodeURIComponent(this.#version)}&wait_ms=${waitMs}` : '';
    const path = `/api/recordings/${encodeURIComponent(this.#options.recording)}/blocks${query}`;
    const list = (await (await this.#get(path)).json()) as BlockList;
    const version = String(list.version);
    const changed = version !== this.#version || list.is_live !== this.isLive;
    this.#version = version;
    this.isLive = list.is_live;
    this.#blocks = list.blocks
      .filter((block) => block.kind === 'lines' && block.event_count > 0)
      .sort((a, b) => a.start_ms - b.start_ms || a.index - b.index);
    const urls = new Set(this.#blocks.map((block) => block.url));
    for (const url of this.#entries.keys()) if (!urls.has(url)) this.#entries.delete(url);
    return changed;
  }

  /** Whether every event of a stretch is in memory. */
  has(from: number, to: number): boolean {
    return this.#overlapping(from, to).every((block) => this.#entries.get(block.url)?.done === true);
  }

  /** Whether a block has been read before, even if its events have left memory since. */
  wasRead(block: BlockInfo): boolean {
    return this.#seen.has(block.url);
  }

  /** Loads the blocks of a stretch. `enough` is asked after each piece and may end the waiting early. */
  async load(
    from: number,
    to: number,
    window: string | null,
    enough: () => boolean = () => false,
  ): Promise<void> {
    const wanted = this.#overlapping(from, to).filter(
      (block) => window === null || block.windows.length === 0 || block.windows.includes(window),
    );
    let ready = () => {};
    const early = new Promise<void>((done) => {
      ready = done;
    });
    // Two at a time: the second hides the first one's waiting, more would delay the first frame.
    const queue = [...wanted];
    const lane = async () => {
      for (let block = queue.shift(); block !== undefined; block = queue.shift()) {
        await this.#loadBlock(block, () => enough() && ready());
      }
    };
    await Promise.race([Promise.all([lane(), lane()]), early]);
    this.#evict(wanted);
  }

  /** The events in memory with `after < at <= until`, in order of time. */
  events(window: string, after: number, until: number): EventRecord[] {
    const out: EventRecord[] = [];
    for (const block of this.#overlapping(after, until)) {
      const entry = this.#entries.get(block.url);
      if (entry === undefined) continue;
      entry.usedAt = ++this.#uses;
      if (!entry.sorted) {
        entry.records.sort((a, b) => a.at - b.at);
        entry.sorted = true;
      }
      for (let i = firstAfter(entry.records, after); i < entry.records.length; i++) {
        const record = entry.records[i];
        if (record === undefined || record.at > until) break;
        if (record.window === window) out.push(record);
      }
    }
    // Blocks of one recording may overlap in time where batches arrived late.
    return out.sort((a, b) => a.at - b.at);
  }

  /** The last full snapshot of a window at or before a time; the first one where there is none before. */
  keyframe(window: string, at: number): number | null {
    let before: number | null = null;
    let first: number | null = null;
    for (const block of this.#blocks) {
      for (const frame of block.keyframes) {
        if (frame.window !== window) continue;
        if (frame.timestamp_ms <= at) before = Math.max(before ?? 0, frame.timestamp_ms);
        if (first === null || frame.timestamp_ms < first) first = frame.timestamp_ms;
      }
    }
    return before ?? first;
  }

  close(): void {
    this.#abort.abort();
    this.#entries.clear();
    this.#options.parser.close();
  }

  #overlapping(from: number, to: number): BlockInfo[] {
    return this.#blocks.filter((block) => block.start_ms <= to && block.end_ms >= from);
  }

  async #loadBlock(block: BlockInfo, onProgress: () => void): Promise<void> {
    const known = this.#entries.get(block.url);
    if (known?.done === true) return onProgress();
    if (known?.loading) {
      await known.loading;
      return onProgress();
    }
    const entry: Entry = {
      block,
      records: [],
      bytes: 0,
      done: false,
      sorted: true,
      usedAt: ++this.#uses,
      loading: null,
    };
    this.#entries.set(block.url, entry);
    entry.loading = this.#read(entry, onProgress);
    try {
      await entry.loading;
    } catch (reason) {
      this.#entries.delete(block.url);
      throw reason;
    } finally {
      entry.loading = null;
    }
  }

  async #read(entry: Entry, onProgress: () => void): Promise<void> {
    const response = await this.#get(entry.block.url);
    if (response.body === null) throw new LoadError('server', 'the server sent no body');
    const fresh = !this.#seen.has(entry.block.url);
    this.#seen.add(entry.block.url);
    await this.#options.parser.parse(response.body, (lines, damaged) => {
      for (const { record } of lines) {
        const last = entry.records.at(-1);
        if (last !== undefined && last.at > record.at) entry.sorted = false;
        entry.records.push(record);
        entry.bytes += record.json.length;
      }
      if (fresh) this.#options.onLines(entry.block, lines, damaged);
      onProgress();
    });
    entry.done = true;
    this.#options.onBlockRead(entry.block);
    onProgress();
  }

  async #get(path: string): Promise<Response> {
    let response: Response;
    try {
      response = await this.#options.api(path, this.#abort.signal);
    } catch (reason) {
      throw new LoadError('offline', String(reason));
    }
    if (response.ok) return response;
    if (response.status === 401 || response.status === 403) throw new LoadError('access', 'not signed in');
    if (response.status === 404) throw new LoadError('missing', 'there is no such recording');
    throw new LoadError('server', `the server answered ${response.status}`);
  }

  #evict(keep: readonly BlockInfo[]): void {
    const kept = new Set(keep.map((block) => block.url));
    let bytes = this.heldBytes;
    const others = [...this.#entries.values()]
      .filter((entry) => entry.done && !kept.has(entry.block.url))
      .sort((a, b) => a.usedAt - b.usedAt);
    for (const entry of others) {
      if (bytes <= this.#options.bytesMax) return;
      this.#entries.delete(entry.block.url);
      bytes -= entry.bytes;
    }
  }
}

function firstAfter(records: readonly EventRecord[], at: number): number {
  let low = 0;
  let high = records.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const record = records[middle];
    if (record !== undefined && record.at <= at) low = middle + 1;
    else high = middle;
  }
  return low;
}
