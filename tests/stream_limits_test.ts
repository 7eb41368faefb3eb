import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { BufferedStream, type ByteStream } from "../stream.ts";
import { Tasklet } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { now, TimeoutError, timerCount } from "../timer.ts";

/** A socket that gives `text` and then the end, and takes `room` bytes. */
function socket(text: string, room = Infinity): ByteStream {
  let rest = new TextEncoder().encode(text);
  return {
    read: (buffer) => {
      if (rest.length === 0) return Promise.resolve(null);
      const n = Math.min(buffer.length, rest.length);
      buffer.set(rest.subarray(0, n));
      rest = rest.slice(n);
      return Promise.resolve(n);
    },
    writeSome: (bytes) => {
      if (room <= 0) return new Promise<number>(() => {});
      const n = Math.min(room, bytes.length);
      room -= n;
      return Promise.resolve(n);
    },
    close: () => {},
  };
}

Deno.test("linePace gives a burst of lines at once and the others one by one, none lost, as often as there is a pause", async () => {
  await using time = virtualTime();
  const text = Array.from({ length: 6 }, (_, n) => `line ${n}\n`).join("");
  const { reader } = new BufferedStream(socket(text), { linePace: { burst: 2, perSecond: 10 } });
  const log: string[] = [];
  const task = Tasklet.new(async () => {
    for await (const line of reader.readLines()) {
      log.push(`${time.now}: ${line}`);
      if (line === "line 3") await Tasklet.sleep(1000);
    }
    log.push(`${time.now}: end`);
  })();
  await task.join();
  assertEquals(log, [
    "0: line 0",
    "0: line 1",
    "100: line 2",
    "200: line 3",
    "1200: line 4",
    "1200: line 5",
    "1300: end",
  ]);
});

Deno.test("linePace loses no line to a kill in its pause", async () => {
  await using _time = virtualTime();
  const { reader } = new BufferedStream(socket("one\ntwo\n"), { linePace: { perSecond: 1 } });
  const first = Tasklet.new(async () => {
    await reader.readLine();
    await reader.readLine();
  })();
  await Tasklet.sleep(500);
  await first.kill();
  assertEquals(await reader.readLine(), "two");
});

Deno.test("linePace refuses what makes no sense, and so does stallTimeout", () => {
  assertThrows(
    () => new BufferedStream(socket(""), { linePace: { perSecond: -1 } }),
    RangeError,
    '"perSecond"',
  );
  assertThrows(() => new BufferedStream(socket(""), { stallTimeout: NaN }), RangeError, '"stallTimeout"');
});

Deno.test("stallTimeout ends the sending to a peer that takes nothing for so long, and only then", async () => {
  await using time = virtualTime();
  const { writer } = new BufferedStream(socket("", 3), { stallTimeout: 500 });
  writer.write("abcdef");
  await assertRejects(() => writer.flush(), TimeoutError, "Timed out after 500 ms");
  assertEquals([time.now, writer.buffered, writer.hasFailed], [500, 0, true]);
  await assertRejects(() => writer.flush(), TimeoutError);
  assertEquals(time.now, 500);
});

Deno.test("stallTimeout leaves a peer alone that takes some in time, however slow, and leaves no timer behind", async () => {
  await using _time = virtualTime();
  const slow = socket("");
  slow.writeSome = async () => {
    await Tasklet.sleep(400);
    return 1;
  };
  const { writer } = new BufferedStream(slow, { stallTimeout: 500 });
  const start = now();
  writer.write("abcdef");
  await writer.flush();
  assertEquals(now() - start, 2400);
  assert(timerCount() === 0);
});
