import { describe, expect, test } from 'vitest';
import { type Add, readEvent, type WireEvent } from '../src/frame/model.ts';
import { KnownNodes, orderAdds, orderMutation } from '../src/frame/order.ts';
import { LIMITS } from '../src/limits.ts';
import { hasCorpus, readCorpus } from './corpus.ts';

const add = (id: number, parentId: number, nextId: number | null): Add => ({
  parentId,
  nextId,
  node: { type: 2, id },
});
const ids = (adds: readonly Add[]) => adds.map(({ node }) => node?.id);

test('parents come before children and later siblings before earlier ones', () => {
  const adds = [add(12, 11, null), add(10, 1, 11), add(11, 1, null)];
  expect(ids(orderAdds(adds, (id) => id === 1))).toEqual([11, 12, 10]);
});

test('a cycle ends, and nothing is lost in it', () => {
  const adds = [add(2, 1, 3), add(3, 1, 4), add(4, 1, 2), add(5, 5, null)];
  expect(ids(orderAdds(adds, (id) => id === 1)).sort()).toEqual([2, 3, 4, 5]);
});

test('a sibling that will never come is not waited for, and the recorded add stays as it is', () => {
  const adds = [add(2, 1, 99)];
  expect(orderAdds(adds, (id) => id === 1)[0]?.nextId).toBeNull();
  expect(adds[0]?.nextId).toBe(99);
});

test('a long list in the worst order is quick', () => {
  const adds = Array.from({ length: 100_000 }, (_, i) => add(i + 2, 1, i === 99_999 ? null : i + 3));
  const start = performance.now();
  expect(orderAdds(adds, (id) => id === 1)).toHaveLength(100_000);
  expect(performance.now() - start).toBeLessThan(2000);
});

test('nodes as deep as a page may be are known, and a chain that goes on is not climbed', () => {
  const known = new KnownNodes();
  known.reset({ type: 0, id: 1 });
  for (let id = 2; id <= 2 * LIMITS.depth; id++) known.place(id, id - 1);
  expect(known.has(LIMITS.depth)).toBe(true);
  expect(known.has(LIMITS.depth + 1)).toBe(false);
  const before = (id: number): Add => ({ parentId: 1, nextId: id, node: { type: 3, id: 5000 + id } });
  const mutation = {
    type: 3,
    timestamp: 1,
    data: { adds: [before(LIMITS.depth), before(LIMITS.depth + 1)] },
  };
  orderMutation(mutation, known);
  expect(mutation.data.adds.map(({ nextId }) => nextId)).toEqual([LIMITS.depth, null]);
});

test('a text that is told of twice is there once, with what was told last', () => {
  const known = new KnownNodes();
  const text = (id: number, textContent: string) => ({ type: 3, id, textContent });
  known.reset({
    type: 0,
    id: 1,
    childNodes: [{ type: 2, id: 2, childNodes: [text(3, 'old'), text(4, 'rules')] }],
  });
  const mutation = (data: Record<string, unknown>): WireEvent => ({ type: 3, timestamp: 1, data });
  const put = (node: { id: number }) => ({ parentId: 2, nextId: null, node });
  const again = mutation({ adds: [put(text(3, 'new')), put(text(4, '')), put(text(5, 'more'))] });
  orderMutation(again, known);
  expect(again.data['texts']).toEqual([{ id: 3, value: 'new' }]);
  expect(ids(again.data['adds'] as Add[])).toEqual([5]);
  const moved = mutation({ removes: [{ parentId: 2, id: 3 }], adds: [put(text(3, 'moved'))] });
  orderMutation(moved, known);
  expect(ids(moved.data['adds'] as Add[])).toEqual([3]);
});

/** A page that takes each add at once or loses it, which is what the replayer is sure to get right. */
class StrictPage {
  readonly children = new Map<number, number[]>();
  readonly parents = new Map<number, number>();
  lost = 0;

  reset(node: Record<string, unknown>): void {
    this.children.clear();
    this.parents.clear();
    const walk = (item: Record<string, unknown>, parent: number) => {
      const id = Number(item['id']);
      this.children.set(id, []);
      this.parents.set(id, parent);
      this.children.get(parent)?.push(id);
      for (const child of (item['childNodes'] as Record<string, unknown>[] | undefined) ?? [])
        walk(child, id);
    };
    walk(node, 0);
  }

  apply(event: WireEvent): void {
    for (const { id } of event.data['removes'] as { id: number }[]) this.#detach(id, true);
    for (const { parentId, nextId, node } of event.data['adds'] as Add[]) {
      const list = this.children.get(Number(parentId));
      const id = Number(node?.id);
      if (list === undefined || (typeof nextId === 'number' && !this.children.has(nextId))) {
        this.lost++;
        continue;
      }
      if (this.children.has(id)) this.#detach(id, false);
      else this.children.set(id, []);
      const at = typeof nextId === 'number' ? list.indexOf(nextId) : -1;
      list.splice(at < 0 ? list.length : at, 0, id);
      this.parents.set(id, Number(parentId));
    }
  }

  /** Ids and parents below a node, in document order. */
  rows(id: number): [number, number][] {
    const below = (this.children.get(id) ?? []).flatMap((child) => this.rows(child));
    return [[id, this.parents.get(id) ?? 0], ...below];
  }

  #detach(id: number, forget: boolean): void {
    const list = this.children.get(this.parents.get(id) ?? -1);
    list?.splice(list.indexOf(id), 1);
    if (!forget) return;
    for (const child of this.children.get(id) ?? []) this.#forgetTree(child);
    this.#forgetTree(id);
  }

  #forgetTree(id: number): void {
    for (const child of this.children.get(id) ?? []) this.#forgetTree(child);
    this.children.delete(id);
    this.parents.delete(id);
  }
}

type Expected = { points: { afterEventIndex: number; body: [number, number, string][] }[] };

describe.skipIf(!hasCorpus)('generated mutations come out exactly', () => {
  test.each(['1-old', '2-old', '5-new', '6-new', '8-old', '9-any'])('tree-fuzz-%s', (name) => {
    const events = readCorpus(`fuzz/tree-fuzz-${name}.json`) as WireEvent[];
    const { points } = readCorpus(`fuzz/tree-fuzz-${name}.expect.json`) as Expected;
    const known = new KnownNodes();
    const page = new StrictPage();
    events.forEach((stored, index) => {
      const event = readEvent(JSON.stringify(stored));
      if (event?.type === 2) {
        known.reset(event.data['node'] as Record<string, unknown>);
        page.reset(event.data['node'] as Record<string, unknown>);
      } else if (event?.type === 3 && event.data['source'] === 0) {
        orderMutation(event, known);
        page.apply(event);
      }
      for (const point of points.filter(({ afterEventIndex }) => afterEventIndex === index)) {
        const body = point.body[0]?.[0] ?? 0;
        expect(page.rows(body)).toEqual(point.body.map(([id, parent]) => [id, parent]));
      }
    });
    expect(page.lost).toBe(0);
  });
});
