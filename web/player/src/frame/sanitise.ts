import { type Attributes, eachNode, isObject, objects, type WireEvent, type WireNode } from './model.ts';

/**
 * Takes out of recorded events what could run, load or break. The sandbox and the content security policy stand
 * behind this; it is here so that neither is the only wall, and so that one bad name does not blank a page.
 */

const NAME = /^[A-Za-z_:\u00c0-\u02ff\u0370-\ufffd][\w:.\-\u00b7\u00c0-\u02ff\u0370-\ufffd]*$/;
const TAG = /^[A-Za-z][\w.\-\u00b7\u00c0-\u02ff\u0370-\ufffd]*(:[A-Za-z_][\w.-]*)?$/;
/** The only elements that a browser lets have a shadow tree; on any other the replayer throws. */
const SHADOW_HOST =
  /^(article|aside|blockquote|body|div|footer|h[1-6]|header|main|nav|p|section|span|[a-z][\w.]*-[\w.-]*)$/;
const CUSTOM = /^[a-z][a-z0-9._]*-[a-z0-9._-]*$/;
const DROPPED_TAGS = new Set(
  'object embed portal applet frame frameset base fencedframe bgsound param webview'.split(' '),
);
const DROPPED_ATTRIBUTES = new Set(
  'srcdoc ping nonce autofocus manifest http-equiv allow csp is formtarget target popovertarget __proto__ constructor prototype'.split(
    ' ',
  ),
);
const URL_ATTRIBUTES = new Set(
  'href xlink:href src action formaction data poster background cite longdesc profile classid codebase icon dynsrc lowsrc archive'.split(
    ' ',
  ),
);
const ANIMATED_VALUES = new Set(['values', 'to', 'from', 'by']);
const SAFE_DATA = /^data:(image|font|audio|video|application\/(x-)?font|text\/css)/i;
const NEEDLESS_RELS =
  /\b(preload|prefetch|dns-prefetch|preconnect|modulepreload|prerender|import|manifest|icon)\b/i;
const FRAMES_MAX = 200;
const CANVAS_MAX = 4096;

/** How much the viewer lets the recording load. */
export type Assets = 'none' | 'remote';

/** The scheme of a URL as a browser would read it, which ignores white space and control characters in it. */
function schemeOf(url: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: browsers skip exactly these.
  const plain = url.replace(/[\u0000-\u0020\u007f-\u00a0]/g, '');
  return (/^([a-z][a-z0-9+.-]*):/i.exec(plain)?.[1] ?? '').toLowerCase();
}

/** Whether a URL may stay where the browser would load it. */
function mayLoad(url: string, assets: Assets): boolean {
  const trimmed = url.trim();
  if (trimmed.startsWith('#') || SAFE_DATA.test(trimmed)) return true;
  return assets === 'remote' && ['http', 'https'].includes(schemeOf(trimmed));
}

/** Whether an address may stay on a link, which nobody can follow in the replay. */
function mayLink(url: string): boolean {
  return ['', 'http', 'https', 'mailto', 'tel'].includes(schemeOf(url));
}

/** Counts what a page may have only so many of. */
export class Budget {
  frames = 0;
}

function keepsAttribute(tag: string, name: string, value: unknown, assets: Assets): boolean {
  const lower = name.toLowerCase();
  if (!NAME.test(name) || lower.startsWith('on') || DROPPED_ATTRIBUTES.has(lower)) return false;
  if (tag === 'iframe' && ['src', 'sandbox', 'loading', 'name'].includes(lower)) return false;
  const text = typeof value === 'string' ? value : '';
  if (ANIMATED_VALUES.has(lower) && /script\s*:/i.test(text)) return false;
  if (lower === 'srcset' || lower === 'imagesrcset') return assets === 'remote';
  if (lower === 'rel') return !NEEDLESS_RELS.test(text);
  if (!URL_ATTRIBUTES.has(lower)) return true;
  if (tag === 'a' || tag === 'area') return mayLink(text);
  if (lower === 'action' || lower === 'formaction' || lower === 'cite') return false;
  return mayLoad(text, assets);
}

/** A copy of attributes without the bad ones. A style given as an object passes: it only holds CSS. */
export function cleanAttributes(tag: string, attributes: unknown, assets: Assets): Attributes {
  const out: Attributes = {};
  if (!isObject(attributes)) return out;
  for (const [name, value] of Object.entries(attributes)) {
    if (isObject(value) && name !== 'style') continue;
    if (keepsAttribute(tag, name, value, assets)) out[name] = value;
  }
  return out;
}

function cleanElement(node: WireNode, assets: Assets, budget: Budget): void {
  let tag = typeof node.tagName === 'string' ? node.tagName : '';
  const lower = tag.toLowerCase();
  if (lower === 'iframe') budget.frames++;
  const excess = lower === 'iframe' && budget.frames > FRAMES_MAX;
  if (!TAG.test(tag) || DROPPED_TAGS.has(lower) || excess) {
    tag = lower.startsWith('base') ? 'rc-base' : 'div';
    node.childNodes = DROPPED_TAGS.has(lower) && lower !== 'frameset' ? [] : node.childNodes;
  }
  node.tagName = tag;
  if (!Array.isArray(node.childNodes)) node.childNodes = [];
  const attributes = cleanAttributes(lower, node.attributes, assets);
  if (
    lower === 'link' &&
    NEEDLESS_RELS.test(String((node.attributes as Attributes | undefined)?.['rel'] ?? ''))
  ) {
    delete attributes['href'];
  }
  if (lower === 'meta') delete attributes['content'];
  if (lower === 'canvas') {
    for (const side of ['width', 'height']) {
      const size = Number(attributes[side]);
      if (size > CANVAS_MAX) attributes[side] = CANVAS_MAX;
    }
  }
  node.attributes = attributes;
  if (node['isCustom'] === true && !CUSTOM.test(tag)) delete node['isCustom'];
  if (node['isShadowHost'] === true && !SHADOW_HOST.test(lower)) {
    delete node['isShadowHost'];
    for (const child of objects(node.childNodes)) delete child['isShadow'];
  }
}

/** A document can hold one doctype and one element, and no text. */
function cleanDocument(node: WireNode): void {
  const seen = new Set<unknown>();
  node.childNodes = objects(node.childNodes).filter(({ type }) => {
    if (type === 5) return true;
    if ((type !== 1 && type !== 2) || seen.has(type)) return false;
    seen.add(type);
    return true;
  });
}

/** Cleans a serialised tree in place. */
export function cleanTree(root: WireNode, assets: Assets, budget: Budget): void {
  eachNode(root, (node) => {
    if (!Array.isArray(node.childNodes) && (node.type === 0 || node.type === 2)) node.childNodes = [];
    if (Array.isArray(node.childNodes)) node.childNodes = objects(node.childNodes);
    if (node.type === 2) cleanElement(node, assets, budget);
    // An HTML document has no CDATA sections and throws where one is to be made.
    if (node.type === 4) node.type = 3;
    if (node.type === 0) cleanDocument(node);
    if ((node.type === 3 || node.type === 5) && typeof node.textContent !== 'string') node.textContent = '';
    if (node.type === 1 && !NAME.test(String(node['name'] ?? ''))) node['name'] = 'html';
  });
}

/**
 * Cleans one event in place. False means that the event has nothing to draw, or nothing that is safe to draw.
 * `tagOf` tells what an attribute change is about, as far as the replayer knows.
 */
export function cleanEvent(
  event: WireEvent,
  assets: Assets,
  budget: Budget,
  tagOf: (id: number) => string,
): boolean {
  const { type, data } = event;
  if (type === 4) return true;
  if (type === 2) {
    if (!isObject(data['node'])) return false;
    budget.frames = 0;
    cleanTree(data['node'], assets, budget);
    const offset = data['initialOffset'];
    if (!isObject(offset)) data['initialOffset'] = { left: 0, top: 0 };
    return true;
  }
  if (type !== 3) return false;
  switch (data['source']) {
    case 0:
      cleanMutation(data, assets, budget, tagOf);
      return true;
    case 2:
      // The replayer throws on an interaction it does not know.
      return typeof data['type'] === 'number' && data['type'] >= 0 && data['type'] <= 10;
    case 1:
    case 6:
    case 12:
      data['positions'] = objects(data['positions']);
      return true;
    case 3:
    case 4:
    case 5:
    case 7:
    case 8:
    case 9:
    case 10:
    case 13:
    case 14:
    case 15:
      return true;
    default:
      return false;
  }
}

function cleanMutation(
  data: Record<string, unknown>,
  assets: Assets,
  budget: Budget,
  tagOf: (id: number) => string,
): void {
  for (const list of ['adds', 'removes', 'texts', 'attributes']) data[list] = objects(data[list]);
  for (const add of objects(data['adds'])) {
    if (isObject(add['node'])) cleanTree(add['node'], assets, budget);
  }
  for (const change of objects(data['attributes'])) {
    const tag = typeof change['id'] === 'number' ? tagOf(change['id']) : '';
    change['attributes'] = cleanAttributes(tag, change['attributes'], assets);
  }
}
