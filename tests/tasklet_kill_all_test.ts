import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { JoinError, Tasklet } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { catchReports } from "./reports.ts";

const forEver = () => new Promise<never>(() => {});

Deno.test("Tasklet.killAll() kills all at once by one exit, and waits for all, also below them", async () => {
  await using time = virtualTime();
  const log: unknown[] = [];
  const exits = new Set<unknown>();
  const sleeper = async (ms: number) => {
    try {
      await Tasklet.receiveOne();
    } catch (error) {
      exits.add(error);
      throw error;
    } finally {
      await Tasklet.sleep(ms);
      log.push(ms);
    }
  };
  const tasks = [30, 10].map((ms) => Tasklet.new(sleeper)(ms));
  tasks.push(Tasklet.new(() => void Tasklet.new(sleeper)(20))());
  await Tasklet.yield();
  await Tasklet.killAll(new Set(tasks));
  assertEquals([log, time.now, tasks.map((task) => task.status)], [
    [10, 20, 30],
    30,
    ["killed", "killed", "killed"],
  ]);
  assertEquals([...exits].map(String), ["TaskletExit: 3 tasklets were killed"]);
});

Deno.test("Tasklet.killAll() has one grace for all, after which those that are not done are abandoned", async () => {
  await using time = virtualTime();
  using reports = catchReports();
  const tasks = [1, 2].map(() =>
    Tasklet.new(async () => {
      try {
        await Tasklet.receiveOne();
      } finally {
        await forEver();
      }
    }, { name: "stubborn" })()
  );
  await Tasklet.yield();
  await Tasklet.killAll(tasks, { grace: 40 });
  assertEquals([time.now, reports.texts.length], [40, 2]);
});

Deno.test("Tasklet.killAll() of none, and of some that are done, ends at once; a bad grace kills nobody", async () => {
  const done = Tasklet.new(() => "result")();
  await done.join();
  await Tasklet.killAll([]);
  await Tasklet.killAll([done]);
  const alive = Tasklet.new(() => Tasklet.receiveOne())();
  assertThrows(() => Tasklet.killAll([alive], { grace: -1 }), RangeError, '"grace"');
  assertEquals([done.status, alive.status], ["done", "ready"]);
  await alive.kill();
});

Deno.test("Tasklet.killAll() of none is a wait point: it takes its turns, and meets a kill", async () => {
  const log: string[] = [];
  const task = Tasklet.new(async () => {
    for (let i = 0; i < 10_000 && log.length === 0; i++) await Tasklet.killAll([]);
    void Tasklet.current()!.kill();
    await Tasklet.killAll([]);
    log.push("went on");
  })();
  setImmediate(() => log.push("turn"));
  await assertRejects(() => task.join(), JoinError);
  assertEquals(log, ["turn"]);
});

Deno.test("Tasklet.killAll() that includes who calls: the exit is met there, and cleanup may wait", async () => {
  await using time = virtualTime();
  const log: unknown[] = [];
  const other = Tasklet.new(() => Tasklet.receiveOne())();
  const task = Tasklet.new(async () => {
    try {
      await Tasklet.killAll([other, Tasklet.current()!]);
      log.push("went on");
    } finally {
      await Tasklet.sleep(10);
      log.push("cleaned up");
    }
  })();
  await assertRejects(() => task.join(), JoinError);
  assertEquals([log, time.now, other.status, task.status], [["cleaned up"], 10, "killed", "killed"]);
});
