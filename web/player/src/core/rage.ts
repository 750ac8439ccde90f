import type { Mark } from './mark.ts';

/** So many clicks on one spot, each soon after the one before, are rage. posthog-js draws the line at the same place. */
const CLICKS_MIN = 3;
const APART_MS_MAX = 1_000;
const APART_PX_MAX = 30;

/** Marks in order of time, in which clicks that are rage are one mark. */
export function withRage(marks: readonly Mark[]): readonly Mark[] {
  /** What stands in the place of a mark; null where nothing does. */
  const instead = new Map<Mark, Mark | null>();
  const end = (run: readonly Mark[]) => {
    const [first] = run;
    const count = run.filter(({ spot }) => spot?.isDouble === false).length;
    if (first === undefined || count < CLICKS_MIN) return;
    for (const mark of run) instead.set(mark, null);
    const label = `Rage ${first.label.charAt(0).toLowerCase()}${first.label.slice(1)}, ${count} times`;
    instead.set(first, { ...first, kind: 'rage', label });
  };
  const runs = new Map<string, Mark[]>();
  for (const mark of marks) {
    if (mark.spot === undefined) continue;
    const run = runs.get(mark.window) ?? [];
    if (goesOn(run.at(-1), mark)) {
      run.push(mark);
      continue;
    }
    end(run);
    runs.set(mark.window, [mark]);
  }
  for (const run of runs.values()) end(run);
  if (instead.size === 0) return marks;
  return marks.flatMap((mark) => {
    const other = instead.get(mark);
    if (other === undefined) return [mark];
    return other === null ? [] : [other];
  });
}

function goesOn(before: Mark | undefined, { at, spot }: Mark): boolean {
  if (before?.spot === undefined || spot === undefined || at - before.at > APART_MS_MAX) return false;
  return Math.abs(spot.x - before.spot.x) + Math.abs(spot.y - before.spot.y) < APART_PX_MAX;
}
