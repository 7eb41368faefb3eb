/**
 * Tasklets on several machines, or in several processes, that send each other the same messages as in one.
 *
 * A *cluster* is all programs that are connected to the same NATS and use the same `prefix`; each connection is a
 * *node*. There is no master, and nothing to set up beyond NATS itself.
 *
 * ```ts ignore
 * import { Message, Tasklet } from "@x/concurrence";
 * import { Cluster } from "@x/concurrence/cluster";
 *
 * class MSG_GREETING extends Message("MSG_GREETING")<[name: string]> {}
 * class MSG_SUM extends Message("MSG_SUM")<number[], number> {}
 *
 * await using cluster = await Cluster.connect({
 *   servers: "nats://127.0.0.1:4222",
 *   messages: [MSG_GREETING, MSG_SUM],
 * });
 *
 * const adder = Tasklet.new(async function adder() {
 *   for await (const msg of Tasklet.receive()) {
 *     if (msg.match(MSG_SUM)) msg.reply(msg.args.reduce((a, b) => a + b));
 *   }
 * })();
 * await cluster.register("adder", adder); // others can reach it from now on
 *
 * // ... and on another machine:
 * const remote = await cluster.lookup("adder");
 * if (remote !== undefined) console.log(await MSG_SUM.call(remote, { timeout: 500 })(1, 2, 3)); // 6
 * ```
 *
 * Needs NATS, and permission to reach it. What to expect of it is told in `docs/cluster.md`.
 *
 * @module
 */
import { Border, type BorderClass, type Codec, json, newId } from "./border.ts";
import type { Address } from "./calls.ts";
import { running } from "./context.ts";
import type { Group } from "./group.ts";
import { onFinish } from "./life.ts";
import type { Bus, BusListener } from "./bus.ts";
import { connectToNats, type NatsOptions } from "./nats.ts";
import type { AnyMessage, CallOptions, Receiver } from "./message.ts";
import type { RegisterOptions, Registration } from "./names.ts";
import { type ClusterStats, Subjects, type Tracer } from "./post.ts";
import { type ClusterEvent, GRACE, Site } from "./site.ts";
import { suspend, waitFor } from "./suspend.ts";
import { type AnyTasklet, MSG_DOWN, Tasklet, type WaitOptions } from "./tasklet.ts";
import { checkMs } from "./timer.ts";

export {
  type BorderClass,
  BorderError,
  type BorderReason,
  type Codec,
  json,
  type SchemaResult,
  type StandardSchema,
} from "./border.ts";
export type { Bus, BusListener, Delivery, PublishOptions } from "./bus.ts";
export { ConnectError, type NatsOptions, type NatsTls } from "./nats.ts";
export { NameTakenError, type RegisterOptions, type Registration } from "./names.ts";
export type { ClusterStats, Tracer } from "./post.ts";
export type { ClusterEvent } from "./site.ts";

/** How a node takes part in a cluster. */
export interface ClusterOptions<C extends BorderClass> {
  /**
   * The message classes that may come from elsewhere and go there, by their `type`. A class with a `static schema`, a
   * validator in the form of Standard Schema, gets only arguments that pass it.
   */
  readonly messages: readonly C[];
  /**
   * What all subjects of the cluster begin with; clusters with different ones do not hear each other.
   *
   * @default {"concurrence"}
   */
  readonly prefix?: string | undefined;
  /** How messages become bytes. @default {JSON} */
  readonly codec?: Codec | undefined;
  /**
   * Milliseconds between two signs of life.
   *
   * @default {2000}
   */
  readonly heartbeat?: number | undefined;
  /**
   * Milliseconds of silence after which a node counts as gone.
   *
   * @default {four heartbeats}
   */
  readonly deadAfter?: number | undefined;
  /**
   * How many bytes a message may have, 8192 at least; less, if the server takes less.
   *
   * @default {1048576}
   */
  readonly maxPayload?: number | undefined;
  /** Takes the trace along. */
  readonly tracer?: Tracer | undefined;
}

/**
 * One node of a cluster.
 *
 * - **Names**: a name has one owner in the cluster, or a pool of them. It is free again when its tasklet finishes, or
 *   its node goes.
 * - **Order**: what a tasklet sends to one name or group arrives in the order sent. Nothing arrives twice.
 * - **At most once**: what is sent while the connection is lost, or is on its way when it is lost, does not arrive.
 *   `send` is `false` if that is known; a `call` rejects.
 * - **Failure**: every call ends: with the reply; with a {@linkcode CallError} whose `reason` is `"finished"` if nobody
 *   has the name, its owner finishes or its node goes, `"disconnected"` if this node loses its connection or the message
 *   was lost, `"remote"` if the callee answers with an error, and `"refused"`, `"forgotten"`, `"deadlock"` as on one
 *   node; or with `TimeoutError`.
 * - **Border**: nothing but the classes of `messages` comes in, with arguments that their schema accepts. What else
 *   comes is answered with an error if it wants an answer, counted in {@linkcode Cluster.stats}, and dropped.
 * - **Reconnecting**: a lost connection is tried to get back for ever. Then the names are claimed anew.
 * - **Closing**: {@linkcode Cluster.close}, at the latest when the tasklet that has connected finishes.
 *
 * @typeParam M The messages that may be sent, a union.
 */
export class Cluster<in out M extends AnyMessage = AnyMessage> implements AsyncDisposable {
  /** The id of this node. */
  readonly node: string;
  readonly #site: Site;

  private constructor(site: Site) {
    this.#site = site;
    this.node = site.post.id;
  }

  /**
   * Connects to NATS, and so joins the cluster.
   *
   * @throws {ConnectError} If no server can be reached, or the credentials are refused.
   * @throws {TimeoutError} If there is no connection within `timeout`.
   * @throws {TypeError} If two of `messages` have the same type.
   * @throws {RangeError} If an option is out of its bounds.
   */
  static connect<C extends BorderClass>(
    options: ClusterOptions<C> & NatsOptions,
  ): Promise<Cluster<InstanceType<C>>> {
    const { heartbeat = 2000, timeout = 10_000 } = options;
    return Cluster.over((id, listener) => connectToNats(options, id, heartbeat, listener), options, timeout);
  }

  /**
   * Joins a cluster over another bus than NATS.
   *
   * @param open Opens the bus; it is called once, with the id of the node and what to tell it.
   * @param timeout Milliseconds within which the bus must be open.
   */
  static async over<C extends BorderClass>(
    open: (id: string, listener: BusListener) => Promise<Bus>,
    options: ClusterOptions<C>,
    timeout: number = Infinity,
  ): Promise<Cluster<InstanceType<C>>> {
    const { prefix = "concurrence", heartbeat = 2000, deadAfter = 4 * heartbeat } = options;
    const { maxPayload = 1024 * 1024, codec = json, messages, tracer } = options;
    checkOptions(heartbeat, deadAfter, maxPayload);
    const border = new Border(messages, codec, maxPayload);
    const subjects = new Subjects(prefix);
    const owner = Tasklet.current();
    const id = newId();
    let site: Site | undefined;
    const listener: BusListener = {
      down: () => site?.down(),
      up: () => site?.up(),
      error: (error) => site?.tell({ type: "error", error }),
    };
    const bus = await obtain(
      () => open(id, listener),
      (bus) => bus.close(),
      timeout,
      "for the connection to the cluster",
    );
    border.limit(bus.maxPayload);
    return running.run(undefined, () => {
      site = new Site(id, bus, subjects, border, { heartbeat, deadAfter, tracer, owner });
      return new Cluster<InstanceType<C>>(site);
    });
  }

  /** Whether it is connected. */
  get isConnected(): boolean {
    return this.#site.post.isUp;
  }

  /** The server it is, or was last, connected to: host and port. */
  get server(): string {
    return this.#site.post.bus.server;
  }

  /** What was counted since it has joined. */
  get stats(): Readonly<ClusterStats> {
    return { ...this.#site.post.stats };
  }

  /**
   * Gives a tasklet a name by which the whole cluster can reach it, until it finishes.
   *
   * When this resolves, others can. There is no referee: two nodes that cannot hear each other can both have the name.
   * As soon as they hear each other again, the one that has had it for longer keeps it; a node that was disconnected
   * has had its names since it is back. The other is told by `onLost` and by {@linkcode Cluster.events}.
   *
   * @param task The tasklet. Any of `messages` may come, so it should have a mailbox with a bound.
   * @param options.pool Whether the name is shared: any number may have it, and each message goes to one of them.
   * @default {false}
   * @returns The registration, which can be given back.
   * @throws {NameTakenError} If the name has an owner.
   * @throws {CallError} If the connection is lost.
   * @throws {RangeError} If the name has not 1 to 256 characters.
   * @throws {Error} If the tasklet has finished, or the cluster is closed.
   */
  async register<P extends AnyMessage>(
    name: string,
    task: Tasklet<unknown, P>,
    options: RegisterOptions = {},
  ): Promise<Registration> {
    this.#site.check("register");
    return await obtain(
      () => this.#site.names.register(name, task, options),
      (registration) => registration.unregister(),
      Infinity,
      `to register ${name}`,
    );
  }

  /**
   * Finds who has a name.
   *
   * @returns What receives messages for the name, also when its owner changes; `undefined` if nobody has it, or its
   * owner says nothing for as long as a node may be silent.
   * @throws {CallError} If the connection is lost.
   * @throws {TimeoutError} If nothing was found out within `timeout`.
   */
  async lookup(
    name: string,
    { timeout = Infinity }: WaitOptions = {},
  ): Promise<RemoteTasklet<M> | undefined> {
    this.#site.check("look up");
    checkMs("look up", "timeout", timeout);
    const place = await waitFor(this.#site.names.find(name), timeout, `to find ${name}`);
    return place && new RemoteTasklet(this.#site, name, place.isPool ? "" : place.node);
  }

  /** The group of that name: all tasklets that have joined it, on whatever node. */
  group(name: string): ClusterGroup<M> {
    return new ClusterGroup(this.#site, name);
  }

  /**
   * Sends the running tasklet a `MSG_DOWN(remote, error)` when a name loses its owner, at once if it has none.
   *
   * `error` is `undefined` if the owner's body returned or the name was given back; a {@linkcode CallError} with the
   * reason `"remote"` if the owner failed or was killed, `"finished"` if its node has gone, and `"disconnected"` if this
   * cluster is closed before. The message comes whatever the capacity of the mailbox.
   *
   * @param remote Who is monitored; the first argument of the message.
   * @param MSG A message class to send instead, with the same arguments, which then have their right types.
   * @returns What ends the monitoring.
   * @throws {Error} Outside of a tasklet, or if the cluster is closed.
   */
  monitor(
    remote: RemoteTasklet<never>,
    MSG: new (remote: RemoteTasklet<never>, error: unknown) => AnyMessage = MSG_DOWN as never,
  ): Disposable {
    const watcher = here("monitor", remote.name);
    this.#site.check("monitor");
    const watch = this.#site.names.watch(remote.name, (error) => {
      end[Symbol.dispose]();
      watcher.inbox.deliverAnyway(running.run(undefined, () => new MSG(remote, error)));
    });
    const end = onFinish(watcher, () => watch[Symbol.dispose]());
    return {
      [Symbol.dispose]: () => {
        watch[Symbol.dispose]();
        end[Symbol.dispose]();
      },
    };
  }

  /** The nodes that are there, beside this one. */
  get nodes(): string[] {
    return this.#site.presence.nodes;
  }

  /**
   * Goes through what happens to the cluster from now on, until it is closed. Who does not keep up misses the oldest of
   * more than 1 000 events.
   */
  events(): AsyncIterableIterator<ClusterEvent> {
    return this.#site.events();
  }

  /**
   * Waits until NATS has all that was sent before, and knows of all groups that were joined.
   *
   * @throws {CallError} If the connection is lost.
   * @throws {TimeoutError} If it takes longer than `timeout` milliseconds.
   */
  async flush({ timeout = Infinity }: WaitOptions = {}): Promise<void> {
    await waitFor(this.#site.post.flush(), checkMs("flush", "timeout", timeout), "for the cluster");
  }

  /**
   * Leaves the cluster: gives back all names and leaves all groups, waits until calls that have come are answered, and
   * disconnects. Calls that wait for an answer from elsewhere reject. Harmless twice.
   *
   * @param options.grace Milliseconds to wait for those answers at most. @default {5000}
   */
  async close({ grace = GRACE }: { grace?: number | undefined } = {}): Promise<void> {
    checkMs("close the cluster", "grace", grace);
    await waitFor(
      running.run(undefined, () => this.#site.close(grace)),
      Infinity,
      "for the cluster to close",
    );
  }

  /** The same as {@linkcode Cluster.close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * Whoever has a name, anywhere in the cluster.
 *
 * On the node of its owner, messages go to it directly.
 *
 * @typeParam M The messages it may be sent, a union.
 */
export class RemoteTasklet<in M extends AnyMessage = AnyMessage> implements Receiver<M> {
  // There for the compiler alone, which would take methods of fewer messages for methods of more.
  declare private readonly accepts: (message: M) => void;
  /** The name. */
  readonly name: string;
  readonly #site: Site;
  readonly #address: Address;

  /** Use {@linkcode Cluster.lookup}. @ignore */
  constructor(site: Site, name: string, node: string) {
    this.#site = site;
    this.name = name;
    this.#address = { subject: site.post.subjects.of("name", name), name, node };
  }

  /** The node where it was last; `""` for a pool. */
  get node(): string {
    return this.#address.node;
  }

  /** The name, with the node. */
  toString(): string {
    return `${this.name}@${this.node || "pool"}`;
  }

  // Who has the name on this node, and may be sent such a message.
  #near(message: M): Receiver | undefined {
    const owner = this.#site.names.ownerOf(this.name);
    return owner !== undefined && this.#site.post.border.admits(message) ? owner : undefined;
  }

  /** Takes a message: whether it was sent, or, on its own node, accepted. @ignore */
  deliver(message: M): boolean {
    return this.#near(message)?.deliver(message) ?? this.#site.post.send(this.#address.subject, message);
  }

  /** Takes a message and promises its reply. @ignore */
  ask(message: M, options: CallOptions): Promise<unknown> {
    return this.#near(message)?.ask(message, options) ??
      this.#site.calls.ask(message, options, this.#address);
  }
}

/**
 * All tasklets of a cluster that have joined a group.
 *
 * - **Sending**: every member that was there gets the message once; those on this node directly, and the very object.
 *   It is `true` if all on this node have accepted, and it was sent to the others.
 * - **Calling**: the first answer counts, be it a reply or a failure. When nobody can answer, it rejects with the
 *   {@linkcode CallError} of the last that could not, and with `"finished"` if there are no members.
 * - **Order**: as for all of the cluster; members on different nodes may see different senders in different orders.
 * - **Without a connection**, the members on this node still hear each other.
 *
 * @typeParam M The messages it may be sent, a union.
 */
export class ClusterGroup<in M extends AnyMessage = AnyMessage> implements Receiver<M>, Iterable<AnyTasklet> {
  /** The name. */
  readonly name: string;
  /** The members on other nodes alone. */
  readonly elsewhere: Receiver<M>;
  readonly #site: Site;
  readonly #address: Address;

  /** Use {@linkcode Cluster.group}. @ignore */
  constructor(site: Site, name: string) {
    const subject = site.post.subjects.of("group", name);
    this.#site = site;
    this.name = name;
    this.#address = { subject, name, node: "" };
    this.elsewhere = {
      deliver: (message) => site.post.send(subject, message),
      ask: (message, options) => site.calls.askAll(message, options, this.#address, undefined),
    };
  }

  get #here(): Group | undefined {
    return this.#site.groups.get(this.name)?.group;
  }

  /** How many members it has on this node. */
  get size(): number {
    return this.#here?.size ?? 0;
  }

  /** Whether `task` is a member. */
  has(task: AnyTasklet): boolean {
    return this.#here?.has(task) ?? false;
  }

  /** Goes through those who are members on this node now. */
  [Symbol.iterator](): IterableIterator<AnyTasklet> {
    return [...this.#here ?? []].values();
  }

  /**
   * Makes a tasklet of this node a member, until it leaves or finishes. Others can reach it once NATS knows, for which
   * {@linkcode Cluster.flush} waits.
   *
   * @param task The tasklet. @default {the running tasklet}
   * @returns Whether it has become one: `false` if it is one already, or has finished.
   * @throws {Error} Without `task`, outside of a tasklet; or if the cluster is closed.
   */
  join<P extends AnyMessage>(task: Tasklet<unknown, P> = here("join", this.name)): boolean {
    this.#site.check("join");
    return this.#site.join(this.name, this.#address.subject, task);
  }

  /**
   * Ends the membership of a tasklet.
   *
   * @param task The tasklet. @default {the running tasklet}
   * @returns Whether it was a member.
   * @throws {Error} Without `task`, outside of a tasklet.
   */
  leave(task: AnyTasklet = here("leave", this.name)): boolean {
    return this.#site.leave(this.name, task);
  }

  /** The name. */
  toString(): string {
    return this.name;
  }

  /** Takes a message. @ignore */
  deliver(message: M): boolean {
    if (!this.#site.post.border.admits(message)) return false;
    const isAccepted = this.#here?.deliver(message) ?? true;
    return this.elsewhere.deliver(message) && isAccepted;
  }

  /** Takes a message and promises the first reply. @ignore */
  ask(message: M, options: CallOptions): Promise<unknown> {
    const here = this.#site.post.border.admits(message) ? this.#here : undefined;
    return this.#site.calls.askAll(message, options, this.#address, here);
  }
}

// Waits for what `open` promises, in nobody's name. What comes too late for who waits is given back by `undo`.
function obtain<T>(
  open: () => Promise<T>,
  undo: (value: T) => unknown,
  timeout: number,
  what: string,
): Promise<T> {
  return suspend(
    (resume, fail) => {
      const opening = running.run(undefined, open);
      opening.then(resume, fail);
      return () => void opening.then(undo).catch(() => {}); // who would be told has gone
    },
    timeout,
    what,
  );
}

function checkOptions(heartbeat: number, deadAfter: number, maxPayload: number): void {
  checkMs("join a cluster", "heartbeat", heartbeat);
  checkMs("join a cluster", "deadAfter", deadAfter);
  if (!(heartbeat >= 1 && deadAfter >= 2 * heartbeat && deadAfter < Infinity)) {
    throw new RangeError(
      `Cannot join a cluster: "heartbeat" must be 1 or more, and "deadAfter" twice as much, got ${heartbeat} and ${deadAfter}`,
    );
  }
  if (maxPayload >= 8192) return; // in which all that nodes tell each other has room
  throw new RangeError(`Cannot join a cluster: "maxPayload" must be 8192 or more, got ${maxPayload}`);
}

function here(what: string, name: string): Tasklet {
  const task = Tasklet.current();
  if (task === undefined) throw new Error(`Cannot ${what} ${name}: no tasklet is running`);
  return task;
}
