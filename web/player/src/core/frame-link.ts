import type { LeftOut } from '../limits.ts';
import {
  type Connect,
  type FromFrame,
  type Motion,
  readFromFrame,
  type ToFrame,
  type TreePage,
} from '../protocol.ts';

/** What came of building a page in the frame. */
export type Shown = { readonly ok: boolean; readonly problems: number };

type Answer = Extract<FromFrame, { readonly kind: 'shown' | 'tree' | 'found' | 'still' }>;
type Unsent<T> = T extends unknown ? Omit<T, 'ticket'> : never;

/** The page's end of the port to the replay frame. */
export class FrameLink {
  readonly #frame: HTMLIFrameElement;
  /** Who may get the port. */
  readonly #origin: string;
  readonly #onViewport: (width: number, height: number) => void;
  readonly #onLeftOut: () => void;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  readonly ready: Promise<void>;
  #port: MessagePort | null = null;
  #ticket = 0;
  /** Events that the frame has read for a page that it will be asked for. */
  #read: { readonly page: number; readonly ticket: number; readonly events: string[] } | null = null;
  /** Feeds that the frame has not finished yet: how far it is behind. */
  outstanding = 0;
  /** What the frame had to leave out of the page it shows. */
  leftOut: readonly LeftOut[] = [];
  /** Where something of the page is that was not loaded. */
  missing: readonly string[] = [];

  constructor(
    frame: HTMLIFrameElement,
    origin: string,
    onViewport: (width: number, height: number) => void,
    onLeftOut: () => void,
  ) {
    this.#frame = frame;
    this.#origin = origin;
    this.#onViewport = onViewport;
    this.#onLeftOut = onLeftOut;
    let isReady = () => {};
    this.ready = new Promise<void>((done) => {
      isReady = done;
    });
    // The frame gets its address here, after the listener: it cannot have loaded before anyone listened.
    frame.addEventListener('load', () => this.#connect(isReady), { once: true });
  }

  /**
   * Has the frame read the first events of a page, or more of them, while the rest is on its way. `page` tells it from
   * the pages before.
   */
  read(page: number, events: readonly string[]): void {
    if (this.#port === null) return;
    if (this.#read?.page !== page) this.#read = { page, ticket: ++this.#ticket, events: [] };
    for (const event of events) this.#read.events.push(event);
    this.#send({ kind: 'read', ticket: this.#read.ticket, events });
  }

  /** Builds the page from these events, and resolves when it stands. */
  async show(events: readonly string[], motion: Motion): Promise<Shown> {
    await this.ready;
    this.animate(motion);
    this.outstanding = 0;
    const read = this.#read;
    this.#read = null;
    if (read === null || !isStartOf(read.events, events)) return this.#ask<'shown'>({ kind: 'show', events });
    const rest = events.slice(read.events.length);
    return this.#ask<'shown'>({ kind: 'show', events: rest }, read.ticket);
  }

  /** Some rows of the page's tree. */
  async tree(
    toggled: readonly number[],
    from: number,
    count: number,
    reveal: number | null,
  ): Promise<TreePage> {
    await this.ready;
    return this.#ask<'tree'>({ kind: 'tree', toggled, from, count, reveal });
  }

  /** How often words are in the page, and the way to the `step`th of them. */
  async find(
    words: string,
    step: number,
  ): Promise<{ readonly count: number; readonly path: readonly number[] }> {
    await this.ready;
    return this.#ask<'found'>({ kind: 'find', words, step });
  }

  /** A JPEG of what is shown; null where it cannot be drawn. */
  async still(): Promise<Blob | null> {
    await this.ready;
    return (await this.#ask<'still'>({ kind: 'still' })).picture;
  }

  /** Draws a frame around a node, or around none. */
  outline(id: number | null): void {
    this.#send({ kind: 'outline', id });
  }

  #ask<K extends Answer['kind']>(
    order: Unsent<Extract<ToFrame, { readonly kind: 'show' | 'tree' | 'find' | 'still' }>>,
    ticket = ++this.#ticket,
  ): Promise<Extract<Answer, { readonly kind: K }>> {
    const answer = new Promise<Extract<Answer, { readonly kind: K }>>((done) => {
      this.#waiting.set(ticket, done as (answer: Answer) => void);
    });
    this.#send({ ...order, ticket });
    return answer;
  }

  feed(events: readonly string[]): void {
    this.outstanding++;
    this.#send({ kind: 'feed', ticket: ++this.#ticket, events });
  }

  /** Says how animations and media are to run. */
  animate(motion: Motion): void {
    this.#send({ kind: 'animate', ...motion });
  }

  close(): void {
    this.#port?.close();
    this.#port = null;
  }

  #connect(isReady: () => void): void {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    port1.onmessage = (message: MessageEvent<unknown>) => {
      const answer = readFromFrame(message.data);
      if (answer !== null) this.#receive(answer, isReady);
    };
    const hello: Connect = { kind: 'reelcase-connect' };
    this.#frame.contentWindow?.postMessage(hello, this.#origin, [port2]);
  }

  #receive(answer: FromFrame, isReady: () => void): void {
    switch (answer.kind) {
      case 'ready':
        isReady();
        return;
      case 'viewport':
        this.#onViewport(answer.width, answer.height);
        return;
      case 'missing':
        this.missing = answer.urls;
        this.#onLeftOut();
        return;
      case 'left-out':
        this.leftOut = answer.what;
        this.#onLeftOut();
        return;
      case 'fed':
        this.outstanding = Math.max(0, this.outstanding - 1);
        return;
      case 'shown':
      case 'tree':
      case 'found':
      case 'still':
        this.#waiting.get(answer.ticket)?.(answer);
        this.#waiting.delete(answer.ticket);
    }
  }

  #send(message: ToFrame): void {
    this.#port?.postMessage(message);
  }
}

/** Whether a list begins with all of another one. */
function isStartOf(start: readonly string[], events: readonly string[]): boolean {
  return start.length <= events.length && start.every((text, at) => text === events[at]);
}
