import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { ATTACHMENTS } from '../src/lib/attach.ts';

const docs = readFileSync(fileURLToPath(new URL('../../../docs/snippets.md', import.meta.url)), 'utf8');

test.each(ATTACHMENTS.map(({ name, code }) => [name, code] as const))(
  'docs/snippets.md has what the app offers for %s',
  (_name, code) => {
    expect(docs).toContain(`\`\`\`js\n${code('https://replay.example.com/')}\n\`\`\``);
  },
);
