/**
 * The kinds of waits that need nothing but a clock and the end of a tasklet, and the functions that wait so in the name
 * of whoever is running.
 *
 * Runtime-neutral.
 *
 * @module
 */
import { running } from "./context.ts";
import { checkMs } from "./timer.ts";
import { onTurn, type Origin, ready, readyError, refused, Wait, type Waiter } from "./wait.ts";

function waiter(): Waiter | undefined {
  return running.getStore() as Waiter | undefined;
}

/** Waits for `ms` milliseconds. */
export function sleep(ms: number): Promise<void> {
  checkMs("sleep", "ms", ms);
  const wait = new SleepWait(waiter());
  wait.begin(ms);
  return wait.promise;
}

/** Waits for one turn of the event loop. */
export function yieldTurn(): Promise<void> {
  const wait = new TurnWait(waiter());
  wait.begin();
  return wait.promise;
}

/** What prepares the end of a wait and returns how to undo that. */
export type Start<T> = (resume: (value: T) => void, fail: (error: unknown) => void) => (() => void) | void;

/**
 * Waits, for `timeout` milliseconds at most, until what `start` prepares has come about: something from
 * `origin`.
 */
export function suspend<T>(
  start: Start<T>,
  timeout: number,
  what: string,
  origin: Origin = "inside",
): Promise<T> {
  checkMs("wait", "timeout", timeout);
  const wait = new SuspendWait<T>(waiter(), what, origin);
  wait.start(start, timeout);
  return wait.promise;
}

/**
 * Waits, for `timeout` milliseconds at most, until `promise` is settled, by something from `origin`. A promise does not say
 * who settles it.
 */
export function waitFor<T>(
  promise: PromiseLike<T>,
  timeout: number,
  what: string,
  origin: Origin = "unknown",
): Promise<T> {
  checkMs("wait", "timeout", timeout);
  const wait = new PromiseWait<T>(waiter(), what, origin);
  wait.start(promise, timeout);
  return wait.promise;
}

/** A wait for a time. */
class SleepWait extends Wait<void> {
  override describe(): string {
    return "for a time";
  }

  protected override timeUp(): void {
    this.resume();
  }
}

/** A wait for one turn of the event loop. */
class TurnWait extends Wait<void> {
  override describe(): string {
    return "for a turn of the event loop";
  }

  /** Begins to wait. */
  override begin(): boolean {
    const begun = super.begin();
    if (begun) onTurn(TurnWait.#end, this, this.owner);
    return begun;
  }

  static #end(this: void, wait: TurnWait): void {
    wait.resumeInTurn();
  }
}

/** A wait that its caller describes. */
abstract class DescribedWait<T> extends Wait<T> {
  readonly #what: string;

  /** Creates a wait that is described as `what`. */
  constructor(owner: Waiter | undefined, what: string, origin: Origin) {
    super(owner, false, origin);
    this.#what = what;
  }

  override describe(): string {
    return this.#what;
  }
}

/** A wait for a promise. */
class PromiseWait<T> extends DescribedWait<T> {
  /**
   * Begins to wait; no deadline matters if it ends at once. Where the wait has ended early, or never begun, what becomes of
   * the promise is nobody's error.
   */
  start(promise: PromiseLike<T>, timeout: number): void {
    this.enter();
    try {
      promise.then((value) => this.resume(value), (error) => this.fail(error));
    } catch (error) {
      this.fail(error); // it may be any thenable
    }
    if (this.open) this.limit(timeout);
  }
}

/** A wait for whatever `start` prepares. */
class SuspendWait<T> extends DescribedWait<T> {
  #undo: (() => void) | void = undefined;
  #early = false;

  /** Begins to wait, and prepares the end; if `start` brings it about at once, no deadline matters. */
  start(start: Start<T>, timeout: number): void {
    if (!this.enter()) return;
    try {
      const undo = start((value) => this.resume(value), (error) => this.fail(error));
      if (this.#early) undo?.();
      else if (this.open) this.#undo = undo;
    } catch (error) {
      this.fail(error);
    }
    if (this.open) this.limit(timeout);
  }

  protected override left(early: boolean): void {
    this.#early = early;
    if (early) this.#undo?.();
    this.#undo = undefined;
  }
}

/** Somebody who will come to an end, as those see it who wait for that. */
export interface Mortal extends Waiter {
  /** The waits for its end, newest first. Kept by {@linkcode EndWait} alone. */
  endWaits: EndWait | undefined;
}

/** A wait for the end of a tasklet, whatever it is. */
export class EndWait<T = unknown> extends Wait<T> {
  /** Whose end is waited for. */
  readonly task: Mortal;
  /** The wait for the same end that began before this one. */
  earlier: EndWait | undefined;
  /** The one that began after it. */
  later: EndWait | undefined;
  readonly #isShielded: boolean;

  /** Creates a wait for the end of `task`. */
  constructor(owner: Waiter | undefined, task: Mortal, isShielded = false) {
    super(owner);
    this.task = task;
    this.#isShielded = isShielded;
  }

  override describe(): string {
    return `for the end of ${this.task}`;
  }

  override get target(): Waiter {
    return this.task;
  }

  override get shielded(): boolean {
    return this.#isShielded;
  }

  /** Whether it ends with what the tasklet ended with. */
  get wantsResult(): boolean {
    return false;
  }

  /** Begins to wait. */
  override begin(timeout?: number): boolean {
    const begun = super.begin(timeout);
    if (begun) this.#join();
    return begun;
  }

  #join(): void {
    this.earlier = this.task.endWaits;
    if (this.earlier !== undefined) this.earlier.later = this as EndWait;
    this.task.endWaits = this as EndWait;
  }

  protected override left(): void {
    if (this.earlier !== undefined) this.earlier.later = this.later;
    if (this.later !== undefined) this.later.earlier = this.earlier;
    else if (this.task.endWaits === this) this.task.endWaits = this.earlier; // otherwise it has never joined
    this.earlier = this.later = undefined;
  }
}

/** A wait for the result of a tasklet. */
export class JoinWait<R> extends EndWait<R> {
  override get wantsResult(): boolean {
    return true;
  }
}

/**
 * Tells whether `caller`, if it waited for `target`, would wait for itself: the names of those in between, if so.
 *
 * Who waits for a *reply* is held up by what holds up the callee. Who waits for an *end* is held up, beyond that, by
 * all below the target, since nobody ends before its children. Somebody who waits for several things at once may go on
 * when any of them comes, and so is held up by none.
 *
 * @param isEnd Whether the end of `target` would be waited for, and not its reply.
 */
export function cycleOf(caller: Waiter, target: Waiter, isEnd: boolean): string | undefined {
  if (!isEnd && target !== caller && target.waits?.target === undefined) return undefined; // as nearly always
  const way = new Set<Waiter>([caller]);
  for (let at: Waiter | undefined = target; at !== undefined;) {
    if (at === caller && !isEnd && caller.waits !== undefined) return undefined; // another of its waits may serve it
    if (at === caller || (isEnd && isAbove(at, caller))) return [...way, ...wayDown(at, caller)].join(" → ");
    if (way.has(at)) return undefined; // a ring that the caller is no part of
    if (caller.waits !== undefined) return undefined; // it may go on when another of its waits ends
    way.add(at);
    const wait: Wait | undefined = at.waits;
    if (wait === undefined || wait.older !== undefined) return undefined;
    isEnd = wait instanceof EndWait;
    at = wait.target;
  }
  return undefined;
}

function isAbove(ancestor: Waiter, descendant: Waiter): boolean {
  if (ancestor.parent === descendant) return false; // as nearly always
  let at: Waiter | undefined = descendant;
  while (at !== undefined && at !== ancestor) at = at.parent;
  return at === ancestor;
}

function wayDown(ancestor: Waiter, descendant: Waiter): Waiter[] {
  const way: Waiter[] = [];
  for (
    let at: Waiter | undefined = descendant;
    at !== undefined;
    at = at === ancestor ? undefined : at.parent
  ) way.push(at);
  return way.reverse();
}

/**
 * A wait point for what is there already: it waits only for its turn.
 *
 * @param take Takes it, or throws what the wait rejects with. Not called if the tasklet is killed.
 * @param from What `take` gets.
 */
export function pass<T>(take: () => T): Promise<T>;
export function pass<T, A>(take: (from: A) => T, from: A): Promise<T>;
export function pass<T, A>(take: (from: A) => T, from?: A): Promise<T> {
  const owner = waiter();
  const refusal = refused(owner, false);
  if (refusal !== undefined) return refusal;
  try {
    return ready(take(from as A), owner);
  } catch (error) {
    return readyError(error, owner);
  }
}

/** A promise whose wait does not begin before somebody awaits it, or asks for its end in another way. */
export class LazyWait<T> extends Promise<T> {
  // What `then` returns is a plain promise.
  static override get [Symbol.species](): PromiseConstructor {
    return Promise;
  }

  readonly #begin: () => Promise<T>;
  #begun: Promise<T> | undefined;

  /** Creates a promise that settles as that of `begin`. */
  constructor(begin: () => Promise<T>) {
    super(() => {});
    this.#begin = begin;
  }

  /** Begins the wait. `await` comes here, because this is no plain promise. */
  override then<A = T, B = never>(
    onfulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onrejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return (this.#begun ??= this.#begin()).then(onfulfilled, onrejected);
  }
}
