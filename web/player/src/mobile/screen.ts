import { asObject, type Json } from '../core/record.ts';
import { type LeftOut, LIMITS } from '../limits.ts';
import { draw, keyboard } from './draw.ts';
import { type Element, element, type Part } from './part.ts';
import { SHEET } from './sheet.ts';
import { type Changes, noChanges, nodeOf, Tree } from './tree.ts';
import { pixelsOf } from './values.ts';

/** Numbers of the nodes that every screen has; those of its parts follow. */
const BODY_ID = 5;
const FIRST_PART_ID = 100;
/** A touch outside of the screen: without one the replayer would draw a mouse until the first. */
const FINGER = [7, 9].map((type) => ({ type: 3, data: { source: 2, type, id: BODY_ID, x: -100, y: -100 } }));

/** Wireframes that were read: those of the app, and the system's bars, which stand above all of them. */
type Read = { readonly app: Part[]; status: Element | null; navigation: Element | null };

type Slots = Readonly<Record<'app' | 'keyboard' | 'navigation' | 'status', Element>>;

/**
 * Turns what mobile SDKs record, wireframes and screenshots, into the events of a page that looks like it. A screen
 * after the first is told as what has changed, so that pictures are replaced without a blank moment between them.
 * Recordings are hostile: texts become texts, and of values only what `values.ts` can read.
 */
export class Screen {
  readonly leftOut = new Set<LeftOut>();
  #tree = new Tree(FIRST_PART_ID);
  /** Where the app's wireframes, the keyboard and the system's bars are; null while no screen stands. */
  #slots: Slots | null = null;
  #hasSize = false;

  /** The events of a page for those of a screen. What is of no screen comes back as it is. */
  translate(json: string): string[] {
    let event: Json | null;
    try {
      event = asObject(JSON.parse(json));
    } catch {
      return [json];
    }
    const data = asObject(event?.['data']);
    if (event === null || data === null) return [json];
    const at = typeof event['timestamp'] === 'number' ? event['timestamp'] : 0;
    const events = this.#eventsOf(event['type'], at, data);
    return events === null ? [json] : events.map((item) => JSON.stringify({ ...item, timestamp: at }));
  }

  /** Null where the event is to stay as it is. */
  #eventsOf(type: unknown, at: number, data: Json): object[] | null {
    switch (type) {
      case 2:
        return this.#snapshot(at, data);
      case 3:
        return this.#slots === null ? null : this.#increment(at, data);
      case 4: {
        this.#hasSize = true;
        if (this.#slots === null) return [{ type, data: { ...data, href: data['href'] ?? '' } }];
        // The replayer takes a page that stands for gone where it hears of another one.
        return [{ type: 3, data: { source: 4, width: data['width'], height: data['height'] } }];
      }
      case 5:
        return this.#slots === null ? null : this.#custom(data);
      default:
        return null;
    }
  }

  #snapshot(at: number, data: Json): object[] | null {
    if (!Array.isArray(data['wireframes'])) {
      // A page in the middle of an app: it is drawn as pages are.
      this.#slots = null;
      return null;
    }
    const wires = data['wireframes'].map(asObject).filter((wire) => wire !== null);
    if (this.#slots !== null) {
      return this.#changing((changes, { app, navigation, status, keyboard: below }) => {
        const read = this.#read(wires, at, LIMITS.wireframes);
        this.#tree.fill(app, read.app, changes);
        this.#tree.fill(below, [], changes);
        this.#tree.fill(navigation, read.navigation === null ? [] : [read.navigation], changes);
        this.#tree.fill(status, read.status === null ? [] : [read.status], changes);
      });
    }
    const read = this.#read(wires, at, LIMITS.wireframes);
    const size = this.#hasSize ? [] : [{ type: 4, data: { href: '', ...extentOf(wires) } }];
    this.#hasSize = true;
    const page = { type: 2, data: { node: this.#page(read), initialOffset: { left: 0, top: 0 } } };
    return [...size, page, ...FINGER];
  }

  /** A new page with these on it. */
  #page({ app, navigation, status }: Read): object {
    this.#tree = new Tree(FIRST_PART_ID);
    const slot = (children: readonly (Part | null)[]) =>
      element(
        'div',
        {},
        children.filter((child) => child !== null),
      );
    const slots = {
      app: slot(app),
      keyboard: slot([]),
      navigation: slot([navigation]),
      status: slot([status]),
    };
    const body = element('body', {}, Object.values(slots));
    for (const part of body.children) this.#tree.enter(part, body);
    body.id = BODY_ID;
    this.#slots = slots;
    const sheet = { type: 3, id: 7, textContent: SHEET, isStyle: true };
    const style = { type: 2, id: 6, tagName: 'style', attributes: {}, childNodes: [sheet] };
    const head = { type: 2, id: 4, tagName: 'head', attributes: {}, childNodes: [style] };
    const html = { type: 2, id: 3, tagName: 'html', attributes: {}, childNodes: [head, nodeOf(body)] };
    const doctype = { type: 1, id: 2, name: 'html', publicId: '', systemId: '' };
    return { type: 0, id: 1, childNodes: [doctype, html] };
  }

  #increment(at: number, data: Json): object[] | null {
    switch (data['source']) {
      case 0:
        return this.#mutation(at, data);
      case 2:
        return [{ type: 3, data: { ...data, id: this.#target(data['id']) } }];
      case 1:
      case 6: {
        const list = Array.isArray(data['positions']) ? data['positions'].map(asObject) : [];
        const positions = list.map((position) => ({ ...position, id: this.#target(position?.['id']) }));
        return [{ type: 3, data: { ...data, positions } }];
      }
      default:
        return null;
    }
  }

  /** What is touched: a wireframe by its number, or the screen. */
  #target(wire: unknown): number {
    return this.#tree.find(wire)?.id ?? BODY_ID;
  }

  #mutation(at: number, data: Json): object[] {
    const listOf = (name: string) =>
      (Array.isArray(data[name]) ? data[name] : []).map(asObject).filter((item) => item !== null);
    const events = listOf('removes').flatMap((item) =>
      this.#changing((changes) => {
        const gone = this.#tree.find(item['id']);
        if (gone?.parent) this.#tree.remove(gone, gone.parent, changes);
      }),
    );
    for (const item of [...listOf('updates'), ...listOf('adds')]) {
      const wire = asObject(item['wireframe']);
      if (wire === null) continue;
      events.push(...this.#changing((changes) => this.#place(wire, item['parentId'], at, changes)));
    }
    return events;
  }

  /** Puts a wireframe where it was, or else into its parent. What it holds comes with it, and all of that. */
  #place(wire: Json, parentId: unknown, at: number, changes: Changes): void {
    const old = this.#tree.find(wire['id']);
    const read = this.#read([wire], at, LIMITS.wireframes - this.#tree.count);
    const slots = this.#slots;
    if (slots === null) return;
    for (const bar of ['navigation', 'status'] as const) {
      const drawn = read[bar];
      if (drawn !== null) this.#tree.fill(slots[bar], [drawn], changes);
    }
    const [next] = read.app;
    if (next === undefined) return;
    const parent =
      old?.parent ?? (wire['type'] === 'screenshot' ? null : this.#tree.find(parentId)) ?? slots.app;
    if (depthOf(parent) > LIMITS.wireframeDepth) return void this.leftOut.add('wireframes');
    if (old !== null && this.#tree.become(old, next, changes)) return;
    const place = old === null ? parent.children.length : parent.children.indexOf(old);
    if (old !== null) this.#tree.remove(old, parent, changes);
    this.#tree.insert(parent, next, place, changes);
  }

  #custom({ tag, payload }: Json): object[] | null {
    const told = asObject(payload);
    if (tag !== 'keyboard' || told === null) return null;
    const shown = told['open'] === true ? [keyboard(told)] : [];
    return this.#changing((changes, slots) => this.#tree.fill(slots.keyboard, shown, changes));
  }

  /** The event with what `change` changes; none where that is nothing. */
  #changing(change: (changes: Changes, slots: Slots) => void): object[] {
    const changes = noChanges();
    if (this.#slots !== null) change(changes, this.#slots);
    const isNothing = Object.values(changes).every((list) => list.length === 0);
    return isNothing ? [] : [{ type: 3, data: { source: 0, ...changes } }];
  }

  /** Reads wireframes and draws them, `room` of them at most. */
  #read(wires: readonly Json[], at: number, room: number): Read {
    const read: Read = { app: [], status: null, navigation: null };
    let left = room;
    const walk = (wire: Json, depth: number, into: Part[], parent: Element | null): void => {
      if (left-- <= 0 || depth > LIMITS.wireframeDepth) return void this.leftOut.add('wireframes');
      const drawn = draw(wire, at);
      if (wire['type'] === 'status_bar') read.status = drawn;
      else if (wire['type'] === 'navigation_bar') read.navigation = drawn;
      else {
        drawn.parent = parent;
        into.push(drawn);
      }
      const inside = Array.isArray(wire['childWireframes']) ? wire['childWireframes'] : [];
      for (const item of inside) {
        const child = asObject(item);
        if (child !== null) walk(child, depth + 1, drawn.children, drawn);
      }
    };
    for (const wire of wires) walk(wire, 1, read.app, null);
    return read;
  }
}

function depthOf(part: Element): number {
  let depth = 0;
  for (let at: Element | null = part; at !== null; at = at.parent) depth++;
  return depth;
}

/** How far the outermost wireframes reach: the screen's size, where no Meta event tells it. */
function extentOf(wires: readonly Json[]): { width: number; height: number } {
  const reach = (side: string, from: string) =>
    Math.max(
      0,
      ...wires.slice(0, 1000).map((wire) => (pixelsOf(wire[from]) ?? 0) + (pixelsOf(wire[side]) ?? 0)),
    );
  return { width: reach('width', 'x') || 390, height: reach('height', 'y') || 844 };
}
