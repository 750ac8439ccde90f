/**
 * The browser's rows of docs/performance.md: `node web/bench/run.mjs [ID …]`; P8 P8s P8h P8i P18 P18h where none is named.
 * P8g, a recording of 1 GB, takes minutes and runs where it is named or BIG=1 is set. ROUNDS is the number of rounds.
 * Needs a release binary, `web/dist` and Chromium.
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { formatMb, formatRatio, median, print, write } from './report.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const release = join(root, 'target/release/reelcase');
if (process.env.REELCASE_BIN === undefined && existsSync(release)) process.env.REELCASE_BIN = release;

const USUAL = ['P8', 'P8s', 'P8h', 'P8i', 'P18', 'P18h'];
const KNOWN = [...USUAL, 'P8g'];
const PLAIN_BYTES = 65_000_000;
const BIG_PLAIN_BYTES = 1_000_000_000;
const USUAL_ROUNDS = 5;
const rounds = Number(process.env.ROUNDS ?? USUAL_ROUNDS);
const named = process.argv.slice(2).flatMap((text) => text.split(/[\s,]+/).filter(Boolean));
const wanted = new Set(named.length > 0 ? named.filter((id) => KNOWN.includes(id)) : USUAL);
if (process.env.BIG === '1') wanted.add('P8g');

/** One measurement after the other of both parties, in turns. */
async function inTurns(ours, theirs) {
  const found = { ours: [], theirs: [] };
  for (let round = 0; round < rounds; round++) {
    found.ours.push(await ours());
    found.theirs.push(await theirs());
    console.error(
      `  round ${round + 1}: ${found.ours.at(-1).toFixed(1)} against ${found.theirs.at(-1).toFixed(1)}`,
    );
  }
  return { ours: median(found.ours), theirs: median(found.theirs) };
}

async function sizes() {
  const { playerKb, rrwebPlayerKb } = await import('./size.mjs');
  const [ours, theirs] = [await playerKb(), rrwebPlayerKb()];
  return {
    id: 'P18',
    reelcase: `${ours.toFixed(0)} KB`,
    against: `${theirs.toFixed(0)} KB`,
    ratio: formatRatio(ours / theirs),
  };
}

async function fileSize() {
  const { fileKb } = await import('./size.mjs');
  return { id: 'P18h', reelcase: `${(await fileKb()).toFixed(0)} KB`, against: '', ratio: '' };
}

async function browserRows() {
  const [{ Ours }, { Theirs }] = await Promise.all([import('./ours.mjs'), import('./theirs.mjs')]);
  const rows = [];
  const ours = await Ours.start(PLAIN_BYTES);
  const theirs = await Theirs.start(PLAIN_BYTES);
  try {
    const lines = [
      ['P8', 'ms', () => ours.firstFrameMs(), () => theirs.firstFrameMs()],
      ['P8s', 'ms', () => ours.seekMs(), () => theirs.seekMs()],
      ['P8h', 'MB', () => ours.heapMb(), () => theirs.heapMb()],
    ];
    for (const [id, unit, own, other] of lines) {
      if (!wanted.has(id)) continue;
      console.error(id);
      const found = await inTurns(own, other);
      const text = (value) => (unit === 'MB' ? formatMb(value) : `${value.toFixed(0)} ${unit}`);
      rows.push({
        id,
        reelcase: text(found.ours),
        against: text(found.theirs),
        ratio: formatRatio(found.ours / found.theirs),
      });
    }
  } finally {
    await ours.stop();
    await theirs.stop();
  }
  return rows;
}

/** The longest that anything a viewer does holds up the main thread, with 100,000 rows of the inspector. */
async function inspectorRow() {
  console.error('P8i');
  const { longestTask } = await import('./long.mjs');
  const { name, ms } = await longestTask();
  return {
    id: 'P8i',
    reelcase: `${ms.toFixed(0)} ms (${name})`,
    against: '',
    ratio: '',
  };
}

async function bigRow() {
  console.error('P8g');
  const { Ours } = await import('./ours.mjs');
  const ours = await Ours.start(BIG_PLAIN_BYTES);
  try {
    const heap = await ours.heapMb(10 * 60_000);
    return {
      id: 'P8g',
      reelcase: formatMb(heap),
      against: 'rrweb-player cannot: more text than V8 holds in a string',
      ratio: '',
    };
  } finally {
    await ours.stop();
  }
}

const rows = [];
if (wanted.has('P18')) rows.push(await sizes());
if (wanted.has('P18h')) rows.push(await fileSize());
if (['P8', 'P8s', 'P8h'].some((id) => wanted.has(id))) rows.push(...(await browserRows()));
if (wanted.has('P8i')) rows.push(await inspectorRow());
if (wanted.has('P8g')) rows.push(await bigRow());
print(rows);
const only = named.length > 0 ? ` ONLY="${[...wanted].join(' ')}"` : '';
const turns = rounds === USUAL_ROUNDS ? '' : ` ROUNDS=${rounds}`;
write(join(root, 'docs/performance.md'), rows, `make bench${only}${turns}`);
