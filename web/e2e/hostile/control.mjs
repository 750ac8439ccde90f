/**
 * Shows that the vectors are alive: builds each as it stands in a page of its own, as a player without any walls
 * would, once by the DOM and once by reading its HTML again. Runs in the browser.
 */
export function buildWithoutWalls(vectors) {
  const SVG = 'http://www.w3.org/2000/svg';
  const make = (doc, node) => {
    if (node.type === 3) return doc.createTextNode(node.textContent);
    if (node.type === 5) return doc.createComment(node.textContent);
    if (node.type !== 2) return doc.createTextNode('');
    const { _cssText: css, ...attributes } = node.attributes;
    const tag = node.tagName === 'link' && css !== undefined ? 'style' : node.tagName;
    const element = node.isSVG ? doc.createElementNS(SVG, tag) : doc.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === 'xlink:href') element.setAttributeNS('http://www.w3.org/1999/xlink', name, value);
      else if (name === 'rr_dataURL') element.setAttribute('src', value);
      else element.setAttribute(name, String(value));
    }
    if (css !== undefined) element.append(css);
    for (const child of node.childNodes) {
      try {
        element.append(make(doc, child));
      } catch {}
    }
    return element;
  };
  for (const vector of vectors) {
    for (const again of [false, true]) {
      const frame = document.createElement('iframe');
      document.body.append(frame);
      frame.contentWindow.__ran = window.__ran;
      const doc = frame.contentDocument;
      const box = doc.createElement('div');
      doc.body.append(box);
      try {
        box.append(make(doc, vector));
        const html = box.innerHTML;
        if (again) box.innerHTML = html;
      } catch {}
    }
  }
}
