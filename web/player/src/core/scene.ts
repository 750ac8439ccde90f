import type { Screen } from '../mobile/screen.ts';
import type { Loader } from './loader.ts';
import type { EventRecord } from './record.ts';
import type { Timeline } from './timeline.ts';

/** What a window needs to be drawn at a time: its last full snapshot and everything since. */
export type Scene = { readonly events: EventRecord[]; readonly until: number };

/** How long before its full snapshot a page may have said its address and size. */
const META_BEFORE_MS = 5_000;

/**
 * Loads a scene. While it comes, `onSome` is given its events piece by piece, as far as no older one can follow. They
 * are what the scene begins with, unless its blocks turn out to be in another order than they said.
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
  let known = frame - META_BEFORE_MS;
  let begun: EventRecord[] | null = [];
  const onPiece = () => {
    const settled = loader.settled(frame - 1, until, window);
    // What comes last goes with the rest.
    if (settled <= known || settled >= until) return;
    const more = loader.events(window, known, settled);
    known = settled;
    if (begun === null) return onSome(more);
    begun = [...begun, ...more];
    const first = fromSnapshot(begun);
    if (first.length === 0) return;
    begun = null;
    onSome(first);
  };
  for (;;) {
    await loader.load(frame - 1, until, window, onPiece);
    const events = fromSnapshot(loader.events(window, frame - META_BEFORE_MS, until));
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
