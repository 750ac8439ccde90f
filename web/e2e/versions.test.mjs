// Old and new releases of posthog-js, each recording the same visit to a shop on another origin.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch, serve } from './browser.mjs';
import { fetchReleases, RELEASES } from './clients.mjs';
import { goShopping, sessionOf, TRUTH } from './shop.mjs';
import { recorderOf, startSite } from './site.mjs';
import { assertReplays, linesOf, recordingWhen } from './watch.mjs';

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

async function recordWith(version) {
  const site = await startSite(recorderOf(version, { host: server.url }));
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  try {
    const visit = await context.newPage();
    const moments = await goShopping(visit, site.url);
    const id = await sessionOf(visit);
    await visit.goto('about:blank');
    await visit.close();

    const viewer = await browser.newContext({ viewport: { width: 1280, height: 800 } });
    await viewer.request.get(server.login);
    const recording = await recordingWhen(
      viewer.request,
      server,
      id,
      (seen) => seen.click_count >= TRUTH.clicks,
    );
    const { click_count, keypress_count, console_error_count, library_version, urls } = recording;
    assert.deepEqual(
      { click_count, keypress_count, console_error_count },
      {
        click_count: TRUTH.clicks,
        keypress_count: TRUTH.keypresses,
        console_error_count: TRUTH.consoleErrors,
      },
    );
    // 1.150 and older do not say which release they are in what they record.
    if (library_version !== undefined && library_version !== null) assert.equal(library_version, version);
    assert.deepEqual(
      urls.map((url) => new URL(url).pathname),
      TRUTH.paths,
    );
    const lines = JSON.stringify(await linesOf(viewer.request, server, id));
    for (const secret of ['Ada Lovelace', 'hunter22', 'no red ones', 'Card on file']) {
      assert.ok(!lines.includes(secret), `"${secret}" is not recorded`);
    }
    await assertReplays(viewer, server, id, moments, version);
    await viewer.close();
  } finally {
    await context.close();
    await site.stop();
  }
}

describe('a visit is recorded whole, and replayed as it was, with posthog-js', { concurrency: 3 }, () => {
  for (const version of RELEASES) test(version, () => recordWith(version));
});
