import { Boxes } from './boxes.ts';
import type { Mark } from './mark.ts';
import type { Json } from './record.ts';

/** A finger that moves further than this swipes. */
const TAP_MOVE_MAX = 24;

/** What a finger did, and when it came down. */
export type Touch = Pick<Mark, 'at' | 'label' | 'spot'>;

/** Fingers on the screen of an app: it tells where they come down and go up, and no more. */
export class Touches {
  readonly boxes = new Boxes();
  #down: {
    readonly at: number;
    readonly x: number;
    readonly y: number;
    readonly words: string | null;
  } | null = null;

  /** Reads an event of a pointer; null where it ends nothing. */
  read(at: number, { type, x, y }: Json): Touch | null {
    if (typeof x !== 'number' || typeof y !== 'number') return null;
    if (type === 7) this.#down = { at, x, y, words: this.boxes.wordsAt(x, y) };
    const down = this.#down;
    if (type !== 9 || down === null) return null;
    this.#down = null;
    const [across, along] = [x - down.x, y - down.y];
    if (Math.hypot(across, along) > TAP_MOVE_MAX)
      return { at: down.at, label: `Swipe ${wayOf(across, along)}` };
    const where = `at ${Math.round(down.x)}, ${Math.round(down.y)}`;
    const label = `Tap ${down.words === null ? where : `on “${down.words}”`}`;
    return { at: down.at, label, spot: { x: down.x, y: down.y, isDouble: false } };
  }
}

function wayOf(across: number, down: number): string {
  if (Math.abs(across) > Math.abs(down)) return across < 0 ? 'left' : 'right';
  return down < 0 ? 'up' : 'down';
}
