import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { linesOf } from '../src/file/api.ts';
import { openReel, type Reel } from '../src/file/reel.ts';

/** A zstd frame of blocks that hold their bytes as they are, as of what cannot be compressed. */
function frameOf(plain: Uint8Array, blockBytes: number): Uint8Array {
  const parts: number[][] = [[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38]];
  for (let at = 0; at < plain.length; at += blockBytes) {
    const block = plain.subarray(at, at + blockBytes);
    const head = (block.length << 3) | (at + blockBytes >= plain.length ? 1 : 0);
    parts.push([head & 255, (head >> 8) & 255, (head >> 16) & 255], [...block]);
  }
  return Uint8Array.from(parts.flat());
}

async function* piecesOf(bytes: Uint8Array, pieceBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.slice(at, at + pieceBytes);
}

test('lines that could not be compressed come although many pieces of them hold no whole block', async () => {
  const plain = Uint8Array.from({ length: 20_000 }, (_, at) => (at * 31) % 256);
  const stream = linesOf(piecesOf(frameOf(plain, 10_000), 1000));
  const read = Buffer.from(await new Response(stream).arrayBuffer());
  expect(read.equals(plain)).toBe(true);
});

test('a block that is cut off is an error', async () => {
  const frame = frameOf(new Uint8Array(1000), 500);
  const stream = linesOf(piecesOf(frame.subarray(0, -10), 100));
  await expect(new Response(stream).arrayBuffer()).rejects.toThrow();
});

function reelOf(name: string): Promise<Reel> {
  const file = Uint8Array.from(
    readFileSync(fileURLToPath(new URL(`../../../testdata/reel/${name}`, import.meta.url))),
  );
  const read = async (from: number, length: number) => file.slice(from, from + length);
  const pieces = () => Promise.reject(new Error('an index is read at once'));
  return openReel({ length: file.length, read, pieces });
}

test('a signed file is read as the file that it was before', async () => {
  expect(await reelOf('v1-signed.reel')).toEqual(await reelOf('v1-two-recordings.reel'));
});
