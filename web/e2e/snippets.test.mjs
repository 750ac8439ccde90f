// The snippets that put a recording's link into other tools, as the app offers them, in a page that real posthog-js
// records. Of each tool there is what it gives to the page, which notes what it is told.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { eventually, launch, PATIENCE_MS, serve } from './browser.mjs';
import { fetchReleases, NEWEST } from './clients.mjs';
import { sessionOf, untilRecorded } from './shop.mjs';
import { recorderOf, startSite } from './site.mjs';
import { recordingWhen, shoot } from './watch.mjs';

let server;
let browser;
let viewer;
let snippets;
let site;
let visit;

before(async () => {
  server = await serve();
  browser = await launch();
  viewer = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  snippets = await offered();
  site = await startSite(
    recorderOf(NEWEST, { host: server.url, script: '/package/array.js' }),
    join(await fetchReleases([NEWEST]), NEWEST, 'dist'),
  );
  visit = await (await browser.newContext()).newPage();
  await visit.addInitScript(() => {
    window.told = [];
    const tool =
      (name) =>
      (...said) =>
        window.told.push([name, ...said]);
    window.Intercom = tool('Intercom');
    window.zE = tool('zE');
    window.Sentry = {
      addEventProcessor: (process) => window.told.push(['Sentry', process({ tags: { mine: 1 } })]),
    };
  });
  await visit.goto(site.url);
  await untilRecorded(visit);
});

after(async () => {
  await browser?.close();
  await site?.stop();
  await server?.stop();
});

/** The snippets of the start page by the names of the tools, as a person would copy them. */
async function offered() {
  const page = await viewer.newPage();
  await page.goto(server.login);
  await page.goto(`${server.url}/start`);
  const choice = page.getByLabel('Link from');
  const found = {};
  for (const name of await choice.locator('option').allInnerTexts()) {
    await choice.selectOption(name);
    found[name] = await page.locator('#attach').textContent();
  }
  await choice.scrollIntoViewIfNeeded();
  await shoot(page, 'start-attach');
  await page.close();
  return found;
}

/** Runs a snippet in the page, and returns what the tool was told since. */
async function run(name) {
  await visit.evaluate(() => {
    window.told.length = 0;
  });
  await visit.addScriptTag({ content: snippets[name] });
  return visit.evaluate(() => window.told);
}

test('every tool gets the link, and it opens the recording', async () => {
  const id = await sessionOf(visit);
  const link = `${server.url}/recordings/${id}`;
  assert.deepEqual(await run('Intercom'), [['Intercom', 'update', { session_recording: link }]]);
  const fields = [{ id: 'FIELD_ID', value: link }];
  assert.deepEqual(await run('Zendesk'), [['zE', 'messenger:set', 'conversationFields', fields]]);
  assert.deepEqual(await run('Sentry'), [['Sentry', { tags: { mine: 1, session_recording: link } }]]);
  await run('Crisp');
  assert.deepEqual(await visit.evaluate(() => window.$crisp), [
    ['set', 'session:data', [[['session_recording', link]]]],
  ]);

  await visit.click('[data-add=brass]');
  await recordingWhen(viewer.request, server, id, ({ event_count }) => event_count > 3);
  const page = await viewer.newPage();
  await page.goto(link);
  await page.waitForSelector('.stage[aria-busy=false] iframe:not(.hidden)', { timeout: PATIENCE_MS });
  await page.close();
});

test('a page tells its backend, and the backend tells Slack', async () => {
  const id = await sessionOf(visit);
  await visit.addScriptTag({ content: snippets['Your backend'] });
  const [request] = await Promise.all([
    visit.waitForRequest(/\/feedback$/),
    visit.evaluate(() => window.sendFeedback('It <b>broke</b>').catch(() => {})),
  ]);
  const { text, session_id } = request.postDataJSON();
  assert.equal(session_id, id);

  const posted = [];
  const slack = createServer(async (asked, reply) => {
    let body = '';
    for await (const piece of asked) body += piece;
    posted.push(JSON.parse(body));
    reply.end('ok');
  });
  await new Promise((done) => slack.listen(0, '127.0.0.1', done));
  try {
    process.env.SLACK_WEBHOOK_URL = `http://127.0.0.1:${slack.address().port}/hook`;
    const { tellSlack } = await import(`data:text/javascript,${encodeURIComponent(snippets.Slack)}`);
    await tellSlack(text, session_id);
    await tellSlack('Not this', 'x|https://evil.example>');
    assert.deepEqual(posted, [
      { text: `It &lt;b&gt;broke&lt;/b&gt; <${server.url}/recordings/${id}|Watch what happened>` },
      { text: 'Not this' },
    ]);
  } finally {
    delete process.env.SLACK_WEBHOOK_URL;
    await new Promise((done) => slack.close(done));
  }
});

test('a session that begins anew is told again', async () => {
  await run('Intercom');
  await visit.evaluate(() => window.posthog.sessionManager.resetSessionId());
  await visit.click('h1');
  const told = await eventually(
    () => visit.evaluate(() => (window.told.length > 1 ? window.told : null)),
    'the next session to be told',
  );
  const id = await visit.evaluate(() => window.posthog.get_session_id());
  assert.equal(told.at(-1)[2].session_recording, `${server.url}/recordings/${id}`);
  assert.notEqual(told[0][2].session_recording, told.at(-1)[2].session_recording);
});
