/**
 * What the page and the replay frame say to each other. They share no origin and no objects: everything goes
 * through one message port, and both ends check what they get.
 */

import { isLeftOut, type LeftOut } from './limits.ts';

/** From the page to the frame. */
export type ToFrame =
  /** Build the page from these events (the first full snapshot is the base) and stop there. */
  | { readonly kind: 'show'; readonly ticket: number; readonly events: readonly string[] }
  /** Apply these events now, on top of what is shown. */
  | { readonly kind: 'feed'; readonly ticket: number; readonly events: readonly string[] }
  /** Whether animations and media in the page may run. */
  | { readonly kind: 'animate'; readonly running: boolean };

/** From the frame to the page. */
export type FromFrame =
  | { readonly kind: 'ready' }
  | { readonly kind: 'shown'; readonly ticket: number; readonly ok: boolean; readonly problems: number }
  | { readonly kind: 'fed'; readonly ticket: number; readonly problems: number }
  | { readonly kind: 'viewport'; readonly width: number; readonly height: number }
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

/** Whether a message asks to connect. */
export function isConnect(value: unknown): boolean {
  return asObject(value)?.['kind'] === 'reelcase-connect';
}

/** Checks a message for the frame; null is to be ignored. */
export function readToFrame(value: unknown): ToFrame | null {
  const message = asObject(value);
  if (message === null) return null;
  const { kind, ticket, events, running } = message;
  if (kind === 'animate') return typeof running === 'boolean' ? { kind, running } : null;
  if (kind !== 'show' && kind !== 'feed') return null;
  return isSize(ticket) && isStrings(events) ? { kind, ticket, events } : null;
}

/** Checks a message from the frame; null is to be ignored. */
export function readFromFrame(value: unknown): FromFrame | null {
  const message = asObject(value);
  if (message === null) return null;
  const { kind, ticket, ok, problems, width, height, what } = message;
  switch (kind) {
    case 'ready':
      return { kind };
    case 'shown':
      if (!isSize(ticket) || !isSize(problems) || typeof ok !== 'boolean') return null;
      return { kind, ticket, ok, problems };
    case 'fed':
      return isSize(ticket) && isSize(problems) ? { kind, ticket, problems } : null;
    case 'viewport':
      return isSize(width) && isSize(height) ? { kind, width, height } : null;
    case 'left-out':
      return Array.isArray(what) ? { kind, what: what.filter(isLeftOut) } : null;
    default:
      return null;
  }
}
