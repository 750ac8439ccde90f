// A session of thousands of tabs: as much is drawn as of a few, and each can be reached from the keyboard.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { launch, serve } from '../browser.mjs';
import { shoot, textOnceIt } from '../watch.mjs';

const TABS = 3_000;
const ID = '01930000-0000-7000-8000-00000000aaaa';

let server;
let browser;

before(async () => {
  server = await serve();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

/** What one tab sends: its page, which says which tab it is. */
function snapshot(tab, start) {
  const element = (id, tagName, childNodes) => ({ type: 2, id, tagName, attributes: {}, childNodes });
  const text = { type: 3, id: 5, textContent: `this is tab ${tab}` };
  const html = element(2, 'html', [element(3, 'head', []), element(4, 'body', [text])]);
  const href = `https://shop.example.test/tab/${tab}`;
  const timestamp = start + tab;
  const $snapshot_data = [
    { type: 4, timestamp, data: { href, width: 800, height: 600 } },
    {
      type: 2,
      timestamp,
      data: { node: { type: 0, id: 1, childNodes: [html] }, initialOffset: { left: 0, top: 0 } },
    },
  ];
  return {
    event: '$snapshot',
    properties: {
      token: 'phc_tabs',
      distinct_id: 'd',
      $session_id: ID,
      $window_id: `window-${tab}`,
      $snapshot_data,
    },
  };
}

test('thousands of tabs are a field for a number, and each is shown when asked for', async () => {
  const start = Date.now() - 60_000;
  const items = Array.from({ length: TABS }, (_, index) => snapshot(index + 1, start));
  const body = gzipSync(JSON.stringify(items));
  const sent = await fetch(`${server.url}/s/?compression=gzip-js`, { method: 'POST', body });
  assert.equal(sent.status, 200);

  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  await page.goto(server.login);
  await page.goto(`${server.url}/recordings/${ID}`);
  await page.waitForSelector('.stage[aria-busy=false] iframe:not(.hidden)');
  const tabs = page.getByRole('group', { name: 'Tabs of the session' });
  assert.equal(await tabs.getByRole('button').count(), 1, 'what is drawn is bounded');
  const field = tabs.getByRole('spinbutton');
  await tabs.getByRole('button', { name: 'Follow' }).focus();
  await page.keyboard.press('Tab');
  assert.ok(await field.evaluate((input) => input === document.activeElement));
  await page.keyboard.press('ControlOrMeta+a');
  await page.keyboard.type('1500');
  await page.keyboard.press('Enter');
  assert.match(await textOnceIt(page, (text) => text.includes('this is tab 1500')), /this is tab 1500/);
  await shoot(page, 'tabs-many');
  // A number that no tab has leads to the nearest one, and the arrow keys go on from there.
  await page.keyboard.press('ControlOrMeta+a');
  await page.keyboard.type('99999');
  await page.keyboard.press('Enter');
  assert.equal(await field.inputValue(), String(TABS));
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  assert.equal(await field.inputValue(), String(TABS - 1));
  await context.close();
});
