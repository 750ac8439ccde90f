import type { Recording, RecordingPage } from './types';

/** The part of the list that is loaded, newest first, and where the rest goes on. */
export interface Loaded {
  readonly recordings: readonly Recording[];
  readonly next: string | null;
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

/** Puts the following page below. A row that moved between the pages is kept once. */
export function appendPage(loaded: Loaded, page: RecordingPage): Loaded {
  const known = new Set(loaded.recordings.map(keyOf));
  const added = page.recordings.filter((row) => !known.has(keyOf(row)));
  return { recordings: [...loaded.recordings, ...added], next: page.next };
}

/** How many rows of `fresh` are newer than everything loaded. */
export function newOnTop(loaded: Loaded, fresh: RecordingPage): number {
  const known = new Set(loaded.recordings.map(keyOf));
  let added = 0;
  for (const row of fresh.recordings) {
    if (known.has(keyOf(row))) break;
    added += 1;
  }
  return added;
}

/** Two projects may hold a recording of the same id. */
export function keyOf(row: Recording): string {
  return `${row.project}/${row.id}`;
}
