/**
 * The receiving side of a tasklet: its mailbox, whoever waits for messages, and the calls that are not answered yet.
 *
 * Knows its owner only as somebody who waits. Runtime-neutral.
 *
 * @module
 */
import { running } from "./context.ts";
import { type DropReason, hook } from "./hook.ts";
import { includes, Mailbox, type MailboxOptions } from "./mailbox.ts";
import {
  type AnyMessage,
  type Call,
  CallError,
  type CallErrorReason,
  callOf,
  type CallOptions,
  carry,
  type MessageConstructor,
} from "./message.ts";
import { cycleOf } from "./suspend.ts";
import { checkMs } from "./timer.ts";
import { onAbort, onTurn, ready, Wait, type Waiter } from "./wait.ts";

type Classes = readonly MessageConstructor[] | undefined;

const NONE: readonly never[] = [];

// Messages that are never dropped for newer ones.
const notices = new WeakSet<AnyMessage>();

/** What arrives at one tasklet. */
export class Inbox {
  readonly #owner: Waiter;
  // Invariant: while a receiver waits, nothing it would take is queued. (tasklet_receive_test: "hands over directly")
  #mailbox: Mailbox<AnyMessage> | undefined;
  #receivers: Recipient | undefined; // oldest first, down the line by `behind`
  #single: MessageWait | undefined; // the wait for one message that ended last, or is under way
  #calls: OpenCall | undefined; // newest first, down the line by `earlier`
  #isClosed = false;
  #cause: unknown; // why its owner came to its end
  #next: Inbox | undefined; // what takes the messages that come when this one is closed

  /** Creates the inbox of `owner`; without options, it is unbounded. */
  constructor(owner: Waiter, options: MailboxOptions | undefined) {
    this.#owner = owner;
    if (options !== undefined) this.#mailbox = new Mailbox(options);
  }

  /** Whose it is. */
  get owner(): Waiter {
    return this.#owner;
  }

  /** How many messages are queued. */
  get length(): number {
    return this.#mailbox?.length ?? 0;
  }

  /** The message that has been queued longest. */
  get oldest(): AnyMessage | undefined {
    return this.#mailbox?.oldest;
  }

  /** How many may be queued. */
  get capacity(): number {
    return this.#mailbox?.capacity ?? Infinity;
  }

  /** Whether it takes nothing any more. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Takes a message, if there is room. */
  deliver(message: AnyMessage): boolean {
    if (this.#isClosed) return this.#next?.deliver(message) ?? this.#drop(message, "finished");
    if (hook !== undefined) hook.sent(message, this.#owner);
    if (this.#handOver(message)) return true;
    const mailbox = this.#mailbox ??= new Mailbox();
    if (mailbox.length >= mailbox.capacity) {
      if (mailbox.overflow === "refuse") return this.#drop(message, "refused");
      this.#dropOldest(mailbox);
    }
    mailbox.put(message);
    return true;
  }

  #drop(message: AnyMessage, reason: DropReason, why = ""): false {
    hook?.dropped(message, this.#owner, reason, why);
    return false;
  }

  // Notices must not be lost, so they are passed over, and where there is nothing else, nothing is dropped.
  #dropOldest(mailbox: Mailbox<AnyMessage>): void {
    const kept: AnyMessage[] = [];
    let dropped = mailbox.take();
    for (; dropped !== undefined && notices.has(dropped); dropped = mailbox.take()) kept.push(dropped);
    for (const notice of kept.reverse()) mailbox.putBack(notice);
    if (dropped === undefined) return;
    this.#drop(dropped, "oldest");
    callOf(dropped)?.fail(
      callError("refused", dropped.type, `${this.#owner} dropped it for a newer message`),
    );
  }

  /** Takes a message that must not be lost, whatever the capacity and whatever comes after it. */
  deliverAnyway(message: AnyMessage): void {
    notices.add(message);
    if (hook !== undefined && !this.#isClosed) hook.sent(message, this.#owner);
    if (!this.#isClosed && !this.#handOver(message)) (this.#mailbox ??= new Mailbox()).put(message);
  }

  #handOver(message: AnyMessage): boolean {
    for (let wait = this.#receivers; wait !== undefined; wait = wait.behind) {
      if (wait.takes(message)) {
        if (hook !== undefined) hook.received(message, this.#owner);
        wait.hand(message);
        return true;
      }
    }
    return false;
  }

  /** Promises the next message. */
  receiveOne(classes: Classes, timeout: number = Infinity): Promise<AnyMessage> {
    checkMs("receive", "timeout", timeout);
    const message = this.take(classes);
    if (message !== undefined) return ready(message, this.#owner);
    if (this.#single === undefined || this.#single.open) this.#single = new MessageWait(this.#owner, this);
    return this.wait(this.#single.for(classes), timeout);
  }

  /** Goes through messages as they come. */
  receive(classes: Classes, timeout: number = Infinity): AsyncIterableIterator<AnyMessage> {
    checkMs("receive", "timeout", timeout);
    return new Reception(this.#owner, this, classes, timeout);
  }

  /** Goes through messages as they come, a turn at a time. */
  batches(timeout: number = Infinity): AsyncIterableIterator<AnyMessage[]> {
    checkMs("receive", "timeout", timeout);
    return new BatchReception(this.#owner, this, timeout);
  }

  /** Goes through what is queued now. */
  pending(): IterableIterator<AnyMessage> {
    const end = (this.#mailbox?.taken ?? 0) + this.length;
    let last: AnyMessage | undefined;
    const iterator: IterableIterator<AnyMessage> = {
      next: () => {
        if (last !== undefined) this.forget(last);
        last = this.#mailbox !== undefined && this.#mailbox.taken < end ? this.#mailbox.take() : undefined;
        if (hook !== undefined && last !== undefined) hook.received(last, this.#owner);
        return last === undefined ? { done: true, value: undefined } : { done: false, value: last };
      },
      [Symbol.iterator]: () => iterator,
    };
    return iterator;
  }

  /** Takes the next message that is queued. Once closed, there is none: a wait then rejects with the reason. */
  take(classes: Classes): AnyMessage | undefined {
    if (this.#isClosed) return undefined;
    const message = classes === undefined ? this.#mailbox?.take() : this.#mailbox?.takeOf(classes);
    if (hook !== undefined && message !== undefined) hook.received(message, this.#owner);
    return message;
  }

  /** Takes all that is queued. */
  takeAll(): AnyMessage[] {
    const all = this.#mailbox === undefined || this.#isClosed ? [] : this.#mailbox.takeAll();
    if (hook !== undefined) { for (const message of all) hook.received(message, this.#owner); }
    return all;
  }

  /** Begins `wait`, at the end of the line. */
  wait<T>(wait: ReceiveWait<T>, timeout: number): Promise<T> {
    if (wait.begin(timeout)) this.#join(wait);
    return wait.promise;
  }

  /**
   * Hands the next message to `hand`, for a wait that other things can end too. Call it when `take` gave nothing.
   *
   * @returns What ends that, if no message has come.
   */
  subscribe(classes: Classes, hand: (message: AnyMessage) => void): () => void {
    const recipient: Recipient = {
      behind: undefined,
      takes: (message) => isOf(message, classes),
      hand: (message) => {
        this.leave(recipient);
        hand(message);
      },
    };
    this.#join(recipient);
    return () => this.leave(recipient);
  }

  #join(recipient: Recipient): void {
    let last = this.#receivers;
    if (last === undefined) return void (this.#receivers = recipient);
    while (last.behind !== undefined) last = last.behind;
    last.behind = recipient;
  }

  /** Takes a waiting receiver out of the line. */
  leave(recipient: Recipient): void {
    if (this.#receivers === recipient) {
      this.#receivers = recipient.behind;
    } else {
      let previous = this.#receivers;
      while (previous !== undefined && previous.behind !== recipient) previous = previous.behind;
      if (previous !== undefined) previous.behind = recipient.behind;
    }
    recipient.behind = undefined;
  }

  /** Fails the call of a message that nobody has answered and nobody will. */
  forget(message: AnyMessage): void {
    const call = callOf(message);
    if (call === undefined || call.deferred) return;
    call.fail(
      callError("forgotten", message.type, `${this.#owner} went on to its next message without a reply`),
    );
  }

  /** Takes a message and promises its reply, for which whoever is running waits. */
  ask(message: AnyMessage, { timeout = Infinity, signal }: CallOptions): Promise<unknown> {
    checkMs("call", "timeout", timeout);
    const caller = running.getStore() as Waiter | undefined;
    const inbox = this.open ?? this;
    const cycle = caller === undefined ? undefined : cycleOf(caller, inbox.#owner, false);
    const wait = new CallWait(caller, inbox.#owner, message.type);
    if (!wait.begin(timeout)) return wait.promise;
    if (signal?.aborted) {
      wait.fail(signal.reason);
    } else {
      if (signal !== undefined) wait.obey(signal);
      inbox.call(message, wait, cycle);
    }
    return wait.promise;
  }

  /** The inbox that takes what is sent to this one, if any does. */
  get open(): Inbox | undefined {
    if (!this.#isClosed) return this;
    return this.#next === undefined ? undefined : this.#next.open;
  }

  /**
   * Takes a message that brings `call`, which is open until it has ended; at once, if there can be no reply.
   *
   * @param cycle Who waits for whom, if the owner waits for the caller.
   */
  call(message: AnyMessage, call: OpenCall, cycle: string | undefined): void {
    if (this.#isClosed) {
      this.#drop(message, "finished");
      call.fail(callError("finished", call.type, `${this.#owner} has finished`, this.#cause));
    } else if (cycle !== undefined) {
      this.#drop(message, "deadlock", cycle);
      call.fail(callError("deadlock", call.type, `${this.#owner} waits for the caller: ${cycle}`));
    } else {
      carry(message, call);
      this.#keep(call);
      if (this.deliver(message)) return;
      call.fail(callError("refused", call.type, `the mailbox of ${this.#owner} is full`));
    }
  }

  #keep(call: OpenCall): void {
    call.inbox = this;
    call.callee = this.#owner;
    call.earlier = this.#calls;
    if (call.earlier !== undefined) call.earlier.later = call;
    this.#calls = call;
  }

  /** Takes an ended call out of the list. */
  end(call: OpenCall): void {
    if (call.earlier !== undefined) call.earlier.later = call.later;
    if (call.later !== undefined) call.later.earlier = call.earlier;
    else if (this.#calls === call) this.#calls = call.earlier;
    call.earlier = call.later = undefined;
  }

  /** Takes nothing from now on. What is queued can still be read as {@linkcode Inbox.pending}. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#next !== undefined) this.#giveBack(this.#next);
    this.#next = undefined;
  }

  /**
   * Passes on to `inbox` all that is here and all that comes, until that one is closed; then what its owner has not
   * taken comes back, and the calls that it brought stay open.
   */
  passOnTo(inbox: Inbox): void {
    this.#isClosed = true;
    this.#next = inbox;
    inbox.#next = this;
    this.#moveTo(inbox);
  }

  #giveBack(origin: Inbox): void {
    if (origin.#next !== this) return; // it has given up
    origin.#isClosed = false;
    origin.#next = undefined;
    this.#moveTo(origin);
  }

  // Whatever the capacity: it was accepted once. But notices were meant for the owner alone.
  #moveTo(inbox: Inbox): void {
    for (let message = this.#mailbox?.take(); message !== undefined; message = this.#mailbox?.take()) {
      if (notices.has(message)) continue;
      const call = callOf(message) as OpenCall | undefined;
      if (call?.inbox === this) { // otherwise it is somebody else's kind of call
        this.end(call);
        inbox.#keep(call);
      }
      if (hook !== undefined) hook.sent(message, inbox.#owner);
      if (!inbox.#handOver(message)) (inbox.#mailbox ??= new Mailbox()).put(message);
    }
  }

  /**
   * Forgets what is queued and fails the open calls, because the owner will not answer them.
   *
   * @param deferred Whether also those whose reply was to come from elsewhere.
   * @param cause Why the owner came to its end.
   */
  giveUp({ deferred, cause }: { deferred: boolean; cause: unknown }): void {
    this.#cause = cause;
    this.close();
    this.#next = undefined;
    this.#mailbox = undefined;
    for (let call = this.#calls; call !== undefined;) {
      const earlier: OpenCall | undefined = call.earlier;
      if (deferred || !call.deferred) {
        call.fail(callError("finished", call.type, `${this.#owner} has finished`, cause));
      }
      call = earlier;
    }
  }
}

/** Who stands in the line of receivers. */
interface Recipient {
  /** The one behind. Kept by the inbox alone. */
  behind: Recipient | undefined;
  /** Whether it wants `message`. */
  takes(message: AnyMessage): boolean;
  /** Gives it `message`, with which it leaves the line. */
  hand(message: AnyMessage): void;
}

/** A wait for a message. */
abstract class ReceiveWait<T = unknown> extends Wait<T> implements Recipient {
  behind: Recipient | undefined;
  classes: Classes;
  protected readonly inbox: Inbox;

  constructor(owner: Waiter, inbox: Inbox, classes: Classes) {
    super(owner, true);
    this.inbox = inbox;
    this.classes = classes;
  }

  override describe(): string {
    return this.classes === undefined
      ? "for a message"
      : `for ${this.classes.map((each) => each.name).join(" or ")}`;
  }

  takes(message: AnyMessage): boolean {
    return isOf(message, this.classes);
  }

  abstract hand(message: AnyMessage): void;

  protected override left(): void {
    this.inbox.leave(this);
  }
}

class MessageWait extends ReceiveWait<AnyMessage> {
  constructor(owner: Waiter, inbox: Inbox) {
    super(owner, inbox, undefined);
  }

  for(classes: Classes): this {
    this.classes = classes;
    return this;
  }

  override hand(message: AnyMessage): void {
    this.resume(message);
  }
}

/**
 * A loop over messages as they come, and its wait for the next one.
 *
 * Written by hand: in the body of an async generator, the running tasklet is whoever calls `next`.
 */
class Reception extends ReceiveWait<IteratorResult<AnyMessage>> implements AsyncIterableIterator<AnyMessage> {
  readonly #timeout: number;
  #last: AnyMessage | undefined; // the message that the loop is busy with

  constructor(owner: Waiter, inbox: Inbox, classes: Classes, timeout: number) {
    super(owner, inbox, classes);
    this.#timeout = timeout;
  }

  next(): Promise<IteratorResult<AnyMessage>> {
    if (this.#last !== undefined) this.inbox.forget(this.#last);
    this.#last = this.inbox.take(this.classes);
    if (this.#last !== undefined) return ready({ done: false, value: this.#last }, this.owner);
    // Whoever asks twice at once has two loops, in effect.
    const wait = this.open ? new Reception(this.owner!, this.inbox, this.classes, this.#timeout) : this;
    return this.inbox.wait(wait, this.#timeout);
  }

  override hand(message: AnyMessage): void {
    this.#last = message;
    this.resume({ done: false, value: message });
  }

  return(): Promise<IteratorResult<AnyMessage>> {
    this.resume({ done: true, value: undefined }); // whoever waits for the next one gets none
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

/** A loop over batches, and its wait for the next one: until there is a message, then until the end of the turn. */
class BatchReception extends ReceiveWait<IteratorResult<AnyMessage[]>>
  implements AsyncIterableIterator<AnyMessage[]> {
  readonly #timeout: number;
  #asked: readonly AnyMessage[] = NONE; // the calls in what the loop is busy with: that array is the loop's to empty
  #isDue = false; // what there is at the end of the turn is the next one

  constructor(owner: Waiter, inbox: Inbox, timeout: number) {
    super(owner, inbox, undefined);
    this.#timeout = timeout;
  }

  // What is there already is not too late.
  override get shielded(): boolean {
    return this.inbox.length > 0;
  }

  next(): Promise<IteratorResult<AnyMessage[]>> {
    for (const message of this.#asked) this.inbox.forget(message);
    this.#asked = NONE;
    // Whoever asks twice at once has two loops, in effect.
    const wait = this.open ? new BatchReception(this.owner!, this.inbox, this.#timeout) : this;
    const promise = this.inbox.wait(wait, this.inbox.length > 0 ? Infinity : this.#timeout);
    if (wait.open && this.inbox.length > 0) wait.#becomeDue();
    return promise;
  }

  #becomeDue(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    onTurn(BatchReception.#takeAll, this, this.owner);
  }

  static #takeAll(this: void, wait: BatchReception): void {
    wait.#isDue = false;
    if (!wait.open) return; // killed meanwhile
    if (wait.inbox.length === 0) return void wait.limit(wait.#timeout); // another loop has taken it
    const batch = wait.inbox.takeAll();
    if (batch.some(isCall)) wait.#asked = batch.filter(isCall);
    wait.resumeInTurn({ done: false, value: batch });
  }

  // Takes nothing before the end of the turn: until then it is queued, and lost by no kill.
  override takes(): boolean {
    this.#becomeDue();
    return false;
  }

  override hand(): void {}

  protected override timeUp(timeout: number): void {
    if (!this.shielded) super.timeUp(timeout);
  }

  return(): Promise<IteratorResult<AnyMessage[]>> {
    this.resume({ done: true, value: undefined });
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

function isCall(message: AnyMessage): boolean {
  return callOf(message) !== undefined;
}

function isOf(message: AnyMessage, classes: Classes): boolean {
  return classes === undefined || includes(classes, message.constructor as MessageConstructor);
}

/** A call as the inbox of the callee keeps it until it has ended. */
export interface OpenCall extends Call {
  /** The name of the message. */
  readonly type: string;
  /** Who should reply. Kept by the inbox alone, like what follows. */
  callee: Waiter;
  /** Which inbox counts it among its open calls. */
  inbox: Inbox | undefined;
  /** The open call of the same callee before this one. */
  earlier: OpenCall | undefined;
  /** The open call of the same callee after this one. */
  later: OpenCall | undefined;
}

/** A wait for a reply. */
class CallWait extends Wait<unknown> implements OpenCall {
  readonly type: string;
  callee: Waiter;
  inbox: Inbox | undefined;
  earlier: OpenCall | undefined;
  later: OpenCall | undefined;
  /** Whether the reply was announced to come from elsewhere. */
  deferred = false;
  #onAbort: Disposable | undefined;

  /** Creates a wait for the reply of `callee` to a message of the name `type`. */
  constructor(owner: Waiter | undefined, callee: Waiter, type: string) {
    super(owner, true);
    this.callee = callee;
    this.type = type;
  }

  override describe(): string {
    return `for the reply of ${this.callee} to ${this.type}`;
  }

  override get target(): Waiter | undefined {
    return this.deferred ? undefined : this.callee; // a deferred reply may come from anybody
  }

  /** Ends the wait when `signal` is aborted. */
  obey(signal: AbortSignal): void {
    this.#onAbort = onAbort(signal, () => this.abort(signal.reason));
  }

  protected override left(): void {
    this.#onAbort?.[Symbol.dispose]();
    this.inbox?.end(this);
  }
}

/** The error of a call that cannot be answered. */
export function callError(reason: CallErrorReason, type: string, why: string, cause?: unknown): CallError {
  return new CallError(reason, `Cannot call ${type}: ${why}`, cause === undefined ? undefined : { cause });
}
