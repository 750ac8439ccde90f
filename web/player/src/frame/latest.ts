import { isObject, objects, type WireEvent } from './model.ts';

/**
 * Drops texts and attributes that later ones replace: a page that is built for one moment needs only the last of each,
 * and a page that counts or animates says little else. Changes the events. Differences, as an object is for `style`,
 * build on each other and are kept.
 */
export function dropReplaced(events: readonly WireEvent[]): void {
  const texts = new Set<unknown>();
  const attributes = new Map<unknown, Set<string>>();
  for (const { type, data } of events.toReversed()) {
    // The same numbers name other nodes before.
    if (type === 2) {
      texts.clear();
      attributes.clear();
    }
    if (type !== 3 || data['source'] !== 0) continue;
    if (Array.isArray(data['texts'])) data['texts'] = lastOf(data['texts'], texts);
    for (const { id, attributes: values } of objects(data['attributes']).toReversed()) {
      if (!isObject(values)) continue;
      const known = attributes.get(id) ?? new Set();
      attributes.set(id, known);
      for (const [name, value] of Object.entries(values)) {
        if (known.has(name)) delete values[name];
        else if (!isObject(value)) known.add(name);
      }
    }
  }
}

/** The texts of nodes that are not in `known` yet, which they are then. */
function lastOf(list: readonly unknown[], known: Set<unknown>): unknown[] {
  const kept = list.toReversed().filter((item) => {
    if (!isObject(item)) return true;
    const isReplaced = known.has(item['id']);
    known.add(item['id']);
    return !isReplaced;
  });
  return kept.reverse();
}
