// The replay frame on its own: the player's real frame document, driven through its port, and the tree it draws.

import assert from 'node:assert/strict';

/** Lets the tests see which recorded node a drawn one is: rrweb keeps that in a map of its own. */
function rememberIds() {
  const ids = new WeakMap();
  const { set } = WeakMap.prototype;
  WeakMap.prototype.set = function (key, value) {
    if (key?.nodeType > 0 && typeof value?.id === 'number') set.call(ids, key, value.id);
    return set.call(this, key, value);
  };
  window.recordedIds = ids;
}

/** Leads a page to an empty document of the server's origin, without the policy of an answer that is no page. */
export async function goToEmptyPage(page, server) {
  const address = `${server.url}/player/empty`;
  await page.route(address, (route) => route.fulfill({ contentType: 'text/html', body: '<!doctype html>' }));
  await page.goto(address);
}

/** Opens the frame in a page of its own. */
export async function openFrame(context, server) {
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  await page.addInitScript(rememberIds);
  await goToEmptyPage(page, server);
  await page.evaluate(async () => {
    document.body.replaceChildren();
    const frame = document.createElement('iframe');
    Object.assign(frame.style, { position: 'fixed', inset: 0, width: '100%', height: '100%', border: 0 });
    frame.src = '/player/frame';
    document.body.append(frame);
    await new Promise((done) => frame.addEventListener('load', done, { once: true }));
    const { port1, port2 } = new MessageChannel();
    const answers = new Map();
    let tickets = 0;
    const ready = new Promise((done) => {
      port1.onmessage = ({ data }) => {
        if (data.kind === 'ready') done();
        answers.get(data.ticket)?.(data);
      };
    });
    frame.contentWindow.postMessage({ kind: 'reelcase-connect' }, location.origin, [port2]);
    window.send = (kind, events) => {
      const ticket = ++tickets;
      port1.postMessage({ kind, ticket, events });
      return new Promise((done) => answers.set(ticket, done));
    };
    await ready;
  });
  const send = (kind, events) =>
    page.evaluate(
      ([name, texts]) => window.send(name, texts),
      [kind, events.map((event) => (typeof event === 'string' ? event : JSON.stringify(event)))],
    );
  return {
    page,
    errors,
    /** Builds the page that these events make. */
    async show(events) {
      const shown = await send('show', events);
      assert.ok(shown.ok, 'the frame shows the page');
    },
    /** Applies more events to it. */
    feed: (events) => send('feed', events),
    tree: () => readTree(page),
  };
}

/**
 * What is drawn, in document order: `[id, parent id, name, { text, attributes, place }]`. A shadow root and the document
 * of a frame count as children of their element. What the replayer adds of its own has no id: 0.
 */
export async function readTree(page) {
  const frame = page.frames().find((item) => item.url().startsWith('data:'));
  return frame.evaluate(() => {
    const scene = [...document.querySelectorAll('.scene')].at(-1);
    const rows = [];
    const stack = [[scene.querySelector('iframe').contentDocument, 0, '']];
    const push = (nodes, parent, place) => {
      for (const node of [...nodes].reverse()) stack.push([node, parent, place]);
    };
    while (stack.length > 0) {
      const [node, parent, place] = stack.pop();
      const id = window.recordedIds.get(node) ?? 0;
      const more = { place };
      let name = node.nodeName.toLowerCase();
      if (node.nodeType === 10) name = '#doctype';
      if ([3, 4, 8].includes(node.nodeType)) more.text = node.data;
      if (node.nodeType === 1) {
        more.attributes = Object.fromEntries([...node.attributes].map((item) => [item.name, item.value]));
        // Live state, which no attribute tells.
        if ('value' in node && ['INPUT', 'TEXTAREA', 'SELECT'].includes(node.tagName))
          more.value = node.value;
        if ('checked' in node) more.checked = node.checked;
      }
      rows.push([id, parent, name, more]);
      push(node.childNodes, id, '');
      if (node.shadowRoot) push(node.shadowRoot.childNodes, id, 'shadow');
      if (node.nodeName === 'IFRAME' && node.contentDocument && window.recordedIds.has(node.contentDocument))
        push([node.contentDocument], id, 'iframe');
    }
    return rows;
  });
}

/** Attributes that load something: without the viewer's consent the player drops them. */
const LOADS = new Set(['src', 'srcset', 'href', 'xlink:href', 'poster', 'action', 'background', 'data']);
/** Attributes that a replayer writes for itself. */
const REPLAYERS = /^rrweb-original-|^csp-content$/;

/**
 * Whether the player leaves out an attribute on purpose: handlers, what loads from elsewhere, what steers the browser.
 * These are all the liberties that it takes.
 */
function mayLack(name, attribute, value) {
  if (/^_?on/.test(attribute)) return true;
  // Scripts are shown as noscript, and nothing of them is of use.
  if (name === 'noscript') return true;
  if (LOADS.has(attribute) && name !== 'a' && name !== 'area') return !/^(#|data:image)/.test(value);
  // A link that would run something leads nowhere.
  if (/^\s*javascript:/i.test(value)) return true;
  if (name === 'link' && attribute === 'rel') return !/^stylesheet$/i.test(value);
  if (name === 'meta') return ['content', 'http-equiv'].includes(attribute);
  return ['sandbox', 'target', 'autofocus', 'autoplay', 'download', 'integrity', 'allow', 'usemap'].includes(
    attribute,
  );
}

/** What a recorded element is drawn as. */
function drawnName(name) {
  if (name === 'script') return 'noscript';
  return /^(object|embed|base|frame|param|portal)$/.test(name) ? `rc-${name}` : name;
}

/** Leaves out what the answers have on account of the replayer that gave them. */
function expectedRows(rows) {
  const seen = new Set();
  // The text of a style element may be listed twice.
  return rows.filter(([id]) => !seen.has(id) && seen.add(id));
}

/** Documents of frames of other origins, which the answers may lack, with all that is in them. */
function withoutUnaskedDocuments(found, expected) {
  const asked = new Set(expected.map(([id]) => id));
  const left = new Set();
  return found.filter(([id, parent, name]) => {
    const isLeft = (name === '#document' && parent !== 0 && !asked.has(id)) || left.has(parent);
    if (isLeft) left.add(id);
    return !isLeft;
  });
}

/**
 * Compares what is drawn with rows of `[id, parent id, name, flag?, { text, attrs, value, checked }?]`, all in document
 * order. `root` names the element below which rows are given, if that is not all.
 */
export async function assertTree(frame, rows, what, root) {
  const expected = expectedRows(rows);
  const recorded = (await frame.tree()).filter(([id]) => id > 0);
  const below =
    root === undefined ? recorded : recorded.slice(recorded.findIndex(([, , name]) => name === root));
  const found = withoutUnaskedDocuments(below, expected);
  const line = ([id, parent, name]) => `${id} in ${parent}: ${drawnName(name)}`;
  assert.deepEqual(found.map(line), expected.map(line), `${what}: nodes`);
  const styles = [];
  expected.forEach(([id, , name, ...more], at) => {
    const drawn = found[at][3];
    const isShadow = more.includes('shadow');
    assert.equal(drawn.place === 'shadow', isShadow, `${what}: node ${id} is in a shadow tree`);
    const truth = more.find((item) => typeof item === 'object') ?? {};
    const parent = found.find(([other]) => other === found[at][1])?.[2];
    // Style sheets are rewritten for the replay; text of scripts is a placeholder.
    if (truth.text !== undefined && parent !== 'style' && parent !== 'noscript')
      assertText(drawn.text, truth.text, `${what}: text of ${id}`);
    for (const [attribute, value] of Object.entries(truth.attrs ?? {})) {
      if (REPLAYERS.test(attribute)) continue;
      const actual = drawn.attributes[attribute];
      if (actual === undefined && mayLack(drawnName(name), attribute, value)) continue;
      if (attribute === 'style') styles.push([actual ?? '', value, `${what}: style of ${id}`]);
      else
        assertText(
          actual && comparable(attribute, actual),
          comparable(attribute, value),
          `${what}: ${attribute} of ${id}`,
        );
    }
    for (const state of ['value', 'checked'])
      if (truth[state] !== undefined) assert.equal(drawn[state], truth[state], `${what}: ${state} of ${id}`);
  });
  await assertStyles(frame.page, styles);
}

/** An attribute without classes that tell where the pointer is and whether the replay stands still, nor what they move. */
function comparable(attribute, text) {
  if (attribute !== 'class') return text;
  const names = text.split(/\s+/).filter((name) => !['', ':hover', 'rrweb-paused'].includes(name));
  return names.join(' ');
}

/** Long texts are cut in the answers. */
function assertText(actual, expected, what) {
  if (expected.endsWith('…')) assert.ok(actual?.startsWith(expected.slice(0, -1)), what);
  else assert.equal(actual, expected, what);
}

/** Styles may be written in several ways and mean the same. */
async function assertStyles(page, styles) {
  const differing = styles.filter(([actual, expected]) => actual !== expected && !expected.endsWith('…'));
  const read = await page.evaluate(
    (pairs) =>
      pairs.map((pair) =>
        pair.slice(0, 2).map((text) => {
          const element = document.createElement('i');
          element.style.cssText = text;
          return [...element.style]
            .map((name) => `${name}: ${element.style.getPropertyValue(name)}`)
            .sort()
            .join('; ');
        }),
      ),
    differing,
  );
  for (const [at, [actual, expected]] of read.entries()) assert.equal(actual, expected, differing[at][2]);
}
