import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { LineBuffer, LineTooLongError } from "../lines.ts";

const LF = 10;
const CR = 13;
const TOO_LONG = Symbol("too long");
type Line = string | typeof TOO_LONG;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

// What hurts: line ends and halves of them, characters of 1 to 4 bytes and halves of them, what is no UTF-8 at all.
const piece = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom([LF], [CR], [CR, LF], [CR, CR, LF], [LF, LF]) },
  {
    weight: 3,
    arbitrary: fc.constantFrom("a", "bc", "é", "€", "😀", "\0", "\ufeff", "\u2028", "\x85").map(bytesOf),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom([0xff], [0xc3], [0xe2, 0x82], [0xf0, 0x9f, 0x98], [0x80], [0xed, 0xa0]),
  },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 255 }).map((byte) => [byte]) },
);
const input = fc.array(piece, { maxLength: 24 }).map((pieces) => new Uint8Array(pieces.flat()));
const most = fc.oneof(fc.integer({ min: 1, max: 12 }), fc.constant(Infinity));

function bytesOf(text: string): number[] {
  return [...encoder.encode(text)];
}

/** The reference: all lines of `bytes`, up to the first that is too long. */
function linesOf(bytes: Uint8Array, maxLineLength: number): Line[] {
  const lines: Line[] = [];
  for (let start = 0; start < bytes.length;) {
    const { content, next } = firstLine(bytes.subarray(start));
    if (content.length > maxLineLength) return [...lines, TOO_LONG];
    lines.push(decoder.decode(content));
    start += next;
  }
  return lines;
}

function firstLine(bytes: Uint8Array): { content: Uint8Array; next: number } {
  const end = bytes.indexOf(LF);
  if (end < 0) return { content: bytes, next: bytes.length }; // the last line needs no end; a CR is content
  return { content: bytes.subarray(0, end > 0 && bytes[end - 1] === CR ? end - 1 : end), next: end + 1 };
}

/** Puts `bytes` in, in as many pieces as there is room for. */
function put(buffer: LineBuffer, bytes: Uint8Array): void {
  while (bytes.length > 0) {
    const room = buffer.room();
    const n = Math.min(room.length, bytes.length);
    room.set(bytes.subarray(0, n));
    buffer.filled(n);
    bytes = bytes.subarray(n);
  }
}

/** The next line, putting in chunk after chunk and then the end when there is none. */
async function nextLine(buffer: LineBuffer, chunks: Uint8Array[]): Promise<Line | null> {
  while (true) {
    try {
      const line = buffer.takeLine();
      if (line !== undefined) return line;
    } catch (error) {
      assert(error instanceof LineTooLongError, `threw ${error}`);
      return TOO_LONG;
    }
    await buffer.split();
    if (!buffer.mustReadOn) continue;
    if (chunks.length > 0) put(buffer, chunks.shift()!);
    else buffer.end();
  }
}

async function readAll(buffer: LineBuffer, chunks: Uint8Array[]): Promise<Line[]> {
  const lines: Line[] = [];
  while (true) {
    const line = await nextLine(buffer, chunks);
    if (line === null) return lines;
    lines.push(line);
    if (line === TOO_LONG) return lines;
  }
}

/** `bytes`, cut at `cuts`. */
function cut(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const at = [0, ...cuts.map((n) => n % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return at.slice(1).map((end, i) => bytes.slice(at[i], end));
}

/* ---------------------------------------------- LineTooLongError ---------------------------------------------- */

Deno.test("LineTooLongError tells its bound", () => {
  const error = new LineTooLongError(80);
  assertEquals([error.name, error.maxLineLength, error.message], [
    "LineTooLongError",
    80,
    "Cannot read line: it is longer than 80 bytes",
  ]);
});

/* ------------------------------------------------- LineBuffer ------------------------------------------------- */

Deno.test("LineBuffer refuses a maximum that is no positive integer and not Infinity", () => {
  for (const max of [0, -1, 1.5, NaN, -Infinity]) {
    assertThrows(
      () => new LineBuffer(max),
      RangeError,
      `"maxLineLength" must be a positive integer, got ${max}`,
    );
  }
  new LineBuffer(1);
  new LineBuffer(Infinity);
});

Deno.test("LineBuffer gives the same lines, or the same error, wherever the input is split in two", async () => {
  await fc.assert(fc.asyncProperty(input, most, async (bytes, max) => {
    const expected = linesOf(bytes, max);
    for (let at = 0; at <= bytes.length; at++) {
      const chunks = [bytes.slice(0, at), bytes.slice(at)];
      assertEquals(await readAll(new LineBuffer(max), chunks), expected, `split at ${at}`);
    }
  }));
});

Deno.test("LineBuffer gives the same lines, or the same error, however often the input is split", async () => {
  await fc.assert(
    fc.asyncProperty(input, most, fc.array(fc.nat(), { maxLength: 12 }), async (bytes, max, cuts) => {
      const expected = linesOf(bytes, max);
      assertEquals(await readAll(new LineBuffer(max), cut(bytes, cuts)), expected);
      const single = [...bytes].map((byte) => new Uint8Array([byte]));
      assertEquals(await readAll(new LineBuffer(max), single), expected, "byte by byte");
    }),
  );
});

Deno.test("LineBuffer gives the same lines whether they are split when they come or all at the end", async () => {
  await fc.assert(fc.asyncProperty(input, most, async (bytes, max) => {
    const buffer = new LineBuffer(max);
    put(buffer, bytes);
    buffer.end();
    assertEquals(await readAll(buffer, []), linesOf(bytes, max));
  }));
});

Deno.test("LineBuffer counts content alone: a line of the maximum passes with any end, one byte more does not", async () => {
  const log: [string, Line[]][] = [];
  for (
    const text of [
      "abcd\n",
      "abcd\r\n",
      "abcd",
      "abcde\n",
      "abcde\r\n",
      "abcde",
      "abc\r",
      "abcd\r",
      "€a\n",
      "€ab\n",
    ]
  ) {
    log.push([text, await readAll(new LineBuffer(4), [encoder.encode(text)])]);
  }
  assertEquals(log, [
    ["abcd\n", ["abcd"]],
    ["abcd\r\n", ["abcd"]],
    ["abcd", ["abcd"]],
    ["abcde\n", [TOO_LONG]],
    ["abcde\r\n", [TOO_LONG]],
    ["abcde", [TOO_LONG]],
    ["abc\r", ["abc\r"]],
    ["abcd\r", [TOO_LONG]],
    ["€a\n", ["€a"]],
    ["€ab\n", [TOO_LONG]],
  ]);
});

Deno.test("LineBuffer notices a line that is too long before its end has come", async () => {
  const buffer = new LineBuffer(4);
  put(buffer, encoder.encode("ok\nabcd\r"));
  assertEquals(await nextLine(buffer, []), "ok");
  await buffer.split();
  assertEquals([buffer.takeLine(), buffer.mustReadOn], [undefined, true]); // CR LF may still be its end
  put(buffer, encoder.encode("x"));
  await buffer.split();
  assertThrows(() => buffer.takeLine(), LineTooLongError);
});

Deno.test("LineBuffer gives no line after one that is too long", async () => {
  const buffer = new LineBuffer(4);
  put(buffer, encoder.encode("ok\nabcde\nok\n"));
  const log = [await nextLine(buffer, []), await nextLine(buffer, []), await nextLine(buffer, [])];
  put(buffer, encoder.encode("ok\n"));
  buffer.end();
  log.push(await nextLine(buffer, []));
  assertEquals(log, ["ok", TOO_LONG, TOO_LONG, TOO_LONG]);
});

Deno.test("LineBuffer takes a byte order mark as content", async () => {
  assertEquals(await readAll(new LineBuffer(80), [encoder.encode("\ufeffa\n\ufeffb\n")]), [
    "\ufeffa",
    "\ufeffb",
  ]);
});

Deno.test("LineBuffer gives U+FFFD for what is no UTF-8, and does not let it swallow the line end", async () => {
  const bytes = new Uint8Array([97, 0xe2, 0x82, LF, 0xff, 98, LF, 0xf0]);
  assertEquals(await readAll(new LineBuffer(80), [bytes]), ["a\ufffd", "\ufffdb", "\ufffd"]);
});

Deno.test("LineBuffer.takeBytes() and takeLine() in turn give every byte once, in order", async () => {
  const op = fc.oneof(fc.constant("line" as const), fc.integer({ min: 0, max: 9 }));
  await fc.assert(
    fc.asyncProperty(
      input,
      most,
      fc.array(fc.nat(), { maxLength: 6 }),
      fc.array(op),
      async (bytes, max, cuts, ops) => {
        const buffer = new LineBuffer(max);
        const chunks = cut(bytes, cuts);
        let at = 0; // what the reference has not read
        for (const op of ops) {
          if (op === "line") {
            const { content, next } = firstLine(bytes.subarray(at));
            const line = await nextLine(buffer, chunks);
            const expected = next === 0 ? null : content.length > max ? TOO_LONG : decoder.decode(content);
            assertEquals(line, expected, `line at byte ${at}`);
            if (line === TOO_LONG) return;
            at += next;
          } else {
            if (buffer.length === 0 && chunks.length > 0) put(buffer, chunks.shift()!);
            const taken = buffer.takeBytes(op);
            assertEquals(taken, bytes.slice(at, at + taken.length), `bytes at ${at}`);
            at += taken.length;
          }
        }
        // What is left comes as bytes, all of it.
        const left = [...buffer.takeBytes(Infinity), ...chunks.flatMap((chunk) => [...chunk])];
        assertEquals(new Uint8Array(left), bytes.slice(at));
      },
    ),
    { numRuns: 1000 },
  );
});

Deno.test("LineBuffer takes bytes that are longer than a line between two lines", async () => {
  const buffer = new LineBuffer(4);
  put(buffer, encoder.encode("head\n0123456789tail\n"));
  const log: unknown[] = [await nextLine(buffer, [])];
  log.push(new TextDecoder().decode(buffer.takeBytes(10)));
  log.push(await nextLine(buffer, []));
  assertEquals(log, ["head", "0123456789", "tail"]);
});

Deno.test("LineBuffer.takeBytes() during a split takes what the split would have given", async () => {
  const buffer = new LineBuffer(80);
  put(buffer, encoder.encode("one\ntwo\nthree\n"));
  const splitting = buffer.split();
  assertEquals(buffer.takeBytes(2), encoder.encode("on"));
  await splitting;
  assertEquals(await readAll(buffer, []), ["e", "two", "three"]);
});

Deno.test("LineBuffer.takeBytes() gives copies", () => {
  const buffer = new LineBuffer(80);
  put(buffer, encoder.encode("one"));
  const taken = buffer.takeBytes(3);
  put(buffer, encoder.encode("two"));
  assertEquals(taken, encoder.encode("one"));
});

Deno.test("LineBuffer.length counts what is unread, lines that were split ahead too", async () => {
  const buffer = new LineBuffer(80);
  put(buffer, encoder.encode("a\nbc\nd"));
  const log = [buffer.length];
  await buffer.split();
  log.push(buffer.length);
  buffer.takeLine();
  log.push(buffer.length);
  buffer.takeBytes(1);
  log.push(buffer.length);
  assertEquals(log, [6, 6, 4, 3]);
});

Deno.test("LineBuffer holds one line and one read at most, however much comes without a line end", async () => {
  const log: unknown[] = [];
  for (const max of [1, 1000, 65_536, 1_000_000]) {
    const buffer = new LineBuffer(max);
    let total = 0;
    let largest = 0;
    while (buffer.mustReadOn) {
      const room = buffer.room();
      largest = Math.max(largest, room.buffer.byteLength);
      buffer.filled(room.fill(120).length);
      total += room.length;
      await buffer.split();
    }
    await assertRejects(() => Promise.try(() => buffer.takeLine()), LineTooLongError);
    // Doubling allows for twice the line; a read is 64 KiB at most.
    log.push([max, total > max && total <= 2 * max + 65_536, largest <= 2 * max + 65_536]);
  }
  assertEquals(log, [1, 1000, 65_536, 1_000_000].map((max) => [max, true, true]));
});

Deno.test("LineBuffer reads more at once when much comes, and little again when little comes", async () => {
  const buffer = new LineBuffer(80);
  const rooms: number[] = [];
  for (const n of [100, Infinity, Infinity, Infinity, 4096, 4095, 4095, 100, 100]) {
    const room = buffer.room();
    rooms.push(room.length);
    buffer.filled(room.subarray(0, n).fill(LF).length);
    await readAllThere(buffer);
  }
  assertEquals(rooms, [512, 512, 8192, 65_536, 65_536, 65_536, 4096, 4096, 512]);
});

Deno.test("LineBuffer reads more at once also when what is there never ends with a line", async () => {
  const buffer = new LineBuffer(80);
  const line = encoder.encode(`${"x".repeat(64)}\n`);
  const rooms: number[] = [];
  for (let sent = 0; rooms.length < 6;) {
    const room = buffer.room();
    rooms.push(room.length);
    for (let i = 0; i < room.length; i++) room[i] = line[sent++ % line.length]!;
    buffer.filled(room.length);
    await readAllThere(buffer);
  }
  assert(rooms[0] === 512 && rooms.slice(3).every((bytes) => bytes > 65_536 - 80), `${rooms}`);
});

async function readAllThere(buffer: LineBuffer): Promise<void> {
  await buffer.split();
  while (buffer.takeLine() !== undefined);
}

Deno.test("LineBuffer splits large batches, of many lines or of one", async () => {
  const many = Array.from({ length: 200_000 }, (_, i) => `line ${i} €`);
  const buffer = new LineBuffer(Infinity);
  put(buffer, encoder.encode(many.join("\r\n")));
  buffer.end();
  assertEquals(await readAll(buffer, []), many);

  const long = "€".repeat(1_000_000);
  const other = new LineBuffer(3_000_000);
  assertEquals(await readAll(other, [encoder.encode(long + "\nend")]), [long, "end"]);
});

Deno.test("LineBuffer does not mix its lines with those of others that split at the same time", async () => {
  const all = await Promise.all(Array.from({ length: 100 }, async (_, i) => {
    const text = `${i} a\r\n\n${i} b\n${i} c`;
    return await readAll(new LineBuffer(80), cut(encoder.encode(text), [i % 7, i % 11]));
  }));
  assertEquals(all, all.map((_, i) => [`${i} a`, "", `${i} b`, `${i} c`]));
});
