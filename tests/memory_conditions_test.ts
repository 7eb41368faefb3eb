/**
 * The conditions of a network in memory: latency, bandwidth, pieces, and how much it holds.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { Server, Socket } from "../net.ts";
import { Tasklet } from "../tasklet.ts";
import { memoryNetwork, virtualTime } from "../testing.ts";
import { now, setTimer, TimeoutError } from "../timer.ts";
import { Reception } from "./networks.ts";
import { readOn, readSome, write } from "./sockets.ts";

const TIME = { timeout: 10_000 };
const ANYWHERE = { port: 0 };
const NEVER = new AbortController().signal;

/* ---------------------------------------------------- latency ------------------------------------------------ */

Deno.test("MemoryNetwork.latency is what everything takes, each way", TIME, async () => {
  await using time = virtualTime({ patience: 0 });
  using network = memoryNetwork({ latency: 50 });
  const log: unknown[] = [];
  await using reception = new Reception(ANYWHERE);
  const connecting = Socket.connect(reception.server.address);
  const here = await reception.next();
  log.push(["accepted", time.now]);
  const there = await connecting;
  log.push(["connected", time.now]);
  await write(there, "hello");
  log.push(["written", time.now]);
  log.push([await readSome(here), time.now]);
  network.latency = 1000;
  here.close();
  log.push([await readSome(there), time.now]);
  await assertRejects(() => Socket.connect({ port: 9 }), Deno.errors.ConnectionRefused);
  log.push(["refused", time.now]);
  assertEquals(log, [
    ["accepted", 50],
    ["connected", 100],
    ["written", 100],
    ["hello", 150],
    [null, 1150],
    ["refused", 3150],
  ]);
});

Deno.test("MemoryNetwork.latency keeps all in order, also when the latency falls", TIME, async () => {
  await using time = virtualTime({ patience: 0 });
  using network = memoryNetwork();
  await using reception = new Reception(ANYWHERE);
  const [here, there] = await reception.pair();
  for (const [i, latency] of [100, 10, 200, 0, 50].entries()) {
    network.latency = latency;
    await write(there, `${i}`);
  }
  there.close();
  const log: unknown[] = [];
  for (let part; (part = await readSome(here)) !== null;) log.push([part, time.now]);
  assertEquals(log, [["01", 100], ["234", 200]]);
});

Deno.test(
  "MemoryConnection.latency is that of one connection, and follows the network's until it is set",
  TIME,
  async () => {
    await using time = virtualTime({ patience: 0 });
    using network = memoryNetwork();
    await using reception = new Reception(ANYWHERE);
    const [far, toFar] = await reception.pair();
    const [near, toNear] = await reception.pair();
    network.connectionOf(far).latency = 300;
    network.latency = 20;
    assertEquals(network.connections.map(({ latency }) => latency), [300, 20]);
    await Promise.all([write(toFar, "far"), write(toNear, "near")]);
    const log = [await readSome(near), time.now, await readSome(far), time.now];
    assertEquals(log, ["near", 20, "far", 300]);
  },
);

Deno.test(
  "memoryNetwork(), Time: what takes no time takes a turn, so that nobody starves",
  TIME,
  async () => {
    using _ = memoryNetwork();
    await using server = Server.serve(ANYWHERE, async (socket) => {
      const buffer = new Uint8Array(1);
      while (await socket.read(buffer) !== null) await socket.write(buffer);
    });
    using socket = await Socket.connect(server.address);
    let isOver = false;
    using _timer = setTimer(now() + 20, () => isOver = true); // in real time
    let rounds = 0;
    for (; !isOver; rounds++) {
      await write(socket, "x");
      await readSome(socket);
    }
    assert(rounds > 10, `${rounds} rounds`);
  },
);

/* ---------------------------------------------- bandwidth, chunk, seed --------------------------------------- */

Deno.test("MemoryNetwork.bandwidth lets so many bytes a second pass, each way, in tenths", TIME, async () => {
  await using time = virtualTime({ patience: 0 });
  using network = memoryNetwork({ bandwidth: 1000, latency: 5 });
  await using reception = new Reception(ANYWHERE);
  const [here, there] = await reception.pair();
  const begin = time.now;
  await Promise.all([write(there, "x".repeat(250)), write(here, "y".repeat(100))]);
  const log: unknown[] = [];
  for (let i = 0; i < 3; i++) log.push([(await readSome(here))!.length, time.now - begin]);
  log.push([(await readSome(there))!.length, time.now - begin]);
  network.bandwidth = 1;
  await write(there, "ab");
  for (let i = 0; i < 2; i++) log.push([await readSome(here), time.now - begin]);
  assertEquals(log, [[100, 105], [100, 205], [50, 255], [100, 255], ["a", 1260], ["b", 2260]]);
});

Deno.test("MemoryNetwork.chunk is the most that a read gives", TIME, async () => {
  await using _ = virtualTime({ patience: 0 });
  using network = memoryNetwork({ chunk: 2 });
  await using reception = new Reception(ANYWHERE);
  const [here, there] = await reception.pair();
  await write(there, "abcdefgh");
  const log: unknown[] = [await readSome(here), await readSome(here)];
  network.chunk = 1;
  log.push(await readSome(here));
  network.connectionOf(here).chunk = 10;
  log.push(await readSome(here));
  assertEquals(log, ["ab", "cd", "e", "fgh"]);
});

Deno.test(
  "memoryNetwork() with a seed cuts what is read and written, always in the same way",
  TIME,
  async () => {
    const cuts: [writes: number[], reads: number[]][] = [];
    for (const seed of [7, 7, 8]) {
      await using _ = virtualTime({ patience: 0 });
      using network = memoryNetwork({ seed });
      const listener = network.listen(ANYWHERE, { reusePort: false });
      using there = await network.connect({ port: listener.addr.port! }, NEVER);
      using here = await listener.accept();
      const bytes = new Uint8Array(50_000);
      const writes: number[] = [];
      const reads: number[] = [];
      for (let left = bytes.length; left > 0; left -= writes.at(-1)!) {
        writes.push(await there.write(bytes.subarray(0, left)));
        for (let unread = writes.at(-1)!; unread > 0; unread -= reads.at(-1)!) {
          reads.push((await here.read(bytes))!);
        }
      }
      cuts.push([writes, reads]);
    }
    assertEquals(cuts[0], cuts[1]);
    assert(cuts[0]!.join() !== cuts[2]!.join(), "another seed, other cuts");
    for (const [writes, reads] of cuts) {
      assert(
        reads.length > writes.length && writes.length > 3,
        `${reads.length} reads of ${writes.length} writes`,
      );
      for (const sizes of [writes, reads]) {
        assert(Math.min(...sizes) < 10 && Math.max(...sizes) > 1000, sizes.join());
      }
    }
  },
);

/* ------------------------------------------- Backpressure, the backlog --------------------------------------- */

Deno.test(
  "memoryNetwork(), Backpressure: exactly the window is held for who does not read",
  TIME,
  async () => {
    await using _ = virtualTime({ patience: 0 });
    using network = memoryNetwork({ window: 10 });
    const listener = network.listen(ANYWHERE, { reusePort: false });
    using there = await network.connect({ port: listener.addr.port! }, NEVER);
    using here = await listener.accept();
    const log: unknown[] = [await there.write(new Uint8Array(7)), await there.write(new Uint8Array(7))];
    log.push(await there.write(new Uint8Array(0)));
    const waiting = there.write(new Uint8Array(7)).then((n) => log.push(`took ${n}`));
    await Tasklet.sleep(1000);
    log.push(await here.read(new Uint8Array(2)));
    await waiting;
    await Tasklet.sleep(1);
    log.push(await here.read(new Uint8Array(100)));
    assertEquals(log, [7, 3, 0, 2, "took 2", 10]);
  },
);

Deno.test(
  "memoryNetwork() connects no more than its backlog before they are accepted; others wait, or give up",
  TIME,
  async () => {
    await using _ = virtualTime({ patience: 0 });
    using network = memoryNetwork({ backlog: 2 });
    const log: unknown[] = [];
    const listener = network.listen(ANYWHERE, { reusePort: false });
    const address = { port: listener.addr.port! };
    for (let i = 0; i < 4; i++) {
      void Socket.connect(address, i === 2 ? { timeout: 500 } : {}).then(
        async (socket) => {
          log.push(i);
          await write(socket, `${i}`);
        },
        (error) => log.push(error.name),
      );
    }
    await Tasklet.sleep(1000);
    log.push(network.connections.length);
    const read = async () => {
      const socket = new Socket(await listener.accept());
      await Tasklet.sleep(1);
      return await readSome(socket);
    };
    log.push(await read(), await read(), await read());
    const none = listener.accept();
    await assertRejects(() => Tasklet.wait(none, { timeout: 1000 }), TimeoutError);
    listener.close();
    await assertRejects(() => none, Deno.errors.BadResource);
    assertEquals(log, [0, 1, "TimeoutError", 2, 3, "0", "1", "3"]);
  },
);

Deno.test(
  "memoryNetwork() refuses who waits for room in the backlog of a listener that closes",
  TIME,
  async () => {
    await using _ = virtualTime({ patience: 0 });
    using network = memoryNetwork({ backlog: 1 });
    const listener = network.listen(ANYWHERE, { reusePort: false });
    const address = { port: listener.addr.port! };
    const one = await Socket.connect(address);
    const two = Socket.connect(address);
    two.catch(() => {});
    await Tasklet.sleep(1);
    listener.close();
    await assertRejects(() => two, Deno.errors.ConnectionRefused);
    assertEquals(await readOn(one), ["", "ConnectionReset"]);
  },
);
