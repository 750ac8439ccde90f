import { type LeftOut, LIMITS } from '../limits.ts';
import { withoutAddresses } from './css.ts';
import { type Attributes, isObject } from './model.ts';
import { pixelsOf } from './picture.ts';

/**
 * Which attributes may reach the replayed page. Most attributes mean nothing to a browser, and style sheets select by
 * any of them, so names cannot be a list. What can run, load or steer can be: handlers and switches go, and a URL
 * stays only in the places that are named here.
 */

/** How much the viewer lets the recording load. */
export type Assets = 'none' | 'remote';

const NAME = /^[A-Za-z_:\u00c0-\u02ff\u0370-\ufffd][\w:.\-\u00b7\u00c0-\u02ff\u0370-\ufffd]*$/;

/** Attributes that fetch, run, open, report or grant something, or that only a player writes. */
const DROPPED = new Set(
  (
    'accesskey adauctionheaders allow allowfullscreen attributionsrc autofocus autoplay browsingtopics command ' +
    'commandfor credentialless csp download formtarget http-equiv integrity interestfor is manifest nonce ping ' +
    'popovertarget privatetoken referrerpolicy sandbox sharedstoragewritable shadowrootmode srcdoc target ' +
    '__proto__ constructor prototype'
  ).split(' '),
);

/** Every attribute that holds a URL somewhere in HTML, SVG or MathML. */
const URLS = new Set(
  (
    'action altimg archive background cite classid codebase data datasrc dynsrc formaction href icon itemid lowsrc ' +
    'longdesc pluginspage pluginurl poster profile src usemap xlink:href xml:base xmlns:xlink altimg-src rr_dataurl'
  ).split(' '),
);

/** Where a URL is loaded as a picture, a sound, a film, a style sheet, or refers to a part of the same page. */
const LOADED: Readonly<Record<string, readonly string[]>> = {
  img: ['src', 'rr_dataurl'],
  input: ['src'],
  image: ['href', 'xlink:href'],
  feimage: ['href', 'xlink:href'],
  video: ['src', 'poster'],
  audio: ['src'],
  source: ['src'],
  link: ['href'],
  canvas: ['rr_dataurl'],
  ...Object.fromEntries(
    ['body', 'table', 'thead', 'tbody', 'tfoot', 'tr', 'td', 'th'].map((t) => [t, ['background']]),
  ),
};

const SAFE_DATA = /^data:(image|font|audio|video|application\/(x-)?font)[-/]/i;
const MEDIA_STATE = /^rr_media/;

/** The scheme of a URL as a browser would read it, which ignores white space and control characters in it. */
function schemeOf(url: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: browsers skip exactly these.
  const plain = url.replace(/[\u0000-\u0020\u007f-\u00a0]/g, '');
  return (/^([a-z][a-z0-9+.-]*):/i.exec(plain)?.[1] ?? '').toLowerCase();
}

/** Whether a URL may stay where the browser would load it. */
export function mayLoad(url: string, assets: Assets): boolean {
  if (SAFE_DATA.test(url)) return true;
  return assets === 'remote' && ['http', 'https'].includes(schemeOf(url));
}

/** Whether an address may stay on a link, which nobody can follow in the replay. */
function mayLink(url: string): boolean {
  return ['', 'http', 'https', 'mailto', 'tel'].includes(schemeOf(url));
}

function keepsUrl(tag: string, name: string, url: string, assets: Assets): boolean {
  // A part of the page itself; it is drawn where the element stands.
  if (url.startsWith('#')) return name !== 'rr_dataurl';
  if ((tag === 'a' || tag === 'area') && (name === 'href' || name === 'xlink:href')) return mayLink(url);
  if (LOADED[tag]?.includes(name) !== true) return false;
  return mayLoad(url, name === 'rr_dataurl' ? 'none' : assets);
}

/** Only these rels make a link draw something, and none of them more than a style sheet. */
function keepsRel(tag: string, rel: string): boolean {
  return tag === 'a' || tag === 'area' || /^\s*stylesheet\s*$/i.test(rel);
}

/** The values of an animation, which a browser may read as an address. */
const ANIMATED = new Set(['values', 'to', 'from', 'by']);

/** Animations may move and colour; one that changes an address or a handler could smuggle it in later. */
function keepsAnimation(target: string): boolean {
  const local = target.trim().toLowerCase().split(':').at(-1) ?? '';
  return !local.startsWith('on') && !URLS.has(local) && !DROPPED.has(local) && !/\s/.test(target.trim());
}

function keeps(tag: string, name: string, value: unknown, assets: Assets): boolean {
  const lower = name.toLowerCase();
  if (!NAME.test(name) || lower.startsWith('on') || DROPPED.has(lower)) return false;
  if (MEDIA_STATE.test(lower) && tag !== 'video' && tag !== 'audio') return false;
  // A removed attribute can do nothing.
  if (value === null) return true;
  const text = String(value);
  if (lower === 'srcset' || lower === 'imagesrcset')
    return assets === 'remote' && ['img', 'source'].includes(tag);
  if (lower === 'rel') return keepsRel(tag, text);
  if (lower === 'attributename') return keepsAnimation(text);
  if (ANIMATED.has(lower)) return !text.split(';').some((part) => schemeOf(part).endsWith('script'));
  if (lower === 'content' && tag === 'meta') return false;
  if (tag === 'iframe' && ['src', 'loading', 'name'].includes(lower)) return false;
  return !URLS.has(lower) || keepsUrl(tag, lower, text, assets);
}

const clamp = (value: number, least: number, most: number) => Math.min(Math.max(value, least), most);

/** A number that the media element takes; it throws for others, and the page would not be built. */
function mediaValue(name: string, value: unknown): unknown {
  if (typeof value !== 'number') return value;
  if (name === 'rr_mediaVolume') return clamp(value, 0, 1);
  if (name === 'rr_mediaPlaybackRate') return clamp(value, 0.0625, 16);
  return value;
}

/** Attributes that hold a piece of a style sheet. */
const STYLES = new Set(
  'style clip-path color-profile cursor fill filter marker marker-end marker-mid marker-start mask stroke _csstext'.split(
    ' ',
  ),
);

/** A style sheet or a piece of one, with as much in it as may be loaded. */
export function cleanCss(css: string, assets: Assets): string {
  return assets === 'remote' ? css : withoutAddresses(css);
}

/** A style given as an object: property to text, or to text and priority. */
function cleanStyle(value: Record<string, unknown>, assets: Assets): Record<string, unknown> {
  const isPart = (part: unknown) => typeof part === 'string' || part === false;
  const clean = (part: unknown) => (typeof part === 'string' ? cleanCss(part, assets) : part);
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, part]) => isPart(part) || (Array.isArray(part) && part.length <= 2 && part.every(isPart)))
      .map(([property, part]) => [property, Array.isArray(part) ? part.map(clean) : clean(part)]),
  );
}

/** Whether the page looked different for want of what is at an address, and nothing but the viewer's choice keeps it away. */
function isMissed(tag: string, name: string, value: unknown, { rel }: Record<string, unknown>): boolean {
  if (LOADED[tag]?.includes(name.toLowerCase()) !== true) return false;
  if (tag === 'link' && !/stylesheet/i.test(String(rel))) return false;
  return typeof value === 'string' && ['http', 'https'].includes(schemeOf(value));
}

/**
 * A copy of attributes without the bad ones. `refuse` hears of what is too much, `miss` of addresses from which nothing
 * is loaded.
 */
export function cleanAttributes(
  tag: string,
  attributes: unknown,
  assets: Assets,
  refuse: (what: LeftOut) => void = () => {},
  miss: (url: string) => void = () => {},
): Attributes {
  const out: Attributes = {};
  if (!isObject(attributes)) return out;
  let count = 0;
  for (const [name, value] of Object.entries(attributes)) {
    const isText = value === null || ['string', 'number', 'boolean'].includes(typeof value);
    if (typeof value === 'string' && value.startsWith('data:') && pixelsOf(value) > LIMITS.picturePixels) {
      refuse('pictures');
      continue;
    }
    // Lists would pass every test on their text and become it when they are set.
    if (!isText && !(name === 'style' && isObject(value))) continue;
    if (!keeps(tag, name, value, assets)) {
      if (isMissed(tag, name, value, attributes)) miss(String(value));
      continue;
    }
    if (++count > LIMITS.attributes) {
      refuse('attributes');
      break;
    }
    if (isObject(value)) out[name] = cleanStyle(value, assets);
    else if (typeof value !== 'string') out[name] = mediaValue(name, value);
    else out[name] = STYLES.has(name.toLowerCase()) ? cleanCss(value, assets) : value;
  }
  return out;
}
