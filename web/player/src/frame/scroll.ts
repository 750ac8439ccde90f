import { eachNode, isObject, type WireEvent } from './model.ts';

/**
 * Takes all scrolling out of a list that begins with a page's full snapshot, and keeps the last of each place for when
 * the page stands: a page that is built for one moment need not be laid out for those before it. Changes the snapshots.
 */
export function takeScrolls(events: readonly WireEvent[]): { kept: WireEvent[]; scrolls: WireEvent[] } {
  const scrolls = new Map<unknown, WireEvent>();
  const kept: WireEvent[] = [];
  const timestamp = events.at(-1)?.timestamp ?? 0;
  for (const event of events) {
    const { type, data } = event;
    if (type === 3 && data['source'] === 3) {
      scrolls.delete(data['id']);
      scrolls.set(data['id'], { ...event, timestamp });
      continue;
    }
    if (type === 2) {
      scrolls.clear();
      for (const [id, { x, y }] of takeOffsets(data)) {
        scrolls.set(id, { type: 3, timestamp, data: { source: 3, id, x, y } });
      }
    }
    kept.push(event);
  }
  return { kept, scrolls: [...scrolls.values()] };
}

/** Takes out of a snapshot how far its page and its elements were scrolled. */
function takeOffsets(data: Record<string, unknown>): Map<number, { x: number; y: number }> {
  const out = new Map<number, { x: number; y: number }>();
  const { node: root, initialOffset: offset } = data;
  if (!isObject(root)) return out;
  if (isObject(offset) && typeof root['id'] === 'number') {
    const [x, y] = [Number(offset['left']) || 0, Number(offset['top']) || 0];
    if (x !== 0 || y !== 0) out.set(root['id'], { x, y });
    // To go where it is costs a page nothing.
    data['initialOffset'] = { left: 0, top: 0 };
  }
  eachNode(root, ({ id, attributes }) => {
    if (typeof id !== 'number' || !isObject(attributes)) return;
    const { rr_scrollLeft: left, rr_scrollTop: top } = attributes;
    if (left === undefined && top === undefined) return;
    delete attributes['rr_scrollLeft'];
    delete attributes['rr_scrollTop'];
    out.set(id, { x: Number(left) || 0, y: Number(top) || 0 });
  });
  return out;
}
