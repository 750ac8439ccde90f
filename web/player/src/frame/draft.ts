import { Gone } from './gone.ts';
import { dropReplaced } from './latest.ts';
import { readEvent, type WireEvent } from './model.ts';

/** The events that a page will be built from, read while others of them are still on their way. */
export class Draft {
  readonly #events: WireEvent[] = [];
  readonly #gone = new Gone();
  /** Events that could not be read. */
  problems = 0;

  add(texts: readonly string[]): void {
    for (const text of texts) {
      const event = readEvent(text);
      if (event === null) {
        this.problems++;
        continue;
      }
      this.#events.push(event);
      this.#gone.follow(event);
    }
  }

  /** The events, without what the page they lead to no longer has. Nothing can be added after it. */
  finish(): WireEvent[] {
    this.#gone.drop();
    dropReplaced(this.#events);
    return this.#events;
  }
}
