import { at } from './base';
import { checksFrom, errorMessageFrom, infoFrom, pageFrom, recordingFrom } from './decode';
import type { Check, Info, Recording, RecordingPage } from './types';

const ANSWER_WAIT_MS = 15_000;

/** Why an answer did not come. Each asks for another reaction. */
export type Failure =
  /** We may not ask; the reader has to get in first. */
  | { readonly kind: 'unauthorized' }
  /** There is no such thing, or no longer. */
  | { readonly kind: 'missing' }
  /** Nobody answered. Asking again may help. */
  | { readonly kind: 'offline' }
  /** The server said no, or broke. */
  | { readonly kind: 'refused'; readonly status: number; readonly message: string }
  /** We stopped waiting on purpose; there is nothing to show. */
  | { readonly kind: 'aborted' };

/** An answer, or why there is none. Nothing in this module throws. */
export type Outcome<T> = { readonly kind: 'ok'; readonly value: T } | Failure;

/** Asks what the server is. */
export function fetchInfo(): Promise<Outcome<Info>> {
  return ask(at('/api/info'), infoFrom);
}

/** Asks for one page of the list. */
export function fetchRecordings(
  params: URLSearchParams,
  signal?: AbortSignal,
): Promise<Outcome<RecordingPage>> {
  return ask(at(`/api/recordings?${params}`), pageFrom, signal);
}

/** Asks for one recording's summary. */
export function fetchRecording(id: string, signal?: AbortSignal): Promise<Outcome<Recording>> {
  return ask(at(`/api/recordings/${encodeURIComponent(id)}`), recordingFrom, signal);
}

/** Has the server look at itself. */
export function fetchChecks(): Promise<Outcome<readonly Check[]>> {
  return ask(at('/api/doctor'), checksFrom);
}

/** Where a recording can be downloaded. */
export function exportUrl(id: string, format: 'reel' | 'jsonl'): string {
  return at(`/api/recordings/${encodeURIComponent(id)}/export?format=${format}`);
}

async function ask<T>(url: string, decode: (json: unknown) => T, signal?: AbortSignal): Promise<Outcome<T>> {
  const late = AbortSignal.timeout(ANSWER_WAIT_MS);
  try {
    const response = await fetch(url, {
      headers: { accept: 'application/json' },
      credentials: 'same-origin',
      signal: signal ? AbortSignal.any([signal, late]) : late,
    });
    if (response.ok) return { kind: 'ok', value: decode(await response.json()) };
    if (response.status === 401) return { kind: 'unauthorized' };
    if (response.status === 404) return { kind: 'missing' };
    return { kind: 'refused', status: response.status, message: await messageOf(response) };
  } catch (error) {
    if (signal?.aborted) return { kind: 'aborted' };
    // An answer that is not JSON is the server's fault, not the network's.
    if (error instanceof SyntaxError) {
      return { kind: 'refused', status: 200, message: 'the answer could not be read' };
    }
    return { kind: 'offline' };
  }
}

async function messageOf(response: Response): Promise<string> {
  try {
    return errorMessageFrom(await response.json()) ?? `status ${response.status}`;
  } catch {
    return `status ${response.status}`;
  }
}
