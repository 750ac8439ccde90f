import type { Replay } from '../frame/data-url.ts';
import { EmbeddedBytes } from './bytes.ts';
import { showFile } from './show.ts';

/** The build puts it here. */
declare const REPLAY: Replay;

async function open(): Promise<EmbeddedBytes> {
  const pieces = [...document.querySelectorAll('script.reel')];
  return new EmbeddedBytes(pieces.map((piece) => (piece.textContent ?? '').trim()));
}

showFile(open, REPLAY, (second) => `t=${second}`);
