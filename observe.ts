/**
 * Seeing tasklets run: each thing that happens, as it happens, and what there is at a moment.
 *
 * ```ts
 * import { Message, observe, snapshot, Tasklet } from "@x/concurrence";
 *
 * class MSG_GREETING extends Message("MSG_GREETING")<[name: string]> {}
 *
 * using _ = observe((event) => {
 *   if (event.type === "sent") console.log(`${event.message.type} for ${event.to}`); // "MSG_GREETING for printer#1"
 * });
 * const task = Tasklet.new(async () => {
 *   for await (const msg of Tasklet.receive()) console.log("Hello", msg.args[0]);
 * }, { name: "printer" })();
 * MSG_GREETING.send(task)("World");
 * await Tasklet.yield();
 * for (const { name, status, waits } of snapshot()) {
 *   console.log(name, status, waits[0]?.what); // "printer" "waiting" "for a message"
 * }
 * await task.kill();
 * ```
 *
 * Runtime-neutral.
 *
 * @module
 */
import { running } from "./context.ts";
import { type DropReason, type Hook, setHook } from "./hook.ts";
import { type Life, roots } from "./life.ts";
import type { AnyMessage } from "./message.ts";
import { report } from "./report.ts";
import { type AnyTasklet, registeredNames, type TaskletStatus } from "./tasklet.ts";
import { now } from "./timer.ts";
import type { Wait } from "./wait.ts";

export type { DropReason } from "./hook.ts";

/** Something that happened. */
export type Observation =
  /** A tasklet was created. */
  | { readonly type: "spawned"; readonly task: AnyTasklet }
  /** Its body is called. */
  | { readonly type: "started"; readonly task: AnyTasklet }
  /** It has finished; `error` is as in `MSG_DOWN`: `undefined` if its body returned. */
  | { readonly type: "finished"; readonly task: AnyTasklet; readonly error: unknown }
  /** A message was sent, by `send` or `call`; if `to` does not accept it, `dropped` follows. */
  | { readonly type: "sent"; readonly message: AnyMessage; readonly to: AnyTasklet }
  /** A tasklet has taken a message. */
  | { readonly type: "received"; readonly message: AnyMessage; readonly by: AnyTasklet }
  /** A call was answered, by `reply` or, if `failure` is there, by `fail`; `by` is who did it. */
  | {
    readonly type: "replied";
    readonly message: AnyMessage;
    readonly by: AnyTasklet | undefined;
    readonly failure: { readonly error: unknown } | undefined;
  }
  /**
   * A message will not be received: the mailbox is full (`"refused"`), a newer one took its place (`"oldest"`), the
   * receiver has `"finished"`, or it waits for the caller (`"deadlock"`; `why` names the cycle). In the last two cases it
   * was not even sent.
   */
  | {
    readonly type: "dropped";
    readonly message: AnyMessage;
    readonly to: AnyTasklet;
    readonly reason: DropReason;
    readonly why: string;
  };

/** Takes what happens. */
export type Listener = (event: Observation) => void;

const listeners = new Set<{ readonly tell: Listener }>();
let isTelling = false;

/**
 * Calls `listener` with all that tasklets do, until disposed; as long as nobody listens, sending costs what it always
 * did.
 *
 * - **At once**: the call comes as it happens, in the name of whoever does it, before anything else goes on.
 * - **Order**: for each message `sent` comes first, then `received` or `dropped`, then `replied`. What is queued when
 *   its receiver finishes is in no further event.
 * - **Apart**: an error of the listener is reported on stderr and changes nothing; what the listener itself sends or
 *   starts is not observed.
 */
export function observe(listener: Listener): Disposable {
  const entry = { tell: listener };
  listeners.add(entry);
  setHook(HOOK);
  return {
    [Symbol.dispose]: () => {
      listeners.delete(entry);
      if (listeners.size === 0) setHook(undefined);
    },
  };
}

const HOOK: Hook = {
  spawned: (task) => tell({ type: "spawned", task: task as AnyTasklet }),
  started: (task) => tell({ type: "started", task: task as AnyTasklet }),
  finished: (task, error) => tell({ type: "finished", task: task as AnyTasklet, error }),
  sent: (message, to) => tell({ type: "sent", message: message as AnyMessage, to: to as AnyTasklet }),
  received: (message, by) => tell({ type: "received", message: message as AnyMessage, by: by as AnyTasklet }),
  replied: (message, failure) => {
    const by = running.getStore() as AnyTasklet | undefined;
    tell({ type: "replied", message: message as AnyMessage, by, failure });
  },
  dropped: (message, to, reason, why) =>
    tell({ type: "dropped", message: message as AnyMessage, to: to as AnyTasklet, reason, why }),
};

function tell(event: Observation): void {
  if (isTelling) return; // by what a listener does itself, there would be no end of it
  isTelling = true;
  for (const listener of listeners) {
    try {
      listener.tell(event);
    } catch (error) {
      report("A listener of observe() failed:", error);
    }
  }
  isTelling = false;
}

/** What a tasklet waits for. */
export interface WaitSnapshot {
  /** In words that go on from "waiting". */
  readonly what: string;
  /**
   * The time, by the library's clock, at which a snapshot first found it waiting so: it has waited at least since then.
   * To tell when a wait begins would cost each of them.
   */
  readonly since: number;
  /** The id of the tasklet whose reply or end it waits for, if it does. */
  readonly on: number | undefined;
}

/** A mailbox at a moment. */
export interface MailboxSnapshot {
  /** How many messages wait. */
  readonly length: number;
  /** How many may wait; `Infinity` without a bound. */
  readonly capacity: number;
  /** The type of the message that waits longest, and the time at which a snapshot first found it there. */
  readonly oldest: { readonly type: string; readonly since: number } | undefined;
}

/** A tasklet at a moment. */
export interface TaskletSnapshot {
  /** Its id. */
  readonly id: number;
  /** Its name. */
  readonly name: string;
  /** The id of its parent, if it has one. */
  readonly parent: number | undefined;
  /** Where it is in its life. */
  readonly status: TaskletStatus;
  /** What it waits for, newest first: nothing while it is at work, or awaits a promise that is no wait point. */
  readonly waits: readonly WaitSnapshot[];
  /** What it has not received yet. */
  readonly mailbox: MailboxSnapshot;
  /** The names under which it is registered. */
  readonly names: readonly string[];
}

// When a wait, by its promise, or the oldest message of a mailbox was first seen.
const seen = new WeakMap<object, number>();

/** All tasklets that have not finished, parents before children. What it costs is paid here, not by the tasklets. */
export function snapshot(): TaskletSnapshot[] {
  const at = now();
  const registered = namesById();
  const found: TaskletSnapshot[] = [];
  for (const root of roots) for (const [task] of root.tree()) found.push(snapshotOf(task, at, registered));
  return found;
}

function snapshotOf(task: Life, at: number, registered: ReadonlyMap<number, string[]>): TaskletSnapshot {
  const waits: WaitSnapshot[] = [];
  for (let wait = task.waits; wait !== undefined; wait = wait.older) {
    waits.push({ what: wait.describe(), since: since(wait.promise, at), on: targetOf(wait) });
  }
  const { length, capacity, oldest } = task.inbox;
  return {
    id: task.id,
    name: task.name,
    parent: task.parent?.id,
    status: task.status,
    waits,
    mailbox: {
      length,
      capacity,
      oldest: oldest === undefined ? undefined : { type: oldest.type, since: since(oldest, at) },
    },
    names: registered.get(task.id) ?? [],
  };
}

function targetOf(wait: Wait): number | undefined {
  return (wait.target as Life | undefined)?.id;
}

function since(what: object, at: number): number {
  const first = seen.get(what);
  if (first !== undefined) return first;
  seen.set(what, at);
  return at;
}

function namesById(): Map<number, string[]> {
  const found = new Map<number, string[]>();
  for (const [name, { id }] of registeredNames) {
    const those = found.get(id);
    if (those === undefined) found.set(id, [name]);
    else those.push(name);
  }
  return found;
}
