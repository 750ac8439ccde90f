// Links to recordings, as whoever makes one and whoever gets one meets them, and recordings in other people's pages.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eventually, launch, openFiles, PATIENCE_MS } from './browser.mjs';
import { seed } from './seed.mjs';
import { replayedText, shoot } from './watch.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const corpus = join(process.env.REELCASE_CORPUS ?? join(here, '../../../shared/corpus'), 'rrweb');

let server;
let browser;
let recording;

before(async () => {
  server = await openFiles([join(corpus, 'recorded/posthog-rrweb-0.0.59-shop.json')]);
  browser = await launch();
  [recording] = (await api('/api/recordings')).recordings;
  await seed(server.url, 2);
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

async function api(path, method = 'GET', body = undefined) {
  const reply = await fetch(server.url + path, {
    method,
    headers: { authorization: `Bearer ${server.token}`, 'content-type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  assert.ok(reply.ok, `${path}: ${reply.status}`);
  return reply.json();
}

const share = (terms) => api(`/api/recordings/${recording.id}/shares`, 'POST', terms);

/** A browser of somebody who has nothing but the link. */
async function stranger(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  const seen = { errors: [], asked: [] };
  page.on('pageerror', (error) => seen.errors.push(String(error)));
  page.on('request', (request) => seen.asked.push(new URL(request.url()).pathname));
  return { context, page, seen };
}

const shown = (within) =>
  within.locator('.stage[aria-busy=false] iframe:not(.hidden)').waitFor({ timeout: PATIENCE_MS });

/** The link that its owner makes from a page of the app, once `choose` has chosen what it shows. */
async function linkMadeAt(path, choose) {
  const owner = await browser.newContext({ viewport: { width: 1280, height: 860 } });
  await owner.request.get(server.login);
  const page = await owner.newPage();
  await page.goto(server.url + path);
  await page.getByRole('button', { name: 'Share' }).click();
  const dialog = page.getByRole('dialog');
  await choose(dialog, page);
  await dialog.getByRole('button', { name: 'Make a link' }).click();
  const url = await dialog.getByLabel('Link', { exact: true }).inputValue();
  await owner.close();
  return url;
}

test('a link is made, copied, opened with its password, listed and taken back', async () => {
  const owner = await browser.newContext({ viewport: { width: 1280, height: 860 }, colorScheme: 'dark' });
  await owner.request.get(server.login);
  const page = await owner.newPage();
  await page.goto(`${server.url}/recordings/${recording.id}`);
  await shown(page);
  await page.getByRole('button', { name: 'Share' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Title').fill('What went wrong at the checkout');
  await dialog.getByLabel('Password').fill('open sesame');
  await dialog.getByLabel('Events').check();
  await dialog.getByLabel('Console and errors').check();
  await shoot(page, 'share-dialog-dark');
  await dialog.getByLabel('From').fill('soon');
  await dialog.getByRole('button', { name: 'Make a link' }).click();
  await dialog.getByText('Write moments as 1:30.').waitFor();
  await dialog.getByLabel('From').fill('0:00');
  await dialog.getByLabel('Starts at').fill('1:00:00');
  await dialog.getByRole('button', { name: 'Make a link' }).click();
  await dialog.getByText('Playback starts within what is shown.').waitFor();
  await dialog.getByLabel('Starts at').fill('0:12');
  await dialog.getByRole('button', { name: 'Make a link' }).click();
  const url = await dialog.getByLabel('Link', { exact: true }).inputValue();
  await page.emulateMedia({ colorScheme: 'light' });
  await shoot(page, 'share-made-light');

  const guest = await stranger();
  await guest.page.goto(url);
  await guest.page.getByLabel('Password').fill('open barley');
  await guest.page.getByRole('button', { name: 'Watch' }).click();
  await guest.page.getByText('This is not the password.').waitFor();
  await shoot(guest.page, 'share-password-light');
  await guest.page.getByLabel('Password').fill('open sesame');
  await guest.page.getByRole('button', { name: 'Watch' }).click();
  await shown(guest.page);
  await eventually(async () => (await replayedText(guest.page)).includes('Products'), 'the page to be drawn');
  await guest.page.getByRole('heading', { name: 'What went wrong at the checkout' }).waitFor();
  const second = Number(await guest.page.getByRole('slider').getAttribute('aria-valuenow'));
  assert.ok(second >= 12, `it starts where its maker said, and is at ${second}`);
  const tabs = await guest.page.getByRole('tab').allInnerTexts();
  assert.deepEqual(
    tabs.map((tab) => tab.replace(/\W|\d/g, '')),
    ['Events', 'Console', 'Errors', 'DOM'],
  );
  await shoot(guest.page, 'share-page-light');
  assert.deepEqual(await guest.context.cookies(), [], 'a link sets no cookie');
  assert.deepEqual(guest.seen.errors, []);
  assert.ok(
    guest.seen.asked.every((path) => !path.startsWith('/api/')),
    'it asks below its link alone',
  );

  // A reload goes on with the same view, without the password.
  await guest.page.reload();
  await shown(guest.page);
  await page.getByRole('button', { name: 'Close' }).click();
  await page.getByRole('button', { name: 'Share' }).click();
  await dialog.getByText('1 view').waitFor();
  await dialog.getByRole('button', { name: 'Revoke' }).click();
  await dialog.getByRole('button', { name: 'Revoke' }).waitFor({ state: 'detached' });
  await guest.page.reload();
  await guest.page.getByText('This link does not work').waitFor();
  await shoot(guest.page, 'share-gone-light');
  await guest.context.close();
  await owner.close();
});

test('a clip begins and ends where it was cut, and shows the page of its first moment', async () => {
  const { url } = await share({ from_ms: recording.start_ms + 10_000, to_ms: recording.start_ms + 20_000 });
  const guest = await stranger({ colorScheme: 'dark' });
  await guest.page.goto(url);
  await shown(guest.page);
  await guest.page.getByRole('button', { name: 'Pause' }).click();
  const slider = guest.page.getByRole('slider');
  assert.equal(Number(await slider.getAttribute('aria-valuemax')), 10);
  await guest.page.keyboard.press('Home');
  await eventually(async () => (await replayedText(guest.page)).includes('Products'), 'the page to be drawn');
  assert.equal(await guest.page.getByRole('tab').count(), 0, 'there is no inspector');
  await shoot(guest.page, 'share-clip-dark');
  assert.deepEqual(guest.seen.errors, []);
  await guest.context.close();
});

test('where its maker chose so, a link shows what was said of the recording, to be read alone', async () => {
  const moment = recording.start_ms + 12_000;
  for (const comment of [{ text: 'Seen <b>twice</b>' }, { text: 'The price is gone', at_ms: moment }]) {
    await api(`/api/recordings/${recording.id}/comments`, 'POST', { ...comment, author: 'Ada' });
  }
  const url = await linkMadeAt(`/recordings/${recording.id}`, async (dialog, page) => {
    await shown(page);
    await dialog.getByLabel('Comments').check();
    await dialog.getByText('with the names of those who wrote them').waitFor();
    await shoot(page, 'share-comments-dialog-light');
  });

  const guest = await stranger();
  await guest.page.goto(url);
  await shown(guest.page);
  await guest.page.getByRole('tab', { name: 'Comments' }).waitFor();
  assert.equal(await guest.page.getByRole('tab').count(), 1, 'nothing else was chosen');
  await guest.page.getByText('Seen <b>twice</b>').waitFor();
  await guest.page.locator('.bar .said').waitFor({ state: 'attached' });
  await guest.page.getByRole('button', { name: '0:12' }).click();
  const slider = guest.page.getByRole('slider');
  await eventually(
    async () => Math.abs(Number(await slider.getAttribute('aria-valuenow')) - 12) <= 1,
    'the moment that was commented on',
  );
  await guest.page.keyboard.press('m');
  assert.equal(await guest.page.getByRole('textbox').count(), 0, 'there is nothing to write with');
  assert.equal(await guest.page.getByRole('button', { name: 'Delete' }).count(), 0);
  await shoot(guest.page, 'share-comments-light');
  await guest.page.setViewportSize({ width: 390, height: 844 });
  await guest.page.emulateMedia({ colorScheme: 'dark' });
  await shoot(guest.page, 'share-comments-phone-dark');
  assert.deepEqual(guest.seen.errors, []);

  const { url: silent } = await share({ has_inspector: true });
  await guest.page.goto(silent);
  await shown(guest.page);
  await guest.page.getByRole('tab', { name: 'Events' }).waitFor();
  assert.equal(await guest.page.getByRole('tab', { name: 'Comments' }).count(), 0);
  await guest.context.close();
});

test('a link to a collection lists its recordings and plays each, and ends with it', async () => {
  const another = '01930000-0000-7000-8000-000000000001';
  const collection = await api('/api/collections', 'POST', { name: 'Only ours to know' });
  for (const id of [another, recording.id]) {
    await api(`/api/collections/${collection.id}/recordings`, 'POST', { recording: id });
  }
  const url = await linkMadeAt(`/collections/${collection.id}`, async (dialog, page) => {
    await page.getByRole('dialog', { name: 'Share this collection' }).waitFor();
    await dialog.getByText('also what is added later').waitFor();
    await dialog.getByLabel('Events').check();
    await dialog.getByLabel('Console and errors').check();
    await shoot(page, 'share-collection-dialog-light');
  });

  const guest = await stranger();
  await guest.page.goto(url);
  await shown(guest.page);
  const rows = guest.page.getByRole('navigation', { name: 'Recordings' }).getByRole('button');
  assert.equal(await rows.count(), 2);
  assert.equal(await rows.first().getAttribute('aria-current'), 'true');
  await rows.last().press('Enter');
  await eventually(
    async () => (await replayedText(guest.page)).includes('Products'),
    'the second to be drawn',
  );
  await guest.page.getByRole('tab', { name: 'Events' }).waitFor();
  assert.equal(
    await guest.page.getByRole('tab', { name: 'Network' }).count(),
    0,
    'what is not ticked is not sent',
  );
  await shoot(guest.page, 'share-collection-light');
  await guest.page.setViewportSize({ width: 390, height: 844 });
  await guest.page.emulateMedia({ colorScheme: 'dark' });
  await shoot(guest.page, 'share-collection-phone-dark');
  await guest.page.reload();
  await eventually(
    async () => (await replayedText(guest.page)).includes('Products'),
    'the same after a reload',
  );
  assert.equal(await rows.last().getAttribute('aria-current'), 'true');
  assert.deepEqual(guest.seen.errors, []);
  const text = await guest.page.evaluate(() => document.documentElement.outerHTML);
  for (const secret of [recording.id, another, 'person-1', 'Only ours to know']) {
    assert.ok(!text.includes(secret) && !guest.seen.asked.join().includes(secret), secret);
  }
  await fetch(`${server.url}/api/collections/${collection.id}`, {
    method: 'DELETE',
    headers: { authorization: `Bearer ${server.token}` },
  });
  await guest.page.reload();
  await guest.page.getByText('This link does not work').waitFor();
  await guest.context.close();
});

test('a page of a site that was named has the player in it, and one of another site has not', async () => {
  const sites = createServer((request, reply) => {
    reply.setHeader('content-type', 'text/html');
    reply.end(
      `<!doctype html><h1>Help</h1>${decodeURIComponent(new URL(request.url, 'http://x').search.slice(1))}`,
    );
  });
  await new Promise((done) => sites.listen(0, '127.0.0.1', done));
  const { port } = sites.address();
  try {
    const { embed_url: url } = await share({ embed_origins: [`http://help.test:${port}`] });
    const markup = `<iframe src="${url}" width="960" height="600"></iframe>`;
    const guest = await stranger();
    await guest.page.goto(`http://help.test:${port}/?${encodeURIComponent(markup)}`);
    const embedded = guest.page.frameLocator('iframe').first();
    await shown(embedded);
    await eventually(
      async () => (await replayedText(guest.page)).includes('Products'),
      'the page to be drawn',
    );
    await shoot(guest.page, 'embed-light');
    assert.equal(await embedded.getByRole('heading').count(), 0, 'it has no head of its own');
    assert.deepEqual(await guest.context.cookies(), []);
    assert.deepEqual(guest.seen.errors, []);
    const element = `<script src="${server.url}/player/reelcase-player.js"></script><reelcase-player src="${url}" start="5"></reelcase-player><reelcase-player src="javascript:document.title='ran'"></reelcase-player>`;
    await guest.page.goto(`http://help.test:${port}/?${encodeURIComponent(element)}`);
    const inElement = await eventually(
      () => guest.page.frames().find((frame) => frame.url().startsWith(url)),
      'the element to open its frame',
    );
    await inElement.locator('.stage[aria-busy=false] iframe:not(.hidden)').waitFor({ timeout: PATIENCE_MS });
    assert.ok(Number(await inElement.getByRole('slider').getAttribute('aria-valuenow')) >= 5);
    assert.notEqual(await guest.page.title(), 'ran', 'an address that is no address runs nothing');
    await shoot(guest.page, 'embed-element-light');
    assert.deepEqual(guest.seen.errors, []);
    const other = await stranger();
    await other.page.goto(`http://evil.test:${port}/?${encodeURIComponent(markup)}`);
    await other.page.waitForTimeout(500);
    const frames = other.page.frames().map((frame) => frame.url());
    assert.ok(frames.includes('chrome-error://chromewebdata/'), `it is refused: ${frames}`);
    await Promise.all([guest.context.close(), other.context.close()]);
  } finally {
    sites.close();
  }
});
