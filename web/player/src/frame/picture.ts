/**
 * How many pixels a picture claims to have. A few kilobytes can stand for gigabytes of them, which a browser makes as
 * soon as it draws the picture; the head tells beforehand.
 */

const HEAD_CHARS = 1 << 16;

/** The pixels of a picture given as a base64 data URL; 0 where its head says nothing that is known here. */
export function pixelsOf(url: string): number {
  const start = url.indexOf(',') + 1;
  if (start === 0 || !/;\s*base64\s*$/i.test(url.slice(0, start - 1))) return 0;
  // Part of the text is enough; a base64 text is cut at fours.
  const text = url.slice(start, start + HEAD_CHARS).replace(/[^A-Za-z0-9+/]/g, '');
  let head: Uint8Array;
  try {
    head = Uint8Array.from(atob(text.slice(0, text.length & ~3)), (char) => char.charCodeAt(0));
  } catch {
    return 0;
  }
  const view = new DataView(head.buffer);
  try {
    return pixelsIn(view);
  } catch {
    return 0;
  }
}

function pixelsIn(view: DataView): number {
  switch (view.getUint16(0)) {
    case 0x8950:
      return view.getUint32(16) * view.getUint32(20);
    case 0x4749:
      return view.getUint16(6, true) * view.getUint16(8, true);
    case 0x424d:
      return Math.abs(view.getInt32(18, true) * view.getInt32(22, true));
    case 0x5249:
      return webpPixels(view);
    case 0xffd8:
      return jpegPixels(view);
    default:
      return 0;
  }
}

function webpPixels(view: DataView): number {
  const form = view.getUint32(12);
  if (form === 0x56503858)
    return ((view.getUint32(24, true) & 0xffffff) + 1) * ((view.getUint32(26, true) >>> 8) + 1);
  if (form === 0x5650384c) {
    const bits = view.getUint32(21, true);
    return ((bits & 0x3fff) + 1) * (((bits >>> 14) & 0x3fff) + 1);
  }
  return (view.getUint16(26, true) & 0x3fff) * (view.getUint16(28, true) & 0x3fff);
}

/** The size stands in the first frame header, after pieces that say how long they are. */
function jpegPixels(view: DataView): number {
  for (let at = 2; at < view.byteLength; at += 2 + view.getUint16(at + 2)) {
    const marker = view.getUint16(at);
    const isFrame = marker >= 0xffc0 && marker <= 0xffcf && ![0xffc4, 0xffc8, 0xffcc].includes(marker);
    if (isFrame) return view.getUint16(at + 5) * view.getUint16(at + 7);
  }
  return 0;
}
