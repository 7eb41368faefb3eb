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
import { BorderError, failureParcel, noneParcel, valueParcel } from "./border.ts";
import {
  type AnyMessage,
  CallError,
  type CallErrorReason,
  callOf,
  type CallOptions,
  type MessageConstructor,
  type Receiver,
} from "./message.ts";
import { callError } from "./inbox.ts";
import { disconnected, type News, type Post, remoteCause } from "./post.ts";
import { checkMs, now, setTimer, type Timer } from "./timer.ts";
import { onAbort, Wait, type Waiter } from "./wait.ts";

const MOST_HOPS = 64;
// How many calls from elsewhere may be open here; who defers replies keeps them open, however many come.
const MOST_SERVED = 100_000;
// For how many milliseconds nodes may come forward that have members of a group.
const MUSTER = 1000;

// Who may answer a group call, beside nodes that have said so.
const HERE = "(here)"; // no id of a node
const OTHERS = "(others)";

/** Whom a call goes to. */
export interface Address {
  /** Where to. */
  readonly subject: string;
  /** What to call that, for people. */
  readonly name: string;
  /** The node where the callee was last; `""` if there may be several. Kept by {@linkcode Calls}. */
  node: string;
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
  ask(message: AnyMessage, options: CallOptions, to: Address): Promise<unknown> {
    return this.#begin(new RemoteCallWait(caller(), this, message, to), options);
  }

  /**
   * Sends a message to a group and promises the first reply, for which whoever is running waits.
   *
   * @param here The members on this node, if they should be asked.
   */
  askAll(
    message: AnyMessage,
    options: CallOptions,
    to: Address,
    here: Receiver | undefined,
  ): Promise<unknown> {
    return this.#begin(new GroupCallWait(caller(), this, message, to, here), options);
  }

  #begin(wait: RemoteWait, { timeout = Infinity, signal }: CallOptions): Promise<unknown> {
    checkMs("call", "timeout", timeout);
    if (!signal?.aborted) wait.askHere();
    if (!wait.begin(timeout)) return wait.promise;
    if (signal?.aborted) {
      wait.fail(signal.reason);
    } else {
      if (signal !== undefined) wait.obey(signal);
      this.#send(wait);
    }
    return wait.promise;
  }

  #send(wait: RemoteWait): void {
    const { message, to: { subject, node } } = wait;
    if (!this.#post.isUp) return wait.disconnected();
    try {
      wait.reply = this.#post.ask(subject, message, node, (news) => wait.hear(news));
      this.#waits.add(wait);
    } catch (error) {
      if (!(error instanceof BorderError)) throw error;
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
  serve(to: Receiver, message: AnyMessage, reply: string): void {
    if (this.#served.size >= MOST_SERVED) return this.#refuse(reply, "too many calls are open there");
    const callee = "waits" in to ? to as unknown as Waiter : undefined;
    const answering = to.ask(message, {});
    this.#served.set(reply, { message, callee });
    answering.then(
      (value) => this.#answer(reply, valueParcel(value)),
      (error) => this.#answer(reply, this.#whyNot(error)),
    );
    this.#post.stats.received++;
    if (callee?.waits !== undefined) this.#chase(callee, reply, []);
  }

  #answer(reply: string, values: readonly unknown[]): void {
    this.#served.delete(reply);
    this.#post.tell(reply, values, failureParcel);
    if (this.#served.size === 0) this.#onIdle?.();
  }

  #refuse(reply: string, why: string): void {
    this.#post.stats.refused++;
    this.#post.tell(reply, noneParcel("refused", why, this.#post.id));
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
        return wait.none("deadlock", `${wait.to.name} waits for the caller: ${way.join(" → ")}`);
      } else {
        for (const node of wait.nodes) this.#probe(node, wait.reply, origin, way);
        return;
      }
    }
  }
}

function caller(): Waiter | undefined {
  return running.getStore() as Waiter | undefined;
}

/** A wait for a reply from elsewhere. */
abstract class RemoteWait extends Wait<unknown> {
  /** Where the answer goes. Kept by {@linkcode Calls} alone. */
  reply = "";
  /** Since when it waits. */
  readonly since: number = now();
  /** What is sent. */
  readonly message: AnyMessage;
  /** To whom. */
  readonly to: Address;
  readonly #calls: Calls;
  #onAbort: Disposable | undefined;

  /** Creates a wait for the reply to a message. */
  constructor(owner: Waiter | undefined, calls: Calls, message: AnyMessage, to: Address) {
    super(owner, true);
    this.#calls = calls;
    this.message = message;
    this.to = to;
  }

  /** Where the callee is, or the callees are, as far as that is known. */
  abstract get nodes(): Iterable<string>;

  override describe(): string {
    return `for the reply of ${this.to.name} to ${this.message.type}`;
  }

  /** Ends the wait when `signal` is aborted. */
  obey(signal: AbortSignal): void {
    this.#onAbort = onAbort(signal, () => this.abort(signal.reason));
  }

  /** Asks who is on this node. Comes first: who waits already might be helped on by something else. */
  askHere(): void {}

  /** Takes what is heard of the call. */
  hear(news: News): void {
    if (news.kind === "value") return this.resume(news.value);
    if (news.kind === "at") return this.found(news.node);
    if (news.kind === "nobody") return this.nobody();
    if (news.kind === "disconnected") return this.disconnected();
    if (news.kind === "failure") {
      const { name, text } = news.failure;
      return this.none("remote", `${name}: ${text}`, remoteCause(news.failure));
    }
    const { reason, text, node, cause } = news;
    if (reason === "disconnected") return this.lose(node, callError(reason, this.message.type, text));
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
    this.fail(disconnected(`call ${this.message.type}`));
  }

  /** Who has not said by now that it has the message has not got it. */
  abstract expire(): void;

  /** Takes notice that a node has gone. */
  nodeGone(node: string): void {
    this.lose(node, callError("finished", this.message.type, `its node has gone: ${node}`));
  }

  /** Ends the wait because no reply can come. */
  none(reason: CallErrorReason, text: string, cause?: unknown): void {
    this.fail(callError(reason, this.message.type, text, cause));
  }

  protected override left(_early: boolean): void {
    this.#onAbort?.[Symbol.dispose]();
    this.#calls.end(this);
  }
}

/** A wait for the reply of one tasklet elsewhere. */
class RemoteCallWait extends RemoteWait {
  #node: string | undefined = this.to.node || undefined;

  override get nodes(): Iterable<string> {
    return this.#node === undefined ? [] : [this.#node];
  }

  protected override found(node: string): void {
    this.#node = node;
    if (this.to.node !== "") this.to.node = node;
  }

  // Whoever says that there will be no answer is where the call has gone.
  protected override lose(_node: string, error: CallError): void {
    this.fail(error);
  }

  override nodeGone(node: string): void {
    if (node === this.#node) super.nodeGone(node);
  }

  override nobody(): void {
    this.none("finished", `nobody has the name ${this.to.name}`);
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
  readonly #here: Receiver | undefined;
  readonly #controller = new AbortController();
  readonly #open = new Set<string>([OTHERS]); // nodes, and these two
  #error: CallError | undefined; // of the last of them that could have answered
  #muster: Timer | undefined;

  constructor(
    owner: Waiter | undefined,
    calls: Calls,
    message: AnyMessage,
    to: Address,
    here: Receiver | undefined,
  ) {
    super(owner, calls, message, to);
    this.#here = here;
  }

  override get nodes(): Iterable<string> {
    return [...this.#open].filter((each) => each !== HERE && each !== OTHERS);
  }

  override askHere(): void {
    if (this.#here === undefined) return;
    this.#open.add(HERE);
    const Class = this.message.constructor as MessageConstructor;
    this.#here.ask(new Class(...this.message.args), { signal: this.#controller.signal }).then(
      (value) => this.resume(value),
      (error) => error instanceof CallError ? this.lose(HERE, error) : this.fail(error),
    );
  }

  override begin(timeout?: number): boolean {
    const begun = super.begin(timeout);
    if (begun) this.#muster = setTimer(now() + MUSTER, () => this.nobody());
    return begun;
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
    this.fail(this.#error ?? callError("finished", this.message.type, `${this.to.name} has no members`));
  }

  protected override left(early: boolean): void {
    this.#muster?.cancel();
    this.#controller.abort();
    super.left(early);
  }
}
