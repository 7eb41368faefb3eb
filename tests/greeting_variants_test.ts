import { assertEquals } from "@std/assert";
import { call, greeting, two } from "../examples/greeting.ts";
import { Tasklet } from "../tasklet.ts";
import { Program } from "./program.ts";
import { requires } from "./requires.ts";
import { catchReports } from "./reports.ts";
import { assertRefused, outcome, testCommandLine, TIME } from "./servers.ts";

/** What is printed with `console.log` until disposed. */
function catchPrinted(): { lines: string[] } & Disposable {
  const { log } = console;
  const lines: string[] = [];
  console.log = (...what: unknown[]) => void lines.push(what.join(" "));
  return { lines, [Symbol.dispose]: () => void (console.log = log) };
}

/* ---------------------------------------------------- in process ------------------------------------------------- */

Deno.test("greeting() prints nothing before its caller goes on, then its two lines", async () => {
  using printed = catchPrinted();
  const task = Tasklet.new(async () => {
    greeting();
    console.log("caller goes on");
    while (printed.lines.length < 3) await Tasklet.yield();
  })();
  while (printed.lines.length < 3) await Tasklet.yield();
  await task.kill(); // and the printer with it, whom nobody else would end
  assertEquals(printed.lines, ["caller goes on", "Hello World", "Goodbye World"]);
});

Deno.test("two() prints its own line first: tasklets start when their creator has ended", async () => {
  using printed = catchPrinted();
  await Tasklet.new(two)().join();
  assertEquals(printed.lines, ["start done.", "Hello", "World"]);
});

Deno.test("call() prints what a greeter replies, in order", async () => {
  using printed = catchPrinted();
  using reports = catchReports();
  const task = Tasklet.new(call)();
  while (printed.lines.length < 2) await Tasklet.yield();
  await task.kill(); // the greeter, whom nobody else would end
  assertEquals(printed.lines, ["Hello World", "Goodbye World"]);
  await reports.settled();
  assertEquals(reports.texts, []);
});

/* --------------------------------------------------- the program ------------------------------------------------- */

testCommandLine("greeting", { two: undefined, call: undefined });

for (
  const [flag, lines] of [
    ["--two", ["start done.", "Hello", "World"]],
    ["--call", ["Hello World", "Goodbye World"]],
  ] as const
) {
  Deno.test(`greeting ${flag} prints its lines without any permission, and ends with 0`, TIME, async () => {
    assertEquals(await outcome("greeting", [flag]), { code: 0, lines: [...lines], stderr: "" });
  });
}

Deno.test("greeting refuses --two with --call, and the flags of servers", TIME, async () => {
  await Promise.all([
    assertRefused("greeting", ["--two", "--call"], "--two and --call"),
    assertRefused("greeting", ["--port", "0"], "--port"),
    assertRefused("greeting", ["--quiet"], "--quiet"),
    assertRefused("greeting", ["--call=maybe"], "--call"),
  ]);
});

Deno.test("greeting says nothing on stderr when nobody reads what it prints", {
  ...TIME,
  ...requires("bash"),
}, async () => {
  const command = `"$0" run --quiet --no-prompt examples/greeting.ts 2>&1 >/dev/full; true`;
  await using program = new Program("bash", ["-c", command, Deno.execPath()]);
  assertEquals((await program.end()).code, 0);
});
