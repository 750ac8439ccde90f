/** A body cut into pieces of one length, but for the last. */
export async function* inPieces(
  body: ReadableStream<Uint8Array>,
  bytes: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const reader = body.getReader();
  let piece = new Uint8Array(bytes);
  let filled = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      for (let at = 0; at < value.length; ) {
        const part = value.subarray(at, at + bytes - filled);
        piece.set(part, filled);
        filled += part.length;
        at += part.length;
        if (filled < bytes) continue;
        yield piece;
        piece = new Uint8Array(bytes);
        filled = 0;
      }
    }
    if (filled > 0) yield piece.slice(0, filled);
  } finally {
    void reader.cancel().catch(() => {});
  }
}
