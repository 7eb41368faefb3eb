import { assertEquals } from "@std/assert";

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
    fn: async () => assertEquals(await run(program!), { stdout: output, stderr: "", code: 0 }),
  });
}

Deno.test("Guide: it has ten steps, each with a program and its output", () => assertEquals(steps, 10));

/** Runs a program, read from stdin so that it belongs to this clone. */
async function run(program: string): Promise<{ stdout: string; stderr: string; code: number }> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--check", "--no-prompt", "--allow-net=localhost", "-"],
    cwd: new URL("..", import.meta.url),
    env: { NO_COLOR: "1" },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  await new Response(program).body!.pipeTo(child.stdin);
  const { code, stdout, stderr } = await child.output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { stdout: out!, stderr: err!.replace(/^supervisor#.*\n/, ""), code };
}
