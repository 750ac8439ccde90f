import { expect, test } from 'vitest';
import type { BlockInfo } from '../src/core/blocks.ts';
import { Loader } from '../src/core/loader.ts';
import type { OnPiece } from '../src/core/parser.ts';
import type { EventRecord } from '../src/core/record.ts';
import { loadScene } from '../src/core/scene.ts';
import type { Source } from '../src/core/source.ts';
import { Timeline } from '../src/core/timeline.ts';

const isSnapshot = (at: number) => at % 100 === 0;

const block = (url: string, start_ms: number, end_ms: number): BlockInfo => ({
  index: 0,
  kind: 'lines',
  start_ms,
  end_ms,
  event_count: 3,
  plain_bytes: 100,
  stored_bytes: 10,
  windows: ['w'],
  keyframes: isSnapshot(start_ms) ? [{ window: 'w', timestamp_ms: start_ms, plain_offset: 0 }] : [],
  url,
});

const record = (at: number): EventRecord => ({
  window: 'w',
  at,
  type: isSnapshot(at) ? 2 : 3,
  active: false,
  moves: false,
  json: `${at}`,
});

/** A loader of which the test says what comes, and when. */
function loading(blocks: readonly BlockInfo[]) {
  const arrivals = new Map<string, { come: (...times: number[]) => void; end: () => void }>();
  const read = (of: BlockInfo, _: unknown, __: unknown, begin: () => void, onPiece: OnPiece) =>
    new Promise<void>((done) => {
      begin();
      const come = (...times: number[]) =>
        onPiece({ records: times.map(record), marks: [], rows: [], moments: [], damaged: 0 }, 10);
      arrivals.set(of.url, { come, end: done });
    });
  const loader = new Loader({
    source: { read } as unknown as Source,
    parser: { parse: async () => {}, close: () => {} },
    bytesMax: 1_000,
    onProgress: () => {},
    onBroken: () => {},
  });
  loader.take({ blocks, is_live: false, version: '1' });
  return { loader, arrivals };
}

test('events are settled up to where an older one could still come', async () => {
  const { loader, arrivals } = loading([block('/a', 0, 100), block('/b', 100, 200)]);
  const seen: number[] = [];
  const loaded = loader.load(0, 200, 'w', () => seen.push(loader.settled(0, 200, 'w')));
  expect(loader.settled(0, 200, 'w')).toBe(-1);
  arrivals.get('/a')?.come(10, 20);
  // The second block is here in part before the first one is whole.
  arrivals.get('/b')?.come(110, 120);
  expect(seen).toEqual([19, 19]);
  expect(loader.events('w', -1, loader.settled(0, 200, 'w')).map(({ at }) => at)).toEqual([10]);
  arrivals.get('/a')?.end();
  await Promise.resolve();
  await Promise.resolve();
  expect(loader.settled(0, 200, 'w')).toBe(119);
  arrivals.get('/b')?.end();
  await loaded;
  expect(loader.settled(0, 200, 'w')).toBe(200);
});

test('of a block whose events are not in order nothing is settled before it is whole', async () => {
  const { loader, arrivals } = loading([block('/a', 0, 100)]);
  const loaded = loader.load(0, 100, 'w');
  arrivals.get('/a')?.come(50, 20);
  expect(loader.settled(0, 100, 'w')).toBe(-1);
  arrivals.get('/a')?.end();
  await loaded;
  expect(loader.settled(0, 100, 'w')).toBe(100);
  expect(loader.events('w', -1, 100).map(({ at }) => at)).toEqual([20, 50]);
});

test('a scene is given as it comes: each event once, from its snapshot on, and the last with the whole', async () => {
  const { loader, arrivals } = loading([block('/a', 0, 90), block('/b', 100, 190), block('/c', 195, 300)]);
  const given: number[][] = [];
  const scene = loadScene(loader, new Timeline(0, 300), 'w', 250, (events) =>
    given.push(events.map(({ at }) => at)),
  );
  arrivals.get('/b')?.come(100);
  expect(given).toEqual([]);
  arrivals.get('/b')?.come(110, 120);
  arrivals.get('/b')?.come(130, 190);
  expect(given).toEqual([
    [100, 110],
    [120, 130],
  ]);
  arrivals.get('/b')?.end();
  await Promise.resolve();
  await Promise.resolve();
  arrivals.get('/c')?.come(195, 240);
  expect(given.slice(2).flat()).toEqual([190, 195]);
  arrivals.get('/c')?.come(260, 290);
  const { events } = await scene;
  expect(given.slice(2).flat()).toEqual([190, 195]);
  expect(events.map(({ at }) => at)).toEqual([100, 110, 120, 130, 190, 195, 240]);
});
