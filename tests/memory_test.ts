/**
 * What a network in memory adds to what every network promises (`network_test.ts`): conditions, faults, its place.
 *
 * @module
 */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { BufferedStream, isDisconnect, Server, Socket, useNetwork } from "../net.ts";
import type { Connection, Listener, Network } from "../network.ts";
import { Tasklet } from "../tasklet.ts";
import { type MemoryConnection, memoryNetwork, virtualTime } from "../testing.ts";
import { now, setTimer, TimeoutError, timerCount } from "../timer.ts";
import { moduleOf, Program } from "./program.ts";
import { Reception } from "./networks.ts";
import { readsSlowly, send } from "./peers.ts";
import { catchReports } from "./reports.ts";

const TIME = { timeout: 10_000 };
const ANYWHERE = { port: 0 };
const NEVER = new AbortController().signal;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

function write(socket: Socket, text: string): Promise<void> {
  return socket.write(encoder.encode(text));
}

async function readSome(socket: Socket, most = 1000): Promise<string | null> {
  const buffer = new Uint8Array(most);
  const n = await socket.read(buffer);
  return n === null ? null : decoder.decode(buffer.subarray(0, n));
}

/** What is read until the end, or until it fails: what was read, and the name of the error. */
async function readOn(socket: Socket): Promise<[text: string, end: string | null]> {
  let text = "";
  try {
    for (let part; (part = await readSome(socket)) !== null;) text += part;
    return [text, null];
  } catch (error) {
    return [text, (error as Error).name];
  }
}

async function echo(socket: Socket): Promise<void> {
  const stream = new BufferedStream(socket);
  try {
    for await (const line of stream.reader.readLines()) {
      stream.writer.writeLine(line);
      await stream.writer.flush();
    }
  } catch (error) {
    if (!isDisconnect(error)) throw error;
  }
}

async function ask(stream: BufferedStream, line: string): Promise<string | null> {
  stream.writer.writeLine(line);
  await stream.writer.flush();
  return await stream.reader.readLine();
}

/* ---------------------------------------------------- its place ---------------------------------------------- */

Deno.test("memoryNetwork() is in charge until disposed, and so is one inside another", TIME, async () => {
  const log: unknown[] = [];
  const address = { port: 4711 };
  {
    using ended = memoryNetwork();
    ended[Symbol.dispose]();
    using network = memoryNetwork();
    ended[Symbol.dispose]();
    await using outer = Server.serve(address, (socket) => write(socket, "outer"));
    {
      using _inner = memoryNetwork();
      await assertRejects(() => Socket.connect(address), Deno.errors.ConnectionRefused);
      await using _ = Server.serve(address, (socket) => write(socket, "inner"));
      using socket = await Socket.connect(address);
      log.push(await readOn(socket));
    }
    using socket = await Socket.connect(outer.address);
    log.push(await readOn(socket), network.connections.length);
  }
  await using system = Server.serve(ANYWHERE, (socket) => write(socket, "system"));
  using socket = await Socket.connect(system.address);
  log.push(await readOn(socket));
  assertEquals(log, [["inner", null], ["outer", null], 1, ["system", null]]);
});

Deno.test("memoryNetwork() closes what is left of it when disposed, and leaves no timer", TIME, async () => {
  using reports = catchReports();
  await using _ = virtualTime({ patience: 0 });
  const timers = timerCount();
  const network = memoryNetwork({ latency: 50, backlog: 1 });
  const server = Server.serve(ANYWHERE, (socket) => readSome(socket).catch(() => {}), { maxConnections: 1 });
  const open = await Socket.connect(server.address);
  await Tasklet.sleep(1000);
  const waiting = await Socket.connect(server.address);
  const reading = [open, waiting].map(readOn);
  const knocking = Socket.connect(server.address); // the backlog is full
  knocking.catch(() => {});
  await Tasklet.sleep(1000);
  const asking = Socket.connect(server.address); // has not arrived
  asking.catch(() => {});
  await write(open, "on its way");
  const accepting = network.listen(ANYWHERE, { reusePort: false }).accept();
  network[Symbol.dispose]();
  await assertRejects(() => accepting, Deno.errors.BadResource);
  assertEquals(await Promise.all(reading), [["", "ConnectionReset"], ["", "ConnectionReset"]]);
  for (const connecting of [knocking, asking]) {
    await assertRejects(() => connecting, Deno.errors.ConnectionReset);
  }
  await server.stop();
  await Tasklet.yield();
  await reports.settled();
  assertEquals([network.connections, timerCount(), reports.texts], [[], timers, []]);
});

Deno.test("memoryNetwork() needs no virtual time", TIME, async () => {
  using _ = memoryNetwork({ latency: 1 });
  await using server = Server.serve(ANYWHERE, echo);
  await using stream = new BufferedStream(await Socket.connect(server.address));
  assertEquals([await ask(stream, "hello"), await ask(stream, "again")], ["hello", "again"]);
});

Deno.test("memoryNetwork() refuses options and conditions that make no sense", TIME, () => {
  const wrong = [
    { latency: -1 },
    { latency: NaN },
    { latency: Infinity },
    { bandwidth: 0 },
    { bandwidth: -1 },
    { chunk: 0 },
    { chunk: 1.5 },
    { window: 0 },
    { window: NaN },
    { backlog: 0 },
  ];
  for (const options of wrong) {
    assertThrows(() => memoryNetwork(options), RangeError, `"${Object.keys(options)[0]}"`);
  }
  using network = memoryNetwork();
  assertThrows(() => network.latency = -1, RangeError, `"latency"`);
  assertEquals([network.latency, network.bandwidth, network.chunk], [0, Infinity, Infinity]);
});

Deno.test("useNetwork() puts any network in charge of whoever listens or connects", TIME, async () => {
  const log: unknown[] = [];
  using network = memoryNetwork();
  const spy: Network = {
    listen(address, options) {
      log.push(["listen", address, options]);
      return network.listen(address, options);
    },
    connect(address, signal) {
      log.push(["connect", address, signal.aborted]);
      return network.connect(address, signal);
    },
  };
  using _ = useNetwork(spy);
  await using _server = Server.serve({ port: 80 }, echo, { reusePort: true });
  using _socket = await Socket.connect({ hostname: "localhost", port: 80 });
  assertEquals(log, [
    ["listen", { port: 80 }, { reusePort: true }],
    ["connect", { hostname: "localhost", port: 80 }, false],
  ]);
});

/* ---------------------------------------------------- addresses ---------------------------------------------- */

Deno.test("memoryNetwork() picks free ports, and knows localhost by its number", TIME, async () => {
  using _ = memoryNetwork();
  await using one = Server.serve(ANYWHERE, echo);
  await using two = Server.serve({ hostname: "127.0.0.1", port: 0 }, echo);
  using socket = await Socket.connect({ hostname: "127.0.0.1", port: one.port });
  const ports = [one.port, two.port, (socket.localAddress as { port: number }).port];
  assertEquals([one.address, new Set(ports).size, Math.min(...ports) > 49_151], [
    { hostname: "127.0.0.1", port: one.port },
    3,
    true,
  ]);
});

Deno.test("memoryNetwork() has a machine for each hostname, and 0.0.0.0 is all of them", TIME, async () => {
  using _ = memoryNetwork();
  const log: unknown[] = [];
  const names = ["alpha.example", "beta.example", "0.0.0.0"];
  const serve = (hostname: string, port: number) =>
    Server.serve({ hostname, port }, (socket) => write(socket, hostname));
  await using _alpha = serve(names[0]!, 80);
  await using _beta = serve(names[1]!, 80);
  assertThrows(() => serve("0.0.0.0", 80), Deno.errors.AddrInUse, "0.0.0.0:80");
  await using _all = serve("0.0.0.0", 81);
  assertThrows(() => serve(names[0]!, 81), Deno.errors.AddrInUse, "alpha.example:81");
  for (
    const [hostname, port] of [["alpha.example", 80], ["beta.example", 80], ["gamma.example", 81]] as const
  ) {
    using socket = await Socket.connect({ hostname, port });
    log.push((await readOn(socket))[0]);
  }
  await assertRejects(() => Socket.connect({ port: 80 }), Deno.errors.ConnectionRefused);
  assertEquals(log, names);
});

Deno.test("memoryNetwork() gives a path to one, and unix sockets their empty ends", TIME, async () => {
  using _ = memoryNetwork();
  const address = { path: "/run/chat" };
  await using reception = new Reception(address);
  assertThrows(() => Server.serve(address, echo), Deno.errors.AddrInUse, "/run/chat");
  await assertRejects(() => Socket.connect({ path: "/run/chatter" }), Deno.errors.NotFound);
  const [here, there] = await reception.pair();
  assertEquals([here.localAddress, here.remoteAddress], [address, { path: "" }]);
  assertEquals([there.localAddress, there.remoteAddress], [{ path: "" }, address]);
});

Deno.test("memoryNetwork() lets those who share a port take turns, and nobody else in", TIME, async () => {
  using _ = memoryNetwork();
  const serve = (name: string, reusePort: boolean) =>
    Server.serve({ port: 80 }, (socket) => write(socket, name), { reusePort });
  {
    await using _ = serve("alone", false);
    assertThrows(() => serve("together", true), Deno.errors.AddrInUse);
  }
  await using _one = serve("one", true);
  await using _two = serve("two", true);
  assertThrows(() => serve("three", false), Deno.errors.AddrInUse);
  const log: string[] = [];
  for (let i = 0; i < 4; i++) {
    using socket = await Socket.connect({ port: 80 });
    log.push((await readOn(socket))[0]);
  }
  assertEquals(log, ["one", "two", "one", "two"]);
});

Deno.test("memoryNetwork() has no TLS", TIME, () => {
  using _ = memoryNetwork();
  assertThrows(() => Server.serve({ port: 443, cert: "c", key: "k" }, echo), Deno.errors.NotSupported, "TLS");
});

Deno.test(
  "memoryNetwork() can run out of ports, and has them again when who held them has gone",
  TIME,
  async () => {
    using network = memoryNetwork();
    await using server = Server.serve(ANYWHERE, echo);
    const log: unknown[] = [];
    for (const ending of ["refused", "aborted"]) {
      const partition = network.partition();
      const controllers = Array.from({ length: 16_383 }, () => new AbortController()); // all but that of the server
      const asking = controllers.map(({ signal }) => network.connect({ port: 9 }, signal));
      assertThrows(() => network.connect({ port: 9 }, NEVER), Deno.errors.AddrNotAvailable);
      if (ending === "aborted") {
        for (const controller of controllers) controller.abort(new Error("enough"));
      }
      partition[Symbol.dispose]();
      const outcomes = await Promise.allSettled(asking);
      log.push(new Set(outcomes.map((outcome) => outcome.status === "rejected" && outcome.reason.message)));
      await using stream = new BufferedStream(await Socket.connect(server.address));
      log.push(await ask(stream, "hello"));
      await stream.close();
      while (server.connections > 0) await Tasklet.yield();
      log.push(network.connections.length);
    }
    const refused = "Connection refused (os error 111)";
    assertEquals(log, [new Set([refused]), "hello", 0, new Set(["enough"]), "hello", 0]);
  },
);

Deno.test(
  "memoryNetwork() keeps no connection that has ended",
  TIME,
  async () => {
    await using program = new Program(Deno.execPath(), [
      "run",
      "--config",
      "deno.json",
      "--v8-flags=--expose-gc",
      moduleOf(`
    import { Server, Socket } from "${new URL("../net.ts", import.meta.url)}";
    import { memoryNetwork } from "${new URL("../testing.ts", import.meta.url)}";
    using network = memoryNetwork();
    const made = [];
    network.onConnection = (connection) => made.push(new WeakRef(connection));
    await using server = Server.serve({ port: 0 }, (socket) => socket.read(new Uint8Array(1)).catch(() => {}));
    for (let i = 0; i < 100; i++) {
      const socket = await Socket.connect(server.address);
      if (i % 2) network.connections[0].reset();
      socket.close();
      while (server.connections > 0) await new Promise((resolve) => setTimeout(resolve));
    }
    await new Promise((resolve) => setTimeout(resolve));
    gc();
    console.log(made.length, made.filter((connection) => connection.deref()).length < 3);
  `),
    ]);
    assertEquals(await program.end(), { code: 0, lines: ["100 true"], stderr: "" });
  },
);

Deno.test("memoryNetwork() does not connect for a signal that is aborted already", TIME, async () => {
  using network = memoryNetwork();
  await using reception = new Reception(ANYWHERE);
  const aborted = AbortSignal.abort(new Error("why"));
  await assertRejects(() => network.connect({ port: reception.server.port }, aborted), Error, "why");
  await Tasklet.sleep(1);
  assertEquals([network.connections, reception.server.connections], [[], 0]);
});

/* ---------------------------------------------------- Failure ------------------------------------------------ */

Deno.test("memoryNetwork(), Failure: errors are those of the system, to the letter", TIME, async () => {
  const inMemory = memoryNetwork();
  inMemory[Symbol.dispose](); // it need not be in charge
  const inSystem: Pick<Network, "listen" | "connect"> = {
    listen: (address) => Deno.listen(address as Deno.ListenOptions),
    connect: (address) => Deno.connect(address as Deno.ConnectOptions),
  };
  const expected = await mistakes(inSystem);
  assertEquals(await mistakes(inMemory), expected);
  assertEquals(expected.length, 19);
});

type Told = [name: string, message: string, code: string | undefined, ofClass: string];

/** What a network says of all that can be done wrong with it. */
async function mistakes(network: Pick<Network, "listen" | "connect">): Promise<Told[]> {
  const told: Told[] = [];
  const tell = async (operation: () => unknown) => {
    try {
      await operation();
      told.push(["nothing", "", undefined, ""]);
    } catch (error) {
      const { name, message, code } = error as Error & { code?: string };
      told.push([name, message, code, (error as Error).constructor.name]);
    }
  };
  const local = { hostname: "localhost", port: 0 };
  const listen = (address: { hostname: string; port: number }) =>
    network.listen(address, { reusePort: false });
  const pair = async (listener: Listener): Promise<[Connection, Connection]> => {
    const port = listener.addr.port!;
    return await Promise.all([network.connect({ ...local, port }, NEVER), listener.accept()]);
  };
  const listener = listen(local);
  const port = listener.addr.port!;
  await tell(() => listen({ ...local, port }));
  for (const port of [65_536, -1, 1.5]) await tell(() => listen({ ...local, port }));
  await tell(() => network.connect({ ...local, port: 65_536 }, NEVER));

  const [one, other] = await pair(listener);
  const reading = tell(() => one.read(new Uint8Array(1)));
  await Tasklet.sleep(1);
  one.close();
  await reading;
  await tell(() => one.close());
  await tell(() => one.read(new Uint8Array(1)));
  await tell(() => one.write(new Uint8Array(1)));
  await tell(() => one.write(new Uint8Array(0)));
  await tell(() => one.closeWrite());
  await tell(async () => {
    while (true) await other.write(new Uint8Array(1));
  });
  other.close();

  const [third, fourth] = await pair(listener);
  await third.closeWrite();
  await tell(() => third.write(new Uint8Array(1)));
  await tell(() => third.write(new Uint8Array(0)));
  third.close();
  fourth.close();

  const waiting = await network.connect({ ...local, port }, NEVER);
  await Tasklet.sleep(1);
  listener.close();
  await tell(() => waiting.read(new Uint8Array(1)));
  waiting.close();
  await tell(() => listener.accept());
  await tell(() => listener.close());
  await tell(() => network.connect({ ...local, port }, NEVER));
  const accepting = listen(local);
  const accept = tell(() => accepting.accept());
  await Tasklet.sleep(1);
  accepting.close();
  await accept;
  return told;
}

Deno.test(
  "memoryNetwork(), Failure: a connection that was reset before it was accepted is NotConnected",
  TIME,
  async () => {
    using network = memoryNetwork();
    const listener = network.listen(ANYWHERE, { reusePort: false });
    const address = { port: listener.addr.port! };
    using _ = await network.connect(address, NEVER);
    network.connections[0]!.reset();
    await assertRejects(() => listener.accept(), Deno.errors.NotConnected);
    using _next = await network.connect(address, NEVER);
    using accepted = await listener.accept();
    assertEquals(accepted.localAddr, { hostname: "127.0.0.1", port: address.port });
  },
);

Deno.test(
  "memoryNetwork(), Closing: closing with bytes unread, or sending to who has closed, breaks the connection",
  TIME,
  async () => {
    await using _ = virtualTime({ patience: 0 });
    using network = memoryNetwork({ latency: 10 });
    await using reception = new Reception(ANYWHERE);
    const log: unknown[] = [];
    {
      const [here, there] = await reception.pair();
      await write(there, "unread");
      await write(here, "read");
      await Tasklet.sleep(20);
      here.close();
      await Tasklet.sleep(20);
      // What had arrived is read; what is sent from now on is refused at once.
      log.push(await readOn(there), await write(there, "x").catch((error) => error.name));
      there.close();
    }
    {
      const [here, there] = await reception.pair();
      here.close();
      await Tasklet.sleep(20);
      log.push(await write(there, "taken, and refused")); // which takes its way
      await Tasklet.sleep(20);
      log.push(await write(there, "x").catch((error) => error.name), await readOn(there));
    }
    assertEquals(log, [["read", null], "BrokenPipe", undefined, "BrokenPipe", ["", null]]);
    assertEquals(network.connections, []);
  },
);

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
  await using server = Server.serve(ANYWHERE, echo);
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

/* ---------------------------------------------- what servers make of it -------------------------------------- */

Deno.test("A slow peer in memory takes its time, and none of ours", TIME, async () => {
  await using time = virtualTime({ patience: 0 });
  using _ = memoryNetwork();
  const text = "x".repeat(3600);
  await using server = Server.serve(ANYWHERE, (socket) => write(socket, text));
  assertEquals([await send(readsSlowly(), server.address).join() === text, time.now], [true, 3_600_000]);
});

Deno.test(
  "Server, idleTimeout: hours of silence pass at once, and bytes from far away count when they come",
  TIME,
  async () => {
    await using time = virtualTime({ patience: 0 });
    using network = memoryNetwork({ latency: 1000 });
    const log: unknown[] = [];
    await using server = Server.serve(ANYWHERE, async (socket) => {
      await using stream = new BufferedStream(socket);
      try {
        for await (const line of stream.reader.readLines()) log.push([line, time.now]);
        // deno-lint-ignore concurrence/rethrow-exit -- how it ends is what is tested
      } catch (error) {
        log.push([(error as Error).name, time.now]);
      }
    }, { idleTimeout: 3_600_000 });
    const socket = await Socket.connect(server.address); // at 2 s, accepted at 1 s
    await Tasklet.sleep(3_500_000);
    await write(socket, "still here\n");
    await Tasklet.sleep(3_500_000);
    await write(socket, "and ");
    await Tasklet.sleep(1000);
    const partition = network.partition();
    await write(socket, "gone\n");
    while (server.connections > 0) await Tasklet.sleep(1000);
    partition[Symbol.dispose]();
    assertEquals(log, [["still here", 3_503_000], ["TimeoutError", 10_603_000]]);
  },
);

Deno.test(
  "BufferedStream.close() gives up on who takes nothing, after a stall in virtual time",
  TIME,
  async () => {
    using reports = catchReports();
    await using time = virtualTime({ patience: 0 });
    using _ = memoryNetwork();
    await using reception = new Reception(ANYWHERE);
    const [here, _there] = await reception.pair();
    const stream = new BufferedStream(here);
    stream.writer.write("x".repeat(200_000));
    const begin = time.now;
    assertEquals([await stream.close({ stall: 60_000 }), time.now - begin, reports.texts], [
      false,
      60_000,
      [],
    ]);
  },
);
