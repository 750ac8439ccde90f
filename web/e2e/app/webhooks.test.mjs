// Webhooks on the page Settings, with a receiver that fails first.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { launch, PATIENCE_MS, serve } from '../browser.mjs';
import { shoot } from '../watch.mjs';

let server;
let browser;
let page;
let receiver;
const received = [];

before(async () => {
  receiver = createServer((request, reply) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => {
      received.push({ headers: request.headers, body: Buffer.concat(parts).toString() });
      reply.statusCode = received.length === 1 ? 500 : 200;
      reply.end();
    });
  });
  await new Promise((done) => receiver.listen(0, '127.0.0.1', done));
  server = await serve({ flags: ['--project', 'phc_hooks', '--webhooks-allow-private'] });
  browser = await launch();
  page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  page.setDefaultTimeout(PATIENCE_MS);
  await page.goto(server.login);
});

after(async () => {
  await browser?.close();
  await server?.stop();
  receiver?.close();
});

test('a webhook is added, tested, switched off and deleted', async () => {
  await page.goto(`${server.url}/settings`);
  await page.getByLabel('Address', { exact: true }).fill('http://user@127.0.0.1/');
  await page.getByRole('button', { name: 'Add a webhook' }).click();
  await page.getByText('it names somebody before its host').waitFor();
  const url = `http://127.0.0.1:${receiver.address().port}/replays`;
  await page.getByLabel('Address', { exact: true }).fill(url);
  await page.getByLabel('Only recordings with').fill('errors_min=1');
  await page.getByRole('button', { name: 'Add a webhook' }).click();
  const secret = await page.getByLabel('Secret of the webhook').inputValue();
  await page.getByRole('button', { name: 'Done' }).click();
  const card = page.getByRole('article', { name: `Webhook to ${url}` });
  await card.getByText('Those with errors_min=1').waitFor();
  await card.getByRole('button', { name: 'Send a test' }).click();
  await card.getByRole('status').getByText('it was answered 500').waitFor();
  await card.getByRole('button', { name: 'Send a test' }).click();
  await card.getByRole('status').getByText('answered 200').waitFor();
  await card.getByText('The last 2 sendings').click();
  for (const colorScheme of ['dark', 'light']) {
    await page.emulateMedia({ colorScheme });
    await card.scrollIntoViewIfNeeded();
    await shoot(page, `webhooks-${colorScheme}`);
  }
  const { headers, body } = received[1];
  const key = Buffer.from(secret.replace('whsec_', ''), 'base64');
  const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`;
  const signature = createHmac('sha256', key).update(signed).digest('base64');
  assert.equal(headers['webhook-signature'], `v1,${signature}`);
  await card.getByLabel('On', { exact: true }).uncheck();
  await page.reload();
  await card.getByLabel('On', { exact: true }).and(page.locator(':not(:checked)')).waitFor();
  await card.getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete it' }).click();
  await card.waitFor({ state: 'detached' });
});
