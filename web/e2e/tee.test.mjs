// Real posthog-js through Reelcase in front of a PostHog, whose part another Reelcase plays: what the client sends is
// what arrives there, byte for byte, and both have the same recording.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually, launch, serve } from './browser.mjs';
import { fetchReleases, NEWEST } from './clients.mjs';
import { startProxy } from './proxy.mjs';
import { goShopping, sessionOf } from './shop.mjs';
import { recorderOf, startSite } from './site.mjs';
import { linesOf, recordingWhen } from './watch.mjs';

const viewport = { width: 1280, height: 800 };
let browser;
let posthog;
/** Between Reelcase and PostHog: what arrived. */
let arrived;

before(async () => {
  posthog = await serve({ flags: ['--static-dir', await fetchReleases()] });
  arrived = await startProxy(posthog.url);
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await arrived?.stop();
  await posthog?.stop();
});

/** Lets one person shop with Reelcase in this mode in between. Answers what the client sent. */
async function shopThrough(mode, then) {
  const reelcase = await serve({ flags: ['--upstream', arrived.url, '--mode', mode] });
  const sent = await startProxy(reelcase.url);
  const site = await startSite(recorderOf(NEWEST, { host: sent.url }));
  const context = await browser.newContext({ viewport });
  arrived.log.length = 0;
  try {
    const page = await context.newPage();
    await goShopping(page, site.url);
    const id = await sessionOf(page);
    await page.goto('about:blank');
    await then({ id, reelcase, sent });
  } finally {
    await context.close();
    await site.stop();
    await sent.stop();
    await reelcase.stop();
  }
}

/** Uploads as one can compare them: where to, what of, and all their bytes. */
const uploads = (log) =>
  log
    .filter(({ method, path }) => method === 'POST' && /^\/(s|e|i\/v0\/e)\/$/.test(path))
    .map(({ path, query, headers, body }) =>
      [path, query, headers['content-type'], headers.origin, body.toString('base64')].join(' '),
    )
    .sort();

/** The lines of a recording on one server, once it is there. */
async function linesAt(server, id) {
  // Not by cookie: that of one port of this machine would take the place of the other's.
  const extraHTTPHeaders = { authorization: `Bearer ${server.token}` };
  const viewer = await browser.newContext({ extraHTTPHeaders });
  try {
    await recordingWhen(viewer.request, server, id, ({ full_snapshot_count }) => full_snapshot_count >= 1);
    return (await linesOf(viewer.request, server, id)).map((line) => JSON.stringify(line));
  } finally {
    await viewer.close();
  }
}

async function assertSame({ id, reelcase, sent }) {
  await eventually(() => uploads(arrived.log).length >= uploads(sent.log).length, 'all uploads');
  assert.deepEqual(uploads(arrived.log), uploads(sent.log));
  assert.ok(sent.posts('/s/').length >= 1);
  const both = () => Promise.all([linesAt(reelcase, id), linesAt(posthog, id)]);
  await eventually(async () => {
    const [copy, original] = await both();
    return copy.length === original.length;
  }, 'the same number of lines');
  const [copy, original] = await both();
  assert.deepEqual(copy, original);
}

test('through tee, PostHog gets what the client sends and both have the same recording', async () => {
  await shopThrough('tee', async (visit) => {
    await assertSame(visit);
    for (const path of ['/static/', '/array/', '/flags']) {
      const asked = visit.sent.log.filter(
        (request) => request.path.startsWith(path) && request.method !== 'OPTIONS',
      );
      const answered = arrived.log.filter((request) => request.path.startsWith(path));
      assert.equal(answered.length > 0, asked.length > 0, path);
      assert.ok(
        asked.every(({ status }) => status < 400),
        path,
      );
    }
  });
});

test('through mirror, PostHog gets it all a little later', async () => {
  await shopThrough('mirror', async (visit) => {
    await assertSame(visit);
    assert.ok(visit.sent.posts('/s/').every(({ status }) => status === 200));
  });
});
