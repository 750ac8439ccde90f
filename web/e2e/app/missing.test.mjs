// What of a page was not loaded is named, whether nobody asked for it or it did not come.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { launch, serve } from '../browser.mjs';
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
