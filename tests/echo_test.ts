import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Server } from "../net.ts";
import { virtualTime } from "../testing.ts";
import { echo, type EchoOptions } from "../examples/echo.ts";
import { type Client, client, vanish } from "./client.ts";
import { NARROW, start } from "./program.ts";
import { requires } from "./requires.ts";
import { catchReports } from "./reports.ts";
import { ECHO, fill, FREE, Log, outcome, run, talk, testServerProgram, TIME } from "./servers.ts";

const encoder = new TextEncoder();

/** Starts an echo server in this process, and tells what it logs. */
function open(options: EchoOptions = {}): { log: Log; port: number; server: Server } & AsyncDisposable {
  const log = new Log();
  const server = echo({ ...FREE, ...options, log: log.write });
  return { log, port: server.port, server, [Symbol.asyncDispose]: () => server.stop() };
}

/** What is logged of a chunk. */
function logged(text: string, user: Client): string[] {
  return [`Received ${text} from ('127.0.0.1', ${user.port})`, `Send: ${text}`];
}

/** Bytes of every kind, `count` of them, in no order that repeats soon. */
function noise(count: number): Uint8Array {
  let state = 1;
  return Uint8Array.from({ length: count }, () => (state = state * 48_271 % 2_147_483_647) & 255);
}

const CLOSED = "Close the client socket";

/* ----------------------------------------------------- chunks ---------------------------------------------------- */

Deno.test("echo sends back each chunk as it came, and logs it", TIME, async () => {
  await using opened = open();
  using jane = await client(opened.port);
  for (const text of ["hello", "with a newline\n", " ä 名 ", "a\r\n\r\nb"]) {
    assertEquals(await jane.ask(text, text), text);
  }
  await jane.end();
  assertEquals(await jane.rest(), "");
  await opened.server.stop();
  assertEquals(opened.log.lines, [
    ...logged(`"hello"`, jane),
    ...logged(`"with a newline\\n"`, jane),
    ...logged(`" ä 名 "`, jane),
    ...logged(`"a\\r\\n\\r\\nb"`, jane),
    CLOSED,
  ]);
});

Deno.test("echo closes at a blank chunk, and says so", TIME, async () => {
  await using opened = open();
  for (const blank of ["\n", "\r\n", " ", " \t \n"]) {
    using jane = await client(opened.port);
    assertEquals(await jane.ask("hello\n", "hello\n"), "hello\n");
    await jane.send(blank);
    assertEquals(await jane.rest(), "");
    assertEquals([await opened.log.line(), await opened.log.line()], logged(`"hello\\n"`, jane));
    assertEquals(await opened.log.line(), CLOSED);
  }
});

Deno.test(
  "echo cuts what is long into chunks of at most 100 bytes, of which none is lost",
  TIME,
  async () => {
    await using opened = open();
    for (const text of ["x".repeat(100), "x".repeat(101), "0123456789".repeat(55), "ä€😀".repeat(500)]) {
      using jane = await client(opened.port);
      const from = opened.log.lines.length;
      await jane.send(text);
      await jane.end();
      assertEquals(await jane.rest(), text);
      while (await opened.log.line() !== CLOSED);
      const lines = opened.log.lines.slice(from, -1);
      const sent = lines.filter((line) => line.startsWith("Send: ")).map((line) => JSON.parse(line.slice(6)));
      // A character that was cut is logged as two that nobody can read.
      assert(
        sent.every((chunk) => encoder.encode(chunk.replaceAll("\uFFFD", "x")).length <= 100),
        lines.join("\n"),
      );
      if (!text.includes("ä")) assertEquals(sent.join(""), text);
      assertEquals(lines.length, 2 * sent.length);
    }
  },
);

Deno.test("echo sends back bytes that are no text", TIME, async () => {
  await using opened = open();
  using jane = await client(opened.port);
  const bytes = new Uint8Array([0, 255, 244, 255, 253, 6, 4, 0xc3, 0x28, 1, 127, 128]);
  await jane.send(bytes);
  assertEquals(await jane.bytes(bytes.length), bytes);
  assertEquals(await jane.ask("still here", "still here"), "still here");
});

Deno.test(
  "echo logs each chunk in one line that can neither forge another nor drive a terminal",
  TIME,
  async () => {
    await using opened = open();
    using jane = await client(opened.port);
    for (
      const text of [
        "a\nClose the client socket",
        "\x1b[2Jb",
        "c\u0085\u2028\u2029d\u202ee",
        "\x07\x7f\x9b31m",
        `"q"\\`,
      ]
    ) {
      assertEquals(await jane.ask(text, text), text);
    }
    await jane.end();
    await jane.rest();
    await opened.server.stop();
    assertEquals(opened.log.lines.length, 11);
    // deno-lint-ignore no-control-regex
    const unsafe = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e]/;
    assertEquals(opened.log.lines.filter((line) => unsafe.test(line)), []);
    const sent = opened.log.lines.filter((line) => line.startsWith("Send: "));
    assertEquals(JSON.parse(sent[0]!.slice(6)), "a\nClose the client socket");
    assertEquals(JSON.parse(sent[4]!.slice(6)), `"q"\\`);
  },
);

Deno.test("echo serves many clients at once", TIME, async () => {
  await using opened = open();
  const all = await Promise.all(Array.from({ length: 50 }, () => client(opened.port)));
  for (let round = 0; round < 3; round++) {
    const asked = all.map((each, i) => each.ask(`${round}:${i}`, `${round}:${i}`));
    assertEquals(await Promise.all(asked), all.map((_, i) => `${round}:${i}`));
  }
  for (const each of all) each.close();
});

for (const mode of ["chunks", "sequential", "lines", "raw"] as const) {
  Deno.test(`echo (${mode}) reports nothing about clients that are gone without a word`, TIME, async () => {
    using reports = catchReports();
    await using opened = open({ mode });
    for (let i = 0; i < 10; i++) await vanish(opened.port, "hello\n", 6);
    for (let i = 0; i < 10; i++) await vanish(opened.port, "hello\n", 0);
    using jane = await client(opened.port);
    assertEquals(await jane.ask("still here\n", "still here\n"), "still here\n");
    await opened.server.stop();
    await reports.settled();
    assertEquals(reports.texts, []);
    // Who was gone before the server accepted may never have been seen.
    const closed = opened.log.lines.filter((line) => line === CLOSED).length;
    if (mode !== "raw") assert(closed >= 11 && closed <= 21, `${closed}`);
  });

  Deno.test(
    `echo (${mode}) closes a client that is silent for too long, and reports nothing`,
    TIME,
    async () => {
      using reports = catchReports();
      await using time = virtualTime();
      await using opened = open({ mode, idleTimeout: 60_000 });
      using silent = await client(opened.port);
      await silent.send("hello\n");
      assertMatch(await silent.rest(), /^hello\n[^\n]*\n?$/); // it may be told
      assertEquals(time.now, 60_000);
      await opened.server.stop();
      await reports.settled();
      assertEquals(reports.texts, []);
    },
  );

  Deno.test(`echo (${mode}) answers a half-closed client to the end`, TIME, async () => {
    await using opened = open({ mode });
    using jane = await client(opened.port);
    const text = "0123456789\n".repeat(20_000);
    const [, echoed] = await Promise.all([jane.send(text).then(() => jane.end()), jane.rest()]);
    // In chunks, one that is blank would end it; there is none.
    assert(echoed === text, `${echoed.length} of ${text.length}`);
  });

  Deno.test(
    `echo (${mode}) stops reading from a client that does not read, and loses nothing`,
    TIME,
    async () => {
      await using opened = open({ mode });
      using jane = await client(opened.port);
      const piece = encoder.encode("0123456789abcde\n".repeat(4096));
      const most = 64 * 1024 * 1024;
      const taken = await fill(jane, piece, most);
      assert(taken < most, "it took 64 MiB");
      assert(taken > 0);
      if (mode === "chunks" || mode === "sequential") return; // a log line for each 100 bytes of 10 MB would take a while
      const echoed = await jane.bytes(taken);
      assertEquals(echoed.length, taken);
      for (let at = 0; at < taken; at += piece.length) {
        assert(echoed.subarray(at, at + piece.length).every((byte, i) => byte === piece[i]));
      }
    },
  );
}

/* --------------------------------------------------- sequential -------------------------------------------------- */

Deno.test(
  "echo (sequential) serves a second client when the first has gone, in chunks of 16 bytes",
  TIME,
  async () => {
    await using opened = open({ mode: "sequential" });
    using first = await client(opened.port);
    assertEquals(await first.ask("first", "first"), "first");
    using second = await client(opened.port);
    await second.send("second, of more than 16 bytes");
    for (const text of ["I am", "still", "here"]) assertEquals(await first.ask(text, text), text);
    assertEquals(opened.server.connections, 1);
    first.close();
    assertEquals(await second.read("second, of more than 16 bytes"), "second, of more than 16 bytes");
    await second.end();
    assertEquals(await second.rest(), "");
    const lines: string[] = [];
    while (lines.filter((line) => line === CLOSED).length < 2) lines.push(await opened.log.line());
    assertEquals(lines.filter((line) => line !== "waiting for a connection"), [
      `connection from ('127.0.0.1', ${first.port})`,
      ...["first", "I am", "still", "here"].flatMap((text) => logged(`"${text}"`, first)),
      CLOSED,
      `connection from ('127.0.0.1', ${second.port})`,
      ...logged(`"second, of more "`, second),
      ...logged(`"than 16 bytes"`, second),
      CLOSED,
    ]);
  },
);

Deno.test("echo (sequential) lets the next in, however the one before goes", TIME, async () => {
  await using opened = open({ mode: "sequential" });
  const leave: ((user: Client) => unknown)[] = [
    (user) => user.close(),
    (user) => user.end(),
    (user) => user.send("\n"),
  ];
  for (const go of leave) {
    using user = await client(opened.port);
    using next = await client(opened.port);
    await next.send("next");
    assertEquals(await user.ask("hello", "hello"), "hello");
    await go(user);
    assertEquals(await next.read("next"), "next");
  }
});

/* ------------------------------------------------- lines, and bytes ---------------------------------------------- */

Deno.test("echo (lines) sends back lines, without controls, the last one too", TIME, async () => {
  await using opened = open({ mode: "lines" });
  using jane = await client(opened.port);
  await jane.send("one\r\n\ntwo\x1b[2J\nthree " + "x".repeat(1000) + "\nlast");
  await jane.end();
  assertEquals(await jane.rest(), `one\n\ntwo[2J\nthree ${"x".repeat(1000)}\nlast\n`);
});

Deno.test("echo (lines) takes invalid UTF-8 as U+FFFD, and its sender stays", TIME, async () => {
  await using opened = open({ mode: "lines" });
  using jane = await client(opened.port);
  await jane.send(new Uint8Array([97, 0xc3, 0x28, 10]));
  assertEquals(await jane.read("a\uFFFD(\n"), "a\uFFFD(\n");
  assertEquals(await jane.ask("here\n", "here\n"), "here\n");
});

Deno.test(
  "echo (lines) tells the sender of an over-long line why, in one line, and closes",
  TIME,
  async () => {
    using reports = catchReports();
    await using opened = open({ mode: "lines", maxLine: 100 });
    for (const end of ["\n", "\nmore\n", ""]) {
      using jane = await client(opened.port);
      await jane.send("short\n" + "x".repeat(101) + end);
      assertMatch(await jane.rest(), /^short\n[^\n]*too long[^\n]*\n$/i);
    }
    await reports.settled();
    assertEquals(reports.texts, []);
  },
);

Deno.test("echo (lines) ends at Ctrl-C and Ctrl-D", TIME, async () => {
  await using opened = open({ mode: "lines" });
  for (const end of [[4], [255, 244]]) {
    using jane = await client(opened.port);
    assertEquals(await jane.ask("hello\n", "hello\n"), "hello\n");
    await jane.send(new Uint8Array([...end, ...encoder.encode("not any more\n")]));
    assertEquals(await jane.rest(), "");
  }
});

Deno.test("echo (raw) sends back any bytes to the end, and logs nothing", TIME, async () => {
  await using opened = open({ mode: "raw" });
  using jane = await client(opened.port);
  const bytes = noise(5_000_000);
  const [, echoed] = await Promise.all([jane.send(bytes).then(() => jane.end()), jane.bytes(Infinity)]);
  assertEquals(echoed.length, bytes.length);
  assert(echoed.every((byte, i) => byte === bytes[i]));
  using blank = await client(opened.port);
  for (const text of ["\n", "  ", "\0", "\x04"]) assertEquals(await blank.ask(text, text), text);
  assertEquals(opened.log.lines, []);
});

/* --------------------------------------------------- the program ------------------------------------------------- */

testServerProgram(ECHO);

Deno.test("echo logs to stdout, and at SIGINT closes its client", TIME, async () => {
  await using running = await run(ECHO);
  using jane = await client(running.port);
  assertEquals(await jane.ask("hello\n", "hello\n"), "hello\n");
  assertEquals(await running.lines(2), logged(`"hello\\n"`, jane));
  running.program.signal("SIGINT");
  assertEquals(await jane.rest(), "");
  assertEquals(await running.program.end(), { code: 130, lines: [CLOSED], stderr: "" });
});

Deno.test(
  "echo --sequential says when it waits and who comes, and a second client really waits",
  TIME,
  async () => {
    await using running = await run(ECHO, ["--sequential"]);
    assertEquals(await running.line(), "waiting for a connection");
    using first = await client(running.port);
    assertEquals(await running.line(), `connection from ('127.0.0.1', ${first.port})`);
    using second = await client(running.port);
    await second.send("let me in");
    assertEquals(await first.ask("no", "no"), "no");
    assertEquals(await running.lines(2), logged(`"no"`, first));
    await first.end();
    assertEquals(await first.rest(), "");
    assertEquals(await second.read("let me in"), "let me in");
    assertEquals(await running.lines(5), [
      CLOSED,
      "waiting for a connection",
      `connection from ('127.0.0.1', ${second.port})`,
      ...logged(`"let me in"`, second),
    ]);
    const { code, stderr } = await running.stop();
    assertEquals([code, stderr], [143, ""]);
  },
);

Deno.test("echo --sequential listens on 10000 unless told otherwise", TIME, async () => {
  const { code, stderr } = await outcome("echo", ["--sequential"]);
  assertEquals(code, 1);
  assertMatch(stderr, /localhost:10000/);
});

Deno.test("echo --lines and --raw reach the server, also with --max-line", TIME, async () => {
  await using lines = await run(ECHO, ["--lines", "--max-line", "10"]);
  using jane = await client(lines.port);
  assertEquals(await jane.ask("hello\x1b\n", "hello\n"), "hello\n");
  await jane.send("x".repeat(11));
  assertMatch(await jane.rest(), /^[^\n]*too long[^\n]*\n$/);
  assertEquals((await lines.stop()).stderr, "");
  await using raw = await run(ECHO, ["--raw"]);
  using zak = await client(raw.port);
  assertEquals(await zak.ask("\n\x1b\x04", "\n\x1b\x04"), "\n\x1b\x04");
  assertEquals(await raw.stop(), { code: 143, lines: [], stderr: "" });
});

for (const mode of [[], ["--sequential"], ["--lines"], ["--raw"]]) {
  Deno.test(
    `echo ${mode.join("")} at SIGTERM is not held up by a client that does not read`,
    TIME,
    async () => {
      await using running = await run(ECHO, [...mode, "--quiet"]);
      using stuck = await client(running.port);
      await fill(stuck, encoder.encode("0123456789abcde\n".repeat(4096)));
      assertEquals(await running.stop(), { code: 143, lines: [], stderr: "" });
    },
  );
}

Deno.test("echo talks to nc, byte by byte", { ...TIME, ...requires("nc", "bash") }, async () => {
  for (const mode of [[], ["--sequential"], ["--raw"]]) {
    await using program = start("examples/echo.ts", ["--port", "0", "--quiet", ...mode], NARROW);
    const port = (await program.line())!.match(/(\d+)\)/)![1];
    for (const text of ["hello", "hello\\n", "a\\0b\\377", "0123456789".repeat(30)]) {
      const args = ["-c", `printf '${text}' | nc -N localhost ${port} | cmp - <(printf '${text}')`];
      const { code, stdout } = await new Deno.Command("bash", { args }).output();
      assertEquals([code, new TextDecoder().decode(stdout)], [0, ""], `${mode} ${text}`);
    }
  }
});

Deno.test("echo --lines talks to telnet", { ...TIME, ...requires("telnet") }, async () => {
  await using running = await run(ECHO, ["--lines", "--quiet"]);
  const printed = await talk("telnet", ["localhost", `${running.port}`], "hello\nwörld\n\x04");
  assertMatch(printed, /\nhello\nwörld\n$/);
});
