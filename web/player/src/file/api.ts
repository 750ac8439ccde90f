import { Decompress } from 'fzstd';
import type { Api } from '../core/source.ts';
import type { Bytes } from './bytes.ts';
import type { Reel } from './reel.ts';

/** What was asked for is not there any more: the file was deleted while it was watched. */
export class Gone extends Error {}

/** Answers the player from the file, as the server would. */
export function answersFrom(reel: Reel, bytes: Bytes): Api {
  const path = `/api/recordings/${encodeURIComponent(reel.id)}`;
  const missing = () => new Response(null, { status: 404 });
  return async (asked, signal) => {
    const extent = reel.extents.get(asked);
    if (asked === path) return Response.json(reel.summary);
    if (asked === `${path}/blocks`) return Response.json(reel.list);
    if (extent === undefined) return missing();
    try {
      return new Response(linesOf(await bytes.pieces(extent.offset, extent.bytes, signal)));
    } catch (reason) {
      if (reason instanceof Gone) return missing();
      throw reason;
    }
  };
}

/** The lines of a block while they are uncompressed. */
export function linesOf(pieces: AsyncIterator<Uint8Array>): ReadableStream<Uint8Array> {
  const decoder = new Decompress();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      let hasMore = false;
      // Each piece is handed on to a worker, while the decompressor goes on reading its own.
      decoder.ondata = (piece) => {
        if (piece.length > 0) controller.enqueue(piece.slice());
        hasMore ||= piece.length > 0;
      };
      // What compresses badly fills several pieces before there is anything; a stream is asked only once for it.
      while (!hasMore) {
        const { done, value } = await pieces.next();
        decoder.push(value ?? new Uint8Array(), done === true);
        if (done) return controller.close();
      }
    },
    async cancel() {
      await pieces.return?.();
    },
  });
}
