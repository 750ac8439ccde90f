import type { Component } from 'svelte';
import { asObject } from '../core/record.ts';

/** What somebody said of a recording, or of a moment of it. */
export type Comment = {
  readonly id: string;
  /** Milliseconds since 1970; null where it is said of all of it. */
  readonly atMs: number | null;
  /** Empty where the tags say it all. */
  readonly text: string;
  readonly tags: readonly string[];
  readonly author: string;
  readonly writtenAtMs: number;
  readonly isEdited: boolean;
};

/** A comment as the server and files tell it. What a file says may be anything. */
export function commentFrom(told: unknown): Comment {
  const from = asObject(told) ?? {};
  return {
    id: textOf(from['id']),
    atMs: typeof from['at_ms'] === 'number' ? from['at_ms'] : null,
    text: textOf(from['text']),
    tags: Array.isArray(from['tags']) ? [...new Set(from['tags'].filter(isText))] : [],
    author: textOf(from['author']),
    writtenAtMs: typeof from['written_at_ms'] === 'number' ? from['written_at_ms'] : Number.NaN,
    isEdited: typeof from['edited_at_ms'] === 'number',
  };
}

const isText = (value: unknown): value is string => typeof value === 'string';
const textOf = (value: unknown): string => (isText(value) ? value : '');

/** What is said in a comment. */
export type Saying = Pick<Comment, 'text' | 'tags'>;

/** The tags that somebody typed, with commas between them. */
export function tagsOf(typed: string): string[] {
  return [...new Set(typed.split(',').map((tag) => tag.trim()))].filter((tag) => tag !== '');
}

/** What there is to write comments with. What changes resolves to why it was not kept, or null where it was. */
export type Pen = {
  /** What the viewer is called in new ones. */
  readonly author: string;
  readonly write: (said: Saying, atMs: number | null, author: string) => Promise<string | null>;
  readonly edit: (id: string, said: Saying) => Promise<string | null>;
  readonly remove: (id: string) => Promise<string | null>;
  /** Tags that are in use, to choose from. */
  readonly tags: () => Promise<readonly string[]>;
};

/** The comments of a recording, where somebody keeps them. */
export type Comments = {
  /** What lists them. Given from outside: where nobody keeps comments, a player need not carry it. */
  readonly View: Component<CommentListProps, object, 'moment'>;
  /** What marks them on the timeline. */
  readonly Marks: Component<CommentMarksProps>;
  readonly list: readonly Comment[];
  /** Null where they are only to be read. */
  readonly pen: Pen | null;
};

/** What the marks on the timeline are given. */
export type CommentMarksProps = {
  list: readonly Comment[];
  /** How long the recording is, and when it starts, in milliseconds since 1970. */
  duration: number;
  from: number;
};

/** What the list of comments is given. */
export type CommentListProps = {
  comments: Comments;
  /** Position, and all times, in milliseconds since 1970. */
  at: number;
  from: number;
  /** The moment that is being commented on; null where it is to follow the position. */
  moment: number | null;
  /** Goes to a time from the start. */
  onjump: (ms: number) => void;
};

/** Longest comment, as the server takes it. */
export const COMMENT_CHARACTERS_MAX = 4_000;

/** Comments of one recording, as the server takes them. */
export const COMMENTS_MAX = 500;

/** Tags of one comment, as the server takes them. */
export const TAGS_MAX = 50;
