import type { EventRecord } from './record.ts';

/** One pointer position with its own time. */
export type Move = { readonly at: number; readonly json: string };

type Position = { x?: unknown; y?: unknown; id?: unknown; timeOffset?: unknown };

/**
 * Takes a batch of pointer positions apart. A batch is sent every half second and its positions lie before its
 * time; shown at once, the pointer would jump.
 */
export function splitMoves(record: EventRecord): Move[] {
  const event = JSON.parse(record.json) as { data?: { source?: unknown; positions?: unknown } };
  const list: unknown[] = Array.isArray(event.data?.positions) ? event.data.positions : [];
  const positions = list.filter((item): item is Position => typeof item === 'object' && item !== null);
  return positions.map((position) => {
    const offset = typeof position.timeOffset === 'number' ? position.timeOffset : 0;
    const { x, y, id } = position;
    const at = record.at + Math.min(0, offset);
    const data = { source: event.data?.source, positions: [{ x, y, id, timeOffset: 0 }] };
    return { at, json: JSON.stringify({ type: 3, timestamp: at, data }) };
  });
}
