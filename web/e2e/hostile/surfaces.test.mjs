import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { binary, serve } from '../browser.mjs';
import { uploadOf } from './recording.mjs';
import { hostileTexts, ODD } from './texts.mjs';

const run = promisify(execFile);
const HTML = '<!doctype html><script>alert(1)</script>';
const PAGE_POLICY = /default-src 'self'/;

let server;
let blocks;

before(async () => {
  server = await serve();
  const upload = uploadOf('texts', hostileTexts().events, { person: `${ODD}<b>` });
  const html = JSON.stringify([
    { type: 4, timestamp: 1_795_226_820_000, data: { href: HTML, width: 1, height: 1 } },
  ]);
  for (const body of [upload, uploadOf('html', JSON.parse(html))]) {
    const reply = await fetch(`${server.url}/s/`, { method: 'POST', body });
    assert.equal(reply.status, 200);
  }
  blocks = await (await get('/api/recordings/texts/blocks')).json();
});

after(() => server?.stop());

function get(path, headers = {}) {
  return fetch(`${server.url}${path}`, {
    redirect: 'manual',
    headers: {
      authorization: `Bearer ${server.token}`,
      accept: 'text/html,*/*',
      'sec-fetch-dest': 'document',
      ...headers,
    },
  });
}

test('no answer but our own pages can become a document', async () => {
  const paths = [
    '/api/recordings',
    '/api/recordings?q=<script>',
    '/api/recordings/html',
    '/api/recordings/html/blocks',
    ...blocks.blocks.map(({ url }) => url),
    `${blocks.blocks[0].url}.html`,
    '/api/recordings/html/export?format=jsonl',
    '/api/recordings/html/export?format=reel',
    '/api/recordings/html/export?format=<script>alert(1)</script>',
    '/api/recordings/html/export.html?format=html',
    '/api/recordings/%3Cscript%3Ealert(1)%3C%2Fscript%3E',
    '/api/info',
    '/api/doctor',
    '/metrics',
    '/health',
    '/openapi.json',
    '/static/%3Cscript%3E.js',
    '/array/%3Cscript%3E/config.js',
    '/array/phc_hostile/config',
    '/s/?data=%3Cscript%3E',
    '/nothing/%3Cscript%3E',
    '/project/x/replay/%3Cscript%3E',
    '/player/%3Cscript%3E',
    '/assets/%3Cscript%3E.html',
  ];
  for (const path of paths) {
    const reply = await get(path);
    const where = `${reply.status} ${path}`;
    assert.equal(reply.headers.get('x-content-type-options'), 'nosniff', where);
    assert.match(reply.headers.get('content-security-policy') ?? '', /default-src 'none'.*sandbox/, where);
    assert.doesNotMatch(reply.headers.get('content-type') ?? '', /html|xml|svg/, where);
    await reply.arrayBuffer();
  }
});

test('a file of one page is to be saved, and no document of ours', async () => {
  const reply = await get('/api/recordings/html/export?format=html');
  assert.match(reply.headers.get('content-disposition'), /^attachment; /);
  assert.match(reply.headers.get('content-security-policy'), /default-src 'none'.*sandbox/);
  assert.doesNotMatch(await reply.text(), /alert\(1\)/, 'what was recorded is no markup');
});

test('strangers and other sites get the same care', async () => {
  for (const path of ['/api/recordings', '/api/recordings/html/export?format=jsonl']) {
    const reply = await fetch(`${server.url}${path}`, {
      headers: { origin: 'http://evil.test', accept: 'text/html' },
    });
    assert.equal(reply.status, 401);
    assert.match(reply.headers.get('content-security-policy') ?? '', /default-src 'none'.*sandbox/);
    assert.equal(reply.headers.get('access-control-allow-origin'), null);
  }
  const reply = await get('/api/recordings/html');
  assert.equal(reply.headers.get('cross-origin-resource-policy'), 'same-origin');
});

test('pages bring policies of their own, and the frame the strictest', async () => {
  for (const path of ['/', '/recordings', '/recordings/html', '/playground']) {
    const policy = (await get(path)).headers.get('content-security-policy') ?? '';
    assert.match(policy, PAGE_POLICY, path);
    assert.match(policy, /frame-ancestors 'self'/, path);
  }
  for (const [path, remote] of [
    ['/player/frame', false],
    ['/player/frame?assets=remote', true],
    ['/player/frame?assets=REMOTE', false],
    ['/player/frame?assets=none&assets=remote', false],
  ]) {
    const policy = (await get(path)).headers.get('content-security-policy') ?? '';
    assert.match(policy, /default-src 'none'; script-src 'sha256-[^;]*; /, path);
    assert.match(policy, /connect-src 'none'/, path);
    assert.doesNotMatch(policy, /unsafe-eval|script-src[^;]*(unsafe-inline|http|data:)/, path);
    assert.equal(/img-src[^;]*https:/.test(policy), remote, path);
  }
});

test('nothing recorded steers the terminal of whoever lists it', async () => {
  const place = ['--server', server.url, '--token', server.token];
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there.
  const steers = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/;
  for (const command of [
    ['ls', ...place],
    ['ls', '--json', ...place],
    ['show', 'texts', ...place],
    ['doctor', ...place],
  ]) {
    const { stdout, stderr } = await run(binary, command).catch((error) => error);
    assert.ok(stdout.length > 0, command[0]);
    assert.doesNotMatch(stdout + stderr, steers, command.join(' '));
  }
  const { stdout } = await run(binary, ['show', 'texts', ...place]);
  assert.ok(JSON.parse(stdout).start_url.includes('\u001b'), 'JSON keeps what was recorded');
});
