import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type Plugin } from 'vite';
import { precompress } from '../precompress.ts';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const hashOf = (script: string) => `'sha256-${createHash('sha256').update(script).digest('base64')}'`;
/** A script inside a script element must not hold anything that looks like the element's end. */
const inline = (code: string) =>
  `(()=>{${code.trim()}})()`.replaceAll('</script', '<\\/script').replaceAll('<!--', '<\\!--');
const literal = (value: unknown) => JSON.stringify(value).replaceAll('<', '\\u003c');

const STYLE = readFileSync(here('./src/frame/frame.css'), 'utf8').replace(/\s+/g, ' ');

/** The policy from `csp.txt` with the scripts and frames it is for. */
function policy(assets: 'none' | 'remote', scripts: string, frames: string): string {
  const remote = assets === 'remote' ? ' https: http:' : '';
  return readFileSync(here('./csp.txt'), 'utf8')
    .trim()
    .replace('{scripts}', scripts)
    .replace('{frames}', frames)
    .replaceAll('{styles}', remote)
    .replaceAll('{assets}', remote);
}

/** Packs the two scripts into one HTML file and writes the headers that fit it. */
function frameDocument(): Plugin {
  return {
    name: 'frame-document',
    enforce: 'post',
    generateBundle(_options, bundle) {
      const code = new Map<string, string>();
      for (const [file, part] of Object.entries(bundle)) {
        if (part.type !== 'chunk') continue;
        if (part.imports.length > 0)
          this.error(`${part.name} must be one piece, it imports ${part.imports.join()}`);
        code.set(part.name, part.code);
        delete bundle[file];
      }
      const replay = inline(code.get('main') ?? '');
      const document =
        `<!doctype html><html lang="en" data-assets="{assets}"><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">` +
        `<title>Replay</title><style>${STYLE}</style><body><div id="stage"></div><script>${replay}</script></body></html>`;
      const own = hashOf(replay);
      const policies = { none: policy('none', own, `'none'`), remote: policy('remote', own, `'none'`) };
      const shell = inline(
        `const REPLAY_DOCUMENT=${literal(document)},POLICIES=${literal(policies)};${code.get('shell') ?? ''}`,
      );
      const page =
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Replay</title>' +
        '<style>html,body{margin:0;height:100%;overflow:hidden;background:transparent;color-scheme:light}iframe{border:0;width:100%;height:100%;display:block}</style>' +
        `<body><script>${shell}</script></body></html>`;
      const scripts = `${hashOf(shell)} ${own}`;
      const emit = (fileName: string, source: string) => this.emitFile({ type: 'asset', fileName, source });
      emit('frame.html', page);
      emit('csp.txt', `${policy('none', scripts, 'data:')}; frame-ancestors 'self'`);
      emit('csp-remote.txt', `${policy('remote', scripts, 'data:')}; frame-ancestors 'self'`);
    },
  };
}

/**
 * The replayer's package holds PostCSS twice, of which a replay needs one function: `frame/hover.ts` does its work. What
 * is left of both copies is then used by nobody. The version is pinned, so a miss means that somebody upgraded it and
 * should look here.
 */
function withoutPostcss(): Plugin {
  const adapts =
    /const ast = postcss\$1\(\[\s*mediaSelectorPlugin,\s*pseudoClassPlugin\s*\]\)\.process\(cssText\);/;
  const cuts: readonly [RegExp, string][] = [
    [adapts, 'const ast = { css: adaptCss(cssText) };'],
    [/var (postcssExports(?:\$1)?) = requirePostcss(?:\$1)?\(\);/g, 'var $1 = {};'],
    [/^postcss(?:\$1)?\.\w+;$/gm, ''],
  ];
  return {
    name: 'without-postcss',
    transform(code, id) {
      if (!id.endsWith('@rrweb/replay/dist/replay.js')) return null;
      let out = `import { adaptCss } from ${literal(here('./src/frame/hover.ts'))};\n${code}`;
      for (const [part, by] of cuts) {
        if (out.search(part) < 0) this.error('@rrweb/replay has changed: see withoutPostcss');
        out = out.replace(part, by);
      }
      return { code: out, map: null };
    },
  };
}

export default defineConfig({
  root: here('.'),
  publicDir: false,
  // The frame holds no Svelte; the plugin is here for the checker, which asks the nearest configuration.
  plugins: [
    svelte({ configFile: here('../svelte.config.js') }),
    withoutPostcss(),
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
