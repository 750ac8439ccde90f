/** What the page, its frames and its workers hold together, after the garbage is gone: JavaScript and array buffers. */
export class Heap {
  #browser;
  #sessions = new Map();

  static async of(browser) {
    const heap = new Heap();
    heap.#browser = await browser.newBrowserCDPSession();
    return heap;
  }

  async usedMb() {
    const { targetInfos } = await this.#browser.send('Target.getTargets');
    const kinds = new Set(['page', 'iframe', 'worker']);
    let bytes = 0;
    for (const { targetId, type } of targetInfos) {
      if (kinds.has(type)) bytes += await this.#usedBytes(targetId).catch(() => 0);
    }
    return bytes / 1e6;
  }

  async #usedBytes(targetId) {
    const send = await this.#attach(targetId);
    await send('HeapProfiler.collectGarbage');
    const { usedSize, backingStorageSize = 0 } = await send('Runtime.getHeapUsage');
    return usedSize + backingStorageSize;
  }

  /** Playwright speaks to targets in flat sessions of its own; ours travel inside messages of the browser's. */
  async #attach(targetId) {
    const known = this.#sessions.get(targetId);
    if (known !== undefined) return known;
    const { sessionId } = await this.#browser.send('Target.attachToTarget', { targetId, flatten: false });
    const waiting = new Map();
    let next = 1;
    this.#browser.on('Target.receivedMessageFromTarget', (event) => {
      if (event.sessionId !== sessionId) return;
      const { id, result, error } = JSON.parse(event.message);
      const answer = waiting.get(id);
      waiting.delete(id);
      if (error) answer?.reject(new Error(error.message));
      else answer?.resolve(result);
    });
    const send = (method, params = {}) =>
      new Promise((resolve, reject) => {
        const id = next++;
        waiting.set(id, { resolve, reject });
        const message = JSON.stringify({ id, method, params });
        this.#browser.send('Target.sendMessageToTarget', { sessionId, message }).catch(reject);
      });
    this.#sessions.set(targetId, send);
    return send;
  }
}

/** How long a browser that was just started is left alone: it draws pages of its own. */
export const SETTLE_MS = 2_000;
