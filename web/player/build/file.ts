import { fileURLToPath } from 'node:url';
import { deflateAsync } from '@gfx/zopfli';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { build } from 'vite';
import { packed } from '../src/file/pack.ts';
import { hashOf, inline, literal, policy } from './replay.ts';

const here = (path: string) => fileURLToPath(new URL(`../${path}`, import.meta.url));

/** Where the recording belongs in the template. */
const RECORDING = '<!--recording-->';

/**
 * How often it is tried to pack the player better. Every file holds it, so that some seconds of the build are well spent:
 * it takes a twenty-fifth less than zlib makes of it, and browsers undo either.
 */
const PACKED_TRIES = 5;

/** The document that replays, and the hash of its script. */
type Replay = { readonly replay: { readonly document: string }; readonly hash: string };

/**
 * The HTML file around a recording: player and inspector, packed, and a policy under which nothing else runs and nothing
 * is fetched. What was recorded is only ever base64 in it.
 */
export function fileTemplate(replay: Replay): Promise<string> {
  return page(replay, 'src/file/main.ts', 'none', '<!doctype html><!-- reelcase recording 1 -->', RECORDING);
}

/** The page that plays encrypted files beside it: the same, but that it may fetch from where it came from. */
export function encryptedPage(replay: Replay): Promise<string> {
  return page(replay, 'src/encrypted/main.ts', 'self', '<!doctype html>', '');
}

async function page(
  { replay, hash: replayHash }: Replay,
  entry: string,
  fetches: 'none' | 'self',
  begins: string,
  recording: string,
): Promise<string> {
  const player = inline(`const REPLAY=${literal(replay)};${await codeOf(entry)}`);
  const boot = inline(await codeOf('src/file/boot.ts'));
  const scripts = [boot, player].map(hashOf).join(' ');
  const closed = `${policy('none', `${scripts} ${replayHash}`, 'data:')}; worker-src blob:`;
  const rules = closed.replace("connect-src 'none'", `connect-src '${fetches}'`);
  const bytes = await deflateAsync(player, { numiterations: PACKED_TRIES });
  return [
    begins,
    '<html lang="en"><meta charset="utf-8">',
    `<meta http-equiv="Content-Security-Policy" content="${rules}">`,
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">',
    '<title>Recording – Reelcase</title>',
    '<body><div id="app"><noscript>A recording plays in this file, which needs JavaScript for it.</noscript></div>',
    `<script type="text/plain" id="player" data-bytes="${bytes.length}">${packed(bytes)}</script>`,
    recording,
    `<script>${boot}</script></body></html>\n`,
  ].join('\n');
}

/** One entry with all it needs, as one script. */
export async function codeOf(entry: string): Promise<string> {
  const built = await build({
    configFile: false,
    root: here('.'),
    publicDir: false,
    logLevel: 'error',
    plugins: [
      {
        name: 'worker-of-the-file',
        enforce: 'pre',
        resolveId: (id, importer) =>
          id === './worker.ts' && importer?.endsWith('/core/parser.ts') ? here('src/file/worker.ts') : null,
      },
      svelte({ configFile: here('../svelte.config.js'), compilerOptions: { css: 'injected' } }),
    ],
    build: {
      write: false,
      target: 'es2022',
      modulePreload: false,
      rolldownOptions: { input: here(entry), output: { format: 'iife', codeSplitting: false } },
    },
  });
  const parts = (Array.isArray(built) ? built : [built]).flatMap((one) =>
    'output' in one ? one.output : [],
  );
  const [chunk, ...others] = parts;
  if (chunk?.type !== 'chunk' || others.length > 0)
    throw new Error(`${entry} must be one script, and is ${parts.map(({ fileName }) => fileName).join()}`);
  return chunk.code;
}
