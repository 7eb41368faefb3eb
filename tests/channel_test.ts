import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { Channel, ChannelClosedError } from "../channel.ts";
import { JoinError, Tasklet, TimeoutError } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { Timeout, timerCount } from "../timer.ts";
import { catchReports } from "./reports.ts";

// ------------------------------------------------------------------------------------------------
// new Channel()

Deno.test("new Channel() is empty, open, and without capacity by default", () => {
  const { capacity, closed, balance, hasSender, hasReceiver, stats } = new Channel();
  assertEquals({ capacity, closed, balance, hasSender, hasReceiver }, {
    capacity: 0,
    closed: false,
    balance: 0,
    hasSender: false,
    hasReceiver: false,
  });
  assertEquals(stats, { sent: 0, received: 0, largestBalance: 0, smallestBalance: 0 });
  assertEquals([new Channel(3).capacity, new Channel(Infinity).capacity], [3, Infinity]);
});

Deno.test("new Channel() refuses a capacity that is no integer of 0 or more, naming it", () => {
  const bad: unknown[] = [-1, 0.5, NaN, -Infinity, 2 ** 53, "3", null, {}];
  const log = bad.map((capacity) => assertThrows(() => new Channel(capacity as number), RangeError).message);
  const why = `Cannot create channel: "capacity" must be an integer, 0 or more, got `;
  assertEquals(log, bad.map((capacity) => why + capacity));
});

// ------------------------------------------------------------------------------------------------
// Channel.send() and receive()

Deno.test("Channel.send() without capacity resolves only when a receiver has taken the value", async () => {
  await using _ = virtualTime();
  const channel = new Channel<number>();
  const log: string[] = [];
  const sender = Tasklet.new(async () => {
    for (const n of [1, 2]) {
      await channel.send(n);
      log.push(`sent ${n}`);
    }
  })();
  await Tasklet.sleep(10);
  log.push(`status ${sender.status}`);
  for (let i = 0; i < 2; i++) {
    log.push(`received ${await channel.receive()}`);
    await Tasklet.sleep(10);
  }
  await sender.join();
  assertEquals(log, ["status waiting", "sent 1", "received 1", "sent 2", "received 2"]);
});

Deno.test("Channel.receive() waits for its sender", async () => {
  await using time = virtualTime();
  const channel = new Channel<string>();
  const task = Tasklet.new(async () => [await channel.receive(), time.now])();
  await Tasklet.sleep(10);
  await channel.send("late");
  assertEquals(await task.join(), ["late", 10]);
});

Deno.test("Channel.send() and receive() of one tasklet to another, in order", async () => {
  const channel = new Channel<number>();
  const received: number[] = [];
  const sender = Tasklet.new(async () => {
    for (let i = 0; i < 3; i++) await channel.send(i);
  })();
  const receiver = Tasklet.new(async () => {
    while (true) received.push(await channel.receive());
  })();
  await sender.join();
  await receiver.kill();
  assertEquals(received, [0, 1, 2]);
});

Deno.test("Channel: Order: values leave as they came, and senders and receivers are served as they came", async () => {
  await using _ = virtualTime();
  for (const capacity of [0, 1, 2, 5, 9]) {
    const channel = new Channel<number>(capacity);
    const sent: number[] = [];
    const received: string[] = [];
    const send = (n: number) => channel.send(n).then(() => sent.push(n));
    const receive = (who: string) => channel.receive().then((n) => received.push(`${who} ${n}`));
    const sends = [0, 1, 2, 3, 4].map(send);
    const receives = ["a", "b", "c", "d", "e", "f", "g"].map(receive);
    await Promise.all([...sends, send(5), send(6), ...receives]);
    assertEquals([capacity, sent], [capacity, [0, 1, 2, 3, 4, 5, 6]]);
    assertEquals(received, ["a 0", "b 1", "c 2", "d 3", "e 4", "f 5", "g 6"]);
  }
});

Deno.test("Channel: Backpressure: a sender waits while the buffer is full, and goes on when a place is free", async () => {
  await using _ = virtualTime();
  const channel = new Channel<number>(2);
  const log: string[] = [];
  const sender = Tasklet.new(async () => {
    for (let i = 0; i < 5; i++) {
      await channel.send(i);
      log.push(`sent ${i}`);
    }
  })();
  await Tasklet.sleep(1);
  for (let i = 0; i < 3; i++) {
    log.push(`received ${await channel.receive()}`);
    await Tasklet.sleep(1);
  }
  await sender.join();
  assertEquals(log, [
    "sent 0",
    "sent 1",
    "sent 2",
    "received 0",
    "sent 3",
    "received 1",
    "sent 4",
    "received 2",
  ]);
});

Deno.test("Channel of capacity Infinity takes whatever comes", async () => {
  const channel = new Channel<number>(Infinity);
  for (let i = 0; i < 10_000; i++) await channel.send(i);
  assertEquals([channel.balance, channel.hasSender, await channel.receive()], [10_000, false, 0]);
});

Deno.test("Channel.send() and receive() need no tasklet", async () => {
  const channel = new Channel<number>();
  const received = channel.receive();
  await channel.send(1);
  const sent = channel.send(2);
  assertEquals([await received, await channel.receive(), await sent], [1, 2, undefined]);
});

Deno.test("Channel.send() takes any value, undefined too", async () => {
  const values = [undefined, null, NaN, 0, "", [], new Error("a value"), Symbol.iterator];
  const channel = new Channel<unknown>(1);
  for (const value of values) {
    await channel.send(value);
    assertStrictEquals(await channel.receive(), value);
    await channel.send(value);
    assertStrictEquals(channel.tryReceive()?.value, value);
  }
});

Deno.test("Channel.receive() ends in time or with TimeoutError, and loses nothing", async () => {
  await using time = virtualTime();
  const channel = new Channel<number>();
  const later = Tasklet.later(10, () => channel.send(10))();
  assertEquals(await channel.receive({ timeout: 20 }), 10);
  await later.join();

  const tooLate = Tasklet.later(20, () => channel.send(20))();
  const error = await assertRejects(() => channel.receive({ timeout: 10 }), TimeoutError);
  assertEquals(error.message, "Timed out after 10 ms: waiting for a value of a channel");
  assertEquals([time.now, channel.balance], [20, 0]);
  assertEquals([await channel.receive(), time.now], [20, 30]);
  await tooLate.join();
  assertEquals(timerCount(), 0);
});

Deno.test("Channel.send() ends in time or with TimeoutError, and then its value is not received", async () => {
  await using time = virtualTime();
  const channel = new Channel<number>();
  const later = Tasklet.later(10, () => channel.receive())();
  await channel.send(10, { timeout: 20 });
  assertEquals(await later.join(), 10);

  const tooLate = Tasklet.later(20, () => channel.receive({ timeout: 5 }))();
  const error = await assertRejects(() => channel.send(20, { timeout: 10 }), TimeoutError);
  assertEquals(error.message, "Timed out after 10 ms: waiting for a channel to take a value");
  assertEquals([time.now, channel.balance], [20, 0]);
  const { cause } = await assertRejects(() => tooLate.join(), JoinError);
  assert(cause instanceof TimeoutError);
  assertEquals([channel.stats.sent, timerCount()], [1, 0]);
});

Deno.test("Channel.send() and receive() refuse a timeout that is no duration", () => {
  const channel = new Channel<number>();
  const why = (what: string) =>
    `Cannot ${what}: "timeout" must be a number of milliseconds, 0 or more, got -1`;
  assertThrows(() => channel.send(1, { timeout: -1 }), RangeError, why("send"));
  assertThrows(() => channel.sendError(1, { timeout: -1 }), RangeError, why("send"));
  assertThrows(() => channel.receive({ timeout: -1 }), RangeError, why("receive"));
  assertEquals(channel.balance, 0);
});

Deno.test("Channel: Ready is ready: neither a deadline that has passed nor a timeout of 0 fails it", async () => {
  await using _ = virtualTime();
  const channel = new Channel<number>(1);
  const task = Tasklet.new(async () => {
    using _ = Timeout.push(0);
    await channel.send(1);
    await assertRejects(() => channel.send(2), TimeoutError, "the deadline has passed");
    const log = [await channel.receive({ timeout: 0 })];
    await assertRejects(() => channel.receive(), TimeoutError, "the deadline has passed");
    await channel.send(3, { timeout: 0 });
    for await (const value of channel) {
      log.push(value);
      break;
    }
    return log;
  })();
  assertEquals([await task.join(), channel.balance], [[1, 3], 0]);
});

Deno.test("Channel.send() and receive() end by the deadline of their tasklet", async () => {
  await using time = virtualTime();
  const [full, empty] = [new Channel<number>(), new Channel<number>()];
  const task = Tasklet.new(async () => {
    using _ = Timeout.push(10);
    return await Promise.all([
      full.send(1).catch((error) => error.name),
      empty.receive().catch((error) => error.name),
      empty[Symbol.asyncIterator]().next().catch((error) => error.name),
    ]);
  })();
  assertEquals([await task.join(), time.now], [["TimeoutError", "TimeoutError", "TimeoutError"], 10]);
  assertEquals([full.balance, empty.balance], [0, 0]);
});

// ------------------------------------------------------------------------------------------------
// Channel.trySend() and tryReceive()

Deno.test("Channel.trySend() sends to who waits, or where there is room, and never waits", async () => {
  const channel = new Channel<number>(1);
  const received = [channel.receive(), channel.receive()];
  const log = [1, 2, 3, 4].map((n) => channel.trySend(n));
  channel.tryReceive();
  channel.close();
  log.push(channel.trySend(5));
  assertEquals([log, await Promise.all(received)], [[true, true, true, false, false], [1, 2]]);
  assertEquals(new Channel<number>().trySend(1), false);
});

Deno.test("Channel.tryReceive() takes what is buffered, then from who waits, and never waits", async () => {
  const channel = new Channel<number | undefined>(1);
  const sent = [1, undefined, 3].map((n) => channel.send(n));
  const log = [1, 2, 3, 4].map(() => channel.tryReceive());
  await Promise.all(sent);
  assertEquals(log, [{ value: 1 }, { value: undefined }, { value: 3 }, undefined]);
  channel.trySend(5);
  channel.close();
  assertEquals([channel.tryReceive(), channel.tryReceive()], [{ value: 5 }, undefined]);
});

Deno.test("Channel.tryReceive() from a waiting sender without capacity lets it go on", async () => {
  const channel = new Channel<number>();
  const sent = channel.send(1);
  assertEquals([channel.tryReceive(), channel.tryReceive(), await sent], [
    { value: 1 },
    undefined,
    undefined,
  ]);
});

// ------------------------------------------------------------------------------------------------
// Channel.sendError()

Deno.test("Channel: Failure: an error takes its place among the values, and the channel goes on", async () => {
  for (const capacity of [0, 1, 4]) {
    const channel = new Channel<number>(capacity);
    const errors = [new Error("second"), "a text", undefined];
    const sent = [channel.send(1), ...errors.map((error) => channel.sendError(error)), channel.send(5)];
    const log: unknown[] = [];
    for (let i = 0; i < 5; i++) log.push(await channel.receive().catch((error) => ["thrown", error]));
    await Promise.all(sent);
    assertEquals(log, [1, ...errors.map((error) => ["thrown", error]), 5]);
    assertEquals([channel.stats.sent, channel.stats.received], [5, 5]);
  }
});

Deno.test("Channel.sendError() is thrown to whoever waits: a receiver, a loop, and tryReceive()", async () => {
  const channel = new Channel<number>();
  const error = new Error("sent");
  const receiver = channel.receive();
  const loop = (async () => {
    for await (const _ of channel);
  })();
  await Promise.all([
    channel.sendError(error),
    channel.sendError(error),
    ...[receiver, loop].map((each) => assertRejects(() => each, Error, "sent")),
  ]);
  const sent = channel.sendError(error);
  assertStrictEquals(assertThrows(() => channel.tryReceive()), error);
  await sent;
  assertEquals([channel.balance, channel.closed], [0, false]);
});

Deno.test("Channel.sendError() is a wait like send(): it times out, and is refused by a closed channel", async () => {
  await using _ = virtualTime();
  const channel = new Channel<number>();
  await assertRejects(() => channel.sendError(new Error("sent"), { timeout: 10 }), TimeoutError);
  assertEquals(channel.tryReceive(), undefined);
  channel.close();
  await assertRejects(() => channel.sendError(new Error("sent")), ChannelClosedError);
});

Deno.test("Channel.sendError() to a tasklet that does not catch it fails that tasklet", async () => {
  const channel = new Channel<number>();
  const task = Tasklet.new(() => channel.receive())();
  const error = new Error("sent");
  const joined = assertRejects(() => task.join(), JoinError);
  await channel.sendError(error);
  assertStrictEquals((await joined).cause, error);
});

// ------------------------------------------------------------------------------------------------
// Iteration

Deno.test("Channel: for await takes values until the channel is closed and drained", async () => {
  await using _ = virtualTime();
  for (const capacity of [0, 2]) {
    const channel = new Channel<number>(capacity);
    const task = Tasklet.new(async () => {
      const log: number[] = [];
      for await (const value of channel) log.push(value);
      return log;
    })();
    for (let i = 0; i < 5; i++) await channel.send(i);
    channel.close();
    assertEquals(await task.join(), [0, 1, 2, 3, 4]);
  }
});

Deno.test("Channel: for await of several loops shares the values, and close() ends them all", async () => {
  await using _ = virtualTime();
  const channel = new Channel<number>();
  const loops = ["a", "b", "c"].map((name) =>
    Tasklet.new(async () => {
      const log: string[] = [];
      for await (const value of channel) log.push(name + value);
      return log;
    })()
  );
  await Tasklet.sleep(1);
  for (let i = 0; i < 7; i++) await channel.send(i);
  await Tasklet.sleep(1);
  assertEquals(channel.balance, -3);
  channel.close();
  const results = await Tasklet.joinAll(loops) as string[][];
  assertEquals(results, [["a0", "a3", "a6"], ["b1", "b4"], ["c2", "c5"]]);
});

Deno.test("Channel: for await that is left by break or by a sent error leaves the rest to others", async () => {
  const channel = new Channel<number>(9);
  for (const n of [1, 2, 3]) channel.trySend(n);
  await channel.sendError(new Error("sent"));
  for (const n of [4, 5]) channel.trySend(n);
  channel.close();
  const log: unknown[] = [];
  for await (const n of channel) {
    log.push(n);
    if (n === 2) break;
  }
  await assertRejects(
    async () => {
      for await (const n of channel) log.push(n);
    },
    Error,
    "sent",
  );
  for await (const n of channel) log.push(n);
  for await (const n of channel) log.push(n);
  assertEquals(log, [1, 2, 3, 4, 5]);
});

Deno.test("Channel: for await belongs to the tasklet that asks for the next value", async () => {
  await using _ = virtualTime();
  const channel = new Channel<number>();
  const iterator = channel[Symbol.asyncIterator]();
  assertStrictEquals(iterator[Symbol.asyncIterator](), iterator);
  const task = Tasklet.new(() => iterator.next())();
  await Tasklet.sleep(1);
  assertEquals([task.status, channel.balance], ["waiting", -1]);
  await task.kill();
  assertEquals(channel.balance, 0);
  const next = iterator.next();
  await channel.send(1);
  assertEquals(await next, { done: false, value: 1 });
  assertEquals(await iterator.return!(), { done: true, value: undefined });
});

// ------------------------------------------------------------------------------------------------
// As a source

Deno.test("Channel.subscribe() gives its taker one thing; taking it back twice, or too late, is harmless", () => {
  const channel = new Channel<number>();
  const log: string[] = [];
  const undos = ["a", "b", "c", "d"].map((name) =>
    channel.subscribe({
      take: (value) => log.push(name + value),
      fail: (error) => log.push(`${name} ${error}`),
    })
  );
  channel.trySend(1);
  for (const undo of [undos[2]!, undos[2]!, undos[0]!]) undo();
  assertEquals(channel.balance, -2);
  channel.trySend(2);
  undos[3]!();
  assertEquals([channel.balance, channel.trySend(3), log], [0, false, ["a1", "b2"]]);
});

// ------------------------------------------------------------------------------------------------
// balance, hasSender, hasReceiver, stats

Deno.test("Channel.hasReceiver tells whether a receiver waits, until it is killed", async () => {
  await using _ = virtualTime();
  const channel = new Channel<number>();
  const log = [channel.hasReceiver];
  const receiver = Tasklet.new(() => channel.receive())();
  await Tasklet.sleep(1000);
  log.push(channel.hasReceiver);
  await receiver.kill();
  log.push(channel.hasReceiver);
  assertEquals(log, [false, true, false]);
});

Deno.test("Channel.hasSender tells whether a sender waits, until it is killed; what is buffered has none", async () => {
  await using _ = virtualTime();
  const channel = new Channel<number>(1);
  const log = [channel.hasSender];
  channel.trySend(1);
  log.push(channel.hasSender);
  const sender = Tasklet.new(() => channel.send(2))();
  await Tasklet.sleep(1000);
  log.push(channel.hasSender);
  await sender.kill();
  log.push(channel.hasSender);
  assertEquals(log, [false, false, true, false]);
});

Deno.test("Channel.balance counts waiting receivers below 0, and waiting senders with what is buffered above", async () => {
  const channel = new Channel<number>(2);
  const log: number[] = [];
  const note = <T>(promise: Promise<T>) => (log.push(channel.balance), promise);
  const receives = [1, 2].map(() => note(channel.receive()));
  const sends = [1, 2, 3, 4, 5].map((n) => note(channel.send(n)));
  receives.push(...[1, 2, 3].map(() => note(channel.receive())));
  await Promise.all([...receives, ...sends]);
  assertEquals(log, [-1, -2, -1, 0, 1, 2, 3, 2, 1, 0]);
});

Deno.test("Channel.balance under a looping receiver: -1 while it waits, 0 when it is killed", async () => {
  await using _ = virtualTime();
  using reports = catchReports();
  const channel = new Channel<number | null>();
  let received: number[] = [];
  const task = Tasklet.loop(async () => {
    const value = await channel.receive();
    if (value === null) throw new Error("some error");
    received.push(value);
  })();
  const log: unknown[] = [];
  for (let round = 0; round < 2; round++) {
    received = [];
    for (let i = 0; i < 10; i++) await channel.send(i);
    await Tasklet.sleep(1);
    log.push([received.length, channel.balance, task.alive]);
    if (round === 0) await channel.send(null);
  }
  await task.kill();
  log.push([channel.hasReceiver, channel.balance, task.alive]);
  assertEquals(log, [[10, -1, true], [10, -1, true], [false, 0, false]]);
  assertEquals(reports.texts.length, 1);
});

Deno.test("Channel.stats counts what was sent and received, errors too, and keeps the extremes of the balance", async () => {
  const channel = new Channel<number>(2);
  const receives = [1, 2, 3].map(() => channel.receive());
  for (let i = 0; i < 5; i++) channel.trySend(i);
  const waiting = [channel.send(5), channel.sendError("sixth")];
  const log = [channel.stats];
  for (let i = 0; i < 3; i++) channel.tryReceive();
  await Promise.all([...receives, ...waiting]);
  log.push(channel.stats);
  assertEquals(log, [
    { sent: 5, received: 3, largestBalance: 4, smallestBalance: -3 },
    { sent: 7, received: 6, largestBalance: 4, smallestBalance: -3 },
  ]);
});
