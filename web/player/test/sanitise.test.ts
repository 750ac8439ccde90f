import { describe, expect, test } from 'vitest';
import { type Assets, cleanAttributes } from '../src/frame/attributes.ts';
import { readCommands } from '../src/frame/canvas.ts';
import { eachNode, readEvent, type WireEvent, type WireNode } from '../src/frame/model.ts';
import { Page } from '../src/frame/page.ts';
import { cleanEvent, cleanTree } from '../src/frame/sanitise.ts';
import { readFromFrame, readToFrame } from '../src/protocol.ts';
import { hasCorpus, readCorpus } from './corpus.ts';

const clean = (tag: string, attributes: object, assets: Assets = 'none') =>
  cleanAttributes(tag, attributes, assets);

test.each([
  ['img', { onerror: 'x()' }],
  ['svg', { ONLOAD: 'x()' }],
  ['iframe', { srcdoc: '<script>' }],
  ['iframe', { src: 'https://a.test/' }],
  ['iframe', { sandbox: 'allow-scripts' }],
  ['a', { href: 'javascript:x()' }],
  ['a', { href: ' jav\tascript:x()' }],
  ['a', { href: '\u0001JaVaScRiPt:x()' }],
  ['a', { 'xlink:href': 'javascript:x()' }],
  ['a', { href: 'vbscript:x()' }],
  ['a', { href: 'data:text/html,x' }],
  ['a', { ping: 'https://a.test/' }],
  ['form', { action: 'https://a.test/' }],
  ['button', { formaction: 'javascript:x()' }],
  ['animate', { values: 'javascript:x()' }],
  ['meta', { 'http-equiv': 'refresh' }],
  ['link', { rel: 'dns-prefetch' }],
  ['img', { src: 'https://a.test/1.png' }],
  ['img', { src: '/1.png' }],
  ['img', { srcset: 'https://a.test/1.png 2x' }],
  ['video', { poster: 'https://a.test/1.png' }],
  ['body', { background: 'https://a.test/1.png' }],
  ['div', { '"><img src=x>': '' }],
  ['div', { constructor: 'x' }],
  ['div', { title: { toString: 'x' } }],
  ['a', { href: ['javascript:x()'] }],
  ['div', { onclick: ['x()'] }],
  ['animate', { attributeName: 'href' }],
  ['set', { attributeName: ' xlink:HREF ' }],
  ['set', { attributeName: 'onload' }],
  ['link', { rel: 'preconnect' }],
  ['link', { rel: 'stylesheet preload' }],
  ['link', { rel: 'speculationrules' }],
  ['img', { attributionsrc: 'https://a.test/' }],
  ['img', { src: ' data:text/html,x' }],
  ['img', { rr_dataURL: 'https://a.test/1.png' }],
  ['use', { href: 'data:image/svg+xml,x' }],
  ['math', { 'xlink:href': 'data:image/png,x' }],
  ['div', { src: 'data:image/png,x' }],
  ['div', { rr_mediaState: 'played' }],
  ['', { src: 'data:image/png,x' }],
])('on %s, %j goes', (tag, attributes) => {
  expect(clean(tag, attributes)).toEqual({});
});

test.each([
  ['img', { src: 'data:image/png;base64,AA==', alt: 'x', rr_width: '3px' }],
  ['a', { href: 'https://a.test/?q=1#x', class: 'b' }],
  ['use', { 'xlink:href': '#icon' }],
  ['div', { style: { color: 'red' }, 'data-x': 1, 'aria-label': 'y' }],
  ['style', { _cssText: 'a{}' }],
])('on %s, %j stays', (tag, attributes) => {
  expect(clean(tag, attributes)).toEqual(attributes);
});

test('media state is kept in the bounds in which the element does not throw', () => {
  const attributes = { rr_mediaState: 'played', rr_mediaVolume: 7, rr_mediaPlaybackRate: -1e308 };
  const kept = { rr_mediaState: 'played', rr_mediaVolume: 1, rr_mediaPlaybackRate: 0.0625 };
  expect(clean('video', attributes)).toEqual(kept);
});

test('remote assets are a choice, and only of the web', () => {
  expect(clean('img', { src: 'https://a.test/1.png' }, 'remote')).toEqual({ src: 'https://a.test/1.png' });
  expect(clean('img', { src: 'file:///etc/passwd' }, 'remote')).toEqual({});
  expect(clean('iframe', { src: 'https://a.test/' }, 'remote')).toEqual({});
  expect(clean('', { src: 'https://a.test/' }, 'remote')).toEqual({});
  expect(clean('use', { href: 'https://a.test/#x' }, 'remote')).toEqual({});
});

test('bad names and elements become harmless ones and keep their ids', () => {
  const root: WireNode = {
    type: 2,
    id: 1,
    tagName: 'body',
    attributes: {},
    childNodes: [
      {
        type: 2,
        id: 2,
        tagName: 'img src=x',
        attributes: {},
        childNodes: [{ type: 3, id: 3, textContent: 'kept' }],
      },
      {
        type: 2,
        id: 4,
        tagName: 'object',
        attributes: { data: 'x' },
        childNodes: [{ type: 3, id: 5, textContent: '' }],
      },
      { type: 4, id: 6, textContent: 'cdata' },
      null,
    ],
  };
  cleanTree(root, 'none', new Page());
  const seen: unknown[] = [];
  eachNode(root, (node) => seen.push([node.id, node.type, node.tagName]));
  expect(seen).toEqual([
    [1, 2, 'body'],
    [2, 2, 'div'],
    [3, 3, undefined],
    [4, 2, 'rc-object'],
    [6, 3, undefined],
  ]);
});

test('ten thousand frames are too many', () => {
  const frame = (id: number) => ({ type: 2, id, tagName: 'iframe', attributes: {}, childNodes: [] });
  const root: WireNode = {
    type: 0,
    id: 1,
    childNodes: [
      {
        type: 2,
        id: 2,
        tagName: 'html',
        attributes: {},
        childNodes: Array.from({ length: 10_000 }, (_, i) => frame(i + 3)),
      },
    ],
  };
  cleanTree(root, 'none', new Page());
  let frames = 0;
  eachNode(root, (node) => {
    if (node.tagName === 'iframe') frames++;
  });
  expect(frames).toBe(200);
});

const element = (id: number, tagName: string, childNodes: WireNode[] = [], more: object = {}): WireNode => ({
  type: 2,
  id,
  tagName,
  attributes: {},
  childNodes,
  ...more,
});
const snapshot = (...body: WireNode[]): WireEvent => ({
  type: 2,
  timestamp: 1,
  data: { node: { type: 0, id: 1, childNodes: [element(2, 'html', [element(3, 'body', body)])] } },
});
const mutation = (data: object): WireEvent => ({ type: 3, timestamp: 2, data: { source: 0, ...data } });
/** What is left of the last of these events. */
function left(...events: WireEvent[]): { data: Record<string, unknown>; page: Page } {
  const page = new Page();
  for (const event of events) cleanEvent(event, 'none', page);
  return { data: events.at(-1)?.data ?? {}, page };
}

test('scripts are none in any spelling and name space', () => {
  for (const tagName of ['script', 'SCRIPT', 'svg:script', 'x:Script']) {
    const event = snapshot(element(4, tagName, [], { isSVG: true }));
    left(event);
    expect(JSON.stringify(event)).toContain('"tagName":"noscript"');
    expect(JSON.stringify(event)).not.toContain('isSVG');
  }
});

const levels = (count: number) => {
  let deep = element(100_000, 'div');
  for (let i = 0; i < count; i++) deep = element(100_001 + i, 'div', [deep]);
  return deep;
};
const comments = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ type: 5, id: i + 10, textContent: '' }));
const sheet = (css: string) => element(4, 'style', [], { attributes: { _cssText: css } });
const png = `data:image/png;base64,${btoa('\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\x01\0\0\0\x01\0\0\x01\0\0\0')}`;
const crowded = Object.fromEntries(comments(600).map(({ id }) => [`d-${id}`, '']));
const uses = (count: number, attributes: object) => {
  const use = (id: number) => element(id, 'use', [], { isSVG: true, attributes: { href: '#a' } });
  const all = Array.from({ length: count }, (_, i) => use(100 + i));
  return element(4, 'svg', [element(5, 'g', all, { isSVG: true, attributes })], { isSVG: true });
};

test.each<[string, () => WireNode]>([
  ['nodes', () => element(4, 'div', comments(200_010))],
  ['depth', () => levels(1_000)],
  ['text', () => ({ type: 3, id: 4, textContent: 'x'.repeat(2_000_000) })],
  ['attributes', () => element(4, 'div', [], { attributes: crowded })],
  ['styles', () => sheet('a{}'.repeat(2_000_000))],
  ['styles', () => sheet('a{'.repeat(200))],
  ['pictures', () => element(4, 'img', [], { attributes: { src: png } })],
  ['shapes', () => uses(30, { id: 'b' })],
])('a page has only so much: %s', { timeout: 120_000 }, (what, body) => {
  expect([...left(snapshot(body())).page.leftOut]).toEqual([what]);
});

test('a picture that claims too much is none in a style sheet either', () => {
  const event = snapshot(sheet(`a{background:url(${png})}`));
  left(event);
  expect(JSON.stringify(event)).not.toContain('base64');
});

test('drawings that nothing can draw again may draw others without end', () => {
  expect(left(snapshot(uses(5_000, {}))).page.leftOut).toEqual(new Set());
  const event = mutation({ attributes: [{ id: 5, attributes: { id: 'b' } }] });
  expect(left(snapshot(uses(30, {})), event).page.leftOut).toEqual(new Set(['shapes']));
  expect(event.data['attributes']).toEqual([{ id: 5, attributes: {} }]);
});

test('what goes away makes room again', () => {
  const page = new Page();
  cleanEvent(snapshot(element(4, 'div')), 'none', page);
  for (let i = 0; i < 50; i++) {
    const text = { type: 3, id: 6, textContent: 'x'.repeat(1_000_000) };
    const adds = [
      { parentId: 4, nextId: null, node: element(5, 'p') },
      { parentId: 5, nextId: null, node: text },
    ];
    cleanEvent(mutation({ adds }), 'none', page);
    cleanEvent(mutation({ removes: [{ parentId: 4, id: 5 }] }), 'none', page);
  }
  expect(page.leftOut).toEqual(new Set());
});

test('moves cannot build what adds may not', () => {
  const page = new Page();
  const chain = (first: number) => {
    let node = element(first + 300, 'div');
    for (let i = 299; i >= 0; i--) node = element(first + i, 'div', [node]);
    return node;
  };
  cleanEvent(snapshot(chain(1000), chain(2000)), 'none', page);
  const move = mutation({ adds: [{ parentId: 1300, nextId: null, node: element(2000, 'div') }] });
  cleanEvent(move, 'none', page);
  expect(move.data['adds']).toEqual([]);
  const cycle = mutation({ adds: [{ parentId: 1300, nextId: null, node: element(1000, 'div') }] });
  cleanEvent(cycle, 'none', page);
  expect(cycle.data['adds']).toEqual([]);
});

test('a document only ever comes into a frame', () => {
  const document = () => ({ type: 0, id: 50, childNodes: [] });
  const inTree = snapshot(element(4, 'div', [document()]));
  left(inTree);
  expect(JSON.stringify(inTree)).not.toContain('"id":50');
  const add = (parentId: number) => mutation({ adds: [{ parentId, nextId: null, node: document() }] });
  const base = () => snapshot(element(4, 'div'), element(5, 'iframe'));
  expect(left(base(), add(4)).data['adds']).toEqual([]);
  expect(left(base(), add(5)).data['adds']).toHaveLength(1);
});

test('ids that are taken or none become others', () => {
  const event = snapshot(element(3, 'p'), element(3, 'p'), { ...element(0, 'p'), id: '7' as never });
  left(event);
  const ids: unknown[] = [];
  eachNode(event.data['node'] as WireNode, ({ id }) => ids.push(id));
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids.every(Number.isSafeInteger)).toBe(true);
});

test('a removal names the parent that the node has', () => {
  const remove = mutation({ removes: [{ parentId: 99, id: 4, isShadow: true }] });
  expect(left(snapshot(element(4, 'p')), remove).data['removes']).toEqual([
    { parentId: 3, id: 4, isShadow: false },
  ]);
});

test.each([
  [8, { adds: 'x', removes: 7 }, { adds: [], removes: [] }],
  [8, { adds: [{ rule: 'a{}', index: [-1] }] }, { adds: [], removes: [] }],
  [15, { styleIds: 'x', styles: {} }, { styleIds: [], styles: [] }],
  [14, { ranges: 'x' }, { ranges: [] }],
])('source %i with %j becomes %j', (source, data, expected) => {
  const event = { type: 3, timestamp: 2, data: { source, ...data } };
  expect(left(snapshot(), event).data).toEqual({ source, ...expected });
});

test.each([
  { source: 2, type: 99 },
  { source: 3, x: 'a', y: 0 },
  { source: 7, id: 3, type: 0, volume: 9 },
  { source: 10, family: 'x', fontSource: '2000000000', buffer: true },
  { source: 10, family: 'x', fontSource: 'url(https://a.test/f.woff2)' },
  { source: 13, index: 'x' },
  { source: 17 },
])('%j is left out', (data) => {
  const page = new Page();
  cleanEvent(snapshot(), 'none', page);
  expect(cleanEvent({ type: 3, timestamp: 2, data }, 'none', page)).toBe(false);
});

describe.skipIf(!hasCorpus)('corpus', () => {
  test('nothing that runs is left of the hostile page', () => {
    for (const stored of readCorpus('derived/hostile-page.json') as WireEvent[]) {
      const event = readEvent(JSON.stringify(stored));
      if (event === null || !cleanEvent(event, 'none', new Page())) continue;
      const names: string[] = [];
      JSON.stringify(event, (key, value: unknown) => {
        names.push(key);
        return value;
      });
      expect(names.filter((name) => /^on|srcdoc|http-equiv|ping|^"/.test(name))).toEqual([]);
      if (event.type === 2)
        expect(JSON.stringify(event)).not.toMatch(/"(href|src|xlink:href)":"[^"]*script:/);
    }
  });

  test('a page of five thousand levels needs no stack', () => {
    for (const stored of readCorpus('derived/deep-100.json') as WireEvent[])
      cleanEvent(stored, 'none', new Page());
  });
});

test('canvas commands outside the list are left out', () => {
  const command = (property: string, setter = false) => ({ property, args: [1], setter });
  const commands = [
    command('fillRect'),
    command('constructor'),
    command('__proto__', true),
    command('canvas', true),
    command('lineWidth', true),
  ];
  expect(readCommands({ commands }).map(({ property }) => property)).toEqual(['fillRect', 'lineWidth']);
});

test('messages that do not fit the protocol are ignored', () => {
  for (const value of [
    null,
    1,
    'show',
    {},
    { kind: 'show' },
    { kind: 'show', ticket: 1, events: [1] },
    { kind: 'animate', running: 1 },
  ]) {
    expect(readToFrame(value)).toBeNull();
  }
  expect(readToFrame({ kind: 'feed', ticket: 1, events: ['{}'], more: 1 })).toEqual({
    kind: 'feed',
    ticket: 1,
    events: ['{}'],
  });
  expect(readFromFrame({ kind: 'viewport', width: Number.NaN, height: 1 })).toBeNull();
  expect(readFromFrame({ kind: 'ready' })).toEqual({ kind: 'ready' });
});
