import { dataUrlOf, type Replay } from '../frame/data-url.ts';
import type { Place } from '../place.ts';

/** In a file that needs no server. The replay's document has no shell around it, because it has no address. */
export function inFile(replay: Replay, hashAt: (second: number) => string): Place {
  return {
    frameUrl: () => dataUrlOf(replay, 'none'),
    frameOrigin: '*',
    mayLoadAssets: false,
    linkTo(second) {
      const url = new URL(location.href);
      url.hash = hashAt(second);
      return url;
    },
  };
}

/** The moment that the address names, in milliseconds from the start; null where it names none. */
export function momentOf(hash: string): number | null {
  const second = Number.parseFloat(new URLSearchParams(hash.replace(/^#/, '')).get('t') ?? '');
  return Number.isFinite(second) && second >= 0 ? second * 1000 : null;
}
