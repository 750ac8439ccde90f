/**
 * Bytes as text, five characters for four: the player, which every file holds, takes a sixteenth less than as base64. A
 * character stands for 0 to 84 from `(` on, with `}` for `<`, which must not stand in a page.
 */

const ZERO = 40;
const [LESS, BRACE] = [60, 125];

/** What stands in the page for bytes. They are filled up with zeros to whole groups. */
export function packed(bytes: Uint8Array): string {
  let out = '';
  for (let at = 0; at < bytes.length; at += 4) {
    let group = 0;
    for (let i = 0; i < 4; i++) group = group * 256 + (bytes[at + i] ?? 0);
    let letters = '';
    for (let i = 0; i < 5; i++) {
      const code = ZERO + (group % 85);
      letters = String.fromCharCode(code === LESS ? BRACE : code) + letters;
      group = Math.floor(group / 85);
    }
    out += letters;
  }
  return out;
}

/** The bytes that `packed` made a text of, `length` of them. */
export function unpacked(text: string, length: number): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer((text.length / 5) * 4));
  for (let at = 0; at < text.length; at += 5) {
    let group = 0;
    for (let i = 0; i < 5; i++) {
      const code = text.charCodeAt(at + i);
      group = group * 85 + (code === BRACE ? LESS : code) - ZERO;
    }
    view.setUint32((at / 5) * 4, group);
  }
  return new Uint8Array(view.buffer, 0, length);
}
