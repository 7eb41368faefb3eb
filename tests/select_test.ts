import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { setImmediate } from "node:timers";
import { after, Channel, ChannelClosedError, messages, select, type Source, type Taker } from "../channel.ts";
import { CallError, Message } from "../message.ts";
import { useChance } from "../select.ts";
import { JoinError, Tasklet, TaskletExit, TimeoutError } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { Timeout, timerCount } from "../timer.ts";
import { collectGarbage } from "./garbage.ts";

class MSG_A extends Message("MSG_A")<[n: number]> {}
class MSG_A2 extends MSG_A {}
class MSG_B extends Message("MSG_B")<[n: number]> {}
class MSG_ASK extends Message("MSG_ASK")<[], number> {}

// ------------------------------------------------------------------------------------------------
// What it takes

Deno.test("select() takes what is ready, and says from where", async () => {
  const [a, b] = [new Channel<number>(1), new Channel<string>(1)];
  b.trySend("ready");
  assertEquals(await select({ a, b }), ["b", "ready"]);
  a.trySend(1);
  assertEquals(await select({ a, b }), ["a", 1]);
  assertEquals([a.balance, b.balance], [0, 0]);
});

Deno.test("select() waits until one is ready, in a tasklet and outside", async () => {
  await using time = virtualTime();
  const [a, b] = [new Channel<number>(), new Channel<string>()];
  const wait = async () => [...await select({ a, b }), time.now];
  const task = Tasklet.new(wait)();
  Tasklet.later(10, () => b.send("first"))();
  Tasklet.later(20, () => a.send(2))();
  const outside = (async () => (await task.join(), await wait()))();
  assertEquals([await task.join(), await outside], [["b", "first", 10], ["a", 2, 20]]);
});

Deno.test("select() takes undefined for a value, and values that are promises without awaiting them", async () => {
  const a = new Channel<unknown>(1);
  const promise = Promise.resolve(1);
  for (const value of [undefined, null, promise]) {
    a.trySend(value);
    assertStrictEquals((await select({ a }))[1], value);
    const waiting = select({ a });
    a.trySend(value);
    assertStrictEquals((await waiting)[1], value);
  }
});

Deno.test("select(): Exactly one: nothing is taken from the others, ready or not", async () => {
  const channels = Object.fromEntries(["a", "b", "c"].map((key) => [key, new Channel<string>(2)]));
  const waiting = select(channels);
  assertEquals(Object.values(channels).map((channel) => channel.balance), [-1, -1, -1]);
  channels.b!.trySend("b1");
  for (const [key, channel] of Object.entries(channels)) channel.trySend(key + 2);
  assertEquals([await waiting, Object.values(channels).map((channel) => channel.balance)], [["b", "b1"], [
    1,
    1,
    1,
  ]]);
  const taken = (await select(channels))[0];
  const balances = Object.entries(channels).map(([key, { balance }]) => balance === (key === taken ? 0 : 1));
  assertEquals(balances, [true, true, true]);
});

Deno.test("select(): Exactly one: of two that become ready in one step, the second stays", async () => {
  await using _ = virtualTime();
  const [a, b] = [new Channel<number>(), new Channel<number>()];
  const task = Tasklet.new(() => select({ a, b }))();
  await Tasklet.sleep(1);
  const log = [a.trySend(1), b.trySend(2), a.trySend(3)];
  assertEquals([log, await task.join(), a.balance, b.balance], [[true, false, false], ["a", 1], 0, 0]);
});

Deno.test("select(): Exactly one: a kill, a timeout or a deadline takes nothing and leaves every line", async () => {
  await using time = virtualTime();
  const [a, b] = [new Channel<number>(1), new Channel<number>()];
  const sources = { a, b, message: messages(), time: after(1000) };
  const log: unknown[] = [];
  const ends = {
    kill: () => select(sources),
    timeout: () => select(sources, { timeout: 10 }),
    deadline: async () => {
      using _ = Timeout.push(10);
      return await select(sources);
    },
  };
  for (const [end, body] of Object.entries(ends)) {
    const task = Tasklet.new(body)();
    await Tasklet.sleep(1);
    log.push([end, task.status, a.balance, b.balance]);
    if (end === "kill") await task.kill();
    const { cause } = await assertRejects(() => task.join(), JoinError);
    log.push([cause instanceof TaskletExit || cause instanceof TimeoutError, timerCount()]);
    log.push([a.trySend(1), b.trySend(1), a.tryReceive()?.value, a.balance, b.balance]);
  }
  const rest = [[true, 0], [true, false, 1, 0, 0]];
  assertEquals(log, Object.keys(ends).flatMap((end) => [[end, "waiting", -1, -1], ...rest]));
  assertEquals(time.now, 1 + 1 + 10 - 1 + 10);
});

Deno.test("select() names what it waited for when its time is up", async () => {
  await using _ = virtualTime();
  const error = await assertRejects(
    () => select({ jobs: new Channel(), quit: new Channel() }, { timeout: 10 }),
    TimeoutError,
  );
  assertEquals(error.message, "Timed out after 10 ms: waiting for jobs or quit");
});

Deno.test("select(): Ready is ready: neither a deadline that has passed nor a timeout of 0 fails it", async () => {
  await using _ = virtualTime();
  const a = new Channel<number>(2);
  const task = Tasklet.new(async () => {
    using _ = Timeout.push(0);
    for (const n of [1, 2]) a.trySend(n);
    const log = [await select({ a }), await select({ a }, { timeout: 0 })];
    await assertRejects(() => select({ a }), TimeoutError, "the deadline has passed");
    await assertRejects(() => select({ message: messages() }), TimeoutError, "the deadline has passed");
    return [log, a.balance, await select({ message: messages([MSG_A]) }).catch(() => "none")];
  })();
  assertEquals(await task.join(), [[["a", 1], ["a", 2]], 0, "none"]);
});

Deno.test("select() of a tasklet that was killed elsewhere meets the exit, and takes nothing", async () => {
  await using _ = virtualTime();
  const a = new Channel<number>(1);
  a.trySend(1);
  const log: unknown[] = [];
  const task = Tasklet.new(async () => {
    void Tasklet.current()!.kill();
    log.push(await select({ a }).catch((error) => error instanceof TaskletExit), a.balance);
    log.push(await select({ a }), a.balance); // the cleanup may
  })();
  await assertRejects(() => task.join(), JoinError);
  assertEquals(log, [true, 1, ["a", 1], 0]);
});

// ------------------------------------------------------------------------------------------------
// Several that are ready

Deno.test("select(): Fair choice: the first that is ready from where chance says to begin", async () => {
  const keys = ["a", "b", "c", "d"];
  const channels = Object.fromEntries(keys.map((key) => [key, new Channel<number>(1)]));
  const log: string[] = [];
  const asked: number[] = [];
  for (let start = 0; start < keys.length; start++) {
    using _ = useChance((n) => (asked.push(n), start));
    for (const key of ["a", "c", "d"]) channels[key]!.trySend(1);
    const taken = [await select(channels), await select(channels), await select(channels)];
    log.push(taken.map(([key]) => key).join(""));
  }
  assertEquals(log, ["acd", "cda", "cda", "dac"]);
  assertEquals(new Set(asked), new Set([4]));
});

Deno.test("select(): Fair choice: none that stays ready is passed over for ever", async () => {
  const channels = Object.fromEntries(["a", "b", "c"].map((key) => [key, new Channel<number>(1)]));
  const counts: Record<string, number> = { a: 0, b: 0, c: 0 };
  let longest = 0;
  const passedOver: Record<string, number> = { a: 0, b: 0, c: 0 };
  for (let i = 0; i < 3000; i++) {
    for (const channel of Object.values(channels)) channel.trySend(i);
    const [taken] = await select(channels);
    counts[taken]!++;
    for (const key of Object.keys(passedOver)) {
      passedOver[key] = key === taken ? 0 : passedOver[key]! + 1;
      longest = Math.max(longest, passedOver[key]!);
    }
  }
  assert(Object.values(counts).every((count) => count > 850 && count < 1150), JSON.stringify(counts));
  assert(longest < 50, `passed over ${longest} times`);
});

Deno.test("select(): Fair choice: also of two that take turns", async () => {
  const pairs = [1, 2].map(() => ({ a: new Channel<number>(1), b: new Channel<number>(1) }));
  const counts = pairs.map(() => ({ a: 0, b: 0 }));
  for (let i = 0; i < 1000; i++) {
    for (const [n, pair] of pairs.entries()) {
      pair.a.trySend(i);
      pair.b.trySend(i);
      counts[n]![(await select(pair))[0]]++;
    }
  }
  assert(counts.every(({ a, b }) => a > 400 && b > 400), JSON.stringify(counts));
});

Deno.test("select() that is always ready lets the event loop have a turn after at most 256 deliveries", async () => {
  const [a, b] = [new Channel<number>(1), new Channel<number>(1)];
  let rounds = 0;
  const task = Tasklet.new(async () => {
    for (;; rounds++) {
      (rounds % 2 === 0 ? a : b).trySend(1);
      await select({ a, b });
    }
  })();
  await new Promise<void>((resolve) => setImmediate(resolve));
  const counts: number[] = [];
  for (let i = 0; i < 20; i++) {
    const before = rounds;
    await new Promise<void>((resolve) => setImmediate(resolve));
    counts.push(rounds - before);
  }
  await task.kill();
  assert(counts.every((count) => count > 0 && count <= 257), `rounds between turns: ${counts}`);
});

// ------------------------------------------------------------------------------------------------
// Channels

Deno.test("select() stands in line with other receivers, and meets a plain send()", async () => {
  const [a, b] = [new Channel<number>(), new Channel<number>()];
  const log: unknown[] = [];
  const waits = [
    a.receive().then((value) => log.push(["receive a", value])),
    select({ a, b }).then((taken) => log.push(["select", ...taken])),
    a.receive().then((value) => log.push(["receive a again", value])),
    b.receive().then((value) => log.push(["receive b", value])),
  ];
  assertEquals([a.balance, b.balance], [-3, -2]);
  for (const channel of [a, a, a, b]) await channel.send(1);
  await Promise.all(waits);
  assertEquals(log, [["receive a", 1], ["select", "a", 1], ["receive a again", 1], ["receive b", 1]]);
});

Deno.test("select() takes from a waiting send(), which then resolves; the other goes on waiting", async () => {
  const [a, b] = [new Channel<number>(), new Channel<number>()];
  const log: string[] = [];
  const sent = [a.send(1).then(() => log.push("a")), b.send(2).then(() => log.push("b"))];
  using _ = useChance(() => 0);
  const first = await select({ a, b });
  await Tasklet.yield();
  log.push(`${first}`);
  assertEquals([a.hasSender, b.hasSender], [false, true]);
  log.push(`${await select({ a, b })}`);
  await Promise.all(sent);
  assertEquals(log.toSorted(), ["a", "a,1", "b", "b,2"]);
});

Deno.test("select() of many on the same channels: each value goes to one of them, in order", async () => {
  const [a, b] = [new Channel<number>(), new Channel<number>()];
  const selects = [1, 2, 3, 4].map((n) => n % 2 === 1 ? select({ a, b }) : select({ b, a }));
  const log = [a, b, b, a, a, b].map((channel, n) => channel.trySend(n));
  assertEquals(log, [true, true, true, true, false, false]);
  assertEquals(await Promise.all(selects), [["a", 0], ["b", 1], ["b", 2], ["a", 3]]);
  assertEquals([a.balance, b.balance], [0, 0]);
});

Deno.test("select() of the same channel under several names takes one value, and leaves all places in line", async () => {
  const a = new Channel<number>(2);
  const waiting = select({ one: a, two: a });
  assert(a.trySend(1));
  assertEquals([await waiting, a.balance], [["one", 1], 0]);
  for (const n of [2, 3]) a.trySend(n);
  const keys = new Set<string>();
  for (let start = 0; start < 2; start++) {
    using _ = useChance(() => start);
    keys.add((await select({ one: a, two: a }))[0]);
  }
  assertEquals([keys, a.balance], [new Set(["one", "two"]), 0]);
  const ended = select({ one: a, two: a });
  a.close();
  await assertRejects(() => ended, ChannelClosedError);
  assertEquals(a.balance, 0);
});

Deno.test("select(): Errors: one that was sent is thrown, ready or waited for, and nothing else is taken", async () => {
  const [a, b] = [new Channel<number>(1), new Channel<number>(1)];
  const error = new Error("sent");
  await a.sendError(error);
  assertStrictEquals(await select({ a, b }).catch((error) => error), error);
  const waiting = select({ a, b }).catch((error) => error);
  await a.sendError(error);
  assert(b.trySend(1));
  assertStrictEquals(await waiting, error);
  assertEquals([a.balance, b.balance, await select({ a, b })], [0, 1, ["b", 1]]);
});

Deno.test("select(): Errors: a channel that is closed and drained ends it, and the error tells which", async () => {
  const [a, b] = [new Channel<number>(1), new Channel<number>(1)];
  b.trySend(1);
  const waiting = assertRejects(() => select({ a }), ChannelClosedError);
  a.close();
  b.close();
  for (const error of [await waiting, await assertRejects(() => select({ a }), ChannelClosedError)]) {
    assert(error.channel === a);
  }
  assertEquals(await select({ b }), ["b", 1]); // closed, but not drained
  assert((await assertRejects(() => select({ b }), ChannelClosedError)).channel === b);
});

Deno.test("select() leaves out what is undefined: so a loop goes on until all its channels are closed", async () => {
  const [a, b] = [new Channel<number>(5), new Channel<number>(5)];
  for (const n of [1, 2]) a.trySend(n);
  for (const n of [3, 4, 5]) b.trySend(n);
  a.close();
  b.close();
  const open: { a?: Channel<number> | undefined; b?: Channel<number> | undefined } = { a, b };
  const received: number[] = [];
  while (open.a !== undefined || open.b !== undefined) {
    try {
      received.push((await select({ ...open }))[1]);
    } catch (error) {
      assert(error instanceof ChannelClosedError);
      if (error.channel === a) open.a = undefined;
      else open.b = undefined;
    }
  }
  assertEquals(received.toSorted(), [1, 2, 3, 4, 5]);
});

Deno.test("select() refuses to have no source, or something else for one, naming it", () => {
  const log: string[] = [];
  const bad: Record<string, unknown>[] = [{}, { a: undefined }, { a: 1 }, { a: null }, {
    "a b": { poll() {} },
  }];
  for (const sources of bad) log.push(assertThrows(() => select(sources as never), TypeError).message);
  const what = `must be a source, with "poll" and "subscribe", got`;
  assertEquals(log, [
    "Cannot select: there is no source to take from",
    "Cannot select: there is no source to take from",
    `Cannot select: "a" ${what} 1`,
    `Cannot select: "a" ${what} null`,
    `Cannot select: "a b" ${what} [object Object]`,
  ]);
  assertThrows(() => select({ a: new Channel() }, { timeout: NaN }), RangeError, 'Cannot select: "timeout"');
});

Deno.test("select() in a loop leaves nothing behind at the sources that are never ready", async () => {
  const [a, quit] = [new Channel<number>(), new Channel<void>()];
  async function rounds(n: number): Promise<void> {
    const task = Tasklet.new(async () => {
      for (let i = 0; i < n; i++) await select({ a, quit, message: messages(), idle: after(60_000) });
    })();
    for (let i = 0; i < n; i++) await a.send(i);
    await task.join();
  }
  await rounds(1000);
  collectGarbage();
  const before = Deno.memoryUsage().heapUsed;
  await rounds(100_000);
  assertEquals([a.balance, quit.balance, timerCount()], [0, 0, 0]);
  collectGarbage();
  const left = Deno.memoryUsage().heapUsed - before;
  assert(left < 2 ** 20, `${left} bytes are left`);
});

// ------------------------------------------------------------------------------------------------
// messages()

Deno.test("messages() takes from the mailbox of the tasklet that selects, queued and arriving", async () => {
  await using _ = virtualTime();
  const a = new Channel<number>(1);
  const task = Tasklet.new(async () => {
    const log: unknown[] = [];
    for (let i = 0; i < 4; i++) {
      const [key, value] = await select({ message: messages(), a });
      log.push(key === "message" ? value.args[0] : "a");
    }
    return log;
  })();
  MSG_A.send(task)(1);
  await Tasklet.sleep(1);
  MSG_B.send(task)(2);
  await Tasklet.sleep(1);
  await a.send(0);
  await Tasklet.sleep(1);
  MSG_A.send(task)(3);
  assertEquals(await task.join(), [1, 2, "a", 3]);
});

Deno.test("messages() of classes takes these with their subclasses; others stay queued", async () => {
  await using _ = virtualTime();
  const a = new Channel<number>();
  const task = Tasklet.new(async () => {
    const taken: unknown[] = [];
    for (let i = 0; i < 3; i++) taken.push((await select({ message: messages([MSG_A]), a }))[1]);
    return [
      taken.map((value) => value instanceof MSG_A ? value.args[0] : value),
      [...Tasklet.pending()].map((message) => message.args[0]),
    ];
  })();
  MSG_B.send(task)(1);
  MSG_A2.send(task)(2);
  await Tasklet.sleep(1);
  MSG_B.send(task)(3);
  assertEquals(task.status, "waiting");
  await a.send(0);
  MSG_A.send(task)(4);
  MSG_B.send(task)(5);
  assertEquals(await task.join(), [[2, 0, 4], [1, 3, 5]]);
});

Deno.test("messages(): what comes after another source was taken stays in the mailbox", async () => {
  await using _ = virtualTime();
  const a = new Channel<number>();
  const task = Tasklet.new(async () => {
    const [key] = await select({ message: messages(), a });
    await Tasklet.sleep(10);
    return [key, Tasklet.current()!.mailbox.length, (await Tasklet.receiveOne()).args[0]];
  })();
  await Tasklet.sleep(1);
  assert(a.trySend(1));
  MSG_A.send(task)(2);
  assertEquals(await task.join(), ["a", 1, 2]);
});

Deno.test("messages() stands in line with other receivers of the same tasklet", async () => {
  await using _ = virtualTime();
  const a = new Channel<number>();
  const task = Tasklet.new(async () => {
    const log: string[] = [];
    await Promise.all([
      Tasklet.receiveOne([MSG_B]).then((msg) => log.push(`only B: ${msg.args[0]}`)),
      select({ message: messages(), a }).then(([key]) => log.push(`select: ${key}`)),
      Tasklet.receiveOne().then((msg) => log.push(`any: ${msg.args[0]}`)),
      select({ message: messages([MSG_B]), a }).then(([key]) => log.push(`select B: ${key}`)),
    ]);
    return log;
  })();
  await Tasklet.sleep(1);
  MSG_A.send(task)(1);
  MSG_A.send(task)(2);
  assertEquals(a.balance, -1);
  await a.send(3);
  MSG_B.send(task)(4);
  assertEquals(await task.join(), ["select: message", "any: 2", "select B: a", "only B: 4"]);
});

Deno.test("messages() gets calls too, and a reply that is forgotten is not noticed", async () => {
  await using _ = virtualTime();
  const task = Tasklet.new(async () => {
    for (let i = 0; i < 2; i++) {
      const [key, message] = await select({ ask: messages([MSG_ASK]), idle: after(1000) });
      if (key === "ask" && i === 0) message.reply(42);
    }
    await Tasklet.sleep(10);
  })();
  assertEquals(await MSG_ASK.call(task)(), 42);
  const error = await assertRejects(() => MSG_ASK.call(task)(), CallError);
  assertEquals([error.reason, task.status], ["finished", "done"]);
});

Deno.test("messages() outside of a tasklet: select() rejects", async () => {
  const a = new Channel<number>();
  for (const sources of [{ message: messages(), a }, { a, message: messages() }]) {
    const error = await assertRejects(() => select(sources), Error);
    assertEquals(error.message, "Cannot select messages: no tasklet is running");
  }
  assertEquals(a.balance, 0);
});

Deno.test("messages(): a killed tasklet receives nothing in its cleanup, though from channels it may", async () => {
  await using _ = virtualTime();
  const a = new Channel<string>(2);
  const log: unknown[] = [];
  const task = Tasklet.new(async () => {
    for (let i = 0; i < 3; i++) {
      const name = (promise: Promise<unknown>) => promise.catch((error) => error.name);
      log.push(await name(select({ message: messages(), a })));
    }
    log.push(await select({ a }), [...Tasklet.pending()].length);
  })();
  await Tasklet.sleep(1);
  const killed = task.kill();
  a.trySend("from a channel");
  await killed;
  assertEquals(log, ["TaskletExit", "TaskletExit", "TaskletExit", ["a", "from a channel"], 0]);
});

// ------------------------------------------------------------------------------------------------
// after()

Deno.test("after() is ready a time after select() has begun to wait, each time anew", async () => {
  await using time = virtualTime();
  const a = new Channel<number>();
  const sources = { a, idle: after(10) };
  Tasklet.later(5, () => a.send(1))();
  const log: unknown[] = [];
  for (let i = 0; i < 3; i++) log.push([...await select(sources), time.now]);
  assertEquals(log, [["a", 1, 5], ["idle", undefined, 15], ["idle", undefined, 25]]);
  assertEquals(timerCount(), 0);
});

Deno.test("after() of 0 lets everything go first that is ready", async () => {
  await using _ = virtualTime();
  const a = new Channel<number>(1);
  for (let i = 0; i < 20; i++) {
    a.trySend(i);
    assertEquals(await select({ none: after(0), a }), ["a", i]);
  }
  assertEquals(await select({ a, none: after(0) }), ["none", undefined]);
});

Deno.test("after() the shortest of several is first, and of equal ones the first named", async () => {
  await using time = virtualTime();
  assertEquals([await select({ a: after(20), b: after(10), c: after(10) }), time.now], [
    ["b", undefined],
    10,
  ]);
  assertEquals(timerCount(), 0);
});

Deno.test("after() refuses what is no duration", () => {
  const why = 'Cannot select by time: "ms" must be a number of milliseconds, 0 or more, got -1';
  assertThrows(() => after(-1), RangeError, why);
});

// ------------------------------------------------------------------------------------------------
// Sources of one's own

/** A source that does what its test says, and tells what was asked of it. */
function source(
  name: string,
  log: string[],
  { poll = () => undefined, subscribe = () => {} }: {
    poll?: () => { value: unknown } | undefined;
    subscribe?: (taker: Taker<unknown>) => void;
  } = {},
): Source<unknown> {
  return {
    poll() {
      log.push(`poll ${name}`);
      return poll();
    },
    subscribe(taker) {
      log.push(`subscribe ${name}`);
      subscribe(taker);
      return () => log.push(`undo ${name}`);
    },
  };
}

Deno.test("A source of one's own is polled first, then subscribed to, and undone if another was taken", async () => {
  const log: string[] = [];
  using _ = useChance(() => 1);
  let taker: Taker<unknown> | undefined;
  const waiting = select({
    a: source("a", log),
    b: source("b", log, { subscribe: (b) => void (taker = b) }),
    c: source("c", log),
  });
  log.push("waits");
  taker!.take("value");
  taker!.take("too late");
  taker!.fail("too late");
  assertEquals(await waiting, ["b", "value"]);
  const polls = ["poll b", "poll c", "poll a"];
  assertEquals(log, [...polls, "subscribe a", "subscribe b", "subscribe c", "waits", "undo a", "undo c"]);
});

Deno.test("A source of one's own that is ready is all that is touched", async () => {
  const log: string[] = [];
  using _ = useChance(() => 0);
  const ready = source("b", log, { poll: () => ({ value: undefined }) });
  assertEquals(await select({ a: source("a", log), b: ready, c: source("c", log) }), ["b", undefined]);
  const throwing = source("b", log, {
    poll: () => {
      throw new Error("thrown");
    },
  });
  assertEquals(await select({ a: source("a", log), b: throwing }).catch((error) => error.message), "thrown");
  assertEquals(log, ["poll a", "poll b", "poll a", "poll b"]);
});

Deno.test("A source of one's own may give, fail, throw or kill even while it is subscribed to", async () => {
  await using _ = virtualTime();
  using _chance = useChance(() => 0);
  const actions: Record<string, (taker: Taker<unknown>) => void> = {
    take: (taker) => taker.take("taken"),
    fail: (taker) => taker.fail(new Error("failed")),
    throw: () => {
      throw new Error("thrown");
    },
    kill: () => void Tasklet.current()!.kill(),
  };
  const results: Record<string, unknown> = {};
  for (const [name, subscribe] of Object.entries(actions)) {
    const log: string[] = [];
    const task = Tasklet.new(() =>
      select({ a: source("a", log), b: source("b", log, { subscribe }), c: source("c", log) })
    )();
    const end = await task.join().then(String, (error) => error.cause.name + ": " + error.cause.message);
    results[name] = [end.replace(String(task), "it"), ...log.slice(3)];
  }
  assertEquals(results, {
    take: ["b,taken", "subscribe a", "subscribe b", "undo a"],
    fail: ["Error: failed", "subscribe a", "subscribe b", "undo a"],
    throw: ["Error: thrown", "subscribe a", "subscribe b", "undo a"],
    kill: ["TaskletExit: it was killed", "subscribe a", "subscribe b", "undo a", "undo b"],
  });
});
