// Scheduled exports: made, watched and run from the settings, and what goes wrong said in plain words.

import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { eventually, launch, PATIENCE_MS, serve } from '../browser.mjs';
import { seed } from '../seed.mjs';
import { openViewer, shoot } from '../watch.mjs';

let server;
let browser;
let page;
const data = mkdtempSync(join(tmpdir(), 'reelcase-exports-'));
const folder = join(data, 'exports');

before(async () => {
  server = await serve({ data });
  browser = await launch();
  const context = await browser.newContext({ viewport: { width: 1200, height: 800 } });
  await seed(server.url, 12);
  page = await openViewer(context);
  page.setDefaultTimeout(PATIENCE_MS);
  await page.goto(server.login);
});

after(async () => {
  await browser?.close();
  await server?.stop();
  rmSync(data, { recursive: true, force: true });
});

const card = (name) => page.getByRole('listitem', { name });

test('an export is made, runs by itself, and runs again when it is asked to', async () => {
  await page.goto(`${server.url}/settings`);
  await page.getByRole('link', { name: 'Scheduled exports' }).click();
  await page.getByText('Nothing is exported by itself yet').waitFor();
  await page.getByRole('button', { name: 'New export' }).click();
  await page.locator('#export-name').fill('nightly');
  await page.locator('#export-to').fill('../outside');
  await page.locator('#export-format').selectOption('jsonl-gzip');
  await page.locator('#export-filter').fill('clicks_min=1');
  await page.getByRole('button', { name: 'Make it' }).click();
  const flaw = page.getByText("Write a folder below the server's folder of exports");
  await flaw.waitFor();
  await page.locator('#export-to').fill('backup');
  assert.equal(await flaw.count(), 0, 'what was wrong is not said of what is written now');
  await shoot(page, 'exports-form');
  await page.getByRole('button', { name: 'Make it' }).click();
  await card('nightly').getByText('12 recordings exported').waitFor();
  assert.equal(existsSync(join(folder, 'backup/manifest.jsonl')), true);
  assert.equal(readdirSync(join(folder, 'backup')).includes('phc_seed'), true);
  await card('nightly').getByText('Well').waitFor();
  await card('nightly').getByRole('button', { name: 'Run now' }).click();
  await card('nightly').getByText('0 recordings exported, 0 B; 12 unchanged').waitFor();
  await shoot(page, 'exports-well');
});

test('what goes wrong is said where one looks, and is over when the cause is', async () => {
  writeFileSync(join(folder, 'taken'), 'a file where the folder was to be');
  await page.getByRole('button', { name: 'New export' }).click();
  await page.locator('#export-name').fill('tables');
  await page.locator('#export-to').fill('taken');
  await page.locator('#export-format').selectOption('parquet');
  await page.getByRole('button', { name: 'Make it' }).click();
  const tables = card('tables');
  await tables.getByText('Failed').waitFor();
  const said = await tables.getByText('cannot make').textContent();
  assert.match(said, /taken/);
  for (const colorScheme of ['dark', 'light']) {
    await page.emulateMedia({ colorScheme });
    await shoot(page, `exports-failed-${colorScheme}`);
  }
  rmSync(join(folder, 'taken'));
  await tables.getByRole('button', { name: 'Run now' }).click();
  await tables.getByText('12 recordings exported').waitFor();
  assert.equal(await tables.getByText('Failed').count(), 0);
  assert.equal(existsSync(join(folder, 'taken/tables.jsonl')), true);
});

test('what a form has no place for is said of the last run', async () => {
  await page.getByRole('button', { name: 'New export' }).click();
  await page.locator('#export-name').fill('requests');
  await page.locator('#export-to').fill('requests');
  await page.locator('#export-format').selectOption('har');
  await page.getByRole('button', { name: 'Make it' }).click();
  await card('requests')
    .getByText(/12 recordings exported, .*; 0 unchanged; left out: \d+ events that are no requests/)
    .waitFor();
  await shoot(page, 'exports-left-out');
  page.once('dialog', (dialog) => void dialog.accept());
  await card('requests').getByRole('button', { name: 'Delete' }).click();
  await eventually(async () => (await card('requests').count()) === 0, 'the export to be gone');
});

test('one that is off waits, and one that is deleted leaves what it exported', async () => {
  await card('nightly').getByRole('button', { name: 'Change' }).click();
  await page.getByRole('checkbox', { name: 'On' }).uncheck();
  await page.locator('#export-interval').selectOption({ label: 'every week' });
  await page.getByRole('button', { name: 'Save' }).click();
  await card('nightly').getByText('Off').waitFor();
  await card('nightly').getByText('every week').waitFor();
  page.once('dialog', (dialog) => void dialog.accept());
  await card('nightly').getByRole('button', { name: 'Delete' }).click();
  await eventually(async () => (await card('nightly').count()) === 0, 'the export to be gone');
  assert.equal(existsSync(join(folder, 'backup/manifest.jsonl')), true);
  await page.setViewportSize({ width: 390, height: 800 });
  await shoot(page, 'exports-phone');
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(overflow <= 0, `the page is ${overflow} pixels wider than the phone`);
});
