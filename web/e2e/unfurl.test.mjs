// What programs that show links get of a recording: a picture of the page, drawn by the browser of whoever made the link.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eventually, launch, openFiles, PATIENCE_MS } from './browser.mjs';
import { begin, change, Nodes } from './made.mjs';
import { shoot } from './watch.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const corpus = join(process.env.REELCASE_CORPUS ?? join(here, '../../../shared/corpus'), 'rrweb');
/** As large as the picture, so that a pixel of one is a pixel of the other. */
const SIZE = { width: 1200, height: 630 };

let dir;
let server;
let browser;
let context;
let page;

before(async () => {
  dir = mkdtempSync(join(tmpdir(), 'reelcase-unfurl-'));
  const patches = join(dir, 'patches.json');
  writeFileSync(patches, JSON.stringify(patchwork()));
  const shop = join(corpus, 'recorded/posthog-rrweb-0.0.59-shop.json');
  server = await openFiles([patches, shop]);
  browser = await launch();
  context = await browser.newContext({ viewport: { width: 1280, height: 860 } });
  await context.request.get(server.login);
  page = await context.newPage();
});

after(async () => {
  await browser?.close();
  await server?.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** A page of patches, each of which is there only if what it stands for is in the picture. */
function patchwork() {
  const nodes = new Nodes();
  const element = nodes.element.bind(nodes);
  const at = (left, top, more) =>
    `position:absolute;left:${left}px;top:${top}px;width:100px;height:100px;${more}`;
  const css = `html { font-size: 10px; background: #204060 } body { margin: 0; height: 2000px }
    :root { --patch: rgb(200, 0, 0) } .wide { width: 10rem !important }
    @keyframes in { from { opacity: 0 } } .late { animation: in 1s }`;
  const scrolled = element('div', { style: at(400, 300, 'overflow:auto') }, [
    element('div', { style: 'height:500px;background:#fff' }),
    element('div', { style: 'height:500px;background:rgb(0,200,0)' }),
  ]);
  const host = element(
    'x-patch',
    { style: at(600, 300, '') },
    [
      element(
        'style',
        {},
        [nodes.text(':host { background: rgb(200, 200, 0) } p { background: rgb(0, 200, 200) }')],
        {
          isShadow: true,
        },
      ),
      element('p', { style: 'margin:0;height:50px' }, [], { isShadow: true }),
    ],
    { isShadowHost: true },
  );
  const canvas = element('canvas', { style: at(800, 300, ''), width: '100', height: '100' });
  const frame = element('iframe', { style: at(1000, 300, 'border:0') });
  const drawing =
    'data:image/svg+xml,%3Csvg xmlns="http://www.w3.org/2000/svg" width="1" height="1"%3E%3Crect width="1" height="1" fill="%23804000"/%3E%3C/svg%3E';
  const body = element('body', {}, [
    element('div', { class: 'wide', style: at(0, 300, 'background:var(--patch)') }),
    element('img', { src: drawing, style: at(200, 300, '') }),
    scrolled,
    host,
    canvas,
    frame,
    element('div', { class: 'late', style: at(0, 500, 'background:rgb(200,0,200)') }),
    element('div', { '@click': 'no name in XML', style: at(200, 500, 'background:rgb(0,100,0)') }, [
      nodes.text('\u0001 < & \ud800'),
    ]),
    element(
      'svg',
      { style: at(400, 500, ''), viewBox: '0 0 1 1' },
      [element('rect', { width: '1', height: '1', fill: 'rgb(100,0,0)' }, [], { isSVG: true })],
      { isSVG: true },
    ),
    element('input', {
      value: '',
      style: at(600, 500, 'font:99px/100px monospace;color:#000;background:#fff;border:0;padding:0'),
    }),
    element('div', {
      style: 'position:fixed;right:0;top:0;width:100px;height:100px;background:rgb(0,0,100)',
    }),
  ]);
  const input = body.childNodes.at(-2).id;
  const page = nodes.page(css, body);
  const framed = nodes.page('body { margin: 0; background: rgb(100, 100, 0) }', element('body'), false);
  const added = { parentId: frame.id, nextId: null, node: framed };
  const nothing = { adds: [], removes: [], texts: [], attributes: [] };
  const commands = [
    { property: 'fillStyle', args: ['rgb(0,100,100)'], setter: true },
    { property: 'fillRect', args: [0, 0, 100, 100] },
  ];
  return [
    ...begin('https://patches.example/', page, { ...SIZE, top: 200 }),
    change(10, { source: 0, ...nothing, adds: [added], isAttachIframe: true }),
    change(20, { source: 3, id: scrolled.id, x: 0, y: 600 }),
    change(20, { source: 3, id: page.id, x: 0, y: 200 }),
    change(30, { source: 5, id: input, text: '████', isChecked: false }),
    change(40, { source: 9, id: canvas.id, type: 0, commands }),
    change(8_000, { source: 1, positions: [{ x: 1, y: 1, id: body.id, timeOffset: 0 }] }),
  ];
}

async function api(path, options = {}) {
  return fetch(server.url + path, { ...options, headers: { authorization: `Bearer ${server.token}` } });
}

/** Makes a link beside the player; its address. */
async function share(id, choose = async () => {}) {
  await page.goto(`${server.url}/recordings/${id}`);
  await page.getByRole('button', { name: 'Share' }).click();
  const dialog = page.getByRole('dialog');
  await choose(dialog);
  await dialog.getByRole('button', { name: 'Make a link' }).click();
  return dialog.getByLabel('Link', { exact: true }).inputValue({ timeout: PATIENCE_MS });
}

async function idOf(url) {
  const { recordings } = await (await api('/api/recordings')).json();
  return recordings.find(({ start_url }) => start_url.startsWith(url)).id;
}

/** What a program reads in the head of a page. */
async function metaOf(url) {
  const html = await (await fetch(url)).text();
  const found = html.matchAll(/<meta (?:property|name)="([^"]+)" content="([^"]*)">/g);
  return Object.fromEntries([...found].map(([, name, content]) => [name, content]));
}

/** The colours of a picture at some places. */
async function coloursAt(bytes, places) {
  const url = `data:image/jpeg;base64,${Buffer.from(bytes).toString('base64')}`;
  const blank = await context.newPage();
  const colours = await blank.evaluate(
    async ({ url, places }) => {
      const image = new Image();
      image.src = url;
      await image.decode();
      const canvas = document.createElement('canvas');
      [canvas.width, canvas.height] = [image.width, image.height];
      const drawing = canvas.getContext('2d');
      drawing.drawImage(image, 0, 0);
      return places.map(([x, y]) => [...drawing.getImageData(x, y, 1, 1).data.slice(0, 3)]);
    },
    { url, places },
  );
  await blank.close();
  return colours;
}

function assertNear(colour, wanted, what) {
  const isNear = colour.every((value, i) => Math.abs(value - wanted[i]) < 24);
  assert.ok(isNear, `${what}: ${colour} is not ${wanted}`);
}

test('a pasted link shows the page as it was, whatever it is made of', async () => {
  const url = await share(await idOf('https://patches.example'));
  const meta = await metaOf(url);
  assert.equal(meta['og:image'], `${url}/picture.jpg`);
  assert.deepEqual([meta['og:image:width'], meta['og:image:height']], ['1200', '630']);
  assert.equal(meta['twitter:card'], 'summary_large_image');
  const reply = await fetch(meta['og:image']);
  assert.equal(reply.headers.get('content-type'), 'image/jpeg');
  const bytes = await reply.arrayBuffer();
  if (process.env.SCREENSHOTS)
    writeFileSync(join(process.env.SCREENSHOTS, 'unfurl-patches.jpg'), Buffer.from(bytes));
  // The page is scrolled by 200.
  const wanted = [
    [50, 50, [32, 64, 96], 'the background of the page, before what was scrolled away'],
    [50, 150, [200, 0, 0], 'a colour of the root'],
    [90, 150, [200, 0, 0], 'a width in the size of the root'],
    [250, 150, [128, 64, 0], 'a picture'],
    [450, 150, [0, 200, 0], 'what a scrolled element shows'],
    [650, 120, [0, 200, 200], 'an element of a shadow tree'],
    [650, 180, [200, 200, 0], 'its host'],
    [850, 150, [0, 100, 100], 'what was drawn on a canvas'],
    [1050, 150, [100, 100, 0], 'a page in a frame'],
    [50, 350, [200, 0, 200], 'what an animation brings in'],
    [250, 380, [0, 100, 0], 'an element that XML could not name all of'],
    [450, 350, [100, 0, 0], 'a drawing'],
    [630, 350, [0, 0, 0], 'what was typed'],
    [1150, 50, [0, 0, 100], 'what stays in its place'],
  ];
  const colours = await coloursAt(bytes, wanted);
  for (const [i, [, , colour, what]] of wanted.entries()) assertNear(colours[i], colour, what);
});

test('a real page is recognised, and programs that embed are told of the picture, too', async () => {
  const url = await share(await idOf('http'), async (dialog) => {
    await dialog.getByLabel('Sites that may embed it').fill('https://help.example.com');
    await shoot(page, 'share-with-picture-light');
  });
  const { 'og:image': address } = await metaOf(url);
  const bytes = Buffer.from(await (await fetch(address)).arrayBuffer());
  if (process.env.SCREENSHOTS) writeFileSync(join(process.env.SCREENSHOTS, 'unfurl-shop.jpg'), bytes);
  assert.ok(bytes.length > 15_000, `there is something on it: ${bytes.length} bytes`);
  const oembed = await (await fetch(`${server.url}/oembed?url=${encodeURIComponent(url)}`)).json();
  assert.deepEqual(
    [oembed.thumbnail_url, oembed.thumbnail_width, oembed.thumbnail_height],
    [address, 1200, 630],
  );

  // The picture goes when the link does.
  await page.getByRole('button', { name: 'Revoke' }).first().click();
  await eventually(async () => (await fetch(address)).status === 404, 'the picture to be gone');
});

test('nobody gets a picture who is not to have one', async () => {
  const shop = await idOf('http');
  const without = await share(shop, (dialog) =>
    dialog.getByLabel('A picture where the link is pasted').uncheck(),
  );
  const locked = await share(shop, async (dialog) => {
    await dialog.getByLabel('Password').fill('open sesame');
    assert.ok(await dialog.getByLabel('A picture where the link is pasted').isDisabled());
  });
  for (const url of [without, locked]) {
    assert.equal((await metaOf(url))['og:image'], undefined);
    assert.equal((await fetch(`${url}/picture.jpg`)).status, 404);
  }
});
