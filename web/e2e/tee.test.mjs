// Real posthog-js through Reelcase in front of a PostHog, whose part another Reelcase plays: what the client sends is
// what arrives there, byte for byte, and both have the same recording.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { eventually, launch, PATIENCE_MS, serve } from './browser.mjs';
import { fetchReleases, NEWEST } from './clients.mjs';
import { startProxy } from './proxy.mjs';
import { goShopping, sessionOf } from './shop.mjs';
import { recorderOf, startSite } from './site.mjs';
import { linesOf, recordingWhen } from './watch.mjs';

/** A real WebSocket server, which the driver of the browser brings along. */
const { wsServer } = createRequire(import.meta.url)('playwright-core/lib/utilsBundle');
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

/** Decides about the shop, as a program does. */
async function decide(server, settings) {
  const headers = { authorization: `Bearer ${server.token}`, 'content-type': 'application/json' };
  const ask = (method, path, body) =>
    fetch(`${server.url}/api/projects${path}`, { method, headers, body: JSON.stringify(body) });
  await ask('POST', '', { name: 'The shop', key: 'phc_shop' });
  const kept = await ask('PUT', '/phc_shop/settings', settings);
  assert.equal(kept.status, 200, await kept.text());
}

/**
 * Lets one person shop with Reelcase in this mode in between, which lays `settings` over PostHog's config. Answers what
 * the client sent.
 */
async function shopThrough(mode, then, settings) {
  const reelcase = await serve({ flags: ['--upstream', arrived.url, '--mode', mode] });
  if (settings) await decide(reelcase, settings);
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

test('recording goes on although PostHog ended it, and masks what PostHog does not', async () => {
  await decide(posthog, { recording: false, mask_inputs: false });
  try {
    const settings = { recording: true, mask_all_text: true, mask_inputs: true };
    await shopThrough(
      'tee',
      async (visit) => {
        await assertSame(visit);
        const lines = await linesAt(visit.reelcase, visit.id);
        const text = lines.join('\n');
        assert.ok(!text.includes('Ada Lovelace'), 'what was typed is masked');
        assert.match(withoutStyles(lines), /\*\*\*/, 'there is something to mask');
        assert.ok(
          !/"textContent":"[^"*]*[a-z]{4,}[^"*]*"/i.test(withoutStyles(lines)),
          'every word is masked',
        );
        const configs = arrived.log.filter(({ path }) => path.startsWith('/array/'));
        assert.ok(configs.length > 0 && configs.every(({ headers }) => !headers['accept-encoding']));
      },
      settings,
    );
  } finally {
    await decide(posthog, {});
  }
});

/** A survey as PostHog has it, with words whose bytes are more than their letters. */
const SURVEY = {
  id: '01a1fbdb-8270-7135-9b23-544ab178fe70',
  name: 'Shop',
  type: 'popover',
  description: '',
  questions: [{ id: 'q', type: 'open', question: 'Wie war’s — schön?', buttonText: 'Send' }],
  appearance: {},
  conditions: null,
  start_date: '2026-01-01T00:00:00Z',
  end_date: null,
  targeting_flag_filters: null,
  linked_flag_key: null,
  targeting_flag_key: null,
  internal_targeting_flag_key: null,
};

test('surveys load through it, byte for byte, are shown, and their answers reach PostHog', async () => {
  const config = await (await fetch(`${posthog.url}/array/phc_shop/config`)).json();
  const surveys = JSON.stringify({ surveys: [SURVEY], surveys_config: {} });
  const upstream = await startProxy(posthog.url, {
    config: { ...config, surveys: true },
    status: ({ path }) =>
      path === '/api/surveys/'
        ? { status: 200, isForwarded: false, headers: { 'content-type': 'application/json' }, body: surveys }
        : undefined,
  });
  const reelcase = await serve({ flags: ['--upstream', upstream.url] });
  const site = await startSite(recorderOf(NEWEST, { host: reelcase.url }));
  const context = await browser.newContext({ viewport });
  try {
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    const [script, list] = await Promise.all([
      page.waitForResponse((reply) => reply.url().endsWith('/surveys.js')),
      page.waitForResponse((reply) => reply.url().includes('/api/surveys/')),
      page.goto(site.url),
    ]);
    assert.equal(await list.text(), surveys);
    const original = await fetch(`${posthog.url}${new URL(script.url()).pathname}`);
    assert.deepEqual(await script.body(), Buffer.from(await original.arrayBuffer()));
    await page.getByText('Wie war’s — schön?').waitFor();
    await page.locator('.survey-form textarea').fill('Wunderbar');
    await page.locator('.survey-form .form-submit').click();
    await eventually(
      () => upstream.log.some(({ path, body }) => isEvents(path) && has(body, 'survey sent', 'Wunderbar')),
      'the answer',
    );
  } finally {
    await context.close();
    await site.stop();
    await reelcase.stop();
    await upstream.stop();
  }
});

const isEvents = (path) => /^\/(e|i\/v0\/e)\/$/.test(path);

/** Whether an upload, gzipped or not, has all these words. */
function has(body, ...words) {
  const text = (body[0] === 0x1f && body[1] === 0x8b ? gunzipSync(body) : body).toString();
  return words.every((word) => text.includes(word));
}

test('a WebSocket of the page reaches PostHog and is left alone', async () => {
  const sockets = new wsServer({ port: 0, host: '127.0.0.1', path: '/live/' });
  await once(sockets, 'listening');
  let asked;
  sockets.on('connection', (socket, request) => {
    asked = request;
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
    socket.on('close', () => sockets.emit('left'));
  });
  const upstream = `http://127.0.0.1:${sockets.address().port}`;
  const reelcase = await serve({ flags: ['--upstream', upstream, '--upstream-unchecked'] });
  const site = await startSite('');
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    await page.goto(site.url);
    const left = once(sockets, 'left');
    const back = await page.evaluate(
      async (url) => {
        const socket = new WebSocket(url);
        socket.binaryType = 'arraybuffer';
        await new Promise((opened, failed) => {
          socket.onopen = opened;
          socket.onerror = () => failed(new Error('it did not open'));
        });
        const answered = (sent) =>
          new Promise((resolve) => {
            socket.onmessage = ({ data }) => resolve(data);
            socket.send(sent);
          });
        const words = await answered('schön');
        const bytes = await answered(new Uint8Array(200_000).fill(7));
        socket.close();
        return [words, bytes.byteLength, new Uint8Array(bytes).every((byte) => byte === 7)];
      },
      `${reelcase.url.replace('http', 'ws')}/live/?token=phc_shop`,
    );
    assert.deepEqual(back, ['schön', 200_000, true]);
    assert.equal(asked.headers.origin, site.url);
    await left;
  } finally {
    await context.close();
    await site.stop();
    await reelcase.stop();
    for (const socket of sockets.clients) socket.terminate();
    sockets.close();
  }
});

/** The texts of a recording's snapshots, without style sheets and scripts, which are never masked. */
function withoutStyles(lines) {
  const texts = [];
  const walk = (node, isStyle) => {
    if (node.textContent !== undefined && !isStyle)
      texts.push(JSON.stringify({ textContent: node.textContent }));
    const isNext = isStyle || ['style', 'script', 'noscript', 'title', 'head'].includes(node.tagName);
    for (const child of node.childNodes ?? []) walk(child, isNext);
  };
  for (const line of lines) {
    const [, event] = JSON.parse(line);
    if (event.type === 2) walk(event.data.node, false);
  }
  return texts.join('\n');
}
