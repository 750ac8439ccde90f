import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decompress } from 'fzstd';

const here = dirname(fileURLToPath(import.meta.url));
const corpus = join(process.env.REELCASE_CORPUS ?? join(here, '../../../shared/corpus'), 'posthog-js');
const OWN_HEADERS = new Set(['host', 'content-length', 'connection', 'accept-encoding']);

/** What is known of the captures of real posthog-js: one entry each, with its id and file. */
export function captures() {
  const manifest = join(corpus, 'manifest.json');
  if (!existsSync(manifest)) throw new Error(`the corpus is missing: ${manifest}`);
  return JSON.parse(readFileSync(manifest, 'utf8')).captures;
}

/** The uploads of one capture, in order: path with query, headers and the exact body. */
export function uploadsOf(capture) {
  const text = new TextDecoder().decode(decompress(readFileSync(join(corpus, capture.file))));
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
    .filter((request) => request.method === 'POST')
    .map((request) => ({
      path: `${request.path.replace(capture.path_prefix, '')}?${request.query}`,
      headers: Object.fromEntries(Object.entries(request.headers).filter(([name]) => !OWN_HEADERS.has(name))),
      body: Buffer.from(request.body_base64, 'base64'),
      atMs: request.t_ms,
    }));
}

/** Sends a capture to a server as it was recorded, without its pauses. Fails where the server does not take it. */
export async function send(url, capture) {
  for (const { path, headers, body } of uploadsOf(capture)) {
    const response = await fetch(url + path, { method: 'POST', headers, body });
    if (response.status !== 200) {
      throw new Error(`${capture.id} ${path}: ${response.status} ${await response.text()}`);
    }
  }
}
