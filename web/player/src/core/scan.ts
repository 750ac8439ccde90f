import type { BlockIndex, BlockInfo } from './blocks.ts';
import type { Log } from './log.ts';
import type { Parser } from './parser.ts';
import type { Piece } from './reading.ts';
import { LoadError, type Source } from './source.ts';
import type { Timeline } from './timeline.ts';

export type ScanOptions = {
  readonly source: Source;
  readonly parser: Parser;
  readonly timeline: () => Timeline;
  readonly log: Log;
  readonly index: () => BlockIndex;
  /** Where the viewer is: what lies ahead is read first. */
  readonly at: () => number;
  /** Resolves when playback needs neither the network nor the processor. */
  readonly quiet: () => Promise<void>;
  readonly onChange: () => void;
  readonly onBroken: (block: BlockInfo) => void;
  /** A block is no longer listed: asks for the list again. */
  readonly refresh: () => Promise<void>;
};

/** Longest that taking in a block may keep the page from answering its viewer. */
const TURN_MS = 10;

/**
 * Reads the whole recording once for timeline and inspector, block by block behind the playback, and keeps nothing of it
 * but marks, rows and active seconds. A recording of any length costs one block of memory at a time.
 */
export class Scan {
  readonly #options: ScanOptions;
  readonly #read = new Set<string>();
  #last: BlockInfo | null = null;
  #isRunning = false;
  #isClosed = false;

  constructor(options: ScanOptions) {
    this.#options = options;
  }

  /** Whether all there is has been read. */
  get isComplete(): boolean {
    const index = this.#options.index();
    return index.urls.size > 0 && [...index.urls].every((url) => this.#read.has(url));
  }

  /** Starts, or goes on after new blocks have come. */
  run(): void {
    if (this.#isRunning || this.#isClosed) return;
    this.#isRunning = true;
    void this.#run().finally(() => {
      this.#isRunning = false;
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#options.parser.close();
  }

  async #run(): Promise<void> {
    for (;;) {
      await this.#options.quiet();
      const block = this.#next();
      if (block === null || this.#isClosed) return;
      try {
        await this.#readBlock(block);
      } catch (reason) {
        const kind = reason instanceof LoadError ? reason.kind : 'server';
        if (kind === 'missing' && (await this.#isReplaced(block))) continue;
        if (kind !== 'broken') return;
        this.#options.onBroken(block);
      }
      this.#read.add(block.url);
      if (block.kind === 'lines') this.#last = block;
      this.#options.onChange();
    }
  }

  async #readBlock(block: BlockInfo): Promise<void> {
    const { source, parser, index } = this.#options;
    const timeline = this.#options.timeline();
    const isNext = this.#last !== null && following(index(), this.#last)?.url === block.url;
    const purpose = block.kind === 'events' ? 'analytics' : isNext ? 'marks' : 'marks-elsewhere';
    // Pieces count once the block is whole: a second try must not double the first one's marks.
    let pieces: Piece[] = [];
    let isWhole = false;
    const begin = () => {
      pieces = [];
    };
    try {
      await source.read(block, parser, purpose, begin, (piece) => {
        pieces.push(piece);
      });
      isWhole = true;
    } catch (reason) {
      // What comes before the damage is as good as any.
      if (!(reason instanceof LoadError) || reason.kind !== 'broken') pieces = [];
      throw reason;
    } finally {
      let turnEnds = performance.now() + TURN_MS;
      for (const piece of pieces) {
        if (performance.now() > turnEnds) {
          await new Promise((done) => setTimeout(done));
          turnEnds = performance.now() + TURN_MS;
        }
        const { marks, rows, ...rest } = within(index(), piece);
        timeline.add({ ...rest, marks: marks.map((mark) => ({ ...mark, block: block.url })) });
        this.#options.log.add(rows.map((row) => ({ ...row, block: block.url })));
      }
      // Only now: where nothing has happened by then, there was silence.
      if (isWhole && block.kind === 'lines') timeline.markRead(index().stretchOf(block));
    }
  }

  async #isReplaced(block: BlockInfo): Promise<boolean> {
    await this.#options.refresh().catch(() => {});
    return !this.#options.index().urls.has(block.url);
  }

  #next(): BlockInfo | null {
    const index = this.#options.index();
    this.#forgetReplaced(index);
    const isNew = (block: BlockInfo) => !this.#read.has(block.url);
    const at = this.#options.at();
    const ahead = index.lines.find((block) => block.end_ms >= at && isNew(block));
    return index.analytics.find(isNew) ?? ahead ?? index.lines.find(isNew) ?? null;
  }

  /** Where blocks were merged into others, what they gave would come twice: it is read anew. */
  #forgetReplaced(index: BlockIndex): void {
    if ([...this.#read].every((url) => index.urls.has(url))) return;
    this.#read.clear();
    this.#last = null;
    this.#options.timeline().clear();
    this.#options.log.clear();
  }
}

/** Without what happened outside of a clip. */
function within({ isClip, from, to }: BlockIndex, piece: Piece): Piece {
  if (!isClip) return piece;
  const isWithin = ({ at }: { readonly at: number }) => from <= at && at <= to;
  const [marks, rows] = [piece.marks.filter(isWithin), piece.rows.filter(isWithin)];
  const moments = piece.moments.filter(({ first, last }) => from <= first && last <= to);
  return { ...piece, marks, rows, moments };
}

function following(index: BlockIndex, block: BlockInfo): BlockInfo | null {
  // Of a recording that grows there is another list each time.
  const at = index.lines.findIndex(({ url }) => url === block.url);
  return at < 0 ? null : (index.lines[at + 1] ?? null);
}
