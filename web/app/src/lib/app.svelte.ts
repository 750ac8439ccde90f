import { type Failure, fetchInfo } from './api';
import type { Info } from './types';

const PROJECT_STORED_AS = 'reelcase.project';
const RETRY_MS = 3_000;

/** What the app knows of its server. */
export type AppState =
  | { readonly kind: 'asking' }
  | { readonly kind: 'ready'; readonly info: Info }
  | { readonly kind: 'failed'; readonly failure: Failure };

let state = $state.raw<AppState>({ kind: 'asking' });
let chosen = $state<string | null>(stored());

/** Whether we are in, and what the server says of itself. */
export function app(): AppState {
  return state;
}

/** Asks the server who it is. Goes on asking while it cannot be reached. */
export async function connect(): Promise<void> {
  const answer = await fetchInfo();
  if (answer.kind === 'ok') {
    state = { kind: 'ready', info: answer.value };
    return;
  }
  state = { kind: 'failed', failure: answer };
  if (answer.kind === 'offline') setTimeout(() => void connect(), RETRY_MS);
}

/** To be called by whoever is told 401: the app then shows how to get in. */
export function denied(): void {
  state = { kind: 'failed', failure: { kind: 'unauthorized' } };
}

/** Key of the project the reader picked; null for all of them. */
export function project(): string | null {
  if (state.kind !== 'ready') return chosen;
  return state.info.projects.some((known) => known.key === chosen) ? chosen : null;
}

/** Picks a project, for this visit and the next. */
export function chooseProject(key: string | null): void {
  chosen = key;
  try {
    if (key === null) localStorage.removeItem(PROJECT_STORED_AS);
    else localStorage.setItem(PROJECT_STORED_AS, key);
  } catch {
    // Storage is off in this browser. The choice then lasts until the page goes.
  }
}

/** A key that records: of the picked project, or of the first one. */
export function recordingKey(info: Info): string | null {
  const of = info.projects.find((known) => known.key === project()) ?? info.projects[0];
  return of?.capture_key ?? null;
}

/** The key to put into snippets: the picked project's, or the first one's. */
export function snippetKey(info: Info): string {
  return recordingKey(info) ?? 'phc_reelcase';
}

function stored(): string | null {
  try {
    return localStorage.getItem(PROJECT_STORED_AS);
  } catch {
    return null;
  }
}
