import { createServer, request as send } from 'node:http';

/**
 * Stands between clients and the server, keeps what they sent in `log`, and changes what it is told to.
 *
 * `config` replaces the remote config in all of its forms. `status(request)` may answer in the server's place:
 * `{ status, isForwarded }`, where `isForwarded` says whether the server gets the request all the same; with `headers`
 * and `body` it is a whole answer.
 *
 * A request that broke off before it was whole is in `broken`; nothing else is missing in `log`.
 */
export async function startProxy(target, { config, status = () => undefined } = {}) {
  const log = [];
  const broken = [];
  // Node would close idle connections after five seconds, and now and then one on which a request is just being sent.
  const server = createServer({ keepAliveTimeout: 0 }, async (request, response) => {
    const chunks = [];
    try {
      for await (const chunk of request) chunks.push(chunk);
    } catch {
      broken.push(`${request.method} ${request.url}`);
      return;
    }
    const url = new URL(request.url, target);
    const { method, headers } = request;
    const seen = {
      method,
      path: url.pathname,
      query: url.searchParams,
      headers,
      body: Buffer.concat(chunks),
    };
    log.push(seen);
    const instead = status(seen);
    const reply = instead?.isForwarded === false ? undefined : await forward(target, request, seen.body);
    seen.status = instead?.status ?? reply.status;
    const cors = {
      'access-control-allow-origin': headers.origin ?? '*',
      'access-control-allow-credentials': 'true',
    };
    if (instead) response.writeHead(instead.status, { ...cors, ...instead.headers }).end(instead.body);
    else response.writeHead(reply.status, reply.headers).end(rewritten(url.pathname, reply.body, config));
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    log,
    broken,
    /** The requests with a body that ended up at this path. */
    posts: (path) => log.filter((seen) => seen.method === 'POST' && seen.path === path),
    stop() {
      server.closeAllConnections();
      return new Promise((done) => server.close(done));
    },
  };
}

function forward(target, { method, url, headers }, body) {
  return new Promise((done, failed) => {
    // Without `accept-encoding`, so that a reply can be read and rewritten.
    const { 'accept-encoding': _, host: __, ...kept } = headers;
    const onward = send(new URL(url, target), { method, headers: kept }, async (reply) => {
      const chunks = [];
      for await (const chunk of reply) chunks.push(chunk);
      const { 'content-length': _, 'transfer-encoding': __, connection: ___, ...back } = reply.headers;
      done({ status: reply.statusCode, headers: back, body: Buffer.concat(chunks) });
    });
    onward.on('error', failed);
    onward.end(body);
  });
}

function rewritten(path, body, config) {
  if (config === undefined) return body;
  const text = JSON.stringify(config);
  if (path.endsWith('/config')) return text;
  if (path.endsWith('/config.js'))
    return body.toString().replace(/config:.*,siteApps/, () => `config:${text},siteApps`);
  return body;
}
