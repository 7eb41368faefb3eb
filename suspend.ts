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
import { onTurn, ready, Wait, type Waiter } from "./wait.ts";

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

/** Waits, for `timeout` milliseconds at most, until what `start` prepares has come about. */
export function suspend<T>(start: Start<T>, timeout: number, what: string): Promise<T> {
  checkMs("wait", "timeout", timeout);
  const wait = new SuspendWait<T>(waiter(), what);
  if (wait.begin(timeout)) wait.start(start);
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
    if (begun) onTurn(() => this.resume());
    return begun;
  }
}

/** A wait for whatever `start` prepares. */
class SuspendWait<T> extends Wait<T> {
  readonly #what: string;
  #undo: (() => void) | void = undefined;
  #early = false;

  /** Creates a wait that is described as `what`. */
  constructor(owner: Waiter | undefined, what: string) {
    super(owner);
    this.#what = what;
  }

  override describe(): string {
    return this.#what;
  }

  /** Prepares the end of the wait; `start` may bring it about at once. */
  start(start: Start<T>): void {
    try {
      const undo = start((value) => this.resume(value), (error) => this.fail(error));
      if (this.#early) undo?.();
      else if (this.open) this.#undo = undo;
    } catch (error) {
      this.fail(error);
    }
  }

  protected override left(early: boolean): void {
    this.#early = early;
    if (early) this.#undo?.();
    this.#undo = undefined;
  }
}

/** A wait for the end of a tasklet, whatever it is. */
export class EndWait<T = unknown> extends Wait<T> {
  /** Whose end is waited for. */
  readonly task: Waiter;
  readonly #others: Set<EndWait>;
  readonly #isShielded: boolean;

  /** Creates a wait that is one of `others` from its beginning to its end. */
  constructor(owner: Waiter | undefined, task: Waiter, others: Set<EndWait>, isShielded = false) {
    super(owner);
    this.task = task;
    this.#others = others;
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
    if (begun) this.#others.add(this);
    return begun;
  }

  protected override left(): void {
    this.#others.delete(this);
  }
}

/** A wait for the result of a tasklet. */
export class JoinWait<R> extends EndWait<R> {
  override get wantsResult(): boolean {
    return true;
  }
}

/**
 * The way from `caller` to `target` and on, if it leads back: who waits for whom.
 *
 * A tasklet that waits for several things at once may go on when any of them comes, so only one that waits for
 * nothing but one other tasklet counts as held up by it.
 */
export function cycleOf(caller: Waiter, target: Waiter): string | undefined {
  let at: Waiter | undefined = target;
  const way: Waiter[] = [caller];
  while (at !== undefined && at !== caller) {
    if (way.includes(at)) return undefined; // a ring that this caller is no part of
    way.push(at);
    const wait: Wait | undefined = at.waits;
    at = wait === undefined || wait.older !== undefined ? undefined : wait.target;
  }
  return at === caller ? [...way, caller].join(" → ") : undefined;
}

/** A wait point for what is there already: it waits only for its turn. */
export function pass<T>(value: T): Promise<T> {
  const refusal = waiter()?.refuse(false);
  return refusal === undefined ? ready(value) : Promise.reject(refusal);
}
