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
 * Takes out of the replayer's package what this player never asks for, which is more than half of it. The version is
 * pinned, so a miss means that somebody upgraded it and should look here.
 */
export function leanReplayer(): Plugin {
  const cuts: readonly [RegExp, string][] = [
    // PostCSS is in it twice, for one function: `frame/hover.ts` does its work.
    [
      /const ast = postcss\$1\(\[\s*mediaSelectorPlugin,\s*pseudoClassPlugin\s*\]\)\.process\(cssText\);/,
      'const ast = { css: adaptCss(cssText) };',
    ],
    [/var (postcssExports(?:\$1)?) = requirePostcss(?:\$1)?\(\);/g, 'var $1 = {};'],
    [/^postcss(?:\$1)?\.\w+;$/gm, ''],
    // A worker that recorders use and a replay does not.
    [/^const jsContent = .*$/m, ''],
    [/^typeof self !== "undefined" && self\.Blob && new Blob\(\[jsContent\].*$/m, ''],
    // A second tree beside the page, which the stage does without: see `useVirtualDom` there.
    [/this\.config\.useVirtualDom|this\.usingVirtualDom(?! =)|\w+ instanceof BaseRRNode/g, 'false'],
    [/^.*"virtualDom", new RRDocument\(\)\);$/m, ''],
    // Canvases are the stage's own business: see `frame/canvas.ts`.
    [/this\.config\.UNSAFE_replayCanvas/g, 'false'],
    [/ {2}async preloadAllImages\(\) \{[\s\S]*?\n(?= {2}applyIncremental\()/, ''],
    [/void canvasMutation\(/g, 'void ('],
    // So are films and sounds: see `frame/media.ts`.
    [/this\.mediaManager\.isSupportedMediaElement\(builtNode\)/, 'false'],
    // Every browser that this player starts in scrolls smoothly by itself.
    [/\bpolyfill\(\s*this\.iframe\.contentWindow,\s*this\.iframe\.contentDocument\s*\);/, ''],
  ];
  return {
    name: 'lean-replayer',
    transform(code, id) {
      if (!id.endsWith('@rrweb/replay/dist/replay.js')) return null;
      let out = `import { adaptCss } from ${literal(here('src/frame/hover.ts'))};\n${code}`;
      for (const [part, by] of cuts) {
        if (out.search(part) < 0) this.error(`@rrweb/replay has changed: it holds no ${part.source}`);
        out = out.replace(part, by);
      }
      return { code: out, map: null };
    },
  };
}
