/**
 * Groups: sets of tasklets that are sent to and called as one.
 *
 * Runtime-neutral.
 *
 * @module
 */
import { running } from "./context.ts";
import { callError, type Inbox, type OpenCall } from "./inbox.ts";
import {
  type AnyMessage,
  CallError,
  type CallOptions,
  Message,
  type MessageClass,
  type MessageConstructor,
  type Receiver,
} from "./message.ts";
import { cycleOf } from "./suspend.ts";
import { type AnyTasklet, Tasklet } from "./tasklet.ts";
import { onFinish } from "./life.ts";
import { checkMs } from "./timer.ts";
import { onAbort, Wait, type Waiter } from "./wait.ts";

/** A group as its monitors see it, whatever its members accept. */
export interface AnyGroup extends Iterable<AnyTasklet> {
  /** The name, for people. */
  readonly name: string;
  /** How many members it has. */
  readonly size: number;
  /** Whether `task` is a member. */
  has(task: AnyTasklet): boolean;
}

/** The base of {@linkcode MSG_JOINED}, with a written type. */
export const MSG_JOINED_BASE: MessageClass<"MSG_JOINED"> = Message("MSG_JOINED");

/** Tells who monitors a group that `task` has joined it. Its arguments are `task` and `group`. */
export class MSG_JOINED extends MSG_JOINED_BASE<[task: AnyTasklet, group: AnyGroup]> {}

/** The base of {@linkcode MSG_LEFT}, with a written type. */
export const MSG_LEFT_BASE: MessageClass<"MSG_LEFT"> = Message("MSG_LEFT");

/**
 * Tells who monitors a group that `task` is no member any more. Its arguments are `task`, `group` and `error`.
 *
 * `error` is `undefined` if it left or its body returned, the `TaskletExit` if it was killed, and what it threw
 * otherwise.
 */
export class MSG_LEFT extends MSG_LEFT_BASE<[task: AnyTasklet, group: AnyGroup, error: unknown]> {}

/** With what a monitor is told. */
export interface GroupMonitorOptions {
  /**
   * The message sent when a tasklet has joined.
   *
   * @default {MSG_JOINED}
   */
  joined?: (new (task: AnyTasklet, group: AnyGroup) => AnyMessage) | undefined;
  /**
   * The message sent when a member has left or has finished.
   *
   * @default {MSG_LEFT}
   */
  left?: (new (task: AnyTasklet, group: AnyGroup, error: unknown) => AnyMessage) | undefined;
}

/**
 * A set of tasklets that are sent to and called as one, and leave it by ending.
 *
 * ```ts
 * import { Group, Message, type Self, Tasklet } from "@x/concurrence";
 *
 * class MSG_SAY extends Message("MSG_SAY")<[text: string]> {}
 * class MSG_FIND extends Message("MSG_FIND")<[word: string], string> {}
 *
 * const room = new Group<MSG_SAY | MSG_FIND>("room");
 *
 * async function member(this: Self<MSG_SAY | MSG_FIND>, known: string) {
 *   room.join();
 *   for await (const msg of this.receive()) {
 *     if (msg.match(MSG_SAY)) console.log(`${this.name} hears ${msg.args[0]}`);
 *     else if (msg.args[0] === known) msg.reply(`${this.name} knows ${known}`);
 *     // Who does not know leaves the answer to the others.
 *   }
 * }
 *
 * const jane = Tasklet.new(member, { name: "Jane" })("chess");
 * const zak = Tasklet.new(member, { name: "Zak" })("music");
 * await Tasklet.yield(); // they join
 *
 * MSG_SAY.send(room)("hi"); // "Jane hears hi", "Zak hears hi"
 * console.log(await MSG_FIND.call(room)("music")); // "Zak knows music"
 * await jane.kill();
 * console.log(room.size); // 1
 * await zak.kill();
 * ```
 *
 * - **Membership**: a tasklet is a member once, from `join` until it leaves, finishes or is abandoned; one that is
 *   stopping is a member still, and refuses. The group has let go of it before its joiners go on.
 * - **Order**: members are sent to and gone through in the order in which they joined. Who joins or leaves meanwhile
 *   changes nothing for a loop that has begun.
 * - **Sending**: `MSG.send(group)(...)` delivers one message object to all. It is true if all have accepted, and so for
 *   a group without members.
 * - **Calling**: `MSG.call(group)(...)` gives each member a message of its own, and the first answer counts, be it a
 *   reply or a failure; the others have no effect. Then, and when the caller is killed or its time is up, nothing of the
 *   call is left at any member.
 * - **No answer**: a member that finishes, refuses or forgets the message, waits for the caller, or fails the call with
 *   a `CallError` because nobody has answered *it*, cannot answer. When no member can, the call rejects with the
 *   `CallError` of the last one; without members, with the reason `"finished"`.
 * - **Notices**: a monitor is told of each change, in order, whatever the capacity of its mailbox.
 * - **Lifetime**: a group keeps nobody alive. Its members know it until they leave or finish, so that a group nobody
 *   uses any more goes with the last of them.
 *
 * A circle of callers that closes later, and not by a member that waits for the caller itself but through others, goes
 * unnoticed while more than one member might answer: give such calls a `timeout`.
 *
 * @typeParam M The messages that every member accepts, a union.
 */
export class Group<in out M extends AnyMessage = AnyMessage>
  implements AnyGroup, Receiver<M>, Iterable<Tasklet<unknown, M>> {
  /** The name, for people. */
  readonly name: string;

  readonly #members = new Map<AnyTasklet, Disposable>(); // with what ends the watch for their end
  // Made anew after a change when it is needed, and never changed itself: whoever goes through it is not disturbed.
  // Sending takes time for each member anyway.
  #list: readonly Tasklet<unknown, M>[] | undefined;
  readonly #monitors = new Set<Monitor>();

  /**
   * Creates a group without members.
   *
   * @param name The name, for people.
   */
  constructor(name: string = "group") {
    this.name = name;
  }

  /** How many members it has. */
  get size(): number {
    return this.#members.size;
  }

  /**
   * Makes a tasklet a member.
   *
   * @param task The tasklet. @default {the running tasklet}
   * @returns Whether it has become one: `false` if it is one already, or has finished.
   * @throws {Error} Without `task`, outside of a tasklet.
   */
  join(task: Tasklet<unknown, M> = here("join", this)): boolean {
    if (this.#members.has(task)) return false;
    let isOver = false;
    const watch = onFinish(task, (error) => {
      isOver = true;
      this.#remove(task, error);
    });
    if (isOver) return false;
    this.#members.set(task, watch);
    this.#list = undefined;
    this.#tell(task, ({ joined }) => new joined(task, this));
    return true;
  }

  /**
   * Ends the membership of a tasklet.
   *
   * @param task The tasklet. @default {the running tasklet}
   * @returns Whether it was a member.
   * @throws {Error} Without `task`, outside of a tasklet.
   */
  leave(task: AnyTasklet = here("leave", this)): boolean {
    return this.#remove(task, undefined);
  }

  /** Whether `task` is a member. */
  has(task: AnyTasklet): boolean {
    return this.#members.has(task);
  }

  /**
   * Sends the running tasklet a `MSG_JOINED(task, group)` for each tasklet that joins from now on, and a
   * `MSG_LEFT(task, group, error)` for each that leaves or finishes, until disposed or until it finishes itself.
   *
   * Nobody can come or go between this call and a loop over the members that follows it without an `await`.
   * The error of a member does not count as asked for: that is what `Tasklet.monitor` is for.
   *
   * @param options Message classes to send instead, with the same arguments.
   * @returns What ends the monitoring.
   * @throws {Error} Outside of a tasklet.
   */
  monitor({ joined = MSG_JOINED, left = MSG_LEFT }: GroupMonitorOptions = {}): Disposable {
    const watcher = here("monitor", this);
    const monitor = { inbox: watcher.inbox, joined, left };
    this.#monitors.add(monitor);
    const watch = onFinish(watcher, () => void this.#monitors.delete(monitor));
    return {
      [Symbol.dispose]: () => {
        this.#monitors.delete(monitor);
        watch[Symbol.dispose]();
      },
    };
  }

  /** Goes through those who are members now. */
  [Symbol.iterator](): IterableIterator<Tasklet<unknown, M>> {
    return this.#all().values();
  }

  /** The name. */
  toString(): string {
    return this.name;
  }

  /** Takes a message. @ignore */
  deliver(message: M): boolean {
    const members = this.#all();
    let all = true;
    for (let i = 0; i < members.length; i++) all = members[i]!.deliver(message) && all;
    return all;
  }

  /** Takes a message and promises its reply. @ignore */
  ask(message: M, { timeout = Infinity, signal }: CallOptions): Promise<unknown> {
    checkMs("call", "timeout", timeout);
    const caller = Tasklet.current();
    const wait = new FirstReplyWait(caller, this, message.type);
    // Before the caller waits, lest this wait be taken for one that may help it on.
    const calls = this.#all().map(({ inbox }) => new MemberCall(wait, inbox.open ?? inbox, caller));
    if (!wait.begin(timeout)) return wait.promise;
    if (signal?.aborted) {
      wait.fail(signal.reason);
    } else {
      if (signal !== undefined) wait.obey(signal);
      wait.ask(calls, () => new (message.constructor as MessageConstructor<M>)(...message.args));
    }
    return wait.promise;
  }

  #all(): readonly Tasklet<unknown, M>[] {
    return this.#list ??= [...this.#members.keys()] as Tasklet<unknown, M>[];
  }

  #remove(task: AnyTasklet, error: unknown): boolean {
    const watch = this.#members.get(task);
    if (watch === undefined) return false;
    watch[Symbol.dispose]();
    this.#members.delete(task);
    this.#list = undefined;
    this.#tell(task, ({ left }) => new left(task, this, error));
    return true;
  }

  // In the name of the member, who thereby is the sender.
  #tell(task: AnyTasklet, notice: (monitor: Monitor) => AnyMessage): void {
    for (const monitor of this.#monitors) {
      monitor.inbox.deliverAnyway(running.run(task, notice, monitor));
    }
  }
}

/** Who is told of changes, and with what. */
interface Monitor {
  readonly inbox: Inbox;
  readonly joined: NonNullable<GroupMonitorOptions["joined"]>;
  readonly left: NonNullable<GroupMonitorOptions["left"]>;
}

function here(what: string, group: AnyGroup): Tasklet {
  const task = Tasklet.current();
  if (task === undefined) throw new Error(`Cannot ${what} ${group.name}: no tasklet is running`);
  return task;
}

/**
 * A wait for the first answer to several calls.
 *
 * One wait and not one for each member, so that kill, timeout and signal end it once, and in one place.
 */
class FirstReplyWait extends Wait<unknown> {
  readonly #group: AnyGroup;
  readonly #type: string;
  readonly #calls = new Set<MemberCall>(); // that may still be answered
  #onAbort: Disposable | undefined;

  constructor(owner: Waiter | undefined, group: AnyGroup, type: string) {
    super(owner, true);
    this.#group = group;
    this.#type = type;
  }

  override describe(): string {
    return `for the first reply of ${this.#group.name} to ${this.#type}`;
  }

  // Each of several may end it. If there is but one, that one alone can, unless it has left the reply to somebody else.
  override get target(): Waiter | undefined {
    let only: MemberCall | undefined;
    for (const call of this.#calls) {
      if (this.#isStuck(call)) continue;
      if (only !== undefined || call.deferred) return undefined;
      only = call;
    }
    return only?.callee;
  }

  // Whether who should reply waits for the caller. What such a one waits for through a group is not looked at: two
  // groups whose members call the other one would look at each other for ever.
  #isStuck({ callee, deferred }: MemberCall): boolean {
    const wait = deferred ? undefined : callee.waits;
    if (wait === undefined || wait.older !== undefined || wait instanceof FirstReplyWait) return false;
    return this.owner !== undefined && wait.target === this.owner;
  }

  /** The name of the message. */
  get type(): string {
    return this.#type;
  }

  /** Ends the wait when `signal` is aborted. */
  obey(signal: AbortSignal): void {
    this.#onAbort = onAbort(signal, () => this.abort(signal.reason));
  }

  /** Makes `calls`, each by a message that `copy` makes. */
  ask(calls: readonly MemberCall[], copy: () => AnyMessage): void {
    if (calls.length === 0) {
      return this.fail(callError("finished", this.#type, `${this.#group.name} has no members`));
    }
    for (const call of calls) this.#calls.add(call); // all, lest the first that fails at once be taken for the last
    for (const call of calls) call.begin(copy());
  }

  /** Whether `call` may still be answered. */
  has(call: MemberCall): boolean {
    return this.#calls.has(call);
  }

  /** Ends the wait if `call`, which cannot be answered any more, was the last that could. */
  lose(call: MemberCall, error: CallError): void {
    call.end();
    this.#calls.delete(call);
    if (this.#calls.size === 0) return this.fail(error);
    if (this.owner?.waits !== this || this.older !== undefined) return; // another of its waits may serve those who wait
    for (const other of this.#calls) if (!this.#isStuck(other)) return;
    this.fail(callError("deadlock", this.#type, `all who might answer wait for the caller`));
  }

  protected override left(): void {
    this.#onAbort?.[Symbol.dispose]();
    for (const call of this.#calls) call.end();
    this.#calls.clear();
  }
}

/** The call of one member. */
class MemberCall implements OpenCall {
  callee: Waiter;
  inbox: Inbox | undefined;
  earlier: OpenCall | undefined;
  later: OpenCall | undefined;
  deferred = false;
  readonly #wait: FirstReplyWait;
  readonly #callees: Inbox;
  readonly #cycle: string | undefined;

  /** Creates a call that has not been made. */
  constructor(wait: FirstReplyWait, callees: Inbox, caller: Waiter | undefined) {
    this.#wait = wait;
    this.#callees = callees;
    this.callee = callees.owner;
    this.#cycle = caller === undefined ? undefined : cycleOf(caller, this.callee, false);
  }

  get type(): string {
    return this.#wait.type;
  }

  get open(): boolean {
    return this.#wait.has(this);
  }

  /** Makes the call, by a message of its own: a message tells only one call of its fate. */
  begin(message: AnyMessage): void {
    this.#callees.call(message, this, this.#cycle);
  }

  resume(value: unknown): void {
    this.#wait.resume(value);
  }

  fail(error: unknown): void {
    if (error instanceof CallError) this.#wait.lose(this, error);
    else this.#wait.fail(error);
  }

  /** Takes the call back. */
  end(): void {
    this.inbox?.end(this);
  }
}
