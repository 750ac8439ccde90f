/** Collections of recordings and saved filters, as the server keeps them. */
import { ask, type Outcome, tell } from './api';
import { at } from './base';
import { recordingFrom } from './decode';
import type { Recording } from './types';

/** Recordings in an order that somebody chose. */
export type Collection = { readonly id: string; readonly name: string; readonly recordingCount: number };

/** A collection with its recordings. */
export type WholeCollection = Collection & { readonly recordings: readonly Recording[] };

/** A query of the list's address that somebody gave a name. */
export type SavedFilter = { readonly id: string; readonly name: string; readonly query: string };

/** Longest name of either, in characters. */
export const NAME_CHARACTERS_MAX = 100;

/** Asks for all collections, or for those that hold a recording. */
export function fetchCollections(recording?: string): Promise<Outcome<readonly Collection[]>> {
  const query = recording === undefined ? '' : `?recording=${encodeURIComponent(recording)}`;
  return ask(at(`/api/collections${query}`), (json) =>
    listOf(objectOf(json)['collections']).map(collectionFrom),
  );
}

/** Asks for one collection. */
export function fetchCollection(id: string, signal?: AbortSignal): Promise<Outcome<WholeCollection>> {
  return ask(
    urlOf(id),
    (json) => ({
      ...collectionFrom(json),
      recordings: listOf(objectOf(json)['recordings']).map(recordingFrom),
    }),
    signal,
  );
}

/** Makes a collection. */
export function createCollection(name: string): Promise<Outcome<Collection>> {
  return tell('POST', at('/api/collections'), { name }, collectionFrom);
}

/** Gives a collection another name. */
export function renameCollection(id: string, name: string): Promise<Outcome<Collection>> {
  return tell('PATCH', urlOf(id), { name }, collectionFrom);
}

/** Deletes a collection. Its recordings stay. */
export function deleteCollection(id: string): Promise<Outcome<null>> {
  return tell('DELETE', urlOf(id), null, () => null);
}

/** Lays a recording into a collection, at the end or before another. */
export function collect(
  id: string,
  { id: recording, project }: Pick<Recording, 'id' | 'project'>,
  before?: string,
): Promise<Outcome<Collection>> {
  const member = { recording, project, ...(before === undefined ? {} : { before }) };
  return tell('POST', `${urlOf(id)}/recordings`, member, collectionFrom);
}

/** Takes a recording out of a collection. */
export function takeOut(
  id: string,
  { id: recording, project }: Pick<Recording, 'id' | 'project'>,
): Promise<Outcome<null>> {
  const query = new URLSearchParams({ project });
  return tell(
    'DELETE',
    `${urlOf(id)}/recordings/${encodeURIComponent(recording)}?${query}`,
    null,
    () => null,
  );
}

/** Asks for the filters that were saved. */
export function fetchFilters(): Promise<Outcome<readonly SavedFilter[]>> {
  return ask(at('/api/filters'), (json) => listOf(objectOf(json)['filters']).map(filterFrom));
}

/** Saves a filter, in place of one of the same name. */
export function saveFilter(name: string, query: string): Promise<Outcome<SavedFilter>> {
  return tell('POST', at('/api/filters'), { name, query }, filterFrom);
}

/** Forgets a saved filter. */
export function deleteFilter(id: string): Promise<Outcome<null>> {
  return tell('DELETE', at(`/api/filters/${encodeURIComponent(id)}`), null, () => null);
}

function urlOf(id: string): string {
  return at(`/api/collections/${encodeURIComponent(id)}`);
}

function collectionFrom(json: unknown): Collection {
  const { id, name, recording_count } = objectOf(json);
  return { id: String(id), name: String(name ?? ''), recordingCount: Number(recording_count ?? 0) };
}

function filterFrom(json: unknown): SavedFilter {
  const { id, name, query } = objectOf(json);
  return { id: String(id), name: String(name ?? ''), query: String(query ?? '') };
}

function objectOf(json: unknown): Readonly<Record<string, unknown>> {
  return typeof json === 'object' && json !== null ? (json as Record<string, unknown>) : {};
}

function listOf(json: unknown): readonly unknown[] {
  return Array.isArray(json) ? json : [];
}
