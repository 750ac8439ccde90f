/** Bytes of one piece of the file; a multiple of three, so that each piece is base64 without a rest. */
export const PIECE_BYTES = 3 << 20;

/**
 * The bytes that stand in a page as base64, in pieces of `PIECE_BYTES`. Any range of them costs what it holds: the text
 * is never decoded whole.
 */
export class EmbeddedBytes {
  readonly #pieces: readonly string[];
  readonly length: number;

  constructor(pieces: readonly string[]) {
    this.#pieces = pieces;
    const last = pieces.at(-1) ?? '';
    const padding = /=*$/.exec(last)?.[0].length ?? 0;
    this.length = Math.max(0, pieces.length - 1) * PIECE_BYTES + Math.floor(last.length / 4) * 3 - padding;
  }

  /** Bytes from `from` on, `length` of them. Throws where there are fewer. */
  read(from: number, length: number): Uint8Array<ArrayBuffer> {
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
}
