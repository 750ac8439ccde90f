import type { Component } from 'svelte';
import type { Comment, Pen } from '../../../player/src/view/comments.ts';
import { at } from './base';

/** How the player reaches the API. */
export type PlayerApi = (path: string, signal?: AbortSignal) => Promise<Response>;

/** The player as the app sees it. */
export type PlayerView = Component<{
  recordingId: string;
  startMs?: number;
  base?: string;
  api?: PlayerApi;
  comments?: PlayerComments | null;
}>;

/** The comments of a recording, as the player shows and writes them. */
export type PlayerComments = {
  readonly View: Component;
  readonly Marks: Component;
  readonly list: readonly Comment[];
  readonly pen: Pen | null;
};

// A glob, because the app builds without the player too.
const players = import.meta.glob<{ default: PlayerView }>('../../../player/src/view/Player.svelte');

const commentViews = import.meta.glob<{ default: Component }>('../../../player/src/view/Comment*.svelte');

/** Loads what lists comments beside the picture and marks them on the timeline; null where this build has no player. */
export async function loadCommentViews(): Promise<Pick<PlayerComments, 'View' | 'Marks'> | null> {
  const load = (name: string) =>
    Object.entries(commentViews).find(([path]) => path.endsWith(`/${name}.svelte`))?.[1]();
  const [list, marks] = await Promise.all([load('CommentList'), load('CommentMarks')]);
  return list === undefined || marks === undefined ? null : { View: list.default, Marks: marks.default };
}

/** Loads the player's code; null where this build has none. */
export async function loadPlayer(): Promise<PlayerView | null> {
  const load = Object.values(players)[0];
  return load === undefined ? null : (await load()).default;
}

/** Asks for a recording's blocks before there is a player to ask. The player's own first question gets that answer. */
export function askEarly(id: string): PlayerApi {
  const early = at(`/api/recordings/${encodeURIComponent(id)}/blocks`);
  let answer: Promise<Response> | null = fetch(early);
  // Where nobody comes for it, its failure is nobody's.
  answer.catch(() => {});
  return (path, signal) => {
    const found = path === early ? answer : null;
    if (found !== null) answer = null;
    return found ?? fetch(path, signal ? { signal } : {});
  };
}
