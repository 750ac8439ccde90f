// Exported files, opened by software that others wrote.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { unpack } from '@rrweb/packer';
import { binary, launch, openFiles, PATIENCE_MS } from './browser.mjs';
import { shoot } from './watch.mjs';

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

/** A page with rrweb's own player, which opens `/events.json`. */
const PLAYER_PAGE = `<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="/rrweb-player/dist/style.min.css">
<div id="player"></div><script type="module">
import { Player } from '/rrweb-player/dist/rrweb-player.js';
import { unpack } from '/@rrweb/packer/dist/unpack.js';
const events = await (await fetch('/events.json')).json();
const unpackFn = typeof events[0] === 'string' ? unpack : undefined;
const target = document.getElementById('player');
globalThis.player = new Player({ target, props: { events, autoPlay: false, unpackFn } });
globalThis.lengthMs = player.getMetaData().totalTime;
player.goto(lengthMs, false);
</script>`;

test("rrweb's own player plays the array, and the packed one with its unpacker", async () => {
  const recording = 'recorded/rrweb-2.2.2-shop.json';
  const browser = await launch();
  try {
    const drawn = [];
    for (const format of ['rrweb', 'rrweb-packed']) {
      converted(recording, format);
      const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
      await page.route('http://player.test/**', (route) => {
        const { pathname } = new URL(route.request().url());
        if (pathname === '/') return route.fulfill({ contentType: 'text/html', body: PLAYER_PAGE });
        if (pathname === '/events.json') return route.fulfill({ path: join(dir, format) });
        return route.fulfill({ path: join(here, '../node_modules', pathname) });
      });
      await page.goto('http://player.test/');
      const heading = page.frameLocator('.replayer-wrapper iframe').locator('h1').first();
      await heading.waitFor({ timeout: PATIENCE_MS });
      const body = page.frameLocator('.replayer-wrapper iframe').locator('body');
      drawn.push({
        lengthMs: await page.evaluate(() => globalThis.lengthMs),
        text: await body.textContent(),
      });
      await shoot(page, `rrweb-player-${format}`);
      await page.close();
    }
    const plain = converted(recording, 'rrweb');
    assert.equal(drawn[0].lengthMs, plain.at(-1).timestamp - plain[0].timestamp);
    assert.match(drawn[0].text, /Added paragraph/, 'the page as it was at the end');
    assert.deepEqual(drawn[1], drawn[0], 'packed, it is the same recording');
  } finally {
    await browser.close();
  }
});

test('zstd and jq read a .reel file, as docs/format.md promises', () => {
  const recording = join(corpus, 'derived/secrets-everywhere.json');
  const [reel, lines] = ['some.reel', 'some.jsonl'].map((name) => join(dir, name));
  for (const file of [reel, lines]) execFileSync(binary, ['convert', recording, file], { stdio: 'ignore' });
  const shell = (command) => execFileSync('sh', ['-c', command], { maxBuffer: 1 << 30 }).toString();
  assert.equal(shell(`zstd -dc ${reel}`), readFileSync(lines, 'utf8'), 'every line, and nothing else');
  const types = shell(`zstd -dc ${reel} | jq '.[1].type'`).trim().split('\n').map(Number);
  const events = JSON.parse(readFileSync(recording, 'utf8'));
  assert.deepEqual(
    types,
    events.map(({ type }) => type),
  );
});

test('a page holds comments where they are asked for', async () => {
  const recording = join(corpus, 'recorded/posthog-rrweb-0.0.59-shop.json');
  const [server, browser] = await Promise.all([openFiles([recording]), launch()]);
  try {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
    const page = await context.newPage();
    await page.goto(server.login);
    const [{ id, start_ms }] = (await (await context.request.get(`${server.url}/api/recordings`)).json())
      .recordings;
    const evil = 'It is </script><script>window.ran = true</script> here';
    const said = { text: evil, at_ms: start_ms + 5_000, author: 'Ada' };
    const kept = await context.request.post(`${server.url}/api/recordings/${id}/comments`, {
      headers: { authorization: `Bearer ${server.token}` },
      data: said,
    });
    assert.equal(kept.status(), 201);
    await page.goto(`${server.url}/recordings/${id}`);
    const menu = page.locator('details', { has: page.getByTitle('Download in another form') });
    await menu.locator('summary').click();
    const download = page.waitForEvent('download');
    await menu.getByText('one page with its comments').click();
    const file = join(dir, 'said.html');
    await (await download).saveAs(file);
    await page.goto(pathToFileURL(file).href);
    await page.getByRole('tab', { name: 'Comments' }).click();
    await page.getByText(evil).waitFor();
    await page.locator('.bar .said').waitFor({ state: 'attached' });
    assert.equal(await page.getByRole('textbox', { name: 'Comment' }).count(), 0, 'they are only to be read');
    assert.equal(await page.evaluate(() => window.ran), undefined);
    await shoot(page, 'file-comments');

    const plain = await context.request.get(`${server.url}/api/recordings/${id}/export?format=html`);
    writeFileSync(file, await plain.body());
    await page.goto(pathToFileURL(file).href);
    await page.getByRole('tab', { name: 'Events' }).waitFor();
    assert.equal(await page.getByRole('tab', { name: 'Comments' }).count(), 0, 'nobody asked for them');
  } finally {
    await browser.close();
    await server.stop();
  }
});

test('every form is offered beside the player, and downloads', async () => {
  const recording = join(corpus, 'recorded/posthog-rrweb-0.0.59-shop.json');
  const [server, browser] = await Promise.all([openFiles([recording]), launch()]);
  try {
    const context = await browser.newContext({
      viewport: { width: 1280, height: 800 },
      acceptDownloads: true,
    });
    await context.request.get(server.login);
    const api = async (path) => (await context.request.get(server.url + path)).json();
    const [{ formats }, { recordings }] = [await api('/api/info'), await api('/api/recordings')];
    const page = await context.newPage();
    await page.goto(`${server.url}/recordings/${recordings[0].id}`);
    const menu = page.locator('details', { has: page.getByTitle('Download in another form') });
    await menu.locator('summary').click();
    const offered = await menu.locator('a').evaluateAll((links) => links.map((link) => new URL(link.href)));
    const names = offered.map((url) => url.searchParams.get('format'));
    assert.deepEqual(
      names,
      formats.map(({ name }) => name).filter((name) => name !== 'html'),
    );
    await shoot(page, 'downloads');
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      menu.getByRole('link', { name: '.posthog.json' }).click(),
    ]);
    assert.equal(download.suggestedFilename(), `${recordings[0].id}.posthog.json`);
    const file = JSON.parse(readFileSync(await download.path(), 'utf8'));
    assert.equal(file.version, '2023-04-28');
    assert.equal(file.data.snapshots.length, recordings[0].event_count);
    await menu.locator('summary').click();
    await page.keyboard.press('Escape');
    assert.equal(await menu.getAttribute('open'), null, 'Escape closes it');
  } finally {
    await browser.close();
    await server.stop();
  }
});
