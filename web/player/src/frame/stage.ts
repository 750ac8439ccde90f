import { Replayer } from '@rrweb/replay';
import { type LeftOut, LIMITS } from '../limits.ts';
import type { Motion } from '../protocol.ts';
import type { Assets } from './attributes.ts';
import { CanvasReplica, CanvasRoom, canvasSide, readCommands } from './canvas.ts';
import type { Draft } from './draft.ts';
import { Media } from './media.ts';
import { eachNode, isObject, objects, readEvent, type WireEvent, type WireNode } from './model.ts';
import { KnownNodes, orderMutation } from './order.ts';
import { Page } from './page.ts';
import { cleanEvent } from './sanitise.ts';
import { takeScrolls } from './scroll.ts';
import { stillOf } from './still.ts';

/**
 * What the stage uses of the replayer beyond its public face. The replayer's own clock stays stopped; events are
 * applied one by one through the function that its clock would have called. The version is pinned exactly.
 */
type Inner = {
  getCastFn(event: WireEvent, isSync: boolean): () => void;
  moveAndHover(x: number, y: number, id: number, isSync: boolean, debug: unknown): void;
  destroy(): void;
  pause(offset: number): void;
  on(name: string, handler: (size: unknown) => void): unknown;
  getMirror(): { getNode(id: number): Node | null; getId(node: Node): number };
  iframe: HTMLIFrameElement & { contentWindow: (Window & typeof globalThis) | null };
  wrapper: HTMLElement;
};

type Canvas = { replica: CanvasReplica; url: string | null };
type Scene = { readonly inner: Inner; readonly box: HTMLElement };
type Pointer = { x: number; y: number; id: number };

const POINTER_SOURCES = new Set<unknown>([1, 6, 12]);

/** Holds the replayer: builds a page from events, applies later ones, scales it to the room there is. */
export class Stage {
  readonly #root: HTMLElement;
  readonly #assets: Assets;
  readonly #onViewport: (width: number, height: number) => void;
  readonly #known = new KnownNodes();
  readonly #page = new Page();
  readonly #pictures = new Map<number, { width: number; height: number; url: string | null }>();
  readonly #canvases = new Map<number, Canvas>();
  #room = new CanvasRoom();
  #scene: Scene | null = null;
  #size = { width: 1024, height: 768 };
  readonly #media = new Media();
  /** How the page runs, and since when, on this document's clock. */
  #motion: Motion = { running: false, at: 0, rate: 1 };
  #since = 0;
  problems = 0;
  /** Rises with every change of the page. */
  version = 0;

  constructor(root: HTMLElement, assets: Assets, onViewport: (width: number, height: number) => void) {
    this.#root = root;
    this.#assets = assets;
    this.#onViewport = onViewport;
  }

  /** Builds a fresh page. The old one stays on the screen until the new one stands. */
  show(draft: Draft): boolean {
    this.version++;
    this.problems = draft.problems;
    this.#forget();
    const all = this.#clean(draft.finish());
    const base = all.findIndex((event) => event.type === 2);
    if (base < 0) return false;
    const first = all[0];
    const last = all.at(-1);
    if (first === undefined || last === undefined) return false;
    const meta = { type: 4, timestamp: first.timestamp, data: { href: '', ...this.#size } };
    const events = all.slice(base).filter((event) => !this.#isAside(event));
    const head = all.slice(0, base).findLast((event) => event.type === 4);
    const box = document.createElement('div');
    box.className = 'scene';
    // What is not shown has no layout, for which the replayer would ask several times on the way.
    box.style.display = 'none';
    this.#root.append(box);
    const { kept: list, scrolls } = takeScrolls(withoutLooseMetas([head ?? meta, ...events]));
    const old = this.#scene;
    this.#scene = { inner: this.#build(list, box), box };
    try {
      this.#scene.inner.pause(last.timestamp - (list[0]?.timestamp ?? 0) + 1);
    } catch {
      // One bad event must not cost the page: apply all of them one at a time, to a page without the half-made one.
      this.problems++;
      this.#scene.inner.destroy();
      box.replaceChildren();
      this.#scene = { inner: this.#build(list.slice(0, 2), box), box };
      for (const event of list) this.#cast(event);
    }
    if (old !== null) {
      old.inner.destroy();
      old.box.remove();
    }
    this.#hearFailures();
    // Before anything asks for the layout: whether animations run is a matter of style for every element.
    this.#run();
    box.style.display = '';
    for (const scroll of scrolls) this.#cast(scroll, true);
    this.#drawCanvases(all);
    const pointer = lastPointer(all);
    if (pointer !== null) this.#point(pointer, true);
    this.#syncMedia();
    this.fit();
    return true;
  }

  /** Applies events to the page that is shown. */
  feed(texts: readonly string[]): void {
    this.version++;
    for (const event of this.#clean(this.#read(texts))) {
      if (POINTER_SOURCES.has(event.data['source']) && event.type === 3) {
        for (const pointer of pointers(event)) this.#point(pointer, false);
      } else if (this.#isAside(event)) this.#drawCanvases([event]);
      else {
        this.#cast(event);
        if (event.type === 2) {
          this.#drawCanvases([event]);
          this.#hearFailures();
          this.#run();
        }
      }
    }
    this.#syncMedia();
  }

  /** The page that is shown, what its nodes are called, and what it stands in; null before the first. */
  get shown(): { document: Document; mirror: ReturnType<Inner['getMirror']>; wrapper: HTMLElement } | null {
    const { inner } = this.#scene ?? {};
    const document = inner?.iframe.contentDocument;
    if (!inner || !document?.documentElement) return null;
    return { document, mirror: inner.getMirror(), wrapper: inner.wrapper };
  }

  /** A JPEG of what is shown, once its canvases are drawn; null where it cannot be drawn. */
  async still(): Promise<Blob | null> {
    await Promise.all([...this.#canvases.values()].map(({ replica }) => replica.drawn));
    return this.shown === null ? null : stillOf(this.shown.document);
  }

  /** Addresses from which nothing came, though something of the page is there. */
  get missing(): string[] {
    return [...this.#page.missing];
  }

  /** Listens for what is loaded late, and what cannot be loaded. A page that is made anew has lost its listeners. */
  #hearFailures(): void {
    const hear = ({ target }: Event) => {
      const { src, href } = (target ?? {}) as { src?: unknown; href?: unknown };
      const url = src ?? href;
      if (typeof url === 'string' && url.startsWith('http')) this.#page.miss(url);
    };
    const view = this.#scene?.inner.iframe.contentWindow;
    view?.addEventListener('error', hear, true);
    // What is not there yet cannot be put anywhere.
    view?.addEventListener('loadedmetadata', () => this.#syncMedia(), true);
  }

  /** What had to be left out of the page, in the order it was met. */
  get leftOut(): LeftOut[] {
    this.#calm();
    return [...this.#page.leftOut];
  }

  /** Stops all animations of a page that has so many that the viewer's own clicks would have to wait. */
  #calm(): void {
    if (!this.#motion.running || this.#page.leftOut.has('animations')) return;
    const document = this.#scene?.inner.iframe.contentDocument;
    if ((document?.getAnimations().length ?? 0) <= LIMITS.animations) return;
    this.#page.refuse('animations');
    this.#run();
  }

  /** Lets the page's animations and media run or stand still. */
  animate(motion: Motion): void {
    this.#motion = motion;
    this.#since = performance.now();
    this.#run();
    this.#syncMedia();
  }

  #syncMedia(): void {
    const { running, at, rate } = this.#motion;
    const now = running ? at + (performance.now() - this.#since) * rate : at;
    const mirror = this.shown?.mirror;
    if (mirror) this.#media.sync((id) => mirror.getNode(id), { running, at: now, rate });
  }

  #run(): void {
    const html = this.#scene?.inner.iframe.contentDocument?.documentElement;
    html?.classList.toggle('rrweb-paused', !this.#motion.running || this.#page.leftOut.has('animations'));
  }

  /** Scales the page down to the room there is, and puts it in the middle. */
  fit(): void {
    if (this.#scene === null) return;
    const { width, height } = this.#size;
    const scale = Math.min(innerWidth / width, innerHeight / height, 1);
    const left = Math.max(0, (innerWidth - width * scale) / 2);
    const top = Math.max(0, (innerHeight - height * scale) / 2);
    const { style } = this.#scene.inner.wrapper;
    style.transformOrigin = '0 0';
    style.transform = `translate(${left}px, ${top}px) scale(${scale})`;
    style.width = `${width}px`;
    style.height = `${height}px`;
  }

  #build(events: WireEvent[], box: HTMLElement): Inner {
    const quiet = { mouseTail: false, showWarning: false, showDebug: false, triggerFocus: false };
    // A second tree beside the page would only pay where each change has a layout.
    const config = { root: box, useVirtualDom: false, ...quiet };
    const list = events as unknown as ConstructorParameters<typeof Replayer>[0];
    // The base and one more are needed to build a replayer at all; a second base does no harm.
    const base = list[0];
    const inner = new Replayer(base !== undefined && list.length < 2 ? [base, base] : list, config);
    const scene = inner as unknown as Inner;
    scene.on('resize', (size) => {
      if (this.#scene !== null && this.#scene.inner !== scene) return;
      if (isObject(size)) this.#resize(Number(size['width']), Number(size['height']));
    });
    return scene;
  }

  #resize(width: number, height: number): void {
    if (!(width > 0 && height > 0)) return;
    this.#size = { width, height };
    this.fit();
    this.#onViewport(width, height);
  }

  #read(texts: readonly string[]): WireEvent[] {
    const events = texts.map(readEvent).filter((event) => event !== null);
    this.problems += texts.length - events.length;
    return events;
  }

  /** Orders and cleans events. What is left is safe to hand to the replayer. */
  #clean(events: readonly WireEvent[]): WireEvent[] {
    const out: WireEvent[] = [];
    for (const event of events) {
      try {
        if (event.type === 2 && isObject(event.data['node'])) this.#known.reset(event.data['node']);
        if (event.type === 3 && event.data['source'] === 0) orderMutation(event, this.#known);
        if (!cleanEvent(event, this.#assets, this.#page)) continue;
        this.#learn(event);
        if (isMediaEvent(event)) this.#media.apply(event);
        out.push(event);
      } catch {
        this.problems++;
      }
    }
    return out;
  }

  /** Remembers which nodes are canvases and media, and takes what they show out of the tree. */
  #learn(event: WireEvent): void {
    const roots: unknown[] = [];
    if (event.type === 2) {
      this.#dropCanvases();
      this.#media.forget();
      roots.push(event.data['node']);
    } else if (event.type === 3 && event.data['source'] === 0) {
      roots.push(...objects(event.data['adds']).map((add) => add['node']));
    }
    for (const root of roots)
      if (isObject(root)) eachNode(root, (node) => this.#learnNode(node, event.timestamp));
  }

  #learnNode(node: WireNode, at: number): void {
    if (typeof node.id !== 'number' || typeof node.tagName !== 'string') return;
    const tag = node.tagName.toLowerCase();
    if (tag === 'video' || tag === 'audio') this.#media.learn(node, at);
    if (tag !== 'canvas' || !isObject(node.attributes)) return;
    const { width, height, rr_dataURL: url } = node.attributes;
    const picture = typeof url === 'string' ? url : null;
    delete node.attributes['rr_dataURL'];
    this.#pictures.set(node.id, {
      width: canvasSide(width, 300),
      height: canvasSide(height, 150),
      url: picture,
    });
  }

  /** Canvas commands, media and pointer positions are the stage's own business. */
  #isAside(event: WireEvent): boolean {
    const source = event.type === 3 ? event.data['source'] : null;
    return source === 9 || isMediaEvent(event) || POINTER_SOURCES.has(source);
  }

  #cast(event: WireEvent, isSync = false): void {
    try {
      this.#scene?.inner.getCastFn(event, isSync)();
    } catch {
      this.problems++;
    }
  }

  #point(pointer: Pointer, isSync: boolean): void {
    try {
      this.#scene?.inner.moveAndHover(pointer.x, pointer.y, pointer.id, isSync, {});
    } catch {
      this.problems++;
    }
  }

  #drawCanvases(events: readonly WireEvent[]): void {
    for (const [id, picture] of this.#pictures) {
      if (picture.url !== null && !this.#canvases.has(id)) this.#canvas(id)?.replica.base(picture.url);
    }
    for (const event of events) {
      if (event.type !== 3 || event.data['source'] !== 9) continue;
      const type = event.data['type'];
      if (type !== undefined && type !== 0) continue;
      const id = event.data['id'];
      if (typeof id === 'number') this.#canvas(id)?.replica.run(readCommands(event.data));
    }
  }

  #canvas(id: number): Canvas | null {
    const known = this.#canvases.get(id);
    if (known !== undefined) return known;
    const picture = this.#pictures.get(id);
    if (picture === undefined) return null;
    const { width, height } = picture;
    const refuse = () => void this.#page.refuse('canvases');
    if (!this.#room.take(width, height)) {
      this.#dropGoneCanvases();
      if (!this.#room.take(width, height)) {
        refuse();
        return null;
      }
    }
    const show = (blob: Blob) => {
      const node = this.#scene?.inner.getMirror().getNode(id);
      if (node === null || node === undefined || this.#canvases.get(id) !== canvas) return;
      const old = canvas.url;
      canvas.url = URL.createObjectURL(blob);
      paint(node, canvas.url, width, height);
      // The old picture stays until the new one has surely replaced it.
      if (old !== null) setTimeout(() => URL.revokeObjectURL(old), 1000);
    };
    const canvas: Canvas = { url: null, replica: new CanvasReplica(width, height, show, refuse) };
    this.#canvases.set(id, canvas);
    return canvas;
  }

  /** Gives back what canvases took that are no longer part of the page. */
  #dropGoneCanvases(): void {
    for (const [id, { url }] of this.#canvases) {
      const picture = this.#pictures.get(id);
      if (picture === undefined || this.#page.get(id) !== null) continue;
      if (url !== null) URL.revokeObjectURL(url);
      this.#room.give(picture.width, picture.height);
      this.#canvases.delete(id);
      this.#pictures.delete(id);
    }
  }

  #dropCanvases(): void {
    const urls = [...this.#canvases.values()].flatMap(({ url }) => (url === null ? [] : [url]));
    // The page that shows these pictures stands until the next one is built.
    setTimeout(() => {
      for (const url of urls) URL.revokeObjectURL(url);
    }, 1000);
    this.#canvases.clear();
    this.#pictures.clear();
    this.#room = new CanvasRoom();
  }

  #forget(): void {
    this.#page.leftOut.clear();
    this.#dropCanvases();
  }
}

const isMediaEvent = ({ type, data }: WireEvent) => type === 3 && data['source'] === 7;

/** Shows a picture where the canvas is. With scripts off a canvas is laid out like text: it needs a box first. */
function paint(node: Node, url: string, width: number, height: number): void {
  const style = (node as HTMLElement).style as CSSStyleDeclaration | undefined;
  if (style === undefined) return;
  const view = node.ownerDocument?.defaultView;
  const computed = view?.getComputedStyle(node as HTMLElement);
  if (computed?.display === 'inline') style.display = 'inline-block';
  if (
    style.width === '' &&
    (computed === undefined || computed.width === 'auto' || computed.width === '0px')
  ) {
    style.width = `${width}px`;
  }
  if (
    style.height === '' &&
    (computed === undefined || computed.height === 'auto' || computed.height === '0px')
  ) {
    style.height = `${height}px`;
  }
  style.backgroundImage = `url("${url}")`;
  style.backgroundSize = '100% 100%';
}

/** Leaves out page starts without their snapshot: the replayer would throw away all that was before them. */
function withoutLooseMetas(events: readonly WireEvent[]): WireEvent[] {
  return events.filter((event, index) => {
    if (event.type !== 4 || index === 0) return true;
    const next = events.slice(index + 1, index + 20).find((other) => other.type === 2 || other.type === 4);
    return next?.type === 2;
  });
}

function pointers(event: WireEvent): Pointer[] {
  return objects(event.data['positions']).flatMap(({ x, y, id }) =>
    typeof x === 'number' && typeof y === 'number' && typeof id === 'number' ? [{ x, y, id }] : [],
  );
}

function lastPointer(events: readonly WireEvent[]): Pointer | null {
  const event = events.findLast((item) => item.type === 3 && POINTER_SOURCES.has(item.data['source']));
  return event === undefined ? null : (pointers(event).at(-1) ?? null);
}
