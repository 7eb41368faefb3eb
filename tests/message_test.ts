import { assertEquals, assertStrictEquals } from "@std/assert";
import {
  type AnyMessage,
  type Call,
  CallError,
  callOf,
  carry,
  Mailbox,
  Message,
  type MessageConstructor,
} from "../message.ts";
import * as mailbox from "../mailbox.ts";
import { Tasklet } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { Timeout } from "../timer.ts";
import { collector, MSG_ASK, MSG_GREETING, MSG_NUMBER, MSG_QUIT, MSG_SUM, served } from "./messages.ts";
import { outcome } from "./outcomes.ts";

class MSG_LOUD_GREETING extends MSG_GREETING {}
class MSG_FAREWELL extends Message("MSG_FAREWELL")<[name: string]> {}
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

/** Takes turns of the event loop until `condition` holds. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await Tasklet.yield();
}
