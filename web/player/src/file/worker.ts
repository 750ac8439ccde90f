import ParseWorker from '../core/parse-worker.ts?worker&inline';

/** Takes the place of `core/worker.ts` in a file, which can load no other. */
export function startWorker(): Worker {
  return new ParseWorker();
}
