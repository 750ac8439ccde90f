// What each setting of a project does, shown by unmodified posthog-js in a real browser: the same page, visited under
// projects that differ in one setting. All visits share a browser and go on at the same time.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { eventually, launch, PATIENCE_MS, serve } from './browser.mjs';

/** Longer than a client keeps what it would send. */
const FLUSHED_MS = 4_000;
const CANVAS_MUTATION = 9;

const PAGE = (host, { key, ...options }) => `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>A page</title>
    <script>
      window.posthog = Object.assign([], { _i: [], people: [], __SV: 1 });
      window.posthog._i.push(['${key}', ${JSON.stringify({ api_host: host, opt_out_useragent_filter: true, ...options })}, 'posthog']);
    </script>
    <script async crossorigin="anonymous" src="${host}/static/array.js"></script>
  </head>
  <body>
    <h1>Words of the page</h1>
    <p class="name">Ada Lovelace</p>
    <p id="card">Card 4242</p>
    <p><input id="nick"> <input id="pin" type="password"></p>
    <button type="button">Act</button>
    <canvas id="canvas" width="40" height="40"></canvas>
    <script>
      const brush = document.getElementById('canvas').getContext('2d');
      let turn = 0;
      const draw = () => { brush.fillStyle = 'hsl(' + (turn += 40) + ' 90% 50%)'; brush.fillRect(0, 0, 40, 40); };
      setInterval(draw, 500);
      document.querySelector('button').addEventListener('click', () => {
        console.warn('written to the console');
        fetch('/data', { method: 'POST', body: 'what was asked' }).then((reply) => reply.text());
      });
    </script>
  </body>
</html>`;

let server;
let browser;
let site;

before(async () => {
  server = await serve();
  browser = await launch();
  site = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url, 'http://site');
    const isPage = pathname !== '/data';
    const body = isPage
      ? PAGE(server.url, JSON.parse(searchParams.get('options') ?? '{}'))
      : 'what was answered';
    // The client does not record the body of an answer that comes in chunks.
    response.writeHead(200, {
      'content-type': isPage ? 'text/html; charset=utf-8' : 'text/plain',
      'content-length': Buffer.byteLength(body),
    });
    response.end(body);
  });
  await new Promise((done) => site.listen(0, '127.0.0.1', done));
  site.unref();
});

after(async () => {
  await browser?.close();
  site?.closeAllConnections();
  site?.close();
  await server?.stop();
});

/** Asks the API as a program does. */
function api(method, path, body) {
  const headers = { authorization: `Bearer ${server.token}`, 'content-type': 'application/json' };
  return fetch(`${server.url}${path}`, { method, headers, body: body && JSON.stringify(body) });
}

/**
 * Visits the page under a project of its own, with these settings, and waits until the client knows them. `options` go
 * to `posthog.init`.
 */
async function visit(settings, { host = 'site', options = {} } = {}) {
  const key = `phc_${crypto.randomUUID().replaceAll('-', '')}`;
  assert.equal((await api('POST', '/api/projects', { name: 'Effects', key })).status, 201);
  const kept = await api('PUT', `/api/projects/${key}/settings`, settings);
  assert.equal(kept.status, 200, await kept.text());
  const context = await browser.newContext();
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const requests = [];
  page.on('request', (request) => requests.push(new URL(request.url()).pathname));
  const asked = encodeURIComponent(JSON.stringify({ key, ...options }));
  await page.goto(`http://${host}.test:${site.address().port}/?options=${asked}`);
  await page.waitForFunction((of) => window._POSTHOG_REMOTE_CONFIG?.[of], key);
  const id = await page.evaluate(() => window.posthog.get_session_id());
  return {
    page,
    requests,
    status: () => page.evaluate(() => window.posthog.sessionRecording?.status),
    /** A person does what is recorded, once the recorder had time to start. */
    async act() {
      await page.waitForTimeout(1_000);
      await page.click('button');
    },
    /** What is stored of the visit: the recorded events as one text each, or nothing. */
    async stored() {
      const reply = await api('GET', `/api/recordings/${id}/export?format=jsonl`);
      if (reply.status === 404) return [];
      assert.equal(reply.status, 200);
      return (await reply.text()).split('\n').filter((line) => line !== '');
    },
    /** What is stored once `isWanted` holds for one of its events. */
    storedWith(isWanted, what) {
      return eventually(async () => {
        const lines = await this.stored();
        return lines.some(isWanted) && lines;
      }, what);
    },
    /** Gives the client all the time it takes to send. It records, and waits. */
    async assertWaiting() {
      await page.waitForTimeout(FLUSHED_MS);
      assert.deepEqual([(await this.stored()).length, await this.status()], [0, 'buffering']);
    },
    /** Gives the client all the time it takes to send, and leaves. Nothing may have come. */
    async assertNothingStored(expectedStatus) {
      await page.waitForTimeout(FLUSHED_MS);
      if (expectedStatus) assert.equal(await this.status(), expectedStatus);
      await page.close();
      await new Promise((done) => setTimeout(done, 500));
      assert.equal((await this.stored()).length, 0);
    },
    end: () => context.close(),
  };
}

const eventOf = (line) => JSON.parse(line)[1];
const isClick = (line) =>
  eventOf(line).type === 3 && eventOf(line).data.source === 2 && eventOf(line).data.type === 2;
const isSnapshot = (line) => eventOf(line).type === 2;
const isPlugin = (name) => (line) => eventOf(line).type === 6 && eventOf(line).data.plugin.startsWith(name);
const isCanvas = (line) => eventOf(line).type === 3 && eventOf(line).data.source === CANVAS_MUTATION;
const has = (lines, words) => lines.some((line) => line.includes(words));

describe('a setting does what it says', { concurrency: 8 }, () => {
  test('nothing decided: pages are recorded, with what is typed masked and no bodies, no canvas', async () => {
    const visited = await visit({});
    await visited.act();
    await visited.page.locator('#nick').pressSequentially('enchantress');
    const lines = await visited.storedWith(isPlugin('rrweb/network'), 'requests');
    assert.ok(has(lines, 'Words of the page') && has(lines, 'written to the console') && has(lines, '/data'));
    await visited.storedWith((line) => line.includes('***********'), 'what was typed, masked');
    const all = await visited.stored();
    assert.ok(!has(all, 'enchantress') && !has(all, 'what was answered') && !all.some(isCanvas));
    await visited.end();
  });

  test('recording off: nothing is', async () => {
    const visited = await visit({ recording: false });
    await visited.act();
    await visited.assertNothingStored('disabled');
    await visited.end();
  });

  test('a part of 0: nothing is recorded; of 1: it is', async () => {
    const [none, all] = [await visit({ sample_rate: 0 }), await visit({ sample_rate: 1 })];
    await Promise.all([none.act(), all.act()]);
    await all.storedWith(isClick, 'the click');
    await none.assertNothingStored('disabled');
    for (const visited of [none, all]) await visited.end();
  });

  test('shortest session: nothing is sent before it has lasted so long, and all of it after', async () => {
    const [long, short] = [
      await visit({ minimum_duration_ms: 60_000 }),
      await visit({ minimum_duration_ms: 1_000 }),
    ];
    await Promise.all([long.act(), short.act()]);
    const lines = await short.storedWith(isClick, 'the session');
    assert.ok(lines.some(isSnapshot), 'from its beginning');
    await long.assertNothingStored();
    for (const visited of [long, short]) await visited.end();
  });

  test('start on an address: nothing before the page is there', async () => {
    const visited = await visit({ url_triggers: ['/checkout$'] });
    await visited.act();
    await visited.assertWaiting();
    await visited.page.evaluate(() => history.pushState({}, '', '/checkout'));
    await visited.act();
    await visited.storedWith(isClick, 'the click on the address');
    await visited.end();
  });

  test('start with an event: nothing before it', async () => {
    const visited = await visit({ event_triggers: ['order placed'] });
    await visited.act();
    await visited.assertWaiting();
    await visited.page.evaluate(() => window.posthog.capture('order placed'));
    await visited.act();
    await visited.storedWith(isClick, 'the click after the event');
    await visited.end();
  });

  test('of several conditions, one is enough or all must hold', async () => {
    const conditions = { url_triggers: ['/nowhere$'], event_triggers: ['order placed'] };
    const any = await visit({ ...conditions, trigger_match: 'any' });
    const all = await visit({ ...conditions, trigger_match: 'all' });
    for (const visited of [any, all]) {
      await visited.act();
      await visited.page.evaluate(() => window.posthog.capture('order placed'));
      await visited.act();
    }
    await any.storedWith(isClick, 'the click after the event');
    await all.assertNothingStored('buffering');
    for (const visited of [any, all]) await visited.end();
  });

  test('groups of conditions: one that holds is enough, and each has a part of its own', async () => {
    const groups = [
      { name: 'checkout', url_triggers: ['/checkout$'], event_triggers: ['order placed'] },
      { name: 'cart', event_triggers: ['cart filled'], trigger_match: 'any' },
      { name: 'nobody', event_triggers: ['order placed'], sample_rate: 0 },
    ];
    // What stands beside the groups is for clients that do not know them.
    const [cart, checkout] = [
      await visit({ trigger_groups: groups, sample_rate: 0 }),
      await visit({ trigger_groups: groups }),
    ];
    const capture = (visited, name) => visited.page.evaluate((of) => window.posthog.capture(of), name);
    await Promise.all([cart.act(), checkout.act()]);
    await Promise.all([cart.assertWaiting(), checkout.assertWaiting()]);
    await capture(cart, 'cart filled');
    await cart.act();
    await cart.storedWith(isClick, 'the click after the event of one group');
    await capture(checkout, 'order placed');
    await checkout.act();
    await checkout.page.waitForTimeout(FLUSHED_MS);
    assert.equal((await checkout.stored()).length, 0, 'its part is 0, and the other wants an address too');
    await checkout.page.evaluate(() => history.pushState({}, '', '/checkout'));
    await checkout.act();
    await checkout.storedWith(isClick, 'the click with event and address');
    for (const visited of [cart, checkout]) await visited.end();
  });

  test('pause on an address: what happens there is left out', async () => {
    const visited = await visit({ url_blocklist: ['/private$'] });
    const write = (words) =>
      visited.page.evaluate((text) => {
        document.querySelector('h1').textContent = text;
      }, words);
    await visited.act();
    await visited.storedWith(isClick, 'what came before');
    await visited.page.evaluate(() => history.pushState({}, '', '/private'));
    await visited.act();
    await eventually(async () => (await visited.status()) === 'paused', 'the pause');
    await write('nobody shall know');
    await visited.act();
    await write('known again');
    await visited.page.evaluate(() => history.pushState({}, '', '/'));
    await visited.act();
    const lines = await visited.storedWith((line) => line.includes('known again'), 'what came after');
    assert.ok(!has(lines, 'nobody shall know'));
    await visited.end();
  });

  test('a feature flag: recorded where the page brings it, and nowhere else', async () => {
    const settings = { linked_flag: 'replay:blue' };
    const flag = (replay) => ({ options: { bootstrap: { featureFlags: { replay } } } });
    const [blue, red] = [await visit(settings, flag('blue')), await visit(settings, flag('red'))];
    await Promise.all([blue.act(), red.act()]);
    await blue.storedWith(isClick, 'the click');
    await red.assertNothingStored('buffering');
    for (const visited of [blue, red]) await visited.end();
  });

  test('mask all text: no word leaves the browser', async () => {
    const visited = await visit({ mask_all_text: true });
    await visited.act();
    const lines = await visited.storedWith(isClick, 'the click');
    assert.ok(lines.some(isSnapshot) && has(lines, '***** ** *** ****'));
    for (const words of ['Words of', 'Ada Lovelace', 'Card 4242']) assert.ok(!has(lines, words), words);
    await visited.end();
  });

  test('mask and leave out by selector: those elements and no others', async () => {
    const visited = await visit({ mask_text_selector: '.name', block_selector: '#card' });
    await visited.act();
    const lines = await visited.storedWith(isClick, 'the click');
    assert.ok(has(lines, '*** ********') && has(lines, 'Words of the page'));
    assert.ok(!has(lines, 'Ada Lovelace') && !has(lines, 'Card 4242'));
    await visited.end();
  });

  test('what is typed not masked: it is recorded, but for passwords', async () => {
    const visited = await visit({ mask_inputs: false });
    await visited.act();
    await visited.page.locator('#pin').pressSequentially('hunter22');
    await visited.page.locator('#nick').pressSequentially('enchantress');
    const lines = await visited.storedWith((line) => line.includes('enchantress'), 'what was typed');
    assert.ok(!has(lines, 'hunter22'));
    await visited.end();
  });

  test('console off: nothing of it; requests off: nothing of them', async () => {
    const visited = await visit({ console_log: false, network_timing: false });
    await visited.act();
    await visited.storedWith(isClick, 'the click');
    await visited.act();
    await visited.page.waitForTimeout(FLUSHED_MS);
    const lines = await visited.stored();
    assert.ok(!lines.some(isPlugin('rrweb/console')) && !lines.some(isPlugin('rrweb/network')));
    await visited.end();
  });

  test('headers and bodies of requests on: what was asked and answered', async () => {
    const visited = await visit({ network_bodies: true, network_headers: true });
    await visited.act();
    const lines = await visited.storedWith((line) => line.includes('what was answered'), 'the answer');
    assert.ok(has(lines, 'what was asked') && has(lines, 'text/plain'));
    await visited.end();
  });

  test('canvas on: what is drawn is recorded', async () => {
    const visited = await visit({ canvas: true, canvas_fps: 8, canvas_quality: 0.2 });
    await visited.act();
    const lines = await visited.storedWith(isCanvas, 'a picture of the canvas');
    assert.ok(has(lines, 'image/webp'));
    await visited.end();
  });

  test('sites: pages of those listed are recorded, others are not', async () => {
    const settings = { domains: ['http://*.site.test', 'site.test'] };
    const [listed, below, other] = await Promise.all(
      ['site', 'shop.site', 'other'].map((host) => visit(settings, { host })),
    );
    await Promise.all([listed, below, other].map((visited) => visited.act()));
    await Promise.all([listed, below].map((visited) => visited.storedWith(isClick, 'the click')));
    await other.assertNothingStored('disabled');
    for (const visited of [listed, below, other]) await visited.end();
  });

  test('recorder script: the client loads that one, and records with it', async () => {
    const visited = await visit({ recorder_script: 'posthog-recorder' });
    await visited.act();
    await visited.storedWith(isClick, 'the click');
    assert.ok(
      visited.requests.some((path) => path.endsWith('/posthog-recorder.js')),
      visited.requests.join(),
    );
    assert.ok(!visited.requests.some((path) => path.endsWith('/lazy-recorder.js')));
    await visited.end();
  });
});
