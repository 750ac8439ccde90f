import { asObject, type Json } from '../core/record.ts';
import { LIMITS } from '../limits.ts';
import { type Element, element, type Part, text } from './part.ts';
import { cssOf, px, rules, styleOf } from './style.ts';
import { colourOf, isLight, numberOf, pictureOf, pixelsOf, textOf } from './values.ts';

/** Text inputs of which a browser has one of its own that shows whatever is in it; of the others it hides what it doubts. */
const FIELD = /^(?:text|password|email|number|search|tel|url)$/;
const FONT_PX = 14;
const KEY_ROWS = [10, 9, 7];

/** What a wireframe looks like, without those inside of it. `at` is when it was seen. */
export function draw(wire: Json, at: number): Element {
  const { kind, parts, css = [], className } = appearance(wire, at);
  const style = [cssOf(wire), rules(css)].filter((part) => part !== '').join(';');
  const id = wire['id'];
  const drawn = element('div', { class: `w ${className}`, 'data-wireframe': kind, style }, parts);
  drawn.wire = typeof id === 'number' ? id : null;
  return drawn;
}

type Appearance = {
  /** What the tree of the page calls it. */
  readonly kind: string;
  readonly className: string;
  readonly parts: readonly Part[];
  readonly css?: [string, string | null][];
};

function appearance(wire: Json, at: number): Appearance {
  const kind = textOf(wire['type']) || 'div';
  switch (kind) {
    case 'text':
      return { kind, className: isOneLine(wire) ? 'text one' : 'text', parts: textParts(wire['text']) };
    case 'image':
    case 'screenshot':
      return picture(wire, kind);
    case 'placeholder':
      return placeholder(kind, textOf(wire['label']) || 'placeholder');
    case 'web_view':
      return placeholder(kind, textOf(wire['url']) || 'web view');
    case 'input':
      return input(wire);
    case 'status_bar':
      return { kind, className: 'status', parts: [text(clock(at))], css: onBar(wire) };
    case 'navigation_bar': {
      const parts = ['back', 'home', 'tasks'].map((name) => element('i', { class: name }));
      return { kind, className: 'nav', parts, css: onBar(wire) };
    }
    case 'div':
    case 'rectangle':
    case 'radio_group':
      return { kind, className: 'box', parts: [] };
    default:
      // What a later SDK may call a view is at least a box with others in it.
      return { kind: 'unknown', className: 'box', parts: [] };
  }
}

function textParts(value: unknown): Part[] {
  const words = textOf(value);
  return words === '' ? [] : [text(words)];
}

/** A text in a box with room for one line stays on it, though it is a little wider in the viewer's font. */
function isOneLine(wire: Json): boolean {
  const size = pixelsOf(styleOf(wire)['fontSize']) ?? FONT_PX;
  const height = pixelsOf(wire['height']);
  return height !== null && height < 2.2 * size && !textOf(wire['text']).includes('\n');
}

function picture(wire: Json, kind: string): Appearance {
  const src = pictureOf(wire['base64']);
  if (src === null) return placeholder(kind, kind);
  return { kind, className: 'picture', parts: [element('img', { src, alt: '' })] };
}

function placeholder(kind: string, label: string): Appearance {
  return { kind, className: 'placeholder', parts: [text(label)] };
}

function clock(at: number): string {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return '';
  return [date.getHours(), date.getMinutes()].map((part) => String(part).padStart(2, '0')).join(':');
}

/** What stands on a bar is seen against it, where the app says nothing of its colour. */
function onBar(wire: Json): [string, string | null][] {
  const style = styleOf(wire);
  if (colourOf(style['color']) !== null) return [];
  return [['color', isLight(colourOf(style['backgroundColor'])) === false ? '#fff' : '#000']];
}

function input(wire: Json): Appearance {
  const type = textOf(wire['inputType']);
  const kind = `input ${type}`;
  const isOff = wire['disabled'] === true;
  const disabled = isOff ? '' : null;
  const value = textOf(wire['value']);
  const fill = colourOf(styleOf(wire)['color']);
  const css: [string, string | null][] = [['--c', fill]];
  const withState = (className: string) => (isOff ? `${className} off` : className);
  const field = withState(hasEdge(wire) ? 'field' : 'field bare');
  if (FIELD.test(type)) {
    const line = element('input', { type: type === 'password' ? type : 'text', value, disabled });
    return { kind, className: field, parts: withIcons(wire, line) };
  }
  switch (type) {
    case 'text_area':
      return {
        kind,
        className: field,
        parts: withIcons(wire, element('textarea', { value, disabled })),
      };
    case 'button':
      return { kind, className: withState('button'), parts: textParts(value) };
    case 'select':
      return { kind, className: field, parts: [select(wire, value, disabled)] };
    case 'checkbox':
    case 'radio': {
      const checked = wire['checked'] === true ? '' : null;
      const parts = [element('input', { type, checked, disabled }), ...labelOf(wire)];
      return { kind, className: withState('choice'), parts, css };
    }
    case 'toggle': {
      const knob = element('div', { class: wire['checked'] === true ? 'switch on' : 'switch' }, [
        element('i'),
      ]);
      return { kind, className: withState('choice'), parts: [...labelOf(wire), knob], css };
    }
    case 'progress':
      return progress(wire, kind, css);
    default:
      return placeholder('input', 'input');
  }
}

/** Whether the app's own style shows where a field is. */
function hasEdge(wire: Json): boolean {
  return ['borderWidth', 'borderColor', 'backgroundColor'].some((name) => styleOf(wire)[name] !== undefined);
}

function labelOf(wire: Json): Part[] {
  const label = textOf(wire['label']);
  return label === '' ? [] : [element('span', {}, [text(label)])];
}

/** Android's fields may have a picture on either side. */
function withIcons(wire: Json, field: Element): Part[] {
  const style = styleOf(wire);
  const icon = (name: string) => {
    const src = pictureOf(style[name]);
    return src === null ? [] : [element('img', { src, alt: '' })];
  };
  return [...icon('iconLeft'), field, ...icon('iconRight')];
}

function select(wire: Json, value: string, disabled: string | null): Element {
  const listed = Array.isArray(wire['options']) ? wire['options'].slice(0, LIMITS.wireframeOptions) : [];
  const names = listed.map(textOf);
  if (!names.includes(value)) names.unshift(value);
  const chosen = names.indexOf(value);
  const options = names.map((name, i) =>
    element('option', { value: name, selected: i === chosen ? '' : null }, textParts(name)),
  );
  return element('select', { disabled }, options);
}

function progress(wire: Json, kind: string, css: [string, string | null][]): Appearance {
  const value = numberOf(wire['value']);
  const most = numberOf(wire['max']);
  const bar = textOf(styleOf(wire)['bar']);
  const of = (...parts: Part[]): Appearance => ({ kind, className: 'progress', parts, css });
  if (bar === 'rating') {
    if (value === null || most === null) return placeholder(kind, 'rating');
    const max = Math.min(Math.max(1, Math.floor(most)), LIMITS.wireframeStars);
    const style = rules([
      ['--max', String(max)],
      ['--share', percent(value, max)],
    ]);
    return of(element('div', { class: 'stars', style }));
  }
  const share = value === null ? null : percent(value, most ?? 1);
  if (bar === 'circular') {
    const style = share === null ? null : rules([['--share', share]]);
    return of(element('div', { class: share === null ? 'ring busy' : 'ring', style }));
  }
  const fill =
    share === null ? element('i', { class: 'busy' }) : element('i', { style: rules([['width', share]]) });
  return of(element('div', { class: 'bar' }, [fill]));
}

function percent(value: number, max: number): string {
  const share = max > 0 ? Math.min(1, Math.max(0, value / max)) : 0;
  return `${Math.round(share * 1000) / 10}%`;
}

/** The keyboard as an event says of it: as high as the app told, at the bottom unless it stands somewhere else. */
export function keyboard(payload: Json): Element {
  const styles = asObject(payload['styles']) ?? {};
  const [x, y] = [pixelsOf(payload['x']), pixelsOf(payload['y'])];
  const style = rules([
    ['left', px(x ?? 0)],
    y === null ? ['bottom', '0'] : ['top', px(y)],
    ['width', px(pixelsOf(payload['width'])) ?? '100vw'],
    ['height', px(pixelsOf(payload['height'])) ?? '38vh'],
    ['background-color', colourOf(styles['backgroundColor'])],
    ['color', colourOf(styles['color'])],
  ]);
  const rows = KEY_ROWS.map((count) =>
    element(
      'div',
      {},
      Array.from({ length: count }, () => element('i')),
    ),
  );
  const last = element('div', {}, [element('i'), element('i', { class: 'wide' }), element('i')]);
  return element('div', { class: 'w keyboard', 'data-wireframe': 'keyboard', style }, [...rows, last]);
}
