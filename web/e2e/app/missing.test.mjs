// What of a page was not loaded is named, whether nobody asked for it or it did not come; so is a page that is missing.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { eventually, launch, PATIENCE_MS, serve } from '../browser.mjs';
import { h, Recording, t, uploadOf } from '../hostile/recording.mjs';
import { openAt, openViewer, shoot } from '../watch.mjs';

test('pictures and style sheets that are not in the picture are named', async () => {
  const server = await serve();
  const browser = await launch();
  try {
    const at = (path) => `http://site.test:${new URL(server.url).port}/${path}`;
    const picture =
      'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
    const body = [
      h('h1', {}, t('Shop')),
      h('img', { src: at('camera.png') }),
      h('img', { src: picture }),
      h('a', { href: at('cart') }, t('cart')),
    ];
    const head = [
      h('link', { rel: 'stylesheet', href: at('shop.css') }),
      h('link', { rel: 'preload', href: at('font.woff2') }),
    ];
    const recording = new Recording().snapshot(body, head);
    recording
      .after(2000)
      .add(5, [h('img', { src: at('late.png') })])
      .end();
    const reply = await fetch(`${server.url}/s/`, {
      method: 'POST',
      body: uploadOf('missing', recording.events),
    });
    assert.equal(reply.status, 200);
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
    const page = await openViewer(context);
    await page.goto(server.login);
    await openAt(page, server, 'missing', 500);
    await page.getByText('2 not loaded').click();
    await page.getByText('Nothing is fetched from the recorded site').waitFor();
    const names = () => page.locator('.missing li').allInnerTexts();
    assert.deepEqual((await names()).sort(), [at('camera.png'), at('shop.css')]);
    await shoot(page, 'missing-assets');
    await openAt(page, server, 'missing', 3000);
    await page.getByText('3 not loaded').waitFor();
    await page.getByLabel('Load remote assets').check();
    await page.getByText('3 not loaded').click();
    await page.getByText('These did not come from the recorded site').waitFor();
    assert.deepEqual((await names()).sort(), [at('camera.png'), at('late.png'), at('shop.css')]);
  } finally {
    await browser.close();
    await server.stop();
  }
});

/** Somebody moved, clicked and had an error, on a page that was never sent. */
function withoutPage() {
  const start = Date.now() - 30_000;
  const event = (ms, type, data) => ({ type, timestamp: start + ms, data });
  const click = (ms, x, y) => event(ms, 3, { source: 2, type: 2, id: 8, x, y });
  const payload = { level: 'error', payload: ['"no stock"'], trace: [] };
  return [
    event(0, 4, { href: 'http://site.test/cart', width: 800, height: 600 }),
    event(900, 3, { source: 1, positions: [{ x: 90, y: 80, id: 8, timeOffset: 0 }] }),
    click(3000, 120, 90),
    event(4000, 6, { plugin: 'rrweb/console@1', payload }),
    click(9000, 300, 200),
  ];
}

/** Another site, with a page in which there is a frame. */
async function siteWith() {
  const site = createServer((_, reply) => {
    reply.setHeader('content-type', 'text/html');
    reply.end(`<iframe src="${site.shows}" width="1000" height="500"></iframe>`);
  });
  await new Promise((done) => site.listen(0, '127.0.0.1', done));
  return site;
}

test('a recording without any full snapshot says so wherever it is shown, and shows what there is', async () => {
  const server = await serve();
  const browser = await launch();
  const site = await siteWith();
  const dir = mkdtempSync(join(tmpdir(), 'reelcase-missing-'));
  const authorization = `Bearer ${server.token}`;
  try {
    const body = uploadOf('pageless', withoutPage());
    assert.equal((await fetch(`${server.url}/s/`, { method: 'POST', body })).status, 200);
    const share = async (terms) => {
      const reply = await fetch(`${server.url}/api/recordings/pageless/shares`, {
        method: 'POST',
        headers: { authorization, 'content-type': 'application/json' },
        body: JSON.stringify(terms),
      });
      return reply.json();
    };
    const url = `${server.url}/api/recordings/pageless/export?format=html`;
    const exported = await fetch(url, { headers: { authorization } });
    writeFileSync(join(dir, 'pageless.html'), Buffer.from(await exported.arrayBuffer()));
    const origin = `http://help.test:${site.address().port}`;
    site.shows = (await share({ embed_origins: [origin] })).embed_url;
    const whole = { has_inspector: true, has_console: true, has_network: true };
    const places = [
      { name: 'app', address: `${server.url}/recordings/pageless`, hasList: true },
      { name: 'link', address: (await share(whole)).url, hasList: true },
      { name: 'bare-link', address: (await share({})).url, hasList: false },
      { name: 'frame', address: origin, hasList: false },
      { name: 'file', address: pathToFileURL(join(dir, 'pageless.html')).href, hasList: true },
    ];
    for (const { name, address, hasList } of places) {
      const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
      page.setDefaultTimeout(PATIENCE_MS);
      const errors = [];
      page.on('pageerror', (error) => errors.push(String(error)));
      if (name === 'app') await page.goto(server.login);
      await page.goto(address);
      const player = name === 'frame' ? page.frameLocator('iframe').first() : page;
      const said = player.getByRole('alert').filter({ hasText: 'full snapshot' });
      await said.getByText(hasList ? 'listed in the inspector' : 'stands on the timeline').waitFor();
      const second = async () => Number(await player.getByRole('slider').getAttribute('aria-valuenow'));
      await player.locator('svg .tick.click[d*=M]').waitFor({ state: 'attached' });
      if (hasList) {
        assert.match((await player.locator('.row').allTextContents()).join(), /no stock/);
        await player.locator('.row').filter({ hasText: 'Click at 120, 90' }).click();
        await eventually(async () => (await second()) === 3, `${name}: the moment of the click`);
      } else assert.equal(await player.getByText('inspector').count(), 0);
      for (const colorScheme of ['dark', 'light']) {
        await page.emulateMedia({ colorScheme });
        await shoot(page, `pageless-${name}-${colorScheme}`);
      }
      assert.deepEqual(errors, [], name);
      await page.context().close();
    }
  } finally {
    await browser.close();
    await server.stop();
    site.close();
    rmSync(dir, { recursive: true });
  }
});
