// Recordings that were shared without a server: encrypted files on a host of plain files, which never learns the key.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { binary, eventually, launch, openFiles, PATIENCE_MS } from './browser.mjs';
import { replayedText, shoot } from './watch.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const corpus = join(process.env.REELCASE_CORPUS ?? join(here, '../../../shared/corpus'), 'rrweb');
const shop = join(corpus, 'recorded/posthog-rrweb-0.0.59-shop.json');

let browser;
let dir;
let host;
let server;

before(async () => {
  dir = mkdtempSync(join(tmpdir(), 'reelcase-encrypted-'));
  const long = join(dir, 'long.json');
  writeFileSync(long, JSON.stringify(longRecording()));
  server = await openFiles([shop, long]);
  host = await staticHost(join(dir, 'public'));
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.stop();
  await host?.close();
  if (dir) rmSync(dir, { recursive: true, force: true });
});

/** Three pages a minute apart, with so much between them that each is in blocks of its own. */
function longRecording() {
  const start = 1_795_000_000_000;
  const events = [];
  for (const page of [0, 1, 2]) {
    const at = start + page * 60_000;
    const text = { type: 3, id: 5, textContent: `This is page ${page}` };
    const body = { type: 2, id: 4, tagName: 'body', attributes: {}, childNodes: [text] };
    const head = { type: 2, id: 3, tagName: 'head', attributes: {}, childNodes: [] };
    const html = { type: 2, id: 2, tagName: 'html', attributes: {}, childNodes: [head, body] };
    const node = { type: 0, id: 1, childNodes: [html] };
    const href = `https://shop.example/${page}`;
    events.push({ type: 4, timestamp: at, data: { href, width: 800, height: 600 } });
    events.push({ type: 2, timestamp: at + 1, data: { node, initialOffset: { left: 0, top: 0 } } });
    for (let i = 1; i <= 60; i++) {
      const noise = Array.from({ length: 14_000 }, () => Math.random().toString(36).slice(2, 9)).join('');
      events.push({ type: 5, timestamp: at + i * 900, data: { tag: 'noise', payload: { noise } } });
    }
  }
  return events;
}

/** A host of files that sends parts of them. It keeps what it was asked for. */
async function staticHost(root) {
  const host = { root, asked: [], sendsParts: true, holds: null };
  const listener = createServer(async (request, reply) => {
    const { pathname } = new URL(request.url, 'http://host');
    const path = join(root, basename(pathname));
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
    host.asked.push({ url: request.url, headers: request.headers, range });
    if (!existsSync(path)) return reply.writeHead(404).end('gone');
    const bytes = readFileSync(path);
    const type = path.endsWith('.html') ? 'text/html' : 'application/octet-stream';
    if (range === null || !host.sendsParts) {
      return reply.writeHead(200, { 'content-type': type, 'content-length': bytes.length }).end(bytes);
    }
    const [from, to] = [Number(range[1]), Math.min(Number(range[2]), bytes.length - 1)];
    await host.holds?.(to);
    const headers = { 'content-type': type, 'content-range': `bytes ${from}-${to}/${bytes.length}` };
    reply.writeHead(206, headers).end(bytes.subarray(from, to + 1));
  });
  await new Promise((done) => listener.listen(0, '127.0.0.1', done));
  host.port = listener.address().port;
  host.url = `http://127.0.0.1:${host.port}`;
  host.close = () => new Promise((done) => listener.close(done));
  return host;
}

/** Shares a recording with the real command. */
async function share(which) {
  const reply = await fetch(`${server.url}/api/recordings`, {
    headers: { authorization: `Bearer ${server.token}` },
  });
  const { recordings } = await reply.json();
  const { id } = recordings.find(({ event_count }) =>
    which === 'long' ? event_count === 186 : event_count !== 186,
  );
  const said = execFileSync(
    binary,
    ['share', id, '--server', server.url, '--token', server.token, '--to', host.root, '--url', host.url],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const link = said.trim();
  const hash = new URLSearchParams(new URL(link).hash.slice(1));
  return { link, key: hash.get('key'), file: join(host.root, hash.get('file')) };
}

async function open(link, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  const seen = { errors: [], asked: [] };
  page.on('pageerror', (error) => seen.errors.push(String(error)));
  page.on('request', (request) => {
    if (/^https?:/.test(request.url())) seen.asked.push(request.url());
  });
  await page.goto(link);
  return { page, seen };
}

const shown = (page) =>
  page.waitForSelector('.stage[aria-busy=false] iframe:not(.hidden)', { timeout: PATIENCE_MS });

async function saysThat(link, text) {
  const { page } = await open(link);
  await page.getByRole('alert').getByText(text).waitFor({ timeout: PATIENCE_MS });
  return page;
}

test('a link plays what a host of files cannot read, and the key never leaves the browser', async () => {
  const { link, key, file } = await share('shop');
  assert.deepEqual(readdirSync(host.root).sort(), [basename(file), 'replay.html'].sort());
  assert.ok(
    !readFileSync(file).includes('Products') &&
      readFileSync(file).subarray(1, 8).equals(Buffer.from('REELENC')),
  );
  host.asked.length = 0;
  const { page, seen } = await open(link);
  await shown(page);
  await eventually(async () => (await replayedText(page)).includes('Products'), 'the page to be drawn');
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByRole('tab', { name: 'Info' }).click();
  await page.getByText('Replay events').waitFor();
  await shoot(page, 'encrypted-light');
  assert.deepEqual(seen.errors, []);
  assert.ok(
    seen.asked.every((url) => url.startsWith(host.url)),
    'nobody else is asked',
  );
  const said = JSON.stringify([host.asked, seen.asked.map((url) => url.split('#')[0])]);
  assert.ok(host.asked.length > 2 && !said.includes(key), 'no request has the key');
  const [, policy] = /Content-Security-Policy" content="([^"]*)"/.exec(
    readFileSync(join(host.root, 'replay.html'), 'utf8'),
  );
  assert.match(policy, /default-src 'none'; script-src ('sha256-[^ ;]*' ?){3};.*connect-src 'self'/);
  await page.goto(`${link}&t=3`);
  await shown(page);
  await eventually(
    async () => Number(await page.getByRole('slider').getAttribute('aria-valuenow')) >= 3,
    'the second that the link names',
  );
  await page.context().close();
});

test('only the parts that a moment needs are fetched before it is shown', async () => {
  const { link, file } = await share('long');
  const { size } = statSync(file);
  assert.ok(size > 8 << 20, `${size} bytes`);
  // The first half of the file, but for its head, does not come before the end was shown.
  let release = () => {};
  const released = new Promise((done) => {
    release = done;
  });
  host.holds = (to) => (to > 0.1 * size && to < 0.6 * size ? released : null);
  host.asked.length = 0;
  const { page, seen } = await open(`${link}&t=121`);
  await shown(page);
  await eventually(async () => (await replayedText(page)).includes('This is page 2'), 'the last page');
  const ofFile = host.asked.filter(({ url }) => !url.includes('.html') && !url.includes('favicon'));
  assert.ok(
    ofFile.every(({ range }) => range !== null),
    'it is never asked for whole',
  );
  release();
  host.holds = null;
  await page.keyboard.press('Home');
  await eventually(async () => (await replayedText(page)).includes('This is page 0'), 'the first page');
  assert.deepEqual(seen.errors, []);
  await page.context().close();
});

test('what was changed is shown as damage, and the rest plays', async () => {
  const { link, file } = await share('long');
  const bytes = readFileSync(file);
  bytes[Math.floor(0.3 * bytes.length)] ^= 1;
  writeFileSync(file, bytes);
  const { page } = await open(link);
  await shown(page);
  await eventually(async () => (await replayedText(page)).includes('This is page 0'), 'the first page');
  await page.keyboard.press('4');
  await page.getByText('damaged').first().waitFor({ timeout: PATIENCE_MS });
  await shoot(page, 'encrypted-damaged');
  await page.keyboard.press('9');
  await eventually(async () => (await replayedText(page)).includes('This is page 2'), 'the last page');
  await page.context().close();
});

test('a wrong key, a link that is cut off and a file that was cut off are told apart', async () => {
  const { link, key, file } = await share('shop');
  const wrong = key.startsWith('A') ? `B${key.slice(1)}` : `A${key.slice(1)}`;
  const page = await saysThat(link.replace(key, wrong), 'the key in this address does not fit');
  await shoot(page, 'encrypted-wrong-key');
  await page.context().close();
  const cut = await saysThat(link.slice(0, -4), 'the link may not be whole');
  await cut.context().close();
  writeFileSync(file, readFileSync(file).subarray(0, -30));
  const damaged = await saysThat(link, 'changed or cut off');
  await damaged.context().close();
});

test('a link ends when its file is deleted, also in pages that are open', async () => {
  const { link, file } = await share('long');
  const { page } = await open(link);
  await shown(page);
  rmSync(file);
  await page.keyboard.press('End');
  await page.reload();
  await page.getByRole('alert').getByText('not there any more').waitFor({ timeout: PATIENCE_MS });
  await shoot(page, 'encrypted-gone');
  await page.context().close();
});

test('a host that sends files only whole will do, and one without https is told of', async () => {
  const { link } = await share('shop');
  host.sendsParts = false;
  const { page } = await open(link, { colorScheme: 'dark' });
  await shown(page);
  await eventually(async () => (await replayedText(page)).includes('Products'), 'the page to be drawn');
  await shoot(page, 'encrypted-dark');
  await page.context().close();
  host.sendsParts = true;
  const plain = await saysThat(link.replace('127.0.0.1', 'static.test'), 'only on pages that came by https');
  await plain.context().close();
});

test('the share dialog makes page, file and link in the browser', async () => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, acceptDownloads: true });
  await context.request.get(server.login);
  const { recordings } = await (await context.request.get(`${server.url}/api/recordings`)).json();
  const { id } = recordings.find(({ event_count }) => event_count !== 186);
  const page = await context.newPage();
  await page.goto(`${server.url}/recordings/${id}`);
  await shown(page);
  await page.getByRole('button', { name: 'Share' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('Without a server').click();
  await dialog.getByRole('button', { name: 'Make an encrypted file' }).click();
  const saved = [];
  for (const name of ['Save the recording', 'Save replay.html']) {
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      dialog.getByRole('link', { name }).click(),
    ]);
    saved.push(download.suggestedFilename());
    await download.saveAs(join(host.root, download.suggestedFilename()));
  }
  assert.match(saved[0], /^[0-9a-f]{32}\.reel\.enc$/);
  assert.equal(saved[1], 'replay.html');
  await dialog.getByLabel('Where they will be').fill(`${host.url}/`);
  const link = await dialog.getByLabel('Encrypted link').inputValue();
  await dialog.getByLabel('Encrypted link').scrollIntoViewIfNeeded();
  await shoot(page, 'encrypted-dialog');
  await context.close();
  const guest = await open(link);
  await shown(guest.page);
  await eventually(async () => (await replayedText(guest.page)).includes('Products'), 'the page to be drawn');
  assert.deepEqual(guest.seen.errors, []);
  await guest.page.context().close();
});
