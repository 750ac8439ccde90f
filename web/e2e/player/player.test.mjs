import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { chromium } from 'playwright-core';
import { build } from 'vite';
import { startStub } from './stub.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const web = join(here, '../..');
const corpus = process.env.REELCASE_CORPUS ?? join(web, '../../shared/corpus');
const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const args =
  '--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync'.split(
    ' ',
  );

const read = (name) => JSON.parse(readFileSync(join(corpus, 'rrweb', name), 'utf8'));
const shots = process.env.SCREENSHOTS;

let stub;
let browser;
let dir;

/** A page with a canvas, drawn by commands after its snapshot. */
function canvasRecording() {
  const node = (id, tagName, attributes, childNodes = []) => ({
    type: 2,
    id,
    tagName,
    attributes,
    childNodes,
  });
  const body = node(4, 'body', {}, [node(5, 'canvas', { width: '80', height: '60' })]);
  const html = node(2, 'html', {}, [node(3, 'head', {}), body]);
  const at = (ms) => 1_700_000_000_000 + ms;
  const command = (property, args, setter) => ({ property, args, ...(setter ? { setter: true } : {}) });
  const commands = [
    command('fillStyle', ['#ff0000'], true),
    command('fillRect', [0, 0, 80, 60]),
    command('constructor', ['window.top.__pwned=1']),
    command('__proto__', [{ polluted: true }], true),
  ];
  return [
    { type: 4, timestamp: at(0), data: { href: 'http://site.test/', width: 400, height: 300 } },
    {
      type: 2,
      timestamp: at(1),
      data: { node: { type: 0, id: 1, childNodes: [html] }, initialOffset: { left: 0, top: 0 } },
    },
    { type: 3, timestamp: at(100), data: { source: 9, id: 5, type: 0, commands } },
    { type: 5, timestamp: at(4000), data: { tag: 'end', payload: {} } },
  ];
}

before(async () => {
  for (const path of [join(corpus, 'rrweb'), executablePath]) assert.ok(existsSync(path), `missing: ${path}`);
  dir = mkdtempSync(join(tmpdir(), 'player-e2e-'));
  const pageDir = join(dir, 'page');
  const playerDir = join(dir, 'player');
  const log = { logLevel: 'error', configFile: false };
  await build({
    ...log,
    root: join(here, 'page'),
    plugins: [svelte({ configFile: join(web, 'svelte.config.js') })],
    build: { outDir: pageDir, emptyOutDir: true, modulePreload: { polyfill: false }, assetsInlineLimit: 0 },
  });
  await build({
    logLevel: 'error',
    configFile: join(web, 'player/vite.config.ts'),
    build: { outDir: playerDir },
  });
  const hostile = read('derived/hostile-page.json');
  const last = hostile.at(-1).timestamp;
  stub = await startStub({
    pageDir,
    playerDir,
    recordings: {
      shop: read('recorded/rrweb-2.2.2-shop.json'),
      old: read('recorded/rrweb-1.1.3-shop.json'),
      // One more event, so that there is time to see all of it drawn.
      hostile: [...hostile, { type: 5, data: { tag: 'end', payload: {} }, timestamp: last + 5000 }],
      headless: read('derived/no-full-snapshot.json'),
      canvas: canvasRecording(),
      gap: read('derived/three-hour-gap.json'),
    },
  });
  const rules = `--host-resolver-rules=MAP * 127.0.0.1:${stub.port}`;
  browser = await chromium.launch({ executablePath, args: [...args, rules] });
});

after(async () => {
  await browser?.close();
  stub?.server.close();
  if (dir) rmSync(dir, { recursive: true, force: true });
});

/** Opens a recording and waits until its first frame stands. */
async function open(id, query = '') {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  const errors = [];
  const outside = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  // The browser also reports what the policy stopped before it left; those fail with that reason.
  page.on('requestfailed', (request) => {
    if (!/csp|BLOCKED_BY_CSP/i.test(request.failure()?.errorText ?? '')) outside.push(request.url());
  });
  page.on('requestfinished', (request) => {
    const url = new URL(request.url());
    if (url.protocol.startsWith('http') && url.host !== `127.0.0.1:${stub.port}`) outside.push(request.url());
  });
  await page.goto(`http://127.0.0.1:${stub.port}/?id=${id}${query}`);
  await page.waitForSelector('[aria-busy=false]');
  return { page, errors, outside };
}

/** The document that the replayer built: the innermost frame. */
function replayed(page) {
  return page.frames().find((frame) => frame.parentFrame()?.url().startsWith('data:'));
}

async function shot(page, name) {
  if (shots) await page.screenshot({ path: join(shots, `${name}.png`) });
}

test('a recording opens, plays and seeks', async () => {
  const { page, errors } = await open('shop');
  await page.waitForTimeout(1500);
  await shot(page, 'shop-start');
  const before = await page.getByRole('slider').getAttribute('aria-valuenow');
  assert.ok(Number(before) >= 1, `the clock runs: ${before}`);
  await page.keyboard.press('5');
  await page.waitForTimeout(600);
  await page.keyboard.press(' ');
  await page.waitForTimeout(300);
  await shot(page, 'shop-middle');
  const text = await replayed(page)
    ?.evaluate(() => document.body.textContent.length)
    .catch(() => -1);
  const frameText = await page
    .frames()
    .find((frame) => frame.url().startsWith('data:'))
    ?.evaluate(() => document.querySelector('iframe')?.contentDocument?.body.textContent.length ?? 0);
  assert.ok((frameText ?? 0) > 100, `the page has text: ${frameText} ${text}`);
  await page.keyboard.press('9');
  await page.waitForTimeout(500);
  await page.keyboard.press('?');
  await shot(page, 'shop-late');
  assert.deepEqual(errors, []);
  await page.close();
});

test('the replay has an origin of its own and cannot reach the page', async () => {
  const { page } = await open('shop');
  const frame = page.frames().find((item) => item.url().startsWith('data:'));
  const seen = await frame?.evaluate(() => {
    let reach = 'nothing';
    try {
      reach = String(window.top?.document.title);
    } catch (error) {
      reach = error instanceof DOMException ? error.name : 'other';
    }
    return { origin: self.origin, reach };
  });
  assert.deepEqual(seen, { origin: 'null', reach: 'SecurityError' });
  await page.close();
});

test('a hostile recording runs nothing and requests nothing', async () => {
  const { page, outside } = await open('hostile');
  await page.waitForTimeout(2500);
  await shot(page, 'hostile');
  const frame = page.frames().find((item) => item.url().startsWith('data:'));
  const text = await frame?.evaluate(
    () => document.querySelector('iframe')?.contentDocument?.body.textContent ?? '',
  );
  assert.match(text ?? '', /free money/, 'one bad tag name must not blank the page');
  for (const item of page.frames()) {
    const pwned = await item.evaluate(() => '__pwned' in window).catch(() => false);
    assert.equal(pwned, false, item.url().slice(0, 60));
  }
  assert.deepEqual(outside, []);
  const foreign = stub.requests.filter(({ host }) => host.includes('.test'));
  assert.deepEqual(foreign, []);
  await page.close();
});

test('remote assets are a choice that makes a new frame with another policy', async () => {
  const { page, errors } = await open('shop', '&t=10');
  await page.keyboard.press(' ');
  await page.getByLabel('Load remote assets').check();
  await page.waitForTimeout(1500);
  await page.waitForSelector('[aria-busy=false]');
  const frame = page.frames().find((item) => item.url().startsWith('data:'));
  const seen = await frame?.evaluate(() => ({
    assets: document.documentElement.dataset.assets,
    policy: document.querySelector('meta[http-equiv]')?.getAttribute('content')?.includes('https:'),
    length: document.querySelector('iframe')?.contentDocument?.body.textContent.length ?? 0,
  }));
  assert.equal(seen?.assets, 'remote');
  assert.equal(seen?.policy, true);
  assert.ok((seen?.length ?? 0) > 100);
  assert.deepEqual(errors, []);
  await page.close();
});

test('idle time is skipped, and the end is an end', async () => {
  const { page } = await open('gap');
  await page.waitForSelector('text=/without activity/', { timeout: 5000 }).catch(() => null);
  await page.waitForSelector('text=Watch again', { timeout: 30_000 });
  await shot(page, 'gap');
  await page.close();
});

test('a canvas is drawn without scripts in the page', async () => {
  const { page } = await open('canvas');
  await page.waitForTimeout(1200);
  await shot(page, 'canvas');
  const frame = page.frames().find((item) => item.url().startsWith('data:'));
  const style = await frame?.evaluate(() => {
    const canvas = document.querySelector('iframe')?.contentDocument?.querySelector('canvas');
    return { picture: canvas?.style.backgroundImage.slice(0, 9), polluted: 'polluted' in {} };
  });
  assert.deepEqual(style, { picture: 'url("blob', polluted: false });
  await page.close();
});

test('an old recording plays, and one without a snapshot says so', async () => {
  const old = await open('old', '&t=3');
  await old.page.waitForTimeout(500);
  await shot(old.page, 'old');
  assert.deepEqual(old.errors, []);
  await old.page.close();
  const headless = await open('headless');
  assert.match(await headless.page.getByRole('alert').textContent(), /No full snapshot/);
  await shot(headless.page, 'headless');
  await headless.page.close();
});
