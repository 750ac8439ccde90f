import { asObject, type Json } from './record.ts';

type Named = { readonly tag: string; readonly parent: number; readonly hint: string; text: string };

const NODES_MAX = 150_000;
const TEXT_MAX = 60;
/** How far up the tree a click looks for something with a name, and how far up a text is heard. */
const CLIMB_MAX = 5;
const HINTS = ['aria-label', 'alt', 'title', 'placeholder', 'name', 'id'] as const;
const CONTROLS = new Set(['a', 'button', 'input', 'select', 'textarea', 'label', 'summary', 'option']);

/** What the nodes of one window are called, so that a click can say what it hit: `button "Add to cart"`. */
export class NodeNames {
  readonly #nodes = new Map<number, Named>();

  /** Starts again with a page's full snapshot. */
  reset(root: unknown): void {
    this.#nodes.clear();
    this.#learn(root, 0);
  }

  /** Takes in the nodes that a mutation adds. */
  add(adds: unknown): void {
    if (!Array.isArray(adds)) return;
    for (const item of adds) {
      const add = asObject(item);
      if (add !== null && typeof add['parentId'] === 'number') this.#learn(add['node'], add['parentId']);
    }
  }

  /** The name of the nearest control around a node, or of the node itself; null where it was never seen. */
  nameOf(id: number): string | null {
    const first = this.#nodes.get(id);
    if (first === undefined) return null;
    let best = first;
    let node: Named | undefined = first;
    for (let i = 0; i < CLIMB_MAX && node !== undefined; i++) {
      if (CONTROLS.has(node.tag)) {
        best = node;
        break;
      }
      node = this.#nodes.get(node.parent);
    }
    const words = best.text || best.hint || first.text || first.hint;
    return words === '' ? best.tag : `${best.tag} “${words}”`;
  }

  /** Walks without recursion: recorded pages are deeper than a stack. */
  #learn(root: unknown, parent: number): void {
    const stack: [unknown, number][] = [[root, parent]];
    for (let item = stack.pop(); item !== undefined; item = stack.pop()) {
      const node = asObject(item[0]);
      if (node === null || this.#nodes.size >= NODES_MAX) continue;
      const { id, tagName, textContent, childNodes } = node;
      if (typeof id !== 'number') continue;
      if (typeof textContent === 'string') this.#hear(textContent, item[1]);
      if (typeof tagName === 'string') this.#nodes.set(id, named(tagName, item[1], node['attributes']));
      if (!Array.isArray(childNodes)) continue;
      for (let i = childNodes.length - 1; i >= 0; i--) stack.push([childNodes[i], id]);
    }
  }

  #hear(text: string, parent: number): void {
    const words = text.length > 400 ? '' : text.replace(/\s+/g, ' ').trim();
    if (words === '') return;
    let node = this.#nodes.get(parent);
    for (let i = 0; i < CLIMB_MAX && node !== undefined; i++) {
      if (node.text.length + words.length > TEXT_MAX && node.text !== '') return;
      node.text = node.text === '' ? words.slice(0, TEXT_MAX) : `${node.text} ${words}`;
      if (CONTROLS.has(node.tag)) return;
      node = this.#nodes.get(node.parent);
    }
  }
}

function named(tagName: string, parent: number, attributes: unknown): Named {
  const from: Json = asObject(attributes) ?? {};
  const name = HINTS.map((hint) => from[hint]).find((value) => typeof value === 'string' && value !== '');
  const hint = typeof name === 'string' ? name.slice(0, TEXT_MAX) : '';
  return { tag: tagName.toLowerCase().slice(0, 40), parent, hint, text: '' };
}
