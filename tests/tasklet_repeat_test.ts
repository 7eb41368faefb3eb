import { assert, assertEquals, assertRejects } from "@std/assert";
import { CallError, Message } from "../message.ts";
import { JoinError, Tasklet } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { now, timerCount } from "../timer.ts";
import { catchReports } from "./reports.ts";

class MSG_A extends Message("MSG_A")<[n: number]> {}
class MSG_ASK extends Message("MSG_ASK")<[n: number], number> {}

// Tasklet.later

Deno.test("Tasklet.later() sleeps, then calls, and gives the result", async () => {
  await using time = virtualTime();
  const task = Tasklet.later(20, async function work(a: number, b: number) {
    await Tasklet.sleep(5);
    return [a + b, time.now];
  })(1, 2);
  assertEquals([task.name, await task.join()], ["work", [3, 25]]);
});

Deno.test("Tasklet.later() that is killed before never calls; one that fails has failed", async () => {
  await using _ = virtualTime();
  const log: string[] = [];
  const killed = Tasklet.later(20, () => log.push("called"))();
  await Tasklet.sleep(10);
  await killed.kill();
  await assertRejects(() => Tasklet.later(5, () => Promise.reject(new Error("no luck")))().join(), JoinError);
  await Tasklet.sleep(20);
  assertEquals([log, timerCount()], [[], 0]);
});

// Tasklet.interval

Deno.test("Tasklet.interval() calls after each sleep, at once if immediate, with the arguments", async () => {
  await using time = virtualTime();
  const log: [string, number][] = [];
  const work = async (name: string) => {
    log.push([name, time.now]);
    await Tasklet.sleep(5);
  };
  const later = Tasklet.interval(10, work)("later");
  const atOnce = Tasklet.interval(10, work, { immediate: true, name: "at once" })("at once");
  assertEquals([later.name, atOnce.name], ["work", "at once"]);
  await time.advance(34);
  await Promise.all([later.kill(), atOnce.kill()]);
  await time.advance(100);
  assertEquals(log, [["at once", 0], ["later", 10], ["at once", 15], ["later", 25], ["at once", 30]]);
});

Deno.test("Tasklet.interval() reports an error and goes on", async () => {
  await using time = virtualTime();
  using reports = catchReports();
  let calls = 0;
  const task = Tasklet.interval(10, function work() {
    if (++calls % 2 === 1) throw new Error("no luck");
  })();
  await time.advance(45);
  assertEquals([calls, reports.texts.length, task.status], [4, 2, "waiting"]);
  assert(reports.texts[0]!.includes(`work#${task.id}`) && reports.texts[0]!.includes("Error: no luck"));
  await task.kill();
});

// Tasklet.rate

Deno.test("Tasklet.rate() does not drift, passes the time, and leaves out what is missed", async () => {
  await using time = virtualTime();
  const start = now();
  const log: [number, number, string][] = [];
  const durations = [0, 3, 9, 25, 0, 0];
  const task = Tasklet.rate(100, async (at: number, what: string) => {
    log.push([at - start, time.now, what]);
    await Tasklet.sleep(durations.shift() ?? 0);
  })("tick");
  await time.advance(85);
  await task.kill();
  assertEquals(log.map(([at, called, what]) => [Math.round(at), Math.round(called), what]), [
    [10, 10, "tick"],
    [20, 20, "tick"],
    [30, 30, "tick"],
    [40, 40, "tick"],
    [70, 70, "tick"],
    [80, 80, "tick"],
  ]);
});

Deno.test("Tasklet.rate() stays on its beat for an hour of an awkward frequency", async () => {
  await using time = virtualTime();
  const start = now();
  let calls = 0;
  let worst = 0;
  const task = Tasklet.rate(30, (at) => {
    calls++;
    worst = Math.max(worst, Math.abs(at - start - calls * 1000 / 30), Math.abs(time.now - calls * 1000 / 30));
  })();
  await time.advance(600_000 + 1);
  await task.kill();
  assertEquals(calls, 18_000);
  assert(worst < 1, `${worst} ms beside the beat`);
});

Deno.test("Tasklet.rate() reports an error and goes on", async () => {
  await using time = virtualTime();
  using reports = catchReports();
  const task = Tasklet.rate(100, () => Promise.reject(new Error("no luck")))();
  await time.advance(35);
  assertEquals([reports.texts.length, task.alive], [3, true]);
  await task.kill();
});

// Tasklet.loop

Deno.test("Tasklet.loop() calls again and again; a kill ends it, with or without a wait point in it", async () => {
  await using _ = virtualTime();
  let waiting = 0;
  let busy = 0;
  const tasks = [
    Tasklet.loop(async (n: number) => {
      waiting += n;
      await Tasklet.sleep(10);
    })(1),
    Tasklet.loop(() => void busy++)(),
  ];
  while (busy < 1000) await Tasklet.yield();
  await Promise.all(tasks.map((task) => task.kill()));
  const ended = busy;
  await Tasklet.yield();
  assertEquals([waiting, busy, tasks.map((task) => task.status)], [1, ended, ["killed", "killed"]]);
});

Deno.test("Tasklet.loop() pauses while it keeps failing: 1 s, doubling to 30 s, and 1 s again after a success", async () => {
  await using time = virtualTime();
  using reports = catchReports();
  const log: number[] = [];
  const task = Tasklet.loop(async () => {
    log.push(time.now);
    if (log.length === 8) return await Tasklet.sleep(100);
    throw new Error("no luck");
  })();
  await time.advance(94_000);
  await task.kill();
  assertEquals(log, [0, 1000, 3000, 7000, 15_000, 31_000, 61_000, 91_000, 91_100, 92_100]);
  assertEquals(reports.texts.length, 9);
});

// Kill

Deno.test("Tasklet.interval(), rate(), loop() and receiver() end on kill, also when the function swallows the exit", async () => {
  await using time = virtualTime();
  using reports = catchReports();
  const calls: string[] = [];
  const deaf = (name: string) => async () => {
    calls.push(name);
    await Tasklet.sleep(1000).catch(() => {});
  };
  const failing = async () => {
    calls.push("failing");
    await Tasklet.sleep(1000).catch(() => {
      throw new Error("no luck");
    });
  };
  const receiver = Tasklet.receiver(deaf("receiver"));
  for (const n of [1, 2]) MSG_A.send(receiver)(n);
  const tasks = [
    Tasklet.interval(10, deaf("interval"))(),
    Tasklet.interval(10, deaf("immediate"), { immediate: true })(),
    Tasklet.rate(100, deaf("rate"))(),
    Tasklet.loop(deaf("loop"))(),
    Tasklet.loop(failing)(),
    receiver,
  ];
  await time.advance(50);
  const called = calls.toSorted();
  await Promise.all(tasks.map((task) => task.kill()));
  assertEquals([called, calls.toSorted(), time.now], [
    ["failing", "immediate", "interval", "loop", "rate", "receiver"],
    called,
    50,
  ]);
  assertEquals(tasks.map((task) => task.status), tasks.map(() => "killed"));
  assertEquals(reports.texts.filter((text) => !text.includes("no luck")), []);
});

// Tasklet.receiver

Deno.test("Tasklet.receiver() calls with each message, one at a time, and ends on kill", async () => {
  await using time = virtualTime();
  const log: unknown[] = [];
  const task = Tasklet.receiver(async function handle(msg: MSG_A | MSG_ASK) {
    if (msg.match(MSG_ASK)) return void msg.reply(msg.args[0] + 1);
    await Tasklet.sleep(10);
    log.push([msg.args[0], time.now]);
  });
  for (const n of [1, 2]) MSG_A.send(task)(n);
  assertEquals([await MSG_ASK.call(task)(1), log, task.name], [2, [[1, 10], [2, 20]], "handle"]);
  await task.kill();
  assertEquals(MSG_A.send(task)(3), false);
});

Deno.test("Tasklet.receiver() fails the call with the error, reports that of a message sent, and goes on", async () => {
  await using _ = virtualTime();
  using reports = catchReports();
  const task = Tasklet.receiver((msg: MSG_A | MSG_ASK) => {
    if (msg.args[0] > 0) throw new Error(`no ${msg.args[0]}`);
    if (msg.match(MSG_ASK)) msg.reply(0);
  });
  const error = await assertRejects(() => MSG_ASK.call(task)(1), Error);
  assertEquals([error.message, reports.texts], ["no 1", []]);
  MSG_A.send(task)(2);
  assertEquals(await MSG_ASK.call(task)(0), 0);
  assert(reports.texts.length === 1 && reports.texts[0]!.includes("no 2"));
  await task.kill();
});

Deno.test("Tasklet.receiver() that answers nothing has forgotten the call when the next message comes", async () => {
  const task = Tasklet.receiver(() => {});
  const call = assertRejects(() => MSG_ASK.call(task)(1), CallError);
  MSG_A.send(task)(1);
  assertEquals((await call).reason, "forgotten");
  await task.kill();
});
