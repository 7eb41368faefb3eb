/**
 * What stands behind one node of a cluster: it puts the parts together, lets in what comes, and keeps time.
 *
 * Runtime-neutral.
 *
 * @module
 */
import { atParcel, type Border, isId } from "./border.ts";
import type { Bus, Delivery } from "./bus.ts";
import { Calls } from "./calls.ts";
import { Channel } from "./channel.ts";
import { Group } from "./group.ts";
import { onFinish } from "./life.ts";
import type { Receiver } from "./message.ts";
import { Names } from "./names.ts";
import { Post, type Subjects, type Tracer } from "./post.ts";
import { Presence, type Sign, type Times } from "./presence.ts";
import { report } from "./report.ts";
import { waitFor } from "./suspend.ts";
import type { AnyTasklet, Tasklet } from "./tasklet.ts";
import { now, setTimer, type Timer } from "./timer.ts";

/** For how many milliseconds calls that have come may be answered when the cluster is closed. */
export const GRACE = 5000;

// How many events wait for who does not keep up.
const MOST_EVENTS = 1000;

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

/** What a node is told. */
export interface SiteOptions extends Times {
  /** Takes the trace along. */
  readonly tracer: Tracer | undefined;
  /** With whose end the cluster is closed. */
  readonly owner: AnyTasklet | undefined;
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
  readonly names: Names;
  readonly calls: Calls;
  readonly presence: Presence;
  readonly groups: Map<string, LocalMembers> = new Map();
  readonly #options: SiteOptions;
  readonly #events = new Set<Channel<ClusterEvent>>();
  readonly #watch: Disposable | undefined;
  #tickedAt = now();
  #timer: Timer | undefined;
  #closing: Promise<void> | undefined;

  constructor(id: string, bus: Bus, subjects: Subjects, border: Border, options: SiteOptions) {
    this.#options = options;
    this.presence = new Presence(options);
    const post = new Post(id, bus, subjects, border, {
      tracer: options.tracer,
      heard: (node) => this.#heard(node) !== "ignored",
    });
    this.post = post;
    this.calls = new Calls(post);
    this.names = new Names(post, {
      ...options,
      serve: ({ task, isPool }, delivery) => this.#serve(task as Tasklet, delivery, isPool),
      lost: (name) => this.tell({ type: "lost", name }),
    });
    bus.subscribe(subjects.node(id), (delivery) => this.#hear(delivery));
    bus.subscribe(subjects.alive, (delivery) => this.#hearAll(delivery));
    this.#sayAlive();
    this.#setTimer();
    const close = () =>
      void this.close(GRACE).catch((error) => report("A cluster could not be closed:", error));
    this.#watch = options.owner && onFinish(options.owner, close);
  }

  /** Throws if the cluster is closed. */
  check(what: string): void {
    if (this.#isClosed) throw new Error(`Cannot ${what}: the cluster is closed`);
  }

  get #isClosed(): boolean {
    return this.#closing !== undefined;
  }

  /* ------------------------------------------------- messages ----------------------------------------------- */

  #serve(to: Receiver, delivery: Delivery, isShared: boolean): void {
    const { reply } = delivery;
    const parcel = this.post.open(delivery);
    if (parcel === undefined) return;
    if (parcel.kind === "lookup") return this.#locate(reply, isShared);
    if (reply === "") {
      if (to.deliver(parcel.message)) this.post.stats.received++;
      else this.post.stats.refused++;
      return;
    }
    // So that the caller knows where to ask after its call.
    if (parcel.node !== undefined && parcel.node !== this.post.id) this.#locate(reply, isShared);
    this.calls.serve(to, parcel.message, reply);
  }

  #locate(reply: string, isShared: boolean): void {
    if (reply !== "") this.post.tell(reply, atParcel(this.post.id, isShared));
  }

  /* -------------------------------------------------- groups ------------------------------------------------ */

  join(name: string, subject: string, task: AnyTasklet): boolean {
    let entry = this.groups.get(name);
    if (entry === undefined) {
      const group = new Group(name);
      const end = this.post.bus.subscribe(subject, (delivery) => this.#serve(group, delivery, true));
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
    const sign = this.#heard(node);
    if (sign === "known" || sign === "ignored") return;
    this.post.tell(this.post.subjects.node(node), ["alive", this.post.id]);
  }

  #hear(delivery: Delivery): void {
    const value = this.post.read(delivery);
    if (value === undefined || this.calls.probed(value)) return;
    const [kind, node] = Array.isArray(value) ? value : [];
    if (kind === "alive" && isId(node)) return void this.#heard(node);
    if (kind !== "ping" || delivery.reply === "") return this.post.malformed("request", delivery.reply);
    this.#locate(delivery.reply, false);
  }

  // Takes a sign of life: what it means.
  #heard(node: string): Sign {
    if (node === this.post.id) return "known";
    const sign = this.presence.heard(node, now());
    if (sign === "known" || sign === "ignored") return sign;
    const isBack = sign === "back";
    this.tell({ type: "up", node, isBack });
    // It was there all the time, and we were thought dead by it as it was by us.
    if (isBack) this.names.assertAll();
    return sign;
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
      for (const node of quiet) this.#ping(node);
      this.calls.probe(time - heartbeat, time - deadAfter);
      this.names.tick();
    }
    this.#setTimer();
  }

  // The bus knows at once if a node is no more connected.
  #ping(node: string): void {
    this.post.request(this.post.subjects.node(node), ["ping"], this.#options.heartbeat, ({ kind }) => {
      if (kind === "nobody") this.#gone(node, this.presence.lost(node));
    });
  }

  #returned(): void {
    this.presence.excuse(now());
    this.names.reconnected();
  }

  /** The connection is lost. */
  down(): void {
    this.tell({ type: "disconnected", server: this.post.bus.server });
    this.post.disconnected();
  }

  /** The connection is back. */
  up(): void {
    this.#sayAlive();
    this.#returned();
    this.tell({ type: "connected", server: this.post.bus.server });
  }

  /* -------------------------------------------------- events ------------------------------------------------ */

  tell(event: ClusterEvent): void {
    for (const channel of this.#events) {
      if (channel.trySend(event)) continue;
      channel.tryReceive(); // the oldest
      channel.trySend(event);
    }
  }

  events(): AsyncIterableIterator<ClusterEvent> {
    const channel = new Channel<ClusterEvent>(MOST_EVENTS);
    if (this.#isClosed) channel.close();
    else this.#events.add(channel);
    const events = channel[Symbol.asyncIterator]();
    return {
      next: () => events.next(),
      return: () => {
        this.#events.delete(channel);
        channel.close();
        return Promise.resolve({ done: true, value: undefined });
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  /* -------------------------------------------------- the end ----------------------------------------------- */

  close(grace: number): Promise<void> {
    return this.#closing ??= this.#close(grace);
  }

  async #close(grace: number): Promise<void> {
    this.#watch?.[Symbol.dispose]();
    this.names.close();
    for (const [name, { group }] of [...this.groups]) for (const task of group) this.leave(name, task);
    const answered = this.calls.idle();
    await waitFor(answered, grace, "for calls to be answered", "inside").catch(() => {}); // there is no more time
    this.#timer?.cancel();
    this.post.tell(this.post.subjects.alive, ["bye", this.post.id]);
    this.post.close();
    try {
      await this.post.bus.close();
    } finally {
      for (const channel of this.#events) channel.close();
    }
  }
}
