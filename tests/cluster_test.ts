import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import type { BusListener } from "../bus.ts";
import { Cluster, type ClusterOptions } from "../cluster.ts";
import type { Message } from "../message.ts";
import { useReporter } from "../report.ts";
import { Tasklet, TimeoutError } from "../tasklet.ts";
import { now } from "../timer.ts";
import type { Line } from "./bus.ts";
import {
  close,
  failure,
  HEARTBEAT,
  MESSAGES,
  MSG_DO,
  MSG_SUM,
  MSG_TEXT,
  node,
  payload,
  servant,
  test,
  watcher,
} from "./nodes.ts";

/* ------------------------------------------- Cluster.connect() ------------------------------------------- */

test(
  "Cluster.over() rejects with what the bus does, and with TimeoutError if it takes too long",
  0,
  async (_, bus) => {
    const options = { messages: MESSAGES };
    await assertRejects(
      () => Cluster.over(() => Promise.reject(new Error("no way")), options),
      Error,
      "no way",
    );
    const late = Promise.withResolvers<Line>();
    await assertRejects(() => Cluster.over(() => late.promise, options, 50), TimeoutError);
    const line = await bus.connect();
    late.resolve(line);
    await Tasklet.yield();
    await Tasklet.yield();
    assertEquals(line.isUp, false); // nobody has it, so it is closed
  },
);

test("Cluster.over() by a tasklet that was killed before opens nothing", 0, async (_, bus) => {
  let opened = 0;
  const task: Tasklet<void> = Tasklet.new(async () => {
    void task.kill();
    await Cluster.over((_, listener) => (opened++, bus.connect(listener)), { messages: MESSAGES });
  })();
  await task.join().catch(() => {});
  assertEquals(opened, 0);
});

test("Cluster.over() refuses options that make no sense", 0, async (_, bus) => {
  const wrong: Partial<ClusterOptions<typeof MSG_TEXT>>[] = [
    { heartbeat: -1 },
    { heartbeat: 0 },
    { heartbeat: 100, deadAfter: 199 },
    { deadAfter: NaN },
    { heartbeat: Infinity },
    { deadAfter: Infinity },
    { maxPayload: 8191 },
    { maxPayload: NaN },
    { prefix: "" },
    { messages: [MSG_TEXT, MSG_TEXT] },
  ];
  for (const options of wrong) {
    const error = await assertRejects(() =>
      Cluster.over(() => bus.connect(), { messages: [MSG_TEXT], ...options })
    );
    assert(error instanceof RangeError || error instanceof TypeError, `${error}`);
  }
});

test("Cluster: clusters with another prefix do not hear each other", 0, async (_, bus) => {
  const [a, b] = [await node(bus), await node(bus, { prefix: "other" })];
  await a.cluster.register("x", servant());
  await b.cluster.register("x", servant());
  assertEquals([a.cluster.nodes, b.cluster.nodes], [[], []]);
  await close([a, b]);
});

/* -------------------------------------------- Cluster.events() ------------------------------------------- */

test(
  "Cluster.events() tells of nodes and of the connection, until the cluster is closed",
  1,
  async ([a], bus) => {
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
  },
);

test("Cluster.events() keeps the latest thousand for who does not keep up", 1, async ([a]) => {
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

/* -------------------------------------------- Cluster.close() -------------------------------------------- */

test(
  "Cluster.close() gives names back, leaves groups, lets calls be answered, and says good-bye: Closing",
  2,
  async ([a, b]) => {
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
    await assertRejects(() => a.cluster.register("y", task), Error, "the cluster is closed");
    answers[0]!();
    assertEquals(await call, "late");
    const start = now();
    await closed;
    assert(now() - start < 10, "and not after the grace");
    await a.cluster.close(); // harmless
    assertEquals([a.line.isUp, b.cluster.nodes], [false, []]);
  },
);

test(
  "Cluster.close() does not wait for answers beyond the grace, and fails calls that go out",
  2,
  async ([a, b]) => {
    await a.cluster.register("x", servant());
    await b.cluster.register("y", servant());
    const [toX, toY] = [(await b.cluster.lookup("x"))!, (await a.cluster.lookup("y"))!];
    const calls = [failure(MSG_DO.call(toX)("defer")), failure(MSG_DO.call(toY)("defer"))];
    await Tasklet.sleep(1);
    await a.cluster.close({ grace: 100 });
    assertEquals((await Promise.all(calls)).map(([reason]) => reason), ["finished", "disconnected"]);
    assertEquals(MSG_TEXT.send(toY)("late"), false);
  },
);

test("Cluster.close() ends loops over events and rejects, if the bus fails to close", 0, async (_, bus) => {
  const { cluster, line } = await node(bus);
  const end = line.close.bind(line);
  line.close = async () => {
    await end();
    throw new Error("on purpose");
  };
  const events = cluster.events();
  await assertRejects(() => cluster.close(), Error, "on purpose");
  assertEquals(await Array.fromAsync(events), []);
});

test(
  "Cluster: it is closed when the tasklet that has connected finishes, and when disposed: Closing",
  0,
  async (_, bus) => {
    const owner = Tasklet.new(() => node(bus))();
    const { line } = await owner.join();
    await Tasklet.sleep(1);
    assertEquals(line.isUp, false);
    {
      await using cluster = (await node(bus)).cluster;
      assert(cluster.isConnected);
    }
    assertEquals(bus.subscriptions.size, 0);
  },
);

/* ----------------------------------------------- the border ---------------------------------------------- */

test(
  "Cluster: what comes and is no message is answered, counted and dropped: Border",
  1,
  async ([a], bus) => {
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
  },
);

test(
  "Cluster: nonsense on the subjects between nodes is counted, and changes nothing: Border",
  2,
  async ([a, b], bus) => {
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
  },
);

test(
  "Cluster: an answer that cannot be read ends the call, and one to nobody is ignored",
  1,
  async ([a], bus) => {
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
  },
);

test("Cluster: a codec of one's own is used for everything", 0, async (_, bus) => {
  const reversed = {
    encode: (value: unknown) => new TextEncoder().encode(JSON.stringify(value)).reverse(),
    decode: (payload: Uint8Array) => JSON.parse(new TextDecoder().decode(payload.slice().reverse())),
  };
  const [a, b] = [await node(bus, { codec: reversed }), await node(bus, { codec: reversed })];
  await a.cluster.register("x", servant());
  assertEquals(await MSG_SUM.call((await b.cluster.lookup("x"))!)(1, 2), 3);
  assert(b.line.published.every(([, text]) => text.startsWith("]") && text.endsWith("[")));
  await close([a, b]);
});

test(
  "Cluster: who knows the form takes part: a call that names no node gets the answer and nothing else",
  1,
  async ([a], bus) => {
    const log: string[] = [];
    await a.cluster.register("x", servant(log));
    const stranger = await bus.connect();
    const answers: string[] = [];
    stranger.subscribe("answers", (delivery) => answers.push(new TextDecoder().decode(delivery.payload)));
    stranger.publish("concurrence.name.x", payload(["MSG_SUM", [1, 2]]), { reply: "answers" });
    stranger.publish("concurrence.name.x", payload(["MSG_SUM", [3, 4], ""]), { reply: "answers" });
    stranger.publish("concurrence.name.x", payload(["MSG_TEXT", ["hi"], ""])); // who wants an answer says where
    await stranger.flush();
    await Tasklet.sleep(1);
    const at = `["at","${a.cluster.node}",false]`;
    assertEquals([answers.toSorted(), log], [[at, `["value",3]`, `["value",7]`], ["hi"]]);
  },
);

test("Cluster: what does not fit through the bus is not sent, and stops nothing", 1, async ([a], bus) => {
  const narrow = async (_: string, listener: BusListener) =>
    Object.assign(await bus.connect(listener), { maxPayload: 1000 });
  const cluster = await Cluster.over(narrow, { messages: MESSAGES, heartbeat: HEARTBEAT });
  const task = Tasklet.new(async () => {
    await Tasklet.receiveOne();
    throw new Error("日".repeat(1000));
  })();
  task.join().catch(() => {});
  await cluster.register("x", task);
  const watching = watcher(a, "x");
  const call = failure(MSG_DO.call((await a.cluster.lookup("x"))!)("x"));
  assertStringIncludes((await call)[1], "bytes are more than the 1000 allowed");
  assertEquals((await watching.join())[0], "finished");
  assertEquals(a.cluster.nodes, [cluster.node]); // it still says that it is alive
  await cluster.close();
});

/* ------------------------------------------------ tracing ------------------------------------------------ */

test("Cluster: the trace goes along in headers, and nothing else does", 0, async (_, bus) => {
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
  await close([a, b]);
});

test("Cluster: tracing that fails is reported, and stops no message", 0, async (_, bus) => {
  const reports: unknown[] = [];
  using _reporter = useReporter((what, error) => reports.push([what, (error as Error).message]));
  const fail = (): never => {
    throw new Error("on purpose");
  };
  const good = { inject: () => ({ traceparent: "x" }), extract: () => {} };
  const [a, b] = [
    await node(bus, { tracer: { inject: fail, extract: fail } }),
    await node(bus, { tracer: good }),
  ];
  const log: string[] = [];
  await a.cluster.register("a", servant(log));
  await b.cluster.register("b", servant(log));
  MSG_TEXT.send((await a.cluster.lookup("b"))!)("there");
  MSG_TEXT.send((await b.cluster.lookup("a"))!)("back");
  await Tasklet.sleep(1);
  assertEquals(log, ["there", "back"]);
  assertEquals(reports, [
    ["The trace of MSG_TEXT could not be taken along:", "on purpose"],
    ["The trace of MSG_TEXT could not be taken up:", "on purpose"],
  ]);
  await close([a, b]);
});
