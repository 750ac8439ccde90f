import type { Mark } from '../core/mark.ts';
import { type LeftOut, LIMITS } from '../limits.ts';

/** A position as a clock shows it: 0:07, 12:30, 1:02:03. */
export function clockTime(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const pad = (value: number) => String(value).padStart(2, '0');
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}:${pad(seconds % 60)}`;
  return `${Math.floor(minutes / 60)}:${pad(minutes % 60)}:${pad(seconds % 60)}`;
}

/** A length in words: 42 s, 3 min 20 s, 2 h 5 min. */
export function lengthOf(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return seconds % 60 === 0 ? `${minutes} min` : `${minutes} min ${seconds % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** What kind of thing a mark is, in a word. */
export const KIND_NAMES: Readonly<Record<Mark['kind'], string>> = {
  page: 'Page',
  tab: 'Tab',
  click: 'Click',
  rage: 'Clicks',
  input: 'Input',
  error: 'Error',
  warning: 'Warning',
  custom: 'Event',
  event: 'Event',
  system: 'Event',
};

/** What a mark says, short enough for a line. */
export function textOf(mark: Mark): string {
  return mark.kind === 'page' ? shortAddress(mark.label) : mark.label;
}

/** An address without what every page of a site shares. */
export function shortAddress(href: string): string {
  try {
    const url = new URL(href);
    return url.protocol.startsWith('http') ? url.host + url.pathname + url.search + url.hash : href;
  } catch {
    return href;
  }
}

const count = (value: number) => value.toLocaleString();

/** What a page may have only so much of, in words. */
export const LEFT_OUT_NAMES: Readonly<Record<LeftOut, string>> = {
  nodes: `nodes past ${count(LIMITS.nodes)}`,
  depth: `nodes more than ${count(LIMITS.depth)} levels deep`,
  attributes: `attributes past ${count(LIMITS.attributes)} of one element`,
  frames: `frames past ${count(LIMITS.frames)}`,
  text: `text past ${LIMITS.textChars >> 20} MB in one place or ${LIMITS.pageTextChars >> 20} MB in all`,
  pictures: `pictures past ${LIMITS.picturePixels >> 20} million pixels`,
  animations: `animations, of which there are more than ${count(LIMITS.animations)}`,
  styles: `style sheets past ${LIMITS.sheetChars >> 20} MB each or ${LIMITS.pageStyleChars >> 20} MB in all`,
  shapes: `drawings of drawings past ${count(LIMITS.nestedUses)}`,
  fonts: `fonts past ${count(LIMITS.fonts)} or ${LIMITS.fontBytes >> 20} MB each`,
  viewport: `what lies outside a window of ${count(LIMITS.viewportPx)} pixels`,
  wireframes: `views past ${count(LIMITS.wireframes)} or more than ${count(LIMITS.wireframeDepth)} levels deep`,
  canvases: `canvases past ${count(LIMITS.canvases)} or ${LIMITS.canvasPixels >> 20} million pixels`,
};

/** `512 B`, `18 KB`, `1.4 MB`: decimal units, two digits that matter. */
export function bytesOf(value: number): string {
  let scaled = Math.max(0, value);
  for (const unit of ['B', 'KB', 'MB'] as const) {
    if (scaled < 999.5)
      return `${unit !== 'B' && scaled < 9.95 ? scaled.toFixed(1) : Math.round(scaled)} ${unit}`;
    scaled /= 1_000;
  }
  return `${scaled.toFixed(1)} GB`;
}

/** `38 ms`, `1.24 s`, `1 min 5 s`. */
export function millisecondsOf(ms: number): string {
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  return ms < 59_995 ? `${(ms / 1000).toFixed(2)} s` : lengthOf(ms);
}

const PREVIEW_KEYS = 6;
const PREVIEW_CHARS = 40;

/** The start of a value on one line: `{page: 1, total: 96}`, `(3) [1, 2, 3]`. */
export function previewOf(value: unknown): string {
  if (Array.isArray(value)) {
    const items = value.slice(0, PREVIEW_KEYS).map(inPreview);
    return `(${value.length}) [${[...items, ...(value.length > PREVIEW_KEYS ? ['…'] : [])].join(', ')}]`;
  }
  if (typeof value !== 'object' || value === null) return inPreview(value);
  const parts: string[] = [];
  for (const key in value) {
    if (parts.length === PREVIEW_KEYS) {
      parts.push('…');
      break;
    }
    parts.push(`${key.slice(0, PREVIEW_CHARS)}: ${inPreview((value as Record<string, unknown>)[key])}`);
  }
  return `{${parts.join(', ')}}`;
}

function inPreview(value: unknown): string {
  if (Array.isArray(value)) return `[${value.length === 0 ? '' : '…'}]`;
  if (typeof value === 'object' && value !== null) return '{…}';
  if (typeof value !== 'string') return String(value);
  return `“${value.length > PREVIEW_CHARS ? `${value.slice(0, PREVIEW_CHARS)}…` : value}”`;
}
