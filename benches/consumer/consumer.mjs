// What PostHog's consumer of recordings does with a message of its queue: parse it, parse the event that is text
// within, write a line per rrweb event, and compress the lines of a session with snappy when a batch is full.
//
// node consumer.mjs FILE: FILE holds messages, each behind its length as four bytes, little-endian. Prints as JSON how
// much processor time they took.

import { readFileSync } from 'node:fs';
import { compress } from 'snappy';

const BATCH_BYTES_MAX = 100 << 20;

const file = readFileSync(process.argv[2]);
const begin = process.cpuUsage();
let sessions = new Map();
let batchBytes = 0;
let storedBytes = 0;
for (let at = 0; at < file.length; ) {
  const length = file.readUInt32LE(at);
  const message = JSON.parse(file.toString('utf8', at + 4, at + 4 + length));
  at += 4 + length;
  const { properties } = JSON.parse(message.data);
  const session = sessions.get(properties.$session_id) ?? [];
  sessions.set(properties.$session_id, session);
  for (const event of properties.$snapshot_items) {
    session.push(`${JSON.stringify([properties.$window_id, event])}\n`);
  }
  batchBytes += length;
  if (batchBytes >= BATCH_BYTES_MAX) {
    await flush();
  }
}
await flush();
const { user, system } = process.cpuUsage(begin);
console.log(JSON.stringify({ cpuSeconds: (user + system) / 1e6, storedBytes }));

async function flush() {
  for (const lines of sessions.values()) {
    storedBytes += (await compress(Buffer.from(lines.join('')))).length;
  }
  sessions = new Map();
  batchBytes = 0;
}
