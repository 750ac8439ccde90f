// The releases of posthog-js that are tested, fetched from the registry and checked against the digests in
// clients.json. `node web/e2e/clients.mjs` fetches them all ahead of the tests.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const here = dirname(fileURLToPath(import.meta.url));
const cache = join(here, '.cache/posthog-js');
const pinned = JSON.parse(readFileSync(join(here, 'clients.json'), 'utf8'));

/** Every tested release, oldest first. */
export const RELEASES = Object.keys(pinned);
/** The newest of them. */
export const NEWEST = RELEASES.at(-1);

/** Brings releases into the cache. Answers the folder that `--static-dir` takes. */
export async function fetchReleases(versions = RELEASES) {
  mkdirSync(cache, { recursive: true });
  await Promise.all(versions.map(fetchRelease));
  return cache;
}

async function fetchRelease(version) {
  const target = join(cache, version);
  if (existsSync(target)) return;
  assert.ok(pinned[version], `posthog-js ${version} is not in clients.json`);
  const work = mkdtempSync(join(cache, 'fetch-'));
  try {
    await run('npm', ['pack', '--silent', `posthog-js@${version}`], { cwd: work });
    const archive = join(work, `posthog-js-${version}.tgz`);
    const found = `sha512-${createHash('sha512').update(readFileSync(archive)).digest('base64')}`;
    assert.equal(found, pinned[version], `posthog-js ${version} is not what clients.json names`);
    await run('tar', ['-xzf', archive, '-C', work]);
    // Two test files may fetch at once; whoever comes second finds the folder there.
    if (!existsSync(target)) renameSync(join(work, 'package'), target);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await fetchReleases();
