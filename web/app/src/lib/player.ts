import type { Component } from 'svelte';

/** The player as the app sees it. */
export type PlayerView = Component<{ recordingId: string; startMs?: number; base?: string }>;

// A glob, because the app builds without the player too.
const players = import.meta.glob<{ default: PlayerView }>('../../../player/src/view/Player.svelte');

/** Loads the player's code; null where this build has none. */
export async function loadPlayer(): Promise<PlayerView | null> {
  const load = Object.values(players)[0];
  return load === undefined ? null : (await load()).default;
}
