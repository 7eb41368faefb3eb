import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { running } from "../context.ts";
import type { Message } from "../message.ts";
import { Tasklet, TimeoutError } from "../tasklet.ts";
import { now } from "../timer.ts";
import { close, failure, MSG_DO, MSG_SUM, MSG_TEXT, node, payload, servant, test } from "./nodes.ts";

/* ------------------------------------------------- groups ------------------------------------------------ */

test(
  "ClusterGroup: every member everywhere gets a message once, in order, the very object on the own node: Sending",
  3,
  async (all) => {
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
  },
);

test(
  "ClusterGroup.join() and leave() are for tasklets of this node, who leave also by finishing",
  2,
  async ([a, b]) => {
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
  },
);

test("ClusterGroup.elsewhere reaches the members on other nodes alone", 2, async ([a, b]) => {
  const logs: string[][] = [[], []];
  a.cluster.group("room").join(servant(logs[0]));
  b.cluster.group("room").join(servant(logs[1]));
  await b.cluster.flush();
  assert(MSG_TEXT.send(a.cluster.group("room").elsewhere)("hi"));
  assertEquals(await MSG_SUM.call(a.cluster.group("room").elsewhere)(1, 2), 3);
  assertEquals(logs, [[], ["hi"]]);
});

test(
  "ClusterGroup: without a connection, members on one node hear each other, and the sender is told: Without a connection",
  2,
  async ([a, b]) => {
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
  },
);

test(
  "MSG.call() on a group: the first answer counts, be it a reply or a failure: Calling",
  3,
  async ([a, b, c]) => {
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
  },
);

test(
  "MSG.call() on a group fails when nobody is left who could answer, and at once if it has no members: Calling",
  3,
  async ([a, b, c]) => {
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
  },
);

test(
  "MSG.call() on a group gives nodes a second to come forward, however long they may be silent",
  0,
  async (_, bus) => {
    const [a, b] = [await node(bus, { heartbeat: 10_000 }), await node(bus, { heartbeat: 10_000 })];
    b.cluster.group("room").join(servant());
    await b.cluster.flush();
    const start = now();
    assertEquals((await failure(MSG_DO.call(a.cluster.group("room"))("forget")))[0], "forgotten");
    assertEquals(Math.round(now() - start), 1000);
    await close([a, b]);
  },
);

test("MSG.call() on a group, once disconnected, is up to the members of this node", 2, async ([a, b]) => {
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
});

test(
  "MSG.call() on a group ends by timeout and with its caller, at all members of this node, too",
  2,
  async ([a]) => {
    const got: MSG_DO[] = [];
    const room = a.cluster.group("room");
    const member = Tasklet.receiver<MSG_DO>((msg) => got.push(msg.defer()));
    room.join(member);
    await assertRejects(() => MSG_DO.call(room, { timeout: 10 })("x"), TimeoutError);
    const caller = Tasklet.new(() => MSG_DO.call(room)("x"))();
    await Tasklet.sleep(1);
    await caller.kill();
    assertEquals(got.map((msg) => msg.reply(1)), [false, false]);
  },
);

test("MSG.call() on a group fails at once if nobody but the caller is a member", 2, async ([a]) => {
  const room = a.cluster.group("room");
  const task = Tasklet.new(async () => {
    room.join();
    return await failure(MSG_DO.call(room)("x"));
  }, { name: "alone" })();
  const [reason, text] = await task.join();
  assertEquals(reason, "deadlock");
  assertStringIncludes(text, `${task} waits for the caller`);
});

test("MSG.call() on a group ends, however many nodes claim to have members", 1, async ([a], bus) => {
  const stranger = await bus.connect();
  stranger.subscribe("concurrence.group.room", ({ reply }) => {
    for (let i = 0; i < 11_000; i++) stranger.publish(reply, payload(["at", `n${i}`, true]));
  });
  await stranger.flush();
  const [reason, text] = await failure(MSG_DO.call(a.cluster.group("room"))("x"));
  assertEquals([reason, text.replace(/\d+$/, "")], ["finished", "Cannot call MSG_DO: its node has gone: n"]);
});
