import type { Mark } from '../core/mark.ts';
import { countBefore } from '../core/ordered.ts';

/** What the list of events can be narrowed to. */
export const FILTERS = [
  { name: 'All', kinds: ['page', 'tab', 'click', 'rage', 'input', 'custom', 'event', 'error', 'warning'] },
  { name: 'Pages', kinds: ['page', 'tab'] },
  { name: 'Actions', kinds: ['click', 'rage', 'input', 'custom'] },
  { name: 'Errors', kinds: ['error', 'warning'] },
  { name: 'Analytics', kinds: ['event', 'system'] },
] as const satisfies readonly { name: string; kinds: readonly Mark['kind'][] }[];

/** The marks with those that say that somebody went to another tab, which have the numbers that viewers know. */
export function withTabs(
  marks: readonly Mark[],
  switches: readonly Mark[],
  windows: readonly string[],
): readonly Mark[] {
  if (switches.length === 0) return marks;
  const numbers = new Map(windows.map((window, i) => [window, i + 1]));
  const named = switches.map((mark) => ({
    ...mark,
    label: `Went to tab ${numbers.get(mark.window) ?? '?'}`,
  }));
  // What was done there comes after it.
  return [...named, ...marks].sort((a, b) => a.at - b.at);
}

/** The marks of some kinds that hold all words of a search. */
export function matching(
  marks: readonly Mark[],
  kinds: readonly Mark['kind'][],
  search: string,
): readonly Mark[] {
  return withWords(
    // What PostHog sent is looked for among the events as well.
    marks.filter(({ kind, isSent }) => kinds.includes(kind) || (isSent && kinds.includes('event'))),
    search,
    ({ label }) => label,
  );
}

/** The rows that hold all words of a search, in any order and case. */
export function withWords<R>(
  rows: readonly R[],
  search: string,
  textOfRow: (row: R) => string,
): readonly R[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return rows;
  return rows.filter((row) => {
    const text = textOfRow(row).toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

/** What a list without rows says. */
export function nothingFor(search: string, isComplete: boolean, otherwise: string): string {
  if (search.trim() !== '') return 'Nothing matches.';
  return isComplete ? otherwise : 'Reading the recording…';
}

/** Index of the last row at or before a time, -1 where there is none. */
export const lastAt = (rows: readonly { readonly at: number }[], at: number) =>
  countBefore(rows, at, true) - 1;
