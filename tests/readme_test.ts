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
