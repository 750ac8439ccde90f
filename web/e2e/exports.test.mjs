// Exported files, opened by software that others wrote.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { unpack } from '@rrweb/packer';
import { binary } from './browser.mjs';

const { har: validate } = createRequire(import.meta.url)('har-validator/lib/promise');
const here = dirname(fileURLToPath(import.meta.url));
const corpus = join(process.env.REELCASE_CORPUS ?? join(here, '../../../shared/corpus'), 'rrweb');

const dir = mkdtempSync(join(tmpdir(), 'reelcase-exports-'));
after(() => rmSync(dir, { recursive: true, force: true }));

/** Converts a recording of the corpus, and returns the file's JSON. */
function converted(recording, format) {
  assert.ok(existsSync(binary), `the command is not built: ${binary}`);
  const file = join(dir, format);
  const [from, stdio] = [join(corpus, recording), ['ignore', 'ignore', 'pipe']];
  execFileSync(binary, ['convert', from, file, '--format', format], { stdio });
  return JSON.parse(readFileSync(file, 'utf8'));
}

test('a HAR of recorded requests is one to a validator', async () => {
  const har = converted('derived/secrets-everywhere.json', 'har');
  assert.ok(har.log.entries.length > 0, 'there are requests in it');
  await validate(har);
  await assert.rejects(validate({ log: { ...har.log, version: undefined } }), 'the validator does refuse');
});

test("rrweb's unpacker reads packed events", () => {
  const [packed, plain] = ['rrweb-packed', 'rrweb'].map((format) =>
    converted('recorded/rrweb-2.2.2-shop.json', format),
  );
  assert.ok(packed.length > 100);
  for (const [index, event] of packed.entries()) {
    assert.deepEqual(unpack(event), { ...plain[index], v: 'v1' });
  }
});
