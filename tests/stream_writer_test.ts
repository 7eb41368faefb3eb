import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { setImmediate } from "node:timers";
import { WriteOverflowError } from "../stream.ts";
import { Tasklet, TaskletExit } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { TimeoutError } from "../timer.ts";
import { growth } from "./garbage.ts";
import { catchReports } from "./reports.ts";
import { open, outcome, settle } from "./wire.ts";

const encoder = new TextEncoder();

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

Deno.test("BufferedWriter.write() of nothing takes no memory, however often", async () => {
  const { writer } = open();
  const empty = new Uint8Array(0);
  const grown = await growth(() => {
    for (let i = 0; i < 300_000; i++) {
      writer.write("");
      writer.write(empty);
    }
  });
  assert(grown < 1_000_000, `${grown} bytes`);
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

/* -------------------------------------------- BufferedWriter.send() ------------------------------------------ */

Deno.test("BufferedWriter.send() sends what is queued by its turn in one write, and waits for nothing", async () => {
  const { wire, writer } = open();
  const log: unknown[] = [writer.send()];
  writer.write("one ");
  log.push(writer.send(), wire.writes.length);
  writer.write("two");
  await settle();
  log.push(wire.writes.length, wire.text, writer.buffered);
  assertEquals(log, [true, true, 0, 1, "one two", 0]);
});

Deno.test("BufferedWriter.send() tells whether all that was sent before has been taken; a flush waits for it", async () => {
  const { wire, writer } = open();
  wire.room = 2;
  const log: unknown[] = [];
  writer.write("hello");
  log.push(writer.send());
  await settle();
  writer.write(" world");
  log.push(writer.send(), wire.text);
  const flushed = writer.flush();
  wire.take(Infinity);
  await flushed;
  writer.write("!");
  log.push(wire.text, writer.send());
  await settle();
  log.push(wire.text);
  assertEquals(log, [true, false, "he", "hello world", true, "hello world!"]);
});

Deno.test("BufferedWriter.send() is false when the peer has gone, as the next flush tells", async () => {
  using reports = catchReports();
  const { wire, writer } = open();
  wire.break(new Error("gone"));
  writer.write("lost");
  const log: unknown[] = [writer.send()];
  await settle();
  log.push(writer.send(), await outcome(() => writer.flush()));
  await reports.settled();
  assertEquals([log, reports.texts], [[true, false, "Error"], []]);
});

Deno.test("BufferedWriter.send() of a tasklet that ends then has its bytes sent, in nobody's name", async () => {
  const { wire, writer } = open();
  wire.room = 2;
  const task = Tasklet.new(() => {
    writer.write("hello");
    writer.send();
  })();
  await task.join();
  await settle();
  wire.take(Infinity);
  await settle();
  assertEquals(wire.text, "hello");
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
