import { mount } from 'svelte';
import tokens from '../../../app/src/tokens.css?inline';
import type { Replay } from '../frame/data-url.ts';
import { EmbeddedBytes } from './bytes.ts';
import File from './File.svelte';
import page from './file.css?inline';

/** The build puts it here. */
declare const REPLAY: Replay;

const style = document.createElement('style');
style.textContent = tokens + page;
document.head.append(style);
const pieces = [...document.querySelectorAll('script.reel')].map((piece) => (piece.textContent ?? '').trim());
const target = document.getElementById('app');
if (target !== null) {
  target.textContent = '';
  mount(File, { target, props: { bytes: new EmbeddedBytes(pieces), replay: REPLAY } });
}
