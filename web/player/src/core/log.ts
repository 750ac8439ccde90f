import type { ConsoleRow, RequestRow, Row, TimingRow } from './rows.ts';

/** Rows of one kind that are kept. A page that logs in a loop makes millions. */
export const ROWS_MAX = 100_000;

/** How many other requests may have begun in the same millisecond between two that are one. */
const TWINS_APART_MAX = 100;

/** What goes wrong. */
type Failure = Exclude<Row, TimingRow>;

/** Whether a request failed, as far as the page was told. */
export const isFailed = (row: RequestRow) => (row.status ?? 0) >= 400;

/** All rows of the inspector, grown as blocks are read and in whatever order they are. */
export class Log {
  readonly #rows = { console: [] as ConsoleRow[], request: [] as RequestRow[], timing: [] as TimingRow[] };
  #exceptions: Failure[] = [];
  #sorted: { console: ConsoleRow[]; requests: RequestRow[]; timings: TimingRow[]; errors: Failure[] } | null =
    null;
  /** Rows that there was no room for. */
  leftOut = 0;

  /** Rows of all kinds. */
  get count(): number {
    const { console, request, timing } = this.#rows;
    return console.length + request.length + timing.length + this.#exceptions.length;
  }

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
    this.#rows.timing = [];
    this.#exceptions = [];
    this.#sorted = null;
    this.leftOut = 0;
  }

  /** Everything in order of time, each request once. */
  get sorted(): {
    readonly console: readonly ConsoleRow[];
    readonly requests: readonly RequestRow[];
    readonly timings: readonly TimingRow[];
    readonly errors: readonly Failure[];
  } {
    if (this.#sorted !== null) return this.#sorted;
    const inOrder = (a: Row, b: Row) => a.at - b.at;
    this.#rows.console.sort(inOrder);
    this.#rows.request = once(this.#rows.request.sort(inOrder));
    const failed = this.#rows.request.filter(isFailed);
    const loud = this.#rows.console.filter(({ level }) => level === 'error');
    const errors = [...this.#exceptions, ...loud, ...failed].sort(inOrder);
    this.#rows.timing = eachOnce(this.#rows.timing.sort(inOrder));
    const { console, request, timing } = this.#rows;
    this.#sorted = { console: [...console], requests: [...request], timings: [...timing], errors };
    return this.#sorted;
  }
}

/** Timings that were told once, and once again when more of them was known. */
function eachOnce(rows: readonly TimingRow[]): TimingRow[] {
  const out = new Map<string, TimingRow>();
  for (const row of rows) {
    const key = `${row.name} ${row.window} ${row.at} ${row.text}`;
    const known = out.get(key);
    if (known === undefined || row.value > known.value) out.set(key, row);
  }
  return [...out.values()];
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
