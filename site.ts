/**
 * What stands behind one node of a cluster: it puts the parts together, lets in what comes, and keeps time.
 *
 * Runtime-neutral.
 *
 * @module
 */
import { atParcel, BorderError, isId, type Parcel } from "./border.ts";
import { Calls, type Passage } from "./calls.ts";
import { Group } from "./group.ts";
import { onFinish } from "./life.ts";
import type { Bus, Delivery } from "./bus.ts";
import type { AnyMessage, Receiver } from "./message.ts";
import { Names } from "./names.ts";
import type { Post } from "./post.ts";
import { Presence } from "./presence.ts";
import { suspend } from "./suspend.ts";
import type { AnyTasklet, Tasklet } from "./tasklet.ts";
import { now, setTimer, type Timer } from "./timer.ts";

/**
 * How the trace of a message goes along: in the headers `traceparent`, `tracestate` and `baggage`. `instrument()` of
 * `@x/concurrence/otel` has one.
 */
export interface Tracer {
  /** The headers for a message that is sent now. */
  readonly inject: (message: AnyMessage) => Readonly<Record<string, string>> | undefined;
  /** Called with a message from elsewhere that has any of them, before it is delivered. */
  readonly extract: (message: AnyMessage, headers: Readonly<Record<string, string>>) => void;
}

const TRACE_HEADERS = ["traceparent", "tracestate", "baggage"];

/** What happens to the cluster, as one node sees it. */
export type ClusterEvent =
  /** The connection is lost. */
  | { readonly type: "disconnected"; readonly server: string }
  /** It is back. */
  | { readonly type: "connected"; readonly server: string }
  /** A node is there; `isBack` tells that it had been taken for gone. */
  | { readonly type: "up"; readonly node: string; readonly isBack: boolean }
  /** A node has gone. */
  | { readonly type: "down"; readonly node: string }
  /** A name of this node was lost to another. */
  | { readonly type: "lost"; readonly name: string }
  /** NATS refuses something. */
  | { readonly type: "error"; readonly error: Error };

/** How a node keeps time, and what else it is told. */
export interface SiteOptions {
  /** Milliseconds between two signs of life. */
  readonly heartbeat: number;
  /** Milliseconds of silence after which a node is gone. */
  readonly deadAfter: number;
  /** Takes the trace along. */
  readonly tracer: Tracer | undefined;
}

/** The members that a group has on this node: one or more. */
interface LocalMembers {
  readonly group: Group;
  /** Ends the subscription. */
  readonly end: () => void;
  /** What ends the watch for the end of each. */
  readonly watches: Map<AnyTasklet, Disposable>;
}

/** What stands behind a {@linkcode Cluster}: it puts the parts of a node together, and keeps time. */
export class Site {
  readonly post: Post;
  readonly bus: Bus;
  readonly names: Names;
  readonly calls: Calls;
  readonly presence: Presence;
  readonly groups: Map<string, LocalMembers> = new Map();
  readonly #options: SiteOptions;
  readonly #events = new Set<Events>();
  #tickedAt = now();
  #timer: Timer | undefined;
  #closing: Promise<void> | undefined;

  constructor(post: Post, bus: Bus, options: SiteOptions) {
    this.post = post;
    this.bus = bus;
    this.#options = options;
    this.calls = new Calls(post);
    this.presence = new Presence(options);
    this.names = new Names(post, {
      ...options,
      serve: (registration, delivery) =>
        this.#serve(registration.task as Tasklet, delivery, registration.isPool),
      lost: (name) => this.tell({ type: "lost", name }),
    });
    bus.subscribe(post.subjects.node(post.id), (delivery) => this.#hear(delivery));
    bus.subscribe(post.subjects.alive, (delivery) => this.#hearAll(delivery));
    this.#sayAlive();
    this.#setTimer();
  }

  /** Throws if the cluster is closed. */
  check(what: string): void {
    if (this.#closing !== undefined) throw new Error(`Cannot ${what}: the cluster is closed`);
  }

  /* ------------------------------------------------- messages ----------------------------------------------- */

  send(subject: string, message: AnyMessage): boolean {
    try {
      return this.post.send(subject, this.post.border.pack(message), this.#headers(message));
    } catch (error) {
      if (!(error instanceof BorderError)) throw error;
      this.post.stats.unsent++;
      return false;
    }
  }

  passage(subject: string, to: string, node: string, found: (node: string) => void): Passage {
    return {
      subject,
      to,
      node,
      headers: (message) => this.#headers(message),
      found: (node) => {
        this.heard(node);
        found(node);
      },
    };
  }

  #headers(message: AnyMessage): Record<string, string> | undefined {
    const all = this.#options.tracer?.inject(message);
    if (all === undefined) return undefined;
    return Object.fromEntries(TRACE_HEADERS.filter((name) => name in all).map((name) => [name, all[name]!]));
  }

  #serve(to: Receiver, delivery: Delivery, isShared: boolean): void {
    let parcel: Parcel;
    try {
      parcel = this.post.border.open(delivery.payload);
    } catch (error) {
      return this.post.reject(error, delivery.reply);
    }
    if (parcel.kind === "lookup") return this.#locate(delivery.reply, isShared);
    this.#trace(parcel.message, delivery);
    if (parcel.node === undefined) {
      if (to.deliver(parcel.message)) this.post.stats.received++;
      else this.post.stats.refused++;
      return;
    }
    // So that the caller knows where to ask after its call.
    if (parcel.node !== this.post.id) this.#locate(delivery.reply, isShared);
    this.calls.serve(to, parcel.message, delivery.reply);
  }

  #locate(reply: string, isShared: boolean): void {
    if (reply !== "") this.post.tell(reply, atParcel(this.post.id, isShared));
  }

  #trace(message: AnyMessage, delivery: Delivery): void {
    if (this.#options.tracer === undefined) return;
    const headers: Record<string, string> = {};
    for (const name of TRACE_HEADERS) {
      const text = delivery.header(name);
      if (text !== "") headers[name] = text;
    }
    if (Object.keys(headers).length > 0) this.#options.tracer.extract(message, headers);
  }

  /* -------------------------------------------------- groups ------------------------------------------------ */

  join(name: string, subject: string, task: AnyTasklet): boolean {
    let entry = this.groups.get(name);
    if (entry === undefined) {
      const group = new Group(name);
      const end = this.bus.subscribe(subject, (delivery) => this.#serve(group, delivery, true));
      this.groups.set(name, entry = { group, end, watches: new Map() });
    }
    const hasJoined = entry.group.join(task as Tasklet);
    if (hasJoined) entry.watches.set(task, onFinish(task, () => this.leave(name, task)));
    else this.#tidy(name, entry);
    return hasJoined;
  }

  leave(name: string, task: AnyTasklet): boolean {
    const entry = this.groups.get(name);
    if (entry === undefined) return false;
    const wasMember = entry.group.leave(task);
    entry.watches.get(task)?.[Symbol.dispose]();
    entry.watches.delete(task);
    this.#tidy(name, entry);
    return wasMember;
  }

  // Ends the subscription of a group that has no members here any more.
  #tidy(name: string, { group, end }: LocalMembers): void {
    if (group.size > 0) return;
    end();
    this.groups.delete(name);
  }

  /* ------------------------------------------------- presence ----------------------------------------------- */

  #sayAlive(): void {
    this.post.tell(this.post.subjects.alive, ["alive", this.post.id]);
  }

  #hearAll(delivery: Delivery): void {
    const value = this.post.read(delivery);
    if (value === undefined) return;
    const [kind, node] = Array.isArray(value) ? value : [];
    if (!isId(node)) return this.post.malformed("sign of life", delivery.reply);
    if (kind === "bye") return this.#gone(node, this.presence.left(node));
    if (kind !== "alive") return this.post.malformed("sign of life", delivery.reply);
    if (this.heard(node)) this.post.tell(this.post.subjects.node(node), ["alive", this.post.id]);
  }

  #hear(delivery: Delivery): void {
    const value = this.post.read(delivery);
    if (value === undefined || this.calls.probed(value)) return;
    const [kind, node] = Array.isArray(value) ? value : [];
    if (kind === "alive" && isId(node)) return void this.heard(node);
    if (kind !== "ping" || delivery.reply === "") return this.post.malformed("request", delivery.reply);
    this.post.tell(delivery.reply, atParcel(this.post.id, false));
  }

  /** Takes a sign of life: whether the node was not known. */
  heard(node: string): boolean {
    if (node === this.post.id) return false;
    const what = this.presence.heard(node, now());
    if (what === "known" || what === "ignored") return false;
    const isBack = what === "back";
    this.tell({ type: "up", node, isBack });
    // It was there all the time, and we were thought dead by it as it was by us.
    if (isBack) this.names.assertAll();
    return true;
  }

  #gone(node: string, wasKnown: boolean): void {
    if (!wasKnown) return;
    this.tell({ type: "down", node });
    this.names.nodeGone(node);
    this.calls.nodeGone(node);
  }

  #setTimer(): void {
    this.#timer = setTimer(now() + this.#options.heartbeat, () => this.#tick());
  }

  #tick(): void {
    const { heartbeat, deadAfter } = this.#options;
    const time = now();
    // Who has stood still for so long may have been thought dead.
    if (time - this.#tickedAt > deadAfter / 2 + heartbeat) this.#returned();
    this.#tickedAt = time;
    this.#sayAlive();
    const { quiet, gone } = this.presence.look(time);
    for (const node of gone) this.#gone(node, true);
    if (this.post.isUp) {
      for (const node of quiet) void this.#ping(node);
      this.calls.probe(time - heartbeat, time - deadAfter);
    }
    this.#setTimer();
  }

  // The bus knows at once if a node is no more connected.
  async #ping(node: string): Promise<void> {
    const { kind } = await this.post.request(
      this.post.subjects.node(node),
      ["ping"],
      this.#options.heartbeat,
    );
    if (kind === "at") this.heard(node);
    else if (kind === "nobody") this.#gone(node, this.presence.lost(node));
  }

  #returned(): void {
    this.presence.excuse(now());
    this.names.reconnected();
  }

  /** The connection is lost. */
  down(): void {
    this.tell({ type: "disconnected", server: this.bus.server });
    this.post.disconnected();
  }

  /** The connection is back. */
  up(): void {
    this.#sayAlive();
    this.#returned();
    this.tell({ type: "connected", server: this.bus.server });
  }

  /* -------------------------------------------------- events ------------------------------------------------ */

  tell(event: ClusterEvent): void {
    for (const events of this.#events) events.put(event);
  }

  events(): Events {
    const events = new Events(() => this.#events.delete(events));
    if (this.#closing === undefined) this.#events.add(events);
    else events.close();
    return events;
  }

  /* -------------------------------------------------- the end ----------------------------------------------- */

  close(grace: number): Promise<void> {
    return this.#closing ??= this.#close(grace);
  }

  async #close(grace: number): Promise<void> {
    this.names.close();
    for (const { end } of this.groups.values()) end();
    this.groups.clear();
    await new Promise<void>((resolve) => {
      const timer = setTimer(now() + grace, resolve);
      void this.calls.idle().then(resolve).then(() => timer.cancel());
    });
    this.#timer?.cancel();
    this.post.tell(this.post.subjects.alive, ["bye", this.post.id]);
    this.post.close();
    await this.bus.close();
    for (const events of this.#events) events.close();
  }
}

const MOST_EVENTS = 1000;

/** A loop over events. Written by hand: the body of an async generator would wait in the name of whoever calls `next`. */
export class Events implements AsyncIterableIterator<ClusterEvent> {
  readonly #queue: ClusterEvent[] = [];
  readonly #onEnd: () => void;
  #isClosed = false;
  #wake: (() => void) | undefined;

  constructor(onEnd: () => void) {
    this.#onEnd = onEnd;
  }

  put(event: ClusterEvent): void {
    this.#queue.push(event);
    if (this.#queue.length > MOST_EVENTS) this.#queue.shift();
    this.#wake?.();
  }

  close(): void {
    this.#isClosed = true;
    this.#wake?.();
  }

  async next(): Promise<IteratorResult<ClusterEvent>> {
    if (this.#queue.length === 0 && !this.#isClosed) {
      await suspend<void>(
        (resume) => {
          this.#wake = resume;
          return () => void (this.#wake = undefined);
        },
        Infinity,
        "for an event of the cluster",
      );
    }
    const value = this.#queue.shift();
    return value === undefined ? { done: true, value } : { done: false, value };
  }

  return(): Promise<IteratorResult<ClusterEvent>> {
    this.#onEnd();
    this.close();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
