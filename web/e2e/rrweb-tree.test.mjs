// The tree that the player draws is the tree that was recorded: node for node, at the moments for which the corpus has
// an answer, whichever version of whichever recorder wrote it, and whether one seeks there or plays up to it.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch, serve } from './browser.mjs';
import { answers, fuzz, live, readEvents } from './recordings.mjs';
import { assertTree, openFrame } from './tree.mjs';

let server;
let browser;
let context;

before(async () => {
  server = await serve();
  browser = await launch();
  context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

async function withFrame(use) {
  const frame = await openFrame(context, server);
  await use(frame);
  assert.deepEqual(frame.errors, [], 'the frame has no errors');
  await frame.page.close();
}

describe('generated changes, whose trees are true by construction', { concurrency: 2 }, () => {
  for (const { name, events, points } of fuzz()) {
    test(name, () =>
      withFrame(async (frame) => {
        for (const { afterEventIndex, body } of points) {
          await frame.show(events.slice(0, afterEventIndex + 1));
          await assertTree(frame, body, `${name}: seeking to event ${afterEventIndex}`, 'body');
        }
        let next = 2;
        await frame.show(events.slice(0, next));
        for (const { afterEventIndex, body } of points) {
          await frame.feed(events.slice(next, afterEventIndex + 1));
          next = Math.max(next, afterEventIndex + 1);
          await assertTree(frame, body, `${name}: playing to event ${afterEventIndex}`, 'body');
        }
      }),
    );
  }
});

describe('a table that was sorted over and over, read from the recorded page itself', {
  concurrency: 2,
}, () => {
  for (const { name, events, nodes } of live()) {
    test(name, () =>
      withFrame(async (frame) => {
        await frame.show(events);
        await assertTree(frame, nodes, `${name}: seeking to the end`);
        const middle = Math.floor(events.length / 2);
        await frame.show(events.slice(0, middle));
        await frame.feed(events.slice(middle));
        await assertTree(frame, nodes, `${name}: playing to the end`);
      }),
    );
  }
});

describe('what the newest rrweb builds, where that is right', { concurrency: 2 }, () => {
  for (const { name, path, first, points, skipped } of answers()) {
    test(name, { skip: skipped }, () =>
      withFrame(async (frame) => {
        const events = readEvents(path);
        const start = events.findIndex(({ type }) => type === 2);
        for (const { offset, nodes } of points) {
          const shown = events.filter(({ timestamp }) => timestamp < first + offset);
          // Before the first full snapshot there is nothing to draw yet.
          if (shown.length <= start) continue;
          await frame.show(shown);
          await assertTree(frame, nodes, `${name} at ${offset} ms`);
        }
      }),
    );
  }
});
