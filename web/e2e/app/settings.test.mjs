// The settings page: what somebody decides is kept, what is wrong is said beside it, and nothing unsaved is lost in
// silence.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually, launch, PATIENCE_MS, serve } from '../browser.mjs';
import { shoot } from '../watch.mjs';

let server;
let browser;

before(async () => {
  server = await serve({ flags: ['--project', 'phc_shop'] });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

/** Asks the API as a program does. */
async function api(method, path, body) {
  const reply = await fetch(`${server.url}${path}`, {
    method,
    headers: { authorization: `Bearer ${server.token}`, 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  assert.ok(reply.ok, `${method} ${path}: ${reply.status}`);
  return reply.json();
}

const decided = async (key = 'phc_shop') => (await api('GET', `/api/projects/${key}/settings`)).settings;
const clear = () => api('PUT', '/api/projects/phc_shop/settings', {});

/** The page of one project, in a window of its own. */
async function open(key = 'phc_shop', options = { viewport: { width: 1280, height: 900 } }) {
  const context = await browser.newContext({ reducedMotion: 'reduce', ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  await page.goto(server.login);
  await page.goto(`${server.url}/settings?project=${key}`);
  await page.waitForSelector('#setting-recording');
  return page;
}

test('a change is shown, saved, there after a reload, and gone with a reset', async () => {
  await clear();
  const page = await open();
  await page.getByRole('switch', { name: 'Record canvas elements' }).press('Space');
  await page.getByLabel('Part of the sessions').fill('12.5');
  await page.getByLabel('Shortest session').fill('2.5');
  await page.getByLabel('Pause on these addresses').fill('/pin\n\n  ^https://shop\\.example/account  \n');
  await page.getByLabel('Of several conditions').selectOption('any');
  await page.getByText('5 changes are not saved.').waitFor();
  assert.deepEqual(await decided(), {}, 'nothing is changed before it is saved');
  await page.keyboard.press('Control+s');
  await page.getByText('Saved. The next page').waitFor();
  await shoot(page, 'settings-saved');
  assert.deepEqual(await decided(), {
    canvas: true,
    sample_rate: 0.125,
    minimum_duration_ms: 2_500,
    url_blocklist: ['/pin', '^https://shop\\.example/account'],
    trigger_match: 'any',
  });
  await page.reload();
  assert.equal(await page.getByLabel('Part of the sessions').inputValue(), '12.5');
  assert.equal(await page.getByLabel('Shortest session').inputValue(), '2.5');
  await page.getByRole('button', { name: 'Reset Part of the sessions to default' }).click();
  assert.equal(await page.getByLabel('Part of the sessions').inputValue(), '100');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('Saved. The next page').waitFor();
  assert.equal('sample_rate' in (await decided()), false);
  await page.context().close();
});

test('what the server refuses is said at the field, which gets the focus', async () => {
  await clear();
  const page = await open();
  await page.getByLabel('Pause on these addresses').fill('ok\n(');
  await page.getByLabel('Mask the text of').fill('.a >');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('Nothing was saved: see what is marked.').waitFor();
  const blocked = page.getByLabel('Pause on these addresses');
  const selector = page.getByLabel('Mask the text of');
  for (const field of [blocked, selector]) assert.equal(await field.getAttribute('aria-invalid'), 'true');
  const described = await blocked.getAttribute('aria-describedby');
  assert.match(
    await page.locator(`#${described.split(' ').at(-1)}`).textContent(),
    /^\s*Line 2 must be a regular/,
  );
  assert.equal(await selector.evaluate((element) => element === document.activeElement), true);
  await shoot(page, 'settings-refused');
  await blocked.fill('ok');
  assert.equal(await blocked.getAttribute('aria-invalid'), 'false');
  assert.deepEqual(await decided(), {});
  await page.context().close();
});

test('of two who change settings at once, the second sees it and loses nothing', async () => {
  await clear();
  const [first, second] = [await open(), await open()];
  await first.getByRole('switch', { name: 'Console' }).click();
  await second.getByRole('switch', { name: 'Mask all text' }).click();
  await first.getByRole('button', { name: 'Save' }).click();
  await first.getByText('Saved. The next page').waitFor();
  await second.getByRole('button', { name: 'Save' }).click();
  await second.getByText('Somebody else changed these settings meanwhile.').waitFor();
  await shoot(second, 'settings-conflict');
  await second.getByRole('button', { name: 'Take theirs, keep my changes' }).click();
  await second.getByText('One change is not saved.').waitFor();
  await second.getByRole('button', { name: 'Save' }).click();
  await second.getByText('Saved. The next page').waitFor();
  assert.deepEqual(await decided(), { console_log: false, mask_all_text: true });
  for (const page of [first, second]) await page.context().close();
});

test('leaving with something unsaved asks first, by link, by Back and by closing', async () => {
  await clear();
  const page = await open();
  // By links, so that Back stays within the app.
  for (const name of ['Doctor', 'Settings']) await page.getByRole('link', { name }).click();
  await page.getByRole('switch', { name: 'Console' }).click();
  const asked = [];
  let answer = 'stay';
  page.on('dialog', (dialog) => {
    asked.push(dialog.type());
    return answer === 'stay' ? dialog.dismiss() : dialog.accept();
  });
  await page.getByRole('link', { name: 'Recordings', exact: true }).click();
  await page.goBack().catch(() => {});
  await eventually(() => asked.length === 2 && page.url().includes('/settings'), 'to be asked, and stay');
  assert.equal(new URL(page.url()).pathname, '/settings');
  assert.equal(
    await page.getByRole('switch', { name: 'Console' }).isChecked(),
    false,
    'the change is still there',
  );
  await page.close({ runBeforeUnload: true });
  await eventually(() => asked.length === 3, 'to be asked');
  assert.deepEqual(asked, ['confirm', 'confirm', 'beforeunload']);
  answer = 'go';
  await page.getByRole('link', { name: 'Recordings', exact: true }).click();
  await page.waitForURL(`${server.url}/recordings`);
  await page.context().close();
});

test('groups of conditions are made, saved, refused with their place, and removed', async () => {
  await clear();
  const page = await open();
  const rows = page.locator('#setting-trigger_groups');
  await rows.getByRole('button', { name: 'Add a group' }).click();
  await page.keyboard.press('ControlOrMeta+a');
  await page.keyboard.type('checkout');
  await rows.getByLabel('Addresses, one a line').fill('/checkout\n/pay');
  await rows.getByLabel('Part of the sessions, %').fill('50');
  await rows.getByRole('button', { name: 'Add a group' }).click();
  await rows.getByLabel('Events, one a line').nth(1).fill('order placed');
  await rows.getByLabel('Addresses, one a line').nth(1).fill('(');
  await page.getByRole('button', { name: 'Save' }).click();
  const second = rows.getByRole('group', { name: 'Group 2, group 2' });
  await second.getByText('Addresses, line 1, must be a regular').waitFor();
  await shoot(page, 'settings-groups');
  await rows.getByLabel('Addresses, one a line').nth(1).fill('');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('Saved. The next page').waitFor();
  assert.deepEqual(await decided(), {
    trigger_groups: [
      { name: 'checkout', sample_rate: 0.5, url_triggers: ['/checkout', '/pay'] },
      { name: 'group 2', event_triggers: ['order placed'] },
    ],
  });
  await page.reload();
  assert.equal(await rows.getByLabel('Name of group 1').inputValue(), 'checkout');
  await rows.getByRole('button', { name: 'Remove the group checkout' }).click();
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('Saved. The next page').waitFor();
  assert.equal((await decided()).trigger_groups.length, 1);
  await page.context().close();
});

test('a key is changed without losing a recording: another is added, then the old one goes', async () => {
  const page = await open();
  const keys = () => page.locator('.keys code').allTextContents();
  await page.getByRole('button', { name: 'Add a key' }).click();
  await page.getByText('Keys for pages; all of them record here').waitFor();
  const [old, made] = await keys();
  assert.equal(old, 'phc_shop');
  assert.match(made, /^phc_.{43}$/);
  assert.equal((await fetch(`${server.url}/array/${made}/config`)).status, 200);

  await page.getByRole('button', { name: 'Delete the key phc_shop' }).click();
  const ask = page.getByRole('alertdialog');
  await ask.getByText('is refused from now on, and lost').waitFor();
  await shoot(page, 'settings-delete-key');
  await page.keyboard.press('Enter');
  await ask.waitFor({ state: 'detached' });
  assert.equal((await keys()).length, 2, 'the focus is on keeping it');
  await page.getByRole('button', { name: 'Delete the key phc_shop' }).click();
  await page.getByRole('button', { name: 'Delete the key', exact: true }).click();
  await page.getByText('One deleted key').waitFor();
  assert.equal((await fetch(`${server.url}/array/phc_shop/config`)).status, 401);
  await page.goto(`${server.url}/start`);
  await page.getByText(made).first().waitFor();

  await page.goto(`${server.url}/settings?project=phc_shop`);
  await page.getByRole('button', { name: `Delete the key ${made}` }).click();
  await page.getByText('This is the last key. Without it nothing').waitFor();
  await page.getByRole('button', { name: 'Delete the last key' }).click();
  await page.getByText('All keys were deleted').waitFor();
  await shoot(page, 'settings-no-key');
  await page.getByText('2 deleted keys').click();
  await page.getByRole('button', { name: 'Take back the key phc_shop' }).click();
  await page.getByText('One deleted key').waitFor();
  assert.equal((await fetch(`${server.url}/array/phc_shop/config`)).status, 200);
  for (const [name, look] of [
    ['dark', { viewport: { width: 1280, height: 900 }, colorScheme: 'dark' }],
    ['phone', { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true }],
  ]) {
    const other = await open('phc_shop', look);
    await other.getByText('One deleted key').click();
    await other.getByRole('button', { name: 'Delete the key phc_shop' }).click();
    await shoot(other, `settings-keys-${name}`);
    const width = await other.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(width <= 0, `${name}: ${width} px too wide`);
    await other.context().close();
  }
  await page.context().close();
});

test('a project is made, named and renamed', async () => {
  const page = await open('phc_shop', {
    viewport: { width: 390, height: 844 },
    isMobile: true,
    hasTouch: true,
  });
  await page.getByRole('button', { name: 'New project' }).click();
  await page.keyboard.type('Docs');
  await page.keyboard.press('Enter');
  await page.waitForURL(/settings\?project=phc_.{43}$/);
  const key = new URL(page.url()).searchParams.get('project');
  await page.getByRole('button', { name: 'Rename' }).click();
  await shoot(page, 'settings-rename');
  await page.getByLabel('New name').fill('Manual');
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Rename' }).waitFor();
  assert.equal(
    await page.getByLabel('Project', { exact: true }).locator('option:checked').textContent(),
    'Manual',
  );
  const projects = await api('GET', '/api/projects');
  assert.equal(projects.find((project) => project.key === key).name, 'Manual');
  await page.context().close();
});
