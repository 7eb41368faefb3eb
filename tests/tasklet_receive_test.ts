import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { CallError, Message } from "../message.ts";
import { Tasklet, TaskletExit, TimeoutError } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { timerCount } from "../timer.ts";
import { useOrder } from "../wait.ts";

class MSG_A extends Message("MSG_A")<[n: number]> {}
class MSG_A2 extends MSG_A {}
class MSG_B extends Message("MSG_B")<[n: number]> {}
class MSG_C extends Message("MSG_C")<[n: number]> {}
class MSG_ASK extends Message("MSG_ASK")<[n: number], number> {}

// Tasklet.receive

Deno.test("Tasklet.receive() takes messages in order, queued and arriving", async () => {
  const task = Tasklet.new(async () => {
    const log: number[] = [];
    for await (const msg of Tasklet.receive([MSG_A])) {
      log.push(msg.args[0]);
      if (log.length === 6) break;
      if (log.length % 2 === 0) await Tasklet.yield();
    }
    return log;
  })();
  for (const n of [1, 2, 3]) MSG_A.send(task)(n);
  while (task.mailbox.length > 0) await Tasklet.yield();
  await Tasklet.yield();
  assertEquals(task.status, "waiting");
  for (const n of [4, 5, 6]) MSG_A.send(task)(n);
  assertEquals(await task.join(), [1, 2, 3, 4, 5, 6]);
});

Deno.test("Tasklet.receive() with classes takes these and their subclasses, and leaves others queued in order", async () => {
  const task = Tasklet.new(async () => {
    const log: string[] = [];
    for await (const msg of Tasklet.receive([MSG_A, MSG_C])) {
      log.push(`${msg.constructor.name} ${msg.args[0]}`);
      if (log.length === 4) break;
    }
    log.push("rest");
    for (const msg of Tasklet.pending()) log.push(`${msg.constructor.name} ${msg.args[0]}`);
    return log;
  })();
  MSG_B.send(task)(1);
  MSG_C.send(task)(2);
  MSG_A2.send(task)(3);
  MSG_B.send(task)(4);
  MSG_A.send(task)(5);
  MSG_C.send(task)(6);
  MSG_A.send(task)(7);
  assertEquals(await task.join(), [
    "MSG_C 2",
    "MSG_A2 3",
    "MSG_A 5",
    "MSG_C 6",
    "rest",
    "MSG_B 1",
    "MSG_B 4",
    "MSG_A 7",
  ]);
});

Deno.test("Tasklet.receive() with classes does not wake for others", async () => {
  await using _ = virtualTime();
  const task = Tasklet.new(async () => {
    const first = (await Tasklet.receive([MSG_B]).next()).value!;
    return [first.args[0], ...[...Tasklet.pending()].map((msg) => msg.args[0])];
  })();
  await Tasklet.yield();
  MSG_A.send(task)(1);
  MSG_A2.send(task)(2);
  assertEquals([task.status, task.mailbox.length], ["waiting", 2]);
  MSG_B.send(task)(3);
  assertEquals(await task.join(), [3, 1, 2]);
});

Deno.test("Tasklet.receive() with no classes in the list takes nothing", async () => {
  await using _ = virtualTime();
  const task = Tasklet.new(() => Tasklet.receiveOne([], { timeout: 10 }))();
  MSG_A.send(task)(1);
  const error = await assertRejects(() => task.join());
  assert((error as Error).cause instanceof TimeoutError);
});

Deno.test("Tasklet.receive() times out when no message came for that long, and loses nothing", async () => {
  await using time = virtualTime();
  const task = Tasklet.new(async () => {
    const log: unknown[] = [];
    try {
      for await (const msg of Tasklet.receive([MSG_A], { timeout: 20 })) log.push([msg.args[0], time.now]);
      // deno-lint-ignore concurrence/rethrow-exit -- nobody kills it
    } catch (error) {
      log.push([error instanceof TimeoutError, time.now]);
    }
    for await (const msg of Tasklet.receive()) {
      log.push([msg.args[0], time.now]);
      break;
    }
    return log;
  })();
  await Tasklet.sleep(15);
  MSG_A.send(task)(1);
  await Tasklet.sleep(15);
  MSG_B.send(task)(2);
  MSG_A.send(task)(3);
  await Tasklet.sleep(19);
  MSG_A.send(task)(4);
  assertEquals(await task.join(), [[1, 15], [3, 30], [4, 49], [true, 69], [2, 69]]);
  assertEquals(timerCount(), 0);
});

Deno.test("Tasklet.receive() that timed out takes no message that comes later", async () => {
  await using _ = virtualTime();
  const task = Tasklet.new(async () => {
    const messages = Tasklet.receive(undefined, { timeout: 10 });
    await assertRejects(() => messages.next(), TimeoutError);
    await Tasklet.sleep(10);
    assertEquals(Tasklet.current()!.mailbox.length, 1);
    return (await messages.next()).value!.args[0];
  })();
  await Tasklet.sleep(15);
  MSG_A.send(task)(1);
  assertEquals(await task.join(), 1);
});

Deno.test("Tasklet.receive() keeps the rest for the next one after break", async () => {
  const task = Tasklet.new(async () => {
    const log: unknown[] = [];
    for (const round of ["first", "second", "third"]) {
      for await (const msg of Tasklet.receive()) {
        log.push([round, msg.args[0]]);
        if (msg.args[0] % 2 === 0) break;
      }
    }
    return log;
  })();
  for (const n of [1, 2, 4, 5, 6]) MSG_A.send(task)(n);
  assertEquals(await task.join(), [["first", 1], ["first", 2], ["second", 4], ["third", 5], ["third", 6]]);
});

Deno.test("Tasklet.receive() fails a call that the loop went on from without an answer", async () => {
  const task = Tasklet.new(async () => {
    for await (const msg of Tasklet.receive()) if (msg.match(MSG_A)) break;
  })();
  const error = assertRejects(() => MSG_ASK.call(task)(1), CallError);
  MSG_A.send(task)(1);
  assertEquals((await error).reason, "forgotten");
  await task.join();
});

Deno.test("Tasklet.receive() hands over directly to whoever waits, without queueing", async () => {
  const task = Tasklet.new(async () => (await Tasklet.receiveOne([MSG_A])).args[0], {
    mailbox: { capacity: 1 },
  })();
  await Tasklet.yield();
  assertEquals(MSG_A.send(task)(1), true);
  assertEquals([task.mailbox.length, task.status], [0, "running"]);
  assertEquals(MSG_B.send(task)(2), true);
  assertEquals([task.mailbox.length, await task.join()], [1, 1]);
});

Deno.test("Tasklet.receive() hands over directly to the oldest of several waiting receivers that takes it", async () => {
  const task = Tasklet.new(async () => {
    const log: string[] = [];
    await Promise.all([
      Tasklet.receiveOne([MSG_B]).then((msg) => log.push(`only B: ${msg.args[0]}`)),
      Tasklet.receiveOne().then((msg) => log.push(`any, older: ${msg.args[0]}`)),
      Tasklet.receiveOne().then((msg) => log.push(`any, newer: ${msg.args[0]}`)),
    ]);
    return log;
  })();
  await Tasklet.yield();
  MSG_A.send(task)(1);
  MSG_B.send(task)(2);
  MSG_B.send(task)(3);
  assertEquals(await task.join(), ["any, older: 1", "only B: 2", "any, newer: 3"]);
});

Deno.test("Tasklet.receive(), receiveOne() and pending() outside of a tasklet throw", () => {
  assertThrows(() => Tasklet.receive(), Error, "Cannot receive: no tasklet is running");
  assertThrows(() => Tasklet.receiveOne(), Error, "Cannot receive: no tasklet is running");
  assertThrows(() => Tasklet.pending(), Error, "Cannot receive: no tasklet is running");
});

// Tasklet.receiveOne

Deno.test("Tasklet.receiveOne() takes one, of the classes, in time", async () => {
  await using time = virtualTime();
  const task = Tasklet.new(async () => {
    const b = await Tasklet.receiveOne([MSG_B]);
    const a = await Tasklet.receiveOne();
    await assertRejects(() => Tasklet.receiveOne([MSG_A], { timeout: 10 }), TimeoutError);
    return [b.args[0], a.args[0], time.now];
  })();
  MSG_A.send(task)(1);
  MSG_B.send(task)(2);
  assertEquals(await task.join(), [2, 1, 10]);
});

Deno.test("Tasklet.receiveOne() with a timeout of 0 takes what is there, and gives up otherwise", async () => {
  await using time = virtualTime();
  const task = Tasklet.new(async () => {
    const got = (await Tasklet.receiveOne([MSG_A], { timeout: 0 })).args[0];
    await assertRejects(() => Tasklet.receiveOne([MSG_A], { timeout: 0 }), TimeoutError);
    return [got, time.now];
  })();
  MSG_A.send(task)(1);
  assertEquals(await task.join(), [1, 0]);
});

Deno.test("Tasklet.receiveOne() does not check for forgotten replies", async () => {
  const task = Tasklet.new(async () => {
    const msg = await Tasklet.receiveOne([MSG_ASK]);
    await Tasklet.receiveOne();
    msg.reply(msg.args[0] + 1);
  })();
  const reply = MSG_ASK.call(task)(1);
  MSG_A.send(task)(1);
  assertEquals(await reply, 2);
  await task.join();
});

// Tasklet.pending

Deno.test("Tasklet.pending() yields what is queued now, without waiting", async () => {
  const task = Tasklet.new(() => {
    const batch = [...Tasklet.pending()].map((msg) => msg.args[0]);
    return [batch, [...Tasklet.pending()]];
  })();
  for (const n of [1, 2, 3]) MSG_A.send(task)(n);
  assertEquals(await task.join(), [[1, 2, 3], []]);
});

Deno.test("Tasklet.pending() leaves for later what arrives while it is read", async () => {
  const task = Tasklet.new(() => {
    const read = () => {
      const batch: number[] = [];
      for (const msg of Tasklet.pending()) {
        batch.push(msg.args[0]);
        if (msg.args[0] < 10) MSG_A.send(task)(msg.args[0] * 10);
      }
      return batch;
    };
    return [read(), read(), read()];
  })();
  for (const n of [1, 2, 3]) MSG_A.send(task)(n);
  assertEquals(await task.join(), [[1, 2, 3], [10, 20, 30], []]);
});

Deno.test("Tasklet.pending() leaves for later what takes the place of a dropped message", async () => {
  const task = Tasklet.new(() => {
    const batch: number[] = [];
    for (const msg of Tasklet.pending()) {
      batch.push(msg.args[0]);
      for (const n of [3, 4]) MSG_A.send(task)(n);
    }
    return batch;
  }, { mailbox: { capacity: 2, overflow: "drop-oldest" } })();
  for (const n of [1, 2]) MSG_A.send(task)(n);
  assertEquals(await task.join(), [1]);
});

Deno.test("Tasklet.pending() keeps the rest after break", async () => {
  const task = Tasklet.new(() => {
    for (const _ of Tasklet.pending()) break;
    return [...Tasklet.pending()].map((msg) => msg.args[0]);
  })();
  for (const n of [1, 2, 3]) MSG_A.send(task)(n);
  assertEquals(await task.join(), [2, 3]);
});

// Nothing is lost

Deno.test("Tasklet.receiveOne() that ends by a kill leaves its message to be read in the cleanup", async () => {
  await using _ = virtualTime();
  const task = Tasklet.new(async () => {
    try {
      await Tasklet.receiveOne([MSG_B]);
    } finally {
      log.push(...[...Tasklet.pending()].map((msg) => msg.args[0]));
    }
  })();
  const log: number[] = [];
  await Tasklet.yield();
  MSG_A.send(task)(1);
  MSG_A.send(task)(2);
  await task.kill();
  assertEquals(log, [1, 2]);
});

Deno.test("Tasklet.receiveOne() that times out in the turn in which its message comes loses nothing", async () => {
  await using _ = virtualTime();
  for (const sentFirst of [true, false]) {
    const got = await Tasklet.new(async () => {
      const self = Tasklet.current()!;
      if (sentFirst) Tasklet.later(10, () => MSG_A.send(self)(1), { daemon: true })();
      await Tasklet.yield();
      const early = Tasklet.receiveOne([MSG_A], { timeout: 10 }).then((msg) => [msg.args[0]], () => []);
      if (!sentFirst) Tasklet.later(10, () => MSG_A.send(self)(1), { daemon: true })();
      const first = await early;
      await Tasklet.sleep(1);
      return [...first, ...[...Tasklet.pending()].map((msg) => msg.args[0])];
    })().join();
    assertEquals(got, [1], `sent ${sentFirst ? "first" : "last"}`);
  }
});

Deno.test("A message handed over while many others are loses nothing by a kill or a timeout in the same turn", async () => {
  // More than 256 deliveries in one turn, so that those behind are held back.
  const taken: number[] = [];
  const tasks = Array.from({ length: 600 }, () =>
    Tasklet.new(async () => {
      taken.push((await Tasklet.receiveOne([MSG_A])).args[0]);
      await Tasklet.sleep(0);
      return "went on";
    })());
  await Tasklet.yield();
  await Tasklet.yield();
  await Tasklet.yield();
  tasks.forEach((task, n) => MSG_A.send(task)(n));
  const kills = tasks.map((task) => task.kill());
  await Promise.all(kills);
  assertEquals(taken, tasks.map((_, n) => n));
  assert(tasks.every((task) => task.status === "killed"));
});

Deno.test("Tasklet.receiveOne() and receive() may be asked again while a message waits for a turn", async () => {
  for (const how of ["receiveOne", "receive"]) {
    const log: unknown[] = [];
    const held: (() => void)[] = [];
    const asks = Promise.withResolvers<void>();
    const task = Tasklet.new(async () => {
      const loop = Tasklet.receive();
      const next = () => how === "receive" ? loop.next().then(({ value }) => value) : Tasklet.receiveOne();
      const ask = async (name: string) => log.push([name, (await next()).args[0]]);
      const first = ask("first");
      await asks.promise;
      await Promise.all([first, ask("second")]);
    })();
    await Tasklet.yield();
    {
      using _ = useOrder((go) => held.push(go));
      MSG_A.send(task)(1);
      asks.resolve();
      for (let i = 0; i < 10; i++) await undefined;
      for (const go of held.splice(0)) go();
      MSG_A.send(task)(2);
      for (const go of held.splice(0)) go();
    }
    await Tasklet.yield();
    await task.kill();
    assertEquals([how, log], [how, [["first", 1], ["second", 2]]]);
  }
});

// The hand-written iterator

Deno.test("Tasklet.receive() gives an iterator that is its own iterable, and belongs to who asked for it", async () => {
  const task = Tasklet.new(async () => {
    const messages = Tasklet.receive([MSG_A]);
    assertStrictEquals(messages[Symbol.asyncIterator](), messages);
    const first = await Tasklet.new(async () => (await messages.next()).value!.args[0])().join();
    return [first, (await messages.next()).value!.args[0]];
  })();
  MSG_A.send(task)(1);
  MSG_A.send(task)(2);
  assertEquals(await task.join(), [1, 2]);
});

Deno.test("Tasklet.receive() is ended by a kill, and gives nothing more", async () => {
  await using _ = virtualTime();
  const log: unknown[] = [];
  const task = Tasklet.new(async () => {
    const messages = Tasklet.receive();
    for (let i = 0; i < 3; i++) {
      try {
        log.push((await messages.next()).value!.args[0]);
      } catch (error) {
        log.push(error instanceof TaskletExit);
      }
    }
  })();
  MSG_A.send(task)(1);
  await Tasklet.yield();
  await Tasklet.yield();
  await task.kill();
  assertEquals(log, [1, true, true]);
});
