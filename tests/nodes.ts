/**
 * Nodes of a cluster on a bus within this process, in virtual time, and what tests of them have in common.
 *
 * @module
 */
import { assert, assertRejects } from "@std/assert";
import {
  type BorderClass,
  Cluster,
  type ClusterEvent,
  type ClusterOptions,
  type StandardSchema,
} from "../cluster.ts";
import { CallError, Message, type MessageClass } from "../message.ts";
import { MSG_DOWN, Tasklet } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { type Line, MemoryBus } from "./bus.ts";

const Text: MessageClass<"MSG_TEXT"> = Message("MSG_TEXT");
const Sum: MessageClass<"MSG_SUM"> = Message("MSG_SUM");
const Do: MessageClass<"MSG_DO"> = Message("MSG_DO");
const Short: MessageClass<"MSG_SHORT"> = Message("MSG_SHORT");

/** A text, for the log of a servant. */
export class MSG_TEXT extends Text<[text: string]> {}
/** Numbers, of which a servant replies the sum. */
export class MSG_SUM extends Sum<number[], number> {}
/** What a servant should do: see {@linkcode servant}. */
export class MSG_DO extends Do<[what: string, more?: unknown], unknown> {}
/** A text of five characters at most, for the log of a servant. */
export class MSG_SHORT extends Short<[text: string]> {
  /** That. */
  static readonly schema: StandardSchema<[string]> = {
    "~standard": {
      version: 1,
      vendor: "test",
      validate: (value) =>
        String((value as unknown[])[0]).length <= 5
          ? { value: value as [string] }
          : { issues: [{ message: "too long" }] },
    },
  };
}

/** What nodes send each other. */
export type Any = MSG_TEXT | MSG_SUM | MSG_DO | MSG_SHORT;
type AnyClass = typeof MSG_TEXT | typeof MSG_SUM | typeof MSG_DO | typeof MSG_SHORT;

/** The classes of that. */
export const MESSAGES: readonly AnyClass[] = [MSG_TEXT, MSG_SUM, MSG_DO, MSG_SHORT];

/** Milliseconds between two signs of life; after four times that a node is gone. */
export const HEARTBEAT = 100;

/** A node, and the switches of its line to the bus. */
export interface Node {
  /** The node. */
  readonly cluster: Cluster<Any>;
  /** Its line. */
  readonly line: Line;
}

/** Nodes that know each other: so many as the test has wanted, be it fewer than four. */
export type Nodes = [Node, Node, Node, Node, ...Node[]];

/** Joins a cluster over `bus`. */
export async function join<C extends BorderClass>(
  bus: MemoryBus,
  options: ClusterOptions<C>,
): Promise<{ cluster: Cluster<InstanceType<C>>; line: Line }> {
  let line: Line | undefined;
  const cluster = await Cluster.over(async (_, listener) => line = await bus.connect(listener), {
    heartbeat: HEARTBEAT,
    ...options,
  });
  return { cluster, line: line! };
}

/** A node on `bus`. */
export function node(bus: MemoryBus, options: Partial<ClusterOptions<AnyClass>> = {}): Promise<Node> {
  return join(bus, { messages: MESSAGES, ...options });
}

/** So many nodes on `bus`. */
export async function nodes(count: number, bus: MemoryBus): Promise<Nodes> {
  const all: Node[] = [];
  for (let i = 0; i < count; i++) all.push(await node(bus));
  for (const { line } of all) await line.flush();
  return all as Nodes;
}

/** Closes nodes, one after the other. */
export async function close(all: readonly Node[]): Promise<void> {
  for (const { cluster } of all) await cluster.close({ grace: 0 });
}

/** Runs `body` in a tasklet, in virtual time. What it leaves behind is killed. */
export async function virtually(body: () => Promise<void>): Promise<void> {
  await using _time = virtualTime();
  const task = Tasklet.new(async function test() {
    try {
      await body();
    } finally {
      await Promise.all(Tasklet.current()!.children.map((child) => child.kill()));
    }
  })();
  await task.join().catch((error) => {
    throw error.cause ?? error;
  });
}

/** A test with so many nodes, which are closed at its end. */
export function test(
  name: string,
  count: number,
  body: (all: Nodes, bus: MemoryBus) => Promise<void>,
): void {
  Deno.test(name, { timeout: 20_000 }, () =>
    virtually(async () => {
      const bus = new MemoryBus();
      const all = await nodes(count, bus);
      await body(all, bus);
      await close(all);
    }));
}

/** Holds back what comes to a node, until the result is called: then all of it comes at once. */
export function hold(bus: MemoryBus, { line }: Node): () => void {
  const held: (() => void)[] = [];
  const own = [...bus.subscriptions].filter((each) => each.line === line);
  const handles = own.map(({ handle }) => handle);
  for (const [i, each] of own.entries()) each.handle = (delivery) => held.push(() => handles[i]!(delivery));
  return () => {
    for (const [i, each] of own.entries()) each.handle = handles[i]!;
    for (const each of held) each();
  };
}

/** What a stranger publishes: a text, or any value as JSON. */
export function payload(value: unknown): Uint8Array {
  return new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));
}

/** A tasklet that logs texts, adds numbers, and does what it is told. */
export function servant(log: string[] = [], name: string = "servant"): Tasklet<void> {
  return Tasklet.new(async () => {
    for await (const msg of Tasklet.receive()) {
      if (msg.match(MSG_TEXT) || msg.match(MSG_SHORT)) log.push(msg.args[0]);
      else if (msg.match(MSG_SUM)) msg.reply(msg.args.reduce((a, b) => a + b, 0));
      else if (msg.match(MSG_DO)) obey(msg);
    }
  }, { name })();
}

// Whatever else it is told, it forgets.
function obey(msg: MSG_DO): void {
  switch (msg.args[0]) {
    case "echo":
      return void msg.reply(msg.args[1]);
    case "fail":
      return void msg.fail(new RangeError("on purpose", { cause: new Error("secret") }));
    case "throw":
      throw new TypeError("thrown");
    case "defer":
      return void msg.defer();
    case "bigint":
      return void msg.reply(1n);
    case "sender":
      return void msg.reply(msg.sender === undefined ? "nobody" : "somebody");
  }
}

/** Reason and text of the error with which a call rejects. */
export async function failure(promise: Promise<unknown>): Promise<[reason: string, text: string]> {
  const error = await assertRejects(() => promise, CallError);
  return [error.reason, error.message];
}

/** The next event of a kind. */
export async function next<T extends ClusterEvent["type"]>(
  events: AsyncIterable<ClusterEvent>,
  type: T,
): Promise<ClusterEvent & { type: T }> {
  for await (const event of events) if (event.type === type) return event as ClusterEvent & { type: T };
  throw new Error(`There was no ${type}`);
}

/** A tasklet that monitors a name and returns what it is told. */
export function watcher(
  { cluster }: Node,
  name: string,
): Tasklet<[reason: string | undefined, text: string]> {
  return Tasklet.new(async () => {
    const remote = (await cluster.lookup(name))!;
    cluster.monitor(remote);
    const [down, error] = (await Tasklet.receiveOne([MSG_DOWN])).args;
    assert(down as unknown === remote);
    const { reason, message = "" } = (error ?? {}) as Partial<CallError>;
    return [reason, message];
  }, { name: "watcher", mailbox: { capacity: 1 } })() as Tasklet<[string | undefined, string]>;
}
