// The rrweb corpus: recordings of many recorders, and what is true of them.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const corpus = join(process.env.REELCASE_CORPUS ?? join(here, '../../../shared/corpus'), 'rrweb');
assert.ok(existsSync(corpus), `the corpus is missing: ${corpus}`);

const BYTES_MAX = 1 << 30;

function readJson(path) {
  const file = join(corpus, path);
  const text = path.endsWith('.zst')
    ? execFileSync('zstd', ['-dcq', file], { maxBuffer: BYTES_MAX, encoding: 'utf8' })
    : readFileSync(file, 'utf8');
  return JSON.parse(text);
}

const list = (folder, end) => readdirSync(join(corpus, folder)).filter((name) => name.endsWith(end));

/** The path of a corpus file, for commands. */
export const pathOf = (path) => join(corpus, path);

/** The events of a recording that is a list, or an object with one, in order of time. */
export function readEvents(path) {
  const json = readJson(path);
  const events = Array.isArray(json) ? json : (json.result ?? json.events);
  return events.toSorted((a, b) => a.timestamp - b.timestamp);
}

/** Generated recordings with their trees. */
export function fuzz() {
  return list('fuzz', '.expect.json').map((file) => {
    const { recording, points } = readJson(`fuzz/${file}`);
    return { name: recording, events: readJson(`fuzz/${recording}`), points };
  });
}

/** Recordings of pages whose tree was read at the end. */
export function live() {
  return list('stress', '.livedom.json').map((file) => {
    const { recording, nodes } = readJson(`stress/${file}`);
    return { name: recording, events: readEvents(`stress/${recording}.zst`), nodes };
  });
}

/** For these the answer is what that replayer happens to do with what cannot be, and no truth. */
const NO_TRUTH = {
  'dangling-ids.json': 'names nodes that do not exist',
  'duplicate-ids.json': 'has one id for two nodes',
};

/** Recordings with the trees that rrweb 2.2.2 builds of them. */
export function answers() {
  return readdirSync(join(corpus, 'answers')).map((file) => {
    const { recording, firstTimestamp, points } = readJson(`answers/${file}`);
    const paths = ['recorded', 'derived', 'exports', 'fixtures'].flatMap((folder) => [
      `${folder}/${recording}`,
      `${folder}/${recording}.zst`,
    ]);
    const path = paths.find((candidate) => existsSync(join(corpus, candidate)));
    assert.ok(path, `${recording} has an answer and is nowhere`);
    return { name: recording, path, first: firstTimestamp, points, skipped: NO_TRUTH[recording] };
  });
}

/** Every recording of the corpus, by its path. */
export function recordings() {
  const isAnswer = /\.(truth|expect|livedom|oracle)\.json(\.zst)?$/;
  const holdsNoEvents = ['derived/empty-array.json', 'sdk/openobserve-rum-0.4.1.json'];
  return ['derived', 'exports', 'fixtures', 'fuzz', 'recorded', 'sdk', 'stress']
    .flatMap((folder) => list(folder, '').map((file) => `${folder}/${file}`))
    .filter((path) => !isAnswer.test(path) && !holdsNoEvents.includes(path));
}
