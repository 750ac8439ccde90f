import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

const here = dirname(fileURLToPath(import.meta.url));
const web = join(here, '../..');

/** Builds the player's frame without its sanitiser. */
async function buildWithoutSanitiser(outDir) {
  await build({
    logLevel: 'error',
    configFile: join(web, 'player/vite.config.ts'),
    build: { outDir },
    plugins: [
      {
        name: 'no-sanitiser',
        enforce: 'pre',
        resolveId: (source) => (source === './sanitise.ts' ? join(here, 'no-sanitiser.mjs') : null),
      },
    ],
  });
}

/** Takes every policy out of a frame, and lets its inner sandbox run scripts. */
function withoutPolicy(frame) {
  const changes = [
    [/http-equiv=(\W+)Content-Security-Policy\1/, 'name=$1x$1'],
    [
      /setAttribute\((\W+)sandbox\1,(\W+)allow-same-origin\2\)/,
      'setAttribute($1sandbox$1,$2allow-same-origin allow-scripts$2)',
    ],
    [/(\w+)\.length===1&&\1\[0\]===(\W+)allow-same-origin\2/, '!0'],
  ];
  return changes.reduce((text, [from, to]) => {
    if (!from.test(text)) throw new Error(`the frame is built otherwise than this test knows: ${from}`);
    return text.replace(from, to);
  }, frame);
}

/** The frame with only some of its walls: what to answer at `/player/frame` in place of the real one. */
export async function walls(dir) {
  await buildWithoutSanitiser(dir);
  const read = (folder, file) => readFileSync(join(folder, file), 'utf8').trim();
  return {
    sanitiser: { body: withoutPolicy(read(join(web, 'dist/player'), 'frame.html')), policy: null },
    policy: { body: read(dir, 'frame.html'), policy: read(dir, 'csp.txt') },
  };
}
