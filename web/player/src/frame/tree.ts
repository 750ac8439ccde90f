import type { TreePage, TreeRow } from '../protocol.ts';

/** What is to be listed: elements are open down to this depth, and the others where somebody toggled them. */
const OPEN_DEPTH = 2;
const TEXT_MAX = 160;
const VALUE_MAX = 80;
const ATTRIBUTES_MAX = 12;
/** Characters of one attribute that are looked into. */
const SEARCHED_MAX = 1_000;
const FOUND_MAX = 10_000;

type Placed = { readonly node: Node; readonly depth: number };

/** The page that is replayed, as a list of the rows that its tree has now. */
export class TreeList {
  #flat: readonly Placed[] = [];
  #key = '';

  /** Some rows, and where one of them is. `version` says which page it is, so that scrolling walks it once. */
  page(document: Document, idOf: (node: Node) => number, version: number, order: TreeOrder): TreePage {
    const { toggled, from, count, reveal } = order;
    const key = `${version} ${toggled}`;
    if (key !== this.#key) {
      this.#key = key;
      this.#flat = flattened(document, idOf, new Set(toggled));
    }
    const rows = this.#flat.slice(from, from + count).map((placed) => rowOf(placed, idOf, toggled));
    const at = reveal === null ? -1 : this.#flat.findIndex(({ node }) => idOf(node) === reveal);
    return { total: this.#flat.length, from, rows, at };
  }
}

export type TreeOrder = {
  readonly toggled: readonly number[];
  readonly from: number;
  readonly count: number;
  readonly reveal: number | null;
};

function flattened(document: Document, idOf: (node: Node) => number, toggled: ReadonlySet<number>): Placed[] {
  const out: Placed[] = [];
  const stack: Placed[] = [{ node: document.documentElement, depth: 0 }];
  for (let item = stack.pop(); item !== undefined; item = stack.pop()) {
    const { node, depth } = item;
    const id = idOf(node);
    // What the replayer put into the page was never recorded.
    if (id < 0) continue;
    out.push(item);
    if (depth < OPEN_DEPTH === toggled.has(id) || onlyText(node) !== null) continue;
    const inside = childrenOf(node);
    for (let i = inside.length - 1; i >= 0; i--) {
      const child = inside[i];
      if (child !== undefined) stack.push({ node: child, depth: depth + 1 });
    }
  }
  return out;
}

/** What stands in a node, the page in a frame and what is in its shadow among it. */
function childrenOf(node: Node): Node[] {
  const { contentDocument: page, shadowRoot } = node as Partial<HTMLIFrameElement>;
  const inside = page?.documentElement
    ? [page.documentElement]
    : [...(shadowRoot?.childNodes ?? []), ...node.childNodes];
  return inside.filter((child) => child.nodeType === 1 || (child.nodeType === 3 && wordsOf(child) !== ''));
}

/** The text of an element that holds nothing else, which stands in its row; null where there is more. */
function onlyText(node: Node): string | null {
  const [only, more] = node.childNodes.length > 1 ? [] : childrenOf(node);
  return only?.nodeType === 3 && more === undefined ? wordsOf(only) : null;
}

function wordsOf(node: Node): string {
  const text = node.nodeValue ?? '';
  return text
    .slice(0, 4 * TEXT_MAX)
    .trim()
    .replace(/\s+/g, ' ')
    .slice(0, TEXT_MAX);
}

function rowOf({ node, depth }: Placed, idOf: (node: Node) => number, toggled: readonly number[]): TreeRow {
  const id = idOf(node);
  if (!isElement(node)) return { id, depth, name: '', attributes: [], text: wordsOf(node), state: 'leaf' };
  const attributes = attributesOf(node)
    .slice(0, ATTRIBUTES_MAX)
    .map(([name, value]): [string, string] => [name.slice(0, VALUE_MAX), value.slice(0, VALUE_MAX)]);
  const text = onlyText(node);
  const isOpen = depth < OPEN_DEPTH !== toggled.includes(id);
  const state = text !== null || childrenOf(node).length === 0 ? 'leaf' : isOpen ? 'open' : 'closed';
  return { id, depth, name: node.localName.slice(0, VALUE_MAX), attributes, text: text ?? '', state };
}

/** The attributes of an element, without the classes by which the replayer pauses a page and hovers over it. */
function attributesOf({ attributes }: Element): [name: string, value: string][] {
  return [...attributes].flatMap(({ name, value }): [string, string][] => {
    if (name !== 'class') return [[name, value]];
    const recorded = value.replace(/(^|\s)(rrweb-paused|:hover)(?=\s|$)/g, '').trim();
    return recorded === '' && value !== '' ? [] : [[name, recorded]];
  });
}

/** A node of any of the pages, each of which has an `Element` of its own. */
function isElement(node: Node): node is Element {
  return node.nodeType === 1;
}

/** Where words are in the page: how often, and the way from its root to the `step`th of them. */
export function find(
  document: Document,
  idOf: (node: Node) => number,
  words: string,
  step: number,
): { readonly count: number; readonly path: readonly number[] } {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  const found: Node[] = [];
  const stack: Node[] = wanted.length === 0 ? [] : [document.documentElement];
  for (let node = stack.pop(); node !== undefined && found.length < FOUND_MAX; node = stack.pop()) {
    if (idOf(node) < 0) continue;
    const own = onlyText(node);
    const text = searchedOf(node, own).toLowerCase();
    if (wanted.every((word) => text.includes(word))) found.push(node);
    if (own === null) stack.push(...childrenOf(node).reverse());
  }
  const path: number[] = [];
  const place = found.length === 0 ? 0 : ((step % found.length) + found.length) % found.length;
  for (let at: Node | null | undefined = found[place]; at; at = parentOf(at)) {
    // Documents and shadows have no row of their own.
    if (at.nodeType !== 1 && at.nodeType !== 3) continue;
    // The frame that the page is drawn in is not of the page.
    if (idOf(at) < 0) break;
    path.unshift(idOf(at));
  }
  return { count: found.length, path };
}

/** What is looked into: a tag with its attributes and the text in its row, or a text. */
function searchedOf(node: Node, own: string | null): string {
  if (!isElement(node)) return wordsOf(node);
  const attributes = [...node.attributes].map(
    ({ name, value }) => `${name}="${value.slice(0, SEARCHED_MAX)}"`,
  );
  return `<${[node.localName, ...attributes].join(' ')}> ${own ?? ''}`;
}

function parentOf(node: Node): Node | null | undefined {
  const { host } = node as Partial<ShadowRoot>;
  const { defaultView } = node as Partial<Document>;
  return node.parentNode ?? host ?? defaultView?.frameElement;
}

/** Draws a frame around what was chosen, wherever it is by now. */
export class Outline {
  readonly #box = document.createElement('div');

  constructor() {
    this.#box.className = 'outline';
  }

  /** Around an element, or the element around a text; away where there is none. */
  draw(node: Node | null, wrapper: HTMLElement | null): void {
    const element: Element | null = node === null || isElement(node) ? node : node.parentElement;
    if (element === null || wrapper === null) return void this.#box.remove();
    const box = element.getBoundingClientRect();
    let { left, top } = box;
    for (
      let frame = frameOf(element);
      frame !== null && frame.parentElement !== wrapper;
      frame = frameOf(frame)
    ) {
      const around = frame.getBoundingClientRect();
      left += around.left + frame.clientLeft;
      top += around.top + frame.clientTop;
    }
    Object.assign(this.#box.style, {
      left: `${left}px`,
      top: `${top}px`,
      width: `${box.width}px`,
      height: `${box.height}px`,
    });
    if (this.#box.parentElement !== wrapper) wrapper.append(this.#box);
  }
}

function frameOf(element: Element): Element | null {
  return element.ownerDocument.defaultView?.frameElement ?? null;
}
