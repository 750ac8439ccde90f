import type { Component } from 'svelte';
import { at } from './base';

/** How the player reaches the API. */
export type PlayerApi = (path: string, signal?: AbortSignal) => Promise<Response>;

/** The player as the app sees it. */
export type PlayerView = Component<{ recordingId: string; startMs?: number; base?: string; api?: PlayerApi }>;

// A glob, because the app builds without the player too.
const players = import.meta.glob<{ default: PlayerView }>('../../../player/src/view/Player.svelte');

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
