import { assertEquals, assertMatch } from "@std/assert";
import { greeting } from "../examples/greeting.ts";
import { Tasklet } from "../tasklet.ts";
import { start } from "./program.ts";

const TIME = { timeout: 20_000 };
const NOTHING = ["--no-prompt"]; // no permission at all

/** Runs the program to its end. */
async function run(...args: string[]): Promise<unknown[]> {
  await using program = start("examples/greeting.ts", args, NOTHING);
  const { code, lines, stderr } = await program.end();
  return [code, lines, stderr];
}

Deno.test("greeting() prints two greetings, from a tasklet that goes on waiting", TIME, async () => {
  const { log } = console;
  const lines: unknown[][] = [];
  console.log = (...what) => lines.push(what);
  try {
    const task = Tasklet.new(() => greeting())();
    while (lines.length < 2) await Tasklet.yield();
    await Tasklet.yield();
    assertEquals([task.alive, task.children.map((child) => child.status)], [true, ["waiting"]]);
    await task.kill();
  } finally {
    console.log = log;
  }
  assertEquals(lines.map((line) => line.join(" ")), ["Hello World", "Goodbye World"]);
});

Deno.test("greeting.ts prints two greetings and exits with 0, without permissions", TIME, async () => {
  assertEquals(await run(), [0, ["Hello World", "Goodbye World"], ""]);
});

Deno.test("greeting.ts --version tells its version", TIME, async () => {
  const { version } = JSON.parse(await Deno.readTextFile(new URL("../deno.json", import.meta.url)));
  assertEquals(await run("--version"), [0, [`greeting ${version}`], ""]);
});

Deno.test("greeting.ts --help tells its flags, and none that make no sense", TIME, async () => {
  const [code, lines, stderr] = await run("--help");
  assertEquals([code, stderr], [0, ""]);
  const flags = (lines as string[]).flatMap((line) => /^\s+--([a-z-]+)/.exec(line)?.[1] ?? []);
  assertEquals(flags.filter((flag) => ["port", "hostname", "max-connections"].includes(flag)), []);
  assertEquals(flags.slice(-2), ["help", "version"]);
});

Deno.test("greeting.ts refuses what it does not know in one line, with exit code 2", TIME, async () => {
  for (const args of [["--port", "1"], ["--bogus"], ["World"]]) {
    const [code, lines, stderr] = await run(...args);
    assertEquals([code, lines], [2, []]);
    assertMatch(stderr as string, new RegExp(`^greeting: .*"${args[0]}".*\n$`));
  }
});
