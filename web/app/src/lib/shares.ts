/** Links to recordings and collections, as the server knows them. */
import { ask, type Outcome, send, tell } from './api';
import { at, BASE } from './base';
import type { Recording } from './types';

/** By when a page has usually come together. */
const SETTLED_MS = 3_000;

/** A link that was made. */
export type Share = {
  readonly id: string;
  readonly title: string;
  readonly isClip: boolean;
  readonly hasPassword: boolean;
  readonly hasInspector: boolean;
  readonly hasComments: boolean;
  readonly expiresAtMs: number | null;
  readonly viewsMax: number | null;
  readonly viewCount: number;
  readonly lastUsedAtMs: number | null;
  readonly embedOrigins: readonly string[];
};

/** A link that was just made, with the addresses that nobody can know later. */
export type MadeShare = { readonly id: string; readonly url: string; readonly embedUrl: string | null };

/** What a new link is to be. Times are milliseconds since 1970. */
export type NewShare = {
  readonly title?: string;
  readonly from_ms?: number;
  readonly to_ms?: number;
  readonly start_ms?: number;
  readonly has_inspector: boolean;
  readonly has_console: boolean;
  readonly has_network: boolean;
  readonly has_comments: boolean;
  readonly expires_at_ms?: number;
  readonly views_max?: number;
  readonly password?: string;
  readonly embed_origins?: readonly string[];
};

/** What a link leads to. */
export type ShareTarget =
  | { readonly kind: 'recording'; readonly recording: Recording }
  | { readonly kind: 'collection'; readonly id: string; readonly name: string };

/** Asks for the links to something. */
export function fetchShares(target: ShareTarget): Promise<Outcome<readonly Share[]>> {
  const id = target.kind === 'recording' ? target.recording.id : target.id;
  return ask(at(`/api/shares?${target.kind}=${encodeURIComponent(id)}`), (json) =>
    listOf(objectOf(json)['shares']).map(shareFrom),
  );
}

/** Makes a link. */
export function createShare(target: ShareTarget, share: NewShare): Promise<Outcome<MadeShare>> {
  const url = urlOf(target);
  return tell('POST', url, share, (json) => {
    const { share: kept, url: made, embed_url } = objectOf(json);
    const embedUrl = typeof embed_url === 'string' ? embed_url : null;
    return { id: String(objectOf(kept)['id']), url: String(made), embedUrl };
  });
}

function urlOf(target: ShareTarget): string {
  if (target.kind === 'collection') return at(`/api/collections/${encodeURIComponent(target.id)}/shares`);
  const query = new URLSearchParams({ project: target.recording.project });
  return at(`/api/recordings/${encodeURIComponent(target.recording.id)}/shares?${query}`);
}

/** Draws what programs that show links get to see: the page soon after a moment, ms from the recording's start. */
export async function drawPicture(recording: Recording, fromMs: number, toMs: number): Promise<Blob | null> {
  const { stillOf } = await import('../../../player/src/core/still.ts');
  return stillOf(recording.id, fromMs + Math.min(SETTLED_MS, (toMs - fromMs) / 2), BASE);
}

/** Gives a link its picture. */
export function givePicture(id: string, picture: Blob): Promise<Outcome<null>> {
  return send(
    at(`/api/shares/${encodeURIComponent(id)}/picture`),
    { method: 'PUT', headers: { accept: 'application/json', 'content-type': 'image/jpeg' }, body: picture },
    () => null,
  );
}

/** Takes a link back. */
export function revokeShare(id: string): Promise<Outcome<null>> {
  return tell('DELETE', at(`/api/shares/${encodeURIComponent(id)}`), null, () => null);
}

/** The markup that puts a recording into a page. */
export function embedCode(url: string): string {
  return `<iframe src="${url}" title="Session replay" width="960" height="600" style="border:0" loading="lazy" allow="fullscreen"></iframe>`;
}

/** The same as an element, with the script that defines it. */
export function elementCode(url: string): string {
  const script = new URL('../player/reelcase-player.js', url).href;
  return `<script src="${script}"></script>\n<reelcase-player src="${url}"></reelcase-player>`;
}

/** Reads a position as people write it: `90`, `1:30`, `1:02:03`. Null where it is none. */
export function momentFrom(text: string): number | null {
  const parts = text.trim().split(':');
  if (parts.length > 3 || !parts.every((part) => /^\d+(\.\d+)?$/.test(part))) return null;
  return parts.reduce((sum, part) => sum * 60 + Number(part), 0) * 1000;
}

function shareFrom(json: unknown): Share {
  const share = objectOf(json);
  const number = (name: string) => (typeof share[name] === 'number' ? (share[name] as number) : null);
  return {
    id: String(share['id']),
    title: String(share['title'] ?? ''),
    isClip: number('from_ms') !== null || number('to_ms') !== null,
    hasPassword: share['has_password'] === true,
    hasInspector: share['has_inspector'] === true,
    hasComments: share['has_comments'] === true,
    expiresAtMs: number('expires_at_ms'),
    viewsMax: number('views_max'),
    viewCount: number('view_count') ?? 0,
    lastUsedAtMs: number('last_used_at_ms'),
    embedOrigins: listOf(share['embed_origins']).map(String),
  };
}

function objectOf(json: unknown): Readonly<Record<string, unknown>> {
  return typeof json === 'object' && json !== null ? (json as Record<string, unknown>) : {};
}

function listOf(json: unknown): readonly unknown[] {
  return Array.isArray(json) ? json : [];
}
