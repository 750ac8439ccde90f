/**
 * Path below which a reverse proxy mounts the server, such as `/replay`; empty where it has an address to itself. The
 * server writes it into the page.
 */
export const BASE = written().replace(/\/+$/, '');

/** The address of a path of the server. */
export function at(path: string): string {
  return BASE + path;
}

function written(): string {
  if (typeof document === 'undefined') return '';
  return document.querySelector<HTMLMetaElement>('meta[name="base-path"]')?.content ?? '';
}
