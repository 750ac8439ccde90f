import { isObject, objects, type WireEvent } from './model.ts';

/** One time that a node was in the page. The same number may be put in again, which is another time. */
type Stay = {
  readonly id: unknown;
  /** The node, where it is one of the snapshot. */
  readonly node: Record<string, unknown> | null;
  /** The stay of the node it hangs on. */
  parent: Stay | null;
  /** The stays of the siblings that say where it goes. */
  next: Stay | null;
  previous: Stay | null;
  children: Stay[] | null;
  /** Whether its end is left to the replayer. */
  readonly isFixed: boolean;
  isOver: boolean;
  isNeeded: boolean;
};

/** Whose stay each entry of a list of a mutation speaks of. */
type Told = {
  readonly of: Record<string, unknown>;
  readonly name: string;
  readonly stays: readonly (Stay | null)[];
};

/** rrweb's source of events that give a page or a shadow tree style sheets of its own. */
const ADOPTED_SHEETS = 15;
/** What a page is built on. What becomes of it is left to the replayer, as with documents. */
const FRAME = new Set<unknown>(['html', 'head', 'body']);

/**
 * Drops nodes that are taken out again, with all that is said of them: a page that is built for one moment need not
 * have them, and a page that draws a table anew with each change says little else. Changes the events.
 *
 * What stays keeps its place: a node that another one was put before is kept as long as the other is. Whatever is not
 * told in the way recorders tell it is left as it is.
 */
export class Gone {
  #here = new Map<unknown, Stay>();
  #stays: Stay[] = [];
  #told: Told[] = [];
  /** What a page begins with until it first takes something out, null after that: most never do. */
  #unread: WireEvent[] | null = [];

  /** Follows the next event. */
  follow(event: WireEvent): void {
    if (event.type === 2) this.#forget();
    const unread = this.#unread;
    unread?.push(event);
    if (unread === null) this.#read(event);
    else if (objects(event.data['removes']).length > 0) {
      this.#unread = null;
      for (const earlier of unread) this.#read(earlier);
    }
  }

  /** Drops what is gone by now. Nothing can be followed after it. */
  drop(): void {
    for (const stay of this.#stays) if (!stay.isOver) need(stay);
    for (const { of, name, stays } of this.#told) {
      if (stays.every((stay) => stay?.isNeeded !== false)) continue;
      of[name] = entriesOf(of, name).filter((_, at) => stays[at]?.isNeeded !== false);
    }
    const parents = new Set<Stay>();
    for (const { node, parent, isNeeded } of this.#stays) {
      if (node !== null && parent !== null && !isNeeded) parents.add(parent);
    }
    for (const parent of parents) dropChildren(parent);
  }

  /** A page made anew has nothing of the one before. */
  #forget(): void {
    this.#here = new Map();
    this.#stays = [];
    this.#told = [];
    this.#unread = [];
  }

  #read({ type, data }: WireEvent): void {
    if (type === 2 && isObject(data['node'])) this.#learn(data['node']);
    if (type !== 3) return;
    if (data['source'] === ADOPTED_SHEETS) {
      // The first to adopt a style sheet says what is in it, and others may have taken it over.
      const host = this.#here.get(data['id']);
      if (host !== undefined) need(host);
    } else if (data['source'] === 0) {
      this.#tell(data, 'removes', (entry) => this.#end(entry));
      this.#join(
        entriesOf(data, 'adds'),
        this.#tell(data, 'adds', (entry) => this.#begin(entry)),
      );
      const named = ({ id }: Record<string, unknown>) => this.#here.get(id) ?? null;
      this.#tell(data, 'texts', named);
      this.#tell(data, 'attributes', named);
    }
  }

  #tell(
    of: Record<string, unknown>,
    name: string,
    stayOf: (entry: Record<string, unknown>) => Stay | null,
  ): readonly (Stay | null)[] {
    const stays = entriesOf(of, name).map((entry) => (isObject(entry) ? stayOf(entry) : null));
    if (stays.length > 0) this.#told.push({ of, name, stays });
    return stays;
  }

  /** Learns a snapshot: which nodes are there, and on which they hang. Walks without recursion. */
  #learn(root: Record<string, unknown>): void {
    const stack = [this.#enter(root, null)];
    for (let stay = stack.pop(); stay !== undefined; stay = stack.pop()) {
      for (const child of entriesOf(stay.node ?? {}, 'childNodes')) {
        if (isObject(child)) stack.push(this.#enter(child, stay));
      }
    }
  }

  #enter(node: Record<string, unknown>, parent: Stay | null): Stay {
    const { id, type, tagName } = node;
    const isKnown = typeof id === 'number';
    const isFixed = type === 0 || parent === null || FRAME.has(tagName);
    const stay = newStay(id, node, isFixed);
    const twin = this.#here.get(id);
    hang(stay, parent);
    this.#stays.push(stay);
    // Of two with one number nobody can say which is meant.
    if (twin !== undefined) need(twin);
    if (twin !== undefined || !isKnown || isFixed) need(stay);
    if (isKnown) this.#here.set(id, stay);
    return stay;
  }

  #begin({ node }: Record<string, unknown>): Stay | null {
    if (!isObject(node) || typeof node['id'] !== 'number') return null;
    const stay = newStay(node['id'], null, node['type'] === 0);
    const before = this.#here.get(stay.id);
    this.#here.set(stay.id, stay);
    // A node that comes with others inside, or comes while it is there, is not followed: it and what it was stay.
    const holdsOthers = Array.isArray(node['childNodes']) && node['childNodes'].length > 0;
    if (before !== undefined) need(before);
    if (before !== undefined || holdsOthers) stay.isNeeded = true;
    return stay;
  }

  /** Finds parents and siblings of what was added, which may stand behind it in the list. */
  #join(adds: readonly unknown[], stays: readonly (Stay | null)[]): void {
    stays.forEach((stay, at) => {
      if (stay === null) return;
      const { parentId, nextId, previousId } = adds[at] as Record<string, unknown>;
      hang(stay, this.#here.get(parentId) ?? null);
      stay.next = this.#here.get(nextId) ?? null;
      stay.previous = this.#here.get(previousId) ?? null;
      this.#stays.push(stay);
      if (stay.isNeeded) need(stay);
    });
  }

  /** Takes a node out with all that hangs on it. */
  #end({ id }: Record<string, unknown>): Stay | null {
    const first = this.#here.get(id);
    if (first === undefined || first.isFixed) return null;
    const stack = [first];
    for (let stay = stack.pop(); stay !== undefined; stay = stack.pop()) {
      if (stay.isOver) continue;
      stay.isOver = true;
      if (this.#here.get(stay.id) === stay) this.#here.delete(stay.id);
      for (const child of stay.children ?? []) stack.push(child);
    }
    return first;
  }
}

function newStay(id: unknown, node: Record<string, unknown> | null, isFixed: boolean): Stay {
  return {
    id,
    node,
    parent: null,
    next: null,
    previous: null,
    children: null,
    isFixed,
    isOver: false,
    isNeeded: false,
  };
}

function hang(stay: Stay, parent: Stay | null): void {
  stay.parent = parent;
  if (parent === null) return;
  parent.children ??= [];
  parent.children.push(stay);
}

/** Keeps a node, and what it needs to be put where it was. */
function need(first: Stay): void {
  const stack = [first];
  for (let stay = stack.pop(); stay !== undefined; stay = stack.pop()) {
    stay.isNeeded = true;
    const { parent, next, previous } = stay;
    if (parent !== null && !parent.isNeeded) stack.push(parent);
    if (next !== null && !next.isNeeded) stack.push(next);
    if (previous !== null && !previous.isNeeded) stack.push(previous);
  }
}

/** Drops the children of a node of the snapshot that nothing needs. */
function dropChildren({ node, children }: Stay): void {
  const gone = new Set<unknown>();
  for (const child of children ?? []) if (!child.isNeeded) gone.add(child.node);
  if (node !== null) node['childNodes'] = entriesOf(node, 'childNodes').filter((child) => !gone.has(child));
}

function entriesOf(of: Record<string, unknown>, name: string): readonly unknown[] {
  const list = of[name];
  return Array.isArray(list) ? list : [];
}
