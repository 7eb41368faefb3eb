/**
 * Pools: a bounded number of things that are costly to open, such as connections, lent to one tasklet at a time.
 *
 * Runtime-neutral.
 *
 * @module
 */
import { onFinish, tendsChildren } from "./life.ts";
import { Tasklet, TaskletExit, type WaitOptions } from "./tasklet.ts";
import { checkMs, now, setTimer, type Timer } from "./timer.ts";
import { onAbort, Wait, type Waiter } from "./wait.ts";

/** What a pool holds, and for how long. */
export interface PoolOptions<T> {
  /** Opens a resource. */
  readonly open: () => T | Promise<T>;
  /** Closes one; called once for each that was opened. */
  readonly close?: ((resource: T) => unknown) | undefined;
  /**
   * Tells whether one that has idled can still be used; otherwise it is closed, and another is tried. It should come to
   * an end by itself (`Timeout.push`), since the resource serves nobody meanwhile.
   */
  readonly check?: ((resource: T) => boolean | Promise<boolean>) | undefined;
  /**
   * How many there are at most, those that are being opened or closed included.
   *
   * @default {10}
   */
  readonly max?: number | undefined;
  /**
   * Milliseconds after which a resource is not lent again, but closed.
   *
   * @default {Infinity}
   */
  readonly maxAge?: number | undefined;
  /**
   * Milliseconds for which one is kept that nobody wants; then it is closed.
   *
   * @default {Infinity}
   */
  readonly idleTimeout?: number | undefined;
  /**
   * The name of the pool and of its tasklets, for people.
   *
   * @default {"pool"}
   */
  readonly name?: string | undefined;
}

/** How long to wait for a resource. */
export interface AcquireOptions extends WaitOptions {
  /** Ends the wait when it is aborted; `acquire` rejects with its `reason`. */
  signal?: AbortSignal | undefined;
}

/** The right to use a resource, until it is given back. All ways to give it back are harmless twice. */
export interface Lease<T> extends Disposable {
  /**
   * The resource.
   *
   * @throws {Error} If it has been given back, because somebody else may be using it.
   */
  readonly value: T;
  /** Gives it back, for others to use. */
  release(): void;
  /** Gives it back to be closed, because it is broken or may be. */
  discard(): void;
  /** Gives it back at the end of a `using` block, to be closed if its tasklet has been killed or has failed meanwhile. */
  [Symbol.dispose](): void;
}

/** The end of a wait for a pool that is closed. */
export class PoolClosedError extends Error {
  /** `"PoolClosedError"`. */
  override readonly name = "PoolClosedError";
}

// What is "opening" or "checking" is coming: it serves whoever waits longest when it is there. "idle" ones are lent
// first of all. After "closing" there is nothing. Only `#move` changes the state.
type State = "opening" | "checking" | "idle" | "lent" | "closing";

/**
 * A bounded set of things that are costly to open, lent to one tasklet at a time.
 *
 * ```ts
 * import { Pool, Tasklet } from "@x/concurrence";
 *
 * class Connection {
 *   static count = 0;
 *   readonly id = ++Connection.count;
 *   async query(text: string) {
 *     await Tasklet.sleep(5);
 *     return `${text}: answered on connection ${this.id}`;
 *   }
 * }
 *
 * await using pool = new Pool({
 *   open: () => new Connection(),
 *   close: (connection) => console.log(`closed connection ${connection.id}`),
 *   max: 2,
 * });
 *
 * async function visitor(n: number) {
 *   using lease = await pool.acquire({ timeout: 1000 });
 *   return await lease.value.query(`question ${n}`);
 * }
 *
 * console.log(await Tasklet.joinAll([1, 2, 3, 4, 5].map((n) => Tasklet.new(visitor)(n)))); // on connections 1 and 2
 * console.log(await pool.use((connection) => connection.query("one more"))); // the same, in one call
 * ```
 *
 * - **Bound**: there are never more than `max` resources, those that are being opened or closed included.
 * - **Order**: who waits longest is served first. Of several idle resources the one used last is lent first, so that
 *   those nobody needs grow old.
 * - **Kill and timeout**: `acquire` is a wait point. Who is killed or runs out of time there holds nothing, and takes
 *   nothing from those who wait behind.
 * - **Ownership**: each resource lives in a tasklet of its own, without a parent. `open`, `check` and `close` run in it,
 *   so that neither kill nor deadline of whoever acquires reaches them: what has been opened for somebody who has gone
 *   serves the next. Tasklets that `open` starts end with the resource; if this tasklet fails, by a rejection that
 *   nobody awaits, the resource is closed.
 * - **Unknown state**: a resource is closed, not lent again, if its tasklet finishes without having given it back, or
 *   leaves a `using` block because it was killed, or if the function given to `use` throws.
 * - **Failure**: if `open` fails, whoever waits longest gets its error, and for the next it is tried again. An error
 *   that concerns nobody, of `open` when there is enough for all who wait, of `check` or `close`, is reported on stderr.
 * - **Closing**: who waits gets a `PoolClosedError`, what idles is closed, what is being opened is killed, and what is
 *   lent is closed when it is given back.
 *
 * A pool lives until it is closed, or its program ends. What is acquired outside of any tasklet nobody gives back but
 * its owner. A tasklet that holds a resource and waits for another may wait for itself: give it a `timeout`.
 *
 * @typeParam T What is lent.
 */
export class Pool<T> implements AsyncDisposable {
  readonly #options: PoolOptions<T>;
  readonly #max: number;
  readonly #maxAge: number;
  readonly #idleTimeout: number;
  readonly #name: string;

  readonly #resources = new Set<Resource<T>>();
  readonly #idle: Resource<T>[] = []; // the one used last is the last
  readonly #count: Record<State, number> = { opening: 0, checking: 0, idle: 0, lent: 0, closing: 0 };
  // Who waits, longest first. Invariant: if more wait than are "checking", nothing is idle; if more wait than are coming,
  // there are `max` resources. (pool_test: "Pool keeps its promises, whatever happens")
  readonly #waits = new Set<AcquireWait<T>>();
  #isClosed = false;
  readonly #closers = new Set<() => void>(); // who waits until all is closed

  /**
   * Creates a pool that has opened nothing yet.
   *
   * @param options How to open and close, how many, how long.
   * @throws {RangeError} If `max` is not a positive integer, or a duration negative or not a number.
   */
  constructor(options: PoolOptions<T>) {
    const { max = 10, maxAge = Infinity, idleTimeout = Infinity, name = "pool" } = options;
    if (!Number.isSafeInteger(max) || max < 1) {
      throw new RangeError(`Cannot create pool: "max" must be a positive integer, got ${max}`);
    }
    this.#options = options;
    this.#max = max;
    this.#maxAge = checkMs("create pool", "maxAge", maxAge);
    this.#idleTimeout = checkMs("create pool", "idleTimeout", idleTimeout);
    this.#name = name;
  }

  /** How many resources there are: idle, lent, and being opened, checked or closed. */
  get size(): number {
    return this.#resources.size;
  }

  /** How many of them can be lent at once. */
  get idle(): number {
    return this.#idle.length;
  }

  /** How many wait for one. */
  get waiting(): number {
    return this.#waits.size;
  }

  /**
   * Waits for a resource, and lends it to the running tasklet: `using lease = await pool.acquire()`.
   *
   * After an error that may have left the resource unusable, call `discard`; {@linkcode Pool.use} does.
   *
   * @param options.timeout Milliseconds to wait at most. @default {Infinity}
   * @throws {TimeoutError} If there was none in time, or an enclosing deadline passed.
   * @throws {PoolClosedError} If the pool is closed, or is closed meanwhile.
   * @throws What `open` has thrown.
   */
  acquire(options: AcquireOptions = {}): Promise<Lease<T>> {
    checkMs("acquire", "timeout", options.timeout ?? Infinity);
    const wait = new AcquireWait(Tasklet.current(), this.#waits, this.#name);
    wait.start(() => this.#isClosed ? wait.fail(this.#closedError()) : this.#serve(), options);
    return wait.promise;
  }

  /**
   * Runs `f` with a resource, and gives that back; to be closed if `f` throws.
   *
   * @param options As for {@linkcode Pool.acquire}.
   * @returns What `f` returns.
   * @throws What `f` or `acquire` throws.
   */
  async use<R>(f: (resource: T) => R, options: AcquireOptions = {}): Promise<Awaited<R>> {
    using lease = await this.acquire(options);
    try {
      return await f(lease.value);
    } catch (error) {
      lease.discard();
      throw error;
    }
  }

  /**
   * Closes the pool: nothing is lent any more. Harmless twice.
   *
   * @returns A promise, itself a wait point, that resolves when all resources have been given back and closed.
   */
  close(): Promise<void> {
    this.#isClosed = true;
    for (const wait of this.#waits) wait.fail(this.#closedError());
    for (const resource of this.#resources) {
      if (resource.state === "idle") this.#dismiss(resource);
      // However long it takes: what comes of it must be closed.
      else if (resource.state === "opening") void resource.keeper.kill({ grace: Infinity });
    }
    return Tasklet.suspend((resume) => {
      if (this.#resources.size === 0) return resume();
      this.#closers.add(resume);
      return () => void this.#closers.delete(resume);
    }, { what: `until all resources of ${this.#name} are closed` });
  }

  /** The same as {@linkcode Pool.close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** The name. */
  toString(): string {
    return this.#name;
  }

  #closedError(): PoolClosedError {
    return new PoolClosedError(`Cannot acquire from ${this.#name}: it is closed`);
  }

  get #first(): AcquireWait<T> | undefined {
    return this.#waits.values().next().value;
  }

  get #coming(): number {
    return this.#count.opening + this.#count.checking;
  }

  // Finds something for those who wait: what idles, also when something is being opened for them, since that may take
  // long; then what there is room for.
  #serve(): void {
    while (this.#waits.size > this.#count.checking && this.#idle.length > 0) {
      const resource = this.#idle.at(-1)!;
      if (resource.isDying || resource.timer!.at <= now()) this.#dismiss(resource);
      else if (this.#options.check === undefined) this.#lend(resource);
      else {
        this.#move(resource, "checking");
        resource.tell("check");
      }
    }
    while (this.#waits.size > this.#coming && this.#resources.size < this.#max) this.#open();
  }

  #open(): void {
    const resource = new Resource<T>();
    this.#resources.add(resource);
    this.#count.opening++;
    resource.keeper = Tasklet.new(() => this.#keep(resource), { name: this.#name, daemon: true })();
    tendsChildren(resource.keeper); // `close` may need those that `open` has started
    onFinish(resource.keeper, (error) => this.#gone(resource, error));
  }

  // The life of a resource, in its tasklet.
  async #keep(resource: Resource<T>): Promise<void> {
    resource.value = await this.#options.open();
    resource.tooOldAt = now() + this.#maxAge;
    try {
      while (this.#offer(resource)) {
        if (await resource.told() === "close" || !await this.#options.check!(resource.value)) break;
      }
      if (resource.isDying) await Tasklet.yield(); // where it meets its exit, lest it do so in `close`
    } finally {
      await this.#close(resource);
    }
    // What `open` has started and `close` has not ended.
    for (const child of resource.keeper.children) void child.kill();
  }

  // Whether it is kept: lent to who waits longest or, where nobody does, idle.
  #offer(resource: Resource<T>): boolean {
    if (this.#isClosed || resource.isDying) return false;
    if (this.#waits.size > 0) this.#lend(resource);
    else this.#move(resource, "idle");
    return true;
  }

  #lend(resource: Resource<T>): void {
    const wait = this.#first!;
    this.#move(resource, "lent");
    wait.resume(new Loan(resource.value, wait.owner, (isSound) => this.#takeBack(resource, isSound)));
  }

  #takeBack(resource: Resource<T>, isSound: boolean): void {
    if (resource.state !== "lent") return; // its tasklet was killed and has not waited any longer
    if (!isSound || resource.tooOldAt <= now() || !this.#offer(resource)) this.#dismiss(resource);
  }

  #dismiss(resource: Resource<T>): void {
    this.#move(resource, "closing");
    resource.tell("close");
  }

  async #close(resource: Resource<T>): Promise<void> {
    try {
      // A kill, which comes with the end of the program, leaves to the cleanup of others what they hold.
      if (resource.state === "lent") await resource.told();
    } finally {
      this.#move(resource, "closing");
      this.#serve(); // those who counted on it
      await this.#options.close?.(resource.value);
    }
  }

  // What `open` ended with, for whoever waits without anything else on its way. Whether there is somebody.
  #failFirst(resource: Resource<T>, end: unknown): boolean {
    this.#move(resource, "closing");
    if (this.#waits.size <= this.#coming) return false;
    const wasKilled = end instanceof TaskletExit; // which to pass on would be to kill
    this.#first!.fail(
      wasKilled ? new Error(`Cannot open ${this.#name}: it was killed`, { cause: end }) : end,
    );
    return true;
  }

  // Whether the error is somebody's concern.
  #gone(resource: Resource<T>, end: unknown): boolean {
    const isTold = resource.state === "opening" && this.#failFirst(resource, end);
    this.#move(resource, "closing");
    this.#count.closing--;
    this.#resources.delete(resource);
    this.#serve();
    if (this.#isClosed && this.#resources.size === 0) {
      for (const resume of this.#closers) resume();
      this.#closers.clear();
    }
    return isTold;
  }

  #move(resource: Resource<T>, state: State): void {
    if (resource.state === "idle") {
      this.#idle.splice(this.#idle.lastIndexOf(resource), 1);
      resource.timer!.cancel();
    }
    this.#count[resource.state]--;
    this.#count[state]++;
    resource.state = state;
    if (state === "idle") {
      this.#idle.push(resource);
      const end = Math.min(resource.tooOldAt, now() + this.#idleTimeout);
      resource.timer = setTimer(end, () => this.#dismiss(resource));
    }
  }
}

/** Something that was opened, or is about to be. */
class Resource<T> {
  /** Kept by the pool. */
  state: State = "opening";
  /** The tasklet in which it lives. */
  keeper!: Tasklet;
  /** What is lent. */
  value!: T;
  /** When it must not be lent any more. */
  tooOldAt!: number;
  /** What ends its time in the pool while it is idle. */
  timer: Timer | undefined;
  #resume: ((order: "check" | "close") => void) | undefined;

  /** Whether its tasklet has been killed or has failed. */
  get isDying(): boolean {
    return this.keeper.status === "stopping";
  }

  /** Waits, as the keeper, for what to do next. */
  told(): Promise<"check" | "close"> {
    return Tasklet.suspend((resume) => {
      this.#resume = resume;
      return () => void (this.#resume = undefined);
    }, { what: "for its resource to be given back or closed" });
  }

  /** Tells the keeper what to do. One that has been killed knows. */
  tell(order: "check" | "close"): void {
    this.#resume?.(order);
    this.#resume = undefined;
  }
}

/** A lease as the pool makes it. */
class Loan<T> implements Lease<T> {
  readonly #value: T;
  readonly #owner: Tasklet | undefined;
  readonly #watch: Disposable | undefined;
  #giveBack: ((isSound: boolean) => void) | undefined;

  constructor(value: T, owner: Waiter | undefined, giveBack: (isSound: boolean) => void) {
    this.#value = value;
    this.#owner = owner as Tasklet | undefined;
    this.#giveBack = giveBack;
    if (this.#owner !== undefined) this.#watch = onFinish(this.#owner, () => this.discard());
  }

  get value(): T {
    if (this.#giveBack !== undefined) return this.#value;
    throw new Error("Cannot use the resource of a lease: it has been given back");
  }

  release(): void {
    this.#end(true);
  }

  discard(): void {
    this.#end(false);
  }

  [Symbol.dispose](): void {
    this.#end(this.#owner?.status !== "stopping");
  }

  #end(isSound: boolean): void {
    const giveBack = this.#giveBack;
    this.#giveBack = undefined;
    this.#watch?.[Symbol.dispose]();
    giveBack?.(isSound);
  }
}

/** A wait for a resource. */
class AcquireWait<T> extends Wait<Lease<T>> {
  readonly #others: Set<AcquireWait<T>>;
  readonly #pool: string;
  #onAbort: Disposable | undefined;

  /** Creates a wait that is one of `others` from its beginning to its end. */
  constructor(owner: Waiter | undefined, others: Set<AcquireWait<T>>, pool: string) {
    super(owner);
    this.#others = others;
    this.#pool = pool;
  }

  override describe(): string {
    return `for a resource of ${this.#pool}`;
  }

  /** Begins to wait, and calls `serve`; if that finds something at once, no deadline matters. */
  start(serve: () => void, { timeout = Infinity, signal }: AcquireOptions): void {
    if (!this.enter()) return;
    if (signal?.aborted) return this.fail(signal.reason);
    if (signal !== undefined) this.#onAbort = onAbort(signal, () => this.abort(signal.reason));
    this.#others.add(this);
    serve();
    if (this.open) this.limit(timeout);
  }

  protected override left(): void {
    this.#onAbort?.[Symbol.dispose]();
    this.#others.delete(this);
  }
}
