import { asObject, type Json } from './record.ts';

const TOKEN = /^[\w!#$%&'*+.^`|~-]+$/;

/**
 * A request as a command for a shell, null where it was none over HTTP. Everything in it is a stranger's: nothing may be
 * more than the text it is, neither to the shell, nor to curl, nor to a terminal into which it is pasted.
 */
export function curlOf(request: Json): string | null {
  const { name: url, method, requestHeaders, requestBody } = request;
  if (typeof url !== 'string' || !/^https?:\/\//i.test(url)) return null;
  // Addresses may hold brackets, which curl would take for a list of addresses.
  const parts = [`curl --globoff --url ${quoted(url)}`];
  if (typeof method === 'string' && TOKEN.test(method) && method !== 'GET') parts.push(`--request ${method}`);
  for (const [name, value] of Object.entries(asObject(requestHeaders) ?? {})) {
    // A name that is none could be a file to read headers from.
    if (TOKEN.test(name)) parts.push(`--header ${quoted(`${name}: ${oneLine(value)}`)}`);
  }
  const body = bodyText(requestBody);
  if (body !== '') parts.push(`--data-raw ${quoted(body)}`);
  return parts.join(' \\\n  ');
}

/** A body as it was sent, as far as it was recorded. */
export function bodyText(body: unknown): string {
  if (body === null || body === undefined) return '';
  return typeof body === 'string' ? body : JSON.stringify(body);
}

function oneLine(value: unknown): string {
  return String(value).replace(/[\r\n]+/g, ' ');
}

/** One word of a shell. Characters that a terminal would obey are written as numbers. */
function quoted(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
  const control = /[\u0000-\u001f\u007f-\u009f]/g;
  if (!control.test(text)) return `'${text.replaceAll("'", `'\\''`)}'`;
  const escaped = text
    .replaceAll('\\', '\\\\')
    .replaceAll("'", "\\'")
    .replaceAll('\n', '\\n')
    .replaceAll('\t', '\\t')
    .replace(control, asNumber);
  return `$'${escaped}'`;
}

/** Bytes of UTF-8, which a shell understands in every locale. No argument can hold the first character of all. */
function asNumber(char: string): string {
  const code = char.charCodeAt(0);
  if (code === 0) return '';
  const hex = (byte: number) => `\\x${byte.toString(16).padStart(2, '0')}`;
  return code < 0x80 ? hex(code) : hex(0xc2) + hex(code);
}
