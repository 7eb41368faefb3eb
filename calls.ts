/**
 * Calls between nodes: those that are made here and wait for an answer from elsewhere, and those that are answered here.
 *
 * **Probes.** A call that has waited for a heartbeat asks after itself at the node of its callee. A node that has no such
 * call says so, and since nothing overtakes anything between two nodes, the call or its answer must have been lost.
 * Nothing else than that has to be noticed: a lost connection, a server of the bus that was replaced, a full buffer.
 *
 * **Deadlocks.** Who waits for whom is known on each node for its own tasklets only. So a probe that meets a callee which
 * is itself waiting goes the way of that wait, from node to node, with the list of those it has passed. If it comes back
 * to the call it was sent for, that call waits for itself, and fails. When a call arrives at a callee that is waiting,
 * a probe goes on from there at once; the others find circles whose last link was closed within one node. A probe ends
 * where somebody has deferred the reply, waits for several things, or waits for nothing.
 *
 * Runtime-neutral.
 *
 * @module
 */
import { running } from "./context.ts";
import { type Answer, BorderError, failureParcel, noneParcel, valueParcel } from "./border.ts";
import { type AnyMessage, CallError, type CallErrorReason, callOf, type CallOptions } from "./message.ts";
import type { MessageConstructor } from "./message.ts";
import { type Asker, disconnected, type Post, remoteCause } from "./post.ts";
import { checkMs, now, setTimer, type Timer } from "./timer.ts";
import { onAbort, Wait, type Waiter } from "./wait.ts";

const MOST_HOPS = 64;
// For how many milliseconds nodes may come forward that have members of a group.
const MUSTER = 1000;

// Who may answer a group call, beside nodes that have said so.
const HERE = "(here)"; // no id of a node
const OTHERS = "(others)";

/** What answers a message: a tasklet or a group. */
export interface Callee {
  /** As in `Receiver`. */
  readonly ask: (message: never, options: CallOptions) => Promise<unknown>;
}

/** How a message is sent to which an answer is wanted. */
export interface Passage {
  /** Where to. */
  readonly subject: string;
  /** What to call that, for people. */
  readonly to: string;
  /** The node where the callee is thought to be; `""` if that is not known. */
  readonly node: string;
  /** Called with the node where the callee is. */
  readonly found: (node: string) => void;
  /** The texts that go along with a message. */
  readonly headers: (message: AnyMessage) => Readonly<Record<string, string>> | undefined;
}

/** A call that has come from elsewhere and has not been answered. */
interface Served {
  readonly message: AnyMessage;
  /** Who should answer, if it is one tasklet. */
  readonly callee: Waiter | undefined;
}

/** The calls of one node, in both directions. */
export class Calls {
  readonly #post: Post;
  readonly #waits = new Set<RemoteWait>();
  readonly #served = new Map<string, Served>(); // by where the answer goes
  #onIdle: (() => void) | undefined;

  /** Creates an empty list. */
  constructor(post: Post) {
    this.#post = post;
  }

  /* ------------------------------------------------- made here ---------------------------------------------- */

  /** Sends a message to a tasklet elsewhere and promises its reply, for which whoever is running waits. */
  ask(message: AnyMessage, options: CallOptions, passage: Passage): Promise<unknown> {
    const wait = new RemoteCallWait(running.getStore() as Waiter | undefined, this, message.type, passage);
    return this.#begin(wait, message, options);
  }

  /**
   * Sends a message to a group and promises the first reply, for which whoever is running waits.
   *
   * @param here The members on this node, if there are any.
   */
  askAll(
    message: AnyMessage,
    options: CallOptions,
    passage: Passage,
    here: Callee | undefined,
  ): Promise<unknown> {
    const wait = new GroupCallWait(running.getStore() as Waiter | undefined, this, message, passage, here);
    return this.#begin(wait, message, options);
  }

  #begin(
    wait: RemoteWait,
    message: AnyMessage,
    { timeout = Infinity, signal }: CallOptions,
  ): Promise<unknown> {
    checkMs("call", "timeout", timeout);
    if (!wait.begin(timeout)) return wait.promise;
    if (signal?.aborted) {
      wait.fail(signal.reason);
      return wait.promise;
    }
    if (signal !== undefined) wait.obey(signal);
    if (this.#post.border.admits(message)) wait.askHere();
    if (wait.open) this.#send(wait, message);
    return wait.promise;
  }

  #send(wait: RemoteWait, message: AnyMessage): void {
    const { subject, node, headers } = wait.passage;
    if (!this.#post.isUp) return wait.disconnected();
    try {
      const payload = this.#post.border.pack(message, node);
      const reply = this.#post.ask(subject, payload, wait, headers(message));
      if (reply === undefined) throw new BorderError("oversized", "too much waits to be sent");
      wait.reply = reply;
      this.#waits.add(wait);
      this.#post.stats.sent++;
    } catch (error) {
      if (!(error instanceof BorderError)) throw error;
      this.#post.stats.unsent++;
      wait.none("refused", error.message, error);
    }
  }

  /** Takes an ended call out of the list. */
  end(wait: RemoteWait): void {
    if (this.#waits.delete(wait)) this.#post.forget(wait.reply);
  }

  /** Takes notice that a node has gone: it answers no call. */
  nodeGone(node: string): void {
    for (const wait of [...this.#waits]) wait.nodeGone(node);
  }

  /* ------------------------------------------------ answered here ------------------------------------------- */

  /** Lets `to` answer a message that has come from elsewhere. */
  serve(to: Callee, message: AnyMessage, reply: string): void {
    const callee = "waits" in to ? to as unknown as Waiter : undefined;
    this.#served.set(reply, { message, callee });
    to.ask(message as never, {}).then(
      (value) => this.#answer(reply, valueParcel(value)),
      (error) => this.#answer(reply, this.#whyNot(error)),
    );
    this.#post.stats.received++;
    if (callee?.waits !== undefined) this.#chase(callee, reply, []);
  }

  #answer(reply: string, values: readonly unknown[]): void {
    this.#served.delete(reply);
    if (reply !== "") this.#post.answer(reply, values, failureParcel);
    if (this.#served.size === 0) this.#onIdle?.();
  }

  #whyNot(error: unknown): readonly unknown[] {
    // What the callee could not do with others is an error of its own.
    if (!(error instanceof CallError) || error.reason === "disconnected" || error.reason === "remote") {
      return failureParcel(error);
    }
    if (error.reason === "refused") this.#post.stats.refused++;
    return noneParcel(error.reason, error.message, this.#post.id, error.cause);
  }

  /** Resolves when all that have come are answered. */
  idle(): Promise<void> {
    return this.#served.size === 0 ? Promise.resolve() : new Promise((resolve) => this.#onIdle = resolve);
  }

  /* --------------------------------------------------- probes ----------------------------------------------- */

  /** Asks after the calls that have waited since `before`, and gives up on those that nobody has taken since `end`. */
  probe(before: number, end: number): void {
    for (const wait of [...this.#waits]) {
      if (wait.since > before) continue;
      if (wait.since <= end) wait.expire();
      for (const node of wait.nodes) this.#probe(node, wait.reply, wait.reply, []);
    }
  }

  #probe(node: string, reply: string, origin: string, hops: readonly string[]): void {
    const probe = ["probe", reply, origin, hops];
    if (node === this.#post.id) queueMicrotask(() => this.probed(probe));
    else this.#post.tell(this.#post.subjects.node(node), probe);
  }

  /** Takes what came for this node; whether it is a probe. */
  probed(value: unknown): boolean {
    if (!Array.isArray(value)) return false;
    const [kind, reply, origin, hops] = value;
    const { subjects } = this.#post;
    const isProbe = kind === "probe" && subjects.isReply(reply) && subjects.isReply(origin) &&
      Array.isArray(hops) && hops.length <= MOST_HOPS && hops.every((hop) => typeof hop === "string");
    if (!isProbe) return false;
    const served = this.#served.get(reply);
    if (served === undefined) {
      this.#post.tell(reply, noneParcel("disconnected", "the call or its answer was lost", this.#post.id));
    } else if (served.callee !== undefined && callOf(served.message)?.deferred === false) {
      this.#chase(served.callee, origin, hops);
    }
    return true;
  }

  // Goes from one to the next as long as each waits for one reply, or one end, alone.
  #chase(from: Waiter, origin: string, hops: readonly string[]): void {
    const way = [...hops];
    for (let at: Waiter | undefined = from; at !== undefined && way.length < MOST_HOPS;) {
      way.push(`${at}@${this.#post.id}`);
      const wait: Wait | undefined = at.waits;
      if (wait === undefined || wait.older !== undefined) return;
      if (!(wait instanceof RemoteCallWait)) {
        at = wait.target;
      } else if (wait.reply === origin) {
        return wait.none("deadlock", `${wait.passage.to} waits for the caller: ${way.join(" → ")}`);
      } else {
        for (const node of wait.nodes) this.#probe(node, wait.reply, origin, way);
        return;
      }
    }
  }
}

/** A wait for a reply from elsewhere. */
abstract class RemoteWait extends Wait<unknown> implements Asker {
  /** Where the answer goes. Kept by {@linkcode Calls} alone. */
  reply = "";
  /** Since when it waits. */
  readonly since: number = now();
  /** How the message goes. */
  readonly passage: Passage;
  readonly #calls: Calls;
  readonly #type: string;
  #onAbort: Disposable | undefined;

  /** Creates a wait for the reply to a message of the name `type`. */
  constructor(owner: Waiter | undefined, calls: Calls, type: string, passage: Passage) {
    super(owner);
    this.#calls = calls;
    this.#type = type;
    this.passage = passage;
  }

  /** Where the callee is, or the callees are, as far as that is known. */
  abstract get nodes(): Iterable<string>;

  override describe(): string {
    return `for the reply of ${this.passage.to} to ${this.#type}`;
  }

  override get serving(): boolean {
    return true;
  }

  /** Ends the wait when `signal` is aborted. */
  obey(signal: AbortSignal): void {
    this.#onAbort = onAbort(signal, () => this.abort(signal.reason));
  }

  /** Asks who is on this node. */
  askHere(): void {}

  answered(answer: Answer): void {
    if (answer.kind === "value") return this.resume(answer.value);
    if (answer.kind === "failure") {
      const { name, text } = answer.failure;
      return this.none("remote", `${name}: ${text}`, remoteCause(answer.failure));
    }
    if (answer.kind === "at") {
      this.passage.found(answer.node);
      return this.found(answer.node);
    }
    const { reason, text, node, cause } = answer;
    if (reason === "disconnected") return this.lose(node, this.error(reason, text));
    this.lose(node, new CallError(reason, text, cause && { cause: remoteCause(cause) }));
  }

  /** The callee, or one of them, is there. */
  protected abstract found(node: string): void;

  /** The callee there, or the callees, will not answer. */
  protected abstract lose(node: string, error: CallError): void;

  /** Nobody has got the message. */
  abstract nobody(): void;

  /** The connection is lost. */
  disconnected(): void {
    this.fail(disconnected(`call ${this.#type}`));
  }

  /** Who has not said by now that it has the message has not got it. */
  abstract expire(): void;

  /** Takes notice that a node has gone. */
  nodeGone(node: string): void {
    this.lose(node, this.error("finished", `its node has gone: ${node}`));
  }

  /** Ends the wait because no reply can come. */
  none(reason: CallErrorReason, text: string, cause?: unknown): void {
    this.fail(this.error(reason, text, cause));
  }

  /** The error with which it could end. */
  protected error(reason: CallErrorReason, text: string, cause?: unknown): CallError {
    const options = cause === undefined ? undefined : { cause };
    return new CallError(reason, `Cannot call ${this.#type}: ${text}`, options);
  }

  protected override left(_early: boolean): void {
    this.#onAbort?.[Symbol.dispose]();
    this.#calls.end(this);
  }
}

/** A wait for the reply of one tasklet elsewhere. */
class RemoteCallWait extends RemoteWait {
  #node: string | undefined;

  constructor(owner: Waiter | undefined, calls: Calls, type: string, passage: Passage) {
    super(owner, calls, type, passage);
    this.#node = passage.node || undefined;
  }

  override get nodes(): Iterable<string> {
    return this.#node === undefined ? [] : [this.#node];
  }

  protected override found(node: string): void {
    this.#node = node;
  }

  // Whoever says that there will be no answer is where the call has gone.
  protected override lose(_node: string, error: CallError): void {
    this.fail(error);
  }

  override nodeGone(node: string): void {
    if (node === this.#node) super.nodeGone(node);
  }

  override nobody(): void {
    this.none("finished", `nobody has the name ${this.passage.to}`);
  }

  override expire(): void {
    if (this.#node === undefined) this.none("disconnected", "the call was lost");
  }
}

/**
 * A wait for the first reply of a group.
 *
 * It is open as long as anybody may answer: the members here, the nodes that have said that they have members, and,
 * for the time of the muster, those that have not said so yet.
 */
class GroupCallWait extends RemoteWait {
  readonly #message: AnyMessage;
  readonly #here: Callee | undefined;
  readonly #controller = new AbortController();
  readonly #open = new Set<string>([OTHERS]); // nodes, and these two
  #error: CallError | undefined; // of the last of them that could have answered
  #muster: Timer | undefined;

  constructor(
    owner: Waiter | undefined,
    calls: Calls,
    message: AnyMessage,
    passage: Passage,
    here: Callee | undefined,
  ) {
    super(owner, calls, message.type, passage);
    this.#message = message;
    this.#here = here;
  }

  override get nodes(): Iterable<string> {
    return [...this.#open].filter((each) => each !== HERE && each !== OTHERS);
  }

  override askHere(): void {
    this.#muster = setTimer(now() + MUSTER, () => this.nobody());
    if (this.#here === undefined) return;
    this.#open.add(HERE);
    const Class = this.#message.constructor as MessageConstructor;
    const copy = running.run(this.owner, () => new Class(...this.#message.args));
    running.run(undefined, () => this.#here!.ask(copy as never, { signal: this.#controller.signal })).then(
      (value) => this.resume(value),
      (error) => error instanceof CallError ? this.lose(HERE, error) : this.fail(error),
    );
  }

  protected override found(node: string): void {
    this.#open.add(node);
  }

  protected override lose(node: string, error: CallError): void {
    this.#error = error;
    this.#close(node);
  }

  override nobody(): void {
    this.#close(OTHERS);
  }

  override expire(): void {
    this.#close(OTHERS);
  }

  override disconnected(): void {
    if (!this.#open.has(HERE)) return super.disconnected();
    for (const node of this.nodes) this.#open.delete(node);
    this.#close(OTHERS);
  }

  #close(node: string): void {
    this.#open.delete(node);
    if (this.#open.size > 0) return;
    this.fail(this.#error ?? this.error("finished", `${this.passage.to} has no members`));
  }

  protected override left(early: boolean): void {
    this.#muster?.cancel();
    this.#controller.abort();
    super.left(early);
  }
}
