import type { Component } from 'svelte';
import { BlockIndex, type BlockInfo, type BlockList } from '../../../player/src/core/blocks.ts';
import type { Comment, Pen } from '../../../player/src/view/comments.ts';
import { at } from './base';

/** Bytes of blocks that are asked for before there is a player. */
const EARLY_BYTES_MAX = 4 << 20;

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

/**
 * Asks for a recording's list of blocks, and for those that its first picture needs, before there is a player to ask. The
 * player's own first question for each gets that answer.
 */
export function askEarly(id: string, startMs: number): PlayerApi {
  const answers = new Map<string, Promise<Response>>();
  const ask = (path: string) => {
    const answer = fetch(path);
    // Where nobody comes for it, its failure is nobody's.
    answer.catch(() => {});
    answers.set(path, answer);
    return answer;
  };
  const askFor = async (list: Response) => {
    if (!list.ok) return;
    for (const { url } of firstBlocks((await list.clone().json()) as BlockList, startMs)) ask(url);
  };
  ask(at(`/api/recordings/${encodeURIComponent(id)}/blocks`))
    .then(askFor)
    .catch(() => {});
  return (path, signal) => {
    const found = answers.get(path);
    answers.delete(path);
    return found ?? fetch(path, signal ? { signal } : {});
  };
}

/** The blocks that draw a time from the start, as far as they are worth asking for before it is known what is shown. */
function firstBlocks(list: BlockList, startMs: number): BlockInfo[] {
  const index = new BlockIndex(list);
  const moment = Math.min(index.from + startMs, index.to);
  const window = index.windowAt(moment);
  const frame = window === null ? null : index.keyframe(window, moment);
  if (window === null || frame === null) return [];
  let bytes = 0;
  const needed = index.overlapping(frame - 1, Math.max(moment, frame + 1));
  return needed.filter(({ windows, stored_bytes }) => {
    bytes += stored_bytes;
    return bytes <= EARLY_BYTES_MAX && (windows.length === 0 || windows.includes(window));
  });
}
