/** The speeds a viewer can choose. */
export const SPEEDS = [0.5, 1, 2, 4, 8, 16] as const;
export type Speed = (typeof SPEEDS)[number];

/**
 * The player's own clock: a position in the recording that moves at a rate while it runs. The replayer has none:
 * it draws what it is told, so that seeking, waiting for data and skipping need no agreement between two clocks.
 */
export class Clock {
  readonly #now: () => number;
  #position = 0;
  #since = 0;
  #rate = 1;
  #running = false;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** The position in milliseconds. */
  get at(): number {
    return this.#running ? this.#position + (this.#now() - this.#since) * this.#rate : this.#position;
  }

  get running(): boolean {
    return this.#running;
  }

  get rate(): number {
    return this.#rate;
  }

  run(): void {
    this.#settle();
    this.#running = true;
  }

  hold(): void {
    this.#settle();
    this.#running = false;
  }

  seek(position: number): void {
    this.#position = position;
    this.#since = this.#now();
  }

  setRate(rate: number): void {
    if (rate === this.#rate) return;
    this.#settle();
    this.#rate = rate;
  }

  #settle(): void {
    this.#position = this.at;
    this.#since = this.#now();
  }
}

const SKIP_SECONDS = 1.5;
const SKIP_RATE_MAX = 360;

/**
 * How to cross an idle stretch: run through it in about a second and a half, so that the viewer sees that time
 * passes, or jump where even the fastest run would take too long.
 */
export function skipPlan(
  idleLeftMs: number,
  speed: number,
): { kind: 'run'; rate: number } | { kind: 'jump' } {
  const rate = idleLeftMs / (SKIP_SECONDS * 1000);
  if (rate > SKIP_RATE_MAX) return { kind: 'jump' };
  return { kind: 'run', rate: Math.max(rate, speed, 8) };
}
