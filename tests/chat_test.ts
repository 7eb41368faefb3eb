import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { chat, type ChatOptions } from "../examples/chat.ts";
import type { Server } from "../net.ts";
import { Tasklet } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { type Client, client, vanish } from "./client.ts";
import { Program, start } from "./program.ts";
import { requires } from "./requires.ts";
import { catchReports } from "./reports.ts";

const GREETING = "type 'quit' to exit..";
const FAREWELL = "server is shutting down";
const TIME = { timeout: 30_000 };

/** Starts a chat on a free port, in this process. */
function open(options: ChatOptions = {}): Server {
  return chat({ port: 0, ...options });
}

/** Connects, and reads the greeting. */
async function join(port: number): Promise<Client> {
  const other = await client(port);
  assertEquals(await other.line(), GREETING);
  return other;
}

/** Waits until `from` has been heard by `to`: all that was sent before has gone its way. */
async function heard(from: Client, to: Client, text = "heard?"): Promise<void> {
  await from.send(text + "\n");
  assertEquals(await to.line(), text);
}

/** Sends as much as the peer takes; it may be gone before the end. */
async function sendUnlessClosed(to: Client, data: string | Uint8Array): Promise<void> {
  try {
    await to.send(data);
  } catch (error) {
    assert(
      error instanceof Deno.errors.BrokenPipe || error instanceof Deno.errors.ConnectionReset,
      `${error}`,
    );
  }
}

/* ----------------------------------------------- what one says ----------------------------------------------- */

Deno.test("chat sends each line to every other client, and not to who said it", TIME, async () => {
  await using server = open();
  const { port } = server;
  using alice = await join(port);
  using bob = await join(port);
  using carol = await join(port);
  await alice.send("hi bob\n");
  assertEquals([await bob.line(), await carol.line()], ["hi bob", "hi bob"]);
  await bob.send("hello\nalice\n");
  assertEquals(await alice.lines(2), ["hello", "alice"]); // and not her own
  assertEquals(await carol.lines(2), ["hello", "alice"]);
});

Deno.test("chat greets, and says nothing to who is alone", TIME, async () => {
  await using server = open();
  using alice = await client(server.port);
  await alice.send("hello?\nquit\n");
  assertEquals(await alice.rest(), GREETING + "\n");
});

Deno.test("chat passes lines on verbatim, but for spaces around and controls inside", TIME, async () => {
  await using server = open();
  using alice = await join(server.port);
  using bob = await join(server.port);
  const said = [
    ["plain", "plain"],
    ["  spaces around \t\r", "spaces around"],
    ["tab\tinside", "tab\tinside"],
    ["", ""],
    ["é€😀 日本語 עברית", "é€😀 日本語 עברית"],
    ["\x1b[2J\x07\x1b]0;title\x07boo\x7f", "[2J]0;titleboo"],
    ["one\rtwo\vthree\fx", "onetwothreex"],
    ["c1: \u0085\u009b31m", "c1: 31m"],
    ["type 'quit' to exit..", "type 'quit' to exit.."],
    ["QUIT", "QUIT"],
    ["quit now", "quit now"],
    ["x".repeat(65_536), "x".repeat(65_536)],
  ] as const;
  await alice.send(said.map(([line]) => line + "\n").join(""));
  assertEquals(await bob.lines(said.length), said.map(([, heard]) => heard));
});

Deno.test("chat shows U+FFFD for what is no UTF-8, and its sender stays", TIME, async () => {
  await using server = open();
  using alice = await join(server.port);
  using bob = await join(server.port);
  await alice.send(new Uint8Array([97, 0xc3, 10, 0x80, 98, 10, 0xe2, 0x82, 10]));
  assertEquals(await bob.lines(3), ["a\ufffd", "\ufffdb", "\ufffd"]);
  await heard(alice, bob);
});

Deno.test("chat makes the same lines of whatever pieces arrive", TIME, async () => {
  await using server = open();
  using alice = await join(server.port);
  using bob = await join(server.port);
  for (const byte of new TextEncoder().encode("h€llo\r\nworld\r\0again\n")) {
    await alice.send(new Uint8Array([byte]));
  }
  assertEquals(await bob.lines(3), ["h€llo", "world", "again"]);
});

Deno.test("chat keeps the order of each client among many", TIME, async () => {
  await using server = open();
  const clients = await Promise.all(Array.from({ length: 20 }, () => join(server.port)));
  await Promise.all(clients.map(async (client, i) => {
    for (let n = 0; n < 20; n++) await client.send(`${i} ${n}\n`);
  }));
  const all = await Promise.all(clients.map((client) => client.lines(19 * 20)));
  for (const client of clients) client.close();
  for (const [i, lines] of all.entries()) {
    for (let from = 0; from < 20; from++) {
      const expected = from === i ? [] : Array.from({ length: 20 }, (_, n) => `${from} ${n}`);
      assertEquals(lines.filter((line) => line?.startsWith(`${from} `)), expected);
    }
  }
});

/* ------------------------------------------------- how one goes ---------------------------------------------- */

Deno.test(
  "chat closes at quit, whatever is around it, and passes on what was said before",
  TIME,
  async () => {
    await using server = open();
    using bob = await join(server.port);
    for (const quit of ["quit\n", "quit\r\n", "  quit \r\n", "quit\r\0"]) {
      using alice = await join(server.port);
      await alice.send("before\n" + quit + "after\n");
      assertEquals([await alice.line(), await bob.line()], [null, "before"]);
    }
    using carol = await join(server.port);
    await heard(carol, bob, "no more than that");
  },
);

Deno.test(
  "chat takes Ctrl-C and Ctrl-D of telnet for quit, and answers so that telnet goes on",
  TIME,
  async () => {
    await using server = open();
    using bob = await join(server.port);
    const answers: string[] = [];
    for (const bytes of [[255, 244, 255, 253, 6], [4]]) {
      using alice = await join(server.port);
      await alice.send(new Uint8Array([98, 121, 101, 10, ...bytes, 120, 10]));
      answers.push(await alice.rest());
      assertEquals(await bob.line(), "bye");
    }
    assertEquals(answers, ["\ufffd\ufffd\x06", ""]); // FF FC 06
  },
);

Deno.test("chat treats a client that vanishes like one that quits", TIME, async () => {
  using reports = catchReports();
  await using server = open();
  using alice = await join(server.port);
  using bob = await join(server.port);
  await Promise.all(Array.from({ length: 20 }, () => vanish(server.port)));
  await heard(alice, bob);
  await vanish(server.port, "last words\n");
  assertEquals([await alice.line(), await bob.line()], ["last words", "last words"]);
  while (server.connections > 2) await heard(alice, bob);
  await reports.settled();
  assertEquals(reports.texts, []);
});

Deno.test("chat counts the last line of a client that ends its side without a newline", TIME, async () => {
  await using server = open();
  using bob = await join(server.port);
  using alice = await join(server.port);
  await alice.send("first\nlast");
  await alice.end();
  assertEquals([await alice.rest(), await bob.lines(2)], ["", ["first", "last"]]);
});

Deno.test("chat sends a client that has ended its side what is queued for it", TIME, async () => {
  await using server = open();
  using alice = await join(server.port);
  using bob = await join(server.port);
  using carol = await join(server.port);
  const lines = Array.from({ length: 20_000 }, (_, i) => `${i} ${"x".repeat(400)}`);
  const sent = bob.send(lines.join("\n") + "\n");
  assertEquals(await carol.lines(lines.length), lines); // alice reads nothing meanwhile
  await sent;
  await alice.end();
  assert(await alice.rest() === lines.join("\n") + "\n", "alice has got all of it");
});

Deno.test(
  "chat ends an over-long line with one line to its sender, whether its end has come or not",
  TIME,
  async () => {
    using reports = catchReports();
    await using server = open();
    using bob = await join(server.port);
    using carol = await join(server.port);
    for (const line of ["x".repeat(65_537) + "\n", "x".repeat(65_537) + "\r\n", "x".repeat(10 * 2 ** 20)]) {
      using alice = await join(server.port);
      await alice.send("before\n");
      await sendUnlessClosed(alice, line);
      assertMatch(await alice.line() ?? "", /^line too long/);
      assertEquals([await alice.line(), await bob.line(), await carol.line()], [null, "before", "before"]);
    }
    await heard(bob, carol);
    await reports.settled();
    assertEquals(reports.texts, []);
  },
);

Deno.test("chat takes maxLine for the most bytes a line may have", TIME, async () => {
  await using server = open({ maxLine: 4 });
  using bob = await join(server.port);
  using alice = await join(server.port);
  await alice.send("1234\r\nh€\n12345");
  assertEquals(await bob.lines(2), ["1234", "h€"]);
  assertMatch(await alice.line() ?? "", /^line too long/);
});

/* --------------------------------------------- who does not read --------------------------------------------- */

Deno.test(
  "chat drops a client that reads nothing at its backlog, once, and the others lose nothing",
  TIME,
  async () => {
    using reports = catchReports();
    const log: string[] = [];
    await using server = open({ backlog: 100, log: (line) => log.push(line) });
    using stuck = await join(server.port);
    using alice = await join(server.port);
    using bob = await join(server.port);
    const text = "x".repeat(10_000);
    let said = 0;
    while (log.length === 0) {
      const lines = Array.from({ length: 20 }, () => `${said++} ${text}`);
      await alice.send(lines.join("\n") + "\n");
      assertEquals(await bob.lines(lines.length), lines);
    }
    while (server.connections > 2) await heard(alice, bob); // it is given a second to take its last lines
    assertEquals(log.length, 1, log.join("\n"));
    const rest = await stuck.rest().catch(() => ""); // whole lines, up to where it was dropped
    for (const [i, line] of rest.split("\n").slice(0, -1).entries()) assertEquals(line, `${i} ${text}`);
    await reports.settled();
    assertEquals(reports.texts, []);
  },
);

Deno.test("chat does not drop a client that keeps reading, whatever comes in one burst", TIME, async () => {
  const log: string[] = [];
  await using server = open({ log: (line) => log.push(line) });
  using alice = await join(server.port);
  using bob = await join(server.port);
  for (const [count, length] of [[20_000, 100], [20_000, 1000], [200_000, 0]] as const) {
    const lines = Array.from({ length: count }, (_, i) => `${i}${"x".repeat(length)}`);
    const sent = alice.send(lines.join("\n") + "\n");
    const received = await bob.lines(count);
    await sent;
    assert(received.join() === lines.join(), `${count} lines of ${length} bytes`);
  }
  assertEquals(log, []);
});

Deno.test("chat does not drop a client that types fast and reads slowly what it needs", TIME, async () => {
  await using server = open({ backlog: 10 });
  using alice = await join(server.port);
  using bob = await join(server.port);
  const lines = Array.from({ length: 5000 }, (_, i) => `${i}`);
  await Promise.all([alice.send(lines.join("\n") + "\n"), bob.send(lines.join("\n") + "\n")]);
  assertEquals([await alice.lines(5000), await bob.lines(5000)], [lines, lines]);
});

/* -------------------------------------------------- the server ----------------------------------------------- */

Deno.test("chat tells its clients when it stops, after what was said", TIME, async () => {
  const server = open();
  using alice = await join(server.port);
  using bob = await join(server.port);
  await heard(alice, bob);
  await server.stop();
  assertEquals([await alice.rest(), await bob.rest()], [FAREWELL + "\n", FAREWELL + "\n"]);
});

Deno.test("chat takes maxConnections and idleTimeout", TIME, async () => {
  await using time = virtualTime();
  await using server = open({ maxConnections: 1, idleTimeout: 60_000 });
  using alice = await join(server.port);
  using bob = await client(server.port);
  assertMatch(await alice.line() ?? "", /^silent for too long/);
  assertEquals([await alice.line(), await bob.line(), time.now], [null, GREETING, 60_000]);
});

Deno.test("chat counts the idle time from the last byte, be it part of a line", TIME, async () => {
  await using time = virtualTime({ patience: 20 });
  await using server = open({ idleTimeout: 60_000 });
  using alice = await join(server.port);
  for (let i = 0; i < 8; i++) {
    await Tasklet.sleep(59_000);
    await alice.send("x");
  }
  assertEquals(time.now, 8 * 59_000);
  await alice.send("\nquit\n");
  assertEquals(await alice.rest(), "");
});

Deno.test("chat throws AddrInUse for a port that is taken", TIME, async () => {
  await using server = open();
  const { port } = server;
  assertThrows(() => chat({ port }), Deno.errors.AddrInUse, `localhost:${port}`);
  using _ = await join(port);
});

/* -------------------------------------------------- the program ---------------------------------------------- */

Deno.test("chat.ts announces its port in one line, and nothing more with --quiet", TIME, async () => {
  const port = freePort();
  await using program = start("examples/chat.ts", ["--port", `${port}`, "--quiet"]);
  assertEquals(await program.line(), `listening for connections on port ${port}`);
  {
    using alice = await join(port);
    using bob = await join(port);
    await heard(alice, bob);
    await alice.send("quit\n");
    assertEquals(await alice.line(), null);
  }
  program.signal("SIGINT");
  assertEquals(await program.end(), { code: 130, lines: [], stderr: "" });
});

for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
  Deno.test(`chat.ts tells its clients at ${signal}, and exits with ${code}`, TIME, async () => {
    await using program = start("examples/chat.ts", ["--port", "0"]);
    const port = await program.port();
    using alice = await join(port);
    using bob = await join(port);
    await heard(alice, bob);
    program.signal(signal);
    assertEquals([await alice.rest(), await bob.rest()], [FAREWELL + "\n", FAREWELL + "\n"]);
    assertEquals(await program.end(), { code, lines: [], stderr: "" });
  });

  Deno.test(
    `chat.ts is not held up at ${signal} by a client that does not read`,
    { timeout: 15_000 },
    async () => {
      await using program = start("examples/chat.ts", ["--port", "0", "--quiet"]);
      const port = await program.port();
      using _stuck = await join(port);
      using alice = await join(port);
      using bob = await join(port);
      const lines = Array.from({ length: 900 }, (_, i) => `${i} ${"x".repeat(10_000)}`); // more than a socket takes
      await Promise.all([alice.send(lines.join("\n") + "\n"), bob.lines(lines.length)]);
      program.signal(signal);
      const outcome = await program.end(); // within this test's time
      assertEquals([outcome, await alice.rest()], [{ code, lines: [], stderr: "" }, FAREWELL + "\n"]);
    },
  );
}

Deno.test("chat.ts keeps quiet on stderr whatever its clients do", { timeout: 60_000 }, async () => {
  await using program = start("examples/chat.ts", ["--port", "0"]);
  const port = await program.port();
  using alice = await join(port);
  using bob = await join(port);
  await Promise.all(Array.from({ length: 20 }, (_, i) => vanish(port, i % 2 ? "boo\n" : "")));
  {
    using mallory = await join(port);
    await sendUnlessClosed(mallory, new Uint8Array(10 * 2 ** 20).fill(120));
    let told = await mallory.line();
    while (told === "boo") told = await mallory.line(); // of one who had vanished, and was heard late
    assertMatch(told ?? "", /^line too long/);
    assertEquals(await mallory.line(), null);
  }
  using noise = await client(port);
  await sendUnlessClosed(noise, crypto.getRandomValues(new Uint8Array(60_000)));
  noise.close();
  await alice.send("still here\n");
  while (await bob.line() !== "still here");
  program.signal("SIGTERM");
  assertEquals(await program.end(), { code: 143, lines: [], stderr: "" });
});

Deno.test("chat.ts closes who is silent for --idle-timeout seconds", TIME, async () => {
  await using program = start("examples/chat.ts", ["--port", "0", "--idle-timeout", "1"]);
  using alice = await join(await program.port());
  assertMatch(await alice.line() ?? "", /^silent for too long/);
  assertEquals(await alice.line(), null);
});

/* ---------------------------------------------- other people's programs -------------------------------------- */

Deno.test("chat.ts talks to nc, which may be killed", { ...TIME, ...requires("nc") }, async () => {
  await using program = start("examples/chat.ts", ["--port", "0"]);
  const port = await program.port();
  using alice = await join(port);
  await using bob = new Program("nc", ["localhost", `${port}`], { stdin: "piped" });
  assertEquals(await bob.line(), GREETING);
  await bob.type("hello, it's bob\n");
  assertEquals(await alice.line(), "hello, it's bob");
  await alice.send("hi bob\n");
  assertEquals(await bob.line(), "hi bob");

  await using carol = new Program("nc", ["localhost", `${port}`], { stdin: "piped" });
  assertEquals(await carol.line(), GREETING);
  await carol.type("carol\n");
  assertEquals([await alice.line(), await bob.line()], ["carol", "carol"]);
  carol.signal("SIGKILL");
  await carol.end();
  await alice.send("where is carol?\n");
  assertEquals(await bob.line(), "where is carol?");

  await bob.type("quit\n");
  const { code, lines } = await bob.end();
  assertEquals([code, lines], [0, []]);
  program.signal("SIGINT");
  assertEquals(await program.end(), { code: 130, lines: [], stderr: "" });
});

Deno.test("chat.ts answers nc -N, which ends its side first", { ...TIME, ...requires("nc") }, async () => {
  await using program = start("examples/chat.ts", ["--port", "0"]);
  const port = await program.port();
  using alice = await join(port);
  await using bob = new Program("nc", ["-N", "localhost", `${port}`], { stdin: "piped" });
  await bob.type("one\ntwo");
  assertEquals((await bob.end()).lines, [GREETING]);
  assertEquals(await alice.lines(2), ["one", "two"]);
});

Deno.test("chat.ts tells nc that its line is too long", { ...TIME, ...requires("nc", "bash") }, async () => {
  await using program = start("examples/chat.ts", ["--port", "0"]);
  const port = await program.port();
  const flood = `head -c ${10 * 2 ** 20} /dev/zero | tr '\\0' x | nc localhost ${port}`;
  await using nc = new Program("bash", ["-c", flood]);
  assertEquals((await nc.end()).lines, [GREETING, "line too long, goodbye"]);
});

Deno.test("chat.ts talks to telnet", { ...TIME, ...requires("telnet") }, async () => {
  await using program = start("examples/chat.ts", ["--port", "0"]);
  const port = await program.port();
  using alice = await join(port);
  await using bob = new Program("telnet", ["localhost", `${port}`], { stdin: "piped" });
  while (await bob.line() !== GREETING);
  await bob.type("hello, it's bob\n");
  assertEquals(await alice.line(), "hello, it's bob");
  await alice.send("hi bob é€\n");
  assertEquals(await bob.line(), "hi bob é€");
  await bob.type("quit\n");
  assertEquals(await bob.line(), undefined);
});

Deno.test(
  "chat.ts ends for telnet at Ctrl-C in a terminal",
  { ...TIME, ...requires("telnet", "nc", "tmux") },
  async () => {
    await using program = start("examples/chat.ts", ["--port", "0"]);
    const port = await program.port();
    await using bob = new Program("nc", ["localhost", `${port}`], { stdin: "piped" });
    assertEquals(await bob.line(), GREETING);
    await using terminal = await Terminal.open(`telnet localhost ${port}`);
    await terminal.shows(GREETING);
    await terminal.type("hi bob", "Enter");
    assertEquals(await bob.line(), "hi bob");
    await bob.type("hello, it's bob\n");
    await terminal.shows("hello, it's bob");
    await terminal.type("C-c");
    await terminal.shows("Connection closed by foreign host.");
    await bob.type("quit\n");
    assertEquals((await bob.end()).lines, []);
    program.signal("SIGINT");
    assertEquals(await program.end(), { code: 130, lines: [], stderr: "" });
  },
);

/** A terminal of its own, in which a command runs. */
class Terminal implements AsyncDisposable {
  readonly #socket: string;

  private constructor(socket: string) {
    this.#socket = socket;
  }

  static async open(command: string): Promise<Terminal> {
    const terminal = new Terminal(`chat-test-${crypto.randomUUID()}`);
    // It stays open when the command has ended, so that what it showed can be read.
    await terminal.#tmux("new-session", "-d", "-x", "80", "-y", "24", `${command}; sleep 60`);
    return terminal;
  }

  /** Presses keys: text, or a name such as `Enter` or `C-c`. */
  async type(...keys: string[]): Promise<void> {
    for (const key of keys) await this.#tmux("send-keys", key);
  }

  /** Waits until `text` can be read. */
  async shows(text: string): Promise<void> {
    while (!(await this.#tmux("capture-pane", "-p")).includes(text)); // the test's time is the bound
  }

  async #tmux(...args: string[]): Promise<string> {
    await using tmux = new Program("tmux", ["-L", this.#socket, "-f", "/dev/null", ...args]);
    const { code, lines, stderr } = await tmux.end();
    assertEquals([code, stderr], [0, ""]);
    return lines.join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tmux("kill-server");
  }
}

/* ------------------------------------------------ flags and mistakes ----------------------------------------- */

Deno.test(
  "chat.ts --help tells every flag with its default, and --version the version, without permissions",
  TIME,
  async () => {
    await using help = start("examples/chat.ts", ["--help"], ["--no-prompt"]);
    const { code, lines, stderr } = await help.end();
    assertEquals([code, stderr], [0, ""]);
    const flags = {
      port: "9010",
      hostname: "localhost",
      "max-connections": "10000",
      "max-line": "65536",
      "idle-timeout": "0",
      backlog: "1000",
      "reuse-port": "",
      cluster: "none",
      room: "lobby",
      credentials: "none",
      quiet: "",
      help: "",
      version: "",
    };
    for (const [flag, value] of Object.entries(flags)) {
      const line = lines.find((line) => line.trim().startsWith(`--${flag}`)) ?? "";
      assert(line.includes(value) && line !== "", `--${flag} in ${line}`);
    }
    await using version = start("examples/chat.ts", ["--version"], ["--no-prompt"]);
    const { version: number } = JSON.parse(await Deno.readTextFile(new URL("../deno.json", import.meta.url)));
    assertEquals(await version.end(), { code: 0, lines: [`chat ${number}`], stderr: "" });
  },
);

Deno.test(
  "chat.ts refuses unknown flags and bad values in one line that names them, with exit code 2",
  TIME,
  async () => {
    const mistakes: [args: string[], named: string[]][] = [
      [["--bogus"], ["--bogus"]],
      [["--bogus=1"], ["--bogus"]],
      [["-x"], ["-x"]],
      [["somewhere"], ["somewhere"]],
      [["--", "somewhere"], ["somewhere"]],
      [["--port", "abc"], ["--port", "abc"]],
      [["--port"], ["--port"]],
      [["--port", "65536"], ["--port", "65536"]],
      [["--port", "-1"], ["-1"]],
      [["--port", "1e3"], ["--port", "1e3"]],
      [["--hostname="], ["--hostname"]],
      [["--max-connections", "0"], ["--max-connections", "0"]],
      [["--max-line", "1.5"], ["--max-line", "1.5"]],
      [["--idle-timeout", "soon"], ["--idle-timeout", "soon"]],
      [["--backlog", "0"], ["--backlog", "0"]],
      [["--cluster="], ["--cluster"]],
      [["--room", "x".repeat(65)], ["--room", "1 to 64"]],
      [["--reuse-port=yes"], ["--reuse-port"]],
      [["--quiet=maybe"], ["--quiet"]],
      [["--port", "a\nb\x1b[2J"], ["--port", "a\\nb\\u001b[2J"]],
    ];
    const log = await Promise.all(mistakes.map(async ([args, named]) => {
      await using program = start("examples/chat.ts", ["--port", "0", ...args]);
      // One that takes it for right would never end.
      void program.line().then((line) => line === undefined || program.signal("SIGKILL"));
      const { code, stderr } = await program.end();
      const isOneLine = /^chat: .*\n$/.test(stderr);
      return [args, code, isOneLine, named.filter((name) => !stderr.includes(name))];
    }));
    assertEquals(log, mistakes.map(([args]) => [args, 2, true, []]));
  },
);

Deno.test(
  "chat.ts reports an address it cannot have in one line that names it, with exit code 1",
  TIME,
  async () => {
    await using server = open();
    const addresses: [args: string[], named: string][] = [
      [["--port", `${server.port}`], `localhost:${server.port}`],
      [["--port", "0", "--hostname", "203.0.113.1"], "203.0.113.1"],
      [["--port", "0", "--hostname", "nowhere.invalid"], "nowhere.invalid"],
    ];
    const log = await Promise.all(addresses.map(async ([args, named]) => {
      await using program = start("examples/chat.ts", args, ["--no-prompt", "--allow-net"]);
      const { code, lines, stderr } = await program.end();
      return [args, code, lines, /^chat: .*\n$/.test(stderr), stderr.includes(named)];
    }));
    assertEquals(log, addresses.map(([args]) => [args, 1, [], true, true]));
  },
);

Deno.test(
  "chat.ts without permission names the flag to add in one line, with exit code 1",
  TIME,
  async () => {
    await using program = start("examples/chat.ts", [], ["--no-prompt"]);
    const { code, lines, stderr } = await program.end();
    assertEquals([code, lines], [1, []]);
    assertMatch(stderr, /^chat: .*localhost:9010.*--allow-net.*\n$/);
  },
);

/** A port on which nobody listens. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "localhost", port: 0 });
  return listener.addr.port;
}
