/** A recording of four hours with 100,000 rows for the inspector, and how long the main thread is held up by its viewer. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const HOURS = 4;
export const ROWS = 100_000;
const LENGTH_MS = HOURS * 3_600_000;
const START = 1_795_000_000_000;
/** Of a hundred rows: what people did, what the console says, and the rest asks the network. */
const [DEEDS, MESSAGES] = [20, 40];
/** A page is described anew as often as recorders do. */
const SNAPSHOT_MS = 600_000;

const element = (id, tagName, childNodes = [], attributes = {}) => ({
  type: 2,
  id,
  tagName,
  attributes,
  childNodes,
});

function snapshot(at) {
  const buttons = Array.from({ length: 200 }, (_, i) =>
    element(10 + 2 * i, 'button', [{ type: 3, id: 11 + 2 * i, textContent: `Button ${i}` }]),
  );
  const html = element(2, 'html', [element(3, 'head'), element(4, 'body', buttons)]);
  const node = { type: 0, id: 1, childNodes: [html] };
  return [
    {
      type: 4,
      timestamp: at,
      data: { href: `https://shop.example/page/${at - START}`, width: 1200, height: 700 },
    },
    { type: 2, timestamp: at, data: { node, initialOffset: { left: 0, top: 0 } } },
  ];
}

function row(i, at) {
  const kind = i % 100;
  if (kind < DEEDS) {
    const data = { source: 2, type: 2, id: 10 + 2 * (i % 200), x: 5, y: 5 };
    return { type: 3, timestamp: at, data };
  }
  if (kind < DEEDS + MESSAGES) {
    const level = ['log', 'info', 'warn', 'error', 'debug'][i % 5];
    const payload = { level, payload: [JSON.stringify(`message ${i} of a page that says much`)], trace: [] };
    return { type: 6, timestamp: at, data: { plugin: 'rrweb/console@1', payload } };
  }
  const request = {
    name: `https://api.shop.example/v1/items/${i}?page=${i % 9}`,
    entryType: 'resource',
    initiatorType: 'fetch',
    method: 'GET',
    status: i % 50 === 0 ? 500 : 200,
    timestamp: at,
    startTime: at - START,
    endTime: at - START + 80,
    duration: 80,
    transferSize: 2_000,
  };
  return { type: 6, timestamp: at, data: { plugin: 'rrweb/network@1', payload: { requests: [request] } } };
}

/** Its events, in order of time. */
export function longRecording() {
  const events = [];
  for (let at = 0; at < LENGTH_MS; at += SNAPSHOT_MS) events.push(...snapshot(START + at));
  for (let i = 0; i < ROWS; i++) events.push(row(i, START + 10 + Math.floor((i * (LENGTH_MS - 20)) / ROWS)));
  return events.sort((a, b) => a.timestamp - b.timestamp);
}

/** To be run before the page: notes tasks that hold up the main thread. */
export function noteLongTasks() {
  globalThis.longTasks = [];
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) globalThis.longTasks.push(duration);
  }).observe({ type: 'longtask', buffered: true });
}

const SETTLE_MS = 250;

/**
 * Does what viewers do with an inspector that is full, and returns the longest task of each in milliseconds: of several
 * tries the median, and 50 where none was long enough to be told of.
 */
export async function interactions(page, tries = 3) {
  const found = {};
  const measure = async (name, act) => {
    const times = [];
    for (let i = 0; i < tries; i++) {
      await page.waitForTimeout(SETTLE_MS);
      await page.evaluate(() => {
        globalThis.longTasks.length = 0;
      });
      await act(i);
      await page.waitForTimeout(SETTLE_MS);
      times.push(await page.evaluate(() => Math.max(50, ...globalThis.longTasks)));
    }
    found[name] = times.sort((a, b) => a - b)[tries >> 1];
  };
  const tab = (name) => page.getByRole('tab', { name }).click();
  const list = () => page.locator('.rows');
  const find = () => page.getByRole('searchbox');
  const scroll = (share) =>
    list().evaluate((node, part) => {
      node.dispatchEvent(new WheelEvent('wheel'));
      node.scrollTop = node.scrollHeight * part;
    }, share);
  for (const name of ['Network', 'Console', 'Errors', 'Events']) {
    await measure(`show ${name}`, async (i) => {
      if (i > 0) await tab(name === 'Network' ? 'Info' : 'Network');
      await page.waitForTimeout(SETTLE_MS);
      await page.evaluate(() => {
        globalThis.longTasks.length = 0;
      });
      await tab(name);
    });
    await measure(`scroll ${name}`, (i) => scroll(0.2 + 0.3 * i));
    await measure(`search ${name}`, async (i) => {
      await find().fill('');
      await page.waitForTimeout(SETTLE_MS);
      await find().pressSequentially(['a', '1', 's'][i % 3]);
    });
    await find().fill('');
    await scroll(0.5);
    await measure(`open a row of ${name}`, (i) =>
      list()
        .locator('.row')
        .nth(3 + i)
        .click(),
    );
  }
  const bar = page.getByRole('slider', { name: 'Position' });
  const { width } = await bar.boundingBox();
  await measure('point at the timeline', (i) =>
    bar.hover({ position: { x: width * (0.2 + 0.2 * i), y: 20 } }),
  );
  await measure('jump', (i) => bar.click({ position: { x: width * (0.3 + 0.2 * i), y: 20 } }));
  await measure('pause and play', () => page.keyboard.press('Space'));
  await measure('filter', (i) =>
    page
      .getByRole('group', { name: 'Show' })
      .getByRole('button')
      .nth(i % 3)
      .click(),
  );
  return found;
}

/** Of all that viewers do the one that holds up the main thread longest, in the app with the real server. */
export async function longestTask() {
  const { launch, openFiles } = await import('../e2e/browser.mjs');
  const dir = mkdtempSync(join(tmpdir(), 'reelcase-long-'));
  const file = join(dir, 'long.json');
  writeFileSync(file, JSON.stringify(longRecording()));
  const server = await openFiles([file]);
  const browser = await launch();
  try {
    const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
    await page.addInitScript(noteLongTasks);
    await page.goto(server.login);
    await page.goto(`${server.url}/recordings`);
    await page.click('a[data-row]');
    await page.waitForSelector('.stage[aria-busy=false] iframe:not(.hidden)');
    await page.keyboard.press('Space');
    await page.waitForFunction(
      () => document.querySelector('.count')?.textContent?.includes('…') === false,
      null,
      { timeout: 120_000 },
    );
    const all = Object.entries(await interactions(page, 5)).sort(([, a], [, b]) => b - a);
    for (const [name, ms] of all) console.error(`  ${name}: ${ms.toFixed(0)}`);
    const [name, ms] = all[0];
    return { name, ms };
  } finally {
    await browser.close();
    await server.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}
