import { assertEquals, assertThrows } from "@std/assert";
import { BufferedStream } from "../stream.ts";
import { Tasklet } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { catchReports } from "./reports.ts";
import { open, outcome, settle, Wire } from "./wire.ts";

const encoder = new TextEncoder();

const [IAC, DO, WONT, IP, TIMING_MARK, CTRL_D] = [255, 253, 252, 244, 6, 4] as const;

/* ------------------------------------------------ the stream ------------------------------------------------- */

Deno.test("BufferedStream refuses bounds that are no positive integers and not Infinity", () => {
  for (const option of ["maxLineLength", "maxBuffered"]) {
    for (const value of [0, -1, 1.5, NaN]) {
      assertThrows(
        () => new BufferedStream(new Wire(), { [option]: value }),
        RangeError,
        `"${option}" must be a positive integer, got ${value}`,
      );
    }
    new BufferedStream(new Wire(), { [option]: Infinity });
  }
});

/* -------------------------------------------- BufferedStream.close() ----------------------------------------- */

Deno.test("BufferedStream.close() sends what is queued, then closes", async () => {
  const { wire, writer, close } = open();
  writer.write("bye");
  assertEquals([await close(), wire.text, wire.isClosed], [true, "bye", true]);
});

Deno.test("BufferedStream.close() gives a peer that takes nothing no more than its timeout", async () => {
  await using time = virtualTime();
  const log: unknown[] = [];
  for (const options of [{ timeout: 300 }, {}]) {
    const { wire, writer, close } = open();
    wire.room = 1;
    writer.write("bye");
    const start = time.now;
    log.push(await close(options), time.now - start, wire.text, wire.isClosed);
  }
  assertEquals(log, [false, 300, "b", true, false, 1000, "b", true]);
});

Deno.test("BufferedStream.close() tells that a peer has gone, and closes", async () => {
  const { wire, writer, close } = open();
  writer.write("bye");
  wire.break(new Error("gone"));
  assertEquals([await close(), wire.isClosed], [false, true]);
});

Deno.test("BufferedStream.close() tells that a write has failed before, also when nobody was told", async () => {
  await using time = virtualTime();
  const log: unknown[] = [];
  for (const timeout of [Infinity, 10]) {
    const { wire, writer, close } = open();
    wire.room = 0;
    writer.write("lost");
    const flushed = outcome(() => writer.flush({ timeout }));
    await time.advance(10);
    writer.write("lost as well");
    wire.break(new Error("gone"));
    await settle();
    log.push(await flushed, await close(), await close(), writer.buffered, wire.isClosed);
  }
  const rest = [false, false, 0, true];
  assertEquals(log, ["Error", ...rest, "TimeoutError", ...rest]);
});

Deno.test("BufferedStream.close() lingers as long as it is told for a peer that still sends", async () => {
  await using time = virtualTime();
  const log: unknown[] = [];
  for (const end of [["more", "and more", null], ["more"], [new Error("reset")]]) {
    const { wire, writer, close } = open();
    writer.write("bye");
    wire.feed(...end);
    const start = time.now;
    log.push([await close({ linger: 300 }), wire.text, wire.isClosed, time.now - start]);
  }
  assertEquals(log, [[true, "bye", true, 0], [true, "bye", true, 300], [true, "bye", true, 0]]);
});

Deno.test("BufferedStream.close() is harmless twice", async () => {
  const { wire, writer, close } = open();
  writer.write("bye");
  assertEquals([await close(), await close(), wire.text], [true, true, "bye"]);
});

Deno.test("BufferedStream is closed by await using", async () => {
  const wire = new Wire();
  {
    await using stream = new BufferedStream(wire);
    stream.writer.write("bye");
  }
  assertEquals([wire.text, wire.isClosed], ["bye", true]);
});

Deno.test("BufferedStream.close() flushes in the finally block of a tasklet that is killed", async () => {
  const { wire, writer, close } = open();
  const task = Tasklet.new(async () => {
    try {
      await Tasklet.sleep(60_000);
    } finally {
      writer.write("bye");
      await close();
    }
  })();
  await settle();
  await task.kill();
  assertEquals([wire.text, wire.isClosed], ["bye", true]);
});

Deno.test("BufferedStream.close() that is killed goes on within the grace while the peer reads, then ends with the exit", async () => {
  await using time = virtualTime();
  const log: unknown[] = [];
  const begin: Record<string, (ready: Promise<void>) => Promise<void> | undefined> = {
    "while it waits": () => undefined,
    "before it waits": (ready) => ready, // no wait point
  };
  for (const [name, before] of Object.entries(begin)) {
    const { wire, writer, close } = open();
    wire.room = 0;
    const { promise, resolve } = Promise.withResolvers<void>();
    const start = time.now;
    const task = Tasklet.new(async () => {
      writer.write("bye");
      await before(promise);
      log.push(await outcome(() => close()), time.now - start);
      await Tasklet.sleep(100); // there is still time
      log.push(time.now - start);
    })();
    await settle();
    const ended = task.kill();
    resolve();
    for (let i = 0; i < 3; i++) {
      await time.advance(900); // a little less than the peer may take nothing
      log.push(wire.isClosed);
      wire.take(1);
    }
    await ended;
    log.push(name, wire.text, wire.isClosed, task.status);
  }
  const each = [false, false, false, "TaskletExit", 2700, 2800];
  assertEquals(log, Object.keys(begin).flatMap((name) => [...each, name, "bye", true, "killed"]));
});

Deno.test("BufferedStream.close() that is killed is not held up beyond the grace, nor by a peer that takes nothing", async () => {
  await using time = virtualTime();
  using reports = catchReports();
  const log: unknown[] = [];
  for (const grace of [300, 5000]) {
    const { wire, writer, close } = open();
    wire.room = 0;
    const start = time.now;
    const task = Tasklet.new(async () => {
      writer.write("bye");
      log.push(await outcome(() => close()), time.now - start, wire.isClosed);
    })();
    await settle();
    await task.kill({ grace });
    await settle();
  }
  assertEquals(log, ["TaskletExit", 300, true, "TaskletExit", 1000, true]);
  assertEquals(reports.texts.length, 1); // of the one that was abandoned
});

/* --------------------------------------------- BufferedStream, telnet ---------------------------------------- */

Deno.test("BufferedStream, Half-close: what has ended its side can still be answered", async () => {
  const { wire, reader, writer } = open();
  wire.feed("question", null);
  const log: unknown[] = [await reader.readLine(), await reader.readLine()];
  writer.writeLine("answer");
  await writer.flush();
  log.push(wire.text);
  assertEquals(log, ["question", null, "answer\n"]);
});

Deno.test("BufferedStream with telnet swallows and declines what is negotiated", async () => {
  const { wire, reader } = open({ telnet: true });
  wire.feed([IAC, DO, 1, ...encoder.encode("he"), IAC], [DO, 3, ...encoder.encode("llo"), IAC, IAC, 13], [
    0,
    IAC,
    IAC,
  ]);
  wire.feed("\n");
  const log: unknown[] = [await reader.readLine(), await reader.readLine()];
  await settle();
  assertEquals([...log, wire.bytes], ["hello\ufffd", "\ufffd", new Uint8Array([IAC, WONT, 1, IAC, WONT, 3])]);
});

Deno.test("BufferedStream with telnet ends at Ctrl-C and at Ctrl-D, after the lines before", async () => {
  const log: unknown[] = [];
  for (const end of [[IAC, IP, IAC, DO, TIMING_MARK], [CTRL_D]]) {
    const { wire, reader, writer } = open({ telnet: true });
    wire.feed([...encoder.encode("one\ntwo"), ...end, ...encoder.encode("three\n")], "four\n");
    log.push(await Array.fromAsync(reader.readLines()));
    writer.write("bye");
    await writer.flush();
    log.push([...wire.bytes].slice(0, -3), wire.text.slice(-3));
  }
  assertEquals(log, [["one", "two"], [IAC, WONT, TIMING_MARK], "bye", ["one", "two"], [], "bye"]);
});

Deno.test("BufferedStream with telnet answers between what is queued, and never beyond the bound", async () => {
  const { wire, reader, writer } = open({ telnet: true, maxBuffered: 6 });
  wire.room = 0;
  writer.write("abc");
  for (let i = 0; i < 1000; i++) wire.feed([IAC, DO, 1]);
  wire.feed("line\n");
  const log: unknown[] = [await reader.readLine(), writer.buffered <= 6];
  wire.take(Infinity);
  await writer.flush();
  assertEquals([...log, wire.bytes], ["line", true, new Uint8Array([97, 98, 99, IAC, WONT, 1])]);
});

Deno.test("BufferedStream with telnet, Bounds: who negotiates without end and never reads fills no memory", async () => {
  const { wire, reader, writer } = open({ telnet: true, maxBuffered: Infinity });
  wire.room = 0;
  for (let i = 0; i < 10_000; i++) wire.feed([IAC, DO, 1]);
  wire.feed("line\n");
  const log: unknown[] = [await reader.readLine(), writer.buffered <= 10_000];
  wire.take(Infinity);
  await writer.flush();
  wire.feed([IAC, DO, 2], "next\n");
  log.push(await reader.readLine());
  await settle();
  assertEquals([...log, wire.bytes.slice(-3)], ["line", true, "next", new Uint8Array([IAC, WONT, 2])]);
});

Deno.test("BufferedStream without telnet leaves all bytes alone", async () => {
  const { wire, reader } = open();
  wire.feed([IAC, DO, 1, CTRL_D, IAC, IP]);
  assertEquals(await reader.readChunk(), new Uint8Array([IAC, DO, 1, CTRL_D, IAC, IP]));
});
