/**
 * Fills a running server with many small recordings. `node e2e/seed.mjs URL [COUNT]`, or `seed(url, count)` in a test.
 * Each has a page, a click and a person of its own, a minute apart, the newest a minute ago.
 */
import { randomUUID } from 'node:crypto';
import { gzipSync } from 'node:zlib';

const UPLOAD_ITEMS = 500;
const PATHS = ['/', '/products', '/products/super-8-camera', '/cart', '/checkout/shipping', '/settings/team'];

/** One recording as one `$snapshot` of the client protocol. */
function snapshot(index, now) {
  const at = now - (index + 1) * 60_000;
  const href = `https://shop.example.test${PATHS[index % PATHS.length]}`;
  const html = { type: 2, id: 2, tagName: 'html', attributes: {}, childNodes: [] };
  const events = [
    { type: 4, data: { href, width: 1280, height: 800 }, timestamp: at },
    {
      type: 2,
      data: { node: { type: 0, id: 1, childNodes: [html] }, initialOffset: { left: 0, top: 0 } },
      timestamp: at + 5,
    },
    {
      type: 3,
      data: { source: 2, type: 2, id: 2, x: 5, y: 5 },
      timestamp: at + 2_000 + (index % 97) * 1_000,
    },
  ];
  const id = `01930000-0000-7000-8000-${index.toString(16).padStart(12, '0')}`;
  return {
    event: '$snapshot',
    uuid: randomUUID(),
    timestamp: new Date(now).toISOString(),
    properties: {
      token: 'phc_seed',
      distinct_id: `person-${index}@example.test`,
      $session_id: id,
      $window_id: id,
      $snapshot_data: events,
      $snapshot_bytes: 600,
      $lib: 'web',
    },
  };
}

/** Sends `count` recordings and resolves when all of them are durable. */
export async function seed(url, count, now = Date.now()) {
  for (let from = 0; from < count; from += UPLOAD_ITEMS) {
    const length = Math.min(UPLOAD_ITEMS, count - from);
    const body = gzipSync(JSON.stringify(Array.from({ length }, (_, i) => snapshot(from + i, now))), {
      level: 1,
    });
    for (;;) {
      const response = await fetch(`${url}/s/?compression=gzip-js`, {
        method: 'POST',
        headers: { 'content-type': 'text/plain' },
        body,
      });
      if (response.status === 200) break;
      if (response.status !== 503) throw new Error(`${response.status} ${await response.text()}`);
      await new Promise((done) => setTimeout(done, 500));
    }
  }
}

if (process.argv[1]?.endsWith('seed.mjs')) {
  const [url, count = '100000'] = process.argv.slice(2);
  await seed(url, Number(count));
}
