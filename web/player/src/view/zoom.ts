import type { Span } from '../core/timeline.ts';

/** The shortest stretch that fills the timeline. */
const ZOOM_MS_MIN = 2_000;
/** Where in the stretch a position is put that has left it. */
const AHEAD_SHARE = 0.1;

/**
 * The stretch that is shown once it is `factor` as long, with the moment `around` in its place. All times are from the
 * start; null is the whole recording.
 */
export function zoomed(shown: Span | null, factor: number, around: number, duration: number): Span | null {
  const { from, to } = shown ?? { from: 0, to: duration };
  const length = Math.max(ZOOM_MS_MIN, (to - from) * factor);
  if (length >= duration) return null;
  const share = (around - from) / Math.max(1, to - from);
  return placed(around - share * length, length, duration);
}

/** The same stretch, later or earlier. */
export function moved(shown: Span, ms: number, duration: number): Span {
  return placed(shown.from + ms, shown.to - shown.from, duration);
}

/** The stretch once the position went from one moment to another: a position that is seen stays in sight. */
export function following(shown: Span, before: number, at: number, duration: number): Span {
  const length = shown.to - shown.from;
  const isSeen = (ms: number) => shown.from <= ms && ms <= shown.to;
  // A viewer who looks elsewhere while it plays is left there, until somebody goes to another moment.
  const isJump = Math.abs(at - before) > ZOOM_MS_MIN;
  if (isSeen(at) || (!isSeen(before) && !isJump)) return shown;
  return placed(at - AHEAD_SHARE * length, length, duration);
}

function placed(from: number, length: number, duration: number): Span {
  const begins = Math.min(Math.max(0, from), Math.max(0, duration - length));
  return { from: begins, to: begins + length };
}
