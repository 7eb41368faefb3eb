/**
 * Time: one clock, one heap of timers over it, and deadlines.
 *
 * Nothing else in the library reads the time, sets a timer or takes a turn of the event loop, so replacing the
 * clock ({@linkcode useClock}) replaces time as a whole.
 *
 * Runtime-neutral: no Deno namespace.
 *
 * @module
 */
import { clearTimeout, setImmediate, setTimeout } from "node:timers";
import { running } from "./context.ts";

/** A wait that took too long. Nothing is lost by it: what was waited for can be waited for again. */
export class TimeoutError extends Error {
  /** `"TimeoutError"`. */
  override readonly name = "TimeoutError";
}

/** Where time comes from. Times are milliseconds since some fixed moment and never go back. */
export interface Clock {
  /** The time now. */
  now(): number;
  /** A time that is cheaper to tell, for whoever only measures a few milliseconds: it may jump. @default {now} */
  coarse?(): number;
  /** Calls `wake` once at time `at` or soon after, in place of what was asked for before; `Infinity`: never. */
  wakeAt(at: number, wake: () => void): void;
  /** Calls `go` after one turn of the event loop, in which sockets and timers are served. */
  turn(go: () => void): void;
}

// Beyond this, setTimeout fires at once: longer waits are made of several.
const LONGEST_TIMEOUT = 2 ** 31 - 1;
// An alarm that is further away is set at the end of the turn: nearly all are for the worst case, and have been taken
// back by then, which is eight times as cheap.
const FAR = 100;

class SystemClock implements Clock {
  #alarm: ReturnType<typeof setTimeout> | undefined;
  #at = Infinity; // when it should ring
  #wake = (): void => {};
  #isSetting = false; // it will be set at the end of the turn

  now(): number {
    return performance.now();
  }

  coarse(): number {
    return Date.now();
  }

  wakeAt(at: number, wake: () => void): void {
    if (this.#alarm !== undefined) clearTimeout(this.#alarm);
    this.#alarm = undefined;
    this.#at = at;
    this.#wake = wake;
    if (at === Infinity || this.#isSetting) return;
    if (at - this.now() <= FAR) return this.#set();
    this.#isSetting = true;
    setImmediate(this.#endOfTurn);
  }

  // A property, so that it is the same each time.
  readonly #endOfTurn = (): void => {
    this.#isSetting = false;
    if (this.#at !== Infinity && this.#alarm === undefined) this.#set();
  };

  #set(): void {
    const ms = Math.min(Math.max(0, Math.ceil(this.#at - this.now())), LONGEST_TIMEOUT);
    this.#alarm = setTimeout(this.#wake, ms);
  }

  turn(go: () => void): void {
    setImmediate(go);
  }
}

/** Something that happens at a time, unless it is cancelled before. */
export class Timer implements Disposable {
  /** When it is due. */
  readonly at: number;
  /** What happens then. */
  readonly fire: () => void;
  /** Tells apart timers of the same time: the older goes first. */
  readonly order: number;
  /** Where it stands in the heap; -1 when it is not there. Kept by the heap alone. */
  index: number = -1;
  readonly #heap: { remove(timer: Timer): void };

  /** Use {@linkcode setTimer}. */
  constructor(at: number, fire: () => void, order: number, heap: { remove(timer: Timer): void }) {
    this.at = at;
    this.fire = fire;
    this.order = order;
    this.#heap = heap;
  }

  /** Takes it back. Harmless when it has fired. */
  cancel(): void {
    if (this.index >= 0) this.#heap.remove(this);
  }

  /** The same as {@linkcode Timer.cancel}. */
  [Symbol.dispose](): void {
    this.cancel();
  }
}

/**
 * All timers, soonest first: a binary heap in which each timer knows its place, so that taking one back is as
 * cheap as setting it. (Source: J. W. J. Williams, "Algorithm 232: Heapsort", 1964.)
 *
 * One alarm of the clock serves all. It is set for the first timer, and left alone when that one is cancelled
 * while others remain: waking once for nothing is cheaper than setting the alarm anew for each cancelled timer.
 */
class TimerHeap {
  readonly #timers: Timer[] = [];
  #clock: Clock;
  #alarmAt = Infinity;
  #created = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get clock(): Clock {
    return this.#clock;
  }

  set clock(clock: Clock) {
    this.#clock.wakeAt(Infinity, this.#wake);
    this.#clock = clock;
    this.#alarmAt = Infinity;
    this.#setAlarm();
  }

  get size(): number {
    return this.#timers.length;
  }

  add(at: number, fire: () => void): Timer {
    const timer = new Timer(at, fire, this.#created++, this);
    this.#place(timer, this.#timers.length);
    this.#up(timer);
    if (timer.index === 0) this.#setAlarm();
    return timer;
  }

  remove(timer: Timer): void {
    const last = this.#timers.pop()!;
    if (last !== timer) {
      this.#place(last, timer.index);
      this.#up(last);
      this.#down(last);
    }
    timer.index = -1;
    if (this.#timers.length === 0) this.#setAlarm();
  }

  // A property, so that the clock gets the same function each time.
  readonly #wake = (): void => {
    this.#alarmAt = Infinity;
    const now = this.#clock.now();
    // What fires may set timers that are due at once: they wait for the next alarm, so that this loop ends.
    const created = this.#created;
    for (let first = this.#timers[0]; first !== undefined && first.at <= now; first = this.#timers[0]) {
      if (first.order >= created) break;
      this.remove(first);
      first.fire();
    }
    this.#setAlarm();
  };

  #setAlarm(): void {
    const at = this.#timers[0]?.at ?? Infinity;
    // An alarm that comes too early is harmless, unless it is all that keeps the program alive.
    if (at === this.#alarmAt || (at > this.#alarmAt && at !== Infinity)) return;
    this.#alarmAt = at;
    this.#clock.wakeAt(at, this.#wake);
  }

  #up(timer: Timer): void {
    while (timer.index > 0) {
      const parent = this.#timers[(timer.index - 1) >> 1]!;
      if (!before(timer, parent)) return;
      this.#swap(timer, parent);
    }
  }

  #down(timer: Timer): void {
    while (true) {
      const left = this.#timers[2 * timer.index + 1];
      const right = this.#timers[2 * timer.index + 2];
      const child = right !== undefined && before(right, left!) ? right : left;
      if (child === undefined || !before(child, timer)) return;
      this.#swap(timer, child);
    }
  }

  #swap(a: Timer, b: Timer): void {
    const index = a.index;
    this.#place(a, b.index);
    this.#place(b, index);
  }

  #place(timer: Timer, index: number): void {
    this.#timers[index] = timer;
    timer.index = index;
  }
}

function before(a: Timer, b: Timer): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

let heap = new TimerHeap(new SystemClock());

/** The time of the clock, in milliseconds. */
export function now(): number {
  return heap.clock.now();
}

/** A time to measure a few milliseconds by, at half the cost of {@linkcode now}. */
export function coarseNow(): number {
  const { clock } = heap;
  return clock.coarse === undefined ? clock.now() : clock.coarse();
}

/** Calls `fire` at time `at`; timers of the same time fire in the order they were set. `Infinity` never comes. */
export function setTimer(at: number, fire: () => void): Timer {
  if (Number.isNaN(at)) throw new RangeError("Cannot set timer: its time is not a number"); // it would stop all others
  return at === Infinity ? new Timer(at, fire, -1, heap) : heap.add(at, fire);
}

/** Calls `go` after one turn of the event loop. */
export function nextTurn(go: () => void): void {
  heap.clock.turn(go);
}

/** How many timers are set. */
export function timerCount(): number {
  return heap.size;
}

/**
 * Replaces the clock under all timers until the result is disposed. Timers that are set keep their times, which
 * the new clock must continue.
 */
export function useClock(clock: Clock): Disposable {
  const all = heap;
  const previous = all.clock;
  all.clock = clock;
  return { [Symbol.dispose]: () => void (all.clock = previous) };
}

/**
 * Begins a time of its own over `clock`, without any timer, until the result is disposed. Timers that were set before
 * go on by their own clock meanwhile; those that are set meanwhile and have not fired by its end never do.
 */
export function useOwnTime(clock: Clock): Disposable {
  const previous = heap;
  heap = new TimerHeap(clock);
  return { [Symbol.dispose]: () => void (heap = previous) };
}

/** Whether time is that of the system, and nothing has taken its place. */
export function isSystemTime(): boolean {
  return heap.clock instanceof SystemClock;
}

/**
 * Checks a duration.
 *
 * @throws {RangeError} If `ms` is negative or not a number; `what` says what cannot be done.
 */
export function checkMs(what: string, option: string, ms: number): number {
  if (typeof ms === "number" && ms >= 0) return ms;
  throw new RangeError(`Cannot ${what}: "${option}" must be a number of milliseconds, 0 or more, got ${ms}`);
}

/** What deadlines act on: the running tasklet, as this module sees it. */
export interface DeadlineScope {
  /** The earliest of its deadlines; `Infinity` if it has none. Kept by {@linkcode Timeout} alone. */
  deadline: number;
  /** Its deadlines. Kept by {@linkcode Timeout} alone. */
  timeouts: Timeout[] | undefined;
  /** Whether it has not finished. */
  readonly alive: boolean;
  /** Ends every wait under way. */
  expire(error: TimeoutError): void;
}

/**
 * A deadline for everything that the running tasklet waits for, from now until it is disposed.
 *
 * ```ts
 * import { Tasklet, Timeout, TimeoutError } from "@x/concurrence";
 *
 * const task = Tasklet.new(async () => {
 *   using _ = Timeout.push(20);
 *   try {
 *     await Tasklet.sleep(60_000);
 *   } catch (error) {
 *     console.log(error instanceof TimeoutError); // true
 *   }
 * })();
 * await task.join();
 * ```
 *
 * - **Nesting**: an inner deadline only shortens; disposing it brings the outer one back.
 * - **Inheritance**: a child created inside gets the deadline that holds then, and keeps it.
 * - **Ready is ready**: an operation that need not wait does not fail because the deadline has passed.
 */
export class Timeout implements Disposable {
  readonly #scope: DeadlineScope;
  readonly #at: number;
  readonly #timer: Timer;
  #earliest: number; // of this one and those around it

  private constructor(scope: DeadlineScope, at: number) {
    this.#scope = scope;
    this.#at = at;
    this.#timer = setTimer(at, () => scope.expire(new TimeoutError("Timed out: the deadline has passed")));
    scope.deadline = this.#earliest = Math.min(scope.deadline, at);
    (scope.timeouts ??= []).push(this);
  }

  /**
   * Sets a deadline for the running tasklet.
   *
   * @param ms Milliseconds from now.
   * @throws {RangeError} If `ms` is negative or not a number.
   * @throws {Error} Outside of a tasklet.
   */
  static push(ms: number): Timeout {
    checkMs("push a timeout", "ms", ms);
    const scope = running.getStore() as DeadlineScope | undefined;
    if (scope === undefined || !scope.alive) throw new Error("Cannot push a timeout: no tasklet is running");
    return new Timeout(scope, now() + ms);
  }

  /** Milliseconds that are left to the running tasklet: 0 if its deadline has passed, `Infinity` if it has none. */
  static current(): number {
    const deadline = (running.getStore() as DeadlineScope | undefined)?.deadline ?? Infinity;
    return deadline === Infinity ? Infinity : Math.max(0, deadline - now());
  }

  /** Gives `to` the deadline that `from` has now. */
  static inherit(from: DeadlineScope, to: DeadlineScope): void {
    if (from.deadline !== Infinity) new Timeout(to, from.deadline);
  }

  /** Takes back all deadlines of `scope`, which has come to its end. */
  static release(scope: DeadlineScope): void {
    while (scope.timeouts?.length) scope.timeouts.at(-1)![Symbol.dispose]();
  }

  /** Takes this deadline back; those around it hold on. Harmless twice. */
  [Symbol.dispose](): void {
    this.#timer.cancel();
    const timeouts = this.#scope.timeouts!;
    const place = timeouts.lastIndexOf(this);
    if (place < 0) return;
    const inside = timeouts.splice(place).slice(1); // as a rule there are none
    const around = timeouts.at(-1);
    this.#scope.deadline = around === undefined ? Infinity : around.#earliest;
    for (const timeout of inside) {
      this.#scope.deadline = timeout.#earliest = Math.min(this.#scope.deadline, timeout.#at);
      timeouts.push(timeout);
    }
  }
}
