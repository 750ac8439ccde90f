// Old and new releases of posthog-js, each recording the same visit to a shop on another origin.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { launch, serve } from './browser.mjs';
import { fetchReleases, NEWEST, RELEASES } from './clients.mjs';
import { goShopping, sessionOf, TRUTH } from './shop.mjs';
import { recorderOf, startSite } from './site.mjs';
import { assertReplays, linesOf, recordingWhen, untilKept } from './watch.mjs';

let server;
/** As it comes: with no other release than the one in the binary. */
let plainServer;
let browser;

before(async () => {
  server = await serve({ flags: ['--static-dir', await fetchReleases()] });
  plainServer = await serve();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.stop();
  await plainServer?.stop();
});

/** Records a visit to `site` into `server` with one release, and compares what is stored and replayed with it. */
async function record(version, server, site, label = version, isChecked = () => true) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  try {
    const viewer = await browser.newContext({ viewport: { width: 1280, height: 800 } });
    await viewer.request.get(server.login);
    const visit = await context.newPage();
    const moments = await goShopping(visit, site.url, untilKept(viewer.request, server));
    const id = await sessionOf(visit);
    // Not left before all has arrived: what old clients have under way then may not outlive the page.
    const recording = await recordingWhen(
      viewer.request,
      server,
      id,
      (seen) => seen.click_count >= TRUTH.clicks,
    );
    await visit.close();
    const { click_count, keypress_count, console_error_count, library_version, urls } = recording;
    assert.deepEqual(
      { click_count, keypress_count, console_error_count },
      {
        click_count: TRUTH.clicks,
        keypress_count: TRUTH.keypresses,
        console_error_count: TRUTH.consoleErrors,
      },
    );
    // 1.150 and older do not say it; elsewhere the recorder does, and may be of the release in the binary.
    if (library_version) assert.ok([version, NEWEST].includes(library_version), library_version);
    assert.deepEqual(
      urls.map((url) => new URL(url).pathname),
      TRUTH.paths,
    );
    const lines = JSON.stringify(await linesOf(viewer.request, server, id));
    for (const secret of ['Ada Lovelace', 'hunter22', 'no red ones', 'Card on file']) {
      assert.ok(!lines.includes(secret), `"${secret}" is not recorded`);
    }
    await assertReplays(viewer, server, id, moments.filter(isChecked), label);
    await viewer.close();
  } finally {
    await context.close();
    await site.stop();
  }
}

describe('a visit is recorded whole, and replayed as it was', { concurrency: 4 }, () => {
  for (const version of RELEASES) {
    test(`with posthog-js ${version}`, async () => {
      const site = await startSite(recorderOf(version, { host: server.url }));
      await record(version, server, site);
    });
  }
  for (const version of RELEASES.filter((release) => release !== NEWEST)) {
    test(`with posthog-js ${version} in the page and the recorder in the binary`, async () => {
      const packageDir = join(await fetchReleases(), version, 'dist');
      const core = recorderOf(version, { host: plainServer.url, script: '/package/array.js' });
      const site = await startSite(core, packageDir);
      await record(version, plainServer, site, `${version}-bundled`, ({ name }) => name === 'product');
    });
  }
});
