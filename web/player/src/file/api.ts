import { Decompress } from 'fzstd';
import type { Api } from '../core/source.ts';
import type { EmbeddedBytes } from './bytes.ts';
import type { Extent, Reel } from './reel.ts';

/** Compressed bytes that are undone in one turn: some ten milliseconds of work. */
const TURN_BYTES = 32 << 10;

/** Answers the player from the file, as the server would. */
export function answersFrom(reel: Reel, bytes: EmbeddedBytes): Api {
  const path = `/api/recordings/${encodeURIComponent(reel.id)}`;
  return async (asked) => {
    const extent = reel.extents.get(asked);
    if (extent !== undefined) return new Response(linesOf(bytes, extent));
    if (asked === path) return Response.json(reel.summary);
    if (asked === `${path}/blocks`) return Response.json(reel.list);
    return new Response(null, { status: 404 });
  };
}

/** The lines of a block while they are uncompressed, which leaves the page room to answer the viewer. */
function linesOf(bytes: EmbeddedBytes, { offset, bytes: length }: Extent): ReadableStream<Uint8Array> {
  const decoder = new Decompress();
  let at = 0;
  return new ReadableStream<Uint8Array>({
    start(controller) {
      // Each piece is handed on to a worker, while the decompressor goes on reading its own.
      decoder.ondata = (piece) => {
        if (piece.length > 0) controller.enqueue(piece.slice());
      };
    },
    async pull(controller) {
      await new Promise((done) => setTimeout(done));
      const count = Math.min(TURN_BYTES, length - at);
      decoder.push(bytes.read(offset + at, count), at + count === length);
      at += count;
      if (at === length) controller.close();
    },
  });
}
