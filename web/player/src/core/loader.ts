import { BlockIndex, type BlockInfo, type BlockList } from './blocks.ts';
import { countBefore } from './ordered.ts';
import type { Parser } from './parser.ts';
import type { EventRecord } from './record.ts';
import { LoadError, type Source } from './source.ts';

type Entry = {
  readonly block: BlockInfo;
  records: EventRecord[];
  /** What the records take in memory, and how much was read for them. */
  bytes: number;
  readBytes: number;
  done: boolean;
  sorted: boolean;
  usedAt: number;
  loading: Promise<void> | null;
};

export type LoaderOptions = {
  readonly source: Source;
  readonly parser: Parser;
  /** Most text of events to hold beyond what is asked for; blocks used longest ago leave first. */
  readonly bytesMax: number;
  /** A block's events have come, some or all of them. */
  readonly onProgress: () => void;
  /** A block cannot be read. The recording plays on without it. */
  readonly onBroken: (block: BlockInfo) => void;
};

/** Loads blocks, holds the ones near the position as text, and forgets the others. */
export class Loader {
  readonly #options: LoaderOptions;
  readonly #entries = new Map<string, Entry>();
  #index = new BlockIndex({ blocks: [] });
  #version = '';
  #uses = 0;
  #wanted: readonly BlockInfo[] = [];
  isLive = false;

  constructor(options: LoaderOptions) {
    this.#options = options;
  }

  get index(): BlockIndex {
    return this.#index;
  }

  get version(): string {
    return this.#version;
  }

  get heldBytes(): number {
    let sum = 0;
    for (const entry of this.#entries.values()) sum += entry.bytes;
    return sum;
  }

  get isLoading(): boolean {
    for (const entry of this.#entries.values()) if (!entry.done) return true;
    return false;
  }

  /** How much of what is being waited for has come, from 0 to 1; null where nothing is. */
  get progress(): number | null {
    let all = 0;
    let come = 0;
    for (const { url, plain_bytes } of this.#wanted) {
      const entry = this.#entries.get(url);
      all += plain_bytes;
      come += entry?.done ? plain_bytes : Math.min(plain_bytes, entry?.readBytes ?? 0);
    }
    return all === 0 ? null : come / all;
  }

  /** Takes a new list of blocks. Returns whether it differs from the one before. */
  take(list: BlockList): boolean {
    const version = String(list.version);
    const changed = version !== this.#version || list.is_live !== this.isLive;
    this.isLive = list.is_live;
    if (version === this.#version) return changed;
    this.#version = version;
    this.#index = new BlockIndex(list);
    for (const url of this.#entries.keys()) if (!this.#index.urls.has(url)) this.#entries.delete(url);
    return changed;
  }

  /** Whether every event of a stretch is in memory. */
  has(from: number, to: number): boolean {
    return this.#index.overlapping(from, to).every((block) => this.#entries.get(block.url)?.done === true);
  }

  /**
   * Loads the blocks of a stretch, of one window or of all. Resolves once everything up to `to` is there: of a block
   * that goes on beyond it, the rest keeps coming. `onPiece` is called as often as some of it has come.
   */
  async load(from: number, to: number, window: string | null, onPiece = () => {}): Promise<void> {
    for (;;) {
      const wanted = this.#wantedOf(from, to, window);
      try {
        return await this.#loadAll(wanted, to, onPiece);
      } catch (reason) {
        if (!(reason instanceof LoadError) || reason.kind !== 'missing') throw reason;
        // Blocks are merged into larger ones once a recording has ended: the new list has what the old one had.
        this.take(await this.#options.source.list());
        const gone = wanted.filter((block) => !this.#index.urls.has(block.url));
        if (gone.length === 0) throw reason;
      }
    }
  }

  /** Loads ahead of the position, a bounded number of bytes. */
  async loadAhead(from: number, to: number, bytesMax: number): Promise<void> {
    let until = from;
    let bytes = 0;
    for (const block of this.#index.overlapping(from, to)) {
      bytes += block.plain_bytes;
      if (bytes > bytesMax && until > from) break;
      until = Math.max(until, Math.min(block.end_ms, to));
    }
    await this.load(from, until, null);
  }

  /** Until when the events of a stretch are there: none that is still to come is older. */
  settled(from: number, to: number, window: string | null): number {
    let until = to;
    for (const block of this.#wantedOf(from, to, window)) {
      const entry = this.#entries.get(block.url);
      if (entry?.done) continue;
      const last = entry?.sorted ? entry.records.at(-1)?.at : undefined;
      until = Math.min(until, (last ?? block.start_ms) - 1);
    }
    return until;
  }

  /** The events in memory with `after < at <= until`, in order of time. */
  events(window: string, after: number, until: number): EventRecord[] {
    const out: EventRecord[] = [];
    const blocks = this.#index.overlapping(after, until);
    for (const block of blocks) {
      const entry = this.#ordered(block);
      if (entry === null) continue;
      for (let i = countBefore(entry.records, after, true); i < entry.records.length; i++) {
        const record = entry.records[i];
        if (record === undefined || record.at > until) break;
        if (record.window === window) out.push(record);
      }
    }
    // Blocks of one recording may overlap in time where batches arrived late.
    return blocks.length > 1 ? out.sort((a, b) => a.at - b.at) : out;
  }

  /** The last thing somebody did in a stretch, as far as it is in memory. */
  lastActive(after: number, until: number): EventRecord | null {
    let best: EventRecord | null = null;
    for (const block of this.#index.overlapping(after, until)) {
      const entry = this.#ordered(block);
      if (entry === null) continue;
      for (let i = countBefore(entry.records, until, true) - 1; i >= 0; i--) {
        const record = entry.records[i];
        if (record === undefined || record.at <= after || (best !== null && record.at <= best.at)) break;
        if (record.active) best = record;
      }
    }
    return best;
  }

  close(): void {
    this.#entries.clear();
    this.#options.parser.close();
  }

  #wantedOf(from: number, to: number, window: string | null): BlockInfo[] {
    const all = this.#index.overlapping(from, to);
    return all.filter(
      (block) => window === null || block.windows.length === 0 || block.windows.includes(window),
    );
  }

  async #loadAll(wanted: readonly BlockInfo[], to: number, onSome: () => void): Promise<void> {
    let ready = () => {};
    const early = new Promise<void>((done) => {
      ready = done;
    });
    this.#wanted = wanted;
    // Two at a time: the second hides the first one's waiting, more would delay the first frame.
    const queue = [...wanted];
    const onPiece = () => {
      this.#options.onProgress();
      onSome();
      if (wanted.every((block) => this.#holdsUntil(block, to))) ready();
    };
    const lane = async () => {
      for (let block = queue.shift(); block !== undefined; block = queue.shift()) {
        await this.#loadBlock(block, onPiece);
      }
    };
    const lanes = Promise.all([lane(), lane()]);
    await Promise.race([lanes, early]);
    // What goes on loading after an early end reports its failure when it is asked for again.
    lanes.catch(() => {});
    this.#evict(wanted);
  }

  /** Lines of a block are in order of time, so one after `to` proves that none before it is missing. */
  #holdsUntil(block: BlockInfo, to: number): boolean {
    const entry = this.#entries.get(block.url);
    if (entry === undefined) return false;
    return entry.done || (entry.sorted && (entry.records.at(-1)?.at ?? 0) > to);
  }

  async #loadBlock(block: BlockInfo, onPiece: () => void): Promise<void> {
    const known = this.#entries.get(block.url);
    if (known?.done === true) {
      known.usedAt = ++this.#uses;
      return onPiece();
    }
    if (known?.loading) {
      await known.loading;
      return onPiece();
    }
    const entry: Entry = {
      block,
      records: [],
      bytes: 0,
      readBytes: 0,
      done: false,
      sorted: true,
      usedAt: ++this.#uses,
      loading: null,
    };
    this.#entries.set(block.url, entry);
    entry.loading = this.#read(entry, onPiece);
    try {
      await entry.loading;
    } catch (reason) {
      this.#entries.delete(block.url);
      throw reason;
    } finally {
      entry.loading = null;
    }
  }

  async #read(entry: Entry, onPiece: () => void): Promise<void> {
    const begin = () => {
      entry.records = [];
      entry.bytes = 0;
      entry.readBytes = 0;
      entry.sorted = true;
    };
    try {
      const { source, parser } = this.#options;
      await source.read(entry.block, parser, 'records', begin, ({ records }, bytes) => {
        entry.readBytes += bytes;
        for (const record of records) {
          const last = entry.records.at(-1);
          if (last !== undefined && last.at > record.at) entry.sorted = false;
          entry.records.push(record);
          entry.bytes += record.json.length;
        }
        onPiece();
      });
    } catch (reason) {
      if (!(reason instanceof LoadError) || reason.kind !== 'broken') throw reason;
      this.#options.onBroken(entry.block);
    }
    entry.done = true;
    onPiece();
  }

  #ordered(block: BlockInfo): Entry | null {
    const entry = this.#entries.get(block.url);
    if (entry === undefined) return null;
    entry.usedAt = ++this.#uses;
    if (!entry.sorted) {
      entry.records.sort((a, b) => a.at - b.at);
      entry.sorted = true;
    }
    return entry;
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
