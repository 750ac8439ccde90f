// Follows a recording while it is being made, and measures how far behind the player is.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { eventually, launch, PATIENCE_MS, serve } from './browser.mjs';
import { fetchReleases, NEWEST } from './clients.mjs';
import { sessionOf, untilRecorded } from './shop.mjs';
import { recorderOf, startSite } from './site.mjs';
import { shoot } from './watch.mjs';

const CHANGES = 10;
/** What is aimed at is 2 s; machines that run many things at once get the rest. */
const DELAY_MS_MAX = 20_000;

let server;
let browser;

before(async () => {
  server = await serve({ flags: ['--static-dir', await fetchReleases()] });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

/** Notes in the page when the upload with a change in it leaves. */
function noteUploads() {
  const { fetch } = window;
  window.leftAt = {};
  window.fetch = (resource, init) => {
    const now = Date.now();
    const isUpload = new URL(resource?.url ?? resource, location).pathname === '/s/';
    if (isUpload) void note(new Response(init.body).body.pipeThrough(new DecompressionStream('gzip')), now);
    return fetch(resource, init);
  };
  const note = async (stream, now) => {
    const text = await new Response(stream).text();
    for (const [words] of text.matchAll(/change \d+/g)) window.leftAt[words] ??= now;
  };
}

/** Notes in the replay when each change is first seen. Runs in the frame that holds it. */
function watchChanges() {
  window.seenAt = {};
  setInterval(() => {
    const text = document.querySelector('iframe')?.contentDocument?.querySelector('h1')?.textContent ?? '';
    if (text.startsWith('change ')) window.seenAt[text] ??= Date.now();
  }, 10);
}

/** Somebody who has a link alone, and watches it behind its address and in a frame of a site at once. */
async function guestOf(id) {
  const help = createServer((_, reply) => {
    reply.setHeader('content-type', 'text/html');
    reply.end(`<iframe src="${help.shows}" width="1000" height="700"></iframe>`);
  });
  await new Promise((done) => help.listen(0, '127.0.0.1', done));
  const site = `http://help.test:${help.address().port}`;
  const reply = await fetch(`${server.url}/api/recordings/${id}/shares`, {
    method: 'POST',
    headers: { authorization: `Bearer ${server.token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ embed_origins: [site] }),
  });
  const made = await reply.json();
  help.shows = made.embed_url;
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const [page, linked] = [await context.newPage(), await context.newPage()];
  await page.goto(site);
  await linked.goto(made.url);
  const replayIn = (watched) => watched.frames().find((frame) => frame.url().startsWith('data:'));
  await eventually(() => replayIn(page) && replayIn(linked), 'both replays');
  const live = linked.getByText('Live', { exact: true }).last();
  await eventually(() => live.isVisible(), 'the live mark of the link');
  const close = () => Promise.all([context.close(), new Promise((done) => help.close(done))]);
  return { page, replays: () => [replayIn(page), replayIn(linked)], close };
}

test('the player follows a page, seconds after its uploads leave it', { timeout: 600_000 }, async (t) => {
  // Events that are not compressed one by one let the page see which upload carries what.
  const options = { host: server.url, session_recording: { compress_events: false } };
  const site = await startSite(recorderOf(NEWEST, options));
  const person = await browser.newContext();
  const page = await person.newPage();
  await page.addInitScript(noteUploads);
  await page.goto(site.url);
  await untilRecorded(page);
  const id = await sessionOf(page);
  await page.click('h1');

  const viewer = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const watch = await viewer.newPage();
  const errors = [];
  watch.on('pageerror', (error) => errors.push(String(error)));
  await watch.goto(server.login);
  await eventually(
    async () => (await viewer.request.get(`${server.url}/api/recordings/${id}`)).ok(),
    'the recording',
  );
  await watch.goto(`${server.url}/recordings/${id}`);
  await watch.waitForSelector('.player [aria-busy=false]', { timeout: PATIENCE_MS });
  const replay = await eventually(
    () => watch.frames().find((frame) => frame.url().startsWith('data:')),
    'the replay',
  );
  await replay.evaluate(watchChanges);
  await eventually(() => watch.getByText('Live', { exact: true }).last().isVisible(), 'the live mark');

  const guest = await guestOf(id);

  const changedAt = [];
  for (let change = 0; change < CHANGES; change++) {
    // At odd times, so that the changes fall anywhere between two uploads.
    await page.waitForTimeout(1_200 + ((change * 730) % 1_900));
    const text = `change ${change}`;
    changedAt.push(
      await page.evaluate((words) => {
        document.querySelector('h1').textContent = words;
        document.querySelector('h1').click();
        return Date.now();
      }, text),
    );
  }
  await eventually(
    async () => (await replay.evaluate(() => Object.keys(window.seenAt))).length === CHANGES,
    'all changes',
  );
  const last = `change ${CHANGES - 1}`;
  for (const frame of guest.replays()) {
    const heading = () => frame.locator('iframe').contentFrame().locator('h1').textContent();
    await eventually(async () => (await heading().catch(() => '')) === last, 'the last change behind a link');
  }
  await shoot(guest.page, 'live-embedded');
  await guest.close();

  const leftAt = await page.evaluate(() => window.leftAt);
  const seenAt = await replay.evaluate(() => window.seenAt);
  await shoot(watch, 'live');
  await viewer.close();
  await person.close();
  await site.stop();

  const delays = changedAt.map((at, change) => {
    const text = `change ${change}`;
    const [left, seen] = [leftAt[text], seenAt[text]];
    return { fromUpload: seen - left, fromChange: seen - at };
  });
  const sorted = (key) => delays.map((delay) => delay[key]).sort((a, b) => a - b);
  const figures = (key) => `median ${sorted(key)[CHANGES / 2]} ms, worst ${sorted(key).at(-1)} ms`;
  t.diagnostic(`from the upload: ${figures('fromUpload')}; from the change: ${figures('fromChange')}`);
  assert.ok(sorted('fromUpload').at(-1) < DELAY_MS_MAX, `from the upload: ${figures('fromUpload')}`);
  assert.deepEqual(errors, []);
});
