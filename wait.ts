/**
 * Waits: what a tasklet is in while it cannot go on, and the turns of the event loop between them.
 *
 * A wait ends once, in one of two ways. It *ends well* by `resume` or `fail`, when what was waited for has happened.
 * It *ends early* by `abort`, when its owner is killed or a time is up; then whatever was prepared is undone, so that
 * nothing is handed to somebody who has gone.
 *
 * **Turns.** Promises run before sockets and timers, so tasklets that always have something to do would starve both.
 * Every wait that ends well is a delivery. After 256 of them, or 4 ms, further ones are held back until the event loop
 * has made one turn. No attempt is made to notice turns that happen anyway: one turn too many in 4 ms costs nothing
 * that can be measured, noticing them would cost more.
 *
 * Runtime-neutral.
 *
 * @module
 */
import { coarseNow, nextTurn, now, setTimer, TimeoutError, type Timer } from "./timer.ts";

const MOST_DELIVERIES = 256;
const LONGEST_SLICE = 4;
// Of those that have asked for a turn: few enough that what they touch is still in the cache when it ends, and most of them
// write to a socket.
const MOST_WOKEN = 64;

let deliveries = 0;
let turnedAt = 0;
// Reading the clock costs half as much as a delivery, so it is read after as many more of them as take half the time that
// is left, going by those before; but at every eighth, because the next one may take longer than all of those.
let nextLook = 1;
let spent = false; // what comes now is held back; until then, only who asks for a turn waits for it
// Functions and what they get, by turns: a closure for each would cost as much memory as what it is about.
let heldBack: unknown[] | undefined;
let letGo = 0; // places of those
let woken = 0; // in this turn, of those that have asked for it

let order: Order | undefined;

/**
 * Decides when those go on who may: whenever it calls `go`. Those of one `line`, such as the waits of one tasklet, must
 * go on in the order they came.
 */
export type Order = (go: () => void, line: unknown) => void;

/** Puts `replacement` in charge of the order in which all that can go on does, until disposed. For tests. */
export function useOrder(replacement: Order): Disposable {
  const previous = order;
  order = replacement;
  return { [Symbol.dispose]: () => void (order = previous) };
}

/** Whether such a replacement is in force. */
export function isOrdered(): boolean {
  return order !== undefined;
}

let waiters = 0; // tasklets that are in a wait
let outside = 0; // waits under way for something from outside of the program
const unknown = new Set<Wait>(); // waits under way for something of which nobody knows where it comes from
let ended = 0; // waits, so far
const strangers: { waits: Wait | undefined } = { waits: undefined }; // waits of nobody, newest first

/** How much is waited for. For tests and tools. */
export interface WaitCounts {
  /** How many tasklets are in a wait. */
  readonly waiters: number;
  /** How many waits under way are for something from outside of the program. */
  readonly outside: number;
  /** The waits under way for something of which nobody knows where it comes from. */
  readonly unknown: ReadonlySet<Wait>;
  /** How many waits have ended so far. */
  readonly ended: number;
}

/** How much is waited for now. */
export function waitCounts(): WaitCounts {
  return { waiters, outside, unknown, ended };
}

/** The waits under way of code outside of any tasklet, oldest first. */
export function strangersWaits(): Wait[] {
  const waits: Wait[] = [];
  for (let wait = strangers.waits; wait !== undefined; wait = wait.older) waits.push(wait);
  return waits.reverse();
}

/** Counts a delivery; whether it has to wait for the next turn. */
function isSpent(): boolean {
  if (spent || order !== undefined) return true;
  if (++deliveries < nextLook) return false;
  const elapsed = coarseNow() - turnedAt;
  if (elapsed >= LONGEST_SLICE || deliveries > MOST_DELIVERIES) return spent = true;
  const foreseen = ((LONGEST_SLICE - elapsed) * deliveries) / (2 * elapsed);
  nextLook = Math.min(deliveries + Math.max(1, Math.min(8, foreseen)), MOST_DELIVERIES + 1);
  return false;
}

/** Calls `go` with `what`, for `line` as {@linkcode Order} has it, in the next turn of the event loop. */
export function onTurn<T>(go: (what: T) => void, what: T, line: unknown): void {
  if (order !== undefined) return order(() => go(what), line);
  if (heldBack === undefined) {
    heldBack = [];
    nextTurn(endTurn);
  }
  heldBack.push(go, what);
}

// Lets go as many as are allowed in a turn; the others wait for the next.
function endTurn(): void {
  const list = heldBack!;
  deliveries = 0;
  turnedAt = coarseNow();
  nextLook = 1;
  woken = 0;
  const end = Math.min(list.length, letGo + 2 * MOST_DELIVERIES);
  while (letGo < end && woken < MOST_WOKEN) {
    const go = list[letGo++] as (what: unknown) => void;
    go(list[letGo++]);
  }
  spent = letGo < list.length; // then newcomers go to the end of the line
  if (letGo > list.length / 2) { // so that a line that never ends keeps no memory of those who have left it
    heldBack = letGo < list.length ? list.slice(letGo) : undefined;
    letGo = 0;
  }
  if (heldBack !== undefined) nextTurn(endTurn);
}

/** A promise that is rejected already, as {@linkcode ownerOf} tells then; it counts as a delivery. */
export function readyError(error: unknown, owner: Waiter | undefined, isCut = false): Promise<never> {
  const promise = isSpent()
    ? new Promise<never>((_, reject) => onTurn(reject, error, owner))
    : Promise.reject(error);
  lay(promise, owner, isCut);
  return promise;
}

/** A promise of a value that is there already; it counts as a delivery. */
export function ready<T>(value: T, owner: Waiter | undefined): Promise<T> {
  return isSpent() ? new Promise((resolve) => onTurn(resolve, value, owner)) : Promise.resolve(value);
}

/** The rejected promise of what `owner` must not even begin, if that is so; `serving` as a wait has it. */
export function refused(owner: Waiter | undefined, serving: boolean): Promise<never> | undefined {
  const refusal = owner?.refuse(serving);
  if (refusal === undefined) return undefined;
  return readyError(refusal, owner, true);
}

/**
 * Ends the waits of a tasklet that is killed.
 *
 * It is for `finally`, not for `catch`: whoever catches it should rethrow it. `cause` tells why, where there is a
 * reason beside the kill.
 */
export class TaskletExit extends Error {
  /** `"TaskletExit"`. */
  override readonly name = "TaskletExit";
}

/** How long to wait. */
export interface WaitOptions {
  /**
   * Milliseconds to wait at most; then the wait ends with `TimeoutError`.
   *
   * @default {Infinity}
   */
  timeout?: number | undefined;
}

// One of them is there, and says who waited: where the wait has failed, and where it was refused or ended early.
const FAILED: unique symbol = Symbol("failed");
const CUT: unique symbol = Symbol("cut");

type Owned = Promise<unknown> & { [FAILED]?: Waiter | undefined; [CUT]?: Waiter | undefined };

// By itself, a rejection that nobody awaits is laid to whoever brings it about.
function lay(promise: Owned, owner: Waiter | undefined, isCut: boolean): void {
  promise[isCut ? CUT : FAILED] = owner;
}

/**
 * Who waited, `undefined` outside of any tasklet, if `promise` is that of a wait which was rejected; and whether it was
 * refused or ended early, by which a tasklet meets its exit. What was waited for may fail with that exit, too.
 */
export function ownerOf(promise: Owned): { owner: Waiter | undefined; isCut: boolean } | undefined {
  const isCut = CUT in promise;
  return isCut || FAILED in promise ? { owner: promise[isCut ? CUT : FAILED], isCut } : undefined;
}

/** Who waits, as a wait sees it. */
export interface Waiter {
  /** Its name, for people. */
  toString(): string;
  /** When every wait must have ended. */
  readonly deadline: number;
  /** Who has to wait for its end before coming to its own, if anybody. */
  readonly parent: Waiter | undefined;
  /** The waits under way, newest first. Kept by {@linkcode Wait} alone. */
  waits: Wait | undefined;
  /** The error with which a wait must not even begin, if there is one; `serving` as a wait has it. */
  refuse(serving: boolean): unknown;
}

/** Where that comes from which a wait is for, so that virtual time knows whether to have patience with it. */
export type Origin = "inside" | "outside" | "unknown";

/**
 * What all waits have, in an object of its own: V8 remembers for each access to a property how four kinds of objects are
 * laid out, and there are more kinds of waits.
 */
class Core {
  readonly owner: Waiter | undefined;
  readonly serving: boolean;
  readonly origin: Origin;
  promise!: Promise<unknown>;
  resolve!: (value: unknown) => void;
  reject!: (error: unknown) => void;
  timer: Timer | undefined;
  isOpen = false;
  older: Wait | undefined; // waits of the owner
  newer: Wait | undefined;

  constructor(owner: Waiter | undefined, serving: boolean, origin: Origin) {
    this.owner = owner;
    this.serving = serving;
    this.origin = origin;
  }

  // One for all, told by the way of a variable for whom it is: a closure for each would cost every tasklet its memory.
  static #starting: Core | undefined;
  static readonly #executor = (resolve: (value: unknown) => void, reject: (error: unknown) => void): void => {
    Core.#starting!.resolve = resolve;
    Core.#starting!.reject = reject;
    Core.#starting = undefined;
  };

  /** Makes the promise of the wait that begins. */
  makePromise(): void {
    Core.#starting = this;
    this.promise = new Promise<unknown>(Core.#executor);
  }
}

/**
 * One wait of one tasklet, or of code outside of any. When it has ended it may begin again: whoever waits for one thing
 * after the other, like a loop over messages, needs one object for all of them.
 */
export abstract class Wait<T = unknown> {
  readonly #core: Core;

  /**
   * Creates a wait that has not begun.
   *
   * @param serving Whether it serves others, which ends with the kill: no more `receive`, no more `call`.
   */
  constructor(owner: Waiter | undefined, serving = false, origin: Origin = "inside") {
    this.#core = new Core(owner, serving, origin);
  }

  /** Settles when the wait has ended that began last. */
  get promise(): Promise<T> {
    return this.#core.promise as Promise<T>;
  }

  /** Who waits. */
  get owner(): Waiter | undefined {
    return this.#core.owner;
  }

  /** Whether it has begun and not ended. */
  get open(): boolean {
    return this.#core.isOpen;
  }

  /** The next older wait of the owner. */
  get older(): Wait | undefined {
    return this.#core.older;
  }

  /** Whether it has a timeout, for which a timer is set. */
  get timed(): boolean {
    return this.#core.timer !== undefined;
  }

  /** What is waited for, in words that go on from "waiting". */
  abstract describe(): string;

  /** Who alone can end this wait, if that is so: by a reply or, in an `EndWait`, by its end. */
  get target(): Waiter | undefined {
    return undefined;
  }

  /** Whether deadlines leave this wait alone. */
  get shielded(): boolean {
    return false;
  }

  /**
   * Begins to wait, for `timeout` milliseconds at most. Call it before anything else is prepared.
   *
   * @returns Whether it has begun; otherwise the promise is rejected already.
   */
  begin(timeout: number = Infinity): boolean {
    return this.enter() && this.limit(timeout);
  }

  /** The first half of {@linkcode begin}: begins, unless the owner is killed. */
  protected enter(): boolean {
    const core = this.#core;
    core.makePromise();
    const refusal = core.owner?.refuse(core.serving);
    if (refusal !== undefined) {
      rejectInTurn(core, refusal);
      return false;
    }
    core.isOpen = true;
    const owner = core.owner ?? strangers;
    core.older = owner.waits;
    if (core.older !== undefined) core.older.#core.newer = this as Wait;
    else if (owner !== strangers) waiters++;
    owner.waits = this as Wait;
    if (core.origin === "outside") outside++;
    else if (core.origin === "unknown") unknown.add(this as Wait);
    return true;
  }

  /**
   * The second half of {@linkcode begin}: ends the wait if the deadline has passed, or when `timeout` will be over, counted
   * from now also if it was set before.
   */
  protected limit(timeout: number): boolean {
    const core = this.#core;
    const deadline = core.owner === undefined ? Infinity : core.owner.deadline;
    if (deadline !== Infinity && deadline <= now() && !this.shielded) {
      this.#endEarly(new TimeoutError("Timed out: the deadline has passed"), rejectInTurn);
      return false;
    }
    if (timeout === Infinity) return true;
    core.timer?.cancel();
    core.timer = setTimer(now() + timeout, () => this.timeUp(timeout));
    return true;
  }

  /** Ends the wait well, with a value. Without effect when it has ended. */
  resume(value: T): void {
    const core = this.#core;
    if (!this.#leave(false)) return;
    if (isSpent()) onTurn(core.resolve, value, core.owner);
    else core.resolve(value);
  }

  /** The same from within the turn that was waited for: nothing is held back once more. */
  protected resumeInTurn(value: T): void {
    if (!this.#leave(false)) return;
    woken++;
    this.#core.resolve(value);
  }

  /** Ends the wait with an error that was waited for. Without effect when it has ended. */
  fail(error: unknown): void {
    if (this.#leave(false)) rejectInTurn(this.#core, error, false);
  }

  /** Ends the wait early, at once. Without effect when it has ended. */
  abort(error: unknown): void {
    this.#endEarly(error, reject);
  }

  #endEarly(error: unknown, how: (core: Core, error: unknown) => void): void {
    try {
      if (!this.#leave(true)) return;
    } catch (undoing) {
      return how(this.#core, undoing);
    }
    how(this.#core, error);
  }

  /** What happens when the timeout of {@linkcode begin} is over. */
  protected timeUp(timeout: number): void {
    this.abort(new TimeoutError(`Timed out after ${timeout} ms: waiting ${this.describe()}`));
  }

  /**
   * Called once when the wait ends; `early` tells that what was prepared must be undone. If the deadline has passed when it
   * begins, nothing has been prepared yet.
   */
  protected left(_early: boolean): void {}

  #leave(early: boolean): boolean {
    const core = this.#core;
    if (!core.isOpen) return false;
    core.isOpen = false;
    if (core.timer !== undefined) {
      core.timer.cancel();
      core.timer = undefined;
    }
    const owner = core.owner ?? strangers;
    if (core.older !== undefined) core.older.#core.newer = core.newer;
    if (core.newer !== undefined) core.newer.#core.older = core.older;
    else owner.waits = core.older;
    if (owner.waits === undefined && owner !== strangers) waiters--;
    if (core.origin === "outside") outside--;
    else if (core.origin === "unknown") unknown.delete(this as Wait);
    ended++;
    core.older = core.newer = undefined;
    this.left(early);
    return true;
  }
}

function reject({ promise, owner, reject }: Core, error: unknown): void {
  lay(promise, owner, true);
  reject(error);
}

// Failing at once counts as a delivery: a loop that tries again and again must not keep the event loop for itself.
function rejectInTurn({ promise, owner, reject }: Core, error: unknown, isCut = true): void {
  lay(promise, owner, isCut);
  if (isSpent()) onTurn(reject, error, owner);
  else reject(error);
}

/** Calls `f` when `signal` is aborted, until disposed. */
export function onAbort(signal: AbortSignal, f: () => void): Disposable {
  signal.addEventListener("abort", f, { once: true });
  return { [Symbol.dispose]: () => signal.removeEventListener("abort", f) };
}
