import { randomUUID } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { launch, serve } from '../e2e/browser.mjs';
import { Heap, SETTLE_MS } from './heap.mjs';
import { parts } from './recording.mjs';

const ID = '01930000-0000-7000-8000-0000000000b1';
const UPLOAD_BYTES = 2_000_000;
const OPEN_MS = 60_000;

/** Noted in the page: when it was clicked, and when the first frame stood. */
function noteFirstFrame() {
  const times = { clicked: 0, shown: 0 };
  globalThis.times = times;
  addEventListener('click', () => (times.clicked ||= performance.now()), true);
  const look = () => {
    const isShown = document.querySelector('.stage[aria-busy=false] iframe:not(.hidden)') !== null;
    if (isShown) requestAnimationFrame(() => (times.shown ||= performance.now()));
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}

/** A real server that holds the recording, and Reelcase's own player. */
export class Ours {
  #server;
  #durationMs = 0;

  static async start(plainBytes) {
    const ours = new Ours();
    ours.#server = await serve({ flags: [] });
    await ours.#upload(plainBytes);
    const { url, token } = ours.#server;
    const headers = { authorization: `Bearer ${token}` };
    const reply = await fetch(`${url}/api/recordings/${ID}`, { headers });
    const recording = await reply.json();
    if (!(recording.plain_bytes >= plainBytes))
      throw new Error(`the server kept ${recording.plain_bytes} bytes`);
    ours.#durationMs = recording.duration_ms;
    return ours;
  }

  stop() {
    return this.#server.stop();
  }

  /** From the click on a row of the list to the first frame, in a fresh browser. */
  firstFrameMs() {
    return this.#fresh(async (page) => {
      await page.goto(`${this.#server.url}/recordings`);
      await page.waitForSelector('a[data-row]');
      await page.waitForTimeout(1_000);
      await page.click('a[data-row]');
      return page.evaluate(async () => {
        while (globalThis.times.shown === 0) await new Promise((done) => setTimeout(done, 5));
        return globalThis.times.shown - globalThis.times.clicked;
      });
    });
  }

  /** From a link to 99 % of the recording to the frame there, in a fresh browser. */
  seekMs() {
    const second = Math.floor((this.#durationMs * 0.99) / 1000);
    return this.#fresh(async (page) => {
      await page.goto(`${this.#server.url}/recordings/${ID}?t=${second}`, { waitUntil: 'commit' });
      const shown = await page.evaluate(async () => {
        while (globalThis.times.shown === 0) await new Promise((done) => setTimeout(done, 5));
        return globalThis.times.shown;
      });
      const at = Number(await page.getByRole('slider').getAttribute('aria-valuenow'));
      if (Math.abs(at - second) > 30) throw new Error(`the player is at ${at} s, not at ${second} s`);
      return shown;
    });
  }

  /** The most that is in use while the recording is read to its end and shown at several places. */
  heapMb(readMs = 120_000) {
    return this.#fresh(async (page, browser) => {
      const heap = await Heap.of(browser);
      await page.goto(`${this.#server.url}/recordings/${ID}`);
      await page.waitForSelector('.stage[aria-busy=false] iframe:not(.hidden)', { timeout: OPEN_MS });
      await page.keyboard.press(' ');
      let mb = await heap.usedMb();
      const until = Date.now() + readMs;
      // The list of events says by dots that the recording is still being read.
      while (/…/.test((await page.textContent('.count')) ?? '…')) {
        if (Date.now() > until) throw new Error(`the recording was not read in ${readMs} ms`);
        mb = Math.max(mb, await heap.usedMb());
        await page.waitForTimeout(2_000);
      }
      for (const key of ['2', '5', '7', '9']) {
        await page.keyboard.press(key);
        await page.waitForTimeout(300);
        await page.waitForSelector('.stage[aria-busy=false] iframe:not(.hidden)', { timeout: OPEN_MS });
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
      await page.goto(this.#server.login);
      await page.addInitScript(noteFirstFrame);
      return await measure(page, browser);
    } finally {
      await browser.close();
    }
  }

  async #upload(plainBytes) {
    for (const lines of parts(plainBytes, Date.now() - 86_400_000)) {
      for (let from = 0; from < lines.length; ) {
        let to = from;
        for (
          let bytes = 0;
          to < lines.length && (bytes === 0 || bytes + lines[to].length < UPLOAD_BYTES);
          to++
        ) {
          bytes += lines[to].length;
        }
        await this.#send(lines.slice(from, to));
        from = to;
      }
    }
  }

  async #send(lines) {
    const head = JSON.stringify({
      token: 'phc_bench',
      distinct_id: 'bench',
      $session_id: ID,
      $window_id: ID,
      $lib: 'web',
    });
    const properties = `${head.slice(0, -1)},"$snapshot_data":[${lines.join(',')}]}`;
    const item = `{"event":"$snapshot","uuid":"${randomUUID()}","properties":${properties}}`;
    const body = gzipSync(`[${item}]`, { level: 1 });
    for (;;) {
      const response = await fetch(`${this.#server.url}/s/?compression=gzip-js`, { method: 'POST', body });
      if (response.status === 200) return;
      if (response.status !== 503) throw new Error(`${response.status} ${await response.text()}`);
      await new Promise((done) => setTimeout(done, 1_000));
    }
  }
}
