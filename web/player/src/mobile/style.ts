import { asObject, type Json } from '../core/record.ts';
import { colourOf, fontOf, pictureOf, pixelsOf, textOf } from './values.ts';

const ALIGN: Readonly<Record<string, string>> = {
  top: 'flex-start',
  left: 'flex-start',
  center: 'center',
  bottom: 'flex-end',
  right: 'flex-end',
};
const SIZES = new Set(['contain', 'cover', 'auto']);

/** The style of a wireframe; empty where it has none. */
export function styleOf(wire: Json): Json {
  return asObject(wire['style']) ?? {};
}

/** How a wireframe looks and where it stands, as the text of a style attribute. */
export function cssOf(wire: Json): string {
  const style = styleOf(wire);
  return rules([
    ...background(style),
    ...border(style),
    ['color', colourOf(style['color'])],
    ['left', px(pixelsOf(wire['x']) ?? 0)],
    ['top', px(pixelsOf(wire['y']) ?? 0)],
    ['width', wire['width'] === '100vw' ? '100vw' : px(positive(wire['width']))],
    ['height', px(positive(wire['height']))],
    ...layout(style),
    ...font(style),
    ...padding(style),
  ]);
}

/** Joins declarations; those without a value are left out. */
export function rules(declarations: readonly (readonly [name: string, value: string | null])[]): string {
  return declarations
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}:${value}`)
    .join(';');
}

export function px(size: number | null): string | null {
  return size === null ? null : `${size}px`;
}

/** A length, which is never below nothing. */
function positive(value: unknown): number | null {
  const size = pixelsOf(value);
  return size === null ? null : Math.max(0, size);
}

type Declarations = [name: string, value: string | null][];

function background(style: Json): Declarations {
  const picture = pictureOf(style['backgroundImage']);
  const size = textOf(style['backgroundSize']);
  return [
    ['background-color', colourOf(style['backgroundColor'])],
    ['background-image', picture === null ? null : `url("${picture}")`],
    ['background-size', picture === null ? null : SIZES.has(size) ? size : 'contain'],
  ];
}

function border(style: Json): Declarations {
  const [width, radius] = [positive(style['borderWidth']), positive(style['borderRadius'])];
  const colour = colourOf(style['borderColor']);
  const isDrawn = width !== null || colour !== null;
  return [
    ['border-style', isDrawn ? 'solid' : null],
    ['border-width', isDrawn ? px(width ?? 1) : null],
    ['border-color', colour],
    ['border-radius', px(radius)],
  ];
}

function layout(style: Json): Declarations {
  const across = ALIGN[textOf(style['horizontalAlign'])] ?? null;
  const down = ALIGN[textOf(style['verticalAlign'])] ?? null;
  const lines: Readonly<Record<string, string>> = {
    'flex-start': 'left',
    center: 'center',
    'flex-end': 'right',
  };
  return [
    ['display', across === null && down === null ? null : 'flex'],
    ['align-items', down],
    ['justify-content', across],
    // The lines of a text that takes more than one stand as the text does.
    ['text-align', across === null ? null : (lines[across] ?? null)],
  ];
}

function font(style: Json): Declarations {
  return [
    ['font-size', px(positive(style['fontSize']))],
    ['font-family', fontOf(style['fontFamily'])],
  ];
}

function padding(style: Json): Declarations {
  return ['top', 'right', 'bottom', 'left'].map((side) => {
    const name = `padding${side[0]?.toUpperCase()}${side.slice(1)}`;
    return [`padding-${side}`, px(positive(style[name]))];
  });
}
