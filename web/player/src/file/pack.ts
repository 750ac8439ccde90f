/**
 * Bytes as text, two characters for thirteen bits: the player, which every file holds, takes a twelfth less than as
 * base64. A character stands for 0 to 90 from `#` on, with `~` for `<`, which must not stand in a page.
 */

const ZERO = 35;
const LETTERS = 91;
const [LESS, TILDE] = [60, 126];
const BITS = 13;

/** What stands in the page for bytes. */
export function packed(bytes: Uint8Array): string {
  const out: number[] = [];
  let held = 0;
  let bits = 0;
  const write = () => {
    const group = held & (2 ** BITS - 1);
    for (const letter of [group % LETTERS, Math.floor(group / LETTERS)]) {
      out.push(letter + ZERO === LESS ? TILDE : letter + ZERO);
    }
    held >>= BITS;
    bits -= BITS;
  };
  for (const byte of bytes) {
    held |= byte << bits;
    bits += 8;
    if (bits >= BITS) write();
  }
  if (bits > 0) write();
  return out.map((code) => String.fromCharCode(code)).join('');
}

/** The bytes that `packed` made a text of, `length` of them. */
export function unpacked(text: string, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  const letter = (at: number) => {
    const code = text.charCodeAt(at);
    return (code === TILDE ? LESS : code) - ZERO;
  };
  let held = 0;
  let bits = 0;
  let at = 0;
  for (let place = 0; place < text.length; place += 2) {
    held |= (letter(place) + letter(place + 1) * LETTERS) << bits;
    for (bits += BITS; bits >= 8; bits -= 8) {
      bytes[at++] = held;
      held >>= 8;
    }
  }
  return bytes;
}
