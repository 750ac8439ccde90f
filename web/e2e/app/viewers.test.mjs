// Several people watch one recording while it is made: each follows, stops and comes back on their own.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually, launch, PATIENCE_MS, serve } from '../browser.mjs';
import { h, Recording, t, uploadOf } from '../hostile/recording.mjs';
import { replayedText, shoot } from '../watch.mjs';

const ID = 'viewers';
const HEADING = 7;

let server;
let browser;

before(async () => {
  server = await serve();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

/** The page that is recorded. It changes when it is told to, and what it sends is sent at once. */
class Page {
  #id;
  #step = 0;

  constructor(id = ID) {
    this.#id = id;
  }

  async begin() {
    const heading = { ...h('h1', {}, { ...t('step 0'), id: HEADING + 1 }), id: HEADING };
    const events = new Recording().snapshot([heading]).events.map((event) => ({ ...event }));
    // It began a while ago, so that there is something to come late to.
    for (const event of events) event.timestamp = Date.now() - 30_000;
    events.push({ type: 5, timestamp: Date.now(), data: { tag: 'here', payload: {} } });
    await this.#send(events);
  }

  /** Changes what is shown, and says to what. */
  async change() {
    const text = `step ${++this.#step}`;
    const data = {
      source: 0,
      texts: [{ id: HEADING + 1, value: text }],
      attributes: [],
      adds: [],
      removes: [],
    };
    const timestamp = Date.now();
    const click = { source: 2, type: 2, id: HEADING, x: 20, y: 20 };
    await this.#send([
      { type: 3, timestamp, data },
      { type: 3, timestamp: timestamp + 1, data: click },
    ]);
    return text;
  }

  async #send(events) {
    const reply = await fetch(`${server.url}/s/`, { method: 'POST', body: uploadOf(this.#id, events) });
    assert.equal(reply.status, 200);
  }
}

/** Somebody with a browser of their own, who watches. */
async function viewer(path = `/recordings/${ID}`) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  await page.goto(server.login);
  await page.goto(server.url + path);
  await page.waitForSelector('.stage[aria-busy=false] iframe:not(.hidden)');
  const jump = page.getByRole('button', { name: 'Jump to live' });
  const live = page.locator('.top .live');
  return {
    page,
    context,
    errors,
    jump,
    live,
    async toLive() {
      await jump.or(live).waitFor();
      if (await jump.isVisible()) await jump.click();
      await live.waitFor();
    },
    sees: (text) => eventually(async () => (await replayedText(page)).includes(text), `${text} to be seen`),
    close: () => context.close(),
  };
}

test('viewers of one live recording follow, stop and come back each on their own', async () => {
  const recorded = new Page();
  await recorded.begin();
  const [ada, bob, eve] = await Promise.all([viewer(), viewer(), viewer()]);
  for (const each of [ada, bob, eve]) await each.toLive();
  const first = await recorded.change();
  await Promise.all([ada, bob, eve].map((each) => each.sees(first)));

  // One stops and one leaves; the other goes on.
  await bob.page.keyboard.press(' ');
  await bob.jump.waitFor();
  await eve.close();
  const second = await recorded.change();
  await ada.sees(second);
  assert.ok((await replayedText(bob.page)).includes(first), 'who stopped still sees what was there then');
  assert.equal(await ada.live.count(), 1);

  // One comes late, sees how it began, and then what goes on.
  const late = await viewer();
  await late.sees('step 0');
  await late.jump.waitFor();
  await late.toLive();
  await late.sees(second);
  await bob.toLive();
  await bob.sees(second);

  // A line breaks: it is said, nothing is called live, and what was missed is there afterwards.
  await ada.context.setOffline(true);
  const trouble = ada.page.getByText('No connection to the server.');
  const third = await recorded.change();
  await Promise.all([bob.sees(third), late.sees(third)]);
  await trouble.waitFor();
  assert.equal(await ada.live.count(), 0);
  await shoot(ada.page, 'viewers-offline');
  const fourth = await recorded.change();
  await ada.context.setOffline(false);
  await ada.sees(fourth);
  await trouble.waitFor({ state: 'detached' });
  await ada.live.waitFor();
  await Promise.all([bob.sees(fourth), late.sees(fourth)]);

  for (const each of [ada, bob, late]) {
    const row = each.page.locator('.row').filter({ hasText: 'Click on h1' });
    await eventually(async () => (await row.count()) === 4, 'every click with what it hit');
  }

  // A minute of silence is its end; who recorded may only have read, and then it goes on.
  await bob.page.keyboard.press(' ');
  const ended = (each) => each.page.getByText('This recording has ended and is now complete');
  await Promise.all([ada, bob, late].map((each) => ended(each).waitFor()));
  for (const each of [ada, bob, late]) assert.equal(await each.live.count(), 0);
  await shoot(ada.page, 'viewers-ended');
  const fifth = await recorded.change();
  await ended(ada).waitFor({ state: 'detached' });
  await Promise.all([ada, bob, late].map((each) => each.jump.or(each.live).waitFor()));
  await bob.toLive();
  await bob.sees(fifth);
  await ada.sees(fifth);
  for (const each of [ada, bob, late]) {
    assert.deepEqual(each.errors, []);
    await each.close();
  }
});

test('whoever watches a live recording that somebody deletes is told, and asks for it no more', async () => {
  const id = 'deleted';
  await new Page(id).begin();
  const url = `${server.url}/api/recordings/${id}`;
  const headers = { authorization: `Bearer ${server.token}`, 'content-type': 'application/json' };
  const share = await (await fetch(`${url}/shares`, { method: 'POST', headers, body: '{}' })).json();
  const watching = await viewer(`/recordings/${id}`);
  const linked = await viewer(new URL(share.url).pathname);
  const asked = [];
  watching.page.on('request', (request) => asked.push(request.url()));
  assert.ok((await fetch(url, { method: 'DELETE', headers })).ok);
  await watching.page.getByText('This recording was deleted').waitFor();
  await linked.page.getByText('No such recording').waitFor();
  assert.equal(await linked.live.or(linked.jump).count(), 0, 'nothing of it is live');
  await shoot(watching.page, 'viewers-deleted');
  await shoot(linked.page, 'viewers-deleted-link');
  asked.length = 0;
  await watching.page.waitForTimeout(7_000);
  assert.deepEqual(asked, []);
  for (const each of [watching, linked]) await each.close();
});
