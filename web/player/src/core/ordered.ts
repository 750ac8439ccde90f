type Timed = { readonly at: number };

/**
 * A list in order of time, grown from runs that come in whatever order. A run costs what it holds and the stretch of the
 * list that it lies in, so that a list of any length grows without holding up the page.
 */
export class Ordered<T extends Timed> {
  readonly #join: ((items: readonly T[]) => readonly T[]) | null;
  #items: T[] = [];
  /** What was handed out last; null where it is no longer all there is. */
  #all: readonly T[] | null = null;

  /** `join` makes one of those that are told more than once, which it finds among those of one time. */
  constructor(join?: (items: readonly T[]) => readonly T[]) {
    this.#join = join ?? null;
  }

  get length(): number {
    return this.#items.length;
  }

  /** All there is by now. It does not grow, what is asked for later does. */
  get all(): readonly T[] {
    this.#all ??= this.#items.slice();
    return this.#all;
  }

  /** Takes in items in any order; of the same time, those that came first are first. */
  add(items: readonly T[]): void {
    const run = items.toSorted(byTime);
    const [first, last] = [run[0], run.at(-1)];
    if (first === undefined || last === undefined) return;
    this.#all = null;
    const from = countBefore(this.#items, first.at, this.#join === null);
    const to = countBefore(this.#items, last.at, true);
    const mixed = merged(this.#items.slice(from, to), run);
    const stretch = this.#join?.(mixed) ?? mixed;
    if (to < this.#items.length) {
      this.#items = this.#items.slice(0, from).concat(stretch, this.#items.slice(to));
      return;
    }
    this.#items.length = from;
    for (const item of stretch) this.#items.push(item);
  }

  clear(): void {
    this.#items = [];
    this.#all = null;
  }
}

const byTime = (a: Timed, b: Timed) => a.at - b.at;

/** How many items of a list in order are before a time, or up to and with it. */
export function countBefore(items: readonly Timed[], at: number, withIt = false): number {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const time = items[middle]?.at ?? 0;
    if (time < at || (withIt && time === at)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Two lists in order as one; of the same time, those of the first are first. */
export function merged<A extends Timed, B extends Timed>(
  first: readonly A[],
  second: readonly B[],
): (A | B)[] {
  const out: (A | B)[] = [];
  let next = 0;
  for (const item of first) {
    for (let other = second[next]; other !== undefined && other.at < item.at; other = second[next]) {
      out.push(other);
      next++;
    }
    out.push(item);
  }
  for (; next < second.length; next++) out.push(second[next] as B);
  return out;
}
