/**
 * The servers among the programs, and what every one of them must do: one list, which each runs through.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import config from "../deno.json" with { type: "json" };
import { type Client, client } from "./client.ts";
import { type Outcome, type Program, start } from "./program.ts";

/** Options of a test that uses the network. */
export const TIME: { timeout: number } = { timeout: 20_000 };

/** Where a server listens in a test: `localhost`, at any port that is free. */
export const FREE: { hostname: string; port: number } = { hostname: "localhost", port: 0 };

/** The least a server may be allowed that listens there. */
export const NARROWEST: readonly string[] = ["--no-prompt", "--allow-net=localhost:0"];

/** A server among the programs. */
export interface ServerProgram {
  /** Its name, which is that of its file. */
  readonly name: string;
  /** The line that it prints when it listens. */
  readonly announcement: (port: number | string) => string;
  /** The port it listens on unless it is told otherwise. */
  readonly port: number;
  /** Its flags beside those of every server: each with its default, or `undefined` if it takes no value. */
  readonly flags: Readonly<Record<string, string | undefined>>;
  /** Flags of every server whose default is another. */
  readonly defaults?: Readonly<Record<string, string>>;
  /** Values that it must refuse, of its own flags. */
  readonly bad?: readonly (readonly string[])[];
}

/** `examples/chatter.ts`. */
export const CHATTER: ServerProgram = {
  name: "chatter",
  announcement: (port) => `listening on port ${port}`,
  port: 1980,
  flags: { backlog: "1000", "reuse-port": undefined, cluster: "none", room: "lobby", credentials: "none" },
  bad: [["--backlog", "0"], ["--backlog", "many"], ["--backlog=-1"], ["--cluster="], ["--room="], [
    "--room",
    "x".repeat(65),
  ]],
};

/** `examples/directory.ts`. */
export const DIRECTORY: ServerProgram = {
  name: "directory",
  announcement: (port) => `listening on port ${port}`,
  port: 9020,
  flags: { simulate: undefined, users: "Jane,Zak,Abhishek,Natasha", duration: "30" },
  defaults: { "max-line": "4096" },
  bad: [["--max-line", "4097"], ["--duration", "soon"], ["--duration=-1"], ["--users="], [
    "--users",
    "Jane,Zak,Jane",
  ]],
};

/** `examples/echo.ts`. */
export const ECHO: ServerProgram = {
  name: "echo",
  announcement: (port) => `Serving on ('localhost', ${port})`,
  port: 8888,
  flags: { sequential: undefined, lines: undefined, raw: undefined },
  bad: [["--sequential", "--raw"], ["--lines", "--sequential"], ["--raw", "--lines"]],
};

/** A server that runs as a child, and its port. */
export class Running implements AsyncDisposable {
  /** The child. */
  readonly program: Program;
  /** Where it listens. */
  readonly port: number;

  /** Use {@linkcode run}. */
  constructor(program: Program, port: number) {
    this.program = program;
    this.port = port;
  }

  /** The next line of its log. */
  line(): Promise<string | undefined> {
    return this.program.line();
  }

  /** The next `count` lines of its log. */
  async lines(count: number): Promise<(string | undefined)[]> {
    const lines: (string | undefined)[] = [];
    while (lines.length < count) lines.push(await this.line());
    return lines;
  }

  /** Connects to it. */
  client(): Promise<Client> {
    return client(this.port);
  }

  /** Ends it by a signal, and tells how it ended. */
  async stop(signal: Deno.Signal = "SIGTERM"): Promise<Outcome> {
    this.program.signal(signal);
    return await this.program.end();
  }

  /** Ends it by force, if it has not ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.program[Symbol.asyncDispose]();
  }
}

/** Runs a server at a free port, with no more permission than that, until it has announced itself. */
export async function run(
  server: ServerProgram,
  flags: readonly string[] = [],
  allow: readonly string[] = NARROWEST,
): Promise<Running> {
  const program = start(`examples/${server.name}.ts`, ["--port", "0", ...flags], allow);
  const line = await program.line();
  const port = Number(line?.match(/\d+/)?.[0]);
  if (line === server.announcement(port)) return new Running(program, port);
  program.signal("SIGKILL");
  const { stderr } = await program.end();
  throw new Error(`Cannot run ${server.name}: it printed ${line}, and reported ${stderr}`);
}

/** Lines that a server of this process logs. */
export class Log {
  /** All of them so far. */
  readonly lines: string[] = [];
  #next = 0;
  #wake: (() => void) | undefined;

  /** Takes a line. */
  readonly write = (line: string): void => {
    this.lines.push(line);
    this.#wake?.();
  };

  /** The next line that was not read before. */
  async line(): Promise<string> {
    while (this.#next === this.lines.length) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    return this.lines[this.#next++]!;
  }
}

/** For how long a socket must take nothing to count as full, in milliseconds. */
const FULL = 300;

/**
 * Sends `piece` again and again, reading nothing, until it is no more taken: how many bytes were.
 *
 * That nothing happens can only be told by a clock; this is the one place where a test looks at it.
 */
export async function fill(
  client: { send(bytes: Uint8Array): Promise<void> },
  piece: Uint8Array,
  most: number = Infinity,
): Promise<number> {
  let taken = 0;
  while (taken < most) {
    const sent = client.send(piece).then(() => true);
    sent.catch(() => {}); // one that hangs fails when the client is closed
    let timer: ReturnType<typeof setTimeout> | undefined;
    const waited = new Promise<boolean>((resolve) => timer = setTimeout(resolve, FULL, false));
    const isTaken = await Promise.race([sent, waited]).finally(() => clearTimeout(timer));
    if (!isTaken) break;
    taken += piece.length;
  }
  return taken;
}

/** Starts a program that ends by itself. */
export async function outcome(
  name: string,
  flags: readonly string[],
  allow: readonly string[] = ["--no-prompt"],
): Promise<Outcome> {
  await using program = start(`examples/${name}.ts`, flags, allow);
  return await program.end();
}

/** Runs a tool that ends when its connection does: what it prints, if it is given `input` and no end of it. */
export async function talk(tool: string, args: readonly string[], input: string): Promise<string> {
  const child = new Deno.Command(tool, { args: [...args], stdin: "piped", stdout: "piped", stderr: "null" })
    .spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  const printed = await new Response(child.stdout).text();
  await writer.close().catch(() => {}); // nobody reads it any more
  await child.status;
  return printed;
}

/** Checks that a program refuses flags: one line on stderr that names what is wrong, and exit code 2. */
export async function assertRefused(name: string, flags: readonly string[], named: string): Promise<void> {
  const { code, lines, stderr } = await outcome(name, flags);
  const told = `${name} ${flags.join(" ")}: ${stderr}`;
  assertEquals([code, lines], [2, []], told);
  assertOneLine(stderr, named, told);
}

/** Checks that `stderr` is one line, without a stack, and names something. */
export function assertOneLine(stderr: string, named: string, told: string = stderr): void {
  assertEquals(stderr.split("\n").length, 2, told);
  assert(stderr.endsWith("\n") && stderr.includes(named), told);
}

/* --------------------------------------------- the list, for a program -------------------------------------------- */

/** Flags that no program has, and values that none takes, each with what must be named. */
const REFUSED: readonly (readonly [named: string, ...flags: string[]])[] = [
  ["--nope", "--nope"],
  ["--nope", "--nope=1"],
  ["--nope", "--help", "--nope"],
  ["-x", "-x"],
  ["extra", "extra"],
  ["__proto__", "--__proto__", "1"],
  ["constructor", "--constructor", "1"],
  ["--no-help", "--no-help"],
];

/** Flags of every program. */
const EVERY = { observe: "no page", tree: undefined, help: undefined, version: undefined };

/** Tests what every program must make of its command line; `flags` are all it has. */
export function testCommandLine(
  name: string,
  flags: Readonly<Record<string, string | undefined>>,
): void {
  Deno.test(
    `${name} refuses unknown flags and arguments in one line that names them, with 2`,
    TIME,
    async () => {
      await Promise.all(REFUSED.map(([named, ...flags]) => assertRefused(name, flags, named)));
    },
  );

  Deno.test(`${name} refuses an argument behind -- in one line that names it, with 2`, TIME, async () => {
    // A flag that has to be refused ends the program also if the argument is overlooked.
    const { code, lines, stderr } = await outcome(name, ["--version", "--", "extra"]);
    assertEquals([code, lines], [2, []]);
    assertOneLine(stderr, "extra");
  });

  Deno.test(
    `${name} refuses a value for a flag that takes none, in one line that names it, with 2`,
    TIME,
    async () => {
      await assertRefused(name, ["--version=never"], "--version");
    },
  );

  Deno.test(`${name} --help tells every flag and its default, without permission`, TIME, async () => {
    const { code, lines, stderr } = await outcome(name, ["--help"]);
    assertEquals([code, stderr], [0, ""]);
    for (const [flag, value] of Object.entries({ ...flags, ...EVERY })) {
      const line = lines.find((line) => line.trim().split(" ")[0] === `--${flag}`);
      assert(line !== undefined, `--${flag} in ${lines.join("\n")}`);
      if (value !== undefined) assert(line.includes(`default: ${value}`), line);
    }
    const told = lines.map((line) => line.trim().split(" ")[0]!).filter((word) => word.startsWith("--"));
    assertEquals(told.length, Object.keys({ ...flags, ...EVERY }).length, told.join(" "));
  });

  Deno.test(`${name} --version is one line, without permission`, TIME, async () => {
    const { code, lines, stderr } = await outcome(name, ["--version"]);
    assertEquals([code, lines, stderr], [0, [`${name} ${config.version}`], ""]);
  });
}

/* ---------------------------------------------- the list, for a server -------------------------------------------- */

/** Flags of every server, with their defaults. */
const SERVER_FLAGS = {
  hostname: "localhost",
  unix: "none",
  "tls-cert": "none",
  "tls-key": "none",
  "max-connections": "10000",
  "max-per-address": "0",
  "max-line": "65536",
  "line-rate": "0",
  "line-burst": "100",
  "idle-timeout": "0",
  quiet: undefined,
};

/** Values that every server must refuse. */
const BAD: readonly (readonly string[])[] = [
  ["--port"],
  ["--port="],
  ["--port", "x"],
  ["--port", "1e3"],
  ["--port", "0x50"],
  ["--port", "65536"],
  ["--port", "80.5"],
  ["--port=-1"],
  ["--port", "0", "--port", "x"],
  ["--hostname="],
  ["--hostname"],
  ["--max-connections", "0"],
  ["--max-connections", "99999999999999999999"],
  ["--max-line", "0"],
  ["--max-per-address=-1"],
  ["--line-rate", "fast"],
  ["--line-burst", "0"],
  ["--unix="],
  ["--max-line", "Infinity"],
  ["--idle-timeout", "NaN"],
  ["--idle-timeout=-1"],
];

/** Tests what every server must do as a program. */
export function testServerProgram(server: ServerProgram): void {
  const { name, announcement } = server;
  const path = `examples/${name}.ts`;

  testCommandLine(name, { port: `${server.port}`, ...SERVER_FLAGS, ...server.defaults, ...server.flags });

  Deno.test(`${name} refuses each bad value in one line that names its flag, with 2`, TIME, async () => {
    for (const half of [BAD, server.bad ?? []]) {
      await Promise.all(half.map((flags) => {
        const flag = flags.findLast((flag) => flag.startsWith("--"))!.split("=")[0]!;
        return assertRefused(name, flags, flag);
      }));
    }
  });

  Deno.test(`${name} announces itself in one line, with no permission but its address`, TIME, async () => {
    await using running = await run(server);
    using _ = await running.client();
    assert(running.port > 0);
    const { code, stderr } = await running.stop();
    assertEquals([code, stderr], [143, ""]);
  });

  Deno.test(`${name} at a port that is taken ends with one line that names it, and 1`, TIME, async () => {
    using taken = Deno.listen(FREE);
    const { port } = taken.addr;
    const allow = ["--no-prompt", `--allow-net=localhost:${port}`];
    const { code, lines, stderr } = await outcome(name, ["--port", `${port}`], allow);
    assertEquals([code, lines], [1, []], stderr);
    assertOneLine(stderr, `localhost:${port}`);
  });

  Deno.test(
    `${name} without permission ends with one line that names the flag to add, and 1`,
    TIME,
    async () => {
      for (const allow of [[], ["--allow-net=example.com"], ["--allow-net=127.0.0.1"]]) {
        const { code, lines, stderr } = await outcome(name, [], ["--no-prompt", ...allow]);
        assertEquals([code, lines], [1, []], stderr);
        assertOneLine(stderr, "--allow-net");
        assertOneLine(stderr, `localhost:${server.port}`);
      }
    },
  );

  Deno.test(
    `${name} at a host that is none or elsewhere ends with one line that names it`,
    TIME,
    async () => {
      for (const host of ["not a host", "192.0.2.1"]) {
        const { code, lines, stderr } = await outcome(name, ["--hostname", host, "--port", "0"], [
          "--allow-net",
        ]);
        assertEquals(lines, [], stderr);
        assertOneLine(stderr, host);
        assert(code === 1 || code === 2, `exit code ${code}`);
      }
    },
  );

  Deno.test(`${name} --hostname listens there`, TIME, async () => {
    const allow = ["--no-prompt", "--allow-net=127.0.0.1:0"];
    await using program = start(path, ["--port", "0", "--hostname", "127.0.0.1"], allow);
    const line = await program.line();
    const port = Number(line!.match(/(\d+)\)?$/)![1]);
    assertEquals(line!.replace("127.0.0.1", "localhost"), announcement(port));
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
  });

  for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
    Deno.test(
      `${name} at ${signal} closes its clients and ends with ${code}, with nothing on stderr`,
      TIME,
      async () => {
        await using running = await run(server, ["--quiet"]);
        using first = await running.client();
        using second = await running.client();
        await first.send("x\n");
        await second.send("y\n");
        await Promise.all([first.line(), second.line()]);
        running.program.signal(signal);
        await Promise.all([first.rest(), second.rest()]);
        assertEquals(await running.program.end(), { code, lines: [], stderr: "" });
      },
    );
  }

  Deno.test(`${name} --quiet logs nothing`, TIME, async () => {
    await using running = await run(server, ["--quiet"]);
    using other = await running.client();
    await other.send("register,Jane\n");
    await other.line();
    other.close();
    assertEquals(await running.stop(), { code: 143, lines: [], stderr: "" });
  });
}
