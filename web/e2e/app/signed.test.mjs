// A signed file that is opened says whose it is, and that it was changed since.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { binary, launch, openFiles, PATIENCE_MS } from '../browser.mjs';
import { pathOf } from '../recordings.mjs';
import { openAt, openViewer, shoot } from '../watch.mjs';

/** Where the tag of a frame stands in it, and how long a signature's is: docs/format.md. */
const FRAME_TAG_AT = 8;
const SIGNATURE_BYTES = 160;

const dir = mkdtempSync(join(tmpdir(), 'reelcase-signed-'));
const file = (name) => join(dir, name);
const run = (...args) =>
  execFileSync(binary, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });

let browser;
let signer;

before(async () => {
  browser = await launch();
  const recording = pathOf('recorded/posthog-rrweb-0.0.59-shop.json');
  for (const name of ['signed.reel', 'unsigned.reel']) run('convert', recording, file(name), '--id', 'shop');
  signer = run('sign', '--new-key', file('key')).trim();
  run('sign', file('signed.reel'), '--key', file('key'));
  // The signature of another file.
  run('convert', recording, file('other.reel'), '--id', 'other');
  run('sign', file('other.reel'), '--key', file('key'));
  const [changed, other] = ['signed.reel', 'other.reel'].map((name) => readFileSync(file(name)));
  const signature = (bytes) => bytes.lastIndexOf('SIGN') - FRAME_TAG_AT;
  other.copy(changed, signature(changed), signature(other), signature(other) + SIGNATURE_BYTES);
  writeFileSync(file('changed.reel'), changed);
});

after(async () => {
  await browser?.close();
  rmSync(dir, { recursive: true, force: true });
});

/** Opens a file, shows what is known of it, and asks something of the page. */
async function opened(name, look) {
  const server = await openFiles([file(name)]);
  try {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
    const page = await openViewer(context);
    page.setDefaultTimeout(PATIENCE_MS);
    await page.goto(server.login);
    await openAt(page, server, 'shop', 60_000);
    await page.getByRole('tab', { name: 'Info' }).click();
    await page.getByRole('heading', { name: 'Figures' }).waitFor();
    for (const colorScheme of ['dark', 'light']) {
      await page.emulateMedia({ colorScheme });
      await shoot(page, `${name}-${colorScheme}`);
    }
    await look(page);
    await context.close();
  } finally {
    await server.stop();
  }
}

test('a signed file shows its signer beside the player', () =>
  opened('signed.reel', async (page) => {
    await page.getByRole('heading', { name: 'File' }).waitFor();
    await page.getByRole('definition').filter({ hasText: signer }).waitFor();
    assert.equal(await page.getByText('not as it was signed').count(), 0);
  }));

test('one that was changed since is played with a warning', () =>
  opened('changed.reel', async (page) => {
    await page.getByRole('alert').getByText('This file is not as it was signed').waitFor();
    await page.locator('.head .facts').getByText('not as it was signed').waitFor();
    await page.getByRole('term').filter({ hasText: 'Claims to be of' }).waitFor();
    assert.equal(await page.getByRole('term').filter({ hasText: 'Signed by' }).count(), 0);
  }));

test('of an unsigned file nothing is said', () =>
  opened('unsigned.reel', async (page) => {
    assert.equal(await page.getByRole('heading', { name: 'File' }).count(), 0);
    assert.equal(await page.getByText(/signed/i).count(), 0);
  }));
