import { asObject, type Json } from './record.ts';

type Box = {
  readonly parent: number;
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
  readonly words: string;
};

const BOXES_MAX = 20_000;
const DEPTH_MAX = 100;
const WORDS_MAX = 60;
/** Past this share of the screen a view is no button or row, whose words would say what was touched. */
const ROW_SHARE_MAX = 0.3;

/** Where the views of a mobile screen are and what they say, so that a touch can tell what it hit. */
export class Boxes {
  readonly #boxes = new Map<number, Box>();
  #nameless = 0;
  #screenArea = 0;

  /** Starts again with a full snapshot. */
  reset(wireframes: readonly unknown[]): void {
    this.#boxes.clear();
    this.#screenArea = 0;
    for (const wireframe of wireframes) this.#learn(wireframe, 0, 0);
  }

  /** Takes in what an incremental event says of views. */
  change(data: Json): void {
    const listOf = (name: string) => (Array.isArray(data[name]) ? data[name] : []).map(asObject);
    for (const item of listOf('removes')) this.#boxes.delete(Number(item?.['id']));
    for (const item of [...listOf('updates'), ...listOf('adds')]) {
      this.#learn(item?.['wireframe'], Number(item?.['parentId'] ?? 0), 0);
    }
  }

  /** What is written where a finger is: on the smallest view there, or within it; null where nothing is. */
  wordsAt(x: number, y: number): string | null {
    const isSmall = ({ width, height }: Box) => width * height <= ROW_SHARE_MAX * this.#screenArea;
    const here = [...this.#boxes].filter(([id, box]) => isIn(box, x, y) && isSmall(box) && this.#stands(id));
    here.sort(([, a], [, b]) => a.width * a.height - b.width * b.height);
    for (const [id, { words }] of here) {
      const found = words || this.#wordsIn(id);
      if (found !== '') return found;
    }
    return null;
  }

  #wordsIn(id: number): string {
    for (const [inner, box] of this.#boxes) {
      if (box.words !== '' && box.parent === id && this.#stands(inner)) return box.words;
    }
    return '';
  }

  /** Whether all around it is there: of a view that goes, those inside are not named. */
  #stands(id: number): boolean {
    let box = this.#boxes.get(id);
    for (let depth = 0; box !== undefined && depth <= DEPTH_MAX; depth++) {
      if (!this.#boxes.has(box.parent)) return box.parent <= 0;
      box = this.#boxes.get(box.parent);
    }
    return false;
  }

  #learn(item: unknown, parent: number, depth: number): void {
    const view = asObject(item);
    if (view === null || depth > DEPTH_MAX || this.#boxes.size >= BOXES_MAX) return;
    const id = typeof view['id'] === 'number' && view['id'] > 0 ? view['id'] : --this.#nameless;
    const [width, height] = [number(view['width']), number(view['height'])];
    const box = {
      parent,
      left: number(view['x']),
      top: number(view['y']),
      width,
      height,
      words: wordsOf(view),
    };
    this.#boxes.set(id, box);
    this.#screenArea = Math.max(this.#screenArea, width * height);
    const inside = view['childWireframes'];
    if (Array.isArray(inside)) for (const child of inside) this.#learn(child, id, depth + 1);
  }
}

function number(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}

function isIn({ left, top, width, height }: Box, x: number, y: number): boolean {
  return x >= left && y >= top && x <= left + width && y <= top + height;
}

function wordsOf(view: Json): string {
  const words = [view['text'], view['label'], view['value'], view['url']].find(
    (value) => typeof value === 'string' && value.trim() !== '',
  );
  return typeof words === 'string'
    ? words
        .slice(0, 4 * WORDS_MAX)
        .replace(/\s+/g, ' ')
        .trim()
        .slice(0, WORDS_MAX)
    : '';
}
