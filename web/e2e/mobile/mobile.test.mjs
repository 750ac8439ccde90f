// What apps on phones record plays in the player, in a shared page, from a file and from the command.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { eventually, launch, openFiles, PATIENCE_MS, serve } from '../browser.mjs';
import { openAt, openViewer, shoot } from '../watch.mjs';
import { inputs, looks, meta, PICTURES, sendFromPhone, snapshot, tap, view, visit } from './app.mjs';

const START = Date.now() - 3_600_000;

let server;
let browser;
let context;
let dir;

before(async () => {
  dir = mkdtempSync(join(tmpdir(), 'reelcase-mobile-'));
  server = await serve();
  browser = await launch();
  context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  const page = await context.newPage();
  await page.goto(server.login);
  await page.close();
  const still = (name, views) => [meta(START, name), snapshot(START, views), ...tap(START + 4000, 60, 80)];
  await sendFromPhone(server.url, 'app-looks', still('Views', looks()));
  await sendFromPhone(server.url, 'app-inputs', still('Form', inputs()));
  await sendFromPhone(server.url, 'app-visit', visit(START));
  await sendFromPhone(server.url, 'app-pictures', pictures(), { agent: 'posthog-flutter/5.36.6' });
});

after(async () => {
  await browser?.close();
  await server?.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** What Flutter sends: one picture of the whole screen after another, with a size only once. */
function pictures() {
  const kinds = Object.entries(PICTURES);
  const shots = Array.from({ length: 12 }, (_, i) => {
    const [kind, base64] = kinds[i % kinds.length];
    return snapshot(START + i * 500, [
      view('screenshot', 0, 0, 390, 844, { base64: `data:image/${kind};base64,${base64}` }),
    ]);
  });
  return [...shots, ...tap(START + 7000, 50, 60)];
}

const frameOf = (page) => page.frames().find((frame) => frame.url().startsWith('data:'));

/** Runs in the page that is replayed, which scripts of a test may look into. */
async function inScreen(page, look) {
  const text = `(${look})(document.querySelector('#stage iframe').contentDocument)`;
  return frameOf(page)
    ?.evaluate(text)
    .catch(() => undefined);
}

// What is hidden is not on the screen: the words of the text nodes would not do.
// biome-ignore lint/performance/useDomNodeTextContent: the style sheet's text is none of the screen's.
const wordsIn = (page) => inScreen(page, (screen) => screen.body.innerText.replace(/\s+/g, ' ').trim());

/** The words on the screen as soon as they are the wanted ones. */
async function screenOnce(page, wanted) {
  let last;
  const isIt = async () => {
    last = await wordsIn(page);
    return last !== undefined && wanted.test(last);
  };
  await eventually(isIt, 'the screen', 20_000).catch((error) => {
    throw new Error(`${error.message}: ${wanted}; it is ${last}`);
  });
}

test('every view and every style is drawn', async () => {
  const page = await openViewer(context);
  await openAt(page, server, 'app-looks', 0);
  await screenOnce(
    page,
    /Every view.*A text of more than one line.*map of Berlin placeholder https:.*later release.*on a picture/,
  );
  await shoot(page, 'mobile-looks');
  const pictures = await inScreen(page, (screen) =>
    [...screen.querySelectorAll('img')].map(({ src, naturalWidth }) => `${src.slice(5, 15)} ${naturalWidth}`),
  );
  assert.deepEqual(pictures, ['image/png; 16', 'image/jpeg 16', 'image/webp 16', 'image/png; 16']);
  await openAt(page, server, 'app-inputs', 0);
  await screenOnce(page, /Pay now.*Checked/);
  await shoot(page, 'mobile-inputs');
  const fields = await inScreen(page, (screen) =>
    [...screen.querySelectorAll('input:not([type=checkbox],[type=radio]), textarea, select')].map(
      ({ value }) => value,
    ),
  );
  assert.deepEqual(fields, [
    ...['Ada', 'secret', 'ada@example.test', '***', 'shoes', '+49 30 1234', 'https://a.test'],
    ...['several\nlines', 'EUR', 'CHF', 'icons'],
  ]);
  await page.close();
});

test('a visit plays and seeks to the same screens', async () => {
  const page = await openViewer(context);
  const moments = [
    [500, /^Camera Lens Tripod \d\d:\d\d$/],
    [1500, /Camera Lens Tripod Add to cart\? Add/],
    [3300, /Lens – sold out Tripod Add to cart/],
    [4500, /^Camera Lens – sold out Tripod \d\d:\d\d$/],
    [6500, /^On its side$/],
  ];
  for (const [at, words] of moments) {
    await openAt(page, server, 'app-visit', at);
    await screenOnce(page, words);
    const keys = await inScreen(page, (screen) => screen.querySelectorAll('.keyboard').length);
    assert.equal(keys, at === 3300 ? 1 : 0, `the keyboard at ${at}`);
    await shoot(page, `mobile-visit-${at}`);
  }
  await page.close();
  const player = await context.newPage();
  await player.goto(`${server.url}/recordings/app-visit`);
  for (const [, words] of moments) await screenOnce(player, words);
  const size = await frameOf(player)?.evaluate(() => {
    const { width, height } = document.querySelector('#stage iframe');
    return [width, height].map(Number);
  });
  assert.deepEqual(size, [844, 390], 'the screen turned with the phone');
  await player.close();
});

test('taps say what they hit, and screens stand in the list as pages do', async () => {
  const page = await openViewer(context);
  await openAt(page, server, 'app-visit', 0);
  const rows = page.locator('.inspector .row');
  await page.getByText('Tap on “Add”').waitFor();
  const texts = (await rows.allInnerTexts()).map((text) => text.split('\n').at(-1));
  assert.deepEqual(texts, [
    'ProductList',
    'Tap on “Camera”',
    'Tap on “1”',
    'Tap on “Add”',
    'Swipe up',
    'Viewer',
    'Tap at 10, 10',
  ]);
  await page.goto(`${server.url}/recordings`);
  await page.getByText('ProductList').waitFor();
  await shoot(page, 'mobile-list');
  await page.close();
});

test('one picture follows the other without a blank between them', async () => {
  const page = await context.newPage();
  await page.goto(`${server.url}/recordings/app-pictures`);
  await page.waitForSelector('.player [aria-busy=false]', { timeout: PATIENCE_MS });
  await screenOnce(page, /^$/);
  const seen = await frameOf(page)?.evaluate(async () => {
    const screen = document.querySelector('#stage iframe').contentDocument;
    const [img] = screen.querySelectorAll('img');
    const kinds = new Set();
    let isSame = true;
    for (const until = performance.now() + 2500; performance.now() < until; ) {
      const [now] = document.querySelector('#stage iframe').contentDocument.querySelectorAll('img');
      isSame &&= now === img && now.naturalWidth === 16;
      kinds.add(now.src.slice(11, 15));
      await new Promise((done) => setTimeout(done, 20));
    }
    return { isSame, kinds: [...kinds].sort(), width: document.querySelector('#stage iframe').width };
  });
  assert.deepEqual(seen, { isSame: true, kinds: ['jpeg', 'png;', 'webp'], width: '390' });
  await shoot(page, 'mobile-pictures');
  await page.close();
});

test('it plays behind a link, from a file on the disk and from the command', async () => {
  const headers = { authorization: `Bearer ${server.token}`, 'content-type': 'application/json' };
  const reply = await fetch(`${server.url}/api/recordings/app-visit/shares`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ has_inspector: true, embed_origins: ['http://help.test'] }),
  });
  assert.equal(reply.status, 201);
  const link = await reply.json();
  const places = [`${link.url}?t=3.3`, `${link.embed_url}?t=3.3`];
  for (const format of ['html', 'reel']) {
    const file = await fetch(`${server.url}/api/recordings/app-visit/export?format=${format}`, { headers });
    assert.equal(file.status, 200);
    writeFileSync(join(dir, `visit.${format}`), Buffer.from(await file.arrayBuffer()));
  }
  places.push(`${pathToFileURL(join(dir, 'visit.html'))}#t=3.3`);
  const opened = await openFiles([join(dir, 'visit.reel')]);
  try {
    for (const place of places) {
      const page = await openViewer(context);
      await page.goto(place);
      await screenOnce(page, /Lens – sold out Tripod Add to cart/);
      if (place.startsWith('file:')) await shoot(page, 'mobile-file');
      await page.close();
    }
    // Another server on the same host: its cookie would take the place of the first one's.
    const own = await browser.newContext();
    const page = await openViewer(own);
    await page.goto(opened.login);
    await page.goto(`${opened.url}/recordings/app-visit`);
    await screenOnce(page, /^Camera Lens Tripod/);
    await own.close();
  } finally {
    await opened.stop();
  }
});

test('a recording of a web page never fetches what draws screens', async () => {
  const html = { type: 2, id: 2, tagName: 'html', attributes: {}, childNodes: [] };
  const node = { type: 0, id: 1, childNodes: [html] };
  const events = [
    { ...meta(START, 'http://site.test/') },
    { type: 2, timestamp: START, data: { node, initialOffset: { left: 0, top: 0 } } },
    ...tap(START + 1000, 1, 1),
  ];
  await sendFromPhone(server.url, 'web', events);
  const asked = async (id) => {
    const page = await openViewer(context);
    const urls = [];
    page.on('request', (request) => urls.push(new URL(request.url()).pathname));
    await openAt(page, server, id, 0);
    await page.getByRole('tab', { name: 'Info' }).click();
    await page.close();
    return urls.filter((path) => /\/screen-[^/]*\.js$/.test(path)).length;
  };
  assert.deepEqual([await asked('web'), await asked('app-visit')], [0, 1]);
});
