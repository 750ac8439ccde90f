// Beside the picture: what the page logged, asked for and got wrong, joined to the position both ways.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { eventually, launch, PATIENCE_MS, serve } from '../browser.mjs';
import { captures, send } from '../corpus.mjs';
import { shoot } from '../watch.mjs';

const SHOWN = '.stage[aria-busy=false] iframe:not(.hidden)';
/** Console, requests with headers and bodies, failed ones, exceptions, analytics: by real posthog-js. */
const shop = captures().find(({ id }) => id === 'shop-buy-unmasked');
const shopId = shop.session_ids[0];
const START = Date.now() - 3_600_000;
const made = '01930000-0000-7000-8000-0000000015ec';
const huge = '01930000-0000-7000-8000-00000000ba66';
const HUGE_ROWS = 100_000;

let server;
let browser;
let context;

before(async () => {
  server = await serve();
  browser = await launch();
  context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await send(server.url, shop);
  const page = await context.newPage();
  await page.goto(server.login);
  await page.close();
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

async function upload(items) {
  const body = gzipSync(JSON.stringify(items), { level: 1 });
  for (;;) {
    const reply = await fetch(`${server.url}/s/?compression=gzip-js`, { method: 'POST', body });
    if (reply.status === 200) return;
    assert.equal(reply.status, 503, await reply.text());
    await new Promise((done) => setTimeout(done, 300));
  }
}

const snapshots = (id, events) => ({
  event: '$snapshot',
  uuid: randomUUID(),
  properties: {
    token: 'phc_inspect',
    distinct_id: 'ada@example.test',
    $session_id: id,
    $window_id: id,
    $snapshot_data: events,
    $lib: 'web',
  },
});

function pageOf(ms) {
  const body = { type: 2, id: 3, tagName: 'body', attributes: {}, childNodes: [] };
  const html = { type: 2, id: 2, tagName: 'html', attributes: {}, childNodes: [body] };
  return [
    { type: 4, timestamp: START + ms, data: { href: 'https://a.test/', width: 800, height: 600 } },
    {
      type: 2,
      timestamp: START + ms + 1,
      data: { node: { type: 0, id: 1, childNodes: [html] }, initialOffset: { left: 0, top: 0 } },
    },
  ];
}

const said = (ms, level, ...args) => ({
  type: 6,
  timestamp: START + ms,
  data: {
    plugin: 'rrweb/console@1',
    payload: {
      level,
      trace: ['run (https://a.test/app.js:3:7)'],
      payload: args.map((arg) => JSON.stringify(arg)),
    },
  },
});

const asked = (ms, request) => ({
  type: 6,
  timestamp: START + ms + 100,
  data: {
    plugin: 'rrweb/network@1',
    payload: {
      requests: [
        {
          entryType: 'resource',
          initiatorType: 'fetch',
          startTime: ms,
          endTime: ms + 50,
          duration: 50,
          timeOrigin: START,
          timestamp: START + ms,
          ...request,
        },
      ],
    },
  },
});

/** Opens a recording that stands still, with errors that the page makes. */
async function open(id, seconds = 0) {
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  await page.goto(`${server.url}/recordings/${id}?t=${seconds}`);
  await page.waitForSelector(SHOWN);
  await page.getByRole('button', { name: 'Pause' }).click();
  return { page, errors };
}

const second = async (page) => Number(await page.getByRole('slider').getAttribute('aria-valuenow'));
const tab = (page, name) => page.getByRole('tab', { name }).click();
const rows = (page, text) => page.locator('.row').filter({ hasText: text });
const detail = (page) => page.getByRole('region', { name: 'Details' });

test('the console of a real page stands beside it, by level, with arguments and stack', async () => {
  const { page, errors } = await open(shopId, 20);
  await tab(page, 'Console');
  await page.waitForSelector('.count:not(:has-text("…"))');
  const warning = rows(page, 'wishlist is deprecated').first();
  const [minutes, seconds] = (await warning.locator('time').textContent()).split(':').map(Number);
  await warning.click();
  await eventually(
    async () => Math.abs((await second(page)) - minutes * 60 - seconds) <= 1,
    'the second of the row',
  );
  assert.equal(await warning.getAttribute('aria-current'), 'true', 'the row of the moment is marked');
  await detail(page).getByText('wish', { exact: true }).waitFor();
  await detail(page)
    .getByRole('link', { name: /vue\.global\.prod\.js/ })
    .first()
    .waitFor();

  await rows(page, 'loaded products').first().click();
  const value = detail(page).getByRole('button', { name: '{page: 2, total: 96}' });
  await value.click();
  await detail(page).getByText('96', { exact: true }).waitFor();
  await shoot(page, 'inspect-console');

  await page.getByRole('group', { name: 'Show' }).getByRole('button', { name: 'Errors' }).click();
  const shown = await page.locator('.row').allTextContents();
  assert.ok(shown.length > 0 && shown.every((text) => /error:/.test(text)), shown.join('\n'));
  await page.getByRole('group', { name: 'Show' }).getByRole('button', { name: 'All' }).click();
  await page.getByLabel('Find in the console').fill('checkout new');
  assert.equal(await page.locator('.row').count(), 1, 'words in any order');
  assert.deepEqual(errors, []);
  await page.close();
});

test('requests have their status, size and time, and what was sent can be sent again', async () => {
  const { page, errors } = await open(shopId, 20);
  await tab(page, 'Network');
  await page.waitForSelector('.count:not(:has-text("…"))');
  const whole = Number((await page.textContent('.count')).replaceAll(',', ''));
  await page.getByRole('button', { name: 'Failed' }).click();
  assert.deepEqual(
    (await page.locator('.row .status').allTextContents()).sort(),
    ['401', '402'],
    'each request once, though clients tell of it up to three times',
  );
  await rows(page, 'login').click();
  await detail(page).getByText('Request headers').waitFor();
  await detail(page).getByText('Response body').waitFor();
  await shoot(page, 'inspect-network');
  await detail(page).getByRole('button', { name: 'Copy as cURL' }).click();
  const command = await page.evaluate(() => navigator.clipboard.readText());
  assert.match(
    command,
    /^curl --globoff --url 'https:\/\/shop\.corpus\.test\/api\/login' \\\n {2}--request POST/,
  );
  // The password in it was left out by the client.
  assert.match(command, /--data-raw '\[SessionRecording\] Request body redacted/);
  await page.getByRole('button', { name: 'All' }).click();
  await page.getByLabel('Find in the requests').fill('bootstrap.min.css');
  // The list draws what is left of it in its own time.
  await page.locator('.row').waitFor();
  assert.ok(whole > 30, `${whole} requests`);
  assert.deepEqual(errors, []);
  await page.close();
});

test('a request from before the start is the row of the moment once it is picked', async () => {
  const { page, errors } = await open(shopId);
  await tab(page, 'Network');
  await rows(page, 'shop.corpus').first().waitFor();
  await page.locator('.rows').evaluate((list) => list.scrollTo(0, 0));
  await page.locator('[aria-posinset="3"] .row').click();
  await detail(page).waitFor();
  await page.locator('[aria-posinset="3"] .row.picked[aria-current=true]').waitFor();
  assert.deepEqual(errors, []);
  await page.close();
});

test('errors of all kinds stand in one list, and the visit is described', async () => {
  const { page, errors } = await open(shopId, 20);
  await tab(page, /Errors/);
  await page.waitForSelector('.count:not(:has-text("…"))');
  await rows(page, '402 POST').waitFor();
  await rows(page, 'TypeError').first().click();
  await detail(page).waitFor();
  await page.keyboard.press('Escape');
  await detail(page).waitFor({ state: 'detached' });
  await shoot(page, 'inspect-errors');
  await tab(page, 'Info');
  await page.getByRole('heading', { name: 'Figures' }).waitFor();
  await page.getByRole('term').filter({ hasText: 'Clicks' }).waitFor();
  await page.getByRole('term').filter({ hasText: 'Browser' }).waitFor();
  await shoot(page, 'inspect-info');
  assert.deepEqual(errors, []);
  await page.close();
});

test('analytics events open to all they hold', async () => {
  const { page, errors } = await open(shopId, 20);
  await page.getByLabel('Find in the events').fill('order completed');
  await page.getByRole('listitem').getByRole('button').click();
  await detail(page).getByText('Properties').waitFor();
  await detail(page).getByText('$current_url:').waitFor();
  assert.deepEqual(errors, []);
  await page.close();
});

test('what posthog-js sent of clicks in anger is one row with them', async () => {
  const { page, errors } = await open(shopId);
  await page.waitForSelector('.count:not(:has-text("…"))');
  await page.getByLabel('Find in the events').fill('rage');
  assert.equal(await rows(page, 'Rage').count(), 1);
  await rows(page, 'Rage click on button “♥ Wishlist”, 6 times').click();
  await detail(page).getByText('Properties of $rageclick').waitFor();
  assert.deepEqual(errors, []);
  await page.close();
});

test('a list that becomes shorter is drawn before the next frame', async () => {
  const { page, errors } = await open(shopId);
  await page.waitForSelector('.count:not(:has-text("…"))');
  const drawn = await page.evaluate(async () => {
    const frame = () => new Promise(requestAnimationFrame);
    document.querySelector('.rows').scrollTo(0, 1_000_000);
    await frame();
    await frame();
    const errors = [...document.querySelectorAll('[role=group] button')].find(
      (it) => it.textContent === 'Errors',
    );
    errors.click();
    await Promise.resolve();
    return document.querySelectorAll('.row:is(.error, .warning)').length;
  });
  assert.ok(drawn > 3, `${drawn} rows`);
  assert.deepEqual(errors, []);
  await page.close();
});

test('what a page says is shown as text, and leads nowhere but to the web', async () => {
  const evil = '<img src=x onerror="document.title=1"><b>bold</b>';
  await upload([
    snapshots(made, [
      ...pageOf(0),
      said(1_000, 'error', evil, { [evil]: evil }),
      {
        ...said(2_000, 'log', 'stack'),
        data: {
          plugin: 'rrweb/console@1',
          payload: { level: 'log', trace: ['f (javascript:alert(1):1:1)'], payload: ['"stack"'] },
        },
      },
      asked(3_000, { name: 'javascript:alert(1)', method: 'GET', status: 500 }),
      asked(4_000, {
        name: `https://a.test/${evil}`,
        method: 'POST',
        status: 500,
        requestHeaders: { [evil]: evil },
        responseBody: evil,
      }),
      { type: 5, timestamp: START + 9_000, data: { tag: evil, payload: { [evil]: evil } } },
    ]),
  ]);
  const { page, errors } = await open(made);
  const outside = [];
  page.on('request', (request) => {
    const { protocol, origin } = new URL(request.url());
    if (protocol.startsWith('http') && origin !== server.url) outside.push(request.url());
  });
  for (const name of ['Console', 'Network', 'Errors', 'Performance', 'Events']) {
    await tab(page, name);
    await page.waitForSelector('.count:not(:has-text("…"))');
    for (const row of await page.locator('.row').all()) {
      await row.click();
      const hasDetail = await detail(page)
        .waitFor({ timeout: 1_000 })
        .then(
          () => true,
          () => false,
        );
      if (hasDetail) await detail(page).getByText('Fetching…').waitFor({ state: 'detached' });
      const found = await page.evaluate(() => ({
        made: document.querySelectorAll('.inspector :is(img, b:not(.track b), script)').length,
        links: [...document.querySelectorAll('.inspector a')].map(({ href, rel, target }) => [
          href,
          rel,
          target,
        ]),
      }));
      assert.equal(found.made, 0, `${name}: nothing becomes an element`);
      for (const [href, rel, target] of found.links) {
        assert.match(href, /^https?:/);
        assert.deepEqual([rel, target], ['noopener noreferrer nofollow', '_blank']);
      }
    }
  }
  assert.equal(await page.title(), 'ada@example.test – Reelcase');
  assert.deepEqual({ errors, outside }, { errors: [], outside: [] });
  await page.close();
});

test('how long things took: loads with their steps, web vitals with their grades, and each leads to its second', async () => {
  const { page, errors } = await open(shopId, 20);
  await tab(page, 'Performance');
  await page.waitForSelector('.count:not(:has-text("…"))');
  await shoot(page, 'inspect-performance');
  const load = page.locator('.row.Load').first();
  assert.match(await load.getAttribute('title'), /loaded after/);
  await load.click();
  await detail(page).getByText('First byte').or(detail(page).getByText('Waiting')).first().waitFor();
  await page.getByRole('button', { name: /Web vitals/ }).click();
  const paint = rows(page, 'LCP').first();
  const [minutes, seconds] = (await paint.locator('time').textContent()).split(':').map(Number);
  await paint.click();
  await eventually(
    async () => Math.abs((await second(page)) - minutes * 60 - seconds) <= 1,
    'the second of the row',
  );
  await detail(page).getByText('$web_vitals_LCP_value').waitFor();
  await paint.press('ArrowDown');
  assert.match(await page.evaluate(() => document.activeElement?.className ?? ''), /^row /);
  await page.emulateMedia({ colorScheme: 'dark' });
  await shoot(page, 'inspect-performance-dark');
  assert.deepEqual(errors, []);
  await page.close();
});

test('a hundred thousand lines scroll, are searched, and lead to their seconds', async () => {
  const part = HUGE_ROWS / 10;
  for (let i = 0; i < 10; i++) {
    const lines = Array.from({ length: part }, (_, n) =>
      said(1_000 + (i * part + n) * 10, 'log', 'row', i * part + n),
    );
    await upload([snapshots(huge, i === 0 ? [...pageOf(0), ...lines] : lines)]);
  }
  const { page, errors } = await open(huge);
  await tab(page, 'Console');
  await eventually(
    async () => (await page.textContent('.count')) === HUGE_ROWS.toLocaleString('en'),
    'all rows',
  );
  const list = page.getByRole('list', { name: 'Console' });
  for (const share of [0.25, 0.5, 1]) {
    await list.evaluate((node, part) => {
      node.dispatchEvent(new WheelEvent('wheel'));
      node.scrollTop = node.scrollHeight * part;
    }, share);
    await page.waitForTimeout(100);
    const drawn = await page.locator('.row').count();
    assert.ok(drawn > 10 && drawn < 80, `${drawn} rows are in the page`);
  }
  const last = rows(page, `row ${HUGE_ROWS - 1}`);
  await last.focus();
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('PageUp');
  const focused = await page.evaluate(() => document.activeElement?.textContent);
  const number = Number(/row (\d+)/.exec(focused)?.[1]);
  assert.ok(number < HUGE_ROWS - 10 && number > HUGE_ROWS - 40, `the keyboard is at ${focused}`);
  await page.keyboard.press('Enter');
  const isAt = (wanted) => async () => Math.abs((await second(page)) - wanted) <= 1;
  await eventually(isAt((1_000 + number * 10) / 1000), 'its second');
  await detail(page).getByText(String(number), { exact: true }).waitFor();
  await page.getByLabel('Find in the console').fill('row 77777');
  await rows(page, 'row 77777').click();
  await eventually(isAt(778), 'the second that was searched for');
  assert.deepEqual(errors, []);
  await page.close();
});

test('on a phone the details of a row cover its list, and a comment can be written to its end', async () => {
  const phone = await browser.newContext({
    viewport: { width: 390, height: 844 },
    hasTouch: true,
    isMobile: true,
  });
  await phone.addCookies(await context.cookies());
  const page = await phone.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  await page.goto(`${server.url}/recordings/${shopId}?t=20`);
  await page.waitForSelector(SHOWN);
  await page.getByRole('button', { name: 'Pause' }).tap();
  await tab(page, 'Network');
  await page.locator('.row').nth(1).tap();
  await detail(page).getByText('Address', { exact: true }).waitFor();
  await shoot(page, 'inspect-phone');
  const covered = await detail(page).evaluate((node) => {
    const { left, top, width, height } = node.getBoundingClientRect();
    const points = Array.from({ length: 20 }, (_, i) => [left + width / 2, top + (height * (i + 0.5)) / 20]);
    return points.filter(([x, y]) => !node.contains(document.elementFromPoint(x, y))).length;
  });
  assert.equal(covered, 0, 'nothing lies on the details');
  await page.getByRole('button', { name: 'Close the details' }).tap();
  await page.locator('.row').nth(1).waitFor();
  await tab(page, 'Comments');
  await page.getByRole('textbox', { name: 'Comment at' }).fill('It is the image');
  const send = page.getByRole('button', { name: 'Comment', exact: true });
  const canBeReached = await send.evaluate((node) => {
    const view = node.closest('.view');
    view.scrollTop = view.scrollHeight;
    const isIn = node.getBoundingClientRect().bottom <= view.getBoundingClientRect().bottom;
    return isIn && getComputedStyle(view).overflowY === 'auto';
  });
  await shoot(page, 'inspect-phone-comment');
  assert.ok(canBeReached, 'a finger scrolls to the button');
  await phone.close();
});

test('the inspector is worked from the keyboard, and as wide as one likes', async () => {
  const { page, errors } = await open(shopId, 20);
  const selected = () => page.getByRole('tab', { selected: true }).textContent();
  await page.keyboard.press('t');
  assert.match(await selected(), /Console/);
  await page.getByRole('tab', { selected: true }).focus();
  const at = await second(page);
  await page.keyboard.press('ArrowRight');
  assert.match(await selected(), /Network/);
  await page.keyboard.press('ArrowLeft');
  await page.keyboard.press('ArrowLeft');
  assert.match(await selected(), /Events/);
  assert.equal(await second(page), at, 'the position stays where it is');
  const splitter = page.getByRole('separator', { name: 'Width of the inspector' });
  const width = Number(await splitter.getAttribute('aria-valuenow'));
  await splitter.press('ArrowLeft');
  assert.equal(Number(await splitter.getAttribute('aria-valuenow')), width + 32);
  await page.reload();
  await page.waitForSelector(SHOWN);
  assert.equal(Number(await splitter.getAttribute('aria-valuenow')), width + 32, 'it is remembered');
  assert.deepEqual(errors, []);
  await page.close();
});
