import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { NameTakenError } from "../cluster.ts";
import { running } from "../context.ts";
import { type CallError, Message } from "../message.ts";
import { MSG_DOWN, Tasklet, TimeoutError } from "../tasklet.ts";
import { now } from "../timer.ts";
import {
  failure,
  HEARTBEAT,
  hold,
  MSG_DO,
  MSG_SUM,
  MSG_TEXT,
  next,
  payload,
  servant,
  test,
  watcher,
} from "./nodes.ts";

/* ------------------------------------------- Cluster.register() ------------------------------------------ */

test(
  "Cluster.register() makes a tasklet known to all nodes, its own among them, until it finishes: Names",
  2,
  async ([a, b]) => {
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
  },
);

test("Cluster.register() refuses a second owner, on the same node and on another", 2, async ([a, b]) => {
  const task = servant();
  await a.cluster.register("x", task);
  for (const { cluster } of [a, b]) {
    for (const pool of [false, true]) {
      const error = await assertRejects(() => cluster.register("x", servant(), { pool }), NameTakenError);
      assertEquals(error.message, `Cannot register "x": the name is taken`);
    }
  }
});

test(
  "Cluster.register() gives the name to exactly one of many who claim it at the same time",
  5,
  async (all) => {
    for (let round = 0; round < 10; round++) {
      const tasks = all.map(() => servant());
      const claims = await Promise.allSettled(
        all.map(({ cluster }, i) => cluster.register(`x${round}`, tasks[i]!)),
      );
      assertEquals(claims.filter(({ status }) => status === "fulfilled").length, 1);
      const winner = claims.findIndex(({ status }) => status === "fulfilled");
      assertEquals(
        (await all[(winner + 1) % 5]!.cluster.lookup(`x${round}`))!.node,
        all[winner]!.cluster.node,
      );
      for (const task of tasks) await task.kill();
    }
  },
);

test("Cluster.register() gives a name that is free again to the next one", 2, async ([a, b]) => {
  const first = await a.cluster.register("x", servant());
  await first.unregister();
  await first.unregister(); // harmless
  const second = await b.cluster.register("x", servant());
  assertEquals((await a.cluster.lookup("x"))!.node, b.cluster.node);
  await using _ = second;
  await b.cluster.close();
  await a.cluster.register("x", servant());
});

test(
  "Cluster.register() rejects for a tasklet that has finished, or does so meanwhile",
  2,
  async ([a, b]) => {
    const task = servant();
    await task.kill();
    await assertRejects(() => a.cluster.register("x", task), Error, "has finished");
    const brief = servant();
    const registered = assertRejects(() => a.cluster.register("x", brief), Error, "has finished");
    await brief.kill();
    await registered;
    await b.cluster.register("x", servant());
  },
);

test("Cluster.register() by a tasklet that is killed meanwhile gives the name back", 2, async ([a, b]) => {
  const task = servant();
  const claimant = Tasklet.new(() => a.cluster.register("x", task))();
  while (claimant.status !== "waiting") await null;
  await claimant.kill();
  await Tasklet.sleep(1);
  await b.cluster.register("x", servant());
});

test("Cluster.register() by a tasklet that was killed before registers nothing", 2, async ([a, b]) => {
  await a.cluster.register("taken", servant());
  const task = servant();
  const claimant: Tasklet<void> = Tasklet.new(async () => {
    void claimant.kill();
    await Promise.allSettled(["x", "taken"].map((name) => b.cluster.register(name, task)));
  })();
  await claimant.join().catch(() => {});
  await Tasklet.sleep(1);
  await a.cluster.register("x", servant());
});

test(
  "Cluster.register() rejects if the cluster is closed meanwhile, or the connection is lost: be it as one of a pool",
  2,
  async ([a, b]) => {
    const closing = a.cluster.register("x", servant());
    void a.cluster.close();
    await assertRejects(() => closing, Error, `Cannot register "x": the cluster is closed`);
    await b.cluster.register("pool", servant(), { pool: true });
    b.line.disconnect();
    assertEquals((await failure(b.cluster.register("pool", servant(), { pool: true })))[0], "disconnected");
  },
);

test("Cluster.register() takes an answer that it does not understand for a no", 1, async ([a], bus) => {
  const stranger = await bus.connect();
  let asked = 0;
  stranger.subscribe("concurrence.claim.x", ({ reply }) => {
    asked++;
    stranger.publish(reply, payload(["value", "what?"]));
  });
  await stranger.flush();
  await assertRejects(() => a.cluster.register("x", servant()), NameTakenError);
  assertEquals(asked, 1);
});

test(
  "Cluster.register() takes a name from an owner that says nothing for too long, who loses it when it comes back",
  2,
  async ([a, b]) => {
    const lost: string[] = [];
    const task = servant();
    await a.cluster.register("x", task, { onLost: () => lost.push("onLost") });
    const events = a.cluster.events();
    a.line.isSilent = true;
    const claim = await b.cluster.register("x", servant());
    a.line.isSilent = false;
    // It stands for a program that was stopped: its clock would have shown it that.
    a.line.disconnect();
    a.line.reconnect();
    assertEquals(await next(events, "lost"), { type: "lost", name: "x" });
    assertEquals([lost, claim.state, task.alive], [["onLost"], "held", true]);
    assertEquals((await a.cluster.lookup("x"))!.node, b.cluster.node);
  },
);

test(
  "Cluster.register() with pool shares a name: each message goes to one, and calls find those that are left",
  3,
  async ([a, b, c]) => {
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
  },
);

test("Cluster.register() of a name that is none is refused", 1, async ([a]) => {
  for (const name of ["", "x".repeat(257)]) {
    await assertRejects(() => a.cluster.register(name, servant()), RangeError, "Cannot use a name");
    await assertRejects(() => a.cluster.lookup(name), RangeError);
    assertThrows(() => a.cluster.group(name), RangeError);
  }
  await a.cluster.register("日本 *.> __proto__", servant());
  assert(await a.cluster.lookup("日本 *.> __proto__"));
});

/* ------------------------------------------- names when cut off ------------------------------------------ */

test(
  "Cluster: of two owners behind a wall, the one who has had the name for longer keeps it",
  2,
  async ([a, b]) => {
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
  },
);

test("Cluster: pools behind a wall are one again when it is gone", 2, async ([a, b]) => {
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
});

test("Cluster: two claims that missed each other are found out a heartbeat later", 2, async ([a, b]) => {
  b.line.piece = 1; // as when servers of NATS have not told each other yet
  const first = await a.cluster.register("x", servant());
  await Tasklet.sleep(1);
  const second = await b.cluster.register("x", servant());
  b.line.piece = 0;
  await Tasklet.sleep(2 * HEARTBEAT);
  assertEquals([first.state, second.state], ["held", "ended"]);
});

test(
  "Cluster: two claims that missed each other are found out in the end, however short the time",
  2,
  async ([a, b]) => {
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
  },
);

test(
  "Cluster: nodes that were disconnected for a moment take nobody for gone when they are back",
  2,
  async ([a, b]) => {
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
  },
);

test(
  "Cluster: a node that was disconnected keeps its names, unless they were taken meanwhile: Reconnecting",
  2,
  async ([a, b]) => {
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
  },
);

test(
  "Cluster: without a connection, register, lookup and flush reject at once, and a name can be given back",
  1,
  async ([a]) => {
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
  },
);

/* -------------------------------------------- Cluster.lookup() ------------------------------------------- */

test(
  "Cluster.lookup() finds nobody at once, gives up on an owner that says nothing, and has a timeout",
  2,
  async ([a, b]) => {
    assertEquals(await b.cluster.lookup("nobody"), undefined);
    await a.cluster.register("x", servant());
    a.line.isSilent = true;
    await assertRejects(() => b.cluster.lookup("x", { timeout: 10 }), TimeoutError);
    assertEquals(await b.cluster.lookup("x"), undefined);
  },
);

test(
  "Cluster.lookup() gives a receiver that goes on with the next owner of the name",
  3,
  async ([a, b, c]) => {
    const first = servant();
    await a.cluster.register("x", first);
    const remote = (await c.cluster.lookup("x"))!;
    assertEquals(await MSG_SUM.call(remote)(1), 1);
    await first.kill();
    await b.cluster.register("x", servant());
    assertEquals([await MSG_SUM.call(remote)(2), remote.node], [2, b.cluster.node]);
  },
);

/* ------------------------------------------- Cluster.monitor() ------------------------------------------- */

test(
  "Cluster.monitor() tells why a name has lost its owner, on its own node and elsewhere",
  2,
  async ([a, b]) => {
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
  },
);

test(
  "Cluster.monitor() tells when the node of the owner has gone, and at once if nobody has the name",
  3,
  async ([a, b, c]) => {
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
  },
);

test("Cluster.monitor() of a pool tells when the last has gone", 3, async ([a, b, c]) => {
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
});

test("Cluster.monitor() misses nothing that happened while the connection was lost", 2, async ([a, b]) => {
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
  await watchers[2]!.kill();
});

test("Cluster.monitor() is told in the end, be it that the news was lost on the way", 2, async ([a, b]) => {
  const registration = await a.cluster.register("x", servant());
  const watching = watcher(b, "x");
  await Tasklet.sleep(HEARTBEAT);
  b.line.piece = 1; // for so short a time that nobody is missed
  await registration.unregister();
  await Tasklet.sleep(HEARTBEAT);
  b.line.piece = 0;
  assertEquals(await watching.join(), ["finished", "Nobody has the name x"]);
});

test(
  "Cluster.monitor() tells nothing when all have lost their connections, and get them back one after the other",
  2,
  async ([a, b]) => {
    await a.cluster.register("x", servant());
    const watching = watcher(b, "x");
    await Tasklet.sleep(HEARTBEAT);
    for (const { line } of [a, b]) line.disconnect();
    await Tasklet.sleep(2 * HEARTBEAT);
    b.line.reconnect();
    await Tasklet.sleep(HEARTBEAT);
    a.line.reconnect();
    await Tasklet.sleep(40 * HEARTBEAT);
    assertEquals(watching.alive, true);
    await watching.kill();
  },
);

test(
  "Cluster.monitor() shows what others tell without controls, and not all of it",
  2,
  async ([a, b], bus) => {
    await a.cluster.register("x", servant());
    const watching = watcher(b, "x");
    await Tasklet.sleep(1);
    const stranger = await bus.connect();
    const notice = ["gone", a.cluster.node, "Error\x1b[2J", "x".repeat(5000) + "\n"];
    stranger.publish("concurrence.gone.x", payload(notice));
    assertEquals((await watching.join())[1], `The owner of x has failed: Error[2J: ${"x".repeat(1000)}…`);
  },
);

test("Cluster.monitor() tells when the cluster is closed, and refuses after that", 2, async ([a, b]) => {
  await a.cluster.register("x", servant());
  const remote = (await b.cluster.lookup("x"))!;
  const watching = watcher(b, "x");
  await Tasklet.sleep(1);
  await b.cluster.close();
  assertEquals(await watching.join(), ["disconnected", "Cannot monitor x: the cluster is closed"]);
  assertThrows(() => b.cluster.monitor(remote), Error, "the cluster is closed");
});

/* ----------------------------------------------- who is there --------------------------------------------- */

test(
  "Cluster.nodes: a lookup that was answered just before the good-bye brings nobody back",
  2,
  async ([a, b], bus) => {
    await a.cluster.register("x", servant());
    const found = b.cluster.lookup("x");
    const release = hold(bus, b);
    await Tasklet.sleep(1);
    const closing = a.cluster.close();
    await Tasklet.sleep(1);
    release();
    await Promise.all([found, closing]);
    await Tasklet.sleep(1);
    assertEquals(b.cluster.nodes, []);
  },
);

test(
  "Cluster.nodes: a sign of life just behind the word that a node is gone counts",
  2,
  async ([a, b], bus) => {
    a.line.die();
    await Tasklet.sleep(1.9 * HEARTBEAT);
    const release = hold(bus, b);
    await Tasklet.sleep(0.2 * HEARTBEAT); // b has asked where it is
    const stranger = await bus.connect();
    stranger.publish("concurrence.alive", payload(["alive", a.cluster.node]));
    await stranger.flush();
    release();
    await Tasklet.yield();
    assertEquals(b.cluster.nodes, [a.cluster.node]);
  },
);

test("Cluster.monitor() takes a class of one's own, and ends when it is disposed", 2, async ([a, b]) => {
  class MSG_GONE extends Message("MSG_GONE")<[remote: unknown, error: unknown]> {}
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
