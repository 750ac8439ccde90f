// The page at the moment that is shown, as a tree beside it.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually, launch, serve } from '../browser.mjs';
import { h, Recording, t, uploadOf } from '../hostile/recording.mjs';
import { openAt, openViewer, shoot } from '../watch.mjs';

const MANY = 100_000;

let server;
let browser;
let context;

before(async () => {
  server = await serve();
  browser = await launch();
  context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  await page.goto(server.login);
  await page.close();
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

async function upload(id, recording) {
  const reply = await fetch(`${server.url}/s/`, { method: 'POST', body: uploadOf(id, recording.events) });
  assert.equal(reply.status, 200, await reply.text());
}

/** Opens the tree of a recording that stands still. */
async function open(id, at) {
  const page = await openViewer(context);
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  await openAt(page, server, id, at);
  await page.getByRole('tab', { name: 'DOM' }).click();
  await page.getByRole('treeitem').first().waitFor();
  return { page, errors };
}

const frameOf = (page) => page.frames().find((frame) => frame.url().startsWith('data:'));
const items = (page, text) => page.getByRole('treeitem').filter({ hasText: text });

/** The frame around the chosen node, and the node's own place, both in the page's pixels. */
const outlined = (page, selector) =>
  frameOf(page).evaluate((wanted) => {
    const box = document.querySelector('.outline');
    const node = document.querySelector('#stage iframe').contentDocument.querySelector(wanted);
    const { left, top, width, height } = node.getBoundingClientRect();
    const style =
      box === null
        ? null
        : ['left', 'top', 'width', 'height'].map((side) => Number.parseFloat(box.style[side]));
    return { style, node: [left, top, width, height] };
  }, selector);

test('the tree opens from the keyboard, follows the moment, and shows in the page what is chosen', async () => {
  const evil = `<img src=x onerror="window.__ran=1">`;
  const card = {
    ...h(
      'article',
      { class: 'card', title: evil },
      h('h2', {}, t(evil)),
      h('p', {}, t('Super 8'), h('b', {}, t('camera'))),
    ),
    id: 50,
  };
  const shadowed = {
    ...h('section', { class: 'host' }, { ...h('span', {}, t('in the shadow')), isShadow: true }),
    isShadowHost: true,
  };
  const frame = { ...h('iframe', { width: '300', height: '80' }), id: 9 };
  const recording = new Recording().snapshot([h('h1', {}, t('Shop')), card, shadowed, frame]);
  recording.after(20).attach(9, [h('p', { class: 'inner' }, t('in the frame'))]);
  recording
    .after(3000)
    .add(5, [h('footer', {}, t('came later'))])
    .end();
  await upload('tree', recording);
  const { page, errors } = await open('tree', 1000);
  assert.deepEqual(
    await page
      .getByRole('treeitem')
      .evaluateAll((all) => all.map((row) => row.textContent.trim().slice(0, 24))),
    [
      '▸ <html>',
      '<head>',
      '▸ <body>',
      '<h1> Shop',
      '▸ <article class="card" ',
      '▸ <section class="host">',
      '▸ <iframe width="300" he',
    ],
  );
  await items(page, '<article').click();
  const tree = page.getByRole('tree');
  await tree.press('ArrowRight');
  await tree.press('ArrowRight');
  await items(page, '<h2>').and(page.locator('[aria-selected=true]')).waitFor();
  assert.equal(await page.locator('.inspector img').count(), 0, 'what the page says is text');
  const around = await eventually(async () => {
    const { style, node } = await outlined(page, 'h2');
    return style !== null && node.every((side, i) => Math.abs(side - style[i]) < 1) && style;
  }, 'the frame around the heading');
  assert.ok(around[2] > 0);
  await shoot(page, 'dom-tree');
  await tree.press('ArrowLeft');
  await items(page, '<article').and(page.locator('[aria-selected=true]')).waitFor();
  await tree.press('ArrowLeft');
  await items(page, '<h2>').waitFor({ state: 'detached' });
  await tree.press('Escape');
  await eventually(async () => (await outlined(page, 'h2')).style === null, 'the frame to go');
  assert.equal(await items(page, 'came later').count(), 0);
  await page.keyboard.press('End');
  await openAt(page, server, 'tree', 4000);
  await page.getByRole('tab', { name: 'DOM' }).click();
  await items(page, 'came later').waitFor();
  const search = page.getByLabel('Find in the page');
  for (const words of ['in the frame', 'in the shadow', 'camera', 'card title']) {
    await search.fill(words);
    await page.getByRole('status').getByText('1 of 1').waitFor();
    await page.locator('[role=treeitem][aria-selected=true]').waitFor();
  }
  await search.fill('nowhere');
  await page.getByRole('status').getByText('none').waitFor();
  assert.equal(await page.evaluate(() => window.__ran), undefined);
  assert.deepEqual(errors, []);
  await page.close();
});

test('a hundred thousand nodes open, scroll and are searched', async () => {
  const rows = Array.from({ length: MANY }, (_, i) => h('p', { class: `row-${i}` }, t(`line ${i}`)));
  await upload('many', new Recording().snapshot([h('main', {}, ...rows.slice(0, MANY / 2))]).end());
  const { page, errors } = await open('many', 100);
  await items(page, '<main>').click();
  await page.getByRole('tree').press('ArrowRight');
  const total = (MANY / 2 + 4).toLocaleString('en');
  await page.getByRole('status').getByText(total).waitFor();
  const tree = page.getByRole('tree');
  await tree.press('End');
  await items(page, `line ${MANY / 2 - 1}`).waitFor();
  const drawn = await page.getByRole('treeitem').count();
  assert.ok(drawn < 90, `${drawn} rows are in the page`);
  const search = page.getByLabel('Find in the page');
  await search.fill('row-1234 ');
  await page.getByText('1 of 11').waitFor();
  await search.fill('row-12345');
  await page.getByText('1 of 1').waitFor();
  await items(page, 'line 12345').and(page.locator('[aria-selected=true]')).waitFor();
  await search.fill('line 4999');
  await search.press('Enter');
  await page.getByText('2 of 15').waitFor();
  await search.press('Shift+Enter');
  await search.press('Shift+Enter');
  await page.getByText('15 of 15').waitFor();
  assert.deepEqual(errors, []);
  await page.close();
});
