// The element as npm hands it out: packed, installed into a page with a bundler, and shown on a site of its own.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';
import { eventually, launch, openFiles, PATIENCE_MS } from './browser.mjs';
import { replayedText, shoot } from './watch.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const corpus = join(process.env.REELCASE_CORPUS ?? join(here, '../../../shared/corpus'), 'rrweb');
const source = join(here, '../player/npm');

let dir;
let server;
let browser;
let site;

before(async () => {
  dir = mkdtempSync(join(tmpdir(), 'reelcase-element-'));
  server = await openFiles([join(corpus, 'recorded/posthog-rrweb-0.0.59-shop.json')]);
  browser = await launch();
  site = createServer((request, reply) => {
    const path = new URL(request.url, 'http://site').pathname;
    const type = path.endsWith('.js') ? 'text/javascript' : 'text/html';
    try {
      const file = readFileSync(join(dir, 'page/dist', path === '/' ? 'index.html' : path));
      reply.writeHead(200, { 'content-type': type }).end(file);
    } catch {
      reply.writeHead(404).end();
    }
  });
  await new Promise((done) => site.listen(0, '127.0.0.1', done));
});

after(async () => {
  await browser?.close();
  await server?.stop();
  await new Promise((done) => site.close(done));
  if (dir) rmSync(dir, { recursive: true, force: true });
});

const run = (command, args, cwd) =>
  execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

async function embedUrl(origin) {
  const headers = { authorization: `Bearer ${server.token}`, 'content-type': 'application/json' };
  const { recordings } = await (await fetch(`${server.url}/api/recordings`, { headers })).json();
  const body = JSON.stringify({ embed_origins: [origin], has_inspector: false });
  const path = `${server.url}/api/recordings/${recordings[0].id}/shares`;
  return (await (await fetch(path, { method: 'POST', headers, body })).json()).embed_url;
}

test('the package is installed, bundled, typed, and plays a recording on another site', async () => {
  run('npm', ['pack', '--pack-destination', dir], source);
  const [tarball] = readdirSync(dir).filter((name) => name.endsWith('.tgz'));
  const app = join(dir, 'page');
  mkdirSync(app);
  writeFileSync(join(app, 'package.json'), JSON.stringify({ name: 'page', private: true, type: 'module' }));
  run('npm', ['install', '--offline', '--no-audit', '--no-fund', join(dir, tarball)], app);
  const installed = join(app, 'node_modules/reelcase-player');
  assert.deepEqual(readdirSync(installed).sort(), [
    'README.md',
    'package.json',
    'reelcase-player.d.ts',
    'reelcase-player.js',
  ]);

  const origin = `http://help.test:${site.address().port}`;
  const url = await embedUrl(origin);
  writeFileSync(
    join(app, 'main.ts'),
    `import { ReelcasePlayer } from 'reelcase-player';
    const player: ReelcasePlayer = document.createElement('reelcase-player');
    player.setAttribute('src', ${JSON.stringify(url)});
    player.setAttribute('start', '3');
    document.body.append(player);
    if (!(player instanceof ReelcasePlayer)) throw new Error('the element is not defined');`,
  );
  writeFileSync(
    join(app, 'index.html'),
    '<!doctype html><h1>Help</h1><script type="module" src="./main.ts"></script>',
  );
  const tsc = join(here, '../node_modules/typescript/bin/tsc');
  const flags = [
    '--noEmit',
    '--strict',
    '--module',
    'esnext',
    '--moduleResolution',
    'bundler',
    '--lib',
    'es2022,dom',
  ];
  run(process.execPath, [tsc, ...flags, 'main.ts'], app);
  await build({ root: app, logLevel: 'error', configFile: false });

  const page = await (await browser.newContext({ viewport: { width: 1000, height: 700 } })).newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  await page.goto(origin);
  await eventually(
    async () => (await replayedText(page)).includes('Products'),
    'the page to be drawn',
    PATIENCE_MS,
  );
  await shoot(page, 'element-npm');
  assert.deepEqual(errors, []);

  // A server that renders reads the module where there is no page.
  run(process.execPath, ['--input-type=module', '-e', "await import('reelcase-player')"], app);
});
