// Below a path prefix, every page, script, API call and frame is below it too, and recordings play.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually, launch, serve } from '../browser.mjs';
import { captures, send } from '../corpus.mjs';
import { replayedText, shoot } from '../watch.mjs';

const PREFIX = '/replay';
const shop = captures().find(({ id }) => id === 'shop-buy-unmasked');

let server;
let browser;

before(async () => {
  server = await serve({ flags: ['--path-prefix', PREFIX] });
  browser = await launch();
  await send(`${server.url}${PREFIX}`, shop);
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

test('list, player, links and playground stay below the prefix, and a recording plays', async () => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  const [outside, wrong] = [[], []];
  context.on('request', (request) => {
    const { origin, pathname } = new URL(request.url());
    if (origin === server.url && !pathname.startsWith(`${PREFIX}/`)) outside.push(pathname);
  });
  context.on('response', (response) => {
    if (response.status() >= 400) wrong.push(`${response.status()} ${response.url()}`);
  });
  page.on('pageerror', (error) => wrong.push(String(error)));

  assert.ok(server.login.startsWith(`${server.url}${PREFIX}/?token=`), server.login);
  await page.goto(server.login);
  const recording = `${PREFIX}/recordings/${shop.session_ids[0]}`;
  const api = `${server.url}${PREFIX}/api/recordings/${shop.session_ids[0]}`;
  await eventually(async () => (await context.request.get(`${api}/blocks`)).ok(), 'the recording');
  await page.goto(`${server.url}${PREFIX}/`);
  await page.waitForURL(`${server.url}${PREFIX}/recordings`);
  const [cookie] = await context.cookies();
  assert.equal(cookie.path, PREFIX);
  await shoot(page, 'prefix-list');

  await page.locator(`a[data-row][href="${recording}"]`).click();
  await page.waitForURL((url) => url.pathname === recording);
  await page.waitForSelector('.stage[aria-busy=false] iframe:not(.hidden)');
  await eventually(async () => (await replayedText(page)) !== '', 'the replayed page');
  const from = Number(await page.getByRole('slider').getAttribute('aria-valuenow'));
  await eventually(
    async () => Number(await page.getByRole('slider').getAttribute('aria-valuenow')) > from,
    'the player to go on',
  );
  await shoot(page, 'prefix-player');

  // A reload asks the server for the page that the app had made up, and Back is within the app.
  await page.reload();
  await page.waitForSelector('.stage[aria-busy=false] iframe:not(.hidden)');
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByTitle('Download as HTML').click(),
  ]);
  assert.ok(new URL(download.url()).pathname.startsWith(`${PREFIX}/api/`));
  for (const name of ['Set up', 'Doctor']) {
    await page.getByRole('link', { name, exact: true }).click();
    await page.waitForURL(new RegExp(`${PREFIX}/(start|doctor)$`));
    await page.waitForLoadState('networkidle');
  }
  await page.goBack();
  await page.waitForURL(`${server.url}${PREFIX}/start`);

  await page.goto(`${server.url}${PREFIX}/playground`);
  await page.getByText('running; do something and it is sent').waitFor();
  assert.deepEqual({ outside, wrong }, { outside: [], wrong: [] });
  await context.close();
});
