import { assert, assertEquals, assertMatch } from "@std/assert";
import { Tasklet } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { owned, sleepers, together, torn, wakeUps } from "../examples/sleepers.ts";
import { start } from "./program.ts";
import { requires } from "./requires.ts";
import { catchReports } from "./reports.ts";
import { assertRefused, outcome, testCommandLine, TIME } from "./servers.ts";

/* --------------------------------------------------- the pieces -------------------------------------------------- */

Deno.test("wakeUps() gives the order in which sleeps are over, not in which they began", async () => {
  await using time = virtualTime();
  assertEquals(await wakeUps([30, 10, 20]), [10, 20, 30]);
  assertEquals(time.now, 30);
  assertEquals(await wakeUps([5, 1, 5, 0, 3]), [0, 1, 3, 5, 5]);
  assertEquals(await wakeUps([]), []);
});

Deno.test("together() takes one sleep, however many sleep, and tells of each who wakes", async () => {
  await using time = virtualTime();
  for (const count of [0, 1, 100, 10_000]) {
    const start = time.now;
    const progress: number[] = [];
    await together(count, 1000, (woken) => progress.push(woken));
    assertEquals(progress, Array.from({ length: count }, (_, i) => i + 1));
    assertEquals(time.now - start, count === 0 ? 0 : 1000);
  }
});

Deno.test("together() tells the time by the clock of the library", async () => {
  await using _ = virtualTime();
  assertEquals(await together(3, 1000, () => {}), 1000);
});

Deno.test("owned() counts right, whatever the number", async () => {
  for (const count of [0, 1, 1000, 10_000]) assertEquals(await owned(count), count);
});

Deno.test("torn() loses increments: it shows why one tasklet must own the counter", async () => {
  assertEquals(await torn(1), 1);
  for (const count of [2, 1000]) {
    const counted = await torn(count);
    assert(counted >= 1 && counted < count, `${counted} of ${count}`);
  }
});

Deno.test("sleepers() tells all of it, once, in one sleep and the wake-ups before", async () => {
  await using time = virtualTime();
  using reports = catchReports();
  const lines: string[] = [];
  const progress: number[] = [];
  await sleepers({
    count: 50,
    sleep: 2000,
    log: (line) => lines.push(line),
    progress: (n) => progress.push(n),
  });
  assertEquals(time.now, 2300);
  assertEquals(progress.length, 50);
  assertEquals(lines.length, 4);
  assertMatch(lines[0]!, /100, 200, 300/);
  assertMatch(lines[1]!, /^50 sleepers of 2000 ms each/);
  assertMatch(lines[3]!, /^1000 increments .*: 1000$/);
  await reports.settled();
  assertEquals(reports.texts, []);
});

Deno.test("sleepers() ends at once when it is killed, with all who sleep", async () => {
  await using time = virtualTime();
  const ticks = Tasklet.interval(10, () => {})();
  const lines: string[] = [];
  const task = Tasklet.new(() => sleepers({ sleep: 1_000_000, log: (line) => lines.push(line) }))();
  await Tasklet.sleep(1000);
  assertEquals(task.children.length, 100);
  await task.kill();
  assertEquals([task.status, task.children.length, lines.length], ["killed", 0, 1]);
  await ticks.kill();
  assert(time.now < 2000);
});

/* --------------------------------------------------- the program ------------------------------------------------- */

testCommandLine("sleepers", { count: "100", sleep: "1000" });

Deno.test("sleepers --port is an unknown flag, and a bad value is named", TIME, async () => {
  await Promise.all([
    assertRefused("sleepers", ["--port", "0"], "--port"),
    assertRefused("sleepers", ["--hostname", "localhost"], "--hostname"),
    assertRefused("sleepers", ["--count", "many"], "--count"),
    assertRefused("sleepers", ["--count=-1"], "--count"),
    assertRefused("sleepers", ["--count="], "--count"),
    assertRefused("sleepers", ["--sleep", "1.5"], "--sleep"),
    assertRefused("sleepers", ["--sleep", "1e9"], "--sleep"),
  ]);
});

Deno.test("sleepers runs without any permission, plain in a pipe, and ends with 0", TIME, async () => {
  const { code, lines, stderr } = await outcome("sleepers", ["--count", "20", "--sleep", "50"]);
  assertEquals([code, stderr, lines.length], [0, "", 4]);
  const [order, together, torn, owned] = lines as [string, string, string, string];
  assertMatch(order, /100, 200, 300/);
  assertMatch(together, /^20 sleepers of 50 ms each ended together in \d+ ms$/);
  assert(Number(torn.match(/: (\d+)$/)![1]) < 1000, torn);
  assertMatch(owned, /: 1000$/);
  for (const line of lines) assert(!line.includes("\r") && !line.includes("\x1b"), line);
});

Deno.test("sleepers does 100 sleeps of a second in about a second, as it says", TIME, async () => {
  const { code, lines } = await outcome("sleepers", []);
  assertEquals(code, 0);
  const ms = Number(lines[1]!.match(/^100 sleepers of 1000 ms each .* (\d+) ms$/)![1]);
  assert(ms >= 999 && ms < 100_000, `${ms}`); // less than one after the other, on any machine
});

Deno.test("sleepers --count 0 and --sleep 0 wait for nothing", TIME, async () => {
  const { code, lines } = await outcome("sleepers", ["--count", "0", "--sleep", "0"]);
  assertEquals([code, lines.length], [0, 4]);
});

for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
  Deno.test(
    `sleepers at ${signal} wakes nobody and ends with ${code}, with nothing on stderr`,
    TIME,
    async () => {
      await using program = start("examples/sleepers.ts", ["--sleep", "60000"], ["--no-prompt"]);
      assertMatch((await program.line())!, /100, 200, 300/); // from now on they sleep
      program.signal(signal);
      assertEquals(await program.end(), { code, lines: [], stderr: "" });
    },
  );
}

Deno.test("sleepers shows its progress on a terminal", { ...TIME, ...requires("script") }, async () => {
  const command = `${Deno.execPath()} run --quiet --no-prompt examples/sleepers.ts --count 5 --sleep 10`;
  const { code, stdout } = await new Deno.Command("script", {
    args: ["-qec", command, "/dev/null"],
    cwd: new URL("..", import.meta.url),
    stdin: "null",
  }).output();
  const text = new TextDecoder().decode(stdout);
  assertEquals(code, 0);
  assertMatch(text, /\r1 have woken up.*\r5 have woken up/s);
  // The line of progress gives way to the next one, whole.
  assertMatch(text, /\r5 sleepers of 10 ms each ended together in \d+ ms *\r\n/);
  assertMatch(text, /\r\n\r?1000 increments through [^\r\n]*: 1000\r\n/);
});
