/**
 * Messages: typed, named values that tasklets send each other.
 *
 * A message class is declared in one line and is everything the two sides must agree on: the arguments, the
 * reply, and the name under which it travels. Sending what the other side does not accept is a compile error.
 *
 * ```ts
 * import { Message, Tasklet } from "@x/concurrence";
 *
 * class MSG_GREETING extends Message("MSG_GREETING")<[name: string]> {}
 * class MSG_SUM extends Message("MSG_SUM")<number[], number> {}
 *
 * const task = Tasklet.new(async function server() {
 *   for await (const msg of Tasklet.receive()) {
 *     if (msg.match(MSG_GREETING)) console.log("Hello", msg.args[0]);
 *     else if (msg.match(MSG_SUM)) msg.reply(msg.args.reduce((a, b) => a + b));
 *   }
 * })();
 *
 * MSG_GREETING.send(task)("World");
 * console.log(await MSG_SUM.call(task)(1, 2, 3)); // 6
 * await task.kill();
 * ```
 *
 * Runtime-neutral: no Deno namespace, no timers.
 *
 * @module
 */
import { running } from "./context.ts";
import { hook } from "./hook.ts";

export { type ClassOf, Mailbox, type MailboxOptions } from "./mailbox.ts";

/**
 * An instance of a message class.
 *
 * @typeParam T The name, a string literal.
 * @typeParam A The arguments, a tuple or an array.
 * @typeParam R The reply; `void` for a message that is only sent.
 */
// deno-lint-ignore no-explicit-any
export interface Message<T extends string = string, A extends readonly unknown[] = any[], R = any> {
  /** The name given to `Message(...)`; `switch (msg.type)` narrows. */
  readonly type: T;
  /** What was sent with the message. */
  readonly args: A;
  /** The tasklet that sent it, `undefined` from outside of any. */
  readonly sender: Sender | undefined;

  /** Whether this is an instance of `Class` or of a class derived from it. */
  match<M extends AnyMessage>(Class: MessageConstructor<M>): this is M;

  /**
   * Answers the `call` that brought this message. May be done by any tasklet, at any time.
   *
   * @returns Whether the answer counts: `false` after the first reply or failure, for a message that was only
   * sent, and when the caller has gone.
   */
  reply(value: R): boolean;

  /**
   * Answers with an error, with which the caller's `call` rejects.
   *
   * @returns Whether the answer counts, as for {@linkcode Message.reply}.
   */
  fail(error: unknown): boolean;

  /**
   * Says that the reply comes later or from elsewhere, so that going on to the next message does not count as
   * having forgotten it.
   */
  defer(): this;
}

/** Any message. */
export type AnyMessage = Message;

/** A class whose instances are messages `M`. */
// deno-lint-ignore no-explicit-any
export type MessageConstructor<M extends AnyMessage = AnyMessage> = new (...args: any[]) => M;

/** What a call of message `M` is answered with. */
export type ReplyOf<M extends AnyMessage> = M extends Message<string, readonly unknown[], infer R> ? R
  : never;

/** The sender of a message, itself a receiver: an answer can be sent to it. */
export interface Sender extends Receiver {
  /** A number, unique in the process. */
  readonly id: number;
  /** The name, for people. */
  readonly name: string;
  /** Whether it has not finished yet. */
  readonly alive: boolean;
}

/** How long a call may take. */
export interface CallOptions {
  /**
   * Milliseconds to wait for the reply at most.
   *
   * @default {Infinity}
   */
  timeout?: number | undefined;
  /** Ends the wait when it is aborted; the call rejects with its `reason`. */
  signal?: AbortSignal | undefined;
}

/**
 * What messages `M` can be sent to and called on: tasklets, and whatever else has the two methods.
 *
 * Contravariant: a receiver of more messages serves where a receiver of fewer is wanted.
 */
export interface Receiver<in M extends AnyMessage = AnyMessage> {
  /** Takes a message; neither throws nor waits. Whether the message was accepted. Use `MSG.send(to)(...)`. */
  readonly deliver: (message: M) => boolean;
  /** Takes a message and promises its reply. Use `MSG.call(to)(...)`. */
  readonly ask: (message: M, options: CallOptions) => Promise<unknown>;
}

/**
 * Why a call got no reply.
 *
 * - `"finished"`: the callee has finished, or does so before replying; `cause` is its error, if it had one.
 * - `"refused"`: the callee's mailbox is full, or dropped the message for a newer one.
 * - `"forgotten"`: the callee went on to its next message without `reply`, `fail` or `defer`.
 * - `"deadlock"`: the callee waits, directly or through others, for the caller.
 *
 * And, in a cluster:
 *
 * - `"finished"`: also that nobody has the name, or that the node of the callee has gone;
 * - `"refused"`: also that the message cannot be sent, or is not let in elsewhere;
 * - `"disconnected"`: this node has lost its connection; the message may have arrived or not;
 * - `"remote"`: the callee answered with an error; `cause` is its name and text.
 */
export type CallErrorReason =
  | "finished"
  | "refused"
  | "forgotten"
  | "deadlock"
  | "disconnected"
  | "remote";

/** A call that can get no reply any more. */
export class CallError extends Error {
  /** `"CallError"`. */
  override readonly name = "CallError";
  /** Why there is no reply. */
  readonly reason: CallErrorReason;

  /** Creates the error with which a call rejects. */
  constructor(reason: CallErrorReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** What `Message("NAME")` makes: extend it, naming arguments and reply, to get a message class. */
export interface MessageClass<T extends string> {
  /** Creates a message; `send` and `call` do it for you. */
  new <A extends readonly unknown[] = [], R = void>(...args: A): Message<T, A, R>;

  /** The name, also on the wire. */
  readonly type: T;

  /**
   * Sends this message: `MSG_X.send(to)(...args)`.
   *
   * Never throws and never waits; messages of one sender arrive in order. With several receivers all get the
   * same message object.
   *
   * @param to A receiver, or an iterable of receivers.
   * @returns A function that takes the arguments and tells whether the message was accepted (by all): `false` if
   * a receiver has finished or its mailbox is full.
   */
  send<M extends AnyMessage>(
    this: MessageConstructor<M>,
    to: Receiver<NoInfer<M>> | Iterable<Receiver<NoInfer<M>>>,
  ): (...args: M["args"]) => boolean;

  /**
   * Sends this message and waits for its reply: `await MSG_X.call(to)(...args)`.
   *
   * The callee's end, a full mailbox, a forgotten reply and a cycle of callers end the wait at once.
   *
   * @param to The callee.
   * @param options How long to wait.
   * @returns A function that takes the arguments and promises the reply. The promise rejects with
   * - `TimeoutError`, if no reply came within `timeout` or an enclosing deadline passed;
   * - the `reason` of `signal`, once it is aborted;
   * - {@linkcode CallError}, if no reply can come any more;
   * - the error the callee gave to `fail`;
   * - `TaskletExit`, if the caller is killed.
   */
  call<M extends AnyMessage>(
    this: MessageConstructor<M>,
    to: Receiver<NoInfer<M>>,
    options?: CallOptions,
  ): (...args: M["args"]) => Promise<ReplyOf<M>>;
}

/**
 * Makes the base of a message class.
 *
 * The literal makes the class nominal: two classes with equal arguments are told apart by `match`, by
 * `switch (msg.type)` and by the compiler.
 *
 * ```ts
 * import { Message } from "@x/concurrence/message";
 *
 * class MSG_MOVE extends Message("MSG_MOVE")<[x: number, y: number]> {} // arguments
 * class MSG_WHERE extends Message("MSG_WHERE")<[], { x: number; y: number }> {} // a reply
 * class MSG_QUIT extends Message("MSG_QUIT") {} // neither
 *
 * console.log(new MSG_MOVE(3, 4).args, MSG_WHERE.type, new MSG_QUIT().match(MSG_MOVE)); // [3, 4] "MSG_WHERE" false
 * ```
 *
 * An exported message class needs a base with a written type, so that tools can read its declaration alone:
 * `const Base: MessageClass<"MSG_X"> = Message("MSG_X"); export class MSG_X extends Base<[string]> {}`.
 *
 * @param type The name, unique among the messages that meet in one mailbox.
 */
export function Message<const T extends string>(type: T): MessageClass<T> {
  class Named extends Letter {
    static readonly type = type;
  }
  Object.defineProperty(Named.prototype, "type", { value: type });
  return Named as unknown as MessageClass<T>;
}

/** A call under way, as the message that carries it sees it. */
export interface Call {
  /** Whether the reply was announced to come from elsewhere. */
  deferred: boolean;
  /** Whether the caller still waits. */
  readonly open: boolean;
  /** Ends the wait with a value. */
  resume(value: unknown): void;
  /** Ends the wait with an error. */
  fail(error: unknown): void;
}

/** Makes `message` the carrier of `call`. For writers of receivers. */
export let carry: (message: AnyMessage, call: Call) => void;

/** The call that `message` carries, while its caller still waits. For writers of receivers. */
export let callOf: (message: AnyMessage) => Call | undefined;

class Letter implements Message {
  declare readonly type: string;
  readonly args: unknown[];
  readonly sender: Sender | undefined = running.getStore() as Sender | undefined;
  #call: Call | undefined;

  static {
    carry = (message, call) => (message as Letter).#call = call;
    callOf = (message) => (message as Letter).#open();
  }

  constructor(...args: unknown[]) {
    this.args = args;
  }

  static send<M extends AnyMessage>(this: MessageConstructor<M>, to: Receiver<M> | Iterable<Receiver<M>>) {
    return (...args: unknown[]): boolean => {
      const message = new this(...args);
      if ("deliver" in to) return to.deliver(message);
      let all = true;
      for (const receiver of to) all = receiver.deliver(message) && all;
      return all;
    };
  }

  static call<M extends AnyMessage>(this: MessageConstructor<M>, to: Receiver<M>, options: CallOptions = {}) {
    return (...args: unknown[]): Promise<unknown> => to.ask(new this(...args), options);
  }

  match<M extends AnyMessage>(Class: MessageConstructor<M>): this is M {
    return this instanceof Class;
  }

  reply(value: unknown): boolean {
    const call = this.#open();
    if (hook !== undefined && call !== undefined) hook.replied(this, undefined);
    call?.resume(value);
    return call !== undefined;
  }

  fail(error: unknown): boolean {
    const call = this.#open();
    if (hook !== undefined && call !== undefined) hook.replied(this, { error });
    call?.fail(error);
    return call !== undefined;
  }

  defer(): this {
    if (this.#call !== undefined) this.#call.deferred = true;
    return this;
  }

  #open(): Call | undefined {
    return this.#call?.open ? this.#call : undefined;
  }
}
