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

test('a page that is sought to stands where it and its elements were scrolled to, over all that came between', () =>
  withFrame(async (frame) => {
    const style = 'height: 3000px';
    const box = (id, child, top) => ({
      type: 2,
      id,
      tagName: 'div',
      attributes: { style: 'height: 100px; overflow: auto', ...(top > 0 ? { rr_scrollTop: top } : {}) },
      childNodes: [{ type: 2, id: child, tagName: 'p', attributes: { style }, childNodes: [] }],
    });
    const childNodes = [
      box(4, 5, 70),
      box(6, 7, 0),
      { type: 2, id: 8, tagName: 'p', attributes: { style }, childNodes: [] },
    ];
    const body = { type: 2, id: 3, tagName: 'body', attributes: {}, childNodes };
    const html = { type: 2, id: 2, tagName: 'html', attributes: {}, childNodes: [body] };
    const node = { type: 0, id: 1, childNodes: [html] };
    const initialOffset = { left: 0, top: 500 };
    const at = (ms, event) => ({ ...event, timestamp: 1_700_000_000_000 + ms });
    const start = [
      at(0, { type: 4, data: { href: '', width: 800, height: 600 } }),
      at(1, { type: 2, data: { node, initialOffset } }),
    ];
    const more = [
      at(10, { type: 3, data: { source: 3, id: 6, x: 0, y: 30 } }),
      at(11, { type: 3, data: { source: 3, id: 1, x: 0, y: 900 } }),
      at(12, {
        type: 3,
        data: {
          source: 0,
          texts: [],
          removes: [],
          adds: [],
          attributes: [{ id: 8, attributes: { class: 'x' } }],
        },
      }),
      at(13, { type: 3, data: { source: 3, id: 6, x: 0, y: 40 } }),
    ];
    const stands = async () => {
      const inner = frame.page.frames().find((item) => item.url().startsWith('data:'));
      return inner.evaluate(() => {
        const { contentDocument, contentWindow } = [...document.querySelectorAll('.scene iframe')].at(-1);
        return [
          contentWindow.scrollY,
          ...[...contentDocument.querySelectorAll('div')].map((div) => div.scrollTop),
        ];
      });
    };
    await frame.show(start);
    assert.deepEqual(await stands(), [500, 70, 0]);
    await frame.show([...start, ...more]);
    assert.deepEqual(await stands(), [900, 70, 40]);
  }));
