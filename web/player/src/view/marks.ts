import type { Mark } from '../core/mark.ts';
import { textOf } from './format.ts';

/** What the list of events can be narrowed to. */
export const FILTERS = [
  { name: 'All', kinds: ['page', 'click', 'input', 'custom', 'event', 'error', 'warning'] },
  { name: 'Pages', kinds: ['page'] },
  { name: 'Actions', kinds: ['click', 'input', 'custom'] },
  { name: 'Errors', kinds: ['error', 'warning'] },
  { name: 'Analytics', kinds: ['event', 'system'] },
] as const satisfies readonly { name: string; kinds: readonly Mark['kind'][] }[];

/** The marks of some kinds that hold all words of a search, in any order and case. */
export function matching(
  marks: readonly Mark[],
  kinds: readonly Mark['kind'][],
  search: string,
): readonly Mark[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  return marks.filter((mark) => {
    if (!kinds.includes(mark.kind)) return false;
    if (words.length === 0) return true;
    const text = textOf(mark).toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

/** Index of the last mark at or before a time, -1 where there is none. */
export function lastAt(marks: readonly Mark[], at: number): number {
  let low = 0;
  let high = marks.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((marks[middle]?.at ?? 0) <= at) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
