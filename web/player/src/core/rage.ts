import type { Mark } from './mark.ts';
import { countBefore } from './ordered.ts';

/** So many clicks on one spot, each soon after the one before, are rage. posthog-js draws the line at the same place. */
const CLICKS_MIN = 3;
const APART_MS_MAX = 1_000;
const APART_PX_MAX = 30;
/** PostHog sends its own event with the third click; so long before the first or after the last it is of the same. */
const SAME_MS_MAX = 1_000;

/** Marks in order of time, in which clicks that are rage are one mark, which leads to what PostHog sent of them. */
export function withRage(marks: readonly Mark[]): readonly Mark[] {
  /** What stands in the place of a mark; null where nothing does. */
  const instead = new Map<Mark, Mark | null>();
  const end = (run: readonly Mark[]) => {
    const [first] = run;
    const count = run.filter(({ spot }) => spot?.isDouble === false).length;
    if (first === undefined || count < CLICKS_MIN) return;
    for (const mark of run) instead.set(mark, null);
    const sent = sentOf(marks, run, instead);
    if (sent !== undefined) instead.set(sent, null);
    const { block, line } = sent ?? first;
    const label = `Rage ${first.label.charAt(0).toLowerCase()}${first.label.slice(1)}, ${count} times`;
    instead.set(first, { ...first, kind: 'rage', label, block, line, isSent: sent !== undefined });
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

/** PostHog's event of a run of clicks that are rage: in its window, at its time, and of nothing else by its words. */
function sentOf(
  marks: readonly Mark[],
  run: readonly Mark[],
  taken: ReadonlyMap<Mark, unknown>,
): Mark | undefined {
  const [first, last] = [run[0], run.at(-1)];
  if (first === undefined || last === undefined) return undefined;
  for (let i = countBefore(marks, first.at - SAME_MS_MAX); i < marks.length; i++) {
    const mark = marks[i];
    if (mark === undefined || mark.at > last.at + SAME_MS_MAX) return undefined;
    if (mark.rageOn === undefined || taken.has(mark)) continue;
    if (mark.window !== '' && mark.window !== first.window) continue;
    if (agree(mark.rageOn, /“(.*)”/.exec(first.label)?.[1] ?? '')) return mark;
  }
  return undefined;
}

/** Whether two texts can be of one element. One that was masked or cut, or is of a part of it, says less. */
function agree(a: string, b: string): boolean {
  const [one, other] = [a, b].map((text) => text.toLowerCase().replace(/[^\p{L}\p{N}]/gu, ''));
  return one === undefined || other === undefined || one.includes(other) || other.includes(one);
}
