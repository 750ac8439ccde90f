/**
 * Takes the addresses out of style sheets that nothing may be loaded for. The content security policy would block each
 * of them, too, but it says so on the console every time, with the whole of the frame's own address: a style sheet
 * with a thousand pictures would keep the browser busy for a minute. What is overlooked here is still blocked there.
 */

import { LIMITS } from '../limits.ts';
import { pixelsOf } from './picture.ts';

const ESCAPE = '\\\\(?:[0-9a-fA-F]{1,6}\\s?|[^\\n0-9a-fA-F])';
const STRING = `"(?:[^"\\\\\\n]|\\\\[\\s\\S])*(?:"|$)|'(?:[^'\\\\\\n]|\\\\[\\s\\S])*(?:'|$)`;
const NAME = `@?(?:[-\\w\\u0080-\\uffff]|${ESCAPE})+`;
/** Comments, strings, names with the bracket that may follow them, and single brackets and semicolons. */
const TOKEN = new RegExp(`/\\*[\\s\\S]*?(?:\\*/|$)|${STRING}|${NAME}\\(?|[();{}]`, 'g');
/** The rest of `url(`. */
const ADDRESS = new RegExp(`\\s*(?:(${STRING})|((?:[^)"'\\s\\\\]|\\\\[\\s\\S])*))\\s*\\)?`, 'y');
const WORTH_A_LOOK = /url|src|image|@|\\/i;
const NOTHING = 'data:,';

function unescaped(text: string): string {
  return text.replace(/\\(?:([0-9a-fA-F]{1,6})\s?|([\s\S]))/g, (_all, hex?: string, char?: string) => {
    const code = Number.parseInt(hex ?? '', 16);
    return hex === undefined ? (char ?? '') : code <= 0x10ffff ? String.fromCodePoint(code) : '\ufffd';
  });
}

/** Whether nobody has to be asked for what stands there. */
function isLocal(address: string): boolean {
  if (address === '' || address.startsWith('#')) return true;
  return /^(data|blob):/i.test(address) && pixelsOf(address) <= LIMITS.picturePixels;
}

/** The style sheet, or a declaration's value, with nothing in it that would be fetched. */
export function withoutAddresses(css: string): string {
  if (!WORTH_A_LOOK.test(css)) return css;
  const out: string[] = [];
  let kept = 0;
  /** How many brackets are open, and at which of them texts began to be addresses. */
  let depth = 0;
  let texts = Number.POSITIVE_INFINITY;
  const replace = (from: number, to: number, by: string) => {
    out.push(css.slice(kept, from), by);
    kept = to;
  };
  TOKEN.lastIndex = 0;
  for (let match = TOKEN.exec(css); match !== null; match = TOKEN.exec(css)) {
    const [token] = match;
    const start = match.index;
    const first = token[0] ?? '';
    if (first === '"' || first === "'") {
      if (depth >= texts && !isLocal(unescaped(token.slice(1, -1))))
        replace(start, TOKEN.lastIndex, `"${NOTHING}"`);
    } else if (first === ')') {
      if (--depth < texts) texts = Number.POSITIVE_INFINITY;
    } else if (first === '@') {
      if (unescaped(token).toLowerCase() !== '@import') continue;
      const end = endOfImport(css, TOKEN.lastIndex);
      replace(start, end, '');
      TOKEN.lastIndex = end;
    } else if (token.endsWith('(')) {
      const name = unescaped(token.slice(0, -1)).toLowerCase();
      if (name === 'url') {
        ADDRESS.lastIndex = TOKEN.lastIndex;
        const [all, quoted, bare] = ADDRESS.exec(css) ?? [''];
        const end = TOKEN.lastIndex + all.length;
        const address = quoted === undefined ? (bare ?? '') : quoted.slice(1, -1);
        if (!isLocal(unescaped(address))) replace(start, end, `url("${NOTHING}")`);
        TOKEN.lastIndex = Math.max(end, TOKEN.lastIndex);
        continue;
      }
      depth++;
      if (/^(-webkit-)?image(-set)?$|^src$/.test(name)) texts = Math.min(texts, depth);
    }
  }
  out.push(css.slice(kept));
  return out.join('');
}

/** Where an import ends: at its semicolon, which may also stand within its texts. */
function endOfImport(css: string, from: number): number {
  const part = new RegExp(`${STRING}|url\\(\\s*[^)"']*\\)|;|\\}`, 'gi');
  part.lastIndex = from;
  for (let match = part.exec(css); match !== null; match = part.exec(css)) {
    if (match[0] === ';') return part.lastIndex;
    if (match[0] === '}') return match.index;
  }
  return css.length;
}
