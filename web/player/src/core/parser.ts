import { LineSplitter } from './lines.ts';
import type { WorkerAnswer, WorkerRequest } from './parse-worker.ts';
import { type ParsedLine, parseLine } from './record.ts';

/** Receives parsed lines in order. */
export type OnLines = (lines: readonly ParsedLine[], damaged: number) => void;

/** Turns a body into parsed lines while it arrives. */
export type Parser = {
  parse(body: ReadableStream<Uint8Array>, onLines: OnLines): Promise<void>;
  close(): void;
};

/** A parser on the calling thread: for tests, and where a page forbids workers. */
export function inlineParser(): Parser {
  return {
    async parse(body, onLines) {
      const splitter = new LineSplitter();
      const emit = (text: string[]) => {
        const parsed = text.map(parseLine);
        const lines = parsed.filter((line) => line !== null);
        if (parsed.length > 0) onLines(lines, parsed.length - lines.length);
      };
      await eachChunk(body, (chunk) => emit(splitter.push(chunk)));
      emit(splitter.finish());
    },
    close() {},
  };
}

/** A parser in a worker, so that reading a large block never holds up a frame on the screen. */
export function workerParser(): Parser {
  const worker = new Worker(new URL('./parse-worker.ts', import.meta.url), { type: 'module' });
  const jobs = new Map<number, { onLines: OnLines; done: () => void; fail: (reason: Error) => void }>();
  let next = 1;
  worker.onmessage = (message: MessageEvent<WorkerAnswer>) => {
    const { job, lines, damaged, done } = message.data;
    const entry = jobs.get(job);
    if (entry === undefined) return;
    entry.onLines(lines, damaged);
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
    async parse(body, onLines) {
      const job = next++;
      const finished = new Promise<void>((done, fail) => jobs.set(job, { onLines, done, fail }));
      // A failure of the download is thrown below; without this line it would also count as unhandled.
      finished.catch(() => {});
      try {
        await eachChunk(body, (bytes) => send({ kind: 'chunk', job, bytes }, [bytes.buffer]));
      } catch (reason) {
        jobs.delete(job);
        throw reason;
      }
      send({ kind: 'end', job }, []);
      await finished;
    },
    close: () => worker.terminate(),
  };
}

async function eachChunk(body: ReadableStream<Uint8Array>, use: (chunk: Uint8Array) => void): Promise<void> {
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    use(value);
  }
}
