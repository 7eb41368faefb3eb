import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { setTimeout } from "node:timers";
import { Group } from "../group.ts";
import { CallError, Message, type Receiver } from "../message.ts";
import { BufferedStream, Server, Socket } from "../net.ts";
import { countAtWork, isAtWork } from "../life.ts";
import { liveTasklets } from "../quiet.ts";
import { JoinError, Tasklet, TaskletExit } from "../tasklet.ts";
import { assertQuiet, explore, type Probe, probe, virtualTime } from "../testing.ts";
import { now, setTimer, Timeout, TimeoutError, timerCount } from "../timer.ts";
import { waitCounts } from "../wait.ts";
import { catchReports } from "./reports.ts";

class MSG_A extends Message("MSG_A")<[n: number]> {}
class MSG_A_MORE extends MSG_A {}
class MSG_B extends Message("MSG_B")<[text: string, o?: { x: number }]> {}
class MSG_ASK extends Message("MSG_ASK")<[n: number], number> {}

/** A promise of the outside: the system's clock resolves it. */
function fromOutside<T>(ms: number, value: T): Promise<T> {
  return new Promise((resolve) => setTimeout(() => resolve(value), ms));
}

// virtualTime

Deno.test("virtualTime() jumps to the next timer when every tasklet waits", async () => {
  await using time = virtualTime();
  const log: [string, number][] = [];
  const tasks = [300, 100, 200, 100].map((ms, i) =>
    Tasklet.new(async () => {
      await Tasklet.sleep(ms);
      log.push([`${i}`, time.now]);
    })()
  );
  for (const task of tasks) await task.join();
  assertEquals(log, [["1", 100], ["3", 100], ["2", 200], ["0", 300]]);
});

Deno.test("virtualTime() stands still while tasklets are at work, however many turns that takes", async () => {
  await using time = virtualTime();
  const late = Tasklet.new(() => Tasklet.sleep(1))();
  const times = new Set<number>();
  await Tasklet.new(async () => {
    for (let i = 0; i < 1000; i++) {
      await Tasklet.yield();
      times.add(time.now);
    }
  })().join();
  assertEquals([[...times], late.status], [[0], "waiting"]);
  await late.join();
  assertEquals(time.now, 1);
});

Deno.test("virtualTime().advance() goes on timer by timer, and rests in between", async () => {
  await using time = virtualTime();
  const log: number[] = [];
  const task = Tasklet.interval(10, async () => {
    await Tasklet.yield();
    log.push(time.now);
  })();
  await time.advance(35);
  assertEquals([log, time.now], [[10, 20, 30], 35]);
  await time.advance(5);
  assertEquals([log, time.now], [[10, 20, 30, 40], 40]);
  await task.kill();
});

Deno.test("virtualTime() restores the clock, and leaves no timer", async () => {
  const before = now();
  {
    await using time = virtualTime();
    await Tasklet.sleep(3_600_000);
    assertEquals(time.now, 3_600_000);
  }
  assert(now() < before + 3_600_000);
  assertStrictEquals(timerCount(), 0);
  await Tasklet.sleep(1);
});

Deno.test("virtualTime(), Standing still: it does not jump while a tasklet awaits files, be it at no wait point", async () => {
  await using time = virtualTime({ patience: 1000 });
  const sleeper = Tasklet.new(() => Tasklet.sleep(1000))();
  const reader = Tasklet.new(async () => {
    for (let i = 0; i < 50; i++) await Deno.readTextFile(new URL(import.meta.url));
    return time.now;
  })();
  assertEquals(await reader.join(), 0);
  await sleeper.join();
  assertEquals(time.now, 1000);
});

Deno.test("virtualTime(), Promises: it jumps when a tasklet awaits, at no wait point, what a timer of another one brings", async () => {
  await using time = virtualTime();
  const { promise, resolve } = Promise.withResolvers<number>();
  const waiter = Tasklet.new(() => promise)();
  Tasklet.new(async () => {
    await Tasklet.sleep(1000);
    resolve(time.now);
  })();
  assertEquals(await waiter.join(), 1000);
});

Deno.test("virtualTime(), The outside: a conversation over a loopback socket takes no virtual time, nor times out", async () => {
  await using time = virtualTime();
  async function echo(socket: Socket) {
    const { reader, writer } = new BufferedStream(socket);
    for await (const line of reader.readLines()) {
      await Tasklet.sleep(100);
      writer.writeLine(`${line} at ${time.now}`);
      await writer.flush();
    }
  }
  const lines = await Tasklet.new(async () => {
    // With one connection at most, nobody is waited for but who reads.
    await using server = Server.serve({ port: 0 }, echo, { idleTimeout: 60_000, maxConnections: 1 });
    await using client = new BufferedStream(await Socket.connect({ port: server.port }));
    const lines: (string | null)[] = [];
    for (let i = 0; i < 5; i++) {
      await Tasklet.sleep(59_000);
      client.writer.writeLine(`line ${i}`);
      await client.writer.flush();
      using _ = Timeout.push(200);
      lines.push(await client.reader.readLine());
    }
    return lines;
  })().join();
  assertEquals(lines, [0, 1, 2, 3, 4].map((i) => `line ${i} at ${(i + 1) * 59_100}`));
});

Deno.test("virtualTime(), The outside: who connects and who accepts are waited for", async () => {
  await using time = virtualTime();
  await Tasklet.new(async () => {
    for (let i = 0; i < 10; i++) {
      await using server = Server.serve({ port: 0 }, () => {});
      using _ = await Socket.connect({ port: server.port }, { timeout: 60_000 });
    }
  })().join();
  assertEquals(time.now, 0);
});

Deno.test("virtualTime(), The outside: a silent peer does time out", async () => {
  await using time = virtualTime();
  const ends: unknown[] = [];
  await Tasklet.new(async () => {
    const handle = async (socket: Socket) => {
      const error = await socket.read(new Uint8Array(1)).catch((error) => error);
      ends.push(error instanceof TimeoutError, time.now);
    };
    await using server = Server.serve({ port: 0 }, handle, { idleTimeout: 60_000 });
    using client = await Socket.connect({ port: server.port });
    await client.read(new Uint8Array(1));
  })().join();
  assertEquals(ends, [true, 60_000]);
});

Deno.test("virtualTime(), Promises: whoever is in Tasklet.wait() is waited for, in a tasklet or not", async () => {
  await using time = virtualTime({ patience: 200 });
  const log: unknown[] = [];
  async function wait(name: string) {
    log.push([await Tasklet.wait(fromOutside(5, name), { timeout: 1000 }), time.now]);
  }
  await wait("outside");
  await Tasklet.new(wait)("inside").join();
  assertEquals(log, [["outside", 0], ["inside", 0]]);
});

Deno.test({
  name: "virtualTime(), Promises: the clock has patience with each once, however often it jumps",
  timeout: 15_000,
  fn: async () => {
    await using time = virtualTime({ patience: 100 });
    const { promise, resolve } = Promise.withResolvers<void>();
    const log: unknown[] = [];
    async function waitFor(real: Promise<number>) {
      log.push([await Tasklet.wait(real), time.now]);
    }
    async function await_(real: Promise<number>) {
      log.push([await real, time.now]);
    }
    const waiting = [Tasklet.new(() => promise)(), Tasklet.new(() => Tasklet.wait(promise))()];
    const idle = Tasklet.interval(1, () => Tasklet.wait(Promise.resolve()))();
    await Tasklet.sleep(500); // would take 50 s of patience
    // Who comes new is waited for.
    await Tasklet.new(waitFor)(fromOutside(5, 1)).join();
    await Tasklet.new(await_)(fromOutside(5, 2)).join();
    await Tasklet.sleep(500);
    await Tasklet.new(await_)(fromOutside(5, 3)).join();
    resolve();
    await Tasklet.joinAll(waiting);
    await Tasklet.new(await_)(fromOutside(5, 4)).join();
    await idle.kill();
    // As is who has been given up before, when it awaits another thing.
    const first = Promise.withResolvers<void>();
    const again = Tasklet.new(async () => {
      await first.promise;
      await Tasklet.sleep(1);
      await await_(fromOutside(5, 5));
    })();
    await Tasklet.sleep(100);
    first.resolve();
    await Promise.all([again.join(), Tasklet.sleep(1000)]);
    assertEquals(log, [[1, 500], [2, 500], [3, 1000], [4, 1000], [5, 1101]]);
  },
});

Deno.test("virtualTime(), The outside: a Tasklet.suspend() counts if it says so", async () => {
  await using time = virtualTime({ patience: 200 });
  const log: unknown[] = [];
  async function wait(outside: boolean, promise: Promise<string>) {
    const start = time.now;
    const came = await Tasklet.suspend<string>((resume) => void promise.then(resume), {
      timeout: 1000,
      outside,
    }).catch((error) => error.name);
    log.push(came, time.now - start);
  }
  await Tasklet.new(wait)(true, fromOutside(5, "came")).join();
  await Tasklet.new(wait)(false, new Promise(() => {})).join();
  assertEquals(log, ["came", 0, "TimeoutError", 1000]);
});

Deno.test("virtualTime(), The outside: an infinite patience waits for what takes longer", async () => {
  await using time = virtualTime({ patience: Infinity });
  const task = Tasklet.new(async () => {
    await fromOutside(50, undefined);
    return time.now;
  })();
  await Tasklet.sleep(1000);
  assertEquals([await task.join(), time.now], [0, 1000]);
});

Deno.test("virtualTime(), The outside: without patience, nothing is waited for", async () => {
  await using time = virtualTime({ patience: 0 });
  const { promise, resolve } = Promise.withResolvers<void>();
  const task = Tasklet.new(async () => {
    await promise;
    return time.now;
  })();
  await Tasklet.sleep(1000);
  resolve();
  assertEquals(await task.join(), 1000);
});

Deno.test("virtualTime() is patient with tasklets at work only: not with those that wait, have ended or are abandoned", async () => {
  using reports = catchReports();
  const { promise, resolve } = Promise.withResolvers<void>();
  {
    await using _ = virtualTime();
    const abandoned = Tasklet.new(() => promise, { name: "stubborn" })();
    await Tasklet.yield();
    await abandoned.kill({ grace: 10 });
    await assertRejects(() => abandoned.join(), JoinError);
    assertEquals([countAtWork(), liveTasklets().filter(isAtWork)], [0, []]);
  }
  assertEquals(reports.texts.map((text) => text.replace(/#\d+/, "")), [
    "stubborn was abandoned: its cleanup has not ended within 10 ms",
  ]);
  await using time = virtualTime({ patience: Infinity });
  const failed = Tasklet.new(() => Promise.reject(new Error("expected")))();
  await assertRejects(() => failed.join(), JoinError);
  const killed = Tasklet.new(() => Promise.all([Tasklet.sleep(10), Tasklet.receiveOne()]))();
  const notStarted = Tasklet.new(() => {})();
  await notStarted.kill();
  await Tasklet.sleep(5);
  assertEquals([countAtWork(), liveTasklets().filter(isAtWork)], [0, []]);
  await killed.kill();
  const parent = Tasklet.new(() => void Tasklet.new(() => Tasklet.sleep(1000))())();
  await parent.join();
  resolve();
  await Tasklet.yield(); // in which the abandoned one ends
  const { waiters, outside, unknown } = waitCounts();
  assertEquals([time.now, countAtWork(), waiters, outside, unknown.size], [1005, 0, 0, 0, 0]);
});

Deno.test("virtualTime().advance() in a tasklet is a wait point, with which the clock needs no patience", async () => {
  await using time = virtualTime({ patience: Infinity });
  const log: unknown[] = [];
  await Tasklet.new(async () => {
    Tasklet.later(20, () => log.push("later"))();
    await time.advance(30);
    log.push(time.now);
    using _ = Timeout.push(10);
    log.push((await assertRejects(() => time.advance(60_000), TimeoutError)).name);
  })().join();
  await time.advance(0);
  assertEquals([log, time.now], [["later", 30, "TimeoutError"], 60_030]);
});

Deno.test("virtualTime().advance() by several at once goes one after the other", async () => {
  await using time = virtualTime();
  const log: unknown[] = [];
  const sleeper = Tasklet.later(25, () => log.push("slept", time.now))();
  await Promise.all([10, 20, 30].map(async (ms) => {
    await time.advance(ms);
    log.push(ms, time.now);
  }));
  await sleeper.join();
  assertEquals(log, [10, 10, "slept", 25, 20, 30, 30, 60]);
});

Deno.test("virtualTime() refuses durations that make no sense", async () => {
  for (const patience of [-1, NaN]) assertThrows(() => virtualTime({ patience }), RangeError);
  await using time = virtualTime();
  for (const ms of [-1, NaN]) assertThrows(() => void time.advance(ms), RangeError);
  assertEquals(time.now, 0);
});

Deno.test("virtualTime() does not nest, and says so", async () => {
  await using time = virtualTime();
  const error = assertThrows(() => virtualTime(), Error);
  assertEquals(error.message, "Cannot begin virtual time: the clock has been replaced already");
  await Tasklet.sleep(10);
  assertEquals(time.now, 10);
});

Deno.test("virtualTime() can end while the clock is being patient, and leaves nothing running", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  let task: Tasklet<unknown> | undefined;
  {
    await using _ = virtualTime({ patience: Infinity });
    task = Tasklet.new(() => Promise.all([promise, Tasklet.new(() => Tasklet.sleep(1))().join()]))();
    await fromOutside(5, undefined);
  }
  resolve();
  await task.kill();
  assertEquals(timerCount(), 0);
});

// probe

Deno.test("probe() records what it gets, in order, as soon as it is sent", async () => {
  await using p = probe();
  const accepted = [MSG_A.send(p)(1), MSG_B.send(p)("b"), MSG_A.send([p, p])(2)];
  assertEquals(accepted, [true, true, true]);
  assertEquals(p.messages.map(({ type, args }) => [type, args]), [
    ["MSG_A", [1]],
    ["MSG_B", ["b"]],
    ["MSG_A", [2]],
    ["MSG_A", [2]],
  ]);
});

Deno.test("probe() knows its sender, and is a tasklet with a name, a parent and an end", async () => {
  const log: unknown[] = [];
  await Tasklet.new(async () => {
    const p = probe({ name: "spy" });
    MSG_A.send(p)(1);
    log.push(p.task.name, p.task.parent === Tasklet.current(), p.messages[0]?.sender === Tasklet.current());
    Tasklet.register("the spy", p.task);
    MSG_B.send(Tasklet.whereis("the spy")!)("found");
    log.push(p.messages.length);
    await p[Symbol.asyncDispose]();
    await p[Symbol.asyncDispose]();
    log.push(p.task.status, MSG_A.send(p)(2), p.messages.length, Tasklet.whereis("the spy"));
  })().join();
  assertEquals(log, ["spy", true, true, 2, "killed", false, 2, undefined]);
});

Deno.test("Probe.expect() gives the oldest of a class that was not expected yet, and leaves the others", async () => {
  await using _ = virtualTime();
  await using p = probe();
  MSG_A.send(p)(1);
  MSG_B.send(p)("b");
  MSG_A_MORE.send(p)(2);
  MSG_A.send(p)(3);
  const got = [await p.expect(MSG_A), await p.expect(MSG_A), await p.expect(MSG_B), await p.expect(MSG_A)];
  assertEquals(got.map(({ args }) => args[0]), [1, 2, "b", 3]);
  await p.expectNothing();
  assertEquals(p.messages, [0, 2, 1, 3].map((i) => got[i]!));
});

Deno.test("Probe.expect() waits for what has not come, several at once in order, in a tasklet or not", async () => {
  await using time = virtualTime();
  await using p = probe<MSG_A | MSG_B>();
  const log: unknown[] = [];
  async function expect(name: string) {
    const { args } = await p.expect(MSG_A, { within: 500 });
    log.push([name, args[0], time.now]);
  }
  const both = [expect("first"), Tasklet.new(expect)("second").join()];
  for (const n of [1, 2]) {
    await Tasklet.sleep(100);
    MSG_B.send(p)("other");
    MSG_A.send(p)(n);
  }
  await Promise.all(both);
  assertEquals(log, [["first", 1, 100], ["second", 2, 200]]);
  assertEquals(p.messages.map(({ type }) => type), ["MSG_B", "MSG_A", "MSG_B", "MSG_A"]);
});

Deno.test("Probe.expect() fails in time with what came instead", async () => {
  await using time = virtualTime();
  await using p = probe({ name: "p" });
  const texts: string[] = [];
  const fails = async (within?: number) => {
    const error = await assertRejects(() => p.expect(MSG_ASK, { within }), Error);
    texts.push(error.message.replace(/#\d+/, ""), `${time.now}`);
  };
  await fails();
  MSG_A.send(p)(1);
  MSG_B.send(p)("text", { x: 1 });
  await fails(20);
  for (let n = 2; n < 20; n++) MSG_A.send(p)(n);
  await fails(0);
  assertEquals(texts, [
    "Expected MSG_ASK at p within 1000 ms, got nothing",
    "1000",
    `Expected MSG_ASK at p within 20 ms, got MSG_A(1), MSG_B('text', { x: 1 })`,
    "1020",
    `Expected MSG_ASK at p within 0 ms, got MSG_A(1), MSG_B('text', { x: 1 }), ${
      [2, 3, 4, 5, 6, 7, 8, 9].map((n) => `MSG_A(${n})`).join(", ")
    } and 10 more`,
    "1020",
  ]);
});

Deno.test("Probe.expect() gives a call, which can be replied to, failed, or left until the end", async () => {
  await using _ = virtualTime();
  const p = probe<MSG_ASK>();
  const outcomes = [1, 2, 3].map((n) => MSG_ASK.call(p)(n).catch((error) => error));
  const timedOut = assertRejects(() => MSG_ASK.call(p, { timeout: 10 })(4), TimeoutError);
  (await p.expect(MSG_ASK)).reply(10);
  (await p.expect(MSG_ASK)).fail(new Error("no"));
  await p.expect(MSG_ASK); // that nobody answers it is no error of its own
  await timedOut;
  await p[Symbol.asyncDispose]();
  const [replied, failed, left] = await Promise.all(outcomes);
  assertEquals([replied, failed.message, left instanceof CallError && left.reason], [10, "no", "finished"]);
});

Deno.test("probe() records what it is sent and called with as a member of a group", async () => {
  await using p = probe<MSG_ASK>();
  const group = new Group<MSG_ASK>();
  group.join(p.task);
  MSG_ASK.send(group)(1);
  const reply = MSG_ASK.call(group)(2);
  const answers = [await p.expect(MSG_ASK), await p.expect(MSG_ASK)].map((msg) => msg.reply(msg.args[0]));
  assertEquals([answers, await reply], [[false, true], 2]);
});

Deno.test("probe() does not record a call that is not made", async () => {
  await using _ = virtualTime();
  const p = probe<MSG_ASK>();
  const log: unknown[] = [];
  await Tasklet.new(async () => {
    const signal = AbortSignal.abort("gone");
    log.push(await MSG_ASK.call(p, { signal })(1).catch((error) => error));
    using _ = Timeout.push(10);
    await Tasklet.sleep(20).catch(() => {});
    log.push((await assertRejects(() => MSG_ASK.call(p)(2), TimeoutError)).name);
  })().join();
  await p[Symbol.asyncDispose]();
  log.push((await assertRejects(() => MSG_ASK.call(p)(3), CallError)).reason);
  assertEquals([log, p.messages], [["gone", "TimeoutError", "finished"], []]);
});

Deno.test("Probe.expect() is a wait point: kill and deadline end it, and take no message", async () => {
  await using time = virtualTime();
  await using p = probe<MSG_A>();
  const log: unknown[] = [];
  const killed = Tasklet.new(() => p.expect(MSG_A, { within: Infinity }))();
  const late = Tasklet.new(async () => {
    using _ = Timeout.push(50);
    log.push((await assertRejects(() => p.expect(MSG_A, { within: 100 }))) instanceof TimeoutError, time.now);
    MSG_A.send(p)(1);
    log.push((await p.expect(MSG_A)).args[0]); // ready is ready
    log.push((await assertRejects(() => p.expectNothing())) instanceof TimeoutError);
  })();
  await Tasklet.sleep(10);
  await killed.kill();
  await assertRejects(() => killed.join(), JoinError);
  await late.join();
  MSG_A.send(p)(2);
  await Tasklet.new(async () => {
    void Tasklet.current()!.kill();
    await p.expect(MSG_A).catch((error) => log.push(error instanceof TaskletExit));
  })().join().catch(() => {});
  await Tasklet.new(async () => {
    void Tasklet.current()!.kill();
    await p.expectNothing().catch((error) => log.push(error instanceof TaskletExit));
  })().join().catch(() => {});
  assertEquals([log, (await p.expect(MSG_A)).args], [[true, 50, 1, true, true, true], [2]]);
});

Deno.test("Probe.expect() fails when the probe is disposed meanwhile", async () => {
  const p = probe<MSG_A>({ name: "p" });
  const expected = assertRejects(() => p.expect(MSG_A), Error);
  await p[Symbol.asyncDispose]();
  assertEquals((await expected).message, `Cannot expect: ${p.task} has finished`);
});

Deno.test("Probe.expectNothing() fails as soon as anything comes, and leaves it", async () => {
  await using time = virtualTime();
  await using p = probe({ name: "p" });
  const nothing = async (within?: number) => {
    const error = await p.expectNothing({ within }).catch((error) => error);
    return [error?.message.replace(/#\d+/, ""), time.now];
  };
  const log = [await nothing(), await nothing(400)];
  Tasklet.later(100, () => MSG_A.send(p)(1))();
  log.push(await nothing(1000), await nothing(1000));
  assertEquals((await p.expect(MSG_A)).args, [1]);
  log.push(await nothing(0));
  assertEquals(log, [
    [undefined, 100],
    [undefined, 500],
    ["Expected nothing at p for 1000 ms, got MSG_A(1)", 600],
    ["Expected nothing at p for 1000 ms, got MSG_A(1)", 600],
    [undefined, 600],
  ]);
});

Deno.test("probe() works in real time", async () => {
  await using p = probe<MSG_A>();
  Tasklet.later(2, () => MSG_A.send(p)(1))();
  assertEquals((await p.expect(MSG_A)).args, [1]);
  await p.expectNothing({ within: 2 });
  await assertRejects(() => p.expect(MSG_A, { within: 2 }), Error, "got nothing");
  assertEquals(p.messages.length, 1);
});

Deno.test("probe() refuses durations that make no sense", async () => {
  await using p = probe();
  MSG_A.send(p)(1);
  for (const within of [-1, NaN]) {
    await assertRejects(() => p.expect(MSG_A, { within }), RangeError, "Cannot expect a message");
    await assertRejects(() => p.expectNothing({ within }), RangeError, "Cannot expect nothing");
  }
});

Deno.test("probe() accepts what its type says, and nothing else", async () => {
  await using p: Probe<MSG_A> = probe<MSG_A>();
  const receiver: Receiver<MSG_A> = p;
  MSG_A.send(receiver)(1);
  // @ts-expect-error: it accepts MSG_A alone
  MSG_B.send(p)("b");
  const n: number = (await p.expect(MSG_A)).args[0];
  // @ts-expect-error: so no other can be expected
  await assertRejects(() => p.expect(MSG_ASK, { within: 0 }));
  const task: Tasklet<unknown, MSG_A> = p.task;
  assertEquals([n, task.alive], [1, true]);
});

// assertQuiet

Deno.test("assertQuiet() is content when nothing is left", () => {
  assertQuiet();
});

Deno.test("assertQuiet() lists tasklets with their state, what they wait for and their names", async () => {
  await using _ = virtualTime();
  const { promise, resolve } = Promise.withResolvers<void>();
  const parent = Tasklet.new(async function parent() {
    Tasklet.new(() => Promise.all([Tasklet.receiveOne([MSG_A, MSG_B]), Tasklet.sleep(50)]), {
      name: "both",
    })();
    Tasklet.new(() => promise, { name: "plain" })();
    Tasklet.register("the parent");
    Tasklet.register("boss");
    await Tasklet.sleep(10);
  })();
  const daemon = Tasklet.new(() => MSG_ASK.call(parent)(1).catch(() => {}), {
    name: "caller",
    daemon: true,
  })();
  await Tasklet.sleep(20);
  const ready = Tasklet.new(() => {}, { name: "ready" })();
  const [both, plain] = parent.children;
  assertEquals(messageOf(assertQuiet).split("\n"), [
    "Not quiet: 4 tasklets, 1 timer left",
    `  ${parent} (waiting): waits for the end of ${both}, ${plain}; registered as "the parent", "boss"`,
    `  ${both} (waiting): waits for MSG_A or MSG_B, and for a time`,
    `  ${plain} (running): awaits something that is no wait point`,
    `  ${ready} (ready): has not started`,
    "  timers: 1",
  ]);
  assertEquals(daemon.alive, false);
  resolve();
  await parent.kill();
  await ready.join();
  assertQuiet();
});

Deno.test("assertQuiet() lists those that are being killed, and those that were abandoned", async () => {
  await using _ = virtualTime();
  using reports = catchReports();
  const { promise, resolve } = Promise.withResolvers<void>();
  const task = Tasklet.new(async () => {
    try {
      await Tasklet.sleep(1000);
    } finally {
      await Tasklet.sleep(20);
      await promise;
    }
  }, { name: "stubborn" })();
  await Tasklet.yield();
  const killed = task.kill({ grace: 50 }).then(() => {});
  await Tasklet.sleep(0);
  const stopping = messageOf(assertQuiet).split("\n");
  await killed;
  const abandoned = messageOf(assertQuiet).split("\n");
  resolve();
  await fromOutside(0, undefined);
  assertQuiet();
  assertEquals(reports.texts.length, 1);
  assertEquals([stopping, abandoned], [[
    "Not quiet: 1 tasklet, 2 timers, 1 wait left",
    `  ${task} (stopping): waits for a time`,
    "  timers: 2",
    `  outside of any tasklet: waits for the end of ${task}`,
  ], [
    "Not quiet: 1 tasklet left",
    `  ${task} (stopping): awaits something that is no wait point`,
  ]]);
});

Deno.test("assertQuiet() still lists a tasklet that was abandoned below one that has finished", async () => {
  await using _ = virtualTime();
  using _reports = catchReports();
  const { promise, resolve } = Promise.withResolvers<void>();
  const child = await Tasklet.new(async () => {
    const child = Tasklet.new(() => promise, { name: "child" })();
    await Tasklet.yield();
    await child.kill({ grace: 5 });
    return child;
  })().join();
  assertEquals([liveTasklets(), child.parent], [[child], undefined]);
  resolve();
  await fromOutside(0, undefined);
  assertQuiet();
});

Deno.test("assertQuiet() lists timers and waits that belong to no tasklet", async () => {
  await using _ = virtualTime();
  using timer = setTimer(now() + 10, () => {});
  assertEquals(messageOf(assertQuiet).split("\n"), ["Not quiet: 1 timer left", "  timers: 1"]);
  timer.cancel();
  const sleeping = Tasklet.sleep(10);
  const waiting = Tasklet.suspend((resume) => void sleeping.then(() => resume()), { what: "for a bus" });
  assertEquals(messageOf(assertQuiet).split("\n"), [
    "Not quiet: 1 timer, 2 waits left",
    "  timers: 1",
    "  outside of any tasklet: waits for a time",
    "  outside of any tasklet: waits for a bus",
  ]);
  await waiting;
  assertQuiet();
});

Deno.test("assertQuiet() in a tasklet does not count it, nor those above, with their waits, names and deadlines", async () => {
  await using _ = virtualTime();
  const text = await Tasklet.new(async function top() {
    using _ = Timeout.push(1000);
    Tasklet.register("top");
    return await Tasklet.new(async () => {
      using _ = Timeout.push(500);
      await Tasklet.sleep(1);
      assertQuiet();
      await using _child = Tasklet.new(() => Tasklet.sleep(5), { name: "child" })();
      await Tasklet.yield();
      return messageOf(assertQuiet);
    })().join({ timeout: 2000 });
  })().join({ timeout: 5000 });
  // Two timers of the child: its own and that of the two deadlines it has inherited.
  assertEquals(
    text.replaceAll(/#\d+/g, ""),
    [
      "Not quiet: 1 tasklet, 2 timers left",
      "  child (waiting): waits for a time",
      "  timers: 2",
    ].join("\n"),
  );
});

Deno.test("assertQuiet() in an exploration sees its run, and not what was there before", async () => {
  await using _parked = Tasklet.new(() => Tasklet.receiveOne(), { name: "parked" })();
  await Tasklet.new(() =>
    explore(async () => {
      assertQuiet();
      await using _ = Tasklet.new(() => Tasklet.sleep(5))();
      assertThrows(assertQuiet, Error, "Not quiet: 1 tasklet left");
    }, { runs: 20 })
  )().join();
  assertThrows(assertQuiet, Error, "Not quiet: 1 tasklet left\n  parked");
});

function messageOf(f: () => void): string {
  return assertThrows(f, Error).message;
}
