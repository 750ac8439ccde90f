import type { Loader } from './loader.ts';
import { LoadError, type Source } from './source.ts';

/** What of a live recording somebody wants to be told. */
export type Follower = {
  readonly source: Source;
  readonly loader: Loader;
  readonly isClosed: () => boolean;
  /** The loader has taken in another list of blocks. */
  readonly onNews: () => Promise<void>;
  /** Whether it is over. Silence is taken for that, so it may go on after all. */
  readonly onEnd: (hasEnded: boolean) => void;
  /** It may not be watched any more, or is deleted. */
  readonly onRefused: (reason: LoadError) => void;
};

const LIVE_WAIT_MS = 20_000;
/** So long after its end somebody may go on with a recording: after that PostHog begins another session. */
const RETURN_MS_MAX = 30 * 60_000;

const pause = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

/** Takes in what is being recorded until it ends, and again where it goes on after all. */
export async function follow({ source, loader, ...follower }: Follower): Promise<void> {
  let { version } = loader;
  let liveAt = performance.now();
  while (!follower.isClosed()) {
    const asked = performance.now();
    if (loader.isLive) liveAt = asked;
    else if (asked - liveAt > RETURN_MS_MAX) return;
    follower.onEnd(!loader.isLive);
    try {
      const list = await source.list(version, LIVE_WAIT_MS);
      ({ version } = list);
      // Blocks that are merged after the end hold nothing new.
      const changed = (list.is_live || loader.isLive) && loader.take(list);
      if (changed) await follower.onNews();
      // A server that does not wait must not be asked without end.
      if (!changed && performance.now() - asked < 500) await pause(1000);
    } catch (reason) {
      if (reason instanceof LoadError && (reason.kind === 'access' || reason.kind === 'missing')) {
        // Whoever has all of it keeps it.
        if (loader.isLive) follower.onRefused(reason);
        return;
      }
      await pause(3000);
    }
  }
}
