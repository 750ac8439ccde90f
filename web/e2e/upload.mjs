// What clients sent, read independently of the server: the truth that stored recordings are compared with.

import assert from 'node:assert/strict';
import { gunzipSync } from 'node:zlib';

/** The items in a body, whatever the coding. */
export function itemsOf(body) {
  const value = JSON.parse(plain(body));
  return Array.isArray(value) ? value : (value.batch ?? [value]);
}

function plain(body) {
  if (body[0] === 0x1f && body[1] === 0x8b) return gunzipSync(body).toString();
  const text = body.toString();
  if (!text.startsWith('data=')) return text;
  return plain(Buffer.from(new URLSearchParams(text).get('data').replaceAll(' ', '+'), 'base64'));
}

/** The `$snapshot` items of some bodies by their `uuid`, so that what was sent twice counts once. */
export function snapshotsOf(bodies) {
  const items = bodies.flatMap(itemsOf).filter(({ event }) => event === '$snapshot');
  return new Map(items.map((item) => [item.uuid, item.properties]));
}

/** The rrweb events in snapshots, with the compression of single events undone. */
export function eventsOf(snapshots) {
  return [...snapshots.values()].flatMap(({ $snapshot_data }) => $snapshot_data.map(expanded));
}

/** Checks that a recording's lines are the events of these snapshots: all of them, each once, and nothing else. */
export function assertStoredOnce(lines, snapshots, session) {
  const sent = [...snapshots.values()]
    .filter((properties) => properties.$session_id === session)
    .flatMap((properties) =>
      properties.$snapshot_data.map((event) => [properties.$window_id, expanded(event)]),
    );
  const missing = new Map();
  for (const text of sent.map(canonical)) missing.set(text, (missing.get(text) ?? 0) + 1);
  const extra = [];
  for (const text of lines.map(canonical)) {
    const left = missing.get(text) ?? 0;
    if (left === 0) extra.push(text);
    else missing.set(text, left - 1);
  }
  const lost = [...missing].filter(([, count]) => count > 0).map(([text]) => text.slice(0, 200));
  assert.deepEqual(lost, [], 'nothing that was sent is missing');
  assert.deepEqual(
    extra.map((text) => text.slice(0, 200)),
    [],
    'nothing is stored twice',
  );
  assert.ok(sent.length > 0, 'something was sent');
}

/** Undoes the compression of single events. */
function expanded(event) {
  if (event.cv !== '2024-10') return event;
  const { cv: _, ...rest } = event;
  const undo = (text) =>
    typeof text === 'string' ? JSON.parse(gunzipSync(Buffer.from(text, 'latin1'))) : text;
  if (event.type === 2) return { ...rest, data: undo(event.data) };
  const data = { ...event.data };
  const packed = data.source === 0 ? ['texts', 'attributes', 'removes', 'adds'] : ['adds', 'removes'];
  for (const key of packed) if (key in data) data[key] = undo(data[key]);
  return { ...rest, data };
}

function canonical(value) {
  return JSON.stringify(value, (_, item) => {
    if (item === null || typeof item !== 'object' || Array.isArray(item)) return item;
    return Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
