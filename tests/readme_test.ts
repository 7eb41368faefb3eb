import { assertEquals, assertStringIncludes } from "@std/assert";
import { TRANSCRIPTS } from "./transcripts.ts";

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
