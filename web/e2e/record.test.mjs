import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { eventually, launch, serve } from './browser.mjs';
import { replayedText } from './watch.mjs';

const shots = process.env.SCREENSHOTS;

let server;
let browser;
let context;

before(async () => {
  server = await serve();
  browser = await launch();
  context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

async function shoot(page, name) {
  if (shots) await page.screenshot({ path: join(shots, `${name}.png`) });
}

test('a newcomer records the playground with real posthog-js and watches it', async () => {
  const page = await context.newPage();
  await page.goto(server.login);
  assert.equal(new URL(page.url()).searchParams.get('token'), null, 'the token leaves the address');
  await page.waitForSelector('text=phc_');
  await shoot(page, 'start');

  await page.goto(`${server.url}/playground`);
  await page.fill('input[name=name]', 'Grace Hopper');
  await page.fill('input[name=password]', 'correct horse battery');
  await page.click('h1');
  for (const button of await page.locator('main button:visible').all()) {
    await button.click({ timeout: 1000 }).catch(() => {});
  }
  await page.keyboard.press('Escape');
  await page.click('h1').catch(() => {});
  const id = await eventually(async () => {
    const text = (await page.textContent('#recording-id')) ?? '';
    return /^[0-9a-f-]{36}$/.test(text.trim()) && text.trim();
  }, 'a recording id');
  const api = (path) => context.request.get(`${server.url}${path}`);
  await eventually(async () => (await api(`/api/recordings/${id}`)).ok(), 'the recording');
  await shoot(page, 'playground');
  await page.close();

  const recording = await (await api(`/api/recordings/${id}`)).json();
  assert.ok(recording.full_snapshot_count >= 1);
  assert.ok(recording.click_count >= 1, 'clicks are counted');
  const lines = await (await api(`/api/recordings/${id}/export?format=jsonl`)).text();
  assert.ok(!lines.includes('correct horse battery'), 'passwords are not recorded');

  const watch = await context.newPage();
  const errors = [];
  watch.on('pageerror', (error) => errors.push(String(error)));
  await watch.goto(`${server.url}/recordings/${id}?t=2`);
  const text = await eventually(() => replayedText(watch), 'the replayed page');
  assert.ok(text.includes('Playground'), `the player shows the recorded page, found: ${text.slice(0, 200)}`);
  await shoot(watch, 'recording');
  assert.deepEqual(errors, []);

  await watch.goto(`${server.url}/recordings`);
  await watch.waitForSelector('text=/playground/i');
  await shoot(watch, 'recordings');
});

test('nothing but capture answers without the token', async () => {
  const stranger = await browser.newContext();
  for (const path of ['/api/recordings', '/api/info', '/metrics', '/api/doctor']) {
    assert.equal((await stranger.request.get(`${server.url}${path}`)).status(), 401, path);
  }
  assert.equal((await stranger.request.get(`${server.url}/health`)).status(), 200);
  assert.equal((await stranger.request.get(`${server.url}/static/array.js`)).status(), 200);
  assert.equal((await stranger.request.get(`${server.url}/static/unknown.js`)).status(), 404);
  await stranger.close();
});
