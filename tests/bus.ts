/**
 * A bus within one process: what NATS is to nodes, without sockets, and with a switch for everything that can go wrong.
 *
 * That it is like NATS is tested in nats_test.ts.
 *
 * @module
 */
import { running } from "../context.ts";
import { report } from "../report.ts";
import { printable } from "../text.ts";
import type { Bus, BusListener, Delivery, PublishOptions } from "../bus.ts";

/** Who wants to hear what. */
export interface Subscription {
  readonly line: Line;
  readonly subject: string;
  readonly isShared: boolean;
  handle: (delivery: Delivery) => void;
}

/** A bus. What is published goes out on a later microtask, in order. */
export class MemoryBus {
  readonly subscriptions: Set<Subscription> = new Set();
  #turn = 0;
  #last: Promise<void> = Promise.resolve();

  /** Connects a node. */
  connect(listener: BusListener = { down() {}, up() {}, error() {} }): Promise<Line> {
    return Promise.resolve(new Line(this, listener));
  }

  /** Calls `f` when all that was asked for before has been done. */
  later(f: () => void): Promise<void> {
    return this.#last = this.#last.then(() => running.run(undefined, f));
  }

  /** Delivers what `from` has published. */
  route(from: Line, subject: string, payload: Uint8Array, options: PublishOptions): void {
    if (!from.isHeard) return;
    const heard = [...this.subscriptions].filter((each) =>
      each.line.isReachableFrom(from) && fits(each, subject)
    );
    const all = heard.filter((each) => !each.isShared && each.line !== from);
    const shared = heard.filter((each) => each.isShared);
    if (shared.length > 0) all.push(shared[this.#turn++ % shared.length]!);
    for (const { line, handle } of all) {
      if (!line.isSilent) attempt(() => handle(deliveryOf(subject, payload, options, false)));
    }
    if (all.length > 0 || options.reply === undefined) return;
    for (const each of this.subscriptions) {
      if (each.line === from && fits(each, options.reply)) {
        each.handle(deliveryOf(options.reply, new Uint8Array(), {}, true));
      }
    }
  }
}

/** The line of one node to a {@linkcode MemoryBus}. */
export class Line implements Bus {
  readonly server = "bus";
  readonly maxPayload: number = 1024 * 1024;
  /** Which piece of the network it is in: only those in the same piece hear each other. */
  piece = 0;
  /** Whether it stands still: it seems to be there, and says and hears nothing. */
  isSilent = false;
  /** Subjects with what was published, latest last. */
  readonly published: [subject: string, text: string][] = [];
  readonly #bus: MemoryBus;
  readonly #listener: BusListener;
  #isUp = true;
  #epoch = 0; // counts connections: what belongs to an earlier one is lost

  /** Use {@linkcode MemoryBus.connect}. */
  constructor(bus: MemoryBus, listener: BusListener) {
    this.#bus = bus;
    this.#listener = listener;
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** Whether anybody hears it. */
  get isHeard(): boolean {
    return this.#isUp && !this.isSilent;
  }

  /** Whether what `from` publishes comes here. */
  isReachableFrom(from: Line): boolean {
    return this.#isUp && from.piece === this.piece;
  }

  publish(subject: string, payload: Uint8Array, options: PublishOptions = {}): boolean {
    if (!this.#isUp) return false;
    const epoch = this.#epoch;
    this.published.push([subject, new TextDecoder().decode(payload)]);
    void this.#bus.later(() => this.#epoch === epoch && this.#bus.route(this, subject, payload, options));
    return true;
  }

  subscribe(subject: string, handle: (delivery: Delivery) => void): () => void {
    return this.#subscribe(subject, false, handle);
  }

  async share(subject: string, handle: (delivery: Delivery) => void): Promise<() => void> {
    const end = this.#subscribe(subject, true, handle);
    await this.flush();
    return end;
  }

  #subscribe(subject: string, isShared: boolean, handle: (delivery: Delivery) => void): () => void {
    const subscription: Subscription = { line: this, subject, isShared, handle };
    void this.#bus.later(() => this.#bus.subscriptions.add(subscription));
    return () => {
      subscription.handle = () => {}; // at once here, and at its time there
      void this.#bus.later(() => this.#bus.subscriptions.delete(subscription));
    };
  }

  async flush(): Promise<void> {
    const epoch = this.#epoch;
    if (this.#isUp) await this.#bus.later(() => {});
    if (!this.#isUp || this.#epoch !== epoch) throw new Error("disconnected");
  }

  /** Loses the connection. */
  disconnect(): void {
    if (!this.#isUp) return;
    this.#isUp = false;
    this.#epoch++;
    running.run(undefined, () => this.#listener.down());
  }

  /** Gets it back. */
  reconnect(): void {
    if (this.#isUp) return;
    this.#isUp = true;
    running.run(undefined, () => this.#listener.up());
  }

  /** Loses it for ever, as when the process is killed. */
  die(): void {
    this.#isUp = false;
    for (const each of this.#bus.subscriptions) if (each.line === this) this.#bus.subscriptions.delete(each);
  }

  async close(): Promise<void> {
    if (this.#isUp) await this.flush();
    this.die();
  }
}

function deliveryOf(
  subject: string,
  payload: Uint8Array,
  { reply = "", headers = {} }: PublishOptions,
  isNobody: boolean,
): Delivery {
  return { subject, payload, reply, isNobody, header: (name) => printable(headers[name] ?? "") };
}

// A handler that throws is reported, and the bus goes on.
function attempt(f: () => void): void {
  try {
    f();
  } catch (error) {
    report("A message could not be handled:", error);
  }
}

function fits({ subject: pattern }: Subscription, subject: string): boolean {
  return pattern.endsWith(".*")
    ? subject.slice(0, subject.lastIndexOf(".")) === pattern.slice(0, -2)
    : pattern === subject;
}
