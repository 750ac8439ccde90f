/**
 * Draws the page that is shown as a picture, for programs that show where links lead. The page is written down as the
 * content of an SVG image: of what is an image a browser runs nothing and fetches nothing, whatever is in it.
 *
 * It is the look of a page, not the page: what HTML can say and XML cannot is left out, and so is what lies on top of
 * everything, such as modal dialogs.
 */

/** Size of the picture in pixels: what programs that show links ask for, 1.91 to 1. */
const WIDTH = 1200;
const HEIGHT = 630;
const QUALITY = 0.8;
/** Beside a page that is higher than wide, and below one that is much wider than high. */
const BESIDE = '#dfe5e3';
/** Characters of a page that is drawn; of a longer one there is no picture. */
const CHARS_MAX = 8 << 20;

const SKIPPED = new Set(['head', 'link', 'meta', 'noscript', 'script', 'style', 'template', 'title']);
/** What XML has no place for. */
const UNWRITABLE = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu;
const NAME = /^[a-z_][\w.-]*$/i;

/** A JPEG of what the window over the page shows; null where it cannot be drawn. */
export async function stillOf(page: Document): Promise<Blob | null> {
  const { innerWidth: width, innerHeight: height } = page.defaultView ?? { innerWidth: 0, innerHeight: 0 };
  if (!(width > 0 && height > 0)) return null;
  const image = await loaded(imageOf(page, width, height, await canvasesOf(page)));
  const canvas = new OffscreenCanvas(WIDTH, HEIGHT);
  const context = canvas.getContext('2d');
  if (image === null || context === null) return null;
  const scale = width >= height ? WIDTH / width : HEIGHT / height;
  context.fillStyle = BESIDE;
  context.fillRect(0, 0, WIDTH, HEIGHT);
  const left = (WIDTH - width * scale) / 2;
  context.fillStyle = '#fff';
  context.fillRect(left, 0, width * scale, height * scale);
  context.drawImage(image, left, 0, width * scale, height * scale);
  return canvas.convertToBlob({ type: 'image/jpeg', quality: QUALITY });
}

/** What a page lays behind all of its window: the colour of its root, or else of its body. */
function backgroundOf({ documentElement, body }: Document): string {
  const colours = [documentElement, body].map((of) => of && getComputedStyle(of).backgroundColor);
  return colours.find((colour) => colour && !/^rgba.*, 0\)$/.test(colour)) || 'none';
}

async function loaded(url: string | null): Promise<HTMLImageElement | null> {
  if (url === null) return null;
  const image = new Image();
  image.src = url;
  return image.decode().then(
    () => image,
    () => null,
  );
}

/** What canvases show, which the stage lays behind them as pictures that only this document can read. */
async function canvasesOf(page: Document): Promise<ReadonlyMap<Element, string>> {
  const found = new Map<Element, string>();
  for (const canvas of page.querySelectorAll<HTMLElement>('canvas')) {
    const url = /^url\("(blob:[^"]+)"\)$/.exec(canvas.style.backgroundImage)?.[1];
    const image = await loaded(url ?? null);
    if (image === null || image.width === 0) continue;
    const copy = document.createElement('canvas');
    [copy.width, copy.height] = [image.width, image.height];
    copy.getContext('2d')?.drawImage(image, 0, 0);
    found.set(canvas, copy.toDataURL());
  }
  return found;
}

/** The page as an address of an SVG image; null where it is too long. */
function imageOf(
  page: Document,
  width: number,
  height: number,
  canvases: ReadonlyMap<Element, string>,
): string | null {
  const root = page.documentElement;
  const writer = new Writer(canvases);
  const { fontSize } = getComputedStyle(root);
  // Rules for the root are for the root of the image now, which has to look like it.
  const like = [...root.attributes].filter(({ name }) => name === 'class' || /^data-[\w.-]+$/.test(name));
  const fixed = `width:${width}px!important;height:${height}px!important;font-size:${fontSize}!important;background:${backgroundOf(page)}!important`;
  writer.open('svg', [
    ['xmlns', 'http://www.w3.org/2000/svg'],
    ['width', String(width)],
    ['height', String(height)],
    ...like.map(({ name, value }): Attribute => [name, value]),
    ['style', fixed],
  ]);
  writer.style(rulesOf(page));
  writer.style('*,::before,::after{animation:none!important;transition:none!important}');
  writer.open('foreignObject', [
    ['width', '100%'],
    ['height', '100%'],
  ]);
  const { scrollLeft, scrollTop } = page.scrollingElement ?? root;
  const away = scrollTop || scrollLeft ? `position:relative;left:${-scrollLeft}px;top:${-scrollTop}px;` : '';
  writer.element(root, `${away}overflow:visible!important`);
  writer.close('foreignObject');
  writer.close('svg');
  return writer.text === null ? null : `data:image/svg+xml;charset=utf-8,${encodeURIComponent(writer.text)}`;
}

type Attribute = readonly [name: string, value: string];

/** Writes elements down as XML. */
class Writer {
  readonly #canvases: ReadonlyMap<Element, string>;
  readonly #parts: string[] = [];
  #chars = 0;
  #shadows = 0;

  constructor(canvases: ReadonlyMap<Element, string>) {
    this.#canvases = canvases;
  }

  /** All that was written; null where that is too much. */
  get text(): string | null {
    return this.#chars > CHARS_MAX ? null : this.#parts.join('');
  }

  open(name: string, attributes: readonly Attribute[]): void {
    const written = attributes.map(([attribute, value]) => ` ${attribute}="${escaped(value)}"`);
    this.#write(`<${name}${written.join('')}>`);
  }

  close(name: string): void {
    this.#write(`</${name}>`);
  }

  style(rules: string): void {
    this.open('style', []);
    this.#write(escaped(rules));
    this.close('style');
  }

  /** An element with all that is in it, and something more in its style. A frame becomes a picture of its page. */
  element(element: Element, style = ''): void {
    const { localName, namespaceURI, parentElement } = element;
    if (this.#chars > CHARS_MAX || SKIPPED.has(localName)) return;
    const page = (element as Partial<HTMLIFrameElement>).contentDocument;
    const name = page ? 'img' : NAME.test(localName) ? localName : 'span';
    const attributes = attributesOf(element);
    if (namespaceURI !== parentElement?.namespaceURI) attributes.set('xmlns', namespaceURI ?? '');
    const { offsetWidth: width, offsetHeight: height } = element as HTMLElement;
    const inside = page && width > 0 && height > 0 ? imageOf(page, width, height, this.#canvases) : null;
    if (inside !== null) attributes.set('src', inside);
    const styles = [attributes.get('style') ?? '', style];
    const canvas = this.#canvases.get(element);
    if (canvas !== undefined) styles.push(`background-image:url("${canvas}")!important`);
    if (localName === 'a' && attributes.has('href')) styles.push(`color:${getComputedStyle(element).color}`);
    if (name === 'img') styles.push(`width:${width}px;height:${height}px`);
    const { shadowRoot } = element;
    const scope = `s${this.#shadows++}`;
    if (shadowRoot !== null) attributes.set('data-reelcase-shadow', scope);
    attributes.set('style', styles.filter((part) => part !== '').join(';'));
    this.open(name, [...attributes]);
    if (shadowRoot !== null) this.style(scoped(rulesOf(shadowRoot), scope));
    if (!page) this.#inside(element, shadowRoot ?? element);
    this.close(name);
  }

  #inside(element: Element, root: Node): void {
    if (element instanceof (viewOf(element)?.HTMLTextAreaElement ?? HTMLTextAreaElement)) {
      this.#write(escaped(element.value));
      return;
    }
    const isSlot = element.localName === 'slot' ? (element as HTMLSlotElement) : null;
    const given = isSlot?.assignedNodes() ?? [];
    const { scrollLeft, scrollTop } = element;
    const isRoot = element.localName === 'html' || element.localName === 'body';
    const shift = !isRoot && (scrollLeft || scrollTop) ? `translate:${-scrollLeft}px ${-scrollTop}px` : '';
    for (const child of given.length > 0 ? given : root.childNodes) {
      if (child.nodeType === Node.ELEMENT_NODE) this.element(child as Element, shift);
      else if (child.nodeType === Node.TEXT_NODE) this.#write(escaped(child.nodeValue ?? ''));
    }
  }

  #write(text: string): void {
    this.#chars += text.length;
    if (this.#chars <= CHARS_MAX) this.#parts.push(text);
  }
}

const viewOf = (element: Element) => element.ownerDocument.defaultView as (Window & typeof globalThis) | null;

function escaped(text: string): string {
  const safe = text.replace(UNWRITABLE, '\ufffd');
  return safe
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

/** The rules of a shadow tree, as rules for what is in it and its host alone. */
function scoped(rules: string, scope: string): string {
  const inside = rules.replace(/:host\(([^()]*)\)/g, ':scope:is($1)').replaceAll(':host', ':scope');
  return `@scope ([data-reelcase-shadow="${scope}"]) {\n${inside}\n}`;
}

/** The attributes that a picture of an element needs, with what was chosen and typed. */
function attributesOf(element: Element): Map<string, string> {
  const kept = new Map<string, string>();
  for (const { localName, name, value } of element.attributes) {
    const isAddress = localName === 'href' || localName === 'src';
    if (!NAME.test(localName) || localName === 'xmlns' || localName === 'srcset' || localName === 'loading')
      continue;
    if (name !== localName && localName !== 'href') continue;
    if (isAddress && !/^(#|data:)/.test(value)) {
      // Links look like links for having an address.
      if (element.localName === 'a') kept.set('href', '#');
      continue;
    }
    kept.set(localName, value);
  }
  const { value, checked, selected } = element as Partial<HTMLInputElement & HTMLOptionElement>;
  if (element.localName === 'input' && typeof value === 'string') kept.set('value', value);
  for (const [name, is] of Object.entries({ checked, selected })) {
    if (is) kept.set(name, '');
    else if (typeof is === 'boolean') kept.delete(name);
  }
  return kept;
}

/** The rules of all style sheets of a page or a shadow tree, as they are now. */
function rulesOf({ styleSheets, adoptedStyleSheets }: Document | ShadowRoot): string {
  return [...styleSheets, ...adoptedStyleSheets].map(rulesIn).join('\n');
}

function rulesIn(sheet: CSSStyleSheet): string {
  if (sheet.disabled) return '';
  try {
    const rules = [...sheet.cssRules].map(({ cssText }) => cssText).join('\n');
    const media = sheet.media.mediaText;
    return media === '' ? rules : `@media ${media} {\n${rules}\n}`;
  } catch {
    // That of another origin.
    return '';
  }
}
