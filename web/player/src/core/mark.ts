import { NodeNames } from './names.ts';
import { asObject, type Json, type LineHead, readEventOf, readHead } from './record.ts';
import { argumentsOf, formatted, type LooseRow, readArgument, readRows } from './rows.ts';
import { Answers } from './timing.ts';
import { Touches } from './touches.ts';

/** What stands on the timeline. Labels are text from a recording: show them as text, never as HTML. */
export type Mark = {
  /**
   * `event` is what the page's author sent as an analytics event, `system` what the SDK sent by itself: too many
   * to stand among what people did. `rage` is many clicks on one spot, `tab` that somebody went to another window.
   */
  readonly kind:
    | 'page'
    | 'tab'
    | 'click'
    | 'rage'
    | 'input'
    | 'error'
    | 'warning'
    | 'custom'
    | 'event'
    | 'system';
  /** Milliseconds since 1970, on the recorded browser's clock. */
  readonly at: number;
  readonly window: string;
  readonly label: string;
  /** Number of the node that was typed into. */
  readonly target?: number;
  /** Where in its window it was clicked. A double click comes after the two clicks that it consists of. */
  readonly spot?: { readonly x: number; readonly y: number; readonly isDouble: boolean };
  /** On PostHog's own event of many clicks on one spot: the words on what was hit. */
  readonly rageOn?: string;
  /** Of `rage`: PostHog sent an event of the same clicks, which is what stands at `line`. */
  readonly isSent?: boolean;
  /** Where the event stands: the address of its block, and the number of its line. */
  readonly block?: string | undefined;
  readonly line?: number | undefined;
};

/** What one line holds for those who do not draw. */
export type Found = {
  readonly head: LineHead;
  readonly mark: Mark | null;
  readonly rows: readonly LooseRow[];
};

const LABEL_MAX = 160;

/** Reads the marks of one recording's blocks. Names of nodes are carried from line to line, so order matters. */
export class MarkReader {
  readonly #names = new Map<string, NodeNames>();
  /** Of the windows that are screens of an app. */
  readonly #screens = new Map<string, Touches>();
  readonly #answers = new Answers();
  /** What each window showed last. */
  readonly #pages = new Map<string, string>();

  /** To be called where the next line does not follow the last one: nodes may have other numbers there. */
  forget(): void {
    this.#names.clear();
    this.#screens.clear();
    this.#pages.clear();
  }

  /** What a line holds, which is the `number`th of its block. `damaged` where it is no line. */
  read(line: string, number: number): Found | 'damaged' {
    const head = readHead(line);
    if (head === null) return 'damaged';
    const { type, source, window, at } = head;
    const late = type === 3 && source === 0 ? this.#answers.changed(window, at, number) : null;
    const waits = late === null ? [] : [late];
    if (!isWorthParsing(head, line)) return { head, mark: null, rows: waits };
    const event = readEventOf(line, head);
    if (event === null) return 'damaged';
    const data = asObject(event['data']);
    if (data === null) return { head, mark: null, rows: waits };
    this.#learn(head, data);
    const mark = this.#markOf(head, data);
    const rows = type === 6 ? readRows(head, number, data) : waits;
    if (mark?.kind === 'click') this.#answers.clicked(window, at, mark.label);
    else if (mark?.kind === 'input' || type === 2 || type === 4) this.#answers.acted(window);
    return { head, mark: mark === null ? null : { ...mark, line: number }, rows };
  }

  #learn({ type, source, window }: LineHead, data: Json): void {
    const views = type === 2 ? data['wireframes'] : null;
    if (Array.isArray(views)) {
      const screen = this.#screens.get(window) ?? new Touches();
      this.#screens.set(window, screen);
      screen.boxes.reset(views);
    } else if (type === 2) {
      this.#screens.delete(window);
      const names = this.#names.get(window) ?? new NodeNames();
      this.#names.set(window, names);
      names.reset(data['node']);
    } else if (type === 3 && source === 0) {
      this.#screens.get(window)?.boxes.change(data);
      this.#names.get(window)?.add(data['adds']);
    }
  }

  #markOf({ type, source, at, window }: LineHead, data: Json): Mark | null {
    switch (type) {
      case 4: {
        const label = short(String(data['href'] ?? 'page'));
        // An app tells the name of its screen again with each snapshot of it.
        const isAgain = this.#screens.has(window) && this.#pages.get(window) === label;
        this.#pages.set(window, label);
        return isAgain ? null : { kind: 'page', at, window, label };
      }
      case 3: {
        const screen = this.#screens.get(window);
        if (screen !== undefined && source === 2) {
          const touch = screen.read(at, data);
          return touch === null ? null : { kind: 'click', window, ...touch, label: short(touch.label) };
        }
        const id = data['id'];
        const name = typeof id === 'number' ? (this.#names.get(window)?.nameOf(id) ?? null) : null;
        if (source === 2) return clickMark(at, window, data, name);
        if (source !== 5) return null;
        return { kind: 'input', at, window, label: short(inputLabel(data, name)), target: Number(id) };
      }
      case 5:
        return customMark(at, window, data);
      case 6:
        return consoleMark(at, window, data);
      default:
        return null;
    }
  }
}

const SAYS_SOMETHING = ['"tagName":', '"textContent":', '"wireframe":'];

/** Most bytes of a recording are mutations, and most of those say nothing that a mark would need. */
function isWorthParsing({ type, source }: LineHead, line: string): boolean {
  if (type === 3 && source === 0) return SAYS_SOMETHING.some((part) => line.includes(part));
  if (type === 3) return source === 2 || source === 5;
  if (type === 6) return /"(?:rrweb\/console|rrweb\/network|posthog\/network)@/.test(line);
  return type === 2 || type === 4 || type === 5;
}

export function short(text: string): string {
  const flat = text
    .slice(0, 4 * LABEL_MAX)
    .replace(/\s+/g, ' ')
    .trim();
  return flat.length > LABEL_MAX ? `${flat.slice(0, LABEL_MAX - 1)}…` : flat;
}

function customMark(at: number, window: string, data: Json): Mark | null {
  const tag = data['tag'];
  const isOpen = asObject(data['payload'])?.['open'];
  if (tag === 'keyboard' && typeof isOpen === 'boolean') {
    return { kind: 'system', at, window, label: isOpen ? 'Keyboard shown' : 'Keyboard hidden' };
  }
  // An SDK's own housekeeping starts with `$`; only what the page's author sent is worth a mark.
  if (typeof tag !== 'string' || (tag.startsWith('$') && tag !== '$pageview')) return null;
  const href = asObject(data['payload'])?.['href'];
  if (tag === '$pageview') return { kind: 'page', at, window, label: short(String(href ?? tag)) };
  return { kind: 'custom', at, window, label: short(tag) };
}

function clickMark(at: number, window: string, data: Json, name: string | null): Mark | null {
  const { type, x, y } = data;
  if (type !== 2 && type !== 4) return null;
  const what = type === 4 ? 'Double click' : 'Click';
  const spot = typeof x === 'number' && typeof y === 'number' ? { x, y, isDouble: type === 4 } : null;
  const place = spot === null ? '' : ` at ${Math.round(spot.x)}, ${Math.round(spot.y)}`;
  const label = name === null ? what + place : short(`${what} on ${name}`);
  return { kind: 'click', at, window, label, ...(spot === null ? {} : { spot }) };
}

function inputLabel(data: Json, name: string | null): string {
  const { text, isChecked } = data;
  const where = name === null ? '' : ` in ${name}`;
  if (typeof text === 'string' && text !== '' && text !== 'on') return `${text}${where}`;
  return `${isChecked === true ? 'Checked' : 'Changed'}${where}`;
}

function consoleMark(at: number, window: string, data: Json): Mark | null {
  const payload = asObject(data['payload']);
  if (payload === null || !String(data['plugin']).startsWith('rrweb/console@')) return null;
  const level = payload['level'];
  if (level !== 'error' && level !== 'assert' && level !== 'warn') return null;
  const label = formatted(argumentsOf(payload).map(readArgument));
  return { kind: level === 'warn' ? 'warning' : 'error', at, window, label: short(label || String(level)) };
}
