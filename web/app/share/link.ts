import type { Api } from '../../player/src/core/source.ts';
import { type Comment, commentFrom } from '../../player/src/view/comments.ts';
import type { ViewId } from '../../player/src/view/views.ts';
import { at, BASE } from '../src/lib/base';

/** A link that somebody was given. */
export type Link = {
  readonly token: string;
  /** Whether the page stands in a frame of another site. */
  readonly isEmbedded: boolean;
};

/** What a link shows, once it is open. */
export type Opened = {
  readonly pass: string;
  readonly title: string;
  /** The recording that it leads to; null where it leads to a collection. */
  readonly recording: string | null;
  /** Those of a collection, in order. */
  readonly recordings: readonly Listed[] | null;
  readonly start_ms: number;
  readonly has_inspector: boolean;
  readonly has_console: boolean;
  readonly has_network: boolean;
  readonly has_comments: boolean;
};

/** A recording of a collection. */
export type Listed = { readonly id: string; readonly start_ms: number; readonly duration_ms: number };

/** What came of opening a link. */
export type Outcome =
  | { readonly kind: 'open'; readonly opened: Opened }
  | { readonly kind: 'password'; readonly flaw: string | null }
  /** Wrong, expired, used up or revoked: nobody is told which. */
  | { readonly kind: 'gone' }
  | { readonly kind: 'offline' };

/** The link that an address of a page names. */
export function linkOf(path: string): Link | null {
  const [how, token, ...more] = path.slice(BASE.length).split('/').filter(Boolean);
  if (token === undefined || more.length > 0 || !/^[A-Za-z0-9]{1,200}$/.test(token)) return null;
  return { token, isEmbedded: how === 'embed' };
}

/** Below which path the recording of a link is. */
export const baseOf = ({ token }: Link) => at(`/share/${token}`);

/** Goes on with what this tab opened before, if that is still good: a reload is no second view. */
export async function goOn(link: Link): Promise<Opened | null> {
  const known = stored(link);
  if (known === null) return null;
  const path = `${baseOf(link)}/api/recordings`;
  const isOne = known.recording !== null;
  const reply = await apiOf(known)(isOne ? `${path}/${known.recording}` : path).catch(() => null);
  if (!reply?.ok) return null;
  if (isOne) return known;
  // What is in a collection may have changed since.
  const { recordings } = (await reply.json()) as { recordings: readonly Listed[] };
  return { ...known, recordings };
}

/** Opens a link, which counts as a view. */
export async function open(link: Link, password: string | null): Promise<Outcome> {
  try {
    const reply = await fetch(`${baseOf(link)}/open`, {
      method: 'POST',
      credentials: 'omit',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(password === null ? {} : { password }),
    });
    if (reply.ok) {
      const opened = (await reply.json()) as Opened;
      store(link, opened);
      return { kind: 'open', opened };
    }
    if (reply.status === 401) {
      return { kind: 'password', flaw: password === null ? null : 'This is not the password.' };
    }
    if (reply.status === 429) {
      return { kind: 'password', flaw: 'Too many passwords were wrong. Try again in a minute.' };
    }
    return reply.status === 404 ? { kind: 'gone' } : { kind: 'offline' };
  } catch {
    return { kind: 'offline' };
  }
}

/** How the player asks for the recording: with the pass, and without a cookie. */
export function apiOf({ pass }: Opened): Api {
  return (path, signal) =>
    fetch(path, {
      credentials: 'omit',
      headers: { authorization: `Bearer ${pass}` },
      ...(signal ? { signal } : {}),
    });
}

/** What people said of a recording that the link shows. */
export async function commentsOf(link: Link, opened: Opened, recording: string): Promise<readonly Comment[]> {
  const reply = await apiOf(opened)(`${baseOf(link)}/api/recordings/${recording}/comments`);
  if (!reply.ok) return [];
  const { comments } = (await reply.json()) as { comments: readonly unknown[] };
  return comments.map(commentFrom);
}

/** What may be listed beside the picture. */
export function viewsOf({ has_inspector, has_console, has_network, has_comments }: Opened): ViewId[] {
  const said: ViewId[] = has_comments ? ['comments'] : [];
  if (!has_inspector) return said;
  const views: ViewId[] = ['events'];
  if (has_console) views.push('console');
  if (has_network) views.push('network');
  if (has_console) views.push('errors');
  if (has_network) views.push('performance');
  // The tree of the page that is drawn, of which the link sends all there is.
  views.push('dom', ...said);
  return views;
}

const keyOf = ({ token }: Link) => `reelcase.share.${token}`;

function stored(link: Link): Opened | null {
  try {
    return JSON.parse(sessionStorage.getItem(keyOf(link)) ?? 'null') as Opened | null;
  } catch {
    return null;
  }
}

function store(link: Link, opened: Opened): void {
  try {
    sessionStorage.setItem(keyOf(link), JSON.stringify(opened));
  } catch {
    // Where nothing may be stored, each load of the page is a view.
  }
}
