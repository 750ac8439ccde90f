/** What people say of recordings, as the server keeps it. */
import { type Comment, commentFrom, type Saying } from '../../../player/src/view/comments.ts';
import { ask, type Outcome, tell } from './api';
import { at } from './base';

const AUTHOR_STORED_AS = 'reelcase.author';

/** All that is said of a recording. */
export type Notes = {
  readonly comments: readonly Comment[];
  readonly tags: readonly string[];
  readonly isPinned: boolean;
  readonly isSeen: boolean;
};

/** What is to change; what is absent stays. */
export type NotesChange = {
  readonly tags?: readonly string[];
  readonly is_pinned?: boolean;
  readonly is_seen?: boolean;
};

/** Asks what is said of a recording. */
export function fetchNotes(id: string, signal?: AbortSignal): Promise<Outcome<Notes>> {
  return ask(urlOf(id, 'notes'), notesFrom, signal);
}

/** Tags a recording, pins it, or marks it as seen; or takes that back. */
export function changeNotes(id: string, change: NotesChange): Promise<Outcome<Notes>> {
  return tell('PATCH', urlOf(id, 'notes'), change, notesFrom);
}

/** Writes a comment. */
export function writeComment(
  id: string,
  { text, tags }: Saying,
  atMs: number | null,
): Promise<Outcome<Comment>> {
  const author = authorName();
  return tell(
    'POST',
    urlOf(id, 'comments'),
    {
      tags,
      ...(text === '' ? {} : { text }),
      ...(atMs === null ? {} : { at_ms: Math.round(atMs) }),
      ...(author === '' ? {} : { author }),
    },
    commentFrom,
  );
}

/** Changes what a comment says. */
export function editComment(id: string, comment: string, said: Saying): Promise<Outcome<Comment>> {
  return tell('PATCH', `${urlOf(id, 'comments')}/${encodeURIComponent(comment)}`, said, commentFrom);
}

/** Deletes a comment. */
export function deleteComment(id: string, comment: string): Promise<Outcome<null>> {
  return tell('DELETE', `${urlOf(id, 'comments')}/${encodeURIComponent(comment)}`, null, () => null);
}

/** Deletes a recording for good. */
export function deleteRecording(id: string): Promise<Outcome<null>> {
  return tell('DELETE', at(`/api/recordings/${encodeURIComponent(id)}`), null, () => null);
}

/** How many recordings a question finds, and when that was so by the server's clock. */
export type Count = { readonly count: number; readonly asOfMs: number };

/** What became of some of the recordings that a question finds; `next` is null at the end. */
export type DeletedStep = { readonly deleted: number; readonly left: number; readonly next: string | null };

/** Asks how many recordings a question finds. */
export function countRecordings(params: URLSearchParams): Promise<Outcome<Count>> {
  return ask(at(`/api/count?${params}`), (json) => {
    const { recording_count, as_of_ms } = objectOf(json);
    return { count: Number(recording_count), asOfMs: Number(as_of_ms) };
  });
}

/** Deletes some of the recordings that a question finds, but for those that grew since they were counted. */
export function deleteSome(params: URLSearchParams): Promise<Outcome<DeletedStep>> {
  return tell('DELETE', at(`/api/recordings?${params}`), null, (json) => {
    const { deleted_count, left_count, next } = objectOf(json);
    return {
      deleted: Number(deleted_count),
      left: Number(left_count),
      next: typeof next === 'string' ? next : null,
    };
  });
}

/** Asks which tags there are, the most used first. */
export function fetchTags(project: string | null): Promise<Outcome<readonly string[]>> {
  const query = project === null ? '' : `?project=${encodeURIComponent(project)}`;
  return ask(at(`/api/tags${query}`), (json) => {
    const tags = listOf(objectOf(json)['tags']).map((item) => {
      const { tag, recording_count } = objectOf(item);
      return { tag: String(tag), count: Number(recording_count) };
    });
    return tags.sort((a, b) => b.count - a.count || a.tag.localeCompare(b.tag)).map(({ tag }) => tag);
  });
}

/** What the reader wants to be called below comments. There are no users: this browser keeps the name. */
export function authorName(): string {
  try {
    return localStorage.getItem(AUTHOR_STORED_AS) ?? '';
  } catch {
    return '';
  }
}

/** Keeps that name for the next comment. */
export function setAuthorName(name: string): void {
  try {
    localStorage.setItem(AUTHOR_STORED_AS, name.trim().slice(0, 100));
  } catch {
    // Storage is off in this browser. Comments then have no name.
  }
}

function urlOf(id: string, what: string): string {
  return at(`/api/recordings/${encodeURIComponent(id)}/${what}`);
}

function notesFrom(json: unknown): Notes {
  const from = objectOf(json);
  return {
    comments: listOf(from['comments']).map(commentFrom),
    tags: listOf(from['tags']).map(String),
    isPinned: from['is_pinned'] === true,
    isSeen: typeof from['seen_at_ms'] === 'number',
  };
}

function objectOf(json: unknown): Readonly<Record<string, unknown>> {
  return typeof json === 'object' && json !== null ? (json as Record<string, unknown>) : {};
}

function listOf(json: unknown): readonly unknown[] {
  return Array.isArray(json) ? json : [];
}
