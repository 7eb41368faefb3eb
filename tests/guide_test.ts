import { assertEquals } from "@std/assert";
import { makeFolder } from "./folder.ts";
import { type Outcome, Program } from "./program.ts";

const GUIDE = new URL("../docs/guide.md", import.meta.url);
const PROGRAM = /^## (?<title>\d+\. .*)$|^```ts\n(?<program>[^]*?)^```$\n\n^```text\n(?<output>[^]*?)^```$/gm;

const text = await Deno.readTextFile(GUIDE);
const programs: Record<string, string> = {};
let title = "";
for (const { groups } of text.matchAll(PROGRAM)) {
  title = groups!.title ?? title;
  if (groups!.program === undefined) continue;
  const { program, output } = groups!;
  programs[`step_${parseInt(title)}.ts`] = program!;
  Deno.test({
    name: `Guide, step ${title}: it prints what the guide says, type-checked, and ends`,
    timeout: 60_000,
    fn: async () => {
      assertEquals(await (checked ??= check()), { code: 0, lines: [], stderr: "" });
      assertEquals(await run(program!), { code: 0, lines: output!.split("\n").slice(0, -1), stderr: "" });
    },
  });
}

Deno.test("Guide: it has ten steps, each with a program and its output", () => {
  assertEquals(Object.keys(programs).length, 10);
});

/** How the check of all programs has ended: of each alone it would take as long as of all together. */
let checked: Promise<Outcome> | undefined;

async function check(): Promise<Outcome> {
  await using folder = await makeFolder(programs);
  const files = Object.keys(programs).map((name) => `${folder.path}/${name}`);
  await using program = new Program(Deno.execPath(), ["check", "--quiet", "--config", "deno.json", ...files]);
  return await program.end();
}

/** Runs a program, read from stdin so that it belongs to this clone. */
async function run(source: string): Promise<Outcome> {
  const args = ["run", "--quiet", "--no-prompt", "--allow-net=localhost", "-"];
  await using program = new Program(Deno.execPath(), args, { stdin: "piped" });
  await program.type(source);
  const { stderr, ...outcome } = await program.end();
  return { ...outcome, stderr: stderr.replace(/^supervisor#.*\n/, "") };
}
