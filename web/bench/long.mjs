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

/** How long to wait for what an interaction sets going. */
const SETTLE_MS = 250;
const TASKS = 'disabled-by-default-devtools.timeline';

/**
 * The tasks of main threads while something is done, longest first, in milliseconds of the processor: what else the
 * machine does meanwhile counts for nothing.
 */
export async function tasksDuring(page, act) {
  const browser = page.context().browser();
  await browser.startTracing(page, { categories: ['-*', TASKS] });
  await act();
  await page.waitForTimeout(SETTLE_MS);
  const { traceEvents } = JSON.parse((await browser.stopTracing()).toString());
  const threadOf = ({ pid, tid }) => `${pid} ${tid}`;
  const isMain = ({ name, args }) => name === 'thread_name' && args.name === 'CrRendererMain';
  const mains = new Set(traceEvents.filter(isMain).map(threadOf));
  return traceEvents
    .filter((event) => event.name === 'RunTask' && mains.has(threadOf(event)))
    .map(({ tdur }) => tdur / 1000)
    .sort((a, b) => b - a);
}

/**
 * Does what viewers do with an inspector that is full, and returns the longest task of each in milliseconds: of several
 * tries the median.
 */
export async function interactions(page, tries = 3) {
  const found = {};
  const measure = async (name, act, prepare = async () => {}) => {
    const times = [];
    for (let i = 0; i < tries; i++) {
      await prepare(i);
      await page.waitForTimeout(SETTLE_MS);
      const [longest = 0] = await tasksDuring(page, () => act(i));
      times.push(longest);
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
    await measure(
      `show ${name}`,
      () => tab(name),
      (i) => tab(i === 0 ? 'Info' : 'DOM'),
    );
    await measure(`scroll ${name}`, (i) => scroll(0.2 + 0.3 * i));
    await measure(
      `search ${name}`,
      (i) => find().pressSequentially(['a', '1', 's'][i % 3]),
      () => find().fill(''),
    );
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
  await measure('point at the timeline', async (i) => {
    await bar.hover({ position: { x: width * (0.2 + 0.2 * (i % 3)), y: 20 } });
    await page.waitForSelector('.look .shown');
  });
  await measure('jump', async (i) => {
    await bar.click({ position: { x: width * (0.3 + 0.2 * (i % 3)), y: 20 } });
    await page.waitForSelector('.stage[aria-busy=false] iframe:not(.hidden)');
  });
  await measure('play', async () => {
    await page.keyboard.press('Space');
    await page.waitForTimeout(1_000);
    await page.keyboard.press('Space');
  });
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
