import { isObject, objects, type WireEvent } from './model.ts';

/** One time that a node was put into the page. The same number may be put in again, which is another time. */
type Stay = {
  readonly add: Record<string, unknown>;
  /** The stay of the node it hangs on, where that was put in, too. */
  parent: Stay | null;
  /** The stays of the siblings that say where it goes. */
  places: readonly Stay[];
  readonly children: Set<Stay>;
  isOver: boolean;
  isNeeded: boolean;
};

/** rrweb's source of events that give a page or a shadow tree style sheets of its own. */
const ADOPTED_SHEETS = 15;

/** An entry of an event that speaks of a stay. */
type Mention = { readonly entry: object; readonly of: Stay };

/**
 * Drops nodes that are put in and taken out again, with all that is said of them: a page that is built for one moment
 * need not have them, and a page that draws a table anew with each change says little else. Changes the events.
 *
 * What stays keeps its place: a node that another one was put before is kept as long as the other is. Nodes of the
 * snapshot, and whatever is not told in the way recorders tell it, are left as they are.
 */
export function dropGone(events: readonly WireEvent[]): void {
  const base = events.findLastIndex(({ type }) => type === 2);
  const mutations: WireEvent[] = [];
  const here = new Map<number, Stay>();
  const stays: Stay[] = [];
  const mentions: Mention[] = [];
  for (const event of events.slice(base + 1)) {
    const { type, data } = event;
    const stayOf = ({ id }: Record<string, unknown>) => here.get(id as number);
    // The first to adopt a style sheet says what is in it, and others may have taken it over.
    const host = type === 3 && data['source'] === ADOPTED_SHEETS ? stayOf(data) : undefined;
    if (host !== undefined) need(host);
    if (type !== 3 || data['source'] !== 0) continue;
    mutations.push(event);
    for (const remove of objects(data['removes'])) {
      const stay = stayOf(remove);
      if (stay === undefined) continue;
      mentions.push({ entry: remove, of: stay });
      end(stay, here);
    }
    const added = objects(data['adds']).flatMap((add) => begin(add, here));
    for (const stay of added) join(stay, here);
    stays.push(...added);
    for (const entry of [...objects(data['texts']), ...objects(data['attributes'])]) {
      const stay = stayOf(entry);
      if (stay !== undefined) mentions.push({ entry, of: stay });
    }
  }
  for (const stay of stays) if (!stay.isOver) need(stay);
  const gone = new Set<object>(stays.filter(({ isNeeded }) => !isNeeded).map(({ add }) => add));
  if (gone.size === 0) return;
  for (const { entry, of } of mentions) if (!of.isNeeded) gone.add(entry);
  for (const { data } of mutations) {
    for (const name of ['removes', 'adds', 'texts', 'attributes']) {
      const list = data[name];
      if (Array.isArray(list)) data[name] = list.filter((entry) => !gone.has(entry));
    }
  }
}

function begin(add: Record<string, unknown>, here: Map<number, Stay>): Stay[] {
  const { node } = add;
  if (!isObject(node) || typeof node['id'] !== 'number') return [];
  const stay: Stay = { add, parent: null, places: [], children: new Set(), isOver: false, isNeeded: false };
  const before = here.get(node['id']);
  here.set(node['id'], stay);
  // A node that comes with others inside, or comes while it is there, is not followed: it and what it was stay.
  const holdsOthers = Array.isArray(node['childNodes']) && node['childNodes'].length > 0;
  if (before !== undefined) need(before);
  if (before !== undefined || holdsOthers) stay.isNeeded = true;
  return [stay];
}

/** Finds parent and siblings, which may stand behind it in the list. */
function join(stay: Stay, here: Map<number, Stay>): void {
  const { parentId, nextId, previousId } = stay.add;
  stay.parent = here.get(parentId as number) ?? null;
  stay.parent?.children.add(stay);
  stay.places = [nextId, previousId].flatMap((id) => here.get(id as number) ?? []);
  if (stay.isNeeded) need(stay);
}

/** Takes a node out with all that hangs on it. */
function end(first: Stay, here: Map<number, Stay>): void {
  first.parent?.children.delete(first);
  const stack = [first];
  for (let stay = stack.pop(); stay !== undefined; stay = stack.pop()) {
    stay.isOver = true;
    const { node } = stay.add as { node: { id: number } };
    if (here.get(node.id) === stay) here.delete(node.id);
    for (const child of stay.children) if (!child.isOver) stack.push(child);
  }
}

/** Keeps a node, and what it needs to be put where it was. */
function need(first: Stay): void {
  const stack = [first];
  for (let stay = stack.pop(); stay !== undefined; stay = stack.pop()) {
    stay.isNeeded = true;
    for (const other of [stay.parent, ...stay.places]) {
      if (other !== null && !other.isNeeded) stack.push(other);
    }
  }
}
