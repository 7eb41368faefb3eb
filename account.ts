/**
 * What an observer remembers of what tasklets did: counts, the last messages of each, how they ended.
 *
 * All of it is bounded: twenty messages a living tasklet, five hundred that have ended, for a minute at most.
 *
 * Runtime-neutral.
 *
 * @module
 */
import process from "node:process";
import type { Block } from "./lag.ts";
import { type DropReason, type Observation, observe, snapshot, type TaskletSnapshot } from "./observe.ts";
import type { Sender } from "./message.ts";
import type { AnyTasklet, TaskletStatus } from "./tasklet.ts";
import { now } from "./timer.ts";

const LETTERS = 20;
const MOST_ENDED = 500;
const LINGER = 10_000; // milliseconds for which one that has ended is shown
const LINGER_FAILED = 60_000;
const MOST_CYCLES = 10;
const LONG_GAP = 50; // milliseconds without any event, which may be somebody's work

/** A message that was sent, or a reply. */
export interface Letter {
  /** Which one it was, counted from the first. */
  readonly order: number;
  /** When, by the library's clock. */
  readonly at: number;
  /** The type of the message. */
  readonly type: string;
  /** Whether it is the message, its reply, or the error it was answered with. */
  readonly kind: "message" | "reply" | "failure";
  /** Who sent it; `undefined`: from outside. */
  readonly from: Party | undefined;
  /** Who it is for; `undefined`: for somebody outside. */
  readonly to: Party | undefined;
  /** Why it did not arrive, if that is so. */
  readonly dropped?: DropReason | undefined;
}

/** A tasklet that is named, and may have gone. */
export interface Party {
  /** Its id. */
  readonly id: number;
  /** Its name. */
  readonly name: string;
}

/** An error of a chain of causes. */
export interface ErrorLine {
  /** Its name and message. */
  readonly text: string;
  /** Where it arose, a line each. */
  readonly stack: readonly string[];
}

/** A tasklet, with what it did. */
export interface Row extends TaskletSnapshot {
  /** How many messages it has sent. */
  readonly sent: number;
  /** How many it has received. */
  readonly received: number;
  /** How many did not reach it. */
  readonly dropped: number;
  /** When it ended, if it has. */
  readonly ended?: number;
  /** What it failed with, in a line. */
  readonly error?: string;
}

/** Sums over all tasklets since the observer began, and what the process needs. */
export interface Totals {
  /** How many live. */
  tasklets: number;
  /** How many were created. */
  spawned: number;
  /** How many ended, by outcome. */
  ended: Record<"done" | "failed" | "killed", number>;
  /** How many messages were sent. */
  sent: number;
  /** How many were received. */
  received: number;
  /** How many calls were answered. */
  replied: number;
  /** How many were answered with an error. */
  failures: number;
  /** How many messages did not arrive, by reason. */
  dropped: Record<DropReason, number>;
  /** How many wait in mailboxes. */
  queued: number;
  /** The longest delay of the event loop since the last sample, in milliseconds. */
  lag: number;
  /** The memory of the heap in use, in bytes. */
  heap: number;
  /** The memory of the process, in bytes. */
  memory: number;
}

/** All there is to see at a moment. */
export interface Sample {
  /** When, by the library's clock. */
  readonly at: number;
  /** Those that live, parents before children, then those that have ended. */
  readonly rows: readonly Row[];
  /** The sums. */
  readonly totals: Readonly<Totals>;
  /** Times at which the event loop was held up. */
  readonly blocks: readonly Block[];
  /** Calls that were refused because they would have waited for themselves. */
  readonly cycles: readonly Cycle[];
}

/** A call that was refused because of a cycle. */
export interface Cycle {
  /** When. */
  readonly at: number;
  /** The names of those who would have waited. */
  readonly names: string;
  /** The name of the message. */
  readonly type: string;
}

type Slot = { -readonly [K in keyof Letter]: Letter[K] };

/** What is kept of a tasklet. */
class Entry {
  sent = 0;
  received = 0;
  dropped = 0;
  // For the letters of all: the tasklet itself would be kept by them.
  readonly party: Party;
  letters: Slot[] | undefined;
  next = 0; // where in the ring the next letter goes
  site: readonly string[] | undefined;

  constructor({ id, name }: Party) {
    this.party = { id, name };
  }

  // Each ring has letters of its own, which are written anew: nothing is made for a message, and nothing left behind.
  keep(
    order: number,
    at: number,
    type: string,
    kind: Letter["kind"],
    from: Party | undefined,
    to: Party | undefined,
  ): void {
    const letters = this.letters ??= [];
    const slot = letters[this.next];
    if (slot === undefined) {
      letters.push({ order, at, type, kind, from, to, dropped: undefined });
    } else {
      slot.order = order;
      slot.at = at;
      slot.type = type;
      slot.kind = kind;
      slot.from = from;
      slot.to = to;
      slot.dropped = undefined;
    }
    this.next = (this.next + 1) % LETTERS;
  }

  get newest(): Slot | undefined {
    return this.letters?.[(this.next + LETTERS - 1) % LETTERS];
  }

  get inOrder(): readonly Letter[] {
    return (this.letters ?? []).map((slot) => ({ ...slot })).toSorted((a, b) => a.order - b.order);
  }
}

interface Ended {
  readonly row: Row;
  readonly entry: Entry;
  readonly error: unknown;
  readonly until: number;
}

/** What can be told of one tasklet. */
export interface Detail {
  /** Its last messages, oldest first. */
  readonly letters: readonly Letter[];
  /** Where it was created, the innermost call first, if that is recorded. */
  readonly site: readonly string[] | undefined;
  /** What it failed with, and the causes. */
  readonly errors: readonly ErrorLine[];
}

/** Keeps account of all tasklets until disposed. */
export class Account implements Disposable {
  readonly #entries = new Map<number, Entry>();
  readonly #ended = new Map<number, Ended>(); // oldest first
  readonly #totals: Omit<Totals, "tasklets" | "queued" | "lag" | "heap" | "memory"> = {
    spawned: 0,
    ended: { done: 0, failed: 0, killed: 0 },
    sent: 0,
    received: 0,
    replied: 0,
    failures: 0,
    dropped: { refused: 0, oldest: 0, finished: 0, deadlock: 0 },
  };
  readonly #withSites: boolean;
  readonly #listening: Disposable;
  #cycles: Cycle[] = [];
  #lastAt = now();
  #lastBy: Party | undefined;
  #gap: { readonly from: number; readonly to: number; readonly by: Party | undefined } | undefined;

  /** Begins the account; with `sites`, also of where each tasklet is created, which costs some microseconds each. */
  constructor({ sites }: { readonly sites: boolean }) {
    this.#withSites = sites;
    this.#listening = observe((event) => this.#take(event));
  }

  /** Ends the account. */
  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]();
  }

  #take(event: Observation): void {
    const at = now();
    if (at - this.#lastAt > LONG_GAP) this.#gap = { from: this.#lastAt, to: at, by: party(this.#lastBy) };
    this.#lastAt = at;
    switch (event.type) {
      case "sent":
        return this.#sent(at, event);
      case "received":
        this.#totals.received++;
        this.#entry(event.by).received++;
        this.#lastBy = event.by;
        return;
      case "replied":
        return this.#replied(at, event);
      case "dropped":
        return this.#dropped(at, event);
      case "spawned":
        this.#totals.spawned++;
        if (this.#withSites) this.#entry(event.task).site = siteOfCaller();
        return;
      case "started":
        this.#lastBy = event.task;
        return;
      case "finished":
        return this.#finished(at, event);
    }
  }

  #entry(task: Party): Entry {
    let entry = this.#entries.get(task.id);
    if (entry === undefined) this.#entries.set(task.id, entry = new Entry(task));
    return entry;
  }

  // Of one that has ended nothing new is kept.
  #living(task: Pick<Sender, "id" | "name" | "alive"> | undefined): Entry | undefined {
    if (task === undefined) return undefined;
    return this.#entries.get(task.id) ?? (task.alive ? this.#entry(task) : undefined);
  }

  #sent(at: number, { message, to }: Observation & { type: "sent" }): void {
    const sender = this.#living(message.sender);
    const receiver = this.#living(to);
    const order = ++this.#totals.sent + this.#totals.replied;
    const from = sender?.party ?? party(message.sender);
    const whom = receiver?.party ?? party(to);
    receiver?.keep(order, at, message.type, "message", from, whom);
    if (sender === undefined) return;
    sender.sent++;
    if (sender !== receiver) sender.keep(order, at, message.type, "message", from, whom);
  }

  #replied(at: number, { message, by, failure }: Observation & { type: "replied" }): void {
    const order = this.#totals.sent + ++this.#totals.replied;
    const kind = failure === undefined ? "reply" : "failure";
    const [answerer, caller] = [this.#living(by), this.#living(message.sender)];
    const [from, to] = [answerer?.party ?? party(by), caller?.party ?? party(message.sender)];
    if (failure !== undefined) this.#totals.failures++;
    answerer?.keep(order, at, message.type, kind, from, to);
    if (caller !== answerer) caller?.keep(order, at, message.type, kind, from, to);
  }

  #dropped(at: number, { message, to, reason, why }: Observation & { type: "dropped" }): void {
    this.#totals.dropped[reason]++;
    if (reason === "deadlock") {
      this.#cycles = [...this.#cycles, { at, names: why, type: message.type }].slice(-MOST_CYCLES);
    }
    const entry = this.#entries.get(to.id);
    if (entry === undefined) return;
    entry.dropped++;
    if (reason === "refused" && entry.newest?.type === message.type) entry.newest.dropped = reason;
  }

  #finished(at: number, { task, error }: Observation & { type: "finished" }): void {
    const entry = this.#entry(task);
    this.#entries.delete(task.id);
    const status = task.status as "done" | "failed" | "killed";
    this.#totals.ended[status]++;
    const row: Row = {
      ...gone(task, status),
      sent: entry.sent,
      received: entry.received,
      dropped: entry.dropped,
      ended: at,
      ...(status === "failed" ? { error: lineOf(error) } : {}),
    };
    const until = at + (status === "failed" ? LINGER_FAILED : LINGER);
    this.#ended.set(task.id, { row, entry, error: status === "failed" ? error : undefined, until });
    if (this.#ended.size > MOST_ENDED) this.#ended.delete(this.#ended.keys().next().value!);
  }

  /** Looks at all tasklets; `blocks` and `lag` are what a meter of the event loop measured. */
  sample({ blocks, lag }: { readonly blocks: readonly Block[]; readonly lag: number }): Sample {
    const at = now();
    for (const [id, { until }] of this.#ended) if (until <= at) this.#ended.delete(id);
    this.#cycles = this.#cycles.filter((cycle) => cycle.at > at - LINGER_FAILED);
    const rows: Row[] = [];
    let queued = 0;
    for (const found of snapshot()) {
      const { sent = 0, received = 0, dropped = 0 } = this.#entries.get(found.id) ?? {};
      queued += found.mailbox.length;
      rows.push({ ...found, sent, received, dropped });
    }
    const tasklets = rows.length;
    for (const { row } of this.#ended.values()) rows.push(row);
    const { heapUsed: heap, rss: memory } = process.memoryUsage();
    const totals = { ...structuredClone(this.#totals), tasklets, queued, lag, heap, memory };
    return { at, rows, totals, blocks, cycles: this.#cycles };
  }

  /** What is known of one tasklet, if it is one that lives or has just ended. */
  detail(id: number): Detail {
    const ended = this.#ended.get(id);
    const entry = ended?.entry ?? this.#entries.get(id);
    return {
      letters: entry?.inOrder ?? [],
      site: entry?.site,
      errors: ended?.error === undefined ? [] : chainOf(ended.error),
    };
  }

  /** The last messages among those tasklets, oldest first, each once. */
  between(ids: readonly number[]): Letter[] {
    const chosen = new Set<number | undefined>(ids);
    const letters = new Map<number, Letter>();
    for (const id of ids) for (const letter of this.detail(id).letters) letters.set(letter.order, letter);
    return [...letters.values()].filter(({ from, to }) =>
      ids.length === 1 || (chosen.has(from?.id) && chosen.has(to?.id))
    ).toSorted((a, b) => a.order - b.order);
  }

  /** Who began something just before the event loop stood still, which it did at the latest from `from` on. */
  workerOf(from: number): Party | undefined {
    const isThen = (at: number) => at <= from + LONG_GAP && at >= from - 2 * LONG_GAP;
    if (this.#gap !== undefined && isThen(this.#gap.from) && this.#gap.to >= from) return this.#gap.by;
    return isThen(this.#lastAt) ? party(this.#lastBy) : undefined;
  }
}

// Not the tasklet itself: what is kept here must not keep it.
function party(task: Party | undefined): Party | undefined {
  return task === undefined ? undefined : { id: task.id, name: task.name };
}

function gone(task: AnyTasklet, status: TaskletStatus): TaskletSnapshot {
  const mailbox = { length: 0, capacity: task.mailbox.capacity, oldest: undefined };
  return { id: task.id, name: task.name, parent: task.parent?.id, status, waits: [], mailbox, names: [] };
}

// An error in a line.
function lineOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : `${error}`;
}

// An error and its causes, ten at most.
function chainOf(error: unknown): ErrorLine[] {
  const chain: ErrorLine[] = [];
  for (
    let at = error;
    at !== undefined && chain.length < 10;
    at = at instanceof Error ? at.cause : undefined
  ) {
    const lines = at instanceof Error ? (at.stack ?? "").split("\n") : [];
    const stack = lines.map((line) => line.trim()).filter((line) => line.startsWith("at "));
    chain.push({ text: lineOf(at), stack });
  }
  return chain;
}

const HERE = new URL(".", import.meta.url).href;
const OWN = ["account", "observe", "life", "tasklet", "hook", "wait"].map((name) => `${HERE}${name}.ts`);

/** The calls that led here, those of the library aside. */
function siteOfCaller(): string[] {
  const limited = Error as unknown as { stackTraceLimit: number };
  const limit = limited.stackTraceLimit;
  limited.stackTraceLimit = 20;
  const { stack = "" } = new Error();
  limited.stackTraceLimit = limit;
  return stack.split("\n").slice(1).map((line) => line.trim()).filter((line) =>
    /^at .*file:|^at .*https?:/.test(line) && !OWN.some((module) => line.includes(module))
  ).slice(0, 10);
}
