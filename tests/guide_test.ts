import { assertEquals } from "@std/assert";
import { type Outcome, Program } from "./program.ts";

const GUIDE = new URL("../docs/guide.md", import.meta.url);
const PROGRAM = /^## (?<title>\d+\. .*)$|^```ts\n(?<program>[^]*?)^```$\n\n^```text\n(?<output>[^]*?)^```$/gm;

const text = await Deno.readTextFile(GUIDE);
let title = "";
let steps = 0;
for (const { groups } of text.matchAll(PROGRAM)) {
  title = groups!.title ?? title;
  if (groups!.program === undefined) continue;
  steps++;
  const { program, output } = groups!;
  Deno.test({
    name: `Guide, step ${title}: it prints what the guide says, type-checked, and ends`,
    timeout: 60_000,
    fn: async () =>
      assertEquals(await run(program!), { code: 0, lines: output!.split("\n").slice(0, -1), stderr: "" }),
  });
}

Deno.test("Guide: it has ten steps, each with a program and its output", () => assertEquals(steps, 10));

/** Runs a program, read from stdin so that it belongs to this clone. */
async function run(source: string): Promise<Outcome> {
  const args = ["run", "--quiet", "--check", "--no-prompt", "--allow-net=localhost", "-"];
  await using program = new Program(Deno.execPath(), args, { stdin: "piped" });
  await program.type(source);
  const { stderr, ...outcome } = await program.end();
  return { ...outcome, stderr: stderr.replace(/^supervisor#.*\n/, "") };
}
