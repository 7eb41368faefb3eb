import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { type CallError, Message } from "../message.ts";
import { JoinError, type Self, Tasklet, TaskletExit, TimeoutError } from "../tasklet.ts";
import { type VirtualTime, virtualTime } from "../testing.ts";
import { Timeout } from "../timer.ts";

class MSG_A extends Message("MSG_A")<[n: number]> {}
class MSG_B extends Message("MSG_B")<[n: number]> {}
class MSG_ASK extends Message("MSG_ASK")<[n: number], number> {}

/** Collects the numbers of `count` batches. */
function collector(count: number, log: number[][] = []): Tasklet<number[][]> {
  return Tasklet.new(async () => {
    for await (const batch of Tasklet.batches()) {
      log.push(batch.map((msg) => msg.args[0]));
      if (log.length === count) break;
    }
    return log;
  })();
}

/** How many messages the next batch has, or how it failed and when. */
async function sizeOrError(time: VirtualTime, options: { timeout?: number }): Promise<number | string> {
  try {
    return (await Tasklet.batches(options).next()).value.length;
  } catch (error) {
    return `${(error as Error).name} after ${time.now} ms`;
  }
}

Deno.test("Tasklet.batches() takes all that comes in a turn, also from several senders and after it was woken", async () => {
  const task = collector(2);
  await Tasklet.yield();
  assertEquals(task.status, "waiting");
  MSG_A.send(task)(1);
  await Promise.resolve();
  MSG_B.send(task)(2);
  await Promise.resolve().then(() => MSG_A.send(task)(3));
  assertEquals([task.status, task.mailbox.length], ["waiting", 3]); // a batch that is not whole yet is queued
  await Tasklet.yield();
  await Tasklet.yield();
  MSG_B.send(task)(4);
  assertEquals(await task.join(), [[1, 2, 3], [4]]);
});

Deno.test("Tasklet.batches() takes what is queued already at the end of the turn", async () => {
  const task = collector(1);
  MSG_A.send(task)(1);
  await Promise.resolve();
  MSG_A.send(task)(2);
  assertEquals(await task.join(), [[1, 2]]);
});

Deno.test("Tasklet.batches() leaves to the next batch, and to others, what comes while one is at work", async () => {
  const task = Tasklet.new(async () => {
    const log: number[][] = [];
    for await (const batch of Tasklet.batches()) {
      log.push(batch.map((msg) => msg.args[0]));
      if (log.length === 1) { for (const n of [2, 3, 4]) MSG_A.send(task)(n); }
      if (log.length === 1) log.push([(await Tasklet.receiveOne()).args[0]]);
      if (log.length === 3) break;
    }
    MSG_A.send(task)(5);
    return [...log, [...Tasklet.pending()].map((msg) => msg.args[0])];
  })() as Tasklet<number[][]>;
  MSG_A.send(task)(1);
  assertEquals(await task.join(), [[1], [2], [3, 4], [5]]);
});

Deno.test("Tasklet.batches() goes on waiting when another loop has taken what woke it", async () => {
  const log: unknown[] = [];
  const task = Tasklet.new(async () => {
    const one = Tasklet.batches().next().then(({ value }) => log.push(value));
    await Tasklet.yield();
    const [first] = await Promise.all([Tasklet.receiveOne([MSG_A]), one]);
    return first.args[0];
  })();
  await Tasklet.yield();
  await Tasklet.yield();
  MSG_A.send(task)(1);
  await Tasklet.yield();
  await Tasklet.yield();
  assertEquals([task.status, log], ["waiting", []]);
  const last = new MSG_B(2);
  task.deliver(last as never);
  assertEquals(await task.join(), 1);
  assertEquals(log, [[last]]);
});

Deno.test("Tasklet.batches(): going on without having answered a call fails it as forgotten, and defer does not", async () => {
  let later: MSG_ASK | undefined;
  const task = Tasklet.new(async () => {
    for await (const batch of Tasklet.batches()) {
      for (const msg of batch) {
        if (!msg.match(MSG_ASK)) return await Tasklet.suspend(() => {});
        if (msg.args[0] === 1) msg.reply(10);
        if (msg.args[0] === 3) later = msg.defer();
      }
    }
  })();
  const asked = [1, 2, 3].map((n) => MSG_ASK.call(task)(n).catch((error) => (error as CallError).reason));
  assertEquals(await asked[1], "forgotten");
  MSG_A.send(task)(0);
  await Tasklet.yield();
  await Tasklet.yield();
  later!.reply(30);
  assertEquals(await Promise.all(asked), [10, "forgotten", 30]);
  await task.kill();
});

Deno.test("Tasklet.batches() fails what was forgotten also if the loop has emptied the batch", async () => {
  const task = Tasklet.new(async () => {
    for await (const batch of Tasklet.batches()) while (batch.shift() !== undefined);
  })();
  MSG_A.send(task)(1);
  const asked = MSG_ASK.call(task)(2).catch((error) => (error as CallError).reason);
  MSG_A.send(task)(3);
  for (let turns = 0; turns < 4; turns++) await Tasklet.yield();
  await task.kill(); // it would fail what is still open as "finished"
  assertEquals(await asked, "forgotten");
});

Deno.test("Tasklet.batches(), Kill: what is not taken at the end of the turn is still queued", async () => {
  const log: unknown[] = [];
  const task = Tasklet.new(async () => {
    try {
      for await (const batch of Tasklet.batches()) log.push(batch);
    } catch (error) {
      log.push(error instanceof TaskletExit);
      throw error;
    } finally {
      log.push([...Tasklet.pending()].map((msg) => msg.args[0]));
    }
  })();
  await Tasklet.yield();
  MSG_A.send(task)(1);
  MSG_A.send(task)(2);
  await task.kill();
  await Tasklet.yield();
  assertEquals(log, [true, [1, 2]]);
});

Deno.test("Tasklet.batches() ends with TimeoutError when nothing comes in time, and loses nothing", async () => {
  await using time = virtualTime();
  const task = Tasklet.new(async () => {
    const batches = Tasklet.batches({ timeout: 100 });
    await assertRejects(() => batches.next(), TimeoutError, "waiting for a message");
    MSG_A.send(task)(1);
    return (await batches.next()).value[0].args[0];
  })() as Tasklet<number>;
  assertEquals([await task.join(), time.now], [1, 100]);
});

Deno.test("Tasklet.batches() of two loops: who got nothing of a batch still has its timeout, from then on", async () => {
  const log: unknown[] = [];
  for (const delay of [0, 50]) {
    await using time = virtualTime();
    const task = Tasklet.new(() => Promise.all([1, 2].map(() => sizeOrError(time, { timeout: 100 }))))();
    if (delay === 0) MSG_A.send(task)(1); // there before they ask
    else void Tasklet.later(delay, () => MSG_A.send(task)(1))();
    log.push(await task.join({ timeout: 1000 }));
  }
  assertEquals(log, [[1, "TimeoutError after 100 ms"], [1, "TimeoutError after 150 ms"]]);
});

Deno.test("Tasklet.batches() of two loops: who got nothing of a batch still has its deadline", async () => {
  await using time = virtualTime();
  const task = Tasklet.new(async () => {
    using _ = Timeout.push(10);
    await assertRejects(() => Tasklet.sleep(20), TimeoutError);
    return await Promise.all([1, 2].map(() => sizeOrError(time, {})));
  })();
  MSG_A.send(task)(1);
  assertEquals(await task.join({ timeout: 1000 }), [1, "TimeoutError after 10 ms"]);
});

Deno.test("Tasklet.batches(): Ready is ready: neither a timeout of 0 nor a deadline that has passed fails what is there", async () => {
  await using _ = virtualTime();
  const task = Tasklet.new(async () => {
    using _ = Timeout.push(10);
    await assertRejects(() => Tasklet.sleep(20), TimeoutError);
    const batches = Tasklet.batches({ timeout: 0 });
    const batch = (await batches.next()).value.map((msg: MSG_A) => msg.args[0]);
    await assertRejects(() => batches.next(), TimeoutError);
    return batch;
  })();
  MSG_A.send(task)(1);
  MSG_A.send(task)(2);
  assertEquals(await task.join(), [1, 2]);
});

Deno.test("Tasklet.batches() refuses a timeout that makes no sense, and to be outside of a tasklet", async () => {
  assertThrows(() => Tasklet.batches(), Error, "Cannot receive: no tasklet is running");
  const task = Tasklet.new(() => void Tasklet.batches({ timeout: -1 }))();
  const { cause } = await assertRejects(() => task.join(), JoinError);
  assertEquals((cause as Error).name, "RangeError");
});

Deno.test("Self.batches() is typed by what the body accepts", async () => {
  async function body(this: Self<MSG_A | MSG_B>): Promise<number> {
    for await (const batch of this.batches()) {
      batch satisfies (MSG_A | MSG_B)[];
      return batch.reduce((sum, msg) => sum + msg.args[0], 0);
    }
    return 0;
  }
  const task = Tasklet.new(body)();
  MSG_A.send(task)(1);
  MSG_B.send(task)(2);
  assertEquals(await task.join(), 3);
});

Deno.test("Tasklet.batches() takes each message once and in order, whatever else takes and whenever it comes", async () => {
  const step = fc.constantFrom("send", "send", "turn", "tick");
  const way = fc.constantFrom("batch", "batch", "one", "pending");
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 30 }), fc.array(way), async (steps, ways) => {
    const sends = steps.filter((each) => each === "send").length;
    const task = Tasklet.new(async () => {
      const got: number[] = [];
      const batches = Tasklet.batches();
      for (let i = 0; got.length < sends; i++) {
        const how = ways[i % ways.length] ?? "batch";
        if (how === "batch") { for (const msg of (await batches.next()).value) got.push(msg.args[0]); }
        else if (how === "one") got.push((await Tasklet.receiveOne()).args[0]);
        else for (const msg of Tasklet.pending()) got.push(msg.args[0]);
        if (how === "pending") await Tasklet.yield();
      }
      return got;
    })();
    let n = 0;
    for (const each of steps) {
      if (each === "send") MSG_A.send(task)(n++);
      else if (each === "turn") await Tasklet.yield();
      else await Promise.resolve();
    }
    assertEquals(await task.join(), Array.from({ length: sends }, (_, i) => i));
  }));
});
