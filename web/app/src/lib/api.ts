import { at } from './base';
import {
  captureKeyFrom,
  checksFrom,
  errorCodeFrom,
  errorMessageFrom,
  fieldsFrom,
  flawsFrom,
  infoFrom,
  keptSettingsFrom,
  pageFrom,
  projectFrom,
  projectModeFrom,
  recordingFrom,
  trialFrom,
  trialStateFrom,
  upstreamFrom,
  upstreamSettingsFrom,
} from './decode';
import type {
  CaptureKey,
  Check,
  Flaw,
  Info,
  KeptSettings,
  Mode,
  Project,
  ProjectMode,
  Recording,
  RecordingPage,
  SettingField,
  SettingValue,
  Trial,
  TrialState,
  Upstream,
  UpstreamSettings,
} from './types';

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
  | {
      readonly kind: 'refused';
      readonly status: number;
      /** Stable name of the reason. */
      readonly code: string;
      readonly message: string;
      readonly flaws: readonly Flaw[];
    }
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

/** Asks which settings there are. */
export function fetchFields(): Promise<Outcome<readonly SettingField[]>> {
  return ask(at('/api/settings'), fieldsFrom);
}

/** Asks what was decided about a project. */
export function fetchSettings(key: string, signal?: AbortSignal): Promise<Outcome<KeptSettings>> {
  return ask(settingsUrl(key), keptSettingsFrom, signal);
}

/** Changes settings that still are of `revision`; null goes back to the default. */
export function changeSettings(
  key: string,
  revision: string,
  change: Readonly<Record<string, SettingValue | null>>,
): Promise<Outcome<KeptSettings>> {
  return tell('PATCH', settingsUrl(key), change, keptSettingsFrom, { 'if-match': `"${revision}"` });
}

/** Replaces settings that cannot be read: nothing is decided after that. */
export function decideAnew(key: string): Promise<Outcome<KeptSettings>> {
  return tell('PUT', settingsUrl(key), {}, keptSettingsFrom);
}

/** Asks about the PostHog behind the server; null where there is none. */
export function fetchUpstream(signal?: AbortSignal): Promise<Outcome<Upstream | null>> {
  return ask(at('/api/upstream'), upstreamFrom, signal);
}

/** Asks what PostHog tells the pages of a project. */
export function fetchUpstreamSettings(key: string, signal?: AbortSignal): Promise<Outcome<UpstreamSettings>> {
  return ask(at(`/api/projects/${encodeURIComponent(key)}/upstream`), upstreamSettingsFrom, signal);
}

/** Gives a project a mode of its own, or, with null, that of all others. */
export function chooseMode(key: string, mode: Mode | null): Promise<Outcome<ProjectMode>> {
  return tell('PUT', at(`/api/projects/${encodeURIComponent(key)}/mode`), { mode }, projectModeFrom);
}

/** Asks for a recording to send, to see what becomes of it. */
export function beginTrial(): Promise<Outcome<Trial>> {
  return tell('POST', at('/api/trial'), null, trialFrom);
}

/** Asks what became of it. */
export function fetchTrial(id: string): Promise<Outcome<TrialState>> {
  return ask(at(`/api/trial/${encodeURIComponent(id)}`), trialStateFrom);
}

/** Has it forgotten. */
export function endTrial(id: string): Promise<Outcome<null>> {
  return tell('DELETE', at(`/api/trial/${encodeURIComponent(id)}`), null, () => null);
}

/** Makes a project, whose key the server makes up. */
export function createProject(name: string): Promise<Outcome<Project>> {
  return tell('POST', at('/api/projects'), { name }, projectFrom);
}

/** Gives a project another name. */
export function renameProject(key: string, name: string): Promise<Outcome<Project>> {
  return tell('PATCH', at(`/api/projects/${encodeURIComponent(key)}`), { name }, projectFrom);
}

/** Adds a key that records into a project; with null, one that the server makes up. */
export function addKey(project: string, key: string | null): Promise<Outcome<CaptureKey>> {
  return tell('POST', keysUrl(project), { key }, captureKeyFrom);
}

/** Deletes a key: what comes with it is refused from then on. */
export function deleteKey(project: string, key: string, evenLast: boolean): Promise<Outcome<null>> {
  const url = `${keysUrl(project)}/${encodeURIComponent(key)}?even_last=${evenLast}`;
  return tell('DELETE', url, null, () => null);
}

/** Where a recording can be downloaded. */
export function exportUrl(id: string, format: string): string {
  return at(`/api/recordings/${encodeURIComponent(id)}/export?format=${encodeURIComponent(format)}`);
}

function settingsUrl(key: string): string {
  return at(`/api/projects/${encodeURIComponent(key)}/settings`);
}

function keysUrl(project: string): string {
  return at(`/api/projects/${encodeURIComponent(project)}/keys`);
}

export function ask<T>(url: string, decode: (json: unknown) => T, signal?: AbortSignal): Promise<Outcome<T>> {
  return send(url, { headers: { accept: 'application/json' } }, decode, signal);
}

export function tell<T>(
  method: string,
  url: string,
  body: unknown,
  decode: (json: unknown) => T,
  headers: Readonly<Record<string, string>> = {},
): Promise<Outcome<T>> {
  const all = { accept: 'application/json', 'content-type': 'application/json', ...headers };
  return send(url, { method, headers: all, body: JSON.stringify(body) }, decode);
}

/** Asks for anything, and reads the answer. */
export async function send<T>(
  url: string,
  request: RequestInit,
  decode: (json: unknown) => T,
  signal?: AbortSignal,
): Promise<Outcome<T>> {
  const late = AbortSignal.timeout(ANSWER_WAIT_MS);
  try {
    const response = await fetch(url, {
      ...request,
      credentials: 'same-origin',
      signal: signal ? AbortSignal.any([signal, late]) : late,
    });
    if (response.ok)
      return { kind: 'ok', value: decode(response.status === 204 ? null : await response.json()) };
    if (response.status === 401) return { kind: 'unauthorized' };
    if (response.status === 404) return { kind: 'missing' };
    return { kind: 'refused', status: response.status, ...(await refusalOf(response)) };
  } catch (error) {
    if (signal?.aborted) return { kind: 'aborted' };
    // An answer that is not JSON is the server's fault, not the network's.
    if (error instanceof SyntaxError) {
      return { kind: 'refused', status: 200, code: '', message: 'the answer could not be read', flaws: [] };
    }
    return { kind: 'offline' };
  }
}

async function refusalOf(
  response: Response,
): Promise<{ code: string; message: string; flaws: readonly Flaw[] }> {
  const json: unknown = await response.json().catch(() => null);
  return {
    code: errorCodeFrom(json),
    message: errorMessageFrom(json) ?? `status ${response.status}`,
    flaws: flawsFrom(json),
  };
}
