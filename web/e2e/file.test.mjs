// A recording saved as one HTML file, opened from the disk in a browser that has nobody to ask.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { binary, eventually, launch, openFiles, PATIENCE_MS } from './browser.mjs';
import { replayedText, shoot } from './watch.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const corpus = join(process.env.REELCASE_CORPUS ?? join(here, '../../../shared/corpus'), 'rrweb');
const shop = join(corpus, 'recorded/posthog-rrweb-0.0.59-shop.json');
/** What a file may have beside the recording. */
const BESIDE_BYTES_MAX = 150_000;

let browser;
let dir;

before(async () => {
  assert.ok(existsSync(binary), `the command is not built: ${binary}`);
  dir = mkdtempSync(join(tmpdir(), 'reelcase-file-'));
  // No name leads anywhere, and the network log would tell of a look-up all the same.
  browser = await launch([
    '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
    `--log-net-log=${join(dir, 'net-log.json')}`,
  ]);
});

after(async () => {
  await browser?.close();
  if (dir) rmSync(dir, { recursive: true, force: true });
});

function convert(from, to) {
  execFileSync(binary, ['convert', from, to], { stdio: ['ignore', 'ignore', 'pipe'] });
  return to;
}

/** Opens a file as a double click would, and waits until its first frame stands. */
async function open(file, { hash = '', colorScheme = 'light', size = { width: 1280, height: 800 } } = {}) {
  const context = await browser.newContext({ viewport: size, colorScheme });
  const page = await context.newPage();
  const seen = { errors: [], asked: [] };
  page.on('pageerror', (error) => seen.errors.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') seen.errors.push(message.text());
  });
  page.on('request', (request) => {
    const { protocol } = new URL(request.url());
    if (protocol !== 'file:' && protocol !== 'data:' && protocol !== 'blob:') seen.asked.push(request.url());
  });
  await page.goto(pathToFileURL(file).href + hash);
  return { page, seen };
}

const shown = (page) => page.waitForSelector('.stage[aria-busy=false]', { timeout: PATIENCE_MS });
const second = async (page) =>
  Number(await page.getByRole('slider', { name: 'Position' }).getAttribute('aria-valuenow'));

test('a file plays from the disk, asks nobody, and shows what the player shows', async () => {
  const file = convert(shop, join(dir, 'shop.html'));
  const { page, seen } = await open(file);
  await shown(page);
  await page.getByRole('button', { name: 'Pause' }).click();
  await eventually(async () => (await replayedText(page)).length > 100, 'the page to be drawn');
  await eventually(
    async () => (await page.locator('.inspector [role=option], .inspector .row, .inspector li').count()) > 3,
    'events',
  );
  await shoot(page, 'file-light');
  for (const name of ['Console', 'Network', 'Info']) {
    await page.getByRole('tab', { name }).click();
    await page.waitForTimeout(200);
  }
  await page.getByText('Replay events').waitFor();
  await shoot(page, 'file-info');
  assert.match(await page.title(), /Reelcase$/);
  assert.equal(
    await page.getByLabel('Load remote assets').count(),
    0,
    'there is nothing to load from anywhere',
  );
  assert.deepEqual(seen, { errors: [], asked: [] });
  await page.context().close();
});

test('an address with a second opens there, and follows it when it changes', async () => {
  const file = convert(shop, join(dir, 'moments.html'));
  const { page, seen } = await open(file, { hash: '#t=3', colorScheme: 'dark' });
  await shown(page);
  assert.ok((await second(page)) >= 3, 'it starts at the second');
  await page.getByRole('button', { name: 'Pause' }).click();
  await shoot(page, 'file-dark');
  await page.evaluate(() => {
    location.hash = '#t=1';
  });
  await eventually(async () => (await second(page)) === 1, 'the position to follow the address');
  await page.keyboard.press('c');
  await eventually(
    async () => /#t=1$/.test(page.url()) || (await page.getByText('Copied').count()) > 0,
    'a link',
  );
  assert.deepEqual(seen.errors, []);
  await page.context().close();
});

test('it is as large as the recording in base64 and the player', () => {
  const [html, reel] = ['html', 'reel'].map((ending) => convert(shop, join(dir, `size.${ending}`)));
  const beside = statSync(html).size - Math.ceil(statSync(reel).size / 3) * 4;
  console.log(`beside the recording: ${beside} bytes`);
  assert.ok(beside <= BESIDE_BYTES_MAX, `${beside} bytes beside the recording`);
  const text = readFileSync(html, 'utf8');
  const scripts = [...text.matchAll(/<script[^>]*>/g)].map(([tag]) => tag);
  assert.equal(scripts.filter((tag) => tag === '<script>').length, 1, 'one script, and the rest is data');
  const [, policy] = /Content-Security-Policy" content="([^"]*)"/.exec(text);
  assert.match(policy, /^default-src 'none'; script-src ('sha256-[^ ;]*' ?){3};/);
  assert.match(policy, /connect-src 'none'/);
});

test('a file that was cut off says so', async () => {
  const whole = readFileSync(convert(shop, join(dir, 'cut.html')), 'utf8');
  const [begins, ends] = ['class="reel">', '</script>\n<script>'].map((mark) => whole.lastIndexOf(mark));
  const cut = begins + Math.floor((ends - begins) / 2);
  writeFileSync(join(dir, 'cut.html'), whole.slice(0, cut) + whole.slice(ends));
  const { page } = await open(join(dir, 'cut.html'));
  await page.getByRole('alert').getByText('This recording cannot be played').waitFor();
  await shoot(page, 'file-cut');
  await page.context().close();
});

test('it is downloaded beside the player, and read back in', async () => {
  const server = await openFiles([shop]);
  try {
    const context = await browser.newContext({
      viewport: { width: 1280, height: 800 },
      acceptDownloads: true,
    });
    // Names lead nowhere in this browser; addresses do.
    await context.request.get(server.login);
    const { recordings } = await (await context.request.get(`${server.url}/api/recordings`)).json();
    const page = await context.newPage();
    await page.goto(`${server.url}/recordings/${recordings[0].id}`);
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByTitle('Download as HTML').click(),
    ]);
    assert.equal(download.suggestedFilename(), `${recordings[0].id}.html`);
    await shoot(page, 'download-html');
    const file = join(dir, 'downloaded.html');
    await download.saveAs(file);
    const back = readFileSync(convert(file, join(dir, 'back.jsonl')), 'utf8')
      .trim()
      .split('\n');
    assert.equal(back.length, recordings[0].event_count);
    await context.close();
    const again = await openFiles([file]);
    try {
      const fresh = await browser.newContext();
      await fresh.request.get(again.login);
      const list = await (await fresh.request.get(`${again.url}/api/recordings`)).json();
      assert.equal(list.recordings[0].id, recordings[0].id);
      await fresh.close();
    } finally {
      await again.stop();
    }
    const opened = await open(file);
    await shown(opened.page);
    assert.deepEqual(opened.seen, { errors: [], asked: [] });
  } finally {
    await server.stop();
  }
});
