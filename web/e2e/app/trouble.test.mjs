// What the app says where it cannot show what was asked for: why, and what helps.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, PATIENCE_MS, serve } from '../browser.mjs';
import { captures, send } from '../corpus.mjs';
import { shoot } from '../watch.mjs';

const shop = captures().find(({ id }) => id === 'shop-buy-unmasked');
const path = `/recordings/${shop.session_ids[0]}`;
const BROKEN = '{"error":{"code":"catalog","message":"the catalog cannot be read: disk I/O error"}}';

let server;
let browser;

before(async () => {
  server = await serve();
  browser = await launch();
  await send(server.url, shop);
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

async function visitor(viewport = { width: 1280, height: 800 }) {
  const context = await browser.newContext({ viewport });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  await page.goto(server.login);
  return { page, close: () => context.close() };
}

const refuse = (route) => route.fulfill({ status: 500, contentType: 'application/json', body: BROKEN });

test('an address that names no page leads a person on, and tells a program so', async () => {
  const { page, close } = await visitor();
  const reply = await page.goto(`${server.url}/nowhere/at/all`);
  assert.equal(reply.status(), 404);
  await page.getByRole('heading', { name: 'There is nothing here' }).waitFor();
  await page.getByRole('link', { name: 'Go to the recordings' }).click();
  await page.waitForURL(`${server.url}/recordings`);
  const plain = await fetch(`${server.url}/nowhere/at/all`);
  assert.deepEqual([plain.status, (await plain.json()).error.code], [404, 'not_found']);
  await close();
});

test('a recording that the server cannot give is asked for again, at once where one says so', async () => {
  const { page, close } = await visitor();
  const api = /\/api\/recordings\/[^/]+(\/blocks)?$/;
  await page.route(api, refuse);
  await page.goto(server.url + path);
  await page.getByText('The catalog cannot be read: disk I/O error. It is asked again').waitFor();
  await shoot(page, 'trouble-recording');
  await page.unroute(api);
  await page.getByRole('button', { name: 'Try now' }).click();
  await page.waitForSelector('.stage[aria-busy=false] iframe:not(.hidden)');
  await close();
});

test('on a phone held sideways picture and controls are on the screen together', async () => {
  const { page, close } = await visitor({ width: 844, height: 390 });
  await page.goto(server.url + path);
  await page.waitForSelector('.stage[aria-busy=false] iframe:not(.hidden)');
  const stage = await page.locator('.stage').boundingBox();
  const controls = await page.getByRole('group', { name: 'Playback' }).boundingBox();
  assert.ok(stage.height > 190, `the picture has ${stage.height} pixels`);
  assert.ok(controls.y + controls.height <= 390, `the controls end at ${controls.y + controls.height}`);
  await shoot(page, 'sideways');
  await close();
});

test('on a phone, too, one reads in a line why a recording does not play', async () => {
  const { page, close } = await visitor({ width: 390, height: 844 });
  await page.route(/\/api\/recordings\/[^/]+\/blocks/, refuse);
  await page.goto(server.url + path);
  const said = page.getByText('The server could not answer.');
  await said.waitFor();
  const { height } = await said.boundingBox();
  assert.ok(height < 30, `the text is ${height} pixels high`);
  await page.getByRole('tab', { name: 'Events' }).waitFor();
  await shoot(page, 'trouble-phone');
  await close();
});
