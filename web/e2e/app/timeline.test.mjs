// The timeline: what stands on it beside clicks and pages, and a stretch of a long recording, as wide as one likes.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { eventually, launch, PATIENCE_MS, serve } from '../browser.mjs';
import { openAt, openViewer, shoot } from '../watch.mjs';

const ID = '01930000-0000-7000-8000-00000000207e';
const MINUTE = 60_000;
const LENGTH = 60 * MINUTE;
const START = Date.now() - 2 * LENGTH;

let server;
let browser;
let context;
let page;

before(async () => {
  server = await serve();
  browser = await launch();
  context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  page = await openViewer(context);
  page.setDefaultTimeout(PATIENCE_MS);
  await page.goto(server.login);
  const clicks = (from, window, count, apart = 300) =>
    Array.from({ length: count }, (_, i) => [
      window,
      from + i * apart,
      3,
      { source: 2, type: 2, id: 4, x: 60, y: 20 },
    ]);
  await upload([
    ...pageOf(0, 'one'),
    ...clicks(2_000, 'one', 5),
    ...pageOf(10 * MINUTE, 'two'),
    ['two', 10 * MINUTE + 1_000, 3, { source: 3, id: 2, x: 0, y: 10 }],
    ...clicks(10 * MINUTE + 2_000, 'two', 2, 5_000),
    ...clicks(30 * MINUTE, 'one', 12, 5_000),
    ...clicks(LENGTH, 'one', 1),
  ]);
  await sendRage(2_610);
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

function pageOf(ms, window) {
  const element = (id, tagName, childNodes) => ({ type: 2, id, tagName, attributes: {}, childNodes });
  const button = element(4, 'button', [{ type: 3, id: 5, textContent: 'Pay' }]);
  const html = element(2, 'html', [element(3, 'body', [button])]);
  return [
    [window, ms, 4, { href: `https://shop.example.test/${window}`, width: 800, height: 500 }],
    [window, ms + 5, 2, { node: { type: 0, id: 1, childNodes: [html] }, initialOffset: { left: 0, top: 0 } }],
  ];
}

async function upload(events) {
  const items = events.map(([window, ms, type, data]) => ({
    event: '$snapshot',
    properties: {
      token: 'phc_timeline',
      distinct_id: 'ada@example.test',
      $session_id: ID,
      $window_id: window,
      $snapshot_data: [{ type, timestamp: START + ms, data }],
      $lib: 'web',
    },
  }));
  const body = gzipSync(JSON.stringify(items));
  const reply = await fetch(`${server.url}/s/?compression=gzip-js`, { method: 'POST', body });
  assert.equal(reply.status, 200);
}

/** What PostHog itself says of the same clicks. */
async function sendRage(ms) {
  const properties = { $session_id: ID, $window_id: 'one', $el_text: 'Pay', distinct_id: 'ada@example.test' };
  const body = { token: 'phc_timeline', event: '$rageclick', properties, timestamp: new Date(START + ms) };
  const reply = await fetch(`${server.url}/e/`, { method: 'POST', body: JSON.stringify(body) });
  assert.equal(reply.status, 200);
}

const bar = (of = page) => of.getByRole('slider', { name: 'Position in the recording' });
const second = async (of = page) => Number(await bar(of).getAttribute('aria-valuenow'));
const whole = (of = page) => of.getByTitle('Show the whole recording on the timeline');
const opened = async (of, ms) => {
  await openAt(of, server, ID, ms);
  await of.waitForSelector('.count:not(:has-text("…"))');
};

async function shootBoth(name) {
  for (const colorScheme of ['dark', 'light']) {
    await page.emulateMedia({ colorScheme });
    await shoot(page, `${name}-${colorScheme}`);
  }
}

test('clicks in anger are one row, and going to another tab is one', async () => {
  await opened(page, 0);
  const rows = await page.locator('.row').allInnerTexts();
  const told = rows.map((row) => row.replace(/\s+/g, ' '));
  assert.ok(
    told.some((row) => /Rage click on button “Pay”, 5 times/.test(row)),
    told.join('\n'),
  );
  assert.equal(told.filter((row) => /Click on button/.test(row)).length, 15, told.join('\n'));
  const tabs = told.filter((row) => /Went to tab/.test(row));
  assert.deepEqual(
    tabs.map((row) => /Went to tab \d/.exec(row)[0]),
    ['Went to tab 2', 'Went to tab 1'],
  );
  await page.locator('.row').filter({ hasText: 'Went to tab 2' }).click();
  await eventually(async () => (await second()) === 601, 'the second at which it happened');
  await page.getByRole('button', { name: 'Tab 2' }).and(page.locator('.shown')).waitFor();
  await page.waitForSelector('svg .tick.rage[d*=M], svg .tick.tab[d*=M]', { state: 'attached' });
  await shootBoth('timeline-whole');
});

test('what PostHog sent of clicks in anger is under the details of their row', async () => {
  await opened(page, 0);
  const rage = page.locator('.row').filter({ hasText: 'Rage' });
  const show = page.getByRole('group', { name: 'Show' });
  for (const name of ['All', 'Actions', 'Analytics']) {
    await show.getByRole('button', { name }).click();
    assert.equal(await rage.count(), 1, name);
  }
  await rage.click();
  const details = page.getByRole('region', { name: 'Details' });
  await details.getByText('Properties of $rageclick').waitFor();
  await details.getByText('$el_text').waitFor();
  await shootBoth('timeline-rage');
});

test('another tab is a stop for [ and ]', async () => {
  await opened(page, 9 * MINUTE);
  // Its page, then that somebody went there, which they did to scroll, then what they clicked.
  for (const stop of [600, 601, 602]) {
    await page.keyboard.press(']');
    await eventually(async () => (await second()) === stop, `the stop at ${stop} s`);
  }
  await page.getByRole('button', { name: 'Tab 2' }).and(page.locator('.shown')).waitFor();
  await opened(page, 602_900);
  await page.keyboard.press('[');
  await eventually(async () => (await second()) === 601, 'the stop before');
  await page.keyboard.press('?');
  await page.getByText('Event or change of tab before or after').waitFor();
  await page.keyboard.press('Escape');
});

test('the wheel shows a shorter stretch around the pointer, and a drag in it is as fine', async () => {
  await opened(page, 0);
  const box = await bar().boundingBox();
  const at = (share) => [box.x + box.width * share, box.y + 26];
  await page.mouse.move(...at(0.5));
  for (let i = 0; i < 10; i++) await page.mouse.wheel(0, -100);
  await whole().waitFor();
  const [from, to] = (await whole().textContent()).split('–').map((text) => {
    const [minutes, seconds] = text.trim().split(':').map(Number);
    return minutes * 60 + seconds;
  });
  assert.ok(from < 1800 && to > 1800 && to - from < 240, `${from} to ${to} s`);
  assert.ok(Math.abs((from + to) / 2 - 1800) < 5, 'what the pointer is over stays there');
  await shootBoth('timeline-part');
  await page.mouse.click(...at(0.75));
  await eventually(
    async () => Math.abs((await second()) - (from + 0.75 * (to - from))) < 3,
    'a moment of the stretch',
  );
  assert.equal(
    await bar().getAttribute('aria-valuemax'),
    '3600',
    'the position is one in the whole recording',
  );
  // What is gone to elsewhere is shown.
  await page.keyboard.press('Home');
  await eventually(async () => /^0:00/.test(await whole().textContent()), 'the stretch to follow');
  await whole().click();
  assert.equal(await whole().count(), 0);
});

test('the stretch is chosen by keys, too', async () => {
  await opened(page, 30 * MINUTE);
  for (const key of ['+', '+', '=']) await page.keyboard.press(key);
  assert.match(await whole().textContent(), /26:\d\d – 33:\d\d/);
  await page.keyboard.press('-');
  assert.match(await whole().textContent(), /22:\d\d – 37:\d\d/);
  await page.keyboard.press('-');
  await page.keyboard.press('-');
  assert.equal(await whole().count(), 0);
});

test('two fingers do what the wheel does', async () => {
  const phone = await browser.newContext({
    viewport: { width: 390, height: 844 },
    hasTouch: true,
    isMobile: true,
  });
  await phone.addCookies(await context.cookies());
  const held = await openViewer(phone);
  held.setDefaultTimeout(PATIENCE_MS);
  try {
    await opened(held, 0);
    const box = await bar(held).boundingBox();
    const touches = await phone.newCDPSession(held);
    const fingers = (type, shares) =>
      touches.send('Input.dispatchTouchEvent', {
        type,
        touchPoints: shares.map((share, id) => ({ id, x: box.x + box.width * share, y: box.y + 26 })),
      });
    await fingers('touchStart', [0.45]);
    await fingers('touchStart', [0.45, 0.55]);
    for (const away of [0.1, 0.2, 0.3, 0.4]) await fingers('touchMove', [0.45 - away, 0.55 + away]);
    await fingers('touchEnd', []);
    await whole(held).waitFor();
    assert.match(await whole(held).textContent(), /26:\d\d – 33:\d\d/);
    await shoot(held, 'timeline-phone');
    await whole(held).tap();
    assert.equal(await whole(held).count(), 0);
  } finally {
    await phone.close();
  }
});
