// Random changes to a real page, recorded by real recorders: in the end the player shows what the page shows. The seeds
// are fixed, so that a failure is the same each time; SEED tries others.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch, serve } from './browser.mjs';
import { fetchRecorder, RECORDERS } from './recorders.mjs';
import { goToEmptyPage, openFrame } from './tree.mjs';

const SEED = Number(process.env.SEED ?? 1);
const ROUNDS = 10;

let server;
let browser;
let context;

before(async () => {
  server = await serve();
  browser = await launch();
  context = await browser.newContext({ viewport: { width: 800, height: 600 } });
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

/** Changes the page at random, as pages do: many things at once, then a pause. Runs in the page. */
async function changePage(seed) {
  let state = seed;
  const random = (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
  const pick = (list) => list[random(list.length)];
  const elements = () => [...document.body.querySelectorAll('*')];
  const places = () => [document.body, ...elements()];
  let made = 0;
  const make = () => {
    const element = document.createElement(pick(['div', 'span', 'p', 'section', 'b', 'ul', 'li', 'x-card']));
    element.setAttribute('data-made', ++made);
    if (random(3) > 0) element.append(`text ${made}`);
    if (random(3) === 0) element.append(document.createElement('i'), document.createComment(`note ${made}`));
    return element;
  };
  const insert = (node) => {
    const place = pick(places().filter((other) => !node.contains(other)));
    if (place) place.insertBefore(node, random(2) ? null : pick([...place.childNodes, null]));
  };
  const changes = [
    () => insert(make()),
    () => insert(make()),
    () => insert(document.createTextNode(`loose ${++made}`)),
    () => elements().length > 5 && pick(elements()).remove(),
    () => elements().length > 1 && insert(pick(elements())),
    () => elements().length > 1 && insert(pick(elements())),
    () => {
      const parent = pick(places());
      for (const child of [...parent.childNodes].sort(() => random(3) - 1)) parent.append(child);
    },
    () => {
      const texts = elements().flatMap((e) => [...e.childNodes].filter((n) => n.nodeType === 3));
      if (texts.length > 0) pick(texts).data = `changed ${++made}`;
    },
    () => elements().length > 0 && pick(elements()).setAttribute('class', `c${random(9)}`),
    () => elements().length > 0 && pick(elements()).removeAttribute('class'),
    () => {
      const fragment = new DocumentFragment();
      for (let count = random(4); count >= 0; count--) fragment.append(make());
      pick(places()).append(fragment);
    },
  ];
  for (let batch = 0; batch < 20; batch++) {
    for (let count = random(12); count >= 0; count--) pick(changes)();
    await new Promise((done) => setTimeout(done, 5));
  }
  await new Promise((done) => setTimeout(done, 50));
}

/** The tree below a body, a line for each node. Runs in pages. */
function outline(body) {
  const lines = [];
  const stack = [[body, 0]];
  while (stack.length > 0) {
    const [node, depth] = stack.pop();
    const name = node.nodeType === 1 ? node.nodeName.toLowerCase() : JSON.stringify(node.data ?? '');
    const attributes = ['class', 'data-made'].map((key) => node.getAttribute?.(key) ?? '').join(' ');
    // The replayer marks what the pointer is over.
    lines.push(`${' '.repeat(depth)}${name} ${attributes.replace(/ ?:hover/, '')}`);
    for (const child of [...node.childNodes].reverse()) stack.push([child, depth + 1]);
  }
  return lines;
}

async function recordPage(script, record, seed) {
  const page = await context.newPage();
  await goToEmptyPage(page, server);
  await page.evaluate(() => {
    document.body.innerHTML = '<div><p>one</p><p>two</p></div><ul><li>a</li><li>b</li><li>c</li></ul>';
  });
  await page.addScriptTag({ content: script });
  await page.evaluate((expression) => {
    window.events = [];
    const start = new Function(`return ${expression}`)();
    start({ emit: (event) => window.events.push(event) });
  }, record);
  await page.evaluate(changePage, seed);
  const truth = await page.evaluate(`(${outline})(document.body)`);
  const events = await page.evaluate(() => window.events);
  await page.close();
  return { events, truth };
}

/** What the frame draws, with the same eyes. */
function drawn(frame) {
  const inner = frame.page.frames().find((item) => item.url().startsWith('data:'));
  return inner.evaluate(
    `(${outline})([...document.querySelectorAll('.scene')].at(-1).querySelector('iframe').contentDocument.body)`,
  );
}

describe('random changes are drawn as they were made', () => {
  for (const name of Object.keys(RECORDERS)) {
    test(name, async () => {
      const { script, record } = await fetchRecorder(name);
      const frame = await openFrame(context, server);
      for (let round = 0; round < ROUNDS; round++) {
        const seed = SEED * 1000 + round;
        const { events, truth } = await recordPage(script, record, seed);
        const start = events.findIndex(({ type }) => type === 2) + 1;
        await frame.show(events);
        assert.deepEqual(await drawn(frame), truth, `${name}, seed ${seed}: seeking to the end`);
        await frame.show(events.slice(0, start));
        await frame.feed(events.slice(start));
        assert.deepEqual(await drawn(frame), truth, `${name}, seed ${seed}: playing to the end`);
      }
      await frame.page.close();
    });
  }
});
