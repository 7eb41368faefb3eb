import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { setImmediate } from "node:timers";
import { type Lease, Pool } from "../pool.ts";
import { Tasklet, TimeoutError } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { Timeout, timerCount, useClock } from "../timer.ts";
import { catchReports } from "./reports.ts";
import { CountingSignal } from "./signal.ts";
import { collectGarbage } from "./garbage.ts";
import { books } from "./books.ts";

// ------------------------------------------------------------------------------------------------
// new Pool()

Deno.test("Pool() opens nothing before it is asked to, and checks its options", async () => {
  const { pool, log } = books();
  assertEquals([log, pool.size, pool.idle, pool.waiting, `${pool}`], [[], 0, 0, 0, "pool"]);
  await pool.close();
  for (const max of [0, -1, 1.5, NaN, Infinity]) {
    assertThrows(
      () => new Pool({ open: () => 1, max }),
      RangeError,
      `"max" must be a positive integer, got ${max}`,
    );
  }
  for (const option of ["maxAge", "idleTimeout"]) {
    assertThrows(
      () => new Pool({ open: () => 1, [option]: -1 }),
      RangeError,
      `Cannot create pool: "${option}"`,
    );
  }
});

// ------------------------------------------------------------------------------------------------
// Pool.acquire(), Lease

Deno.test("Pool.acquire() lends what was opened, again once it is given back", async () => {
  const { pool, log } = books();
  for (let n = 0; n < 2; n++) {
    using lease = await pool.acquire();
    log.push(`use ${lease.value}`);
    assertEquals([pool.size, pool.idle], [1, 0]);
  }
  assertEquals([log, pool.size, pool.idle], [["open 1", "use 1", "use 1"], 1, 1]);
  await pool.close();
});

Deno.test("Lease: release() and discard() are harmless twice, and value throws afterwards", async () => {
  const { pool, log } = books();
  const first = await pool.acquire();
  first.release();
  first.release();
  first.discard();
  first[Symbol.dispose]();
  assertThrows(() => first.value, Error, "it has been given back");
  const second = await pool.acquire();
  first.discard(); // what others hold now
  assertEquals([second.value, pool.size], [1, 1]);
  second.discard();
  second.discard();
  second.release();
  assertThrows(() => second.value, Error, "it has been given back");
  await Tasklet.yield();
  assertEquals([log, pool.size], [["open 1", "close 1"], 0]);
  await pool.close();
});

Deno.test("Lease: await using gives it back as using does", async () => {
  const { pool } = books();
  {
    await using lease = await pool.acquire();
    assertEquals([lease.value, pool.idle], [1, 0]);
  }
  assertEquals(pool.idle, 1);
  await pool.close();
});

Deno.test("Pool.acquire() checks its timeout", async () => {
  const { pool } = books();
  assertThrows(() => pool.acquire({ timeout: -1 }), RangeError, "Cannot acquire");
  await pool.close();
});

// ------------------------------------------------------------------------------------------------
// Pool.use()

Deno.test("Pool.use() runs a function with a resource, and gives it back", async () => {
  const { pool, log } = books();
  const results = [
    await pool.use((n) => n + 10),
    await pool.use((n) => Promise.resolve(`resource ${n}`), { timeout: 10 }),
  ];
  assertEquals([results, pool.idle, log], [[11, "resource 1"], 1, ["open 1"]]);
  await pool.close();
});

// ------------------------------------------------------------------------------------------------
// Options

Deno.test("PoolOptions.maxAge: one that is older is closed, neither kept nor lent", async () => {
  await using time = virtualTime();
  const { pool, log } = books({ maxAge: 100 }, time);
  const [one, two] = [await pool.acquire(), await pool.acquire()];
  await Tasklet.sleep(50);
  one.release(); // to idle until it is too old
  await Tasklet.sleep(70);
  two.release(); // when it is too old
  const three = await pool.acquire();
  three.release();
  await Tasklet.yield();
  assertEquals([pool.size, pool.idle, log], [1, 1, [
    "open 1 at 0",
    "open 2 at 0",
    "close 1 at 100",
    "close 2 at 120",
    "open 3 at 120",
  ]]);
  await pool.close();
  assertEquals(timerCount(), 0);
});

Deno.test("PoolOptions.maxAge: one that is older is not lent, even before a timer could close it", async () => {
  let now = 0;
  using _ = useClock({ now: () => now, wakeAt: () => {}, turn: (go) => void setImmediate(go) });
  const { pool } = books({ maxAge: 100 });
  const ages: number[] = [];
  for (now of [0, 99, 101]) ages.push(await pool.use((n) => n));
  assertEquals(ages, [1, 1, 2]);
  await pool.close();
});

Deno.test("PoolOptions.maxAge: 0 lends each once, and is counted from when it has been opened", async () => {
  await using time = virtualTime();
  const { pool, log } = books({ maxAge: 0, openFor: 10, max: 1 }, time);
  await Tasklet.joinAll([1, 2].map(() => Tasklet.new(() => pool.use(() => Tasklet.sleep(5)))()));
  assertEquals(log, ["open 1 at 10", "close 1 at 15", "open 2 at 25", "close 2 at 30"]);
  await pool.close();
});

Deno.test("PoolOptions.idleTimeout: one that nobody wants for so long is closed", async () => {
  await using time = virtualTime();
  const { pool, log } = books({ idleTimeout: 100, maxAge: 250 }, time);
  for (let n = 0; n < 3; n++) {
    using _ = await pool.acquire();
    await Tasklet.sleep(80);
  }
  await Tasklet.sleep(60); // it is too old before it has idled for too long
  await pool.use(() => {});
  await Tasklet.sleep(200);
  assertEquals([log, pool.size], [["open 1 at 0", "close 1 at 250", "open 2 at 300", "close 2 at 400"], 0]);
  await pool.close();
});

Deno.test("PoolOptions.check: one that has idled is lent only if it is found to be well", async () => {
  await using time = virtualTime();
  const ill = new Set([2, 3]);
  const { pool, log } = books({
    check: async (n) => {
      await Tasklet.sleep(10);
      log.push(`check ${n} at ${time.now}`);
      return !ill.has(n);
    },
  }, time);
  const leases = [await pool.acquire(), await pool.acquire(), await pool.acquire()];
  for (const lease of leases) lease.release();
  const again = await pool.acquire();
  log.push(`lent ${again.value}`);
  const other = await pool.acquire();
  log.push(`lent ${other.value}`);
  const call = pool.acquire(); // handed over without having idled
  again.release();
  log.push(`lent ${(await call).value}`);
  assertEquals(log, [
    "open 1 at 0",
    "open 2 at 0",
    "open 3 at 0",
    "check 3 at 10",
    "close 3 at 10",
    "check 2 at 20",
    "close 2 at 20",
    "check 1 at 30",
    "lent 1",
    "open 4 at 30",
    "lent 4",
    "open 5 at 30",
    "lent 1",
  ]);
  other.release();
  (await call).release();
  await pool.close();
});

Deno.test("PoolOptions.check: whose resource is not well need not wait until it is closed", async () => {
  await using time = virtualTime();
  const { pool, log } = books({ check: () => false, closeFor: 100, max: 2 }, time);
  await pool.use(() => {});
  await pool.use((n) => log.push(`lent ${n} at ${time.now}`));
  await pool.close();
  assertEquals(log, ["open 1 at 0", "open 2 at 0", "lent 2 at 0", "close 1 at 100", "close 2 at 100"]);
});

// ------------------------------------------------------------------------------------------------
// The guarantees

Deno.test("Pool: Bound: there are never more than max, those that are being opened or closed included", async () => {
  await using time = virtualTime();
  const { pool, log } = books({ max: 2, openFor: 10, closeFor: 30 }, time);
  const sizes: number[][] = [];
  await Tasklet.joinAll([1, 2, 3].map((n) =>
    Tasklet.new(async () => {
      const lease = await pool.acquire();
      log.push(`${n} has ${lease.value} at ${time.now}`);
      await Tasklet.sleep(5);
      lease.discard();
      sizes.push([pool.size, pool.idle, pool.waiting]);
    })()
  ));
  assertEquals(log, [
    "open 1 at 10",
    "open 2 at 10",
    "1 has 1 at 10",
    "2 has 2 at 10",
    "close 1 at 45",
    "close 2 at 45",
    "open 3 at 55",
    "3 has 3 at 55",
  ]);
  assertEquals(sizes, [[2, 0, 1], [2, 0, 1], [1, 0, 0]]);
  await pool.close();
  assertEquals(time.now, 90);
});

Deno.test("Pool: Order: who waits longest is served first", async () => {
  await using _ = virtualTime();
  const { pool } = books({ max: 2 });
  const log: number[] = [];
  const tasks = Array.from({ length: 10 }, (_, n) =>
    Tasklet.new(async () => {
      using _ = await pool.acquire();
      log.push(n);
      await Tasklet.sleep(n % 3);
    })());
  await Tasklet.joinAll(tasks);
  assertEquals([log, pool.size], [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 2]);
  await pool.close();
});

Deno.test("Pool: Order: the idle one that was used last is lent first", async () => {
  const { pool } = books();
  const leases = [await pool.acquire(), await pool.acquire(), await pool.acquire()];
  for (const n of [1, 0, 2]) leases[n]!.release();
  const again = [await pool.acquire(), await pool.acquire(), await pool.acquire()];
  assertEquals(again.map((lease) => lease.value), [3, 1, 2]);
  for (const lease of again) lease.release();
  await pool.close();
});

Deno.test("Pool: Order: what is given back serves who waits before what is still being opened", async () => {
  await using time = virtualTime();
  const { pool, log } = books({ openFor: 100 }, time);
  const first = await pool.acquire();
  const second = pool.acquire();
  await Tasklet.sleep(10);
  first.release();
  log.push(`lent ${(await second).value} at ${time.now}`);
  (await second).release();
  log.push(`lent ${(await pool.acquire()).value} at ${time.now}`); // though another is on its way
  assertEquals([log, pool.size, pool.waiting], [["open 1 at 100", "lent 1 at 110", "lent 1 at 110"], 2, 0]);
  await Tasklet.sleep(100);
  assertEquals([log.at(-1), pool.idle], ["open 2 at 200", 1]);
  (await second).release();
  void pool.close();
});

Deno.test("Pool: Kill and timeout: who ends early holds nothing, and takes nothing from those behind", async () => {
  await using time = virtualTime();
  const { pool } = books({ max: 1 });
  const log: unknown[] = [];
  const controller = new AbortController();
  const acquirer = (name: string, options = {}, deadline = 1000) =>
    Tasklet.new(async () => {
      try {
        using _ = Timeout.push(deadline);
        using lease = await pool.acquire(options);
        log.push(`${name} has ${lease.value} at ${time.now}`);
        await Tasklet.sleep(50);
        // deno-lint-ignore concurrence/rethrow-exit -- how it ends is what is tested
      } catch (error) {
        log.push(`${name}: ${(error as Error).message}`);
      }
    }, { name })();
  const tasks = [
    acquirer("a"),
    acquirer("b"),
    acquirer("c", { timeout: 10 }),
    acquirer("d", {}, 20),
    acquirer("e", { signal: controller.signal }),
    acquirer("f"),
  ];
  await Tasklet.sleep(30);
  controller.abort(new Error("aborted"));
  await tasks[1]!.kill();
  log.push(pool.waiting);
  await Tasklet.joinAll(tasks);
  await pool.acquire({ signal: controller.signal }).catch((error) => log.push(`g: ${error.message}`));
  assertEquals(log, [
    "a has 1 at 0",
    "c: Timed out after 10 ms: waiting for a resource of pool",
    "d: Timed out: the deadline has passed",
    "e: aborted",
    `b: ${tasks[1]} was killed`,
    1,
    "f has 1 at 50",
    "g: aborted",
  ]);
  assertEquals([pool.size, pool.idle, pool.waiting, timerCount()], [1, 1, 0, 0]);
  await pool.close();
});

Deno.test("Pool: Kill and timeout: what is idle is lent although the deadline has passed", async () => {
  await using _ = virtualTime();
  const { pool } = books({ max: 1 });
  await pool.use(() => {});
  const task = Tasklet.new(async () => {
    using _ = Timeout.push(0);
    using lease = await pool.acquire();
    return [lease.value, await pool.acquire().catch((error) => error instanceof TimeoutError)];
  })();
  assertEquals([await task.join(), pool.idle], [[1, true], 1]);
  await pool.close();
});

Deno.test("Pool: Kill and timeout: who is killed before he acquires takes nothing", async () => {
  const { pool, log } = books();
  const task = Tasklet.new(async () => {
    void task.kill();
    await pool.acquire();
  })();
  await task.join().catch(() => {});
  assertEquals([task.status, pool.size, log], ["killed", 0, []]);
  await pool.close();
});

// ------------------------------------------------------------------------------------------------
// What is left

Deno.test("Pool leaves nothing behind of a lease that has ended", async () => {
  const { pool } = books();
  const signal = new CountingSignal();
  const task = Tasklet.new(async () => {
    const refs = await (async () => {
      const leases = [await pool.acquire({ signal }), await pool.acquire({ signal })];
      leases[0]!.release();
      leases[1]!.discard();
      return leases.map((lease) => new WeakRef(lease));
    })();
    await Tasklet.yield(); // a WeakRef keeps its target for the turn it was made in
    collectGarbage();
    return refs.map((ref) => ref.deref()?.constructor.name);
  })();
  assertEquals([await task.join(), signal.listeners], [[undefined, undefined], 0]);
  await pool.close();
});

// ------------------------------------------------------------------------------------------------
// All of them at once

interface Visit {
  readonly at: number;
  readonly timeout: number | undefined;
  readonly hold: number;
  readonly end: "release" | "discard" | "forget" | "throw";
  readonly killAfter: number | undefined;
}

const often = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 2 });
const visit: fc.Arbitrary<Visit> = fc.record({
  at: fc.nat(60),
  timeout: often(fc.nat(30)),
  hold: fc.nat(30),
  end: fc.constantFrom("release", "release", "discard", "forget", "throw"),
  killAfter: often(fc.nat(60)),
});
const world = fc.record({
  visits: fc.array(visit, { minLength: 1, maxLength: 25, size: "max" }),
  max: fc.integer({ min: 1, max: 4 }),
  openFor: fc.nat(15),
  closeFor: fc.nat(15),
  maxAge: often(fc.nat(80)),
  idleTimeout: often(fc.nat(40)),
  checkFor: often(fc.nat(10)),
  luck: fc.infiniteStream(fc.constantFrom(true, true, true, false)), // of opening, and of being found well
  closeAt: often(fc.nat(100)),
});

Deno.test("Pool keeps its promises, whatever happens", async () => {
  await fc.assert(
    fc.asyncProperty(world, async ({ visits, luck, closeAt, checkFor, openFor, closeFor, ...options }) => {
      await using time = virtualTime();
      using reports = catchReports();
      const { max } = options;
      let [opened, there, tickets, failures, told] = [0, 0, 0, 0, 0];
      let isLucky = () => luck.next().value as boolean;
      const served: number[] = [];
      const used = new Set<number>();
      const closed: number[] = [];
      const look = () => {
        assert(there <= max && pool.size <= max, `${there} of ${pool.size} at ${time.now}`);
        assert(checkFor !== undefined || pool.idle === 0 || pool.waiting === 0, "one idles while one waits");
      };
      const pool = new Pool<number>({
        ...options,
        open: async () => {
          there++;
          look();
          try {
            await Tasklet.sleep(openFor);
            if (!isLucky()) throw new Error(`no luck: ${++failures}`);
            return ++opened;
          } catch (error) {
            there--;
            throw error;
          }
        },
        close: async (n) => {
          assert(!used.has(n), `${n} was closed in use`);
          closed.push(n);
          await Tasklet.sleep(closeFor);
          there--;
          look();
        },
        check: checkFor === undefined ? undefined : async (n) => {
          assert(!used.has(n), `${n} was checked in use`);
          await Tasklet.sleep(checkFor);
          return isLucky();
        },
      });
      async function visitor({ timeout, hold, end }: Visit): Promise<void> {
        const ticket = tickets++;
        let lease: Lease<number>;
        try {
          lease = await pool.acquire({ timeout });
          served.push(ticket);
        } catch (error) {
          if (error instanceof Error && error.message.startsWith("no luck")) told++, served.push(ticket);
          throw error;
        } finally {
          look();
        }
        const n = lease.value;
        assert(!used.has(n) && !closed.includes(n), `${n} was lent twice, or closed`);
        try {
          used.add(n);
          await Tasklet.sleep(hold);
          if (end === "throw") throw new Error("thrown");
        } finally {
          used.delete(n);
          if (end === "release") lease.release();
          else if (end === "discard") lease.discard();
          look();
        }
      }
      const tasks = visits.map((visit) => {
        const task = Tasklet.later(visit.at, visitor)(visit);
        if (visit.killAfter !== undefined) Tasklet.later(visit.at + visit.killAfter, () => task.kill())();
        return task;
      });
      if (closeAt !== undefined) Tasklet.later(closeAt, () => pool.close())();
      await Tasklet.joinAll(tasks);
      await Tasklet.sleep(200);
      assertEquals(served, served.toSorted((a, b) => a - b), "first come, first served");
      assertEquals([pool.size, pool.waiting], [pool.idle, 0], "at rest");
      await reports.settled();
      assertEquals(reports.texts.length + told, failures, "each failure is somebody's");
      isLucky = () => true;
      if (closeAt === undefined) {
        const leases = await Promise.all(Array.from({ length: max }, () => pool.acquire({ timeout: 500 })));
        assertEquals(new Set(leases.map((lease) => lease.value)).size, max, "no permit is lost");
        await pool.acquire({ timeout: 500 }).then(() => assert(false, "one too many"), () => {});
        for (const lease of leases) lease.release();
      }
      await pool.close();
      assertEquals(closed.toSorted((a, b) => a - b), Array.from({ length: opened }, (_, i) => i + 1));
      assertEquals([there, pool.size, timerCount()], [0, 0, 0]);
    }),
    { numRuns: 200 },
  );
});

// ------------------------------------------------------------------------------------------------
// Types

Deno.test("Pool types what it lends", () => {
  const never = async () => {
    const pool = new Pool({ open: () => Promise.resolve("text"), close: (text) => text.length, max: 2 });
    (await pool.acquire()).value satisfies string;
    await pool.use((text) => Promise.resolve(text.length)) satisfies number;
    // @ts-expect-error: what is lent cannot be replaced
    (await pool.acquire()).value = "other";
    // @ts-expect-error: a pool must know how to open
    new Pool({ max: 2 });
  };
  void never;
});
