/** The parts of rrweb's events that the frame looks into. Everything is optional: recordings are hostile. */
export type Attributes = Record<string, unknown>;

export type WireNode = {
  type?: unknown;
  id?: unknown;
  tagName?: unknown;
  attributes?: unknown;
  childNodes?: unknown;
  textContent?: unknown;
  rootId?: unknown;
  [key: string]: unknown;
};

export type Add = { parentId?: unknown; nextId?: unknown; previousId?: unknown; node?: WireNode };

export type WireEvent = { type: number; timestamp: number; data: Record<string, unknown> };

/** Reads one event's text; null where it is not an event. */
export function readEvent(json: string): WireEvent | null {
  try {
    const value: unknown = JSON.parse(json);
    if (!isObject(value)) return null;
    const { type, timestamp, data } = value;
    if (typeof type !== 'number' || typeof timestamp !== 'number') return null;
    return { type, timestamp, data: isObject(data) ? data : {} };
  } catch {
    return null;
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function objects(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

/** Walks a serialised tree without recursion: recorded pages are deeper than a stack. */
export function eachNode(root: WireNode, visit: (node: WireNode, parent: WireNode | null) => void): void {
  const stack: [WireNode, WireNode | null][] = [[root, null]];
  for (let item = stack.pop(); item !== undefined; item = stack.pop()) {
    const [node, parent] = item;
    visit(node, parent);
    const children = objects(node.childNodes);
    for (let i = children.length - 1; i >= 0; i--) {
      const child = children[i];
      if (child !== undefined) stack.push([child, node]);
    }
  }
}
