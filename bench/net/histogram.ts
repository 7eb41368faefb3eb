/**
 * Latencies as percentiles, from counts: nothing is kept of a single one, so that counting costs next to nothing.
 *
 * @module
 */

const PER_OCTAVE = 32; // so that a percentile is right within 2.2 %
const OCTAVES = 32; // of microseconds: more than an hour
const LEAST = 2; // microseconds, below which nothing is told apart

/** Counts how often something took how long. */
export class Histogram {
  readonly #counts = new Float64Array(PER_OCTAVE * OCTAVES);
  #total = 0;
  #most = 0;

  /** How many were counted. */
  get total(): number {
    return this.#total;
  }

  /** The longest, in milliseconds; 0 if there was none. */
  get most(): number {
    return this.#most;
  }

  /** Counts something that took `ms` milliseconds, `count` times. */
  add(ms: number, count = 1): void {
    const place = Math.floor(PER_OCTAVE * Math.log2(Math.max(LEAST, 1000 * ms)));
    this.#counts[Math.min(place, PER_OCTAVE * OCTAVES - 1)]! += count;
    this.#total += count;
    if (ms > this.#most) this.#most = ms;
  }

  /** Adds what `other` has counted. */
  merge(other: Histogram): void {
    for (let i = 0; i < this.#counts.length; i++) this.#counts[i]! += other.#counts[i]!;
    this.#total += other.#total;
    this.#most = Math.max(this.#most, other.#most);
  }

  /** How many milliseconds `share` of all, from 0 to 1, took at most; `NaN` if there was none. */
  percentile(share: number): number {
    let left = share * this.#total;
    for (let i = 0; i < this.#counts.length; i++) {
      left -= this.#counts[i]!;
      if (left <= 0 && this.#total > 0) return Math.min(this.#most, 2 ** ((i + 0.5) / PER_OCTAVE) / 1000);
    }
    return NaN;
  }
}
