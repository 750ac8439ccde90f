import { LIMITS } from '../limits.ts';
import { type Add, eachNode, isObject, objects, type WireEvent, type WireNode } from './model.ts';

/**
 * Which nodes exist, by their parents. It follows the events beside the replayer, because adds must be ordered
 * before the replayer sees them, and while it fast-forwards its own tree cannot be asked.
 */
export class KnownNodes {
  readonly #parents = new Map<number, number>();

  /** Forgets everything and learns a full snapshot. */
  reset(root: WireNode): void {
    this.#parents.clear();
    this.learn(root, 0);
  }

  /** Learns a node with all that is below it. */
  learn(root: WireNode, parentId: number): void {
    eachNode(root, (node, parent) => {
      if (typeof node.id !== 'number') return;
      this.#parents.set(node.id, typeof parent?.id === 'number' ? parent.id : parentId);
    });
  }

  place(id: number, parentId: number): void {
    this.#parents.set(id, parentId);
  }

  forget(id: number): void {
    this.#parents.delete(id);
  }

  /** Whether an add tells of a text that hangs where it is to hang. */
  repeats({ node, parentId }: Add): boolean {
    if (node?.type !== 3 || typeof node.id !== 'number') return false;
    return this.#parents.get(node.id) === parentId && this.has(node.id);
  }

  /**
   * Whether a node hangs on a root. Removing a node removes its subtree without touching each of its nodes. What hangs
   * deeper than a page may be is left out of it, so nobody climbs further: a chain would cost the square of its length.
   */
  has(id: number): boolean {
    let at: number | undefined = id;
    for (let steps = 0; at !== undefined && steps <= LIMITS.depth; steps++) {
      if (at === 0) return true;
      at = this.#parents.get(at);
    }
    return false;
  }
}

/**
 * Orders the adds of one mutation so that each finds its parent and its sibling in place: parents before children,
 * later siblings before earlier ones. Recorders before 2.1.5 wrote them in any order, and the replayer then loses
 * nodes. A sibling that will never come is dropped from the add, which then appends.
 */
export function orderAdds(adds: readonly Add[], known: (id: number) => boolean): Add[] {
  const byId = new Map<unknown, number>();
  adds.forEach((add, index) => {
    if (typeof add.node?.id === 'number') byId.set(add.node.id, index);
  });
  const ready = (add: Add): Add => {
    const { nextId } = add;
    if (typeof nextId !== 'number' || nextId === -1 || byId.has(nextId) || known(nextId)) return add;
    return { ...add, nextId: null };
  };
  const isAfter = (id: unknown, index: number) => (byId.get(id) ?? index) <= index;
  const isOrdered = adds.every(
    ({ parentId, nextId, previousId }, index) =>
      isAfter(parentId, index) && isAfter(nextId, index) && isAfter(previousId, index),
  );
  if (isOrdered) return adds.map(ready);
  const out: Add[] = [];
  const state = new Uint8Array(adds.length);
  const waitsFor = (add: Add): number[] =>
    [add.parentId, add.nextId, add.previousId]
      .map((id) => byId.get(id))
      .filter((index) => index !== undefined);
  for (let start = 0; start < adds.length; start++) {
    // State 1 is entered, 2 is written. An entry met again while entered is a cycle; it is written as it stands.
    const stack = [start];
    while (stack.length > 0) {
      const index = stack.at(-1) ?? 0;
      const add = adds[index];
      if (add === undefined || state[index] === 2) {
        stack.pop();
        continue;
      }
      const open = state[index] === 0 ? waitsFor(add).filter((other) => state[other] === 0) : [];
      state[index] = 1;
      if (open.length > 0) {
        stack.push(...open);
        continue;
      }
      const late = waitsFor(add).filter((other) => other !== index && state[other] === 0);
      if (late.length > 0) {
        stack.push(...late);
        continue;
      }
      state[index] = 2;
      stack.pop();
      out.push(ready(add));
    }
  }
  return out;
}

/**
 * Orders a mutation's adds and keeps the known nodes up to date. Changes the event it is given. Recorders tell of a
 * shadow tree in the snapshot and once more after it: a text that is there already is only given its content, where the
 * replayer would draw it a second time. One that is empty is that of a style whose rules its element holds.
 */
export function orderMutation(event: WireEvent, known: KnownNodes): void {
  const { data } = event;
  for (const remove of objects(data['removes'])) {
    if (typeof remove['id'] === 'number') known.forget(remove['id']);
  }
  const told = objects(data['adds']).filter((add) => isObject(add['node'])) as Add[];
  const adds: Add[] = [];
  const texts: Record<string, unknown>[] = [];
  for (const add of told) {
    if (!known.repeats(add)) adds.push(add);
    else if (add.node?.textContent !== '') texts.push({ id: add.node?.id, value: add.node?.textContent });
  }
  if (adds.length < told.length) data['texts'] = [...texts, ...objects(data['texts'])];
  data['adds'] = orderAdds(adds, (id) => known.has(id));
  for (const add of adds) {
    if (add.node === undefined || typeof add.parentId !== 'number') continue;
    if (add.node.type === 0) known.learn(add.node, add.parentId);
    // Children of any other added node come as adds of their own.
    else if (typeof add.node.id === 'number') known.place(add.node.id, add.parentId);
  }
}
