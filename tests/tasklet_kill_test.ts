import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { CallError, Message } from "../message.ts";
import { type AnyTasklet, JoinError, Tasklet, TaskletExit } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { Timeout, timerCount } from "../timer.ts";
import { runSource } from "./program.ts";
import { catchReports } from "./reports.ts";

class MSG_A extends Message("MSG_A")<[n: number]> {}
class MSG_ASK extends Message("MSG_ASK")<[], number> {}

const isExit = (error: unknown) => error instanceof TaskletExit;
const forEver = () => new Promise<never>(() => {});

// Where it hits

Deno.test("Tasklet.kill() of one that has not started: it never starts", async () => {
  const log: string[] = [];
  const task = Tasklet.new(() => log.push("started"))();
  MSG_A.send(task)(1);
  const call = assertRejects(() => MSG_ASK.call(task)(), CallError);
  await task.kill();
  assertEquals([log, task.status, (await call).reason, MSG_A.send(task)(2)], [
    [],
    "killed",
    "finished",
    false,
  ]);
});

Deno.test("Tasklet.kill() of a parent: its children that have not started never start", async () => {
  const log: string[] = [];
  const task = Tasklet.new(async () => {
    Tasklet.new(() => log.push("child started"))();
    await Tasklet.current()!.kill();
  })();
  await assertRejects(() => task.join(), JoinError);
  assertEquals(log, []);
});

Deno.test("Tasklet.kill() at a wait point: that wait rejects now, and leaves every queue", async () => {
  await using time = virtualTime();
  const other = Tasklet.new(() => Tasklet.sleep(1000))();
  const dying = Tasklet.new(() => Tasklet.sleep(1000).finally(() => Tasklet.sleep(100)))();
  const waits: Record<string, () => unknown> = {
    sleep: () => Tasklet.sleep(500),
    yield: () => Tasklet.yield(),
    receiveOne: () => Tasklet.receiveOne(),
    receive: () => Tasklet.receive([MSG_A], { timeout: 700 }).next(),
    wait: () => Tasklet.wait(forEver()),
    suspend: () => Tasklet.suspend(() => {}),
    join: () => other.join(),
    joinAll: () => Tasklet.joinAll([other]),
    call: () => MSG_ASK.call(other)(),
    scope: () => Tasklet.scope(() => Tasklet.sleep(500)),
    kill: () => dying.kill(),
  };
  const log: [string, boolean, number][] = [];
  for (const [name, wait] of Object.entries(waits)) {
    const start = time.now;
    const task = Tasklet.new(async () => {
      try {
        if (name === "yield") queueMicrotask(() => void task.kill());
        await wait();
      } catch (error) {
        log.push([name, isExit(error), time.now - start]);
        throw error;
      }
    })();
    await Tasklet.yield();
    await task.kill();
  }
  assertEquals(log, Object.keys(waits).map((name) => [name, true, 0]));
  await Promise.all([other.kill(), dying.kill()]);
  assertEquals(timerCount(), 0);
});

Deno.test("Tasklet.kill() elsewhere: the next wait point rejects, and only it", async () => {
  await using time = virtualTime();
  const log: unknown[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const task = Tasklet.new(async () => {
    await promise;
    log.push(task.status);
    try {
      await Tasklet.sleep(100);
    } catch (error) {
      log.push([isExit(error), time.now]);
      await Tasklet.sleep(10);
      log.push(["cleaned", time.now]);
      throw error;
    }
  })();
  await Tasklet.yield();
  const killed = task.kill();
  await Tasklet.yield();
  log.push(task.status);
  resolve();
  await killed;
  assertEquals(log, ["stopping", "stopping", [true, 0], ["cleaned", 10]]);
});

Deno.test("Tasklet.kill() elsewhere is met at the next wait point, though one nobody awaits was under way", async () => {
  await using _ = virtualTime();
  const log: unknown[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const task = Tasklet.new(async () => {
    void Tasklet.sleep(1000); // nobody awaits it; one that is caught could not be told from the body's own wait
    await promise;
    await Tasklet.sleep(10).catch((error) => log.push(isExit(error)));
  })();
  await Tasklet.yield();
  const killed = task.kill();
  await Tasklet.yield();
  resolve();
  await killed;
  assertEquals(log, [true]);
});

Deno.test("Tasklet.kill() whose exit comes back by a wait nobody awaits, from the signal: cleanup may wait all the same", async () => {
  await using time = virtualTime();
  using reports = catchReports();
  const log: unknown[] = [];
  const task = Tasklet.new(async () => {
    const { signal } = Tasklet.current()!;
    const aborted = Promise.withResolvers<never>();
    signal.addEventListener(
      "abort",
      () => Tasklet.later(10, () => aborted.reject(signal.reason), { daemon: true })(),
    );
    try {
      await Tasklet.sleep(1000);
    } finally {
      void Tasklet.wait(aborted.promise);
      for (let i = 0; i < 3; i++) {
        await Tasklet.sleep(20);
        log.push(time.now);
      }
    }
  })();
  await Tasklet.yield();
  await task.kill();
  await reports.settled();
  assertEquals([log, task.status, reports.texts], [[20, 40, 60], "killed", []]);
});

Deno.test("Tasklet.kill() at a wait point that has another branch, which nobody awaits: cleanup may wait all the same", async () => {
  await using time = virtualTime();
  using reports = catchReports();
  const log: unknown[] = [];
  const task = Tasklet.new(async () => {
    const sleeping = Tasklet.sleep(1000);
    void sleeping.finally(() => log.push("branch"));
    void sleeping.then(() => log.push("never"));
    try {
      await sleeping;
    } finally {
      for (let i = 0; i < 5; i++) {
        await Tasklet.sleep(10);
        log.push(time.now);
      }
    }
  })();
  await Tasklet.yield();
  await task.kill();
  await reports.settled();
  assertEquals([log, task.status, reports.texts], [["branch", 10, 20, 30, 40, 50], "killed", []]);
});

Deno.test("Tasklet.kill() ends a waiting receive without losing the message: a full batch is read in cleanup", async () => {
  await using _ = virtualTime();
  const task = Tasklet.new(async () => {
    try {
      await Tasklet.receiveOne();
      await forEver();
    } finally {
      log.push([...Tasklet.pending()].length);
    }
  })();
  const log: number[] = [];
  await Tasklet.yield();
  await task.kill();
  assertEquals([MSG_A.send(task)(1), log, task.mailbox.length], [false, [0], 0]);
});

Deno.test("A message taken by nobody is got by the next receiver, after a kill or a timeout", async () => {
  await using _ = virtualTime();
  // One shared source, the queue of `owner`, and receivers of others waiting on it.
  const owner = Tasklet.new(async () => {
    const messages = Tasklet.receive([MSG_A]);
    const next = () => messages.next().then(({ value }) => value!.args[0]);
    const timedOut = Tasklet.receive([MSG_A], { timeout: 10 }).next().catch(() => "timed out");
    await Tasklet.sleep(20);
    MSG_A.send(Tasklet.current()!)(1);
    return [await timedOut, await next()];
  })();
  assertEquals(await owner.join(), ["timed out", 1]);
});

// Order

Deno.test("Tasklet.kill() goes to the children first, newest first", async () => {
  await using _ = virtualTime();
  const log: string[] = [];
  async function node(name: string, ...below: string[][]): Promise<void> {
    for (const [child, ...rest] of below) {
      Tasklet.new(node, { name: child! })(child!, ...rest.map((name) => [name]));
    }
    try {
      await Tasklet.sleep(1000);
    } catch (error) {
      log.push(name);
      throw error;
    }
  }
  const root = Tasklet.new(node)("root", ["a", "a1", "a2"], ["b"], ["c", "c1", "c2"]);
  await Tasklet.sleep(10);
  await root.kill();
  assertEquals(log, ["c2", "c1", "c", "b", "a2", "a1", "a", "root"]);
});

Deno.test("Tasklet.kill() ends parents after their children, however long these clean up", async () => {
  await using time = virtualTime();
  const log: [string, number][] = [];
  const parent = Tasklet.new(async () => {
    const child = Tasklet.new(async () => {
      try {
        await Tasklet.sleep(1000);
      } finally {
        await Tasklet.sleep(100);
      }
    })();
    void child.join().catch(() => log.push(["child", time.now]));
    await Tasklet.sleep(1000);
  })();
  const joined = parent.join().catch(() => log.push(["parent", time.now]));
  await Tasklet.sleep(10);
  await parent.kill();
  await joined;
  assertEquals(log.filter(([name]) => name === "parent"), [["parent", 110]]);
});

// Cleanup

Deno.test("Tasklet.kill() lets finally blocks wait: sleep, wait, join, send, and kill() waits for them", async () => {
  await using time = virtualTime();
  const log: unknown[] = [];
  const other = Tasklet.new(async () => (await Tasklet.receiveOne([MSG_A])).args[0])();
  const task = Tasklet.new(async () => {
    try {
      await Tasklet.sleep(1000);
    } finally {
      await Tasklet.sleep(20);
      await Tasklet.yield();
      log.push(await Tasklet.wait(Promise.resolve("waited")));
      log.push(MSG_A.send(other)(1), await other.join(), task.status);
    }
  })();
  await Tasklet.sleep(10);
  await task.kill();
  assertEquals([log, time.now, task.status, timerCount()], [
    ["waited", true, 1, "stopping"],
    30,
    "killed",
    0,
  ]);
});

Deno.test("Tasklet.kill() lets children of the cleanup run, and waits for them", async () => {
  await using _ = virtualTime();
  const log: unknown[] = [];
  const task = Tasklet.new(async () => {
    try {
      await Tasklet.sleep(1000);
    } finally {
      const flush = Tasklet.new(async () => {
        await Tasklet.sleep(10);
        return "flushed";
      })();
      log.push(await flush.join());
    }
  })();
  await Tasklet.yield();
  await task.kill();
  assertEquals(log, ["flushed"]);
});

Deno.test("Tasklet.kill() makes receive and call reject at once in the cleanup, even with messages queued", async () => {
  await using time = virtualTime();
  const log: unknown[] = [];
  const server = Tasklet.receiver((msg: MSG_ASK) => msg.reply(1));
  const task = Tasklet.new(async () => {
    try {
      await Tasklet.sleep(1000);
    } finally {
      for (
        const wait of [
          () => Tasklet.receiveOne(),
          () => Tasklet.receive().next(),
          () => Tasklet.receiveOne([MSG_A], { timeout: 100 }),
          () => MSG_ASK.call(server)(),
        ]
      ) log.push(await wait().then(() => "went on", isExit));
      log.push(Tasklet.current()!.mailbox.length, time.now);
    }
  })();
  await Tasklet.yield();
  for (const n of [1, 2]) MSG_A.send(task)(n);
  await task.kill();
  assertEquals(log, [true, true, true, true, 2, 0]);
  await server.kill();
});

Deno.test("Tasklet.kill() ends a loop that swallows the exit and goes on receiving", async () => {
  await using _ = virtualTime();
  let swallowed = 0;
  const task = Tasklet.new(async () => {
    while (swallowed < 3) {
      try {
        for await (const msg of Tasklet.receive()) msg.reply(0);
        // deno-lint-ignore concurrence/rethrow-exit -- swallowing it is what is tested
      } catch (error) {
        if (isExit(error)) swallowed++;
      }
    }
  })();
  await Tasklet.yield();
  const killed = task.kill();
  const call = await assertRejects(() => MSG_ASK.call(task)(), CallError);
  await killed;
  assertEquals([call.reason, swallowed, task.status], ["finished", 3, "killed"]);
});

// In a program of its own, which would hang for ever if it kept the event loop to itself.
Deno.test({
  name:
    "Tasklet.kill() of a loop that swallows the exit for ever leaves the event loop to others, and abandons it",
  timeout: 20_000,
  fn: async () => {
    const { code, lines } = await runSource(
      `
      const task = Tasklet.new(async () => {
        while (true) try { await Tasklet.receiveOne(); } catch { /* swallowed */ }
      })();
      await Tasklet.yield();
      setTimeout(() => console.log("timer"), 20);
      await task.kill({ grace: 100 });
      console.log(await task.join().catch((error) => error.abandoned));
      Deno.exit(0);
    `,
      5000,
    );
    assertEquals([code, lines], [0, ["timer", "true"]]);
  },
});

Deno.test("A tasklet that is killed and returns all the same was killed", async () => {
  await using _ = virtualTime();
  const task = Tasklet.new(() => Tasklet.sleep(100).catch(() => "swallowed"))();
  await Tasklet.yield();
  await task.kill();
  const error = await assertRejects(() => task.join(), JoinError);
  assertEquals([isExit(error.cause), task.status], [true, "killed"]);
});

Deno.test("A tasklet that is killed and fails in its cleanup has failed", async () => {
  await using _ = virtualTime();
  const task = Tasklet.new(() =>
    Tasklet.sleep(100).catch(() => {
      throw new Error("cannot flush");
    })
  )();
  await Tasklet.yield();
  const joined = assertRejects(() => task.join(), JoinError);
  await task.kill();
  assertEquals([((await joined).cause as Error).message, task.status], ["cannot flush", "failed"]);
});

Deno.test("Tasklet.kill() cleans up children that are not killed twice, when the parent's body fails meanwhile", async () => {
  await using _ = virtualTime();
  const exits: unknown[] = [];
  const parent = Tasklet.new(async () => {
    Tasklet.new(async () => {
      for (let i = 0; i < 2; i++) await Tasklet.sleep(50).catch((error) => exits.push(error));
    })();
    await Tasklet.sleep(10);
    throw new Error("parent");
  })();
  const joined = assertRejects(() => parent.join(), JoinError);
  await Tasklet.sleep(15);
  await parent.kill();
  assertEquals(exits.length, 1);
  assertEquals(((await joined).cause as Error).message, "parent");
});

// Again, by itself, by others

Deno.test("Tasklet.kill() is idempotent: one exit, and every kill() waits for the end", async () => {
  await using time = virtualTime();
  const exits: unknown[] = [];
  const task = Tasklet.new(async () => {
    for (let i = 0; i < 3; i++) await Tasklet.sleep(20).catch((error) => exits.push(error));
  })();
  await Tasklet.yield();
  const times = [1, 2, 3].map(() => task.kill().then(() => time.now));
  await Tasklet.sleep(10);
  await task.kill();
  assertEquals([await Promise.all(times), exits.length], [[40, 40, 40], 1]);
  await task.kill();
  assertEquals([time.now, task.status], [40, "killed"]);
});

Deno.test("Tasklet.kill() by an exit that is given: its waits reject with it, and joiners are told", async () => {
  const exit = new TaskletExit("no longer wanted");
  let met: unknown;
  const task = Tasklet.new(async () => {
    try {
      await Tasklet.receiveOne();
    } catch (error) {
      met = error;
      throw error;
    }
  })();
  await Tasklet.yield();
  await task.kill({ exit });
  assertStrictEquals(met, exit);
  assertStrictEquals((await assertRejects(() => task.join(), JoinError)).cause, exit);
});

Deno.test("Tasklet.kill() of one that is done changes nothing", async () => {
  const task = Tasklet.new(() => "result")();
  await task.join();
  await task.kill();
  assertEquals([task.status, await task.join(), task.signal.aborted], ["done", "result", false]);
});

Deno.test("Tasklet.kill() of oneself, awaited: the exit is met there, and cleanup may wait", async () => {
  await using time = virtualTime();
  const log: unknown[] = [];
  const task = Tasklet.new(async () => {
    try {
      await Tasklet.current()!.kill();
      log.push("went on");
    } catch (error) {
      log.push(isExit(error));
      await Tasklet.sleep(10);
      throw error;
    }
  })();
  await assertRejects(() => task.join(), JoinError);
  assertEquals([log, time.now, task.status], [[true], 10, "killed"]);
});

Deno.test("Tasklet.kill() of oneself, not awaited: the exit is met at the next wait point", async () => {
  await using _ = virtualTime();
  const log: unknown[] = [];
  const task = Tasklet.new(async () => {
    void Tasklet.current()!.kill();
    log.push("goes on");
    await Tasklet.sleep(10).catch((error) => log.push(isExit(error)));
  })();
  await assertRejects(() => task.join(), JoinError);
  assertEquals(log, ["goes on", true]);
});

Deno.test("Tasklet.kill() of oneself, not awaited, with a plain await in between: at the next wait point too", async () => {
  await using _ = virtualTime();
  const log: unknown[] = [];
  const task = Tasklet.new(async () => {
    void Tasklet.current()!.kill();
    for (let i = 0; i < 3; i++) await null;
    await Tasklet.sleep(10).catch((error) => log.push(isExit(error)));
  })();
  await assertRejects(() => task.join(), JoinError);
  assertEquals(log, [true]);
});

Deno.test("Tasklet.kill() of a parent by its child ends both, and does not wait for itself", async () => {
  await using time = virtualTime();
  const log: unknown[] = [];
  const parent = Tasklet.new(async () => {
    Tasklet.new(async () => {
      await Tasklet.sleep(10);
      await Tasklet.current()!.parent!.kill().catch((error) => log.push(["child", isExit(error), time.now]));
    })();
    await Tasklet.sleep(1000).catch((error) => log.push(["parent", isExit(error), time.now]));
  })();
  await assertRejects(() => parent.join(), JoinError);
  assertEquals([log, parent.status], [[["parent", true, 10], ["child", true, 10]], "killed"]);
});

Deno.test("Tasklet.kill() in a cleanup, of oneself or a parent, does not wait for itself either", async () => {
  await using time = virtualTime();
  const parent = Tasklet.new(async () => {
    Tasklet.new(async () => {
      try {
        await Tasklet.sleep(1000);
      } finally {
        await Tasklet.current()!.kill().catch(() => {});
        await Tasklet.current()!.parent!.kill().catch(() => {});
      }
    })();
    await Tasklet.sleep(1000);
  })();
  await Tasklet.sleep(10);
  await parent.kill();
  assertEquals([time.now, parent.status], [10, "killed"]);
});

Deno.test("Tasklet.kill() of each other ends both", async () => {
  await using time = virtualTime();
  const a: AnyTasklet = Tasklet.new(async () => {
    await Tasklet.sleep(5);
    await b.kill();
  })();
  const b: AnyTasklet = Tasklet.new(async () => {
    try {
      await Tasklet.sleep(10);
    } finally {
      await a.kill();
    }
  })();
  await Tasklet.joinAll([a, b]);
  assertEquals([a.status, b.status, time.now < 5000], ["killed", "killed", true]);
});

Deno.test("Tasklet.kill() of one whose body has returned kills its children", async () => {
  await using time = virtualTime();
  let child: Tasklet<void>;
  const task = Tasklet.new(() => {
    child = Tasklet.new(() => Tasklet.sleep(1000))();
    return "result";
  })();
  await Tasklet.sleep(10);
  await task.kill();
  const error = await assertRejects(() => task.join(), JoinError);
  assertEquals([child!.status, task.status, isExit(error.cause), time.now], ["killed", "killed", true, 10]);
});

Deno.test("Tasklet.kill() leaves daemons and their children alone", async () => {
  await using _ = virtualTime();
  let daemon: Tasklet<void>;
  const task = Tasklet.new(async () => {
    daemon = Tasklet.new(async () => {
      await Tasklet.new(() => Tasklet.sleep(10))().join();
    }, { daemon: true })();
    await Tasklet.sleep(1000);
  })();
  await Tasklet.yield();
  await Tasklet.yield();
  await task.kill();
  assertEquals(await daemon!.join(), undefined);
});

// signal

Deno.test("Tasklet.signal is aborted with the TaskletExit on kill, also when asked for later", async () => {
  await using _ = virtualTime();
  const log: unknown[] = [];
  const task = Tasklet.new(async () => {
    try {
      await Tasklet.sleep(1000);
    } catch (error) {
      log.push(error === task.signal.reason, error === early.reason);
      throw error;
    }
  })();
  const early = task.signal;
  assertStrictEquals(task.signal, early);
  await Tasklet.yield();
  assertEquals(early.aborted, false);
  await task.kill();
  assertEquals([log, early.aborted, isExit(early.reason)], [[true, true], true, true]);
  const late = Tasklet.new(() => Tasklet.sleep(1000))();
  await Tasklet.yield();
  await late.kill();
  assertEquals([late.signal.aborted, isExit(late.signal.reason)], [true, true]);
});

Deno.test("Tasklet.signal ends a promise that the library knows nothing of, and its rejection is no failure", async () => {
  using reports = catchReports();
  const task = Tasklet.new(async () => {
    const { signal } = Tasklet.current()!;
    await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  })();
  await Tasklet.yield();
  await task.kill();
  await reports.settled();
  assertEquals([task.status, reports.texts], ["killed", []]);
});

// Floating waits

Deno.test("A wait nobody awaits belongs to its own tasklet, whoever makes it fail", async () => {
  await using _ = virtualTime();
  using reports = catchReports();
  // The callee rejects the call in its own context; it is the caller that must fail.
  const callee = Tasklet.new(async () => {
    (await Tasklet.receiveOne([MSG_ASK])).fail(new Error("refused"));
    await Tasklet.sleep(10);
    return "lives on";
  })();
  const caller = Tasklet.new(async () => {
    void MSG_ASK.call(callee)();
    await Tasklet.sleep(100);
  })();
  const [ofCallee, ofCaller] = await Tasklet.joinAll([callee, caller]);
  await reports.settled();
  assertEquals([ofCallee, ((ofCaller as JoinError | undefined)?.cause as Error | undefined)?.message], [
    "lives on",
    "refused",
  ]);
});

// In programs of their own, because an error that is not adopted would end this one.
Deno.test("A wait nobody awaits does not end the process when its tasklet is killed from outside", async () => {
  const { code, lines } = await runSource(`
    const task = Tasklet.new(async () => {
      void Tasklet.receiveOne();
      await Tasklet.sleep(1000);
    })();
    await Tasklet.yield();
    await task.kill();
    console.log(task.status);
  `);
  assertEquals([code, lines], [0, ["killed"]]);
});

Deno.test("A call nobody awaits does not end the process when the callee ends", async () => {
  const { code, lines } = await runSource(`
    const callee = Tasklet.new(() => Tasklet.sleep(10))();
    const caller = Tasklet.new(async () => {
      void MSG_ASK.call(callee)();
      await Tasklet.sleep(100);
    })();
    console.log(await caller.join().catch((error) => error.cause.reason));
  `);
  assertEquals([code, lines], [0, ["finished"]]);
});

// With deadlines

Deno.test("Tasklet.kill() in the turn of a deadline: the end is a kill", async () => {
  await using _ = virtualTime();
  const task = Tasklet.new(async () => {
    using _ = Timeout.push(10);
    await Tasklet.sleep(100);
  })();
  Tasklet.later(10, () => task.kill(), { daemon: true })();
  const [end] = await Tasklet.joinAll([task]);
  assert(end instanceof JoinError);
  await Tasklet.sleep(1);
  assertEquals(timerCount(), 0);
});
