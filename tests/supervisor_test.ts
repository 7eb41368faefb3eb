import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { Message } from "../message.ts";
import { type ChildSpec, type Strategy, Supervisor, SupervisorError } from "../supervisor.ts";
import { JoinError, type Self, Tasklet, TaskletExit } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { catchReports } from "./reports.ts";

class MSG_N extends Message("MSG_N")<[n: number]> {}
class MSG_BOOM extends Message("MSG_BOOM") {}
class MSG_END extends Message("MSG_END") {}
class MSG_SUM extends Message("MSG_SUM")<number[], number> {}

type Work = MSG_N | MSG_BOOM | MSG_END | MSG_SUM;

const AT_ONCE = { backoff: { first: 0 } };

/** A body that logs what it does as `name`, and fails, ends or answers when told so. */
function worker(log: string[], name: string) {
  return async function body(this: Self<Work>): Promise<void> {
    log.push(`${name} starts`);
    try {
      for await (const msg of this.receive()) {
        if (msg.match(MSG_N)) log.push(`${name} got ${msg.args[0]}`);
        else if (msg.match(MSG_BOOM)) throw new Error(`${name} is broken`);
        else if (msg.match(MSG_END)) return;
        else if (msg.match(MSG_SUM)) msg.reply(msg.args.reduce((a, b) => a + b));
        else msg satisfies never;
      }
    } finally {
      log.push(`${name} stops`);
    }
  };
}

/** Runs `body` as a tasklet in virtual time, with reports caught; gives what was reported. */
async function run(body: (log: string[]) => Promise<void>): Promise<{ log: string[]; reports: string[] }> {
  await using _time = virtualTime();
  using reports = catchReports();
  const log: string[] = [];
  await Tasklet.new(() => body(log), { name: "test" })().join();
  await reports.settled();
  return { log, reports: reports.texts.map((text) => text.replaceAll(/#\d+/g, "#N")) };
}

// Restart

Deno.test("Restart: a child that fails is started again after a pause, which is one line on stderr", async () => {
  const { log, reports } = await run(async (log) => {
    await using supervisor = new Supervisor({ backoff: { jitter: 0 } });
    const child = supervisor.start({ name: "worker", body: worker(log, "worker") });
    MSG_BOOM.send(child)();
    await Tasklet.sleep(99);
    log.push(child.status);
    await Tasklet.sleep(2);
    log.push(`${child.status} ${child.restarts}`);
  });
  assertEquals(log, [
    "worker starts",
    "worker stops",
    "restarting",
    "worker starts",
    "running 1",
    "worker stops",
  ]);
  assertEquals(reports, ["supervisor#N restarts worker in 100 ms: worker failed: Error: worker is broken"]);
});

Deno.test("Restart: the text of an error cannot forge a line", async () => {
  const { reports } = await run(async () => {
    await using supervisor = new Supervisor({ backoff: { jitter: 0 } });
    let hasFailed = false;
    supervisor.start({
      name: "w",
      body: () => {
        if (hasFailed) return Tasklet.sleep(1e9);
        hasFailed = true;
        throw new Error("one\ntwo\x1b[2J");
      },
    });
    await Tasklet.sleep(1000);
  });
  assertEquals(reports, ["supervisor#N restarts w in 100 ms: w failed: Error: onetwo[2J"]);
});

for (
  const [restart, ends] of [
    ["permanent", ["returns: running", "fails: running", "is killed: running"]],
    ["transient", ["returns: ended", "fails: running", "is killed: running"]],
    ["temporary", ["returns: ended", "fails: ended", "is killed: ended"]],
  ] as const
) {
  Deno.test(`Restart: a ${restart} child that ${ends.join(", that ")}`, async () => {
    const { log } = await run(async (log) => {
      await using supervisor = new Supervisor();
      const spec = (name: string): ChildSpec<[], Promise<void>, Work> => ({
        name,
        body: worker([], name),
        restart,
      });
      const children = ["returns", "fails", "is killed"].map((name) => supervisor.start(spec(name)));
      MSG_END.send(children[0]!)();
      MSG_BOOM.send(children[1]!)();
      await Tasklet.yield();
      await children[2]!.task!.kill();
      await Tasklet.sleep(1000);
      for (const child of children) log.push(`${child.name}: ${child.status}`);
    });
    assertEquals(log, [...ends]);
  });
}

Deno.test("Restart: the body is called with the same arguments, and the tasklet has the child's name", async () => {
  const { log } = await run(async (log) => {
    await using supervisor = new Supervisor();
    function body(text: string, n: number): void {
      log.push(`${Tasklet.current()!.name} ${text} ${n}`);
      if (log.length < 3) throw new Error("Not yet");
    }
    supervisor.start({ name: "third", body, args: ["time", 3], restart: "transient" });
    await Tasklet.sleep(10_000);
  });
  assertEquals(log, ["third time 3", "third time 3", "third time 3"]);
});

Deno.test("Restart: an error that ends a temporary child is reported as that of any tasklet", async () => {
  const { reports } = await run(async () => {
    await using supervisor = new Supervisor();
    supervisor.start({ name: "once", body: () => Promise.reject(new Error("Gone")), restart: "temporary" });
    await Tasklet.sleep(1);
  });
  assertEquals(reports.length, 1);
  assert(reports[0]!.startsWith("once#N failed: Error: Gone"), reports[0]);
});

// Strategies

const STRATEGIES: [Strategy, string[]][] = [
  ["one-for-one", ["b starts"]],
  ["rest-for-one", ["d stops", "c stops", "b starts", "d starts"]],
  ["one-for-all", ["d stops", "c stops", "a stops", "a starts", "b starts", "d starts"]],
];

for (const [strategy, rest] of STRATEGIES) {
  Deno.test(`Strategy "${strategy}": b fails among a, b, c (temporary), d`, async () => {
    const { log, reports } = await run(async (log) => {
      await using supervisor = new Supervisor({ strategy, backoff: { jitter: 0 } });
      for (const name of ["a", "b", "c", "d"]) {
        const restart = name === "c" ? "temporary" : "permanent";
        supervisor.start({ name, body: worker(log, name), restart });
      }
      await Tasklet.yield();
      log.length = 0;
      MSG_BOOM.send(supervisor.child("b")! as never)();
      await Tasklet.sleep(1000);
      log.push("end");
    });
    assertEquals(log.slice(0, log.indexOf("end")), ["b stops", ...rest]);
    assertEquals(reports.length, 1);
  });
}

Deno.test('Strategy "rest-for-one": one that fails while later ones wait for their restart takes them along', async () => {
  const { log } = await run(async (log) => {
    await using supervisor = new Supervisor({ strategy: "rest-for-one", backoff: { jitter: 0 } });
    const [a, b] = ["a", "b"].map((name) => supervisor.start({ name, body: worker(log, name) }));
    MSG_BOOM.send(b!)();
    await Tasklet.sleep(50);
    MSG_BOOM.send(a!)();
    await Tasklet.sleep(99);
    log.push("not yet");
    await Tasklet.sleep(1000);
    log.push("end");
  });
  assertEquals(log.slice(0, log.indexOf("end")), [
    "a starts",
    "b starts",
    "b stops",
    "a stops",
    "not yet",
    "a starts",
    "b starts",
  ]);
});

// Back-off

Deno.test("Back-off: pauses grow by the factor up to the most, and start anew when the child has lived for long", async () => {
  const { log, reports } = await run(async (log) => {
    await using supervisor = new Supervisor({
      intensity: { restarts: 100, within: 5000 },
      backoff: { first: 100, factor: 3, max: 1000, jitter: 0 },
    });
    const lives = [0, 0, 0, 0, 6000, 0];
    async function body(): Promise<void> {
      await Tasklet.sleep(lives.shift() ?? Infinity);
      throw new Error("Again");
    }
    supervisor.start({ name: "w", body });
    await Tasklet.sleep(60_000);
    log.push(`${supervisor.child("w")!.restarts}`);
  });
  assertEquals(reports.map((text) => Number(/in (\d+) ms/.exec(text)![1])), [100, 300, 900, 1000, 100, 300]);
  assertEquals(log, ["6"]);
});

Deno.test("Back-off: jitter makes pauses shorter or longer by its part at most, and not all alike", async () => {
  const { reports } = await run(async () => {
    await using supervisor = new Supervisor({
      intensity: { restarts: 1000 },
      backoff: { first: 1000, factor: 1, jitter: 0.2 },
    });
    for (let n = 0; n < 50; n++) {
      let starts = 0;
      const body = () => starts++ === 0 ? Promise.reject(new Error("First")) : Tasklet.sleep(Infinity);
      supervisor.start({ name: `w${n}`, body });
    }
    await Tasklet.sleep(2000);
  });
  const pauses = reports.map((text) => Number(/in (\d+) ms/.exec(text)![1]));
  assertEquals(pauses.length, 50);
  assert(pauses.every((ms) => ms >= 800 && ms <= 1200), `${pauses}`);
  assert(new Set(pauses).size > 10, `${pauses}`);
});

// Names

Deno.test("Names: what a failed child had not taken, and what comes meanwhile, waits for the next one in order", async () => {
  const { log } = await run(async (log) => {
    await using supervisor = new Supervisor();
    const child = supervisor.start({ name: "w", body: worker(log, "w") });
    const first = child.task! as Tasklet<unknown, MSG_N>;
    MSG_N.send(child)(1);
    MSG_BOOM.send(child)();
    MSG_N.send(child)(2);
    MSG_N.send(first)(3);
    await Tasklet.sleep(10);
    log.push(`accepted: ${MSG_N.send(child)(4)} ${MSG_N.send(first)(5)}`);
    await Tasklet.sleep(500);
    log.push(`${MSG_N.send(child)(6)} ${MSG_N.send(first)(7)}`);
    await Tasklet.yield();
    log.push("end");
  });
  assertEquals(log.slice(0, log.indexOf("end")), [
    "w starts",
    "w got 1",
    "w stops",
    "accepted: true false", // the name receives, the tasklet that has ended does not
    "w starts",
    "w got 2",
    "w got 3",
    "w got 4",
    "true false",
    "w got 6",
  ]);
});

Deno.test("Names: calls survive a restart, but the one the child failed on ends with finished", async () => {
  const { log } = await run(async (log) => {
    await using supervisor = new Supervisor();
    class MSG_FAIL extends Message("MSG_FAIL")<[], number> {}
    async function body(this: Self<MSG_FAIL | MSG_SUM>): Promise<void> {
      for await (const msg of this.receive()) {
        if (msg.match(MSG_SUM)) msg.reply(msg.args.reduce((a, b) => a + b));
        else throw new Error("Cannot");
      }
    }
    const child = supervisor.start({ name: "w", body });
    const failing = MSG_FAIL.call(child)().catch((error) => error);
    const queued = MSG_SUM.call(child)(1, 2);
    const error = await failing;
    const waiting = MSG_SUM.call(child)(3, 4);
    log.push(`${error.reason}, because of ${error.cause.message}`, `${await queued}`, `${await waiting}`);
  });
  assertEquals(log, ["finished, because of Cannot", "3", "7"]);
});

Deno.test("Names: what waits for a restart is bounded by backlog, also calls", async () => {
  const { log } = await run(async (log) => {
    await using supervisor = new Supervisor();
    const child = supervisor.start({ name: "w", body: worker(log, "w"), backlog: 2 });
    MSG_BOOM.send(child)();
    await Tasklet.sleep(1);
    log.push([1, 2, 3].map((n) => MSG_N.send(child)(n)).join());
    log.push(await MSG_SUM.call(child)(1).catch((error) => error.reason));
    await Tasklet.sleep(200);
    log.push(`${MSG_N.send(child)(4)}`);
    await Tasklet.yield();
  });
  assertEquals(log.slice(0, -1), [
    "w starts",
    "w stops",
    "true,true,false",
    "refused",
    "w starts",
    "w got 1",
    "w got 2",
    "true",
    "w got 4",
  ]);
});

Deno.test("Names: a call that waits for a restart obeys its timeout, and leaves nothing behind", async () => {
  const { log } = await run(async (log) => {
    await using supervisor = new Supervisor({ backoff: { first: 10_000 } });
    const child = supervisor.start({ name: "w", body: worker(log, "w") });
    MSG_BOOM.send(child)();
    await Tasklet.sleep(1);
    log.push(await MSG_SUM.call(child, { timeout: 10 })(1).catch((error) => error.message));
  });
  assert(log.at(-1)!.startsWith("Timed out after 10 ms: waiting for the reply of"), log.at(-1));
});

Deno.test("Names: when the child has ended for good, its calls end and its name is free", async () => {
  const { log } = await run(async (log) => {
    await using supervisor = new Supervisor();
    const spec: ChildSpec<[], Promise<void>, Work> = {
      name: "w",
      body: worker(log, "w"),
      restart: "transient",
    };
    const child = supervisor.start(spec);
    assertThrows(() => supervisor.start(spec), Error, "Cannot start w: the name is taken in supervisor#");
    const call = MSG_SUM.call(child)(1);
    MSG_END.send(child)();
    const queued = MSG_SUM.call(child)(1).catch((error) => error.reason);
    log.push(`${await call} ${await queued} ${child.status} ${MSG_N.send(child)(1)}`);
    log.push(await MSG_SUM.call(child)(1).catch((error) => error.reason));
    supervisor.start(spec);
    await Tasklet.yield();
    log.push(`${supervisor.children.length} ${supervisor.child("w")!.status}`);
  });
  assertEquals(log.slice(1, -1), ["w stops", "1 finished ended false", "finished", "w starts", "1 running"]);
});

// Giving up

Deno.test("Giving up: one restart more than allowed, and the supervisor stops its children and fails with all causes", async () => {
  const { log, reports } = await run(async (log) => {
    const supervisor = new Supervisor({ intensity: { restarts: 2, within: 1000 }, ...AT_ONCE });
    supervisor.start({ name: "good", body: worker(log, "good") });
    let n = 0;
    supervisor.start({ name: "bad", body: () => Promise.reject(new Error(`Failure ${++n}`)) });
    const error = await assertRejects(() => supervisor.join(), JoinError);
    assert(error.cause instanceof SupervisorError);
    log.push(error.cause.message, ...error.cause.errors.map((each) => each.message));
    assertThrows(() => supervisor.start({ name: "late", body: () => {} }), Error, "has ended");
  });
  assertEquals(log, [
    "good starts",
    "good stops",
    "Cannot restart bad: more than 2 restarts in 1000 ms",
    "Failure 1",
    "Failure 2",
    "Failure 3",
  ]);
  assertEquals(reports.length, 2);
});

Deno.test("Giving up: restarts that lie back longer than within do not count", async () => {
  const { log } = await run(async (log) => {
    await using supervisor = new Supervisor({ intensity: { restarts: 1, within: 1000 }, ...AT_ONCE });
    let n = 0;
    async function body(): Promise<void> {
      await Tasklet.sleep(1001);
      if (++n < 10) throw new Error("Again");
      await Tasklet.sleep(Infinity);
    }
    supervisor.start({ name: "w", body });
    await Tasklet.sleep(60_000);
    log.push(supervisor.task.status, `${supervisor.child("w")!.restarts}`);
  });
  assertEquals(log, ["waiting", "9"]);
});

Deno.test("Giving up: a supervisor inside of a supervised child takes the failure upwards", async () => {
  const { log } = await run(async (log) => {
    await using outer = new Supervisor({ name: "outer", backoff: { jitter: 0 } });
    async function branch(): Promise<void> {
      const inner = new Supervisor({ name: "inner", intensity: { restarts: 0 } });
      inner.start({ name: "leaf", body: worker(log, "leaf") });
      Tasklet.register(`branch ${log.length}`, inner.task);
      await inner.join();
    }
    outer.start({ name: "branch", body: branch });
    await Tasklet.sleep(1);
    const leaf = [...outer.task.tree()].find(([task]) => task.name === "leaf")![0];
    MSG_BOOM.send(leaf)();
    await Tasklet.sleep(200);
    log.push(`${outer.child("branch")!.restarts}`);
  });
  assertEquals(log.slice(0, 4), ["leaf starts", "leaf stops", "leaf starts", "1"]);
});

// Stopping

Deno.test("Stopping: children are stopped one after the other, the one started last first, each in its own grace", async () => {
  const { log, reports } = await run(async (log) => {
    const supervisor = new Supervisor();
    function body(name: string, cleanup: number) {
      return async () => {
        try {
          await Tasklet.sleep(Infinity);
        } finally {
          log.push(`${name} begins to stop`);
          await Tasklet.sleep(cleanup).finally(() => log.push(`${name} has stopped`));
        }
      };
    }
    supervisor.start({ name: "a", body: body("a", 100) });
    supervisor.start({ name: "b", body: body("b", 10_000), grace: 50 });
    supervisor.start({ name: "c", body: body("c", 8000), grace: 9000 });
    await Tasklet.sleep(1);
    await supervisor.stop();
    log.push(supervisor.task.status);
  });
  assertEquals(log, [
    "c begins to stop",
    "c has stopped",
    "b begins to stop",
    "b has stopped",
    "a begins to stop",
    "a has stopped",
    "killed",
  ]);
  assertEquals(reports, ["b#N was abandoned: its cleanup has not ended within 50 ms"]);
});

Deno.test("Stopping: the kill of its parent stops the children in the same order, also after restarts", async () => {
  const { log } = await run(async (log) => {
    const parent = Tasklet.new(async () => {
      const supervisor = new Supervisor(AT_ONCE);
      const children = ["a", "b", "c"].map((name) => supervisor.start({ name, body: worker(log, name) }));
      await Tasklet.yield();
      MSG_BOOM.send(children[0]!)();
      await Tasklet.sleep(Infinity);
    })();
    await Tasklet.sleep(1);
    log.length = 0;
    await parent.kill();
  });
  assertEquals(log, ["c stops", "b stops", "a stops"]);
});

Deno.test("Stopping: a child that waits for its restart is not started any more, and its calls end", async () => {
  const { log } = await run(async (log) => {
    const supervisor = new Supervisor();
    const child = supervisor.start({ name: "w", body: worker(log, "w") });
    MSG_BOOM.send(child)();
    await Tasklet.sleep(1);
    const call = MSG_SUM.call(child)(1).catch((error) => error.reason);
    await supervisor.stop();
    log.push(await call, child.status);
    await Tasklet.sleep(1000);
  });
  assertEquals(log, ["w starts", "w stops", "finished", "ended"]);
});

Deno.test("Child.stop() ends one child for good, waits for its cleanup, and is harmless twice", async () => {
  const { log } = await run(async (log) => {
    await using supervisor = new Supervisor();
    const body = async () => {
      try {
        await Tasklet.sleep(Infinity);
      } finally {
        await Tasklet.sleep(100);
        log.push("cleaned up");
      }
    };
    const child = supervisor.start({ name: "w", body });
    await Tasklet.sleep(1);
    await Promise.all([child.stop().then(() => log.push("one")), child.stop().then(() => log.push("two"))]);
    await Tasklet.sleep(1000);
    log.push(child.status, `${supervisor.children.length}`);
  });
  assertEquals(log, ["cleaned up", "one", "two", "ended", "0"]);
});

Deno.test("Stopping: a supervisor that is killed before it has begun starts nothing", async () => {
  const { log } = await run(async (log) => {
    const supervisor = new Supervisor();
    const child = supervisor.start({ name: "w", body: worker(log, "w") });
    await supervisor.stop();
    log.push(child.status, `${MSG_N.send(child)(1)}`);
  });
  assertEquals(log, ["ended", "false"]);
});

Deno.test("Stopping: one whose grace ends is abandoned with its children, and nobody waits for them for ever", async () => {
  const { log, reports } = await run(async (log) => {
    const supervisor = new Supervisor();
    const never = new Promise<void>(() => {});
    const child = supervisor.start({ name: "stuck", body: () => never, grace: 1e6 });
    await Tasklet.sleep(1);
    const call = MSG_SUM.call(child)(1).catch((error) => error.reason);
    await supervisor.stop({ grace: 100 });
    log.push(await call);
  });
  assertEquals(log, ["finished"]);
  assert(reports.some((text) => text.startsWith("stuck#N was abandoned")), reports.join("\n"));
});

Deno.test("Supervisor.stop() by an exit that is given: joiners find it", async () => {
  const exit = new TaskletExit("no longer wanted");
  const supervisor = new Supervisor();
  await supervisor.stop({ exit });
  assertStrictEquals((await assertRejects(() => supervisor.join(), JoinError)).cause, exit);
});

// Options and types

Deno.test("new Supervisor() and start() refuse options that make no sense", () => {
  const make = (options: object) => () => new Supervisor(options);
  assertThrows(make({ strategy: "some-for-none" }), RangeError, 'unknown "strategy" some-for-none');
  assertThrows(
    make({ intensity: { restarts: -1 } }),
    RangeError,
    '"restarts" must be a number, 0 or more, got -1',
  );
  assertThrows(
    make({ backoff: { factor: NaN } }),
    RangeError,
    '"factor" must be a number, 0 or more, got NaN',
  );
});

Deno.test("Supervisor.start() types: arguments, messages", async () => {
  await using _time = virtualTime();
  await Tasklet.new(async () => {
    await using supervisor = new Supervisor();
    async function body(this: Self<MSG_N>, _text: string): Promise<void> {
      for await (const _ of this.receive());
    }
    const child = supervisor.start({ name: "a", body, args: ["text"] });
    MSG_N.send(child)(1);
    // @ts-expect-error: it does not accept MSG_BOOM
    MSG_BOOM.send(child)();
    // @ts-expect-error: an argument is missing
    supervisor.start({ name: "b", body });
    // @ts-expect-error: the argument is no string
    supervisor.start({ name: "c", body, args: [1] });
  })().join();
});

// Together

Deno.test("A chat whose room crashes every 50 ms for a minute loses no client, and no line but those it crashed on", async () => {
  class MSG_JOIN extends Message("MSG_JOIN")<[client: Tasklet<unknown, MSG_LINE>]> {}
  class MSG_SAY extends Message("MSG_SAY")<[line: string]> {}
  class MSG_LINE extends Message("MSG_LINE")<[line: string]> {}

  const { log, reports } = await run(async (log) => {
    const members = new Set<Tasklet<unknown, MSG_LINE>>(); // what the room knows survives it
    async function room(this: Self<MSG_JOIN | MSG_SAY | MSG_BOOM>): Promise<void> {
      for await (const msg of this.receive()) {
        if (msg.match(MSG_JOIN)) members.add(msg.args[0]);
        else if (msg.match(MSG_SAY)) MSG_LINE.send(members)(msg.args[0]);
        else throw new Error("The room crashes");
      }
    }
    await using supervisor = new Supervisor({
      intensity: { restarts: Infinity },
      backoff: { first: 10, factor: 1 },
    });
    const child = supervisor.start({ name: "room", body: room });
    const received: string[][] = [];
    async function client(this: Self<MSG_LINE>, lines: string[]): Promise<void> {
      MSG_JOIN.send(child)(this);
      for await (const msg of this.receive()) lines.push(msg.args[0]);
    }
    const clients = [0, 1, 2, 3].map(() => Tasklet.new(client)(received[received.push([]) - 1]!));
    await Tasklet.yield(); // all have joined
    const crasher = Tasklet.interval(50, () => MSG_BOOM.send(child)())();
    const said: string[] = [];
    for (let n = 0; n < 60_000 / 7; n++) {
      said.push(`line ${n}`);
      assert(MSG_SAY.send(child)(`line ${n}`), `line ${n} was refused`);
      await Tasklet.sleep(7);
    }
    await crasher.kill();
    await Tasklet.sleep(100);
    for (const lines of received) {
      assert(lines.join() === said.join(), `${lines.length} lines of ${said.length}`);
    }
    log.push(`${clients.filter((each) => each.alive).length} clients`, `${child.restarts}`);
    await Promise.all(clients.map((each) => each.kill()));
  });
  assertEquals(log[0], "4 clients");
  assert(Number(log[1]) > 900, `only ${log[1]} restarts`);
  assertEquals(reports.length, Number(log[1]));
});
