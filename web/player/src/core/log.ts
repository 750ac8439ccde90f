import type { ConsoleRow, RequestRow, Row } from './rows.ts';

/** Rows of one kind that are kept. A page that logs in a loop makes millions. */
export const ROWS_MAX = 100_000;

/** How many other requests may have begun in the same millisecond between two that are one. */
const TWINS_APART_MAX = 100;

/** Whether a request failed, as far as the page was told. */
export const isFailed = (row: RequestRow) => (row.status ?? 0) >= 400;

/** All rows of the inspector, grown as blocks are read and in whatever order they are. */
export class Log {
  readonly #rows = { console: [] as ConsoleRow[], request: [] as RequestRow[] };
  #exceptions: Row[] = [];
  #sorted: { console: ConsoleRow[]; requests: RequestRow[]; errors: Row[] } | null = null;
  /** Rows that there was no room for. */
  leftOut = 0;

  add(rows: readonly Row[]): void {
    if (rows.length === 0) return;
    for (const row of rows) {
      const list: Row[] = row.kind === 'exception' ? this.#exceptions : this.#rows[row.kind];
      if (list.length < ROWS_MAX) list.push(row);
      else this.leftOut++;
    }
    this.#sorted = null;
  }

  clear(): void {
    this.#rows.console = [];
    this.#rows.request = [];
    this.#exceptions = [];
    this.#sorted = null;
    this.leftOut = 0;
  }

  /** Everything in order of time, each request once. */
  get sorted(): {
    readonly console: readonly ConsoleRow[];
    readonly requests: readonly RequestRow[];
    readonly errors: readonly Row[];
  } {
    if (this.#sorted !== null) return this.#sorted;
    const inOrder = (a: Row, b: Row) => a.at - b.at;
    this.#rows.console.sort(inOrder);
    this.#rows.request = once(this.#rows.request.sort(inOrder));
    const failed = this.#rows.request.filter(isFailed);
    const loud = this.#rows.console.filter(({ level }) => level === 'error');
    const errors = [...this.#exceptions, ...loud, ...failed].sort(inOrder);
    this.#sorted = { console: [...this.#rows.console], requests: [...this.#rows.request], errors };
    return this.#sorted;
  }
}

/**
 * Recorders tell of a request up to three times: as it was made, as the browser timed it, and again when the page is
 * left. The one that says most is kept.
 */
function once(rows: readonly RequestRow[]): RequestRow[] {
  const out: RequestRow[] = [];
  for (const row of rows) {
    let twin = -1;
    const from = Math.max(0, out.length - TWINS_APART_MAX);
    for (let i = out.length - 1; i >= from && out[i]?.at === row.at && twin < 0; i--) {
      const other = out[i];
      if (other?.url === row.url && other.window === row.window) twin = i;
    }
    const known = out[twin];
    if (known === undefined) out.push(row);
    else if (known.method === null && row.method !== null) out[twin] = row;
  }
  return out;
}
