/**
 * The life of a tasklet: its place in the tree, its kill, its end, and who is told of it.
 *
 * What {@linkcode Life} knows of the world around is who runs (to be its parent, or to wait for it), what time it is,
 * and that somebody wants to hear of its end.
 *
 * Runtime-neutral.
 *
 * @module
 */
import { running } from "./context.ts";
import { hook } from "./hook.ts";
import { Inbox } from "./inbox.ts";
import { Kin } from "./kin.ts";
import type { Binding, LocalScope } from "./local.ts";
import type { Line, MailboxOptions } from "./mailbox.ts";
import { Monitor } from "./monitor.ts";
import { onFloatingRejection } from "./program.ts";
import { report } from "./report.ts";
import { cycleOf, EndWait, JoinWait, LazyWait, pass } from "./suspend.ts";
import {
  checkMs,
  type DeadlineScope,
  nextTurn,
  now,
  setTimer,
  Timeout,
  type TimeoutError,
  type Timer,
} from "./timer.ts";
import {
  isOrdered,
  onAbort,
  onTurn,
  ownerOf,
  TaskletExit,
  type Wait,
  waitCounts,
  type Waiter,
  type WaitOptions,
} from "./wait.ts";

/**
 * Where a tasklet is in its life.
 *
 * - `"ready"`: created, not started;
 * - `"running"`: at work, or awaiting a promise that is no wait point;
 * - `"waiting"`: at a wait point, or its body has returned and its children have not finished;
 * - `"stopping"`: killed or failed, with cleanup under way;
 * - `"done"`, `"failed"`, `"killed"`: finished.
 */
export type TaskletStatus = "ready" | "running" | "waiting" | "stopping" | "done" | "failed" | "killed";

/** How a tasklet is killed. */
export interface KillOptions {
  /**
   * Milliseconds for which `finally` blocks may wait.
   *
   * @default {5000}
   */
  grace?: number | undefined;
  /**
   * What its waits reject with. One that is used again and again saves the making of an error, which costs as much as
   * thirty messages; but its stack does not say who killed.
   *
   * @default {a new one, which names the tasklet}
   */
  exit?: TaskletExit | undefined;
}

/** The end of a tasklet that one joined and that has not returned. */
export class JoinError extends Error {
  /** `"JoinError"`. */
  override readonly name = "JoinError";
  /** The tasklet that was joined. */
  readonly tasklet: Life;
  /** Whether it was killed and its cleanup took longer than the grace. */
  readonly abandoned: boolean;

  /** Creates the error with which a join rejects; `cause` is what ended the tasklet. */
  constructor(tasklet: Life, message: string, options: ErrorOptions & { abandoned?: boolean } = {}) {
    super(message, options);
    this.tasklet = tasklet;
    this.abandoned = options.abandoned ?? false;
  }
}

/** What one can see of a mailbox from outside. */
export interface MailboxView {
  /** How many messages wait. */
  readonly length: number;
  /** How many may wait; `Infinity` without a bound. */
  readonly capacity: number;
}

// The life of a tasklet. "body": its function has been called and has not ended; "children": it has ended, and the
// children have not. The way is always forward, and only `#begin`, `#bodyEnded` and `#finish` go it.
type Phase = "ready" | "body" | "children" | "done" | "failed" | "killed";

const GRACE = 5000;

let created = 0;
const settled = Promise.resolve();
const STARTS = {}; // the line of those that start, under an order of wake-ups
let bodies = 0; // that run and are not abandoned
let isAdopting = false;

/** @ignore All tasklets without a parent that have not finished, abandoned ones among them. */
export const roots: Set<Life> = new Set();
/** @ignore Those of them that are daemons. */
export const daemons: Set<Life> = new Set();

/** @ignore How many tasklets are at work, or await something that is no wait point. For tests and tools. */
export function countAtWork(): number {
  return bodies - waitCounts().waiters;
}

/** @ignore Whether `task` is one of them. */
export let isAtWork: (task: Life) => boolean;

/** @ignore Lets `task` run `body` on a later microtask, in order of creation. */
export let start: (task: Life, body: () => unknown) => void;

/**
 * Calls `f` when `task` has finished or is abandoned, at once if it has: with what ended it, as `MSG_DOWN` has it.
 *
 * For writers of modules like groups and supervisors, who keep account of tasklets without being one. The call comes
 * before the tasklet's joiners go on; it must neither wait nor throw. If it returns `true`, the error is its concern and
 * is not reported.
 *
 * @param watcher Ends this when it finishes itself.
 */
export let onFinish: (task: Life, f: (error: unknown) => unknown, watcher?: Life) => Disposable;

/**
 * Leaves the end of its children to the body of `task`: when it is killed, they are not, and its `finally` ends them in
 * the order it likes. What is left of them when the body has ended is killed as ever.
 *
 * For writers of modules like supervisors.
 */
export let tendsChildren: (task: Life) => void;

/**
 * Kills what is left of the children of `task` when its body has ended in any way; one that has returned waits for them, as
 * a rule.
 *
 * For writers of modules like servers.
 */
export let endsChildren: (task: Life) => void;

/** @ignore Kills all of `tasks` by one exit. */
export let killTogether: (tasks: readonly Life[], options: KillOptions) => Promise<void>;

/**
 * A tasklet from its beginning to its end: what it is to those who know it, not to its own body.
 *
 * @typeParam R What the body returns, awaited.
 */
export class Life<out R = unknown> extends Kin<Life>
  implements Waiter, DeadlineScope, LocalScope, AsyncDisposable {
  /** A number, unique in the process. */
  readonly id: number = ++created;
  /** The name, for people. */
  readonly name: string;

  #phase: Phase = "ready";
  #body: (() => unknown) | undefined;
  #result: R | undefined;
  // What made it fail: thrown by the body, a rejection nobody awaited, or a child's error in a scope.
  #failure: { readonly error: unknown } | undefined;

  #unfinished = 0; // children that are neither finished nor abandoned
  #isScope = false;
  #tendsChildren = false; // a kill leaves its children to its body
  #endsChildren = false; // they are killed also if its body has returned

  /** @ignore What arrives. */
  readonly inbox: Inbox;

  #exit: TaskletExit | undefined; // it has been killed
  #told = 0; // ... and has met the exit at so many wait points that somebody awaited
  #graceEnd: number | undefined; // ... and may wait until then
  #graceOver = false; // ... which is over
  #released = false; // joiners, monitors and parent no longer wait for it: finished or abandoned
  #graceTimer: Timer | undefined;
  #controller: AbortController | undefined;

  #asked = false; // somebody wants to know how it ended
  #askers = 0; // ... and has not begun to join
  #onSignal: Disposable | undefined;

  /** @ignore Kept by the waits alone. */
  waits: Wait | undefined;
  /** @ignore Kept by the waits for its end alone. */
  endWaits: EndWait | undefined;
  /** @ignore Kept by the monitors alone. */
  monitors: Line<Monitor> | undefined;
  /** @ignore Kept by the monitors alone. */
  watching: Set<Monitor> | undefined;
  /** @ignore Kept by the deadlines alone. */
  deadline: number; // set by the constructor, because a field that begins as Infinity takes a box of its own
  /** @ignore Kept by the deadlines alone. */
  timeouts: Timeout[] | undefined;
  /** @ignore Kept by the task locals alone. */
  locals: Binding | undefined;

  static {
    isAtWork = (task) => task.#phase === "body" && !task.#released && task.waits === undefined;
    start = (task, body) => Life.#start(task, body);
    onFinish = (task, f, watcher) => task.#onRelease(f, watcher);
    tendsChildren = (task) => void (task.#tendsChildren = true);
    endsChildren = (task) => void (task.#endsChildren = true);
    killTogether = (tasks, options) => Life.#killTogether(tasks, options);
    // What consoles show of a tasklet, alone or in an error that carries one.
    Object.defineProperty(Life.prototype, Symbol.for("nodejs.util.inspect.custom"), {
      value(this: Life): string {
        return `Tasklet ${this} (${this.status})`;
      },
    });
  }

  /** Use `Tasklet.new`. */
  protected constructor(
    name: string,
    options: { daemon?: boolean | undefined; mailbox?: MailboxOptions | undefined },
  ) {
    super();
    this.name = name;
    this.deadline = Infinity;
    this.inbox = new Inbox(this, options.mailbox);
    if (!options.daemon) this.#adoptBy(current());
    else daemons.add(this);
    const { parent } = this;
    if (parent === undefined) {
      roots.add(this);
    } else {
      Timeout.inherit(parent, this);
      this.locals = parent.locals;
    }
    if (hook !== undefined) hook.spawned(this);
  }

  /** Where it is in its life. */
  get status(): TaskletStatus {
    switch (this.#phase) {
      case "body":
        if (this.#exit !== undefined) return "stopping";
        return this.waits !== undefined ? "waiting" : "running";
      case "children":
        return this.#exit !== undefined || this.#failure !== undefined ? "stopping" : "waiting";
      default:
        return this.#phase;
    }
  }

  /** Whether it has not finished; one that was abandoned has not, until its body ends. */
  get alive(): boolean {
    return this.#phase === "ready" || this.#phase === "body" || this.#phase === "children";
  }

  /** How many messages wait, and how many may. */
  get mailbox(): MailboxView {
    const inbox = this.inbox;
    return {
      get length() {
        return inbox.length;
      },
      get capacity() {
        return inbox.capacity;
      },
    };
  }

  /** Aborted with the `TaskletExit` when the tasklet is killed: pass it to `fetch` and its like. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#exit !== undefined) this.#controller.abort(this.#exit);
    }
    return this.#controller.signal;
  }

  /** The name with the id, such as `handle#12`. */
  override toString(): string {
    return `${this.name}#${this.id}`;
  }

  /**
   * Waits until the tasklet has finished. Any number may join, at any time.
   *
   * @param options.timeout Milliseconds to wait at most; the tasklet itself is not touched. @default {Infinity}
   * @returns What the body returned.
   * @throws {JoinError} If it failed or was killed; `cause` is what it threw, or its `TaskletExit`. Also, at once, if
   * it cannot finish before the joiner: a tasklet joins itself, an ancestor, or one that waits for it.
   * @throws {TimeoutError} If it has not finished in time.
   */
  join({ timeout = Infinity }: WaitOptions = {}): Promise<R> {
    checkMs("join", "timeout", timeout);
    this.#asked = true;
    if (this.#released) return pass(() => this.#resultOrThrow());
    const caller = current();
    const cycle = caller === undefined ? undefined : cycleOf(caller, this, true);
    if (cycle !== undefined) {
      return pass(() => {
        throw new JoinError(this, `Cannot join ${this}: it waits for the joiner: ${cycle}`);
      });
    }
    const wait = new JoinWait<R>(caller, this);
    wait.begin(timeout);
    return wait.promise;
  }

  /**
   * Kills the tasklet and all below it. Promises cannot be preempted, so this is about wait points:
   *
   * - **Not started**: it never starts.
   * - **At a wait point**: that wait rejects with `TaskletExit` now, and the waiter is gone from every queue.
   * - **Elsewhere**: the next wait point rejects.
   * - **Order**: children first, newest first.
   * - **Cleanup**: after the first `TaskletExit`, `finally` blocks may wait for `grace` milliseconds; but `receive` and
   *   `call` reject at once, so a loop that swallows the exit does not go on serving.
   * - **Abandonment**: after `grace` every wait rejects, and whoever waits for the tasklet is released. This is
   *   reported on stderr, and the tasklet stays in `tree()` until its body ends.
   *
   * From now on the mailbox refuses. Killing again is harmless, and can only shorten the grace.
   *
   * @returns A promise, itself a wait point, that resolves when cleanup has ended or was abandoned. A tasklet that
   * kills itself or an ancestor meets its own `TaskletExit` there.
   * @throws {RangeError} If `grace` is negative or not a number.
   */
  kill({ grace = GRACE, exit }: KillOptions = {}): Promise<void> {
    checkMs("kill", "grace", grace);
    this.#killTree(grace, exit ?? new TaskletExit(`${this} was killed`));
    const caller = current();
    // Lazily, because often nobody waits for it: then no deadline matters, and a tasklet that kills itself meets its
    // exit at its next wait point.
    return this.#released ? pass(() => {}) : new LazyWait(() => this.#untilReleased(caller));
  }

  #untilReleased(caller: Life | undefined): Promise<void> {
    if (this.#released) return pass(() => {});
    const wait = new EndWait<void>(caller, this);
    if (wait.begin() && caller !== undefined && caller.isBelow(this)) wait.abort(caller.#exit);
    return wait.promise;
  }

  /** @ignore Says that somebody is going to join it: until disposed, its error counts as asked for. */
  expectJoin(): Disposable {
    this.#asked = true;
    this.#askers++;
    return { [Symbol.dispose]: () => void this.#askers-- };
  }

  /** @ignore Joins it as a scope: it stands or falls with its children, and the caller with it. */
  async joinScope(): Promise<R> {
    this.#isScope = true;
    try {
      return await this.join();
    } catch (error) {
      if (error instanceof JoinError && error.tasklet === this) {
        throw this.#failure !== undefined ? this.#failure.error : error;
      }
      // The deadline has passed, or the caller was killed: the scope goes too, and until it has gone, so do we wait.
      if (this.#exit === undefined) {
        this.#killTree(GRACE, new TaskletExit(`${this} was killed`, { cause: error }));
      }
      if (!this.#released) {
        const wait = new EndWait(current(), this, true);
        wait.begin();
        await wait.promise;
      }
      throw error;
    }
  }

  /** @ignore Whether nobody waits for it any more: it has finished, or was abandoned. */
  get isOver(): boolean {
    return this.#released;
  }

  /** Kills the tasklet and waits until its cleanup has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  /** @ignore The error with which a wait must not begin. */
  refuse(serving: boolean): unknown {
    if (this.#phase !== "body") return new TaskletExit(`${this} has finished`);
    if (this.#exit === undefined || (this.#told > 0 && !serving && !this.#graceOver)) return undefined;
    this.#told++;
    return this.#exit;
  }

  /** @ignore Ends every wait under way because of a deadline. */
  expire(error: TimeoutError): void {
    const waits: Wait[] = [];
    for (let wait = this.waits; wait !== undefined; wait = wait.older) if (!wait.shielded) waits.push(wait);
    for (const wait of waits) wait.abort(error);
  }

  get #exitedWell(): boolean {
    return this.#exit === undefined && this.#failure === undefined;
  }

  // What ended it: `undefined` if its body returned.
  get #end(): unknown {
    return this.#failure !== undefined ? this.#failure.error : this.#exit;
  }

  #resultOrThrow(): R {
    if (this.#exitedWell) return this.#result as R;
    throw this.#joinError();
  }

  #joinError(): JoinError {
    const abandoned = this.#graceOver;
    const how = this.#failure !== undefined
      ? "failed"
      : abandoned
      ? "was killed and abandoned"
      : "was killed";
    return new JoinError(this, `Cannot join ${this}: it ${how}`, { cause: this.#end, abandoned });
  }

  #adoptBy(creator: Life | undefined): void {
    // Code that goes on in the name of a tasklet that has finished creates for the next one up that has not.
    while (creator !== undefined && !creator.alive) creator = creator.parent;
    if (creator === undefined) return;
    this.attachTo(creator);
    creator.#unfinished++;
  }

  /** @ignore Kills it when `signal` is aborted. */
  obey(signal: AbortSignal): void {
    const kill = () =>
      this.#killTree(
        GRACE,
        new TaskletExit(`${this} was killed: its signal was aborted`, { cause: signal.reason }),
      );
    if (signal.aborted) kill();
    else this.#onSignal = onAbort(signal, kill);
  }

  #begin(): void {
    if (this.#phase !== "ready") return;
    const body = this.#body!;
    this.#phase = "body";
    bodies++;
    this.#body = undefined;
    if (hook !== undefined) hook.started(this);
    let result: unknown;
    try {
      result = body();
    } catch (error) {
      return this.#bodyThrew(error);
    }
    if (isThenable(result)) Promise.resolve(result).then(Life.#returned, Life.#threw);
    else this.#bodyReturned(result);
  }

  // One of each for all, called in the name of the tasklet: closures of its own would cost each tasklet their memory.
  static readonly #begun = (): void => current()!.#begin();
  static readonly #returned = (result: unknown): void => current()!.#bodyReturned(result);
  static readonly #threw = (error: unknown): void => current()!.#bodyThrew(error);

  #bodyReturned(result: unknown): void {
    this.#result = result as R;
    this.#bodyEnded();
  }

  #bodyThrew(error: unknown): void {
    if (this.#exit !== undefined && error === this.#exit) return this.#bodyEnded();
    if (error instanceof TaskletExit && this.#failure === undefined) this.#exit ??= error;
    else if (this.#failure === undefined) this.#failure = { error };
    else if (!isDueTo(error, this.#failure.error)) report(`${this} failed again during its cleanup:`, error);
    this.#bodyEnded();
  }

  // Nothing can be received, waited for or answered from here on; what the children do is all that is left.
  #bodyEnded(): void {
    if (this.#phase === "body" && !this.#released) bodies--;
    this.#phase = "children";
    this.#body = undefined;
    while (this.waits !== undefined) this.waits.abort(this.#exit ?? new TaskletExit(`${this} has finished`));
    this.inbox.giveUp({ deferred: false, cause: this.#end });
    if (this.hasChildren && this.#leavesNoChildren) this.#killChildren();
    this.#finishIfAlone();
  }

  // Whether its children end with its body.
  get #leavesNoChildren(): boolean {
    return this.#endsChildren || !this.#exitedWell;
  }

  #killChildren(): void {
    const exit = new TaskletExit(`${this} has ended`, { cause: this.#end });
    const grace = this.#exit === undefined ? GRACE : Math.max(0, this.#graceEnd! - now());
    for (const child of this.children.reverse()) {
      if (child.#exit === undefined) child.#killTree(grace, exit);
    }
  }

  #finishIfAlone(): void {
    let task = this as Life | undefined;
    while (task !== undefined && task.#phase === "children" && task.#unfinished === 0) {
      const parent: Life | undefined = task.parent;
      task.#finish();
      task = parent;
    }
  }

  #finish(): void {
    const { parent } = this;
    this.#phase = this.#failure !== undefined ? "failed" : this.#exit !== undefined ? "killed" : "done";
    Timeout.release(this);
    this.locals = undefined;
    const wasAbandoned = this.#released;
    this.#release();
    this.detach();
    roots.delete(this);
    if (this.hasChildren) this.#leaveChildren(parent);
    if (hook !== undefined) hook.finished(this, this.#end);
    if (this.#failure === undefined || this.#asked && !wasAbandoned) return;
    nextTurn(() => this.#asked && !wasAbandoned || report(`${this} failed:`, this.#failure!.error));
  }

  // They were abandoned and have not ended yet: they stay in the tree.
  #leaveChildren(parent: Life | undefined): void {
    for (const child of this.leaveChildrenTo(parent)) if (parent === undefined) roots.add(child);
  }

  // From here on nobody waits for it. Happens once, at its end or when it is abandoned.
  #release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#graceTimer?.cancel();
    this.#onSignal?.[Symbol.dispose]();
    Timeout.release(this);
    daemons.delete(this);
    this.#asked = this.#askers > 0;
    this.inbox.giveUp({ deferred: true, cause: this.#end });
    if (Monitor.endAll(this, this.#end)) this.#asked = true;
    if (this.endWaits !== undefined) this.#tellJoiners(this.endWaits);
    const { parent } = this;
    if (parent !== undefined) {
      parent.#unfinished--;
      // The error of a scope goes to whoever called it, who may catch it.
      if (parent.#isScope && this.#failure !== undefined && !this.#isScope) {
        this.#asked = true;
        parent.#fail(this.#failure.error);
      }
    }
  }

  #onRelease(f: (error: unknown) => unknown, watcher: Life | undefined): Disposable {
    if (!this.#released) return new Monitor(this, watcher, f);
    f(this.#end);
    return { [Symbol.dispose]: () => {} };
  }

  #tellJoiners(newest: EndWait): void {
    const waits: EndWait[] = [];
    for (let wait: EndWait | undefined = newest; wait !== undefined; wait = wait.earlier) waits.push(wait);
    for (const wait of waits.reverse()) {
      if (wait.wantsResult) this.#asked = true;
      if (wait.wantsResult && !this.#exitedWell) wait.fail(this.#joinError());
      else wait.resume(wait.wantsResult ? this.#result : undefined);
    }
  }

  // Fails it from outside of its body. Whether the error counts: it is the first, and the tasklet has not finished.
  #fail(error: unknown): boolean {
    if (this.#released) return false;
    this.#failure ??= { error };
    this.#killTree(GRACE, new TaskletExit(`${this} was killed: it has failed`, { cause: error }));
    return this.#failure.error === error;
  }

  #killTree(grace: number, exit: TaskletExit): void {
    if (this.#released) return;
    const end = now() + grace;
    if (this.#graceTimer === undefined || end < this.#graceTimer.at) {
      this.#graceTimer?.cancel();
      this.#graceTimer = setTimer(end, () => this.#abandonTree(exit, grace));
    }
    if (!this.hasChildren) return this.#stop(exit, end); // as most often
    // Parents come before children and older before newer, so the reverse is the order we want.
    for (const task of [...this.#killed()].reverse()) task.#stop(exit, end);
  }

  static #killTogether(tasks: readonly Life[], { grace = GRACE, exit: given }: KillOptions): Promise<void> {
    checkMs("kill", "grace", grace);
    const who = tasks.length === 1 ? `${tasks[0]} was` : `${tasks.length} tasklets were`;
    const exit = given ?? new TaskletExit(`${who} killed`);
    for (const task of tasks) task.#killTree(grace, exit);
    if (tasks.length === 0) return pass(() => {}); // a wait point also then
    const caller = current();
    return new LazyWait(async () => {
      for (const task of tasks) await task.#untilReleased(caller);
    });
  }

  *#killed(): Generator<Life> {
    let tended = Infinity; // deeper levels are
    for (const [task, level] of this.tree()) {
      if (level > tended) continue;
      tended = task.#tendsChildren && task.#phase === "body" ? level : Infinity;
      yield task;
    }
  }

  #stop(exit: TaskletExit, graceEnd: number): void {
    if (this.#exit !== undefined || !this.alive) return;
    this.#exit = exit;
    this.#graceEnd = graceEnd;
    Timeout.release(this); // from now on, the grace is what bounds its waits
    this.inbox.close();
    this.#controller?.abort(exit);
    if (this.#phase === "ready") return this.#bodyEnded();
    this.#meetExit();
  }

  #abandonTree(exit: TaskletExit, grace: number): void {
    for (const [task] of [...this.tree()].reverse()) task.#abandon(exit, grace);
  }

  #abandon(exit: TaskletExit, grace: number): void {
    if (this.#released) return;
    this.#stop(exit, 0); // created during the cleanup
    if (this.#phase === "body") {
      this.#graceOver = true;
      this.#meetExit();
      bodies--;
      this.#release();
      report(`${this} was abandoned: its cleanup has not ended within ${grace} ms`);
    }
    const next = this.#phase === "body" ? this.parent : this;
    if (next !== undefined) next.#finishIfAlone();
  }

  #meetExit(): void {
    while (this.waits !== undefined) {
      this.#told++;
      this.waits.abort(this.#exit);
    }
  }

  static #start(task: Life, body: () => unknown): void {
    if (!isAdopting) onFloatingRejection(Life.#adopt);
    isAdopting = true;
    task.#body = body;
    const { parent } = task;
    // Created in the name of one whose body has ended, while others are still cleaning up.
    if (parent !== undefined && parent.#phase === "children" && parent.#leavesNoChildren) {
      parent.#killChildren();
    }
    // In the context of the creator, so that it passes on what else is kept there.
    running.run(task, isOrdered() ? Life.#startInOrder : Life.#startSoon);
  }

  static readonly #startSoon = (): void => void settled.then(Life.#begun);
  static readonly #startInOrder = (): void => {
    const { promise, resolve } = Promise.withResolvers<void>();
    void promise.then(Life.#begun);
    onTurn(resolve, undefined, STARTS);
  };

  static #adopt(this: void, reason: unknown, promise: Promise<unknown>): boolean {
    const wait = ownerOf(promise);
    const task = wait !== undefined ? wait.owner as Life | undefined : current();
    // Bun tells of a rejection in nobody's name. An exit ends whom it has to, so at least it is nobody's error.
    if (task === undefined) return reason instanceof TaskletExit;
    if (reason instanceof TaskletExit && task.inbox.isClosed) {
      // A wait that nobody awaits, of a tasklet that is going or gone: nobody was told by it.
      if (wait?.isCut && reason === task.#exit) task.#told--;
      return true;
    }
    if (!task.#fail(reason)) report(`${task} left a rejection behind:`, reason);
    return true;
  }
}

function current(): Life | undefined {
  return running.getStore() as Life | undefined;
}

/** Whether `error` is `cause`, or tells of it. */
function isDueTo(error: unknown, cause: unknown): boolean {
  return error === cause || (error instanceof Error && error.cause === cause);
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | undefined)?.then === "function";
}
