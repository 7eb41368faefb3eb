/**
 * How late the event loop is, and who held it up.
 *
 * Runtime-neutral.
 *
 * @module
 */
import { clearInterval, setInterval } from "node:timers";
import { now } from "./timer.ts";

const PERIOD = 50; // milliseconds between two looks
const THRESHOLD = 100; // milliseconds from which on a delay is remembered as a block
const REMEMBERED = 60_000; // milliseconds for which it is
const MOST = 20;

/** A time in which the event loop did not turn. */
export interface Block {
  /** When it ended, by the library's clock. */
  readonly at: number;
  /** How long it lasted, in milliseconds. */
  readonly ms: number;
  /** Who was the last to begin something just before, if somebody was. */
  readonly by: { readonly id: number; readonly name: string } | undefined;
}

/** Measures how late the event loop is, by a timer that should come at regular times. Until disposed. */
export class LoopMeter implements Disposable {
  readonly #workerOf: (from: number) => Block["by"];
  readonly #timer: ReturnType<typeof setInterval>;
  #expected: number;
  #lag = 0;
  #blocks: Block[] = [];

  /**
   * Begins to measure. It keeps no program alive.
   *
   * @param workerOf Tells who began something just before a time from which on the event loop stood still.
   */
  constructor(workerOf: (from: number) => Block["by"]) {
    this.#workerOf = workerOf;
    this.#expected = performance.now() + PERIOD;
    this.#timer = setInterval(() => this.#look(), PERIOD);
    this.#timer.unref();
  }

  #look(): void {
    const time = performance.now();
    const late = Math.max(0, time - this.#expected);
    this.#expected = time + PERIOD;
    this.#lag = Math.max(this.#lag, late);
    if (late < THRESHOLD) return;
    const at = now();
    this.#blocks = [...this.#blocks, { at, ms: Math.round(late), by: this.#workerOf(at - late) }].slice(
      -MOST,
    );
  }

  /** The longest delay since the last call, in milliseconds, and the blocks of the last minute. */
  read(): { readonly lag: number; readonly blocks: readonly Block[] } {
    const lag = this.#lag;
    this.#lag = 0;
    const oldest = now() - REMEMBERED;
    this.#blocks = this.#blocks.filter(({ at }) => at > oldest);
    return { lag, blocks: this.#blocks };
  }

  /** Ends it. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
