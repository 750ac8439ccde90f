import type { Recording, RecordingPage } from './types';

/** The part of the list that is laid under a fresh first page, newest first, and where the rest goes on. */
export interface Loaded {
  readonly recordings: readonly Recording[];
  readonly next: string | null;
}

/** A page of the list. Its rows may have been let go; its place and length stay known. */
export interface Page {
  /** What to ask the server for it; null for the first page. */
  readonly cursor: string | null;
  readonly rows: readonly Recording[] | null;
  readonly count: number;
}

/**
 * Lays a fresh first page over what is loaded: rows change in place, new ones come on top, and those the server no
 * longer lists within the page's span go. Rows further down stay as they are. When the two do not touch (more new
 * recordings than a page holds), only the fresh page can be trusted to have no gap.
 */
export function mergeFirstPage(loaded: Loaded, fresh: RecordingPage): Loaded {
  const last = fresh.recordings.at(-1);
  if (fresh.next === null || last === undefined) return fresh;
  const isFresh = new Set(fresh.recordings.map(keyOf));
  const isTouching = loaded.recordings.some((row) => isFresh.has(keyOf(row)));
  if (!isTouching) return fresh;
  const older = loaded.recordings.filter((row) => row.start_ms <= last.start_ms && !isFresh.has(keyOf(row)));
  if (older.length === 0) return fresh;
  return { recordings: [...fresh.recordings, ...older], next: loaded.next };
}

/** The rows of the first page. */
export function firstOf(pages: readonly Page[]): readonly Recording[] {
  return pages[0]?.rows ?? [];
}

/** On which page a row of the list is, and where on it. */
export function pageAt(pages: readonly Page[], index: number): { page: number; row: number } | null {
  let left = index;
  for (const [page, { count }] of pages.entries()) {
    if (left < count) return { page, row: left };
    left -= count;
  }
  return null;
}

/** How many rows of `fresh` are newer than everything known. */
export function newOnTop(known: readonly Recording[], fresh: RecordingPage): number {
  const keys = new Set(known.map(keyOf));
  const at = fresh.recordings.findIndex((row) => keys.has(keyOf(row)));
  return at === -1 ? fresh.recordings.length : at;
}

/** Two projects may hold a recording of the same id. */
export function keyOf(row: Recording): string {
  return `${row.project}/${row.id}`;
}
