// The pages of a server in front of PostHog, whose part another Reelcase plays: its value beside each setting, the mode
// of a project, how it does, and one upload followed by the doctor.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually, launch, PATIENCE_MS, serve } from '../browser.mjs';
import { shoot } from '../watch.mjs';

const LOOKS = {
  light: { viewport: { width: 1280, height: 1000 } },
  dark: { viewport: { width: 1280, height: 1000 }, colorScheme: 'dark' },
  phone: { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true },
};

let posthog;
let server;
let browser;

before(async () => {
  posthog = await serve({ flags: ['--project', 'phc_shop'] });
  await api(posthog, 'PUT', '/api/projects/phc_shop/settings', {
    recording: false,
    sample_rate: 0.25,
    mask_inputs: false,
  });
  server = await serve({ flags: ['--upstream', posthog.url, '--project', 'phc_shop'] });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.stop();
  await posthog?.stop();
});

/** Asks the API as a program does. */
async function api(of, method, path, body) {
  const reply = await fetch(`${of.url}${path}`, {
    method,
    headers: { authorization: `Bearer ${of.token}`, 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  assert.ok(reply.ok, `${method} ${path}: ${reply.status}`);
  return reply.json();
}

async function open(path, look = LOOKS.light) {
  const context = await browser.newContext({ reducedMotion: 'reduce', ...look });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  await page.goto(server.login);
  await page.goto(server.url + path);
  return page;
}

test('what PostHog says stands beside each setting, and what is decided is laid over it', async () => {
  const page = await open('/settings?project=phc_shop');
  const row = (name) => page.locator('.row', { has: page.locator(`#setting-${name}`) });
  await row('recording').getByText('PostHog: off').waitFor();
  assert.equal(await page.locator('#setting-recording').isChecked(), false, 'as PostHog has it');
  await page.locator('#setting-recording').check();
  await page.getByText('One change is not saved.').waitFor();
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  await page.getByText('Saved. The next page').waitFor();
  await row('recording').getByText('PostHog: off').waitFor();
  const config = await (await fetch(`${server.url}/array/phc_shop/config`)).json();
  assert.equal(typeof config.sessionRecording, 'object', 'recording goes on');
  await row('recording')
    .getByRole('button', { name: /^Leave .* to PostHog/ })
    .click();
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  await page.getByText('Saved. The next page').waitFor();
  assert.equal((await (await fetch(`${server.url}/array/phc_shop/config`)).json()).sessionRecording, false);
});

test('the mode of a project is chosen with one click, and what waits for PostHog is shown', async () => {
  for (const [name, look] of Object.entries(LOOKS)) {
    const page = await open('/settings?project=phc_shop', look);
    await page.getByRole('heading', { name: 'In front of PostHog' }).waitFor();
    await page.getByText(posthog.url).first().waitFor();
    await shoot(page, `upstream-${name}`);
    await page.context().close();
  }
  const page = await open('/settings?project=phc_shop');
  await page.getByRole('radio', { name: /^Mirror/ }).check();
  await page.getByText('Chosen for this project. Others have Tee.').waitFor();
  const { projects } = await api(server, 'GET', '/api/upstream');
  assert.deepEqual(projects, [{ key: 'phc_shop', mode: 'mirror', is_own: true }]);
  await page.getByRole('button', { name: 'As all others' }).click();
  await page.getByText('As all projects without a mode of their own.').waitFor();
  assert.ok(await page.getByRole('radio', { name: /^Tee/ }).isChecked());
});

test('a mode that was lost is named, and chosen anew with one click', async () => {
  const page = await open('/settings?project=phc_shop');
  await page.route('**/api/upstream', async (route) => {
    const reply = await route.fetch();
    const json = await reply.json();
    if (!page.isChosen) json.projects[0] = { ...json.projects[0], mode: null, is_own: false };
    return route.fulfill({ response: reply, json });
  });
  await page.reload();
  await page.getByText('The mode of this project was lost').waitFor();
  await shoot(page, 'upstream-lost');
  assert.equal(await page.locator('input[name=mode]:checked').count(), 0);
  page.isChosen = true;
  await page.getByRole('button', { name: 'As all others' }).click();
  await page.getByText('As all projects without a mode of their own.').waitFor();
  await page.context().close();
});

test('the doctor follows one upload from this browser, and leaves nothing', async () => {
  for (const [name, look] of Object.entries(LOOKS)) {
    const page = await open('/doctor', look);
    const steps = page.getByRole('region', { name: 'One upload, end to end' });
    await page.getByRole('button', { name: 'Send one' }).click();
    await steps.getByRole('heading', { name: /^Played ?: well/ }).waitFor();
    await steps.getByRole('heading', { name: /^Upstream ?: well/ }).waitFor();
    await steps.getByRole('heading', { name: /^Config ?: does not work/ }).waitFor();
    await page.getByText('It tells pages not to record.').waitFor();
    await page.getByRole('button', { name: 'Send another' }).waitFor();
    await page.getByRole('heading', { name: 'One upload' }).scrollIntoViewIfNeeded();
    await shoot(page, `doctor-${name}`);
    await page.context().close();
  }
  await eventually(
    async () => (await api(server, 'GET', '/api/recordings')).recordings.length === 0,
    'nothing left',
  );
});

test('an ad blocker is named for what it is', async () => {
  const page = await open('/doctor');
  await page.route('**/s/', (route) => route.abort('blockedbyclient'));
  await page.getByRole('button', { name: 'Send one' }).click();
  await page.getByRole('heading', { name: /^Upload ?: does not work/ }).waitFor();
  await page.getByText(/An ad blocker that knows the address/).waitFor();
  await shoot(page, 'doctor-blocked');
});

test('settings that nobody knows any more can be decided anew', async () => {
  await api(server, 'POST', '/api/projects', { name: 'Lost', key: 'phc_lost' });
  const page = await open('/settings?project=phc_lost');
  await page.waitForSelector('#setting-recording');
  await page.route('**/api/projects/phc_lost/settings', (route) =>
    route.request().method() === 'GET' && !page.isDecided
      ? route.fulfill({
          status: 503,
          json: {
            error: { code: 'settings_unreadable', message: 'the settings of this project cannot be read' },
          },
        })
      : route.continue(),
  );
  await page.reload();
  await page.getByRole('heading', { name: 'Nobody knows what was decided' }).waitFor();
  await shoot(page, 'settings-lost');
  page.isDecided = true;
  await page.getByRole('button', { name: 'Decide anew, from the defaults' }).click();
  await page.waitForSelector('#setting-recording');
});
