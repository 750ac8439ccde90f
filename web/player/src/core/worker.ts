/** Starts the worker that reads blocks. A file of its own has another, which is in the file: `file/worker.ts`. */
export function startWorker(): Worker {
  return new Worker(new URL('./parse-worker.ts', import.meta.url), { type: 'module' });
}
