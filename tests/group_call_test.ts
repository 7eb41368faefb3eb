/**
 * Calls of a group: the first answer counts, and what no member can answer ends.
 *
 * @module
 */
import { assert, assertEquals, assertInstanceOf, assertStrictEquals, assertThrows } from "@std/assert";
import { Group } from "../group.ts";
import { type AnyMessage, CallError, Message } from "../message.ts";
import { Supervisor } from "../supervisor.ts";
import { type AnyTasklet, type Self, Tasklet, TimeoutError } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { Timeout, timerCount } from "../timer.ts";
import { catchReports } from "./reports.ts";
import { CountingSignal } from "./signal.ts";
import { collectGarbage } from "./garbage.ts";
import { failureOf } from "./outcomes.ts";
import { endAll, parked, textOf } from "./members.ts";

class MSG_SAY extends Message("MSG_SAY")<[text: string]> {}
class MSG_ASK extends Message("MSG_ASK")<[question: string], string> {}
class MSG_GO_ON extends Message("MSG_GO_ON") {}

Deno.test("Group: Calling: the first reply counts, and each member has a message of its own", async () => {
  await using time = virtualTime();
  const group = new Group<MSG_ASK>();
  const got: AnyMessage[] = [];
  const late: boolean[] = [];
  const member = (ms: number) =>
    answering(async (msg) => {
      got.push(msg);
      await Tasklet.sleep(ms);
      late.push(msg.reply(`after ${ms} ms`));
    });
  for (const ms of [30, 10, 20]) group.join(member(ms));
  const caller = Tasklet.new(() => MSG_ASK.call(group)("who?"))();
  const log = [await caller.join(), time.now];
  await Tasklet.sleep(30);
  assertEquals([log, late], [["after 10 ms", 10], [true, false, false]]);
  assertEquals([new Set(got).size, new Set(got.map((msg) => msg.args)).size], [3, 3]);
  for (const msg of got) {
    assertInstanceOf(msg, MSG_ASK);
    assertEquals(msg.args, ["who?"]);
    assertStrictEquals(msg.sender, caller);
  }
  await endAll(group);
});

Deno.test("Group: Calling: a failure is an answer too", async () => {
  await using _ = virtualTime();
  const group = new Group<MSG_ASK>();
  const error = new Error("No luck");
  group.join(answering((msg) => void msg.defer()));
  group.join(answering((msg) => void msg.fail(error)));
  assertStrictEquals(await MSG_ASK.call(group)("who?").catch((error) => error), error);
  await endAll(group);
});

Deno.test("Group: Calling: works outside of a tasklet, and for those who are not members then", async () => {
  const group = new Group<MSG_ASK>();
  const senders: unknown[] = [];
  const task = answering((msg) => {
    senders.push(msg.sender);
    msg.reply("I");
  });
  group.join(task);
  const call = MSG_ASK.call(group)("who?");
  group.leave(task); // the call has been made
  group.join(answering((msg) => void msg.reply("he who came later")));
  assertEquals([await call, senders], ["I", [undefined]]);
  await endAll([task, ...group]);
});

Deno.test("Group: Calling: nothing is left of a call that has ended, however it did", async () => {
  await using _ = virtualTime();
  const group = new Group<MSG_ASK>("experts");
  const got: MSG_ASK[] = [];
  for (let n = 0; n < 3; n++) group.join(answering((msg) => void got.push(msg.defer())));
  const controller = new AbortController();
  const cases: [how: string, end: (caller: AnyTasklet) => unknown, timeout?: number, deadline?: number][] = [
    ["reply", () => got[1]!.reply("first")],
    ["failure", () => got[2]!.fail(new Error("No luck"))],
    ["kill", (caller) => caller.kill()],
    ["timeout", () => Tasklet.sleep(50), 40],
    ["deadline", () => Tasklet.sleep(50), Infinity, 40],
    ["signal", () => controller.abort(new Error("aborted"))],
  ];
  const log: unknown[] = [];
  for (const [how, end, timeout, deadline = 1000] of cases) {
    got.length = 0;
    const caller = Tasklet.new(async () => {
      using _ = Timeout.push(deadline);
      return await MSG_ASK.call(group, { timeout, signal: controller.signal })("who?").catch(textOf);
    })();
    await Tasklet.sleep(1);
    assertEquals([got.length, caller.status], [3, "waiting"]);
    await end(caller);
    log.push([how, await caller.join().catch((error) => error.cause.name)]);
    assertEquals([caller.waits, timerCount()], [undefined, 0]);
    assertEquals(got.map((msg) => msg.reply("late")), [false, false, false]);
  }
  assertEquals(log, [
    ["reply", "first"],
    ["failure", "No luck"],
    ["kill", "TaskletExit"],
    ["timeout", "Timed out after 40 ms: waiting for the first reply of experts to MSG_ASK"],
    ["deadline", "Timed out: the deadline has passed"],
    ["signal", "aborted"],
  ]);
  got.length = 0;
  const { signal } = controller;
  log.push(await MSG_ASK.call(group, { signal })("who?").catch(textOf)); // aborted before
  await Tasklet.yield();
  assertEquals([log.at(-1), got], ["aborted", []]);
  await endAll(group);
});

Deno.test("Group: Calling: an ended call is kept neither by members nor by its signal", async () => {
  await using _ = virtualTime();
  const group = new Group<MSG_ASK>();
  const full = parked("full", { capacity: 1 });
  MSG_SAY.send(full)("no room");
  const deferring = answering((msg) => void msg.defer());
  const replying = answering((msg) => void msg.reply("I"));
  for (const task of [full, deferring, replying]) group.join(task);
  const signal = new CountingSignal();
  const caller = await (async () => {
    const caller = Tasklet.new(() => MSG_ASK.call(group, { signal })("who?"))();
    await caller.join();
    return new WeakRef(caller);
  })();
  for (const task of [deferring, replying]) MSG_GO_ON.send(task)(); // whose loops keep message and sender until then
  await Tasklet.sleep(0);
  collectGarbage();
  assertEquals([caller.deref()?.toString(), signal.listeners], [undefined, 0]);
  await endAll(group);
});

Deno.test("Group: Calling: a cleanup calls nobody", async () => {
  await using _ = virtualTime();
  const group = new Group<MSG_ASK>();
  group.join(answering((msg) => void msg.reply("I")));
  const log: unknown[] = [];
  const caller = Tasklet.new(async () => {
    try {
      await Tasklet.suspend(() => {});
    } finally {
      await Tasklet.sleep(1);
      log.push(await MSG_ASK.call(group)("who?").catch((error) => error.name));
    }
  })();
  await Tasklet.yield();
  await caller.kill();
  assertEquals(log, ["TaskletExit"]);
  await endAll(group);
});

Deno.test("Group: Calling: what a supervised member has not taken passes to its successor", async () => {
  await using _ = virtualTime();
  using _reports = catchReports();
  const supervisor = new Supervisor({ backoff: { first: 5 } });
  let starts = 0;
  async function body(this: Self<MSG_ASK>): Promise<void> {
    const n = ++starts;
    if (n === 1) await Tasklet.sleep(1000).finally(() => Tasklet.sleep(20));
    for await (const msg of this.receive()) msg.reply(`start ${n}`);
  }
  const child = supervisor.start({ name: "worker", body });
  const task = child.task as Tasklet<unknown, MSG_ASK>;
  const group = new Group<MSG_ASK>();
  group.join(task);
  await Tasklet.yield();
  const queued = MSG_ASK.call(group)("who?");
  void task.kill();
  assertEquals([group.size, task.status], [1, "stopping"]);
  const stopping = MSG_ASK.call(group)("who?").catch((error: CallError) => error.reason);
  assertEquals(await Promise.all([queued, stopping]), ["start 2", "finished"]);
  await supervisor.stop();
});

Deno.test("Group: Calling: of a caller that is killed already or a bad timeout, nobody hears", async () => {
  await using _ = virtualTime();
  const group = new Group<MSG_ASK>();
  const got: MSG_ASK[] = [];
  group.join(answering((msg) => void got.push(msg)));
  const caller = Tasklet.new(async () => {
    void caller.kill();
    return await MSG_ASK.call(group)("who?").catch(textOf);
  })();
  await caller.join().catch(() => {});
  assertThrows(() => MSG_ASK.call(group, { timeout: -1 })("who?"), RangeError, "Cannot call");
  await Tasklet.yield();
  assertEquals(got, []);
  await endAll(group);
});

Deno.test("Group: No answer: without members, the call is over at once", async () => {
  const error = await failureOf(MSG_ASK.call(new Group("lobby"))("who?"));
  assertEquals([error.reason, error.message], ["finished", "Cannot call MSG_ASK: lobby has no members"]);
});

Deno.test("Group: No answer: when no member can answer any more, the call ends with the error of the last", async () => {
  await using _ = virtualTime();
  const group = new Group<MSG_ASK>();
  const log: string[] = [];
  const forgetful = answering(() => {}, "forgetful");
  const dying: Tasklet<void, MSG_ASK> = answering((msg) => {
    msg.defer();
    Tasklet.later(20, () => void dying.kill(), { daemon: true })();
  }, "dying");
  const full = parked("full", { capacity: 1 });
  MSG_SAY.send(full)("no room");
  const dropping = parked("dropping", { capacity: 1, overflow: "drop-oldest" });
  const relaying = answering((msg) =>
    void msg.fail(new CallError("refused", "Cannot call MSG_OTHER: it is full"))
  );
  for (const task of [forgetful, dying, full, dropping, relaying]) group.join(task);
  const call = failureOf(MSG_ASK.call(group)("who?"));
  void call.then(() => log.push("over"));
  MSG_GO_ON.send(forgetful)(); // on to the next message
  await Tasklet.sleep(10);
  log.push("only dying and dropping are left");
  await Tasklet.sleep(15);
  log.push("only dropping is left");
  MSG_SAY.send(dropping)("something newer");
  const error = await call;
  assertEquals(log, ["only dying and dropping are left", "only dropping is left", "over"]);
  assertEquals([error.reason, error.message], [
    "refused",
    `Cannot call MSG_ASK: ${dropping} dropped it for a newer message`,
  ]);
  await endAll([...group, dying]);
});

Deno.test("Group: No answer: each reason ends the call of a group of one, with its cause", async () => {
  await using _ = virtualTime();
  using reports = catchReports();
  const cause = new Error("No luck");
  const failing = answering(() => Promise.reject(cause), "failing");
  const forgetful = answering(() => {}, "forgetful");
  const full = parked("full", { capacity: 1 });
  MSG_SAY.send(full)("no room");
  const stopping = Tasklet.new(() => Tasklet.suspend(() => {}).finally(() => Tasklet.sleep(10)))();
  await Tasklet.yield();
  const tasks: Tasklet<unknown, MSG_ASK>[] = [failing, forgetful, full, stopping];
  const log: unknown[] = [];
  for (const task of tasks) {
    const group = new Group<MSG_ASK>();
    group.join(task);
    if (task === stopping) void stopping.kill();
    const call = failureOf(MSG_ASK.call(group)("who?"));
    if (task === forgetful) MSG_GO_ON.send(forgetful)();
    const error = await call;
    log.push([error.reason, error.cause === cause]);
  }
  assertEquals(log, [["finished", true], ["forgotten", false], ["refused", false], ["finished", false]]);
  assertEquals((await reports.settled(), reports.texts.length), 1);
  await endAll(tasks);
});

Deno.test("Group: No answer: a failure with a CallError leaves the answer to others", async () => {
  await using _ = virtualTime();
  const group = new Group<MSG_ASK>();
  group.join(answering((msg) => void msg.fail(new CallError("finished", "Cannot call MSG_OTHER"))));
  group.join(answering((msg) => Tasklet.sleep(10).then(() => void msg.reply("second"))));
  assertEquals(await MSG_ASK.call(group)("who?"), "second");
  await endAll(group);
});

Deno.test("Group: No answer: a deferred reply may come from elsewhere after its member's body has ended", async () => {
  await using _ = virtualTime();
  const group = new Group<MSG_ASK>();
  group.join(
    Tasklet.new(async function (this: Self<MSG_ASK>) {
      const msg = await this.receiveOne();
      Tasklet.later(10, () => void msg.reply("from a child"))();
      msg.defer();
    })(),
  );
  assertEquals(await MSG_ASK.call(group)("who?"), "from a child");
});

Deno.test("Group: No answer: who waits for the caller cannot, nor can the caller itself", async () => {
  await using _ = virtualTime();
  const log: unknown[] = [];
  const alone = Tasklet.new(async () => {
    const group = new Group("alone");
    group.join();
    const error = await failureOf(MSG_ASK.call(group)("who?"));
    log.push([error.reason, error.message.includes(`${alone} waits for the caller`)]);
  })();
  await alone.join();
  const group = new Group<MSG_ASK>();
  const third = answering((msg) => void msg.reply("a third"));
  const caller = Tasklet.new(async () => {
    group.join();
    const msg = await Tasklet.receiveOne([MSG_ASK]); // from a member, who waits now
    log.push((await failureOf(MSG_ASK.call(group)("who?"))).reason);
    group.join(third);
    log.push(await MSG_ASK.call(group)("who?"), Tasklet.current()!.mailbox.length);
    msg.reply("you");
  })();
  const member = Tasklet.new(() => MSG_ASK.call(caller)("who?"))();
  group.join(member);
  log.push(await member.join());
  await caller.join();
  assertEquals(log, [["deadlock", true], "deadlock", "a third", 0, "you"]);
  await endAll(group);
});

Deno.test("Group: No answer: the last member who might answer must not call the caller", async () => {
  await using _ = virtualTime();
  const log: unknown[] = [];
  const callsBack = (ms: number) =>
    answering(async (msg) => {
      await Tasklet.sleep(ms);
      const answer = await MSG_ASK.call(msg.sender!)("you?").catch((error) => error.reason);
      log.push(answer);
      if (answer === "deadlock") msg.reply(`after ${ms} ms`);
    });
  const groups = {
    "the others wait for the caller": [callsBack(10), callsBack(30), callsBack(20)],
    "the others have forgotten": [answering(() => {}), callsBack(10), answering(() => {})],
  };
  for (const [why, members] of Object.entries(groups)) {
    const group = new Group<MSG_ASK>();
    for (const member of members) group.join(member);
    log.push(why, await Tasklet.new(() => MSG_ASK.call(group)("who?"))().join());
    await endAll(group);
  }
  assertEquals(log, [
    "deadlock",
    "the others wait for the caller",
    "after 30 ms",
    "finished", // the caller, with its answer
    "finished",
    "deadlock",
    "the others have forgotten",
    "after 10 ms",
  ]);
});

Deno.test("Group: No answer: when all who are left wait for the caller, the call is over", async () => {
  await using _ = virtualTime();
  const group = new Group<MSG_ASK>();
  const log: unknown[] = [];
  group.join(answering((msg) => Tasklet.sleep(10).then(() => MSG_ASK.call(msg.sender!)("you?"))));
  group.join(answering(() => Tasklet.sleep(20))); // then it has forgotten
  const caller = Tasklet.new(async () => {
    const error = await failureOf(MSG_ASK.call(group)("who?"));
    log.push([error.reason, error.message]);
  })();
  await caller.join();
  assertEquals(log, [["deadlock", "Cannot call MSG_ASK: all who might answer wait for the caller"]]);
  await endAll(group);
});

Deno.test("Group: No answer: who calls the caller may still answer by somebody else, or by another wait", async () => {
  await using _ = virtualTime();
  const log: unknown[] = [];
  const bodies: Record<string, (msg: MSG_ASK) => Promise<unknown>> = {
    "by a child": (msg) => {
      Tasklet.later(20, () => msg.reply("a child"))();
      return MSG_ASK.call(msg.defer().sender!)("you?").catch((error) => log.push(error.reason));
    },
    "by another wait": (msg) => {
      const replied = Tasklet.sleep(20).then(() => msg.reply("another wait"));
      const asked = MSG_ASK.call(msg.sender!)("you?").catch((error) => log.push(error.reason));
      return Promise.all([asked, replied]);
    },
  };
  for (const [how, body] of Object.entries(bodies)) {
    for (const others of [[], [answering(() => Tasklet.sleep(10))]]) { // who forget
      const group = new Group<MSG_ASK>();
      for (const member of [answering(body), ...others]) group.join(member);
      const caller = Tasklet.new(async () => {
        log.push(how, await MSG_ASK.call(group)("who?"));
        await Tasklet.receiveOne([MSG_ASK]).then((msg) => msg.reply("I"));
      })();
      await caller.join();
      await endAll(group);
    }
  }
  assertEquals(
    log,
    ["a child", "a child", "another wait", "another wait"].flatMap((who) => [`by ${who}`, who]),
  );
});

Deno.test("Group: No answer: two callers whose groups have each other as members can be called", async () => {
  await using _ = virtualTime();
  const groups = [new Group<MSG_ASK>(), new Group<MSG_ASK>()];
  const callers = groups.map((group) => Tasklet.new(() => MSG_ASK.call(group, { timeout: 50 })("who?"))());
  for (const [i, group] of groups.entries()) group.join(callers[1 - i]!);
  const log = groups.map((group) => {
    group.join(answering((msg) => void msg.defer()));
    return group.size;
  });
  await Tasklet.yield();
  const error = await MSG_ASK.call(callers[0]!, { timeout: 10 })("you?").catch((error) => error);
  assert(error instanceof TimeoutError);
  for (const caller of callers) log.push(await caller.join().catch((error) => error.cause.name));
  assertEquals(log as unknown[], [2, 2, "TimeoutError", "TimeoutError"]);
  for (const group of groups) await endAll(group);
});

Deno.test("Group: No answer: a caller that can still serve those who wait for it goes on waiting", async () => {
  await using _ = virtualTime();
  const group = new Group<MSG_ASK>();
  group.join(answering(async (msg) => {
    await Tasklet.sleep(10);
    msg.reply(`${await MSG_ASK.call(msg.sender!)("you?")} asks`);
  }));
  group.join(answering(() => Tasklet.sleep(20))); // then it has forgotten
  const caller = Tasklet.new(async () => {
    const call = MSG_ASK.call(group)("who?");
    const msg = await Tasklet.receiveOne([MSG_ASK]);
    await Tasklet.sleep(20);
    msg.reply("I, who");
    return await call;
  })();
  assertEquals(await caller.join(), "I, who asks");
  await endAll(group);
});

/** A tasklet that calls `answer` with each question. */
function answering(
  answer: (msg: MSG_ASK) => unknown,
  name = "answering",
): Tasklet<void, MSG_ASK | MSG_GO_ON> {
  return Tasklet.new(async function (this: Self<MSG_ASK | MSG_GO_ON>) {
    for await (const msg of this.receive()) if (msg.match(MSG_ASK)) await answer(msg);
  }, { name })();
}
