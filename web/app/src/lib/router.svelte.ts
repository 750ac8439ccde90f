import { BASE } from './base';

/** Where the app is: one variant for each page it has. */
export type Route =
  | { readonly kind: 'home' }
  | { readonly kind: 'start' }
  | { readonly kind: 'recordings' }
  | { readonly kind: 'recording'; readonly id: string }
  | { readonly kind: 'collections' }
  | { readonly kind: 'collection'; readonly id: string }
  | { readonly kind: 'settings' }
  | { readonly kind: 'exports' }
  | { readonly kind: 'doctor' }
  | { readonly kind: 'unknown' };

let current = $state.raw(readLocation());
/** Whether the reader came here by Back, and so expects the page as it was left. */
let cameBack = false;
/** Whether the reader may go: a page with something unsaved asks. */
let mayLeave: () => boolean = () => true;

/** The page the address names. */
export function route(): Route {
  return routeOf(current.path);
}

/** The address's query. Changes with every navigation. */
export function query(): URLSearchParams {
  return new URLSearchParams(current.query);
}

/** Whether the page that is shown was gone back to. */
export function isReturn(): boolean {
  return cameBack;
}

/** Reads a path. A trailing slash makes no difference. */
export function routeOf(path: string): Route {
  const parts = path.split('/').filter((part) => part !== '');
  const [first, second] = parts;
  if (parts.length === 0) return { kind: 'home' };
  if (parts.length === 1 && first === 'start') return { kind: 'start' };
  if (parts.length === 1 && first === 'recordings') return { kind: 'recordings' };
  if (parts.length === 1 && first === 'collections') return { kind: 'collections' };
  if (parts.length === 1 && first === 'settings') return { kind: 'settings' };
  if (parts.length === 2 && first === 'settings' && second === 'exports') return { kind: 'exports' };
  if (parts.length === 1 && first === 'doctor') return { kind: 'doctor' };
  if (parts.length === 2 && first === 'recordings' && second !== undefined) {
    const id = decoded(second);
    if (/^[A-Za-z0-9-]{1,70}$/.test(id)) return { kind: 'recording', id };
  }
  if (parts.length === 2 && first === 'collections' && /^[0-9a-f]{1,64}$/.test(second ?? '')) {
    return { kind: 'collection', id: second ?? '' };
  }
  return { kind: 'unknown' };
}

/** Has `ask` decide whether the reader may leave, by a link, by Back or by closing the tab, until the result is called. */
export function guardLeaving(isDirty: () => boolean, ask: () => boolean): () => void {
  mayLeave = () => !isDirty() || ask();
  const onUnload = (event: BeforeUnloadEvent) => {
    if (isDirty()) event.preventDefault();
  };
  addEventListener('beforeunload', onUnload);
  return () => {
    mayLeave = () => true;
    removeEventListener('beforeunload', onUnload);
  };
}

/** Goes to an address of the app. With `replace`, Back skips where we are now. */
export function navigate(to: string, how: 'push' | 'replace' = 'push'): void {
  if (to === location.pathname + location.search) return;
  if (how === 'push') cameBack = false;
  if (how === 'push') history.pushState(null, '', to);
  else history.replaceState(null, '', to);
  current = readLocation();
}

/** Follows the browser's Back and Forward and turns plain clicks on the app's own links into navigation. */
export function startRouter(): () => void {
  // The list knows better than the browser where it was: its rows are not all there when the browser looks.
  history.scrollRestoration = 'manual';
  const onPop = () => {
    if (!mayLeave()) {
      history.pushState(null, '', BASE + current.path + current.query);
      return;
    }
    cameBack = true;
    current = readLocation();
  };
  addEventListener('popstate', onPop);
  document.addEventListener('click', onClick);
  return () => {
    removeEventListener('popstate', onPop);
    document.removeEventListener('click', onClick);
  };
}

function onClick(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = event.target instanceof Element ? event.target.closest('a') : null;
  if (link?.target !== '' || link.hasAttribute('download') || link.origin !== location.origin) return;
  if (link.hash !== '' || routeOf(pathOf(link.pathname)).kind === 'unknown') return;
  event.preventDefault();
  if (!mayLeave()) return;
  navigate(link.pathname + link.search);
  cameBack = link.dataset['return'] !== undefined;
  scrollTo(0, 0);
}

function readLocation(): { path: string; query: string } {
  return { path: pathOf(location.pathname), query: location.search };
}

/** The app's own path in an address, without what the server is mounted below. */
function pathOf(address: string): string {
  return address === BASE || address.startsWith(`${BASE}/`) ? address.slice(BASE.length) : address;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
