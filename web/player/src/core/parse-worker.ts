import { LineSplitter } from './lines.ts';
import { type Piece, type Purpose, Reading } from './reading.ts';

/** What the page sends: the bytes of one block, in order, then `end`. */
export type WorkerRequest =
  | { readonly kind: 'chunk'; readonly job: number; readonly purpose: Purpose; readonly bytes: Uint8Array }
  | { readonly kind: 'end'; readonly job: number; readonly purpose: Purpose };

/** What comes back after each request, in one or more pieces. `taken` says how many bytes are done with. */
export type WorkerAnswer = {
  readonly job: number;
  readonly piece: Piece;
  readonly taken: number;
  readonly done: boolean;
};

/** Lines of one answer: the page takes in one after the other, and answers its viewer between them. */
const LINES_MAX = 1_000;

const reading = new Reading();
const jobs = new Map<number, LineSplitter>();

self.onmessage = (message: MessageEvent<WorkerRequest>) => {
  const request = message.data;
  let splitter = jobs.get(request.job);
  if (splitter === undefined) {
    splitter = new LineSplitter();
    jobs.set(request.job, splitter);
    reading.begin(request.purpose);
  }
  const isEnd = request.kind === 'end';
  const lines = isEnd ? splitter.finish() : splitter.push(request.bytes);
  if (isEnd) jobs.delete(request.job);
  const taken = isEnd ? 0 : request.bytes.length;
  for (let from = 0; from === 0 || from < lines.length; from += LINES_MAX) {
    const piece = reading.read(lines.slice(from, from + LINES_MAX), request.purpose);
    const isLast = from + LINES_MAX >= lines.length;
    const answer: WorkerAnswer = {
      job: request.job,
      piece,
      taken: isLast ? taken : 0,
      done: isEnd && isLast,
    };
    self.postMessage(answer);
  }
};
