import { expect, test } from 'vitest';
import { dropReplaced } from '../src/frame/latest.ts';
import type { WireEvent } from '../src/frame/model.ts';

const mutation = (data: Record<string, unknown>): WireEvent => ({
  type: 3,
  timestamp: 1,
  data: { source: 0, ...data },
});
const text = (id: number, value: string) => ({ id, value });
const attributes = (id: number, values: Record<string, unknown>) => ({ id, attributes: values });

test('the last text of each node is kept', () => {
  const events = [
    mutation({ texts: [text(1, 'a'), text(2, 'b')] }),
    mutation({ texts: [text(1, 'c'), text(1, 'd')], adds: ['kept'] }),
  ];
  dropReplaced(events);
  expect(events.map(({ data }) => data['texts'])).toEqual([[text(2, 'b')], [text(1, 'd')]]);
  expect(events[1]?.data['adds']).toEqual(['kept']);
});

test('the last value of each attribute is kept, null too', () => {
  const events = [
    mutation({ attributes: [attributes(1, { class: 'a', id: 'x' })] }),
    mutation({ attributes: [attributes(1, { class: null }), attributes(2, { class: 'b' })] }),
  ];
  dropReplaced(events);
  expect(events[0]?.data['attributes']).toEqual([attributes(1, { id: 'x' })]);
  expect(events[1]?.data['attributes']).toEqual([
    attributes(1, { class: null }),
    attributes(2, { class: 'b' }),
  ]);
});

test('differences of a style build on each other, until a whole one', () => {
  const styles = [{ color: 'red' }, 'top: 0', { left: '1px' }, { left: '2px' }];
  const events = styles.map((style) => mutation({ attributes: [attributes(1, { style })] }));
  dropReplaced(events);
  const kept = events.map(({ data }) => (data['attributes'] as { attributes: unknown }[])[0]?.attributes);
  expect(kept).toEqual([{}, { style: 'top: 0' }, { style: { left: '1px' } }, { style: { left: '2px' } }]);
});

test('a full snapshot starts numbers anew, and odd events are left alone', () => {
  const events: WireEvent[] = [
    mutation({ texts: [text(1, 'a')] }),
    { type: 2, timestamp: 1, data: {} },
    mutation({ texts: [text(1, 'b'), null, 'odd'], attributes: [null, { id: 1 }, 7] }),
    mutation({ texts: 'odd', attributes: 'odd' }),
  ];
  const before = structuredClone(events);
  dropReplaced(events);
  expect(events).toEqual(before);
});
