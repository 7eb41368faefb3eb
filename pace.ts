/**
 * Pace: how often something may happen, with some ahead of time.
 *
 * Runtime-neutral and pure: the time is a parameter.
 *
 * @module
 */

/** How often something may happen. */
export interface PaceOptions {
  /**
   * How many at once, after a pause: a positive integer.
   *
   * @default {1}
   */
  burst?: number | undefined;
  /** How many a second on average, more than 0. */
  perSecond: number;
}

/**
 * Tells how long to wait before something happens again.
 *
 * One number is all it keeps: when everything that has happened would have happened, had it come evenly. (Source: the
 * generic cell rate algorithm, ITU-T I.371; the same as a token bucket that holds `burst` tokens.)
 */
export class Pace {
  readonly #period: number;
  readonly #ahead: number;
  #evenly = -Infinity;

  /**
   * Creates a pace at which nothing has happened yet.
   *
   * @throws {RangeError} If `perSecond` is not more than 0, or `burst` is not a positive integer.
   */
  constructor({ burst = 1, perSecond }: PaceOptions) {
    if (!(perSecond > 0)) {
      throw new RangeError(`Cannot keep a pace: "perSecond" must be more than 0, got ${perSecond}`);
    }
    if (!Number.isSafeInteger(burst) || burst < 1) {
      throw new RangeError(`Cannot keep a pace: "burst" must be a positive integer, got ${burst}`);
    }
    this.#period = 1000 / perSecond;
    this.#ahead = (burst - 1) * this.#period;
  }

  /** Milliseconds from `now` until the next may happen; 0 if it may now. */
  delay(now: number): number {
    return Math.max(0, this.#evenly - this.#ahead - now);
  }

  /** Tells that one happens at `now`. */
  count(now: number): void {
    this.#evenly = Math.max(this.#evenly, now) + this.#period;
  }
}
