import { isObject, objects, type WireEvent } from './model.ts';

/** One time that a node was in the page. The same number may be put in again, which is another time. */
type Stay = {
  readonly id: number;
  /** The entry that put it in, null for a node of the snapshot. */
  readonly add: Record<string, unknown> | null;
  /** The stay of the node it hangs on. */
  parent: Stay | null;
  /** The stays of the siblings that say where it goes. */
  places: readonly Stay[];
  children: Stay[] | null;
  /** Whether its end is left to the replayer. */
  readonly isFixed: boolean;
  isOver: boolean;
  isNeeded: boolean;
};

type Here = Map<unknown, Stay>;

/** rrweb's source of events that give a page or a shadow tree style sheets of its own. */
const ADOPTED_SHEETS = 15;
/** What a page is built on. What becomes of it is left to the replayer, as with documents. */
const FRAME = new Set<unknown>(['html', 'head', 'body']);

/** An entry of an event that speaks of a stay. */
type Mention = { readonly entry: object; readonly of: Stay };

/**
 * Drops nodes that are taken out again, with all that is said of them: a page that is built for one moment need not
 * have them, and a page that draws a table anew with each change says little else. Changes the events.
 *
 * What stays keeps its place: a node that another one was put before is kept as long as the other is. Whatever is not
 * told in the way recorders tell it is left as it is.
 */
export function dropGone(events: readonly WireEvent[]): void {
  const base = events.findLastIndex(({ type }) => type === 2);
  if (!events.slice(base + 1).some(({ data }) => objects(data['removes']).length > 0)) return;
  const here: Here = new Map();
  const stays: Stay[] = [];
  const mentions: Mention[] = [];
  const mutations: WireEvent[] = [];
  const snapshot = events[base]?.data['node'];
  const nodes = isObject(snapshot) ? learn(snapshot, here, stays) : new Map<object, Stay>();
  for (const event of events.slice(base + 1)) {
    const { type, data } = event;
    // The first to adopt a style sheet says what is in it, and others may have taken it over.
    const host = type === 3 && data['source'] === ADOPTED_SHEETS ? here.get(data['id']) : undefined;
    if (host !== undefined) need(host);
    if (type !== 3 || data['source'] !== 0) continue;
    mutations.push(event);
    for (const entry of objects(data['removes'])) {
      const stay = here.get(entry['id']);
      if (stay === undefined || stay.isFixed) continue;
      mentions.push({ entry, of: stay });
      end(stay, here);
    }
    const added = objects(data['adds']).flatMap((add) => begin(add, here));
    for (const stay of added) join(stay, here);
    for (const stay of added) stays.push(stay);
    for (const entry of [...objects(data['texts']), ...objects(data['attributes'])]) {
      const stay = here.get(entry['id']);
      if (stay !== undefined) mentions.push({ entry, of: stay });
    }
  }
  for (const stay of stays) if (!stay.isOver) need(stay);
  const gone = new Set<object>();
  for (const { add, isNeeded } of stays) if (add !== null && !isNeeded) gone.add(add);
  for (const { entry, of } of mentions) if (!of.isNeeded) gone.add(entry);
  if (gone.size === 0) return;
  for (const { data } of mutations) {
    for (const name of ['removes', 'adds', 'texts', 'attributes']) {
      const list = data[name];
      if (Array.isArray(list)) data[name] = list.filter((entry) => !gone.has(entry));
    }
  }
  for (const node of nodes.keys()) {
    const { childNodes } = node as { childNodes?: unknown };
    if (!Array.isArray(childNodes)) continue;
    const kept = childNodes.filter((child) => nodes.get(child)?.isNeeded !== false);
    if (kept.length < childNodes.length) Object.assign(node, { childNodes: kept });
  }
}

/** Learns a snapshot: which nodes are there, and on which they hang. Walks without recursion. */
function learn(root: Record<string, unknown>, here: Here, stays: Stay[]): Map<object, Stay> {
  const nodes = new Map<object, Stay>();
  const stack: [Record<string, unknown>, Stay | null][] = [[root, null]];
  for (let item = stack.pop(); item !== undefined; item = stack.pop()) {
    const [node, parent] = item;
    const { id, type, tagName, childNodes } = node;
    const isKnown = typeof id === 'number';
    const isFixed = type === 0 || parent === null || FRAME.has(tagName);
    const stay = newStay(isKnown ? id : Number.NaN, null, isFixed);
    const twin = here.get(id);
    hang(stay, parent);
    nodes.set(node, stay);
    stays.push(stay);
    // Of two with one number nobody can say which is meant.
    if (twin !== undefined) need(twin);
    if (twin !== undefined || !isKnown || isFixed) need(stay);
    if (isKnown) here.set(id, stay);
    for (const child of objects(childNodes)) stack.push([child, stay]);
  }
  return nodes;
}

function newStay(id: number, add: Record<string, unknown> | null, isFixed: boolean): Stay {
  return { id, add, parent: null, places: [], children: null, isFixed, isOver: false, isNeeded: false };
}

function hang(stay: Stay, parent: Stay | null): void {
  stay.parent = parent;
  if (parent === null) return;
  parent.children ??= [];
  parent.children.push(stay);
}

function begin(add: Record<string, unknown>, here: Here): Stay[] {
  const { node } = add;
  if (!isObject(node) || typeof node['id'] !== 'number') return [];
  const stay = newStay(node['id'], add, node['type'] === 0);
  const before = here.get(stay.id);
  here.set(stay.id, stay);
  // A node that comes with others inside, or comes while it is there, is not followed: it and what it was stay.
  const holdsOthers = Array.isArray(node['childNodes']) && node['childNodes'].length > 0;
  if (before !== undefined) need(before);
  if (before !== undefined || holdsOthers) stay.isNeeded = true;
  return [stay];
}

/** Finds parent and siblings, which may stand behind it in the list. */
function join(stay: Stay, here: Here): void {
  const { parentId, nextId, previousId } = stay.add ?? {};
  hang(stay, here.get(parentId) ?? null);
  stay.places = [nextId, previousId].flatMap((id) => here.get(id) ?? []);
  if (stay.isNeeded) need(stay);
}

/** Takes a node out with all that hangs on it. */
function end(first: Stay, here: Here): void {
  const stack = [first];
  for (let stay = stack.pop(); stay !== undefined; stay = stack.pop()) {
    if (stay.isOver) continue;
    stay.isOver = true;
    if (here.get(stay.id) === stay) here.delete(stay.id);
    for (const child of stay.children ?? []) stack.push(child);
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
