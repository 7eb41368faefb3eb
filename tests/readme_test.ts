import { assertEquals, assertStringIncludes } from "@std/assert";
import { client } from "./client.ts";
import { type Outcome, Program } from "./program.ts";
import { TRANSCRIPTS } from "./transcripts.ts";
import { makeFolder } from "./folder.ts";

const README = await Deno.readTextFile(new URL("../README.md", import.meta.url));

Deno.test("README shows each session that is replayed, to the letter", async () => {
  const missing: string[] = [];
  for await (const { name } of Deno.readDir(TRANSCRIPTS)) {
    const transcript = await Deno.readTextFile(new URL(name, TRANSCRIPTS));
    const session = transcript.slice(transcript.indexOf("$ "));
    if (!README.includes("```text\n" + session + "```\n")) missing.push(name);
  }
  assertEquals(missing, []);
});

Deno.test("README names each entry point and each program, and every file it links to is there", async () => {
  const config = JSON.parse(await Deno.readTextFile(new URL("../deno.json", import.meta.url)));
  for (const [name, path] of Object.entries<string>(config.exports)) {
    const isProgram = path.startsWith("./examples/");
    assertStringIncludes(README, isProgram ? `](${path.slice(2)})` : `\`@x/concurrence${name.slice(1)}\``);
  }
  const links = [...README.matchAll(/\]\((?!https?:|#)([^)]+)\)/g)].map(([, path]) => path!);
  for (const path of links) await Deno.stat(new URL(`../${path}`, import.meta.url));
});

Deno.test("The version at the top of CHANGELOG is that of deno.json", async () => {
  const [config, changelog] = await Promise.all(["deno.json", "CHANGELOG.md"].map(read));
  assertEquals(/^## (\d+\.\d+\.\d+)/m.exec(changelog!)?.[1], JSON.parse(config!).version);
});

Deno.test("One version of Deno is meant wherever one is named", async () => {
  const files = ["README.md", "CONTRIBUTING.md", "RELEASING.md", ".ci/run", ".github/workflows/publish.yml"];
  const texts = await Promise.all(files.map(read));
  const versions = texts.flatMap((text) =>
    [...text.matchAll(/\bdeno@([\d.]+\d)/g)].map(([, version]) => version)
  );
  assertEquals([versions.length > 2, new Set(versions).size], [true, 1], versions.join());
});

function read(path: string): Promise<string> {
  return Deno.readTextFile(new URL(`../${path}`, import.meta.url));
}

Deno.test({
  name: "README: its chat and its test are programs that run as they stand",
  timeout: 60_000,
  fn: async () => {
    const [chat, test] = [...README.matchAll(/^```ts ignore\n([^]*?)^```$/gm)].map(([, program]) => program!);
    await using folder = await makeFolder({ "wait_test.ts": test!, "chat.ts": chat!.replace("9010", "0") });
    const config = new URL("../deno.json", import.meta.url).pathname;
    const tested = runToEnd(["test", "--quiet", "--config", config, `${folder.path}/wait_test.ts`]);
    await using program = new Program(Deno.execPath(), [
      ...["run", "--quiet", "--check", "--no-prompt", "--allow-net=localhost", "--config", config],
      `${folder.path}/chat.ts`,
    ]);
    const port = await program.port();
    using jane = await client(port);
    using zak = await client(port);
    await jane.send("one\nboom\ntwo\n");
    assertEquals(await jane.lines(2), ["one", "two"]);
    await zak.send("three\n");
    assertEquals(await jane.line(), "three");
    while (await zak.line() !== "three"); // it may have come before jane's lines
    const { code, lines } = await tested;
    assertEquals(code, 0, lines.join("\n"));
  },
});

async function runToEnd(args: readonly string[]): Promise<Outcome> {
  await using program = new Program(Deno.execPath(), args);
  return await program.end();
}
