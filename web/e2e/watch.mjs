import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { eventually, PATIENCE_MS } from './browser.mjs';
import { readShown } from './shop.mjs';

const shots = process.env.SCREENSHOTS;

/** Saves what a page looks like, where SCREENSHOTS names a folder. */
export async function shoot(page, name) {
  if (!shots) return;
  mkdirSync(shots, { recursive: true });
  await page.screenshot({ path: join(shots, `${name}.png`) });
}

/** The text that the player shows now. */
export async function replayedText(page) {
  const frame = page.frames().find((item) => item.url().startsWith('data:'));
  const source = readShown.toString();
  return (
    (await frame?.evaluate((text) => Function(`return (${text})(true)`)(), source).catch(() => '')) ?? ''
  );
}

/** The text that the player shows as soon as it is the wanted one; the last one seen where it never is. */
export async function textOnceIt(page, isWanted, waitMs = 20_000) {
  const until = Date.now() + waitMs;
  for (;;) {
    const shown = await replayedText(page);
    if (isWanted(shown) || Date.now() > until) return shown;
    await page.waitForTimeout(100);
  }
}

/** When the replay of a recording starts, by the clock of the page. */
export async function startOf(request, server, id) {
  const reply = await request.get(`${server.url}/api/recordings/${id}/blocks`);
  assert.equal(reply.status(), 200, `blocks of ${id}`);
  const { blocks } = await reply.json();
  return Math.min(...blocks.filter(({ kind }) => kind === 'lines').map(({ start_ms }) => start_ms));
}

/** A page in which players stop as soon as their first frame stands, as no person is quick enough to. */
export async function openViewer(context) {
  const page = await context.newPage();
  await page.addInitScript(() => {
    const look = () => {
      document.querySelector('button[aria-label="Pause"]:enabled')?.click();
      requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  });
  return page;
}

/** Opens the player at a time, in a page of `openViewer`, and waits until it has stopped there. */
export async function openAt(page, server, id, offsetMs) {
  await page.goto(`${server.url}/recordings/${id}?t=${offsetMs / 1000}`);
  await page.waitForSelector('.player [aria-busy=false]', { timeout: PATIENCE_MS });
  await page.waitForSelector('button[aria-label="Play"]:enabled', { timeout: PATIENCE_MS });
}

/** Checks that the player shows at each moment what the page showed then. */
export async function assertReplays(context, server, id, moments, prefix) {
  const page = await openViewer(context);
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  const start = await startOf(context.request, server, id);
  for (const { name, at, text } of moments) {
    await openAt(page, server, id, at - start);
    const found = await textOnceIt(page, (shown) => shown === text);
    await shoot(page, `${prefix}-${name}`);
    assert.equal(found, text, `${prefix}: the player at "${name}" shows what the page showed`);
  }
  assert.deepEqual(errors, [], `${prefix}: the player has no errors`);
  await page.close();
}

/** A recording's figures, as soon as `isComplete` says that all has arrived. */
export function recordingWhen(request, server, id, isComplete) {
  let last;
  const probe = async () => {
    const reply = await request.get(`${server.url}/api/recordings/${id}`);
    last = reply.ok() ? await reply.json() : undefined;
    return last && isComplete(last) && last;
  };
  return eventually(probe, `recording ${id}`, PATIENCE_MS).catch((error) => {
    throw new Error(`${error.message}; last seen ${JSON.stringify(last)}`);
  });
}

/** For `goShopping`: waits until what was recorded up to a time is there. */
export const untilKept = (request, server) => (id, time) =>
  recordingWhen(request, server, id, ({ end_ms }) => end_ms >= time);

/** The lines of a recording: `[window, event]` each. */
export async function linesOf(request, server, id) {
  const reply = await request.get(`${server.url}/api/recordings/${id}/export?format=jsonl`);
  assert.equal(reply.status(), 200, `export of ${id}`);
  return (await reply.text())
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}
