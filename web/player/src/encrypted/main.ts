import { showFile } from '../file/show.ts';
import type { Replay } from '../frame/data-url.ts';
import { EncryptedBytes } from './bytes.ts';
import { keyFromText } from './keys.ts';

/** The build puts it here. */
declare const REPLAY: Replay;

/** Which file the address names, and with which key. */
function named(): { readonly file: string; readonly key: string } {
  const said = new URLSearchParams(location.hash.slice(1));
  return { file: said.get('file') ?? '', key: said.get('key') ?? '' };
}

const { file, key } = named();

async function open(): Promise<EncryptedBytes> {
  // A name and no path: the page opens what lies beside it, and nothing else.
  const isName = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}$/.test(file);
  const bytes = keyFromText(key);
  if (!isName || bytes === null)
    throw new Error('the address names no recording or no key; the link may not be whole');
  if (location.protocol === 'file:') throw new Error('this page and the file have to lie on a web server');
  if (globalThis.crypto?.subtle === undefined)
    throw new Error('browsers decrypt only on pages that came by https');
  return EncryptedBytes.open(new URL(file, location.href.split('#')[0]).href, bytes).catch((reason) => {
    // What `fetch` throws names nothing that would help.
    throw reason instanceof TypeError ? new Error('the host of the file cannot be reached') : reason;
  });
}

function hashAt(second: number): string {
  return new URLSearchParams({ file, key, t: String(second) }).toString();
}

addEventListener('hashchange', () => {
  const now = named();
  if (now.file !== file || now.key !== key) location.reload();
});

showFile(open, REPLAY, hashAt);
