/**
 * Channels: typed values handed from tasklet to tasklet, and `select`, which takes from one of several.
 *
 * A mailbox belongs to its tasklet; a channel belongs to nobody, and whoever has it may send and receive. And a sender
 * waits until there is somebody to receive, or room, so that nobody is ever far ahead of anybody.
 *
 * Runtime-neutral: no Deno namespace.
 *
 * @module
 */
import { running } from "./context.ts";
import { Deque, Line, type Place } from "./mailbox.ts";
import type { Source, Taker } from "./select.ts";
import { checkMs } from "./timer.ts";
import { ready, readyError, refused, Wait, type Waiter, type WaitOptions } from "./wait.ts";

export { after, messages, select, type Selected, type Source, type Sources, type Taker } from "./select.ts";
export type { WaitOptions } from "./wait.ts";

/** A channel that takes nothing any more, or will never give anything again, because it was closed. */
export class ChannelClosedError extends Error {
  /** `"ChannelClosedError"`. */
  override readonly name = "ChannelClosedError";
  /** The channel that is closed. */
  readonly channel: Channel<unknown>;

  /** Creates the error with which an operation of `channel` rejects. */
  constructor(channel: Channel<unknown>, message: string, options?: ErrorOptions) {
    super(message, options);
    this.channel = channel;
  }
}

/** What has happened to a channel since it was created. Errors count as values. */
export interface ChannelStats {
  /** How many values it took: handed over or buffered. What is waiting to be sent is not among them. */
  readonly sent: number;
  /** How many values were received. */
  readonly received: number;
  /** The largest balance there was: if it is often near the capacity or beyond, the receivers are too slow. */
  readonly largestBalance: number;
  /** The smallest balance there was: if it is below 0, so many receivers had nothing to do at once. */
  readonly smallestBalance: number;
}

/**
 * A queue of values between tasklets, in which senders wait for room and receivers for values.
 *
 * ```ts
 * import { Channel, Tasklet } from "@x/concurrence";
 *
 * async function worker(jobs: Channel<number>, results: Channel<string>) {
 *   for await (const job of jobs) await results.send(`${job}² = ${job ** 2}`); // several may share a channel
 * }
 *
 * async function producer(jobs: Channel<number>) {
 *   using _ = jobs; // closes it at the end, and so the workers' loops end
 *   for (let job = 1; job <= 5; job++) await jobs.send(job); // waits while 2 are waiting for a worker
 * }
 *
 * const [jobs, results] = [new Channel<number>(2), new Channel<string>()];
 * const workers = [1, 2, 3].map(() => Tasklet.new(worker)(jobs, results));
 * const task = Tasklet.new(producer)(jobs);
 * for (let n = 1; n <= 5; n++) console.log(await results.receive());
 * await Tasklet.joinAll([task, ...workers]);
 * ```
 *
 * - **Order**: values are received in the order they were sent; senders and receivers are served in the order they came.
 * - **Backpressure**: `send` waits until a receiver takes the value, or there is room for it. Without capacity, sender
 *   and receiver meet: `send` ends when a receiver has taken the value.
 * - **Exactly once**: a value is received by one receiver. One that is killed, or whose time is up, takes nothing; and
 *   the value of a sender that ended so is not received by anybody. What was handed over when the kill came counts as
 *   received, and as sent.
 * - **Closing**: what is buffered can still be received. Whoever waits to receive ends, and whoever waits to send, its
 *   value not taken.
 * - **Failure**: an error can be sent like a value; whoever receives it gets it thrown, and the channel goes on.
 * - **Kill**: each operation but `trySend` and `tryReceive` is a wait point. In the cleanup of a killed tasklet `send` and
 *   `receive` may wait, but a loop over a channel ends, so that one that swallows the exit does not go on serving.
 * - **Ready is ready**: an operation that need not wait does not fail because the deadline has passed.
 * - **Cost**: each operation, also the end of a wait in the middle of a line, takes the same time whoever else waits.
 *
 * It may be used outside of tasklets as well.
 *
 * @typeParam T What is sent.
 */
export class Channel<in out T> implements Source<T>, AsyncIterable<T>, Disposable {
  /** How many values it holds for which no receiver has come yet. */
  readonly capacity: number;

  // Invariants: while a receiver waits, there is nothing to receive, neither buffered nor from a waiting sender; while a
  // sender waits, the buffer is full. (channel_model_test: "agrees with a plain model")
  readonly #buffer = new Deque<Item<T>>();
  readonly #senders = new Line<SendWait<T>>();
  readonly #receivers = new Line<Receiver<T>>();
  #isClosed = false;
  #sent = 0;
  #received = 0;
  #largestBalance = 0;
  #smallestBalance = 0;

  /**
   * Creates a channel.
   *
   * @param capacity How many values it holds for which no receiver has come yet, an integer or `Infinity`; with 0, each
   * sender waits for its receiver.
   * @throws {RangeError} If `capacity` is neither an integer, 0 or more, nor `Infinity`.
   */
  constructor(capacity = 0) {
    if (!(capacity === Infinity || Number.isSafeInteger(capacity)) || capacity < 0) {
      throw new RangeError(
        `Cannot create channel: "capacity" must be an integer, 0 or more, got ${capacity}`,
      );
    }
    this.capacity = capacity;
  }

  /** How many values could be received now, buffered or from waiting senders; negative: how many receivers wait. */
  get balance(): number {
    return this.#buffer.length + this.#senders.length - this.#receivers.length;
  }

  /** Whether a sender waits. Who sent what is buffered does not. */
  get hasSender(): boolean {
    return this.#senders.length > 0;
  }

  /** Whether a receiver waits, alone or in a `select`. */
  get hasReceiver(): boolean {
    return this.#receivers.length > 0;
  }

  /** Whether it was closed. There may still be something to receive. */
  get closed(): boolean {
    return this.#isClosed;
  }

  /** What has happened until now. */
  get stats(): ChannelStats {
    return {
      sent: this.#sent,
      received: this.#received,
      largestBalance: this.#largestBalance,
      smallestBalance: this.#smallestBalance,
    };
  }

  /**
   * Sends a value, and waits until a receiver has taken it or there is room for it.
   *
   * If it rejects, the value was not taken and will not be.
   *
   * @param options.timeout Milliseconds to wait at most. @default {Infinity}
   * @throws {ChannelClosedError} If the channel is closed, before or meanwhile.
   * @throws {TimeoutError} If nobody took it in time, or an enclosing deadline has passed.
   */
  send(value: T, options: WaitOptions = {}): Promise<void> {
    return this.#send(value, options);
  }

  /**
   * Sends an error in place of a value, and waits as {@linkcode Channel.send} does. Whoever receives it gets it thrown:
   * by `receive`, `tryReceive`, `select`, or a loop.
   *
   * @param options.timeout Milliseconds to wait at most. @default {Infinity}
   * @throws {ChannelClosedError} If the channel is closed, before or meanwhile.
   * @throws {TimeoutError} If nobody took it in time, or an enclosing deadline has passed.
   */
  sendError(error: unknown, options: WaitOptions = {}): Promise<void> {
    return this.#send(new Thrown(error), options);
  }

  #send(item: Item<T>, { timeout = Infinity }: WaitOptions): Promise<void> {
    checkMs("send", "timeout", timeout);
    const owner = running.getStore() as Waiter | undefined;
    if (!this.#isClosed && !this.#hasRoom) {
      return this.#wait(new SendWait(owner, this.#senders, item), timeout);
    }
    const refusal = refused(owner, false);
    if (refusal !== undefined) return refusal;
    if (this.#isClosed) return readyError(this.#closedError("send"), owner);
    this.#put(item);
    return ready(undefined, owner);
  }

  /** Sends a value if that needs no wait. Whether it was taken: `false` if there is no room, or the channel is closed. */
  trySend(value: T): boolean {
    if (this.#isClosed || !this.#hasRoom) return false;
    this.#put(value);
    return true;
  }

  /**
   * Receives the next value, and waits for it.
   *
   * @param options.timeout Milliseconds to wait at most. @default {Infinity}
   * @throws What was sent with {@linkcode Channel.sendError}.
   * @throws {ChannelClosedError} If the channel is closed, before or meanwhile, and nothing is left.
   * @throws {TimeoutError} If no value came in time, or an enclosing deadline has passed.
   */
  receive({ timeout = Infinity }: WaitOptions = {}): Promise<T> {
    checkMs("receive", "timeout", timeout);
    const owner = running.getStore() as Waiter | undefined;
    if (!this.#isReady) return this.#wait(new ReceiveWait(owner, this.#receivers), timeout);
    const refusal = refused(owner, false);
    if (refusal !== undefined) return refusal;
    if (!this.#hasItem) return readyError(this.#closedError("receive"), owner);
    const item = this.#take();
    return item instanceof Thrown ? readyError(item.error, owner) : ready(item, owner);
  }

  /**
   * Receives the next value if that needs no wait.
   *
   * @returns The value in an object, since it may be `undefined` itself; without an object, there is none now, and if the
   * channel is closed, there will be none.
   * @throws What was sent with {@linkcode Channel.sendError}.
   */
  tryReceive(): { readonly value: T } | undefined {
    if (!this.#hasItem) return undefined;
    const item = this.#take();
    if (item instanceof Thrown) throw item.error;
    return { value: item };
  }

  /**
   * Receives values as they come, until the channel is closed and drained.
   *
   * Several loops share the values. One that is left, by `break` or by an error that was sent, leaves the rest to others.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<T> {
    const iterator: AsyncIterableIterator<T> = {
      next: () => this.#next(),
      return: () => Promise.resolve({ done: true, value: undefined }),
      [Symbol.asyncIterator]: () => iterator,
    };
    return iterator;
  }

  // By hand, not as an async generator: in its body the running tasklet could be another than the one that waits.
  #next(): Promise<IteratorResult<T>> {
    const owner = running.getStore() as Waiter | undefined;
    if (!this.#isReady) return this.#wait(new IterationWait(owner, this.#receivers), Infinity);
    const refusal = refused(owner, true);
    if (refusal !== undefined) return refusal;
    if (!this.#hasItem) return ready<IteratorResult<T>>({ done: true, value: undefined }, owner);
    const item = this.#take();
    return item instanceof Thrown
      ? readyError(item.error, owner)
      : ready({ done: false, value: item }, owner);
  }

  /**
   * Closes the channel: nothing can be sent any more. What is buffered can still be received. Harmless twice.
   *
   * Waiting senders end with {@linkcode ChannelClosedError}: their values are not taken. So do waiting receivers, for
   * which nothing can come; but loops just end.
   */
  close(): void {
    this.#isClosed = true;
    for (let wait = this.#senders.first; wait !== undefined; wait = this.#senders.first) {
      wait.fail(this.#closedError("send"));
    }
    for (let receiver = this.#receivers.first; receiver !== undefined; receiver = this.#receivers.first) {
      receiver.close(this.#closedError("receive"));
    }
  }

  /** The same as {@linkcode Channel.close}. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** As {@linkcode Source.poll}. @ignore */
  poll(): { readonly value: T } | undefined {
    if (this.#isClosed && !this.#hasItem) throw this.#closedError("receive");
    return this.tryReceive();
  }

  /** As {@linkcode Source.subscribe}. @ignore */
  subscribe(taker: Taker<T>): () => void {
    const subscriber = new Subscriber(taker, this.#receivers);
    this.#receivers.join(subscriber);
    this.#noteBalance();
    return () => this.#receivers.leave(subscriber);
  }

  get #hasRoom(): boolean {
    return this.#receivers.length > 0 || this.#buffer.length < this.capacity;
  }

  get #hasItem(): boolean {
    return this.#buffer.length > 0 || this.#senders.length > 0;
  }

  /** Whether a receiver need not wait. */
  get #isReady(): boolean {
    return this.#hasItem || this.#isClosed;
  }

  // There must be room.
  #put(item: Item<T>): void {
    this.#sent++;
    const receiver = this.#receivers.first;
    if (receiver === undefined) {
      this.#buffer.push(item);
      this.#noteBalance();
    } else {
      this.#received++;
      if (item instanceof Thrown) receiver.fail(item.error);
      else receiver.take(item);
    }
  }

  // There must be an item. The place that becomes free in the buffer is the first sender's.
  #take(): Item<T> {
    this.#received++;
    const sender = this.#senders.first;
    if (sender === undefined) return this.#buffer.shift() as Item<T>;
    this.#sent++;
    sender.resume();
    if (this.capacity === 0) return sender.item;
    this.#buffer.push(sender.item);
    return this.#buffer.shift() as Item<T>;
  }

  #wait<R>(wait: Wait<R>, timeout: number): Promise<R> {
    if (wait.begin(timeout)) this.#noteBalance();
    return wait.promise;
  }

  #noteBalance(): void {
    const { balance } = this;
    if (balance > this.#largestBalance) this.#largestBalance = balance;
    else if (balance < this.#smallestBalance) this.#smallestBalance = balance;
  }

  #closedError(what: "send" | "receive"): ChannelClosedError {
    const why = what === "send" ? "the channel is closed" : "the channel is closed, and nothing is left";
    return new ChannelClosedError(this as unknown as Channel<unknown>, `Cannot ${what}: ${why}`);
  }
}

/** What is sent. */
type Item<T> = T | Thrown;

/** An error in the place of a value. */
class Thrown {
  readonly error: unknown;

  constructor(error: unknown) {
    this.error = error;
  }
}

/** A wait for somebody to take a value. */
class SendWait<T> extends Wait<void> implements Place<SendWait<T>> {
  earlier: SendWait<T> | undefined;
  later: SendWait<T> | undefined;
  readonly item: Item<T>;
  readonly #line: Line<SendWait<T>>;

  constructor(owner: Waiter | undefined, line: Line<SendWait<T>>, item: Item<T>) {
    super(owner);
    this.#line = line;
    this.item = item;
  }

  override describe(): string {
    return "for a channel to take a value";
  }

  override begin(timeout: number): boolean {
    const begun = super.begin(timeout);
    if (begun) this.#line.join(this);
    return begun;
  }

  protected override left(): void {
    this.#line.leave(this);
  }
}

/** Who waits for a value. Whatever it is given, it leaves the line. */
interface Receiver<T> extends Taker<T>, Place<Receiver<T>> {
  /** Tells it that nothing will come. */
  close(error: ChannelClosedError): void;
}

/** A wait for a value. */
abstract class ReceiverWait<T, R> extends Wait<R> implements Receiver<T> {
  earlier: Receiver<T> | undefined;
  later: Receiver<T> | undefined;
  readonly #line: Line<Receiver<T>>;

  constructor(owner: Waiter | undefined, line: Line<Receiver<T>>, serving = false) {
    super(owner, serving);
    this.#line = line;
  }

  override describe(): string {
    return "for a value of a channel";
  }

  override begin(timeout: number): boolean {
    const begun = super.begin(timeout);
    if (begun) this.#line.join(this);
    return begun;
  }

  abstract take(value: T): void;

  abstract close(error: ChannelClosedError): void;

  protected override left(): void {
    this.#line.leave(this);
  }
}

class ReceiveWait<T> extends ReceiverWait<T, T> {
  override take(value: T): void {
    this.resume(value);
  }

  override close(error: ChannelClosedError): void {
    this.fail(error);
  }
}

/** A wait of a loop. */
class IterationWait<T> extends ReceiverWait<T, IteratorResult<T>> {
  constructor(owner: Waiter | undefined, line: Line<Receiver<T>>) {
    super(owner, line, true);
  }

  override take(value: T): void {
    this.resume({ done: false, value });
  }

  override close(): void {
    this.resume({ done: true, value: undefined });
  }
}

/** Who waits for other things too. */
class Subscriber<T> implements Receiver<T> {
  earlier: Receiver<T> | undefined;
  later: Receiver<T> | undefined;
  readonly #taker: Taker<T>;
  readonly #line: Line<Receiver<T>>;

  constructor(taker: Taker<T>, line: Line<Receiver<T>>) {
    this.#taker = taker;
    this.#line = line;
  }

  take(value: T): void {
    this.#line.leave(this);
    this.#taker.take(value);
  }

  fail(error: unknown): void {
    this.#line.leave(this);
    this.#taker.fail(error);
  }

  close(error: ChannelClosedError): void {
    this.fail(error);
  }
}
