import { Gone } from '../file/api.ts';
import type { Bytes } from '../file/bytes.ts';
import {
  type FileKeys,
  HEAD_BYTES,
  keysOf,
  MAGIC,
  nonceOf,
  SALTED_BYTES,
  TAG_BYTES,
  VERSION,
} from './keys.ts';
import { inPieces } from './pieces.ts';

const CHUNK_BYTES_MAX = 1 << 20;
/** What is held of a file whose host sends it whole, whatever part is asked for. */
const WHOLE_BYTES_MAX = 64 << 20;

/** A part of the file as the host sends it. */
type Part = { readonly body: ReadableStream<Uint8Array>; readonly fileBytes: number };

/**
 * An encrypted file on any host. A range of it costs the chunks that it lies in, which are decrypted as they come.
 * Everything thrown is in words for the viewer.
 */
export class EncryptedBytes implements Bytes {
  readonly #url: string;
  #keys: FileKeys | null = null;
  #chunkBytes = 0;
  #chunkCount = 0;
  #whole: Uint8Array<ArrayBuffer> | null = null;
  length = 0;

  private constructor(url: string) {
    this.#url = url;
  }

  /** Reads the head of a file, and checks that the key fits. */
  static async open(url: string, key: Uint8Array<ArrayBuffer>): Promise<EncryptedBytes> {
    const file = new EncryptedBytes(url);
    const { body, fileBytes } = await file.#part(0, HEAD_BYTES);
    const head = await gathered(body, HEAD_BYTES);
    const view = new DataView(head.buffer);
    if (MAGIC.some((byte, at) => head[at] !== byte)) throw new Error('the file is no encrypted recording');
    if (view.getUint16(8, true) > VERSION)
      throw new Error('the recording is of a newer release, and needs its page');
    file.#chunkBytes = view.getUint32(12, true);
    if (file.#chunkBytes === 0 || file.#chunkBytes > CHUNK_BYTES_MAX) throw changed();
    const keys = await keysOf(key, head.slice(0, SALTED_BYTES));
    if (keys.check.some((byte, at) => head[SALTED_BYTES + at] !== byte))
      throw new Error('the key in this address does not fit it; the link may not be whole');
    file.#keys = keys;
    file.#chunkCount = Math.ceil((fileBytes - HEAD_BYTES) / (file.#chunkBytes + TAG_BYTES));
    file.length = fileBytes - HEAD_BYTES - file.#chunkCount * TAG_BYTES;
    return file;
  }

  async read(from: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    const out = new Uint8Array(length);
    let at = 0;
    const pieces = await this.pieces(from, length);
    for (let next = await pieces.next(); next.done !== true; next = await pieces.next()) {
      out.set(next.value, at);
      at += next.value.length;
    }
    return out;
  }

  async pieces(from: number, length: number, signal?: AbortSignal): Promise<AsyncIterator<Uint8Array>> {
    if (from < 0 || length < 0 || from + length > this.length) throw changed();
    const first = Math.floor(from / this.#chunkBytes);
    const last = Math.max(first, Math.ceil((from + length) / this.#chunkBytes) - 1);
    const sealedBytes = this.#chunkBytes + TAG_BYTES;
    const begins = HEAD_BYTES + first * sealedBytes;
    const ends = Math.min(
      HEAD_BYTES + (last + 1) * sealedBytes,
      this.length + HEAD_BYTES + this.#chunkCount * TAG_BYTES,
    );
    const { body } = await this.#part(begins, ends - begins, signal);
    return this.#opened(body, first, last, from, from + length);
  }

  /** The chunks from `first` to `last` without what lies outside of the range. */
  async *#opened(
    body: ReadableStream<Uint8Array>,
    first: number,
    last: number,
    from: number,
    to: number,
  ): AsyncGenerator<Uint8Array> {
    const sealedBytes = this.#chunkBytes + TAG_BYTES;
    let number = first;
    for await (const sealed of inPieces(body, sealedBytes)) {
      if (number > last) throw changed();
      const at = number * this.#chunkBytes;
      const plain = await this.#chunk(sealed, number);
      number++;
      yield plain.subarray(Math.max(0, from - at), Math.min(plain.length, to - at));
    }
    if (number !== last + 1) throw new Error('the host sent less than was asked for');
  }

  async #chunk(sealed: Uint8Array<ArrayBuffer>, number: number): Promise<Uint8Array> {
    if (this.#keys === null) throw changed();
    const iv = nonceOf(number, number === this.#chunkCount - 1);
    try {
      return new Uint8Array(await crypto.subtle.decrypt({ name: 'AES-GCM', iv }, this.#keys.chunks, sealed));
    } catch {
      throw changed();
    }
  }

  async #part(from: number, length: number, signal?: AbortSignal): Promise<Part> {
    if (this.#whole !== null) return this.#partOfWhole(from, length);
    const reply = await fetch(this.#url, {
      headers: { range: `bytes=${from}-${from + length - 1}` },
      referrerPolicy: 'no-referrer',
      ...(signal ? { signal } : {}),
    });
    // Buckets that nobody may list say 403 of what is not there.
    if ([403, 404, 410].includes(reply.status)) {
      throw new Gone('it is not there any more; whoever shared it may have taken it back');
    }
    if (reply.status === 416) throw changed();
    if (!reply.ok || reply.body === null) throw new Error(`the host of the file answered ${reply.status}`);
    const fileBytes = Number(/\/(\d+)$/.exec(reply.headers.get('content-range') ?? '')?.[1] ?? Number.NaN);
    if (reply.status === 206 && Number.isSafeInteger(fileBytes)) return { body: reply.body, fileBytes };
    const wholeBytes = Number(reply.headers.get('content-length'));
    if (reply.status === 206 || wholeBytes > WHOLE_BYTES_MAX)
      throw new Error('the host of the file sends no parts of it, and it is too long to be held whole');
    this.#whole = new Uint8Array(await reply.arrayBuffer());
    return this.#partOfWhole(from, length);
  }

  #partOfWhole(from: number, length: number): Part {
    const whole = this.#whole ?? new Uint8Array();
    return { body: new Blob([whole.subarray(from, from + length)]).stream(), fileBytes: whole.length };
  }
}

const changed = () => new Error('the file was changed or cut off after it was written');

/** A body of known length. */
async function gathered(body: ReadableStream<Uint8Array>, length: number): Promise<Uint8Array<ArrayBuffer>> {
  for await (const piece of inPieces(body, length)) if (piece.length === length) return piece;
  throw changed();
}
