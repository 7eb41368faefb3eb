import { assert, assertEquals, assertInstanceOf, assertRejects, assertStrictEquals } from "@std/assert";
import fc from "fast-check";
import { setImmediate } from "node:timers";
import { BufferedStream, UnexpectedEndError } from "../stream.ts";
import { LineTooLongError } from "../lines.ts";
import { Tasklet } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { Timeout, TimeoutError } from "../timer.ts";
import { useOrder } from "../wait.ts";
import { catchReports } from "./reports.ts";
import { open, outcome, settle, text } from "./wire.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/* ------------------------------------------- BufferedReader.readLine() --------------------------------------- */

Deno.test("BufferedReader.readLine() gives lines without their ends, and null at a clean end and behind it", async () => {
  const { wire, reader } = open();
  wire.feed("one\ntw", "o\r", "\n\nfour\r", null);
  const log: unknown[] = [];
  for (let i = 0; i < 6; i++) log.push(await reader.readLine());
  assertEquals(log, ["one", "two", "", "four\r", null, null]);
});

Deno.test("BufferedReader.readLine() waits until a line is whole", async () => {
  const { wire, reader } = open();
  const log: unknown[] = [];
  const reading = reader.readLine().then((line) => log.push(line));
  wire.feed("he");
  await settle();
  log.push("still waiting");
  wire.feed("llo\n");
  await reading;
  assertEquals(log, ["still waiting", "hello"]);
});

Deno.test("BufferedReader.readLine() gives the same lines however the bytes arrive", async () => {
  const chunk = fc.constantFrom("a", "\n", "\r", "\r\n", "€", "b\nc").map((
    text,
  ) => [...encoder.encode(text)]);
  await fc.assert(fc.asyncProperty(fc.array(chunk), fc.integer({ min: 1, max: 5 }), async (chunks, size) => {
    const bytes = chunks.flat();
    const lines = decoder.decode(new Uint8Array(bytes)).split("\n");
    const last = lines.pop()!;
    const expected = [...lines.map((line) => line.replace(/\r$/, "")), ...last === "" ? [] : [last]];
    const { wire, reader } = open();
    for (let at = 0; at < bytes.length; at += size) wire.feed(bytes.slice(at, at + size));
    wire.feed(null);
    assertEquals(await Array.fromAsync(reader.readLines()), expected);
  }));
});

Deno.test("BufferedReader.readLine() fails for a line that is too long, whether or not its end has come", async () => {
  const log: unknown[] = [];
  for (const input of ["ok\n12345\nok\n", "ok\n12345", "ok\n123456789"]) {
    const { wire, reader } = open({ maxLineLength: 4 });
    wire.feed(input);
    for (let i = 0; i < 3; i++) log.push(await outcome(() => reader.readLine()));
  }
  const name = "LineTooLongError";
  assertEquals(log, ["ok", name, name, "ok", name, name, "ok", name, name]);
});

Deno.test("BufferedReader.readLine() reads no further than needed to know that a line is too long", async () => {
  const { wire, reader } = open({ maxLineLength: 10_000 });
  for (let i = 0; i < 1000; i++) wire.feed("x".repeat(4096));
  await assertRejects(() => reader.readLine(), LineTooLongError, "longer than 10000 bytes");
  const { reads } = wire;
  assertEquals(await outcome(() => reader.readLine()), "LineTooLongError");
  assert(reads < 10 && wire.reads === reads, `${reads} reads, then ${wire.reads}`);
});

Deno.test("BufferedReader.readLine() rejects, also when it knows at once", async () => {
  const { wire, reader } = open({ maxLineLength: 4 });
  wire.feed("12345");
  await assertRejects(() => reader.readLine(), LineTooLongError);
  await assertRejects(() => reader.readLine(), LineTooLongError);
});

Deno.test("BufferedReader.readLine() tells how reading failed, to every later reader too", async () => {
  const { wire, reader } = open();
  const error = new Error("reset");
  wire.feed("one\ntwo", error);
  assertEquals(await reader.readLine(), "one");
  assertStrictEquals(await assertRejects(() => reader.readLine()), error);
  assertStrictEquals(await assertRejects(() => reader.readLine()), error);
});

Deno.test("BufferedReader.readLine() ends with TimeoutError when a deadline passes, and the next one gets the line", async () => {
  await using _time = virtualTime();
  const { wire, reader } = open();
  const task = Tasklet.new(async () => {
    {
      using _ = Timeout.push(100);
      await assertRejects(() => reader.readLine(), TimeoutError);
    }
    wire.feed("late\n");
    return await reader.readLine();
  })();
  assertEquals(await task.join(), "late");
});

Deno.test("BufferedReader.readLine() after the socket's own TimeoutError reads the line that comes later", async () => {
  const incoming = [() => "half a ", () => silence(), () => silence(), () => "line\nnext\n", () => null];
  function silence(): never {
    throw new TimeoutError("silent for too long");
  }
  const reader = new BufferedStream({
    async read(buffer) {
      await Promise.resolve();
      const text = incoming.shift()!();
      return text === null ? null : encoder.encodeInto(text, buffer).written;
    },
    writeSome: (bytes) => Promise.resolve(bytes.length),
    close: () => {},
  }).reader;
  const log: unknown[] = [];
  for (let i = 0; i < 5; i++) log.push(await outcome(() => reader.readLine()));
  assertEquals(log, ["TimeoutError", "TimeoutError", "half a line", "next", null]);
});

/* ------------------------------------------- BufferedReader.readLines() -------------------------------------- */

Deno.test("BufferedReader.readLines() ends at a clean end, and break keeps the rest", async () => {
  const { wire, reader } = open();
  wire.feed("one\ntwo\nthree\nfour", null);
  const log: string[] = [];
  for await (const line of reader.readLines()) {
    log.push(line);
    if (line === "two") break;
  }
  log.push("break");
  for await (const line of reader.readLines()) log.push(line);
  assertEquals(log, ["one", "two", "break", "three", "four"]);
});

Deno.test("BufferedReader.readLines() runs in the tasklet whose loop it is", async () => {
  const { wire, reader } = open();
  const task = Tasklet.new(async () => {
    for await (const _ of reader.readLines()) break;
    return Tasklet.current();
  })();
  wire.feed("line\n");
  assertStrictEquals(await task.join(), task);
});

Deno.test("BufferedReader.readLines() that is ended while it waits takes no line with it", async () => {
  const { wire, reader } = open();
  const lines = reader.readLines();
  const next = lines.next();
  await lines.return!();
  wire.feed("one\n");
  assertEquals([await next, await reader.readLine()], [{ done: true, value: undefined }, "one"]);
});

Deno.test("BufferedReader.readLines() may be asked twice at once, and from another tasklet", async () => {
  const { wire, reader } = open();
  const lines = reader.readLines();
  const two = Promise.all([lines.next(), lines.next()]);
  wire.feed("one\ntwo\n");
  assertEquals((await two).map(({ value }) => value), ["one", "two"]);
  const other = Tasklet.new(() => lines.next())();
  await Tasklet.yield();
  assertEquals(other.status, "waiting");
  await other.kill();
  wire.feed("three\n");
  assertEquals((await lines.next()).value, "three");
});

Deno.test("BufferedReader.readLines() may be asked again while its line waits for a turn", async () => {
  const { wire, reader } = open();
  const lines = reader.readLines();
  const held: (() => void)[] = [];
  const log: unknown[] = [];
  const ask = async (name: string) => log.push([name, (await lines.next()).value]);
  const first = ask("first");
  await settle();
  {
    using _ = useOrder((go) => held.push(go));
    wire.feed("one\n");
    while (held.length === 0) await new Promise<void>((resolve) => setImmediate(resolve));
  }
  const second = ask("second");
  for (const go of held) go();
  await first;
  wire.feed("two\n");
  await second;
  assertEquals(log, [["first", "one"], ["second", "two"]]);
});

/* ------------------------------- BufferedReader.readChunk(), readBytes(), readExactly() ---------------------- */

Deno.test("BufferedReader.readChunk() gives what is there, at most max bytes, and null at the end", async () => {
  const { wire, reader } = open();
  wire.feed("hello", "world", null);
  const log: unknown[] = [];
  for (let i = 0; i < 5; i++) log.push(text(await reader.readChunk(3)));
  assertEquals(log, ["hel", "lo", "wor", "ld", null]);
});

Deno.test("BufferedReader.readBytes() gives n bytes, fewer only at the end, and null behind it", async () => {
  const { wire, reader } = open();
  wire.feed("he", "llo", "world", null);
  const log: unknown[] = [];
  for (let i = 0; i < 4; i++) log.push(text(await reader.readBytes(4)));
  assertEquals(log, ["hell", "owor", "ld", null]);
});

Deno.test("BufferedReader.readBytes() of no bytes gives none at once", { timeout: 5000 }, async () => {
  const { reader } = open();
  assertEquals(await Promise.race([reader.readBytes(0), settle().then(() => "waits")]), new Uint8Array());
});

Deno.test("BufferedReader.readExactly() gives n bytes, or fails and leaves what there is", async () => {
  const { wire, reader } = open();
  wire.feed("he", "llo", null);
  const log: unknown[] = [text(await reader.readExactly(3))];
  const error = await assertRejects(() => reader.readExactly(3), UnexpectedEndError);
  log.push(error.name, error.message, text(await reader.readExactly(2)));
  assertEquals(log, ["hel", "UnexpectedEndError", "Cannot read 3 bytes: the stream ended after 2", "lo"]);
});

Deno.test("BufferedReader.readExactly() reads more than fits into one read", async () => {
  const { wire, reader } = open();
  const bytes = new Uint8Array(300_000).map((_, i) => i % 251);
  wire.feed([...bytes]);
  assertEquals(await reader.readExactly(bytes.length), bytes);
});

Deno.test("BufferedReader refuses a number of bytes that makes no sense, and loses none", async () => {
  const log: unknown[] = [];
  for (const n of [-1, 1.5, NaN]) {
    const { wire, reader } = open();
    wire.feed("hello\n"); // and no end, so that nothing can turn in circles
    log.push(await outcome(() => reader.readExactly(n)), await outcome(() => reader.readBytes(n)));
    log.push(await outcome(() => reader.readChunk(n)), await reader.readLine());
  }
  const each = ["RangeError", "RangeError", "RangeError", "hello"];
  assertEquals(log, [...each, ...each, ...each]);
});

Deno.test("BufferedReader gives lines and bytes in turn", async () => {
  const { wire, reader } = open({ maxLineLength: 8 });
  wire.feed("POST /\r\n16\r\n\r\n0123456789\nabcdeGET", " /\r\ntail", null);
  const log: unknown[] = [await reader.readLine(), await reader.readLine(), await reader.readLine()];
  log.push(text(await reader.readExactly(16)), await reader.readLine(), text(await reader.readChunk()));
  log.push(await reader.readLine(), await reader.readChunk());
  assertEquals(log, ["POST /", "16", "", "0123456789\nabcde", "GET /", "tail", null, null]);
});

Deno.test("BufferedReader does not take bytes that are read as bytes for a line that is too long", async () => {
  const { wire, reader } = open({ maxLineLength: 8 });
  wire.feed("16\n0123456789abcdefnext\n");
  const log: unknown[] = [
    await reader.readLine(),
    text(await reader.readExactly(16)),
    await reader.readLine(),
  ];
  assertEquals(log, ["16", "0123456789abcdef", "next"]);
});

/* ------------------------------------------ BufferedReader, Cancellation ------------------------------------- */

Deno.test("BufferedReader, Cancellation: a reader killed while it waits loses nothing", async () => {
  const log: unknown[] = [];
  for (const feed of [["one\n"], ["o", "ne\n"]]) {
    const { wire, reader } = open();
    const killed = Tasklet.new(() => reader.readLine())();
    wire.feed(...feed.slice(0, -1));
    await settle();
    await killed.kill();
    wire.feed(feed.at(-1)!);
    log.push(await reader.readLine());
  }
  assertEquals(log, ["one", "one"]);
});

Deno.test("BufferedReader, Cancellation: a reader killed when its line is there already loses nothing", async () => {
  // At work, so that the read is its next wait point.
  async function lost(read: (reader: BufferedStream["reader"]) => Promise<unknown>): Promise<unknown[]> {
    const { wire, reader } = open();
    wire.feed("zero\none\ntwo\n");
    const { promise, resolve } = Promise.withResolvers<void>();
    const log: unknown[] = [];
    const task = Tasklet.new(async () => {
      await reader.readLine();
      await promise; // no wait point
      log.push(await outcome(() => read(reader)));
    })();
    await settle();
    const ended = task.kill();
    resolve();
    await ended;
    return [...log, await reader.readLine()];
  }
  const log = {
    readLine: await lost((reader) => reader.readLine()),
    readLines: await lost((reader) => reader.readLines().next()),
    readChunk: await lost((reader) => reader.readChunk(2)),
    readBytes: await lost((reader) => reader.readBytes(2)),
    readExactly: await lost((reader) => reader.readExactly(2)),
  };
  const kept = ["TaskletExit", "one"];
  assertEquals(log, { readLine: kept, readLines: kept, readChunk: kept, readBytes: kept, readExactly: kept });
});

Deno.test("BufferedReader, Cancellation: a timeout at the moment of arrival loses nothing", async () => {
  await using time = virtualTime();
  const { wire, reader } = open();
  const log: unknown[] = [];
  const task = Tasklet.new(async () => {
    for (let i = 0; i < 20; i++) {
      using _ = Timeout.push(10);
      log.push(await reader.readLine().catch((error) => assertInstanceOf(error, TimeoutError)) ?? "-");
    }
  })();
  for (let i = 0; i < 10; i++) {
    await time.advance(10 * (i % 3));
    wire.feed(`${i}\n`);
  }
  await time.advance(1000);
  await task.kill();
  wire.feed(null);
  for await (const line of reader.readLines()) log.push(line);
  assertEquals(log.filter((line) => line !== "-"), Array.from({ length: 10 }, (_, i) => `${i}`));
});

Deno.test("BufferedReader, Failure: reading that fails when nobody waits is told to the next reader alone", async () => {
  await using time = virtualTime();
  using reports = catchReports();
  const { wire, reader } = open();
  const task = Tasklet.new(async () => {
    {
      using _ = Timeout.push(10);
      await Tasklet.sleep(10).catch(() => {});
      await assertRejects(() => reader.readLine(), TimeoutError); // the deadline has passed
    }
    wire.feed(new Error("reset"));
    await Tasklet.sleep(10);
    return await outcome(() => reader.readLine());
  })();
  await time.advance(100);
  assertEquals([await outcome(() => task.join()), reports.texts], ["Error", []]);
});

Deno.test("BufferedReader, Failure: reading that fails after a killed tasklet began it is told to the next reader alone", async () => {
  using reports = catchReports();
  const { wire, reader } = open();
  const { promise, resolve } = Promise.withResolvers<void>();
  const task = Tasklet.new(async () => {
    await promise; // no wait point
    await reader.readLine();
  })();
  await settle();
  const ended = task.kill();
  resolve();
  await ended;
  wire.feed(new Error("reset"));
  await reports.settled();
  assertEquals([await outcome(() => reader.readLine()), reports.texts], ["Error", []]);
});
