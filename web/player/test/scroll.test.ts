import { expect, test } from 'vitest';
import type { WireEvent } from '../src/frame/model.ts';
import { takeScrolls } from '../src/frame/scroll.ts';

const scroll = (id: number, y: number, timestamp: number): WireEvent => ({
  type: 3,
  timestamp,
  data: { source: 3, id, x: 0, y },
});

function snapshot(top: number, elementTop: number): WireEvent {
  const element = {
    type: 2,
    id: 2,
    tagName: 'div',
    attributes: { rr_scrollTop: elementTop },
    childNodes: [],
  };
  const node = { type: 0, id: 1, childNodes: [element] };
  return { type: 2, timestamp: 10, data: { node, initialOffset: { left: 0, top } } };
}

const places = (events: readonly WireEvent[]) => events.map(({ data }) => [data['id'], data['y']]);

test('of each place the last scroll is kept', () => {
  const other: WireEvent = { type: 3, timestamp: 12, data: { source: 0 } };
  const { kept, scrolls } = takeScrolls([scroll(5, 1, 11), other, scroll(6, 2, 12), scroll(5, 3, 13)]);
  expect(kept).toEqual([other]);
  expect(places(scrolls)).toEqual([
    [6, 2],
    [5, 3],
  ]);
});

test('a snapshot tells where its page and its elements stood, and later scrolls where they went', () => {
  const { kept, scrolls } = takeScrolls([snapshot(40, 7), scroll(1, 90, 11)]);
  expect(places(scrolls)).toEqual([
    [2, 7],
    [1, 90],
  ]);
  const data = kept[0]?.data as { initialOffset: unknown; node: { childNodes: { attributes: unknown }[] } };
  expect(data.initialOffset).toEqual({ left: 0, top: 0 });
  expect(data.node.childNodes[0]?.attributes).toEqual({});
});

test('a later snapshot makes what was scrolled before it void', () => {
  const { scrolls } = takeScrolls([snapshot(40, 7), scroll(9, 90, 11), snapshot(0, 8)]);
  expect(places(scrolls)).toEqual([[2, 8]]);
});
