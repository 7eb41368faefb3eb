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
  partOf,
  readAnswer,
} from "./border.ts";
import type { Bus, Delivery } from "./bus.ts";
import { CallError } from "./message.ts";
import { now, setTimer } from "./timer.ts";

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

/** Somebody who waits for an answer. */
export interface Asker {
  /** An answer has come. There may be several. */
  answered(answer: Answer): void;
  /** There is nobody to answer. */
  nobody(): void;
  /** The connection is lost, and with it the answer. */
  disconnected(): void;
}

/** What became of a request. */
export type Outcome = Answer | { readonly kind: "nobody" | "disconnected" | "timeout" };

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

  /** To the owner of a name. */
  name(name: string): string {
    return `${this.#prefix}.name.${partOf(name)}`;
  }

  /** To who claims a name, or has it. */
  claim(name: string): string {
    return `${this.#prefix}.claim.${partOf(name)}`;
  }

  /** To who wants to know when a name is free. */
  gone(name: string): string {
    return `${this.#prefix}.gone.${partOf(name)}`;
  }

  /** To the members of a group. */
  group(name: string): string {
    return `${this.#prefix}.group.${partOf(name)}`;
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

/** Sends, asks and counts for one node. */
export class Post {
  /** The id of the node, which all others know. */
  readonly id: string;
  /** Where things go. */
  readonly subjects: Subjects;
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
  readonly #bus: Bus;
  // Only those that are asked know where answers go, so that nobody else can forge one.
  readonly #inbox: string = newId();
  readonly #own: string; // what subjects of answers to this node begin with
  readonly #askers = new Map<string, Asker>();
  readonly #end: () => void;
  #asked = 0;

  /** Opens the post office. */
  constructor(id: string, bus: Bus, subjects: Subjects, border: Border) {
    this.id = id;
    this.subjects = subjects;
    this.border = border;
    this.#bus = bus;
    this.#own = subjects.reply(this.#inbox, "");
    this.#end = bus.subscribe(this.#own + "*", (delivery) => this.#deliver(delivery));
  }

  /** Whether anything can be sent. */
  get isUp(): boolean {
    return this.#bus.isUp;
  }

  /** Calls `handle` with what comes for `subject`, until the result is called. */
  subscribe(subject: string, handle: (delivery: Delivery) => void): () => void {
    return this.#bus.subscribe(subject, handle);
  }

  /** The same, but each delivery goes to one of all those in the cluster who share the subject. */
  share(subject: string, handle: (delivery: Delivery) => void): Promise<() => void> {
    return this.#bus.share(subject, handle);
  }

  /**
   * Resolves when the bus knows of all subscriptions and has all that was sent.
   *
   * @throws {CallError} If the connection is lost.
   */
  async flush(): Promise<void> {
    if (!this.isUp) throw disconnected("reach the cluster");
    try {
      await this.#bus.flush();
    } catch (error) {
      throw disconnected("reach the cluster", { cause: error });
    }
  }

  /** Sends plain values: whether they were sent. */
  tell(subject: string, values: readonly unknown[], reply?: string): boolean {
    const payload = this.border.encode(values);
    if (!subject.startsWith(this.#own)) return this.#bus.publish(subject, payload, { reply });
    queueMicrotask(() => this.#take(subject, payload)); // the bus brings nobody what it has sent itself
    return true;
  }

  /** Sends an answer. What cannot be encoded is answered as `otherwise` says. */
  answer(
    reply: string,
    values: readonly unknown[],
    otherwise?: (error: unknown) => readonly unknown[],
  ): boolean {
    try {
      return this.tell(reply, values);
    } catch (error) {
      if (otherwise === undefined) throw error;
      return this.tell(reply, otherwise(error));
    }
  }

  /** Sends a message that has been packed: whether it was sent. */
  send(subject: string, payload: Uint8Array, headers?: Readonly<Record<string, string>>): boolean {
    const isSent = this.#bus.publish(subject, payload, { headers });
    if (isSent) this.stats.sent++;
    else this.stats.unsent++;
    return isSent;
  }

  /**
   * Sends a message that has been packed, for which `asker` wants an answer.
   *
   * @returns Where answers go, until {@linkcode Post.forget}; `undefined` if it was not sent.
   */
  ask(
    subject: string,
    payload: Uint8Array,
    asker: Asker,
    headers?: Readonly<Record<string, string>>,
  ): string | undefined {
    const token = (++this.#asked).toString(36);
    const reply = this.subjects.reply(this.#inbox, token);
    if (!this.#bus.publish(subject, payload, { reply, headers })) return undefined;
    this.#askers.set(token, asker);
    return reply;
  }

  /** Nobody waits any more for what goes to `reply`. */
  forget(reply: string): void {
    this.#askers.delete(tokenOf(reply));
  }

  /** Asks with plain values, and promises the first answer, or why there is none within `timeout` milliseconds. */
  request(subject: string, values: readonly unknown[], timeout: number): Promise<Outcome> {
    return new Promise((resolve) => {
      const settle = (outcome: Outcome) => {
        timer.cancel();
        if (reply !== undefined) this.forget(reply);
        resolve(outcome);
      };
      const timer = setTimer(now() + timeout, () => settle({ kind: "timeout" }));
      const reply = this.ask(subject, this.border.encode(values), {
        answered: settle,
        nobody: () => settle({ kind: "nobody" }),
        disconnected: () => settle({ kind: "disconnected" }),
      });
      if (reply === undefined) settle({ kind: "disconnected" });
    });
  }

  /** Tells all who wait for an answer that none can come. */
  disconnected(): void {
    for (const asker of [...this.#askers.values()]) asker.disconnected();
    this.#askers.clear();
  }

  /** Takes no more answers. */
  close(): void {
    this.#end();
    this.disconnected();
  }

  /**
   * Counts something that was not let in, and tells its sender why, if that one wants an answer.
   *
   * @throws What is no {@linkcode BorderError}.
   */
  reject(error: unknown, reply: string): void {
    if (!(error instanceof BorderError)) throw error;
    this.stats[error.reason]++;
    if (reply !== "") this.answer(reply, noneParcel("refused", error.message, this.id));
  }

  /** The decoded value of something that has come; `undefined` if it is not let in. */
  read({ payload, reply }: Delivery): unknown {
    return this.#decode(payload, reply);
  }

  #decode(payload: Uint8Array, reply: string): unknown {
    try {
      return this.border.decode(payload);
    } catch (error) {
      this.reject(error, reply);
      return undefined;
    }
  }

  /** Counts something that has come and is not of the form it should be. */
  malformed(what: string, reply: string): void {
    this.reject(new BorderError("malformed", `this is no ${what}`), reply);
  }

  #deliver({ subject, payload, isNobody }: Delivery): void {
    if (isNobody) this.#askers.get(tokenOf(subject))?.nobody();
    else this.#take(subject, payload);
  }

  #take(subject: string, payload: Uint8Array): void {
    const asker = this.#askers.get(tokenOf(subject));
    if (asker === undefined) return; // too late
    const value = this.#decode(payload, "");
    const answer = readAnswer(value);
    if (answer !== undefined) return asker.answered(answer);
    if (value !== undefined) this.stats.malformed++;
    asker.answered({ kind: "failure", failure: { name: "BorderError", text: "the answer cannot be read" } });
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
