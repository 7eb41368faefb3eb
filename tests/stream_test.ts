import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { setImmediate } from "node:timers";
import {
  BufferedStream,
  type BufferedStreamOptions,
  type ByteStream,
  UnexpectedEndError,
  WriteOverflowError,
} from "../stream.ts";
import { LineTooLongError } from "../lines.ts";
import { Tasklet, TaskletExit } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { Timeout, TimeoutError } from "../timer.ts";
import { catchReports } from "./reports.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const [IAC, DO, WONT, IP, TIMING_MARK, CTRL_D] = [255, 253, 252, 244, 6, 4] as const;

/** A socket whose other end is the test. */
class Wire implements ByteStream {
  /** What was written, one entry a write. */
  readonly writes: Uint8Array[] = [];
  /** How many bytes it takes before it is stuck. */
  room = Infinity;
  /** How many bytes it takes in one write. */
  mouthful = Infinity;
  isClosed = false;
  /** How many reads were begun. */
  reads = 0;
  #incoming: (Uint8Array | null | Error)[] = [];
  #reader: (() => void) | undefined;
  #writer: (() => void) | undefined;
  #brokenBy: Error | undefined;

  /** All that was written, as text. */
  get text(): string {
    return decoder.decode(this.bytes);
  }

  /** All that was written. */
  get bytes(): Uint8Array {
    return new Uint8Array(this.writes.flatMap((bytes) => [...bytes]));
  }

  /** Sends text or bytes to the reader, all in one read if its buffer allows; `null` is the end. */
  feed(...data: (string | number[] | null | Error)[]): void {
    for (const each of data) {
      if (typeof each === "string") this.#incoming.push(encoder.encode(each));
      else this.#incoming.push(Array.isArray(each) ? new Uint8Array(each) : each);
    }
    this.#reader?.();
  }

  /** Takes further `n` bytes. */
  take(n: number): void {
    this.room += n;
    this.#writer?.();
  }

  /** Lets all further writes fail, the one under way as well. */
  break(error: Error): void {
    this.#brokenBy = error;
    this.#writer?.();
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    this.reads++;
    while (this.#incoming.length === 0) await new Promise<void>((resolve) => this.#reader = resolve);
    const data = this.#incoming.shift()!;
    if (data === null || data instanceof Error) {
      this.#incoming.unshift(data); // as often as it is asked
      if (data instanceof Error) throw data;
      return data;
    }
    const n = Math.min(data.length, buffer.length);
    buffer.set(data.subarray(0, n));
    if (n < data.length) this.#incoming.unshift(data.subarray(n));
    return n;
  }

  async writeSome(bytes: Uint8Array): Promise<number> {
    await Promise.resolve();
    while (this.room === 0 && this.#brokenBy === undefined) {
      await new Promise<void>((resolve) => this.#writer = resolve);
    }
    if (this.#brokenBy !== undefined) throw this.#brokenBy;
    const n = Math.min(bytes.length, this.room, this.mouthful);
    this.writes.push(bytes.slice(0, n));
    this.room -= n;
    return n;
  }

  close(): void {
    this.isClosed = true;
    this.break(new Error("closed here"));
  }
}

function open(
  options?: BufferedStreamOptions,
): { wire: Wire } & Pick<BufferedStream, "reader" | "writer" | "close"> {
  const wire = new Wire();
  const stream = new BufferedStream(wire, options);
  return { wire, reader: stream.reader, writer: stream.writer, close: (o) => stream.close(o) };
}

function text(bytes: Uint8Array | null): string | null {
  return bytes && decoder.decode(bytes);
}

/** What `f` gives, or the name of the error with which it fails. */
async function outcome(f: () => unknown): Promise<unknown> {
  try {
    return await f();
  } catch (error) {
    return (error as Error).name;
  }
}

/** Lets everything happen that can. */
async function settle(): Promise<void> {
  for (let turns = 0; turns < 4; turns++) await Tasklet.yield();
}

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

/* -------------------------------------------- BufferedWriter.write() ----------------------------------------- */

Deno.test("BufferedWriter.write() queues text and bytes in order, and sends nothing by itself", async () => {
  const { wire, writer } = open();
  writer.write("one");
  writer.write(new Uint8Array([32]));
  writer.writeLine("two");
  writer.write(encoder.encode("€"));
  writer.write("");
  await settle();
  const log: unknown[] = [wire.text, writer.buffered];
  await writer.flush();
  log.push(wire.text, writer.buffered);
  assertEquals(log, ["", 11, "one two\n€", 0]);
});

Deno.test("BufferedWriter.write() fails with WriteOverflowError exactly above the bound, and queues nothing of it", async () => {
  const log: unknown[] = [];
  const fitting = ["x".repeat(10), "é".repeat(5), "€€€x", "😀😀éé".slice(0, 5), new Uint8Array(10)];
  for (const data of fitting) {
    const { wire, writer } = open({ maxBuffered: 10 });
    writer.write(data); // exactly full, or one byte less
    const size = typeof data === "string" ? encoder.encode(data).length : data.length;
    const rest = "y".repeat(10 - size);
    writer.write(rest);
    const error = assertThrows(() => writer.write("z"), WriteOverflowError);
    assertThrows(() => writer.write(new Uint8Array(1)), WriteOverflowError);
    writer.write("");
    await writer.flush();
    log.push([error.maxBuffered, error.message, wire.bytes.length, wire.text.includes("z")]);
    writer.write(data); // there is room again
  }
  const message = "Cannot write: more than 10 bytes would wait to be sent";
  assertEquals(log, fitting.map(() => [10, message, 10, false]));
});

Deno.test("BufferedWriter.write() counts what is on its way, until the socket has taken it", async () => {
  const { wire, writer } = open({ maxBuffered: 10 });
  wire.room = 0;
  writer.write("0123456789");
  const flushed = writer.flush();
  await settle();
  const log: unknown[] = [await outcome(() => writer.write("a")), writer.buffered];
  wire.take(3);
  await settle();
  log.push(
    await outcome(() => writer.write("abcd")),
    await outcome(() => writer.write("abc")),
    writer.buffered,
  );
  wire.take(Infinity);
  await flushed;
  await writer.flush();
  log.push(wire.text);
  assertEquals(log, ["WriteOverflowError", 10, "WriteOverflowError", undefined, 10, "0123456789abc"]);
});

Deno.test("BufferedWriter.write() keeps the exact bound for any mix of text and bytes", async () => {
  const data = fc.oneof(fc.string({ unit: "grapheme", maxLength: 6 }), fc.uint8Array({ maxLength: 6 }));
  await fc.assert(
    fc.asyncProperty(fc.array(data), fc.integer({ min: 1, max: 30 }), async (items, maxBuffered) => {
      const { wire, writer } = open({ maxBuffered });
      const expected: number[] = [];
      for (const item of items) {
        const bytes = typeof item === "string" ? encoder.encode(item) : item.slice();
        const fits = expected.length + bytes.length <= maxBuffered;
        assertEquals(await outcome(() => writer.write(item)), fits ? undefined : "WriteOverflowError");
        if (fits) expected.push(...bytes);
      }
      await writer.flush();
      assertEquals(wire.bytes, new Uint8Array(expected));
    }),
  );
});

/* -------------------------------------------- BufferedWriter.flush() ----------------------------------------- */

Deno.test("BufferedWriter.flush() sends all that is queued in one write", async () => {
  const { wire, writer } = open();
  for (let i = 0; i < 1000; i++) writer.writeLine(`line ${i}`);
  await writer.flush();
  assertEquals([wire.writes.length, wire.text.split("\n").length], [1, 1001]);
});

Deno.test("BufferedWriter.flush() sends what is queued during a write in one further write", async () => {
  const { wire, writer } = open();
  wire.room = 0;
  const flushes: Promise<void>[] = [];
  for (let i = 0; i < 100; i++) {
    writer.write(`${i} `);
    flushes.push(writer.flush());
  }
  wire.take(Infinity);
  await Promise.all(flushes);
  assertEquals([wire.writes.length <= 2, wire.text], [
    true,
    Array.from({ length: 100 }, (_, i) => `${i} `).join(""),
  ]);
});

Deno.test("BufferedWriter.flush() of nothing is done at once", async () => {
  const { wire, writer } = open();
  await writer.flush();
  writer.write("");
  await writer.flush();
  assertEquals(wire.writes, []);
});

Deno.test("BufferedWriter.flush() waits for room, for what was queued before it and no more", async () => {
  const { wire, writer } = open();
  wire.room = 0;
  const log: unknown[] = [];
  writer.write("one");
  const first = writer.flush().then(() => log.push("first"));
  writer.write("two");
  const second = writer.flush().then(() => log.push("second"));
  wire.take(2);
  await settle();
  log.push(wire.text);
  wire.take(1);
  await first;
  log.push(wire.text);
  wire.take(10);
  await second;
  log.push(wire.text);
  assertEquals(log, ["on", "first", "one", "second", "onetwo"]);
});

Deno.test("BufferedWriter.flush() sends in order whatever the socket takes at once", async () => {
  const { wire, writer } = open();
  wire.mouthful = 3;
  const text = "0123456789€".repeat(20);
  writer.write(text);
  await writer.flush();
  assertEquals(wire.text, text);
});

Deno.test("BufferedWriter.flush() tells what ended the sending, now and from then on; write() keeps quiet", async () => {
  const { wire, writer } = open();
  wire.room = 0;
  writer.write("lost");
  const log: unknown[] = [];
  const error = new Error("gone");
  const flushes = [writer.flush(), writer.flush()].map((flush) => flush.catch((error) => error));
  await settle();
  wire.break(error);
  log.push(...await Promise.all(flushes));
  writer.write("more");
  log.push(await writer.flush().catch((error) => error), writer.buffered);
  assertEquals(log, [error, error, error, 0]);
});

Deno.test("BufferedWriter.flush() after a failure is a wait point: it takes its turns, and meets a kill", async () => {
  const { wire, writer } = open();
  wire.break(new Error("gone"));
  writer.write("lost");
  const log: unknown[] = [await outcome(() => writer.flush())];
  const { promise, resolve } = Promise.withResolvers<void>();
  const task = Tasklet.new(async () => {
    let hasTurned = false;
    setImmediate(() => hasTurned = true);
    // Not for ever, because a loop that kept the event loop for itself would keep the test from ending.
    for (let i = 0; i < 5000 && !hasTurned; i++) await outcome(() => writer.flush());
    log.push(hasTurned);
    begin();
    await promise; // no wait point
    log.push(await outcome(() => writer.flush()), await outcome(() => writer.flush()));
  })();
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
  await begun;
  const ended = task.kill();
  resolve();
  await ended;
  assertEquals(log, ["Error", true, "TaskletExit", "Error"]);
});

Deno.test("BufferedWriter.flush() ends with TimeoutError if there is no room in time, and all is sent all the same", async () => {
  await using time = virtualTime();
  const { wire, writer } = open();
  wire.room = 2;
  writer.write("hello");
  const failing = assertRejects(() => writer.flush({ timeout: 100 }), TimeoutError);
  await time.advance(100);
  await failing;
  writer.write(" world");
  const log = [wire.text];
  wire.take(Infinity);
  await writer.flush();
  log.push(wire.text);
  assertEquals(log, ["he", "hello world"]);
});

Deno.test("BufferedWriter, Cancellation: what a killed tasklet flushes is sent whole, and what comes after it", async () => {
  const { wire, writer } = open();
  wire.room = 2;
  const task = Tasklet.new(() => {
    writer.write("hello");
    return writer.flush();
  })();
  await settle();
  await task.kill();
  await assertRejects(() => task.join().catch((error) => Promise.reject(error.cause)), TaskletExit);
  const log = [wire.text];
  wire.take(1);
  await settle();
  log.push(wire.text);
  writer.write(" world");
  wire.take(Infinity);
  await writer.flush();
  log.push(wire.text);
  assertEquals(log, ["he", "hel", "hello world"]);
});

Deno.test("BufferedWriter, Cancellation: a tasklet killed before it flushes has its bytes sent all the same", async () => {
  const { wire, writer } = open();
  const { promise, resolve } = Promise.withResolvers<void>();
  const task = Tasklet.new(async () => {
    writer.write("hello");
    await promise; // no wait point
    await writer.flush();
  })();
  await settle();
  const ended = task.kill();
  resolve();
  await ended;
  await settle();
  assertEquals(wire.text, "hello");
});

Deno.test("BufferedWriter, Failure: sending that fails when nobody waits is told to the next flush alone", async () => {
  using reports = catchReports();
  const { wire, writer } = open();
  wire.room = 0;
  const task = Tasklet.new(() => {
    writer.write("hello");
    return writer.flush();
  })();
  await settle();
  await task.kill();
  wire.break(new Error("gone"));
  await reports.settled();
  assertEquals([await outcome(() => writer.flush()), reports.texts], ["Error", []]);
});

Deno.test("BufferedWriter.stalled tells for how long the socket has taken nothing", async () => {
  await using time = virtualTime();
  const { wire, writer } = open();
  const log = [writer.stalled];
  wire.room = 0;
  writer.write("hello");
  log.push(writer.stalled);
  const flushed = writer.flush();
  await time.advance(100);
  log.push(writer.stalled);
  wire.take(1);
  await time.advance(0);
  log.push(writer.stalled);
  await time.advance(30);
  log.push(writer.stalled);
  wire.take(Infinity);
  await flushed;
  await time.advance(0);
  log.push(writer.stalled);
  assertEquals(log, [0, 0, 100, 0, 30, 0]);
});

Deno.test("BufferedWriter.buffered returns to nothing, and sent text leaves nothing behind", async () => {
  const { wire, writer } = open();
  const log: number[] = [];
  for (let i = 0; i < 3; i++) {
    writer.write("x".repeat(1000));
    writer.write(new Uint8Array(1000));
    log.push(writer.buffered);
    await writer.flush();
    log.push(writer.buffered);
  }
  assertEquals([log, wire.bytes.length], [[2000, 0, 2000, 0, 2000, 0], 6000]);
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

Deno.test("BufferedStream without telnet leaves all bytes alone", async () => {
  const { wire, reader } = open();
  wire.feed([IAC, DO, 1, CTRL_D, IAC, IP]);
  assertEquals(await reader.readChunk(), new Uint8Array([IAC, DO, 1, CTRL_D, IAC, IP]));
});
