import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { eventually, launch, serve } from '../browser.mjs';
import { startCanary } from './canary.mjs';
import { uploadOf } from './recording.mjs';

const shots = process.env.SCREENSHOTS;
/** How long a viewer's click may take on a machine that does much else. */
const ANSWER_MS = 60_000;

/** The real server, a real browser that resolves every name to the canary, and everything watched. */
export async function startStage() {
  const dir = mkdtempSync(join(tmpdir(), 'reelcase-hostile-'));
  const canary = await startCanary();
  const server = await serve();
  const netLog = join(dir, 'net-log.json');
  const browser = await launch([
    `--host-resolver-rules=MAP *.canary.test 127.0.0.1:${canary.port}, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost`,
    `--log-net-log=${netLog}`,
    // The canary is on this machine, which the browser would keep other sites' pages from asking.
    '--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests,PrivateNetworkAccessSendPreflights',
  ]);
  const context = await browser.newContext({ viewport: { width: 1100, height: 760 } });
  const ran = new Set();
  await context.exposeBinding('__ran', (_source, name) => ran.add(String(name)));
  const login = await context.newPage();
  await login.goto(server.login);
  await login.close();
  const cookies = await context.cookies();

  return {
    dir,
    canary,
    server,
    browser,
    context,
    ran,
    cookies,
    /** Puts a recording into the store by the door that everybody's browser uses. */
    async upload(id, recording, more) {
      const body = typeof recording === 'string' ? recording : uploadOf(id, recording.events, more);
      const reply = await fetch(`${server.url}/s/`, {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/json' },
      });
      assert.equal(reply.status, 200, `${id}: ${await reply.clone().text()}`);
      return id;
    },
    /** Makes a link that shows all of a recording, to a page and to a frame. */
    async link(id) {
      const reply = await fetch(`${server.url}/api/recordings/${id}/shares`, {
        method: 'POST',
        headers: { authorization: `Bearer ${server.token}`, 'content-type': 'application/json' },
        body: JSON.stringify({
          title: `<img src=x onerror="__ran('title')">`,
          has_inspector: true,
          has_console: true,
          has_network: true,
          embed_origins: ['http://help.test'],
        }),
      });
      assert.equal(reply.status, 201, id);
      return reply.json();
    },
    /** Saves a recording as one HTML file. */
    async save(id) {
      const reply = await fetch(`${server.url}/api/recordings/${id}/export?format=html`, {
        headers: { authorization: `Bearer ${server.token}` },
      });
      assert.equal(reply.status, 200, id);
      const file = join(dir, `${id}.html`);
      writeFileSync(file, Buffer.from(await reply.arrayBuffer()));
      return file;
    },
    play: (id, options) => play({ canary, context, server, ran }, id, options),
    /** Every host that the browser looked up or connected to. Ends the browser, which then writes its log. */
    async hostsSeen() {
      await browser.close();
      const text = readFileSync(netLog, 'utf8');
      return new Set(text.match(/[a-z0-9.-]+\.canary\.test/gi) ?? []);
    },
    async stop() {
      await browser.close();
      canary.stop();
      await server.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Opens a recording in the player and lets it play. Returns what was seen. */
async function play({ canary, context, server, ran }, id, options = {}) {
  const { assets = 'none', at = 0, wall = null, link = null, file = null, forMs = 1200, name = id } = options;
  const seen = {
    requests: [],
    kinds: new Set(),
    pages: [],
    dialogs: [],
    downloads: [],
    sockets: [],
    workers: [],
    errors: [],
    crashed: false,
  };
  const page = await context.newPage();
  page.on('requestfinished', (request) => {
    const { protocol, host } = new URL(request.url());
    if (protocol.startsWith('http') && host !== new URL(server.url).host) {
      seen.requests.push(request.url());
      seen.kinds.add(`${request.resourceType()} ${host.split('.')[0]}`);
    }
  });
  page.on('popup', (popup) => seen.pages.push(popup.url()));
  page.on('dialog', (dialog) => {
    seen.dialogs.push(dialog.message());
    void dialog.dismiss();
  });
  page.on('download', (download) => seen.downloads.push(download.url()));
  page.on('websocket', (socket) => seen.sockets.push(socket.url()));
  page.on('worker', (worker) => seen.workers.push(worker.url()));
  page.on('pageerror', (error) => {
    // Films may not play by themselves in a page that nobody touched; that is the browser's own rule.
    if (error.name !== 'NotAllowedError') seen.errors.push(String(error));
  });
  page.on('crash', () => {
    seen.crashed = true;
  });
  if (wall !== null) {
    await page.route('**/player/frame*', (route) =>
      route.fulfill({
        body: wall.body,
        contentType: 'text/html; charset=utf-8',
        headers: wall.policy === null ? {} : { 'content-security-policy': wall.policy },
      }),
    );
  }
  await page.addInitScript(() => {
    const messages = [];
    if (window !== top) return;
    window.__messages = messages;
    addEventListener('message', (event) => messages.push(String(event.data)));
  });
  canary.take();
  ran.clear();
  const from = at > 0 ? `t=${at}` : '';
  const url =
    file === null
      ? `${link ?? `${server.url}/recordings/${id}`}?${from}`
      : `${pathToFileURL(file).href}#${from}`;
  await page.goto(url);
  await page.waitForSelector('[aria-busy=false]', { timeout: ANSWER_MS });
  if (assets === 'remote') {
    await page.getByLabel('Load remote assets').check();
    await page.waitForTimeout(300);
    await page.waitForSelector('[aria-busy=false]', { timeout: ANSWER_MS });
  }
  await page.waitForTimeout(forMs);
  if (shots) await page.screenshot({ path: join(shots, `hostile-${name}.png`) });
  return { page, url, seen, hits: canary.take(), ran: new Set(ran) };
}

/** The document that holds the replayer; scripts of the test may look into it, and into the page it replays. */
export function replayDocument(page) {
  return page.frames().find((frame) => frame.url().startsWith('data:'));
}

/** Asserts that the viewer still has a player: the tab lives, its controls answer, its page is as it was. */
export async function assertAlive({ page, url, seen }) {
  assert.equal(seen.crashed, false, 'the tab crashed');
  assert.equal(page.url().split(/[?#]/)[0], url.split(/[?#]/)[0], 'the viewer was led away');
  const button = page.locator('button.play');
  const label = () => button.getAttribute('aria-label', { timeout: ANSWER_MS });
  // A recording may end between the look and the click, and then the click starts it again.
  const answers = async () => {
    const before = await label();
    await button.click({ timeout: ANSWER_MS });
    await page.waitForTimeout(200);
    return (await label()) !== before;
  };
  await eventually(answers, 'the play button to answer', ANSWER_MS);
  const { messages, stored, title } = await page.evaluate(() => ({
    messages: window.__messages ?? [],
    stored: Object.keys({ ...localStorage, ...sessionStorage }).filter(
      (key) => !key.startsWith('rc-') && !key.startsWith('reelcase'),
    ),
    title: document.title,
  }));
  assert.deepEqual(messages, []);
  assert.deepEqual(stored, []);
  assert.match(title, /Reelcase$/);
  assert.deepEqual(seen.pages, []);
  assert.deepEqual(seen.dialogs, []);
  assert.deepEqual(seen.downloads, []);
  assert.deepEqual(seen.sockets, []);
  assert.deepEqual(seen.errors, []);
}

/** What must not stand in a replayed page, whatever holds it back; and which vectors are in it. */
export async function inspect(page) {
  const frame = replayDocument(page);
  if (frame === undefined) return { wrong: ['there is no replay'], vectors: [] };
  return frame.evaluate(() => {
    const wrong = [];
    const vectors = new Set();
    const roots = [document.querySelector('#stage iframe')?.contentDocument];
    for (let root = roots.pop(); root !== undefined; root = roots.pop()) {
      for (const element of root?.querySelectorAll('*') ?? []) {
        const tag = element.localName.toLowerCase();
        if (element.shadowRoot !== null) roots.push(element.shadowRoot);
        if (tag === 'iframe' && element.contentDocument !== null) roots.push(element.contentDocument);
        if (element.dataset?.v !== undefined) vectors.add(element.dataset.v);
        if (/^(script|object|embed|applet|frame|frameset|base|portal|fencedframe|webview)$/.test(tag))
          wrong.push(`<${tag}>`);
        for (const { name, value } of element.attributes) {
          const plain = value.replace(/[^!-~]/g, '');
          const isLive = /^((java|vb)script:|data:text|blob:(?!null)|view-source:|filesystem:)/i.test(plain);
          if (/^on/i.test(name) && !name.startsWith('on:') && !name.startsWith('on-'))
            wrong.push(`${tag} ${name}`);
          if (/^(href|xlink:href|src|action|formaction|data|poster|srcdoc|to|values)$/i.test(name) && isLive)
            wrong.push(`${tag} ${name}=${value}`);
          if (/^(srcdoc|http-equiv|ping|autofocus|nonce|target|manifest)$/i.test(name))
            wrong.push(`${tag} ${name}`);
        }
      }
    }
    return { wrong, vectors: [...vectors] };
  });
}
