/** A recording of any length, made of the real ones of the corpus: one after the other, with their clocks shifted. */
import { gunzipSync } from 'node:zlib';
import { captures, uploadsOf } from '../e2e/corpus.mjs';

const GAP_MS = 2_000;
/** Keys of `data` that the client packs, in mutations and in changes of style rules. */
const PACKED = ['texts', 'attributes', 'removes', 'adds'];

const unpack = (value) =>
  typeof value === 'string' ? JSON.parse(gunzipSync(Buffer.from(value, 'latin1'))) : value;

/** Undoes the client's own compression of an event. */
function plain({ cv, ...event }) {
  if (cv === undefined) return event;
  if (event.type === 2) return { ...event, data: unpack(event.data) };
  const data = { ...event.data };
  for (const key of PACKED) if (key in data) data[key] = unpack(data[key]);
  return { ...event, data };
}

/** The events of a capture's first session, in order of time. */
function eventsOf(capture) {
  const session = capture.session_ids[0];
  const seen = new Set();
  const events = [];
  for (const { path, body } of uploadsOf(capture)) {
    if (!path.startsWith('/s/')) continue;
    const text = body[0] === 0x1f && body[1] === 0x8b ? gunzipSync(body).toString() : body.toString();
    if (!text.startsWith('[') && !text.startsWith('{')) continue;
    for (const item of [JSON.parse(text)].flat()) {
      if (item.properties?.$session_id !== session || seen.has(item.uuid)) continue;
      seen.add(item.uuid);
      events.push(...[item.properties.$snapshot_data].flat().map(plain));
    }
  }
  return events.sort((a, b) => a.timestamp - b.timestamp);
}

/**
 * Gives the events of one long visit to one tab, capture by capture, until they are `plainBytes` long. It begins at
 * `startMs`. Memory holds one capture at a time.
 */
export function* parts(plainBytes, startMs) {
  const usable = captures().filter((capture) => capture.window_ids.length === 1 && !capture.record_canvas);
  let bytes = 0;
  let at = startMs;
  for (let i = 0; bytes < plainBytes; i++) {
    const events = eventsOf(usable[i % usable.length]);
    const first = events.find((event) => event.type === 2);
    if (first === undefined) continue;
    const shift = at - events[0].timestamp;
    const lines = [];
    for (const event of events) {
      const line = JSON.stringify({ ...event, timestamp: event.timestamp + shift });
      lines.push(line);
      bytes += line.length;
      if (bytes >= plainBytes) break;
    }
    at = events.at(-1).timestamp + shift + GAP_MS;
    yield lines;
  }
}
