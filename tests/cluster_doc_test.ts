import { assert, assertEquals } from "@std/assert";
import { TextLineStream } from "@std/streams";
import { type Client, client, requires } from "./harness.ts";
import { freePort, NatsServer } from "./nats_server.ts";
import { outcome } from "./servers.ts";

const PAGE = await Deno.readTextFile(new URL("../docs/cluster.md", import.meta.url));
const ROOT = new URL("..", import.meta.url);
const OPTIONS = { timeout: 60_000, ...requires("nats-server") };

/** The fenced blocks of a language, in order. */
function blocks(language: string): string[] {
  const fence = new RegExp("^```" + language + "\\n([^]*?)^```$", "gm");
  return [...PAGE.matchAll(fence)].map(([, text]) => text!);
}

/* ------------------------------------------------ the walk-through --------------------------------------- */

/** A program of the walk-through. */
class Terminal implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #lines: Record<"stdout" | "stderr", ReadableStreamDefaultReader<string>>;

  constructor(name: string, flags: readonly string[]) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "--no-prompt", "--allow-net", `examples/${name}.ts`, ...flags],
      cwd: ROOT,
      env: { NO_COLOR: "1" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const lines = (stream: ReadableStream<Uint8Array>) =>
      stream.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream()).getReader();
    this.#lines = { stdout: lines(this.#child.stdout), stderr: lines(this.#child.stderr) };
  }

  async line(from: "stdout" | "stderr"): Promise<string | undefined> {
    return (await this.#lines[from].read()).value;
  }

  interrupt(): void {
    this.#child.kill("SIGINT");
  }

  /** Waits for its end, before which it says nothing that was not read. */
  async end(): Promise<number> {
    assertEquals([await this.line("stdout"), await this.line("stderr")], [undefined, undefined]);
    return (await this.#child.status).code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch { /* it has ended */ }
    while (await this.line("stdout") !== undefined);
    while (await this.line("stderr") !== undefined);
    await this.#child.status;
  }
}

/** Plays the walk-through, with ports that are free in place of those in the text. */
class Stage implements AsyncDisposable {
  readonly #ports = new Map<string, number>();
  readonly #terminals = new Map<string, Terminal>();
  readonly #clients = new Map<string, Client>();
  #nats: NatsServer | undefined;

  async play(line: string): Promise<void> {
    const [, name = "", mark, rest = ""] = /^(\w+)(\$ |> |: |! |\^C$| exits )(.*)$/.exec(line) ?? [];
    if (mark === "$ ") await this.#start(name, rest.split(" "));
    else if (mark === "> ") await this.#clients.get(name)!.send(rest + "\n");
    else if (mark === ": ") assertEquals(await this.#heard(name), this.#ported(rest), line);
    else if (mark === "! ") assertEquals(await this.#terminals.get(name)!.line("stderr"), this.#ported(rest));
    else if (mark === "^C" && name === "nats") await this.#nats!.kill();
    else if (mark === "^C") this.#terminals.get(name)!.interrupt();
    else if (mark === " exits ") assertEquals(`${await this.#terminals.get(name)!.end()}`, rest);
    else throw new Error(`Cannot play: ${line}`);
  }

  async #start(name: string, [command, ...args]: string[]): Promise<void> {
    const ported = args.map((arg) => this.#ported(arg));
    if (command === "nats-server" && this.#nats !== undefined) await this.#nats.restart();
    else if (command === "nats-server") this.#nats = await NatsServer.start({ port: this.#portOf("4222") });
    else if (command === "nc") this.#clients.set(name, await client(Number(ported[1])));
    else if (command === "deno" && args[0] === "task") {
      this.#terminals.set(name, new Terminal(args[1]!, ported.slice(2)));
    } else throw new Error(`Cannot start: ${command}`);
  }

  #heard(name: string): Promise<string | null | undefined> {
    return this.#clients.get(name)?.line() ?? this.#terminals.get(name)!.line("stdout");
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
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--check", "--no-prompt", "--allow-net=127.0.0.1", "--allow-env=NATS_URL", "-"],
    cwd: ROOT,
    env: { NO_COLOR: "1", NATS_URL: server.url },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  await new Response(program!).body!.pipeTo(child.stdin);
  const { code, stdout, stderr } = await child.output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  assertEquals([code, out, err], [0, output, ""]);
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
  const folder = await Deno.makeTempDir();
  const unit = blocks("ini")[0]!.replace("/usr/local/bin/deno", Deno.execPath());
  await Deno.writeTextFile(`${folder}/chat@.service`, unit);
  const { stdout, stderr } = await new Deno.Command("systemd-analyze", {
    args: ["verify", "--man=no", "--recursive-errors=no", `${folder}/chat@.service`],
  }).output();
  const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  assertEquals(said.split("\n").filter((line) => line.includes("chat@")), []);
  await Deno.remove(folder, { recursive: true });
});
