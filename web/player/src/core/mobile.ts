import type { Screen } from '../mobile/screen.ts';
import type { EventRecord } from './record.ts';

/** Whether an event is a full snapshot of a mobile screen, which has views in the place of nodes. */
export function isScreen({ type, json }: EventRecord): boolean {
  // Within a text the quotes would have a backslash before them: this is a name.
  return type === 2 && json.includes('"wireframes":');
}

/** Fetches what turns screens into pages, which no recording of a web page needs. */
export async function newScreen(): Promise<Screen> {
  const { Screen } = await import('../mobile/screen.ts');
  return new Screen();
}
