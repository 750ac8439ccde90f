import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import type { Plugin } from 'vite';

/** Below this a file fits into one packet either way. */
const BYTES_MIN = 1400;
const PACKABLE = /\.(js|css|html|svg)$/;

/**
 * Lays `.br` and `.gz` beside the files of a build, which the server sends to whoever takes them. Packed once and for
 * all, they are smaller than what a server would make on the way. Pages that the server writes into stay as they are.
 */
export function precompress(isWrittenInto: (file: string) => boolean = () => false): Plugin {
  return {
    name: 'precompress',
    apply: 'build',
    writeBundle({ dir }) {
      if (dir === undefined) return;
      for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
        const path = join(entry.parentPath, entry.name);
        if (!entry.isFile() || !PACKABLE.test(entry.name) || isWrittenInto(entry.name)) continue;
        const plain = readFileSync(path);
        if (plain.length < BYTES_MIN) continue;
        const params = { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY };
        writeFileSync(`${path}.br`, brotliCompressSync(plain, { params }));
        writeFileSync(`${path}.gz`, gzipSync(plain, { level: constants.Z_BEST_COMPRESSION }));
      }
    },
  };
}
