import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import { Channel, select } from "../channel.ts";
import { TaskLocal } from "../local.ts";
import { Message } from "../message.ts";
import { setImmediate } from "node:timers";
import { JoinError, Tasklet, TaskletExit } from "../tasklet.ts";
import { assertQuiet, explore, type ExploreOptions, probe, virtualTime } from "../testing.ts";
import { now, Timeout, timerCount } from "../timer.ts";
import { catchReports } from "./reports.ts";
import { failure, logs, lostUpdate } from "./lost_update.ts";

class MSG_GET extends Message("MSG_GET")<[], number> {}
class MSG_SET extends Message("MSG_SET")<[value: number]> {}
class MSG_ITEM extends Message("MSG_ITEM")<[from: string, n: number]> {}

// ------------------------------------------------------------------------------------------------
// Failure

Deno.test("explore(), Failure: an error that nobody has asked for fails the run, and is not printed", async () => {
  using reports = catchReports();
  const { promise, resolve } = Promise.withResolvers<void>();
  const bodies: Record<string, () => unknown> = {
    "child fails": async () => {
      Tasklet.new(() => Promise.reject(new Error("of a child")), { name: "child" })();
      await Tasklet.sleep(10);
    },
    "daemon fails": async () => {
      Tasklet.new(() => Promise.reject(new Error("of a daemon")), { name: "daemon", daemon: true })();
      await Tasklet.sleep(10);
    },
    "child fails when the body has returned": () => {
      Tasklet.later(10, () => Promise.reject(new Error("of a late child")), { name: "late" })();
    },
    "rejection that nobody awaits": async () => {
      void Promise.reject(new Error("floating"));
      await Tasklet.sleep(10);
    },
    "interval goes on after an error": async () => {
      await using _ = Tasklet.interval(1, () => Promise.reject(new Error("of an interval")), {
        name: "tick",
      })();
      await Tasklet.sleep(2);
    },
    "cleanup fails": () => {
      Tasklet.new(async () => {
        try {
          await Tasklet.receiveOne();
        } finally {
          await Tasklet.sleep(10);
          await Promise.reject(new Error("of a cleanup"));
        }
      }, { name: "left" })();
    },
    "cleanup does not end": () => {
      Tasklet.new(async () => {
        try {
          await Tasklet.receiveOne();
        } finally {
          await promise;
        }
      }, { name: "stubborn" })();
    },
    "throws at once": () => {
      throw new TypeError("at once");
    },
    "kills itself": () => void Tasklet.current()!.kill(),
  };
  const texts: Record<string, string> = {};
  for (const [name, body] of Object.entries(bodies)) {
    const text = (await failure(body, { runs: 1, seed: 1 })).message;
    texts[name] = text.split("\n")[0]!.replace("Run 1 of 1 failed under seed 1: ", "").replaceAll(
      /#\d+/g,
      "",
    );
  }
  resolve();
  await reports.settled();
  assertEquals(reports.texts, []);
  Tasklet.new(() => Promise.reject(new Error("afterwards")))();
  await reports.settled();
  assertEquals(reports.texts.length, 1);
  assertEquals(texts, {
    "child fails": "child failed: Error: of a child",
    "daemon fails": "daemon failed: Error: of a daemon",
    "child fails when the body has returned": "late failed: Error: of a late child",
    "rejection that nobody awaits": "Error: floating",
    "interval goes on after an error": "tick goes on after an error: Error: of an interval",
    "cleanup fails": "left failed: Error: of a cleanup",
    "cleanup does not end": "stubborn was abandoned: its cleanup has not ended within 5000 ms ",
    "throws at once": "TypeError: at once",
    "kills itself": "TaskletExit: kills itself was killed",
  });
});

Deno.test("explore(), Failure: an error that is asked for, however late in the turn, is none", async () => {
  const { runs } = await explore(async () => {
    const tasks = [1, 2, 3].map((n) => Tasklet.new(() => Promise.reject(new Error(`${n}`)))());
    const errors = await Tasklet.joinAll(tasks);
    assert(errors.every((error) => (error as unknown) instanceof JoinError));
  });
  assertEquals(runs, 100);
});

Deno.test("explore(), Failure: a run that never ends fails, with what goes on in it", async () => {
  const bodies: Record<string, () => unknown> = {
    "spins for ever": async function spins() {
      while (true) await Tasklet.yield();
    },
    "ticks for ever": async function ticks() {
      while (true) await Tasklet.sleep(1000);
    },
  };
  const texts: Record<string, string> = {};
  for (const [name, body] of Object.entries(bodies)) {
    texts[name] = (await failure(body, { seed: 5, steps: 500 })).message.replaceAll(/#\d+/g, "");
  }
  const text = (what: string) =>
    `Run 1 of 1 failed under seed 5: It has not ended after 500 steps\n  ${what}\n` +
    "To replay it: explore(body, { seed: 5 })";
  assertEquals(texts, {
    "spins for ever": text("spins: may go on"),
    "ticks for ever": text("ticks: may go on"),
  });
  assertEquals((await explore(() => Tasklet.sleep(1e9), { runs: 1, steps: 3 })).runs, 1);
});

// ------------------------------------------------------------------------------------------------
// Replay

Deno.test("explore(), Replay: the seed of a failure brings back the same run, first and alone", async () => {
  logs.length = 0;
  const error = await failure(lostUpdate);
  const failed = logs.at(-1)!;
  assert(failed.length > 0);
  for (let i = 0; i < 3; i++) {
    logs.length = 0;
    const again = await failure(lostUpdate, { seed: error.seed });
    assertEquals([again.seed, logs], [error.seed, [failed]]);
  }
});

Deno.test("explore(), Replay: the same seeds bring back the same runs, whatever ran before", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 2 ** 32 - 1 }), async (seed) => {
      const explored: unknown[] = [];
      for (let i = 0; i < 2; i++) {
        logs.length = 0;
        const outcome = await explore(lostUpdate, { seed, runs: 3 })
          .catch((error) => error.message.replaceAll(/#\d+/g, ""));
        explored.push([[...logs], outcome]);
        await Tasklet.new(() => Tasklet.yield())().join();
      }
      assertEquals(explored[0], explored[1]);
    }),
    { numRuns: 50 },
  );
});

Deno.test("explore(), Replay: the runs of a seed are those of the seeds that follow it, up to the last and from 0", async () => {
  const first = 2 ** 32 - 2;
  logs.length = 0;
  await explore(() => lostUpdate().catch(() => {}), { seed: first, runs: 4 });
  const together = logs.splice(0);
  for (const seed of [first, first + 1, 0, 1]) await explore(() => lostUpdate().catch(() => {}), { seed });
  assertEquals(logs, together);
  let runs = 0;
  const third = () => ++runs === 3 ? Promise.reject(new Error()) : undefined;
  assertEquals((await failure(third, { seed: first, runs: 4 })).seed, 0);
});

Deno.test("explore(), Replay: what select() leaves to chance follows from the seed, too", async () => {
  const taken: string[] = [];
  async function body(): Promise<void> {
    const [a, b] = [new Channel<number>(8), new Channel<number>(8)];
    for (let i = 0; i < 8; i++) for (const channel of [a, b]) channel.trySend(i);
    for (let i = 0; i < 8; i++) taken.push((await select({ a, b }))[0]);
  }
  for (let i = 0; i < 3; i++) await explore(body, { seed: 1, runs: 2 });
  const runs = Array.from({ length: 6 }, (_, i) => taken.slice(8 * i, 8 * i + 8).join(""));
  assertEquals(runs, [runs[0], runs[1], runs[0], runs[1], runs[0], runs[1]]);
  assert(runs[0] !== runs[1]);
});

Deno.test("explore() without a seed takes others each time", async () => {
  const seeds = new Set<number>();
  for (let i = 0; i < 20; i++) {
    seeds.add((await failure(() => Promise.reject(new Error()), { runs: 1 })).seed);
  }
  assert(seeds.size > 15);
});

// ------------------------------------------------------------------------------------------------
// Order

Deno.test("explore(), Order: tasklets start in order of creation, and others go on in between", async () => {
  const seen = new Set<string>();
  await explore(async () => {
    const log: string[] = [];
    const other = Tasklet.new(async () => {
      for (let i = 0; i < 3; i++) {
        await Tasklet.yield();
        log.push("-");
      }
    })();
    await Tasklet.yield();
    const tasks = ["1", "2", "3", "4"].map((name) => Tasklet.new(() => log.push(name))());
    await Tasklet.joinAll([other, ...tasks]);
    assertEquals(log.filter((entry) => entry !== "-"), ["1", "2", "3", "4"]);
    seen.add(log.join(""));
  }, { runs: 2000, seed: 1 });
  assertEquals(seen.size, 35); // all ways to put four between three
});

Deno.test("explore(), Order: messages of one sender arrive in order, those of several in any", async () => {
  const seen = new Set<string>();
  await explore(async () => {
    const got: string[] = [];
    const reader = Tasklet.new(async () => {
      for await (const msg of Tasklet.receive([MSG_ITEM])) if (got.push(msg.args.join("")) === 4) break;
    })();
    async function sender(name: string) {
      await Tasklet.yield();
      for (const n of [1, 2]) {
        MSG_ITEM.send(reader)(name, n);
        await Tasklet.yield();
      }
    }
    for (const name of ["a", "b"]) Tasklet.new(sender)(name);
    await reader.join();
    for (const name of ["a", "b"]) {
      assertEquals(got.filter((item) => item.startsWith(name)), [`${name}1`, `${name}2`]);
    }
    seen.add(got.join(" "));
  }, { runs: 300, seed: 1 });
  assertEquals(seen.size, 6);
});

Deno.test("explore(), Order: timers go off in order of their times, those of the same time in any", async () => {
  const seen = new Set<string>();
  await explore(async () => {
    const log: [number, number][] = [];
    const begun = now();
    await Tasklet.joinAll([30, 10, 20, 20, 20].map((ms, i) =>
      Tasklet.new(async () => {
        await Tasklet.sleep(ms);
        log.push([now(), i]);
      })()
    ));
    assertEquals([begun, log.map(([time]) => time)], [0, [10, 20, 20, 20, 30]]);
    seen.add(log.map(([, i]) => i).join(""));
  }, { runs: 300, seed: 1 });
  assertEquals(seen.size, 6);
});

Deno.test("explore() tells how many runs there were, and in how many orders", async () => {
  async function three() {
    await Tasklet.joinAll([1, 2, 3].map(() => Tasklet.new(() => Tasklet.yield())()));
  }
  const { runs, orders } = await explore(three, { runs: 500 });
  assertEquals(runs, 500);
  assert(orders > 20 && orders < 500, `${orders} orders`);
  assertEquals(await explore(() => {}, { runs: 50 }), { runs: 50, orders: 1 });
  assertEquals((await explore(three)).runs, 100);
  assertEquals((await explore(three, { seed: 7 })).runs, 1);
});

// ------------------------------------------------------------------------------------------------
// Isolation

Deno.test("explore(), Isolation: what a run leaves is killed with its cleanup, before the next begins", async () => {
  const log: string[] = [];
  let kept: Tasklet[] = [];
  await explore(async function body() {
    log.push("body");
    async function left(name: string) {
      try {
        await Tasklet.receiveOne();
      } finally {
        await Tasklet.sleep(1000);
        log.push(name);
      }
    }
    kept = [
      Tasklet.new(left)("server"),
      Tasklet.new(left, { daemon: true })("daemon"),
      Tasklet.new(() => void Tasklet.new(left)("grandchild"))(),
    ];
    Tasklet.register("left", kept[0]);
    await Tasklet.sleep(10);
  }, { runs: 30 });
  for (let i = 0; i < log.length; i += 4) {
    assertEquals([log[i], ...log.slice(i + 1, i + 4).toSorted()], ["body", "daemon", "grandchild", "server"]);
  }
  assertEquals([log.length, kept.map(({ status }) => status)], [120, ["killed", "killed", "killed"]]);
  assertEquals(Tasklet.whereis("left"), undefined);
  assertQuiet();
});

Deno.test("explore(), Isolation: a run that fails is cleaned up, too", async () => {
  const log: string[] = [];
  await failure(async () => {
    Tasklet.new(async () => {
      try {
        await Tasklet.receiveOne();
      } finally {
        await Tasklet.sleep(1000);
        log.push("clean");
      }
    }, { daemon: true })();
    await Tasklet.sleep(10);
    throw new Error("expected");
  });
  assertEquals(log, ["clean"]);
  assertQuiet();
});

Deno.test("explore(), Isolation: it runs beside what was there before, which does not notice", async () => {
  const counter = Tasklet.new(async function counter() {
    let calls = 0;
    for await (const msg of Tasklet.receive([MSG_GET])) {
      await Tasklet.yield();
      msg.reply(++calls);
    }
  })();
  const slept = Tasklet.sleep(1);
  const local = new TaskLocal("nobody");
  await Tasklet.new(async () => {
    using _ = local.set("somebody");
    using _deadline = Timeout.push(60_000);
    const { runs } = await explore(async () => {
      assertEquals([local.get(), Timeout.current(), now(), timerCount()], ["nobody", Infinity, 0, 0]);
      assertEquals(Tasklet.current()!.parent, undefined);
      await Tasklet.sleep(1_000_000);
      assert(await MSG_GET.call(counter, { timeout: 1000 })() > 0);
    });
    assertEquals([runs, local.get(), Timeout.current() > 50_000], [100, "somebody", true]);
  })().join();
  await slept;
  assertEquals([await MSG_GET.call(counter)(), timerCount()], [101, 0]);
  await counter.kill();
});

Deno.test("explore(), Isolation: who goes on beside it is not part of its orders, and goes on afterwards", async () => {
  let rounds = 0;
  await using _ = Tasklet.new(async () => {
    while (true) {
      await Tasklet.yield();
      rounds++;
    }
  })();
  await Tasklet.yield();
  const before = rounds;
  assertEquals(await explore(() => Tasklet.yield()), { runs: 100, orders: 1 });
  const after = rounds;
  for (let i = 0; i < 3; i++) await Tasklet.yield();
  assert(after > before && rounds > after);
});

Deno.test("explore(), Isolation: daemons that are left when all others have finished are killed", async () => {
  const daemons: Tasklet<unknown>[] = [];
  await explore(() => void daemons.push(Tasklet.new(() => Tasklet.receiveOne(), { daemon: true })()), {
    runs: 3,
  });
  assertEquals(daemons.map(({ status }) => status), ["killed", "killed", "killed"]);
  assertQuiet();
});

Deno.test("explore() leaves time to what comes from outside before it calls a wait a deadlock", async () => {
  const { runs } = await explore(async () => {
    assert((await Deno.readTextFile(new URL(import.meta.url))).length > 0);
    await Tasklet.wait(new Promise((resolve) => setTimeout(resolve, 5)));
  }, { runs: 3 });
  assertEquals(runs, 3);
});

Deno.test("explore() is a wait point: it ends with the tasklet that explores, and so does its run", async () => {
  let runs = 0;
  let current: Tasklet | undefined;
  const task = Tasklet.new(() =>
    explore(async () => {
      runs++;
      current = Tasklet.current();
      while (runs > 3) await Tasklet.yield();
    }, { steps: Number.MAX_SAFE_INTEGER })
  )();
  while (runs < 4) await new Promise((resolve) => setTimeout(resolve));
  await task.kill();
  const error = await assertRejects(() => task.join(), JoinError);
  assert(error.cause instanceof TaskletExit);
  while (current!.alive) await new Promise((resolve) => setTimeout(resolve));
  await new Promise((resolve) => setTimeout(resolve));
  assertEquals([runs, await explore(() => {})], [4, { runs: 100, orders: 1 }]);
  assertQuiet();
});

Deno.test("explore() works in virtual time, which stands still meanwhile", async () => {
  await using time = virtualTime();
  const task = Tasklet.new(async () => {
    await Tasklet.sleep(10);
    using _ = Timeout.push(60_000);
    const explored = await explore(async () => {
      await using p = probe<MSG_SET>();
      Tasklet.later(3_600_000, () => MSG_SET.send(p)(now()))();
      assertEquals((await p.expect(MSG_SET, { within: 4_000_000 })).args, [3_600_000]);
      await assertRejects(() => p.expect(MSG_SET), Error, "got nothing");
    }, { runs: 500 });
    return [explored.runs, time.now];
  })();
  assertEquals(await task.join(), [500, 10]);
});

Deno.test("explore() does not nest, and takes no other virtual time", async () => {
  const texts = [
    (await failure(() => explore(() => {}))).message,
    (await failure(() => void virtualTime())).message,
    (await failure(() => lostUpdate(), { seed: (await failure(lostUpdate)).seed })).message,
  ];
  assertStringIncludes(texts[0]!, "Cannot explore: an exploration is under way");
  assertStringIncludes(texts[1]!, "Cannot begin virtual time: the clock has been replaced already");
  const second = explore(() => Tasklet.sleep(10));
  await assertRejects(() => explore(() => {}), Error, "Cannot explore: an exploration is under way");
  assertEquals((await second).runs, 100);
});

Deno.test("explore() refuses options that make no sense", async () => {
  const refused: ExploreOptions[] = [
    { runs: 0 },
    { runs: 1.5 },
    { runs: Infinity },
    { steps: 0 },
    { seed: -1 },
    { seed: 2 ** 32 },
    { seed: 0.5 },
    { seed: NaN },
  ];
  for (const options of refused) {
    const [[name, value]] = Object.entries(options) as [[string, number]];
    const error = await assertRejects(() => explore(() => {}, options), RangeError);
    assertStringIncludes(error.message, `Cannot explore: "${name}" must be`);
    assertStringIncludes(error.message, `${value}`);
  }
});

// ------------------------------------------------------------------------------------------------
// Last, because one that never ends stays what it is

Deno.test("explore(), Isolation: one that cannot be killed is told of, and never goes on again", async () => {
  let rounds = 0;
  // More than go on in one turn, so that some are held back while the exploration ends.
  const others = Array.from({ length: 5000 }, () => Tasklet.new(() => Tasklet.yield())());
  await new Promise<void>((resolve) => setImmediate(resolve));
  const error = await failure(async function swallows() {
    while (true) {
      rounds++;
      await Tasklet.yield().catch(() => {});
    }
  }, { seed: 5, steps: 500 });
  assertStringIncludes(error.message, "It has not ended after 500 steps\n  swallows");
  const before = rounds;
  for (let i = 0; i < 3; i++) await Tasklet.yield();
  await Tasklet.joinAll(others);
  assertEquals([rounds, (await explore(() => {})).runs], [before, 100]);
});
