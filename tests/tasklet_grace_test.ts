/**
 * The grace of `Tasklet.kill()`, and what is abandoned behind it.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { JoinError, Tasklet, TaskletExit } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { timerCount } from "../timer.ts";
import { catchReports } from "./reports.ts";

const isExit = (error: unknown) => error instanceof TaskletExit;
const forEver = () => new Promise<never>(() => {});

/** A body that hangs at a plain promise in its cleanup until it is let go. */
function stubborn(): { body: () => Promise<void>; letGo: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  async function body(): Promise<void> {
    try {
      await Tasklet.sleep(1_000_000);
    } finally {
      await promise;
    }
  }
  return { body, letGo: resolve };
}

// Grace, abandonment

Deno.test("Tasklet.kill() makes every wait reject after the grace", async () => {
  await using time = virtualTime();
  using reports = catchReports();
  const log: unknown[] = [];
  const task = Tasklet.new(async () => {
    for (const ms of [1000, 60, 1000, 1000]) {
      try {
        await Tasklet.sleep(ms);
        log.push(["slept", time.now]);
        // deno-lint-ignore concurrence/rethrow-exit -- swallowing it is what is tested
      } catch (error) {
        log.push([isExit(error), time.now]);
      }
    }
  })();
  await Tasklet.sleep(10);
  await task.kill({ grace: 100 });
  assertEquals(time.now, 110);
  await Tasklet.yield();
  assertEquals(log, [[true, 10], ["slept", 70], [true, 110], [true, 110]]);
  assertEquals([task.status, reports.texts.length], ["killed", 1]);
});

Deno.test("Tasklet.kill() abandons after the grace: joiners and parent are released, it is reported, and in the tree", async () => {
  await using time = virtualTime();
  using reports = catchReports();
  const { body, letGo } = stubborn();
  let task: Tasklet<void>;
  const parent = Tasklet.new(async () => {
    task = Tasklet.new(body, { name: "stubborn" })();
    await Tasklet.sleep(1_000_000);
  }, { name: "parent" })();
  const grandparent = Tasklet.new(async () => {
    await Tasklet.sleep(1_000_000);
  })();
  await Tasklet.sleep(10);
  const joined = task!.join().catch((error) => error);
  const monitor = Tasklet.new(async () => {
    Tasklet.monitor(task);
    return (await Tasklet.receiveOne()).args[1];
  })();
  await task!.kill({ grace: 100 });
  assertEquals(time.now, 110);
  const error = await joined;
  assert(error instanceof JoinError && error.abandoned && isExit(error.cause));
  assert(isExit(await monitor.join()));
  const late = await assertRejects(() => task.join(), JoinError);
  assertEquals([late.abandoned, task!.status, task!.alive], [true, "stopping", true]);
  assert(reports.texts.length === 1 && reports.texts[0]!.includes(`${task!}`));
  assertEquals([...parent.tree()].map(([task]) => task.name), ["parent", "stubborn"]);
  letGo();
  await Tasklet.yield();
  assertEquals([task!.status, [...parent.tree()].map(([task]) => task.name)], ["killed", ["parent"]]);
  await parent.kill();
  await grandparent.kill();
  assertEquals(reports.texts.length, 1);
});

Deno.test("Tasklet.kill() of a parent is not held up by an abandoned child", async () => {
  await using time = virtualTime();
  using reports = catchReports();
  const { body, letGo } = stubborn();
  let task: Tasklet<void>;
  const root = Tasklet.new(async () => {
    const parent = Tasklet.new(async () => {
      task = Tasklet.new(body)();
      await Tasklet.sleep(1_000_000);
    })();
    await Tasklet.sleep(10);
    await parent.kill({ grace: 100 });
    assertEquals([parent.status, time.now], ["killed", 110]);
    assertEquals([...root.tree()].length, 2);
    await Tasklet.sleep(10);
  })() as Tasklet<void>;
  await Tasklet.yield();
  await root.join();
  assertEquals([root.status, time.now, reports.texts.length], ["done", 120, 1]);
  letGo();
  await Tasklet.yield();
  assertEquals(task!.status, "killed");
});

Deno.test("Tasklet.kill() has a grace of 5 s; a second one with less shortens it, with more does not lengthen it", async () => {
  await using time = virtualTime();
  using _reports = catchReports();
  const ends: number[] = [];
  for (const later of [undefined, 100, 60_000]) {
    const start = time.now;
    const { body, letGo } = stubborn();
    const task = Tasklet.new(body)();
    await Tasklet.yield();
    const killed = task.kill();
    if (later !== undefined) void task.kill({ grace: later });
    await killed;
    ends.push(time.now - start);
    letGo();
  }
  assertEquals([ends, timerCount()], [[5000, 100, 5000], 0]);
});

Deno.test("Tasklet.kill() gives its grace to all below, also to those whose parent ends before them", async () => {
  await using time = virtualTime();
  using reports = catchReports();
  const log: unknown[] = [];
  async function slow(name: string): Promise<void> {
    try {
      await Tasklet.sleep(1_000_000);
    } finally {
      await Tasklet.sleep(15_000);
      log.push([name, time.now]);
    }
  }
  const bodies: Record<string, () => unknown> = {
    child: async () => {
      Tasklet.new(slow)("child");
      await Tasklet.sleep(1_000_000);
    },
    grandchild: async () => {
      Tasklet.new(async () => {
        Tasklet.new(slow)("grandchild");
        await Tasklet.sleep(1_000_000);
      })();
      await Tasklet.sleep(1_000_000);
    },
    "child of a body that has returned": () => void Tasklet.new(slow)("child of a body that has returned"),
    "body of a scope": () => Tasklet.scope(() => slow("body of a scope")),
    "child in a scope": () =>
      Tasklet.scope(async () => {
        Tasklet.new(slow)("child in a scope");
        await Tasklet.sleep(1_000_000);
      }),
  };
  const root = Tasklet.new(async () => {
    for (const [name, body] of Object.entries(bodies)) Tasklet.new(body, { name })();
    await Tasklet.sleep(1_000_000);
  })();
  await Tasklet.sleep(10);
  await root.kill({ grace: 20_000 });
  const expected = Object.keys(bodies).map((name) => [name, 15_010]);
  assertEquals([log.toSorted(), time.now, reports.texts], [expected.toSorted(), 15_010, []]);
  assertEquals([root.status, timerCount()], ["killed", 0]);
});

Deno.test("Tasklet.kill() gives no more than its grace to those whose parent ends before them", async () => {
  await using time = virtualTime();
  using reports = catchReports();
  const log: unknown[] = [];
  async function slow(): Promise<void> {
    try {
      await Tasklet.sleep(1_000_000);
    } finally {
      log.push(await Tasklet.sleep(1_000_000).catch(isExit), time.now);
    }
  }
  const root = Tasklet.new(async () => {
    Tasklet.new(async () => {
      try {
        await Tasklet.sleep(1_000_000);
      } finally {
        await Tasklet.sleep(60);
        Tasklet.new(slow)(); // is killed when its parent has ended, with the 40 ms that are left
        await Tasklet.yield();
      }
    })();
    await Tasklet.sleep(1_000_000);
  })();
  await Tasklet.sleep(10);
  await root.kill({ grace: 100 });
  await Tasklet.yield();
  assertEquals([log, time.now, reports.texts.length], [[true, 110], 110, 1]);
});

Deno.test("Tasklet.kill() with a grace of 0 still runs finally blocks that need not wait", async () => {
  await using _ = virtualTime();
  using reports = catchReports();
  const log: unknown[] = [];
  const quick = Tasklet.new(async () => {
    try {
      await Tasklet.sleep(100);
    } finally {
      log.push("quick");
    }
  })();
  const slow = Tasklet.new(async () => {
    try {
      await Tasklet.sleep(100);
    } finally {
      log.push(await Tasklet.sleep(10).catch(isExit));
    }
  })();
  await Tasklet.yield();
  await Promise.all([quick.kill({ grace: 0 }), slow.kill({ grace: 0 })]);
  await Tasklet.yield();
  assertEquals([log, quick.status, slow.status, reports.texts.length], [
    ["quick", true],
    "killed",
    "killed",
    1,
  ]);
});

Deno.test("Tasklet.kill() with an infinite grace never abandons", async () => {
  await using time = virtualTime();
  const { body, letGo } = stubborn();
  const task = Tasklet.new(body)();
  await Tasklet.yield();
  const killed = task.kill({ grace: Infinity });
  await time.advance(1_000_000);
  assertEquals(task.status, "stopping");
  letGo();
  await killed;
  assertEquals(task.status, "killed");
});

Deno.test("Tasklet.kill() abandons one that blocks at a plain promise and was never at a wait point", async () => {
  await using _ = virtualTime();
  using reports = catchReports();
  const task = Tasklet.new(forEver)();
  await Tasklet.yield();
  await task.kill({ grace: 10 });
  const error = await assertRejects(() => task.join(), JoinError);
  assertEquals([error.abandoned, reports.texts.length], [true, 1]);
});
