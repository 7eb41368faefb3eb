import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import {
  Cluster,
  type ClusterEvent,
  type ClusterGroup,
  type ClusterOptions,
  NameTakenError,
  type Registration,
  type RemoteTasklet,
  type StandardSchema,
} from "../cluster.ts";
import { running } from "../context.ts";
import { CallError, Message } from "../message.ts";
import { MSG_DOWN, type Self, Tasklet, TimeoutError } from "../tasklet.ts";
import { now } from "../timer.ts";
import { virtualTime } from "../testing.ts";
import { type Line, MemoryBus } from "./bus.ts";

class MSG_TEXT extends Message("MSG_TEXT")<[text: string]> {}
class MSG_SUM extends Message("MSG_SUM")<number[], number> {}
class MSG_DO extends Message("MSG_DO")<[what: string, more?: unknown], unknown> {}
class MSG_SHORT extends Message("MSG_SHORT")<[text: string]> {
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
const MESSAGES = [MSG_TEXT, MSG_SUM, MSG_DO, MSG_SHORT];
type Any = MSG_TEXT | MSG_SUM | MSG_DO | MSG_SHORT;

const HEARTBEAT = 100;
const TIME = { timeout: 20_000 };

/** A node, and the switches of its line to the bus. */
interface Node {
  readonly cluster: Cluster<Any>;
  readonly line: Line;
}

/** A node on `bus`. */
async function node(
  bus: MemoryBus,
  options: Partial<ClusterOptions<typeof MESSAGES[number]>> = {},
): Promise<Node> {
  let line: Line | undefined;
  const cluster = await Cluster.over(async (_, listener) => line = await bus.connect(listener), {
    messages: MESSAGES,
    heartbeat: HEARTBEAT,
    ...options,
  });
  return { cluster, line: line! };
}

/** As many nodes as wanted, which know each other. */
async function nodes(
  count: number,
  bus: MemoryBus = new MemoryBus(),
): Promise<[Node, Node, Node, Node, ...Node[]]> {
  const all: Node[] = [];
  for (let i = 0; i < count; i++) all.push(await node(bus));
  for (const { line } of all) await line.flush();
  return all as [Node, Node, Node, Node, ...Node[]]; // for a test that takes no more of them than it has wanted
}

/** Runs a test in a tasklet, in virtual time. */
function test(name: string, body: () => Promise<void>): void {
  Deno.test(name, TIME, async () => {
    await using _time = virtualTime();
    const task = Tasklet.new(async () => {
      try {
        await body();
      } finally {
        await Promise.all(Tasklet.current()!.children.map((child) => child.kill()));
      }
    }, { name: "test" })();
    await task.join().catch((error) => {
      throw error.cause ?? error;
    });
  });
}

/** A tasklet that logs texts, adds numbers, and does what it is told. */
function servant(log: string[] = [], name = "servant"): Tasklet<void> {
  return Tasklet.new(async () => {
    for await (const msg of Tasklet.receive()) {
      if (msg.match(MSG_TEXT) || msg.match(MSG_SHORT)) log.push(msg.args[0]);
      else if (msg.match(MSG_SUM)) msg.reply(msg.args.reduce((a, b) => a + b, 0));
      else if (msg.match(MSG_DO)) obey(msg);
    }
  }, { name })();
}

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
async function failure(promise: Promise<unknown>): Promise<[reason: string, text: string]> {
  const error = await assertRejects(() => promise, CallError);
  return [error.reason, error.message];
}

/** The next `count` events of a kind. */
async function next<T extends ClusterEvent["type"]>(
  events: AsyncIterable<ClusterEvent>,
  type: T,
): Promise<ClusterEvent & { type: T }> {
  for await (const event of events) if (event.type === type) return event as ClusterEvent & { type: T };
  throw new Error(`There was no ${type}`);
}

/* --------------------------------------------- Cluster.connect() ------------------------------------------ */

test("Cluster.over() rejects with what the bus does, and with TimeoutError if it takes too long", async () => {
  const options = { messages: MESSAGES };
  await assertRejects(
    () => Cluster.over(() => Promise.reject(new Error("no way")), options),
    Error,
    "no way",
  );
  const late = Promise.withResolvers<Line>();
  await assertRejects(() => Cluster.over(() => late.promise, options, 50), TimeoutError);
  const line = await new MemoryBus().connect();
  late.resolve(line);
  await Tasklet.yield();
  await Tasklet.yield();
  assertEquals(line.isUp, false); // nobody has it, so it is closed
});

test("Cluster.over() refuses options that make no sense", async () => {
  const wrong: Partial<ClusterOptions<typeof MSG_TEXT>>[] = [
    { heartbeat: -1 },
    { heartbeat: 0 },
    { heartbeat: 100, deadAfter: 199 },
    { deadAfter: NaN },
    { prefix: "" },
    { messages: [MSG_TEXT, MSG_TEXT] },
  ];
  for (const options of wrong) {
    const error = await assertRejects(() =>
      Cluster.over(() => new MemoryBus().connect(), { messages: [MSG_TEXT], ...options })
    );
    assert(error instanceof RangeError || error instanceof TypeError, `${error}`);
  }
});

test("Cluster: clusters with another prefix do not hear each other", async () => {
  const bus = new MemoryBus();
  const [a, b] = [await node(bus), await node(bus, { prefix: "other" })];
  await a.cluster.register("x", servant());
  await b.cluster.register("x", servant());
  assertEquals([a.cluster.nodes, b.cluster.nodes], [[], []]);
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

/* -------------------------------------------- Cluster.register() ------------------------------------------ */

test("Cluster.register() makes a tasklet known to all nodes, its own among them, until it finishes: Names", async () => {
  const [a, b] = await nodes(2);
  const log: string[] = [];
  const task = servant(log);
  assertEquals(await b.cluster.lookup("room.lobby"), undefined);
  await a.cluster.register("room.lobby", task);
  const [here, there] = [await a.cluster.lookup("room.lobby"), await b.cluster.lookup("room.lobby")];
  assertEquals([here!.name, there!.node, `${there}`], [
    "room.lobby",
    a.cluster.node,
    `room.lobby@${a.cluster.node}`,
  ]);
  assertEquals([MSG_TEXT.send(here!)("near"), MSG_TEXT.send(there!)("far")], [true, true]);
  assertEquals([await MSG_SUM.call(here!)(1, 2), await MSG_SUM.call(there!)(3, 4)], [3, 7]);
  assertEquals(log, ["near", "far"]);
  await task.kill();
  await b.cluster.flush();
  assertEquals([await a.cluster.lookup("room.lobby"), await b.cluster.lookup("room.lobby")], [
    undefined,
    undefined,
  ]);
  assertEquals((await failure(MSG_SUM.call(there!)(1)))[0], "finished");
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

test("Cluster.register() refuses a second owner, on the same node and on another", async () => {
  const [a, b] = await nodes(2);
  const task = servant();
  await a.cluster.register("x", task);
  for (const { cluster } of [a, b]) {
    for (const pool of [false, true]) {
      const error = await assertRejects(() => cluster.register("x", servant(), { pool }), NameTakenError);
      assertEquals(error.message, `Cannot register "x": the name is taken`);
    }
  }
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

test("Cluster.register() gives the name to exactly one of many who claim it at the same time", async () => {
  const bus = new MemoryBus();
  const all = await nodes(5, bus);
  for (let round = 0; round < 10; round++) {
    const tasks = all.map(() => servant());
    const claims = await Promise.allSettled(
      all.map(({ cluster }, i) => cluster.register(`x${round}`, tasks[i]!)),
    );
    assertEquals(claims.filter(({ status }) => status === "fulfilled").length, 1);
    const winner = claims.findIndex(({ status }) => status === "fulfilled");
    assertEquals((await all[(winner + 1) % 5]!.cluster.lookup(`x${round}`))!.node, all[winner]!.cluster.node);
    for (const task of tasks) await task.kill();
  }
  for (const { cluster } of all) await cluster.close();
});

test("Cluster.register() gives a name that is free again to the next one", async () => {
  const [a, b] = await nodes(2);
  const first = await a.cluster.register("x", servant());
  await first.unregister();
  await first.unregister(); // harmless
  const second = await b.cluster.register("x", servant());
  assertEquals((await a.cluster.lookup("x"))!.node, b.cluster.node);
  await using _ = second;
  await b.cluster.close();
  await a.cluster.register("x", servant());
  await a.cluster.close();
});

test("Cluster.register() rejects for a tasklet that has finished, or does so meanwhile", async () => {
  const [a, b] = await nodes(2);
  const task = servant();
  await task.kill();
  await assertRejects(() => a.cluster.register("x", task), Error, "has finished");
  const brief = servant();
  const registered = assertRejects(() => a.cluster.register("x", brief), Error, "has finished");
  await brief.kill();
  await registered;
  await b.cluster.register("x", servant());
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

test("Cluster.register() by a tasklet that is killed meanwhile gives the name back", async () => {
  const [a, b] = await nodes(2);
  const task = servant();
  const claimant = Tasklet.new(() => a.cluster.register("x", task))();
  while (claimant.status !== "waiting") await null;
  await claimant.kill();
  await Tasklet.sleep(1);
  await b.cluster.register("x", servant());
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

test("Cluster.register() takes a name from an owner that says nothing for too long, who loses it when it comes back", async () => {
  const [a, b] = await nodes(2);
  const lost: string[] = [];
  const task = servant();
  await a.cluster.register("x", task, { onLost: () => lost.push("onLost") });
  const events = a.cluster.events();
  a.line.isSilent = true;
  const claim = await b.cluster.register("x", servant());
  a.line.isSilent = false;
  // It stands for a machine that has slept: its clock would have shown it that.
  a.line.disconnect();
  a.line.reconnect();
  assertEquals(await next(events, "lost"), { type: "lost", name: "x" });
  assertEquals([lost, claim.state, task.alive], [["onLost"], "held", true]);
  assertEquals((await a.cluster.lookup("x"))!.node, b.cluster.node);
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

test("Cluster.register() with pool shares a name: each message goes to one, and calls find those that are left", async () => {
  const [a, b, c] = await nodes(3);
  const counts = [0, 0, 0];
  const workers = counts.map((_, i) =>
    Tasklet.receiver((msg) => {
      counts[i]!++;
      msg.reply(i);
    })
  );
  await a.cluster.register("work", workers[0]!, { pool: true });
  await b.cluster.register("work", workers[1]!, { pool: true });
  await b.cluster.register("work", workers[2]!, { pool: true });
  await assertRejects(() => c.cluster.register("work", servant()), NameTakenError);
  for (const { cluster } of [a, c]) {
    const work = (await cluster.lookup("work"))!;
    assertEquals([work.node, `${work}`], ["", "work@pool"]);
    await Promise.all(Array.from({ length: 30 }, () => MSG_SUM.call(work)(1)));
  }
  assertEquals(counts, [20, 20, 20]);
  await workers[0]!.kill();
  await workers[1]!.kill();
  await c.cluster.flush();
  const work = (await c.cluster.lookup("work"))!;
  assertEquals(await Promise.all([1, 2].map((n) => MSG_SUM.call(work)(n))), [2, 2]);
  await workers[2]!.kill();
  await c.cluster.flush();
  assertEquals((await failure(MSG_SUM.call(work)(1)))[0], "finished");
  for (const { cluster } of [a, b, c]) await cluster.close();
});

test("Cluster.register() of a name that is none is refused", async () => {
  const [a] = await nodes(1);
  for (const name of ["", "x".repeat(257)]) {
    await assertRejects(() => a.cluster.register(name, servant()), RangeError, "Cannot use a name");
    await assertRejects(() => a.cluster.lookup(name), RangeError);
    assertThrows(() => a.cluster.group(name), RangeError);
  }
  await a.cluster.register("日本 *.> __proto__", servant());
  assert(await a.cluster.lookup("日本 *.> __proto__"));
  await a.cluster.close();
});

/* ------------------------------------------- names when cut off ------------------------------------------- */

test("Cluster: of two owners behind a wall, the one who has had the name for longer keeps it", async () => {
  const bus = new MemoryBus();
  const [a, b] = await nodes(2, bus);
  const lost: string[] = [];
  const [downA, downB] = [a.cluster.events(), b.cluster.events()];
  b.line.piece = 1;
  await Promise.all([next(downA, "down"), next(downB, "down")]);
  const first = await b.cluster.register("x", servant(), { onLost: () => lost.push("b") });
  await Tasklet.sleep(1);
  const second = await a.cluster.register("x", servant(), { onLost: () => lost.push("a") });
  await Tasklet.sleep(10 * HEARTBEAT);
  const events = a.cluster.events();
  b.line.piece = 0;
  const start = now();
  await next(events, "lost");
  assert(now() - start < 2 * HEARTBEAT, "at once, and not when it is said again");
  assertEquals([first.state, second.state, lost], ["held", "ended", ["a"]]);
  assertEquals((await a.cluster.lookup("x"))!.node, b.cluster.node);
  await Tasklet.sleep(10 * HEARTBEAT);
  assertEquals([first.state, lost], ["held", ["a"]]);
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

test("Cluster: pools behind a wall are one again when it is gone", async () => {
  const [a, b] = await nodes(2);
  const down = a.cluster.events();
  b.line.piece = 1;
  await next(down, "down");
  const registrations = [
    await a.cluster.register("x", servant(), { pool: true }),
    await b.cluster.register("x", servant(), { pool: true }),
  ];
  const up = a.cluster.events();
  b.line.piece = 0;
  await next(up, "up");
  await Tasklet.sleep(5 * HEARTBEAT);
  assertEquals(registrations.map(({ state }) => state), ["held", "held"]);
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

test("Cluster: two claims that missed each other are found out a heartbeat later", async () => {
  const bus = new MemoryBus();
  const [a, b] = await nodes(2, bus);
  b.line.piece = 1; // as when servers of NATS have not told each other yet
  const first = await a.cluster.register("x", servant());
  await Tasklet.sleep(1);
  const second = await b.cluster.register("x", servant());
  b.line.piece = 0;
  await Tasklet.sleep(2 * HEARTBEAT);
  assertEquals([first.state, second.state], ["held", "ended"]);
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

test("Cluster: two claims that missed each other are found out in the end, however short the time", async () => {
  const [a, b] = await nodes(2);
  const downs = [a.cluster.events(), b.cluster.events()];
  b.line.piece = 1;
  const first = await a.cluster.register("x", servant());
  await Tasklet.sleep(1);
  const second = await b.cluster.register("x", servant());
  await Tasklet.sleep(1.5 * HEARTBEAT); // longer than it takes to say it for the first time
  b.line.piece = 0; // before anybody was missed
  await Tasklet.sleep(20 * HEARTBEAT);
  assertEquals([first.state, second.state], ["held", "ended"]);
  await Promise.all([a.cluster.close(), b.cluster.close()]);
  for (const events of downs) {
    const types = (await Array.fromAsync(events)).map(({ type, node }: { type: string; node?: string }) =>
      node === b.cluster.node ? "" : type
    );
    assert(types.filter((type) => type === "down").length <= 1, `${types}`); // by the good-bye
  }
});

test("Cluster: nodes that were disconnected for a moment take nobody for gone when they are back", async () => {
  const [a, b] = await nodes(2);
  await a.cluster.register("x", servant());
  const watching = watcher(b, "x");
  await Tasklet.sleep(0.9 * HEARTBEAT); // just before a sign of life
  for (const { line } of [a, b]) line.disconnect();
  await Tasklet.sleep(2.6 * HEARTBEAT);
  a.line.reconnect(); // says so while b does not hear it
  await Tasklet.sleep(0.3 * HEARTBEAT);
  b.line.reconnect(); // just before it would have missed a for too long
  const events = b.cluster.events();
  await Tasklet.sleep(5 * HEARTBEAT);
  assertEquals(watching.alive, true);
  await Promise.all([a.cluster.close(), b.cluster.close()]);
  assertEquals((await Array.fromAsync(events)).filter(({ type }) => type === "up"), []);
  await watching.kill();
});

test("Cluster: a node that was disconnected keeps its names, unless they were taken meanwhile: Reconnecting", async () => {
  const [a, b] = await nodes(2);
  const kept = await a.cluster.register("kept", servant());
  const taken = await a.cluster.register("taken", servant());
  a.line.disconnect();
  await b.cluster.register("taken", servant());
  await Tasklet.sleep(1);
  const events = a.cluster.events();
  a.line.reconnect();
  assertEquals(await next(events, "lost"), { type: "lost", name: "taken" });
  assertEquals([kept.state, taken.state], ["held", "ended"]);
  assertEquals((await b.cluster.lookup("kept"))!.node, a.cluster.node);
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

/** Things that happen to the lines of three nodes. */
const TROUBLE = fc.oneof(
  fc.record({ kind: fc.constant("piece" as const), who: fc.nat(2), piece: fc.nat(1) }),
  fc.record({ kind: fc.constant("connection" as const), who: fc.nat(2), isThere: fc.boolean() }),
  fc.record({ kind: fc.constant("silence" as const), who: fc.nat(2), isSilent: fc.boolean() }),
  fc.record({ kind: fc.constant("wait" as const), ms: fc.nat(12 * HEARTBEAT) }),
);
type Trouble = typeof TROUBLE extends fc.Arbitrary<infer T> ? T : never;

async function trouble(step: Trouble, all: Node[]): Promise<void> {
  if (step.kind === "wait") return await Tasklet.sleep(step.ms);
  const { line } = all[step.who]!;
  if (step.kind === "piece") line.piece = step.piece;
  else if (step.kind === "silence") line.isSilent = step.isSilent;
  else if (step.isThere) line.reconnect();
  else line.disconnect();
}

/** Ends all trouble, and waits until it is forgotten. */
async function heal(all: Node[]): Promise<void> {
  for (const { line } of all) {
    line.piece = 0;
    line.isSilent = false;
    line.reconnect();
  }
  await Tasklet.sleep(40 * HEARTBEAT);
}

/** Plays any steps on three nodes, in virtual time. */
function property<S>(
  steps: fc.Arbitrary<S>,
  play: (steps: S[], all: Node[]) => Promise<void>,
): () => Promise<void> {
  return () =>
    fc.assert(
      fc.asyncProperty(fc.array(steps, { maxLength: 25 }), async (steps) => {
        await using _time = virtualTime();
        const task = Tasklet.new(async () => {
          const all = await nodes(3);
          await play(steps, all);
          for (const { cluster } of all) await cluster.close({ grace: 0 });
          for (const child of Tasklet.current()!.children) await child.kill();
        })();
        await task.join();
      }),
      { numRuns: 300 },
    );
}

Deno.test(
  "Cluster: whatever was cut off in what order, in the end each name has one owner, whom all find",
  { timeout: 120_000 },
  property(
    fc.oneof(
      TROUBLE,
      fc.record({ kind: fc.constant("register" as const), who: fc.nat(2), name: fc.constantFrom("x", "y") }),
      fc.record({ kind: fc.constant("unregister" as const), name: fc.constantFrom("x", "y") }),
    ),
    async (steps, all) => {
      const held: Registration[] = [];
      const pending: Promise<unknown>[] = [];
      for (const step of steps) {
        if (step.kind === "register") {
          const registering = all[step.who]!.cluster.register(step.name, servant());
          pending.push(registering.then((registration) => held.push(registration), () => {}));
        } else if (step.kind === "unregister") {
          await held.find(({ name, state }) => name === step.name && state === "held")?.unregister();
        } else await trouble(step, all);
      }
      await heal(all);
      await Promise.all(pending);
      await Tasklet.sleep(20 * HEARTBEAT);
      for (const name of ["x", "y"]) {
        const owners = held.filter((each) => each.name === name && each.state === "held").length;
        const found = [];
        for (const { cluster } of all) found.push((await cluster.lookup(name))?.node);
        assert(owners <= 1 && new Set(found).size === 1, `${name} has ${owners} owners: ${found}`);
        assertEquals(found[0] !== undefined, owners === 1);
      }
    },
  ),
);

Deno.test(
  "Cluster: whatever was cut off in what order, every call ends, and every monitor is told of what has ended",
  { timeout: 120_000 },
  property(
    fc.oneof(
      TROUBLE,
      fc.record({
        kind: fc.constant("call" as const),
        who: fc.nat(2),
        to: fc.constantFrom("name" as const, "pool" as const, "group" as const),
      }),
    ),
    async (steps, all) => {
      for (const { cluster } of all) {
        await cluster.register("pool", servant(), { pool: true });
        cluster.group("group").join(servant());
      }
      const task = servant();
      await all[0]!.cluster.register("name", task);
      const names = new Map<string, RemoteTasklet<Any> | ClusterGroup<Any>>();
      for (const [who, { cluster }] of all.entries()) {
        names.set(`${who} name`, (await cluster.lookup("name"))!);
        names.set(`${who} pool`, (await cluster.lookup("pool"))!);
        names.set(`${who} group`, cluster.group("group"));
      }
      const watchers = all.map((node) => watcher(node, "name"));
      await Tasklet.sleep(1);
      const open = new Set<string>();
      for (const [i, step] of steps.entries()) {
        if (step.kind !== "call") await trouble(step, all);
        else {
          const call = `${i}: ${step.who} to ${step.to}`;
          open.add(call);
          const done = () => open.delete(call);
          void MSG_SUM.call(names.get(`${step.who} ${step.to}`)!)(1).then(done, done);
        }
      }
      await heal(all);
      await task.kill();
      await Tasklet.sleep(20 * HEARTBEAT);
      assertEquals([...open], []);
      assertEquals(watchers.map((each) => each.alive), [false, false, false]);
    },
  ),
);

test("Cluster: without a connection, register, lookup and flush reject at once, and a name can be given back", async () => {
  const [a] = await nodes(1);
  const registration = await a.cluster.register("x", servant());
  a.line.disconnect();
  assertEquals(a.cluster.isConnected, false);
  for (
    const attempt of [
      () => a.cluster.register("y", servant()),
      () => a.cluster.lookup("y"),
      () => a.cluster.flush(),
    ]
  ) assertEquals((await failure(attempt()))[0], "disconnected");
  await registration.unregister();
  a.line.reconnect();
  await a.cluster.register("x", servant());
  await a.cluster.close();
});

/* --------------------------------------------- Cluster.lookup() ------------------------------------------- */

test("Cluster.lookup() finds nobody at once, gives up on an owner that says nothing, and has a timeout", async () => {
  const [a, b] = await nodes(2);
  assertEquals(await b.cluster.lookup("nobody"), undefined);
  await a.cluster.register("x", servant());
  a.line.isSilent = true;
  await assertRejects(() => b.cluster.lookup("x", { timeout: 10 }), TimeoutError);
  assertEquals(await b.cluster.lookup("x"), undefined);
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

test("Cluster.lookup() gives a receiver that goes on with the next owner of the name", async () => {
  const [a, b, c] = await nodes(3);
  const first = servant();
  await a.cluster.register("x", first);
  const remote = (await c.cluster.lookup("x"))!;
  assertEquals(await MSG_SUM.call(remote)(1), 1);
  await first.kill();
  await b.cluster.register("x", servant());
  assertEquals([await MSG_SUM.call(remote)(2), remote.node], [2, b.cluster.node]);
  for (const { cluster } of [a, b, c]) await cluster.close();
});

/* ------------------------------------------------- sending ------------------------------------------------ */

test("MSG.send() to a remote tasklet keeps the order, and brings each message once: Order", async () => {
  const [a, b] = await nodes(2);
  const log: string[] = [];
  await a.cluster.register("x", servant(log));
  const remote = (await b.cluster.lookup("x"))!;
  const texts = Array.from({ length: 1000 }, (_, i) => `${i}`);
  for (const text of texts) assert(MSG_TEXT.send(remote)(text));
  await MSG_SUM.call(remote)(); // behind all of them
  assertEquals(log, texts);
  assertEquals([b.cluster.stats.sent, a.cluster.stats.received], [1001, 1001]);
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

test("MSG.send() to a remote tasklet is false if it is known not to arrive, and counted: At most once", async () => {
  const [a, b] = await nodes(2);
  class MSG_OTHER extends Message("MSG_OTHER") {}
  await a.cluster.register("x", servant());
  for (const { cluster, line } of [b, a]) {
    const remote = (await cluster.lookup("x"))!;
    assertEquals(MSG_OTHER.send(remote as never)(), false);
    if (cluster === a.cluster) break; // where it goes directly
    assertEquals(MSG_DO.send(remote)("echo", 1n), false);
    assertEquals(MSG_TEXT.send(remote)("x".repeat(2_000_000)), false);
    line.disconnect();
    assertEquals(MSG_TEXT.send(remote)("hi"), false);
    line.reconnect();
  }
  assertEquals([b.cluster.stats.sent, b.cluster.stats.unsent], [0, 4]);
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

test("A message from elsewhere has no sender, whoever is running there", async () => {
  const [a, b] = await nodes(2);
  await a.cluster.register("x", servant());
  assertEquals(await MSG_DO.call((await b.cluster.lookup("x"))!)("sender"), "nobody");
  assertEquals(await MSG_DO.call((await a.cluster.lookup("x"))!)("sender"), "somebody");
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

test("A mailbox that is full elsewhere refuses: a send is counted there, a call rejects: Failure", async () => {
  const [a, b] = await nodes(2);
  const task = Tasklet.new(() => Tasklet.sleep(1e6), { name: "sleeper", mailbox: { capacity: 1 } })();
  await a.cluster.register("x", task);
  const remote = (await b.cluster.lookup("x"))!;
  assertEquals([MSG_TEXT.send(remote)("1"), MSG_TEXT.send(remote)("2")], [true, true]);
  assertEquals(await failure(MSG_SUM.call(remote)(1)), [
    "refused",
    `Cannot call MSG_SUM: the mailbox of ${task} is full`,
  ]);
  assertEquals([a.cluster.stats.received, a.cluster.stats.refused], [2, 2]);
  await task.kill();
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

/* ------------------------------------------------- calling ------------------------------------------------ */

test("MSG.call() on a remote tasklet brings values as JSON has them, and undefined", async () => {
  const [a, b] = await nodes(2);
  await a.cluster.register("x", servant());
  const remote = (await b.cluster.lookup("x"))!;
  const values = [
    1,
    "é€😀\u2028",
    null,
    undefined,
    [undefined, 1],
    { a: [{ b: 1 }] },
    new Date(0),
    "__proto__",
  ];
  const replies = [];
  for (const value of values) replies.push(await MSG_DO.call(remote)("echo", value));
  assertEquals(replies, [
    1,
    "é€😀\u2028",
    null,
    undefined,
    [null, 1],
    { a: [{ b: 1 }] },
    "1970-01-01T00:00:00.000Z",
    "__proto__",
  ]);
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

test("MSG.call() rejects with the callee's error: name and text, and never a stack of there: Failure", async () => {
  const [a, b] = await nodes(2);
  await a.cluster.register("x", servant());
  const remote = (await b.cluster.lookup("x"))!;
  const error = await assertRejects(() => MSG_DO.call(remote)("fail"), CallError);
  assertEquals([error.reason, error.message], ["remote", "Cannot call MSG_DO: RangeError: on purpose"]);
  assertInstanceOf(error.cause, Error);
  assertEquals([error.cause.name, error.cause.message, error.cause.stack, error.cause.cause], [
    "RangeError",
    "on purpose",
    "RangeError: on purpose",
    undefined,
  ]);
  assertEquals(await failure(MSG_DO.call(remote)("bigint")), [
    "remote",
    "Cannot call MSG_DO: BorderError: it cannot be encoded: Do not know how to serialize a BigInt",
  ]);
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

test("MSG.call() rejects if the callee forgets the reply, and waits if it defers it: Failure", async () => {
  const [a, b] = await nodes(2);
  const task = servant();
  await a.cluster.register("x", task);
  const remote = (await b.cluster.lookup("x"))!;
  assertEquals(await failure(MSG_DO.call(remote)("forget")), [
    "forgotten",
    `Cannot call MSG_DO: ${task} went on to its next message without a reply`,
  ]);
  const deferred = assertRejects(() => MSG_DO.call(remote, { timeout: 500 })("defer"), TimeoutError);
  assertEquals(await MSG_SUM.call(remote)(1), 1);
  await deferred;
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

test("MSG.call() rejects as soon as the callee finishes, with what it failed with: Failure", async () => {
  const [a, b] = await nodes(2);
  const [failing, killed] = [servant(), servant()];
  failing.join().catch(() => {});
  await a.cluster.register("failing", failing);
  await a.cluster.register("killed", killed);
  const error = await assertRejects(
    async () => MSG_DO.call((await b.cluster.lookup("failing"))!)("throw"),
    CallError,
  );
  assertEquals([error.reason, `${error.cause}`], ["finished", "TypeError: thrown"]);
  const call = failure(MSG_DO.call((await b.cluster.lookup("killed"))!)("defer"));
  await Tasklet.sleep(1);
  await killed.kill();
  assertEquals(await call, ["finished", `Cannot call MSG_DO: ${killed} has finished`]);
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

test("MSG.call() to a name that nobody has rejects at once: Failure", async () => {
  const [a, b] = await nodes(2);
  const registration = await a.cluster.register("x", servant());
  const remote = (await b.cluster.lookup("x"))!;
  await registration.unregister();
  assertEquals(await failure(MSG_SUM.call(remote)(1)), [
    "finished",
    "Cannot call MSG_SUM: nobody has the name x",
  ]);
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

test("MSG.call() rejects at once when the connection is lost, and while it is: Failure", async () => {
  const [a, b] = await nodes(2);
  await a.cluster.register("x", servant());
  const remote = (await b.cluster.lookup("x"))!;
  a.cluster.group("group").join(servant());
  await a.cluster.flush();
  const group = b.cluster.group("group");
  a.line.isSilent = true;
  const calls = [
    failure(MSG_SUM.call(remote)(1)),
    failure(MSG_SUM.call(group)(1)),
    failure(b.cluster.lookup("x")),
  ];
  await Tasklet.yield();
  b.line.disconnect();
  calls.push(failure(MSG_SUM.call(remote)(1)), failure(MSG_SUM.call(group)(1)));
  const told = await Promise.all(calls);
  const text = "Cannot call MSG_SUM: the connection to the cluster is lost";
  assertEquals(told.map(([reason]) => reason), Array(5).fill("disconnected"));
  assertEquals([told[0]![1], told[1]![1], told[3]![1]], [text, text, text]);
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

test("MSG.call() rejects when the node of the callee goes: with a good-bye, by a word of the bus, in silence", async () => {
  const [a, b, c, d] = await nodes(4);
  const calls: Promise<[reason: string, text: string, time: number]>[] = [];
  for (const [i, { cluster }] of [a, b, c].entries()) {
    await cluster.register(`x${i}`, servant());
    const call = failure(MSG_DO.call((await d.cluster.lookup(`x${i}`))!)("defer"));
    calls.push(call.then(([reason, text]) => [reason, text, now()]));
  }
  await Tasklet.sleep(HEARTBEAT);
  const start = now();
  await a.cluster.close({ grace: 0 });
  b.line.die();
  c.line.isSilent = true;
  const ends = await Promise.all(calls);
  const within = [1, 2.5 * HEARTBEAT, 5 * HEARTBEAT];
  for (const [i, { cluster }] of [a, b, c].entries()) {
    const [reason, text, time] = ends[i]!;
    assertEquals([reason, text], ["finished", `Cannot call MSG_DO: its node has gone: ${cluster.node}`]);
    assert(time - start <= within[i]!, `after ${time - start} ms`);
  }
  for (const { cluster } of [b, c, d]) await cluster.close();
});

test("MSG.call() rejects if the message or its answer was lost on the way: Failure", async () => {
  const [a, b] = await nodes(2);
  const log: string[] = [];
  const task = servant(log);
  await a.cluster.register("x", task);
  await a.cluster.register("pool", task, { pool: true });
  const remote = (await b.cluster.lookup("x"))!;
  const pool = (await b.cluster.lookup("pool"))!;
  const lostSum = ["disconnected", "Cannot call MSG_SUM: the call or its answer was lost"];
  const lostDo = ["disconnected", "Cannot call MSG_DO: the call or its answer was lost"];
  a.line.isSilent = true; // for a moment
  const request = failure(MSG_SUM.call(remote)(1));
  await b.cluster.flush();
  a.line.isSilent = false;
  assertEquals(await request, lostSum);
  const deferred = Promise.all([failure(MSG_DO.call(remote)("defer")), failure(MSG_DO.call(pool)("defer"))]);
  await Tasklet.sleep(1);
  a.line.isSilent = true;
  await task.kill(); // answers that it has finished
  await a.cluster.flush();
  a.line.isSilent = false;
  assertEquals(await deferred, [lostDo, lostDo]);
  await b.cluster.register("pool", servant(), { pool: true });
  b.line.isSilent = true;
  const taken = failure(MSG_SUM.call((await b.cluster.lookup("pool"))!)(1));
  await b.cluster.flush();
  b.line.isSilent = false;
  assertEquals(await taken, ["disconnected", "Cannot call MSG_SUM: the call was lost"]);
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

test("MSG.call() ends by timeout, by signal and with its caller, and nothing of it is left", async () => {
  const [a, b] = await nodes(2);
  await a.cluster.register("x", servant());
  const remote = (await b.cluster.lookup("x"))!;
  await assertRejects(() => MSG_DO.call(remote, { timeout: 10 })("defer"), TimeoutError);
  const controller = new AbortController();
  const aborted = assertRejects(
    () => MSG_DO.call(remote, { signal: controller.signal })("defer"),
    Error,
    "stop",
  );
  controller.abort(new Error("stop"));
  await aborted;
  await assertRejects(() => MSG_DO.call(remote, { signal: controller.signal })("defer"), Error, "stop");
  const caller = Tasklet.new(() => MSG_DO.call(remote)("defer"))();
  await Tasklet.sleep(1);
  assertEquals(caller.waits?.describe(), "for the reply of x to MSG_DO");
  await caller.kill();
  assertEquals(await MSG_SUM.call(remote)(1), 1);
  const probes = () => b.line.published.filter(([, text]) => text.startsWith(`["probe"`)).length;
  await Tasklet.sleep(5 * HEARTBEAT);
  assertEquals(probes(), 0);
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

/* ------------------------------------------------ deadlocks ----------------------------------------------- */

/** A tasklet that, when told, calls the next of the names it is given with the rest of them, and replies with that. */
function link(cluster: Cluster<Any>, name: string): Tasklet<void> {
  return Tasklet.new(async function (this: Self) {
    for await (const msg of Tasklet.receive([MSG_DO])) {
      const [next, ...rest] = msg.args[0].split(" ");
      if (next === "") msg.reply("the end");
      else await forward(msg, next!, rest.join(" "));
    }
  }, { name })();

  async function forward(msg: MSG_DO, to: string, rest: string): Promise<void> {
    const remote = (await cluster.lookup(to))!;
    await MSG_DO.call(remote)(rest).then((value) => msg.reply(value), (error) => msg.fail(error));
  }
}

test("MSG.call() fails if the callee waits for the caller, through any number of nodes, with the way: Failure", async () => {
  const all = await nodes(3);
  const tasks = all.map(({ cluster }, i) => link(cluster, `t${i}`));
  for (const [i, { cluster }] of all.entries()) await cluster.register(`t${i}`, tasks[i]!);
  const remote = (await all[1]!.cluster.lookup("t0"))!;
  assertEquals(await MSG_DO.call(remote)("t1 t2 "), "the end");
  const start = now();
  const [, text] = await failure(MSG_DO.call(remote)("t1 t2 t0"));
  const names = all.map(({ cluster }, i) => `${tasks[i]}@${cluster.node}`);
  assertStringIncludes(text, `t0 waits for the caller: ${names.join(" → ")}`);
  assert(now() - start < 1, "at once");
  assertEquals(await MSG_DO.call(remote)("t1 t2 "), "the end"); // they go on
  for (const { cluster } of all) await cluster.close();
});

test("MSG.call(): of two who call each other at the same time, none waits for ever", async () => {
  const [a, b] = await nodes(2);
  await a.cluster.register("a", link(a.cluster, "a"));
  await b.cluster.register("b", link(b.cluster, "b"));
  const [toA, toB] = [(await b.cluster.lookup("a"))!, (await a.cluster.lookup("b"))!];
  const ends = await Promise.allSettled([MSG_DO.call(toA)("b "), MSG_DO.call(toB)("a ")]);
  assert(
    ends.some((end) => end.status === "rejected" && /deadlock|waits for the caller/.test(`${end.reason}`)),
  );
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

test("MSG.call() finds a circle that is closed by a call within one node", async () => {
  const [a, b] = await nodes(2);
  const near = link(a.cluster, "near");
  await a.cluster.register("near", near);
  await b.cluster.register("far", link(b.cluster, "far"));
  // near → far → other, which is on the node of near, and calls near there.
  const other = Tasklet.new(async () => {
    for await (const msg of Tasklet.receive([MSG_DO])) {
      await MSG_DO.call(near)("").then((value) => msg.reply(value), (error) => msg.fail(error));
    }
  }, { name: "other" })();
  await a.cluster.register("other", other);
  const [, text] = await failure(MSG_DO.call((await b.cluster.lookup("near"))!)("far other"));
  assertStringIncludes(text, "waits for the caller");
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

test("MSG.call(): no deadlock where a reply is deferred, or somebody waits for several things", async () => {
  const [a, b] = await nodes(2);
  // It leaves the answer to a worker, which takes its time, and meanwhile calls back.
  const boss = Tasklet.new(async () => {
    for await (const msg of Tasklet.receive([MSG_DO, MSG_SUM])) {
      if (msg.match(MSG_SUM)) msg.reply(1);
      else {
        msg.defer();
        Tasklet.later(4 * HEARTBEAT, () => msg.reply("done"))();
        await MSG_DO.call((await b.cluster.lookup("client"))!, { timeout: 2 * HEARTBEAT })("x").catch(
          () => {},
        );
      }
    }
  }, { name: "boss" })();
  await a.cluster.register("boss", boss);
  const client = Tasklet.new(async () => {
    const reply = await MSG_DO.call((await b.cluster.lookup("boss"))!)("work");
    const rest = [];
    for (const msg of Tasklet.pending()) rest.push(msg.type);
    return [reply, ...rest];
  }, { name: "client" })();
  await b.cluster.register("client", client);
  assertEquals(await client.join(), ["done", "MSG_DO"]);
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

test("MSG.call(): no deadlock where the callee waits for something else, too", async () => {
  const [a, b] = await nodes(2);
  const errors: string[] = [];
  const callee = Tasklet.new(async () => {
    const [msg] = [await Tasklet.receiveOne([MSG_DO])];
    const client = (await a.cluster.lookup("client"))!;
    const slept = Tasklet.sleep(3 * HEARTBEAT);
    const back = MSG_DO.call(client)("x").catch((error) => errors.push(error.reason));
    await Promise.race([slept, back]);
    msg.reply("done");
    await back;
  })();
  await a.cluster.register("callee", callee);
  const client = Tasklet.new(async () => MSG_DO.call((await b.cluster.lookup("callee"))!)("x"))();
  await b.cluster.register("client", client);
  assertEquals(await client.join(), "done");
  await callee.join();
  assertEquals(errors, ["finished"]); // as its callee has, and not because of a deadlock
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

/* -------------------------------------------------- groups ------------------------------------------------ */

test("ClusterGroup: every member everywhere gets a message once, in order, the very object on the own node: Sending", async () => {
  const all = await nodes(3);
  const logs: string[][] = [];
  for (const { cluster } of all) {
    for (let i = 0; i < 2; i++) {
      const log: string[] = [];
      logs.push(log);
      assert(cluster.group("room").join(servant(log)));
    }
    await cluster.flush();
  }
  const got: Message[] = [];
  const member = Tasklet.receiver((msg) => got.push(msg));
  all[0]!.cluster.group("room").join(member);
  const room = all[0]!.cluster.group("room");
  const texts = Array.from({ length: 200 }, (_, i) => `${i}`);
  for (const text of texts) assert(MSG_TEXT.send(room)(text));
  await Tasklet.sleep(1);
  assertEquals(logs, Array(6).fill(texts));
  assertEquals(
    got.map(({ args, sender }) => [args[0], sender]),
    texts.map((text) => [text, Tasklet.current()]),
  );
  assertEquals(all.map(({ cluster }) => cluster.group("room").size), [3, 2, 2]);
  for (const { cluster } of all) await cluster.close();
});

test("ClusterGroup.join() and leave() are for tasklets of this node, who leave also by finishing", async () => {
  const [a, b] = await nodes(2);
  const log: string[] = [];
  const task = servant(log);
  const room = a.cluster.group("room");
  assertEquals([room.join(task), room.join(task), room.has(task), room.size], [true, false, true, 1]);
  assertEquals([...room], [task]);
  await a.cluster.flush();
  MSG_TEXT.send(b.cluster.group("room"))("1");
  await b.cluster.flush();
  assertEquals([room.leave(task), room.leave(task), room.has(task), room.size], [true, false, false, 0]);
  await a.cluster.flush();
  MSG_TEXT.send(b.cluster.group("room"))("2");
  await b.cluster.flush();
  room.join(task);
  await a.cluster.flush();
  MSG_TEXT.send(b.cluster.group("room"))("3");
  await Tasklet.sleep(1);
  await task.kill();
  assertEquals([room.size, [...room], room.join(task), log], [0, [], false, ["1", "3"]]);
  const self = Tasklet.new(() => [room.join(), room.leave()])();
  assertEquals(await self.join(), [true, true]);
  await running.run(undefined, () => assertThrows(() => room.join(), Error, "no tasklet is running"));
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

test("ClusterGroup.elsewhere reaches the members on other nodes alone", async () => {
  const [a, b] = await nodes(2);
  const logs: string[][] = [[], []];
  a.cluster.group("room").join(servant(logs[0]));
  b.cluster.group("room").join(servant(logs[1]));
  await b.cluster.flush();
  assert(MSG_TEXT.send(a.cluster.group("room").elsewhere)("hi"));
  assertEquals(await MSG_SUM.call(a.cluster.group("room").elsewhere)(1, 2), 3);
  assertEquals(logs, [[], ["hi"]]);
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

test("ClusterGroup: without a connection, members on one node hear each other, and the sender is told: Without a connection", async () => {
  const [a, b] = await nodes(2);
  const logs: string[][] = [[], []];
  a.cluster.group("room").join(servant(logs[0]));
  b.cluster.group("room").join(servant(logs[1]));
  await b.cluster.flush();
  a.line.disconnect();
  assertEquals(MSG_TEXT.send(a.cluster.group("room"))("alone"), false);
  assertEquals(await MSG_SUM.call(a.cluster.group("room"))(1, 2), 3);
  assertEquals((await failure(MSG_SUM.call(a.cluster.group("room").elsewhere)(1)))[0], "disconnected");
  a.line.reconnect();
  assertEquals(MSG_TEXT.send(a.cluster.group("room"))("together"), true);
  await Tasklet.sleep(1);
  assertEquals(logs, [["alone", "together"], ["together"]]);
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

test("MSG.call() on a group: the first answer counts, be it a reply or a failure: Calling", async () => {
  const [a, b, c] = await nodes(3);
  const answering = (delay: number, answer: (msg: MSG_DO) => void) =>
    Tasklet.receiver<MSG_DO>((msg) => {
      msg.defer();
      Tasklet.later(delay, () => answer(msg))();
    });
  const room = a.cluster.group("room");
  room.join(answering(30, (msg) => msg.reply("a")));
  b.cluster.group("room").join(answering(20, (msg) => msg.reply("b")));
  await b.cluster.flush();
  assertEquals(await MSG_DO.call(room)("x"), "b");
  c.cluster.group("room").join(answering(10, (msg) => msg.fail(new RangeError("c"))));
  await c.cluster.flush();
  assertEquals(await failure(MSG_DO.call(room)("x")), ["remote", "Cannot call MSG_DO: RangeError: c"]);
  room.join(answering(0, (msg) => msg.fail(new RangeError("here"))));
  await assertRejects(() => MSG_DO.call(room)("x"), RangeError, "here");
  await Tasklet.sleep(100);
  for (const { cluster } of [a, b, c]) await cluster.close();
});

test("MSG.call() on a group fails when nobody is left who could answer, and at once if it has no members: Calling", async () => {
  const [a, b, c] = await nodes(3);
  assertEquals(await failure(MSG_DO.call(a.cluster.group("empty"))("x")), [
    "finished",
    "Cannot call MSG_DO: empty has no members",
  ]);
  const room = a.cluster.group("room");
  const tasks = [servant(), servant(), servant()];
  for (const [i, { cluster }] of [a, b, c].entries()) {
    cluster.group("room").join(tasks[i]!);
    await cluster.flush();
  }
  assertEquals((await failure(MSG_DO.call(room)("forget")))[0], "forgotten");
  const call = failure(MSG_DO.call(room)("defer"));
  await Tasklet.sleep(2000); // who has members has come forward
  await tasks[0]!.kill();
  b.line.die();
  await Tasklet.sleep(500);
  await tasks[2]!.kill();
  assertEquals((await call)[0], "finished");
  for (const { cluster } of [a, b, c]) await cluster.close();
});

test("MSG.call() on a group gives nodes a second to come forward, however long they may be silent", async () => {
  const bus = new MemoryBus();
  const [a, b] = [await node(bus, { heartbeat: 10_000 }), await node(bus, { heartbeat: 10_000 })];
  b.cluster.group("room").join(servant());
  await b.cluster.flush();
  const start = now();
  assertEquals((await failure(MSG_DO.call(a.cluster.group("room"))("forget")))[0], "forgotten");
  assertEquals(Math.round(now() - start), 1000);
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

test("MSG.call() on a group, once disconnected, is up to the members of this node", async () => {
  const [a, b] = await nodes(2);
  const task = servant();
  a.cluster.group("room").join(task);
  b.cluster.group("room").join(servant());
  await b.cluster.flush();
  const call = failure(MSG_DO.call(a.cluster.group("room"))("defer"));
  await Tasklet.sleep(1);
  a.line.disconnect();
  await Tasklet.sleep(1);
  const start = now();
  await task.kill();
  assertEquals([(await call)[0], now() - start], ["finished", 0]);
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

test("MSG.call() on a group ends by timeout and with its caller, at all members of this node, too", async () => {
  const [a, b] = await nodes(2);
  const got: MSG_DO[] = [];
  const room = a.cluster.group("room");
  const member = Tasklet.receiver<MSG_DO>((msg) => got.push(msg.defer()));
  room.join(member);
  await assertRejects(() => MSG_DO.call(room, { timeout: 10 })("x"), TimeoutError);
  const caller = Tasklet.new(() => MSG_DO.call(room)("x"))();
  await Tasklet.sleep(1);
  await caller.kill();
  assertEquals(got.map((msg) => msg.reply(1)), [false, false]);
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

/* -------------------------------------------- Cluster.monitor() ------------------------------------------- */

/** A tasklet that monitors a name and returns what it is told. */
function watcher({ cluster }: Node, name: string): Tasklet<[reason: string | undefined, text: string]> {
  return Tasklet.new(async () => {
    const remote = (await cluster.lookup(name))!;
    cluster.monitor(remote);
    const [down, error] = (await Tasklet.receiveOne([MSG_DOWN])).args;
    assert(down as unknown === remote);
    const { reason, message = "" } = (error ?? {}) as Partial<CallError>;
    return [reason, message];
  }, { name: "watcher", mailbox: { capacity: 1 } })() as Tasklet<[string | undefined, string]>;
}

test("Cluster.monitor() tells why a name has lost its owner, on its own node and elsewhere", async () => {
  const [a, b] = await nodes(2);
  const log: unknown[] = [];
  const ends: [name: string, end: (task: Tasklet<void>) => Promise<unknown>][] = [
    ["killed", (task) => task.kill()],
    ["failed", (task) => (MSG_DO.send(task)("throw"), task.join().catch(() => {}))],
  ];
  for (const [name, end] of ends) {
    const task = servant([], "task");
    await a.cluster.register(name, task);
    const watchers = [watcher(a, name), watcher(b, name)];
    await Tasklet.sleep(1);
    await end(task);
    for (const each of watchers) log.push((await each.join()).map((text) => text?.replace(/#\d+/, "")));
  }
  const registration = await a.cluster.register("free", servant());
  const watching = watcher(b, "free");
  await Tasklet.sleep(1);
  await registration.unregister();
  log.push(await watching.join());
  const killed = ["remote", "The owner of killed has failed: TaskletExit: task was killed"];
  const failed = ["remote", "The owner of failed has failed: TypeError: thrown"];
  assertEquals(log, [killed, killed, failed, failed, [undefined, ""]]);
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

test("Cluster.monitor() tells when the node of the owner has gone, and at once if nobody has the name", async () => {
  const [a, b, c] = await nodes(3);
  await a.cluster.register("dies", servant());
  await b.cluster.register("silent", servant());
  const watchers = [watcher(c, "dies"), watcher(c, "silent")];
  await Tasklet.sleep(HEARTBEAT);
  const dies = await c.cluster.lookup("dies");
  a.line.die();
  b.line.isSilent = true;
  assertEquals(await Promise.all(watchers.map((each) => each.join())), [
    ["finished", `The node of dies has gone: ${a.cluster.node}`],
    ["finished", `The node of silent has gone: ${b.cluster.node}`],
  ]);
  c.cluster.monitor(dies!);
  const [{ args }] = [await Tasklet.receiveOne([MSG_DOWN])];
  assertEquals((args[1] as CallError).message, "Nobody has the name dies");
  for (const { cluster } of [a, b, c]) await cluster.close();
});

test("Cluster.monitor() of a pool tells when the last has gone", async () => {
  const [a, b, c] = await nodes(3);
  const tasks = [servant(), servant()];
  await a.cluster.register("pool", tasks[0]!, { pool: true });
  await b.cluster.register("pool", tasks[1]!, { pool: true });
  const watching = watcher(c, "pool");
  await Tasklet.sleep(1);
  await tasks[0]!.kill();
  await Tasklet.sleep(10 * HEARTBEAT);
  assertEquals(watching.alive, true);
  b.line.die();
  assertEquals((await watching.join())[0], "finished");
  for (const { cluster } of [a, b, c]) await cluster.close();
});

test("Cluster.monitor() misses nothing that happened while the connection was lost", async () => {
  const [a, b] = await nodes(2);
  const tasks = [servant(), servant(), servant()];
  for (const [i, task] of tasks.entries()) await a.cluster.register(`x${i}`, task);
  const watchers = tasks.map((_, i) => watcher(b, `x${i}`));
  await Tasklet.sleep(1);
  b.line.disconnect();
  await tasks[0]!.kill();
  b.line.reconnect();
  assertEquals(await watchers[0]!.join(), ["finished", "Nobody has the name x0"]);
  a.line.disconnect();
  await tasks[1]!.kill();
  a.line.reconnect();
  assertEquals((await watchers[1]!.join())[0], "remote");
  await Tasklet.sleep(10 * HEARTBEAT);
  assertEquals(watchers[2]!.alive, true); // nothing has happened to it
  await Promise.all([a.cluster.close(), b.cluster.close()]);
  await watchers[2]!.kill();
});

test("Cluster.monitor() takes a class of one's own, and ends when it is disposed", async () => {
  class MSG_GONE extends Message("MSG_GONE")<[remote: unknown, error: unknown]> {}
  const [a, b] = await nodes(2);
  const task = servant();
  await a.cluster.register("x", task);
  const remote = (await b.cluster.lookup("x"))!;
  b.cluster.monitor(remote, MSG_GONE);
  b.cluster.monitor(remote)[Symbol.dispose]();
  await Tasklet.sleep(1);
  await task.kill();
  assertEquals((await Tasklet.receiveOne()).type, "MSG_GONE");
  assertEquals(Tasklet.current()!.mailbox.length, 0);
  await running.run(
    undefined,
    () => assertThrows(() => b.cluster.monitor(remote), Error, "no tasklet is running"),
  );
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

/* --------------------------------------------- Cluster.events() ------------------------------------------- */

test("Cluster.events() tells of nodes and of the connection, until the cluster is closed", async () => {
  const bus = new MemoryBus();
  const [a] = await nodes(1, bus);
  const log: string[] = [];
  const listener = Tasklet.new(async () => {
    for await (const event of a.cluster.events()) {
      log.push(`${event.type} ${"node" in event ? event.node : ""}`);
    }
  })();
  await Tasklet.sleep(1);
  const b = await node(bus);
  await Tasklet.sleep(1);
  assertEquals([a.cluster.nodes, b.cluster.nodes], [[b.cluster.node], [a.cluster.node]]);
  await b.cluster.close();
  a.line.disconnect();
  a.line.reconnect();
  await Tasklet.sleep(1);
  await a.cluster.close();
  await listener.join();
  assertEquals(log, [`up ${b.cluster.node}`, `down ${b.cluster.node}`, "disconnected ", "connected "]);
  assertEquals((await a.cluster.events().next()).done, true);
});

test("Cluster.events() keeps the latest thousand for who does not keep up", async () => {
  const [a] = await nodes(1);
  const events = a.cluster.events();
  for (let i = 0; i < 600; i++) {
    a.line.disconnect();
    a.line.reconnect();
  }
  await a.cluster.close();
  let count = 0;
  for await (const _ of events) count++;
  assertEquals(count, 1000);
});

/* --------------------------------------------- Cluster.close() -------------------------------------------- */

test("Cluster.close() gives names back, leaves groups, lets calls be answered, and says good-bye: Closing", async () => {
  const [a, b] = await nodes(2);
  const log: string[] = [];
  const answers: (() => void)[] = [];
  const task = Tasklet.receiver<MSG_DO>((msg) =>
    answers.push(() => msg.defer().reply("late")) && msg.defer()
  );
  await a.cluster.register("x", task);
  a.cluster.group("room").join(servant(log));
  await a.cluster.flush();
  const remote = (await b.cluster.lookup("x"))!;
  const call = MSG_DO.call(remote)("x");
  await Tasklet.sleep(1);
  const closed = a.cluster.close();
  await Tasklet.sleep(1);
  assertEquals(await b.cluster.lookup("x"), undefined);
  assertEquals((await failure(MSG_DO.call(b.cluster.group("room"))("x")))[0], "finished");
  assertThrows(() => a.cluster.register("y", task), Error, "the cluster is closed");
  answers[0]!();
  assertEquals(await call, "late");
  const start = now();
  await closed;
  assert(now() - start < 10, "and not after the grace");
  await a.cluster.close(); // harmless
  assertEquals([a.line.isUp, b.cluster.nodes], [false, []]);
  await b.cluster.close();
});

test("Cluster.close() does not wait for answers beyond the grace, and fails calls that go out", async () => {
  const [a, b] = await nodes(2);
  await a.cluster.register("x", servant());
  await b.cluster.register("y", servant());
  const [toX, toY] = [(await b.cluster.lookup("x"))!, (await a.cluster.lookup("y"))!];
  const calls = [failure(MSG_DO.call(toX)("defer")), failure(MSG_DO.call(toY)("defer"))];
  await Tasklet.sleep(1);
  await a.cluster.close({ grace: 100 });
  assertEquals((await Promise.all(calls)).map(([reason]) => reason), ["finished", "disconnected"]);
  assertEquals(MSG_TEXT.send(toY)("late"), false);
  await b.cluster.close();
});

test("Cluster: it is closed when the tasklet that has connected finishes, and when disposed: Closing", async () => {
  const bus = new MemoryBus();
  const owner = Tasklet.new(() => node(bus))();
  const { line } = await owner.join();
  await Tasklet.sleep(1);
  assertEquals(line.isUp, false);
  {
    await using cluster = (await node(bus)).cluster;
    assert(cluster.isConnected);
  }
  assertEquals(bus.subscriptions.size, 0);
});

/* ----------------------------------------------- the border ----------------------------------------------- */

test("Cluster: what comes and is no message is answered, counted and dropped: Border", async () => {
  const bus = new MemoryBus();
  const [a] = await nodes(1, bus);
  const log: string[] = [];
  await a.cluster.register("x", servant(log));
  a.cluster.group("g").join(servant(log));
  await a.cluster.flush();
  const stranger = await bus.connect();
  const answers: string[] = [];
  stranger.subscribe("answers", ({ payload }) => answers.push(new TextDecoder().decode(payload)));
  const payloads: [payload: string, counted: string][] = [
    ["no JSON", "malformed"],
    [`{"MSG_TEXT":["hi"]}`, "malformed"],
    [`["MSG_TEXT","hi",""]`, "malformed"],
    [`["MSG_DO",["echo",{"__proto__":{"isAdmin":true}}],""]`, "malformed"],
    [`["MSG_OTHER",[],""]`, "unknown"],
    [`["__proto__",[],""]`, "unknown"],
    [`["MSG_SHORT",["too long"],""]`, "invalid"],
    [`["MSG_TEXT",["${"x".repeat(10 * 1024 * 1024)}"],""]`, "oversized"],
  ];
  const before = a.cluster.stats;
  for (const subject of ["concurrence.name.x", "concurrence.group.g"]) {
    for (const [payload] of payloads) {
      stranger.publish(subject, new TextEncoder().encode(payload));
      stranger.publish(subject, new TextEncoder().encode(payload), { reply: "answers" });
    }
  }
  await Tasklet.sleep(1);
  const after = a.cluster.stats;
  for (const kind of ["malformed", "unknown", "invalid", "oversized"] as const) {
    const expected = 4 * payloads.filter(([, counted]) => counted === kind).length;
    assertEquals(after[kind] - before[kind], expected, kind);
  }
  assertEquals(answers.length, 2 * payloads.length);
  for (const answer of answers) assertEquals(answer.slice(0, 16), `["none","refused`, answer);
  assertEquals([log, after.received, ({} as { isAdmin?: boolean }).isAdmin], [[], 0, undefined]);
  stranger.publish("concurrence.name.x", new TextEncoder().encode(`["MSG_SHORT",["fits"]]`));
  await stranger.flush();
  await Tasklet.sleep(1);
  assertEquals(log, ["fits"]);
  await a.cluster.close();
});

test("Cluster: nonsense on the subjects between nodes is counted, and changes nothing: Border", async () => {
  const bus = new MemoryBus();
  const [a, b] = await nodes(2, bus);
  const task = servant();
  await a.cluster.register("x", task);
  const remote = (await b.cluster.lookup("x"))!;
  const watching = watcher(b, "x");
  const call = MSG_DO.call(remote)("defer");
  call.catch(() => {});
  await Tasklet.sleep(1);
  const stranger = await bus.connect();
  const nonsense = [
    "",
    "no JSON",
    "null",
    "[]",
    `["alive"]`,
    `["alive",""]`,
    `["alive",{}]`,
    `["bye",["x"]]`,
    `["gone","NO ID"]`,
    `["claim"]`,
    `["claim","abc","now",false]`,
    `["held","abc",null,true]`,
    `["probe"]`,
    `["probe","concurrence.name.x","concurrence.name.x",[]]`,
    `["probe","concurrence.reply.a.1","concurrence.reply.a.1",[1]]`,
    `["probe","concurrence.reply.a.1","concurrence.reply.a.1",[${Array(100).fill('"x"')}]]`,
    `[{"__proto__":1}]`,
    `["${"x".repeat(2_000_000)}"]`,
  ];
  const subjects = ["alive", "claim.x", "gone.x", `node.${a.cluster.node}`, `node.${b.cluster.node}`];
  for (const subject of subjects) {
    for (const payload of nonsense) {
      stranger.publish(`concurrence.${subject}`, new TextEncoder().encode(payload));
      stranger.publish(`concurrence.${subject}`, new TextEncoder().encode(payload), {
        reply: "concurrence.name.x",
      });
    }
  }
  await stranger.flush();
  await Tasklet.sleep(1);
  assertEquals([task.alive, watching.alive, (await b.cluster.lookup("x"))!.node], [
    true,
    true,
    a.cluster.node,
  ]);
  assertEquals([a.cluster.nodes, b.cluster.nodes], [[b.cluster.node], [a.cluster.node]]);
  assert(a.cluster.stats.malformed > 50 && a.cluster.stats.oversized > 3, JSON.stringify(a.cluster.stats));
  await watching.kill();
  await Promise.all([a.cluster.close({ grace: 0 }), b.cluster.close()]);
});

test("Cluster: an answer that cannot be read ends the call, and one to nobody is ignored", async () => {
  const bus = new MemoryBus();
  const [a] = await nodes(1, bus);
  const stranger = await bus.connect();
  const answers = ["no JSON", `["value?"]`, `["none","constructor","text","abc"]`];
  const replies: string[] = [];
  stranger.subscribe("concurrence.name.x", ({ payload, reply }) => {
    const isLookup = new TextDecoder().decode(payload) === "[0]";
    replies.push(reply);
    stranger.publish(reply, new TextEncoder().encode(isLookup ? `["at","abc",false]` : answers.shift()!));
  });
  const remote = (await a.cluster.lookup("x"))!;
  for (let i = 0; i < 3; i++) {
    assertEquals(await failure(MSG_SUM.call(remote)(1)), [
      "remote",
      "Cannot call MSG_SUM: BorderError: the answer cannot be read",
    ]);
  }
  assertEquals(a.cluster.stats.malformed, 3);
  stranger.publish(replies[0]!, new TextEncoder().encode(`["value",5]`));
  await stranger.flush();
  assertEquals(new Set(replies).size, 4);
  await a.cluster.close();
});

test("Cluster: a codec of one's own is used for everything", async () => {
  const bus = new MemoryBus();
  const reversed = {
    encode: (value: unknown) => new TextEncoder().encode(JSON.stringify(value)).reverse(),
    decode: (payload: Uint8Array) => JSON.parse(new TextDecoder().decode(payload.slice().reverse())),
  };
  const [a, b] = [await node(bus, { codec: reversed }), await node(bus, { codec: reversed })];
  await a.cluster.register("x", servant());
  assertEquals(await MSG_SUM.call((await b.cluster.lookup("x"))!)(1, 2), 3);
  assert(b.line.published.every(([, text]) => text.startsWith("]") && text.endsWith("[")));
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});

/* ------------------------------------------------- tracing ------------------------------------------------ */

test("Cluster: the trace goes along in headers, and nothing else does", async () => {
  const bus = new MemoryBus();
  const traces: unknown[] = [];
  const tracer = (name: string) => ({
    inject: () => ({ traceparent: `00-${name}-1`, tracestate: "a=b", other: "x" }),
    extract: (message: Message, headers: Readonly<Record<string, string>>) =>
      traces.push([name, message.type, message.args, headers]),
  });
  const [a, b] = [await node(bus, { tracer: tracer("a") }), await node(bus, { tracer: tracer("b") })];
  await a.cluster.register("x", servant());
  a.cluster.group("g").join(servant());
  await a.cluster.flush();
  const remote = (await b.cluster.lookup("x"))!;
  MSG_TEXT.send(remote)("hi");
  await MSG_SUM.call(remote)(1);
  MSG_TEXT.send(b.cluster.group("g"))("all");
  await b.cluster.flush();
  const headers = { traceparent: "00-b-1", tracestate: "a=b" };
  assertEquals(traces, [
    ["a", "MSG_TEXT", ["hi"], headers],
    ["a", "MSG_SUM", [1], headers],
    ["a", "MSG_TEXT", ["all"], headers],
  ]);
  await Promise.all([a.cluster.close(), b.cluster.close()]);
});
