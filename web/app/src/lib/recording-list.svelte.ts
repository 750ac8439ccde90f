import { type Failure, fetchRecordings } from './api';
import { denied } from './app.svelte';
import { type Filters, listParams } from './filters';
import { firstOf, keyOf, mergeFirstPage, newOnTop, type Page, pageAt } from './merge';
import type { Recording, RecordingPage } from './types';

const PAGE_ROWS = 100;
const REFRESH_MS = 4_000;
/** Pages whose rows are kept; of the others only the place is known. The first one stays for ever. */
const FILLED_PAGES_MAX = 12;

/** What the list shows. */
export type ListState =
  | { readonly kind: 'loading' }
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly failure: Failure };

/**
 * The recordings that match some filters, page by page, kept fresh while it lives. A refresh never moves what is being
 * read: unless the reader is at the top, new rows wait behind `waiting` until `showNew` lets them in. However far one
 * scrolls, a bounded number of rows is held: pages far from the screen are emptied and asked for again.
 */
export class RecordingList {
  state = $state.raw<ListState>({ kind: 'loading' });
  pages = $state.raw<readonly Page[]>([]);
  /** Where the list goes on below the last page; null at its end. */
  next = $state.raw<string | null>(null);
  /** How the last "load more" went. */
  more = $state<'idle' | 'loading' | 'failed'>('idle');
  /** Newer recordings that are not shown yet. */
  waiting = $state(0);
  /** The last refresh failed; what is shown may be old. */
  isStale = $state(false);
  /** How many rows are known, held or not. */
  readonly count = $derived(this.pages.reduce((sum, page) => sum + page.count, 0));

  readonly #filters: Filters;
  readonly #project: string | null;
  readonly #isAtTop: () => boolean;
  readonly #filling = new Set<string>();
  #stop = new AbortController();
  #timer = 0;

  constructor(filters: Filters, project: string | null, isAtTop: () => boolean) {
    this.#filters = filters;
    this.#project = project;
    this.#isAtTop = isAtTop;
  }

  /** Loads the first page, if there is none yet, and starts refreshing. Returns what ends it; it may start again. */
  start(): () => void {
    this.#stop = new AbortController();
    void (this.pages.length === 0 ? this.load() : this.#refresh(false));
    const onShow = () => {
      if (!document.hidden) void this.#refresh(false);
    };
    document.addEventListener('visibilitychange', onShow);
    this.#timer = window.setInterval(onShow, REFRESH_MS);
    return () => {
      document.removeEventListener('visibilitychange', onShow);
      clearInterval(this.#timer);
      this.#stop.abort();
      this.#filling.clear();
      if (this.more === 'loading') this.more = 'idle';
    };
  }

  /** The rows of a stretch; null stands for one that is not held. */
  rows(first: number, last: number): { readonly key: string; readonly row: Recording | null }[] {
    const out: { key: string; row: Recording | null }[] = [];
    // A row that moved between two pages is on both for a while.
    const taken = new Set<string>();
    for (let index = Math.max(0, first); index < Math.min(last, this.count); index++) {
      const place = pageAt(this.pages, index);
      const row = place === null ? null : (this.pages[place.page]?.rows?.[place.row] ?? null);
      const key = row === null || taken.has(keyOf(row)) ? `at ${index}` : keyOf(row);
      taken.add(key);
      out.push({ key, row });
    }
    return out;
  }

  /** To be told which rows are on the screen: fills their pages and empties those far away. */
  show(first: number, last: number): void {
    const from = pageAt(this.pages, first)?.page ?? 0;
    const to = pageAt(this.pages, Math.max(first, last - 1))?.page ?? this.pages.length - 1;
    for (let page = from; page <= to; page++) if (this.pages[page]?.rows === null) void this.#fill(page);
    this.#emptyFar((from + to) / 2);
  }

  /** Loads the first page, again if need be. */
  async load(): Promise<void> {
    const answer = await this.#ask(null);
    if (answer.kind === 'aborted') return;
    if (answer.kind === 'ok') {
      this.#begin(answer.value);
      this.state = { kind: 'ready' };
      this.isStale = false;
      this.waiting = 0;
      return;
    }
    if (answer.kind === 'unauthorized') denied();
    this.state = { kind: 'failed', failure: answer };
  }

  /** Loads the page below, if there is one. */
  async loadMore(): Promise<void> {
    const cursor = this.next;
    if (cursor === null || this.more === 'loading') return;
    this.more = 'loading';
    const answer = await this.#ask(cursor);
    if (answer.kind === 'aborted') return;
    if (answer.kind !== 'ok') {
      if (answer.kind === 'unauthorized') denied();
      this.more = 'failed';
      return;
    }
    this.more = 'idle';
    // The list may have begun anew meanwhile.
    if (this.next !== cursor) return;
    const rows = answer.value.recordings;
    if (rows.length > 0) this.pages = [...this.pages, { cursor, rows, count: rows.length }];
    this.next = answer.value.next;
  }

  /** Lets the waiting rows in. */
  async showNew(): Promise<void> {
    await this.#refresh(true);
  }

  #begin(page: RecordingPage): void {
    this.pages = [{ cursor: null, rows: page.recordings, count: page.recordings.length }];
    this.next = page.next;
  }

  async #fill(index: number): Promise<void> {
    const page = this.pages[index];
    if (page === undefined || page.rows !== null || page.cursor === null) return;
    const { cursor, count } = page;
    if (this.#filling.has(cursor)) return;
    this.#filling.add(cursor);
    const answer = await this.#ask(cursor, Math.min(200, count));
    this.#filling.delete(cursor);
    if (answer.kind !== 'ok') return;
    const rows = answer.value.recordings.slice(0, count);
    this.pages = this.pages.map((known) =>
      known.cursor === cursor && known.rows === null ? { cursor, rows, count: rows.length } : known,
    );
  }

  #emptyFar(middle: number): void {
    const filled = this.pages.flatMap((page, index) => (page.rows !== null && index > 0 ? [index] : []));
    if (filled.length < FILLED_PAGES_MAX) return;
    filled.sort((a, b) => Math.abs(b - middle) - Math.abs(a - middle));
    const far = new Set(filled.slice(0, filled.length - FILLED_PAGES_MAX + 1));
    this.pages = this.pages.map((page, index) => (far.has(index) ? { ...page, rows: null } : page));
  }

  async #refresh(isWanted: boolean): Promise<void> {
    if (this.state.kind === 'failed') return this.load();
    if (this.state.kind === 'loading' || this.more === 'loading') return;
    const answer = await this.#ask(null);
    if (answer.kind === 'aborted') return;
    if (answer.kind !== 'ok') {
      if (answer.kind === 'unauthorized') denied();
      this.isStale = true;
      return;
    }
    this.isStale = false;
    const known = firstOf(this.pages);
    const added = newOnTop(known, answer.value);
    if (!isWanted && !this.#isAtTop() && added > 0) {
      this.waiting = added;
      return;
    }
    this.waiting = 0;
    const below = this.pages[1]?.cursor ?? this.next;
    const merged = mergeFirstPage({ recordings: known, next: below }, answer.value);
    const isWhole = merged.next !== below || (this.#isAtTop() && merged.recordings.length > 2 * PAGE_ROWS);
    if (isWhole) {
      this.#begin(answer.value);
      return;
    }
    const first = { cursor: null, rows: merged.recordings, count: merged.recordings.length };
    this.pages = [first, ...this.pages.slice(1)];
  }

  #ask(cursor: string | null, rows = PAGE_ROWS) {
    const params = listParams(this.#filters, this.#project, Date.now(), rows, cursor);
    return fetchRecordings(params, this.#stop.signal);
  }
}
