/**
 * The faults of a network in memory: partitions and resets.
 *
 * @module
 */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { BufferedStream, Server, Socket } from "../net.ts";
import { Tasklet } from "../tasklet.ts";
import { type MemoryConnection, memoryNetwork, virtualTime } from "../testing.ts";
import { TimeoutError } from "../timer.ts";
import { Reception } from "./networks.ts";
import { ask, patient, readOn, readSome, write } from "./sockets.ts";

const TIME = { timeout: 10_000 };
const ANYWHERE = { port: 0 };

/* --------------------------------------------------- partition() --------------------------------------------- */

Deno.test(
  "MemoryNetwork.partition() lets nothing pass; what was sent meanwhile arrives at its end, in order",
  TIME,
  async () => {
    await using time = virtualTime({ patience: 0 });
    using network = memoryNetwork({ latency: 10 });
    await using reception = new Reception(ANYWHERE);
    const [here, there] = await reception.pair();
    await write(there, "before,");
    const log: unknown[] = [];
    {
      using _ = network.partition();
      await write(there, "meanwhile,");
      await write(here, "the other way");
      void readOn(here).then((read) => log.push(read, time.now));
      await Tasklet.sleep(60_000);
      there.close();
      log.push("mended");
    }
    await Tasklet.sleep(60_000);
    assertEquals(log, ["mended", ["before,meanwhile,", null], 60_030]);
  },
);

Deno.test("MemoryNetwork.partition() makes who connects wait, for the answer too", TIME, async () => {
  await using time = virtualTime({ patience: 0 });
  using network = memoryNetwork({ latency: 10 });
  await using reception = new Reception(ANYWHERE);
  const { address } = reception.server;
  const log: unknown[] = [];
  const late = Socket.connect(address).then(() => log.push(["late", time.now])); // asks before, would hear after
  await Tasklet.sleep(15);
  const partition = network.partition();
  const asking = Socket.connect(address).then(() => log.push(["connected", time.now]));
  const refused = Socket.connect({ port: 9 }).catch((error) => log.push([error.name, time.now]));
  await assertRejects(() => Socket.connect(address, { timeout: 1000 }), TimeoutError);
  log.push(reception.server.connections);
  partition[Symbol.dispose]();
  await Promise.all([late, asking, refused]);
  assertEquals(log, [1, ["late", 1015], ["connected", 1025], ["ConnectionRefused", 1025]]);
  while (reception.server.connections < 2) await Tasklet.yield();
  assertEquals(reception.server.connections, 2); // and not him who gave up
});

Deno.test("MemoryNetwork.partition() holds no more than the window", TIME, async () => {
  await using _ = virtualTime({ patience: 0 });
  using network = memoryNetwork({ window: 100 });
  await using reception = new Reception(ANYWHERE);
  const [here, there] = await reception.pair();
  const partition = network.partition();
  const written = write(there, "x".repeat(150)).then(() => there.closeWrite());
  await assertRejects(() => Tasklet.wait(written, { timeout: 60_000 }), TimeoutError);
  partition[Symbol.dispose]();
  assertEquals((await readOn(here))[0].length, 150);
  await written;
});

Deno.test(
  "MemoryNetwork.partition() ends with the last of those that overlap; harmless twice",
  TIME,
  async () => {
    await using _ = virtualTime({ patience: 0 });
    using network = memoryNetwork();
    await using reception = new Reception(ANYWHERE);
    const [here, there] = await reception.pair();
    const [one, two, three] = [
      network.partition(),
      network.partition(),
      network.connectionOf(here).partition(),
    ];
    await write(there, "hello");
    const log: unknown[] = [];
    void readSome(here).then((text) => log.push(text));
    for (const partition of [three, one, one, two, two]) {
      log.push("wait");
      await Tasklet.sleep(1000);
      partition[Symbol.dispose]();
    }
    assertEquals(log, ["wait", "wait", "wait", "wait", "wait", "hello"]);
  },
);

Deno.test("MemoryConnection.partition() cuts one connection alone", TIME, async () => {
  await using _ = virtualTime({ patience: 0 });
  using network = memoryNetwork();
  await using server = Server.serve(ANYWHERE, patient);
  const sockets = [await Socket.connect(server.address), await Socket.connect(server.address)];
  const [cut, open] = sockets.map((socket) => new BufferedStream(socket));
  const log: unknown[] = [];
  {
    using _ = network.connectionOf(sockets[0]!).partition();
    const asking = ask(cut!, "cut").then((line) => log.push(line));
    log.push(await ask(open!, "open"));
    await Tasklet.sleep(1000);
    log.push("mended");
    void asking;
  }
  await Tasklet.sleep(1);
  assertEquals(log, ["open", "mended", "cut"]);
});

Deno.test(
  "memoryNetwork(), Order: bytes arrive whole, once and in order, whatever the conditions and their changes",
  TIME,
  async () => {
    const ms = fc.integer({ min: 0, max: 50 });
    const conditions = fc.record({
      latency: ms,
      bandwidth: fc.constantFrom(100, 5000, Infinity),
      chunk: fc.integer({ min: 1 }),
    });
    const change = fc.record({ after: ms, ...{ conditions, cutFor: ms } });
    const options = fc.record({
      window: fc.integer({ min: 1, max: 500 }),
      seed: fc.option(fc.nat(), { nil: undefined }),
    });
    const sizes = fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(options, fc.array(change), sizes, sizes, async (options, changes, up, down) => {
        await using _ = virtualTime({ patience: 0 });
        using network = memoryNetwork(options);
        await using reception = new Reception(ANYWHERE);
        const [here, there] = await reception.pair();
        const ended = Promise.all([talk(there, up), talk(here, down)]);
        for (const { after, conditions, cutFor } of changes) {
          await Tasklet.sleep(after);
          Object.assign(network, conditions);
          using _ = network.partition();
          await Tasklet.sleep(cutFor);
        }
        const expected = [down, up].map((sizes) => sizes.reduce((sum, size) => sum + size, 0));
        assertEquals(await ended, expected.map((length) => Array.from({ length }, (_, i) => i % 251)));
        assertEquals([network.connections.length, there.close(), here.close(), network.connections.length], [
          1,
          undefined,
          undefined,
          0,
        ]);
      }),
      { numRuns: 60 },
    );
  },
);

/** Sends the numbers of the bytes, in pieces of `sizes`, and reads to the end. */
async function talk(socket: Socket, sizes: readonly number[]): Promise<number[]> {
  const sending = (async () => {
    let n = 0;
    for (const length of sizes) await socket.write(Uint8Array.from({ length }, () => n++ % 251));
    await socket.closeWrite();
  })();
  const received: number[] = [];
  const buffer = new Uint8Array(100);
  for (let n; (n = await socket.read(buffer)) !== null;) received.push(...buffer.subarray(0, n));
  await sending;
  return received;
}

/* ----------------------------------------------------- reset() ----------------------------------------------- */

Deno.test(
  "MemoryConnection.reset() lets both ends read what has arrived, and then tells them once",
  TIME,
  async () => {
    await using _ = virtualTime({ patience: 0 });
    using network = memoryNetwork({ latency: 10 });
    await using reception = new Reception(ANYWHERE);
    const [here, there] = await reception.pair();
    await write(there, "arrived");
    await Tasklet.sleep(20);
    await write(there, "lost");
    network.connectionOf(there).reset();
    const log: unknown[] = [await readOn(here), await readOn(here), await readOn(there), network.connections];
    for (const socket of [here, there]) {
      log.push(await write(socket, "x").catch((error) => error.name), await socket.closeWrite());
    }
    assertEquals(log, [
      ["arrived", "ConnectionReset"],
      ["", null],
      ["", "ConnectionReset"],
      [],
      "BrokenPipe",
      undefined,
      "BrokenPipe",
      undefined,
    ]);
  },
);

Deno.test(
  "MemoryConnection.resetAfter() lets exactly so many bytes arrive, both ways together",
  TIME,
  async () => {
    await using _ = virtualTime({ patience: 0 });
    using network = memoryNetwork();
    await using reception = new Reception(ANYWHERE);
    const log: unknown[] = [];
    for (const bytes of [1, 5, 6, 10, 11]) {
      const [here, there] = await reception.pair();
      network.connectionOf(here).resetAfter(bytes);
      await write(there, "hello");
      await Tasklet.sleep(1);
      await write(here, "world").catch(() => {});
      await Tasklet.sleep(1);
      const isThere = network.connections.length === 1;
      there.close();
      here.close();
      log.push([bytes, isThere]);
    }
    for (const bytes of [1, 3, 5, 7]) {
      const [here, there] = await reception.pair();
      network.connectionOf(here).resetAfter(bytes);
      const reading = readOn(there);
      await write(there, "hello");
      await Tasklet.sleep(1);
      await write(here, "world").catch(() => {});
      log.push([...await readOn(here), ...await reading]);
    }
    const reset = "ConnectionReset";
    assertEquals(log, [
      [1, false],
      [5, false],
      [6, false],
      [10, false],
      [11, true],
      ["h", null, "", reset],
      ["hel", null, "", reset],
      ["hello", null, "", reset],
      ["hello", reset, "wo", reset],
    ]);
    const [here] = await reception.pair();
    for (const bytes of [0, -1, 1.5, NaN]) {
      assertThrows(() => network.connectionOf(here).resetAfter(bytes), RangeError, `"bytes"`);
    }
  },
);

Deno.test(
  "MemoryNetwork.onConnection is called in nobody's name with each connection, before a byte has passed",
  TIME,
  async () => {
    await using _ = virtualTime({ patience: 0 });
    using network = memoryNetwork({ latency: 10 });
    const made: MemoryConnection[] = [];
    const names: unknown[] = [];
    network.onConnection = (connection) => {
      names.push(Tasklet.current());
      made.push(connection);
      if (made.length === 1) connection.reset();
      else if (made.length === 2) connection.resetAfter(3);
    };
    await using reception = new Reception(ANYWHERE);
    const { address } = reception.server;
    const task = Tasklet.new(async () => {
      await assertRejects(() => Socket.connect(address), Deno.errors.ConnectionReset);
      const [here, there] = await reception.pair();
      await write(there, "hello");
      assertEquals(await readOn(here), ["hel", "ConnectionReset"]);
      const [_here, last] = await reception.pair();
      assertEquals([made[2]!.client, made[2]!.server], [last.localAddress, address]);
    })();
    await task.join();
    assertEquals([made.length, names], [3, [undefined, undefined, undefined]]);
  },
);

Deno.test(
  "MemoryNetwork.connectionOf() finds the connection of either end, or tells that it cannot",
  TIME,
  async () => {
    using network = memoryNetwork();
    await using reception = new Reception(ANYWHERE);
    const pairs = [await reception.pair(), await reception.pair()];
    for (const [i, pair] of pairs.entries()) {
      for (const socket of pair) assert(network.connectionOf(socket) === network.connections[i]);
    }
    const [here, there] = pairs[0]!;
    here.close();
    there.close();
    const error = assertThrows(() => network.connectionOf(there), Error);
    assert(
      /^Cannot find connection: 0 are open between 127.0.0.1:\d+ and 127.0.0.1:\d+$/.test(error.message),
    );
    await using paths = new Reception({ path: "/run/chat" });
    const [one] = await paths.pair();
    assertEquals(network.connectionOf(one).server, { path: "/run/chat" });
    await paths.pair();
    assertThrows(() => network.connectionOf(one), Error, "2 are open");
  },
);
