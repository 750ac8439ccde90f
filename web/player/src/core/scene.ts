import type { Screen } from '../mobile/screen.ts';
import type { Loader } from './loader.ts';
import type { EventRecord } from './record.ts';
import type { Timeline } from './timeline.ts';

/** What a window needs to be drawn at a time: its last full snapshot and everything since. */
export type Scene = { readonly events: EventRecord[]; readonly until: number };

/** How long before its full snapshot a page may have said its address and size. */
const META_BEFORE_MS = 5_000;

/**
 * Loads a scene. While it comes, `onSome` is given what is there of it in full: the events from the first one on, each
 * time more of them.
 */
export async function loadScene(
  loader: Loader,
  timeline: Timeline,
  window: string,
  at: number,
  onSome: (events: EventRecord[]) => void = () => {},
): Promise<Scene> {
  const { index } = loader;
  let frame = index.keyframe(window, at) ?? at;
  let until = Math.max(at, frame + 1);
  const eventsTo = (to: number) => fromSnapshot(loader.events(window, frame - META_BEFORE_MS, to));
  const onPiece = () => {
    const settled = loader.settled(frame - 1, until, window);
    const events = settled < until ? eventsTo(settled) : [];
    if (events.length > 0) onSome(events);
  };
  for (;;) {
    await loader.load(frame - 1, until, window, onPiece);
    const events = eventsTo(until);
    if (events.length > 0) return { events, until };
    // The snapshot is in a damaged block: the one before it shows at least how the page was.
    const earlier = index.keyframe(window, frame - 1);
    if (earlier === null || earlier >= frame || timeline.gapAt(frame) === null) return { events, until };
    frame = earlier;
    until = Math.max(at, frame + 1);
  }
}

/** The events as the frame draws them. */
export function drawable(screen: Screen | null, events: readonly { readonly json: string }[]): string[] {
  return events.flatMap(({ json }) => (screen === null ? json : screen.translate(json)));
}

/** The events from the last full snapshot on, with the Meta event that belongs to it. */
function fromSnapshot(events: EventRecord[]): EventRecord[] {
  const base = events.findLastIndex((event) => event.type === 2);
  if (base < 0) return [];
  const before = events.slice(0, base).findLastIndex((event) => event.type === 4 || event.type === 2);
  const start = before >= 0 && events[before]?.type === 4 ? before : base;
  return events.slice(start);
}
