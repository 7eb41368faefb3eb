import { assert, assertEquals } from "@std/assert";
import { type Client, client } from "./client.ts";
import { Program, start } from "./program.ts";
import { requires } from "./requires.ts";
import { freePort, NatsServer } from "./nats_server.ts";
import { outcome } from "./servers.ts";
import { makeFolder } from "./folder.ts";

const PAGE = await Deno.readTextFile(new URL("../docs/cluster.md", import.meta.url));
const OPTIONS = { timeout: 60_000, ...requires("nats-server") };

/** The fenced blocks of a language, in order. */
function blocks(language: string): string[] {
  const fence = new RegExp("^```" + language + "\\n([^]*?)^```$", "gm");
  return [...PAGE.matchAll(fence)].map(([, text]) => text!);
}

/* ------------------------------------------------ the walk-through --------------------------------------- */

/** Plays the walk-through, with ports that are free in place of those in the text. */
class Stage implements AsyncDisposable {
  readonly #ports = new Map<string, number>();
  readonly #terminals = new Map<string, Program>();
  readonly #clients = new Map<string, Client>();
  #nats: NatsServer | undefined;

  async play(line: string): Promise<void> {
    const [, name = "", mark, rest = ""] = /^(\w+)(\$ |> |: |! |\^C$| exits )(.*)$/.exec(line) ?? [];
    if (mark === "$ ") await this.#start(name, rest.split(" "));
    else if (mark === "> ") await this.#clients.get(name)!.send(rest + "\n");
    else if (mark === ": ") assertEquals(await this.#heard(name), this.#ported(rest), line);
    else if (mark === "! ") assertEquals(await this.#terminals.get(name)!.error(), this.#ported(rest));
    else if (mark === "^C" && name === "nats") await this.#nats!.kill();
    else if (mark === "^C") this.#terminals.get(name)!.signal("SIGINT");
    else if (mark === " exits ") await this.#exit(this.#terminals.get(name)!, Number(rest));
    else throw new Error(`Cannot play: ${line}`);
  }

  async #start(name: string, [command, ...args]: string[]): Promise<void> {
    const ported = args.map((arg) => this.#ported(arg));
    if (command === "nats-server" && this.#nats !== undefined) await this.#nats.restart();
    else if (command === "nats-server") this.#nats = await NatsServer.start({ port: this.#portOf("4222") });
    else if (command === "nc") this.#clients.set(name, await client(Number(ported[1])));
    else if (command === "deno" && args[0] === "task") {
      this.#terminals.set(
        name,
        start(`examples/${args[1]}.ts`, ported.slice(2), ["--no-prompt", "--allow-net"]),
      );
    } else throw new Error(`Cannot start: ${command}`);
  }

  // Before its end it says nothing that was not read.
  async #exit(program: Program, code: number): Promise<void> {
    assertEquals([await program.line(), await program.error()], [undefined, undefined]);
    assertEquals((await program.end()).code, code);
  }

  #heard(name: string): Promise<string | null | undefined> {
    return this.#clients.get(name)?.line() ?? this.#terminals.get(name)!.line();
  }

  #ported(text: string): string {
    return text.replaceAll(/\b(4222|90\d\d)\b/g, (port) => `${this.#portOf(port)}`);
  }

  #portOf(port: string): number {
    if (!this.#ports.has(port)) this.#ports.set(port, freePort());
    return this.#ports.get(port)!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const each of this.#clients.values()) each.close();
    for (const each of this.#terminals.values()) await each[Symbol.asyncDispose]();
    await this.#nats?.kill();
  }
}

Deno.test("docs/cluster.md: the walk-through goes as it is told, to the letter", OPTIONS, async () => {
  const script = blocks("text").filter((block) => /^\w+(\$ |\^C$)/m.test(block)).join("").trimEnd().split(
    "\n",
  );
  assert(script.length > 25);
  await using stage = new Stage();
  for (const line of script) await stage.play(line);
});

Deno.test("docs/cluster.md: the program prints what is told", OPTIONS, async () => {
  const [program] = blocks("ts");
  const [output] = blocks("text").filter((block) => !/^\w+(\$ |\^C$)/m.test(block));
  await using server = await NatsServer.start();
  const args = [
    "run",
    "--quiet",
    "--check",
    "--no-prompt",
    "--allow-net=127.0.0.1",
    "--allow-env=NATS_URL",
    "-",
  ];
  await using child = new Program(Deno.execPath(), args, { stdin: "piped", env: { NATS_URL: server.url } });
  await child.type(program!);
  assertEquals(await child.end(), { code: 0, lines: output!.split("\n").slice(0, -1), stderr: "" });
});

/* ------------------------------------------------ running it --------------------------------------------- */

Deno.test("docs/cluster.md: every flag of the programs in it is one they have", async () => {
  const known = new Set<string>();
  for (const name of ["chat", "chatter"]) {
    const { lines } = await outcome(name, ["--help"]);
    for (const line of lines) known.add(/^ {2}(--\S+)/.exec(line)?.[1] ?? "");
  }
  const commands = [
    ...PAGE.matchAll(/(?:task |concurrence\/)(?:chat|chatter)\b((?:(?!\n\n|\n {4}\w|\nLoad|`)[^])*)/g),
  ];
  const used = commands.flatMap(([, flags]) => flags!.match(/--[a-z-]+/g) ?? []);
  assert(used.length > 10, `${used}`);
  assertEquals([...new Set(used)].filter((flag) => !known.has(flag)), []);
});

Deno.test("docs/cluster.md: systemd takes the unit", {
  timeout: 60_000,
  ...requires("systemd-analyze"),
}, async () => {
  const unit = blocks("ini")[0]!.replace("/usr/local/bin/deno", Deno.execPath());
  await using folder = await makeFolder({ "chat@.service": unit });
  const { stdout, stderr } = await new Deno.Command("systemd-analyze", {
    args: ["verify", "--man=no", "--recursive-errors=no", `${folder.path}/chat@.service`],
  }).output();
  const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  assertEquals(said.split("\n").filter((line) => line.includes("chat@")), []);
});
