/**
 * The post office of a node: where things go, what they are answered with, and what is counted.
 *
 * It sends, and it hands each answer to whoever asked. An asker hears of the answer, of an empty address, or of the
 * loss of the connection, whichever comes first; how long to wait is its own affair.
 *
 * Runtime-neutral: knows a bus only as a {@linkcode Bus}.
 *
 * @module
 */
import {
  type Answer,
  type Border,
  BorderError,
  type Failure,
  newId,
  noneParcel,
  type Parcel,
  partOf,
  readAnswer,
} from "./border.ts";
import type { Bus, Delivery } from "./bus.ts";
import { type AnyMessage, CallError } from "./message.ts";
import { report } from "./report.ts";
import { now, setTimer } from "./timer.ts";

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

/** What a node has counted since it joined. */
export interface ClusterStats {
  /** Messages that were sent to other nodes, calls among them. */
  sent: number;
  /** Messages that were not: not connected, too much waiting, too big, not to be encoded. */
  unsent: number;
  /** Messages that came from other nodes and were delivered, calls among them. */
  received: number;
  /** Messages that came and that no tasklet took: finished, or its mailbox full. */
  refused: number;
  /** What came and was no message or no answer: no JSON, wrong shape, a key `__proto__`. */
  malformed: number;
  /** Messages that came of types that are none of `messages`. */
  unknown: number;
  /** Messages that came with arguments that their class refuses. */
  invalid: number;
  /** What came and was too big to be looked at. */
  oversized: number;
}

/** What who has asked hears: an answer, of which there may be several; that nobody is there; that the connection is lost. */
export type News = Answer | { readonly kind: "nobody" } | { readonly kind: "disconnected" };

/** What became of a request. */
export type Outcome = News | { readonly kind: "timeout" };

/** Where things go. */
export class Subjects {
  readonly #prefix: string;

  /**
   * Creates the subjects of a cluster.
   *
   * @throws {RangeError} If `prefix` is no part of a subject.
   */
  constructor(prefix: string) {
    this.#prefix = partOf(prefix);
  }

  /** To the owner of a name; to who claims it or has it; to who wants to know when it is free; to a group. */
  of(kind: "name" | "claim" | "gone" | "group", name: string): string {
    return `${this.#prefix}.${kind}.${partOf(name)}`;
  }

  /** To a node. */
  node(id: string): string {
    return `${this.#prefix}.node.${id}`;
  }

  /** To an asker. */
  reply(inbox: string, token: string): string {
    return `${this.#prefix}.reply.${inbox}.${token}`;
  }

  /** Whether this is where an asker wants its answer. */
  isReply(subject: unknown): subject is string {
    return typeof subject === "string" && subject.startsWith(`${this.#prefix}.reply.`);
  }

  /** To all nodes. */
  get alive(): string {
    return `${this.#prefix}.alive`;
  }
}

/** What a post office is told of its node. */
export interface PostOptions {
  /** Takes the trace along. */
  readonly tracer: Tracer | undefined;
  /** Called when a node says where something is, which shows that it is there; whether it can be believed. */
  readonly heard: (node: string) => boolean;
}

/** Sends, asks and counts for one node. */
export class Post {
  /** The id of the node, which all others know. */
  readonly id: string;
  /** Where things go. */
  readonly subjects: Subjects;
  /** What it goes by. */
  readonly bus: Bus;
  /** What crosses the border. */
  readonly border: Border;
  /** What was counted. */
  readonly stats: ClusterStats = {
    sent: 0,
    unsent: 0,
    received: 0,
    refused: 0,
    malformed: 0,
    unknown: 0,
    invalid: 0,
    oversized: 0,
  };
  readonly #options: PostOptions;
  // Only those that are asked know where answers go, so that nobody else can forge one.
  readonly #inbox: string = newId();
  readonly #own: string; // what subjects of answers to this node begin with
  readonly #askers = new Map<string, (news: News) => void>();
  readonly #end: () => void;
  #asked = 0;

  /** Opens the post office. */
  constructor(id: string, bus: Bus, subjects: Subjects, border: Border, options: PostOptions) {
    this.id = id;
    this.subjects = subjects;
    this.border = border;
    this.bus = bus;
    this.#options = options;
    this.#own = subjects.reply(this.#inbox, "");
    this.#end = bus.subscribe(this.#own + "*", (delivery) => this.#deliver(delivery));
  }

  /** Whether anything can be sent. */
  get isUp(): boolean {
    return this.bus.isUp;
  }

  /**
   * Calls `handle` with its part of what comes for all in the cluster who share `subject`, until the result is called.
   *
   * @throws {CallError} If the connection is lost.
   */
  async share(subject: string, handle: (delivery: Delivery) => void): Promise<() => void> {
    return await reaching(() => this.bus.share(subject, handle));
  }

  /**
   * Resolves when the bus knows of all subscriptions and has all that was sent.
   *
   * @throws {CallError} If the connection is lost.
   */
  async flush(): Promise<void> {
    if (!this.isUp) throw disconnected("reach the cluster");
    await reaching(() => this.bus.flush());
  }

  /* -------------------------------------------------- sending ----------------------------------------------- */

  /** Sends plain values: whether they were sent. If they cannot be encoded, `instead` tells what is sent for them. */
  tell(
    subject: string,
    values: readonly unknown[],
    instead?: (error: BorderError) => readonly unknown[],
  ): boolean {
    let payload: Uint8Array;
    try {
      payload = this.border.encode(values);
    } catch (error) {
      if (!(error instanceof BorderError)) throw error;
      return instead !== undefined && this.tell(subject, instead(error));
    }
    if (!subject.startsWith(this.#own)) return this.bus.publish(subject, payload);
    queueMicrotask(() => this.#take(subject, payload)); // the bus brings nobody what it has sent itself
    return true;
  }

  /** Sends a message: whether it was sent. */
  send(subject: string, message: AnyMessage): boolean {
    try {
      const payload = this.border.pack(message);
      return this.#count(this.bus.publish(subject, payload, { headers: this.#headers(message) }));
    } catch (error) {
      if (!(error instanceof BorderError)) throw error;
      return this.#count(false);
    }
  }

  #count(isSent: boolean): boolean {
    if (isSent) this.stats.sent++;
    else this.stats.unsent++;
    return isSent;
  }

  /* --------------------------------------------------- asking ----------------------------------------------- */

  /**
   * Sends a message for which an answer is wanted, which `hear` is told.
   *
   * @param node Where the callee is thought to be; `""` if that is not known.
   * @returns Where answers go, until {@linkcode Post.forget}.
   * @throws {BorderError} If it cannot be sent.
   */
  ask(subject: string, message: AnyMessage, node: string, hear: (news: News) => void): string {
    try {
      const payload = this.border.pack(message, node);
      const reply = this.#ask(subject, payload, hear, this.#headers(message));
      if (reply === undefined) throw new BorderError("oversized", "too much waits to be sent");
      this.#count(true);
      return reply;
    } catch (error) {
      this.#count(false);
      throw error;
    }
  }

  /** Asks with plain values: `settle` gets the first answer, or why there is none within `timeout` milliseconds. */
  request(
    subject: string,
    values: readonly unknown[],
    timeout: number,
    settle: (outcome: Outcome) => void,
  ): void {
    const reply = this.#ask(subject, this.border.encode(values), (news) => end(news));
    if (reply === undefined) return settle({ kind: "disconnected" });
    const timer = setTimer(now() + timeout, () => end({ kind: "timeout" }));
    const end = (outcome: Outcome) => {
      timer.cancel();
      this.forget(reply);
      settle(outcome);
    };
  }

  #ask(
    subject: string,
    payload: Uint8Array,
    hear: (news: News) => void,
    headers?: Readonly<Record<string, string>>,
  ): string | undefined {
    const token = (++this.#asked).toString(36);
    const reply = this.subjects.reply(this.#inbox, token);
    if (!this.bus.publish(subject, payload, { reply, headers })) return undefined;
    this.#askers.set(token, hear);
    return reply;
  }

  /** Nobody waits any more for what goes to `reply`. */
  forget(reply: string): void {
    this.#askers.delete(tokenOf(reply));
  }

  #deliver({ subject, payload, isNobody }: Delivery): void {
    if (isNobody) this.#askers.get(tokenOf(subject))?.({ kind: "nobody" });
    else this.#take(subject, payload);
  }

  #take(subject: string, payload: Uint8Array): void {
    const hear = this.#askers.get(tokenOf(subject));
    if (hear === undefined) return; // too late
    const value = this.#decode(payload, "");
    const answer = readAnswer(value);
    if (answer?.kind === "at" && !this.#options.heard(answer.node)) return;
    if (answer !== undefined) return hear(answer);
    if (value !== undefined) this.stats.malformed++;
    hear({ kind: "failure", failure: { name: "BorderError", text: "the answer cannot be read" } });
  }

  /** Tells all who wait for an answer that none can come. */
  disconnected(): void {
    for (const hear of [...this.#askers.values()]) hear({ kind: "disconnected" });
    this.#askers.clear();
  }

  /** Takes no more answers. */
  close(): void {
    this.#end();
    this.disconnected();
  }

  /* -------------------------------------------------- reading ----------------------------------------------- */

  /** The message, or the lookup, that has come; `undefined` if it is not let in. */
  open(delivery: Delivery): Parcel | undefined {
    try {
      const parcel = this.border.open(delivery.payload);
      if (parcel.kind === "message") this.#trace(parcel.message, delivery);
      return parcel;
    } catch (error) {
      return this.#reject(error, delivery.reply);
    }
  }

  /** The decoded value of something that has come; `undefined` if it is not let in. */
  read({ payload, reply }: Delivery): unknown {
    return this.#decode(payload, reply);
  }

  #decode(payload: Uint8Array, reply: string): unknown {
    try {
      return this.border.decode(payload);
    } catch (error) {
      return this.#reject(error, reply);
    }
  }

  /** Counts something that has come and is not of the form it should be. */
  malformed(what: string, reply: string): void {
    this.#reject(new BorderError("malformed", `this is no ${what}`), reply);
  }

  // Counts something that was not let in, and tells its sender why, if that one wants an answer.
  #reject(error: unknown, reply: string): undefined {
    if (!(error instanceof BorderError)) throw error;
    this.stats[error.reason]++;
    if (reply !== "") this.tell(reply, noneParcel("refused", error.message, this.id));
  }

  /* -------------------------------------------------- tracing ----------------------------------------------- */

  // Tracing that fails stops no message.
  #headers(message: AnyMessage): Record<string, string> | undefined {
    try {
      const all = this.#options.tracer?.inject(message);
      if (all === undefined) return undefined;
      return Object.fromEntries(
        TRACE_HEADERS.filter((name) => name in all).map((name) => [name, all[name]!]),
      );
    } catch (error) {
      report(`The trace of ${message.type} could not be taken along:`, error);
      return undefined;
    }
  }

  #trace(message: AnyMessage, delivery: Delivery): void {
    const { tracer } = this.#options;
    if (tracer === undefined) return;
    const headers = TRACE_HEADERS.map((name) => [name, delivery.header(name)]).filter(([, text]) =>
      text !== ""
    );
    if (headers.length === 0) return;
    try {
      tracer.extract(message, Object.fromEntries(headers));
    } catch (error) {
      report(`The trace of ${message.type} could not be taken up:`, error);
    }
  }
}

async function reaching<T>(reach: () => Promise<T>): Promise<T> {
  try {
    return await reach();
  } catch (error) {
    throw disconnected("reach the cluster", { cause: error });
  }
}

/** The error of what needs a connection that is lost. */
export function disconnected(what: string, options?: ErrorOptions): CallError {
  return new CallError("disconnected", `Cannot ${what}: the connection to the cluster is lost`, options);
}

/** An error of another node, as it is shown here: without a stack. */
export function remoteCause({ name, text }: Failure): Error {
  return Object.assign(new Error(text), { name, stack: `${name}: ${text}` });
}

function tokenOf(subject: string): string {
  return subject.slice(subject.lastIndexOf(".") + 1);
}
