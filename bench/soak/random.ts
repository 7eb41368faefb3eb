/**
 * Chance that can be had again: the same seed gives the same numbers.
 *
 * @module
 */

/** Random numbers from a seed. (Source: Tommy Ettinger, "Mulberry32", 2017, public domain.) */
export class Random {
  #state: number;

  /** Begins with `seed`, a whole number. */
  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** From 0 to less than 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from `least` to `most`. */
  whole(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  /** One of `items`. */
  pick<T>(items: readonly T[]): T {
    return items[this.whole(0, items.length - 1)]!;
  }

  /** Random bytes. */
  bytes(count: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length: count }, () => this.whole(0, 255));
  }

  /** Another one, which does not depend on how far this one has come by then. */
  split(): Random {
    return new Random(this.whole(0, 2 ** 32 - 1));
  }
}
