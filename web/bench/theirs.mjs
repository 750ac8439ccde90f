import { createReadStream, createWriteStream, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { launch } from '../e2e/browser.mjs';
import { Heap, SETTLE_MS } from './heap.mjs';
import { parts } from './recording.mjs';

const dist = join(dirname(fileURLToPath(import.meta.url)), '../node_modules/rrweb-player/dist');

const PAGE = `<!doctype html><meta charset="utf-8"><title>rrweb-player</title>
<link rel="stylesheet" href="/style.css"><button>Watch</button><div id="player"></div>
<script src="/player.js"></script><script>
const times = { clicked: 0, shown: 0 };
async function open(at) {
  const events = await (await fetch('/events.json')).json();
  const Player = globalThis.rrwebPlayer.default ?? globalThis.rrwebPlayer.Player ?? globalThis.rrwebPlayer;
  globalThis.player = new Player({ target: document.getElementById('player'), props: { events, autoPlay: at === 0 } });
  if (at > 0) {
    const { totalTime } = globalThis.player.getMetaData();
    globalThis.player.goto(totalTime * at, false);
  }
  const look = () => {
    const page = document.querySelector('.replayer-wrapper iframe')?.contentDocument;
    if (page?.body?.childElementCount > 0) requestAnimationFrame(() => { times.shown = performance.now(); });
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}
document.querySelector('button').onclick = () => { times.clicked = performance.now(); void open(0); };
const at = Number(new URLSearchParams(location.search).get('at'));
if (at > 0) void open(at);
</script>`;

const shownAt = async (page) => {
  // The page may have been led to before it is read: then its script has not run yet.
  await page.waitForFunction(() => typeof times !== 'undefined' && times.shown > 0, null, {
    timeout: 120_000,
    polling: 10,
  });
  return page.evaluate(() => times);
};

/** rrweb-player with the same events as one JSON file, sent as they are. */
export class Theirs {
  #dir = mkdtempSync(join(tmpdir(), 'reelcase-bench-'));
  #server;
  #url = '';

  static async start(plainBytes) {
    const theirs = new Theirs();
    const file = join(theirs.#dir, 'events.json');
    const out = createWriteStream(file);
    let isFirst = true;
    for (const lines of parts(plainBytes, Date.now() - 86_400_000)) {
      out.write(`${isFirst ? '[' : ',\n'}${lines.join(',\n')}`);
      isFirst = false;
    }
    await new Promise((done) => out.end(']', () => done(undefined)));
    const files = {
      '/': ['text/html', () => PAGE],
      '/player.js': ['text/javascript', () => readFileSync(join(dist, 'rrweb-player.umd.min.cjs'))],
      '/style.css': ['text/css', () => readFileSync(join(dist, 'style.min.css'))],
    };
    theirs.#server = createServer((request, response) => {
      const path = new URL(request.url ?? '/', 'http://bench').pathname;
      const [type, body] = files[path] ?? ['application/json', null];
      response.writeHead(200, { 'content-type': type });
      if (body === null) createReadStream(file).pipe(response);
      else response.end(body());
    });
    await new Promise((done) => theirs.#server.listen(0, '127.0.0.1', () => done(undefined)));
    theirs.#url = `http://127.0.0.1:${theirs.#server.address().port}/`;
    return theirs;
  }

  async stop() {
    this.#server.close();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  firstFrameMs() {
    return this.#fresh(async (page) => {
      await page.goto(this.#url);
      await page.waitForTimeout(1_000);
      await page.click('button');
      const { clicked, shown } = await shownAt(page);
      return shown - clicked;
    });
  }

  seekMs() {
    return this.#fresh(async (page) => {
      await page.goto(`${this.#url}?at=0.99`, { waitUntil: 'commit' });
      return (await shownAt(page)).shown;
    });
  }

  heapMb() {
    return this.#fresh(async (page, browser) => {
      const heap = await Heap.of(browser);
      await page.goto(this.#url);
      await page.click('button');
      await shownAt(page);
      let mb = await heap.usedMb();
      for (const at of [0.2, 0.5, 0.7, 0.9]) {
        await page.evaluate((part) => player.goto(player.getMetaData().totalTime * part, false), at);
        mb = Math.max(mb, await heap.usedMb());
      }
      return mb;
    });
  }

  async #fresh(measure) {
    const browser = await launch();
    try {
      const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
      await page.waitForTimeout(SETTLE_MS);
      return await measure(page, browser);
    } finally {
      await browser.close();
    }
  }
}
