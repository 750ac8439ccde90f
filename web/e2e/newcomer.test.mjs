// The first minute: from the printed link to a recording, by what the app itself tells people to do.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { eventually, launch, PATIENCE_MS, serve } from './browser.mjs';
import { fetchReleases, NEWEST } from './clients.mjs';
import { sessionOf, untilRecorded } from './shop.mjs';
import { startSite } from './site.mjs';
import { openViewer, recordingWhen, replayedText, shoot } from './watch.mjs';

const viewport = { width: 1280, height: 800 };
let server;
let browser;
let viewer;

before(async () => {
  server = await serve();
  browser = await launch();
  viewer = await browser.newContext({ viewport });
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

/** The snippet of a tab of the start page, as a person would copy it. */
async function snippetOf(tab) {
  const page = await viewer.newPage();
  await page.goto(server.login);
  await page.goto(`${server.url}/start`);
  await page.getByRole('tab', { name: tab }).click();
  const text = await page.locator('#snippet pre').last().textContent();
  await shoot(page, `start-${tab}`);
  await page.close();
  return text;
}

/**
 * Opens the shop with `head` in each page, as a visitor whose browser is not driven, and puts something into the
 * basket.
 */
async function shopWith(head) {
  const site = await startSite(head, join(await fetchReleases([NEWEST]), NEWEST, 'dist'));
  const userAgent =
    'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36';
  const context = await browser.newContext({ viewport, userAgent });
  await context.addInitScript(() => Object.defineProperty(navigator, 'webdriver', { get: () => false }));
  const page = await context.newPage();
  await page.goto(site.url);
  await untilRecorded(page);
  await page.click('[data-add=brass]');
  const id = await sessionOf(page);
  const link = await page.evaluate(() =>
    window.posthog.get_session_replay_url({ withTimestamp: true, timestampLookBack: 0 }),
  );
  const leave = async () => {
    await page.goto('about:blank');
    await context.close();
    await site.stop();
  };
  return { page, id, link, leave };
}

test('one line names one link, which opens the app here and nowhere else', async () => {
  assert.match(server.line, /^Reelcase is ready: http:\/\/127\.0\.0\.1:\d+\/\S*$/);
  const page = await viewer.newPage();
  const [answer] = await Promise.all([page.waitForResponse(/\/api\/recordings/), page.goto(server.login)]);
  assert.equal(answer.status(), 200);
  assert.ok(!page.url().includes(server.token), 'the token leaves the address');
  await page.goto(`${server.url}/recordings`);
  await page.getByRole('heading').first().waitFor();
  await shoot(page, 'newcomer-list');
  const cookies = await viewer.cookies(server.url);
  assert.ok(cookies.length > 0 && cookies.every(({ httpOnly }) => httpOnly));
  const stranger = await browser.newContext();
  assert.equal((await stranger.request.get(`${server.url}/api/recordings`)).status(), 401);
  await stranger.close();
  await page.close();
});

test('the script tag of the start page, pasted as it is, records', async () => {
  const shop = await shopWith(await snippetOf('Script tag'));
  await shop.leave();
  const recording = await recordingWhen(viewer.request, server, shop.id, (seen) => seen.click_count === 1);
  assert.equal(recording.library_version, NEWEST);
});

test('the options of the npm form record too, and the link that the client makes opens the player', async () => {
  const snippet = await snippetOf('npm');
  assert.match(snippet, /^import posthog from 'posthog-js'/);
  // The package's own module, as a bundler would include it; the page has no other way to resolve its name.
  const head = `<script type="importmap">{"imports":{"posthog-js":"/package/module.js"}}</script>
    <script type="module">${snippet}
    window.posthog = posthog;</script>`;
  const shop = await shopWith(head);
  await shop.page.waitForTimeout(4_000);
  await shop.page.click('[data-add=wick]');
  await shop.page.waitForTimeout(1_000);
  await shop.leave();
  await recordingWhen(viewer.request, server, shop.id, (seen) => seen.click_count === 2);

  const link = new URL(shop.link);
  assert.equal(link.origin, server.url);
  assert.match(link.pathname, new RegExp(`^/project/[^/]+/replay/${shop.id}$`));
  link.searchParams.set('t', '3');
  const page = await openViewer(viewer);
  await page.goto(link.href);
  assert.equal(page.url(), `${server.url}/recordings/${shop.id}?t=3`);
  await page.waitForSelector('button[aria-label="Play"]:enabled', { timeout: PATIENCE_MS });
  await eventually(async () => (await replayedText(page)).includes('Brass lantern'), 'the page');
  // By then one lantern was in the basket, and the wicks were not yet.
  assert.match(await replayedText(page), /Basket: \| 1 \|/);
  assert.equal(await page.getByRole('slider').getAttribute('aria-valuenow'), '3');
  await shoot(page, 'newcomer-link');
  await page.close();
});
