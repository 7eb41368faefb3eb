import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { CallError, Message } from "../message.ts";
import { type AnyTasklet, JoinError, MSG_DOWN, Tasklet, TaskletExit, TimeoutError } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { Timeout, timerCount } from "../timer.ts";
import { catchReports } from "./reports.ts";

class MSG_A extends Message("MSG_A")<[n: number]> {}
class MSG_ASK extends Message("MSG_ASK")<[], number> {}

const fail = (what: string) => Promise.reject(new Error(what));

// Tasklet.join

Deno.test("Tasklet.join() gives the result to any number of joiners, at any time", async () => {
  await using _ = virtualTime();
  const task = Tasklet.new(async () => {
    await Tasklet.sleep(10);
    return { some: "result" };
  })();
  const joiners = [1, 2, 3].map(() => Tasklet.new(() => task.join())());
  const early = await Promise.all([task.join(), ...joiners.map((joiner) => joiner.join())]);
  const late = await task.join();
  for (const result of early) assertStrictEquals(result, late);
});

Deno.test("Tasklet.join() rejects with a JoinError that carries tasklet and cause", async () => {
  const cause = new Error("no luck");
  const task = Tasklet.new(() => Promise.reject(cause))();
  for (const when of ["early", "late"]) {
    const error = await assertRejects(() => task.join(), JoinError);
    assertStrictEquals(error.cause, cause, when);
    assert(error.tasklet === task);
    assertEquals([error.name, error.abandoned], ["JoinError", false]);
    assert(error.message.includes(String(task)));
  }
});

Deno.test("Tasklet.join() of a killed one rejects with a JoinError whose cause is its TaskletExit", async () => {
  await using _ = virtualTime();
  const task = Tasklet.new(() => Tasklet.sleep(10))();
  const early = assertRejects(() => task.join(), JoinError);
  await Tasklet.yield();
  await task.kill();
  const late = await assertRejects(() => task.join(), JoinError);
  assert((await early).cause instanceof TaskletExit);
  assertEquals([late.cause instanceof TaskletExit, late.abandoned, task.status], [true, false, "killed"]);
});

Deno.test("Tasklet.join() that times out never touches the tasklet", async () => {
  await using time = virtualTime();
  const task = Tasklet.new(async () => {
    await Tasklet.sleep(50);
    return "result";
  })();
  await assertRejects(() => task.join({ timeout: 10 }), TimeoutError);
  assertEquals([time.now, task.status], [10, "waiting"]);
  assertEquals([await task.join({ timeout: 1000 }), time.now, timerCount()], ["result", 50, 0]);
});

Deno.test("Tasklet.join() is a wait point: a killed joiner leaves the tasklet alone", async () => {
  await using _ = virtualTime();
  const task = Tasklet.new(() => Tasklet.sleep(50))();
  const joiner = Tasklet.new(() => task.join())();
  await Tasklet.yield();
  await joiner.kill();
  assertEquals([joiner.status, task.status], ["killed", "waiting"]);
  await task.join();
});

Deno.test("Tasklet.join() of a finished one is a wait point too: it ends a killed joiner", async () => {
  const done = Tasklet.new(() => "done")();
  await done.join();
  let rounds = 0;
  const { promise, resolve } = Promise.withResolvers<void>();
  const joiner = Tasklet.new(async () => {
    await promise;
    for (; rounds < 10; rounds++) await done.join();
  })();
  await Tasklet.yield();
  void joiner.kill();
  resolve();
  await assertRejects(() => joiner.join(), JoinError);
  assertEquals([rounds, joiner.status], [0, "killed"]);
});

Deno.test("Tasklet.join() of oneself or an ancestor fails at once and names the cycle", async () => {
  await using time = virtualTime();
  const grandparent: Tasklet<JoinError[]> = Tasklet.new(async () => {
    const own = await assertRejects(() => grandparent.join(), JoinError);
    const parent: Tasklet<JoinError[]> = Tasklet.new(async () => {
      const child = Tasklet.new(async () => [
        await assertRejects(() => grandparent.join(), JoinError),
        await assertRejects(() => parent.join(), JoinError),
      ], { name: "child" })();
      return [own, ...await child.join()];
    }, { name: "parent" })();
    return await parent.join();
  }, { name: "grandparent" })();
  const [own, far, near] = await grandparent.join();
  assertEquals(time.now, 0);
  assert(own!.tasklet === grandparent && far!.tasklet === grandparent);
  assertNames(own!, ["grandparent", "grandparent"]);
  assertNames(far!, ["child", "grandparent", "parent", "child"]);
  assertNames(near!, ["child", "parent", "child"]);
});

Deno.test("Tasklet.join() of one that waits for the joiner fails at once and names the cycle", async () => {
  await using _ = virtualTime();
  const a: Tasklet<unknown> = Tasklet.new(() => b.join(), { name: "a" })();
  const b: Tasklet<unknown> = Tasklet.new(() => c.join(), { name: "b" })();
  const c: Tasklet<unknown> = Tasklet.new(() => a.join().catch((error) => error), { name: "c" })();
  const error = await a.join() as JoinError;
  assert(error instanceof JoinError && error.tasklet === a);
  assertNames(error, ["c", "a", "b", "c"]);
});

Deno.test("Tasklet.join() of one that waits for an ancestor of the joiner fails at once", async () => {
  await using _ = virtualTime();
  using _reports = catchReports();
  const log: unknown[] = [];
  const parent = Tasklet.new(() => {
    Tasklet.new(async () => {
      await Tasklet.sleep(10);
      log.push(await other.join({ timeout: 100 }).catch((error) => error.name));
    })();
  }, { name: "parent" })();
  const other = Tasklet.new(() => parent.join(), { name: "other" })();
  await other.join();
  assertEquals(log, ["JoinError"]);
});

Deno.test("MSG.call() of one that waits for an ancestor of the caller is a deadlock", async () => {
  await using _ = virtualTime();
  const log: unknown[] = [];
  const parent = Tasklet.new(() => {
    Tasklet.new(async () => {
      await Tasklet.sleep(10);
      log.push(await MSG_ASK.call(other, { timeout: 100 })().catch((error) => error.reason ?? error.name));
    })();
  }, { name: "parent" })();
  const other = Tasklet.new(() => parent.join(), { name: "other" })();
  await other.join();
  assertEquals(log, ["deadlock"]);
});

function assertNames(error: Error, names: string[]): void {
  const found = error.message.slice(error.message.lastIndexOf(":")).match(/[a-z]+(?=#)/g);
  assertEquals(found, names, error.message);
}

// Tasklet.joinAll, Tasklet.joinChildren

Deno.test("Tasklet.joinAll() gives results in order; a failed one is its JoinError as a value", async () => {
  await using time = virtualTime();
  using reports = catchReports();
  const slow = Tasklet.new(async () => {
    await Tasklet.sleep(20);
    return "slow";
  })();
  const failed = Tasklet.new(() => fail("no luck"))();
  const fast = Tasklet.new(() => 3)();
  const killed = Tasklet.new(() => Tasklet.sleep(5))();
  void killed.kill();
  const [first, second, third, fourth] = await Tasklet.joinAll([slow, failed, fast, killed]);
  first satisfies string | JoinError;
  third satisfies number | JoinError;
  assertEquals([first, third, time.now], ["slow", 3, 20]);
  assert(second instanceof JoinError && second.tasklet === failed);
  assert(fourth instanceof JoinError && fourth.cause instanceof TaskletExit);
  await reports.settled();
  assertEquals([reports.texts, await Tasklet.joinAll([])], [[], []]);
});

Deno.test("Tasklet.joinAll() waits for all of them together at most for its timeout", async () => {
  await using time = virtualTime();
  const tasks = [10, 20, 30, 40].map((ms) => Tasklet.new(() => Tasklet.sleep(ms))());
  await assertRejects(() => Tasklet.joinAll(tasks, { timeout: 25 }), TimeoutError);
  assertEquals([time.now, tasks.map((task) => task.status)], [25, ["done", "done", "waiting", "waiting"]]);
  await Tasklet.joinAll(tasks);
  assertEquals([time.now, timerCount()], [40, 0]);
});

Deno.test("Tasklet.joinAll() that timed out asks for no more: later errors are reported", async () => {
  await using _ = virtualTime();
  using reports = catchReports();
  const hangs = Tasklet.new(() => Tasklet.sleep(100))();
  const fails = Tasklet.later(50, () => fail("later"))();
  await assertRejects(() => Tasklet.joinAll([hangs, fails], { timeout: 10 }), TimeoutError);
  await hangs.join();
  await reports.settled();
  assertEquals(reports.texts.length, 1);
});

Deno.test("Tasklet.joinChildren() is joinAll() of the current tasklet's children", async () => {
  await using time = virtualTime();
  const results = await Tasklet.new(async () => {
    for (const ms of [20, 10]) {
      Tasklet.new(async () => {
        await Tasklet.sleep(ms);
        return ms;
      })();
    }
    Tasklet.new(() => Tasklet.sleep(100), { daemon: true })();
    const child = Tasklet.new(() => fail("no luck"))();
    await assertRejects(() => Tasklet.joinChildren({ timeout: 1 }), TimeoutError);
    assertEquals(child.status, "failed");
    return await Tasklet.joinChildren();
  })().join();
  assertEquals([results, time.now], [[20, 10], 20]);
  await Tasklet.sleep(100);
  assertThrows(() => Tasklet.joinChildren(), Error, "Cannot join children: no tasklet is running");
});

// Tasklet.scope

Deno.test("Tasklet.scope() runs its body as a child and resolves when all are finished", async () => {
  await using time = virtualTime();
  const log: unknown[] = [];
  const task = Tasklet.new(async () => {
    const result = await Tasklet.scope(async () => {
      assertStrictEquals(Tasklet.current()!.parent as AnyTasklet, task);
      for (const ms of [30, 10]) {
        Tasklet.new(async () => {
          await Tasklet.sleep(ms);
          log.push(ms);
        })();
      }
      await Tasklet.sleep(5);
      return "result";
    });
    log.push(result, time.now);
  })();
  await task.join();
  assertEquals(log, [10, 30, "result", 30]);
});

Deno.test("Tasklet.scope() rethrows the first failing child's error, after the others and the body are finished", async () => {
  await using time = virtualTime();
  using reports = catchReports();
  const log: unknown[] = [];
  const cleaning = async (name: string) => {
    try {
      await Tasklet.sleep(1000);
    } catch (error) {
      log.push([name, error instanceof TaskletExit, time.now]);
      await Tasklet.sleep(10);
      log.push([name, "clean", time.now]);
      throw error;
    }
  };
  await Tasklet.new(async () => {
    const error = await assertRejects(() =>
      Tasklet.scope(async () => {
        Tasklet.new(cleaning)("sibling");
        Tasklet.later(20, () => fail("first"))();
        Tasklet.later(30, () => fail("second"))();
        await cleaning("body");
      }), Error);
    log.push([error.name, error.message, time.now]);
  })().join();
  assertEquals(log, [
    ["sibling", true, 20],
    ["body", true, 20],
    ["sibling", "clean", 30],
    ["body", "clean", 30],
    ["Error", "first", 30],
  ]);
  await reports.settled();
  assertEquals(reports.texts, []);
});

Deno.test("Tasklet.scope() fails by a child also when its body has returned", async () => {
  await using _ = virtualTime();
  const error = await assertRejects(() =>
    Tasklet.scope(() => {
      Tasklet.later(20, () => fail("late"))();
    }), Error);
  assertEquals(error.message, "late");
});

/** A child that takes its time to clean up. */
async function cleaning(log: string[]): Promise<void> {
  try {
    await Tasklet.sleep(1000);
  } finally {
    await Tasklet.sleep(10);
    log.push("child clean");
  }
}

Deno.test("Tasklet.scope() rethrows what its body threw, after the children are finished", async () => {
  await using _ = virtualTime();
  const log: string[] = [];
  const error = await assertRejects(() =>
    Tasklet.scope(async () => {
      Tasklet.new(cleaning)(log);
      await Tasklet.sleep(10);
      throw new Error("body");
    }), Error);
  assertEquals([error.message, log], ["body", ["child clean"]]);
});

Deno.test("Tasklet.scope() is not ended by a child that is killed, nor by a grandchild that fails", async () => {
  await using _ = virtualTime();
  using reports = catchReports();
  const result = await Tasklet.scope(async () => {
    const child = Tasklet.new(() => Tasklet.sleep(1000))();
    Tasklet.new(async () => {
      Tasklet.new(() => fail("grandchild"))();
      await Tasklet.sleep(10);
    })();
    await Tasklet.sleep(5);
    await child.kill();
    await Tasklet.sleep(10);
    return "fine";
  });
  await reports.settled();
  assertEquals([result, reports.texts.length], ["fine", 1]);
});

Deno.test("Tasklet.scope() is killed with its caller, which leaves it when all are finished", async () => {
  await using _ = virtualTime();
  const log: string[] = [];
  const caller = Tasklet.new(async () => {
    try {
      await Tasklet.scope(async () => {
        Tasklet.new(cleaning)(log);
        await Tasklet.sleep(1000);
      });
    } finally {
      log.push("left the scope");
    }
  })();
  await Tasklet.sleep(5);
  await caller.kill();
  assertEquals([log, caller.status], [["child clean", "left the scope"], "killed"]);
});

Deno.test("Tasklet.scope() ends with TimeoutError when the caller's deadline passes, after all are finished", async () => {
  await using time = virtualTime();
  const log: unknown[] = [];
  await Tasklet.new(async () => {
    using _ = Timeout.push(20);
    const error = await Tasklet.scope(async () => {
      Tasklet.new(async () => {
        // A plain promise knows no deadline, so the child's end is the kill.
        await new Promise<void>((resolve) =>
          Tasklet.current()!.signal.addEventListener("abort", () => resolve())
        );
        log.push(["child killed", time.now]);
      })();
      await new Promise<void>((resolve) =>
        Tasklet.current()!.signal.addEventListener("abort", () => resolve())
      );
      log.push(["body killed", time.now]);
    }).catch((error) => error);
    log.push([error.name, time.now]);
  })().join();
  assertEquals(log, [["child killed", 20], ["body killed", 20], ["TimeoutError", 20]]);
});

Deno.test("Tasklet.scope() inside a scope passes errors on as they are", async () => {
  const error = new Error("deep down");
  const caught = await Tasklet.scope(() =>
    Tasklet.scope(() => {
      Tasklet.new(() => Promise.reject(error))();
    })
  ).catch((error) => error);
  assertStrictEquals(caught, error);
});

Deno.test("Tasklet.scope() inside a scope: the outer body may catch the inner one's error and go on", async () => {
  await using _ = virtualTime();
  using reports = catchReports();
  const failing: Record<string, () => unknown> = {
    body: () => fail("no luck"),
    child: () => void Tasklet.new(() => fail("no luck"))(),
    "child, later": async () => {
      Tasklet.later(10, () => fail("no luck"))();
      await Tasklet.sleep(1000);
    },
  };
  const log: unknown[] = [];
  for (const [name, body] of Object.entries(failing)) {
    log.push(
      await Tasklet.scope(async () => {
        const error = await assertRejects(() => Tasklet.scope(body), Error);
        await Tasklet.sleep(10); // a wait point: here a kill would be met
        return [name, error.message];
      }),
    );
  }
  await reports.settled();
  assertEquals([log, reports.texts], [Object.keys(failing).map((name) => [name, "no luck"]), []]);
});

Deno.test("Tasklet.scope() whose body joins a child that fails rethrows its error, and nothing is reported", async () => {
  await using _ = virtualTime();
  using reports = catchReports();
  const log: unknown[] = [];
  for (const ms of [undefined, 0, 10]) {
    const error = await assertRejects(() =>
      Tasklet.scope(async () => {
        const child = ms === undefined
          ? Tasklet.new(() => fail("no luck"))()
          : Tasklet.later(ms, () => fail("no luck"))();
        await child.join();
      }), Error);
    log.push([error.name, error.message]);
  }
  await reports.settled();
  assertEquals([log, reports.texts], [Array(3).fill(["Error", "no luck"]), []]);
});

// Tasklet.monitor

Deno.test("Tasklet.monitor() tells that a tasklet has finished, how, and at once if it has", async () => {
  await using time = virtualTime();
  const watcher = Tasklet.new(async () => {
    const log: unknown[] = [];
    const error = new Error("no luck");
    const done = Tasklet.later(10, () => "done")();
    const failed = Tasklet.later(20, () => Promise.reject(error))();
    const killed = Tasklet.new(() => Tasklet.sleep(1000))();
    for (const task of [done, failed, killed]) Tasklet.monitor(task);
    Tasklet.later(30, () => killed.kill())();
    for (const task of [done, failed, killed] as AnyTasklet[]) {
      const down = await Tasklet.receiveOne([MSG_DOWN]);
      assert(down.args[0] === task && down.sender?.id === task.id);
      log.push([down.args[1] instanceof TaskletExit ? "exit" : down.args[1], time.now]);
    }
    Tasklet.monitor(failed);
    assertEquals(Tasklet.current()!.mailbox.length, 1);
    log.push((await Tasklet.receiveOne([MSG_DOWN])).args[1]);
    return [log, error] as const;
  })();
  const [log, error] = await watcher.join();
  assertEquals(log, [[undefined, 10], [error, 20], ["exit", 30], error]);
});

Deno.test("Tasklet.monitor() tells of a tasklet's end when its children have ended too", async () => {
  await using time = virtualTime();
  await Tasklet.new(async () => {
    Tasklet.monitor(Tasklet.new(() => void Tasklet.new(() => Tasklet.sleep(30))())());
    await Tasklet.receiveOne([MSG_DOWN]);
    assertEquals(time.now, 30);
  })().join();
});

Deno.test("Tasklet.monitor() sends the class given", async () => {
  class MSG_GONE extends Message("MSG_GONE")<[task: AnyTasklet, error: unknown]> {}
  await Tasklet.new(async () => {
    const task = Tasklet.new(() => {})();
    Tasklet.monitor(task, MSG_GONE);
    const gone = await Tasklet.receiveOne();
    assert(gone.match(MSG_GONE) && gone.args[0] === task);
  })().join();
});

Deno.test("Tasklet.monitor() is ended by disposing, harmless twice, and each one counts", async () => {
  await using _ = virtualTime();
  await Tasklet.new(async () => {
    const task = Tasklet.new(() => Tasklet.sleep(10))();
    const monitor = Tasklet.monitor(task);
    Tasklet.monitor(task);
    monitor[Symbol.dispose]();
    monitor[Symbol.dispose]();
    await task.join();
    assertEquals(Tasklet.current()!.mailbox.length, 1);
    monitor[Symbol.dispose]();
  })().join();
});

Deno.test("Tasklet.monitor() is not lost on a full mailbox", async () => {
  await using _ = virtualTime();
  for (const overflow of ["refuse", "drop-oldest"] as const) {
    const watcher = Tasklet.new(async () => {
      Tasklet.monitor(Tasklet.later(5, () => {})());
      await Tasklet.sleep(10);
      return [...Tasklet.pending()].map((msg) => msg.type);
    }, { mailbox: { capacity: 1, overflow } })();
    MSG_A.send(watcher)(1);
    assertEquals(await watcher.join(), ["MSG_A", "MSG_DOWN"], overflow);
  }
});

Deno.test("Tasklet.monitor() is not lost by messages that come after it and drop the oldest", async () => {
  await using _ = virtualTime();
  const watcher = Tasklet.new(async () => {
    Tasklet.monitor(Tasklet.later(5, () => {})());
    await Tasklet.sleep(10);
    return [...Tasklet.pending()].map((msg) => msg.type);
  }, { mailbox: { capacity: 1, overflow: "drop-oldest" } })();
  await Tasklet.sleep(7);
  MSG_A.send(watcher)(1);
  MSG_A.send(watcher)(2);
  assertEquals(await watcher.join(), ["MSG_DOWN", "MSG_A"]);
});

Deno.test("Tasklet.monitor() is harmless when the watcher has gone, and throws outside of a tasklet", async () => {
  await using _ = virtualTime();
  const task = Tasklet.new(() => Tasklet.sleep(10))();
  await Tasklet.new(() => void Tasklet.monitor(task))().join();
  await task.join();
  assertThrows(() => Tasklet.monitor(task), Error, "Cannot monitor: no tasklet is running");
});

// Tasklet.register, Tasklet.whereis

Deno.test("Tasklet.register() names a tasklet until it finishes; a taken name throws", async () => {
  await using _ = virtualTime();
  const task = Tasklet.new(async function worker() {
    Tasklet.register("own");
    await Tasklet.sleep(10);
  })();
  Tasklet.register("given", task);
  Tasklet.register("second", task);
  await Tasklet.sleep(5);
  for (const name of ["own", "given", "second"]) assertStrictEquals(Tasklet.whereis(name), task);
  const other = Tasklet.new(() => Tasklet.sleep(20))();
  const error = assertThrows(() => Tasklet.register("own", other), Error);
  assertEquals(error.message, `Cannot register "own": the name is taken by ${task}`);
  await task.join();
  for (const name of ["own", "given", "second"]) assertEquals(Tasklet.whereis(name), undefined);
  Tasklet.register("own", other);
  assertStrictEquals(Tasklet.whereis("own"), other);
  assertThrows(() => Tasklet.register("late", task), Error, "has finished");
  assertThrows(() => Tasklet.register("nobody"), Error, "no tasklet is running");
  await other.kill();
  assertEquals(Tasklet.whereis("own"), undefined);
});

Deno.test("Tasklet.register() leaves an error of the tasklet to be reported", async () => {
  using reports = catchReports();
  Tasklet.register("failing", Tasklet.new(() => Promise.reject(new Error("No luck")))());
  await reports.settled();
  assertEquals([reports.texts.length, Tasklet.whereis("failing")], [1, undefined]);
});

Deno.test("Tasklet.register() again by the same tasklet is a taken name too, and frees nothing of others", async () => {
  await using _ = virtualTime();
  const task = Tasklet.new(() => Tasklet.sleep(10))();
  Tasklet.register("name", task);
  assertThrows(() => Tasklet.register("name", task), Error, "taken");
  await task.kill();
  const error = await assertRejects(() => MSG_ASK.call(task)(), CallError);
  assertEquals([error.reason, Tasklet.whereis("name")], ["finished", undefined]);
});
