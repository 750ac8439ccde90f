import type { Attributes, Element, Part } from './part.ts';

/** What one event of the replay changes, in the order in which the replayer does it. */
export type Changes = {
  readonly removes: { readonly parentId: number; readonly id: number }[];
  readonly adds: { readonly parentId: number; readonly nextId: number | null; readonly node: object }[];
  readonly attributes: { readonly id: number; readonly attributes: Record<string, string | null> }[];
  readonly texts: { readonly id: number; readonly value: string }[];
};

export function noChanges(): Changes {
  return { removes: [], adds: [], attributes: [], texts: [] };
}

/** The parts that stand on the screen, the wireframes among them by their own numbers, and what becomes of them. */
export class Tree {
  readonly #byWire = new Map<number, Element>();
  #id: number;
  /** Wireframes on the screen. */
  count = 0;

  /** New nodes get numbers from `firstId` on. */
  constructor(firstId: number) {
    this.#id = firstId;
  }

  find(wire: unknown): Element | null {
    return typeof wire === 'number' ? (this.#byWire.get(wire) ?? null) : null;
  }

  /** Gives a part and all in it their numbers. */
  enter(part: Part, parent: Element | null): void {
    part.id = this.#id++;
    if (part.kind === 'text') return;
    part.parent = parent;
    if (part.wire !== null) {
      this.#byWire.set(part.wire, part);
      this.count++;
    }
    for (const child of part.children) this.enter(child, part);
  }

  /** Puts a part into another one, before the child of that place. */
  insert(parent: Element, part: Part, place: number, out: Changes): void {
    this.enter(part, parent);
    const nextId = parent.children[place]?.id ?? null;
    parent.children.splice(place, 0, part);
    addAll(part, parent.id, nextId, out);
  }

  remove(part: Part, parent: Element, out: Changes): void {
    const place = parent.children.indexOf(part);
    if (place < 0) return;
    parent.children.splice(place, 1);
    this.#leave(part);
    out.removes.push({ parentId: parent.id, id: part.id });
  }

  /** Makes a part what another one is, or says that it cannot be. */
  become(part: Part, next: Part, out: Changes): boolean {
    if (!isAlike(part, next)) return false;
    if (part.kind === 'text' || next.kind === 'text') {
      if (part.kind === 'element' || next.kind === 'element' || part.text === next.text) return true;
      part.text = next.text;
      out.texts.push({ id: part.id, value: next.text });
      return true;
    }
    this.#rename(part, next.wire);
    const attributes = changed(part.attributes, next.attributes);
    part.attributes = next.attributes;
    if (attributes !== null) out.attributes.push({ id: part.id, attributes });
    this.fill(part, next.children, out);
    return true;
  }

  /** Makes these the children of a part. Those that stay the same kind of thing, from both ends, keep their nodes. */
  fill(parent: Element, next: readonly Part[], out: Changes): void {
    const old = parent.children;
    const both = Math.min(old.length, next.length);
    let before = 0;
    while (before < both && this.#becomes(old[before], next[before], out)) before++;
    let after = 0;
    while (
      after < both - before &&
      this.#becomes(old[old.length - 1 - after], next[next.length - 1 - after], out)
    ) {
      after++;
    }
    for (const gone of old.slice(before, old.length - after)) this.remove(gone, parent, out);
    const added = next.slice(before, next.length - after);
    added.forEach((part, i) => {
      this.insert(parent, part, before + i, out);
    });
  }

  #becomes(part: Part | undefined, next: Part | undefined, out: Changes): boolean {
    return part !== undefined && next !== undefined && this.become(part, next, out);
  }

  #rename(part: Element, wire: number | null): void {
    if (part.wire === wire) return;
    // Another part may have taken its number before it gave it up.
    if (part.wire !== null) {
      if (this.#byWire.get(part.wire) === part) this.#byWire.delete(part.wire);
      this.count--;
    }
    part.wire = wire;
    if (wire === null) return;
    this.#byWire.set(wire, part);
    this.count++;
  }

  #leave(part: Part): void {
    if (part.kind === 'text') return;
    this.#rename(part, null);
    for (const child of part.children) this.#leave(child);
  }
}

/** A part with all in it, as a full snapshot writes it. */
export function nodeOf(part: Part): object {
  if (part.kind === 'text') return { type: 3, id: part.id, textContent: part.text };
  const { id, tag, attributes, children } = part;
  return { type: 2, id, tagName: tag, attributes, childNodes: children.map(nodeOf) };
}

/** Each node is an add of its own, parents before children. */
function addAll(part: Part, parentId: number, nextId: number | null, out: Changes): void {
  if (part.kind === 'text') {
    out.adds.push({ parentId, nextId, node: nodeOf(part) });
    return;
  }
  const { id, tag, attributes, children } = part;
  out.adds.push({ parentId, nextId, node: { type: 2, id, tagName: tag, attributes, childNodes: [] } });
  for (const child of children) addAll(child, id, null, out);
}

function isAlike(part: Part, next: Part): boolean {
  if (part.kind === 'text' || next.kind === 'text') return part.kind === next.kind;
  return part.tag === next.tag && part.attributes['class'] === next.attributes['class'];
}

/** The attributes that differ, null for those that go; nothing where none does. */
function changed(old: Attributes, next: Attributes): Record<string, string | null> | null {
  const out: Record<string, string | null> = {};
  for (const name of Object.keys(old)) if (!(name in next)) out[name] = null;
  for (const [name, value] of Object.entries(next)) if (old[name] !== value) out[name] = value;
  return Object.keys(out).length === 0 ? null : out;
}
