import type { WorkerAnswer, WorkerRequest } from './parse-worker.ts';
import type { Piece, Purpose } from './reading.ts';
import { startWorker } from './worker.ts';

/** Receives what was read, in order, and how many bytes are done with since the piece before. */
export type OnPiece = (piece: Piece, bytes: number) => void;

/** Reads a body while it arrives. */
export type Parser = {
  parse(body: ReadableStream<Uint8Array>, purpose: Purpose, onPiece: OnPiece): Promise<void>;
  close(): void;
};

/** Bytes that may wait for the worker. Without the limit a fast network would fill memory with them. */
const WAITING_BYTES_MAX = 2 << 20;

/** A parser that starts when it is first used, so that its worker does not start beside one that is waited for. */
export function lateParser(): Parser {
  let parser: Parser | null = null;
  return {
    parse(body, purpose, onPiece) {
      parser ??= newParser();
      return parser.parse(body, purpose, onPiece);
    },
    close: () => parser?.close(),
  };
}

type Job = {
  readonly onPiece: OnPiece;
  readonly done: () => void;
  readonly fail: (reason: Error) => void;
  waitingBytes: number;
  onRoom: () => void;
};

/** A parser in a worker, so that reading a large block never holds up a frame on the screen. */
export function newParser(): Parser {
  const worker = startWorker();
  const jobs = new Map<number, Job>();
  const intern = interner();
  let next = 1;
  worker.onmessage = (message: MessageEvent<WorkerAnswer>) => {
    const { job, piece, taken, done } = message.data;
    const entry = jobs.get(job);
    if (entry === undefined) return;
    entry.waitingBytes -= taken;
    entry.onPiece(intern(piece), taken);
    entry.onRoom();
    if (!done) return;
    jobs.delete(job);
    entry.done();
  };
  worker.onerror = () => {
    for (const entry of jobs.values()) entry.fail(new Error('the parser stopped'));
    jobs.clear();
  };
  const send = (request: WorkerRequest, transfer: Transferable[]) => worker.postMessage(request, transfer);
  return {
    async parse(body, purpose, onPiece) {
      const id = next++;
      const finished = new Promise<void>((done, fail) => {
        jobs.set(id, { onPiece, done, fail, waitingBytes: 0, onRoom: () => {} });
      });
      // A failure of the download is thrown below; without this line it would also count as unhandled.
      finished.catch(() => {});
      try {
        await eachChunk(body, async (bytes) => {
          const job = jobs.get(id);
          if (job === undefined) return finished;
          job.waitingBytes += bytes.length;
          send({ kind: 'chunk', job: id, purpose, bytes }, [bytes.buffer]);
          while (job.waitingBytes > WAITING_BYTES_MAX && jobs.has(id)) {
            await new Promise<void>((room) => {
              job.onRoom = room;
            });
          }
        });
      } catch (reason) {
        jobs.delete(id);
        // The worker forgets the job's rest as well.
        send({ kind: 'end', job: id, purpose }, []);
        throw reason;
      }
      send({ kind: 'end', job: id, purpose }, []);
      await finished;
    },
    close: () => worker.terminate(),
  };
}

/** Every message brings its own copies of the windows' ids; one of each is enough. */
function interner(): (piece: Piece) => Piece {
  const known = new Map<string, string>();
  const one = (text: string) => {
    const found = known.get(text);
    if (found === undefined) known.set(text, text);
    return found ?? text;
  };
  return (piece) => {
    for (const item of [...piece.records, ...piece.marks, ...piece.rows, ...piece.moments] as {
      window: string;
    }[]) {
      item.window = one(item.window);
    }
    return piece;
  };
}

async function eachChunk(
  body: ReadableStream<Uint8Array>,
  use: (chunk: Uint8Array) => Promise<void>,
): Promise<void> {
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    await use(value);
  }
}
