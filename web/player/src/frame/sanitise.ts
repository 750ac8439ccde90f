import { type LeftOut, LIMITS } from '../limits.ts';
import { type Assets, cleanAttributes, cleanCss, mayLoad } from './attributes.ts';
import { isObject, objects, type WireEvent, type WireNode } from './model.ts';
import { isTooDeep, type Known, type Page } from './page.ts';

/**
 * Takes out of recorded events what could run, load, break or exhaust. The sandbox and the content security policy
 * stand behind this; it is here so that neither is the only wall, and so that one bad name does not blank a page.
 */

const NAME = /^[A-Za-z_:\u00c0-\u02ff\u0370-\ufffd][\w:.\-\u00b7\u00c0-\u02ff\u0370-\ufffd]*$/;
const TAG = /^[a-z][\w.\-\u00b7\u00c0-\u02ff\u0370-\ufffd]*$/;
/** The only elements that a browser lets have a shadow tree; on any other the replayer throws. */
const SHADOW_HOST = /^(article|aside|blockquote|body|div|footer|h[1-6]|header|main|nav|p|section|span)$/;
const CUSTOM = /^[a-z][a-z0-9._]*-[a-z0-9._-]*$/;
/** Names with a hyphen that SVG and MathML took first. */
const NOT_CUSTOM = /^(annotation-xml|color-profile|font-face|font-face-(src|uri|format|name)|missing-glyph)$/;
/** Elements that load other documents or change how this one is read. Their place is kept, their content is not. */
const DROPPED_TAGS = new Set(
  'applet base bgsound controlledframe embed fencedframe frame object param plugin portal webview'.split(' '),
);
/** Positive numbers at most; recorded ids, sizes and indexes are all whole and small. */
const INDEX_MAX = 2 ** 31;

const POINTER_SOURCES = new Set<unknown>([1, 6, 12]);

function isIndex(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < INDEX_MAX;
}

/** The element a recorded name may become: known active ones turn into harmless ones. */
function tagFor(node: WireNode): string {
  const name = typeof node.tagName === 'string' ? node.tagName.toLowerCase() : '';
  // A prefix decides nothing in HTML, but in SVG `x:script` is a script.
  const local = name.split(':').at(-1) ?? '';
  if (!TAG.test(local)) return 'div';
  if (local === 'script') return 'noscript';
  if (local === 'frameset') return 'div';
  return DROPPED_TAGS.has(local) ? `rc-${local}` : local;
}

function canHost(tag: string, node: WireNode): boolean {
  if (node['isSVG'] === true) return false;
  return SHADOW_HOST.test(tag) || (CUSTOM.test(tag) && !NOT_CUSTOM.test(tag));
}

function cleanElement(node: WireNode, tag: string, assets: Assets, page: Page): void {
  node.tagName = tag;
  const refuse = (what: LeftOut) => void page.refuse(what);
  const attributes = cleanAttributes(tag, node.attributes, assets, refuse, (url) => page.miss(url));
  if (tag === 'canvas') {
    for (const side of ['width', 'height']) {
      if (Number(attributes[side]) > LIMITS.viewportPx) attributes[side] = LIMITS.viewportPx;
    }
  }
  node.attributes = attributes;
  const isCustom = CUSTOM.test(tag) && !NOT_CUSTOM.test(tag) && node['isSVG'] !== true;
  if (node['isCustom'] === true && !isCustom) delete node['isCustom'];
  if (tag === 'noscript' || tag === 'iframe') delete node['isSVG'];
  if (node['isShadowHost'] === true && !canHost(tag, node)) delete node['isShadowHost'];
}

/** What a document may hold: one doctype, one element, comments. */
function documentChildren(children: readonly Record<string, unknown>[]): Record<string, unknown>[] {
  const seen = new Set<unknown>();
  return children.filter(({ type }) => {
    if (type === 5) return true;
    if ((type !== 1 && type !== 2) || seen.has(type)) return false;
    seen.add(type);
    return true;
  });
}

/** The children that a node may keep. A document is only ever a root. */
function childrenOf(node: WireNode, known: Known, page: Page): WireNode[] {
  if (known.tag.startsWith('rc-')) return [];
  const children = objects(node.childNodes).filter(({ type }) => isNodeType(type) && type !== 0);
  const fitting = node.type === 0 ? documentChildren(children) : children.filter(({ type }) => type !== 1);
  const kept: WireNode[] = [];
  for (const child of fitting) {
    if (!page.hasRoom(known)) break;
    kept.push(child);
  }
  return kept;
}

function isNodeType(type: unknown): boolean {
  return typeof type === 'number' && Number.isInteger(type) && type >= 0 && type <= 5;
}

/** Cleans one node without its children, and notes it. Null where it cannot stand at all. */
function cleanNode(node: WireNode, parent: Known | null, assets: Assets, page: Page): Known | null {
  if (!page.hasRoom(parent)) return null;
  let tag = node.type === 2 ? tagFor(node) : '';
  // Inside a page the replayer takes it for the root of one that is not there yet.
  if (tag === 'html' && parent !== null && parent.type !== 0) tag = 'div';
  if (tag === 'iframe' && !page.takesFrame()) tag = 'div';
  if (node.type === 2) cleanElement(node, tag, assets, page);
  if (node['isShadow'] === true && parent?.canHost !== true) delete node['isShadow'];
  if (typeof node.rootId !== 'number') delete node.rootId;
  const known = page.enter(node, tag, parent, node.type === 2 && canHost(tag, node));
  if (tag === 'use' && !page.takesUse(known)) {
    for (const name of ['href', 'xlink:href']) delete (node.attributes as Record<string, unknown>)[name];
  }
  switch (node.type) {
    case 0:
      // The replayer looks at the first child of a page in quirks mode without asking whether there is one.
      if (objects(node.childNodes).length === 0) delete node['compatMode'];
      break;
    case 1:
      if (!NAME.test(String(node['name'] ?? ''))) node['name'] = 'html';
      for (const id of ['publicId', 'systemId']) if (typeof node[id] !== 'string') node[id] = '';
      break;
    case 2:
      cleanSheet(node, known, page);
      break;
    case 3:
    case 4:
    case 5:
      // An HTML document has no CDATA sections and throws where one is to be made.
      if (node.type === 4) node.type = 3;
      node.textContent = cleanText(node.textContent, known, node['isStyle'] === true, assets, page);
      break;
  }
  return known;
}

function cleanSheet(node: WireNode, known: Known, page: Page): void {
  const attributes = node.attributes as Record<string, unknown>;
  const css = attributes['_cssText'];
  if (typeof css === 'string') attributes['_cssText'] = page.style(known, css);
}

function cleanText(value: unknown, known: Known, isStyle: boolean, assets: Assets, page: Page): string {
  const text = typeof value === 'string' ? value : '';
  if (!isStyle && known.parent?.tag !== 'style') return page.text(known, text);
  return cleanCss(page.style(known, text), assets);
}

/** Cleans a serialised tree in place, without recursion. False where not even its root can stand. */
export function cleanTree(root: WireNode, assets: Assets, page: Page, parent: Known | null = null): boolean {
  const stack: [WireNode, Known | null][] = [[root, parent]];
  for (let item = stack.pop(); item !== undefined; item = stack.pop()) {
    const [node, above] = item;
    const known = cleanNode(node, above, assets, page);
    if (known === null) {
      if (node === root) return false;
      blank(node);
      continue;
    }
    if (node.type !== 0 && node.type !== 2) continue;
    const children = childrenOf(node, known, page);
    node.childNodes = children;
    for (const child of children.toReversed()) stack.push([child, known]);
  }
  return true;
}

/** Turns a node that cannot stand into one that is nothing. */
function blank(node: WireNode): void {
  node.type = 5;
  node.textContent = '';
  delete node['isShadow'];
}

/**
 * Cleans one event in place. False means that the event has nothing to draw, or nothing that is safe to draw. `page`
 * is what the events so far have built.
 */
export function cleanEvent(event: WireEvent, assets: Assets, page: Page): boolean {
  const { type, data } = event;
  if (type === 4) return cleanSize(data, page);
  if (type === 2) return cleanSnapshot(data, assets, page);
  if (type !== 3) return false;
  switch (data['source']) {
    case 0:
      cleanMutation(data, assets, page);
      return true;
    case 1:
    case 6:
    case 12:
      data['positions'] = objects(data['positions']);
      return POINTER_SOURCES.has(data['source']);
    case 2:
      // The replayer throws on an interaction it does not know.
      return isIndex(data['type']) && data['type'] <= 10;
    case 3:
      return Number.isFinite(data['x']) && Number.isFinite(data['y']);
    case 4:
      return cleanSize(data, page);
    case 5:
      return cleanInput(data);
    case 7:
      return cleanMedia(data, page);
    case 8:
      return cleanRules(data, assets, page);
    case 9:
      return true;
    case 10:
      return cleanFont(data, assets, page);
    case 13:
      return cleanDeclaration(data, assets);
    case 14:
      data['ranges'] = objects(data['ranges']);
      return true;
    case 15:
      return cleanAdopted(data, assets, page);
    default:
      return false;
  }
}

/** A window as large as a person could have; a recorded one of a million pixels only costs memory. */
function cleanSize(data: Record<string, unknown>, page: Page): boolean {
  for (const [side, usual] of [
    ['width', 1024],
    ['height', 768],
  ] as const) {
    const size = Number(data[side]);
    if (size > LIMITS.viewportPx) page.refuse('viewport');
    data[side] = size >= 1 ? Math.min(size, LIMITS.viewportPx) : usual;
  }
  return true;
}

function cleanSnapshot(data: Record<string, unknown>, assets: Assets, page: Page): boolean {
  const root = data['node'];
  if (!isObject(root) || root['type'] !== 0) return false;
  page.reset();
  cleanTree(root, assets, page);
  const offset = isObject(data['initialOffset']) ? data['initialOffset'] : {};
  data['initialOffset'] = { left: Number(offset['left']) || 0, top: Number(offset['top']) || 0 };
  return true;
}

/** Follows the replayer: first what goes, then what comes, then what changes. */
function cleanMutation(data: Record<string, unknown>, assets: Assets, page: Page): void {
  data['removes'] = objects(data['removes']).filter((remove) => {
    const known = page.get(remove['id']);
    // The replayer would forget a node, yet leave it standing, where it is not the child of whom the event says.
    if (known === null || known.type === 0 || known.parent === null) return false;
    remove['parentId'] = known.parent.id;
    remove['isShadow'] = known.inShadow;
    page.leave(known);
    return true;
  });
  data['adds'] = objects(data['adds']).filter((add) => isObject(add['node']) && cleanAdd(add, assets, page));
  data['texts'] = objects(data['texts']).filter((change) => {
    const known = page.get(change['id']);
    if (known?.type === 0 || known?.type === 2) return false;
    const { value } = change;
    if (known !== null && typeof value === 'string')
      change['value'] = cleanText(value, known, false, assets, page);
    return value === null || typeof value === 'string';
  });
  data['attributes'] = objects(data['attributes']).filter((change) => {
    const known = page.get(change['id']);
    if (known !== null && known.type !== 2) return false;
    const attributes = cleanAttributes(
      known?.tag ?? '',
      change['attributes'],
      assets,
      (what) => page.refuse(what),
      (url) => page.miss(url),
    );
    const css = attributes['_cssText'];
    if (known !== null && typeof css === 'string') attributes['_cssText'] = page.style(known, css);
    if (known !== null && 'id' in attributes && !page.takesName(known)) delete attributes['id'];
    // A drawing that was refused another one stays without it.
    if (known?.tag === 'use' && page.leftOut.has('shapes')) {
      for (const name of ['href', 'xlink:href']) delete attributes[name];
    }
    change['attributes'] = attributes;
    return true;
  });
}

/** Judges one add. Adds come in order: parents are known before their children. */
function cleanAdd(add: Record<string, unknown>, assets: Assets, page: Page): boolean {
  const node = add['node'] as WireNode;
  if (!isNodeType(node.type)) return false;
  const parent = page.get(add['parentId']);
  const old = page.get(node.id);
  if (node.type === 0) {
    // A document anywhere else than in a frame would take the place of the whole page.
    if (old !== null && old.parent !== parent) return false;
    if (parent !== null && parent.tag !== 'iframe') return false;
    for (const former of [...(parent?.children ?? [])]) page.leave(former);
    return cleanTree(node, assets, page, parent);
  }
  if (parent !== null && !mayHold(parent, node)) return false;
  if (old !== null && (old.type !== node.type || !page.mayMove(old, parent))) return false;
  // Children of an added node are adds of their own; those of a node that moves come with it.
  const children = old === null ? null : page.takeOut(old);
  node.childNodes = [];
  const known = cleanNode(node, parent, assets, page);
  if (known !== null) page.inherit(known, children);
  return known !== null;
}

function mayHold(parent: Known, node: WireNode): boolean {
  if (parent.type === 0) return documentChildren([node]).length === 1;
  return parent.type === 2 && node.type !== 1 && parent.tag !== 'iframe' && !parent.tag.startsWith('rc-');
}

function cleanInput(data: Record<string, unknown>): boolean {
  if (typeof data['text'] !== 'string') data['text'] = '';
  data['text'] = String(data['text']).slice(0, LIMITS.textChars);
  data['isChecked'] = data['isChecked'] === true;
  return true;
}

/** Media elements throw for volumes and rates they do not take. */
function cleanMedia(data: Record<string, unknown>, page: Page): boolean {
  const tag = page.get(data['id'])?.tag;
  if (tag !== 'video' && tag !== 'audio') return false;
  for (const [name, least, most] of [
    ['currentTime', 0, 1e9],
    ['volume', 0, 1],
    ['playbackRate', 0.0625, 16],
  ] as const) {
    const value = data[name];
    if (typeof value === 'number') data[name] = Math.min(Math.max(value, least), most);
    else delete data[name];
  }
  return isIndex(data['type']);
}

const isPath = (value: unknown): value is number[] =>
  Array.isArray(value) && value.length > 0 && value.every(isIndex);

/** Rules as a sheet takes them one by one. */
function cleanRuleList(value: unknown, assets: Assets, page: Page): Record<string, unknown>[] {
  let chars = 0;
  return objects(value).filter((add) => {
    const { rule, index } = add;
    if (typeof rule !== 'string' || !(index === undefined || isIndex(index) || isPath(index))) return false;
    chars += rule.length;
    if (isTooDeep(rule)) return page.refuse('styles');
    add['rule'] = cleanCss(rule, assets);
    return chars <= LIMITS.sheetChars || page.refuse('styles');
  });
}

function cleanRules(data: Record<string, unknown>, assets: Assets, page: Page): boolean {
  data['adds'] = cleanRuleList(data['adds'], assets, page);
  data['removes'] = objects(data['removes']).filter(({ index }) => isIndex(index) || isPath(index));
  for (const name of ['replace', 'replaceSync']) {
    const text = data[name];
    if (typeof text !== 'string') continue;
    const isTooMuch = text.length > LIMITS.sheetChars || isTooDeep(text);
    if (isTooMuch) page.refuse('styles');
    data[name] = isTooMuch ? '' : cleanCss(text, assets);
  }
  return true;
}

function cleanDeclaration(data: Record<string, unknown>, assets: Assets): boolean {
  const { set, remove } = data;
  if (!isPath(data['index'])) return false;
  if (!isObject(set) || typeof set['property'] !== 'string') delete data['set'];
  else if (typeof set['value'] === 'string') set['value'] = cleanCss(set['value'], assets);
  if (!isObject(remove) || typeof remove['property'] !== 'string') delete data['remove'];
  return true;
}

function cleanAdopted(data: Record<string, unknown>, assets: Assets, page: Page): boolean {
  const ids = data['styleIds'];
  data['styleIds'] = Array.isArray(ids) ? ids.filter(isIndex).slice(0, LIMITS.attributes) : [];
  data['styles'] = objects(data['styles']).filter((style) => {
    style['rules'] = cleanRuleList(style['rules'], assets, page);
    return isIndex(style['styleId']);
  });
  return true;
}

/** A font's bytes, or an address where the viewer allowed such. */
function cleanFont(data: Record<string, unknown>, assets: Assets, page: Page): boolean {
  const { family, fontSource: source } = data;
  if (typeof family !== 'string' || typeof source !== 'string') return false;
  if (!isObject(data['descriptors'])) delete data['descriptors'];
  if (data['buffer'] === true) {
    // As a list of numbers in text. A bare number would become that many bytes of memory.
    return /^\s*\[/.test(source) && page.takesFont(source.length / 4);
  }
  const url = /^\s*url\(\s*["']?([^"')]*)["']?\s*\)\s*(format\([^()]*\))?\s*$/i.exec(source)?.[1];
  return url !== undefined && mayLoad(url, assets) && page.takesFont(url.length * 0.75);
}
