/**
 * Schedules: who goes on next, decided by a seed.
 *
 * Pure: the same seed makes the same decisions.
 *
 * @module
 */

/**
 * A sequence of numbers from 0 to 1 (1 excluded), the same for the same seed.
 *
 * @param seed An integer from 0 to 2³² − 1.
 */
export function randomOf(seed: number): () => number {
  // mulberry32, by Tommy Ettinger, 2017, in the public domain.
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Somebody who may go on, as often as they are let. */
export interface Candidate {
  /** Who goes on before whom, the higher before the lower. Kept by the schedule alone. */
  rank: number;
}

/** Decides who of several goes on next. */
export interface Schedule {
  /** The rank of somebody new. */
  rank(): number;
  /** The place in `candidates` of who goes on next; there is at least one. */
  next(candidates: readonly Candidate[]): number;
}

/** The schedule of a seed: half of them leave it to chance at each step, half follow ranks that chance has given. */
export function scheduleOf(seed: number): Schedule {
  const random = randomOf(seed);
  return random() < 0.5 ? new Lottery(random) : new Ranking(random);
}

/** Everybody has the same chance at each step. Good at finding what needs many switches from one to the other. */
class Lottery implements Schedule {
  readonly #random: () => number;

  constructor(random: () => number) {
    this.#random = random;
  }

  rank(): number {
    return 0;
  }

  next(candidates: readonly Candidate[]): number {
    return Math.floor(this.#random() * candidates.length);
  }
}

const MOST_DEMOTIONS = 3;
const SHORTEST = 4; // programs, in steps
const DOUBLINGS = 8;

/**
 * Who has the highest rank goes on as long as possible, except that at a few steps, picked by chance, the one in front
 * becomes the last. Good at finding what needs one to be far ahead of another, which a lottery makes as likely as
 * tossing heads many times in a row. (Source: Burckhardt, Kothari, Musuvathi, Nagarakatte, "A Randomized Scheduler with
 * Probabilistic Guarantees of Finding Bugs", ASPLOS 2010.)
 *
 * The steps are picked from the length of the program, which is guessed. Beyond four times of that a lottery goes on, so
 * that one who only yields cannot keep the others waiting for ever.
 */
class Ranking implements Schedule {
  readonly #random: () => number;
  readonly #length: number;
  readonly #demotions = new Set<number>();
  readonly #lottery: Lottery;
  #steps = 0;

  constructor(random: () => number) {
    this.#random = random;
    this.#lottery = new Lottery(random);
    this.#length = SHORTEST * 2 ** Math.floor(random() * DOUBLINGS);
    for (let left = Math.floor(random() * (MOST_DEMOTIONS + 1)); left > 0; left--) {
      this.#demotions.add(Math.floor(random() * this.#length));
    }
  }

  rank(): number {
    return 1 + this.#random();
  }

  next(candidates: readonly Candidate[]): number {
    const step = this.#steps++;
    if (step >= 4 * this.#length) return this.#lottery.next(candidates);
    if (this.#demotions.has(step)) candidates[highest(candidates)]!.rank = -step;
    return highest(candidates);
  }
}

function highest(candidates: readonly Candidate[]): number {
  let best = 0;
  for (const [i, { rank }] of candidates.entries()) if (rank > candidates[best]!.rank) best = i;
  return best;
}
