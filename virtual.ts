/**
 * Virtual time: tests of what takes hours, in no time.
 *
 * Runtime-neutral.
 *
 * @module
 */
import { setImmediate, setTimeout } from "node:timers";
import { countAtWork, isAtWork, type Life } from "./life.ts";
import { liveTasklets } from "./quiet.ts";
import { suspend } from "./suspend.ts";
import { checkMs, type Clock, isSystemTime, now, useClock } from "./timer.ts";
import { waitCounts } from "./wait.ts";

/** How virtual time goes on. */
export interface VirtualTimeOptions {
  /**
   * Real milliseconds of silence after which nothing is expected any more from outside of the program; with `Infinity`,
   * time stands still until it has come.
   *
   * @default {10}
   */
  patience?: number | undefined;
}

/** Time that stands still, and jumps to the next timer when there is nothing else to do. */
export interface VirtualTime extends AsyncDisposable {
  /** Milliseconds since virtual time began. */
  readonly now: number;
  /**
   * Goes on by `ms` milliseconds, timer by timer, and resolves when what they set off has come to rest. In a tasklet it
   * is a wait point; the time goes on to its end whatever becomes of who waits.
   */
  advance(ms: number): Promise<void>;
}

/**
 * Replaces the clock of the library until disposed, so that tests need not sleep.
 *
 * ```ts
 * import { Tasklet } from "@x/concurrence";
 * import { virtualTime } from "@x/concurrence/testing";
 *
 * await using time = virtualTime();
 * await Tasklet.sleep(3_600_000); // at once
 * console.log(time.now); // 3600000
 * ```
 *
 * - **Standing still**: the clock stands still while any tasklet goes on, however many turns of the event loop it takes,
 *   and jumps to the next timer when all wait for each other and for time.
 * - **The outside**: while anybody is at a socket of the system, or in a `Tasklet.suspend` that says that it waits for
 *   something from outside of the program, the clock jumps only after `patience` real milliseconds in which nobody went
 *   on. They begin anew with each wait that ends, so that a conversation over a loopback socket takes no virtual time at
 *   all. What takes longer to come, such as the answer of a child program, needs more patience.
 * - **Promises** may be settled from anywhere: by another tasklet, or by a file that has been read. So the clock has the
 *   same patience, once, with each `Tasklet.wait`, and with a tasklet that awaits a promise without a wait point.
 *
 * Not seen at all is what code outside of tasklets awaits, unless by one of these wait points. With sockets of the system
 * each jump takes its `patience`; those of `memoryNetwork` need none.
 *
 * @throws {Error} If the clock has been replaced already: by virtual time, or by `explore`.
 * @throws {RangeError} If `patience` is negative or not a number.
 */
export function virtualTime({ patience = 10 }: VirtualTimeOptions = {}): VirtualTime {
  checkMs("begin virtual time", "patience", patience);
  if (!isSystemTime()) throw new Error("Cannot begin virtual time: the clock has been replaced already");
  const clock = new VirtualClock(Math.ceil(now()), patience);
  const restored = useClock(clock);
  return {
    get now() {
      return clock.elapsed;
    },
    // No plain promise: a tasklet that awaits one is at work, and the clock would have patience with it.
    advance: (ms) => {
      checkMs("advance", "ms", ms);
      const go: Parameters<typeof suspend<void>>[0] = (resume, fail) =>
        void clock.advance(ms).then(resume, fail);
      return suspend<void>(go, Infinity, "for virtual time to go on");
    },
    [Symbol.asyncDispose]: async () => {
      restored[Symbol.dispose]();
      await clock.end();
    },
  };
}

// How long to leave the program to the world outside before looking again, in real milliseconds.
const NAP = 2;

/**
 * A clock that jumps.
 *
 * It watches from the moment an alarm is set: turn after turn of the event loop, until one comes in which nobody asked
 * for another; then, if somebody may hear from outside, nap after nap of real time. Naps are counted rather than
 * measured, because each of them lets the event loop look at sockets and files, be the machine as busy as it may.
 */
class VirtualClock implements Clock {
  readonly #start: number;
  readonly #naps: number; // in which nothing comes, before nothing is expected any more
  #now: number;
  #alarm: { readonly at: number; readonly wake: () => void } | undefined;
  #turns = 0; // asked for and not come yet
  // Waits for who knows what, and tasklets at no wait point, that have taken longer than the patience lasts: they do not
  // hold the clock up again.
  #givenUp: ReadonlySet<unknown> = new Set();
  #watching: Promise<void> | undefined;
  #advancing: Promise<void> | undefined; // the last of those that stand in line
  #isOver = false;

  constructor(start: number, patience: number) {
    this.#start = this.#now = start;
    this.#naps = Math.ceil(patience / NAP);
  }

  get elapsed(): number {
    return this.#now - this.#start;
  }

  now(): number {
    return this.#now;
  }

  wakeAt(at: number, wake: () => void): void {
    this.#alarm = at === Infinity ? undefined : { at, wake };
    this.#watch();
  }

  turn(go: () => void): void {
    this.#turns++;
    setImmediate(() => {
      this.#turns--;
      go();
    });
  }

  /** Goes on by `ms`, after whoever asked for that before. */
  advance(ms: number): Promise<void> {
    const before = this.#advancing ?? Promise.resolve();
    const advancing: Promise<void> = before.then(() => this.#advance(ms)).finally(() => {
      if (this.#advancing === advancing) this.#advancing = undefined;
      this.#watch();
    });
    return this.#advancing = advancing;
  }

  async #advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await this.#rest();
    while (this.#alarm !== undefined && this.#alarm.at <= end) {
      this.#jump();
      await this.#rest();
    }
    this.#now = Math.max(this.#now, end);
  }

  /** Lets go of the event loop; nothing jumps any more. */
  async end(): Promise<void> {
    this.#isOver = true;
    await this.#watching;
    await this.#advancing;
  }

  #watch(): void {
    if (this.#watching !== undefined || this.#advancing !== undefined || this.#alarm === undefined) return;
    this.#watching = this.#rest().then(() => {
      this.#watching = undefined;
      if (this.#alarm !== undefined && this.#advancing === undefined) this.#jump();
    });
  }

  #jump(): void {
    const { at, wake } = this.#alarm!;
    this.#alarm = undefined;
    this.#now = Math.max(this.#now, at);
    wake();
  }

  // Resolves when nobody goes on any more, and nothing is expected from outside.
  async #rest(): Promise<void> {
    await this.#quietTurn();
    for (let left = this.#naps; !this.#isOver && this.#mayHearFromOutside(); left--) {
      if (left <= 0) return this.#giveUp();
      const { ended } = waitCounts();
      await new Promise<void>((resolve) => void setTimeout(resolve, NAP));
      if (waitCounts().ended === ended && this.#turns === 0) continue;
      await this.#quietTurn();
      left = this.#naps + 1;
    }
  }

  #mayHearFromOutside(): boolean {
    const { outside, unknown } = waitCounts();
    const all = [...unknown, ...tasksAtWork()];
    const known = all.filter((each) => this.#givenUp.has(each));
    this.#givenUp = new Set(known);
    return outside > 0 || known.length < all.length;
  }

  #giveUp(): void {
    this.#givenUp = new Set([...waitCounts().unknown, ...tasksAtWork()]);
  }

  // Resolves after a turn in which nobody asked for another.
  #quietTurn(): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (this.#turns === 0 || this.#isOver) resolve();
        else setImmediate(look);
      };
      setImmediate(look);
    });
  }
}

function tasksAtWork(): Life[] {
  if (countAtWork() === 0) return []; // as nearly always
  return liveTasklets().filter(isAtWork);
}
