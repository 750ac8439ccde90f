import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { EncryptedBytes } from '../src/encrypted/bytes.ts';
import { encryptedParts } from '../src/encrypted/encrypt.ts';
import { keyAsText, keyFromText } from '../src/encrypted/keys.ts';

const KEY = new Uint8Array(32).fill(1);
const SALT = new Uint8Array(16).fill(7);
const CHUNK = 16 << 10;

let host: Server;
let url: string;
let file: Uint8Array = new Uint8Array();
let asked: string[] = [];

beforeAll(async () => {
  host = createServer((request, reply) => {
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
    asked.push(request.headers.range ?? 'whole');
    const [from, to] = [Number(range?.[1]), Math.min(Number(range?.[2]), file.length - 1)];
    reply.writeHead(206, { 'content-range': `bytes ${from}-${to}/${file.length}` });
    reply.end(file.subarray(from, to + 1));
  });
  await new Promise<void>((done) => host.listen(0, '127.0.0.1', done));
  url = `http://127.0.0.1:${(host.address() as AddressInfo).port}/`;
});

afterAll(() => host.close());

const plain = (bytes: number) => Uint8Array.from({ length: bytes }, (_, at) => at % 251);
const encrypted = async (bytes: Uint8Array<ArrayBuffer>) =>
  new Uint8Array(await new Blob(await encryptedParts(new Blob([bytes]).stream(), KEY, SALT)).arrayBuffer());
const sample = (name: string) =>
  new Uint8Array(readFileSync(fileURLToPath(new URL(`../../../testdata/reel/${name}`, import.meta.url))));

test('what is encrypted here is what the command writes', async () => {
  expect(await encrypted(sample('v1-smallest.reel'))).toEqual(sample('v1-smallest.reel.enc'));
});

test('any range comes back, for the price of the chunks it lies in', async () => {
  const whole = plain(3 * CHUNK + 100);
  file = await encrypted(whole);
  const bytes = await EncryptedBytes.open(url, KEY);
  expect(bytes.length).toBe(whole.length);
  const ranges = [
    [0, 10],
    [CHUNK - 1, 2],
    [CHUNK, CHUNK],
    [3 * CHUNK + 50, 50],
    [0, whole.length],
  ] as const;
  for (const [from, length] of ranges) {
    const digest = (of: Uint8Array) => createHash('sha256').update(of).digest('hex');
    expect(digest(await bytes.read(from, length))).toBe(digest(whole.slice(from, from + length)));
  }
  asked = [];
  await bytes.read(CHUNK + 5, 10);
  const begins = 48 + CHUNK + 16;
  expect(asked).toEqual([`bytes=${begins}-${begins + CHUNK + 15}`]);
});

test('a chunk that was changed or cut off is refused, and so is another key', async () => {
  file = await encrypted(plain(2 * CHUNK + 9));
  const bytes = await EncryptedBytes.open(url, KEY);
  const whole = file;
  file = Uint8Array.from(whole, (byte, at) => (at === 48 + CHUNK + 20 ? byte ^ 1 : byte));
  await expect(bytes.read(CHUNK, 10)).rejects.toThrow('changed or cut off');
  expect(await bytes.read(0, 3)).toEqual(plain(3));
  // Cut between two chunks: what is now the last was not sealed as the last.
  file = whole.slice(0, 48 + 2 * (CHUNK + 16));
  const cut = await EncryptedBytes.open(url, KEY);
  await expect(cut.read(CHUNK, 10)).rejects.toThrow('changed or cut off');
  await expect(EncryptedBytes.open(url, new Uint8Array(32))).rejects.toThrow('does not fit');
});

test('a key survives its text', () => {
  const key = crypto.getRandomValues(new Uint8Array(32));
  expect(keyFromText(keyAsText(key))).toEqual(key);
  expect(keyFromText('short')).toBeNull();
});
