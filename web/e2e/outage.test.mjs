// Kills the server again and again while a page records into it, and then looks for what is missing or double.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { eventually, launch, PATIENCE_MS, serve } from './browser.mjs';
import { fetchReleases, NEWEST } from './clients.mjs';
import { sessionOf, untilRecorded } from './shop.mjs';
import { recorderOf, startSite } from './site.mjs';
import { assertStoredOnce, eventsOf, snapshotsOf } from './upload.mjs';
import { linesOf } from './watch.mjs';

const KILLS = 20;
const UP_MS = 1_000;

let data;
let server;
let browser;

before(async () => {
  data = mkdtempSync(join(tmpdir(), 'reelcase-outage-'));
  server = await start('127.0.0.1:0');
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.stop();
  if (data) rmSync(data, { recursive: true, force: true });
});

async function start(listen) {
  return serve({ data, listen, flags: ['--static-dir', await fetchReleases()] });
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/**
 * Keeps every body the page hands to the network, in the page's own words: a proxy would be one more thing that fails.
 * It goes through a binding because the page is what survives the kills.
 */
function keepBodies() {
  const { fetch } = window;
  window.fetch = (resource, init) => {
    const address = String(resource?.url ?? resource);
    if (/\/(s|e)\/(\?|$)/.test(address) && init?.body) {
      void new Response(init.body).arrayBuffer().then((bytes) => {
        window.handedOver(address, String.fromCharCode(...new Uint8Array(bytes)));
      });
    }
    return fetch(resource, init);
  };
}

/** What the client has going on: it gives up on what the network fails four times, so it must not come to that. */
function followRetries(page) {
  const waiting = new Map();
  const retryOf = (request) => Number(new URL(request.url()).searchParams.get('retry_count') ?? 0);
  const isUpload = (request) =>
    request.method() === 'POST' && /\/(s|e)\/$/.test(new URL(request.url()).pathname);
  const state = {
    failed: 0,
    underWay: 0,
    lateUnderWay: 0,
    atRisk: () => state.lateUnderWay > 0 || [...waiting].some(([retry, count]) => retry >= 2 && count > 0),
    isIdle: () => state.underWay === 0 && [...waiting.values()].every((count) => count <= 0),
  };
  page.on('request', (request) => {
    if (!isUpload(request)) return;
    state.underWay++;
    const retry = retryOf(request);
    if (retry >= 2) state.lateUnderWay++;
    if (retry > 0) waiting.set(retry, (waiting.get(retry) ?? 0) - 1);
  });
  const ended = (request) => {
    state.underWay--;
    if (retryOf(request) >= 2) state.lateUnderWay--;
  };
  page.on('requestfailed', (request) => {
    if (!isUpload(request)) return;
    ended(request);
    state.failed++;
    const next = retryOf(request) + 1;
    assert.ok(next <= 3, 'the test let the client run out of retries');
    waiting.set(next, (waiting.get(next) ?? 0) + 1);
  });
  page.on('requestfinished', (request) => {
    if (isUpload(request)) ended(request);
  });
  return state;
}

test('twenty kills lose nothing that a page records, and double nothing', { timeout: 600_000 }, async () => {
  const site = await startSite(recorderOf(NEWEST, { host: server.url }));
  const context = await browser.newContext();
  const bodies = { s: [], e: [] };
  await context.exposeBinding('handedOver', (_, address, text) => {
    bodies[new URL(address).pathname.split('/').at(-2)].push(Buffer.from(text, 'latin1'));
  });
  await context.addInitScript(keepBodies);
  const page = await context.newPage();
  const retries = followRetries(page);
  await page.goto(site.url);
  await untilRecorded(page);
  const id = await sessionOf(page);
  await page.click('h1');
  await page.evaluate(() => {
    const heading = document.querySelector('h1');
    let count = 0;
    window.ticking = setInterval(() => {
      heading.textContent = `tick ${++count}`;
      heading.click();
      if (count % 5 === 0) window.posthog.capture('tick', { count });
    }, 300);
  });

  const listen = new URL(server.url).host;
  for (let kill = 0; kill < KILLS; kill++) {
    // Every other kill hits an upload under way: stored or not, the client cannot know.
    if (kill % 2 === 0) await page.waitForRequest(/\/s\/(\?|$)/, { timeout: PATIENCE_MS });
    else await pause(UP_MS);
    await pause((kill % 5) * 3);
    const failed = retries.failed;
    await server.kill();
    // Down until the page felt it, however fast the machine is.
    await eventually(() => retries.failed > failed, 'an upload that finds nobody');
    server = await start(listen);
    // Who was unlucky twice gets a way through before the next kill.
    await eventually(() => !retries.atRisk());
  }
  const ticks = await page.evaluate(() => {
    clearInterval(window.ticking);
    return Number(document.querySelector('h1').textContent.slice('tick '.length));
  });
  const isSent = () =>
    JSON.stringify(eventsOf(snapshotsOf(bodies.s))).includes(`"tick ${ticks}"`) && retries.isIdle();
  await eventually(isSent, 'the last uploads');

  const viewer = await browser.newContext();
  await viewer.request.get(server.login);
  const lines = await linesOf(viewer.request, server, id);
  assertStoredOnce(lines, snapshotsOf(bodies.s), id);
  const texts = JSON.stringify(lines).match(/"tick \d+"/g) ?? [];
  const expected = Array.from({ length: ticks }, (_, index) => `"tick ${index + 1}"`);
  assert.deepEqual(texts, expected, 'every tick is there once, in order');

  const { blocks } = await (await viewer.request.get(`${server.url}/api/recordings/${id}/blocks`)).json();
  const kept = [];
  for (const { url } of blocks.filter(({ kind }) => kind === 'events')) {
    const text = await (await viewer.request.get(`${server.url}${url}`)).text();
    kept.push(
      ...text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
    );
  }
  const counts = kept.filter(({ event }) => event === 'tick').map(({ properties }) => properties.count);
  const wanted = Array.from({ length: Math.floor(ticks / 5) }, (_, index) => 5 * (index + 1));
  assert.deepEqual(
    counts.sort((a, b) => a - b),
    wanted,
    'every analytics event is there once',
  );
  await context.close();
  await site.stop();
});
