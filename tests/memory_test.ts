/**
 * What a network in memory adds to what every network promises (`network_test.ts`): its place, addresses, errors.
 *
 * @module
 */
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { BufferedStream, Server, Socket, useNetwork } from "../net.ts";
import type { Connection, Listener, Network } from "../network.ts";
import { Tasklet } from "../tasklet.ts";
import { memoryNetwork, virtualTime } from "../testing.ts";
import { timerCount } from "../timer.ts";
import { moduleOf, Program } from "./program.ts";
import { Reception } from "./networks.ts";
import { readsSlowly, send } from "./peers.ts";
import { catchReports } from "./reports.ts";
import { ask, patient, readOn, readSome, write } from "./sockets.ts";

const TIME = { timeout: 10_000 };
const ANYWHERE = { port: 0 };
const NEVER = new AbortController().signal;

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
  await using server = Server.serve(ANYWHERE, patient);
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
  await using _server = Server.serve({ port: 80 }, patient, { reusePort: true });
  using _socket = await Socket.connect({ hostname: "localhost", port: 80 });
  assertEquals(log, [
    ["listen", { port: 80 }, { reusePort: true }],
    ["connect", { hostname: "localhost", port: 80 }, false],
  ]);
});

/* ---------------------------------------------------- addresses ---------------------------------------------- */

Deno.test("memoryNetwork() picks free ports, and knows localhost by its number", TIME, async () => {
  using _ = memoryNetwork();
  await using one = Server.serve(ANYWHERE, patient);
  await using two = Server.serve({ hostname: "127.0.0.1", port: 0 }, patient);
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
  assertThrows(() => Server.serve(address, patient), Deno.errors.AddrInUse, "/run/chat");
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
  assertThrows(
    () => Server.serve({ port: 443, cert: "c", key: "k" }, patient),
    Deno.errors.NotSupported,
    "TLS",
  );
});

Deno.test(
  "memoryNetwork() can run out of ports, and has them again when who held them has gone",
  TIME,
  async () => {
    using network = memoryNetwork();
    await using server = Server.serve(ANYWHERE, patient);
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
