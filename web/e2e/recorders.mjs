// Recorders other than posthog-js, fetched from the registry and checked against the digests here.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const cache = join(dirname(fileURLToPath(import.meta.url)), '.cache/recorders');

/** The packages, the script in each that a page can load, and what starts recording there. */
export const RECORDERS = {
  'rrweb@2.0.0-alpha.4': {
    file: 'dist/rrweb.min.js',
    record: 'window.rrweb.record',
    integrity: 'wEHUILbxDPcNwkM3m4qgPgXAiBJyqCbbOHyVoNEVBJzHszWEFYyTbrZqUdeb1EfmTRC2PsumCIkVcomJ/xcOzA==',
  },
  '@rrweb/record@2.1.6': {
    file: 'umd/record.min.js',
    record: 'window.rrwebRecord.record',
    integrity: 'dHOrWa97l3C+BBsUd+zgLtErTZavzudJunu1HN2bV6WhTBLGk7z8BY1fWw0QerYK7qJJyrBE9D6XHcISVdVGQQ==',
  },
  '@posthog/rrweb-record@0.0.53': {
    file: 'dist/rrweb-record.umd.min.cjs',
    record: 'window.rrweb.record',
    integrity: 'fsMTw6DrPAKahSjuFneZ4lXFuQAmVsIxGI2N3a8BENzDEK+K+6CrE1mVmwueuGY/nbKYIKNljaZIMhZIFzjR6Q==',
  },
};

/** The script of a recorder, and the expression that is its `record`. */
export async function fetchRecorder(name) {
  const { file, record, integrity } = RECORDERS[name];
  mkdirSync(cache, { recursive: true });
  const target = join(cache, name.replace('/', '-'));
  if (!existsSync(target)) {
    const work = mkdtempSync(join(cache, 'fetch-'));
    try {
      await run('npm', ['pack', '--silent', name], { cwd: work });
      const archive = join(
        work,
        readdirSync(work).find((entry) => entry.endsWith('.tgz')),
      );
      const found = createHash('sha512').update(readFileSync(archive)).digest('base64');
      assert.equal(found, integrity, `${name} is not what is named here`);
      await run('tar', ['-xzf', archive, '-C', work]);
      renameSync(join(work, 'package'), target);
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
  }
  return { script: readFileSync(join(target, file), 'utf8'), record };
}
