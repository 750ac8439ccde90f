import type { BlockInfo, BlockList } from './blocks.ts';
import { LineSplitter } from './lines.ts';
import type { OnPiece, Parser } from './parser.ts';
import type { Purpose } from './reading.ts';
import { asObject, type Json } from './record.ts';

/** One way to reach the API: a path in, a response out. The app adds what access needs. */
export type Api = (path: string, signal?: AbortSignal) => Promise<Response>;

/** Why something could not be loaded, in a form the view has words for. */
export class LoadError extends Error {
  readonly kind: 'offline' | 'access' | 'missing' | 'server' | 'broken';

  constructor(kind: LoadError['kind'], message: string) {
    super(message);
    this.kind = kind;
  }
}

/** Loading does not get on; what is asked for again by itself, and when. */
export type Trouble = {
  readonly kind: 'offline' | 'server';
  /** On the clock of `Date.now()`. */
  readonly retryAt: number;
};

const BACK_OFF_MS = [500, 1000, 2000, 4000, 8000, 15_000] as const;
/** So long after the server should have answered, the line is taken for dead: nothing else says so of some that are. */
const LATE_MS_MAX = 20_000;
/** A block that fails this often while the server answers is damaged: asking again cannot help. */
const BLOCK_TRIES_MAX = 3;

/** Asks the server, again and again where that may help. */
export class Source {
  readonly #api: Api;
  /** Where the server tells of the recording, and where it lists its blocks. */
  readonly #path: string;
  readonly #listPath: string;
  readonly #onTrouble: (trouble: Trouble | null) => void;
  readonly #abort = new AbortController();
  readonly #waits = new Set<() => void>();
  readonly #hurry = () => this.hurry();

  constructor(
    { recording, base = '', api }: { recording: string; base?: string; api: Api },
    onTrouble: (trouble: Trouble | null) => void,
  ) {
    this.#path = `${base}/api/recordings/${encodeURIComponent(recording)}`;
    this.#listPath = `${this.#path}/blocks`;
    this.#api = api;
    this.#onTrouble = onTrouble;
    if (typeof addEventListener === 'function') addEventListener('online', this.#hurry);
  }

  /** Tries again now whatever waits for its next try. */
  hurry(): void {
    for (const wake of [...this.#waits]) wake();
  }

  close(): void {
    if (typeof removeEventListener === 'function') removeEventListener('online', this.#hurry);
    this.#abort.abort();
    this.hurry();
  }

  /**
   * The blocks there are; with a version, waits up to `waitMs` for another one. A server that cannot be reached or
   * cannot answer is asked again, as long as it takes.
   */
  async list(version = '', waitMs = 0): Promise<BlockList> {
    for (let tries = 0; ; tries++) {
      try {
        const list = await this.#list(version, waitMs);
        this.#onTrouble(null);
        return list;
      } catch (reason) {
        const kind = reason instanceof LoadError ? reason.kind : 'server';
        if (kind !== 'offline' && kind !== 'server') throw reason;
        await this.#backOff(kind, tries);
      }
    }
  }

  /**
   * Reads a block to its end, waiting out a server that cannot be reached. Throws `broken` for a block that cannot be
   * read, `missing` for one that is no longer listed. `begin` is called before each try: earlier ones are void.
   */
  async read(
    block: BlockInfo,
    parser: Parser,
    purpose: Purpose,
    begin: () => void,
    onPiece: OnPiece,
  ): Promise<void> {
    let failures = 0;
    for (let tries = 0; ; tries++) {
      try {
        begin();
        const response = await this.#get(block.url);
        if (response.body === null) throw new LoadError('broken', 'the server sent no body');
        const { body } = response;
        await parser.parse(body, purpose, onPiece).catch((reason) => {
          throw new LoadError('broken', String(reason));
        });
        if (tries > 0) this.#onTrouble(null);
        return;
      } catch (reason) {
        if (!(reason instanceof LoadError) || this.#abort.signal.aborted) throw reason;
        if (reason.kind === 'access' || reason.kind === 'missing') throw reason;
        // An answer that breaks off may be the line's fault or the block's; that the server answers tells them apart.
        if (reason.kind !== 'offline') failures++;
        if (failures >= BLOCK_TRIES_MAX) {
          this.#onTrouble(null);
          throw new LoadError('broken', reason.message);
        }
        if (reason.kind === 'broken') await pause(100);
        else await this.#backOff(reason.kind, tries);
      }
    }
  }

  /** What the server knows of the recording. */
  async summary(): Promise<Json> {
    const found = asObject(await (await this.#get(this.#path)).json());
    if (found === null) throw new LoadError('server', 'the server said nothing of the recording');
    return found;
  }

  /** One line of a block, null where it has no such line. The rest of the block is not waited for. */
  async line(url: string, number: number): Promise<string | null> {
    const { body } = await this.#get(url);
    if (body === null) throw new LoadError('broken', 'the server sent no body');
    const reader = body.getReader();
    const splitter = new LineSplitter();
    try {
      for (let before = 0; ; ) {
        const { done, value } = await reader.read().catch((reason) => {
          throw new LoadError('broken', String(reason));
        });
        const lines = done ? splitter.finish() : splitter.push(value);
        const line = lines[number - before];
        if (line !== undefined || done) return line ?? null;
        before += lines.length;
      }
    } finally {
      void reader.cancel().catch(() => {});
    }
  }

  async #list(version: string, waitMs: number): Promise<BlockList> {
    const query = waitMs > 0 ? `?after=${encodeURIComponent(version)}&wait_ms=${waitMs}` : '';
    const stop = new AbortController();
    const end = () => stop.abort();
    const timer = waitMs > 0 ? setTimeout(end, waitMs + LATE_MS_MAX) : undefined;
    this.#abort.signal.addEventListener('abort', end);
    if (this.#abort.signal.aborted) end();
    try {
      const response = await this.#get(`${this.#listPath}${query}`, stop.signal);
      clearTimeout(timer);
      return (await response.json()) as BlockList;
    } catch (reason) {
      throw reason instanceof LoadError ? reason : new LoadError('offline', String(reason));
    } finally {
      clearTimeout(timer);
      this.#abort.signal.removeEventListener('abort', end);
    }
  }

  async #backOff(kind: Trouble['kind'], tries: number): Promise<void> {
    const waitMs = BACK_OFF_MS[Math.min(tries, BACK_OFF_MS.length - 1)] ?? 15_000;
    this.#onTrouble({ kind, retryAt: Date.now() + waitMs });
    await new Promise<void>((done) => {
      const wake = () => {
        clearTimeout(timer);
        this.#waits.delete(wake);
        done();
      };
      const timer = setTimeout(wake, waitMs);
      this.#waits.add(wake);
    });
    if (this.#abort.signal.aborted) throw new LoadError('offline', 'the player was closed');
  }

  async #get(path: string, signal = this.#abort.signal): Promise<Response> {
    let response: Response;
    try {
      response = await this.#api(path, signal);
    } catch (reason) {
      throw new LoadError('offline', String(reason));
    }
    if (response.ok) return response;
    if (response.status === 401 || response.status === 403) throw new LoadError('access', 'not signed in');
    if (response.status === 404) throw new LoadError('missing', 'there is no such recording');
    throw new LoadError('server', `the server answered ${response.status}`);
  }
}

const pause = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));
