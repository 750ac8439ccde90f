// How clients send: codings, preflights, the end of a page, failures, and sessions that change.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eventually, launch, serve } from './browser.mjs';
import { fetchReleases, NEWEST } from './clients.mjs';
import { startProxy } from './proxy.mjs';
import { goShopping, note, sessionOf, TRUTH, untilRecorded } from './shop.mjs';
import { recorderOf, startSite } from './site.mjs';
import { assertStoredOnce, itemsOf, snapshotsOf } from './upload.mjs';
import {
  assertReplays,
  linesOf,
  openAt,
  openViewer,
  recordingWhen,
  shoot,
  startOf,
  textOnceIt,
  untilKept,
} from './watch.mjs';

const viewport = { width: 1280, height: 800 };
let server;
let browser;
let viewer;

before(async () => {
  server = await serve({ flags: ['--static-dir', await fetchReleases()] });
  browser = await launch();
  viewer = await browser.newContext({ viewport });
  await viewer.request.get(server.login);
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

/** Opens the shop for one person, with a proxy between the client and the server. */
async function visit(then, { version = NEWEST, options = {}, ...changes } = {}) {
  const proxy = await startProxy(server.url, changes);
  const site = await startSite(recorderOf(version, { host: proxy.url, ...options }));
  const context = await browser.newContext({ viewport });
  try {
    const page = await context.newPage();
    const preflights = [];
    const devtools = await context.newCDPSession(page);
    devtools.on('Network.requestWillBeSent', ({ request }) => {
      if (request.method === 'OPTIONS') preflights.push(request.url);
    });
    await devtools.send('Network.enable');
    await then({ page, context, proxy, site, preflights });
  } catch (error) {
    const sent = snapshotsOf(proxy.posts('/s/').map(({ body }) => body)).size;
    const { broken } = proxy;
    throw new Error(
      `${error.message}; ${sent} pieces of recordings had passed the proxy, ${broken.length} requests broke off`,
      { cause: error },
    );
  } finally {
    await context.close();
    await site.stop();
    await proxy.stop();
  }
}

async function openShop({ page, site }) {
  await page.goto(site.url);
  await untilRecorded(page);
  return sessionOf(page);
}

/** Leaves the page as people do: without waiting for anything. */
const leave = (page) => page.goto('about:blank');

const recording = (id, isComplete) => recordingWhen(viewer.request, server, id, isComplete);
const lines = (id) => linesOf(viewer.request, server, id);

/** The analytics events that are kept with a recording. */
async function eventsOf(id) {
  const { blocks } = await (await viewer.request.get(`${server.url}/api/recordings/${id}/blocks`)).json();
  const texts = blocks
    .filter(({ kind }) => kind === 'events')
    .map(async ({ url }) => {
      return (await viewer.request.get(`${server.url}${url}`)).text();
    });
  return (await Promise.all(texts)).flatMap((text) =>
    text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
  );
}

const addOil = (page) => page.click('[data-add=oil]');

describe('clients send as they like', { concurrency: 4 }, () => {
  // The first, because it takes longest: the others run meanwhile.
  test('a session that ends by idleness is told so under its own id', () =>
    visit(
      async (shop) => {
        const first = await openShop(shop);
        await addOil(shop.page);
        // A minute is the shortest idleness that the client can be told to end a session by. Six seconds later it would
        // forget the session on its own, without a word.
        await shop.page.waitForTimeout(62_000);
        await shop.page.click('[data-add=wick]');
        const second = await eventually(async () => {
          const id = await sessionOf(shop.page);
          return id !== first && id;
        }, 'another session');
        await leave(shop.page);
        await recording(second, (seen) => seen.click_count === 1);
        const tags = async (id) =>
          (await lines(id)).flatMap(([, event]) => (event.type === 5 ? [event.data.tag] : []));
        await eventually(
          async () => (await tags(first)).includes('$session_ending'),
          'the end of the first session',
        );
        assert.ok(!(await tags(second)).includes('$session_ending'));
        assert.ok((await tags(second)).includes('$session_starting'));
        const ending = (await lines(first))
          .map(([, event]) => event)
          .find(({ data }) => data?.tag === '$session_ending');
        assert.equal(ending.data.payload.nextSessionId, second);
        const { duration_ms } = await recording(first, () => true);
        assert.ok(duration_ms < 30_000, `the minute of silence is no part of it: ${duration_ms} ms`);
        const snapshots = snapshotsOf(shop.proxy.posts('/s/').map(({ body }) => body));
        for (const id of [first, second]) assertStoredOnce(await lines(id), snapshots, id);
      },
      { options: { session_idle_timeout_seconds: 60 } },
    ));

  for (const version of ['1.418.10', NEWEST]) {
    test(`${version} needs no preflight, and sends gzip that nothing announces`, () =>
      visit(
        async (shop) => {
          const id = await openShop(shop);
          await addOil(shop.page);
          await recording(id, (seen) => seen.click_count === 1);
          const [post] = shop.proxy.posts('/s/');
          assert.match(post.headers['content-type'], /^text\/plain/);
          assert.equal(post.headers['content-encoding'], undefined);
          assert.deepEqual([...post.body.subarray(0, 2)], [0x1f, 0x8b]);
          assert.deepEqual(shop.preflights, []);
          assert.deepEqual(
            shop.proxy.log.filter(({ method }) => method === 'OPTIONS'),
            [],
          );
        },
        { version },
      ));
  }

  test('the smallest config makes clients ask first and send JSON, which is taken too', () =>
    visit(
      async (shop) => {
        const id = await openShop(shop);
        await addOil(shop.page);
        await recording(id, (seen) => seen.click_count === 1);
        assert.match(shop.proxy.posts('/s/')[0].headers['content-type'], /^application\/json/);
        assert.ok(shop.preflights.length > 0, 'the browser asked');
        assert.ok(shop.proxy.log.every(({ status }) => status === undefined || status < 300));
      },
      { config: { sessionRecording: {} } },
    ));

  test('base64 forms are taken on every path', () =>
    visit(
      async (shop) => {
        const id = await openShop(shop);
        await addOil(shop.page);
        await shop.page.evaluate(() => window.posthog.capture('lamp lit'));
        await recording(id, (seen) => seen.click_count === 1);
        const events = await eventually(async () => {
          const found = await eventsOf(id);
          return found.some(({ event }) => event === 'lamp lit') && found;
        }, 'the analytics event');
        assert.ok(events.length > 0);
        for (const path of ['/s/', '/e/', '/flags/']) {
          const posts = shop.proxy.posts(path);
          assert.ok(posts.length > 0, `something was sent to ${path}`);
          assert.ok(
            posts.every(({ status }) => status === 200),
            path,
          );
        }
        // The first events go out before the config is known, and flags have a coding of their own.
        for (const path of ['/s/', '/e/']) {
          const { headers, query, body } = shop.proxy.posts(path).at(-1);
          assert.equal(headers['content-type'], 'application/x-www-form-urlencoded', path);
          assert.equal(query.get('compression'), 'base64');
          assert.ok(body.toString().startsWith('data='));
        }
      },
      { config: { sessionRecording: {}, supportedCompression: ['base64'] } },
    ));

  test('1.150 asks for its config by a form, and says how its recordings are packed', () =>
    visit(
      async (shop) => {
        const id = await openShop(shop);
        await addOil(shop.page);
        await recording(id, (seen) => seen.click_count === 1);
        const [decide] = shop.proxy.posts('/decide/');
        assert.equal(decide.query.get('v'), '3');
        assert.equal(decide.headers['content-type'], 'application/x-www-form-urlencoded');
        assert.ok(decide.body.toString().startsWith('data='));
        assert.equal(decide.status, 200);
        assert.equal(shop.proxy.posts('/s/')[0].query.get('compression'), 'gzip-js');
      },
      { version: '1.150.1' },
    ));

  test('what a page sends as it is left is kept, and what it sends twice is kept once', () => {
    const uuids = (posts) => posts.flatMap(({ body }) => itemsOf(body).map(({ uuid }) => uuid));
    let isLeaving = false;
    return visit(
      async (shop) => {
        const id = await openShop(shop);
        await addOil(shop.page);
        // Stored, but the client does not learn of it: it will send the same again when the page is left.
        await eventually(
          () => shop.proxy.posts('/s/').length > 0 && shop.proxy.posts('/e/').length > 0,
          'uploads',
        );
        isLeaving = true;
        await shop.page.evaluate(() => window.posthog.capture('last words'));
        await shop.page.click('[data-add=wick]');
        await leave(shop.page);
        await recording(id, (seen) => seen.click_count === 2);
        const events = await eventually(async () => {
          const found = await eventsOf(id);
          return found.some(({ event }) => event === '$pageleave') && found;
        }, 'the end of the visit');
        assert.ok(events.some(({ event }) => event === 'last words'));

        const sent = uuids(shop.proxy.posts('/s/'));
        assert.ok(new Set(sent).size < sent.length, 'a snapshot was sent twice');
        assertStoredOnce(await lines(id), snapshotsOf(shop.proxy.posts('/s/').map(({ body }) => body)), id);
        const plain = (uuid) => uuid.replaceAll('-', '');
        const kept = events.map(({ uuid }) => plain(uuid)).sort();
        const given = uuids([...shop.proxy.posts('/e/'), ...shop.proxy.posts('/i/v0/e/')]).map(plain);
        assert.deepEqual(kept, [...new Set(given)].sort(), 'each analytics event is kept once');
      },
      {
        status: ({ path }) => (path === '/s/' && !isLeaving ? { status: 503, isForwarded: true } : undefined),
      },
    );
  });

  test('after answers of 503, before and after storing, exactly one copy is kept', () => {
    const answers = [
      { status: 503, isForwarded: false },
      { status: 503, isForwarded: true },
    ];
    return visit(
      async (shop) => {
        const id = await openShop(shop);
        await addOil(shop.page);
        const retried = () => shop.proxy.posts('/s/').find(({ query }) => query.get('retry_count') === '2');
        const second = await eventually(() => retried()?.status && retried(), 'the second retry');
        assert.equal(second.status, 200);
        await recording(id, (seen) => seen.click_count === 1);
        assertStoredOnce(await lines(id), snapshotsOf(shop.proxy.posts('/s/').map(({ body }) => body)), id);
      },
      { status: ({ path, method }) => (path === '/s/' && method === 'POST' ? answers.shift() : undefined) },
    );
  });

  test('one upload with two sessions becomes two recordings', () =>
    visit(
      async (shop) => {
        const first = await openShop(shop);
        await shop.page.click('#search');
        // From here on nothing is due for as long as the client collects.
        await eventually(() => shop.proxy.posts('/s/').length > 0, 'the first upload');
        await addOil(shop.page);
        await shop.page.evaluate(() => window.posthog.reset());
        await shop.page.click('[data-add=wick]');
        const second = await sessionOf(shop.page);
        assert.notEqual(second, first);
        // What still waits to be sent goes out together.
        await leave(shop.page);
        await recording(first, (seen) => seen.click_count === 2);
        await recording(second, (seen) => seen.click_count === 1);
        const sessions = shop.proxy.posts('/s/').map(({ body }) => {
          return new Set(itemsOf(body).map(({ properties }) => properties.$session_id)).size;
        });
        assert.equal(Math.max(...sessions), 2, 'one upload had both');
        const snapshots = snapshotsOf(shop.proxy.posts('/s/').map(({ body }) => body));
        for (const id of [first, second]) assertStoredOnce(await lines(id), snapshots, id);
      },
      { version: '1.418.10', options: { request_queue_config: { flush_interval_ms: 5_000 } } },
    ));

  test('events are the same whether the client compresses each of them or not', async () => {
    const texts = await Promise.all(
      [true, false].map(async (compress_events) => {
        let seen = [];
        const record = async (shop) => {
          const moments = await goShopping(shop.page, shop.site.url, untilKept(viewer.request, server));
          const id = await sessionOf(shop.page);
          await leave(shop.page);
          await recording(id, ({ click_count }) => click_count === TRUTH.clicks);
          const snapshots = snapshotsOf(shop.proxy.posts('/s/').map(({ body }) => body));
          const events = [...snapshots.values()].flatMap(({ $snapshot_data }) => $snapshot_data);
          assert.equal(
            events.some(({ cv }) => cv !== undefined),
            compress_events,
          );
          assertStoredOnce(await lines(id), snapshots, id);
          await assertReplays(viewer, server, id, moments, compress_events ? 'compressed' : 'plain');
          seen = moments.map(({ text }) => text);
        };
        await visit(record, { options: { session_recording: { compress_events } } });
        return seen;
      }),
    );
    assert.deepEqual(texts[0], texts[1]);
  });

  test('two tabs of a session are two windows, and the viewer can change between them', () =>
    visit(async (shop) => {
      const id = await openShop(shop);
      await addOil(shop.page);
      const other = await shop.context.newPage();
      await other.goto(`${shop.site.url}/product/brass`);
      await untilRecorded(other);
      assert.equal(await sessionOf(other), id, 'the session is shared');
      await other.click('[data-add=brass]');
      // Browsers may drop what is done in a tab that nobody sees.
      await shop.page.bringToFront();
      await shop.page.click('[data-add=wick]');
      await shop.page.getByText('Basket: 2').waitFor();
      const shown = [await note(shop.page, 'first'), await note(other, 'second')];
      // A page that goes while the client packs an upload takes it along, so both stay until all of it came.
      const { windows } = await recording(id, (seen) => seen.click_count === 3);
      await leave(other);
      await leave(shop.page);
      assert.equal(windows.length, 2);

      const page = await openViewer(viewer);
      await openAt(page, server, id, shown[1].at - (await startOf(viewer.request, server, id)));
      const left = new Map(shown.map(({ name, text }) => [text, name]));
      for (const tab of ['Tab 1', 'Tab 2']) {
        await page.getByRole('button', { name: tab, exact: true }).click();
        const text = await textOnceIt(page, (now) => left.has(now));
        await shoot(page, `windows-${tab}`);
        assert.ok(left.delete(text), `${tab} shows what one of the tabs showed: ${text}`);
      }
      await page.close();
    }));
});
