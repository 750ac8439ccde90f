import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';

/** Cells of a row that a run leaves alone: id, work, figure, goal. */
const KEPT_CELLS = 4;

/** Prints what was found. */
export function print(rows) {
  for (const { id, reelcase, against, ratio } of rows) console.log([id, reelcase, against, ratio].join('  '));
}

/** Writes rows into the table of a document, leaving all others as they are. */
export function write(path, rows, command) {
  const gb = (totalmem() / 1e9).toFixed(0);
  const machine = `${availableParallelism()} cores of ${cpus()[0]?.model.trim() ?? 'unknown'}, ${gb} GB`;
  const measured = `${new Date().toISOString().slice(0, 10)}, ${machine}, \`${command}\``;
  const lines = readFileSync(path, 'utf8').split('\n');
  for (const { id, reelcase, against, ratio } of rows) {
    const at = lines.findIndex((line) => line.startsWith(`| ${id} |`));
    if (at < 0) throw new Error(`${path} has no row ${id}`);
    const kept = lines[at].split(' | ').slice(0, KEPT_CELLS);
    const filled = [reelcase, against, ratio, measured].map((cell) => cell.replaceAll('|', '/'));
    lines[at] = `${[...kept, ...filled].join(' | ')} |`;
  }
  writeFileSync(path, lines.join('\n'));
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export const formatRatio = (ratio) => `${ratio.toFixed(2)}x`;
export const formatMb = (mb) => `${mb.toFixed(0)} MB`;
