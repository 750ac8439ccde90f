import { LIMITS } from '../limits.ts';
import type { Motion } from '../protocol.ts';
import { isObject, type WireEvent, type WireNode } from './model.ts';

/** What is known of a film or a sound: where it was at a time, and how it went on from there. */
type State = {
  readonly isPlaying: boolean;
  /** Where in it, in seconds. */
  readonly seconds: number;
  /** When that was, on the recording's clock. */
  readonly since: number;
  readonly rate: number;
  readonly volume: number;
  readonly muted: boolean;
  readonly loop: boolean;
};

const SILENT: State = {
  isPlaying: false,
  seconds: 0,
  since: 0,
  rate: 1,
  volume: 1,
  muted: false,
  loop: false,
};

/** How far one may be from where it was before it is put there: while it runs, and while it stands. */
const DRIFT_S = 0.3;
const STANDING_DRIFT_S = 0.02;
/** Faster than that nobody can follow: it stands still, and is put where it was from time to time. */
const RATE_MAX = 4;

/**
 * The films and sounds of the page. The replayer's clock stands still, so what runs by itself is kept here to where the
 * recording is. Values are from a recording: elements throw for what they do not take.
 */
export class Media {
  readonly #states = new Map<number, State>();

  forget(): void {
    this.#states.clear();
  }

  /** Takes out of an element what its recorder says of it, which the replayer would act on in its own way. */
  learn(node: WireNode, at: number): void {
    const { id, attributes } = node;
    if (typeof id !== 'number' || !isObject(attributes)) return;
    const told = { ...attributes };
    for (const name of Object.keys(attributes)) if (name.startsWith('rr_media')) delete attributes[name];
    if (typeof told['rr_mediaState'] !== 'string') return;
    this.#set(id, {
      isPlaying: told['rr_mediaState'] === 'played',
      seconds: number(told['rr_mediaCurrentTime'], 0),
      since: at,
      rate: number(told['rr_mediaPlaybackRate'], 1),
      volume: number(told['rr_mediaVolume'], 1),
      muted: told['rr_mediaMuted'] === true,
      loop: told['rr_mediaLoop'] === true,
    });
  }

  /** Takes note of what somebody, or the page, did with one. */
  apply({ timestamp, data }: WireEvent): void {
    const { id, type, currentTime, playbackRate, volume, muted, loop } = data;
    if (typeof id !== 'number') return;
    const old = this.#states.get(id) ?? SILENT;
    this.#set(id, {
      isPlaying: type === 0 || (type !== 1 && old.isPlaying),
      seconds: number(currentTime, secondsAt(old, timestamp)),
      since: timestamp,
      rate: number(playbackRate, old.rate),
      volume: number(volume, old.volume),
      muted: typeof muted === 'boolean' ? muted : old.muted,
      loop: typeof loop === 'boolean' ? loop : old.loop,
    });
  }

  /** Puts all of them where they were, running or not. */
  sync(nodeOf: (id: number) => Node | null, { running, at, rate }: Motion): void {
    for (const [id, state] of this.#states) {
      const node = nodeOf(id);
      if (isMedia(node)) put(node, state, at, running ? rate : 0);
    }
  }

  #set(id: number, state: State): void {
    if (this.#states.has(id) || this.#states.size < LIMITS.media) this.#states.set(id, state);
  }
}

function put(media: HTMLMediaElement, state: State, at: number, rate: number): void {
  const { duration } = media;
  const isEndless = !(duration > 0 && duration < Number.POSITIVE_INFINITY);
  const far = secondsAt(state, at);
  const seconds = isEndless || far < duration ? far : state.loop ? far % duration : duration;
  const pace = Math.min(Math.max(state.rate, 0.25), RATE_MAX) * rate;
  const runs = state.isPlaying && pace > 0 && pace <= RATE_MAX && (isEndless || seconds < duration);
  if (Math.abs(media.currentTime - seconds) > (runs ? DRIFT_S : STANDING_DRIFT_S))
    media.currentTime = seconds;
  media.volume = Math.min(Math.max(state.volume, 0), 1);
  media.loop = state.loop;
  if (!runs) {
    media.pause();
    return;
  }
  media.playbackRate = Math.max(pace, 0.0625);
  if (!media.paused) return;
  media.muted = state.muted;
  // A browser may refuse to let a page be heard that nobody has clicked into yet. Then it is only seen.
  media.play().catch((refusal: unknown) => {
    // It is also what a pause does to a start that is still under way.
    if (!(isObject(refusal) && refusal['name'] === 'NotAllowedError')) return;
    media.muted = true;
    media.play().catch(() => {});
  });
}

function secondsAt({ isPlaying, seconds, since, rate }: State, at: number): number {
  return isPlaying ? seconds + (Math.max(0, at - since) / 1000) * rate : seconds;
}

function number(value: unknown, usual: number): number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : usual;
}

/** The page is of another realm than this script, so there is no class to ask. */
function isMedia(node: Node | null): node is HTMLMediaElement {
  return node !== null && 'currentTime' in node && 'playbackRate' in node && 'play' in node;
}
