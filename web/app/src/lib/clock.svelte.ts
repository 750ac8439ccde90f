const TICK_MS = 5_000;

const state = $state({ nowMs: Date.now() });

setInterval(() => {
  if (!document.hidden) state.nowMs = Date.now();
}, TICK_MS);

/** The time, a few seconds coarse, so that "3 min ago" stays true while it is on the screen. */
export function nowMs(): number {
  return state.nowMs;
}
