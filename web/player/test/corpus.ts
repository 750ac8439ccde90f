import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));

/** Where the shared recordings are; tests that need them are skipped without. */
export const CORPUS = process.env['REELCASE_CORPUS'] ?? `${here}../../../../shared/corpus`;
export const hasCorpus = existsSync(`${CORPUS}/rrweb`);

export function readCorpus(name: string): unknown {
  return JSON.parse(readFileSync(`${CORPUS}/rrweb/${name}`, 'utf8'));
}
