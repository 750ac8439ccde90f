// Collections of recordings, to be watched in an order, and filters of the list that have a name.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually, launch, PATIENCE_MS, serve } from '../browser.mjs';
import { seed } from '../seed.mjs';
import { shoot } from '../watch.mjs';

let server;
let browser;
let page;

before(async () => {
  server = await serve();
  browser = await launch();
  page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  page.setDefaultTimeout(PATIENCE_MS);
  await seed(server.url, 6);
  await page.goto(server.login);
  await eventually(async () => (await api('/api/recordings')).recordings.length === 6, 'all to be listed');
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

const api = async (path) => (await page.request.get(server.url + path)).json();
const names = () => page.locator('[data-row] .name').allTextContents();
const person = (index) => `person-${index}@example.test`;

/** Takes a picture in both colours. */
async function shootBoth(name) {
  for (const colorScheme of ['dark', 'light']) {
    await page.emulateMedia({ colorScheme });
    await shoot(page, `${name}-${colorScheme}`);
  }
}

test('recordings are collected from the list, by key or by hand, and from the player', async () => {
  await page.goto(`${server.url}/collections`);
  await page.getByText('Recordings that belong together').waitFor();
  await shootBoth('collections-none');
  await page.getByRole('link', { name: 'Recordings' }).click();
  await page.waitForSelector('[data-row]');
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  await page.keyboard.press('c');
  const dialog = page.getByRole('dialog', { name: 'Collections' });
  await dialog.getByText(`In which ${person(1)} is to be watched.`).waitFor();
  await shootBoth('collect-first');
  await dialog.getByRole('textbox', { name: 'New collection' }).fill('Checkout <b>bugs</b>');
  await page.keyboard.press('Enter');
  await dialog
    .getByRole('checkbox', { name: 'Checkout <b>bugs</b>' })
    .and(page.locator(':checked'))
    .waitFor();
  await page.keyboard.press('Escape');
  await eventually(
    () => page.evaluate(() => document.activeElement?.matches('a[data-row]')),
    'the row again',
  );
  await page.getByRole('button', { name: `Add ${person(3)} to a collection` }).click();
  await dialog.getByRole('checkbox').check();
  await dialog.getByText('2 recordings').waitFor();
  await shootBoth('collect-second');
  await page.keyboard.press('Escape');
  await page.getByRole('link', { name: new RegExp(person(5)) }).click();
  await page.getByRole('button', { name: 'Collections' }).click();
  await dialog.getByRole('checkbox').check();
  await dialog.getByText('3 recordings').waitFor();
  await page.keyboard.press('Escape');
});

test('a collection is put in order, and watched in it', async () => {
  await page.goto(`${server.url}/collections`);
  await page.getByRole('link', { name: 'Checkout <b>bugs</b>' }).click();
  await page.getByRole('heading', { name: 'Checkout <b>bugs</b>' }).waitFor();
  await eventually(async () => (await names()).length === 3, 'its recordings');
  await page.getByRole('button', { name: `Move ${person(5)} up` }).press('Enter');
  await eventually(async () => (await names())[1] === person(5), 'it to move');
  await page.keyboard.press('Enter');
  const inOrder = [person(5), person(1), person(3)];
  await eventually(async () => (await names()).join() === inOrder.join(), 'the button to keep the focus');
  await shootBoth('collection');
  await page.getByRole('link', { name: 'Watch in order' }).click();
  const heading = page.getByRole('heading', { level: 1 });
  for (const [index, name] of inOrder.entries()) {
    if (index > 0) await page.getByRole('link', { name: 'Next recording' }).click();
    await heading.getByText(name).waitFor();
    await page.getByText(`${index + 1} of 3`).waitFor();
  }
  assert.equal(await page.getByRole('link', { name: 'Next recording' }).count(), 0, 'it is the last');
  await shootBoth('collection-watched');
  await page.getByRole('link', { name: 'Previous recording' }).click();
  await heading.getByText(person(1)).waitFor();
  await page.getByTitle('Back to the collection').click();
  await page.getByRole('button', { name: `Take ${person(1)} out` }).click();
  await eventually(async () => (await names()).join() === [person(5), person(3)].join(), 'it to go');
});

test('a collection is renamed and deleted, and its recordings stay', async () => {
  await page.getByRole('button', { name: 'Rename' }).click();
  await page.keyboard.type('Slow pages');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Slow pages' }).waitFor();
  await page.getByRole('button', { name: 'Delete' }).click();
  const dialog = page.getByRole('dialog', { name: 'Delete this collection?' });
  await dialog.getByRole('button', { name: 'Delete it' }).click();
  await page.getByText('Recordings that belong together').waitFor();
  assert.equal((await api('/api/recordings')).recordings.length, 6);
  await page.goto(`${server.url}/collections/00ff`);
  await page.getByText('No such collection').waitFor();
});

test('filters get a name, under which the list is narrowed again', async () => {
  await page.goto(`${server.url}/recordings`);
  await page.getByPlaceholder('Page address contains').fill('/checkout');
  await page.waitForURL(/url=%2Fcheckout/);
  await eventually(async () => (await names()).length === 1, 'the list to be narrowed');
  await page.getByText('Saved filters').click();
  await page.getByText('None yet.').waitFor();
  await page.getByRole('textbox', { name: 'Name of these filters' }).fill('At the checkout');
  await page.keyboard.press('Enter');
  const saved = page.getByRole('list', { name: 'Saved filters' });
  await saved.getByText('At the checkout').waitFor();
  await shootBoth('filters-saved');
  await page.goto(`${server.url}/recordings`);
  await eventually(async () => (await names()).length === 6, 'the whole list');
  await page.getByText('Saved filters').click();
  await saved.getByRole('link', { name: 'At the checkout' }).click();
  await eventually(async () => (await names()).join() === person(4), 'the list to be narrowed');
  await page.locator('summary', { hasText: 'At the checkout' }).click();
  await saved.getByRole('button', { name: 'Forget the filter At the checkout' }).click();
  const none = page.getByText('None yet.');
  await none.waitFor();
  assert.deepEqual((await api('/api/filters')).filters, []);
  await page.getByPlaceholder('Page address contains').focus();
  await none.waitFor({ state: 'hidden' });
});

test('all that the list is narrowed to is deleted after a question that says how many', async () => {
  await page.goto(`${server.url}/recordings`);
  await page.waitForSelector('[data-row]');
  assert.equal(await page.getByRole('button', { name: 'Delete all' }).count(), 0, 'nothing is narrowed');
  await page.goto(`${server.url}/recordings?url=%2Fproducts`);
  await eventually(async () => (await names()).length === 2, 'the list to be narrowed');
  await page.getByRole('button', { name: 'Delete all' }).click();
  const dialog = page.getByRole('dialog', { name: 'Delete 2 recordings?' });
  await dialog.getByText('All that are with “/products” in an address.').waitFor();
  await shootBoth('delete-all');
  await dialog.getByRole('button', { name: 'Keep them' }).click();
  assert.equal((await api('/api/count')).recording_count, 6);
  await page.getByRole('button', { name: 'Delete all' }).click();
  await dialog.getByRole('button', { name: 'Delete 2 recordings' }).click();
  const done = page.getByRole('dialog', { name: '2 recordings deleted' });
  await done.getByRole('button', { name: 'Close' }).click();
  await page.getByText('Nothing matches').waitFor();
  assert.equal((await api('/api/count')).recording_count, 4);
});
