import type { LeftOut } from '../limits.ts';
import type { Speed } from './clock.ts';
import type { LoadError, Trouble } from './source.ts';
import type { Span } from './timeline.ts';

/** What the player is doing. */
export type Status =
  | { readonly kind: 'opening' }
  /** Loading what the position needs. */
  | { readonly kind: 'waiting' }
  | { readonly kind: 'playing' }
  | { readonly kind: 'paused' }
  | { readonly kind: 'ended' }
  /** There is nothing that could be drawn. */
  | { readonly kind: 'empty'; readonly reason: 'no-events' | 'no-snapshot' | 'broken-snapshot' }
  /** What the position needs is damaged; `next` is where a picture can be drawn again. */
  | { readonly kind: 'damaged'; readonly next: number | null }
  | { readonly kind: 'failed'; readonly reason: LoadError['kind']; readonly message: string };

/** What the view shows, all times in milliseconds from the recording's start. */
export type Picture = {
  readonly status: Status;
  /** Whether it plays, or will once what it waits for has come. */
  readonly wantsPlay: boolean;
  readonly at: number;
  readonly duration: number;
  /** How much of what is waited for has come, from 0 to 1; null where that is not known. */
  readonly progress: number | null;
  readonly speed: Speed;
  readonly skipsIdle: boolean;
  /** The idle stretch that is being skipped. */
  readonly skipping: Span | null;
  /** The damaged stretch that the position is in. */
  readonly gap: Span | null;
  /** The server does not answer; playback goes on as long as it can. */
  readonly trouble: Trouble | null;
  readonly isLive: boolean;
  /** Whether the position follows what is being recorded. */
  readonly isAtEdge: boolean;
  /** It was live while it was watched, and is over now. */
  readonly hasEnded: boolean;
  /** Whether a screen of an app is shown and not a page of the web. */
  readonly isScreen: boolean;
  readonly windows: readonly string[];
  readonly window: string | null;
  /** Whether the viewer chose the window, or the player follows the person. */
  readonly isPinned: boolean;
  /** What was left out of the page that is shown, because it is more than a page may take. */
  readonly leftOut: readonly LeftOut[];
  /** Addresses of what belongs into the page that is shown and was not loaded. */
  readonly missing: readonly string[];
  /** Rises when the timeline has changed. */
  readonly timelineVersion: number;
};
