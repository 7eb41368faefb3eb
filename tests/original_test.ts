/**
 * What the core tests of the original, the Python Concurrence Framework, assert: `testcore.py`, `testtimer.py` and
 * `testlocal.py`, rewritten for this library, in virtual time. Seconds there are milliseconds here.
 *
 * Left out is what has no counterpart here: `TIMEOUT_CURRENT`, and a timeout of a tasklet that is set without a push.
 */
import { assert, assertEquals } from "@std/assert";
import { Channel } from "../channel.ts";
import { TaskLocal } from "../local.ts";
import { Message } from "../message.ts";
import { Pool } from "../pool.ts";
import { JoinError, Tasklet, TaskletExit } from "../tasklet.ts";
import { assertQuiet, type VirtualTime, virtualTime } from "../testing.ts";
import { Timeout, TimeoutError } from "../timer.ts";
import { catchReports } from "./reports.ts";

/** As there, each test runs as a tasklet; here, it leaves nothing behind. */
function test(name: string, body: (time: VirtualTime) => Promise<void>): void {
  Deno.test(name, async () => {
    await using time = virtualTime();
    await Tasklet.new(() => body(time), { name })().join();
    assertQuiet();
  });
}

/** What `wait` rejects with. */
function errorOf(wait: Promise<unknown>): Promise<unknown> {
  return wait.then((value) => assert(false, `It did not fail, but gave ${value}`), (error) => error);
}

// ------------------------------------------------------------------------------------------------
// testcore.py, TestTasklet

test("Original: sleep takes as long as it says", async (time) => {
  await Tasklet.sleep(1000);
  assertEquals(time.now, 1000);
});

test("Original: join gives the result of a child", async () => {
  const children = [1, 2].map((i) => Tasklet.new((i: number) => i)(i));
  assertEquals([await children[0]!.join(), await children[1]!.join()], [1, 2]);
});

test("Original: join of a tasklet that gets killed fails with its exit", async (time) => {
  const child = Tasklet.new(() => Tasklet.sleep(1_000_000))();
  Tasklet.later(1000, () => void child.kill())();
  const error = await errorOf(child.join());
  assert(error instanceof JoinError);
  assertEquals([error.tasklet === child, error.cause instanceof TaskletExit, time.now], [true, true, 1000]);
});

test("Original: join after the exit gives the result, too", async () => {
  const children = [1, 2].map((i) => Tasklet.new((i: number) => i)(i));
  await Tasklet.yield();
  assertEquals(children.map(({ alive }) => alive), [false, false]);
  assertEquals([await children[0]!.join(), await children[1]!.join()], [1, 2]);
});

test("Original: join with a timeout fails in time, and leaves the child alone", async (time) => {
  const child = Tasklet.new(() => Tasklet.sleep(10_000))();
  assert(await errorOf(child.join({ timeout: 1000 })) instanceof TimeoutError);
  assertEquals([time.now, child.alive], [1000, true]);
  await child.kill();
});

test("Original: join of a tasklet that failed fails with what it threw", async () => {
  const sub2 = () => {
    throw new Error("test_exc");
  };
  const sub1 = () => sub2();
  const child = Tasklet.new(() => sub1())();
  const error = await errorOf(child.join());
  assert(error instanceof JoinError && error.cause instanceof Error);
  assertEquals([error.tasklet === child, error.cause.message], [true, "test_exc"]);
});

test("Original: joinAll gives results and errors, in order", async () => {
  const fail = (text: string) => () => {
    throw new Error(text);
  };
  const bodies = [fail("a proper exc"), () => 1, () => 2, fail("test exc")];
  const results = await Tasklet.joinAll(bodies.map((body) => Tasklet.new(body)()));
  const texts = results.map((result) =>
    result instanceof JoinError ? (result.cause as Error).message : result
  );
  assertEquals(texts, ["a proper exc", 1, 2, "test exc"]);
});

test("Original: joinChildren gives the results of all children", async () => {
  for (let i = 0; i < 4; i++) Tasklet.new(() => 1)();
  assertEquals(Tasklet.current()!.children.length, 4);
  assertEquals(await Tasklet.joinChildren(), [1, 1, 1, 1]);
});

test("Original: tree goes through all below, with their levels", async () => {
  async function child(name: string, level: number): Promise<void> {
    if (level < 2) {
      for (const next of [`${name}0`, `${name}1`]) Tasklet.new(child, { name: next })(next, level + 1);
    }
    await Tasklet.sleep(2000);
  }
  Tasklet.new(child)("child", 0);
  await Tasklet.sleep(1000);
  const below = [...Tasklet.current()!.tree()].slice(1).map(([{ name }, level]) => [name, level]);
  assertEquals(below, [
    ["child", 1],
    ["child0", 2],
    ["child00", 3],
    ["child01", 3],
    ["child1", 2],
    ["child10", 3],
    ["child11", 3],
  ]);
});

test("Original: interval counts after each period, and at once if it is immediate", async () => {
  for (
    const { immediate, expected } of [{ immediate: false, expected: 2 }, { immediate: true, expected: 3 }]
  ) {
    let count = 0;
    const task = Tasklet.interval(1000, () => void count++, { immediate })();
    let error: unknown;
    try {
      await task.join({ timeout: 3000 });
    } catch (caught) {
      error = caught;
      assertEquals(count, expected); // the timeout was set before the third sleep
    }
    assert(error instanceof TimeoutError);
    await task.kill();
  }
});

test("Original: loop goes on after an error, until it is killed", async () => {
  class MSG_ITEM extends Message("MSG_ITEM")<[item: number | null]> {}
  using reports = catchReports();
  let received: number[] = [];
  const looper = Tasklet.loop(async function looper() {
    const { args: [item] } = await Tasklet.receiveOne([MSG_ITEM]);
    if (item === null) throw new Error("some exception");
    received.push(item);
  })();
  const numbers = Array.from({ length: 10 }, (_, i) => i);

  for (const n of numbers) MSG_ITEM.send(looper)(n);
  await Tasklet.sleep(1);
  assertEquals([received, looper.alive, looper.status], [numbers, true, "waiting"]);

  received = [];
  MSG_ITEM.send(looper)(null);
  for (const n of numbers) MSG_ITEM.send(looper)(n);
  await Tasklet.sleep(2000); // there is a pause after a failure
  assertEquals([received, looper.alive, looper.status], [numbers, true, "waiting"]);
  assertEquals(reports.texts.map((text) => text.includes("some exception")), [true]);

  await looper.kill();
  assertEquals([looper.alive, looper.waits, MSG_ITEM.send(looper)(1)], [false, undefined, false]);
});

test("Original: tasklets that yield take turns", async () => {
  const log: [number, number][] = [];
  async function child(c: number) {
    for (let i = 0; i < 5; i++) {
      log.push([c, i]);
      await Tasklet.yield();
    }
  }
  await Tasklet.joinAll([Tasklet.new(child)(1), Tasklet.new(child)(2)]);
  assertEquals(log, [[1, 0], [2, 0], [1, 1], [2, 1], [1, 2], [2, 2], [1, 3], [2, 3], [1, 4], [2, 4]]);
});

test("Original: messages go to and fro, and a receive with a timeout ends in time", async (time) => {
  class MSG_PING extends Message("MSG_PING")<[n: number]> {}
  class MSG_PONG extends Message("MSG_PONG")<[n: number]> {}
  const child = Tasklet.new(async (parent: Tasklet) => {
    for await (const msg of Tasklet.receive()) {
      if (!msg.match(MSG_PING)) continue;
      assertEquals(msg.args, [10]);
      MSG_PONG.send(parent)(20);
    }
  })(Tasklet.current()!);

  let pongs = 0;
  MSG_PING.send(child)(10);
  for await (const msg of Tasklet.receive([MSG_PONG])) {
    assertEquals(msg.args, [20]);
    if (++pongs > 5) break;
    MSG_PING.send(child)(10);
  }
  assertEquals([pongs, time.now], [6, 0]);

  const error = await errorOf((async () => {
    for await (const _ of Tasklet.receive(undefined, { timeout: 2000 })) assert(false, "nothing was sent");
  })());
  assertEquals([error instanceof TimeoutError, time.now], [true, 2000]);
  await child.kill();
});

test("Original: calls are replied to, at once, later, or not in time", async (time) => {
  class MSG_SUM extends Message("MSG_SUM")<number[], number> {}
  class MSG_MAX extends Message("MSG_MAX")<number[], number> {}
  class MSG_SLEEP extends Message("MSG_SLEEP")<[ms: number], boolean> {}
  const child = Tasklet.new(async () => {
    for await (const msg of Tasklet.receive()) {
      if (msg.match(MSG_SUM)) msg.reply(msg.args.reduce((a, b) => a + b));
      else if (msg.match(MSG_MAX)) msg.reply(Math.max(...msg.args));
      else if (msg.match(MSG_SLEEP)) {
        await Tasklet.sleep(msg.args[0]);
        msg.reply(true);
      }
    }
  })();
  assertEquals([await MSG_SUM.call(child)(10, 20, 30), await MSG_MAX.call(child)(10, 20, 30)], [60, 30]);
  assertEquals([await MSG_SLEEP.call(child)(1000), time.now], [true, 1000]);
  assert(await errorOf(MSG_SLEEP.call(child, { timeout: 1000 })(2000)) instanceof TimeoutError);
  assertEquals(time.now, 2000);
  await child.kill();
});

// ------------------------------------------------------------------------------------------------
// testtimer.py

test("Original: a pushed timeout runs down; an inner one only shortens; and its end brings the outer one back", async () => {
  const log = [Timeout.current()];
  {
    using _ = Timeout.push(30_000);
    log.push(Timeout.current());
  }
  log.push(Timeout.current());
  {
    using _ = Timeout.push(30_000);
    log.push(Timeout.current());
    await Tasklet.sleep(1000);
    log.push(Timeout.current());
    for (const ms of [5000, 60_000]) {
      using _ = Timeout.push(ms);
      log.push(Timeout.current());
    }
    log.push(Timeout.current());
  }
  log.push(Timeout.current());
  assertEquals(log, [Infinity, 30_000, Infinity, 30_000, 29_000, 5000, 29_000, 29_000, Infinity]);
});

test("Original: a timeout of never is none", () => {
  const log = [Timeout.current()];
  {
    using _ = Timeout.push(Infinity);
    log.push(Timeout.current());
  }
  {
    using _ = Timeout.push(10_000);
    log.push(Timeout.current());
    {
      using _ = Timeout.push(5000);
      log.push(Timeout.current());
    }
    log.push(Timeout.current());
  }
  log.push(Timeout.current());
  assertEquals(log, [Infinity, Infinity, 10_000, 5000, 10_000, Infinity]);
  return Promise.resolve();
});

test("Original: one timeout holds for all waits inside it", async (time) => {
  class MSG_TICK extends Message("MSG_TICK") {}
  const self = Tasklet.current()!;
  async function sender(times: number) {
    for (let i = 0; i < times; i++) {
      await Tasklet.sleep(1000);
      MSG_TICK.send(self)();
    }
  }
  {
    using _ = Timeout.push(10_000);
    Tasklet.new(sender)(4);
    for (let i = 0; i < 4; i++) await Tasklet.receiveOne([MSG_TICK]);
  }
  assertEquals(time.now, 4000);
  const senders: Tasklet<unknown>[] = [];
  const error = await errorOf((async () => {
    senders.push(Tasklet.new(sender)(4)); // outside of the timeout, which it would inherit here
    using _ = Timeout.push(2500);
    for (let i = 0; i < 4; i++) await Tasklet.receiveOne([MSG_TICK]);
  })());
  assertEquals([error instanceof TimeoutError, time.now], [true, 6500]);
  await senders[0]!.kill();
});

// ------------------------------------------------------------------------------------------------
// testlocal.py

test("Original: a task local has the value that was set last, until that is taken back", async () => {
  const local = new TaskLocal<number | undefined>();
  const log: unknown[] = [local.get()];
  {
    using _ = local.set(10);
    log.push(local.get());
    {
      using _ = local.set(20);
      await Tasklet.yield();
      log.push(local.get());
    }
    log.push(local.get());
  }
  assertEquals([...log, local.get()], [undefined, 10, 20, 10, undefined]);
});

test("Original: each tasklet has its own value of a task local", async () => {
  const local = new TaskLocal<number[]>([]);
  async function append() {
    using _ = local.set([]);
    for (let i = 0; i < 10; i++) {
      local.get().push(i);
      await Tasklet.yield();
    }
    return local.get();
  }
  const expected = Array.from({ length: 10 }, (_, i) => i);
  const results = await Tasklet.joinAll([Tasklet.new(append)(), Tasklet.new(append)()]);
  assertEquals([...results, local.get()], [expected, expected, []]);
});

test("Original: a child finds its parent's instance, may set its own, and finds the parent's again", async () => {
  const adderOf = (x: number) => ({ sum: (y: number) => x + y });
  const adder = new TaskLocal<ReturnType<typeof adderOf> | undefined>();
  const sums: unknown[] = [adder.get()?.sum(20)];
  function child() {
    const inherited = adder.get()!.sum(20);
    using own = adder.set(adderOf(20));
    const changed = adder.get()!.sum(20);
    own[Symbol.dispose]();
    return [inherited, changed, adder.get()!.sum(20)];
  }
  {
    using _ = adder.set(adderOf(10));
    sums.push(adder.get()!.sum(20));
    sums.push(...await Tasklet.joinAll([Tasklet.new(child)(), Tasklet.new(child)()]));
    sums.push(adder.get()!.sum(20));
  }
  assertEquals([...sums, adder.get()], [undefined, 30, [30, 40, 30], [30, 40, 30], 30, undefined]);
});

// ------------------------------------------------------------------------------------------------
// testcore.py, TestChannel, and the pool of tasklets

test("Original: a channel hands values over in order, and the sender waits for its receiver", async (time) => {
  const channel = new Channel<number>();
  const sender = Tasklet.new(async () => {
    for (let i = 0; i < 3; i++) await channel.send(i);
    return time.now;
  })();
  const received: number[] = [];
  for (let i = 0; i < 3; i++) {
    await Tasklet.sleep(1000);
    received.push(await channel.receive());
  }
  assertEquals([received, await sender.join()], [[0, 1, 2], 3000]);
});

test("Original: a channel knows whether a receiver waits, and its balance", async () => {
  const channel = new Channel<string>();
  const states = [[channel.hasReceiver, channel.hasSender, channel.balance]];
  const receiver = Tasklet.new(() => channel.receive())();
  await Tasklet.yield();
  states.push([channel.hasReceiver, channel.hasSender, channel.balance]);
  await channel.send("there");
  const sender = Tasklet.new(() => channel.send("here"))();
  await Tasklet.yield();
  states.push([channel.hasReceiver, channel.hasSender, channel.balance]);
  assertEquals([await receiver.join(), await channel.receive()], ["there", "here"]);
  await sender.join();
  assertEquals(states, [[false, false, 0], [true, false, -1], [false, true, 1]]);
});

test("Original: receive and send of a channel with a timeout end in time, and nothing is lost", async (time) => {
  const channel = new Channel<number>();
  assert(await errorOf(channel.receive({ timeout: 1000 })) instanceof TimeoutError);
  assert(await errorOf(channel.send(1, { timeout: 1000 })) instanceof TimeoutError);
  assertEquals([time.now, channel.balance], [2000, 0]);
  Tasklet.later(500, () => channel.send(2))();
  assertEquals([await channel.receive({ timeout: 1000 }), time.now], [2, 2500]);
});

test("Original: an error sent over a channel is thrown where it is received", async () => {
  const channel = new Channel<number>();
  Tasklet.new(() => channel.sendError(new Error("Sent")))();
  assertEquals((await errorOf(channel.receive()) as Error).message, "Sent");
});

test("Original: a pool lets so many work at once, and each comes to its turn", async (time) => {
  let opened = 0;
  await using pool = new Pool({ open: () => ++opened, max: 2 });
  const done: string[] = [];
  async function work(n: number) {
    await using _lease = await pool.acquire();
    await Tasklet.sleep(1000);
    done.push(`${n} at ${time.now}`);
  }
  await Tasklet.joinAll([0, 1, 2, 3, 4].map((n) => Tasklet.new(work)(n)));
  assertEquals(done, ["0 at 1000", "1 at 1000", "2 at 2000", "3 at 2000", "4 at 3000"]);
  assertEquals(opened, 2);
});
