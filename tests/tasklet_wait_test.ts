import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { setImmediate } from "node:timers";
import { JoinError, Tasklet, TaskletExit, TimeoutError } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { Timeout, timerCount } from "../timer.ts";
import { catchReports } from "./reports.ts";

// Tasklet.sleep

Deno.test("Tasklet.sleep() waits for its time, in a tasklet and outside", async () => {
  await using time = virtualTime();
  await Tasklet.sleep(10);
  await Tasklet.new(() => Tasklet.sleep(25))().join();
  await Tasklet.sleep(0);
  assertEquals(time.now, 35);
});

Deno.test("Tasklet.sleep() of many ends together, the shortest first", async () => {
  await using time = virtualTime();
  const log: number[] = [];
  const tasks = Array.from({ length: 100 }, (_, i) =>
    Tasklet.new(async () => {
      await Tasklet.sleep(1000 - i);
      log.push(i);
    })());
  await Tasklet.joinAll(tasks);
  assertEquals([log, time.now], [Array.from({ length: 100 }, (_, i) => 99 - i), 1000]);
});

// Tasklet.yield

Deno.test("Tasklet.yield() is one turn of the event loop: setImmediate and due timers get theirs", async () => {
  const log: string[] = [];
  await Tasklet.new(async () => {
    setImmediate(() => log.push("immediate"));
    await Tasklet.yield();
    log.push("yielded");
    const timer = new Promise<void>((resolve) => setTimeout(() => (log.push("timer"), resolve()), 0));
    const due = performance.now() + 20;
    while (performance.now() < due) { /* the timer comes due while nobody gets a turn */ }
    await Tasklet.yield();
    await Tasklet.yield();
    log.push("yielded");
    await timer;
  })().join();
  assertEquals(log, ["immediate", "yielded", "timer", "yielded"]);
});

Deno.test("Tasklet.yield() lets others go on, in turn", async () => {
  const log: string[] = [];
  async function body(name: string) {
    for (let i = 0; i < 3; i++) {
      log.push(`${name}${i}`);
      await Tasklet.yield();
    }
  }
  await Tasklet.joinAll(["a", "b"].map((name) => Tasklet.new(body)(name)));
  assertEquals(log, ["a0", "b0", "a1", "b1", "a2", "b2"]);
});

Deno.test("Tasklet.yield() keeps the order also of more tasklets than go on in one turn", async () => {
  const log: number[] = [];
  const tasks = Array.from({ length: 1000 }, (_, i) =>
    Tasklet.new(async () => {
      await Tasklet.yield();
      log.push(i);
    })());
  await Tasklet.joinAll(tasks);
  assertEquals(log, tasks.map((_, i) => i));
});

// Tasklet.wait

Deno.test("Tasklet.wait() gives what the promise gives", async () => {
  const error = new Error("rejected");
  await Tasklet.new(async () => {
    assertEquals(await Tasklet.wait(Promise.resolve(1)), 1);
    assertStrictEquals(await Tasklet.wait(Promise.reject(error)).catch((error) => error), error);
    const thenable: PromiseLike<number> = { then: (resolve) => Promise.resolve(2).then(resolve) };
    assertEquals(await Tasklet.wait(thenable), 2);
  })().join();
  assertEquals(await Tasklet.wait(Promise.resolve("outside")), "outside");
});

Deno.test("Tasklet.wait() makes any promise a wait point: kill and timeout end the wait, not the promise", async () => {
  await using time = virtualTime();
  const { promise, resolve } = Promise.withResolvers<string>();
  const log: unknown[] = [];
  const task = Tasklet.new(async () => {
    await assertRejects(() => Tasklet.wait(promise, { timeout: 10 }), TimeoutError);
    log.push([task.status, time.now]);
    try {
      await Tasklet.wait(promise);
    } catch (error) {
      log.push(error instanceof TaskletExit);
      throw error;
    }
  })();
  await Tasklet.sleep(20);
  assertEquals(task.status, "waiting");
  await task.kill();
  resolve("goes on");
  assertEquals([log, await promise, timerCount()], [[["running", 10], true], "goes on", 0]);
});

Deno.test("Tasklet.wait() takes care of a promise that is rejected after the wait has ended", async () => {
  await using _ = virtualTime();
  using reports = catchReports();
  const task = Tasklet.new(async () => {
    const { promise, reject } = Promise.withResolvers<void>();
    await assertRejects(() => Tasklet.wait(promise, { timeout: 10 }), TimeoutError);
    reject(new Error("too late"));
    await Tasklet.sleep(10);
    return "lives on";
  })();
  assertEquals(await task.join(), "lives on");
  await reports.settled();
  assertEquals(reports.texts, []);
});

Deno.test("Tasklet.wait() takes care of the promise also when the wait does not begin", async () => {
  await using _ = virtualTime();
  const task = Tasklet.new(async () => {
    {
      using _ = Timeout.push(0);
      const rejected = new Promise((_, reject) => setImmediate(() => reject(new Error("unheard"))));
      await assertRejects(() => Tasklet.wait(rejected), TimeoutError);
    }
    await Tasklet.sleep(10);
    return "lives on";
  })();
  assertEquals(await task.join(), "lives on");
});

Deno.test("Tasklet.wait() for a thenable that settles within the call leaves the other waits in order", async () => {
  await using _ = virtualTime();
  const log: unknown[] = [];
  const pending = (name: string) =>
    Tasklet.suspend(() => () => void log.push(`undo ${name}`)).catch((error) => error.name);
  const thenables: Record<string, PromiseLike<unknown>> = {
    resolved: { then: (resolve: (value: string) => unknown) => resolve("at once") } as PromiseLike<unknown>,
    rejected: { then: (_, reject) => reject!(new Error("refused")) } as PromiseLike<unknown>,
    throwing: {
      then: () => {
        throw new Error("thrown");
      },
    },
  };
  for (const thenable of Object.values(thenables)) {
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const task = Tasklet.new(async () => {
      const older = pending("older");
      log.push(await Tasklet.wait(thenable).catch((error) => error.message));
      const newer = pending("newer");
      log.push(await Tasklet.wait(thenable).catch((error) => error.message), task.status);
      begin();
      log.push(...await Promise.all([older, newer]));
    })();
    await begun;
    await task.kill();
    log.push(task.status);
  }
  const rest = ["waiting", "undo newer", "undo older", "TaskletExit", "TaskletExit", "killed"];
  assertEquals(log, ["at once", "refused", "thrown"].flatMap((end) => [end, end, ...rest]));
});

// Tasklet.suspend

Deno.test("Tasklet.suspend() waits until resume or fail is called; the first counts", async () => {
  await using _ = virtualTime();
  const log: unknown[] = [];
  await Tasklet.new(async () => {
    const resumed = await Tasklet.suspend<number>((resume, fail) => {
      Tasklet.later(10, () => {
        resume(1);
        resume(2);
        fail(new Error("late"));
      })();
      return () => log.push("undo");
    });
    log.push(resumed);
    const failed = await Tasklet.suspend<number>((resume, fail) => {
      Tasklet.later(10, () => {
        fail(new Error("failed"));
        resume(1);
      })();
      return () => log.push("undo");
    }).catch((error) => error.message);
    log.push(failed);
  })().join();
  assertEquals(log, [1, "failed"]);
});

Deno.test("Tasklet.suspend() calls start at once, and takes a resume, a fail or an error out of it", async () => {
  const log: unknown[] = [];
  await Tasklet.new(async () => {
    const undo = () => log.push("undo");
    const resumed = Tasklet.suspend<number>((resume) => {
      log.push("start");
      resume(1);
      return undo;
    });
    log.push("started");
    log.push(await resumed);
    log.push(await Tasklet.suspend((_, fail) => (fail("failed"), undo)).catch((error) => error));
    const thrown = Tasklet.suspend(() => {
      throw new Error("thrown");
    });
    log.push(await thrown.catch((error) => error.message));
    assertEquals(Tasklet.current()!.status, "running");
  })().join();
  assertEquals(log, ["start", "started", 1, "failed", "thrown"]);
});

Deno.test("Tasklet.suspend() calls the undo once, on kill or timeout only", async () => {
  await using _ = virtualTime();
  const log: string[] = [];
  const suspend = (name: string, timeout?: number) =>
    Tasklet.suspend<number>((resume) => {
      resumes.push(resume);
      return () => void log.push(`undo ${name}`);
    }, { timeout });
  const resumes: ((value: number) => void)[] = [];
  const task = Tasklet.new(async () => {
    await assertRejects(() => suspend("timeout", 10), TimeoutError);
    {
      using _ = Timeout.push(10);
      await assertRejects(() => suspend("deadline"), TimeoutError);
    }
    await suspend("kill");
  })();
  await Tasklet.sleep(25);
  await task.kill();
  for (const resume of resumes) resume(1);
  assertEquals(log, ["undo timeout", "undo deadline", "undo kill"]);
});

Deno.test("Tasklet.suspend() calls the undo also when start itself ends the wait early", async () => {
  await using _ = virtualTime();
  const log: string[] = [];
  const task = Tasklet.new(async () => {
    await Tasklet.suspend(() => {
      void killer();
      return () => log.push("undo");
    });
  })();
  const killer = () => task.kill();
  await assertRejects(() => task.join(), JoinError);
  assertEquals(log, ["undo"]);
});

Deno.test("Tasklet.suspend() that is killed ends with the exit, whatever undo throws or resumes", async () => {
  await using _ = virtualTime();
  const errors: unknown[] = [];
  const task = Tasklet.new(async () => {
    await Tasklet.suspend<void>((resume) => () => resume()).catch((error) => errors.push(error));
  })();
  await Tasklet.yield();
  await task.kill();
  assert(errors.length === 1 && errors[0] instanceof TaskletExit);
});

Deno.test("Tasklet.kill() ends all waits of a tasklet, also when the undo of one ends another", async () => {
  await using _ = virtualTime();
  const log: string[] = [];
  const task = Tasklet.new(async () => {
    let resumeSecond: (value: string) => void;
    const outcome = (wait: Promise<string>) => wait.catch((error) => error.name);
    log.push(
      ...await Promise.all([
        outcome(Tasklet.suspend<string>(() => {})),
        outcome(Tasklet.suspend<string>((resume) => void (resumeSecond = resume))),
        outcome(Tasklet.suspend<string>(() => () => resumeSecond("resumed"))),
      ]),
    );
  })();
  await Tasklet.yield();
  await task.kill();
  assertEquals([log, task.status], [["TaskletExit", "resumed", "TaskletExit"], "killed"]);
});

Deno.test("Tasklet.suspend() works outside of a tasklet", async () => {
  await using time = virtualTime();
  assertEquals(await Tasklet.suspend<number>((resume) => resume(1)), 1);
  await assertRejects(() => Tasklet.suspend(() => {}, { timeout: 10 }), TimeoutError);
  assertEquals(time.now, 10);
});
