import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Plugin } from 'vite';

const here = (path: string) => fileURLToPath(new URL(`../${path}`, import.meta.url));

/** How a policy names a script that stands in the page. */
export const hashOf = (script: string) => `'sha256-${createHash('sha256').update(script).digest('base64')}'`;
/** A script inside a script element must not hold anything that looks like the element's end. */
export const inline = (code: string) =>
  `(()=>{${code.trim()}})()`.replaceAll('</script', '<\\/script').replaceAll('<!--', '<\\!--');
export const literal = (value: unknown) => JSON.stringify(value).replaceAll('<', '\\u003c');

/** The policy from `csp.txt` with the scripts and frames it is for. */
export function policy(assets: 'none' | 'remote', scripts: string, frames: string): string {
  const remote = assets === 'remote' ? ' https: http:' : '';
  return readFileSync(here('csp.txt'), 'utf8')
    .trim()
    .replace('{scripts}', scripts)
    .replace('{frames}', frames)
    .replaceAll('{styles}', remote)
    .replaceAll('{assets}', remote);
}

/** The document that replays, of the code of `frame/main.ts`: a `Replay`, and the hash of its script. */
export function replayOf(code: string) {
  const style = readFileSync(here('src/frame/frame.css'), 'utf8').replace(/\s+/g, ' ');
  const script = inline(code);
  const document =
    `<!doctype html><html lang="en" data-assets="{assets}"><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">` +
    `<title>Replay</title><style>${style}</style><body><div id="stage"></div><script>${script}</script></body></html>`;
  const hash = hashOf(script);
  const policies = { none: policy('none', hash, `'none'`), remote: policy('remote', hash, `'none'`) };
  return { replay: { document, policies }, hash };
}

/**
 * The replayer's package holds PostCSS twice, of which a replay needs one function: `frame/hover.ts` does its work. What
 * is left of both copies is then used by nobody. The version is pinned, so a miss means that somebody upgraded it and
 * should look here.
 */
export function withoutPostcss(): Plugin {
  const adapts =
    /const ast = postcss\$1\(\[\s*mediaSelectorPlugin,\s*pseudoClassPlugin\s*\]\)\.process\(cssText\);/;
  const cuts: readonly [RegExp, string][] = [
    [adapts, 'const ast = { css: adaptCss(cssText) };'],
    [/var (postcssExports(?:\$1)?) = requirePostcss(?:\$1)?\(\);/g, 'var $1 = {};'],
    [/^postcss(?:\$1)?\.\w+;$/gm, ''],
    // A worker that recorders use and a replay does not.
    [/^const jsContent = .*$/m, ''],
    [/^typeof self !== "undefined" && self\.Blob && new Blob\(\[jsContent\].*$/m, ''],
  ];
  return {
    name: 'without-postcss',
    transform(code, id) {
      if (!id.endsWith('@rrweb/replay/dist/replay.js')) return null;
      let out = `import { adaptCss } from ${literal(here('src/frame/hover.ts'))};\n${code}`;
      for (const [part, by] of cuts) {
        if (out.search(part) < 0) this.error('@rrweb/replay has changed: see withoutPostcss');
        out = out.replace(part, by);
      }
      return { code: out, map: null };
    },
  };
}
