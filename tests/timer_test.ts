import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { setImmediate } from "node:timers";
import { Message } from "../message.ts";
import { Tasklet, TaskletExit } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import {
  checkMs,
  type Clock,
  isSystemTime,
  nextTurn,
  now,
  setTimer,
  Timeout,
  TimeoutError,
  type Timer,
  timerCount,
  useClock,
  useOwnTime,
} from "../timer.ts";
import { catchReports } from "./reports.ts";

class MSG_A extends Message("MSG_A")<[n: number]> {}
class MSG_ASK extends Message("MSG_ASK")<[], number> {}

/** A clock that goes on when it is told, and remembers what it was asked for. */
class HandClock implements Clock {
  /** For what times it was asked to wake. */
  readonly asked: number[] = [];
  #now: number;
  #alarm: { readonly at: number; readonly wake: () => void } | undefined;

  constructor(start: number) {
    this.#now = start;
  }

  /** When it would wake. */
  get alarmAt(): number {
    return this.#alarm?.at ?? Infinity;
  }

  now(): number {
    return this.#now;
  }

  wakeAt(at: number, wake: () => void): void {
    this.asked.push(at);
    this.#alarm = at === Infinity ? undefined : { at, wake };
  }

  turn(go: () => void): void {
    setImmediate(go);
  }

  /** Goes on to `time`, waking on the way. */
  goTo(time: number): void {
    while (this.#alarm !== undefined && this.#alarm.at <= time) {
      this.wakeNow(Math.max(this.#now, this.#alarm.at));
    }
    this.#now = time;
  }

  /** Wakes at `time`, be that too early. */
  wakeNow(time: number): void {
    this.#now = time;
    const wake = this.#alarm!.wake;
    this.#alarm = undefined;
    wake();
  }
}

// setTimer, Timer

Deno.test("setTimer() fires in order of time, and ties in order of setting", () => {
  const clock = new HandClock(100);
  using _ = useClock(clock);
  const log: string[] = [];
  for (const [at, name] of [[130, "c"], [110, "a"], [120, "b1"], [130, "d"], [120, "b2"]] as const) {
    setTimer(at, () => log.push(`${name} at ${now()}`));
  }

  clock.goTo(109);
  log.push("109");
  clock.goTo(120);
  log.push("120");
  clock.goTo(1000);

  assertEquals(log, ["109", "a at 110", "b1 at 120", "b2 at 120", "120", "c at 130", "d at 130"]);
  assertEquals([timerCount(), clock.alarmAt], [0, Infinity]);
});

Deno.test("setTimer() fires what is overdue at the next alarm, never within the call", () => {
  const clock = new HandClock(100);
  using _ = useClock(clock);
  const log: string[] = [];
  setTimer(40, () => log.push("overdue"));
  setTimer(100, () => log.push("due"));
  log.push("set");

  clock.goTo(100);

  assertEquals(log, ["set", "overdue", "due"]);
});

Deno.test("setTimer() by a timer that fires waits for those that are due already", () => {
  const clock = new HandClock(100);
  using _ = useClock(clock);
  const log: string[] = [];
  setTimer(110, () => {
    log.push("first");
    setTimer(110, () => log.push("set by first"));
  });
  setTimer(110, () => log.push("second"));

  clock.goTo(110);

  assertEquals(log, ["first", "second", "set by first"]);
});

Deno.test("setTimer() at Infinity never comes and keeps nothing alive", () => {
  const clock = new HandClock(0);
  using _ = useClock(clock);
  const timer = setTimer(Infinity, () => assert(false));
  assertEquals([timerCount(), clock.alarmAt], [0, Infinity]);
  clock.goTo(Number.MAX_SAFE_INTEGER);
  timer.cancel();
});

Deno.test("setTimer() reaches beyond 2³¹ ms", () => {
  const clock = new HandClock(0);
  using _ = useClock(clock);
  const log: number[] = [];
  setTimer(2 ** 31 + 5, () => log.push(now()));
  setTimer(2 ** 40, () => log.push(now()));
  clock.goTo(2 ** 31 + 4);
  log.push(-1);
  clock.goTo(2 ** 41);
  assertEquals(log, [-1, 2 ** 31 + 5, 2 ** 40]);
});

Deno.test("setTimer() does not fire when the clock wakes too early, and asks again", () => {
  const clock = new HandClock(0);
  using _ = useClock(clock);
  const log: number[] = [];
  setTimer(2 ** 33, () => log.push(now()));
  clock.wakeNow(2 ** 31 - 1);
  clock.wakeNow(2 ** 32);
  assertEquals([log, clock.alarmAt], [[], 2 ** 33]);
  clock.goTo(2 ** 33);
  assertEquals(log, [2 ** 33]);
});

Deno.test("setTimer() beyond 2³¹ ms does not fire at once on the system's clock", async () => {
  using _ = setTimer(now() + 2 ** 31 + 1, () => assert(false));
  await new Promise<void>((resolve) => void setTimer(now() + 5, resolve));
  assertEquals(timerCount(), 1);
});

Deno.test("Timer.cancel() takes a timer back, wherever it stands; harmless twice and when it has fired", () => {
  const clock = new HandClock(0);
  using _ = useClock(clock);
  const log: number[] = [];
  const timers = Array.from({ length: 10 }, (_, i) => setTimer(i, () => log.push(i)));
  for (const i of [0, 5, 9, 5]) timers[i]!.cancel();
  clock.goTo(3);
  timers[2]!.cancel();
  timers[4]![Symbol.dispose]();
  clock.goTo(20);
  assertEquals(log, [1, 2, 3, 6, 7, 8]);
});

Deno.test("Timer.cancel() by a timer that fires at the same time counts", () => {
  const clock = new HandClock(0);
  using _ = useClock(clock);
  const log: string[] = [];
  setTimer(5, () => {
    log.push("first");
    second.cancel();
  });
  const second = setTimer(5, () => log.push("second"));
  clock.goTo(10);
  assertEquals([log, timerCount()], [["first"], 0]);
});

Deno.test("Timer.cancel() of the last timer clears the alarm, so that it keeps no program alive", () => {
  const clock = new HandClock(0);
  using _ = useClock(clock);
  const timers = [setTimer(5, () => {}), setTimer(7, () => {})];
  for (const timer of timers) timer.cancel();
  assertEquals(clock.alarmAt, Infinity);
});

Deno.test("Timer.cancel() of many timers behind an earlier one never troubles the clock", () => {
  const clock = new HandClock(0);
  using _ = useClock(clock);
  using _first = setTimer(1, () => {});
  const before = clock.asked.length;
  const timers = Array.from({ length: 100_000 }, (_, i) => setTimer(2 + (i * 7919) % 100_003, () => {}));
  for (const timer of timers) timer.cancel();
  assertEquals([clock.asked.length - before, timerCount()], [0, 1]);
});

Deno.test("setTimer() and cancel() in any order do what a sorted list would", () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: fc.constant("set" as const), n: fc.nat(50) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("cancel" as const), n: fc.nat(1000) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("go" as const), n: fc.nat(30) }) },
  );
  fc.assert(fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
    const clock = new HandClock(0);
    using _ = useClock(clock);
    const log: number[] = [];
    const expected: number[] = [];
    const timers: Timer[] = [];
    let model: { at: number; id: number }[] = [];
    const go = (end: number) => {
      clock.goTo(end);
      // Sorting is stable, so ties stay in order of setting.
      const due = model.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      expected.push(...due.map(({ id }) => id));
      model = model.filter(({ at }) => at > end);
    };
    for (const { do: what, n } of steps) {
      if (what === "set") {
        const id = timers.length;
        timers.push(setTimer(clock.now() + n, () => log.push(id)));
        model.push({ at: clock.now() + n, id });
      } else if (what === "cancel" && timers.length > 0) {
        timers[n % timers.length]!.cancel();
        model = model.filter(({ id }) => id !== n % timers.length);
      } else if (what === "go") {
        go(clock.now() + n);
      }
      assertEquals(timerCount(), model.length);
    }
    go(clock.now() + 100);
    assertEquals(log, expected);
  }));
});

// useClock, nextTurn

Deno.test("useClock() moves the timers to the new clock and back, with their times", () => {
  const log: string[] = [];
  const outer = new HandClock(100);
  const inner = new HandClock(100);
  using _ = useClock(outer);
  setTimer(110, () => log.push("a"));
  setTimer(120, () => log.push("b"));
  {
    using _ = useClock(inner);
    assertEquals([outer.alarmAt, inner.alarmAt], [Infinity, 110]);
    inner.goTo(115);
    log.push("restored");
  }
  assertEquals([outer.alarmAt, inner.alarmAt], [120, Infinity]);
  outer.goTo(120);
  assertEquals(log, ["a", "restored", "b"]);
});

Deno.test("useOwnTime() begins without timers, and leaves those that are set to their own clock", () => {
  const log: string[] = [];
  const outer = new HandClock(100);
  const inner = new HandClock(0);
  using _ = useClock(outer);
  setTimer(110, () => log.push("outer"));
  const cancelled = setTimer(120, () => log.push("cancelled"));
  setTimer(130, () => log.push("last"));
  {
    using _ = useOwnTime(inner);
    log.push(`${now()}, ${timerCount()} timers`);
    setTimer(10, () => log.push("inner"));
    setTimer(20, () => log.push("inner cancelled")).cancel();
    setTimer(30, () => log.push("too late"));
    cancelled.cancel();
    outer.goTo(115);
    inner.goTo(25);
    log.push(`${now()}, ${timerCount()} timers`);
  }
  log.push(`${now()}, ${timerCount()} timers`);
  inner.goTo(28);
  outer.goTo(200);
  assertEquals(log, ["0, 0 timers", "outer", "inner", "25, 1 timers", "115, 1 timers", "last"]);
});

Deno.test("useClock() in a time of its own changes nothing outside of it", () => {
  const outer = new HandClock(100);
  using _ = useClock(outer);
  {
    using _ = useOwnTime(new HandClock(0));
    using _inner = useClock(new HandClock(50));
    assertEquals(now(), 50);
  }
  assertEquals(now(), 100);
});

Deno.test("isSystemTime() is false while the clock is replaced", () => {
  const states = [isSystemTime()];
  {
    using _ = useClock(new HandClock(0));
    states.push(isSystemTime());
  }
  {
    using _ = useOwnTime(new HandClock(0));
    states.push(isSystemTime());
  }
  assertEquals([...states, isSystemTime()], [true, false, false, true]);
});

Deno.test("nextTurn() lets the event loop have its turn", async () => {
  const log: string[] = [];
  setImmediate(() => log.push("event loop"));
  await new Promise<void>((resolve) =>
    nextTurn(() => {
      log.push("turn");
      resolve();
    })
  );
  assertEquals(log, ["event loop", "turn"]);
});

// checkMs

Deno.test("checkMs() gives durations back, and tells what is wrong with others", () => {
  assertEquals([checkMs("wait", "ms", 0), checkMs("wait", "ms", 1.5), checkMs("wait", "ms", Infinity)], [
    0,
    1.5,
    Infinity,
  ]);
  for (const bad of [-1, NaN, -Infinity, "5" as unknown as number, null as unknown as number]) {
    const error = assertThrows(() => checkMs("wait", "timeout", bad), RangeError);
    assertEquals(
      error.message,
      `Cannot wait: "timeout" must be a number of milliseconds, 0 or more, got ${bad}`,
    );
  }
});

Deno.test("Every duration is checked where it is given", async () => {
  const task = Tasklet.new(async () => {
    assertThrows(() => Timeout.push(-1), RangeError);
    assertThrows(() => Tasklet.sleep(NaN), RangeError);
    assertThrows(() => Tasklet.later(-1, () => {}), RangeError);
    assertThrows(() => Tasklet.interval(NaN, () => {}), RangeError);
    for (const hz of [0, -1, NaN, Infinity]) assertThrows(() => Tasklet.rate(hz, () => {}), RangeError);
    await assertRejects(async () => await Tasklet.receiveOne(undefined, { timeout: -1 }), RangeError);
    await assertRejects(async () => await Tasklet.receive(undefined, { timeout: NaN }).next(), RangeError);
    await assertRejects(async () => await task.join({ timeout: -1 }), RangeError);
    await assertRejects(async () => await task.kill({ grace: -1 }), RangeError);
    await assertRejects(async () => await Tasklet.joinAll([], { timeout: -1 }), RangeError);
    await assertRejects(async () => await Tasklet.wait(Promise.resolve(), { timeout: -1 }), RangeError);
    await assertRejects(async () => await Tasklet.suspend(() => {}, { timeout: -1 }), RangeError);
    await assertRejects(async () => await MSG_ASK.call(task, { timeout: -1 })(), RangeError);
    assertEquals(task.status, "running");
  })();
  await task.join();
});

// Timeout

Deno.test("Timeout.push() ends every wait by then with TimeoutError", async () => {
  await using time = virtualTime();
  const silent = Tasklet.new(() => Tasklet.sleep(1000))();
  const waits: Record<string, () => Promise<unknown>> = {
    sleep: () => Tasklet.sleep(500),
    receiveOne: () => Tasklet.receiveOne(),
    receive: () => Tasklet.receive().next(),
    wait: () => Tasklet.wait(new Promise(() => {})),
    suspend: () => Tasklet.suspend(() => {}),
    join: () => silent.join(),
    joinAll: () => Tasklet.joinAll([silent]),
    call: () => MSG_ASK.call(silent)(),
  };
  const log: [string, number, boolean][] = [];
  for (const [name, wait] of Object.entries(waits)) {
    const start = time.now;
    await Tasklet.new(async () => {
      using _ = Timeout.push(20);
      const error = await wait().catch((error) => error);
      log.push([name, time.now - start, error instanceof TimeoutError]);
    })().join();
  }
  assertEquals(log, Object.keys(waits).map((name) => [name, 20, true]));
  assertEquals(silent.alive, true);
  await silent.join();
});

Deno.test("Timeout.push() ends waits that were begun before it, and all of them", async () => {
  await using time = virtualTime();
  const ends = await Tasklet.new(async () => {
    const waits = [Tasklet.sleep(500), Tasklet.receiveOne(), Tasklet.sleep(600)];
    using _ = Timeout.push(20);
    const results = await Promise.allSettled(waits);
    return results.map((result) => result.status === "rejected" && result.reason instanceof TimeoutError);
  })().join();
  assertEquals([ends, time.now, timerCount()], [[true, true, true], 20, 0]);
});

Deno.test("Timeout.push() refuses further waits at once until disposed", async () => {
  await using time = virtualTime();
  await Tasklet.new(async () => {
    {
      using _ = Timeout.push(20);
      await assertRejects(() => Tasklet.sleep(30), TimeoutError);
      await assertRejects(() => Tasklet.sleep(30), TimeoutError);
      await assertRejects(() => Tasklet.receiveOne(), TimeoutError);
      assertEquals(time.now, 20);
    }
    await Tasklet.sleep(30);
    assertEquals(time.now, 50);
  })().join();
});

Deno.test("Timeout.push() leaves alone what ends in time", async () => {
  await using time = virtualTime();
  await Tasklet.new(async () => {
    using _ = Timeout.push(20);
    await Tasklet.sleep(19);
  })().join();
  assertEquals([time.now, timerCount()], [19, 0]);
});

Deno.test("Timeout.push() does not make an operation fail that is ready", async () => {
  await using _time = virtualTime();
  const log: unknown[] = [];
  const done = Tasklet.new(() => "done")();
  await done.join();
  const task = Tasklet.new(async () => {
    using _ = Timeout.push(20);
    await assertRejects(() => Tasklet.sleep(30), TimeoutError);
    log.push(Timeout.current());
    log.push((await Tasklet.receiveOne([MSG_A])).args[0]);
    for await (const msg of Tasklet.receive([MSG_A])) {
      log.push(msg.args[0]);
      if (msg.args[0] === 3) break;
    }
    log.push(await done.join());
    log.push(await Tasklet.joinAll([done]));
  })();
  for (const n of [1, 2, 3]) MSG_A.send(task)(n);
  await task.join();
  assertEquals(log, [0, 1, 2, 3, "done", ["done"]]);
});

Deno.test("Timeout.push() does not make a Tasklet.suspend() fail whose start resumes at once", async () => {
  await using _time = virtualTime();
  const result = await Tasklet.new(async () => {
    using _ = Timeout.push(20);
    await assertRejects(() => Tasklet.sleep(30), TimeoutError);
    return await Tasklet.suspend<string>((resume) => resume("ready"));
  })().join();
  assertEquals(result, "ready");
});

Deno.test("Timeout.push() nests: an inner deadline only shortens, and its end brings the outer one back", async () => {
  await using time = virtualTime();
  const log: unknown[] = [];
  await Tasklet.new(async () => {
    log.push(Timeout.current());
    using _ = Timeout.push(100);
    {
      using _ = Timeout.push(500);
      log.push(Timeout.current());
    }
    {
      using _ = Timeout.push(30);
      log.push(Timeout.current());
      await assertRejects(() => Tasklet.sleep(1000), TimeoutError);
      log.push(Timeout.current());
    }
    log.push(Timeout.current());
    await assertRejects(() => Tasklet.sleep(1000), TimeoutError);
    log.push(time.now);
  })().join();
  assertEquals(log, [Infinity, 100, 30, 0, 70, 100]);
});

Deno.test("Timeout.push() can be disposed in any order, and twice", async () => {
  await using time = virtualTime();
  const log: unknown[] = [];
  await Tasklet.new(async () => {
    const outer = Timeout.push(30);
    const inner = Timeout.push(50);
    outer[Symbol.dispose]();
    outer[Symbol.dispose]();
    log.push(Timeout.current());
    await Tasklet.sleep(40);
    log.push(Timeout.current());
    inner[Symbol.dispose]();
    log.push(Timeout.current());
    await Tasklet.sleep(40);
    log.push(time.now);
  })().join();
  assertEquals([log, timerCount()], [[50, 10, Infinity, 80], 0]);
});

Deno.test("Timeout.push() is inherited by children created inside, also when it is disposed, not by daemons", async () => {
  await using time = virtualTime();
  const log: [string, unknown][] = [];
  async function child() {
    const left = Timeout.current();
    const error = await Tasklet.sleep(300).catch((error) => error);
    log.push([Tasklet.current()!.name, [left, error instanceof TimeoutError, time.now]]);
  }
  let daemon: Tasklet<void> | undefined;
  await Tasklet.new(async () => {
    Tasklet.new(child, { name: "before" })();
    {
      using _ = Timeout.push(100);
      Tasklet.new(child, { name: "inside" })();
      Tasklet.new(() => Tasklet.new(child, { name: "grandchild" })())();
      daemon = Tasklet.new(child, { name: "daemon", daemon: true })();
      await Tasklet.sleep(10);
      Tasklet.new(child, { name: "later" })();
    }
    Tasklet.new(child, { name: "after" })();
  })().join();
  await daemon!.join();
  assertEquals(Object.fromEntries(log), {
    inside: [100, true, 100],
    grandchild: [100, true, 100],
    later: [90, true, 100],
    before: [Infinity, false, 300],
    daemon: [Infinity, false, 300],
    after: [Infinity, false, 310],
  });
});

Deno.test("Timeout.push() that is left open ends with its tasklet", async () => {
  await using time = virtualTime();
  await Tasklet.new(() => {
    Timeout.push(1000);
  })().join();
  assertEquals([timerCount(), time.now], [0, 0]);
});

Deno.test("Timeout.push() does not end the wait of a parent for its children", async () => {
  await using time = virtualTime();
  const task = Tasklet.new(() => {
    Tasklet.new(() => Tasklet.sleep(100))();
    Timeout.push(10);
    return "result";
  })();
  assertEquals([await task.join(), time.now], ["result", 100]);
});

Deno.test("Timeout.push() gives way to a kill", async () => {
  await using _time = virtualTime();
  const task = Tasklet.new(async () => {
    using _ = Timeout.push(20);
    return await Tasklet.sleep(1000).catch((error) => error);
  })();
  await Tasklet.yield();
  await task.kill();
  const error = await assertRejects(() => task.join());
  assert((error as Error).cause instanceof TaskletExit);
});

Deno.test("Timeout.push() gives way to the grace of a kill: cleanup may wait, be the deadline passed or near", async () => {
  await using time = virtualTime();
  const log: unknown[] = [];
  async function clean(): Promise<void> {
    await Tasklet.sleep(50);
    await Tasklet.wait(Promise.resolve());
    log.push(time.now);
    using _ = Timeout.push(10); // one of the cleanup's own counts
    log.push((await assertRejects(() => Tasklet.sleep(50), TimeoutError)).name, time.now);
  }
  const { promise, resolve } = Promise.withResolvers<void>();
  const passed = Tasklet.new(async () => {
    using _ = Timeout.push(20);
    await assertRejects(() => Tasklet.sleep(30), TimeoutError);
    await promise; // no wait point
    try {
      await Tasklet.sleep(30);
    } finally {
      await clean();
    }
  })();
  await Tasklet.sleep(40);
  const killed = passed.kill();
  resolve();
  await killed;
  const near = Tasklet.new(async () => {
    using _ = Timeout.push(20);
    try {
      await Tasklet.sleep(1000);
    } finally {
      await clean();
    }
  })();
  await Tasklet.sleep(10);
  await near.kill();
  assertEquals(log, [90, "TimeoutError", 100, 160, "TimeoutError", 170]);
  assertEquals([passed.status, near.status, timerCount()], ["killed", "killed", 0]);
});

Deno.test("Timeout.push() leaves alone who kills and does not wait for it", async () => {
  await using time = virtualTime();
  using reports = catchReports();
  const log: unknown[] = [];
  const task = Tasklet.new(async () => {
    const child = Tasklet.new(async () => {
      try {
        await Tasklet.sleep(1000);
      } finally {
        await Tasklet.sleep(100);
        log.push(["child clean", time.now]);
      }
    })();
    await Tasklet.sleep(5);
    {
      using _ = Timeout.push(10);
      void child.kill();
      await assertRejects(() => Tasklet.sleep(50), TimeoutError);
      log.push((await assertRejects(() => child.kill(), TimeoutError)).name, time.now);
    }
    await Tasklet.sleep(5);
    return "lives on";
  })();
  log.push(await task.join(), time.now);
  await reports.settled();
  assertEquals([log, reports.texts], [["TimeoutError", 15, ["child clean", 105], "lives on", 105], []]);
});

Deno.test("Timeout.push() loses no message", async () => {
  await using _time = virtualTime();
  const task = Tasklet.new(async () => {
    {
      using _ = Timeout.push(20);
      await assertRejects(() => Tasklet.receiveOne(), TimeoutError);
    }
    return (await Tasklet.receiveOne([MSG_A])).args[0];
  })();
  await Tasklet.sleep(20);
  MSG_A.send(task)(7);
  assertEquals(await task.join(), 7);
});

Deno.test("Timeout.push() takes back its deadline from a call, whose reply then comes too late", async () => {
  await using _time = virtualTime();
  const log: unknown[] = [];
  const server = Tasklet.new(async () => {
    const msg = await Tasklet.receiveOne([MSG_ASK]);
    await Tasklet.sleep(50);
    log.push(msg.reply(1));
  })();
  await Tasklet.new(async () => {
    using _ = Timeout.push(20);
    await assertRejects(() => MSG_ASK.call(server)(), TimeoutError);
  })().join();
  await server.join();
  assertEquals(log, [false]);
});

Deno.test("Timeout.push() and current() outside of a tasklet: an error, and Infinity", () => {
  assertThrows(() => Timeout.push(10), Error, "Cannot push a timeout: no tasklet is running");
  assertEquals(Timeout.current(), Infinity);
});

Deno.test("Timeout.push() in the name of a tasklet that has finished is an error, and leaves no timer", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  let left: Promise<Error> | undefined;
  const task = Tasklet.new(() => {
    left = promise.then(() => assertThrows(() => Timeout.push(10), Error));
  })();
  await task.join();
  resolve();
  assertEquals([(await left!).message, timerCount()], ["Cannot push a timeout: no tasklet is running", 0]);
});
