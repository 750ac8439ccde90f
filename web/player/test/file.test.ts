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
  return opened(file);
}

function opened(file: Uint8Array): Promise<Reel> {
  const read = async (from: number, length: number) => Uint8Array.from(file.subarray(from, from + length));
  const pieces = () => Promise.reject(new Error('an index is read at once'));
  return openReel({ length: file.length, read, pieces });
}

test('a signed file is read as the file that it was before', async () => {
  expect(await reelOf('v1-signed.reel')).toEqual(await reelOf('v1-two-recordings.reel'));
});

/** A file that says of a recording what the index says, and holds no block. */
function fileOf(index: unknown): Uint8Array {
  const content = frameOf(new TextEncoder().encode(JSON.stringify(index)), 100_000);
  const file = new Uint8Array(32 + content.length + 64);
  file.set(content, 32);
  const tail = new DataView(file.buffer, 32 + content.length);
  for (const [at, letter] of [...'TAIL'].entries()) tail.setUint8(8 + at, letter.charCodeAt(0));
  tail.setBigUint64(32, 0n, true);
  tail.setBigUint64(40, BigInt(32 + content.length), true);
  return file;
}

test('what people said is read, and what is no comment is passed over', async () => {
  const commentsIn = async (notes: unknown) => {
    const recordings = [{ id: 'one', project: 'phc_test', metadata: { notes } }];
    const { comments } = await opened(fileOf({ recordings, blocks: [] }));
    return comments.map(({ id, text, tags }) => [id, text, tags]);
  };
  const said = { id: 'a', text: 'Look', at_ms: 5, written_at_ms: 7 };
  const tagged = { id: 'd', tags: ['rage', 7, 'rage'], written_at_ms: 7 };
  const odd = { toString: 1, valueOf: 1 };
  const bad = [
    7,
    null,
    {},
    { ...said, id: 'b', written_at_ms: 1e300 },
    { ...said, id: 'c', written_at_ms: 'now' },
    { ...said, written_at_ms: odd },
    { id: 'e', text: odd, author: odd, tags: [odd], written_at_ms: 7 },
    { ...said, id: 'f', text: 'x'.repeat(8_001) },
    { ...said, id: 'g', tags: Array.from({ length: 51 }, (_, number) => `tag ${number}`) },
  ];
  expect(await commentsIn({ comments: [...bad, said, said, tagged], tags: ['cart'] })).toEqual([
    ['a', 'Look', []],
    ['d', '', ['rage']],
  ]);
  const many = Array.from({ length: 501 }, (_, number) => ({ ...said, id: `many-${number}` }));
  expect(await commentsIn({ comments: many })).toHaveLength(500);
  for (const none of [undefined, null, [], 'x', { comments: {} }]) expect(await commentsIn(none)).toEqual([]);
});
