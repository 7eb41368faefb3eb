/**
 * What becomes of the resources of a pool: whose they are, what is not known of them, what fails, and the end.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertStrictEquals, assertThrows } from "@std/assert";
import { Message } from "../message.ts";
import { type Lease, Pool, PoolClosedError } from "../pool.ts";
import { type Self, Tasklet } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { Timeout, timerCount } from "../timer.ts";
import { runSource, startSource } from "./program.ts";
import { catchReports } from "./reports.ts";
import { books } from "./books.ts";

class MSG_CLOSE extends Message("MSG_CLOSE")<[], string> {}

Deno.test("Pool: Ownership: what is opened for somebody who has gone serves the next", async () => {
  await using time = virtualTime();
  const { pool, log } = books({ openFor: 20 }, time);
  const acquirers = [
    Tasklet.new(() => pool.acquire())(),
    Tasklet.new(() => pool.acquire({ timeout: 10 }))(),
    Tasklet.new(async () => {
      using _ = Timeout.push(10);
      await pool.acquire();
    })(),
  ];
  await Tasklet.sleep(10);
  await acquirers[0]!.kill();
  await Tasklet.joinAll(acquirers);
  const lease = await pool.acquire();
  log.push(`lent ${lease.value} at ${time.now}`);
  await Tasklet.sleep(0);
  assertEquals([log, pool.size, pool.idle], [
    ["open 1 at 20", "open 2 at 20", "open 3 at 20", "lent 1 at 20"],
    3,
    2,
  ]);
  lease.release();
  await pool.close();
});

Deno.test("Pool: Ownership: open, check and close run in one tasklet for each resource, without a parent", async () => {
  const log: unknown[] = [];
  const note = (what: string) => {
    const task = Tasklet.current()!;
    log.push([what, task.name, task.parent, Timeout.current()]);
    return task;
  };
  const pool = new Pool({
    name: "lines",
    open: () => note("open"),
    check: (task) => note("check") === task,
    close: (task) => log.push(note("close") === task),
  });
  await Tasklet.new(async () => {
    using _ = Timeout.push(1000);
    for (let n = 0; n < 2; n++) await pool.use((task) => assert(task !== Tasklet.current()));
    await pool.close();
  })().join();
  assertEquals(log, [
    ...["open", "check", "close"].map((what) => [what, "lines", undefined, Infinity]),
    true,
  ]);
});

Deno.test("Pool: Ownership: what open starts lives as long as the resource, and close may still use it", async () => {
  await using _ = virtualTime();
  const log: string[] = [];
  const pool = new Pool({
    open: () =>
      Tasklet.new(async function (this: Self<MSG_CLOSE>) {
        Tasklet.new(() => Tasklet.suspend(() => {}).finally(() => log.push("helper is killed")))();
        (await this.receiveOne()).reply("it says goodbye");
      })(),
    close: async (task) => {
      await Tasklet.sleep(10);
      log.push(await MSG_CLOSE.call(task)());
    },
  });
  const user = Tasklet.new(() => pool.use((task) => log.push(`lent, ${task.status}`)))();
  await user.join(); // which has no such child
  log.push(`idle: ${pool.idle}`);
  await pool.close();
  assertEquals(log, ["lent, waiting", "idle: 1", "it says goodbye", "helper is killed"]);
});

Deno.test("Pool: Ownership: a resource whose tasklet fails is closed, after who uses it", async () => {
  await using time = virtualTime();
  using reports = catchReports();
  const failAfter = (ms: number, why: string) => Tasklet.sleep(ms).then(() => Promise.reject(new Error(why)));
  const { pool, log } = books({ opened: (n) => void failAfter(n * 10, `resource ${n}`) }, time);
  await pool.use(() => {});
  await Tasklet.sleep(15);
  const lease = await pool.acquire();
  await Tasklet.sleep(30);
  log.push(`use ${lease.value} at ${time.now}`);
  lease.release();
  await Tasklet.yield();
  await pool.close();
  assertEquals(pool.size, 0);
  assertEquals(log, ["open 1 at 0", "close 1 at 10", "open 2 at 15", "use 2 at 45", "close 2 at 45"]);
  await reports.settled();
  assertEquals(reports.texts.length, 2);
  for (const [i, text] of reports.texts.entries()) {
    assertMatch(text, RegExp(`pool#\\d+ failed: .*resource ${i + 1}`));
  }
});

Deno.test("Pool: Ownership: what is killed, as by the end of the program, is closed and not lent again", async () => {
  await using time = virtualTime();
  using reports = catchReports();
  const keepers: Tasklet[] = [];
  const { pool, log } = books({ opened: () => keepers.push(Tasklet.current()!) }, time);
  const kill = (n: number, grace = 5000) => void keepers[n - 1]!.kill({ grace });
  await pool.use(() => {});
  kill(1); // while it idles
  assertEquals(pool.idle, 1);
  const two = await pool.acquire();
  kill(2); // while it is lent
  await Tasklet.sleep(10);
  two.release();
  assertEquals(pool.idle, 0);
  const three = await pool.acquire();
  kill(3, 10); // ... and not given back in time
  await Tasklet.sleep(20);
  three.release();
  log.push(`lent ${await pool.use((n) => n)} at ${time.now}`);
  await pool.close();
  assertEquals(log, [
    "open 1 at 0",
    "close 1 at 0",
    "open 2 at 0",
    "close 2 at 10",
    "open 3 at 10",
    "close 3 at 20",
    "open 4 at 30",
    "lent 4 at 30",
    "close 4 at 30",
  ]);
  assertEquals(reports.texts.length, 1); // 3 was abandoned
});

Deno.test("Pool: Ownership: what open starts is there for close also when all are killed", async () => {
  await using _ = virtualTime();
  const log: string[] = [];
  let keeper!: Tasklet;
  const pool = new Pool({
    open: () => {
      keeper = Tasklet.current()!;
      return Tasklet.new(() => Tasklet.suspend(() => {}).finally(() => log.push("helper is killed")))();
    },
    close: async (helper) => {
      await Tasklet.sleep(10);
      log.push(`close: ${helper.status}`);
    },
  });
  await pool.use(() => {});
  await keeper.kill();
  assertEquals([log, pool.size], [["close: waiting", "helper is killed"], 0]);
});

Deno.test("Pool: Unknown state: what is not given back, or was interrupted, is closed and not lent again", async () => {
  await using _ = virtualTime();
  using reports = catchReports();
  const leases: Lease<number>[] = [];
  const cases: Record<string, (pool: Pool<number>) => Promise<unknown>> = {
    "ends with it": async (pool) => leases.push(await pool.acquire()),
    "fails with it": async (pool) => {
      leases.push(await pool.acquire());
      throw new Error("No luck");
    },
    "is killed with it": async (pool) => {
      leases.push(await pool.acquire());
      await Tasklet.current()!.kill();
    },
    "is killed while using it": async (pool) => {
      using _ = await pool.acquire();
      await Tasklet.current()!.kill();
    },
    "throws in use()": (pool) => pool.use(() => Promise.reject(new Error("No luck"))).catch(() => {}),
    "times out in use()": (pool) =>
      pool.use(() => Tasklet.suspend(() => {}, { timeout: 10 })).catch((error) => error),
    "discards it": async (pool) => (await pool.acquire()).discard(),
    "throws while using it": async (pool) => {
      using _ = await pool.acquire();
      throw new Error("No luck");
    },
    "releases it in its cleanup": async (pool) => {
      const lease = await pool.acquire();
      await Tasklet.current()!.kill().finally(() => lease.release());
    },
    "leaves it to a child": async (pool) => {
      const lease = await pool.acquire();
      Tasklet.later(10, () => lease.release())();
    },
  };
  const fates: Record<string, string> = {};
  for (const [how, body] of Object.entries(cases)) {
    const { pool, log } = books();
    await Tasklet.new(body)(pool).join().catch(() => {});
    await Tasklet.yield();
    fates[how] = log.includes("close 1") ? "closed" : pool.idle === 1 ? "kept" : "lost";
    assertEquals(pool.size, pool.idle);
    await pool.close();
  }
  assertEquals(fates, {
    "ends with it": "closed",
    "fails with it": "closed",
    "is killed with it": "closed",
    "is killed while using it": "closed",
    "throws in use()": "closed",
    "times out in use()": "closed",
    "discards it": "closed",
    "throws while using it": "kept", // it cannot know; `use` does
    "releases it in its cleanup": "kept",
    "leaves it to a child": "kept",
  });
  for (const lease of leases) assertThrows(() => lease.value, Error, "it has been given back");
  assertEquals(reports.texts, []); // all were asked for
});

Deno.test("Pool: Unknown state: it is closed also when its tasklet is abandoned", async () => {
  await using time = virtualTime();
  using reports = catchReports();
  const { pool, log } = books({}, time);
  const { promise, resolve } = Promise.withResolvers<void>();
  const task = Tasklet.new(async () => {
    using _ = await pool.acquire();
    await promise;
  })();
  await Tasklet.yield();
  await task.kill({ grace: 10 });
  await Tasklet.yield();
  assertEquals([log, pool.size, reports.texts.length], [["open 1 at 0", "close 1 at 10"], 0, 1]);
  resolve();
  await pool.close();
});

Deno.test("Pool: Failure: who waits longest gets the error of open, and for the next it is tried again", async () => {
  await using time = virtualTime();
  using reports = catchReports();
  const error = new Error("No luck");
  const { pool, log } = books({
    max: 1,
    openFor: 10,
    opened: (n) => {
      if (n <= 2) throw error;
    },
  }, time);
  const results = await Tasklet.joinAll([1, 2, 3, 4].map((n) =>
    Tasklet.new(async () => {
      const got = await pool.use((resource) => resource).catch((error) => error);
      log.push(`${n} got ${got instanceof Error ? got.message : got} at ${time.now}`);
      return got;
    })()
  ));
  assertEquals(log, [
    "1 got No luck at 10",
    "2 got No luck at 20",
    "open 3 at 30",
    "3 got 3 at 30",
    "4 got 3 at 30",
  ]);
  assertStrictEquals(results[0], error);
  await reports.settled();
  assertEquals(reports.texts, []);
  await pool.close();
});

Deno.test("Pool: Failure: an error of open that costs nobody a resource is reported, and nobody gets it", async () => {
  await using time = virtualTime();
  using reports = catchReports();
  const { pool, log } = books({
    openFor: 10,
    opened: (n) => {
      if (n !== 2) throw new Error(`No luck with ${n}`);
    },
  }, time);
  await pool.acquire({ timeout: 5 }).catch((error) => log.push(error.name)); // resource 1: nobody waits any more
  await Tasklet.sleep(7);
  const [two, three] = [pool.acquire(), pool.acquire({ timeout: 9 }).catch((error) => log.push(error.name))];
  await Promise.all([two, three]);
  log.push(`got ${(await two).value} at ${time.now}`);
  await Tasklet.sleep(10);
  await reports.settled();
  assertEquals(log, ["TimeoutError", "TimeoutError", "open 2 at 22", "got 2 at 22"]);
  assertEquals(reports.texts.map((text) => text.match(/No luck with \d/)?.[0]), [
    "No luck with 1",
    "No luck with 3",
  ]);
  assertEquals(pool.size, 1);
  (await two).release();
  await pool.close();
});

Deno.test("Pool: Failure: an error of open is not for who has another on its way", async () => {
  await using time = virtualTime();
  using reports = catchReports();
  const { pool, log } = books({
    openFor: 10,
    opened: (n) => {
      if (n === 1) throw new Error("No luck");
    },
  }, time);
  const first = pool.acquire({ timeout: 7 }).catch((error) => log.push(error.name));
  await Tasklet.sleep(5);
  log.push(`got ${await pool.use((n) => n)} at ${time.now}`); // by the one opened for it
  await first;
  await reports.settled();
  assertEquals([log, reports.texts.length], [["TimeoutError", "open 2 at 15", "got 2 at 15"], 1]);
  await pool.close();
});

Deno.test("Pool: Failure: an open that is ended from outside is an error of who waits, but does not kill him", async () => {
  await using _ = virtualTime();
  using reports = catchReports();
  const log: unknown[] = [];
  const cause = new Error("left behind");
  const ends = [
    () => void Tasklet.current()!.kill(),
    () => void Promise.reject(cause),
    () => {}, // for the next
  ];
  const pool = new Pool({
    max: 1,
    open: async () => {
      ends.shift()!();
      await Tasklet.sleep(10);
      return "resource";
    },
  });
  for (let n = 0; n < 3; n++) {
    await Tasklet.new(() => pool.use((resource) => log.push(resource)))().join()
      .catch((error) => log.push([error.cause.name, error.cause.message]));
  }
  assertEquals(log, [["Error", "Cannot open pool: it was killed"], ["Error", "left behind"], "resource"]);
  await reports.settled();
  assertEquals(reports.texts, []);
  await pool.close();
});

Deno.test("Pool: Failure: an error of check or close is reported, and the resource is closed", async () => {
  await using _ = virtualTime();
  using reports = catchReports();
  const { pool, log } = books({
    check: (n) => {
      if (n === 1) throw new Error("check 1 failed");
      return true;
    },
    closed: (n) => {
      if (n === 2) throw new Error("close 2 failed");
    },
  });
  const lent: number[] = [];
  for (let n = 0; n < 3; n++) await pool.use((resource) => lent.push(resource));
  await pool.close();
  await reports.settled();
  assertEquals([lent, log, pool.size], [[1, 2, 2], ["open 1", "close 1", "open 2", "close 2"], 0]);
  assertEquals(reports.texts.map((text) => text.match(/(check|close) \d failed/)?.[0]), [
    "check 1 failed",
    "close 2 failed",
  ]);
});

Deno.test("Pool: Closing: idle ones are closed, opening ones killed, lent ones closed when they come back", async () => {
  await using time = virtualTime();
  const { pool, log } = books({ openFor: 10, closeFor: 5 }, time);
  const [one, two] = await Promise.all([pool.acquire(), pool.acquire()]);
  await pool.acquire({ timeout: 2 }).catch(() => {}); // has resource 3 opened
  one.release();
  assertEquals([pool.size, pool.idle], [3, 1]);
  const closed = [pool.close(), pool.close()].map((end) => end.then(() => log.push(`closed at ${time.now}`)));
  await Tasklet.sleep(18);
  log.push(`use ${two.value} at ${time.now}`);
  assertEquals([pool.size, pool.idle], [1, 0]);
  two.release();
  await Promise.all([...closed, pool[Symbol.asyncDispose]()]);
  assertEquals(log, [
    "open 1 at 10",
    "open 2 at 10",
    "close 1 at 17",
    "use 2 at 30",
    "close 2 at 35",
    "closed at 35",
    "closed at 35",
  ]);
  assertEquals([pool.size, timerCount()], [0, 0]);
});

Deno.test("Pool: Closing: who waits is told at once, and nothing is lent any more", async () => {
  await using time = virtualTime();
  const { pool, log } = books({ max: 2, checkFor: 20, openFor: 10 }, time);
  await pool.use(() => {});
  // One waits for a check, one for an opening, one for either.
  const waiters = [1, 2, 3].map(() => pool.acquire().catch((error) => error));
  await Tasklet.sleep(5);
  assertEquals([pool.size, pool.idle, pool.waiting], [2, 0, 3]);
  const closed = pool.close();
  for (const error of [...await Promise.all(waiters), await pool.acquire().catch((error) => error)]) {
    assert(error instanceof PoolClosedError);
    assertEquals(error.message, "Cannot acquire from pool: it is closed");
  }
  log.push(`told at ${time.now}`);
  await closed;
  assertEquals(log, ["open 1 at 10", "told at 15", "close 1 at 30"]);
});

Deno.test("Pool: Closing: what is opened by one that cannot be ended is closed all the same", async () => {
  await using time = virtualTime();
  using reports = catchReports();
  const log: string[] = [];
  const { promise, resolve } = Promise.withResolvers<string>();
  const pool = new Pool({
    open: () => promise, // no wait point
    close: async (resource) => {
      await Tasklet.sleep(10);
      log.push(`close ${resource} at ${time.now}`);
    },
  });
  const waiter = pool.acquire().catch((error) => log.push(error.name));
  await Tasklet.yield();
  const closed = pool.close().then(() => log.push("closed"));
  await waiter;
  await Tasklet.sleep(10_000); // longer than any grace
  resolve("it");
  await closed;
  assertEquals([log, reports.texts], [["PoolClosedError", "close it at 10010", "closed"], []]);
});

Deno.test("Pool: Closing: right after acquire(), nothing is opened", async () => {
  const { pool, log } = books();
  const waiter = pool.acquire().catch((error) => log.push(error.name));
  await pool.close();
  await waiter;
  assertEquals([log, pool.size], [["PoolClosedError"], 0]);
});

Deno.test("Pool: Closing: goes on when who waits for it is killed", async () => {
  await using _ = virtualTime();
  const { pool, log } = books();
  const lease = await pool.acquire();
  const task = Tasklet.new(async () => {
    await using _ = pool;
  })();
  await Tasklet.yield();
  await task.kill();
  lease.release();
  await pool.close();
  assertEquals([task.status, log], ["killed", ["open 1", "close 1"]]);
});

Deno.test("Pool: Closing: comes with the end of the program", { timeout: 20_000 }, async () => {
  const { code, lines, stderr } = await runSource(`${IMPORT}
    dispatch(async function main() {
      const pool = new Pool({
        open: () => "resource",
        close: async (resource) => {
          await Tasklet.sleep(1);
          console.log("close", resource);
        },
      });
      await pool.use((resource) => console.log("use", resource));
    });
  `);
  assertEquals([code, lines, stderr], [0, ["use resource", "close resource"], ""]);
});

Deno.test(
  "Pool: Closing: by a signal leaves to each cleanup what it holds",
  { timeout: 20_000 },
  async () => {
    await using program = startSource(`${IMPORT}
    const pool = new Pool({ open: () => "resource", close: (resource) => console.log("close", resource) });
    dispatch(async function main() {
      using lease = await pool.acquire();
      console.log("ready");
      try {
        await Tasklet.sleep(10_000);
      } finally {
        await Tasklet.sleep(10);
        console.log("roll back with", lease.value);
      }
    });
  `);
    assertEquals(await program.line(), "ready");
    program.signal("SIGINT");
    const { code, lines, stderr } = await program.end();
    assertEquals([code, lines, stderr], [130, ["roll back with resource", "close resource"], ""]);
  },
);

// ------------------------------------------------------------------------------------------------

const IMPORT = `import { Pool } from "${new URL("../pool.ts", import.meta.url)}";`;
