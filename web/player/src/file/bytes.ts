/** A `.reel` file, wherever it lies. */
export type Bytes = {
  readonly length: number;
  /** Bytes from `from` on, `length` of them. Throws where there are fewer. */
  read(from: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
  /** The same in pieces, as they come. What is thrown before the first is known when this resolves. */
  pieces(from: number, length: number, signal?: AbortSignal): Promise<AsyncIterator<Uint8Array>>;
};

/** Bytes of one piece of the file; a multiple of three, so that each piece is base64 without a rest. */
export const PIECE_BYTES = 3 << 20;

/** Compressed bytes that are undone in one turn: some ten milliseconds of work. */
const TURN_BYTES = 32 << 10;

/**
 * The bytes that stand in a page as base64, in pieces of `PIECE_BYTES`. Any range of them costs what it holds: the text
 * is never decoded whole.
 */
export class EmbeddedBytes implements Bytes {
  readonly #pieces: readonly string[];
  readonly length: number;

  constructor(pieces: readonly string[]) {
    this.#pieces = pieces;
    const last = pieces.at(-1) ?? '';
    const padding = /=*$/.exec(last)?.[0].length ?? 0;
    this.length = Math.max(0, pieces.length - 1) * PIECE_BYTES + Math.floor(last.length / 4) * 3 - padding;
  }

  async read(from: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    if (from < 0 || length < 0 || from + length > this.length) throw new Error('the recording is cut off');
    const out = new Uint8Array(length);
    for (let at = from; at < from + length; ) {
      const piece = Math.floor(at / PIECE_BYTES);
      const inPiece = at - piece * PIECE_BYTES;
      const count = Math.min(from + length - at, PIECE_BYTES - inPiece);
      const [begins, ends] = [Math.floor(inPiece / 3), Math.ceil((inPiece + count) / 3)];
      const decoded = atob(this.#pieces[piece]?.slice(4 * begins, 4 * ends) ?? '');
      const skipped = inPiece - 3 * begins;
      for (let i = 0; i < count; i++) out[at - from + i] = decoded.charCodeAt(skipped + i);
      at += count;
    }
    return out;
  }

  /** The page has room to answer the viewer between two pieces. */
  async pieces(from: number, length: number): Promise<AsyncIterator<Uint8Array>> {
    return this.#turns(from, from + length);
  }

  async *#turns(from: number, to: number): AsyncGenerator<Uint8Array> {
    for (let at = from; at < to; at += TURN_BYTES) {
      await new Promise((done) => setTimeout(done));
      yield this.read(at, Math.min(TURN_BYTES, to - at));
    }
  }
}
