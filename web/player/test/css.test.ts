import { expect, test } from 'vitest';
import { withoutAddresses } from '../src/frame/css.ts';
import { hasCorpus, readCorpus } from './corpus.ts';

const NONE = 'url("data:,")';

test.each([
  ['a{background:url(http://a.test/x)}', `a{background:${NONE}}`],
  ['a{background:url( "http://a.test/(x)" ) red}', `a{background:${NONE} red}`],
  ["a{background:URL('//a.test/x')}", `a{background:${NONE}}`],
  ['a{background:\\75 rl(x.png)}', `a{background:${NONE}}`],
  ['a{background:u\\72l("x")}', `a{background:${NONE}}`],
  ['a{background:url(http://a.test/x', `a{background:${NONE}`],
  ['a{background:url("http://a.test/x', `a{background:${NONE}`],
  ['a{background:url(a\\)b)}', `a{background:${NONE}}`],
  ['a{background:image-set("x.png" 1x, url(y) 2x)}', `a{background:image-set("data:," 1x, ${NONE} 2x)}`],
  ['a{background:image-set(linear-gradient(red, blue) 1x)}b{content:"x"}', null],
  ['a{background:src("x")}', 'a{background:src("data:,")}'],
  ['@import "x";a{}', 'a{}'],
  ['@import url("a;b") screen;a{}', 'a{}'],
  ['@\\69mport url(x) layer(a);a{}', 'a{}'],
  ['@import "x"', ''],
  ['/* url(x) */a{content:"url(x)"}', null],
  ['a{background:url(data:image/png;base64,AA==)}', null],
  ['a{filter:url(#f);mask:url("#m")}', null],
  ['.curl-url{color:red}.a\\:url{}', null],
  ['a::after{content:"\\"url(x)"}', null],
  ['@media (min-width:1px){a{color:red}}@layer a;@font-face{src:local("A")}', null],
])('%j becomes %j', (css, expected) => {
  expect(withoutAddresses(css)).toBe(expected ?? css);
});

test('a megabyte of brackets and quotes takes no longer than a megabyte of rules', () => {
  for (const piece of ['(', 'url(', '"', '\\', '@import ', "'(", '/*', 'image-set(']) {
    expect(withoutAddresses(piece.repeat(1 << 17)).length).toBeGreaterThanOrEqual(0);
  }
});

test.skipIf(!hasCorpus)('style sheets of real pages keep all but their addresses', () => {
  const text = JSON.stringify(readCorpus('recorded/rrweb-2.2.2-shop.json'));
  const sheets = [...text.matchAll(/"_cssText":("(?:[^"\\]|\\.)*")/g)].map(
    ([, css]) => JSON.parse(css ?? '""') as string,
  );
  expect(sheets.length).toBeGreaterThan(0);
  const known = (css: string) => css.replace(/url\((?!["']?(data|#))("[^"]*"|'[^']*'|[^)]*)\)/g, NONE);
  for (const css of sheets) expect(withoutAddresses(css)).toBe(known(css));
});
