// A person in the shop, and what the shop shows.

import { PATIENCE_MS } from './browser.mjs';

/**
 * The text that a document shows: words as they are read and what is in its fields, with what recorders keep out
 * written the way they write it. Runs in the page and in the replay; there, what was masked is masked already.
 */
export function readShown(isReplay) {
  const frame = isReplay ? document.querySelector('iframe') : null;
  const root = isReplay ? frame?.contentDocument : document;
  if (!root?.body) return '';
  const star = (text) => (isReplay ? text : text.replace(/\S/g, '*'));
  const walker = root.createTreeWalker(root.body, NodeFilter.SHOW_TEXT);
  const out = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const parent = node.parentElement;
    const words = node.data.replace(/\s+/g, ' ').trim();
    const isText = !/^(SCRIPT|NOSCRIPT|STYLE|TEXTAREA|OPTION)$/.test(parent.tagName);
    if (words === '' || !isText || parent.closest('.ph-no-capture') || !parent.checkVisibility()) continue;
    out.push(parent.closest('.ph-mask') ? star(words) : words);
  }
  for (const field of root.querySelectorAll('input, textarea')) {
    const isBox = field.type === 'checkbox';
    const value = isReplay ? field.value : '*'.repeat(field.value.length);
    out.push(`[${field.name || field.id}=${isBox ? field.checked : value}]`);
  }
  return out.join(' | ');
}

/** Waits until the recorder of a page is at work. */
export async function untilRecorded(page) {
  await page.waitForFunction(
    () =>
      window.posthog?.sessionRecordingStarted?.() &&
      (window.rrweb?.record ?? window.__PosthogExtensions__?.rrweb?.record),
    undefined,
    { timeout: PATIENCE_MS },
  );
  await page.waitForTimeout(400);
}

/** Notes what a page shows. Nothing may change on it shortly before and after. */
export async function note(page, name) {
  await page.waitForTimeout(250);
  const moment = await page.evaluate(
    ([source, label]) => ({ name: label, at: Date.now(), text: Function(`return (${source})(false)`)() }),
    [readShown.toString(), name],
  );
  await page.waitForTimeout(1_000);
  return moment;
}

/** What `goShopping` does, as a recording must count it. */
export const TRUTH = {
  clicks: 13,
  // Letters typed, and one box ticked.
  keypresses: 'lantern'.length + 'Ada Lovelace'.length + 'hunter22'.length + 'no red ones'.length + 1,
  consoleErrors: 2,
  paths: ['/', '/product/storm', '/checkout'],
};

/**
 * Walks through the shop like a person. Answers the moments that were noted on the way.
 *
 * `untilKept(session, time)` is waited for before a page is left, and is to wait until what happened by then has
 * arrived. posthog-js takes what is due out of its queue and compresses it beside the page; what it has in hand when the
 * page ends is never sent, and the requests of old releases end with the page. What happens after that, up to the end
 * of the page, goes with a beacon.
 */
export async function goShopping(page, site, untilKept = async () => {}) {
  const moments = [];
  await page.goto(site);
  await untilRecorded(page);
  moments.push(await note(page, 'home'));
  await page.click('#sort');
  await page.click('[data-add=oil]');
  await page.click('#search');
  await page.keyboard.type('lantern', { delay: 25 });
  moments.push(await note(page, 'searched'));
  await page.click('#good-storm a');
  await page.locator('#reviews').hover();
  await page.mouse.wheel(0, 400);
  await page.click('[data-add=storm]');
  const askedForCoupon = Date.now();
  await page.click('#coupon');
  moments.push(await note(page, 'product'));
  await untilKept(await sessionOf(page), askedForCoupon);
  await page.click('#to-checkout');
  await page.waitForURL('**/checkout');
  await untilRecorded(page);
  await page.click('[name=name]');
  await page.keyboard.type('Ada Lovelace', { delay: 25 });
  await page.click('[name=password]');
  await page.keyboard.type('hunter22', { delay: 25 });
  await page.click('[name=wishes]');
  await page.keyboard.type('no red ones', { delay: 25 });
  await page.click('[name=gift]');
  moments.push(await note(page, 'order'));
  const paid = Date.now();
  await page.click('#pay');
  moments.push(await note(page, 'paid'));
  await untilKept(await sessionOf(page), paid);
  await page.click('h1');
  return moments;
}

/** The id of the session that a page is in. */
export const sessionOf = (page) => page.evaluate(() => window.posthog.get_session_id());
