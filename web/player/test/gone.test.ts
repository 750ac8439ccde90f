import { expect, test } from 'vitest';
import { Gone } from '../src/frame/gone.ts';
import type { WireEvent } from '../src/frame/model.ts';

const incremental = (data: Record<string, unknown>): WireEvent => ({ type: 3, timestamp: 1, data });
const mutation = (data: Record<string, unknown>) => incremental({ source: 0, ...data });
const add = (id: number, parentId: number, nextId: number | null = null, more: object = {}) => ({
  parentId,
  nextId,
  node: { type: 2, tagName: 'p', attributes: {}, childNodes: [], id, ...more },
});
const remove = (id: number, parentId = 1) => ({ id, parentId });
const text = (id: number) => ({ id, value: 'x' });
const attributes = (id: number) => ({ id, attributes: { class: 'x' } });

function dropGone(events: readonly WireEvent[]): void {
  const gone = new Gone();
  for (const event of events) gone.follow(event);
  gone.drop();
}

/** What is left of each event: ids of the nodes that are added, removed and spoken of. */
function left(events: WireEvent[]): number[][][] {
  dropGone(events);
  const ids = (list: unknown) =>
    ((list ?? []) as { id?: number; node?: { id: number } }[]).map(
      (entry) => entry.id ?? entry.node?.id ?? 0,
    );
  return events.map(({ data }) => [
    ids(data['adds']),
    ids(data['removes']),
    ids(data['texts']),
    ids(data['attributes']),
  ]);
}

test('a node that goes again is dropped with all below it and all that is said of it', () => {
  const events = [
    mutation({ adds: [add(11, 10), add(10, 1), add(20, 1)] }),
    mutation({ texts: [text(11), text(20)], attributes: [attributes(10), attributes(1)] }),
    mutation({ removes: [remove(10), remove(2)] }),
  ];
  expect(left(events)).toEqual([
    [[20], [], [], []],
    [[], [], [20], [1]],
    [[], [2], [], []],
  ]);
});

test('a node that another one was put before stays until that one goes, but not what is in it', () => {
  const events = [
    mutation({ adds: [add(10, 1, 9), add(11, 10)] }),
    mutation({ adds: [add(20, 1, 10)] }),
    mutation({ removes: [remove(10)] }),
  ];
  expect(left(events)).toEqual([
    [[10], [], [], []],
    [[20], [], [], []],
    [[], [10], [], []],
  ]);
  const bothGo = [
    mutation({ adds: [add(10, 1, 9)] }),
    mutation({ adds: [add(20, 1, 10)] }),
    mutation({ removes: [remove(10), remove(20)] }),
  ];
  expect(left(bothGo)).toEqual([
    [[], [], [], []],
    [[], [], [], []],
    [[], [], [], []],
  ]);
});

test('a node that moves is where it was put last', () => {
  const events = [
    mutation({ adds: [add(10, 1), add(11, 10)] }),
    mutation({ removes: [remove(11, 10)], adds: [add(11, 1)] }),
    mutation({ removes: [remove(10)] }),
  ];
  expect(left(events)).toEqual([
    [[], [], [], []],
    [[11], [], [], []],
    [[], [], [], []],
  ]);
});

test('what the snapshot holds goes as it is told, and may come back', () => {
  const events = [
    mutation({ adds: [add(10, 1)] }),
    { type: 2, timestamp: 1, data: {} },
    mutation({ removes: [remove(10), remove(5)], adds: [add(5, 1)] }),
    mutation({ removes: [remove(5)] }),
  ];
  expect(left(events)).toEqual([
    [[10], [], [], []],
    [[], [], [], []],
    [[], [10, 5], [], []],
    [[], [], [], []],
  ]);
});

test('nodes of the snapshot that go are not built, unless another one has its place by them', () => {
  const node = (id: number, tagName: string, childNodes: object[] = []) => ({
    type: 2,
    id,
    tagName,
    attributes: {},
    childNodes,
  });
  const words = (id: number) => ({ type: 3, id, textContent: 'x' });
  const rows = [node(5, 'tr', [words(6)]), node(7, 'tr', [words(8)]), node(9, 'tr', [words(10)])];
  const html = node(2, 'html', [node(3, 'body', [node(4, 'table', rows)])]);
  const events: WireEvent[] = [
    { type: 2, timestamp: 1, data: { node: { type: 0, id: 1, childNodes: [html] } } },
    mutation({ adds: [add(20, 4, 7)], texts: [text(6), text(10)] }),
    mutation({ removes: [remove(5, 4), remove(7, 4), remove(9, 4)], adds: [add(9, 3)] }),
    mutation({ removes: [remove(2), remove(1, 5)] }),
    mutation({ adds: [add(2, 1)] }),
  ];
  const kept = structuredClone(events.slice(0, 3));
  expect(left(kept)).toEqual([
    [[], [], [], []],
    [[20], [], [], []],
    [[9], [7], [], []],
  ]);
  const drawn = JSON.stringify(kept[0]?.data['node']);
  expect([...drawn.matchAll(/"id":(\d+)/g)].map(([, id]) => Number(id))).toEqual([1, 2, 3, 4, 7]);
  // Where the page itself goes, or somebody says so, that is the replayer's business.
  expect(left(events)[3]).toEqual([[], [2, 1], [], []]);
  expect(JSON.stringify(events[0]?.data['node'])).toContain('"body"');
});

test('the first to adopt a style sheet stays, because others may have it from there', () => {
  const events = [
    mutation({ adds: [add(10, 1), add(11, 10), add(12, 10)] }),
    incremental({ source: 15, id: 11, styleIds: [1], styles: [{ styleId: 1, rules: [] }] }),
    mutation({ removes: [remove(10)] }),
  ];
  expect(left(events)).toEqual([
    [[10, 11], [], [], []],
    [[], [], [], []],
    [[], [10], [], []],
  ]);
});

test('what is not told the way recorders tell it is left as it is', () => {
  const inside = { childNodes: [{ id: 12, type: 3, textContent: 'x' }] };
  const untouched = [
    mutation({ adds: [add(10, 1, null, inside)] }),
    mutation({ removes: [remove(10)] }),
    mutation({ adds: [add(20, 1), add(20, 1)] }),
    mutation({ removes: [remove(20)] }),
    mutation({ adds: [{ node: {} }, 3, null], removes: 'x', texts: [{}], attributes: [{ id: '10' }] }),
  ];
  const before = structuredClone(untouched);
  dropGone(untouched);
  expect(untouched).toEqual(before);
  // Nodes that hang on each other in a circle end together.
  const circle = [mutation({ adds: [add(30, 31), add(31, 30)] }), mutation({ removes: [remove(30)] })];
  expect(left(circle)[0]?.[0]).toEqual([]);
});
