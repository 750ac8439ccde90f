import {
  HEAD_BYTES,
  KEY_BYTES,
  keyAsText,
  keysOf,
  MAGIC,
  nonceOf,
  SALT_BYTES,
  SALTED_BYTES,
  VERSION,
} from './keys.ts';
import { inPieces } from './pieces.ts';

const CHUNK_BYTES = 16 << 10;
const NAME_BYTES = 16;

/** An encrypted file, and what belongs into the link to it. */
export type Encrypted = { readonly file: Blob; readonly name: string; readonly key: string };

/** Encrypts a `.reel` file under a key and a name that nobody can guess. */
export async function encrypt(reel: ReadableStream<Uint8Array>): Promise<Encrypted> {
  const key = random(KEY_BYTES);
  const file = new Blob(await encryptedParts(reel, key, random(SALT_BYTES)));
  const name = [...random(NAME_BYTES)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return { file, name: `${name}.reel.enc`, key: keyAsText(key) };
}

/** The bytes of an encrypted file: its head, and its chunks. */
export async function encryptedParts(
  reel: ReadableStream<Uint8Array>,
  key: Uint8Array<ArrayBuffer>,
  salt: Uint8Array<ArrayBuffer>,
): Promise<BlobPart[]> {
  const head = new Uint8Array(HEAD_BYTES);
  const view = new DataView(head.buffer);
  head.set(MAGIC);
  view.setUint16(8, VERSION, true);
  view.setUint32(12, CHUNK_BYTES, true);
  head.set(salt, SALTED_BYTES - SALT_BYTES);
  const { chunks, check } = await keysOf(key, head.slice(0, SALTED_BYTES));
  head.set(check, SALTED_BYTES);
  const parts: BlobPart[] = [head];
  const seal = async (plain: Uint8Array<ArrayBuffer>, isLast: boolean) => {
    const iv = nonceOf(parts.length - 1, isLast);
    parts.push(await crypto.subtle.encrypt({ name: 'AES-GCM', iv }, chunks, plain));
  };
  let held: Uint8Array<ArrayBuffer> | null = null;
  for await (const piece of inPieces(reel, CHUNK_BYTES)) {
    if (held !== null) await seal(held, false);
    held = piece;
  }
  await seal(held ?? new Uint8Array(), true);
  return parts;
}

const random = (bytes: number) => crypto.getRandomValues(new Uint8Array(bytes));
