// Recordings made by hand, for what no page of ours does by itself.

/** When they begin, ms since 1970. Any time does. */
export const T0 = 1_795_226_820_000;

/** Counts the nodes of one recording. The document is the first. */
export class Nodes {
  #last = 1;

  text(textContent) {
    return { type: 3, id: ++this.#last, textContent };
  }

  element(tagName, attributes = {}, childNodes = [], more = {}) {
    return { type: 2, id: ++this.#last, tagName, attributes, childNodes, ...more };
  }

  /** A whole page; of a frame, where it is not the first. */
  page(css, body, isFirst = true) {
    const style = this.element('style', {}, [this.text(css)]);
    const html = this.element('html', {}, [this.element('head', {}, [style]), body]);
    return { type: 0, id: isFirst ? 1 : ++this.#last, childNodes: [html] };
  }
}

/** The first events of a recording: the size of the window, and the page in it. */
export function begin(href, node, { width, height, top = 0 }) {
  return [
    { type: 4, data: { href, width, height }, timestamp: T0 },
    { type: 2, data: { node, initialOffset: { top, left: 0 } }, timestamp: T0 },
  ];
}

/** What changed so many milliseconds after the beginning. */
export const change = (offset, data) => ({ type: 3, data, timestamp: T0 + offset });
