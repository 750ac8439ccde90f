import { LIMITS } from '../limits.ts';

/**
 * What of a wireframe's values may reach the replayed page. A value is read as what it should be and written anew, or
 * it is left out: nothing recorded is ever passed on as CSS or as an address.
 */

const COLOUR =
  /^(?:#(?:[0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})|[a-z]{3,24}|(?:rgb|hsl)a?\([\d\s.,%/]{1,60}\))$/i;
const SIZE = /^-?\d{1,7}(?:\.\d{1,20})?(?:px)?$/;
const FONT = /^[\w .-]{1,80}$/;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;
/** How the pictures begin that a screen may hold; what a data URL says of itself is not asked. */
const PICTURES = [
  ['iVBORw0KGgo', 'png'],
  ['/9j/', 'jpeg'],
  ['UklGR', 'webp'],
] as const;

/** A colour, or null. */
export function colourOf(value: unknown): string | null {
  return typeof value === 'string' && COLOUR.test(value.trim()) ? value.trim() : null;
}

/** Pixels of a number, or of a text with or without its unit; null where it is neither. */
export function pixelsOf(value: unknown): number | null {
  const isSize = typeof value === 'string' && SIZE.test(value.trim());
  const size = typeof value === 'number' ? value : isSize ? Number.parseFloat(value) : Number.NaN;
  if (!Number.isFinite(size)) return null;
  return Math.round(Math.min(Math.max(size, -LIMITS.viewportPx), LIMITS.viewportPx) * 100) / 100;
}

/** A list of fonts that begins with the recorded one. Names that begin with a dot are those of the system itself. */
export function fontOf(value: unknown): string | null {
  if (typeof value !== 'string' || !FONT.test(value.trim())) return null;
  const name = value.trim();
  if (name.startsWith('.')) return 'system-ui, sans-serif';
  if (/^(?:serif|sans-serif|monospace|cursive)$/.test(name)) return name;
  return `"${name}", ${/mono|courier/i.test(name) ? 'monospace' : 'system-ui, sans-serif'}`;
}

/** The address of a picture that was recorded as base64, with or without what makes it one; null where it is none. */
export function pictureOf(value: unknown): string | null {
  if (typeof value !== 'string' || value.length > LIMITS.wireframePictureChars) return null;
  const comma = value.startsWith('data:') ? value.indexOf(',') : -1;
  const data = value.slice(comma + 1).replace(/\s+/g, '');
  const kind = PICTURES.find(([begins]) => data.startsWith(begins))?.[1];
  return kind !== undefined && BASE64.test(data) ? `data:image/${kind};base64,${data}` : null;
}

/** Text, also where it was sent as a number. */
export function textOf(value: unknown): string {
  if (typeof value === 'number' && Number.isFinite(value)) return String(value);
  return typeof value === 'string' ? value : '';
}

/** A finite number, also where it was sent as text; null where it is none. */
export function numberOf(value: unknown): number | null {
  const text = textOf(value).trim();
  const number = text === '' ? Number.NaN : Number(text);
  return Number.isFinite(number) ? number : null;
}

/** Whether a colour is a light one, as people see it; null where that is not known. */
export function isLight(colour: string | null): boolean | null {
  const parts = colour === null ? null : channelsOf(colour);
  if (parts === null) return null;
  const [red = 0, green = 0, blue = 0] = parts;
  return (red * 299 + green * 587 + blue * 114) / 1000 >= 150;
}

function channelsOf(colour: string): number[] | null {
  const hex = /^#([0-9a-f]{3,8})$/i.exec(colour)?.[1];
  if (hex !== undefined) {
    const width = hex.length > 4 ? 2 : 1;
    const digits = [0, 1, 2].map((i) => hex.slice(i * width, (i + 1) * width));
    return digits.map((part) => Number.parseInt(part.length === 1 ? part + part : part, 16));
  }
  const rgb = /^rgba?\(([^)]*)\)$/i.exec(colour)?.[1];
  const channels =
    rgb
      ?.split(/[\s,/]+/)
      .slice(0, 3)
      .map(Number) ?? [];
  if (channels.length === 3 && channels.every(Number.isFinite)) return channels;
  return { white: [255, 255, 255], black: [0, 0, 0] }[colour.toLowerCase()] ?? null;
}
