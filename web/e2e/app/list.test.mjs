import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually, launch, PATIENCE_MS, serve } from '../browser.mjs';
import { seed } from '../seed.mjs';
import { shoot } from '../watch.mjs';

const COUNT = 3_000;

let server;
let browser;
let page;

before(async () => {
  server = await serve();
  browser = await launch();
  page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  page.setDefaultTimeout(PATIENCE_MS);
  await seed(server.url, COUNT);
  await page.goto(server.login);
  await eventually(
    async () => (await listed('person=person-2999%40example.test')) === 1,
    'all recordings to be listed',
    60_000,
  );
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

async function listed(query) {
  const reply = await page.request.get(`${server.url}/api/recordings?${query}`);
  return (await reply.json()).recordings.length;
}

const names = () => page.locator('[data-row] .name').allTextContents();

test('a list of any length costs what is on the screen', async () => {
  await page.goto(`${server.url}/recordings`);
  await page.waitForSelector('[data-row]');
  assert.equal((await names())[0], 'person-0@example.test', 'newest first');
  const cost = () => page.evaluate(() => document.querySelectorAll('*').length);
  const atFirst = await cost();
  await eventually(async () => {
    await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
    return (await names()).at(-1) === `person-${COUNT - 1}@example.test`;
  }, 'the end of the list');
  await page.getByText('That is all.').waitFor();
  assert.ok((await cost()) < 2 * atFirst, `${await cost()} elements at the end, ${atFirst} at first`);
  // Rows that were let go come back.
  await page.evaluate(() => scrollTo(0, document.body.scrollHeight / 2));
  await eventually(
    async () => (await names()).some((name) => name.startsWith('person-15')),
    'rows in the middle',
  );
});

test('back from a recording leads to where one was', async () => {
  const before = await page.evaluate(() => scrollY);
  assert.ok(before > 10_000);
  const row = page.locator('[data-row]').nth(15);
  const href = await row.getAttribute('href');
  for (const back of [() => page.goBack(), () => page.click('a[data-return]')]) {
    await page.click(`a[href="${href}"]`);
    await page.waitForSelector('.player');
    await back();
    await page.waitForSelector(`a[href="${href}"]`);
    await eventually(
      async () => Math.abs((await page.evaluate(() => scrollY)) - before) < 600,
      'the old place',
    );
  }
});

test('filters are in the address, and one that fits nothing says so', async () => {
  await page.goto(`${server.url}/recordings`);
  await page.getByPlaceholder('Page address contains').fill('/checkout');
  await page.waitForURL(/url=%2Fcheckout/);
  await eventually(async () => (await names())[0] === 'person-4@example.test', 'the filtered list');
  await page
    .locator('label', { hasText: 'Duration' })
    .locator('select')
    .selectOption({ label: 'Over 1 min' });
  await page.waitForURL(/duration_min=60/);
  await page.reload();
  await page.waitForSelector('[data-row]');
  const durations = await page.locator('[data-row] .duration').allTextContents();
  assert.ok(durations.length > 0 && durations.every((text) => text.startsWith('1:')), durations.join());
  await page.getByRole('button', { name: 'With errors' }).click();
  await page.getByText('Nothing matches').waitFor();
  await shoot(page, 'list-nothing');
  await page.getByRole('button', { name: 'Clear the filters' }).click();
  await page.waitForURL(`${server.url}/recordings`);
  await page.waitForSelector('[data-row]');
});

test('a server that is gone is said so, and the list comes back by itself', async () => {
  await page.route('**/api/recordings?*', (route) => route.abort('connectionrefused'));
  await page.getByText('No answer from the server').waitFor();
  assert.ok((await names()).length > 0, 'what was there stays');
  await page.unroute('**/api/recordings?*');
  await page.getByText('No answer from the server').waitFor({ state: 'detached' });
});

test('from a recording one goes on to the one below in the list, and back up', async () => {
  await page.goto(`${server.url}/recordings`);
  await page.waitForSelector('[data-row]');
  await page.locator('[data-row]').nth(1).click();
  const person = page.getByRole('heading', { level: 1 });
  await person.getByText('person-1@example.test').waitFor();
  await shoot(page, 'recording-beside');
  await page.getByRole('link', { name: 'Recording below' }).click();
  await person.getByText('person-2@example.test').waitFor();
  await page.getByRole('link', { name: 'Recording above' }).click();
  await person.getByText('person-1@example.test').waitFor();
  await page.getByRole('link', { name: 'Recording above' }).click();
  await person.getByText('person-0@example.test').waitFor();
  assert.equal(await page.getByRole('link', { name: 'Recording above' }).count(), 0, 'it is the first');
  await page.goto(page.url());
  await person.waitFor();
  assert.equal(await page.getByRole('link', { name: 'Recording below' }).count(), 0, 'there was no list');
});

/** Where in the list the focus is, from 1; null where it is elsewhere. */
const focused = () =>
  page.evaluate(() => {
    const row = document.activeElement?.matches('a[data-row]') ? document.activeElement.closest('li') : null;
    return row && Number(row.getAttribute('aria-posinset'));
  });
const focusAt = (place) => eventually(async () => (await focused()) === place, `the focus at row ${place}`);

test('the list is one stop for Tab, and arrow keys, Home and End move in it', async () => {
  await page.goto(`${server.url}/recordings`);
  await page.waitForSelector('[data-row]');
  const stops = () =>
    page.locator('ul[aria-label^="Recordings"] :is(a, button):not([tabindex="-1"])').count();
  assert.equal(await stops(), 1);
  const press = async (...keys) => {
    for (const key of keys) await page.keyboard.press(key);
  };
  await page.getByRole('button', { name: 'With errors' }).focus();
  for (let i = 0; i < 9 && (await focused()) === null; i++) await press('Tab');
  await focusAt(1);
  await press('ArrowDown', 'ArrowDown', 'ArrowDown', 'ArrowUp');
  await focusAt(3);
  await press('j', 'k', 'j');
  await focusAt(4);
  await shoot(page, 'list-focus');
  await press('Shift+Tab');
  assert.equal(await focused(), null, 'the list is left at once');
  await press('Tab');
  await focusAt(4);
  await press('ArrowRight');
  assert.equal(await page.evaluate(() => document.activeElement?.title), 'Add to a collection');
  await press('ArrowLeft');
  await focusAt(4);

  const loaded = () => page.locator('li[aria-posinset]').last().getAttribute('aria-posinset').then(Number);
  await press('End');
  await eventually(async () => (await focused()) > 50, 'the focus at the end of what is loaded');
  const end = await focused();
  await eventually(async () => (await loaded()) > end, 'more to be loaded below it');
  await press('ArrowDown');
  await focusAt(end + 1);
  await press('Tab');
  assert.equal(await focused(), null, 'the list is left at once');
  await press('Shift+Tab');
  await eventually(focused, 'the focus to come back');
  await press('Home');
  await focusAt(1);
  assert.equal(await stops(), 1);

  // Under a wheel the focus goes with its row; Tab then leads to what is on the screen.
  await page.mouse.move(600, 500);
  await page.mouse.wheel(0, 6_000);
  await eventually(async () => !(await page.locator('li[aria-posinset="1"]').count()), 'the row to be gone');
  const stop = await page.locator('a[data-row][tabindex="0"]').boundingBox();
  assert.ok(stop.y > 80 && stop.y < 300, `the stop is at ${stop.y} px`);
  await press('j');
  const row = await eventually(focused, 'the focus');
  for (let i = 0; i < 12; i++) await press('ArrowUp');
  await focusAt(row - 12);
  const [top, head] = await page.evaluate(() => [
    document.activeElement.getBoundingClientRect().top,
    document.querySelector('.columns').getBoundingClientRect().bottom,
  ]);
  assert.ok(top >= head, `the row is at ${top} px, the heads end at ${head} px`);
});

test('rows are links: Enter opens one, with Ctrl in a tab of its own', async () => {
  await page.goto(`${server.url}/recordings`);
  await page.waitForSelector('[data-row]');
  const row = page.locator('[data-row]').nth(2);
  const href = await row.getAttribute('href');
  for (const open of [() => row.click({ modifiers: ['Control'] }), () => row.press('Control+Enter')]) {
    const [tab] = await Promise.all([page.context().waitForEvent('page'), open()]);
    await tab.waitForURL(`**${href}`);
    await tab.close();
  }
  assert.ok(page.url().endsWith('/recordings'));
  await row.press('Enter');
  await page.waitForURL(`**${href}`);
  await page.waitForSelector('.player');
  // Back in the list, Tab stops where one was.
  await page.goBack();
  await page.waitForSelector(`a[href="${href}"][tabindex="0"]`);
});
