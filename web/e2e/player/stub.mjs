import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
const APP_POLICY =
  "default-src 'self'; style-src 'self' 'unsafe-inline'; frame-src 'self' data:; object-src 'none'; base-uri 'none'";

/** Cuts events into blocks as the server would list them. */
function blocksOf(id, events, perBlock) {
  const blocks = [];
  for (let i = 0; i < events.length; i += perBlock) {
    const part = events.slice(i, i + perBlock);
    const times = part.map((event) => event.timestamp);
    const body = part
      .map((event) => `${JSON.stringify([event.window ?? 'w1', event.raw ?? event])}\n`)
      .join('');
    blocks.push({
      body,
      row: {
        index: blocks.length,
        kind: 'lines',
        start_ms: Math.min(...times),
        end_ms: Math.max(...times),
        event_count: part.length,
        plain_bytes: body.length,
        stored_bytes: body.length,
        windows: ['w1'],
        keyframes: part
          .filter((event) => event.type === 2)
          .map((event) => ({ window: 'w1', timestamp_ms: event.timestamp, plain_offset: 0 })),
        url: `/api/recordings/${id}/blocks/o1/${blocks.length}`,
      },
    });
  }
  return blocks;
}

/** A server with the playback part of the API, for recordings given as lists of events. */
export async function startStub({ pageDir, playerDir, recordings, perBlock = 60 }) {
  const stored = new Map(
    Object.entries(recordings).map(([id, events]) => [id, blocksOf(id, events, perBlock)]),
  );
  const policies = {
    none: (await readFile(join(playerDir, 'csp.txt'), 'utf8')).trim(),
    remote: (await readFile(join(playerDir, 'csp-remote.txt'), 'utf8')).trim(),
  };
  const requests = [];
  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? '/', 'http://stub');
    requests.push({ host: request.headers.host ?? '', path: url.pathname });
    const send = (status, type, body, headers = {}) => {
      response.writeHead(status, { 'content-type': type, ...headers });
      response.end(body);
    };
    const [, id, index] = /^\/api\/recordings\/([^/]+)\/blocks(?:\/o1\/(\d+))?$/.exec(url.pathname) ?? [];
    if (id !== undefined) {
      const blocks = stored.get(id);
      if (blocks === undefined) return send(404, 'application/json', '{}');
      if (index !== undefined) return send(200, 'application/x-ndjson', blocks[Number(index)]?.body ?? '');
      const list = { blocks: blocks.map(({ row }) => row), is_live: false, version: '1' };
      return send(200, 'application/json', JSON.stringify(list));
    }
    if (url.pathname === '/player/frame') {
      const policy = policies[url.searchParams.get('assets') === 'remote' ? 'remote' : 'none'];
      const headers = { 'content-security-policy': policy, 'x-content-type-options': 'nosniff' };
      return send(200, 'text/html; charset=utf-8', await readFile(join(playerDir, 'frame.html')), headers);
    }
    const path = url.pathname === '/' ? '/index.html' : normalize(url.pathname);
    try {
      const body = await readFile(join(pageDir, path));
      const type = TYPES[extname(path)] ?? 'application/octet-stream';
      send(200, type, body, { 'content-security-policy': APP_POLICY });
    } catch {
      send(404, 'text/plain', 'not found');
    }
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', () => done(undefined)));
  return { server, requests, port: server.address().port };
}
