/**
 * A server watched over time: what it holds of the machine, and whether that grows.
 *
 * @module
 */
import type { Child } from "../net/child.ts";

/** What a server held at one moment. */
export interface Sample {
  /** Minutes since the beginning. */
  readonly minute: number;
  /** Bytes of memory. */
  readonly rss: number;
  /** Open descriptors. */
  readonly descriptors: number;
}

/** Takes samples of a server until it is disposed. */
export class Watch implements Disposable {
  /** All of them, oldest first. */
  readonly samples: Sample[] = [];
  readonly #server: Child;
  readonly #since = performance.now();
  readonly #timer: ReturnType<typeof setInterval>;

  /** Begins to watch `server`: a sample each `ms` milliseconds, and one at once. */
  constructor(server: Child, ms: number) {
    this.#server = server;
    this.look();
    this.#timer = setInterval(() => this.look(), ms);
  }

  /** Takes a sample now. */
  look(): Sample {
    const minute = (performance.now() - this.#since) / 60_000;
    const sample = { minute, rss: this.#server.rss, descriptors: this.#server.descriptors };
    this.samples.push(sample);
    return sample;
  }

  /** Takes no more. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/** By how much `value` grows in a minute, as the straight line tells that fits best: 0 of fewer than two samples. */
export function slope(samples: readonly Sample[], value: (sample: Sample) => number): number {
  const mean = (f: (sample: Sample) => number) =>
    samples.reduce((sum, sample) => sum + f(sample), 0) / samples.length;
  const minute = mean((sample) => sample.minute);
  const middle = mean(value);
  const spread = mean((sample) => (sample.minute - minute) ** 2);
  return spread > 0 ? mean((sample) => (sample.minute - minute) * (value(sample) - middle)) / spread : 0;
}
