/**
 * Gives style sheets what a replay needs of them. Nobody hovers in a replay: the replayer marks what the pointer was
 * over with the class `:hover`, and rules for `:hover` have to hold for it, too. And the recorded screen is the frame,
 * so questions for the device's size become questions for the frame's.
 *
 * The replayer's package brings a whole CSS parser for this, twice. One pass over the text is enough, takes a small
 * part of the time before the first frame, and a third off the document.
 */

const STRING = `"(?:[^"\\\\\\n]|\\\\[\\s\\S])*(?:"|$)?|'(?:[^'\\\\\\n]|\\\\[\\s\\S])*(?:'|$)?`;
/** What may hold characters that mean nothing there, and the characters that mean something elsewhere. */
const TOKEN = new RegExp(
  `/\\*[\\s\\S]*?(?:\\*/|$)|${STRING}|\\\\[\\s\\S]|\\burl\\(\\s*(?:[^)"'\\s\\\\][^)\\\\]*(?:\\\\[\\s\\S][^)\\\\]*)*)?\\)?|[(){};,]`,
  'gi',
);
const COMMENT = /\/\*[\s\S]*?(?:\*\/|$)/g;
/** After a backslash it is part of a name: `.sm\:hover\:bold`. */
const HOVER = /(?<!\\):hover(?![-\w\\\u0080-\uffff])/g;
const DEVICE_SIZE = /\b(max|min)-device-(width|height)\b/g;
const WORTH_A_LOOK = /:hover|-device-/;

/** The style sheet with rules for `:hover` that hold for the class, too, and with sizes of the frame. */
export function adaptCss(css: string): string {
  if (!WORTH_A_LOOK.test(css)) return css;
  const out: string[] = [];
  let kept = 0;
  /** Where what stands before the next bracket begins, and the commas in it that separate selectors. */
  let start = 0;
  let commas: number[] = [];
  let depth = 0;
  TOKEN.lastIndex = 0;
  for (let match = TOKEN.exec(css); match !== null; match = TOKEN.exec(css)) {
    const [token] = match;
    const at = match.index;
    if (token === '(') depth++;
    else if (token === ')') depth = Math.max(0, depth - 1);
    else if (token === ',' && depth === 0) commas.push(at);
    else if (token === '{' || token === '}' || (token === ';' && depth === 0)) {
      if (token !== '}') {
        const prelude = css.slice(start, at);
        const adapted = adaptPrelude(prelude, token, start, commas);
        if (adapted !== prelude) {
          out.push(css.slice(kept, start), adapted);
          kept = at;
        }
      }
      start = at + 1;
      commas = [];
      depth = 0;
    }
  }
  if (kept === 0) return css;
  out.push(css.slice(kept));
  return out.join('');
}

/** What stands before a bracket or a semicolon: a rule's selectors, an at-rule's conditions, or a declaration. */
function adaptPrelude(prelude: string, end: string, start: number, commas: readonly number[]): string {
  if (!WORTH_A_LOOK.test(prelude)) return prelude;
  const isAtRule = prelude.replace(COMMENT, '').trimStart().startsWith('@');
  if (isAtRule) return prelude.replace(DEVICE_SIZE, '$1-$2');
  if (end !== '{') return prelude;
  const cuts = [-1, ...commas.map((comma) => comma - start), prelude.length];
  const more: string[] = [];
  for (let i = 1; i < cuts.length; i++) {
    const selector = prelude.slice((cuts[i - 1] ?? 0) + 1, cuts[i]).replace(COMMENT, '');
    const twin = selector.replace(HOVER, '.\\:hover');
    if (twin !== selector) more.push(twin);
  }
  return [prelude, ...more].join(',');
}
