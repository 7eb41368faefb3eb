/**
 * Tasklets: async functions with an identity, a mailbox, an owner and an end.
 *
 * ```ts
 * import { dispatch, Message, Tasklet } from "@x/concurrence";
 *
 * class MSG_ADD extends Message("MSG_ADD")<[amount: number]> {}
 * class MSG_TOTAL extends Message("MSG_TOTAL")<[], number> {}
 *
 * async function counter() {
 *   let total = 0;
 *   for await (const msg of Tasklet.receive()) {
 *     if (msg.match(MSG_ADD)) total += msg.args[0];
 *     else if (msg.match(MSG_TOTAL)) msg.reply(total);
 *   }
 * }
 *
 * async function main() {
 *   const task = Tasklet.new(counter)();
 *   for (let i = 0; i < 1000; i++) MSG_ADD.send(task)(1);
 *   console.log(await MSG_TOTAL.call(task)()); // 1000
 *   await task.kill();
 * }
 *
 * await dispatch(main).join();
 * ```
 *
 * Runtime-neutral: no Deno namespace.
 *
 * @module
 */
import { running } from "./context.ts";
import { Inbox } from "./inbox.ts";
import type { Binding, LocalScope } from "./local.ts";
import type { MailboxOptions } from "./mailbox.ts";
import {
  type AnyMessage,
  type CallOptions,
  Message,
  type MessageClass,
  type MessageConstructor,
  type Receiver,
} from "./message.ts";
import { type DispatchOptions, endProgram, onFloatingRejection, runProgram } from "./program.ts";
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
import { each, interval, later, loop, rate } from "./repeat.ts";
import {
  cycleOf,
  EndWait,
  JoinWait,
  LazyWait,
  pass,
  sleep,
  type Start,
  suspend,
  waitFor,
  yieldTurn,
} from "./suspend.ts";
import { exits, onAbort, TaskletExit, type Wait, type Waiter, type WaitOptions } from "./wait.ts";

export type { Binding, LocalScope } from "./local.ts";
export type { DispatchOptions, Signal } from "./program.ts";
export { TimeoutError } from "./timer.ts";
export { TaskletExit, type Wait, type Waiter, type WaitOptions } from "./wait.ts";

/** Any tasklet, whatever it returns and accepts. */
export type AnyTasklet = Tasklet<unknown, never>;

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

/** How a tasklet is created. */
export interface TaskletOptions {
  /**
   * The name, for people.
   *
   * @default {the name of the function}
   */
  name?: string | undefined;
  /**
   * Whether it has no parent, so that nobody waits for it and it inherits no deadline.
   *
   * @default {false}
   */
  daemon?: boolean | undefined;
  /** How its mailbox is bounded; without it, it is not. */
  mailbox?: MailboxOptions | undefined;
  /** Kills the tasklet when it is aborted. */
  signal?: AbortSignal | undefined;
}

/** How a tasklet is killed. */
export interface KillOptions {
  /**
   * Milliseconds for which `finally` blocks may wait.
   *
   * @default {5000}
   */
  grace?: number | undefined;
}

/** The end of a tasklet that one joined and that has not returned. */
export class JoinError extends Error {
  /** `"JoinError"`. */
  override readonly name = "JoinError";
  /** The tasklet that was joined. */
  readonly tasklet: AnyTasklet;
  /** Whether it was killed and its cleanup took longer than the grace. */
  readonly abandoned: boolean;

  /** Creates the error with which a join rejects; `cause` is what ended the tasklet. */
  constructor(tasklet: AnyTasklet, message: string, options: ErrorOptions & { abandoned?: boolean } = {}) {
    super(message, options);
    this.tasklet = tasklet;
    this.abandoned = options.abandoned ?? false;
  }
}

/** The base of {@linkcode MSG_DOWN}, with a written type. */
export const MSG_DOWN_BASE: MessageClass<"MSG_DOWN"> = Message("MSG_DOWN");

/**
 * Tells who monitors a tasklet that it has finished.
 *
 * `error` is `undefined` if its body returned, the `TaskletExit` if it was killed, and what it threw otherwise.
 */
export class MSG_DOWN extends MSG_DOWN_BASE<[task: AnyTasklet, error: unknown]> {}

/** What one can see of a mailbox from outside. */
export interface MailboxView {
  /** How many messages wait. */
  readonly length: number;
  /** How many may wait; `Infinity` without a bound. */
  readonly capacity: number;
}

/**
 * The tasklet as its own body sees it, by `this`: with its messages.
 *
 * A body that declares `this: Self<MSG_A | MSG_B>` accepts these two and nothing else: sending anything else to its
 * tasklet is a compile error, and `msg satisfies never` proves a chain of `match` complete.
 *
 * ```ts
 * import { Message, type Self, Tasklet } from "@x/concurrence";
 *
 * class MSG_GREETING extends Message("MSG_GREETING")<[name: string]> {}
 * class MSG_QUIT extends Message("MSG_QUIT") {}
 *
 * async function printer(this: Self<MSG_GREETING | MSG_QUIT>) {
 *   for await (const msg of this.receive()) {
 *     if (msg.match(MSG_GREETING)) console.log("Hello", msg.args[0]);
 *     else if (msg.match(MSG_QUIT)) break;
 *     else msg satisfies never;
 *   }
 * }
 *
 * const task = Tasklet.new(printer)();
 * MSG_GREETING.send(task)("World");
 * MSG_QUIT.send(task)();
 * await task.join();
 * ```
 *
 * @typeParam P The messages it accepts, a union.
 */
export interface Self<in out P extends AnyMessage = AnyMessage> extends Tasklet<unknown, P> {
  /** As {@linkcode Tasklet.receive}, typed. */
  receive<C extends MessageConstructor<P> = MessageConstructor<P>>(
    classes?: readonly C[],
    options?: WaitOptions,
  ): AsyncIterableIterator<InstanceType<C>>;
  /** As {@linkcode Tasklet.receiveOne}, typed. */
  receiveOne<C extends MessageConstructor<P> = MessageConstructor<P>>(
    classes?: readonly C[],
    options?: WaitOptions,
  ): Promise<InstanceType<C>>;
  /** As {@linkcode Tasklet.pending}, typed. */
  pending(): IterableIterator<P>;
}

/** What is finished counts as its value or, where that cannot be, as its `JoinError`. */
type Joined<T extends readonly AnyTasklet[]> = {
  -readonly [K in keyof T]: (T[K] extends Tasklet<infer R, never> ? R : never) | JoinError;
};

// The life of a tasklet. "body": its function has been called and has not ended; "children": it has ended, and the
// children have not. The way is always forward, and only `#begin`, `#bodyEnded` and `#finish` go it.
type Phase = "ready" | "body" | "children" | "done" | "failed" | "killed";

const GRACE = 5000;

let created = 0;
const names = new Map<string, Tasklet>();
const roots = new Set<AnyTasklet>(); // tasklets without a parent
const daemons = new Set<AnyTasklet>();
let starting: Tasklet[] = [];
let isAdopting = false;

/**
 * The inbox of a tasklet. For writers of modules like supervisors, whose children come and go while messages wait.
 *
 * @ignore
 */
export let inboxOf: (task: AnyTasklet) => Inbox;

/**
 * Calls `f` when `task` has finished or is abandoned, at once if it has: with what ended it, as `MSG_DOWN` has it.
 *
 * For writers of modules like groups and supervisors, who keep account of tasklets without being one. The call comes
 * before the tasklet's joiners go on; it must neither wait nor throw. If it returns `true`, the error is its concern and is not
 * reported.
 */
export let onFinish: (task: AnyTasklet, f: (error: unknown) => unknown) => Disposable;

/**
 * Leaves the end of its children to the body of `task`: when it is killed, they are not, and its `finally` ends them in
 * the order it likes. What is left of them when the body has ended is killed as ever.
 *
 * For writers of modules like supervisors.
 */
export let tendsChildren: (task: AnyTasklet) => void;

/**
 * An async function that runs with an identity: a name, a mailbox, a parent, children, an end.
 *
 * - **Order**: bodies start on a later microtask, in order of creation. Messages of one sender arrive in order.
 * - **Wait points**: every wait of the library ends early when its tasklet is killed (`TaskletExit`) or when an
 *   enclosing deadline passes (`TimeoutError`). Nothing is lost by it: what a wait did not take, the next one gets.
 * - **Ownership**: a tasklet has finished when its body *and its children* have. If the body throws, the children are
 *   killed.
 * - **Failure**: an error that nobody asks for (by `join`, `monitor` or `scope`) by the end of the turn is reported on
 *   stderr; the parent lives on. A promise rejection that nobody awaits fails the tasklet in which it arose.
 * - **Kill**: see {@linkcode Tasklet.kill}.
 * - **Fairness**: after 256 deliveries or 4 ms the next wait takes a turn of the event loop, so that tasklets which
 *   always have something to do starve neither sockets nor timers.
 *
 * @typeParam R What the body returns, awaited.
 * @typeParam P The messages it accepts, a union.
 */
export class Tasklet<out R = unknown, in P extends AnyMessage = AnyMessage>
  implements Receiver<P>, Waiter, DeadlineScope, LocalScope, AsyncDisposable {
  /** A number, unique in the process. */
  readonly id: number = ++created;
  /** The name, for people. */
  readonly name: string;

  #phase: Phase = "ready";
  #body: (() => unknown) | undefined;
  #result: R | undefined;
  // What made it fail: thrown by the body, a rejection nobody awaited, or a child's error in a scope.
  #failure: { readonly error: unknown } | undefined;

  #parent: Tasklet | undefined;
  #youngest: Tasklet | undefined; // children, and down the line by `#older`
  #older: Tasklet | undefined; // siblings
  #younger: Tasklet | undefined;
  #unfinished = 0; // children that are neither finished nor abandoned
  #isScope = false;
  #tendsChildren = false; // a kill leaves its children to its body

  readonly #inbox: Inbox;
  // There for the compiler alone, which would take methods of fewer messages for methods of more.
  declare private readonly accepts: (message: P) => void;

  #exit: TaskletExit | undefined; // it has been killed
  #told = 0; // ... and has met the exit at so many wait points that somebody awaited
  #graceEnd = Infinity; // ... and may wait until then
  #graceOver = false; // ... which is over
  #released = false; // joiners, monitors and parent no longer wait for it: finished or abandoned
  #graceTimer: Timer | undefined;
  #controller: AbortController | undefined;

  #asked = false; // somebody wants to know how it ended
  #askers = 0; // ... and has not begun to join
  #joiners: Set<EndWait> | undefined;
  #monitors: Set<Monitor> | undefined; // of others, on this one
  #watching: Set<Monitor> | undefined; // of this one, on others
  #names: string[] | undefined;
  #onSignal: Disposable | undefined;

  /** Kept by the waits alone. @ignore */
  waits: Wait | undefined;
  /** Kept by the deadlines alone. @ignore */
  deadline: number = Infinity;
  /** Kept by the deadlines alone. @ignore */
  timeouts: Timeout[] | undefined;
  /** Kept by the task locals alone. @ignore */
  locals: Binding | undefined;

  static {
    inboxOf = (task) => task.#inbox;
    onFinish = (task, f) => Tasklet.#watch({ watched: task as Tasklet, watcher: undefined, tell: f });
    tendsChildren = (task) => void (task.#tendsChildren = true);
    // What consoles show of a tasklet, alone or in an error that carries one.
    Object.defineProperty(Tasklet.prototype, Symbol.for("nodejs.util.inspect.custom"), {
      value(this: Tasklet): string {
        return `Tasklet ${this} (${this.status})`;
      },
    });
  }

  /** Use {@linkcode Tasklet.new}. */
  protected constructor(name: string, options: TaskletOptions) {
    this.name = name;
    this.#inbox = new Inbox(this, options.mailbox);
    if (!options.daemon) this.#adoptBy(Tasklet.current());
    else daemons.add(this);
    if (this.#parent === undefined) roots.add(this);
    if (this.#parent === undefined) return;
    Timeout.inherit(this.#parent, this);
    this.locals = this.#parent.locals;
  }

  /**
   * Creates a tasklet: `Tasklet.new(body, options)(...args)`.
   *
   * It is a child of the running tasklet, or has no parent outside of any. The body starts on a later microtask, with
   * the tasklet as `this`; messages sent before are queued.
   *
   * @param body A function, async or not.
   * @param options Name, mailbox, parent, signal.
   * @returns A function that takes the arguments of the body and gives the tasklet.
   * @throws {RangeError} If the mailbox options make no sense.
   */
  static new<A extends unknown[], R, P extends AnyMessage = AnyMessage>(
    body: (this: Self<P>, ...args: A) => R,
    options: TaskletOptions = {},
  ): (...args: A) => Tasklet<Awaited<R>, P> {
    return (...args) => {
      const task = new Body<Awaited<R>, P>(options.name || body.name || "anonymous", options);
      Tasklet.#start(task as AnyTasklet as Tasklet, () => body.apply(task as unknown as Self<P>, args));
      if (options.signal !== undefined) task.#obey(options.signal);
      return task;
    };
  }

  /** The running tasklet, or `undefined` outside of any. */
  static current(): Tasklet | undefined {
    return running.getStore() as Tasklet | undefined;
  }

  /**
   * Takes messages from the mailbox of the running tasklet, in order, as long as one goes on asking.
   *
   * Going on to the next message without having answered a call fails that call as forgotten. `break` leaves the
   * rest for the next `receive`.
   *
   * @param classes Message classes to take, with their subclasses; others stay queued. Without it, all.
   * @param options.timeout Milliseconds to wait for each message at most. @default {Infinity}
   * @throws {TimeoutError} If no message came in time; nothing is lost.
   * @throws {Error} Outside of a tasklet.
   */
  static receive<C extends MessageConstructor = MessageConstructor>(
    classes?: readonly C[],
    options: WaitOptions = {},
  ): AsyncIterableIterator<InstanceType<C>> {
    return here("receive").#inbox.receive(classes, options.timeout) as AsyncIterableIterator<InstanceType<C>>;
  }

  /**
   * Takes one message from the mailbox of the running tasklet.
   *
   * Unlike the loop of {@linkcode Tasklet.receive}, it cannot notice that a reply was forgotten.
   *
   * @param classes Message classes to take, with their subclasses; others stay queued. Without it, all.
   * @param options.timeout Milliseconds to wait at most. @default {Infinity}
   * @throws {TimeoutError} If no message came in time; nothing is lost.
   * @throws {Error} Outside of a tasklet.
   */
  static receiveOne<C extends MessageConstructor = MessageConstructor>(
    classes?: readonly C[],
    options: WaitOptions = {},
  ): Promise<InstanceType<C>> {
    return here("receive").#inbox.receiveOne(classes, options.timeout) as Promise<InstanceType<C>>;
  }

  /**
   * Takes what is queued now from the mailbox of the running tasklet, without waiting: a batch. What arrives while
   * it is read is left for later.
   *
   * @throws {Error} Outside of a tasklet.
   */
  static pending(): IterableIterator<AnyMessage> {
    return here("receive").#inbox.pending();
  }

  /**
   * Waits for a time.
   *
   * @param ms Milliseconds.
   * @throws {RangeError} If `ms` is negative or not a number.
   */
  static sleep(ms: number): Promise<void> {
    return sleep(ms);
  }

  /** Waits for one turn of the event loop, in which sockets, timers and other tasklets are served. */
  static yield(): Promise<void> {
    return yieldTurn();
  }

  /**
   * Makes any promise a wait point. The promise itself goes on when the wait ends early.
   *
   * @throws {TimeoutError} If it was not settled in time.
   */
  static wait<T>(promise: PromiseLike<T>, options: WaitOptions = {}): Promise<T> {
    return waitFor(promise, options.timeout ?? Infinity, "for a promise");
  }

  /**
   * The primitive under every blocking operation: waits until `resume` or `fail` is called.
   *
   * ```ts
   * import { Tasklet } from "@x/concurrence";
   *
   * function clicked(target: EventTarget): Promise<Event> {
   *   return Tasklet.suspend((resume) => {
   *     target.addEventListener("click", resume, { once: true });
   *     return () => target.removeEventListener("click", resume);
   *   });
   * }
   *
   * const button = new EventTarget();
   * const task = Tasklet.new(() => clicked(button))();
   * await Tasklet.yield();
   * button.dispatchEvent(new Event("click"));
   * console.log((await task.join()).type); // "click"
   * ```
   *
   * @param start Prepares the end of the wait and returns how to undo that. It is called at once; the undo is called
   * if the wait ends early, by kill or timeout, and not otherwise. The first of `resume` and `fail` counts.
   * @param options.timeout Milliseconds to wait at most. @default {Infinity}
   * @param options.what What is waited for, in words that go on from "waiting".
   */
  static suspend<T = void>(
    start: Start<T>,
    { timeout = Infinity, what = "for an event" }: WaitOptions & { what?: string | undefined } = {},
  ): Promise<T> {
    return suspend(start, timeout, what);
  }

  /**
   * Waits until all of `tasks` have finished.
   *
   * @param options.timeout Milliseconds to wait for all of them at most. @default {Infinity}
   * @returns Their results, in order; one that failed or was killed is its `JoinError`, as a value.
   * @throws {TimeoutError} If they have not finished in time.
   */
  static async joinAll<const T extends readonly AnyTasklet[]>(
    tasks: T,
    options: WaitOptions = {},
  ): Promise<Joined<T>> {
    const timeout = checkMs("join", "timeout", options.timeout ?? Infinity);
    const end = timeout === Infinity ? Infinity : now() + timeout;
    const results: unknown[] = [];
    // One after the other, so that it is plain for whom the caller waits; but all are asked for from the beginning.
    for (const task of tasks) {
      task.#asked = true;
      task.#askers++;
    }
    try {
      for (const task of tasks) {
        const left = end === Infinity ? Infinity : Math.max(0, end - now());
        results.push(await task.join({ timeout: left }).catch(asValue));
      }
    } finally {
      for (const task of tasks) task.#askers--;
    }
    return results as Joined<T>;
  }

  /**
   * {@linkcode Tasklet.joinAll} of the children that the running tasklet has now.
   *
   * @throws {Error} Outside of a tasklet.
   */
  static joinChildren(options: WaitOptions = {}): Promise<unknown[]> {
    return Tasklet.joinAll(here("join children").children, options);
  }

  /**
   * Runs `body` as a child that stands or falls with its own children: a nursery.
   *
   * ```ts
   * import { Tasklet } from "@x/concurrence";
   *
   * const task = Tasklet.new(() =>
   *   Tasklet.scope(() => {
   *     Tasklet.new(() => Tasklet.sleep(60_000))(); // killed when the other one fails
   *     Tasklet.new(() => Promise.reject(new Error("No luck")))();
   *   })
   * )();
   * console.log(await task.join().catch((error) => error.cause.message)); // "No luck"
   * ```
   *
   * @returns What `body` returns, once it and all its children have finished.
   * @throws What the first failing child threw, after the others and the body have been killed and have finished;
   * or what the body threw.
   */
  static async scope<T>(body: () => T): Promise<Awaited<T>> {
    const task = Tasklet.new(body, { name: body.name || "scope" })();
    task.#isScope = true;
    try {
      return await task.join();
    } catch (error) {
      if (error instanceof JoinError && error.tasklet === task) throw task.#failure?.error ?? error;
      // The deadline has passed, or the caller was killed: the scope goes too, and until it has gone, so do we wait.
      if (task.#exit === undefined) {
        task.#killTree(GRACE, new TaskletExit(`${task} was killed`, { cause: error }));
      }
      if (!task.#released) {
        const wait = new EndWait(Tasklet.current(), task, task.#joiners ??= new Set(), true);
        wait.begin();
        await wait.promise;
      }
      throw error;
    }
  }

  /**
   * A tasklet that sleeps for `ms` milliseconds, then calls `f`: `Tasklet.later(ms, f)(...args)`.
   *
   * @throws {RangeError} If `ms` is negative or not a number.
   */
  static later<A extends unknown[], R>(
    ms: number,
    f: (...args: A) => R,
    options: TaskletOptions = {},
  ): (...args: A) => Tasklet<Awaited<R>> {
    checkMs("call later", "ms", ms);
    return Tasklet.new((...args: A) => later(ms, () => f(...args)), named(f, options));
  }

  /**
   * A tasklet that calls `f` again and again, with `ms` milliseconds of sleep before each call.
   *
   * An error of `f` is reported, and the interval goes on.
   *
   * @param options.immediate Whether the first call comes at once. @default {false}
   * @throws {RangeError} If `ms` is negative or not a number.
   */
  static interval<A extends unknown[]>(
    ms: number,
    f: (...args: A) => unknown,
    { immediate = false, ...options }: TaskletOptions & { immediate?: boolean | undefined } = {},
  ): (...args: A) => Tasklet<never> {
    checkMs("call at an interval", "ms", ms);
    return Tasklet.new((...args: A) => interval(ms, () => f(...args), immediate), named(f, options));
  }

  /**
   * A tasklet that calls `f` `hz` times a second, first after one period.
   *
   * It does not drift: calls belong to multiples of the period from the start. Those that are missed, because `f`
   * took longer, are left out. An error of `f` is reported, and the rate goes on.
   *
   * @param hz Calls a second, more than 0.
   * @param f Gets the time its call belongs to, in milliseconds of the library's clock, then the arguments.
   * @throws {RangeError} If `hz` is not more than 0.
   */
  static rate<A extends unknown[]>(
    hz: number,
    f: (time: number, ...args: A) => unknown,
    options: TaskletOptions = {},
  ): (...args: A) => Tasklet<never> {
    if (!(hz > 0 && hz < Infinity)) {
      throw new RangeError(`Cannot call at a rate: "hz" must be more than 0, got ${hz}`);
    }
    return Tasklet.new((...args: A) => rate(1000 / hz, (time) => f(time, ...args)), named(f, options));
  }

  /**
   * A tasklet that calls `f` again as soon as it has ended.
   *
   * An error of `f` is reported, and the loop goes on after a pause of 1 s, which doubles up to 30 s while `f` keeps
   * failing.
   */
  static loop<A extends unknown[]>(
    f: (...args: A) => unknown,
    options: TaskletOptions = {},
  ): (...args: A) => Tasklet<never> {
    return Tasklet.new((...args: A) => loop(() => f(...args)), named(f, options));
  }

  /**
   * A tasklet that calls `f` with each message it gets, one at a time.
   *
   * An error of `f` fails the call that the message carries, or is reported, and the receiver goes on.
   */
  static receiver<M extends AnyMessage = AnyMessage>(
    f: (message: M) => unknown,
    options: TaskletOptions = {},
  ): Tasklet<void, M> {
    function receiver(this: Self<M>): Promise<void> {
      return each(this.receive() as AsyncIterable<M>, f);
    }
    return Tasklet.new<[], Promise<void>, M>(receiver, named(f, options))();
  }

  /**
   * Sends the running tasklet a `MSG_DOWN(task, error)` when `task` finishes, at once if it has.
   *
   * The message comes whatever the capacity of the mailbox. The error counts as asked for.
   *
   * @param MSG A message class to send instead, with the same arguments.
   * @returns What ends the monitoring.
   * @throws {Error} Outside of a tasklet.
   */
  static monitor(
    task: AnyTasklet,
    MSG: new (task: AnyTasklet, error: unknown) => AnyMessage = MSG_DOWN,
  ): Disposable {
    const watcher = here("monitor");
    task.#asked = true;
    const watched = task as Tasklet;
    const tell = (error: unknown) => {
      watcher.#inbox.deliverAnyway(running.run(watched, () => new MSG(watched, error)));
      return true;
    };
    return Tasklet.#watch({ watched, watcher, tell });
  }

  /**
   * Gives a tasklet a name by which the whole process can find it, until it finishes.
   *
   * @param task The tasklet. @default {the running tasklet}
   * @throws {Error} If the name is taken, or the tasklet has finished, or there is none.
   */
  static register(name: string, task: AnyTasklet = here("register")): void {
    const owner = names.get(name);
    if (owner !== undefined) {
      throw new Error(`Cannot register ${JSON.stringify(name)}: the name is taken by ${owner}`);
    }
    if (task.#released) throw new Error(`Cannot register ${JSON.stringify(name)}: ${task} has finished`);
    names.set(name, task as Tasklet);
    (task.#names ??= []).push(name);
  }

  /** The tasklet registered under `name`, or `undefined`. */
  static whereis(name: string): Tasklet | undefined {
    return names.get(name);
  }

  /** The tasklet that created it and waits for it; `undefined` for a daemon and outside of any. */
  get parent(): Tasklet | undefined {
    return this.#parent;
  }

  /** The children that have not finished, oldest first. */
  get children(): Tasklet[] {
    const children: Tasklet[] = [];
    for (let child = this.#youngest; child !== undefined; child = child.#older) children.push(child);
    return children.reverse();
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
    const inbox = this.#inbox;
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

  /** Yields this tasklet and all below it that have not finished, each with its level; parents before children. */
  *tree(): Generator<[tasklet: Tasklet, level: number]> {
    const left: [Tasklet, number][] = [[this as AnyTasklet as Tasklet, 0]];
    for (let next = left.pop(); next !== undefined; next = left.pop()) {
      yield next;
      for (let child = next[0].#youngest; child !== undefined; child = child.#older) {
        left.push([child, next[1] + 1]);
      }
    }
  }

  /** The name with the id, such as `handle#12`. */
  toString(): string {
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
    const caller = Tasklet.current();
    const cycle = caller === undefined ? undefined : cycleOf(caller, this, true);
    if (cycle !== undefined) {
      return pass(() => {
        throw new JoinError(this, `Cannot join ${this}: it waits for the joiner: ${cycle}`);
      });
    }
    const wait = new JoinWait<R>(caller, this, this.#joiners ??= new Set());
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
  kill({ grace = GRACE }: KillOptions = {}): Promise<void> {
    checkMs("kill", "grace", grace);
    this.#killTree(grace, new TaskletExit(`${this} was killed`));
    if (this.#released) return pass(() => {});
    const caller = Tasklet.current();
    // Lazily, because often nobody waits for it: then no deadline matters, and a tasklet that kills itself meets its
    // exit at its next wait point.
    return new LazyWait(() => {
      if (this.#released) return pass(() => {});
      const wait = new EndWait<void>(caller, this, this.#joiners ??= new Set());
      if (wait.begin() && caller !== undefined && caller.#isBelow(this)) wait.abort(caller.#exit);
      return wait.promise;
    });
  }

  #isBelow(ancestor: AnyTasklet): boolean {
    let task: AnyTasklet | undefined = this as AnyTasklet;
    while (task !== undefined && task !== ancestor) task = task.#parent;
    return task === ancestor;
  }

  /** Kills the tasklet and waits until its cleanup has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  /** Takes a message. @ignore */
  deliver(message: P): boolean {
    return this.#inbox.deliver(message);
  }

  /** Takes a message and promises its reply. @ignore */
  ask(message: P, options: CallOptions): Promise<unknown> {
    return this.#inbox.ask(message, options);
  }

  /** The error with which a wait must not begin. @ignore */
  refuse(serving: boolean): unknown {
    if (this.#phase !== "body") return new TaskletExit(`${this} has finished`);
    if (this.#exit === undefined || (this.#told > 0 && !serving && !this.#graceOver)) return undefined;
    this.#told++;
    return this.#exit;
  }

  /** Ends every wait under way because of a deadline. @ignore */
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

  #adoptBy(creator: Tasklet | undefined): void {
    // Code that goes on in the name of a tasklet that has finished creates for the next one up that has not.
    while (creator !== undefined && !creator.alive) creator = creator.#parent;
    if (creator === undefined) return;
    this.#link(creator);
    creator.#unfinished++;
  }

  #link(parent: Tasklet): void {
    this.#parent = parent;
    this.#older = parent.#youngest;
    if (this.#older !== undefined) this.#older.#younger = this as AnyTasklet as Tasklet;
    parent.#youngest = this as AnyTasklet as Tasklet;
  }

  #unlink(): void {
    if (this.#older !== undefined) this.#older.#younger = this.#younger;
    if (this.#younger !== undefined) this.#younger.#older = this.#older;
    else if (this.#parent !== undefined) this.#parent.#youngest = this.#older;
    this.#older = this.#younger = undefined;
  }

  #obey(signal: AbortSignal): void {
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
    this.#body = undefined;
    let result: unknown;
    try {
      result = running.run(this, body);
    } catch (error) {
      return this.#bodyThrew(error);
    }
    if (!isThenable(result)) return this.#bodyReturned(result);
    Promise.resolve(result).then((value) => this.#bodyReturned(value), (error) => this.#bodyThrew(error));
  }

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
    this.#phase = "children";
    this.#body = undefined;
    while (this.waits !== undefined) this.waits.abort(this.#exit ?? new TaskletExit(`${this} has finished`));
    this.#inbox.giveUp({ deferred: false, cause: this.#end });
    if (!this.#exitedWell) {
      const exit = new TaskletExit(`${this} has ended`, { cause: this.#end });
      const grace = this.#exit === undefined ? GRACE : Math.max(0, this.#graceEnd - now());
      for (const child of this.children.reverse()) {
        if (child.#exit === undefined) child.#killTree(grace, exit);
      }
    }
    this.#finishIfAlone();
  }

  #finishIfAlone(): void {
    let task = this as AnyTasklet as Tasklet | undefined;
    while (task !== undefined && task.#phase === "children" && task.#unfinished === 0) {
      const parent: Tasklet | undefined = task.#parent;
      task.#finish();
      task = parent;
    }
  }

  #finish(): void {
    const parent = this.#parent;
    this.#phase = this.#failure !== undefined ? "failed" : this.#exit !== undefined ? "killed" : "done";
    Timeout.release(this);
    const wasAbandoned = this.#released;
    this.#release();
    this.#unlink();
    for (const child of this.children) { // abandoned, and not ended yet: they stay in the tree
      child.#unlink();
      child.#parent = undefined;
      if (parent !== undefined) child.#link(parent);
    }
    if (this.#failure === undefined || this.#asked && !wasAbandoned) return;
    nextTurn(() => this.#asked && !wasAbandoned || report(`${this} failed:`, this.#failure!.error));
  }

  // From here on nobody waits for it. Happens once, at its end or when it is abandoned.
  #release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#graceTimer?.cancel();
    this.#onSignal?.[Symbol.dispose]();
    Timeout.release(this);
    daemons.delete(this);
    roots.delete(this);
    for (const name of this.#names ?? []) names.delete(name);
    this.#asked = this.#askers > 0;
    this.#inbox.giveUp({ deferred: true, cause: this.#end });
    for (const monitor of this.#watching ?? []) Tasklet.#unwatch(monitor);
    for (const monitor of this.#monitors ?? []) {
      Tasklet.#unwatch(monitor);
      if (monitor.tell(this.#end) === true) this.#asked = true;
    }
    for (const wait of [...this.#joiners ?? []]) {
      if (wait.wantsResult) this.#asked = true;
      if (wait.wantsResult && !this.#exitedWell) wait.fail(this.#joinError());
      else wait.resume(wait.wantsResult ? this.#result : undefined);
    }
    this.#joiners = this.#monitors = this.#watching = undefined;
    if (this.#parent !== undefined) {
      this.#parent.#unfinished--;
      // The error of a scope goes to whoever called it, who may catch it.
      if (this.#parent.#isScope && this.#failure !== undefined && !this.#isScope) {
        this.#asked = true;
        this.#parent.#fail(this.#failure.error);
      }
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
    // Parents come before children and older before newer, so the reverse is the order we want.
    for (const task of [...this.#killed()].reverse()) task.#stop(exit, end);
  }

  *#killed(): Generator<Tasklet> {
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
    this.#inbox.close();
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
      this.#release();
      report(`${this} was abandoned: its cleanup has not ended within ${grace} ms`);
    }
    const next = this.#phase === "body" ? this.#parent : this as AnyTasklet as Tasklet;
    if (next !== undefined) next.#finishIfAlone();
  }

  #meetExit(): void {
    while (this.waits !== undefined) {
      this.#told++;
      exits.add(this.waits.promise);
      this.waits.abort(this.#exit);
    }
  }

  static #start(task: Tasklet, body: () => unknown): void {
    if (!isAdopting) onFloatingRejection(Tasklet.#adopt);
    isAdopting = true;
    task.#body = body;
    if (starting.push(task) === 1) queueMicrotask(Tasklet.#startAll);
  }

  static #startAll(): void {
    const list = starting;
    starting = [];
    for (const task of list) task.#begin();
  }

  static #adopt(this: void, reason: unknown, promise: Promise<unknown>): boolean {
    const task = Tasklet.current();
    if (task === undefined) return false;
    if (reason instanceof TaskletExit && task.#inbox.isClosed) {
      // A wait that nobody awaits, of a tasklet that is going or gone: nobody was told by it.
      if (exits.delete(promise)) task.#told--;
      return true;
    }
    if (!task.#fail(reason)) report(`${task} left a rejection behind:`, reason);
    return true;
  }

  static #watch(monitor: Monitor): Disposable {
    const { watched, watcher, tell } = monitor;
    if (watched.#released) {
      tell(watched.#end);
    } else {
      (watched.#monitors ??= new Set()).add(monitor);
      if (watcher !== undefined) (watcher.#watching ??= new Set()).add(monitor);
    }
    return { [Symbol.dispose]: () => Tasklet.#unwatch(monitor) };
  }

  static #unwatch(monitor: Monitor): void {
    monitor.watched.#monitors?.delete(monitor);
    if (monitor.watcher !== undefined) monitor.watcher.#watching?.delete(monitor);
  }
}

/** What `Tasklet.new` makes: a tasklet with what its body alone may do. */
class Body<R, P extends AnyMessage> extends Tasklet<R, P> {
  constructor(name: string, options: TaskletOptions) {
    super(name, options);
  }

  receive(
    classes?: readonly MessageConstructor[],
    options: WaitOptions = {},
  ): AsyncIterableIterator<AnyMessage> {
    return inboxOf(this).receive(classes, options.timeout);
  }

  receiveOne(classes?: readonly MessageConstructor[], options: WaitOptions = {}): Promise<AnyMessage> {
    return inboxOf(this).receiveOne(classes, options.timeout);
  }

  pending(): IterableIterator<AnyMessage> {
    return inboxOf(this).pending();
  }
}

interface Monitor {
  readonly watched: Tasklet;
  readonly watcher: Tasklet | undefined;
  /** Whether the error is somebody's concern now. */
  readonly tell: (error: unknown) => unknown;
}

function here(what: string): Tasklet {
  const task = Tasklet.current();
  if (task === undefined) throw new Error(`Cannot ${what}: no tasklet is running`);
  return task;
}

function named(f: { readonly name: string }, options: TaskletOptions): TaskletOptions {
  return { ...options, name: options.name ?? f.name };
}

function report(...what: unknown[]): void {
  console.error(...what);
}

function asValue(error: unknown): JoinError {
  if (error instanceof JoinError) return error;
  throw error;
}

/** Whether `error` is `cause`, or tells of it. */
function isDueTo(error: unknown, cause: unknown): boolean {
  return error === cause || (error instanceof Error && error.cause === cause);
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | undefined)?.then === "function";
}

/**
 * Runs a program: `main` in the root tasklet.
 *
 * - **Signals**: the first kills the root, so that cleanup runs; then the process exits with 130 (SIGINT) or 143
 *   (SIGTERM). A second one exits at once.
 * - **Failure**: if `main` fails, the error is reported and the process exits with 1.
 * - **Draining**: when nothing can ever wake the tasklets that are left, they are killed, so that their `finally`
 *   blocks run, and the process ends with 0.
 * - **Daemons** are killed when the root has finished.
 *
 * @returns The root tasklet. It is no promise, so `await dispatch(main)` is harmless and waits for nothing.
 * @throws {RangeError} If `grace` is negative or not a number.
 */
export function dispatch<R>(main: () => R, options: DispatchOptions = {}): Tasklet<Awaited<R>> {
  checkMs("dispatch", "grace", options.grace ?? 0);
  const root = Tasklet.new(main, { name: main.name || "main", daemon: true })();
  // Whoever waits here is the process, in nobody's name.
  runProgram(options, {
    kill: (grace) => running.run(undefined, () => killAll([root, ...roots], grace)),
    killDaemons: (grace) => running.run(undefined, () => killAll([...daemons], grace)),
    failure: running.run(undefined, () => root.join().then(() => undefined, failureOf)),
    toString: () => root.toString(),
  });
  return root;
}

async function killAll(tasks: readonly AnyTasklet[], grace: number): Promise<void> {
  await Promise.all(tasks.map((task) => task.kill({ grace })));
}

function failureOf(error: JoinError): { readonly error: unknown } | undefined {
  return error.cause instanceof TaskletExit ? undefined : { error: error.cause };
}

/**
 * Ends the program that {@linkcode dispatch} runs: kills its root, so that cleanup runs, and exits.
 *
 * @param code The exit code. @default {0}
 * @returns A promise that is never fulfilled; a tasklet that awaits it meets its `TaskletExit` there.
 */
export function quit(code = 0): Promise<never> {
  endProgram(code);
  return new LazyWait(() => Tasklet.suspend<never>(() => {}, { what: "for the end of the program" }));
}
