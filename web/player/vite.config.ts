import { fileURLToPath } from 'node:url';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type Plugin } from 'vite';
import { precompress } from '../precompress.ts';
import { codeOf, encryptedPage, fileTemplate } from './build/file.ts';
import { hashOf, inline, leanReplayer, literal, policy, replayOf } from './build/replay.ts';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/**
 * Packs the two scripts into one HTML file and writes the headers that fit it, what recordings saved as one file are
 * made of, and the element for other people's pages.
 */
function frameDocument(): Plugin {
  return {
    name: 'frame-document',
    enforce: 'post',
    async generateBundle(_options, bundle) {
      const code = new Map<string, string>();
      for (const [file, part] of Object.entries(bundle)) {
        if (part.type !== 'chunk') continue;
        if (part.imports.length > 0)
          this.error(`${part.name} must be one piece, it imports ${part.imports.join()}`);
        code.set(part.name, part.code);
        delete bundle[file];
      }
      const { replay, hash } = replayOf(code.get('main') ?? '');
      const shell = inline(`const REPLAY=${literal(replay)};${code.get('shell') ?? ''}`);
      const page =
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Replay</title>' +
        '<style>html,body{margin:0;height:100%;overflow:hidden;background:transparent;color-scheme:light}iframe{border:0;width:100%;height:100%;display:block}</style>' +
        `<body><script>${shell}</script></body></html>`;
      const scripts = `${hashOf(shell)} ${hash}`;
      const emit = (fileName: string, source: string) => this.emitFile({ type: 'asset', fileName, source });
      emit('frame.html', page);
      emit('csp.txt', `${policy('none', scripts, 'data:')}; frame-ancestors 'self'`);
      emit('csp-remote.txt', `${policy('remote', scripts, 'data:')}; frame-ancestors 'self'`);
      emit('file.txt', await fileTemplate({ replay, hash }));
      emit('encrypted.html', await encryptedPage({ replay, hash }));
      emit('reelcase-player.js', await codeOf('src/element/reelcase-player.ts'));
    },
  };
}

export default defineConfig({
  root: here('.'),
  publicDir: false,
  // The frame holds no Svelte; the plugin is here for the checker, which asks the nearest configuration.
  plugins: [
    svelte({ configFile: here('../svelte.config.js') }),
    leanReplayer(),
    frameDocument(),
    precompress(),
  ],
  build: {
    outDir: here('../dist/player'),
    emptyOutDir: true,
    target: 'es2022',
    modulePreload: false,
    rolldownOptions: { input: { main: here('./src/frame/main.ts'), shell: here('./src/frame/shell.ts') } },
  },
});
