/**
 * What must be the same on Deno, Node and Bun, as programs that print it: `essentials.ts NAME`.
 *
 * Imports what a user would, because it also runs beside an installed package, and nothing that needs Deno.
 *
 * @module
 */
import process from "node:process";
import { Readable } from "node:stream";
import { Pool, TaskLocal } from "@x/concurrence";
import { Channel, select } from "@x/concurrence/channel";
import { CallError, Message } from "@x/concurrence/message";
import { Group } from "@x/concurrence/group";
import { Supervisor } from "@x/concurrence/supervisor";
import { dispatch, JoinError, MSG_DOWN, quit, type Self, Tasklet, TaskletExit } from "@x/concurrence/tasklet";
import { assertQuiet, explore, ExploreError, probe, virtualTime } from "@x/concurrence/testing";
import { Timeout } from "@x/concurrence/timer";

class MSG_ADD extends Message("MSG_ADD")<[amount: number]> {}
class MSG_TOTAL extends Message("MSG_TOTAL")<[], number> {}
class MSG_ASK extends Message("MSG_ASK")<[], string> {}

async function counter(this: Self<MSG_ADD | MSG_TOTAL>): Promise<void> {
  let total = 0;
  for await (const msg of this.receive()) {
    if (msg.match(MSG_ADD)) total += msg.args[0];
    else if (msg.match(MSG_TOTAL)) msg.reply(total);
  }
}

/** What `promise` rejects with, in a word. */
async function failureOf(promise: Promise<unknown>): Promise<string> {
  try {
    return `no failure, but ${await promise}`;
  } catch (error) {
    return error instanceof CallError ? `CallError ${error.reason}` : (error as Error).name;
  }
}

async function messages(): Promise<void> {
  const task = Tasklet.new(counter)();
  const sent = Array.from({ length: 1000 }, () => MSG_ADD.send(task)(1));
  console.log("sent", sent.every(Boolean), await MSG_TOTAL.call(task)());
  await task.kill();
  console.log("after its end", MSG_ADD.send(task)(1), await failureOf(MSG_TOTAL.call(task)()));

  const small = Tasklet.new(() => Tasklet.sleep(60_000), { mailbox: { capacity: 1 } })();
  console.log("bounded", MSG_ADD.send(small)(1), MSG_ADD.send(small)(2));
  console.log("refused", await failureOf(MSG_ASK.call(small)()));
  await small.kill();

  const forgetful = Tasklet.receiver(() => {});
  console.log("forgotten", await failureOf(MSG_ASK.call(forgetful)()));
  await forgetful.kill();

  const selfish = Tasklet.new(() => failureOf(MSG_ASK.call(Tasklet.current()!)()))();
  console.log("deadlock", await selfish.join());
}

async function kill(): Promise<void> {
  await using time = virtualTime();
  const log: unknown[] = [];
  const task = Tasklet.new(async () => {
    const child = Tasklet.new(async () => {
      try {
        await Tasklet.sleep(60_000);
      } finally {
        log.push("child");
      }
    }, { name: "child" })();
    try {
      await child.join();
    } finally {
      await Tasklet.sleep(10); // cleanup may wait
      log.push(["parent", child.status, time.now]);
    }
  }, { name: "parent" })();
  await Tasklet.sleep(5);
  await task.kill();
  console.log(JSON.stringify(log), task.status);
  const error = await task.join().catch((error: JoinError) => error) as JoinError;
  console.log("joined", error instanceof JoinError, error.cause instanceof TaskletExit);
  const aborted = Tasklet.new(async () => await failureOf(fetchLike(Tasklet.current()!.signal)))();
  await Tasklet.yield();
  await aborted.kill();
  console.log("signal", aborted.signal.aborted, (aborted.signal.reason as Error).name);
}

/** Something of the platform's that a signal ends. */
function fetchLike(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
}

async function deadlines(): Promise<void> {
  await using time = virtualTime();
  const task = Tasklet.new(async () => {
    using _ = Timeout.push(20);
    const child = Tasklet.new(() => failureOf(Tasklet.sleep(1000)))();
    console.log("deadline", await failureOf(Tasklet.sleep(1000)), time.now, Timeout.current());
    return child;
  })();
  console.log("inherited", await (await task.join()).join(), time.now);
  const call = MSG_ASK.call(Tasklet.new(() => Tasklet.sleep(100))(), { timeout: 5 });
  console.log("timeout", await failureOf(call()), time.now);
  console.log("any promise", await failureOf(Tasklet.wait(new Promise(() => {}), { timeout: 1 })), time.now);
  await Tasklet.sleep(3_600_000);
  console.log("an hour later", time.now);
}

async function scopes(): Promise<void> {
  const log: unknown[] = [];
  const failed = Tasklet.scope(() => {
    Tasklet.new(async () => {
      try {
        await Tasklet.sleep(60_000);
      } finally {
        log.push("other killed");
      }
    })();
    Tasklet.new(async () => {
      await Tasklet.yield();
      throw new RangeError("no luck");
    })();
  });
  console.log("scope", await failureOf(failed), log.join());
  const tasks = [1, 2, 3].map((n) => Tasklet.new(async () => (await Tasklet.sleep(4 - n), n))());
  console.log("all", await Tasklet.joinAll(tasks).then((results) => results.join()));
  const watcher = Tasklet.new(async () => {
    const child = Tasklet.new(() => Promise.reject(new RangeError("lost")), { name: "lost" })();
    using _ = Tasklet.monitor(child);
    const msg = await Tasklet.receiveOne([MSG_DOWN]);
    return `${msg.args[0].name} ${(msg.args[1] as Error).name}`;
  })();
  console.log("monitor", await watcher.join());
}

async function supervision(): Promise<void> {
  await using time = virtualTime();
  const { error } = console;
  console.error = (text: unknown) => console.log("reported", String(text).includes("worker"));
  let starts = 0;
  await using supervisor = new Supervisor({ backoff: { first: 100, jitter: 0 } });
  const child = supervisor.start({
    name: "worker",
    async body(this: Self<MSG_ASK>) {
      if (++starts < 3) throw new Error("not yet");
      for await (const msg of this.receive()) msg.reply(`start ${starts}`);
    },
  });
  console.log("asked through restarts", await MSG_ASK.call(child)(), child.restarts, time.now);
  console.error = error;
}

async function channels(): Promise<void> {
  await using time = virtualTime();
  const [jobs, results] = [new Channel<number>(2), new Channel<string>()];
  const worker = Tasklet.new(async () => {
    for await (const job of jobs) await results.send(`job ${job}`);
  })();
  const producer = Tasklet.new(async () => {
    using _ = jobs;
    for (let job = 1; job <= 4; job++) await jobs.send(job);
  })();
  for (let n = 1; n <= 4; n++) console.log(await results.receive());
  await Tasklet.joinAll([worker, producer]);
  const [one, two] = [new Channel<number>(), new Channel<number>()];
  const sender = Tasklet.new(async () => (await Tasklet.sleep(5), two.send(2)))();
  console.log("selected", JSON.stringify(await select({ one, two })), time.now);
  await sender.join();
}

async function groups(): Promise<void> {
  const group = new Group<MSG_TOTAL>("counters");
  const tasks = [1, 2, 3].map((n) =>
    Tasklet.receiver((msg: MSG_TOTAL) => msg.reply(n), { name: `counter ${n}` })
  );
  for (const task of tasks) group.join(task);
  await tasks[0]!.kill(); // who has ended is no member
  console.log("group", group.size, await MSG_TOTAL.call(group)());
  await Promise.all(tasks.map((task) => task.kill()));
}

async function pools(): Promise<void> {
  const user = new TaskLocal("nobody");
  let opened = 0;
  await using pool = new Pool({ open: () => ++opened, max: 2 });
  async function visit(name: string): Promise<string> {
    using _ = user.set(name);
    using lease = await pool.acquire();
    await Tasklet.sleep(1);
    return `${user.get()} has ${lease.value}`;
  }
  const visits = ["a", "b"].map((name) => Tasklet.new(visit)(name));
  console.log("pool", (await Tasklet.joinAll(visits)).join(), opened, user.get());
}

async function explorations(): Promise<void> {
  let balance = 0;
  async function pay(amount: number): Promise<void> {
    const before = balance;
    await Tasklet.yield();
    balance = before + amount;
  }
  async function payments(): Promise<void> {
    balance = 0;
    await Tasklet.joinAll([Tasklet.new(pay)(1), Tasklet.new(pay)(2)]);
    if (balance !== 3) throw new RangeError("lost update");
  }
  const found = await explore(payments, { runs: 100, seed: 1 }).catch((error) => error);
  console.log("explored", found instanceof ExploreError, found.seed, (found.cause as Error).message);
  {
    await using ann = probe<MSG_ADD>();
    await using bob = probe<MSG_ADD>();
    MSG_ADD.send([ann, bob])(5);
    console.log("probed", (await ann.expect(MSG_ADD)).args[0], (await bob.expect(MSG_ADD)).args[0]);
  }
  assertQuiet();
}

/** Who is running is right wherever a promise comes from. */
async function contexts(): Promise<void> {
  const names: (string | undefined)[] = [];
  const note = () => void names.push(Tasklet.current()?.name);
  async function named(): Promise<void> {
    note();
    await null;
    note();
    await new Promise((resolve) => setTimeout(resolve, 1));
    note();
    await new Promise<void>((resolve) => setImmediate(() => queueMicrotask(resolve)));
    note();
    for await (const _ of Readable.from(["chunk"])) note();
    await Tasklet.new(() => Tasklet.sleep(1), { name: "other" })().join();
    note();
  }
  await Tasklet.new(named)().join();
  console.log("contexts", names.join(" "), Tasklet.current());
}

/** Tasklets that always have something to do do not keep timers waiting. */
async function fairness(): Promise<void> {
  const ping = Tasklet.receiver((msg: MSG_ADD) => MSG_ADD.send(pong)(msg.args[0]));
  const pong: Tasklet<void, MSG_ADD> = Tasklet.receiver((msg: MSG_ADD) => MSG_ADD.send(ping)(msg.args[0]));
  MSG_ADD.send(ping)(1);
  await new Promise((resolve) => setTimeout(resolve, 20));
  console.log("the timer came");
  await Promise.all([ping.kill(), pong.kill()]);
}

/** What a killed tasklet leaves alone is nobody's error. */
async function exits(): Promise<void> {
  const task = Tasklet.new(async () => {
    const one = Tasklet.sleep(60_000);
    const two = Tasklet.sleep(60_000); // nobody comes to await it
    await one;
    await two;
  })();
  await Tasklet.yield();
  await task.kill();
  await Tasklet.yield();
  console.log("left alone", task.status);
}

async function essentials(): Promise<void> {
  for (
    const each of [
      messages,
      kill,
      deadlines,
      scopes,
      supervision,
      channels,
      groups,
      pools,
      explorations,
      contexts,
      fairness,
      exits,
    ]
  ) {
    console.log(`-- ${each.name}`);
    await each();
  }
}

// ------------------------------------------------------------------------------------------------
// Programs that end in their own ways

async function untilKilled(): Promise<void> {
  try {
    console.log("ready");
    await Tasklet.receiveOne();
  } finally {
    await Tasklet.sleep(1);
    console.log("cleaned up");
  }
}

async function listening(): Promise<void> {
  using _ = keepAlive(); // as a listening socket would
  await untilKilled();
}

async function stubborn(): Promise<void> {
  using _ = keepAlive();
  try {
    console.log("ready");
    await Tasklet.receiveOne();
  } finally {
    console.log("busy");
    await Tasklet.sleep(4000);
    console.log("too late");
  }
}

function keepAlive(): Disposable {
  const timer = setInterval(() => {}, 60_000);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

async function quitting(): Promise<void> {
  try {
    await quit(3);
  } finally {
    console.log("cleaned up");
  }
}

async function withDaemon(): Promise<void> {
  Tasklet.new(untilKilled, { daemon: true })();
  await Tasklet.sleep(1);
}

async function dropping(): Promise<void> {
  const task = Tasklet.new(async () => {
    void Promise.reject(new RangeError("dropped"));
    await Tasklet.sleep(100);
  })();
  const error = await task.join().catch((error: JoinError) => error);
  console.log(task.status, ((error as JoinError).cause as Error).message);
}

const PROGRAMS: Record<string, () => unknown> = {
  essentials: () => essentials(),
  returns: () => dispatch(() => console.log("done")),
  fails: () => dispatch(() => Promise.reject(new RangeError("no luck"))),
  drains: () => dispatch(untilKilled),
  quits: () => dispatch(quitting),
  daemon: () => dispatch(withDaemon),
  listens: () => dispatch(listening),
  stubborn: () => dispatch(stubborn),
  drops: () => dispatch(dropping),
  rejects: () => void Promise.reject(new RangeError("nobody's")),
};

await PROGRAMS[process.argv[2]!]!();
