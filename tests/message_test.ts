import { assert, assertEquals, assertInstanceOf, assertMatch, assertStrictEquals } from "@std/assert";
import fc from "fast-check";
import {
  type AnyMessage,
  type Call,
  CallError,
  callOf,
  type CallOptions,
  carry,
  Mailbox,
  Message,
  type MessageConstructor,
} from "../message.ts";
import * as mailbox from "../mailbox.ts";
import { type Self, Tasklet } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { Timeout, TimeoutError, timerCount } from "../timer.ts";
import { runSource } from "./program.ts";
import { CountingSignal } from "./signal.ts";

class MSG_GREETING extends Message("MSG_GREETING")<[name: string]> {}
class MSG_LOUD_GREETING extends MSG_GREETING {}
class MSG_FAREWELL extends Message("MSG_FAREWELL")<[name: string]> {}
class MSG_SUM extends Message("MSG_SUM")<number[], number> {}
class MSG_ASK extends Message("MSG_ASK")<[], string> {}
class MSG_QUIT extends Message("MSG_QUIT") {}
class MSG_NUMBER extends Message("MSG_NUMBER")<[n: number]> {}

// ------------------------------------------------------------------------------------------------
// Message()

Deno.test("Message() names the class and its messages with the literal", () => {
  const log = [
    MSG_GREETING.type,
    new MSG_GREETING("World").type,
    MSG_LOUD_GREETING.type,
    new MSG_QUIT().type,
  ];
  assertEquals(log, ["MSG_GREETING", "MSG_GREETING", "MSG_GREETING", "MSG_QUIT"]);
});

Deno.test("Message() makes messages with the arguments they were given", () => {
  const object = { deep: [1] };
  class MSG_OBJECT extends Message("MSG_OBJECT")<[object: typeof object, also?: number]> {}
  assertEquals([new MSG_SUM(1, 2, 3).args, new MSG_QUIT().args, new MSG_OBJECT(object).args.length], [
    [1, 2, 3],
    [],
    1,
  ]);
  assertStrictEquals(new MSG_OBJECT(object).args[0], object);
});

Deno.test("Message() classes may have members of their own", () => {
  class MSG_MOVE extends Message("MSG_MOVE")<[x: number, y: number]> {
    get length(): number {
      return Math.hypot(...this.args);
    }
  }
  assertEquals(new MSG_MOVE(3, 4).length, 5);
});

Deno.test("Message() keeps the names of two classes apart, also when they come from one base", () => {
  // deno-lint-ignore concurrence/message-name -- to tell such classes apart is what is tested
  const Base = Message("MSG_BASE");
  class MSG_ONE extends Base<[]> {}
  class MSG_TWO extends Base<[]> {}
  const one: AnyMessage = new MSG_ONE();
  assertEquals([one.match(MSG_ONE), one.match(MSG_TWO), one.type], [true, false, "MSG_BASE"]);
});

// ------------------------------------------------------------------------------------------------
// Message.send()

Deno.test("MSG.send() queues in order and is true when accepted", async () => {
  const task = collector();
  const log = [1, 2, 3].map((n) => MSG_NUMBER.send(task)(n));
  log.push(MSG_QUIT.send(task)());
  assertEquals([log, await task.join()], [[true, true, true, true], ["1", "2", "3"]]);
});

Deno.test("MSG.send() keeps the order between messages of different classes", async () => {
  const task = collector();
  MSG_GREETING.send(task)("a");
  MSG_NUMBER.send(task)(1);
  MSG_FAREWELL.send(task)("b");
  MSG_GREETING.send(task)("c");
  MSG_QUIT.send(task)();
  assertEquals(await task.join(), ["a", "1", "b", "c"]);
});

Deno.test("MSG.send() is false when the receiver has finished, whichever way", async () => {
  const done = Tasklet.new(() => {})();
  const failed = Tasklet.new(() => Promise.reject(new Error("No luck")))();
  const killed = Tasklet.new(() => Tasklet.suspend(() => {}))();
  const neverStarted = Tasklet.new(() => {})();
  await neverStarted.kill();
  await done.join();
  await outcome(failed.join());
  await killed.kill();
  assertEquals([done, failed, killed, neverStarted].map((task) => MSG_QUIT.send(task)()), [
    false,
    false,
    false,
    false,
  ]);
});

Deno.test("MSG.send() is false while the receiver is stopping or waits for its children", async () => {
  const parked = Tasklet.new(() => {
    Tasklet.new(() => Tasklet.suspend(() => {}), { name: "child" })();
  })();
  const stopping = Tasklet.new(async () => {
    try {
      await Tasklet.suspend(() => {});
    } finally {
      await Tasklet.yield();
    }
  })();
  await Tasklet.yield();
  const killed = stopping.kill();
  assertEquals([parked.status, stopping.status], ["waiting", "stopping"]);
  assertEquals([MSG_QUIT.send(parked)(), MSG_QUIT.send(stopping)()], [false, false]);
  await Promise.all([killed, parked.kill()]);
});

Deno.test("MSG.send() is false when the mailbox is full, and true again when there is room", async () => {
  const task = collector({ capacity: 2 });
  const log = [1, 2, 3].map((n) => MSG_NUMBER.send(task)(n));
  assertEquals([log, task.mailbox.length], [[true, true, false], 2]);
  await until(() => task.mailbox.length === 0);
  assertEquals([MSG_NUMBER.send(task)(4), MSG_QUIT.send(task)()], [true, true]);
  assertEquals(await task.join(), ["1", "2", "4"]);
});

Deno.test("MSG.send() is true when a full mailbox drops its oldest", async () => {
  const task = collector({ capacity: 2, overflow: "drop-oldest" });
  const log = [1, 2, 3].map((n) => MSG_NUMBER.send(task)(n));
  log.push(MSG_QUIT.send(task)());
  assertEquals([log, await task.join()], [[true, true, true, true], ["3"]]);
});

Deno.test("MSG.send() with several receivers sends one object to all", async () => {
  const got: AnyMessage[] = [];
  const tasks = [1, 2, 3].map(() => Tasklet.new(async () => void got.push(await Tasklet.receiveOne()))());
  const accepted = MSG_GREETING.send(tasks)("all");
  await Tasklet.joinAll(tasks);
  assertEquals([accepted, got.length, new Set(got).size], [true, 3, 1]);
});

Deno.test("MSG.send() takes any iterable of receivers: arrays, sets, map values, generators", async () => {
  const task = collector();
  const log = [
    MSG_NUMBER.send([task])(1),
    MSG_NUMBER.send(new Set([task]))(2),
    MSG_NUMBER.send(new Map([["name", task]]).values())(3),
    MSG_NUMBER.send(function* () {
      yield task;
      yield task;
    }())(4),
    MSG_NUMBER.send([])(5),
  ];
  MSG_QUIT.send(task)();
  assertEquals([log, await task.join()], [[true, true, true, true, true], ["1", "2", "3", "4", "4"]]);
});

Deno.test("MSG.send() with several receivers is true only if all accept, and reaches those behind a refusal", async () => {
  const finished = Tasklet.new(() => {})();
  await finished.join();
  const [first, full, last] = [collector(), collector({ capacity: 1 }), collector()];
  MSG_QUIT.send(full)();
  const log = [
    MSG_NUMBER.send([first, last])(1),
    MSG_NUMBER.send([finished, first, last])(2),
    MSG_NUMBER.send([first, full, last])(3),
    MSG_NUMBER.send([first, last, finished])(4),
  ];
  MSG_QUIT.send([first, last])();
  assertEquals([log, await first.join(), await last.join(), await full.join()], [
    [true, false, false, false],
    ["1", "2", "3", "4"],
    ["1", "2", "3", "4"],
    [],
  ]);
});

Deno.test("MSG.send() never waits: the receiver goes on after the sender's next wait", async () => {
  const log: string[] = [];
  const task = Tasklet.new(async () => {
    for await (const msg of Tasklet.receive()) {
      log.push(`received ${msg.args[0]}`);
      if (msg.args[0] === 2) break;
    }
  })();
  await Tasklet.yield(); // it waits for a message now
  for (const n of [1, 2]) {
    MSG_NUMBER.send(task)(n);
    log.push(`sent ${n}`);
  }
  await task.join();
  assertEquals(log, ["sent 1", "sent 2", "received 1", "received 2"]);
});

Deno.test("MSG.send() never throws, whatever state the receiver or the sender is in", async () => {
  const log: unknown[] = [];
  const other = collector();
  const task = Tasklet.new(async () => {
    const me = Tasklet.current()!;
    log.push(["self", MSG_QUIT.send(me)()]);
    try {
      await Tasklet.suspend(() => {});
    } finally {
      log.push(["self, killed", MSG_QUIT.send(me)()], ["other, while killed", MSG_NUMBER.send(other)(1)]);
    }
  })();
  log.push(["not started", MSG_QUIT.send(task)()]);
  await Tasklet.yield();
  await task.kill();
  MSG_QUIT.send(other)();
  assertEquals([log, await other.join()], [[
    ["not started", true],
    ["self", true],
    ["self, killed", false],
    ["other, while killed", true],
  ], ["1"]]);
});

Deno.test("MSG.send() is no wait point: past a deadline it sends", async () => {
  await using time = virtualTime();
  const task = collector();
  const sender = Tasklet.new(async () => {
    using _ = Timeout.push(10);
    await outcome(Tasklet.sleep(20));
    return MSG_QUIT.send(task)();
  })();
  assertEquals([await sender.join(), await task.join(), time.now], [true, [], 10]);
});

// ------------------------------------------------------------------------------------------------
// Message.sender

Deno.test("msg.sender is the tasklet that sent it", async () => {
  const task = Tasklet.new(async () => (await Tasklet.receiveOne()).sender)();
  const sender = Tasklet.new(async () => {
    await Tasklet.yield();
    MSG_GREETING.send(task)("World");
  })();
  assertStrictEquals<unknown>(await task.join(), sender);
  await sender.join();
});

Deno.test("msg.sender is the caller, for a call", async () => {
  const task = Tasklet.new(async () => {
    const msg = await Tasklet.receiveOne([MSG_ASK]);
    msg.reply("yes");
    return msg.sender;
  })();
  const caller = Tasklet.new(() => MSG_ASK.call(task)())();
  assertStrictEquals<unknown>(await task.join(), caller);
  await caller.join();
});

Deno.test("msg.sender is undefined from outside of any tasklet", async () => {
  const task = Tasklet.new(async () => (await Tasklet.receiveOne()).sender)();
  MSG_GREETING.send(task)("World");
  assertEquals(await task.join(), undefined);
});

Deno.test("msg.sender can be sent to", async () => {
  const echo = Tasklet.new(async () => {
    const msg = await Tasklet.receiveOne([MSG_GREETING]);
    const { id, name, alive } = msg.sender!;
    MSG_FAREWELL.send(msg.sender!)(`${name} ${id} ${alive}`);
  })();
  const sender = Tasklet.new(async function asker() {
    MSG_GREETING.send(echo)("World");
    return (await Tasklet.receiveOne([MSG_FAREWELL])).args[0];
  })();
  assertEquals(await sender.join(), `asker ${sender.id} true`);
});

// ------------------------------------------------------------------------------------------------
// Message.match()

Deno.test("msg.match() is instanceof: a base class matches its subclasses, and not the reverse", () => {
  const classes: MessageConstructor[] = [MSG_GREETING, MSG_LOUD_GREETING, MSG_FAREWELL];
  const matches = (msg: AnyMessage) => classes.map((Class) => msg.match(Class));
  assertEquals(
    [new MSG_GREETING("a"), new MSG_LOUD_GREETING("b"), new MSG_FAREWELL("c")].map(matches),
    [[true, false, false], [true, true, false], [false, false, true]],
  );
});

Deno.test("msg.match() tells apart two classes of the same name and arguments", () => {
  // deno-lint-ignore concurrence/message-name -- to tell such classes apart is what is tested
  class MSG_OTHER extends Message("MSG_GREETING")<[name: string]> {}
  assertEquals((new MSG_OTHER("a") as AnyMessage).match(MSG_GREETING), false);
});

// ------------------------------------------------------------------------------------------------
// Message.reply(), fail()

Deno.test("msg.reply() answers the call, and is true", async () => {
  const log: unknown[] = [];
  const task = served((msg) => log.push(msg.reply(6)));
  assertEquals([await MSG_SUM.call(task)(1, 2, 3), log], [6, [true]]);
  await task.kill();
});

Deno.test("msg.reply() takes any value, also none", async () => {
  const values = [undefined, null, 0, "", NaN, [1], new Error("as a value")];
  const task = served((msg) => msg.reply(values[msg.args[0]!] as number));
  const got: unknown[] = [];
  for (const i of values.keys()) got.push(await MSG_SUM.call(task)(i));
  await task.kill();
  assertEquals(got.map((value, i) => Object.is(value, values[i])), values.map(() => true));
});

Deno.test("msg.fail() makes the call reject with that very error, and is true", async () => {
  const log: unknown[] = [];
  const errors = [new Error("No luck"), "a string", undefined];
  const task = served((msg) => log.push(msg.fail(errors[msg.args[0]!])));
  const got: unknown[] = [];
  for (const i of errors.keys()) await MSG_SUM.call(task)(i).catch((error) => got.push(error));
  await task.kill();
  assertEquals(got.map((error, i) => error === errors[i]), [true, true, true]);
  assertEquals(log, [true, true, true]);
});

Deno.test("msg.reply() and msg.fail(): the first counts, and all others are false", async () => {
  const log: unknown[] = [];
  const task = served((msg) => {
    if (msg.args[0] === 0) log.push([msg.reply(1), msg.reply(2), msg.fail(new Error("late")), msg.reply(3)]);
    else log.push([msg.fail(new Error("first")), msg.reply(1), msg.fail(new Error("second"))]);
  });
  log.push(await MSG_SUM.call(task)(0));
  log.push(await MSG_SUM.call(task)(1).catch((error) => error.message));
  await task.kill();
  assertEquals(log, [[true, false, false, false], 1, [true, false, false], "first"]);
});

Deno.test("msg.reply() and msg.fail() are false for a plain send, and harm nobody", async () => {
  const log: unknown[] = [];
  const task = served((msg) => log.push(msg.reply(1), msg.fail(new Error("nobody"))));
  MSG_SUM.send(task)(1);
  MSG_SUM.send([task])(1);
  await MSG_SUM.call(task)(1);
  await task.kill();
  assertEquals(log, [false, false, false, false, true, false]);
});

Deno.test("msg.reply() and msg.fail() are false when the caller has timed out, was killed or aborted", async () => {
  await using _time = virtualTime();
  const held: MSG_ASK[] = [];
  const task = Tasklet.new(async () => {
    for await (const msg of Tasklet.receive([MSG_ASK])) held.push(msg.defer());
  })();
  const controller = new AbortController();
  const log: unknown[] = [];
  const killed = Tasklet.new(() => MSG_ASK.call(task)())();
  const calls = [
    MSG_ASK.call(task, { timeout: 10 })(),
    MSG_ASK.call(task, { signal: controller.signal })(),
  ].map(outcome);
  await Tasklet.sleep(5);
  controller.abort("enough");
  await killed.kill();
  log.push(...await Promise.all(calls));
  log.push(...held.map((msg) => msg.reply("late")), ...held.map((msg) => msg.fail(new Error("late"))));
  await task.kill();
  assertEquals(log, ["TimeoutError", "enough", false, false, false, false, false, false]);
});

Deno.test("msg.reply() never waits: the caller goes on after the replier's next wait", async () => {
  const log: string[] = [];
  const task = served((msg) => {
    msg.reply(1);
    log.push("replied");
  });
  await Tasklet.new(async () => log.push(`got ${await MSG_SUM.call(task)()}`))().join();
  await task.kill();
  assertEquals(log, ["replied", "got 1"]);
});

Deno.test("msg.reply() never throws, also while the replier is killed", async () => {
  const log: unknown[] = [];
  const task = Tasklet.new(async () => {
    const msg = await Tasklet.receiveOne([MSG_ASK]);
    try {
      await Tasklet.suspend(() => {});
    } finally {
      log.push(msg.reply("in the cleanup"));
    }
  })();
  const answer = outcome(MSG_ASK.call(task)());
  await Tasklet.yield();
  await task.kill();
  assertEquals([log, await answer], [[true], "in the cleanup"]);
});

Deno.test("msg.reply() may be called by any tasklet, and from outside of any", async () => {
  const held: MSG_ASK[] = [];
  const task = Tasklet.new(async () => {
    for await (const msg of Tasklet.receive([MSG_ASK])) held.push(msg.defer());
  })();
  const answers = [MSG_ASK.call(task)(), MSG_ASK.call(task)()].map(outcome);
  await until(() => held.length === 2);
  const replier = Tasklet.new(() => held[0]!.reply("from another tasklet"))();
  const log = [await replier.join(), held[1]!.reply("from outside")];
  assertEquals([log, await Promise.all(answers)], [[true, true], ["from another tasklet", "from outside"]]);
  await task.kill();
});

// ------------------------------------------------------------------------------------------------
// Message.defer()

Deno.test("msg.defer() returns the message and lets the loop go on", async () => {
  const log: unknown[] = [];
  const task = Tasklet.new(async () => {
    let last: MSG_ASK | undefined;
    for await (const msg of Tasklet.receive([MSG_ASK])) {
      last?.reply("later");
      last = msg;
      log.push(msg.defer() === msg);
    }
  })();
  const first = outcome(MSG_ASK.call(task)());
  const second = outcome(MSG_ASK.call(task)());
  log.push(await first);
  await task.kill();
  log.push(await second);
  assertEquals(log, [true, true, "later", "finished"]);
});

Deno.test("msg.defer() is harmless for a plain send and after a reply", async () => {
  const log: unknown[] = [];
  const task = served((msg) => log.push(msg.reply(1), msg.defer() === msg, msg.defer().reply(2)));
  MSG_SUM.send(task)();
  log.push(await MSG_SUM.call(task)());
  await task.kill();
  assertEquals(log, [false, true, false, true, true, false, 1]);
});

// ------------------------------------------------------------------------------------------------
// Message.call()

Deno.test("MSG.call() gives the reply, in a tasklet and outside of any", async () => {
  const task = served((msg) => msg.reply(msg.args.reduce((a: number, b: number) => a + b, 0)));
  const inside = Tasklet.new(() => MSG_SUM.call(task)(1, 2, 3))();
  assertEquals([await inside.join(), await MSG_SUM.call(task)(4, 5), await MSG_SUM.call(task)()], [6, 9, 0]);
  await task.kill();
});

Deno.test("MSG.call() from many callers gives each its own reply", async () => {
  const task = Tasklet.new(async () => {
    const held: MSG_SUM[] = [];
    while (held.length < 50) held.push(await Tasklet.receiveOne([MSG_SUM]));
    for (const msg of held.reverse()) msg.reply(msg.args[0]!);
  })();
  const calls = Array.from({ length: 50 }, (_, n) => Tasklet.new(() => MSG_SUM.call(task)(n))());
  assertEquals(await Tasklet.joinAll(calls), calls.map((_, n) => n));
});

Deno.test("MSG.call() waits in order with what was sent before", async () => {
  const log: unknown[] = [];
  const task = Tasklet.new(async () => {
    for await (const msg of Tasklet.receive()) {
      log.push(...msg.args);
      msg.reply(log.length);
    }
  })();
  MSG_NUMBER.send(task)(1);
  const called = MSG_SUM.call(task)(2);
  MSG_NUMBER.send(task)(3);
  assertEquals([await called, log], [2, [1, 2]]);
  await task.kill();
});

Deno.test("MSG.call() leaves no timer and no listener behind", async () => {
  const task = served((msg) => msg.reply(1));
  const signal = new CountingSignal();
  const timers = timerCount();
  await MSG_SUM.call(task, { timeout: 1000, signal })();
  assertEquals([timerCount() - timers, signal.listeners], [0, 0]);
  await task.kill();
});

// ------------------------------------------------------------------------------------------------
// Message.call(): CallError "finished"

Deno.test('MSG.call() ends with "finished" when the callee has finished before', async () => {
  const task = Tasklet.new(() => {}, { name: "callee" })();
  await task.join();
  const error = await failureOf(MSG_ASK.call(task)());
  assertEquals([error.reason, error.name, error.cause], ["finished", "CallError", undefined]);
  assertMatch(error.message, /MSG_ASK.*callee#\d+ has finished/);
});

Deno.test('MSG.call() ends with "finished" and the callee\'s error as cause when it had failed before', async () => {
  const failure = new Error("No luck");
  const task = Tasklet.new(() => Promise.reject(failure))();
  await outcome(task.join());
  const { reason, cause } = await failureOf(MSG_ASK.call(task)());
  assertEquals(reason, "finished");
  assertStrictEquals(cause, failure);
});

Deno.test('MSG.call() ends with "finished" when the callee returns without having taken the message', async () => {
  const task = Tasklet.new(() => Tasklet.receiveOne([MSG_QUIT]))();
  const call = failureOf(MSG_ASK.call(task)());
  MSG_QUIT.send(task)();
  const { reason, cause } = await call;
  assertEquals([reason, cause], ["finished", undefined]);
});

Deno.test('MSG.call() ends with "finished" when the callee returns having taken the message', async () => {
  const task = Tasklet.new(() => Tasklet.receiveOne([MSG_ASK]))();
  assertEquals(await outcome(MSG_ASK.call(task)()), "finished");
});

Deno.test('MSG.call() ends with "finished" and the callee\'s error as cause when it fails meanwhile', async () => {
  const failure = new Error("No luck");
  const task = Tasklet.new(async () => {
    await Tasklet.receiveOne([MSG_ASK]);
    throw failure;
  })();
  const joined = outcome(task.join());
  const { reason, cause } = await failureOf(MSG_ASK.call(task)());
  assertEquals(reason, "finished");
  assertStrictEquals(cause, failure);
  assertEquals(await joined, "JoinError");
});

Deno.test('MSG.call() ends with "finished" when the callee returned and only waits for its children', async () => {
  const log: unknown[] = [];
  const task = Tasklet.new(async () => {
    Tasklet.new(() => Tasklet.suspend(() => {}), { name: "child" })();
    await Tasklet.receiveOne([MSG_ASK]);
  })();
  log.push(await outcome(MSG_ASK.call(task)()), task.status, await outcome(MSG_ASK.call(task)()));
  await task.kill();
  assertEquals(log, ["finished", "waiting", "finished"]);
});

Deno.test('MSG.call() ends with "finished" and the exit as cause when the callee is killed', async () => {
  const task = Tasklet.new(async () => {
    await Tasklet.receiveOne([MSG_ASK]);
    await Tasklet.suspend(() => {});
  })();
  const [taken, queued] = [failureOf(MSG_ASK.call(task)()), failureOf(MSG_ASK.call(task)())];
  await Tasklet.yield();
  await task.kill();
  const after = failureOf(MSG_ASK.call(task)());
  const log: unknown[] = [];
  for (const error of await Promise.all([taken, queued, after])) {
    log.push([error.reason, (error.cause as Error).name]);
  }
  assertEquals(log, [1, 2, 3].map(() => ["finished", "TaskletExit"]));
});

Deno.test('MSG.call() ends with "finished" when the callee is killed before it started', async () => {
  const task = Tasklet.new(() => {})();
  const call = outcome(MSG_ASK.call(task)());
  await task.kill();
  assertEquals(await call, "finished");
});

Deno.test('MSG.call() ends with "finished" when a callee that deferred the reply has finished', async () => {
  const held: MSG_ASK[] = [];
  const task = Tasklet.new(async () => void held.push((await Tasklet.receiveOne([MSG_ASK])).defer()))();
  const call = outcome(MSG_ASK.call(task)());
  assertEquals([await call, held[0]!.reply("too late")], ["finished", false]);
});

Deno.test("MSG.call() with a deferred reply is answered by a child after the callee's body has returned", async () => {
  await using _time = virtualTime();
  const task = Tasklet.new(async () => {
    const msg = (await Tasklet.receiveOne([MSG_ASK])).defer();
    Tasklet.later(10, () => msg.reply("from a child"))();
  })();
  assertEquals(await outcome(MSG_ASK.call(task)()), "from a child");
  await task.join();
});

// ------------------------------------------------------------------------------------------------
// Message.call(): CallError "refused"

Deno.test('MSG.call() ends with "refused" when the mailbox is full', async () => {
  const task = collector({ capacity: 1 }, "busy");
  MSG_QUIT.send(task)();
  const error = await failureOf(MSG_ASK.call(task)());
  assertEquals(error.reason, "refused");
  assertMatch(error.message, /MSG_ASK.*busy#\d+ is full/);
  assertEquals(await task.join(), []);
});

Deno.test('MSG.call() ends with "refused" when its message is dropped for a newer one', async () => {
  const task = Tasklet.new(async function busy() {
    await Tasklet.suspend(() => {});
  }, { mailbox: { capacity: 2, overflow: "drop-oldest" } })();
  const calls = [failureOf(MSG_ASK.call(task)()), failureOf(MSG_ASK.call(task)())];
  const accepted = [MSG_QUIT.send(task)(), MSG_QUIT.send(task)()];
  const log = (await Promise.all(calls)).map((error) => error.reason);
  assertEquals([accepted, log], [[true, true], ["refused", "refused"]]);
  await task.kill();
});

// ------------------------------------------------------------------------------------------------
// Message.call(): CallError "forgotten"

Deno.test('MSG.call() ends with "forgotten" when the receiving loop goes on to its next message', async () => {
  const task = Tasklet.new(async function sloppy() {
    for await (const msg of Tasklet.receive()) if (msg.match(MSG_QUIT)) return;
  })();
  const error = await failureOf(MSG_ASK.call(task)());
  assertEquals(error.reason, "forgotten");
  assertMatch(error.message, /MSG_ASK.*sloppy#\d+/);
  MSG_QUIT.send(task)();
  await task.join();
});

Deno.test('MSG.call() ends with "forgotten" when a batch of pending() goes on', async () => {
  const task = Tasklet.new(async () => {
    await Tasklet.yield();
    for (const _ of Tasklet.pending());
    await Tasklet.suspend(() => {});
  })();
  assertEquals(await Promise.all([MSG_ASK.call(task)(), MSG_ASK.call(task)()].map(outcome)), [
    "forgotten",
    "forgotten",
  ]);
  await task.kill();
});

Deno.test("MSG.call() is not forgotten while the loop works on it, however long", async () => {
  await using _time = virtualTime();
  const task = Tasklet.new(async () => {
    for await (const msg of Tasklet.receive([MSG_ASK])) {
      await Tasklet.sleep(60_000);
      msg.reply("at last");
    }
  })();
  assertEquals(await Promise.all([MSG_ASK.call(task)(), MSG_ASK.call(task)()].map(outcome)), [
    "at last",
    "at last",
  ]);
  await task.kill();
});

Deno.test("MSG.call() is not forgotten when the loop is left before it replies", async () => {
  const task = Tasklet.new(async () => {
    for await (const msg of Tasklet.receive([MSG_ASK])) {
      await Tasklet.yield();
      setTurn(() => msg.reply("after the loop"));
      break;
    }
    await Tasklet.receiveOne([MSG_QUIT]);
  })();
  assertEquals(await outcome(MSG_ASK.call(task)()), "after the loop");
  MSG_QUIT.send(task)();
  await task.join();
});

Deno.test("MSG.call() is not forgotten with receiveOne(): there is no loop to go on", async () => {
  const task = Tasklet.new(async () => {
    const first = await Tasklet.receiveOne([MSG_ASK]);
    const second = await Tasklet.receiveOne([MSG_ASK]);
    second.reply("second");
    first.reply("first");
  })();
  assertEquals(await Promise.all([MSG_ASK.call(task)(), MSG_ASK.call(task)()].map(outcome)), [
    "first",
    "second",
  ]);
  await task.join();
});

// ------------------------------------------------------------------------------------------------
// Message.call(): CallError "deadlock"

Deno.test('MSG.call() ends with "deadlock" when the callee calls the caller, and names the cycle', async () => {
  const alice = named("alice", async () => {
    try {
      return await MSG_ASK.call(bob)();
      // deno-lint-ignore concurrence/rethrow-exit -- nothing else may come
    } catch (error) {
      return (error as Error).message;
    }
  });
  const bob: Tasklet<unknown> = named("bob", async () => {
    const msg = await Tasklet.receiveOne([MSG_ASK]);
    const error = await failureOf(MSG_ASK.call(alice)());
    msg.reply(error.reason);
    return error.message;
  });
  assertEquals(await alice.join(), "deadlock");
  assertMatch(await bob.join() as string, /MSG_ASK.*bob#\d+.*alice#\d+.*bob#\d+/);
});

Deno.test('MSG.call() ends with "deadlock" when the callee waits for the caller through a third', async () => {
  const alice: Tasklet<unknown> = named("alice", () => outcome(MSG_ASK.call(bob)()));
  const bob: Tasklet<unknown> = named("bob", async () => {
    const msg = await Tasklet.receiveOne([MSG_ASK]);
    msg.reply(await MSG_ASK.call(carol)());
  });
  const carol: Tasklet<unknown> = named("carol", async () => {
    const msg = await Tasklet.receiveOne([MSG_ASK]);
    const error = await failureOf(MSG_ASK.call(alice)());
    msg.reply(error.reason);
    return error.message;
  });
  assertEquals(await alice.join(), "deadlock");
  assertMatch(await carol.join() as string, /carol#\d+.*alice#\d+.*bob#\d+.*carol#\d+/);
  await bob.join();
});

Deno.test('MSG.call() of oneself ends with "deadlock"', async () => {
  const task = named("narcissus", () => failureOf(MSG_ASK.call(Tasklet.current()!)()));
  const error = await task.join();
  assertEquals(error.reason, "deadlock");
  assertMatch(error.message, /narcissus#\d+.*narcissus#\d+/);
});

Deno.test('MSG.call() ends with "deadlock" when the callee joins the caller', async () => {
  const alice: Tasklet<CallError> = named("alice", async () => {
    await Tasklet.yield();
    return await failureOf(MSG_ASK.call(bob)());
  });
  const bob: Tasklet<unknown> = named("bob", () => alice.join());
  const error = await alice.join();
  assertEquals(error.reason, "deadlock");
  assertMatch(error.message, /alice#\d+.*bob#\d+.*alice#\d+/);
  await bob.join();
});

Deno.test('MSG.call() ends with "deadlock" when the callee joins all of a group with the caller in it', async () => {
  const alice: Tasklet<unknown> = named("alice", async () => {
    await Tasklet.yield();
    return await outcome(MSG_ASK.call(bob, { timeout: 1000 })());
  });
  const bob: Tasklet<unknown> = named("bob", () => Tasklet.joinAll([alice, named("zoe", () => {})]));
  assertEquals(await alice.join(), "deadlock");
  await bob.join();
});

Deno.test('MSG.call() ends with "deadlock" when the callee joins one that waits for its child, the caller', async () => {
  await using _time = virtualTime();
  const boss: Tasklet<unknown> = named("boss", () => middle.join());
  let child: Tasklet<unknown> | undefined;
  const middle: Tasklet<unknown> = named("middle", () => {
    child = named("child", async () => {
      await Tasklet.yield(); // by now the body of "middle" has returned, and "middle" waits for this child
      return await outcome(MSG_ASK.call(boss, { timeout: 1000 })());
    });
  });
  await boss.join();
  assertEquals(await child!.join(), "deadlock");
});

Deno.test('MSG.call() ends with "deadlock" when the callee is in a scope with the caller', async () => {
  await using _time = virtualTime();
  let answer: unknown;
  const boss: Tasklet<unknown> = named("boss", () =>
    Tasklet.scope(() => {
      named("child", async () => {
        await Tasklet.yield();
        answer = await outcome(MSG_ASK.call(boss, { timeout: 1000 })());
      });
    }));
  await boss.join();
  assertEquals(answer, "deadlock");
});

Deno.test("MSG.call() is no deadlock when the callee waits for the caller beside something else", async () => {
  const alice: Tasklet<unknown> = named("alice", async () => {
    const called = MSG_ASK.call(bob)();
    const msg = await Tasklet.receiveOne([MSG_ASK]); // while it waits for bob's reply
    msg.reply("yes");
    return await called;
  });
  const bob: Tasklet<unknown> = named("bob", async () => {
    const msg = await Tasklet.receiveOne([MSG_ASK]);
    msg.reply(await MSG_ASK.call(alice)());
  });
  assertEquals(await alice.join(), "yes");
  await bob.join();
});

Deno.test("MSG.call() is no deadlock after the first call has ended", async () => {
  await using _time = virtualTime();
  const alice: Tasklet<unknown> = named("alice", async () => {
    const first = await outcome(MSG_ASK.call(bob, { timeout: 10 })());
    const msg = await Tasklet.receiveOne([MSG_ASK]);
    msg.reply("yes");
    return first;
  });
  const bob: Tasklet<unknown> = named("bob", async () => {
    await Tasklet.sleep(20);
    return await outcome(MSG_ASK.call(alice)());
  });
  assertEquals([await alice.join(), await bob.join()], ["TimeoutError", "yes"]);
});

Deno.test("MSG.call() is no deadlock when the callee waits for a reply that the caller has deferred", async () => {
  await using _time = virtualTime();
  const alice: Tasklet<unknown> = named("alice", async () => {
    const first = await outcome(MSG_ASK.call(bob)()); // carol answers it
    const msg = await Tasklet.receiveOne([MSG_ASK]);
    msg.reply("to bob");
    return first;
  });
  const bob: Tasklet<unknown> = named("bob", async () => {
    const msg = (await Tasklet.receiveOne([MSG_ASK])).defer();
    const carol = named("carol", async () => {
      await Tasklet.sleep(10);
      msg.reply("from carol");
    });
    const answer = await outcome(MSG_ASK.call(alice, { timeout: 1000 })());
    await carol.join();
    return answer;
  });
  assertEquals([await alice.join(), await bob.join()], ["from carol", "to bob"]);
});

Deno.test("MSG.call() of oneself is no deadlock while a loop of the same tasklet serves beside it", async () => {
  await using _time = virtualTime();
  async function serve(): Promise<void> {
    for await (const msg of Tasklet.receive([MSG_ASK])) msg.reply("from myself");
  }
  const direct = named("direct", async () => {
    void serve();
    return await outcome(MSG_ASK.call(Tasklet.current()!, { timeout: 1000 })());
  });
  const through: Tasklet<unknown> = named("through another", async () => {
    void serve();
    return await outcome(MSG_ASK.call(other, { timeout: 1000 })());
  });
  const other: Tasklet<unknown> = named("other", async () => {
    const msg = await Tasklet.receiveOne([MSG_ASK]);
    msg.reply(await outcome(MSG_ASK.call(through, { timeout: 1000 })()) as string);
  });
  assertEquals([await direct.join(), await through.join()], ["from myself", "from myself"]);
  await other.join();
});

Deno.test("MSG.call() of a ring that the caller is no part of ends with its timeout", async () => {
  await using _time = virtualTime();
  // Both wait for their calls first, so that neither sees the other wait.
  const ring: Tasklet<unknown>[] = [0, 1].map((i) =>
    named(`ring${i}`, async () => {
      const both = [MSG_ASK.call(ring[1 - i]!, { timeout: 100 })(), Tasklet.sleep(10)];
      return await Promise.all(both.map(outcome));
    })
  );
  await Tasklet.sleep(50);
  assertEquals(await outcome(MSG_ASK.call(ring[0]!, { timeout: 10 })()), "TimeoutError");
  await Tasklet.joinAll(ring);
});

// ------------------------------------------------------------------------------------------------
// Message.call(): timeout, signal, kill

Deno.test("MSG.call() rejects with TimeoutError when no reply came within timeout", async () => {
  await using time = virtualTime();
  const task = Tasklet.new(() => Tasklet.suspend(() => {}), { name: "deaf" })();
  const error = await MSG_ASK.call(task, { timeout: 500 })().catch((error) => error);
  assertInstanceOf(error, TimeoutError);
  assertMatch(error.message, /500 ms.*deaf#\d+.*MSG_ASK/);
  assertEquals([time.now, task.mailbox.length], [500, 1]);
  await task.kill();
});

Deno.test("MSG.call() rejects with TimeoutError when an enclosing deadline passes", async () => {
  await using time = virtualTime();
  const deaf = Tasklet.new(() => Tasklet.suspend(() => {}))();
  const caller = Tasklet.new(async () => {
    using _ = Timeout.push(100);
    return await outcome(MSG_ASK.call(deaf, { timeout: 500 })());
  })();
  assertEquals([await caller.join(), time.now], ["TimeoutError", 100]);
  await deaf.kill();
});

Deno.test("MSG.call() with a reply in time leaves the timeout without effect", async () => {
  await using time = virtualTime();
  const task = Tasklet.new(async () => {
    for await (const msg of Tasklet.receive([MSG_ASK])) {
      await Tasklet.sleep(99);
      msg.reply("in time");
    }
  })();
  assertEquals([await outcome(MSG_ASK.call(task, { timeout: 100 })()), time.now], ["in time", 99]);
  await time.advance(1000);
  await task.kill();
});

Deno.test("MSG.call() with a signal that is aborted already sends nothing and rejects with its reason", async () => {
  const task = Tasklet.new(() => Tasklet.suspend(() => {}))();
  const reason = { any: "reason" };
  const error = await MSG_ASK.call(task, { signal: AbortSignal.abort(reason) })().catch((error) => error);
  assertStrictEquals(error, reason);
  assertEquals(task.mailbox.length, 0);
  await task.kill();
});

Deno.test("MSG.call() rejects with the reason of the signal when it is aborted meanwhile", async () => {
  const task = Tasklet.new(() => Tasklet.suspend(() => {}))();
  const controller = new AbortController();
  const reason = new Error("enough");
  const call = MSG_ASK.call(task, { signal: controller.signal })().catch((error) => error);
  await Tasklet.yield();
  controller.abort(reason);
  assertStrictEquals(await call, reason);
  await task.kill();
});

Deno.test("MSG.call() lets go of the signal when the call ends, however it ends", async () => {
  await using _time = virtualTime();
  const log: unknown[] = [];
  const ends: Record<string, (callee: Tasklet<unknown>, caller: Tasklet<unknown>) => unknown> = {
    reply: (callee) => MSG_GREETING.send(callee)("reply"),
    fail: (callee) => MSG_GREETING.send(callee)("fail"),
    finished: (callee) => callee.kill(),
    killed: (_, caller) => caller.kill(),
    timeout: () => Tasklet.sleep(100),
  };
  for (const [how, end] of Object.entries(ends)) {
    const signal = new CountingSignal();
    const callee = Tasklet.new(async () => {
      const ask = await Tasklet.receiveOne([MSG_ASK]);
      const [how] = (await Tasklet.receiveOne([MSG_GREETING])).args;
      if (how === "reply") ask.reply("yes");
      else ask.fail(new Error("no"));
    })();
    const caller = Tasklet.new(() => outcome(MSG_ASK.call(callee, { signal, timeout: 50 })()))();
    await Tasklet.yield();
    const during = signal.listeners;
    await end(callee, caller);
    await Tasklet.joinAll([caller]);
    log.push([how, during, signal.listeners]);
    await callee.kill();
  }
  assertEquals(log, Object.keys(ends).map((how) => [how, 1, 0]));
});

Deno.test("MSG.call() rejects with the exit when the caller is killed, at once and in its cleanup", async () => {
  const deaf = Tasklet.new(() => Tasklet.suspend(() => {}))();
  const log: unknown[] = [];
  const caller = Tasklet.new(async () => {
    log.push(await outcome(MSG_ASK.call(deaf)()));
    log.push(await outcome(MSG_ASK.call(deaf)()));
  })();
  await Tasklet.yield();
  await caller.kill();
  assertEquals([log, deaf.mailbox.length], [["TaskletExit", "TaskletExit"], 1]);
  await deaf.kill();
});

Deno.test("MSG.call() takes undefined for each option", async () => {
  const task = served((msg) => msg.reply(1));
  const options: CallOptions[] = [{}, { timeout: undefined, signal: undefined }];
  const log = [await MSG_SUM.call(task, undefined)()];
  for (const each of options) log.push(await MSG_SUM.call(task, each)());
  assertEquals(log, [1, 1, 1]);
  await task.kill();
});

// In child programs, because a rejection that is blamed on nobody ends the process.
Deno.test("MSG.call() that nobody awaits fails its caller, not the callee that answers with an error", async () => {
  assertEquals(
    await floating(`
      for await (const msg of Tasklet.receive()) msg.fail(new Error("no"));
    `),
    ["callee waiting", "caller failed"],
  );
});

Deno.test("MSG.call() that nobody awaits fails its caller, not the callee that forgets the reply", async () => {
  assertEquals(await floating(`for await (const _ of Tasklet.receive());`), [
    "callee waiting",
    "caller failed",
  ]);
});

Deno.test("MSG.call() that nobody awaits fails its caller, not the process, when the callee finishes", async () => {
  assertEquals(await floating(`await Tasklet.receiveOne();`), ["callee done", "caller failed"]);
});

Deno.test("MSG.call() that nobody awaits fails its caller, not another that waits, when it times out", async () => {
  assertEquals(await floating(`await Tasklet.sleep(30);`), ["callee done", "caller failed"]);
});

/** How a callee ends, and a caller that leaves its call alone. */
async function floating(body: string): Promise<readonly string[]> {
  const { lines, stderr } = await runSource(`
    const callee = Tasklet.new(async () => { ${body} }, { name: "callee" })();
    const caller = Tasklet.new(async () => {
      void MSG_ASK.call(callee, { timeout: 30 })();
      await Tasklet.sleep(100);
    }, { name: "caller" })();
    await Tasklet.sleep(200);
    for (const task of [callee, caller]) console.log(task.name, task.status);
  `);
  return lines.length > 0 ? lines : stderr.split("\n");
}

// ------------------------------------------------------------------------------------------------
// CallError

Deno.test("CallError carries reason, message and cause", () => {
  const cause = new Error("No luck");
  const error = new CallError("finished", "Cannot call", { cause });
  assertEquals([error.name, error.reason, error.message, error instanceof Error], [
    "CallError",
    "finished",
    "Cannot call",
    true,
  ]);
  assertStrictEquals(error.cause, cause);
  assertEquals("cause" in new CallError("refused", "Cannot call"), false);
});

// ------------------------------------------------------------------------------------------------
// carry(), callOf(), Mailbox

Deno.test("carry() and callOf() let a receiver of one's own be called", async () => {
  const receiver = {
    deliver: (_: AnyMessage) => false,
    ask: (message: AnyMessage) =>
      new Promise<unknown>((resolve, reject) => {
        const call = { deferred: false, open: true as boolean, resume, fail: reject } satisfies Call;
        function resume(value: unknown) {
          call.open = false;
          resolve(value);
        }
        carry(message, call);
        log.push(callOf(message) === call, message.reply(42), callOf(message), message.reply(43));
      }),
  };
  const log: unknown[] = [];
  log.push(await MSG_SUM.call(receiver)(1), MSG_SUM.send(receiver)(1), callOf(new MSG_SUM(1)));
  assertEquals(log, [true, true, undefined, false, 42, false, undefined]);
});

Deno.test("Mailbox is exported here as well", () => {
  assertStrictEquals(Mailbox, mailbox.Mailbox);
});

// ------------------------------------------------------------------------------------------------
// Properties

class MSG_ODD extends MSG_NUMBER {} // taken by its base class
class MSG_EVEN extends Message("MSG_EVEN")<[n: number]> {}

/** What one of several senders does: how many it sends, and what it waits for after each. */
const pauses = fc.array(fc.constantFrom("none", "none", "yield", 1, 2, 5), { maxLength: 12 });
/** How a receiver goes for its messages, and how often. */
const ways = fc.array(
  fc.record({
    how: fc.constantFrom("receive", "receiveOne", "pending", "odd", "even", "sleep"),
    times: fc.integer({ min: 1, max: 6 }),
    timeout: fc.constantFrom(0, 1, 3),
  }),
  { maxLength: 20 },
);

async function pause(what: string | number): Promise<void> {
  if (what === "yield") await Tasklet.yield();
  else if (typeof what === "number") await Tasklet.sleep(what);
}

Deno.test("Messages of one sender arrive in order, none lost or twice, however senders and receives interleave", async () => {
  await using _time = virtualTime();
  const plan = fc.record({
    senders: fc.array(pauses, { minLength: 1, maxLength: 4 }),
    ways,
    capacity: fc.constantFrom(1, 3, Infinity),
  });
  await fc.assert(
    fc.asyncProperty(plan, async ({ senders, ways, capacity }) => {
      const accepted: string[] = [];
      const received: [name: string, n: number][] = [];
      const got = (msg: AnyMessage) => void received.push([msg.sender!.name, msg.args[0]]);
      const receiver = Tasklet.new(async () => {
        for (const way of ways) await go(way, got);
        for (const msg of Tasklet.pending()) got(msg); // what the ways left behind
        while (true) got(await Tasklet.receiveOne());
      }, { mailbox: { capacity } })();
      const tasks = senders.map((pauses, i) =>
        Tasklet.new(async () => {
          for (const [n, what] of pauses.entries()) {
            const sent = n % 2 === 0 ? MSG_EVEN.send(receiver)(n) : MSG_ODD.send(receiver)(n);
            if (sent) accepted.push(`sender${i}:${n}`);
            await pause(what);
          }
        }, { name: `sender${i}` })()
      );
      await Tasklet.joinAll(tasks);
      await Tasklet.sleep(10_000);
      await receiver.kill();

      assertEquals(received.map(([name, n]) => `${name}:${n}`).toSorted(), accepted.toSorted());
      for (const i of senders.keys()) {
        for (const parity of [0, 1]) {
          const numbers = received.filter(([name, n]) => name === `sender${i}` && n % 2 === parity).map((
            [, n],
          ) => n);
          assertEquals(numbers, numbers.toSorted((a, b) => a - b));
        }
        if (ways.some(({ how }) => how === "odd" || how === "even")) continue;
        const numbers = received.filter(([name]) => name === `sender${i}`).map(([, n]) => n);
        assertEquals(numbers, numbers.toSorted((a, b) => a - b));
      }
    }),
    { numRuns: 150 },
  );
});

async function go(
  { how, times, timeout }: { how: string; times: number; timeout: number },
  got: (msg: AnyMessage) => void,
): Promise<void> {
  const classes = { odd: [MSG_NUMBER], even: [MSG_EVEN] }[how] as MessageConstructor[] | undefined;
  try {
    if (how === "sleep") return await Tasklet.sleep(times);
    if (how === "receiveOne") return got(await Tasklet.receiveOne(undefined, { timeout }));
    if (how === "pending") {
      for (const msg of Tasklet.pending()) {
        got(msg);
        if (--times === 0) return;
      }
      return;
    }
    for await (const msg of Tasklet.receive(classes, { timeout })) {
      got(msg);
      if (--times === 0) break;
    }
    // deno-lint-ignore concurrence/rethrow-exit -- nothing else may come
  } catch (error) {
    assertInstanceOf(error, TimeoutError);
  }
}

type Answer = { how: "reply" | "fail" | "forget" | "defer" | "late" | "stranger"; after: number };
type Planned = { at: number; timeout?: number; abortAt?: number; killAt?: number; asChild: boolean };

const moment = fc.nat({ max: 12 });
const answer: fc.Arbitrary<Answer> = fc.record({
  how: fc.constantFrom<Answer["how"]>(
    "reply",
    "reply",
    "reply",
    "fail",
    "forget",
    "defer",
    "late",
    "stranger",
  ),
  after: fc.constantFrom(0, 0, 1, 3),
});
const planned: fc.Arbitrary<Planned> = fc.record(
  { at: moment, timeout: fc.nat({ max: 6 }), abortAt: moment, killAt: moment, asChild: fc.boolean() },
  { requiredKeys: ["at", "asChild"] },
);
const race = fc.record({
  answers: fc.array(answer, { minLength: 1, maxLength: 6 }),
  calls: fc.array(planned, { minLength: 1, maxLength: 8 }),
  sends: fc.array(moment, { maxLength: 8 }),
  mailbox: fc.constantFrom(
    {},
    { capacity: 1 },
    { capacity: 2 },
    { capacity: 2, overflow: "drop-oldest" as const },
  ),
  end: fc.record({
    how: fc.constantFrom("kill", "abandon", "return", "throw"),
    at: fc.integer({ min: 1, max: 20 }),
  }),
});

Deno.test("Every call settles once and lawfully, and no message is lost, in races of calls, kills and timeouts", async () => {
  await using _time = virtualTime();
  await fc.assert(
    fc.asyncProperty(race, async ({ answers, calls, sends, mailbox, end }) => {
      using _muted = muteReports(); // of abandoned tasklets
      const received: number[] = [];
      const left: number[] = [];
      const accepted: number[] = [];
      const answered = new Map<number, string>(); // whose reply or failure counted
      const outcomes = new Map<number, unknown[]>();
      const strangers: Tasklet<unknown>[] = [];
      const tell = (id: number, how: string, counted: boolean) => {
        if (!counted) return;
        assert(!answered.has(id), `call ${id} was answered twice`);
        answered.set(id, how);
      };

      async function work() {
        for await (const msg of Tasklet.receive()) {
          if (msg.match(MSG_QUIT)) throw new Error("told to");
          const id: number = msg.args[0];
          received.push(id);
          const { how, after } = answers[(received.length - 1) % answers.length]!;
          if (how !== "late" && how !== "stranger" && after > 0) await Tasklet.sleep(after);
          const reply = () => tell(id, "reply", msg.reply(id));
          if (how === "reply") reply();
          else if (how === "fail") tell(id, "fail", msg.fail(new Error(`failed ${id}`)));
          else if (how === "defer") msg.defer();
          else if (how === "late") (msg.defer(), Tasklet.later(after, reply)());
          else if (how === "stranger") {
            msg.defer();
            strangers.push(Tasklet.later(after, reply, { daemon: true })());
          }
        }
      }
      const callee: Tasklet<unknown> = Tasklet.new(async () => {
        try {
          if (end.how === "kill" || end.how === "abandon") return await work();
          using _ = Timeout.push(end.at);
          await work();
        } catch (error) {
          if (end.how === "return" && error instanceof TimeoutError) return;
          throw error;
        } finally {
          for (const msg of Tasklet.pending()) left.push(msg.args[0]);
          if (end.how === "abandon") await Tasklet.suspend(() => {}).catch(() => {});
        }
      }, { name: "callee", mailbox })();
      const ended = outcome(callee.join());

      async function call(id: number, { at, timeout, abortAt }: Planned, controller: AbortController) {
        const settled: unknown[] = [];
        await Tasklet.sleep(at);
        outcomes.set(id, settled);
        const options: CallOptions = { timeout };
        if (abortAt !== undefined) options.signal = controller.signal;
        const promise = MSG_SUM.call(callee, options)(id);
        await promise.then((value) => settled.push(value), (error) => settled.push(nameOf(error)));
      }
      const callers = calls.map((each, id) => {
        const controller = new AbortController();
        if (each.abortAt !== undefined) Tasklet.later(each.abortAt, () => controller.abort("aborted"))();
        const task = Tasklet.new(call, { name: `caller${id}`, daemon: !each.asChild })(id, each, controller);
        if (each.killAt !== undefined) Tasklet.later(each.killAt, () => task.kill())();
        return task;
      });
      const sender = Tasklet.new(async () => {
        let id = 100;
        for (const at of sends.toSorted((a, b) => a - b)) {
          const now = at - sends.length;
          if (now > 0) await Tasklet.sleep(1);
          if (MSG_NUMBER.send(callee)(id)) accepted.push(id);
          id++;
        }
      })();
      await Tasklet.sleep(end.at);
      if (end.how === "abandon") await callee.kill({ grace: 2 });
      else if (end.how === "kill") await callee.kill();
      await ended;
      await Tasklet.joinAll([...callers, ...strangers, sender], { timeout: 10_000 });
      await Tasklet.sleep(30); // all timers of the plan

      // Settled exactly once, with an outcome that the plan allows.
      for (const [id, settled] of outcomes) {
        const { timeout, abortAt, killAt } = calls[id]!;
        const how = answers.map(({ how }) => how);
        const legal: unknown[] = ["finished"];
        if (answered.get(id) === "reply") legal.splice(0, 1, id);
        else if (answered.get(id) === "fail") legal.splice(0, 1, `failed ${id}`);
        else {
          if (timeout !== undefined) legal.push("TimeoutError");
          if (abortAt !== undefined) legal.push("aborted");
          if (killAt !== undefined) legal.push("TaskletExit");
          if ("capacity" in mailbox) legal.push("refused");
          if (how.includes("forget") || left.includes(id)) legal.push("forgotten");
        }
        assert(settled.length === 1, `call ${id} settled ${settled.length} times: ${settled}`);
        assert(legal.includes(settled[0]), `call ${id} ended with ${settled[0]}, legal are ${legal}`);
        if (answered.has(id)) assert(received.includes(id));
        if (settled[0] === "forgotten") assert(received.includes(id) || left.includes(id));
        if (settled[0] === "refused") assert(!received.includes(id) && !left.includes(id));
      }
      // Whoever was answered has heard it.
      for (const id of answered.keys()) {
        assert(outcomes.get(id)?.length === 1, `the answer to ${id} got lost`);
      }
      // Nothing twice; nothing lost but what drop-oldest drops.
      const all = [...received, ...left];
      assertEquals(new Set(all).size, all.length);
      const kept = all.filter((id) => id >= 100);
      if ("overflow" in mailbox) assert(kept.every((id) => accepted.includes(id)));
      else assertEquals(kept.toSorted(), accepted.toSorted());
      assertEquals(kept, kept.toSorted());
    }),
    { numRuns: 400 },
  );
});

// ------------------------------------------------------------------------------------------------

/** Collects the first arguments of its messages as text, until `MSG_QUIT`. */
function collector(mailbox?: mailbox.MailboxOptions, name = "collector"): Tasklet<string[]> {
  return Tasklet.new(async () => {
    const log: string[] = [];
    for await (const msg of Tasklet.receive()) {
      if (msg.match(MSG_QUIT)) break;
      log.push(String(msg.args[0]));
    }
    return log;
  }, { name, mailbox })();
}

/** Calls `f` with each `MSG_SUM`. */
function served(f: (msg: MSG_SUM) => unknown): Tasklet<void, MSG_SUM> {
  return Tasklet.new(async function (this: Self<MSG_SUM>) {
    for await (const msg of this.receive()) f(msg);
  })();
}

function named<R>(name: string, body: () => R): Tasklet<Awaited<R>> {
  return Tasklet.new(body, { name })();
}

/** What a promise gives; its error in a word. */
function outcome(promise: Promise<unknown>): Promise<unknown> {
  return promise.catch(nameOf);
}

function nameOf(error: unknown): unknown {
  if (error instanceof CallError) return error.reason;
  if (!(error instanceof Error)) return error;
  return error.constructor === Error ? error.message : error.name;
}

async function failureOf(promise: Promise<unknown>): Promise<CallError> {
  const error = await promise.then((value) => `no error but ${value}`, (error) => error);
  assertInstanceOf(error, CallError);
  return error;
}

function muteReports(): Disposable {
  const { error } = console;
  console.error = () => {};
  return { [Symbol.dispose]: () => void (console.error = error) };
}

/** Takes turns of the event loop until `condition` holds. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await Tasklet.yield();
}

function setTurn(f: () => void): void {
  void new Promise((resolve) => setTimeout(resolve)).then(f);
}
