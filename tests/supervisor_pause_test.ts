// What happens between the end of supervised children and their restart.

import { assertEquals } from "@std/assert";
import { type CallError, Message } from "../message.ts";
import { observe } from "../observe.ts";
import { useReporter } from "../report.ts";
import { Supervisor } from "../supervisor.ts";
import { Tasklet } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";

class MSG_A extends Message("MSG_A")<[n: number]> {}
class MSG_ASK extends Message("MSG_ASK")<[], number> {}

const BACKOFF = { first: 50, jitter: 0 };

/** Runs `main` as a tasklet in virtual time; gives what was reported. */
async function reportsOf(main: () => Promise<void>): Promise<string[]> {
  const reports: string[] = [];
  using _ = useReporter((text, error) => void reports.push(`${text} ${error}`));
  await using _time = virtualTime();
  await Tasklet.new(main)().join();
  return reports;
}

/** A body that fails after 5 ms the first time, and then stays. */
function failing(name: string): () => Promise<void> {
  let runs = 0;
  return async () => {
    await Tasklet.sleep(5);
    if (runs++ === 0) throw new Error(name);
    await Tasklet.sleep(Infinity);
  };
}

Deno.test("Supervisor: a child that is stopped in the pause before a restart of several leaves the others theirs", async () => {
  const log: unknown[] = [];
  await reportsOf(async () => {
    await using supervisor = new Supervisor({ strategy: "one-for-all", backoff: BACKOFF });
    const a = supervisor.start({ name: "a", body: failing("a") });
    const b = supervisor.start({ name: "b", body: () => Tasklet.sleep(Infinity) });
    await Tasklet.sleep(10);
    log.push(a.status, b.status);
    await a.stop();
    await Tasklet.sleep(100);
    log.push(a.status, b.status, b.restarts);
  });
  assertEquals(log, ["restarting", "restarting", "ended", "running", 1]);
});

Deno.test("Supervisor: when all who wait for a restart are stopped, nothing is left of it", async () => {
  await reportsOf(async () => {
    await using supervisor = new Supervisor({ strategy: "one-for-all", backoff: { first: 1e6, max: 1e6 } });
    const children = ["a", "b"].map((name) => supervisor.start({ name, body: failing(name) }));
    await Tasklet.sleep(10);
    for (const child of children) await child.stop();
    assertEquals(children.map(({ status }) => status), ["ended", "ended"]);
  });
});

Deno.test("Supervisor reports the error of a child that fails beside the one whose end stops all", async () => {
  const reports = await reportsOf(async () => {
    await using supervisor = new Supervisor({ strategy: "one-for-all", backoff: BACKOFF });
    const children = ["a", "b"].map((name) => supervisor.start({ name, body: failing(name) }));
    await Tasklet.sleep(100);
    assertEquals(children.map(({ restarts }) => restarts), [1, 1]);
  });
  assertEquals(reports.map((text) => text.replace(/#\d+/g, "")), ["supervisor: b failed, too: Error: b"]);
});

Deno.test("Supervisor, backoff: a first pause of 0 stays 0, however often a child has failed", async () => {
  let starts = 0;
  await reportsOf(async () => {
    await using supervisor = new Supervisor({ intensity: { restarts: Infinity }, backoff: { first: 0 } });
    const body = () => {
      if (++starts < 1100) throw new Error("again");
      return Tasklet.sleep(Infinity);
    };
    supervisor.start({ name: "a", body });
    await Tasklet.sleep(10);
  });
  assertEquals(starts, 1100);
});

Deno.test("Supervisor: the tasklet of a child that has ended refuses, what is sent to the child waits", async () => {
  const log: unknown[] = [];
  await reportsOf(async () => {
    await using supervisor = new Supervisor({ backoff: BACKOFF });
    const child = supervisor.start({
      name: "a",
      body: async () => {
        for await (const msg of Tasklet.receive()) {
          if (msg.match(MSG_ASK)) throw new Error("asked");
          log.push(`got ${msg.args[0]}`);
        }
      },
    });
    const first = child.task! as Tasklet;
    await MSG_ASK.call(first)().catch((error: CallError) => log.push(error.reason));
    log.push(first.alive, MSG_A.send(first)(1), MSG_A.send(child)(2));
    await MSG_ASK.call(first)().catch((error: CallError) => log.push(error.reason));
    await Tasklet.sleep(100);
    log.push(MSG_A.send(first)(3));
  });
  assertEquals(log, ["finished", false, false, true, "finished", "got 2", false]);
});

Deno.test("observe() sees what waits for a restart sent to the supervisor, then to the child", async () => {
  const log: string[] = [];
  await reportsOf(async () => {
    await using supervisor = new Supervisor({ backoff: BACKOFF });
    let runs = 0;
    const child = supervisor.start({
      name: "a",
      body: async () => {
        if (runs++ === 0) throw new Error("a");
        await Tasklet.receiveOne();
      },
      restart: "transient",
    });
    await Tasklet.sleep(5);
    using _ = observe((event) => {
      if (event.type === "sent" && event.message instanceof MSG_A) log.push(`sent ${event.to}`);
      if (event.type === "received" && event.message instanceof MSG_A) log.push(`received ${event.by}`);
    });
    MSG_A.send(child)(1);
    await Tasklet.sleep(100);
  });
  assertEquals(log.map((line) => line.replace(/#\d+/, "")), ["sent supervisor", "sent a", "received a"]);
});
