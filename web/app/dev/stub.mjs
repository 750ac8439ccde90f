/**
 * A stand-in for the server while the app is being worked on: made-up recordings, and every state the app must cope
 * with. `node app/dev/stub.mjs [port]` serves `dist/` and the API; `/__stub/<state>` switches between
 * `full`, `few`, `empty`, `slow`, `locked`, `broken`. Nothing here is part of the product.
 */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const PORT = Number(process.argv[2] ?? 8787);
const DIST = join(dirname(fileURLToPath(import.meta.url)), '../../dist');
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
const PEOPLE = [
  { email: 'grace.hopper@example.com', browser: 'Firefox', os: 'Linux' },
  { name: 'Katherine Johnson', browser: 'Chrome', os: 'Mac OS X' },
  { browser: 'Safari', os: 'iOS' },
  { email: '<b>mallory</b>@example.org', browser: 'Edge', os: 'Windows' },
  { browser: 'Chrome', os: 'Android' },
];
const PAGES = [
  'https://shop.example.com/',
  'https://shop.example.com/products/super-8-camera?ref=newsletter&utm_source=spring-letter',
  'https://shop.example.com/cart/checkout/shipping',
  'https://docs.example.org/guide/a-very-long-path/that-goes-on/and-on/until-nobody/can-read-it-any-more/index.html#end',
  'https://app.example.com/settings/<img src=x onerror=alert(1)>',
];

let state = process.argv[3] ?? 'full';
const born = Date.now();
const sent = new Map();
const made = Array.from({ length: 237 }, (_, index) => recording(index));

function recording(index) {
  const seed = (index * 2_654_435_761) % 4_294_967_296;
  const pick = (list, salt) => list[(seed >>> salt) % list.length];
  const start_ms = born - 20_000 - index * index * 9_000 - index * 140_000;
  const duration = index === 0 ? 18_000 : 4_000 + (seed % 97) * 31_000 * ((index % 7) + 1) * 0.2;
  const { email, name, browser, os } = pick(PEOPLE, 3);
  const distinct = `0192${seed.toString(16).padStart(8, '0').slice(0, 4)}-7a1b-7c2d-8e3f-${seed.toString(16).padStart(12, '0')}`;
  const id = `0193${(9999 - index).toString(16).padStart(4, '0')}-5f6e-7d8c-9b0a-${seed.toString(16).padStart(12, '0')}`;
  const windows = Array.from({ length: 1 + (index % 4 === 3 ? 2 : 0) }, (_, n) => ({
    id: `${id.slice(0, -1)}${n}`,
    start_ms,
    end_ms: start_ms + duration,
  }));
  return {
    id,
    project: index % 5 === 4 ? 'phc_docs' : 'phc_shop',
    start_ms,
    end_ms: Math.round(start_ms + duration),
    duration_ms: Math.round(duration),
    active_ms: duration * ((seed % 89) / 89),
    event_count: 40 + (seed % 9_000),
    click_count: seed % 83,
    keypress_count: index % 3 ? seed % 410 : 0,
    mouse_activity_count: 12,
    console_log_count: 3,
    console_warn_count: 1,
    console_error_count: index % 4 === 1 ? 1 + (seed % 12) : 0,
    start_url: index === 11 ? null : pick(PAGES, 6),
    urls: [pick(PAGES, 6)],
    windows,
    source: 'web',
    library: 'web',
    library_version: '1.449.2',
    person:
      index === 12
        ? null
        : {
            distinct_ids: [distinct],
            properties: { ...(email && { email }), ...(name && { name }), $browser: browser, $os: os },
          },
    analytics_event_count: seed % 5,
    stored_bytes: 3_000 + (seed % 900_000),
    plain_bytes: 9 * (3_000 + (seed % 900_000)),
    full_snapshot_count: 1,
    is_live: index < 2,
    updated_at_ms: start_ms,
  };
}

function all() {
  if (state === 'empty' && sent.size === 0) return [];
  const own = [...sent.values()].reverse();
  if (state === 'empty') return own;
  if (state === 'few') return [...own, ...made.slice(0, 3)];
  return [...own, ...made];
}

function list(query) {
  const at = (name) => (query.has(name) ? Number(query.get(name)) : null);
  const text = (row) => JSON.stringify(row.person ?? '').toLowerCase();
  const rows = all().filter(
    (row) =>
      (!query.has('project') || row.project === query.get('project')) &&
      row.start_ms >= (at('from_ms') ?? 0) &&
      row.start_ms <= (at('to_ms') ?? Infinity) &&
      text(row).includes((query.get('person') ?? '').toLowerCase()) &&
      (row.start_url ?? '').includes(query.get('url') ?? '') &&
      row.duration_ms >= (at('duration_min_ms') ?? 0) &&
      row.duration_ms <= (at('duration_max_ms') ?? Infinity) &&
      row.click_count >= (at('clicks_min') ?? 0) &&
      row.console_error_count >= (at('errors_min') ?? 0) &&
      (!query.has('live') || row.is_live),
  );
  const from = query.has('cursor') ? rows.findIndex((row) => row.id === query.get('cursor')) + 1 : 0;
  const limit = at('limit') ?? 50;
  const page = rows.slice(from, from + limit);
  return { recordings: page, next: from + limit < rows.length ? (page.at(-1)?.id ?? null) : null };
}

const CHECKS = [
  {
    name: 'data_directory',
    state: 'ok',
    message: '/var/lib/reelcase can be written and has 214 GB left.',
    hint: null,
  },
  { name: 'inbox', state: 'ok', message: 'Uploads are durable after 0.8 ms. Nothing waits.', hint: null },
  {
    name: 'capture_scripts',
    state: 'fail',
    message: 'The recorder of posthog-js 1.449.2 is not on this server.',
    hint: 'put its dist directory below /static/1.449.2, or let pages bundle the recorder',
  },
  { name: 'clock', state: 'ok', message: 'Clients and server agree to within 2 seconds.', hint: null },
];

/** Enough of posthog-js for the playground: one upload for each click. */
const ARRAY_JS = `(() => { const [key, config] = window.posthog._i[0]; const id = crypto.randomUUID();
const posthog = { get_session_id: () => id, capture() {}, identify() {} }; window.posthog = posthog;
addEventListener('click', () => fetch(config.api_host + '/s/?ip=0', { method: 'POST', body: JSON.stringify({ key, id }) }).then((answer) => answer.text()));
config.loaded(posthog); })();`;

async function answer(request, url) {
  const path = url.pathname;
  const json = (body, status = 200) => ({ status, type: 'application/json', body: JSON.stringify(body) });
  const error = (status, code, message) => json({ error: { code, message } }, status);
  if (path.startsWith('/__stub/')) {
    state = path.slice(8);
    if (state === 'empty') sent.clear();
    return json({ state });
  }
  if (path === '/health') return json({ status: 'ok' });
  if (path.startsWith('/static/')) return { status: 200, type: 'text/javascript', body: ARRAY_JS };
  if (path === '/s/') {
    let body = '';
    for await (const chunk of request) body += chunk;
    const { key, id } = JSON.parse(body);
    const known = sent.get(id) ?? {
      ...made[0],
      id,
      project: key,
      start_ms: Date.now(),
      start_url: `http://127.0.0.1:${PORT}/playground`,
      event_count: 0,
      click_count: 0,
      keypress_count: 0,
      stored_bytes: 0,
    };
    sent.set(id, {
      ...known,
      end_ms: Date.now(),
      event_count: known.event_count + 9,
      click_count: known.click_count + 1,
      stored_bytes: known.stored_bytes + 1_900,
    });
    return json({ status: 1 });
  }
  if (path.startsWith('/api/')) {
    if (state === 'slow') await new Promise((done) => setTimeout(done, 60_000));
    if (state === 'locked') return error(401, 'unauthorized', 'a token is needed');
    if (path === '/api/info') {
      const projects = [
        { key: 'phc_shop', name: 'Shop', created_at_ms: born },
        { key: 'phc_docs', name: 'Docs', created_at_ms: born },
      ].map((known) => {
        const keys = [{ key: known.key, created_at_ms: born, deleted_at_ms: null }];
        return { ...known, capture_key: known.key, keys };
      });
      return json({
        version: '0.1.0',
        capture_url: `http://127.0.0.1:${PORT}`,
        projects: state === 'empty' ? projects.slice(0, 1) : projects,
        accept_any_key: false,
        static_versions: [],
        formats: [
          { name: 'reel', ending: 'reel', about: 'the portable file' },
          { name: 'rrweb', ending: 'json', about: "a JSON array of rrweb events, for rrweb's player" },
          { name: 'har', ending: 'har', about: "the page's requests as HAR 1.2" },
        ],
      });
    }
    if (state === 'broken') return error(500, 'catalog', 'the catalog cannot be read: disk I/O error');
    if (path === '/api/recordings') return json(list(url.searchParams));
    if (path === '/api/doctor') return json({ checks: CHECKS });
    if (path.endsWith('/blocks')) return json({ blocks: [], is_live: false, version: '0' });
    const row = all().find((known) => path === `/api/recordings/${known.id}`);
    return row ? json(row) : error(404, 'not_found', 'there is no such recording');
  }
  const asked = normalize(path).replace(/^(\.\.[/\\])+/, '');
  const file =
    path === '/playground'
      ? 'playground.html'
      : path === '/player/frame'
        ? 'player/frame.html'
        : extname(path) === ''
          ? 'index.html'
          : asked;
  try {
    return {
      status: 200,
      type: TYPES[extname(file)] ?? 'application/octet-stream',
      body: await readFile(join(DIST, file)),
    };
  } catch {
    return error(404, 'not_found', 'no such page; run `npm run build` first');
  }
}

const APP_POLICY =
  "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; worker-src 'self' blob:; frame-src 'self'";

/** The frame has a policy of its own, which the build writes beside it. */
async function policyFor(path) {
  if (path !== '/player/frame') return APP_POLICY;
  return (await readFile(join(DIST, 'player/csp.txt'), 'utf8')).trim();
}

createServer(async (request, response) => {
  const url = new URL(request.url ?? '/', `http://127.0.0.1:${PORT}`);
  const { status, type, body } = await answer(request, url);
  response.writeHead(status, {
    'content-type': type,
    'cache-control': 'no-store',
    'content-security-policy': await policyFor(url.pathname).catch(() => APP_POLICY),
  });
  response.end(body);
}).listen(PORT, '127.0.0.1', () => console.error(`stub on http://127.0.0.1:${PORT}/, state ${state}`));
