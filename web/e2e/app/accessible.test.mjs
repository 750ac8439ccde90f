import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { launch, PATIENCE_MS, serve } from '../browser.mjs';
import { captures, send } from '../corpus.mjs';
import { shoot } from '../watch.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const capture = captures().find(({ id }) => id === 'shop-three-windows');
const recording = capture.session_ids[0];

/** Every page, and the states of them that look different. `ready` is what to wait for. */
const PAGES = [
  { name: 'the list', path: '/recordings', ready: 'a[data-row]' },
  { name: 'the list with nothing in it', path: '/recordings?person=nobody', ready: 'text=Nothing matches' },
  { name: 'a recording', path: `/recordings/${recording}?t=20`, ready: '[aria-busy=false] iframe' },
  {
    name: 'the keyboard help',
    path: `/recordings/${recording}`,
    ready: '[aria-busy=false] iframe',
    press: '?',
  },
  { name: 'the collections', path: '/collections', ready: 'h1' },
  { name: 'a missing recording', path: '/recordings/none', ready: 'text=No such recording' },
  { name: 'first steps', path: '/start', ready: 'text=phc_' },
  { name: 'the doctor', path: '/doctor', ready: 'h2' },
  { name: 'the settings', path: '/settings', ready: '#setting-recording' },
  { name: 'the playground', path: '/playground', ready: 'h1' },
];

let server;
let browser;

before(async () => {
  server = await serve();
  browser = await launch();
  await send(server.url, capture);
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

/** What axe finds that keeps somebody out, on the page and not in what is replayed. */
async function violations(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const options = { iframes: false, resultTypes: ['violations'] };
    const { violations } = await globalThis.axe.run(document, options);
    return violations.map(({ id, impact, nodes }) => ({
      id,
      impact,
      where: nodes.map((node) => `${node.target.join(' ')}: ${node.failureSummary?.split('\n')[1]?.trim()}`),
    }));
  });
  return found.filter(({ impact }) => impact === 'serious' || impact === 'critical');
}

/** Looks at everything that the inspector shows, with the details of a row where there are rows. */
async function eachView(page, look) {
  for (const name of ['Console', 'Network', 'Errors', 'Performance', 'DOM', 'Info']) {
    await page.getByRole('tab', { name }).click();
    if (name === 'Info') await page.getByRole('heading', { name: 'Figures' }).waitFor();
    else if (name === 'DOM') await page.getByRole('treeitem').first().click();
    else {
      // A long wait has no details, and which row is the first depends on the moment.
      await page.locator('.row').filter({ hasNotText: 'did not change' }).first().click();
      await page.getByRole('region', { name: 'Details' }).waitFor();
    }
    await look(`the inspector: ${name}`);
  }
}

for (const [colorScheme, kind, viewport] of [
  ['light', 'a desktop', { width: 1280, height: 800 }],
  ['dark', 'a phone', { width: 390, height: 844 }],
]) {
  test(`no page keeps anybody out: ${colorScheme}, on ${kind}`, async () => {
    const isPhone = viewport.width < 500;
    const context = await browser.newContext({
      colorScheme,
      viewport,
      hasTouch: isPhone,
      isMobile: isPhone,
      bypassCSP: true,
      reducedMotion: 'reduce',
    });
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    const found = [];
    const look = async (name) => {
      for (const violation of await violations(page)) found.push({ name, ...violation });
    };
    await page.goto(`${server.url}/recordings`);
    await page.waitForSelector('input[name=token]');
    await look('the locked door');
    await page.goto(server.login);
    for (const { name, path, ready, press } of PAGES) {
      await page.goto(server.url + path);
      await page.waitForSelector(ready);
      if (press) {
        await page.keyboard.press(press);
        await page.waitForSelector('dialog[open]');
      }
      if (path.includes('t=20')) await page.waitForSelector('.row');
      await look(name);
      if (path.includes('t=20')) {
        await eachView(page, look);
        await page.getByRole('button', { name: 'Share' }).click();
        await page.waitForSelector('dialog[open]');
        await look('the links to a recording');
        await shoot(page, `share-dialog-${colorScheme}-${viewport.width}`);
        await page.getByRole('button', { name: 'Close' }).click();
      }
      const ends = await page
        .locator('header nav[aria-label=Main] a')
        .evaluateAll((links) => links.map((link) => link.getBoundingClientRect().right));
      if (Math.max(0, ...ends) > viewport.width)
        found.push({
          name,
          id: 'out of sight',
          where: `the last place to go ends at ${Math.max(...ends)} px`,
        });
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      if (width > viewport.width) found.push({ name, id: 'wider than the screen', where: `${width} px` });
    }
    await context.close();
    assert.deepEqual(found, []);
  });
}
