import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { setImmediate } from "node:timers";
import { CallError, Message } from "../message.ts";
import { type AnyTasklet, JoinError, type Self, Tasklet, TaskletExit } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { runSource } from "./program.ts";
import { catchReports } from "./reports.ts";

class MSG_A extends Message("MSG_A")<[n: number]> {}
class MSG_B extends Message("MSG_B") {}
class MSG_ASK extends Message("MSG_ASK")<[], number> {}

// Tasklet.new: start

Deno.test("Tasklet.new() starts bodies on a later microtask, in order of creation", async () => {
  const log: string[] = [];
  const tasks = ["a", "b", "c"].map((name) =>
    Tasklet.new((what: string) => {
      log.push(`${name} ${what}`);
      if (name === "a") Tasklet.new(() => log.push("child of a"))();
    })("starts")
  );
  log.push("creator goes on");
  await Tasklet.joinAll(tasks);
  assertEquals(log, ["creator goes on", "a starts", "b starts", "c starts", "child of a"]);
});

Deno.test("Tasklet.new() never starts a body before its creator's code goes on", async () => {
  const log: string[] = [];
  await Tasklet.new(async () => {
    await Tasklet.sleep(0);
    Tasklet.new(() => log.push("child"))();
    log.push("creator");
    await Promise.resolve();
    log.push("creator after await");
  })().join();
  assertEquals(log, ["creator", "child", "creator after await"]);
});

Deno.test("Tasklet.new() passes the arguments, and the tasklet as this", async () => {
  const task = Tasklet.new(function (this: Self, a: number, b: string) {
    return [this as unknown, a, b] as const;
  })(1, "two");
  const [self, ...rest] = await task.join();
  assertStrictEquals(self, task);
  assertEquals(rest, [1, "two"]);
});

Deno.test("Tasklet.new() queues what is sent before the body starts", async () => {
  const task = Tasklet.new(() => [...Tasklet.pending()].map((msg) => msg.args[0]))();
  const sent = [1, 2].map((n) => MSG_A.send(task)(n));
  assertEquals([task.status, task.mailbox.length, sent], ["ready", 2, [true, true]]);
  assertEquals(await task.join(), [1, 2]);
});

Deno.test("Tasklet.new() types what a body with this: Self<...> accepts and receives", async () => {
  async function body(this: Self<MSG_A | MSG_B>): Promise<string[]> {
    const log: string[] = [];
    for await (const msg of this.receive()) {
      if (msg.match(MSG_A)) log.push(`A ${msg.args[0] satisfies number}`);
      else if (msg.match(MSG_B)) break;
      else msg satisfies never;
    }
    const one = await this.receiveOne();
    one satisfies MSG_A | MSG_B;
    for (const msg of this.pending()) msg satisfies MSG_A | MSG_B;
    return [...log, one.type];
  }
  const task: Tasklet<string[], MSG_A | MSG_B> = Tasklet.new(body)();
  MSG_A.send(task)(1);
  MSG_B.send(task)();
  MSG_A.send(task)(2);
  // @ts-expect-error It accepts no MSG_ASK.
  MSG_ASK.send(task)();
  // @ts-expect-error Nor as a call.
  MSG_ASK.call(task)().catch(() => {});
  const open: Tasklet<void> = Tasklet.new(() => {})();
  MSG_ASK.send(open)();
  assertEquals(await task.join(), ["A 1", "MSG_A"]);
  await open.join();
});

Deno.test("Tasklet.new() does not let a body that throws keep others from starting", async () => {
  const log: unknown[] = [];
  const bad = Tasklet.new(() => {
    throw new Error("bad");
  })();
  const good = Tasklet.new(() => log.push("started"))();
  await assertRejects(() => bad.join(), JoinError);
  await good.join();
  assertEquals(log, ["started"]);
});

Deno.test("Tasklet.new() treats a body that returns any thenable as if it was async", async () => {
  const value = (then: unknown) => ({ then }) as PromiseLike<unknown>;
  const bodies = [
    value((resolve: (value: unknown) => void) => resolve("at once")),
    value((resolve: (value: unknown) => void) => resolve(Promise.resolve("nested"))),
    value((_: unknown, reject: (error: unknown) => void) => reject("rejected")),
    value((resolve: (value: unknown) => void, reject: (error: unknown) => void) => {
      resolve("first counts");
      reject("second");
    }),
  ];
  const results = await Tasklet.joinAll(bodies.map((result) => Tasklet.new(() => result)()));
  assertEquals(results.map((result) => result instanceof JoinError ? [result.cause] : result), [
    "at once",
    "nested",
    ["rejected"],
    "first counts",
  ]);
});

// In a program of its own, because the error, were it to leave the library, would end this one.
Deno.test("Tasklet.new() fails a tasklet whose thenable throws, and starts the others", async () => {
  const { code, lines } = await runSource(`
    const bad = Tasklet.new(() => ({ then() { throw new Error("bad") } }))();
    const good = Tasklet.new(() => "good")();
    bad.join().catch((error) => console.log("bad:", error.cause.message));
    good.join().then(console.log);
  `);
  assertEquals([code, lines.toSorted()], [0, ["bad: bad", "good"]]);
});

// Tasklet.new: options

Deno.test("Tasklet.new() names after the option, or else the function, and numbers uniquely", async () => {
  function worker(): void {}
  const tasks: AnyTasklet[] = [
    Tasklet.new(worker)(),
    Tasklet.new(worker, { name: "other" })(),
    Tasklet.new(() => {})(),
  ];
  await Tasklet.joinAll(tasks);
  assertEquals(tasks.map(({ name }) => name).slice(0, 2), ["worker", "other"]);
  assert(tasks[2]!.name.length > 0);
  assertEquals(new Set(tasks.map(({ id }) => id)).size, 3);
  assert(tasks.every(({ id }) => Number.isSafeInteger(id)));
  assertEquals(String(tasks[0]), `worker#${tasks[0]!.id}`);
});

Deno.test("Tasklet.new() bounds the mailbox: what finds it full is refused", async () => {
  const task = Tasklet.new(() => [...Tasklet.pending()].map((msg) => msg.args[0]), {
    mailbox: { capacity: 2 },
  })();
  const sent = [1, 2, 3].map((n) => MSG_A.send(task)(n));
  assertEquals([sent, task.mailbox.length, task.mailbox.capacity], [[true, true, false], 2, 2]);
  const error = await assertRejects(() => MSG_ASK.call(task)(), CallError);
  assertEquals([error.reason, await task.join()], ["refused", [1, 2]]);
});

Deno.test("Tasklet.new() bounds the mailbox with drop-oldest: the newest stay, dropped calls are refused", async () => {
  const task = Tasklet.new(() => [...Tasklet.pending()].map((msg) => msg.args[0]), {
    mailbox: { capacity: 2, overflow: "drop-oldest" },
  })();
  const call = assertRejects(() => MSG_ASK.call(task)(), CallError);
  const sent = [1, 2, 3].map((n) => MSG_A.send(task)(n));
  assertEquals([sent, task.mailbox.length, await task.join()], [[true, true, true], 2, [2, 3]]);
  assertEquals((await call).reason, "refused");
});

Deno.test("Tasklet.new() has an unbounded mailbox without the option, and shows of it two numbers", async () => {
  const task = Tasklet.new(() => {})();
  for (let n = 0; n < 1000; n++) MSG_A.send(task)(n);
  assertEquals({ ...task.mailbox }, { length: 1000, capacity: Infinity });
  await task.join();
});

Deno.test("Tasklet.new() refuses a capacity that makes no sense", () => {
  for (const capacity of [0, -1, 1.5, NaN]) {
    const error = assertThrows(() => Tasklet.new(() => {}, { mailbox: { capacity } })(), RangeError);
    assertEquals(
      error.message,
      `Cannot create mailbox: "capacity" must be a positive integer, got ${capacity}`,
    );
  }
});

Deno.test("Tasklet.new() that throws leaves no child behind", async () => {
  await Tasklet.new(() => {
    assertThrows(() => Tasklet.new(() => {}, { mailbox: { capacity: 0 } })(), RangeError);
    assertEquals(Tasklet.current()!.children, []);
  })().join();
});

Deno.test("Tasklet.new() with a signal is killed when that is aborted", async () => {
  await using _ = virtualTime();
  const controller = new AbortController();
  const task = Tasklet.new(() => Tasklet.sleep(1000), { signal: controller.signal })();
  await Tasklet.yield();
  controller.abort(new Error("enough"));
  const error = await assertRejects(() => task.join(), JoinError);
  assert(error.cause instanceof TaskletExit);
  assertEquals([task.status, ((error.cause as Error).cause as Error).message], ["killed", "enough"]);
});

Deno.test("Tasklet.new() with a signal that is aborted already never starts", async () => {
  const log: string[] = [];
  const first = Tasklet.new(() => log.push("first"))();
  const task = Tasklet.new(() => log.push("started"), { signal: AbortSignal.abort() })();
  await assertRejects(() => task.join(), JoinError);
  await first.join();
  assertEquals([log, task.status], [["first"], "killed"]);
});

Deno.test("Tasklet.new() with a signal lets go of it at its end", async () => {
  const controller = new AbortController();
  let listeners = 0;
  const { signal } = controller;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
    listeners++;
    addEventListener.apply(signal, args);
  };
  signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
    listeners--;
    removeEventListener.apply(signal, args);
  };
  const task = Tasklet.new(() => "result", { signal })();
  assertEquals(await task.join(), "result");
  controller.abort();
  assertEquals([listeners, task.status], [0, "done"]);
});

// Tasklet.current

Deno.test("Tasklet.current() is right across await, timers, streams and promises resolved by others", async () => {
  assertEquals(Tasklet.current(), undefined);
  const { promise, resolve } = Promise.withResolvers<void>();
  async function body(name: string): Promise<string[]> {
    const wrong: string[] = [];
    const check = (where: string) => Tasklet.current()?.name === name || wrong.push(`${name}: ${where}`);
    check("start");
    await null;
    check("await");
    await new Promise((resolve) => setTimeout(resolve, 1));
    check("timer");
    await new Promise<void>((resolve) => setImmediate(() => (check("in setImmediate"), resolve())));
    await new Promise<void>((resolve) => setTimeout(() => (check("in setTimeout"), resolve()), 1));
    await promise;
    check("promise resolved by another");
    for await (const _ of new Blob(["x".repeat(1000)]).stream().pipeThrough(new TextDecoderStream())) {
      check("stream");
    }
    check("after stream");
    queueMicrotask(() => check("microtask"));
    await Tasklet.sleep(1);
    check("sleep");
    await Tasklet.receiveOne();
    check("receiveOne");
    await Deno.stat(".");
    check("file");
    return wrong;
  }
  const tasks = ["a", "b"].map((name) => Tasklet.new(body, { name })(name));
  const resolver = Tasklet.new(async () => {
    await Tasklet.sleep(5);
    resolve();
    for (const task of tasks) MSG_B.send(task)();
  })();
  assertEquals(await Tasklet.joinAll(tasks), [[], []]);
  await resolver.join();
  assertEquals(Tasklet.current(), undefined);
});

Deno.test("Tasklet.current() is right across socket reads", async () => {
  using listener = Deno.listen({ hostname: "localhost", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const server = Tasklet.new(async () => {
    using conn = await Tasklet.wait(listener.accept());
    await Tasklet.wait(conn.write(new Uint8Array(1)));
    return Tasklet.current()?.name;
  }, { name: "server" })();
  const client = Tasklet.new(async () => {
    using conn = await Deno.connect({ hostname: "localhost", port });
    await conn.read(new Uint8Array(1));
    return Tasklet.current()?.name;
  }, { name: "client" })();
  assertEquals(await Tasklet.joinAll([server, client]), ["server", "client"]);
});

// id, name, parent, children, status, alive

Deno.test("Tasklet status, parent, children and alive tell the truth over the whole life", async () => {
  await using _ = virtualTime();
  const log: unknown[] = [];
  const see = (when: string) =>
    log.push([when, task.status, task.alive, task.children.map(({ name }) => name)]);
  const { promise, resolve } = Promise.withResolvers<void>();
  const task = Tasklet.new(async () => {
    see("body");
    Tasklet.new(() => Tasklet.sleep(10), { name: "one" })();
    Tasklet.new(() => Tasklet.sleep(20), { name: "two" })();
    await promise;
    await Tasklet.sleep(5);
  })();
  see("created");
  await Tasklet.yield();
  see("awaits a plain promise");
  resolve();
  await Tasklet.sleep(1);
  see("sleeps");
  await Tasklet.sleep(6);
  see("body returned");
  await Tasklet.sleep(5);
  see("first child gone");
  await task.join();
  see("finished");
  assertEquals(log, [
    ["created", "ready", true, []],
    ["body", "running", true, []],
    ["awaits a plain promise", "running", true, ["one", "two"]],
    ["sleeps", "waiting", true, ["one", "two"]],
    ["body returned", "waiting", true, ["one", "two"]],
    ["first child gone", "waiting", true, ["two"]],
    ["finished", "done", false, []],
  ]);
});

Deno.test("Tasklet status is stopping while a killed or failed one cleans up, then killed or failed", async () => {
  await using _ = virtualTime();
  const log: string[][] = [];
  async function body(fails: boolean) {
    Tasklet.new(async () => {
      try {
        await Tasklet.sleep(1000);
      } finally {
        await Tasklet.sleep(20);
      }
    })();
    await Tasklet.sleep(10);
    if (fails) throw new Error("failed");
    await Tasklet.sleep(1000);
  }
  const failing = Tasklet.new(body)(true);
  const killed = Tasklet.new(body)(false);
  const ends = Tasklet.joinAll([failing, killed]);
  await Tasklet.sleep(15);
  void killed.kill();
  log.push([failing.status, killed.status]);
  await ends;
  log.push([failing.status, killed.status]);
  assertEquals(log, [["stopping", "stopping"], ["failed", "killed"]]);
});

Deno.test("Tasklet.parent is the creator; a daemon and one created outside of any have none", async () => {
  const outer = Tasklet.new(async () => {
    const self = Tasklet.current()!;
    const child = Tasklet.new(() => Tasklet.yield())();
    const daemon = Tasklet.new(() => Tasklet.yield(), { daemon: true })();
    assertStrictEquals(child.parent, self);
    assertStrictEquals(daemon.parent, undefined);
    assertStrictEquals(self.parent, undefined);
    assert(self.children.length === 1 && self.children[0] === child as AnyTasklet);
    await Tasklet.joinAll([child, daemon]);
    return self;
  })();
  assertStrictEquals(await outer.join(), outer);
});

Deno.test("Tasklet.tree() yields tasklet and level, itself first, preorder", async () => {
  await using _ = virtualTime();
  const park = () => Tasklet.sleep(10);
  const node = (name: string, ...children: (() => AnyTasklet)[]) => () =>
    Tasklet.new(() => {
      for (const child of children) child();
      return park();
    }, { name })();
  const root = node(
    "root",
    node("a", node("a1"), node("a2", node("a2x"))),
    node("b"),
    node("c", node("c1")),
  )();
  await Tasklet.sleep(5);
  const seen = [...root.tree()].map(([task, level]) => `${level} ${task.name}`);
  assertEquals(seen, ["0 root", "1 a", "2 a1", "2 a2", "3 a2x", "1 b", "1 c", "2 c1"]);
  await root.join();
  assertEquals([...root.tree()].map(([task, level]) => `${level} ${task.name}`), ["0 root"]);
});

Deno.test("Tasklet is not thenable: await gives the tasklet", async () => {
  const task = Tasklet.new(() => Tasklet.yield())();
  assertStrictEquals(await task, task);
  assertEquals(task.alive, true);
  await task.join();
});

Deno.test("Tasklet[Symbol.asyncDispose]() kills and waits for the cleanup", async () => {
  await using _ = virtualTime();
  const log: string[] = [];
  {
    await using task = Tasklet.new(async () => {
      try {
        await Tasklet.sleep(1000);
      } finally {
        await Tasklet.sleep(10);
        log.push("cleanup");
      }
    })();
    await Tasklet.yield();
    log.push(task.status);
  }
  log.push("after");
  assertEquals(log, ["waiting", "cleanup", "after"]);
});

// Finishing

Deno.test("A tasklet whose body has returned refuses messages, waits for its children, then is done", async () => {
  await using time = virtualTime();
  const task = Tasklet.new(() => {
    Tasklet.new(() => Tasklet.sleep(100))();
    return "result";
  })();
  assertEquals(MSG_A.send(task)(1), true);
  await Tasklet.sleep(1);
  const error = await assertRejects(() => MSG_ASK.call(task)(), CallError);
  assertEquals([MSG_A.send(task)(2), error.reason, task.status, time.now], [false, "finished", "waiting", 1]);
  assertEquals([await task.join(), time.now, task.status], ["result", 100, "done"]);
});

Deno.test("A tasklet whose body has returned answers no more: calls that wait for it end with finished", async () => {
  await using time = virtualTime();
  const task = Tasklet.new(async () => {
    Tasklet.new(() => Tasklet.sleep(100))();
    await Tasklet.sleep(10);
  })();
  const error = await assertRejects(() => MSG_ASK.call(task)(), CallError);
  assertEquals([error.reason, error.cause, time.now, task.status], ["finished", undefined, 10, "waiting"]);
  await task.join();
});

Deno.test("A tasklet's body need not be async", async () => {
  assertEquals(await Tasklet.new((n: number) => n + 1)(1).join(), 2);
});

Deno.test("A tasklet whose body threw kills its children, then has failed", async () => {
  await using time = virtualTime();
  const log: unknown[] = [];
  const task = Tasklet.new(async () => {
    for (const name of ["one", "two"]) {
      Tasklet.new(async () => {
        try {
          await Tasklet.sleep(1000);
          // deno-lint-ignore concurrence/rethrow-exit -- this one takes its time
        } catch (error) {
          log.push([name, error instanceof TaskletExit, time.now]);
          await Tasklet.sleep(10);
        }
      })();
    }
    await Tasklet.sleep(20);
    throw new Error("no luck");
  })();
  const error = await assertRejects(() => task.join(), JoinError);
  log.push([(error.cause as Error).message, task.status, time.now]);
  assertEquals(log, [["two", true, 20], ["one", true, 20], ["no luck", "failed", 30]]);
});

Deno.test("A tasklet fails with whatever was thrown, also undefined", async () => {
  using reports = catchReports();
  const task = Tasklet.new(() => Promise.reject(undefined))();
  const error = await assertRejects(() => task.join(), JoinError);
  assertEquals([error.cause, error.abandoned, error.tasklet === task, task.status], [
    undefined,
    false,
    true,
    "failed",
  ]);
  await reports.settled();
  assertEquals(reports.texts, []);
});

Deno.test("A failed child leaves its parent alone", async () => {
  using reports = catchReports();
  const task = Tasklet.new(async () => {
    Tasklet.new(() => Promise.reject(new Error("mine alone")))();
    await Tasklet.yield();
    return "lives on";
  })();
  assertEquals(await task.join(), "lives on");
  await reports.settled();
  assertEquals(reports.texts.length, 1);
});

Deno.test("A daemon is waited for by nobody", async () => {
  await using time = virtualTime();
  let daemon: Tasklet<void> | undefined;
  const task = Tasklet.new(() => {
    daemon = Tasklet.new(() => Tasklet.sleep(1000), { daemon: true })();
  })();
  await task.join();
  assertEquals([daemon!.alive, time.now], [true, 0]);
  await daemon!.kill();
});

Deno.test("A tasklet that code of a finished one creates belongs to the next one up", async () => {
  await using _ = virtualTime();
  let late: AnyTasklet | undefined;
  const root = Tasklet.new(async () => {
    Tasklet.new(() => {
      setImmediate(() => late = Tasklet.new(() => Tasklet.sleep(10))());
    })();
    while (late === undefined) await Tasklet.yield();
  })();
  while (late === undefined) await Tasklet.yield();
  assert(late!.parent === root as AnyTasklet);
  await root.join();
  assertEquals(late!.alive, false);
});

// Reporting

Deno.test("An error nobody asks for is reported once, with name, id and the chain of causes", async () => {
  using reports = catchReports();
  const task = Tasklet.new(function worker() {
    throw new Error("outer", { cause: new TypeError("inner", { cause: new RangeError("innermost") }) });
  })();
  await reports.settled();
  assertEquals(reports.texts.length, 1);
  for (const part of [`worker#${task.id}`, "Error: outer", "TypeError: inner", "RangeError: innermost"]) {
    assert(reports.texts[0]!.includes(part), `${part} is missing in: ${reports.texts[0]}`);
  }
});

Deno.test("An error is not reported when joined, before, at or after the end in the same turn", async () => {
  using reports = catchReports();
  const fail = () => Promise.reject(new Error("asked for"));
  const before = Tasklet.new(fail)();
  await assertRejects(() => before.join(), JoinError);
  const after = Tasklet.new(fail)();
  for (let i = 0; i < 10; i++) await null;
  assertEquals(after.status, "failed");
  await assertRejects(() => after.join(), JoinError);
  await Tasklet.joinAll([Tasklet.new(fail)(), Tasklet.new(fail)()]);
  await reports.settled();
  assertEquals(reports.texts, []);
});

Deno.test("An error is not reported when monitored or in a scope", async () => {
  using reports = catchReports();
  const fail = () => Promise.reject(new Error("asked for"));
  await Tasklet.new(async () => {
    const task = Tasklet.new(fail)();
    Tasklet.monitor(task);
    await Tasklet.receiveOne();
    const late = Tasklet.new(fail)();
    for (let i = 0; i < 10; i++) await null;
    Tasklet.monitor(late);
    await assertRejects(() => Tasklet.scope(() => void Tasklet.new(fail)()));
    await assertRejects(() => Tasklet.scope(fail));
  })().join();
  await reports.settled();
  assertEquals(reports.texts, []);
});

Deno.test("An error is reported although somebody once asked, and asks no more", async () => {
  await using _ = virtualTime();
  using reports = catchReports();
  const task = Tasklet.new(async () => {
    await Tasklet.sleep(100);
    throw new Error("late");
  })();
  await assertRejects(() => task.join({ timeout: 10 }));
  await Tasklet.new(() => Tasklet.monitor(task)[Symbol.dispose]())().join();
  await Tasklet.sleep(100);
  await reports.settled();
  assertEquals([task.status, reports.texts.length], ["failed", 1]);
});

Deno.test("An error of a cleanup is reported, though kill() waited", async () => {
  await using _ = virtualTime();
  using reports = catchReports();
  const task = Tasklet.new(async () => {
    try {
      await Tasklet.sleep(100);
    } finally {
      // deno-lint-ignore no-unsafe-finally
      throw new Error("cannot flush");
    }
  })();
  await Tasklet.yield();
  await task.kill();
  await reports.settled();
  assertEquals([task.status, reports.texts.length], ["failed", 1]);
});

Deno.test("A kill is no error, and is not reported", async () => {
  await using _ = virtualTime();
  using reports = catchReports();
  const task = Tasklet.new(() => Tasklet.sleep(100))();
  await Tasklet.yield();
  await task.kill();
  await Tasklet.new(() => Tasklet.sleep(100))().kill();
  await reports.settled();
  assertEquals(reports.texts, []);
});

// Floating rejections

Deno.test("A promise rejection nobody awaits fails its tasklet, which cleans up", async () => {
  await using _ = virtualTime();
  const log: unknown[] = [];
  const task = Tasklet.new(async () => {
    void Promise.reject(new Error("floating"));
    try {
      await Tasklet.sleep(1000);
    } catch (error) {
      log.push(error instanceof TaskletExit);
      throw error;
    }
  })();
  const error = await assertRejects(() => task.join(), JoinError);
  assertEquals([log, (error.cause as Error).message, task.status], [[true], "floating", "failed"]);
});

Deno.test("A promise rejection nobody awaits in a tasklet that has finished is reported, and harms nobody", async () => {
  using reports = catchReports();
  const task = Tasklet.new(() => {
    setImmediate(() => void Promise.reject(new Error("left behind")));
  }, { name: "leaver" })();
  await task.join();
  await reports.settled();
  assertEquals([task.status, reports.texts.length], ["done", 1]);
  assert(reports.texts[0]!.includes(`leaver#${task.id}`) && reports.texts[0]!.includes("left behind"));
});

// In a program of its own, because an error that is not adopted would end this one. For a kill see tasklet_kill_test.
Deno.test("A wait nobody awaits any more is no error of a tasklet whose body has returned", async () => {
  const { code, lines, stderr } = await runSource(`
    const task = Tasklet.new(() => void Tasklet.sleep(1000))();
    await task.join();
    await Tasklet.yield();
    console.log(task.status);
  `);
  assertEquals([code, lines, stderr], [0, ["done"], ""]);
});

// In a program of its own, because the rejection, were it not adopted, would end this one.
Deno.test("A promise rejection fails its tasklet also when the first Tasklet.new() of the process threw", async () => {
  const { code, lines } = await runSource(`
    try { Tasklet.new(() => {}, { mailbox: { capacity: 0 } })(); } catch { console.log("refused"); }
    const task = Tasklet.new(async () => {
      void Promise.reject(new Error("floating"));
      await Tasklet.sleep(1000);
    })();
    task.join().catch((error) => console.log(error.cause.message));
  `);
  assertEquals([code, lines], [0, ["refused", "floating"]]);
});

Deno.test("A tasklet shows itself in a few words, also in an error that carries it", async () => {
  const task = Tasklet.new(() => Promise.reject(new Error("boom")), { name: "bad" })();
  const error = await assertRejects(() => task.join(), JoinError);
  const shown = `Tasklet bad#${task.id} (failed)`;
  assertEquals([Deno.inspect(task), Deno.inspect(error).includes(`tasklet: ${shown}`)], [shown, true]);
});
