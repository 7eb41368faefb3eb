/**
 * Supervisors: tasklets that start others, and start them again when they fail.
 *
 * Strategies, restart intensity and the order of stopping are those of Erlang/OTP's `supervisor`; the growing pauses
 * between restarts are added to them.
 *
 * Runtime-neutral.
 *
 * @module
 */
import { running } from "./context.ts";
import { Inbox } from "./inbox.ts";
import { onFinish, tendsChildren } from "./life.ts";
import type { MailboxOptions } from "./mailbox.ts";
import { type AnyMessage, type CallOptions, Message, type Receiver } from "./message.ts";
import {
  type AnyTasklet,
  type KillOptions,
  type Self,
  Tasklet,
  TaskletExit,
  type WaitOptions,
} from "./tasklet.ts";
import { notice, report } from "./report.ts";
import { printable } from "./text.ts";
import { checkMs, now, setTimer, type Timer } from "./timer.ts";

/**
 * Who is restarted when a child fails: `"one-for-one"` that child, `"one-for-all"` all, `"rest-for-one"` that child and
 * those started after it. The others among them are stopped first, newest first.
 */
export type Strategy = "one-for-one" | "one-for-all" | "rest-for-one";

/**
 * When a child is restarted: `"permanent"` whenever it ends, `"transient"` when it fails or is killed, `"temporary"`
 * never.
 */
export type Restart = "permanent" | "transient" | "temporary";

/** How many restarts are too many. */
export interface Intensity {
  /**
   * So many restarts are allowed `within` the time; one more, and the supervisor fails.
   *
   * @default {3}
   */
  restarts?: number | undefined;
  /**
   * Milliseconds.
   *
   * @default {5000}
   */
  within?: number | undefined;
}

/** How long to pause before a restart: longer each time, until the child has lived for `within` milliseconds. */
export interface Backoff {
  /**
   * Milliseconds before the first restart.
   *
   * @default {100}
   */
  first?: number | undefined;
  /**
   * By how much each pause is longer than the one before.
   *
   * @default {2}
   */
  factor?: number | undefined;
  /**
   * Milliseconds at most.
   *
   * @default {30000}
   */
  max?: number | undefined;
  /**
   * By which part a pause may be shorter or longer, so that not all that failed together come back together.
   *
   * @default {0.2}
   */
  jitter?: number | undefined;
}

/** How a supervisor acts. */
export interface SupervisorOptions {
  /**
   * Who is restarted.
   *
   * @default {"one-for-one"}
   */
  strategy?: Strategy | undefined;
  /** How many restarts are too many. */
  intensity?: Intensity | undefined;
  /** How long to pause before a restart. */
  backoff?: Backoff | undefined;
  /**
   * The name of its tasklet.
   *
   * @default {"supervisor"}
   */
  name?: string | undefined;
}

/** What a child is, and when it is restarted. */
export type ChildSpec<A extends unknown[] = [], R = unknown, P extends AnyMessage = AnyMessage> = {
  /** Its name, unique in the supervisor. */
  name: string;
  /** What it does; a restart calls it anew. */
  body: (this: Self<P>, ...args: A) => R;
  /**
   * When it is restarted.
   *
   * @default {"permanent"}
   */
  restart?: Restart | undefined;
  /**
   * Milliseconds for which its `finally` blocks may wait when it is stopped.
   *
   * @default {5000}
   */
  grace?: number | undefined;
  /** How its mailbox is bounded; without it, it is not. */
  mailbox?: MailboxOptions | undefined;
  /**
   * How many messages may wait for a restart; further ones are refused.
   *
   * @default {1000}
   */
  backlog?: number | undefined;
} & ([] extends A ? { args?: A | undefined } : { args: A });

/** A child as others see it: what it is restarted as is the same receiver. */
export interface Child<in P extends AnyMessage = AnyMessage> extends Receiver<P> {
  /** Its name, unique in the supervisor. */
  readonly name: string;
  /** The tasklet that it is now; `undefined` between its end and its restart. */
  readonly task: AnyTasklet | undefined;
  /** Whether it is at work, waits for its restart, or has ended for good. */
  readonly status: "running" | "restarting" | "ended";
  /** How often it was restarted. */
  readonly restarts: number;
  /** Ends it for good, in the grace of its spec; its name is free again. Harmless twice. */
  stop(): Promise<void>;
}

/** Why a supervisor has given up: too many restarts. `errors` are their causes, oldest first. */
export class SupervisorError extends AggregateError {
  /** `"SupervisorError"`. */
  override readonly name = "SupervisorError";
}

class MSG_ENDED
  extends Message("MSG_ENDED")<[child: Supervised, task: AnyTasklet, error: unknown, isOurs: boolean]> {}
class MSG_RESTART extends Message("MSG_RESTART")<[children: Iterable<Supervised>]> {}

/**
 * A tasklet that starts children, and starts them again when they end.
 *
 * ```ts
 * import { Message, type Self, Supervisor, Tasklet } from "@x/concurrence";
 *
 * class MSG_DIVIDE extends Message("MSG_DIVIDE")<[a: bigint, b: bigint], bigint> {}
 *
 * async function divider(this: Self<MSG_DIVIDE>) {
 *   for await (const msg of this.receive()) msg.reply(msg.args[0] / msg.args[1]); // fails when b is 0
 * }
 *
 * const task = Tasklet.new(async () => {
 *   await using supervisor = new Supervisor({ backoff: { first: 10 } });
 *   const child = supervisor.start({ name: "divider", body: divider });
 *   await MSG_DIVIDE.call(child)(1n, 0n).catch((error) => console.log(error.reason)); // "finished"
 *   console.log(await MSG_DIVIDE.call(child)(6n, 2n)); // 3n: waits for the restart
 * })();
 * await task.join();
 * ```
 *
 * - **Restart**: a child restarts with the same body, arguments and name, after a pause that grows while it keeps failing.
 *   Each restart is one line on stderr.
 * - **Names**: the {@linkcode Child} that `start` returns receives messages across restarts. What the failed tasklet had not
 *   taken, and what comes meanwhile, waits for the next one; only the message it failed on is lost, and its call ends with
 *   `"finished"`. What comes is bounded by `backlog`. The tasklet that has ended refuses, as any does.
 * - **Giving up**: one restart more than `intensity` allows, and the supervisor stops its children and fails with a
 *   {@linkcode SupervisorError} that has all causes.
 * - **Stopping**: children are stopped one after the other, the one started last first, each in its own grace. So it goes
 *   when the supervisor is stopped or killed, or gives up.
 * - **Ownership**: the supervisor is a child of the tasklet that created it, and its children are its own.
 */
export class Supervisor implements AsyncDisposable {
  /** The tasklet that supervises. */
  readonly task: Tasklet<void>;
  readonly #strategy: Strategy;
  readonly #intensity: Required<NoUndefined<Intensity>>;
  readonly #backoff: Required<NoUndefined<Backoff>>;
  readonly #children: Supervised[] = []; // in order of start
  #causes: { readonly at: number; readonly error: unknown }[] = []; // of restarts that still count

  /**
   * Creates a supervisor without children.
   *
   * @throws {RangeError} If an option makes no sense.
   */
  constructor({ strategy = "one-for-one", intensity = {}, backoff = {}, name }: SupervisorOptions = {}) {
    if (!["one-for-one", "one-for-all", "rest-for-one"].includes(strategy)) {
      throw new RangeError(`Cannot create supervisor: unknown "strategy" ${strategy}`);
    }
    this.#strategy = strategy;
    this.#intensity = checked({ restarts: 3, within: 5000 }, intensity);
    this.#backoff = checked({ first: 100, factor: 2, max: 30_000, jitter: 0.2 }, backoff);
    this.task = Tasklet.new(() => this.#supervise(), { name: name ?? "supervisor" })();
    tendsChildren(this.task);
    onFinish(this.task, (error) => {
      for (const child of this.#children.slice()) child.giveUp(error);
    });
  }

  /** Its children, in the order they were started, those that wait for their restart among them. */
  get children(): Child<never>[] {
    return this.#children.slice();
  }

  /** The child of that name. */
  child(name: string): Child<never> | undefined {
    return this.#children.find((child) => child.name === name);
  }

  /**
   * Starts a child. It can be done at any time.
   *
   * @returns What receives its messages, also across restarts.
   * @throws {Error} If the name is taken, or the supervisor has ended.
   * @throws {RangeError} If the grace or the backlog make no sense.
   */
  start<A extends unknown[], R, P extends AnyMessage = AnyMessage>(spec: ChildSpec<A, R, P>): Child<P> {
    checkMs(`start ${spec.name}`, "grace", spec.grace ?? 0);
    if (this.child(spec.name) !== undefined) {
      throw new Error(`Cannot start ${spec.name}: the name is taken in ${this.task}`);
    }
    if (this.task.inbox.isClosed) throw new Error(`Cannot start ${spec.name}: ${this.task} has ended`);
    const child = new Supervised(this.task, spec as unknown as ChildSpec, () => this.#remove(child));
    child.start();
    this.#children.push(child);
    return child;
  }

  /** Waits until the supervisor has ended; as {@linkcode Tasklet.join}, it throws if it gave up or was stopped. */
  join(options?: WaitOptions): Promise<void> {
    return this.task.join(options);
  }

  /**
   * Stops the children, the one started last first, and ends.
   *
   * @param options.grace Milliseconds for all of it, on top of which each child has its own. @default {Infinity}
   * @param options.exit What its own waits reject with; joiners find it as the `cause`. @default {a new one}
   */
  stop({ grace = Infinity, exit }: KillOptions = {}): Promise<void> {
    return this.task.kill({ grace, exit });
  }

  /** The same as {@linkcode Supervisor.stop}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #supervise(): Promise<void> {
    try {
      for await (const msg of Tasklet.receive()) {
        if (msg.match(MSG_ENDED)) await this.#whenEnded(...msg.args);
        else if (msg.match(MSG_RESTART)) { for (const child of msg.args[0]) child.startAgain(); }
      }
    } finally {
      for (const child of this.children.reverse()) await child.stop();
    }
  }

  async #whenEnded(child: Supervised, task: AnyTasklet, error: unknown, isOurs: boolean): Promise<void> {
    if (child.task !== task) { // it was stopped, or failed beside one whose end stops all
      if (isOurs && isFailure(error)) report(`${this.task}: ${child} failed, too:`, error);
      return;
    }
    child.isRunning = false;
    if (!child.restartsAfter(error)) return child.giveUp(error);
    this.#count(child, error);
    const delay = this.#delay(child);
    const affected = this.#affectedBy(child);
    const restarted = affected.filter((each) => each.isRestarted);
    notice(
      `${this.task} restarts ${restarted.join(", ")} in ${Math.round(delay)} ms: ${child} ${
        howItEnded(error)
      }`,
    );
    for (const each of affected.toReversed()) await (each.isRestarted ? each.pause() : each.stop());
    const pending = new PendingRestart(restarted, now() + delay, this.task);
    for (const each of restarted) each.pending = pending;
  }

  /** Counts a restart, unless it is one too many. */
  #count(child: Supervised, error: unknown): void {
    const { restarts, within } = this.#intensity;
    const time = now();
    this.#causes = this.#causes.filter(({ at }) => at > time - within);
    this.#causes.push({ at: time, error: error ?? new Error(`${child.name} has ended`) });
    if (this.#causes.length <= restarts) return;
    throw new SupervisorError(
      this.#causes.map((cause) => cause.error),
      `Cannot restart ${child.name}: more than ${restarts} restarts in ${within} ms`,
      { cause: error },
    );
  }

  #delay(child: Supervised): number {
    const { first, factor, max, jitter } = this.#backoff;
    if (now() - child.startedAt >= this.#intensity.within) child.failures = 0;
    const delay = Math.min(max, first * Math.min(factor ** child.failures++, Number.MAX_VALUE));
    return delay * (1 + jitter * (2 * Math.random() - 1));
  }

  /** Who is stopped because of `child`, in order of start. */
  #affectedBy(child: Supervised): Supervised[] {
    if (this.#strategy === "one-for-one") return [child];
    return this.#children.slice(this.#strategy === "one-for-all" ? 0 : this.#children.indexOf(child));
  }

  #remove(child: Supervised): void {
    const at = this.#children.indexOf(child);
    if (at >= 0) this.#children.splice(at, 1);
  }
}

/** A restart to come, of one child or of several at once. */
class PendingRestart {
  readonly #children: Set<Supervised>;
  readonly #timer: Timer;

  constructor(children: readonly Supervised[], at: number, supervisor: Tasklet) {
    this.#children = new Set(children);
    this.#timer = setTimer(at, () => MSG_RESTART.send(supervisor)(this.#children));
  }

  /** Leaves a child out; without any, nothing is restarted. */
  leaveOut(child: Supervised): void {
    this.#children.delete(child);
    if (this.#children.size === 0) this.#timer.cancel();
  }
}

/** A child as its supervisor sees it. */
class Supervised implements Child {
  readonly name: string;
  readonly #supervisor: Tasklet<void>;
  readonly #spec: ChildSpec;
  readonly #whenGone: () => void;
  // Where messages wait while there is no tasklet; while there is one, it passes them on.
  readonly #waiting: Inbox;
  #task: AnyTasklet | undefined; // the last one
  isRunning = false; // so far as the supervisor knows
  pending: PendingRestart | undefined; // what it waits for
  startedAt = 0;
  failures = 0; // since it last lived for long
  #starts = 0;
  #hasEnded = false;

  constructor(supervisor: Tasklet<void>, spec: ChildSpec, whenGone: () => void) {
    this.name = spec.name;
    this.#supervisor = supervisor;
    this.#spec = spec;
    this.#whenGone = whenGone;
    this.#waiting = new Inbox(supervisor, { capacity: spec.backlog ?? 1000 });
  }

  get task(): AnyTasklet | undefined {
    return this.isRunning ? this.#task : undefined;
  }

  get restarts(): number {
    return Math.max(0, this.#starts - 1);
  }

  get status(): "running" | "restarting" | "ended" {
    if (this.#hasEnded) return "ended";
    return this.isRunning ? "running" : "restarting";
  }

  get isRestarted(): boolean {
    return this.#spec.restart !== "temporary";
  }

  restartsAfter(error: unknown): boolean {
    if (this.#hasEnded || !this.isRestarted) return false;
    return this.#spec.restart !== "transient" || error !== undefined;
  }

  deliver(message: AnyMessage): boolean {
    return this.#waiting.deliver(message);
  }

  ask(message: AnyMessage, options: CallOptions): Promise<unknown> {
    return this.#waiting.ask(message, options);
  }

  start(): void {
    const { name, mailbox, body, args = [] } = this.#spec;
    const task = running.run(this.#supervisor, () => Tasklet.new(body, { name, mailbox })(...args as []));
    this.#task = task;
    this.isRunning = true;
    this.startedAt = now();
    this.#starts++;
    this.#waiting.passOnTo(task.inbox);
    onFinish(task, (error) => {
      const isOurs = this.restartsAfter(error); // then the supervisor tells of it
      MSG_ENDED.send(this.#supervisor)(this, task, error, isOurs);
      return isOurs;
    });
  }

  startAgain(): void {
    this.pending = undefined;
    if (!this.#hasEnded && !this.isRunning) this.start();
  }

  /** Stops it until its restart. */
  async pause(): Promise<void> {
    this.pending?.leaveOut(this);
    await this.#kill();
  }

  async stop(): Promise<void> {
    this.#hasEnded = true;
    const killed = this.#kill();
    this.giveUp(undefined);
    await killed;
  }

  /** Ends it for good, with all who wait for it. */
  giveUp(cause: unknown): void {
    this.#hasEnded = true;
    this.pending?.leaveOut(this);
    this.#waiting.giveUp({ deferred: true, cause });
    this.#whenGone();
  }

  async #kill(): Promise<void> {
    this.isRunning = false;
    await this.#task?.kill({ grace: this.#spec.grace ?? 5000 });
  }

  toString(): string {
    return this.name;
  }
}

type NoUndefined<T> = { [K in keyof T]: Exclude<T[K], undefined> };

function checked<T extends Record<string, number>>(
  defaults: T,
  options: Partial<Record<keyof T, number | undefined>>,
): T {
  const all: Record<string, number> = { ...defaults };
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    if (!(value >= 0)) {
      throw new RangeError(`Cannot create supervisor: "${name}" must be a number, 0 or more, got ${value}`);
    }
    all[name] = value;
  }
  return all as T;
}

function howItEnded(error: unknown): string {
  if (error === undefined) return "has ended";
  return isFailure(error) ? `failed: ${printable(String(error))}` : "was killed";
}

function isFailure(error: unknown): boolean {
  return error !== undefined && !(error instanceof TaskletExit);
}
