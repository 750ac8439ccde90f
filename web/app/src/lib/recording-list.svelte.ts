import { type Failure, fetchRecordings } from './api';
import { denied } from './app.svelte';
import { type Filters, listParams } from './filters';
import { appendPage, type Loaded, mergeFirstPage, newOnTop } from './merge';

const PAGE_ROWS = 50;
const REFRESH_MS = 4_000;

/** What the list shows. */
export type ListState =
  | { readonly kind: 'loading' }
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly failure: Failure };

/**
 * The recordings that match some filters, page by page, kept fresh while it lives. A refresh never moves what is being
 * read: unless the reader is at the top, new rows wait behind `waiting` until `showNew` lets them in.
 */
export class RecordingList {
  state = $state.raw<ListState>({ kind: 'loading' });
  loaded = $state.raw<Loaded>({ recordings: [], next: null });
  /** How the last "load more" went. */
  more = $state<'idle' | 'loading' | 'failed'>('idle');
  /** Newer recordings that are not shown yet. */
  waiting = $state(0);
  /** The last refresh failed; what is shown may be old. */
  isStale = $state(false);

  readonly #filters: Filters;
  readonly #project: string | null;
  readonly #isAtTop: () => boolean;
  readonly #stop = new AbortController();
  #timer = 0;

  constructor(filters: Filters, project: string | null, isAtTop: () => boolean) {
    this.#filters = filters;
    this.#project = project;
    this.#isAtTop = isAtTop;
  }

  /** Loads the first page and starts refreshing. Returns what ends it. */
  start(): () => void {
    void this.load();
    const onShow = () => {
      if (!document.hidden) void this.#refresh(false);
    };
    document.addEventListener('visibilitychange', onShow);
    this.#timer = window.setInterval(onShow, REFRESH_MS);
    return () => {
      document.removeEventListener('visibilitychange', onShow);
      clearInterval(this.#timer);
      this.#stop.abort();
    };
  }

  /** Loads the first page, again if need be. */
  async load(): Promise<void> {
    const answer = await this.#ask(null);
    if (answer.kind === 'aborted') return;
    if (answer.kind === 'ok') {
      this.loaded = answer.value;
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
    const { next } = this.loaded;
    if (next === null || this.more === 'loading') return;
    this.more = 'loading';
    const answer = await this.#ask(next);
    if (answer.kind === 'aborted') return;
    if (answer.kind === 'ok') {
      this.loaded = appendPage(this.loaded, answer.value);
      this.more = 'idle';
    } else {
      if (answer.kind === 'unauthorized') denied();
      this.more = 'failed';
    }
  }

  /** Lets the waiting rows in. */
  async showNew(): Promise<void> {
    await this.#refresh(true);
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
    const added = newOnTop(this.loaded, answer.value);
    if (isWanted || this.#isAtTop() || added === 0) {
      this.loaded = mergeFirstPage(this.loaded, answer.value);
      this.waiting = 0;
    } else {
      this.waiting = added;
    }
  }

  #ask(cursor: string | null) {
    const params = listParams(this.#filters, this.#project, Date.now(), PAGE_ROWS, cursor);
    return fetchRecordings(params, this.#stop.signal);
  }
}
