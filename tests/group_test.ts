import { assert, assertEquals, assertInstanceOf, assertStrictEquals, assertThrows } from "@std/assert";
import v8 from "node:v8";
import vm from "node:vm";
import { Group, MSG_JOINED, MSG_LEFT } from "../group.ts";
import { type AnyMessage, CallError, type MailboxOptions, Message, type Receiver } from "../message.ts";
import { Supervisor } from "../supervisor.ts";
import { type AnyTasklet, type Self, Tasklet, TaskletExit, TimeoutError } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { Timeout, timerCount } from "../timer.ts";
import { catchReports } from "./reports.ts";
import { CountingSignal } from "./signal.ts";

class MSG_SAY extends Message("MSG_SAY")<[text: string]> {}
class MSG_ASK extends Message("MSG_ASK")<[question: string], string> {}
class MSG_GO_ON extends Message("MSG_GO_ON") {}

// ------------------------------------------------------------------------------------------------
// Group.join(), leave(), has(), size

Deno.test("Group.join() makes a member of the running tasklet or the one given, once", async () => {
  const group = new Group();
  const given = parked("given");
  const log: unknown[] = [group.join(given), group.join(given), group.has(given), group.size];
  const own = Tasklet.new(async () => {
    log.push(group.has(own), group.join(), group.join(), group.has(own), group.size);
    await Tasklet.suspend(() => {});
  })();
  await Tasklet.yield();
  assertEquals(log, [true, false, true, 1, false, true, false, true, 2]);
  await endAll(group);
});

Deno.test("Group.join() is false for a tasklet that has finished, in whichever way", async () => {
  await using _ = virtualTime();
  using reports = catchReports();
  const group = new Group();
  const done = Tasklet.new(() => {})();
  const failed = Tasklet.new(() => Promise.reject(new Error("No luck")))();
  const killed = parked();
  await Promise.all([done.join(), failed.join().catch(() => {}), killed.kill()]);
  const { promise, resolve } = Promise.withResolvers<void>();
  const abandoned = Tasklet.new(() => promise)();
  await Tasklet.yield();
  await abandoned.kill({ grace: 10 });
  assertEquals([done, failed, killed, abandoned].map((task) => group.join(task)), [
    false,
    false,
    false,
    false,
  ]);
  assertEquals([group.size, [...group], reports.texts.length], [0, [], 1]);
  resolve();
});

Deno.test("Group.leave() ends the membership of the running tasklet or the one given", async () => {
  const group = new Group();
  const given = parked("given");
  group.join(given);
  const log: unknown[] = [group.leave(given), group.leave(given), group.has(given), group.size];
  await Tasklet.new(() => {
    group.join();
    log.push(group.leave(), group.leave(), group.size);
  })().join();
  assertEquals(log, [true, false, false, 0, true, false, 0]);
  await given.kill();
});

Deno.test("Group.join(), leave() and monitor() of nobody throw outside of a tasklet", () => {
  const group = new Group("lobby");
  assertThrows(() => group.join(), Error, "Cannot join lobby: no tasklet is running");
  assertThrows(() => group.leave(), Error, "Cannot leave lobby: no tasklet is running");
  assertThrows(() => group.monitor(), Error, "Cannot monitor lobby: no tasklet is running");
});

Deno.test("Group.toString() is its name", () => {
  assertEquals([`${new Group("lobby")}`, `${new Group()}`], ["lobby", "group"]);
});

// ------------------------------------------------------------------------------------------------
// The guarantees

Deno.test("Group: Membership: a member leaves by ending, before its joiners go on", async () => {
  await using _ = virtualTime();
  using reports = catchReports();
  const group = new Group();
  const returning = Tasklet.new(() => Tasklet.sleep(10))();
  const failing = Tasklet.new(() => Tasklet.sleep(20).then(() => Promise.reject(new Error("No luck"))))();
  const killed = parked();
  const { promise, resolve } = Promise.withResolvers<void>();
  const stubborn = Tasklet.new(() => promise)();
  const tasks = [returning, failing, killed, stubborn];
  for (const task of tasks) group.join(task);
  const log: unknown[] = [];
  const note = (task: AnyTasklet) => () => void log.push([group.has(task), group.size]);
  await returning.join().then(note(returning));
  await failing.join().catch(note(failing));
  await killed.kill().then(note(killed));
  await stubborn.kill({ grace: 10 }).then(note(stubborn)); // abandoned
  assertEquals(log, [[false, 3], [false, 2], [false, 1], [false, 0]]);
  assertEquals(reports.texts.length, 1);
  resolve();
});

Deno.test("Group: Membership: one that is stopping or waits for its children is a member still, and refuses", async () => {
  await using _ = virtualTime();
  const group = new Group();
  const stopping = Tasklet.new(() => Tasklet.suspend(() => {}).finally(() => Tasklet.sleep(10)))();
  const parent = Tasklet.new(() => void Tasklet.later(20, () => {})())();
  group.join(stopping);
  group.join(parent);
  await Tasklet.yield();
  const killed = stopping.kill();
  const log = [group.size, MSG_SAY.send(group)("hi"), [...group].map((member) => MSG_SAY.send(member)("hi"))];
  await killed;
  await parent.join();
  assertEquals([log, group.size], [[2, false, [false, false]], 0]);
});

Deno.test("Group: Order: members are gone through in the order in which they joined", async () => {
  const group = new Group();
  const [a, b, c] = [parked("a"), parked("b"), parked("c")];
  for (const task of [c, a, b]) group.join(task);
  const log = [names(group)];
  group.leave(c);
  group.join(c);
  log.push(names(group));
  await a.kill();
  log.push(names(group));
  assertEquals(log, ["c a b", "a b c", "b c"]);
  await endAll(group);
});

Deno.test("Group: Order: who joins or leaves meanwhile changes nothing for a loop that has begun", async () => {
  const group = new Group();
  const tasks = ["a", "b", "c"].map((name) => parked(name));
  for (const task of tasks) group.join(task);
  const seen: string[] = [];
  for (const member of group) {
    seen.push(member.name);
    group.leave(member);
    group.join(member); // at the end: a loop over what is there then would never end
    group.leave(tasks[2]!);
  }
  assertEquals([seen, names(group)], [["a", "b", "c"], "a b"]);
  await endAll(tasks);
});

Deno.test("Group: Sending: one message object for all, in order; true if all have accepted", async () => {
  const group = new Group<MSG_SAY>();
  const got: [string, AnyMessage][] = [];
  const member = (name: string, capacity: number) =>
    Tasklet.new(async () => {
      await Tasklet.receiveOne([MSG_GO_ON]);
      for (const msg of Tasklet.pending()) got.push([name, msg]);
    }, { name, mailbox: { capacity } })();
  const tasks = [member("a", 9), member("b", 1), member("c", 9)];
  for (const task of tasks) group.join(task);
  await Tasklet.yield();
  const sent = [MSG_SAY.send(group)("one"), MSG_SAY.send(group)("two")];
  for (const task of tasks) {
    task.inbox.deliverAnyway(new MSG_GO_ON());
    await task.join();
  }
  assertEquals(sent, [true, false]); // the mailbox of b is full
  assertEquals(got.map(([name, msg]) => `${name} ${msg.args[0]}`), [
    "a one",
    "a two",
    "b one",
    "c one",
    "c two",
  ]);
  assertStrictEquals(got[0]![1], got[2]![1]);
  assertStrictEquals(got[0]![1], got[3]![1]);
});

Deno.test("Group: Sending: to a group without members is true, as to an empty list", () => {
  assertEquals([MSG_SAY.send(new Group())("hi"), MSG_SAY.send([])("hi")], [true, true]);
});

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

Deno.test("Group: Notices: a monitor is told of each change, in order, whatever the capacity of its mailbox", async () => {
  await using _ = virtualTime();
  using reports = catchReports();
  const group = new Group("lobby");
  const [a, b] = [parked("a"), parked("b")];
  const c = Tasklet.new(() => Tasklet.sleep(10).then(() => Promise.reject(error)), { name: "c" })();
  const error = new Error("No luck");
  const log: unknown[] = [];
  group.join(a);
  const watcher = Tasklet.new(async () => {
    group.monitor();
    log.push([...group].map(String)); // who is there already
    await Tasklet.sleep(20);
    for await (const msg of Tasklet.receive([MSG_JOINED, MSG_LEFT])) {
      const [task, of, cause] = msg.args;
      assertStrictEquals(of, group);
      assertStrictEquals(msg.sender, task);
      log.push(`${msg.type} ${task.name}${cause === undefined ? "" : `: ${textOf(cause)}`}`);
      if (task === watcher) break;
    }
  }, { name: "watcher", mailbox: { capacity: 1, overflow: "drop-oldest" } })();
  await Tasklet.yield();
  group.join(b);
  group.leave(a);
  group.join(c);
  group.join(a);
  MSG_SAY.send(watcher)("drops");
  MSG_SAY.send(watcher)("no notice");
  await b.kill();
  await c.join().catch(() => {});
  group.join(watcher);
  await watcher.join();
  assertEquals(
    log,
    [
      [`${a}`],
      "MSG_JOINED b",
      "MSG_LEFT a",
      "MSG_JOINED c",
      "MSG_JOINED a",
      `MSG_LEFT b: ${b} was killed`,
      "MSG_LEFT c: No luck",
      "MSG_JOINED watcher",
    ].map((line) => line === "MSG_JOINED watcher" ? `MSG_JOINED ${watcher.name}` : line),
  );
  assertEquals([names(group), reports.texts], ["a", []]);
  await endAll(group);
});

Deno.test("Group: Notices: the error of a member is reported as ever, though a monitor hears of it", async () => {
  using reports = catchReports();
  const group = new Group();
  const watcher = Tasklet.new(async () => {
    group.monitor();
    return (await Tasklet.receiveOne([MSG_LEFT])).args[2];
  })();
  await Tasklet.yield();
  const error = new Error("No luck");
  group.join(Tasklet.new(() => Promise.reject(error))());
  assertStrictEquals(await watcher.join(), error);
  await reports.settled();
  assertEquals(reports.texts.length, 1);
});

Deno.test("Group.monitor() sends the classes it is given, and ends when disposed or with the tasklet", async () => {
  class MSG_HERE extends Message("MSG_HERE")<[task: AnyTasklet, group: unknown]> {}
  class MSG_GONE extends Message("MSG_GONE")<[task: AnyTasklet, group: unknown, error: unknown]> {}
  const group = new Group();
  const log: string[] = [];
  const ended = Tasklet.new(() => void group.monitor())();
  const watcher = Tasklet.new(async () => {
    const monitor = group.monitor({ joined: MSG_HERE });
    const second = group.monitor({ left: MSG_GONE });
    await Tasklet.receiveOne([MSG_GO_ON]);
    monitor[Symbol.dispose]();
    monitor[Symbol.dispose]();
    await Tasklet.receiveOne([MSG_GO_ON]);
    second[Symbol.dispose]();
    await Tasklet.receiveOne([MSG_GO_ON]);
    for (const msg of Tasklet.pending()) log.push(msg.type);
  })();
  const task = parked();
  await ended.join();
  for (let n = 0; n < 3; n++) {
    group.join(task);
    group.leave(task);
    MSG_GO_ON.send(watcher)();
    await Tasklet.yield();
  }
  await watcher.join();
  assertEquals(log, ["MSG_HERE", "MSG_JOINED", "MSG_LEFT", "MSG_GONE", "MSG_JOINED", "MSG_GONE"]);
  await task.kill();
});

Deno.test("Group.monitor() leaves the error of the monitor itself to be reported", async () => {
  using reports = catchReports();
  const group = new Group();
  Tasklet.new(() => {
    group.monitor();
    throw new Error("No luck");
  })();
  await reports.settled();
  assertEquals(reports.texts.length, 1);
});

Deno.test("Group: Lifetime: a tasklet that has left holds no group, and a group holds none that has ended", async () => {
  class MSG_WATCH extends Message("MSG_WATCH")<[group: Group]> {}
  const task = parked();
  const monitor = Tasklet.receiver((msg: MSG_WATCH) => {
    using _ = msg.args[0].monitor();
  });
  const lasting = new Group();
  const forgotten = await (async () => {
    const group = new Group();
    const ending = parked();
    for (const each of [task, ending]) {
      lasting.join(each);
      group.join(each);
      MSG_SAY.send(lasting)("hi");
    }
    const monitoring = Tasklet.new(() => {
      group.monitor();
      lasting.monitor();
    })();
    await monitoring.join();
    MSG_WATCH.send(monitor)(group);
    await Tasklet.yield();
    group.leave(task);
    await ending.kill();
    return [new WeakRef(group), new WeakRef(ending), new WeakRef(monitoring)];
  })();
  MSG_WATCH.send(monitor)(lasting); // its loop keeps the last message
  await new Promise((resolve) => setTimeout(resolve)); // a WeakRef keeps its target for the turn it was made in
  collectGarbage();
  assertEquals(forgotten.map((ref) => ref.deref()?.toString()), [undefined, undefined, undefined]);
  await endAll([task, monitor]);
});

// ------------------------------------------------------------------------------------------------
// Types

Deno.test("Group types its members and what they are sent", () => {
  const never = async (group: Group<MSG_SAY | MSG_ASK>, all: Group) => {
    MSG_SAY.send(group)("hi") satisfies boolean;
    await MSG_ASK.call(group)("who?") satisfies string;
    // @ts-expect-error: the members do not accept it
    MSG_GO_ON.send(group)();
    // @ts-expect-error: nor does it take a number
    MSG_SAY.send(group)(1);
    for (const member of group) member satisfies Tasklet<unknown, MSG_SAY>;
    // @ts-expect-error: this one does not accept all that is sent to members
    group.join(parkedFor<MSG_SAY>());
    group.join(parkedFor<MSG_SAY | MSG_ASK | MSG_GO_ON>());
    group.has(parkedFor<MSG_GO_ON>());
    group satisfies Receiver<MSG_SAY>;
    // @ts-expect-error: whoever had it so could make a member that does not accept all
    group satisfies Group<MSG_SAY>;
    all.join(parked());
  };
  void never;
});

// ------------------------------------------------------------------------------------------------

/** A tasklet that only waits. */
function parked(
  name = "parked",
  mailbox: MailboxOptions = {},
): Tasklet {
  return Tasklet.new(() => Tasklet.suspend(() => {}), { name, mailbox })();
}

function parkedFor<P extends AnyMessage>(): Tasklet<void, P> {
  return Tasklet.new(async function (this: Self<P>) {})();
}

/** A tasklet that calls `answer` with each question. */
function answering(
  answer: (msg: MSG_ASK) => unknown,
  name = "answering",
): Tasklet<void, MSG_ASK | MSG_GO_ON> {
  return Tasklet.new(async function (this: Self<MSG_ASK | MSG_GO_ON>) {
    for await (const msg of this.receive()) if (msg.match(MSG_ASK)) await answer(msg);
  }, { name })();
}

function names(tasks: Iterable<AnyTasklet>): string {
  return [...tasks].map((task) => task.name).join(" ");
}

async function endAll(tasks: Iterable<AnyTasklet>): Promise<void> {
  for (const task of tasks) await task.kill();
}

function textOf(error: unknown): string {
  return error instanceof TaskletExit || error instanceof Error ? error.message : String(error);
}

async function failureOf(promise: Promise<unknown>): Promise<CallError> {
  const error = await promise.then((value) => `no error but ${value}`, (error) => error);
  assertInstanceOf(error, CallError);
  return error;
}

function collectGarbage(): void {
  v8.setFlagsFromString("--expose-gc");
  (vm.runInNewContext("gc") as () => void)();
}
