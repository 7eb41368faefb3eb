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
import { daemons, JoinError, type KillOptions, killTogether, Life, onFinish, roots, start } from "./life.ts";
import type { MailboxOptions } from "./mailbox.ts";
import {
  type AnyMessage,
  type CallOptions,
  Message,
  type MessageClass,
  type MessageConstructor,
  type Receiver,
} from "./message.ts";
import { type DispatchOptions, endProgram, runProgram } from "./program.ts";
import { each, interval, later, loop, rate } from "./repeat.ts";
import { LazyWait, sleep, type Start, suspend, waitFor, yieldTurn } from "./suspend.ts";
import { checkMs, now } from "./timer.ts";
import { TaskletExit, type WaitOptions } from "./wait.ts";

export type { Kin } from "./kin.ts";
export type { Binding, LocalScope } from "./local.ts";
export { JoinError, type KillOptions, Life, type MailboxView, type TaskletStatus } from "./life.ts";
export type { DispatchOptions, Signal } from "./program.ts";
export { TimeoutError } from "./timer.ts";
export { TaskletExit, type Wait, type Waiter, type WaitOptions } from "./wait.ts";

/** Any tasklet, whatever it returns and accepts. */
export type AnyTasklet = Tasklet<unknown, never>;

/**
 * The names that are taken, each with its owner. For tests and tools.
 *
 * @ignore
 */
export const registeredNames: Map<string, Tasklet> = new Map();

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

/** The base of {@linkcode MSG_DOWN}, with a written type. */
export const MSG_DOWN_BASE: MessageClass<"MSG_DOWN"> = Message("MSG_DOWN");

/**
 * Tells who monitors a tasklet that it has finished. Its arguments are `task` and `error`.
 *
 * `error` is `undefined` if its body returned, the `TaskletExit` if it was killed, and what it threw otherwise.
 */
export class MSG_DOWN extends MSG_DOWN_BASE<[task: AnyTasklet, error: unknown]> {}

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
  /** As {@linkcode Tasklet.batches}, typed. */
  batches(options?: WaitOptions): AsyncIterableIterator<P[]>;
  /** As {@linkcode Tasklet.pending}, typed. */
  pending(): IterableIterator<P>;
}

/** What is finished counts as its value or, where that cannot be, as its `JoinError`. */
type Joined<T extends readonly AnyTasklet[]> = {
  -readonly [K in keyof T]: (T[K] extends Tasklet<infer R, never> ? R : never) | JoinError;
};

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
 * - **Kill**: see {@linkcode Life.kill}.
 * - **Context**: what an `AsyncLocalStorage` holds where a tasklet is created, it holds in the tasklet.
 * - **Fairness**: after 256 deliveries or 4 ms the next wait takes a turn of the event loop, so that tasklets which
 *   always have something to do starve neither sockets nor timers.
 *
 * Most of what is here is for its own body. What everybody may do with it comes from {@linkcode Life}:
 * {@linkcode Life.join}, {@linkcode Life.kill}, {@linkcode Life.signal}, {@linkcode Life.status} and its like.
 *
 * @typeParam R What the body returns, awaited.
 * @typeParam P The messages it accepts, a union.
 */
export class Tasklet<out R = unknown, in P extends AnyMessage = AnyMessage> extends Life<R>
  implements Receiver<P> {
  // There for the compiler alone, which would take methods of fewer messages for methods of more.
  declare private readonly accepts: (message: P) => void;

  /** Use {@linkcode Tasklet.new}. */
  protected constructor(name: string, options: TaskletOptions) {
    super(name, options);
  }

  /**
   * Creates a tasklet: `Tasklet.new(body, options)(...args)`.
   *
   * It is a child of the running tasklet, or has no parent outside of any. The body starts on a later microtask, with
   * the tasklet as `this`; messages sent before are queued.
   *
   * @param body A function, async or not.
   * @param options Name, mailbox, signal, and whether it is a daemon.
   * @returns A function that takes the arguments of the body and gives the tasklet.
   * @throws {RangeError} If the mailbox options make no sense.
   */
  static new<A extends unknown[], R, P extends AnyMessage = AnyMessage>(
    body: (this: Self<P>, ...args: A) => R,
    options: TaskletOptions = {},
  ): (...args: A) => Tasklet<Awaited<R>, P> {
    return (...args) => {
      const task = new Body<Awaited<R>, P>(options.name || body.name || "anonymous", options);
      start(task, () => body.apply(task as unknown as Self<P>, args));
      if (options.signal !== undefined) task.obey(options.signal);
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
    return here("receive").inbox.receive(classes, options.timeout) as AsyncIterableIterator<InstanceType<C>>;
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
    return here("receive").inbox.receiveOne(classes, options.timeout) as Promise<InstanceType<C>>;
  }

  /**
   * Takes messages in batches, as long as one goes on asking: waits for a message, then for the end of the turn, in which
   * others may follow, and takes all that have come.
   *
   * For those who do better with many at once, such as whoever writes to a socket. Going on to the next batch without
   * having answered a call of this one fails that call as forgotten. Until a batch is taken, its messages are queued.
   *
   * @param options.timeout Milliseconds to wait for the first message at most. @default {Infinity}
   * @throws {TimeoutError} If no message came in time; nothing is lost.
   * @throws {Error} Outside of a tasklet.
   */
  static batches(options: WaitOptions = {}): AsyncIterableIterator<AnyMessage[]> {
    return here("receive").inbox.batches(options.timeout);
  }

  /**
   * Takes what is queued now from the mailbox of the running tasklet, without waiting: a batch. What arrives while
   * it is read is left for later.
   *
   * @throws {Error} Outside of a tasklet.
   */
  static pending(): IterableIterator<AnyMessage> {
    return here("receive").inbox.pending();
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
   * @param options.outside Whether it comes from outside of the program, as bytes from a socket do, so that virtual time
   * has patience with it. @default {false}
   */
  static suspend<T = void>(
    start: Start<T>,
    { timeout = Infinity, what = "for an event", outside = false }: WaitOptions & {
      what?: string | undefined;
      outside?: boolean | undefined;
    } = {},
  ): Promise<T> {
    return suspend(start, timeout, what, outside ? "outside" : "inside");
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
    const expected = tasks.map((task) => task.expectJoin());
    try {
      for (const task of tasks) {
        const left = end === Infinity ? Infinity : Math.max(0, end - now());
        results.push(await task.join({ timeout: left }).catch(asValue));
      }
    } finally {
      for (const each of expected) each[Symbol.dispose]();
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
   * Kills all of `tasks`, and all below them, at once: as {@linkcode Life.kill} does each, by the same exit.
   *
   * @param options.grace Milliseconds for which `finally` blocks may wait. @default {5000}
   * @param options.exit What their waits reject with. @default {a new one}
   * @returns A promise, itself a wait point, that resolves when all cleanup has ended or was abandoned.
   * @throws {RangeError} If `grace` is negative or not a number.
   */
  static killAll(tasks: Iterable<AnyTasklet>, options: KillOptions = {}): Promise<void> {
    return killTogether([...tasks], options);
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
  static scope<T>(body: () => T): Promise<Awaited<T>> {
    return Tasklet.new(body, { name: body.name || "scope" })().joinScope();
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
    using _ = task.expectJoin(); // one that has failed in this turn is not reported yet, and need not be
    return onFinish(task, (error) => {
      watcher.inbox.deliverAnyway(running.run(task, () => new MSG(task, error)));
      return true;
    }, watcher);
  }

  /**
   * Gives a tasklet a name by which the whole process can find it, until it finishes.
   *
   * @param task The tasklet. @default {the running tasklet}
   * @throws {Error} If the name is taken, or the tasklet has finished, or there is none.
   */
  static register(name: string, task: AnyTasklet = here("register")): void {
    const owner = registeredNames.get(name);
    if (owner !== undefined) {
      throw new Error(`Cannot register ${JSON.stringify(name)}: the name is taken by ${owner}`);
    }
    if (task.isOver) throw new Error(`Cannot register ${JSON.stringify(name)}: ${task} has finished`);
    registeredNames.set(name, task as Tasklet);
    onFinish(task, () => void registeredNames.delete(name));
  }

  /** The tasklet registered under `name`, or `undefined`. */
  static whereis(name: string): Tasklet | undefined {
    return registeredNames.get(name);
  }

  /**
   * Takes a message.
   *
   * @ignore
   */
  deliver(message: P): boolean {
    return this.inbox.deliver(message);
  }

  /**
   * Takes a message and promises its reply.
   *
   * @ignore
   */
  ask(message: P, options: CallOptions): Promise<unknown> {
    return this.inbox.ask(message, options);
  }

  /** The tasklet that created it and waits for it; `undefined` for a daemon and outside of any. */
  override get parent(): Tasklet | undefined {
    return super.parent as Tasklet | undefined;
  }

  /** The children that have not finished, oldest first. */
  override get children(): Tasklet[] {
    return super.children as Tasklet[];
  }

  /** Yields this tasklet and all below it that have not finished, each with its level; parents before children. */
  override tree(): Generator<[tasklet: Tasklet, level: number]> {
    return super.tree() as Generator<[tasklet: Tasklet, level: number]>;
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
    return this.inbox.receive(classes, options.timeout);
  }

  receiveOne(classes?: readonly MessageConstructor[], options: WaitOptions = {}): Promise<AnyMessage> {
    return this.inbox.receiveOne(classes, options.timeout);
  }

  batches(options: WaitOptions = {}): AsyncIterableIterator<AnyMessage[]> {
    return this.inbox.batches(options.timeout);
  }

  pending(): IterableIterator<AnyMessage> {
    return this.inbox.pending();
  }
}

function here(what: string): Tasklet {
  const task = Tasklet.current();
  if (task === undefined) throw new Error(`Cannot ${what}: no tasklet is running`);
  return task;
}

function named(f: { readonly name: string }, options: TaskletOptions): TaskletOptions {
  return { ...options, name: options.name ?? f.name };
}

function asValue(error: unknown): JoinError {
  if (error instanceof JoinError) return error;
  throw error;
}

/**
 * Runs a program: `main` in the root tasklet.
 *
 * - **Signals**: the first kills the root, so that cleanup runs; then the process exits with 130 (SIGINT) or 143
 *   (SIGTERM). A second one exits at once; the same again within 50 ms, as a terminal and `deno task` send it for one
 *   Ctrl-C, is none, but leaves cleanup no more than a second.
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

async function killAll(tasks: readonly Life[], grace: number): Promise<void> {
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
