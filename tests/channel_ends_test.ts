/**
 * How waits at a channel end other than by a value: a kill, a timeout, the end of the channel.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { Channel, ChannelClosedError } from "../channel.ts";
import { JoinError, Tasklet, TaskletExit } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { timerCount } from "../timer.ts";
import { catchReports } from "./reports.ts";

// ------------------------------------------------------------------------------------------------
// Exactly once, and kill

Deno.test("Channel: Exactly once: who is killed or times out takes nothing, and gives nothing", async () => {
  await using _ = virtualTime();
  const channel = new Channel<number>();
  const options = [{}, { timeout: 10 }, {}];
  const receivers = options.map((options) => Tasklet.new(() => channel.receive(options))());
  const received = Tasklet.joinAll(receivers);
  await Tasklet.sleep(15);
  await receivers[0]!.kill();
  await channel.send(1);
  assertEquals(channel.balance, 0);
  const causeOf = (end: unknown) => end instanceof JoinError ? (end.cause as Error).name : end;
  assertEquals((await received).map(causeOf), ["TaskletExit", "TimeoutError", 1]);

  const senders = options.map((options, n) => Tasklet.new(() => channel.send(n, options))());
  const sent = Tasklet.joinAll(senders);
  await Tasklet.sleep(15);
  await senders[0]!.kill();
  assertEquals([channel.balance, await channel.receive(), channel.balance], [1, 2, 0]);
  assertEquals((await sent).map(causeOf), ["TaskletExit", "TimeoutError", undefined]);
});

Deno.test("Channel: Exactly once: what was handed over when the kill came counts as received", async () => {
  await using _ = virtualTime();
  const channel = new Channel<number>();
  const log: unknown[] = [];
  const receiver = Tasklet.new(async () => {
    log.push(await channel.receive());
    await channel.receive();
  })();
  await Tasklet.sleep(1);
  const sent = channel.send(1);
  const killed = receiver.kill();
  await Promise.all([sent, killed]);
  assertEquals([log, channel.balance, channel.stats.received], [[1], 0, 1]);
});

Deno.test("Channel: Exactly once: nothing is lost by a kill of those whose turn is yet to come", async () => {
  // More than 256 deliveries in one turn, so that those behind are held back.
  const channel = new Channel<number>();
  const taken: number[] = [];
  const tasks = Array.from({ length: 600 }, () =>
    Tasklet.new(async () => {
      taken.push(await channel.receive());
      await Tasklet.sleep(0);
    })());
  for (let i = 0; i < 4; i++) await Tasklet.yield();
  assertEquals(channel.balance, -600);
  for (let n = 0; n < 600; n++) assert(channel.trySend(n));
  await Promise.all(tasks.map((task) => task.kill()));
  assertEquals(taken, tasks.map((_, n) => n));
  assert(tasks.every((task) => task.status === "killed"));
});

Deno.test("Channel: Kill: a tasklet that is killed elsewhere meets its exit at the channel, ready or not", async () => {
  await using _ = virtualTime();
  const log: unknown[] = [];
  const outcome = (wait: Promise<unknown>) => wait.catch((error) => error instanceof TaskletExit);
  for (const what of ["send", "sendError", "receive", "next", "send closed", "receive closed"]) {
    const channel = new Channel<number>(2);
    channel.trySend(1);
    if (what.endsWith("closed")) channel.close();
    const operation = {
      send: () => channel.send(2),
      sendError: () => channel.sendError(2),
      receive: () => channel.receive(),
      next: () => channel[Symbol.asyncIterator]().next(),
    }[what.split(" ")[0]!]!;
    const task = Tasklet.new(async () => {
      void Tasklet.current()!.kill();
      log.push([what, await outcome(operation()), channel.balance]);
    })();
    await assertRejects(() => task.join(), JoinError);
  }
  assertEquals(log, [
    ["send", true, 1],
    ["sendError", true, 1],
    ["receive", true, 1],
    ["next", true, 1],
    ["send closed", true, 1],
    ["receive closed", true, 1],
  ]);
});

Deno.test("Channel: Kill: the cleanup may send and receive, but a loop that swallows the exit ends", async () => {
  await using time = virtualTime();
  for (const left of [2, 0]) {
    const [jobs, done] = [new Channel<number>(5), new Channel<string>(5)];
    const log: unknown[] = [];
    const task = Tasklet.new(async () => {
      try {
        for await (const job of jobs) {
          log.push(job);
          await Tasklet.sleep(10).catch(() => log.push("swallowed"));
        }
      } finally {
        await done.send("cleaned up");
        log.push(await done.receive());
      }
    })();
    for (let job = 0; job <= left; job++) jobs.trySend(job);
    await Tasklet.sleep(5);
    await task.kill();
    assertEquals([log, jobs.balance, task.status], [[0, "swallowed", "cleaned up"], left, "killed"]);
  }
  assertEquals(time.now, 10); // nobody waited for a grace
});

// ------------------------------------------------------------------------------------------------
// Channel.close()

Deno.test("Channel: Closing: what is buffered can still be received, what waits to be sent is not taken", async () => {
  const channel = new Channel<number>(2);
  const sent = [1, 2, 3, 4].map((n) => channel.send(n).then(() => n, (error) => error));
  channel.close();
  const results = await Promise.all(sent);
  assertEquals(results.slice(0, 2), [1, 2]);
  for (const error of results.slice(2)) {
    assert(error instanceof ChannelClosedError);
    assertEquals([error.name, error.message], ["ChannelClosedError", "Cannot send: the channel is closed"]);
    assert(error.channel === channel);
  }
  assertEquals([await channel.receive(), channel.tryReceive(), channel.closed], [1, { value: 2 }, true]);
  const error = await assertRejects(() => channel.receive(), ChannelClosedError);
  assertEquals(error.message, "Cannot receive: the channel is closed, and nothing is left");
  assertEquals([channel.tryReceive(), channel.balance], [undefined, 0]);
});

Deno.test("Channel: Closing: waiting receivers end with ChannelClosedError, loops just end", async () => {
  await using _ = virtualTime();
  const channel = new Channel<number>(2);
  const log: string[] = [];
  const waits = [
    channel.receive().catch((error) => log.push(error.name)),
    (async () => {
      for await (const _ of channel);
      log.push("loop ended");
    })(),
    channel.receive({ timeout: 1000 }).catch((error) => log.push(error.name)),
  ];
  assertEquals(channel.balance, -3);
  channel.close();
  assertEquals(channel.balance, 0);
  await Promise.all(waits);
  assertEquals(log.toSorted(), ["ChannelClosedError", "ChannelClosedError", "loop ended"]);
  assertEquals(timerCount(), 0);
});

Deno.test("Channel: Closing: what is sent afterwards is refused", async () => {
  const channel = new Channel<number>(2);
  channel.close();
  await assertRejects(() => channel.send(1), ChannelClosedError);
  assertEquals([channel.trySend(1), channel.balance, channel.stats.sent], [false, 0, 0]);
});

Deno.test("Channel.close() twice is harmless, and so is the end of a using", async () => {
  const channel = new Channel<number>(1);
  {
    using scoped = channel;
    scoped.trySend(1);
    scoped.close();
  }
  channel.close();
  assertEquals([channel.closed, await channel.receive()], [true, 1]);
});

Deno.test("Channel.close() at a rejection that nobody awaits fails the tasklet that waited, nobody else", async () => {
  await using _ = virtualTime();
  using reports = catchReports();
  const channel = new Channel<number>();
  const task = Tasklet.new(async () => {
    void channel.receive();
    await Tasklet.sleep(1000);
  })();
  await Tasklet.sleep(1);
  channel.close();
  assert((await assertRejects(() => task.join(), JoinError)).cause instanceof ChannelClosedError);
  await reports.settled();
  assertEquals(reports.texts, []);
});
