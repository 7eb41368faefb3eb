/**
 * Tests of tasklets without sleeping, and of servers without a network.
 *
 * Runtime-neutral.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { type Clock, now, useClock } from "./timer.ts";

export {
  type MemoryConnection,
  type MemoryNetwork,
  memoryNetwork,
  type MemoryNetworkOptions,
  type NetworkConditions,
} from "./memory.ts";

/** Time that stands still, and jumps to the next timer when there is nothing else to do. */
export interface VirtualTime extends AsyncDisposable {
  /** Milliseconds since virtual time began. */
  readonly now: number;
  /** Goes on by `ms` milliseconds, timer by timer, and resolves when what they set off has come to rest. */
  advance(ms: number): Promise<void>;
}

/**
 * Replaces the clock of the library until disposed.
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
 * The clock jumps after a turn of the event loop in which no tasklet went on. What happens outside of the library
 * (sockets, files, child programs) is not waited for: use it where all that is waited for are tasklets and timers.
 */
export function virtualTime(): VirtualTime {
  const clock = new VirtualClock(Math.ceil(now()));
  const restored = useClock(clock);
  return {
    get now() {
      return clock.elapsed;
    },
    advance: (ms) => clock.advance(ms),
    [Symbol.asyncDispose]: () => {
      restored[Symbol.dispose]();
      return Promise.resolve();
    },
  };
}

class VirtualClock implements Clock {
  readonly #start: number;
  #now: number;
  #alarm: { readonly at: number; readonly wake: () => void } | undefined;
  #turns = 0; // asked for and not come yet
  #isWatching = false;
  #isAdvancing = false;

  constructor(start: number) {
    this.#start = this.#now = start;
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

  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    this.#isAdvancing = true;
    await this.#rest();
    while (this.#alarm !== undefined && this.#alarm.at <= end) {
      this.#jump();
      await this.#rest();
    }
    this.#now = end;
    this.#isAdvancing = false;
    this.#watch();
  }

  #watch(): void {
    if (this.#isWatching || this.#isAdvancing || this.#alarm === undefined) return;
    this.#isWatching = true;
    void this.#rest().then(() => {
      this.#isWatching = false;
      if (this.#alarm !== undefined && !this.#isAdvancing) this.#jump();
    });
  }

  #jump(): void {
    const { at, wake } = this.#alarm!;
    this.#alarm = undefined;
    this.#now = Math.max(this.#now, at);
    wake();
  }

  // Resolves after a turn in which nobody asked for another.
  #rest(): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (this.#turns === 0) resolve();
        else setImmediate(look);
      };
      setImmediate(look);
    });
  }
}
