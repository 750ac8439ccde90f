import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = join(dirname(fileURLToPath(import.meta.url)), 'site');
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css' };

/**
 * Serves the shop under an origin of its own. `recorder` is HTML that goes into the head of each of its pages; the
 * files of `packageDir` are below `/package`.
 */
export async function startSite(recorder, packageDir = folder) {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://shop');
    const file =
      pathname === '/checkout' ? 'checkout.html' : pathname.includes('.') ? pathname : 'index.html';
    const path = file.startsWith('/package/') ? join(packageDir, file.slice(8)) : join(folder, file);
    try {
      const type = TYPES[extname(file)];
      let body = await readFile(path);
      if (type === TYPES['.html']) body = body.toString().replace('<!--recorder-->', () => recorder);
      response.writeHead(200, { 'content-type': type });
      response.end(body);
    } catch {
      response.writeHead(404, { 'content-type': 'text/plain' });
      response.end('not found');
    }
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  // A test that failed before it came to stop() must not hold up the others.
  server.unref();
  return {
    // Not localhost, where clients leave out part of what they do; launch() leads these names to this machine.
    url: `http://shop.test:${server.address().port}`,
    stop: () => {
      server.closeAllConnections();
      return new Promise((done) => server.close(done));
    },
  };
}

/** What a page needs to be recorded by one release: loaded from the server at `host`, or from `script`. */
export function recorderOf(version, { host, script = `${host}/static/${version}/array.js`, ...options }) {
  // Without the filter switched off, driven browsers are taken for robots and not recorded.
  const config = { api_host: host, opt_out_useragent_filter: true, person_profiles: 'always', ...options };
  return `<script>
    window.posthog = Object.assign([], { _i: [], people: [], __SV: 1 });
    window.posthog._i.push(['phc_shop', ${JSON.stringify(config)}, 'posthog']);
  </script>
  <script async crossorigin="anonymous" src="${script}"></script>`;
}
