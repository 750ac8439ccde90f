import { mount } from 'svelte';
import tokens from '../../../app/src/tokens.css?inline';
import type { Replay } from '../frame/data-url.ts';
import type { Bytes } from './bytes.ts';
import File from './File.svelte';
import page from './file.css?inline';
import { inFile } from './place.ts';

/** Fills the page with a recording. `hashAt` is the part of the address that leads to a second of it. */
export function showFile(
  open: () => Promise<Bytes>,
  replay: Replay,
  hashAt: (second: number) => string,
): void {
  const style = document.createElement('style');
  style.textContent = tokens + page;
  document.head.append(style);
  const target = document.getElementById('app');
  if (target === null) return;
  target.textContent = '';
  mount(File, { target, props: { open, place: inFile(replay, hashAt) } });
}
