import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { eventually, launch, PATIENCE_MS, serve } from '../browser.mjs';
import { captures, send, uploadsOf } from '../corpus.mjs';
import { replayedText, shoot } from '../watch.mjs';

const SHOWN = '.stage[aria-busy=false] iframe:not(.hidden)';
const captureOf = (name) => captures().find(({ id }) => id === name);
/** Several pages, and several blocks. */
const tour = captureOf('adminlte-tour');
const tourId = tour.session_ids[0];
/** Clicks, input, errors and analytics events. */
const shop = captureOf('shop-buy-unmasked');
const shopId = shop.session_ids[0];

let server;
let browser;

before(async () => {
  server = await serve();
  browser = await launch();
  for (const capture of [tour, shop]) await send(server.url, capture);
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

/** A page that is let in, with what goes wrong in it. */
async function visitor(at = server) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  await page.goto(at.login);
  return { page, errors, close: () => context.close() };
}

const second = async (page) => Number(await page.getByRole('slider').getAttribute('aria-valuenow'));

async function blocksOf(page, at, id) {
  const reply = await page.request.get(`${at.url}/api/recordings/${id}/blocks`);
  const { blocks } = await reply.json();
  return blocks.filter(({ kind }) => kind === 'lines').sort((a, b) => a.start_ms - b.start_ms);
}

/** Runs in the page: notes which blocks were asked for before the first frame stood. */
function noteBlocks() {
  const asked = [];
  const ask = globalThis.fetch;
  globalThis.fetch = (...request) => {
    asked.push(new URL(String(request[0]), location.origin).pathname);
    return ask(...request);
  };
  const observer = new MutationObserver(() => {
    if (document.querySelector('.stage[aria-busy=false] iframe:not(.hidden)') === null) return;
    globalThis.askedFirst = asked.filter((path) => /\/blocks\/./.test(path));
    observer.disconnect();
  });
  observer.observe(document, { attributes: true, childList: true, subtree: true });
}

test('the first frame needs the first block alone, a seek only what follows the full snapshot before it', async () => {
  const { page, close } = await visitor();
  await page.addInitScript(noteBlocks);
  const all = await blocksOf(page, server, tourId);
  assert.ok(all.length >= 3, `the recording has ${all.length} blocks`);
  const frames = all.flatMap(({ keyframes }) => keyframes.map(({ timestamp_ms }) => timestamp_ms));
  for (const offset of [0, 95_000]) {
    const at = all[0].start_ms + offset;
    const frame = Math.max(frames[0], ...frames.filter((time) => time <= at));
    const needed = all.filter(
      (block) => block.end_ms >= frame - 1 && block.start_ms <= Math.max(at, frame + 1),
    );
    assert.ok(needed.length < all.length, 'the test is worth something');
    await page.goto(`${server.url}/recordings/${tourId}?t=${offset / 1000}`);
    const asked = await (await page.waitForFunction(() => globalThis.askedFirst)).jsonValue();
    const paths = (urls) => [...new Set(urls.map(decodeURIComponent))].sort();
    assert.deepEqual(paths(asked), paths(needed.map(({ url }) => url)));
    assert.equal(asked.length, needed.length, 'each is asked for once');
  }
  await close();
});

test('what the first frame needs is on its way before the player is', async () => {
  const { page, close } = await visitor();
  const asked = page.waitForRequest((request) => /\/blocks\/./.test(request.url()));
  await page.route('**/assets/Player-*.js', async (route) => {
    await asked;
    await route.continue();
  });
  await page.goto(`${server.url}/recordings/${tourId}?t=95`);
  await page.waitForSelector(SHOWN);
  await close();
});

test('what was done stands beside the picture, and leads to its moment', async () => {
  const { page, errors, close } = await visitor();
  await page.goto(`${server.url}/recordings/${shopId}?t=12`);
  await page.waitForSelector(SHOWN);
  assert.ok((await second(page)) >= 12, 'a link to a second starts there');
  await page.keyboard.press(' ');
  await page.waitForSelector('text=Click on button “Add”');
  await page.waitForSelector('text=product_added');
  await page.waitForSelector('.row[aria-current=true]');
  await shoot(page, 'watch');

  await page.getByLabel('Find in the events').fill('order completed');
  const row = page.getByRole('listitem').filter({ hasText: 'order_completed' });
  const [minutes, seconds] = (await row.locator('time').textContent()).split(':').map(Number);
  const there = minutes * 60 + seconds;
  assert.ok(there > 20, `it is at ${there} s`);
  await row.getByRole('button').click();
  await eventually(async () => Math.abs((await second(page)) - there) <= 1, 'the position to be there');
  await page.waitForSelector(SHOWN);

  await page.getByLabel('Find in the events').fill('');
  await page.getByRole('group', { name: 'Show' }).getByRole('button', { name: 'Errors' }).click();
  const kinds = await page.locator('.row').evaluateAll((rows) => rows.map((row) => row.className));
  assert.ok(kinds.length > 0 && kinds.every((name) => /error|warning/.test(name)), kinds.join());
  await page.getByRole('group', { name: 'Show' }).getByRole('button', { name: 'Analytics' }).click();
  await page.waitForSelector('text=$autocapture');

  await page.keyboard.press('c');
  const link = await page.evaluate(() => navigator.clipboard.readText());
  assert.match(link, new RegExp(`/recordings/${shopId}\\?t=(${there - 1}|${there}|${there + 1})$`));
  assert.deepEqual(errors, []);
  await close();
});

test('everything is reached from the keyboard, and the timeline by pointer', async () => {
  const { page, errors, close } = await visitor();
  await page.goto(`${server.url}/recordings/${shopId}`);
  await page.waitForSelector(SHOWN);
  await page.keyboard.press(' ');
  await page.waitForSelector('button[aria-label=Play]');
  await page.keyboard.press('5');
  await page.waitForSelector(SHOWN);
  const middle = await second(page);
  assert.ok(middle > 30 && middle < 45, `half of it is ${middle} s`);
  await page.keyboard.press('ArrowRight');
  await eventually(async () => (await second(page)) === middle + 5, 'five seconds on');
  await page.keyboard.press('Shift+ArrowLeft');
  await eventually(async () => (await second(page)) === middle - 25, 'half a minute back');
  await page.keyboard.press('s');
  assert.equal(await page.getByLabel('Speed').inputValue(), '2');
  await page.keyboard.press('i');
  assert.equal(await page.getByLabel('Skip idle').isChecked(), false);
  await page.keyboard.press('?');
  await page.waitForSelector('dialog[open]');
  await page.keyboard.press('Escape');
  await page.waitForSelector('dialog', { state: 'detached' });
  await page.keyboard.press('e');
  await page.waitForSelector('.row', { state: 'detached' });

  const bar = await page.getByRole('slider').boundingBox();
  const x = (share) => bar.x + bar.width * share;
  await page.mouse.move(x(0.2), bar.y + 26);
  await page.waitForSelector('.tip');
  assert.doesNotMatch(await page.locator('.tip').textContent(), /Click: /, 'what is said once');
  await page.mouse.down();
  await page.mouse.move(x(0.6), bar.y + 26, { steps: 6 });
  await page.mouse.up();
  await page.waitForSelector(SHOWN);
  const dragged = await second(page);
  assert.ok(dragged >= 43 && dragged <= 46, `dragged to 60 %: ${dragged} s`);

  // By Tab alone one comes from the way back to the picture's controls.
  await page.locator('a[data-return]').focus();
  const names = [];
  for (let i = 0; i < 14; i++) {
    await page.keyboard.press('Tab');
    names.push(await page.evaluate(() => document.activeElement?.getAttribute('aria-label') ?? ''));
  }
  assert.ok(names.includes('Position in the recording') && names.includes('Play'), names.join());
  assert.deepEqual(errors, []);
  await close();
});

test('a live recording is followed, each upload as it comes', async () => {
  const live = captureOf('shop-browse-proxy');
  const uploads = uploadsOf(live);
  const half = uploads.length >> 1;
  const post = ({ path, headers, body }) => fetch(server.url + path, { method: 'POST', headers, body });
  for (const upload of uploads.slice(0, half)) assert.equal((await post(upload)).status, 200);
  const { page, errors, close } = await visitor();
  await page.goto(`${server.url}/recordings/${live.session_ids[0]}`);
  await page.waitForSelector(SHOWN);
  await page.getByRole('button', { name: 'Jump to live' }).click();
  await page.waitForSelector('.top .live');
  const length = async () => Number(await page.getByRole('slider').getAttribute('aria-valuemax'));
  const before = await length();
  for (const upload of uploads.slice(half)) assert.equal((await post(upload)).status, 200);
  await eventually(async () => (await length()) > before + 5, 'the recording to grow');
  await eventually(async () => (await second(page)) >= (await length()) - 1, 'the position to be at its end');
  assert.equal(await page.locator('.top .live').count(), 1, 'it still follows');
  await shoot(page, 'live');
  // A minute after its last upload it is over: the page says so wherever it said the opposite, and plays to the end.
  await page.getByText('This recording has ended and is now complete').waitFor({ timeout: PATIENCE_MS });
  await eventually(async () => (await page.getByText('Live', { exact: true }).count()) === 0, 'no live mark');
  await shoot(page, 'live-ended');
  await page.getByRole('button', { name: 'Watch from the start' }).click();
  await eventually(async () => (await second(page)) < 5, 'the start');
  await page.getByRole('slider').press('End');
  await page.getByText('Watch again').waitFor();
  assert.equal(await second(page), await length(), 'the true end');
  assert.deepEqual(errors, []);
  await close();
});

test('a server that goes away is waited for, and playback goes on where it was', async () => {
  const own = await serve();
  const port = new URL(own.url).port;
  await send(own.url, tour);
  const { page, errors, close } = await visitor(own);
  await page.goto(`${own.url}/recordings/${tourId}`);
  // Only the first block comes through, as on a slow line.
  const [first] = await blocksOf(page, own, tourId);
  await page.route(/\/blocks\/./, (route) =>
    decodeURIComponent(route.request().url()).endsWith(decodeURIComponent(first.url))
      ? route.continue()
      : route.abort('connectionrefused'),
  );
  await page.route(/\/Inspector-[^/]+\.css$/, (route) => route.abort('connectionrefused'));
  await page.goto(`${own.url}/recordings/${tourId}`);
  await page.waitForSelector(SHOWN);
  await own.kill();
  await page.keyboard.press('9');
  await page.getByText('No connection to the server.').waitFor();
  await shoot(page, 'offline');
  await page.unrouteAll();
  const again = await serve({ data: own.data, listen: `127.0.0.1:${port}` });
  // It may have found the server by itself by then.
  await page
    .getByRole('button', { name: 'Try now' })
    .click({ timeout: 1_000 })
    .catch(() => {});
  await page.waitForSelector(SHOWN);
  await page.getByText('No connection to the server.').waitFor({ state: 'detached' });
  assert.ok((await second(page)) >= 92);
  await page.locator('section.inspector').waitFor();
  assert.deepEqual(errors, []);
  await close();
  await again.stop();
});

test('damage is a gap with an explanation, and the rest plays', async () => {
  const own = await serve();
  await send(own.url, tour);
  const { page, errors, close } = await visitor(own);
  const all = await blocksOf(page, own, tourId);
  const object = objectsIn(own.data).sort((a, b) => statSync(b).size - statSync(a).size)[0];
  const bytes = readFileSync(object);
  // The largest object holds the recording's blocks one after the other: this is inside the first or second one.
  const at = Math.floor(bytes.length * 0.3);
  bytes.fill(0xa5, at, at + 64);
  writeFileSync(object, bytes);
  await page.goto(`${own.url}/recordings/${tourId}`);
  await page.waitForSelector('svg .gap', { state: 'attached' });
  await page.waitForSelector('.count:not(:has-text("…"))');
  await page.keyboard.press(' ');
  await page.keyboard.press('9');
  await page.waitForSelector(SHOWN);
  assert.match(await replayedText(page), /\w{3}/, 'what is whole is drawn');
  await page.keyboard.press('Home');
  await page.waitForSelector('[aria-busy=false]');
  await shoot(page, 'damaged');
  const said = await page.locator('.stage').textContent();
  assert.match(said, /damaged/, `${all.length} blocks; the stage says: ${said}`);
  assert.deepEqual(errors, []);
  await close();
  await own.stop();
});

function objectsIn(data) {
  const walk = (dir) =>
    readdirSync(dir, { withFileTypes: true }).flatMap((entry) =>
      entry.isDirectory() ? walk(join(dir, entry.name)) : [join(dir, entry.name)],
    );
  return walk(join(data, 'objects'));
}
