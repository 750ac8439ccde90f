import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { curlOf } from '../src/core/curl.ts';

/** What the command's words are to a real shell, with `printf` in the place of curl. */
function wordsOf(command: string): string[] {
  const script = command.replace(/^curl /, "printf '%s\\0' ");
  const out = execFileSync('bash', ['--norc', '-c', script], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'] ?? '' },
  });
  return out.split('\0').slice(0, -1);
}

test('a request is a command that sends it again', () => {
  const command = curlOf({
    name: 'https://a.test/api/login?next=[1]{2}',
    method: 'POST',
    requestHeaders: { 'content-type': 'application/json', 'x-empty': '' },
    requestBody: '{"name":"O\'Hara"}',
  });
  expect(wordsOf(command ?? '')).toEqual([
    '--globoff',
    '--url',
    'https://a.test/api/login?next=[1]{2}',
    '--request',
    'POST',
    '--header',
    'content-type: application/json',
    '--header',
    'x-empty: ',
    '--data-raw',
    '{"name":"O\'Hara"}',
  ]);
});

test('a plain request needs no method, and an object is sent as JSON', () => {
  expect(curlOf({ name: 'http://a.test/', method: 'GET' })).toBe("curl --globoff --url 'http://a.test/'");
  expect(wordsOf(curlOf({ name: 'http://a.test/', requestBody: { a: 1 } }) ?? '').at(-1)).toBe('{"a":1}');
});

test('nothing recorded is more than text to shell, curl and terminal', () => {
  const evil = "'; touch /tmp/owned; echo '$(id) `id` \\ \u001b[201~\nrm -rf / \u0007\u009b!";
  const command = curlOf({
    name: `https://a.test/${evil}`,
    method: 'GET; rm -rf /',
    requestHeaders: { '@/etc/passwd': 'x', 'x-a': `1\r\nhost: evil ${evil}`, 'a b': '1', '-o': 'file' },
    requestBody: `@/etc/passwd ${evil}`,
  });
  // biome-ignore lint/suspicious/noControlCharactersInRegex: there must be none but the ends of our own lines.
  expect((command ?? '').replaceAll(' \\\n', '')).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
  const words = wordsOf(command ?? '');
  const flat = evil.replace(/[\r\n]+/g, ' ');
  expect(words).toEqual([
    '--globoff',
    '--url',
    `https://a.test/${evil}`,
    '--header',
    `x-a: 1 host: evil ${flat}`,
    '--header',
    '-o: file',
    '--data-raw',
    `@/etc/passwd ${evil}`,
  ]);
});

test('what was no request over HTTP is no command', () => {
  for (const name of ['file:///etc/passwd', '-o/etc/passwd', 'blob:https://a.test/1', '', 7]) {
    expect(curlOf({ name }), String(name)).toBeNull();
  }
});
