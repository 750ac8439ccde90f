import { describe, expect, test } from 'vitest';
import { readCommands } from '../src/frame/canvas.ts';
import { eachNode, readEvent, type WireEvent, type WireNode } from '../src/frame/model.ts';
import { type Assets, Budget, cleanAttributes, cleanEvent, cleanTree } from '../src/frame/sanitise.ts';
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

test('remote assets are a choice, and only of the web', () => {
  expect(clean('img', { src: 'https://a.test/1.png' }, 'remote')).toEqual({ src: 'https://a.test/1.png' });
  expect(clean('img', { src: 'file:///etc/passwd' }, 'remote')).toEqual({});
  expect(clean('iframe', { src: 'https://a.test/' }, 'remote')).toEqual({});
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
  cleanTree(root, 'none', new Budget());
  const seen: unknown[] = [];
  eachNode(root, (node) => seen.push([node.id, node.type, node.tagName]));
  expect(seen).toEqual([
    [1, 2, 'body'],
    [2, 2, 'div'],
    [3, 3, undefined],
    [4, 2, 'div'],
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
  cleanTree(root, 'none', new Budget());
  let frames = 0;
  eachNode(root, (node) => {
    if (node.tagName === 'iframe') frames++;
  });
  expect(frames).toBe(200);
});

describe.skipIf(!hasCorpus)('corpus', () => {
  test('nothing that runs is left of the hostile page', () => {
    for (const stored of readCorpus('derived/hostile-page.json') as WireEvent[]) {
      const event = readEvent(JSON.stringify(stored));
      if (event === null || !cleanEvent(event, 'none', new Budget(), () => 'a')) continue;
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
      cleanEvent(stored, 'none', new Budget(), () => '');
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
