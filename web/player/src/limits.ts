/**
 * What one replayed page may take of the viewer's machine. Real pages stay far below. What lies beyond is left out,
 * the rest of the page is drawn, and the viewer is told.
 */
export const LIMITS = {
  /** Nodes of a page with all its frames. */
  nodes: 200_000,
  /** Nodes inside each other. HTML parsers stop at 512 themselves; much deeper trees overflow the browser's stack. */
  depth: 512,
  /** Attributes of one element. A browser looks them up one after the other. */
  attributes: 500,
  frames: 200,
  /** Characters of one text node. */
  textChars: 1 << 20,
  /** Characters of all text nodes together. */
  pageTextChars: 16 << 20,
  /** Characters of one style sheet, which is rewritten for the replay before the browser reads it. */
  sheetChars: 4 << 20,
  /** Characters of all style sheets together. */
  pageStyleChars: 16 << 20,
  /** Blocks inside each other in a style sheet. Browsers read them by recursion. */
  sheetDepth: 100,
  /** `use` elements that other `use` elements can draw again. Fifty of them can draw a billion shapes. */
  nestedUses: 24,
  /** Animations that run at once. */
  animations: 300,
  fonts: 200,
  fontBytes: 4 << 20,
  /** Either side of the recorded window. */
  viewportPx: 10_000,
  /** Pixels of all canvases together; four bytes each. */
  canvasPixels: 32 << 20,
  canvases: 200,
  /** Films and sounds that run. */
  media: 200,
  /** Commands of one canvas that may wait to be drawn. */
  canvasCommands: 1_000_000,
  /** Points of one path, each of which is drawn again with every stroke of it. */
  canvasPathPoints: 50_000,
  /** Characters of one text that is drawn. */
  canvasTextChars: 10_000,
  /** Addresses that are named to the viewer because nothing came from them; and characters of each. */
  missing: 200,
  missingChars: 400,
  /** Pixels of one picture, in so far as its head tells. */
  picturePixels: 32 << 20,
  /** Views of a mobile screen, each of which becomes a few nodes. */
  wireframes: 20_000,
  /** Views inside each other. */
  wireframeDepth: 100,
  /** Characters of one picture of a mobile screen. */
  wireframePictureChars: 16 << 20,
  /** Choices of one list of a mobile screen. */
  wireframeOptions: 500,
  /** Stars of one rating. */
  wireframeStars: 100,
} as const;

/** What of a page was left out. The viewer has words for each. */
export const LEFT_OUT = [
  'nodes',
  'depth',
  'attributes',
  'frames',
  'text',
  'styles',
  'shapes',
  'fonts',
  'viewport',
  'canvases',
  'pictures',
  'animations',
  'wireframes',
] as const;

export type LeftOut = (typeof LEFT_OUT)[number];

export function isLeftOut(value: unknown): value is LeftOut {
  return LEFT_OUT.some((known) => known === value);
}
