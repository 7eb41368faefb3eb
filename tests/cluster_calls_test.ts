import { assert, assertEquals, assertInstanceOf, assertRejects, assertStringIncludes } from "@std/assert";
import type { Cluster } from "../cluster.ts";
import { CallError, Message } from "../message.ts";
import { useReporter } from "../report.ts";
import { type Self, Tasklet, TimeoutError } from "../tasklet.ts";
import { now } from "../timer.ts";
import { type Any, failure, HEARTBEAT, MSG_DO, MSG_SUM, MSG_TEXT, payload, servant, test } from "./nodes.ts";

/* ------------------------------------------------ sending ------------------------------------------------ */

test(
  "MSG.send() to a remote tasklet keeps the order, and brings each message once: Order",
  2,
  async ([a, b]) => {
    const log: string[] = [];
    await a.cluster.register("x", servant(log));
    const remote = (await b.cluster.lookup("x"))!;
    const texts = Array.from({ length: 1000 }, (_, i) => `${i}`);
    for (const text of texts) assert(MSG_TEXT.send(remote)(text));
    await MSG_SUM.call(remote)(); // behind all of them
    assertEquals(log, texts);
    assertEquals([b.cluster.stats.sent, a.cluster.stats.received], [1001, 1001]);
  },
);

test(
  "MSG.send() to a remote tasklet is false if it is known not to arrive, and counted: At most once",
  2,
  async ([a, b]) => {
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
  },
);

test("A message from elsewhere has no sender, whoever is running there", 2, async ([a, b]) => {
  await a.cluster.register("x", servant());
  assertEquals(await MSG_DO.call((await b.cluster.lookup("x"))!)("sender"), "nobody");
  assertEquals(await MSG_DO.call((await a.cluster.lookup("x"))!)("sender"), "somebody");
});

test(
  "A mailbox that is full elsewhere refuses: a send is counted there, a call rejects: Failure",
  2,
  async ([a, b]) => {
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
  },
);

/* ------------------------------------------------ calling ------------------------------------------------ */

test("MSG.call() on a remote tasklet brings values as JSON has them, and undefined", 2, async ([a, b]) => {
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
});

test(
  "MSG.call() rejects with the callee's error: name and text, and never a stack of there: Failure",
  2,
  async ([a, b]) => {
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
  },
);

test(
  "MSG.call() rejects if the callee forgets the reply, and waits if it defers it: Failure",
  2,
  async ([a, b]) => {
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
  },
);

test(
  "MSG.call() rejects as soon as the callee finishes, with what it failed with: Failure",
  2,
  async ([a, b]) => {
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
  },
);

test("MSG.call() to a name that nobody has rejects at once: Failure", 2, async ([a, b]) => {
  const registration = await a.cluster.register("x", servant());
  const remote = (await b.cluster.lookup("x"))!;
  await registration.unregister();
  assertEquals(await failure(MSG_SUM.call(remote)(1)), [
    "finished",
    "Cannot call MSG_SUM: nobody has the name x",
  ]);
});

test(
  "MSG.call() rejects at once when the connection is lost, and while it is: Failure",
  2,
  async ([a, b]) => {
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
  },
);

test(
  "MSG.call() rejects when the node of the callee goes: with a good-bye, by a word of the bus, in silence",
  4,
  async ([a, b, c, d]) => {
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
  },
);

test("MSG.call() rejects if the message or its answer was lost on the way: Failure", 2, async ([a, b]) => {
  const log: string[] = [];
  const task = servant(log);
  await a.cluster.register("x", task);
  await a.cluster.register("pool", task, { pool: true });
  const remote = (await b.cluster.lookup("x"))!;
  const pool = (await b.cluster.lookup("pool"))!;
  const lostSum = ["disconnected", "Cannot call MSG_SUM: the call or its answer was lost"];
  const lostDo = ["disconnected", "Cannot call MSG_DO: the call or its answer was lost"];
  a.line.isSilent = true; // for a moment
  const start = now();
  const request = failure(MSG_SUM.call(remote)(1));
  await b.cluster.flush();
  a.line.isSilent = false;
  assertEquals(await request, lostSum);
  assert(now() - start <= 2 * HEARTBEAT);
  const deferred = Promise.all([failure(MSG_DO.call(remote)("defer")), failure(MSG_DO.call(pool)("defer"))]);
  await Tasklet.sleep(1);
  a.line.isSilent = true;
  await task.kill(); // answers that it has finished
  await a.cluster.flush();
  a.line.isSilent = false;
  assertEquals(await deferred, [lostDo, lostDo]);
  await b.cluster.register("pool", servant(), { pool: true });
  b.line.isSilent = true;
  const later = now();
  const taken = failure(MSG_SUM.call((await b.cluster.lookup("pool"))!)(1));
  await b.cluster.flush();
  b.line.isSilent = false;
  assertEquals(await taken, ["disconnected", "Cannot call MSG_SUM: the call was lost"]);
  assert(now() - later <= 5 * HEARTBEAT, "when a node would count as gone");
});

test(
  "MSG.call() ends by timeout, by signal and with its caller, and nothing of it is left",
  2,
  async ([a, b]) => {
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
  },
);

test(
  "Calls that nobody answers do not pile up without a bound: what is more is refused",
  1,
  async ([a], bus) => {
    await a.cluster.register("x", servant());
    const stranger = await bus.connect();
    const call = (count: number, reply: string) => {
      for (let i = 0; i < count; i++) {
        stranger.publish("concurrence.name.x", payload(["MSG_DO", ["defer"]]), { reply: `${reply}.${i}` });
      }
      return stranger.flush();
    };
    const answers: string[] = [];
    stranger.subscribe("answers.*", (delivery) => answers.push(new TextDecoder().decode(delivery.payload)));
    await call(100_000, "nowhere");
    await call(2, "answers");
    await stranger.flush();
    const refused = `["none","refused","too many calls are open there","${a.cluster.node}"]`;
    assertEquals([answers, a.cluster.stats.refused], [[refused, refused], 2]);
  },
);

/* ----------------------------------------------- deadlocks ----------------------------------------------- */

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

test(
  "MSG.call() fails if the callee waits for the caller, through any number of nodes, with the way: Failure",
  3,
  async (all) => {
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
  },
);

test("MSG.call(): of two who call each other at the same time, none waits for ever", 2, async ([a, b]) => {
  await a.cluster.register("a", link(a.cluster, "a"));
  await b.cluster.register("b", link(b.cluster, "b"));
  const [toA, toB] = [(await b.cluster.lookup("a"))!, (await a.cluster.lookup("b"))!];
  const ends = await Promise.allSettled([MSG_DO.call(toA)("b "), MSG_DO.call(toB)("a ")]);
  assert(
    ends.some((end) => end.status === "rejected" && /deadlock|waits for the caller/.test(`${end.reason}`)),
  );
});

test("MSG.call() finds a circle that is closed by a call within one node", 2, async ([a, b]) => {
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
});

test(
  "MSG.call(): no deadlock where a reply is deferred, or somebody waits for several things",
  2,
  async ([a, b]) => {
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
  },
);

test("MSG.call(): no deadlock where the callee waits for something else, too", 2, async ([a, b]) => {
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
});

test(
  "MSG.call(): a question after a call that has grown too big to be passed on is dropped",
  2,
  async ([a, b], bus) => {
    const callee = link(b.cluster, "x");
    await b.cluster.register("x", callee);
    await a.cluster.register("sink", servant());
    const call = MSG_DO.call((await a.cluster.lookup("x"))!)("sink defer");
    call.catch(() => {});
    await Tasklet.sleep(2.5 * HEARTBEAT);
    const probes = a.line.published.map(([, text]) => JSON.parse(text)).filter(([kind]) => kind === "probe");
    const reports: unknown[] = [];
    using _reporter = useReporter((...what) => reports.push(what));
    const stranger = await bus.connect();
    const big = (length: number) =>
      payload(["probe", probes[0]![1], "concurrence.reply.a.1", ["x".repeat(length)]]);
    const room = 1024 * 1024 - big(0).length; // for one hop, and then no more
    stranger.publish(`concurrence.node.${b.cluster.node}`, big(room));
    await Tasklet.sleep(2 * HEARTBEAT);
    assertEquals([reports, a.cluster.nodes], [[], [b.cluster.node]]);
  },
);
