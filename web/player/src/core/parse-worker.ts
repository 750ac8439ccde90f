import { LineSplitter } from './lines.ts';
import { type ParsedLine, parseLine } from './record.ts';

/** What the page sends: the bytes of one block, in order, then `end`. */
export type WorkerRequest =
  | { readonly kind: 'chunk'; readonly job: number; readonly bytes: Uint8Array }
  | { readonly kind: 'end'; readonly job: number };

/** What comes back: lines as they are complete; `damaged` counts lines that were not events. */
export type WorkerAnswer = {
  readonly job: number;
  readonly lines: readonly ParsedLine[];
  readonly damaged: number;
  readonly done: boolean;
};

const jobs = new Map<number, LineSplitter>();

self.onmessage = (message: MessageEvent<WorkerRequest>) => {
  const request = message.data;
  const splitter = jobs.get(request.job) ?? new LineSplitter();
  jobs.set(request.job, splitter);
  const text = request.kind === 'chunk' ? splitter.push(request.bytes) : splitter.finish();
  if (request.kind === 'end') jobs.delete(request.job);
  const parsed = text.map(parseLine);
  const lines = parsed.filter((line) => line !== null);
  const done = request.kind === 'end';
  if (lines.length === 0 && !done && parsed.length === 0) return;
  const answer: WorkerAnswer = { job: request.job, lines, damaged: parsed.length - lines.length, done };
  self.postMessage(answer);
};
