// Waits that begin when it is too late already, and ends that nobody expects: they take nothing away from others.

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Message } from "../message.ts";
import { BufferedStream } from "../stream.ts";
import { Tasklet, TimeoutError } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { setTimer, Timeout } from "../timer.ts";

class MSG_A extends Message("MSG_A")<[n: number]> {}

/** Runs `f` in a tasklet whose deadline has passed. */
function late<T>(f: () => T): Promise<Awaited<T>> {
  return Tasklet.new(async () => {
    using _ = Timeout.push(0);
    return await f();
  }, { name: "late" })().join();
}

Deno.test("task.join() that begins after its deadline takes no other joiner away", async () => {
  await using _ = virtualTime();
  const task = Tasklet.new(() => Tasklet.sleep(50))();
  const joiners = [1, 2].map((n) => Tasklet.new(async () => (await task.join(), n))());
  await Tasklet.sleep(5);
  await late(() => assertRejects(() => task.join(), TimeoutError));
  assertEquals((await Tasklet.joinAll(joiners)).length, 2);
});

Deno.test("BufferedWriter.flush() that begins after its deadline takes no other flush away", async () => {
  await using _ = virtualTime();
  const { promise, resolve } = Promise.withResolvers<number>();
  const { writer } = new BufferedStream({
    read: () => new Promise(() => {}),
    writeSome: (bytes) => promise.then(() => bytes.length),
    close: () => {},
  });
  writer.writeLine("one");
  const first = Tasklet.new(() => writer.flush())();
  await Tasklet.yield();
  await late(() => assertRejects(() => writer.flush(), TimeoutError));
  resolve(0);
  await first.join();
});

Deno.test("Tasklet.suspend() rejects with what its undo throws, also after its deadline", async () => {
  await using _ = virtualTime();
  const wait = () =>
    Tasklet.suspend(() => () => {
      throw new Error("cannot undo");
    });
  await late(() => assertRejects(wait, Error, "cannot undo"));
});

Deno.test("return() ends the wait of a loop, which swallows no message", async () => {
  const task = Tasklet.new(async () => {
    const ends: unknown[] = [];
    for (const loop of [Tasklet.receive(), Tasklet.batches()]) {
      const next = loop.next();
      await loop.return!();
      ends.push((await next).done);
    }
    return [...ends, (await Tasklet.receiveOne([MSG_A])).args[0]];
  })();
  for (let turn = 0; turn < 3; turn++) await Tasklet.yield();
  MSG_A.send(task)(1);
  assertEquals(await task.join(), [true, true, 1]);
});

Deno.test("Tasklet.scope() throws what its body threw, undefined too", async () => {
  const scope = () => Tasklet.scope(() => Promise.reject(undefined));
  const task = Tasklet.new(() => scope().then(() => ["returned"], (error) => ["threw", error]))();
  assertEquals(await task.join(), ["threw", undefined]);
});

Deno.test("BufferedStream.close() refuses times that make no sense, and closes nothing", async () => {
  let closed = 0;
  const socket = {
    read: () => new Promise<null>(() => {}),
    writeSome: (bytes: Uint8Array) => Promise.resolve(bytes.length),
    close: () => void closed++,
  };
  const stream = new BufferedStream(socket);
  stream.writer.writeLine("Goodbye");
  await assertRejects(() => stream.close({ stall: -1 }), RangeError, '"stall"');
  await assertRejects(() => stream.close({ timeout: NaN }), RangeError, '"timeout"');
  await assertRejects(() => stream.close({ linger: -1 }), RangeError, '"linger"');
  assertThrows(() => stream.writer.flush({ timeout: -1 }), RangeError, '"timeout"');
  assertEquals([closed, stream.writer.buffered], [0, 8]);
  assertEquals([await stream.close(), closed], [true, 1]);
});

Deno.test("setTimer() refuses a time that is not a number, which would stop all other timers", () => {
  assertThrows(() => setTimer(NaN, () => {}), RangeError, "not a number");
});
