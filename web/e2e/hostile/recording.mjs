/** Makes recordings by hand: nodes in short form, and the events that bring them into a page. */

const START_MS = 1_795_226_820_000;

/** An HTML element. */
export function h(tagName, attributes = {}, ...childNodes) {
  return { type: 2, tagName, attributes, childNodes };
}

/** An SVG element. */
export function svg(tagName, attributes = {}, ...childNodes) {
  return { type: 2, tagName, attributes, childNodes, isSVG: true };
}

/** A text node. */
export function t(textContent) {
  return { type: 3, textContent };
}

/** A copy of a tree in which every node has an id. Without recursion, for pages that are deep. */
function numbered(node, nextId) {
  const root = { ...node };
  const stack = [root];
  for (let item = stack.pop(); item !== undefined; item = stack.pop()) {
    item.id ??= nextId();
    if (!Array.isArray(item.childNodes)) continue;
    item.childNodes = item.childNodes.map((child) => ({ ...child }));
    for (const child of item.childNodes.toReversed()) stack.push(child);
  }
  return root;
}

/** One window of a recording, growing event by event. */
export class Recording {
  events = [];
  #ids = 100_000;
  #at = START_MS;

  constructor({ href = 'http://site.test/page', width = 800, height = 600 } = {}) {
    this.push(4, { href, width, height });
  }

  /** Ids below a hundred thousand are for whoever must know them. */
  nextId = () => ++this.#ids;

  /** Lets time pass. */
  after(ms) {
    this.#at += ms;
    return this;
  }

  push(type, data) {
    this.events.push({ type, timestamp: this.#at, data });
    return this;
  }

  increment(source, data) {
    return this.push(3, { source, ...data });
  }

  /** A full snapshot with these nodes in its body, whose id is 5. */
  snapshot(body, head = [], html = {}) {
    const number = (node) => numbered(node, this.nextId);
    const tree = [
      { type: 2, id: 4, tagName: 'head', attributes: {}, childNodes: head.map(number) },
      { type: 2, id: 5, tagName: 'body', attributes: {}, childNodes: body.map(number) },
    ];
    const root = { type: 2, id: 3, tagName: 'html', attributes: html, childNodes: tree };
    const doctype = { type: 1, id: 2, name: 'html', publicId: '', systemId: '' };
    this.last = tree[1];
    return this.push(2, {
      node: { type: 0, id: 1, childNodes: [doctype, root] },
      initialOffset: { left: 0, top: 0 },
    });
  }

  /** Adds nodes the way recorders do: each as an add of its own, parents before children. */
  add(parentId, nodes, { bare = false } = {}) {
    const adds = [];
    const late = [];
    for (const node of nodes) {
      const stack = [[parentId, numbered(node, this.nextId)]];
      for (let item = stack.pop(); item !== undefined; item = stack.pop()) {
        const [parent, { childNodes = [], ...rest }] = item;
        const own = { ...rest };
        if (bare && own.type === 2) {
          late.push({ id: own.id, attributes: own.attributes });
          own.attributes = {};
        }
        adds.push({
          parentId: parent,
          nextId: null,
          node: own.type === 2 ? { ...own, childNodes: [] } : own,
        });
        for (const child of childNodes.toReversed()) stack.push([own.id, child]);
      }
    }
    this.increment(0, { adds, removes: [], texts: [], attributes: [] });
    if (bare) this.after(50).attributes(late);
    return this;
  }

  attributes(changes) {
    return this.increment(0, { adds: [], removes: [], texts: [], attributes: changes });
  }

  /** The document of a frame, as it arrives after the frame's element. */
  attach(frameId, body, head = []) {
    const rootId = this.nextId();
    const inFrame = (node) => {
      const root = numbered(node, this.nextId);
      const stack = [root];
      for (let item = stack.pop(); item !== undefined; item = stack.pop()) {
        item.rootId = rootId;
        stack.push(...(item.childNodes ?? []));
      }
      return root;
    };
    const tree = inFrame(h('html', {}, h('head', {}, ...head), h('body', {}, ...body)));
    const node = { type: 0, id: rootId, childNodes: [tree] };
    const adds = [{ parentId: frameId, nextId: null, node }];
    return this.increment(0, { adds, removes: [], texts: [], attributes: [], isAttachIframe: true });
  }

  /** Something at the end, so that there is time to look at what came before. */
  end(ms = 5000) {
    return this.after(ms).push(5, { tag: 'end', payload: {} });
  }
}

/** An upload as posthog-js makes it. */
export function uploadOf(
  id,
  events,
  { windowId = 'w1', person = 'visitor', uuid = crypto.randomUUID() } = {},
) {
  const properties = {
    $snapshot_data: events,
    $session_id: id,
    $window_id: windowId,
    token: 'phc_hostile',
    distinct_id: person,
  };
  return JSON.stringify([
    { uuid, event: '$snapshot', properties, timestamp: new Date(START_MS).toISOString() },
  ]);
}
