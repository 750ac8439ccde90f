// What the app and the player are made of is sent in the smallest form that a client takes, and once.

import assert from 'node:assert/strict';
import { get } from 'node:http';
import { after, before, test } from 'node:test';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { serve } from '../browser.mjs';

/** What fits into one packet either way comes plain. */
const PACKED_BYTES_MIN = 1400;

const UNPACK = { br: brotliDecompressSync, gzip: gunzipSync };

let server;

before(async () => {
  server = await serve();
});

after(() => server?.stop());

/** One answer as it comes, without a client that unpacks it. */
function ask(path, headers = {}) {
  return new Promise((done, fail) => {
    const request = get(server.url + path, { headers }, async (reply) => {
      const parts = [];
      for await (const part of reply) parts.push(part);
      done({ status: reply.statusCode, headers: reply.headers, body: Buffer.concat(parts) });
    });
    request.on('error', fail);
  });
}

/** The scripts and styles of the app, and the documents of the player. */
async function files() {
  const { body } = await ask('/');
  const assets = [...body.toString().matchAll(/"(\/assets\/[^"]+\.(?:js|css))"/g)].map(([, path]) => path);
  assert.ok(assets.length >= 2, body.toString());
  return [...assets, '/player/frame', '/player/frame?assets=remote'];
}

test('scripts, styles and the player come packed to those who take it, and plain to others', async () => {
  for (const path of await files()) {
    const plain = await ask(path);
    assert.equal(plain.headers['content-encoding'], undefined, path);
    assert.equal((await ask(path, { 'accept-encoding': 'gzip;q=0' })).headers['content-encoding'], undefined);
    if (plain.body.length < PACKED_BYTES_MIN) continue;
    for (const [coding, offer] of [
      ['br', 'gzip, deflate, br, zstd'],
      ['gzip', 'gzip, deflate'],
    ]) {
      const packed = await ask(path, { 'accept-encoding': offer });
      assert.equal(packed.headers['content-encoding'], coding, path);
      assert.ok(packed.body.length < plain.body.length / 2, `${path}: ${packed.body.length}`);
      assert.ok(UNPACK[coding](packed.body).equals(plain.body), `${path} means the same in ${coding}`);
      for (const name of ['content-type', 'content-security-policy', 'cache-control', 'vary', 'etag']) {
        assert.equal(packed.headers[name], plain.headers[name], `${path}: ${name}`);
      }
      assert.equal(packed.headers.vary, 'Accept-Encoding', path);
    }
  }
});

test('a client that has the player already is told so, and packed files have no address of their own', async () => {
  const { headers, body } = await ask('/player/frame');
  assert.ok(body.length > 50_000);
  const again = await ask('/player/frame', { 'if-none-match': headers.etag, 'accept-encoding': 'br' });
  assert.equal(again.status, 304);
  assert.equal(again.body.length, 0);
  assert.equal(again.headers['content-security-policy'], headers['content-security-policy']);
  const [script] = await files();
  for (const ending of ['.br', '.gz']) assert.equal((await ask(script + ending)).status, 404);
});
