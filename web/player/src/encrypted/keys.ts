/** What `docs/format.md` says of the head of an encrypted file. */
export const MAGIC = new Uint8Array([0x89, 0x52, 0x45, 0x45, 0x4c, 0x45, 0x4e, 0x43]);
export const VERSION = 1;
export const SALT_BYTES = 16;
/** The part of the head that keys are made of; what tells the right key follows it. */
export const SALTED_BYTES = 16 + SALT_BYTES;
export const CHECK_BYTES = 16;
export const HEAD_BYTES = SALTED_BYTES + CHECK_BYTES;
export const TAG_BYTES = 16;
export const KEY_BYTES = 32;
const PURPOSE = 'reelcase encrypted reel 1';

/** What opens a file's chunks, and what the head says where the key is the right one. */
export type FileKeys = { readonly chunks: CryptoKey; readonly check: Uint8Array };

/** Makes the keys of a file of the one in its link, and the beginning of the file's head. */
export async function keysOf(
  key: Uint8Array<ArrayBuffer>,
  salted: Uint8Array<ArrayBuffer>,
): Promise<FileKeys> {
  const secret = await crypto.subtle.importKey('raw', key, 'HKDF', false, ['deriveBits']);
  const info = new TextEncoder().encode(PURPOSE);
  const derived = await crypto.subtle.deriveBits(
    { name: 'HKDF', hash: 'SHA-256', salt: salted, info },
    secret,
    8 * (KEY_BYTES + CHECK_BYTES),
  );
  const chunks = await crypto.subtle.importKey('raw', derived.slice(0, KEY_BYTES), 'AES-GCM', false, [
    'encrypt',
    'decrypt',
  ]);
  return { chunks, check: new Uint8Array(derived, KEY_BYTES) };
}

/** The place of a chunk, which it is sealed for: its number, and whether it is the last. */
export function nonceOf(number: number, isLast: boolean): Uint8Array<ArrayBuffer> {
  const nonce = new Uint8Array(12);
  new DataView(nonce.buffer).setBigUint64(3, BigInt(number));
  nonce[11] = isLast ? 1 : 0;
  return nonce;
}

/** A key as it stands in a link; null where the text is none. */
export function keyFromText(text: string): Uint8Array<ArrayBuffer> | null {
  if (!/^[A-Za-z0-9_-]{43}$/.test(text)) return null;
  const plain = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  return Uint8Array.from(plain, (letter) => letter.charCodeAt(0));
}

export function keyAsText(key: Uint8Array): string {
  const text = btoa(String.fromCharCode(...key));
  return text.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}
