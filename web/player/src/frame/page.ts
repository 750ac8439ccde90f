import { type LeftOut, LIMITS } from '../limits.ts';
import { isObject, type WireNode } from './model.ts';

/** What is known of a node that the replayer has or will have. */
export type Known = {
  readonly id: number;
  /** rrweb's node type. */
  readonly type: unknown;
  /** Lower case; empty for what is no element. */
  readonly tag: string;
  /** Whether the browser lets it have a shadow tree. */
  readonly canHost: boolean;
  readonly inShadow: boolean;
  readonly isSvg: boolean;
  /** Whether a drawing can be named, and so be drawn again elsewhere. */
  hasName: boolean;
  /** Whether it draws another drawing, or something below it does. */
  drawsOthers: boolean;
  parent: Known | null;
  children: Set<Known> | null;
  /** Levels below it, or more: what went away is not counted down. */
  height: number;
  /** Characters of text and of style that it holds itself. */
  textChars: number;
  styleChars: number;
};

/** Where new ids begin, for nodes whose own is missing or taken. Recorders count from 1. */
const SPARE_IDS = 2 ** 48;

/**
 * The tree that the replayer holds, as far as it must be known to judge the next event: what a node is, how deep it
 * lies, and how many there are. It also counts what else a page may have only so much of.
 */
export class Page {
  readonly #nodes = new Map<number, Known>();
  #count = 0;
  #frames = 0;
  #fonts = 0;
  #nestedUses = 0;
  #textChars = 0;
  #styleChars = 0;
  #spareId = SPARE_IDS;
  /** What had to be left out since the page was last made from scratch. */
  readonly leftOut = new Set<LeftOut>();

  /** Addresses from which something belongs into the page that is not in it. */
  readonly missing = new Set<string>();

  /** Begins anew, as a full snapshot does. */
  reset(): void {
    this.missing.clear();
    this.#nodes.clear();
    this.#count = 0;
    this.#frames = 0;
    this.#fonts = 0;
    this.#nestedUses = 0;
    this.#textChars = 0;
    this.#styleChars = 0;
  }

  get(id: unknown): Known | null {
    return typeof id === 'number' ? (this.#nodes.get(id) ?? null) : null;
  }

  /** Whether one more node may stand below `parent`. */
  hasRoom(parent: Known | null): boolean {
    if (depthOf(parent) >= LIMITS.depth) return this.refuse('depth');
    if (this.#count >= LIMITS.nodes) return this.refuse('nodes');
    return true;
  }

  /** Whether a node may move below `parent` with all it holds. */
  mayMove(node: Known, parent: Known | null): boolean {
    // Below itself a node cannot be; the replayer would throw and lose the rest of the event.
    for (let above = parent; above !== null; above = above.parent) if (above === node) return false;
    if (node.drawsOthers && parent !== null && isNamed(parent)) return this.refuse('shapes');
    return depthOf(parent) + 1 + node.height <= LIMITS.depth || this.refuse('depth');
  }

  /** Notes a node; `node.id` becomes one that no other node has. */
  enter(node: WireNode, tag: string, parent: Known | null, canHost: boolean): Known {
    const { id: own } = node;
    const isFree = typeof own === 'number' && Number.isSafeInteger(own) && own > 0 && !this.#nodes.has(own);
    const id = isFree ? own : ++this.#spareId;
    node.id = id;
    const known: Known = {
      id,
      type: node.type,
      tag,
      canHost,
      inShadow: node['isShadow'] === true,
      isSvg: node['isSVG'] === true,
      hasName: isObject(node.attributes) && 'id' in node.attributes,
      drawsOthers: tag === 'use',
      parent,
      children: null,
      height: 0,
      textChars: 0,
      styleChars: 0,
    };
    this.#nodes.set(id, known);
    this.#count++;
    if (parent !== null) {
      parent.children ??= new Set();
      parent.children.add(known);
    }
    raise(known);
    return known;
  }

  /** Lets a node that was entered anew keep what its former self held. */
  inherit(node: Known, children: Set<Known> | null): void {
    node.children = children;
    for (const child of children ?? []) {
      child.parent = node;
      raise(child);
    }
  }

  /** Forgets a node and gives back what it held, for `inherit`. */
  takeOut(known: Known): Set<Known> | null {
    const { children } = known;
    known.children = null;
    this.leave(known);
    return children;
  }

  /** Forgets a node with all that is below it. */
  leave(known: Known): void {
    known.parent?.children?.delete(known);
    const stack = [known];
    for (let item = stack.pop(); item !== undefined; item = stack.pop()) {
      this.#nodes.delete(item.id);
      this.#count--;
      this.#textChars -= item.textChars;
      this.#styleChars -= item.styleChars;
      if (item.tag === 'iframe') this.#frames--;
      if (item.tag === 'use' && isNamed(item)) this.#nestedUses--;
      for (const child of item.children ?? []) stack.push(child);
    }
  }

  takesFrame(): boolean {
    if (this.#frames >= LIMITS.frames) return this.refuse('frames');
    this.#frames++;
    return true;
  }

  takesFont(bytes: number): boolean {
    if (this.#fonts >= LIMITS.fonts || bytes > LIMITS.fontBytes) return this.refuse('fonts');
    this.#fonts++;
    return true;
  }

  /** A `use` in a drawing with a name can itself be drawn by others, and they by others again. */
  takesUse(use: Known): boolean {
    if (!isNamed(use)) return true;
    this.#nestedUses++;
    return this.#nestedUses <= LIMITS.nestedUses || this.refuse('shapes');
  }

  /** Whether a drawing may get a name now. One that draws others would have had to be counted. */
  takesName(known: Known): boolean {
    if (!known.isSvg || known.hasName) return true;
    if (known.drawsOthers) return this.refuse('shapes');
    known.hasName = true;
    return true;
  }

  /** As much of a node's text as there is room for. */
  text(of: Known, text: string): string {
    this.#textChars -= of.textChars;
    const room = Math.max(0, Math.min(LIMITS.textChars, LIMITS.pageTextChars - this.#textChars));
    const kept = text.length > room ? text.slice(0, room) : text;
    if (kept.length < text.length) this.refuse('text');
    of.textChars = kept.length;
    this.#textChars += kept.length;
    return kept;
  }

  /** A node's style sheet, or nothing: half of one can mean something else. */
  style(of: Known, text: string): string {
    this.#styleChars -= of.styleChars;
    const isTooLong =
      text.length > LIMITS.sheetChars || this.#styleChars + text.length > LIMITS.pageStyleChars;
    const kept = isTooLong || isTooDeep(text) ? '' : text;
    if (kept.length < text.length) this.refuse('styles');
    of.styleChars = kept.length;
    this.#styleChars += kept.length;
    return kept;
  }

  /** Notes that nothing came from an address. */
  miss(url: string): void {
    if (this.missing.size < LIMITS.missing) this.missing.add(url.slice(0, LIMITS.missingChars));
  }

  /** Notes that something was left out. */
  refuse(what: LeftOut): false {
    this.leftOut.add(what);
    return false;
  }
}

function depthOf(node: Known | null): number {
  let depth = 0;
  for (let above = node; above !== null; above = above.parent) depth++;
  return depth;
}

/** Tells those above how far down it goes now. */
function raise(node: Known): void {
  let { height } = node;
  for (let above = node.parent; above !== null && above.height <= height; above = above.parent) {
    above.height = ++height;
  }
  if (!node.drawsOthers) return;
  for (let above = node.parent; above?.isSvg === true; above = above.parent) above.drawsOthers = true;
}

/** Whether a node is part of a drawing that has a name, or that is part of one. */
function isNamed(node: Known): boolean {
  for (let at: Known | null = node; at?.isSvg === true; at = at.parent) if (at.hasName) return true;
  return false;
}

/** Whether blocks of a style sheet lie too deep in each other. */
export function isTooDeep(css: string): boolean {
  let depth = 0;
  for (let at = 0; at < css.length; at++) {
    const char = css.charCodeAt(at);
    if (char === 123 && ++depth > LIMITS.sheetDepth) return true;
    if (char === 125) depth = Math.max(0, depth - 1);
  }
  return false;
}
