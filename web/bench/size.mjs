import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { build } from 'vite';

const web = join(dirname(fileURLToPath(import.meta.url)), '..');
const gzipKb = (path) => gzipSync(readFileSync(path), { level: 9 }).length / 1000;
/** Recordings of web pages need nothing of what draws the screens of apps. */
const isCode = (name) => /\.(js|css)$/.test(name) && !name.startsWith('screen-');

/** What the build makes of the player, for as long as `use` takes. */
async function withPlayer(use) {
  const dir = mkdtempSync(join(tmpdir(), 'reelcase-size-'));
  await build({ configFile: join(web, 'player/vite.config.ts'), logLevel: 'error', build: { outDir: dir } });
  const found = use(dir);
  rmSync(dir, { recursive: true, force: true });
  return found;
}

/** What a file of one page has beside its recording. */
export const fileKb = () => withPlayer((dir) => statSync(join(dir, 'file.txt')).size / 1000);

/** Everything a page loads to play a recording, the frame's document included. */
export async function playerKb() {
  const dir = mkdtempSync(join(tmpdir(), 'reelcase-size-'));
  const page = join(dir, 'page');
  await build({
    root: join(web, 'e2e/player/page'),
    configFile: false,
    logLevel: 'error',
    plugins: [svelte({ configFile: join(web, 'svelte.config.js') })],
    build: { outDir: page, emptyOutDir: true, modulePreload: { polyfill: false }, target: 'es2022' },
  });
  const assets = readdirSync(join(page, 'assets')).filter(isCode);
  const frameKb = await withPlayer((frame) => gzipKb(join(frame, 'frame.html')));
  const kb = assets.reduce((sum, name) => sum + gzipKb(join(page, 'assets', name)), frameKb);
  rmSync(dir, { recursive: true, force: true });
  return kb;
}

/** The same of rrweb-player. */
export function rrwebPlayerKb() {
  const dist = join(web, 'node_modules/rrweb-player/dist');
  return gzipKb(join(dist, 'rrweb-player.umd.min.cjs')) + gzipKb(join(dist, 'style.min.css'));
}
