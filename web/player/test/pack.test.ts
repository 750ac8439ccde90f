import { expect, test } from 'vitest';
import { packed, unpacked } from '../src/file/pack.ts';

test('bytes come back from their text, and no text can end the script around it', () => {
  const bytes = Uint8Array.from({ length: 4000 }, (_, i) => (i * i * 31 + i) & 255);
  for (const length of [0, 1, 3, 4, 5, 4000]) {
    const some = bytes.slice(0, length);
    const text = packed(some);
    expect(text.length).toBe(Math.ceil((length * 8) / 13) * 2);
    expect(text).not.toMatch(/[<\s]/);
    expect(unpacked(text, length)).toEqual(some);
  }
  const ends = Uint8Array.of(255, 255, 255, 255, 0, 0, 0, 0);
  expect(unpacked(packed(ends), 8)).toEqual(ends);
});
