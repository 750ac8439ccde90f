/**
 * What the page and the replay frame say to each other. They share no origin and no objects: everything goes
 * through one message port, and both ends check what they get.
 */

import { isLeftOut, type LeftOut } from './limits.ts';

/** From the page to the frame. */
export type ToFrame =
  /** Read these events already: the order to show that has the same ticket will bring those after them. */
  | { readonly kind: 'read'; readonly ticket: number; readonly events: readonly string[] }
  /** Build the page from these events (the first full snapshot is the base) and stop there. */
  | { readonly kind: 'show'; readonly ticket: number; readonly events: readonly string[] }
  /** Apply these events now, on top of what is shown. */
  | { readonly kind: 'feed'; readonly ticket: number; readonly events: readonly string[] }
  /** List some of the rows that the page's tree has while these elements are toggled, and say where one of them is. */
  | {
      readonly kind: 'tree';
      readonly ticket: number;
      readonly toggled: readonly number[];
      readonly from: number;
      readonly count: number;
      readonly reveal: number | null;
    }
  /** Find words in the page, and the way to one of the places. */
  | { readonly kind: 'find'; readonly ticket: number; readonly words: string; readonly step: number }
  /** Draw what is shown as a picture. */
  | { readonly kind: 'still'; readonly ticket: number }
  /** Draw a frame around a node, or around none. */
  | { readonly kind: 'outline'; readonly id: number | null }
  /** How animations and media in the page are to run from now on. */
  | ({ readonly kind: 'animate' } & Motion);

/** Where the recording is, on its own clock, and whether and how many times as fast as it was it goes on. */
export type Motion = { readonly running: boolean; readonly at: number; readonly rate: number };

/** A row of the page's tree. Its words are from a recording: show them as text only. */
export type TreeRow = {
  readonly id: number;
  readonly depth: number;
  /** Of an element; empty for a text. */
  readonly name: string;
  readonly attributes: readonly (readonly [name: string, value: string])[];
  /** A text, or that of an element with nothing else in it. */
  readonly text: string;
  readonly state: 'open' | 'closed' | 'leaf';
};

export type TreePage = {
  readonly total: number;
  readonly from: number;
  readonly rows: readonly TreeRow[];
  /** Where the row is that was asked for; -1 where it is none. */
  readonly at: number;
};

/** From the frame to the page. */
export type FromFrame =
  | { readonly kind: 'ready' }
  | { readonly kind: 'shown'; readonly ticket: number; readonly ok: boolean; readonly problems: number }
  | { readonly kind: 'fed'; readonly ticket: number; readonly problems: number }
  | ({ readonly kind: 'tree'; readonly ticket: number } & TreePage)
  | {
      readonly kind: 'found';
      readonly ticket: number;
      readonly count: number;
      readonly path: readonly number[];
    }
  /** A JPEG of what is shown; null where it cannot be drawn. */
  | { readonly kind: 'still'; readonly ticket: number; readonly picture: Blob | null }
  | { readonly kind: 'viewport'; readonly width: number; readonly height: number }
  /** Where something of the page is that was not loaded; sent when it changes. */
  | { readonly kind: 'missing'; readonly urls: readonly string[] }
  /** What had to be left out of the page that is shown; sent when it changes. */
  | { readonly kind: 'left-out'; readonly what: readonly LeftOut[] };

/** The message that carries the port. It is the only one that travels outside of it. */
export type Connect = { readonly kind: 'reelcase-connect' };

type Json = Readonly<Record<string, unknown>>;

function asObject(value: unknown): Json | null {
  return typeof value === 'object' && value !== null ? (value as Json) : null;
}

function isStrings(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

function isSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

function isSizes(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every(isSize);
}

function readRow(value: unknown): TreeRow | null {
  const row = asObject(value);
  if (row === null) return null;
  const { id, depth, name, attributes, text, state } = row;
  if (!isSize(id) || !isSize(depth) || typeof name !== 'string' || typeof text !== 'string') return null;
  if (state !== 'open' && state !== 'closed' && state !== 'leaf') return null;
  const isPair = (pair: unknown): pair is [string, string] => isStrings(pair) && pair.length === 2;
  return {
    id,
    depth,
    name,
    text,
    state,
    attributes: Array.isArray(attributes) ? attributes.filter(isPair) : [],
  };
}

/** Whether a message asks to connect. */
export function isConnect(value: unknown): boolean {
  return asObject(value)?.['kind'] === 'reelcase-connect';
}

/** Checks a message for the frame; null is to be ignored. */
export function readToFrame(value: unknown): ToFrame | null {
  const message = asObject(value);
  if (message === null) return null;
  const { kind, ticket, events, running, toggled, from, count, reveal, words, step, id, at, rate } = message;
  if (kind === 'animate') {
    const isMotion = typeof running === 'boolean' && isSize(at) && isSize(rate);
    return isMotion ? { kind, running, at, rate } : null;
  }
  if (kind === 'outline') return id === null || isSize(id) ? { kind, id } : null;
  if (kind === 'still') return isSize(ticket) ? { kind, ticket } : null;
  if (kind === 'find') {
    const isOrder = isSize(ticket) && typeof words === 'string' && typeof step === 'number';
    return isOrder ? { kind, ticket, words, step } : null;
  }
  if (kind === 'tree') {
    if (!isSize(ticket) || !isSize(from) || !isSize(count) || !isSizes(toggled)) return null;
    return { kind, ticket, toggled, from, count, reveal: isSize(reveal) ? reveal : null };
  }
  if (kind !== 'read' && kind !== 'show' && kind !== 'feed') return null;
  return isSize(ticket) && isStrings(events) ? { kind, ticket, events } : null;
}

/** Checks a message from the frame; null is to be ignored. */
export function readFromFrame(value: unknown): FromFrame | null {
  const message = asObject(value);
  if (message === null) return null;
  const {
    kind,
    ticket,
    ok,
    problems,
    width,
    height,
    what,
    urls,
    total,
    from,
    rows,
    at,
    count,
    path,
    picture,
  } = message;
  switch (kind) {
    case 'ready':
      return { kind };
    case 'shown':
      if (!isSize(ticket) || !isSize(problems) || typeof ok !== 'boolean') return null;
      return { kind, ticket, ok, problems };
    case 'fed':
      return isSize(ticket) && isSize(problems) ? { kind, ticket, problems } : null;
    case 'tree': {
      if (!isSize(ticket) || !isSize(total) || !isSize(from) || !Array.isArray(rows)) return null;
      const read = rows.map(readRow).filter((row) => row !== null);
      return { kind, ticket, total, from, rows: read, at: isSize(at) ? at : -1 };
    }
    case 'found':
      return isSize(ticket) && isSize(count) && isSizes(path) ? { kind, ticket, count, path } : null;
    case 'still':
      return isSize(ticket) ? { kind, ticket, picture: picture instanceof Blob ? picture : null } : null;
    case 'viewport':
      return isSize(width) && isSize(height) ? { kind, width, height } : null;
    case 'missing':
      return isStrings(urls) ? { kind, urls } : null;
    case 'left-out':
      return Array.isArray(what) ? { kind, what: what.filter(isLeftOut) } : null;
    default:
      return null;
  }
}
