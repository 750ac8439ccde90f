// What people say of recordings: comments on moments, tags, pins, what is seen, and that one is deleted for good.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually, launch, PATIENCE_MS, serve } from '../browser.mjs';
import { captures, send } from '../corpus.mjs';
import { seed } from '../seed.mjs';
import { openAt, openViewer, shoot, startOf } from '../watch.mjs';

const capture = captures().find(({ id }) => id === 'shop-three-windows');
const id = capture.session_ids[0];
const other = '01930000-0000-7000-8000-000000000001';

let server;
let browser;
let context;
let page;

before(async () => {
  server = await serve();
  browser = await launch();
  context = await browser.newContext({ viewport: { width: 1440, height: 860 } });
  await Promise.all([send(server.url, capture), seed(server.url, 5)]);
  page = await openViewer(context);
  page.setDefaultTimeout(PATIENCE_MS);
  await page.goto(server.login);
  await eventually(async () => (await ids('')).length >= 6, 'all recordings to be listed');
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

async function ids(query) {
  const reply = await context.request.get(`${server.url}/api/recordings?${query}`);
  return (await reply.json()).recordings.map((row) => row.id);
}

const notes = async () => (await context.request.get(`${server.url}/api/recordings/${id}/notes`)).json();

/** Where each line of facts begins, and how much follows the text of its last one: in the page of a recording. */
function linesOfFacts(list) {
  const lines = new Map();
  for (const item of list.children) {
    const box = item.getBoundingClientRect();
    if (box.width === 0) continue;
    const range = document.createRange();
    range.selectNodeContents(item);
    const text = range.getBoundingClientRect();
    const line = lines.get(Math.round(box.top)) ?? { begins: text.left, ends: 0 };
    lines.set(Math.round(box.top), { ...line, ends: box.right - text.right });
  }
  return [...lines.values()];
}

/** Takes a picture in both colours. */
async function shootBoth(name) {
  for (const colorScheme of ['dark', 'light']) {
    await page.emulateMedia({ colorScheme });
    await shoot(page, `${name}-${colorScheme}`);
  }
}

test('a moment is commented on from the keyboard, and stands on the timeline and in the list', async () => {
  const start = await startOf(context.request, server, id);
  await openAt(page, server, id, 8_000);
  await page.getByRole('tab', { name: 'Events' }).waitFor();
  await page.keyboard.press('m');
  const field = page.getByRole('textbox', { name: 'Comment at 0:08' });
  await eventually(
    () => field.evaluate((node) => node === document.activeElement),
    'the field to have the focus',
  );
  await page.keyboard.type('The cart <b>jumps</b> here');
  await page.getByRole('textbox', { name: 'Your name' }).fill('Ada');
  await field.press('Control+Enter');
  const comment = page.getByRole('list', { name: 'Comments' }).getByRole('listitem');
  await comment.getByText('The cart <b>jumps</b> here').waitFor();
  await page.locator('.bar .said').waitFor();
  const { comments } = await notes();
  assert.deepEqual([comments[0].author, comments[0].text], ['Ada', 'The cart <b>jumps</b> here']);
  assert.ok(Math.abs(comments[0].at_ms - start - 8_000) < 1_500, `said at ${comments[0].at_ms - start} ms`);
  await shootBoth('notes-comment');
  // Elsewhere, the comment leads back, and the name is remembered.
  await page.keyboard.press('Home');
  await openAt(page, server, id, 0);
  await page.getByRole('tab', { name: 'Comments' }).click();
  assert.equal(await page.getByRole('textbox', { name: 'Your name' }).inputValue(), 'Ada');
  await comment.getByTitle('Go there').click();
  await page
    .getByRole('slider', { name: 'Position in the recording' })
    .and(page.locator('[aria-valuenow="8"]'))
    .waitFor();
  await comment.getByRole('button', { name: 'Edit' }).click();
  await comment.getByRole('textbox').fill('It is the image');
  await comment.getByRole('button', { name: 'Save' }).click();
  await comment.getByText('It is the image').waitFor();
  await comment.getByText('edited').waitFor();
});

test('a moment is tagged, with or without words, and the list finds it by that', async () => {
  await openAt(page, server, id, 5_000);
  await page.getByRole('tab', { name: 'Events' }).waitFor();
  await page.keyboard.press('m');
  await page.getByRole('textbox', { name: 'Comment at 0:05' }).waitFor();
  await page.keyboard.press('Tab');
  await page.keyboard.type('rage click, <i>slow</i>, rage click');
  await page.keyboard.press('Enter');
  // The earlier of the two.
  const moment = page.getByRole('list', { name: 'Comments' }).locator(':scope > li').first();
  const tags = moment.getByRole('list', { name: 'Tags' }).getByRole('listitem');
  await eventually(async () => (await tags.count()) === 2, 'both tags below the moment');
  assert.deepEqual(await tags.allInnerTexts(), ['<i>slow</i>', 'rage click']);
  assert.equal(await page.getByRole('combobox', { name: 'Tags of the comment' }).inputValue(), '');
  await page.locator('.bar .said[title="0:05 · <i>slow</i>, rage click"]').waitFor();
  await shootBoth('notes-moment');
  await moment.getByRole('button', { name: 'Edit' }).click();
  const typed = moment.getByRole('combobox', { name: 'Tags' });
  assert.equal(await typed.inputValue(), '<i>slow</i>, rage click');
  await shootBoth('notes-moment-edit');
  await typed.fill('');
  assert.ok(await moment.getByRole('button', { name: 'Save' }).isDisabled(), 'nothing cannot be said');
  await typed.fill('rage click');
  await moment.getByRole('button', { name: 'Save' }).click();
  await eventually(async () => (await tags.count()) === 1, 'the tag that was left');
  assert.deepEqual(await ids('tag=rage%20click'), [id]);
  await page.goto(`${server.url}/recordings?tag=rage+click`);
  const rows = page.locator('[data-row]');
  await eventually(async () => (await rows.count()) === 1, 'the recording that has the moment');
  await rows.getByText('rage click').waitFor();
  const [comment] = (await notes()).comments.filter(({ tags }) => tags.length > 0);
  await context.request.delete(`${server.url}/api/recordings/${id}/comments/${comment.id}`);
});

test('what was said leaves with a download, be it comments, tags or both', async () => {
  const said = async () => {
    await openAt(page, server, id, 0);
    await page.getByRole('list', { name: 'Tags' }).waitFor({ state: 'attached' });
    await page.getByText('More', { exact: true }).click();
    return page.locator('.actions .ending').filter({ hasText: ' with ' }).allInnerTexts();
  };
  const change = (tags) =>
    context.request.patch(`${server.url}/api/recordings/${id}/notes`, { data: { tags } });
  assert.deepEqual(await said(), ['.html with comments', '.reel with comments']);
  await change(['checkout']);
  assert.deepEqual(await said(), ['.html with comments and tags', '.reel with comments and tags']);
  await shootBoth('notes-more');
  const [comment] = (await notes()).comments;
  await context.request.delete(`${server.url}/api/recordings/${id}/comments/${comment.id}`);
  assert.deepEqual(await said(), ['.html with tags', '.reel with tags']);
  const href = await page.getByRole('link', { name: '.reel with tags' }).getAttribute('href');
  assert.match(href, /format=reel&comments=true$/);
  const data = { text: comment.text, at_ms: comment.at_ms, author: comment.author };
  await context.request.post(`${server.url}/api/recordings/${id}/comments`, { data });
  await change([]);
});

test('tags, a pin and what is seen narrow the list, by its address too', async () => {
  await openAt(page, server, id, 0);
  await page.getByRole('button', { name: '+ Tag' }).click();
  await page.keyboard.type('checkout, slow');
  await page.keyboard.press('Enter');
  await page.getByRole('list', { name: 'Tags' }).getByText('checkout').waitFor();
  await page.getByRole('button', { name: 'Pinned' }).click();
  await page.locator('button[aria-label=Pinned][aria-pressed=true]').waitFor();
  await page.locator('button[aria-label=Seen][aria-pressed=true]').waitFor();
  assert.deepEqual(await ids('seen=true'), [id], 'whoever watches for a while has seen it');
  await shootBoth('notes-recording');
  await page.goto(`${server.url}/recordings`);
  const rows = page.locator('[data-row]');
  await rows.first().waitFor();
  assert.equal(await rows.locator('.unseen').count(), 5);
  await shootBoth('notes-list');
  for (const [label, choice, query] of [
    ['Tag', 'slow', 'tag=slow'],
    ['What was said of it', 'pinned', 'pinned=1'],
    ['What was said of it', 'commented', 'commented=1'],
  ]) {
    await page.goto(`${server.url}/recordings`);
    await rows.first().waitFor();
    await page.getByRole('combobox', { name: label }).selectOption(choice);
    await eventually(async () => (await rows.count()) === 1, `the list with ${query}`);
    assert.equal(new URL(page.url()).search, `?${query}`);
    assert.equal(await rows.getAttribute('href'), `/recordings/${id}`);
  }
  await page.goto(`${server.url}/recordings?unseen=1&tag=`);
  await eventually(async () => (await rows.count()) === 5, 'those that nobody has seen');
});

test('what is not taken stays where it was typed, and the server says why', async () => {
  await openAt(page, server, id, 0);
  const long = 'x'.repeat(51);
  await page.getByRole('button', { name: '+ Tag' }).click();
  await page.keyboard.type(`fine, ${long}`);
  await page.keyboard.press('Enter');
  const said = page.getByText('A tag is one line of 1 to 50 characters without a comma.');
  await said.waitFor();
  const field = page.getByRole('combobox', { name: 'New tag' });
  assert.equal(await field.inputValue(), `fine, ${long}`);
  await shootBoth('notes-refused');
  await page.keyboard.press('Escape');
  await said.waitFor({ state: 'detached' });
  await page.getByRole('tab', { name: 'Comments' }).click();
  const tags = page.getByRole('combobox', { name: 'Tags of the comment' });
  await tags.fill(long);
  await tags.press('Enter');
  await said.waitFor();
  assert.equal(await tags.inputValue(), long);
  await shootBoth('notes-refused-comment');
  await tags.fill('');
  assert.ok(!(await notes()).tags.includes('fine'), 'all of it or nothing');
});

test('on a phone tags take nothing of what one watches, and no control lies on another', async () => {
  const phone = await browser.newContext({
    viewport: { width: 390, height: 844 },
    hasTouch: true,
    isMobile: true,
  });
  await phone.addCookies(await context.cookies());
  const held = await phone.newPage();
  try {
    await held.goto(`${server.url}/recordings/${id}`);
    await held.getByRole('list', { name: 'Tags' }).getByText('checkout').waitFor({ timeout: PATIENCE_MS });
    await held.waitForTimeout(300);
    await shoot(held, 'notes-phone');
    const name = await held.getByRole('heading', { level: 1 }).boundingBox();
    const where = await held.locator('.head .where').boundingBox();
    assert.ok(name.width > 60 && where.width > 200, `name ${name.width}, address ${where.width} px`);
    const facts = await held.locator('.head .facts').evaluate(linesOfFacts);
    assert.ok(facts.length > 1, 'the facts take several lines');
    for (const { begins, ends } of facts) {
      assert.ok(Math.abs(begins - name.x) < 1.5, `a line begins at ${begins} px, the name at ${name.x}`);
      assert.ok(Math.abs(ends) < 1.5, `${ends} px behind the last fact of a line`);
    }
    await held.goto(`${server.url}/recordings`);
    await held.locator('[data-row]').first().waitFor();
    await shoot(held, 'notes-phone-list');
    const picker = await held.locator('.head .picker').boundingBox();
    const saved = await held.locator('.head .saved').boundingBox();
    const isApart = picker.y >= saved.y + saved.height || picker.x + picker.width <= saved.x;
    assert.ok(isApart, `${JSON.stringify(picker)} lies on ${JSON.stringify(saved)}`);
  } finally {
    await phone.close();
  }
});

test('a recording is deleted after a question, and its page says so', async () => {
  await page.goto(`${server.url}/recordings`);
  await page.locator(`a[href="/recordings/${other}"]`).click();
  await page.getByRole('button', { name: 'Delete', exact: true }).click();
  const dialog = page.getByRole('dialog', { name: 'Delete this recording?' });
  await shootBoth('notes-delete');
  await dialog.getByRole('button', { name: 'Keep it' }).click();
  assert.ok((await ids('')).includes(other));
  await page.getByRole('button', { name: 'Delete', exact: true }).click();
  await dialog.getByRole('button', { name: 'Delete it' }).click();
  await page.getByRole('heading', { name: 'Recordings' }).waitFor();
  await eventually(async () => (await page.locator('[data-row]').count()) === 5, 'the list without it');
  assert.ok(!(await ids('')).includes(other));
  await page.goto(`${server.url}/recordings/${other}`);
  await page.getByText('No such recording').waitFor();
});
