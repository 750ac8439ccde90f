import { merged, Ordered } from './ordered.ts';
import type { ConsoleRow, ExceptionRow, RequestRow, Row, TimingRow } from './rows.ts';

/** Rows of one kind that are kept. A page that logs in a loop makes millions. */
export const ROWS_MAX = 100_000;

/** How many other requests may have begun in the same millisecond between two that are one. */
const TWINS_APART_MAX = 100;

/** What goes wrong. */
type Failure = Exclude<Row, TimingRow>;

type Sorted = {
  readonly console: readonly ConsoleRow[];
  readonly requests: readonly RequestRow[];
  readonly timings: readonly TimingRow[];
  readonly errors: readonly Failure[];
};

/** Whether a request failed, as far as the page was told. */
export const isFailed = (row: RequestRow) => (row.status ?? 0) >= 400;

/** All rows of the inspector, grown as blocks are read and in whatever order they are. */
export class Log {
  readonly #rows = {
    console: new Ordered<ConsoleRow>(),
    request: new Ordered<RequestRow>(once),
    timing: new Ordered<TimingRow>(eachOnce),
    exception: new Ordered<ExceptionRow>(),
  };
  #sorted: Sorted | null = null;
  /** Rows that there was no room for. */
  leftOut = 0;

  /** Rows of all kinds. */
  get count(): number {
    return Object.values(this.#rows).reduce((sum, { length }) => sum + length, 0);
  }

  add(rows: readonly Row[]): void {
    if (rows.length === 0) return;
    this.#sorted = null;
    for (const [kind, list] of Object.entries(this.#rows)) {
      const all = rows.filter((row) => row.kind === kind);
      const fitting = all.slice(0, ROWS_MAX - list.length);
      this.leftOut += all.length - fitting.length;
      (list as Ordered<Row>).add(fitting);
    }
  }

  clear(): void {
    for (const list of Object.values(this.#rows)) list.clear();
    this.#sorted = null;
    this.leftOut = 0;
  }

  /** Everything in order of time, each request once. */
  get sorted(): Sorted {
    if (this.#sorted !== null) return this.#sorted;
    const [console, requests] = [this.#rows.console.all, this.#rows.request.all];
    const said = merged(
      this.#rows.exception.all,
      console.filter(({ level }) => level === 'error'),
    );
    const errors = merged(said, requests.filter(isFailed));
    this.#sorted = { console, requests, timings: this.#rows.timing.all, errors };
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
