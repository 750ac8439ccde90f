import { expect, test } from 'vitest';
import { adaptCss } from '../src/frame/hover.ts';

test.each([
  // Rules for what the pointer is over.
  ['a:hover{color:red}', 'a:hover,a.\\:hover{color:red}'],
  ['a:hover b:hover {}', 'a:hover b:hover ,a.\\:hover b.\\:hover {}'],
  ['a, b:hover{}', 'a, b:hover, b.\\:hover{}'],
  ['a:hover,b{}', 'a:hover,b,a.\\:hover{}'],
  ['a:is(b,c:hover),d{}', 'a:is(b,c:hover),d,a:is(b,c.\\:hover){}'],
  ['a:not(:hover){}', 'a:not(:hover),a:not(.\\:hover){}'],
  ['a:hover::before{}', 'a:hover::before,a.\\:hover::before{}'],
  ['@media print{a{}b:hover{}}c:hover{}', '@media print{a{}b:hover,b.\\:hover{}}c:hover,c.\\:hover{}'],
  ['a{color:red;&:hover{color:blue}}', 'a{color:red;&:hover,&.\\:hover{color:blue}}'],
  ['/* a, b{ */ a:hover{}', '/* a, b{ */ a:hover, a.\\:hover{}'],
  ['a[title="},{"],b:hover{}', 'a[title="},{"],b:hover,b.\\:hover{}'],
  // Names that only look like it.
  ['.sm\\:hover\\:bold:hover{}', '.sm\\:hover\\:bold:hover,.sm\\:hover\\:bold.\\:hover{}'],
  ['.hover\\:a{}.\\:hover{}', null],
  ['a:hover-card{}', null],
  ['@page :hover{}', null],
  // Texts and addresses in which brackets and semicolons mean nothing.
  ['a{--x:":hover{"}b:hover{}', 'a{--x:":hover{"}b:hover,b.\\:hover{}'],
  ['a{b:url(data:x;y{,z)}c:hover{}', 'a{b:url(data:x;y{,z)}c:hover,c.\\:hover{}'],
  ['a{b:url( "x;y{" )}c:hover{}', 'a{b:url( "x;y{" )}c:hover,c.\\:hover{}'],
  ['a{b:url(x\\);{)}c:hover{}', 'a{b:url(x\\);{)}c:hover,c.\\:hover{}'],
  ['a{x:(;)}c:hover{}', 'a{x:(;)}c:hover,c.\\:hover{}'],
  // Sizes of the recorded screen.
  ['@media (max-device-width:9px){a{}}', '@media (max-width:9px){a{}}'],
  [
    '/**/@media (min-device-height:9px) and (max-device-width:1px){}',
    '/**/@media (min-height:9px) and (max-width:1px){}',
  ],
  ['@import url(data:,) (min-device-width:1px);', '@import url(data:,) (min-width:1px);'],
  ['.a-device-width{}', null],
  // What is broken stays what it was.
  ['a:hover', null],
  ['a:hover}b:hover{', 'a:hover}b:hover,b.\\:hover{'],
  ['a{content:"\n}b:hover{}', 'a{content:"\n}b:hover,b.\\:hover{}'],
  ['/* a:hover{}', null],
  ['', null],
])('%j becomes %j', (css, expected) => {
  expect(adaptCss(css)).toBe(expected ?? css);
});

test('time grows with the length of a style sheet alone', () => {
  const pieces = [
    'a:hover,',
    ':hover(',
    'url(',
    '/*',
    '"',
    '\\',
    'a:hover{',
    'a,',
    ';',
    '@media (max-device-width:1px){',
  ];
  for (const piece of pieces) adaptCss(`:hover${piece.repeat(50_000)}`);
});
