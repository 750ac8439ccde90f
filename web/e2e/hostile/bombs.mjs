/**
 * Recordings that are too much: each would exhaust or freeze a tab that took it as it stands. `tells` is what the
 * player must say that it left out; where it is missing, all of it can be drawn.
 */
import { deflateSync } from 'node:zlib';
import { h, Recording, svg, t } from './recording.mjs';

const many = (count, make) => Array.from({ length: count }, (_, i) => make(i));

/** A picture of a few kilobytes that claims to be a gigabyte of pixels. */
function hugePng(side) {
  const table = many(256, (n) => {
    let crc = n;
    for (let k = 0; k < 8; k++) crc = crc & 1 ? 0xedb88320 ^ (crc >>> 1) : crc >>> 1;
    return crc >>> 0;
  });
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    let crc = 0xffffffff;
    for (const byte of body) crc = table[(crc ^ byte) & 255] ^ (crc >>> 8);
    const out = Buffer.alloc(body.length + 8);
    out.writeUInt32BE(data.length, 0);
    body.copy(out, 4);
    out.writeUInt32BE((crc ^ 0xffffffff) >>> 0, body.length + 4);
    return out;
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(side, 0);
  head.writeUInt32BE(side, 4);
  head[8] = 1;
  const rows = deflateSync(Buffer.alloc(side * (1 + Math.ceil(side / 8))), { level: 9 });
  const signature = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
  const parts = [signature, chunk('IHDR', head), chunk('IDAT', rows), chunk('IEND', Buffer.alloc(0))];
  return `data:image/png;base64,${Buffer.concat(parts).toString('base64')}`;
}

const command = (property, args, setter) => ({ property, args, ...(setter ? { setter: true } : {}) });

export const BOMBS = [
  {
    name: 'a hundred thousand views of a mobile screen',
    tells: /views past 20,000/,
    make() {
      const recording = new Recording();
      return recording.push(2, {
        wireframes: many(100_000, (i) => ({ id: i + 1, type: 'text', text: 'x', x: 0, y: 0 })),
      });
    },
  },
  {
    name: 'views of a mobile screen that are deep in each other',
    tells: /views past 20,000 or more than 100 levels deep/,
    make() {
      let view = { id: 1 };
      for (let id = 2; id < 300; id++) view = { id, childWireframes: [view] };
      return new Recording().push(2, { wireframes: [view] });
    },
  },
  {
    name: 'four hundred thousand nodes',
    tells: /nodes past 200,000/,
    make() {
      const recording = new Recording().snapshot([]);
      recording.last.childNodes = many(400_000, (i) => ({ type: 5, id: 1000 + i, textContent: '' }));
      return recording;
    },
  },
  {
    name: 'nodes by mutation without end',
    tells: /nodes past 200,000/,
    make() {
      const recording = new Recording().snapshot([]).after(100);
      for (let part = 0; part < 25; part++) {
        const adds = many(10_000, (i) => ({
          parentId: 5,
          nextId: null,
          node: { type: 5, id: 100 + part * 10_000 + i, textContent: '' },
        }));
        recording.increment(0, { adds, removes: [], texts: [], attributes: [] }).after(10);
      }
      return recording;
    },
  },
  {
    name: 'levels without end',
    tells: /512 levels/,
    make() {
      const deep = new Recording().snapshot([h('p', {}, t('not lost'))]);
      const root = { ...h('div'), id: 1000 };
      let at = root;
      for (let i = 0; i < 400; i++) {
        const child = { ...h('div'), id: 1001 + i };
        at.childNodes.push(child);
        at = child;
      }
      deep.last.childNodes.push(root);
      const adds = many(3_000, (i) => ({
        parentId: i === 0 ? 5 : 20_000 + i - 1,
        nextId: null,
        node: { ...h('b'), id: 20_000 + i },
      }));
      return deep.after(200).increment(0, { adds, removes: [], texts: [], attributes: [] });
    },
  },
  {
    name: 'twenty thousand frames',
    tells: /frames past 200/,
    make: () => new Recording().snapshot(many(20_000, () => h('iframe'))),
  },
  {
    name: 'text, attributes and styles without end',
    tells: /(?=.*attributes past 500)(?=.*text past 1 MB)(?=.*style sheets past 4 MB)/,
    make: () =>
      new Recording().snapshot(
        [
          h('p', Object.fromEntries(many(20_000, (i) => [`data-a${i}`, 'x']))),
          h('p', {}, t('word '.repeat(1_000_000))),
          h('p', {}, t('kept')),
        ],
        [
          h('style', { _cssText: '.a > .b { color: red }\n'.repeat(220_000) }),
          h('style', { _cssText: 'p { color: green }' }),
        ],
      ),
  },
  {
    name: 'style sheets that are hard to read',
    tells: /style sheets past/,
    make: () =>
      new Recording().snapshot(
        [h('p', {}, t('kept'))],
        [
          h('style', { _cssText: 'a{'.repeat(50_000) }),
          h('style', { _cssText: '@media (min-width:1px){'.repeat(20_000) }),
          h('style', { _cssText: `${many(20_000, (i) => `.x${i}:hover`).join(',')} { color: red }` }),
          h('style', { _cssText: `a${':hover'.repeat(20_000)} { color: red }` }),
          h('style', { _cssText: `a${':not('.repeat(5_000)}b${')'.repeat(5_000)} { color: red }` }),
          h('style', { _cssText: `a { b: ${'('.repeat(200_000)} }` }),
          h('style', { _cssText: `a { b: ${'calc('.repeat(20_000)}1px }` }),
          h('style', { _cssText: `a { background: ${'url('.repeat(200_000)} }` }),
          h('style', { _cssText: '/*'.repeat(500_000) }),
          h('style', {
            _cssText: `:root { --a0: x; ${many(60, (i) => `--a${i + 1}: var(--a${i}) var(--a${i})`).join(';')} } p::before { content: var(--a60) }`,
          }),
          h('style', { _cssText: `p { box-shadow: ${many(2_000, (i) => `${i}px 0 red`).join()} }` }),
          h('style', {
            _cssText: `p { grid-template-columns: repeat(1000000, 1px); display: grid; width: 1e9px; height: 1e9px }`,
          }),
        ],
      ),
  },
  {
    name: 'drawings of drawings',
    tells: /drawings of drawings past 24/,
    make() {
      const layers = many(30, (i) =>
        svg('g', { id: `l${i + 1}` }, ...many(10, () => svg('use', { href: `#l${i}` }))),
      );
      const drawing = svg('svg', {}, svg('g', { id: 'l0' }, svg('path', { d: 'M0 0L1 1' })), ...layers);
      return new Recording().snapshot([drawing, h('p', {}, t('kept'))]);
    },
  },
  {
    name: 'canvases of gigabytes',
    tells: /(?=.*canvases past 200)(?=.*pictures past 32 million)/,
    make() {
      const recording = new Recording();
      const png = hugePng(20_000);
      const canvases = many(300, (i) => ({ ...h('canvas', { width: '400', height: '400' }), id: 1000 + i }));
      const huge = { ...h('canvas', { width: '100000', height: '100000', rr_dataURL: png }), id: 900 };
      const small = { ...h('canvas', { width: '60', height: '40' }), id: 901 };
      recording.snapshot([small, huge, h('img', { src: png, width: '20' }), ...canvases]).after(100);
      for (const { id } of [huge, ...canvases])
        recording.increment(9, { id, type: 0, commands: [command('fillRect', [0, 0, 9, 9])] });
      const commands = [
        command('fillStyle', ['#00ff00'], true),
        command('beginPath', []),
        ...many(60_000, (i) => command('lineTo', [i % 60, i % 40])),
        ...many(200, () => command('stroke', [])),
        ...many(50_000, () => command('save', [])),
        command('fillText', ['x'.repeat(200_000), 0, 0]),
        command('drawImage', [{ rr_type: 'HTMLImageElement', src: png }, 0, 0]),
        command('setLineDash', [many(10_000, () => 1)]),
        command('fillRect', [0, 0, 60, 40]),
      ];
      return recording.increment(9, { id: 901, type: 0, commands });
    },
  },
  {
    name: 'a window of a billion pixels',
    tells: /outside a window of 10,000 pixels/,
    make: () =>
      new Recording({ width: 1e9, height: 1e9 })
        .snapshot([
          h('p', { style: 'width:1e9px;height:1e9px;background:linear-gradient(red,blue)' }, t('kept')),
        ])
        .after(100)
        .increment(4, { width: -5, height: 1e308 })
        .increment(4, { width: 'x', height: null })
        .increment(3, { id: 1, x: 1e308, y: -1e308 })
        .increment(1, {
          positions: many(20_000, (i) => ({ x: 1e308 * (i % 3), y: -i, id: 5, timeOffset: -1e308 })),
        }),
  },
  {
    name: 'a storm of events',
    make() {
      const recording = new Recording()
        .snapshot([{ ...h('p', {}, { ...t('x'), id: 101 }), id: 100 }])
        .after(300);
      for (let i = 0; i < 15_000; i++) {
        recording.increment(0, {
          adds: [],
          removes: [],
          texts: [{ id: 101, value: `${i}` }],
          attributes: [{ id: 100, attributes: { title: `${i}` } }],
        });
        recording.increment(2, { type: i % 11, id: 100, x: i, y: i });
      }
      for (let i = 0; i < 3_000; i++) {
        const node = { ...h('b', { class: 'x' }), id: 200 };
        recording.increment(0, {
          adds: [{ parentId: 5, nextId: null, node }],
          removes: [],
          texts: [],
          attributes: [],
        });
        recording.increment(0, { adds: [], removes: [{ parentId: 5, id: 200 }], texts: [], attributes: [] });
      }
      return recording;
    },
  },
  {
    name: 'animations without end',
    tells: /animations, of which there are more than 300/,
    make: () =>
      new Recording().snapshot(
        many(1_000, (i) => h('p', { style: `animation: k ${(i % 7) + 1}ms infinite alternate` }, t('x'))),
        [
          h('style', {
            _cssText:
              '@keyframes k { to { transform: rotate(1turn) scale(9); filter: blur(9px); width: 100vw } }',
          }),
        ],
      ),
  },
];

/** What is wrong in itself: ids, shapes, numbers and keys that no recorder writes. */
export function nonsense() {
  const recording = new Recording();
  const canvas = { ...h('canvas', { width: '60', height: '40' }), id: 50 };
  const video = {
    ...h('video', {
      rr_mediaVolume: 99,
      rr_mediaPlaybackRate: -1,
      rr_mediaCurrentTime: 1e308,
      rr_mediaState: 'played',
    }),
    id: 51,
  };
  const odd = [
    { ...h('p', {}, t('twice')), id: 52 },
    { ...h('p', {}, t('twice')), id: 52 },
    { ...h('div', {}, { ...h('p'), id: 5 }), id: 53 },
    { ...h('p', {}, t('text id')), id: '54' },
    { ...h('p', {}, t('no number')), id: 1.5 },
    { ...h('p', {}, t('too big')), id: 1e300 },
    { ...h('input', { value: 'x', isShadowHost: 'x' }), id: 56, isShadowHost: true },
    svg('svg', {}, { ...svg('g'), isShadowHost: true }),
    { ...h('p', { rr_mediaState: 'played', rr_width: {}, rr_open_mode: 7 }), id: 57 },
    { type: 2, id: 58, tagName: 7, attributes: 'x', childNodes: 'x' },
    { type: 99, id: 59 },
    { ...h('p', {}, t('\ud800 lone \udfff surrogates, NUL \0, \u202eback to front\u202c')), id: 60 },
  ];
  recording.snapshot([canvas, video, ...odd, h('p', {}, t('not lost'))]).after(100);
  const run = (property, args, setter) =>
    recording.increment(9, { id: 50, type: 0, commands: [command(property, args, setter)] });
  const code = 'top.__pwned = 1; try { __ran("canvas") } catch (e) {}';
  for (const property of [
    'constructor',
    '__proto__',
    'toString',
    'valueOf',
    '__defineGetter__',
    '__lookupGetter__',
    'canvas',
    'getContext',
    'toDataURL',
    'toBlob',
    'transferControlToOffscreen',
    'createPattern',
    'getImageData',
    'constructor.constructor',
    'isPointInPath',
    'drawFocusIfNeeded',
    'commit',
  ]) {
    run(property, [code]);
    run(property, [{ polluted: 'yes' }], true);
  }
  for (const rr_type of [
    'Function',
    'AsyncFunction',
    'constructor',
    '__proto__',
    'Window',
    'eval',
    'Worker',
    'WebSocket',
    'Image',
    'HTMLImageElement',
    'ImageBitmap',
    'Blob',
    'ImageData',
    'Uint8ClampedArray',
    'FontFace',
    'URL',
    'Proxy',
    'SharedArrayBuffer',
  ])
    for (const more of [
      { args: [code] },
      { src: 'http://c-canvas.nonsense.canary.test/x', index: 0 },
      { data: [{ rr_type: 'ArrayBuffer', base64: '!!' }], args: [[1e9], 1e9, 1e9] },
    ])
      run('drawImage', [{ rr_type, ...more }, 0, 0]);
  run('filter', ['url(http://c-filter.nonsense.canary.test/x#a)'], true);
  run('font', ['12px url(http://c-font.nonsense.canary.test/x)'], true);
  run('fillStyle', [JSON.parse('{"__proto__":{"polluted":1},"rr_type":"__proto__"}')], true);
  recording.increment(9, {
    id: 50,
    type: 1,
    commands: [
      command('shaderSource', [{ rr_type: 'WebGLShader', index: 0 }, code]),
      command('texImage2D', [
        0,
        0,
        0,
        { rr_type: 'HTMLImageElement', src: 'http://c-gl.nonsense.canary.test/x' },
      ]),
    ],
  });
  recording.increment(9, { id: 50, property: 'constructor', args: [code] });
  recording.increment(9, { id: 'constructor', type: 0, commands: 'x' });
  for (const data of [
    { adds: 'x', removes: 7, texts: null, attributes: {} },
    {
      adds: [
        null,
        1,
        {},
        { parentId: 5 },
        { parentId: 5, node: null },
        { parentId: 'x', node: h('p') },
        { parentId: 5, nextId: 'x', node: { type: 2 } },
      ],
    },
    {
      adds: [
        { parentId: 70, nextId: null, node: { ...h('p'), id: 70 } },
        { parentId: 72, nextId: null, node: { ...h('p'), id: 71 } },
        { parentId: 71, nextId: null, node: { ...h('p'), id: 72 } },
      ],
    },
    {
      adds: [
        { parentId: 5, nextId: 999_999, node: { ...h('p', {}, t('x')), id: 73 } },
        { parentId: 73, nextId: null, node: { ...h('p'), id: 5 } },
        { parentId: 73, nextId: null, node: { ...h('p'), id: 1 } },
      ],
    },
    {
      adds: [
        { parentId: 5, nextId: null, node: { type: 0, id: 80, childNodes: [] } },
        { parentId: 1, nextId: null, node: { ...t('text in a document'), id: 81 } },
        { parentId: 5, nextId: null, node: { type: 1, id: 82, name: '"', publicId: 1, systemId: {} } },
      ],
    },
    {
      removes: [
        { parentId: 1, id: 52 },
        { parentId: 5, id: 1 },
        { parentId: 3, id: 3 },
        { id: '5' },
        { parentId: 5, id: 57, isShadow: true },
      ],
    },
    {
      texts: [
        { id: 5, value: 'instead of everything' },
        { id: 1, value: 'x' },
        { id: 52, value: { a: 1 } },
      ],
    },
    {
      attributes: [
        { id: 5, attributes: null },
        { id: 1, attributes: { x: 'y' } },
        { id: 53, attributes: { style: { x: { y: 1 } }, 'a b': 'c', '': 'd' } },
      ],
    },
  ])
    recording.increment(0, data);
  for (const [source, data] of [
    [1, { positions: 'x' }],
    [1, { positions: [null, { x: 'a' }] }],
    [2, { type: 7.5, id: 5 }],
    [2, { type: 99, id: 5 }],
    [2, { type: 5, id: 5 }],
    [2, {}],
    [3, { id: 5, x: null, y: {} }],
    [4, {}],
    [5, { id: 51, text: { a: 1 }, isChecked: 'x' }],
    [5, { id: 5, text: 'x' }],
    [7, { id: 51, type: 0, volume: 1e308, playbackRate: -5, currentTime: -1 }],
    [7, { id: 5, type: 0 }],
    [8, { id: 5, adds: 'x', removes: { a: 1 } }],
    [8, { id: 5, adds: [{ rule: 7, index: 'x' }] }],
    [8, { styleId: 'x', replace: 7 }],
    [10, { family: 'x', fontSource: '2000000000', buffer: true }],
    [10, { family: {}, fontSource: [] }],
    [10, { family: 'y', fontSource: 'url(http://c-face.nonsense.canary.test/x)' }],
    [13, { id: 5, index: 'x', set: 7 }],
    [13, { styleId: 1, index: [1e9], set: { property: 7, value: {} } }],
    [14, { ranges: [{ start: 5, startOffset: -1, end: 1e9, endOffset: 'x' }] }],
    [15, { id: 1, styleIds: 'x', styles: 'y' }],
    [15, { id: 5, styleIds: many(5_000, (i) => i), styles: [{ styleId: 1, rules: 'x' }] }],
    [16, { define: { name: 'script' } }],
    [17, {}],
    [-1, {}],
    ['0', { adds: [] }],
    [1e308, {}],
  ])
    recording.increment(source, data);
  recording.push(7, {
    url: 'http://c-asset.nonsense.canary.test/x',
    payload: { rr_type: 'CssText', cssTexts: ['@import "http://c-asset.nonsense.canary.test/y"'] },
  });
  recording.push(8, { type: 'caption', text: '<img src=x onerror=1>' });
  recording.push(4, null).push(3, null).push(99, []);
  return recording.end();
}
