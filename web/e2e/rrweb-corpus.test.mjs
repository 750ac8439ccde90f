// Every recording of the rrweb corpus, converted by the real command, plays in the real player to its end.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { binary, eventually, launch, openFiles } from './browser.mjs';
import { pathOf, recordings } from './recordings.mjs';
import { shoot } from './watch.mjs';

/** Recordings without anything to draw, and what the player says then. */
const NOTHING_TO_DRAW = {
  'derived/no-full-snapshot.json': 'No full snapshot in this recording',
  'derived/only-custom.json': 'No full snapshot in this recording',
  'derived/single-event.json': 'No full snapshot in this recording',
};
/** Files that hold damage on purpose: the command says so by its exit code, and what is whole plays. */
const DAMAGED = ['derived/lines-with-damage.jsonl', 'derived/truncated.json'];

/** Longest that a machine with much else to do may take for one step. */
const WAIT_MS = 60_000;

const idOf = (path) => path.replaceAll(/[^A-Za-z0-9]/g, '-').slice(0, 70);

let server;
let browser;
let context;
let dir;

function convert(path) {
  const output = join(dir, `${idOf(path)}.reel`);
  const args = ['convert', pathOf(path), output, '--id', idOf(path)];
  return new Promise((resolve, reject) => {
    execFile(binary, args, (error, _stdout, stderr) => {
      const code = error?.code ?? 0;
      if (code === (DAMAGED.includes(path) ? 1 : 0)) resolve(output);
      else reject(new Error(`${path}: the command ended with ${code}: ${stderr}`));
    });
  });
}

before(async () => {
  dir = mkdtempSync(join(tmpdir(), 'reelcase-corpus-'));
  const files = [];
  for (const path of recordings()) files.push(await convert(path));
  server = await openFiles(files);
  browser = await launch();
  context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  await context.request.get(server.login);
});

after(async () => {
  await browser?.close();
  await server?.stop();
  if (dir) rmSync(dir, { recursive: true, force: true });
});

/** Opens a page that notes what goes wrong in it. */
async function watchedPage() {
  const page = await context.newPage();
  const wrong = [];
  page.on('pageerror', (error) => wrong.push(`page error: ${error}`));
  page.on('console', (message) => {
    // The browser reports what the policy stopped, and what the recorded page itself had wrong.
    const isRecorded =
      /Content Security Policy|blocked by CSP|sandboxed|ERR_INVALID_URL|^Error: <\w+> attribute/i.test(
        message.text(),
      );
    if (message.type() === 'error' && !isRecorded) wrong.push(`console: ${message.text()}`);
  });
  page.on('requestfinished', (request) => {
    const url = new URL(request.url());
    if (/^https?:/.test(url.protocol) && url.origin !== server.url) wrong.push(`call: ${request.url()}`);
  });
  page.on('requestfailed', (request) => {
    const reason = request.failure()?.errorText ?? '';
    // Going to another moment leaves downloads behind.
    if (!/csp|BLOCKED_BY|ERR_ABORTED/i.test(reason)) wrong.push(`failed call: ${request.url()} ${reason}`);
  });
  return { page, wrong };
}

async function play(path) {
  const { page, wrong } = await watchedPage();
  const id = idOf(path);
  const reply = await context.request.get(`${server.url}/api/recordings/${id}`);
  assert.equal(reply.status(), 200, `${path} is listed`);
  const nothing = NOTHING_TO_DRAW[path];
  if (nothing) {
    await page.goto(`${server.url}/recordings/${id}`);
    await page.waitForSelector(`text=${nothing}`);
  } else {
    await page.goto(`${server.url}/recordings/${id}`);
    await page.waitForSelector('.player [aria-busy=false]', { timeout: WAIT_MS });
    await drawn(page, path);
    await shoot(page, `${id}-start`);
    const slider = page.getByRole('slider');
    const { width } = await slider.boundingBox();
    await slider.click({ position: { x: width - 0.5, y: 20 } });
    await page.waitForSelector('.player [aria-busy=false]', { timeout: WAIT_MS });
    await page.waitForSelector('button[aria-label="Watch again"]:enabled', { timeout: WAIT_MS });
    await drawn(page, path);
    const [now, max] = [
      await slider.getAttribute('aria-valuenow'),
      await slider.getAttribute('aria-valuemax'),
    ];
    assert.equal(now, max, `${path} plays to its end`);
    await shoot(page, `${id}-end`);
  }
  assert.deepEqual(wrong, [], path);
  await page.close();
}

/** Waits until the frame holds a page with something in it. */
function drawn(page, path) {
  return eventually(async () => {
    const frame = page.frames().find((item) => item.url().startsWith('data:'));
    const count = () =>
      document.querySelector('.scene iframe')?.contentDocument?.querySelectorAll('*').length;
    return ((await frame?.evaluate(count).catch(() => 0)) ?? 0) > 1;
  }, `${path} to be drawn`);
}

describe('every recording of the corpus plays to its end', { concurrency: 3 }, () => {
  for (const path of recordings()) test(path, () => play(path));
});
