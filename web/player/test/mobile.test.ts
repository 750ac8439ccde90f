import { describe, expect, test } from 'vitest';
import { LIMITS } from '../src/limits.ts';
import { Screen } from '../src/mobile/screen.ts';

const AT = new Date(2026, 10, 21, 9, 41).getTime();
const PNG = 'iVBORw0KGgoAAAANSUhEUg==';

type Node = {
  id: number;
  tagName?: string;
  attributes?: Record<string, string>;
  childNodes?: Node[];
  textContent?: string;
};
type Change = {
  source: number;
  removes: { parentId: number; id: number }[];
  adds: { parentId: number; nextId: number | null; node: Node }[];
  attributes: { id: number; attributes: Record<string, string | null> }[];
  texts: { id: number; value: string }[];
};
type Out = { type: number; timestamp: number; data: Record<string, unknown> & { node: Node } & Change };

const translate = (screen: Screen, type: number, data: object): Out[] =>
  screen.translate(JSON.stringify({ type, data, timestamp: AT })).map((text) => JSON.parse(text) as Out);
const snapshot = (screen: Screen, ...wireframes: object[]) =>
  translate(screen, 2, { wireframes, initialOffset: { top: 0, left: 0 } });
const mutation = (screen: Screen, data: object) => translate(screen, 3, { source: 0, ...data });

/** The nodes of a page with their own words, without those that every screen has. */
function partsOf(page: Out | undefined): Node[] {
  const html = page?.data.node.childNodes?.[1];
  const slots = html?.childNodes?.[1]?.childNodes ?? [];
  return slots.flatMap(({ childNodes }) => childNodes ?? []);
}
const pageOf = (events: Out[]) => events.find(({ type }) => type === 2);
/** What one wireframe becomes. */
function draw(wireframe: object): Node {
  const [part] = partsOf(
    pageOf(snapshot(new Screen(), { id: 7, x: 1, y: 2, width: 30, height: 40, ...wireframe })),
  );
  if (part === undefined) throw new Error('nothing was drawn');
  return part;
}
const styleOf = (node: Node | undefined) => node?.attributes?.['style'] ?? '';
const wordsOf = (node: Node): string =>
  (node.textContent ?? '') + (node.childNodes ?? []).map(wordsOf).join('');
const input = (inputType: string, more: object = {}) => draw({ type: 'input', inputType, ...more });

describe('each kind of view', () => {
  test('a box is where it was, and its children are in it', () => {
    const box = draw({
      childWireframes: [{ id: 8, type: 'text', text: 'in it', x: 3, y: 4, width: 5, height: 50 }],
    });
    expect(styleOf(box)).toBe('left:1px;top:2px;width:30px;height:40px');
    expect(wordsOf(box)).toBe('in it');
    expect(draw({ type: 'rectangle', width: '100vw' }).attributes?.['style']).toContain('width:100vw');
  });

  test('a text is text, on one line where its box has no room for two', () => {
    const one = draw({ type: 'text', text: '<b>&amp;', height: 20, style: { fontSize: 16 } });
    expect(one.attributes?.['class']).toBe('w text one');
    expect(one.childNodes?.[0]?.textContent).toBe('<b>&amp;');
    expect(draw({ type: 'text', text: 'x', height: 60 }).attributes?.['class']).toBe('w text');
    expect(draw({ type: 'text' }).childNodes).toEqual([]);
  });

  test('a picture is of one of three kinds, whatever it calls itself', () => {
    for (const type of ['image', 'screenshot']) {
      for (const base64 of [PNG, `data:image/png;base64,${PNG}`, `data:text/html;base64,\n${PNG}`]) {
        const img = draw({ type, base64 }).childNodes?.[0];
        expect(img?.attributes?.['src']).toBe(`data:image/png;base64,${PNG}`);
      }
    }
    const src = (base64: string) => draw({ type: 'image', base64 }).childNodes?.[0]?.attributes?.['src'];
    expect(src('/9j/4AAQ')).toMatch(/^data:image\/jpeg;base64,/);
    expect(src('UklGRiQAAAB')).toMatch(/^data:image\/webp;base64,/);
    for (const bad of [
      'PHN2Zz48',
      'http://a.test/x.png',
      'data:image/svg+xml,<svg>',
      `${PNG}"onerror=x`,
      '',
      PNG + 'A'.repeat(LIMITS.wireframePictureChars),
    ]) {
      expect(wordsOf(draw({ type: 'image', base64: bad })), bad.slice(0, 40)).toBe('image');
    }
  });

  test('what cannot be shown is a placeholder with its name', () => {
    expect(wordsOf(draw({ type: 'placeholder', label: 'map' }))).toBe('map');
    expect(wordsOf(draw({ type: 'placeholder' }))).toBe('placeholder');
    expect(wordsOf(draw({ type: 'web_view', url: 'https://a.test/' }))).toBe('https://a.test/');
    expect(wordsOf(draw({ type: 'screenshot' }))).toBe('screenshot');
    expect(draw({ type: 'hologram', childWireframes: [{ type: 'text', text: 'inside' }] })).toMatchObject({
      attributes: { 'data-wireframe': 'unknown' },
    });
  });

  test('bars of the system stand above all, with the hour, in a colour that can be seen on theirs', () => {
    const app = {
      id: 1,
      childWireframes: [{ id: 3, type: 'navigation_bar', style: { backgroundColor: '#fff' } }],
    };
    const bar = { id: 2, type: 'status_bar', style: { backgroundColor: '#102030' } };
    const parts = partsOf(pageOf(snapshot(new Screen(), bar, app)));
    expect(parts.map(({ attributes }) => attributes?.['data-wireframe'])).toEqual([
      'div',
      'navigation_bar',
      'status_bar',
    ]);
    expect(parts[1]?.childNodes).toHaveLength(3);
    expect(styleOf(parts[1])).toContain('color:#000');
    expect(parts[2]?.childNodes?.[0]?.textContent).toBe('09:41');
    expect(styleOf(parts[2])).toContain('color:#fff');
  });
});

describe('each kind of input', () => {
  test('fields show what is in them, also where a browser would doubt it', () => {
    for (const type of ['text', 'email', 'number', 'search', 'tel', 'url']) {
      expect(input(type, { value: '***' }).childNodes?.[0]).toMatchObject({
        tagName: 'input',
        attributes: { type: 'text', value: '***' },
      });
    }
    expect(input('password', { value: 'x' }).childNodes?.[0]?.attributes).toEqual({
      type: 'password',
      value: 'x',
    });
    expect(input('number', { value: 12, disabled: true }).childNodes?.[0]?.attributes).toMatchObject({
      value: '12',
      disabled: '',
    });
    expect(input('text_area', { value: 'a\nb' }).childNodes?.[0]).toMatchObject({
      tagName: 'textarea',
      attributes: { value: 'a\nb' },
    });
    const icons = input('text', { style: { iconLeft: PNG, iconRight: 'back' } });
    expect(icons.childNodes?.map(({ tagName }) => tagName)).toEqual(['img', 'input']);
  });

  test('a button has its words, a list its choices', () => {
    expect(wordsOf(input('button', { value: 'Pay' }))).toBe('Pay');
    const options = (more: object) =>
      input('select', more).childNodes?.[0]?.childNodes?.map(({ attributes }) => attributes) ?? [];
    expect(options({ value: 'b', options: ['a', 'b'] })).toEqual([
      { value: 'a' },
      { value: 'b', selected: '' },
    ]);
    expect(options({ value: 'c', options: ['a'] })).toEqual([{ value: 'c', selected: '' }, { value: 'a' }]);
    expect(options({ value: 'c', options: Array(10_000).fill('x') })).toHaveLength(
      LIMITS.wireframeOptions + 1,
    );
  });

  test('boxes, radios and switches show their state and their label', () => {
    for (const type of ['checkbox', 'radio']) {
      const on = input(type, { checked: true, label: 'yes' });
      expect(on.childNodes?.[0]?.attributes).toEqual({ type, checked: '' });
      expect(wordsOf(on)).toBe('yes');
      expect(input(type, { checked: false }).childNodes?.[0]?.attributes).toEqual({ type });
    }
    const classOf = (more: object) => input('toggle', more).childNodes?.at(-1)?.attributes?.['class'];
    expect([classOf({ checked: true, label: 'x' }), classOf({})]).toEqual(['switch on', 'switch']);
    expect(styleOf(input('toggle', { checked: true, style: { color: '#0b6e4f' } }))).toContain('--c:#0b6e4f');
  });

  test('progress is a bar, a ring or stars, as far as it is', () => {
    const of = (bar: string, more: object) => input('progress', { style: { bar }, ...more }).childNodes?.[0];
    expect(styleOf(of('horizontal', { value: 30, max: 100 })?.childNodes?.[0])).toBe('width:30%');
    expect(of('horizontal', {})?.childNodes?.[0]?.attributes?.['class']).toBe('busy');
    expect(styleOf(of('circular', { value: 0.66 }))).toBe('--share:66%');
    expect(of('circular', {})?.attributes?.['class']).toBe('ring busy');
    expect(styleOf(of('rating', { value: '3.5', max: 5 }))).toBe('--max:5;--share:70%');
    expect(styleOf(of('rating', { value: 1e9, max: 1e9 }))).toBe(
      `--max:${LIMITS.wireframeStars};--share:100%`,
    );
    expect(of('rating', { value: 3 })?.textContent).toBe('rating');
    expect(wordsOf(input('dial'))).toBe('input');
  });
});

describe('styles', () => {
  test('every style becomes CSS', () => {
    const style = {
      color: '#123',
      backgroundColor: 'rgba(1, 2, 3, 0.5)',
      backgroundImage: PNG,
      backgroundSize: 'cover',
      borderWidth: '2px',
      borderRadius: 8,
      borderColor: 'Teal',
      verticalAlign: 'bottom',
      horizontalAlign: 'right',
      fontSize: '15',
      fontFamily: 'Avenir Next',
      paddingLeft: 1,
      paddingRight: '2px',
      paddingTop: 3.5,
      paddingBottom: 4,
    };
    expect(styleOf(draw({ type: 'div', style })).split(';')).toEqual([
      'background-color:rgba(1, 2, 3, 0.5)',
      'background-image:url("data:image/png',
      `base64,${PNG}")`,
      'background-size:cover',
      'border-style:solid',
      'border-width:2px',
      'border-color:Teal',
      'border-radius:8px',
      'color:#123',
      'left:1px',
      'top:2px',
      'width:30px',
      'height:40px',
      'display:flex',
      'align-items:flex-end',
      'justify-content:flex-end',
      'text-align:right',
      'font-size:15px',
      'font-family:"Avenir Next", system-ui, sans-serif',
      'padding-top:3.5px',
      'padding-right:2px',
      'padding-bottom:4px',
      'padding-left:1px',
    ]);
    expect(styleOf(draw({ style: { fontFamily: '.SFUI-Regular' } }))).toContain(
      'font-family:system-ui, sans-serif',
    );
  });

  test('what is no value of its kind is left out', () => {
    const evil = [
      'red;background:url(//a.test)',
      'url(//a.test)',
      'expression(1)',
      'var(--x)',
      '}*{',
      '\\75rl(x)',
      '12pt',
      'calc(1px)',
      {},
      [],
      null,
      true,
      Number.NaN,
    ];
    for (const value of evil) {
      const names = [
        'color',
        'backgroundColor',
        'backgroundImage',
        'borderWidth',
        'borderRadius',
        'borderColor',
        'verticalAlign',
        'fontSize',
        'paddingLeft',
        'bar',
      ];
      const style = Object.fromEntries(names.map((name) => [name, value]));
      const css = styleOf(draw({ style, width: value, height: value, x: value, y: value }));
      expect(css).toBe('left:0px;top:0px');
    }
    for (const fontFamily of ['a"b', 'x, url(y)', 'a;b', '}', 'a\\', 'x'.repeat(200)]) {
      expect(styleOf(draw({ style: { fontFamily } }))).not.toContain('font');
    }
    expect(styleOf(draw({ x: 1e30, y: -1e30, width: -5 }))).toMatch(/left:10000px;top:-10000px;width:0px/);
  });
});

describe('what changes', () => {
  const text = (id: number, words: string) => ({
    id,
    type: 'text',
    text: words,
    x: 0,
    y: 0,
    width: 9,
    height: 9,
  });

  test('a screen after the first only tells what differs, so that nothing blinks', () => {
    const screen = new Screen();
    const shot = (id: number, base64: string) => ({
      id,
      type: 'screenshot',
      base64,
      x: 0,
      y: 0,
      width: 9,
      height: 9,
    });
    expect(snapshot(screen, shot(1, PNG)).map(({ type }) => type)).toEqual([4, 2, 3, 3]);
    const [next, ...more] = snapshot(screen, shot(2, '/9j/4AAQ'));
    expect(more).toEqual([]);
    expect(next?.data).toMatchObject({ source: 0, adds: [], removes: [], texts: [] });
    expect(next?.data.attributes).toMatchObject([{ attributes: { src: 'data:image/jpeg;base64,/9j/4AAQ' } }]);
    expect(snapshot(screen, shot(2, '/9j/4AAQ'))).toEqual([]);
  });

  test('adds, updates and removes find their places', () => {
    const screen = new Screen();
    const first = pageOf(snapshot(screen, { id: 1, childWireframes: [text(2, 'a'), text(3, 'b')] }));
    const [box] = partsOf(first);
    const [a, b] = box?.childNodes ?? [];
    const [added] = mutation(screen, {
      adds: [{ parentId: 1, wireframe: { ...text(4, 'c'), childWireframes: [text(5, 'd')] } }],
    });
    expect(
      added?.data.adds.map(({ parentId, node }) => [parentId, node.tagName ?? node.textContent]),
    ).toMatchObject([
      [box?.id, 'div'],
      [added?.data.adds[0]?.node.id, 'c'],
      [added?.data.adds[0]?.node.id, 'div'],
      [added?.data.adds[2]?.node.id, 'd'],
    ]);
    const [said] = mutation(screen, { updates: [{ parentId: 1, wireframe: text(2, 'A') }] });
    expect(said?.data.texts).toEqual([{ id: a?.childNodes?.[0]?.id, value: 'A' }]);
    // Another kind of view takes the place of the old one, before those that were behind it.
    const [other] = mutation(screen, {
      updates: [{ parentId: 1, wireframe: { id: 2, type: 'placeholder' } }],
    });
    expect(other?.data.removes).toEqual([{ parentId: box?.id, id: a?.id }]);
    expect(other?.data.adds[0]).toMatchObject({ parentId: box?.id, nextId: b?.id });
    const [gone] = mutation(screen, {
      removes: [
        { parentId: 99, id: 3 },
        { parentId: 1, id: 77 },
      ],
    });
    expect(gone?.data.removes).toEqual([{ parentId: box?.id, id: b?.id }]);
    expect(mutation(screen, { removes: [{ id: 3 }], updates: [{ wireframe: null }, null, 3] })).toEqual([]);
  });

  test('the keyboard comes and goes', () => {
    const screen = new Screen();
    const payload = (of: object) => translate(screen, 5, { tag: 'keyboard', payload: of });
    snapshot(screen, { id: 1 });
    const [shown] = payload({ open: true, height: 300, styles: { backgroundColor: '#000' } });
    const keyboard = shown?.data.adds[0]?.node;
    expect(styleOf(keyboard)).toBe('left:0px;bottom:0;width:100vw;height:300px;background-color:#000');
    expect(payload({ open: false })[0]?.data.removes).toMatchObject([{ id: keyboard?.id }]);
    expect(payload({ open: false })).toEqual([]);
    expect(styleOf(payload({ open: true, x: 5, y: 6, width: 70 })[0]?.data.adds[0]?.node)).toBe(
      'left:5px;top:6px;width:70px;height:38vh',
    );
  });

  test('a turned phone is another size of the same page; without a size the views tell it', () => {
    const screen = new Screen();
    expect(translate(screen, 4, { width: 390, height: 844 })).toMatchObject([
      { type: 4, data: { href: '', width: 390 } },
    ]);
    snapshot(screen, { id: 1 });
    expect(translate(screen, 4, { href: 'Next', width: 844, height: 390 })).toMatchObject([
      { type: 3, data: { source: 4, width: 844, height: 390 } },
    ]);
    const [meta] = snapshot(new Screen(), { id: 1, x: 0, y: 0, width: 320, height: 640 });
    expect(meta).toMatchObject({ type: 4, data: { width: 320, height: 640 } });
  });

  test('touches are of what they name, or of the screen', () => {
    const screen = new Screen();
    const page = pageOf(snapshot(screen, { id: 2 ** 40, x: 0, y: 0, width: 9, height: 9 }));
    const touch = (id: unknown) =>
      translate(screen, 3, { source: 2, type: 7, id, x: 1, y: 1 })[0]?.data['id'];
    expect(touch(2 ** 40)).toBe(partsOf(page)[0]?.id);
    expect([touch(0), touch('x'), touch(99)]).toEqual([5, 5, 5]);
    const [moves] = translate(screen, 3, {
      source: 6,
      positions: [{ x: 1, y: 2, id: 0, timeOffset: 0 }, null],
    });
    expect(moves?.data['positions']).toMatchObject([{ x: 1, id: 5 }, { id: 5 }]);
  });

  test('a page in an app stays a page, and a screen after it is a whole one', () => {
    const screen = new Screen();
    snapshot(screen, { id: 1 });
    const page = { node: { type: 0, id: 1, childNodes: [] } };
    expect(translate(screen, 2, page)).toMatchObject([{ type: 2, data: page }]);
    expect(
      mutation(screen, { adds: [{ parentId: 1, node: { type: 3, id: 9 } }] })[0]?.data.adds,
    ).toHaveLength(1);
    expect(pageOf(snapshot(screen, { id: 1 }))).toBeDefined();
    expect(screen.translate('{"no json')).toEqual(['{"no json']);
    expect(screen.translate('[]')).toEqual(['[]']);
  });
});

describe('too much', () => {
  test('views past the limit are left out, and the viewer is told', () => {
    const screen = new Screen();
    snapshot(screen, {
      id: 1,
      childWireframes: Array.from({ length: LIMITS.wireframes + 5 }, (_, i) => ({ id: 10 + i })),
    });
    expect([...screen.leftOut]).toEqual(['wireframes']);
    expect(mutation(screen, { adds: [{ wireframe: { id: 5 } }] })).toEqual([]);
  });

  test('views too deep in each other are left out, at once or one by one', () => {
    const deep = (levels: number): object => (levels === 0 ? {} : { childWireframes: [deep(levels - 1)] });
    const fits = new Screen();
    snapshot(fits, deep(LIMITS.wireframeDepth - 1));
    expect([...fits.leftOut]).toEqual([]);
    snapshot(fits, deep(LIMITS.wireframeDepth));
    expect([...fits.leftOut]).toEqual(['wireframes']);
    const grown = new Screen();
    snapshot(grown, { id: 1 });
    for (let id = 2; id < 5000; id++) mutation(grown, { adds: [{ parentId: id - 1, wireframe: { id } }] });
    expect([...grown.leftOut]).toEqual(['wireframes']);
  });

  test('the same number twice is two views', () => {
    const screen = new Screen();
    const page = pageOf(
      snapshot(screen, { id: 1 }, { id: 1 }, { id: -1 }, { id: 'x' }, null as unknown as object),
    );
    expect(new Set(partsOf(page).map(({ id }) => id)).size).toBe(4);
  });
});
