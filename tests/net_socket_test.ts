/**
 * `Socket` on real sockets. What it promises on every network is in `network_test.ts`.
 *
 * @module
 */
import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { setImmediate } from "node:timers";
import { BufferedStream, isDisconnect, Server, Socket } from "../net.ts";
import { JoinError, Tasklet, TaskletExit } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { Timeout, TimeoutError } from "../timer.ts";
import { client, vanish } from "./client.ts";
import { collectGarbage } from "./garbage.ts";
import { catchReports } from "./reports.ts";
import { patient, readSome, writeOn } from "./sockets.ts";
import { Reception } from "./networks.ts";

const LOCAL = { hostname: "localhost", port: 0 };
const TIME = { timeout: 20_000 };

const encoder = new TextEncoder();

/* ---------------------------------------------- Socket.connect() --------------------------------------------- */

Deno.test("Socket.connect() fails with ConnectionRefused where nobody listens", TIME, async () => {
  const listener = Deno.listen(LOCAL);
  const { port } = listener.addr;
  listener.close();
  await assertRejects(() => Socket.connect({ port }), Deno.errors.ConnectionRefused);
  await assertRejects(() => Socket.connect({ path: "/nowhere/at/all" }), Deno.errors.NotFound);
});

Deno.test(
  "Socket.connect() ends when its time is up or its tasklet is killed, and leaves nothing open",
  TIME,
  async () => {
    await using time = virtualTime();
    using silence = await fullBacklog();
    const { port } = silence;
    const log: unknown[] = [];
    await assertRejects(() => Socket.connect({ port }, { timeout: 60_000 }), TimeoutError);
    log.push(time.now);
    const killed = Tasklet.new(() => Socket.connect({ port }))();
    await Tasklet.yield();
    await killed.kill();
    log.push((await assertRejects(() => killed.join(), JoinError)).cause instanceof TaskletExit);
    const late = Tasklet.new(async () => {
      using _ = Timeout.push(60_000);
      await Socket.connect({ port });
    })();
    log.push(((await assertRejects(() => late.join(), JoinError)).cause as Error).name, time.now);
    assertEquals(log, [60_000, true, "TimeoutError", 120_000]);
  },
);

/** A port that neither accepts nor refuses, as Linux does when two wait in a backlog of one. */
async function fullBacklog(): Promise<{ port: number } & Disposable> {
  const stack = new DisposableStack();
  const listener = stack.use(Deno.listen({ ...LOCAL, tcpBacklog: 1 }));
  const { port } = listener.addr;
  for (let i = 0; i < 2; i++) stack.use(await client(port));
  return { port, [Symbol.dispose]: () => stack.dispose() };
}

Deno.test(
  "Socket.connect() that is killed at the moment of success closes its connection",
  TIME,
  async () => {
    await using server = Server.serve(
      LOCAL,
      (socket) => patient(socket),
    );
    for (let turns = 0; turns < 10; turns++) {
      const task = Tasklet.new(async () => {
        using _ = await Socket.connect({ port: server.port }); // which may have been handed over when the kill comes
        await Tasklet.sleep(1e9);
      })();
      for (let i = 0; i < turns; i++) await Tasklet.yield();
      await task.kill();
    }
    using last = await client(server.port);
    assertEquals(await last.say("hello"), "hello");
    while (server.connections > 1) await Tasklet.yield(); // the others have come to their end
  },
);

/* --------------------------------------------------- Socket -------------------------------------------------- */

/** A connection of which only this works. */
function connectionWith(methods: Partial<Deno.Conn>): Deno.Conn {
  const address: Deno.NetAddr = { transport: "tcp", hostname: "127.0.0.1", port: 1 };
  const connection: Partial<Deno.Conn> = { remoteAddr: address, localAddr: address, close: () => {} };
  return Object.assign(connection, methods) as Deno.Conn;
}

Deno.test(
  "Socket.read() gives bytes as they come, and null at the end, as often as asked",
  TIME,
  async () => {
    await using reception = new Reception(LOCAL);
    const [socket, other] = await reception.client();
    using _ = other;
    await other.send("hello");
    const log: unknown[] = [await readSome(socket, 2), await readSome(socket)];
    await other.end();
    log.push(await readSome(socket), await readSome(socket));
    assertEquals(log, ["he", "llo", null, null]);
  },
);

Deno.test("Socket.read() refuses a second reader at the same time", TIME, async () => {
  await using reception = new Reception(LOCAL);
  const [socket, other] = await reception.client();
  using _ = other;
  const reading = readSome(socket);
  await assertRejects(() => readSome(socket), Error, "Cannot read: another read is under way");
  await other.send("hello");
  assertEquals(await reading, "hello");
});

Deno.test(
  "Socket, Cancellation: a killed reader loses nothing, whatever buffer the next one has",
  TIME,
  async () => {
    await using reception = new Reception(LOCAL);
    const [socket, other] = await reception.client();
    using _ = other;
    const killed = Tasklet.new(() => readSome(socket))();
    await Tasklet.yield();
    await killed.kill();
    await other.send("hello world");
    const log: unknown[] = [];
    for (let i = 0; i < 3; i++) log.push(await readSome(socket, 4));
    await other.end();
    log.push(await readSome(socket));
    assertEquals(log, ["hell", "o wo", "rld", null]);
  },
);

Deno.test(
  "Socket, Cancellation: a reader killed when its bytes are there already loses nothing",
  TIME,
  async () => {
    await using reception = new Reception(LOCAL);
    const [socket, other] = await reception.client();
    using _ = other;
    const first = Tasklet.new(() => readSome(socket))();
    await Tasklet.yield();
    await first.kill();
    await other.send("hello world");
    const { promise, resolve } = Promise.withResolvers<void>();
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const second = Tasklet.new(async () => {
      await readSome(socket, 2); // the rest is kept
      begin();
      await promise; // no wait point
      await readSome(socket, 2);
    })();
    await begun;
    const ended = second.kill();
    resolve();
    await ended;
    assertEquals(await readSome(socket), "llo world");
  },
);

Deno.test("Socket, Cancellation: a reader whose deadline passes loses nothing", TIME, async () => {
  await using _time = virtualTime();
  await using reception = new Reception(LOCAL);
  const [socket, other] = await reception.client();
  using _ = other;
  const task = Tasklet.new(async () => {
    {
      using _ = Timeout.push(60_000);
      await assertRejects(() => readSome(socket), TimeoutError);
    }
    await other.send("late");
    return await readSome(socket);
  })();
  assertEquals(await task.join(), "late");
});

Deno.test(
  "Socket, Cancellation: a failure after a reader was killed is told to the next ones, who take turns and meet kills",
  TIME,
  async () => {
    const reset = new Deno.errors.ConnectionReset("reset");
    const { promise: arriving, reject: fail } = Promise.withResolvers<number | null>();
    const connection = connectionWith({});
    // As the operating system does it: it tells once.
    connection.read = () => {
      connection.read = () => Promise.resolve(null);
      return arriving;
    };
    const socket = new Socket(connection);
    const killed = Tasklet.new(() => readSome(socket))();
    await Tasklet.yield();
    await killed.kill();
    fail(reset);
    await Tasklet.yield();

    const log: unknown[] = [];
    const outcome = () => readSome(socket).catch((error) => error.name);
    const { promise, resolve } = Promise.withResolvers<void>();
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const task = Tasklet.new(async () => {
      let hasTurned = false;
      setImmediate(() => hasTurned = true);
      // Not for ever, because a loop that kept the event loop for itself would keep the test from ending.
      for (let i = 0; i < 5000 && !hasTurned; i++) await outcome();
      log.push(await outcome(), hasTurned);
      begin();
      await promise; // no wait point
      log.push(await outcome(), await outcome());
    })();
    await begun;
    const ended = task.kill();
    resolve();
    await ended;
    assertEquals(log, ["ConnectionReset", true, "TaskletExit", "ConnectionReset"]);
  },
);

Deno.test("Socket.read() that fails at once fails only itself", TIME, async () => {
  let reads = 0;
  const socket = new Socket(connectionWith({
    read: () => {
      if (++reads % 2 === 1) throw new Error("at once");
      return Promise.resolve(null);
    },
  }));
  const outcomes = async () => {
    const log: unknown[] = [];
    for (let i = 0; i < 3; i++) log.push(await readSome(socket).catch((error) => error.message));
    return log;
  };
  const log = [await Tasklet.new(outcomes)().join(), await Tasklet.new(outcomes)().join(), await outcomes()];
  const first = ["at once", null, "at once"];
  assertEquals(log, [first, [null, "at once", null], first]);
});

Deno.test("Socket keeps no buffer that was read into", TIME, async () => {
  const socket = new Socket(connectionWith({ read: () => Promise.resolve(1) }));
  const read = async () => {
    const buffer = new Uint8Array(1000);
    await socket.read(buffer);
    return new WeakRef(buffer);
  };
  const buffer = await Tasklet.new(read)().join();
  for (let i = 0; i < 3; i++) {
    await new Promise<void>((resolve) => setImmediate(resolve));
    collectGarbage();
  }
  assertEquals(buffer.deref(), undefined);
  assert(await socket.read(new Uint8Array(1)) === 1, "the socket is still there");
});

Deno.test("Socket.write() sends all, in order, also when several write at once", TIME, async () => {
  await using reception = new Reception(LOCAL);
  const [socket, other] = await reception.client();
  using _ = other;
  const parts = ["a", "b", "c"].map((letter) => letter.repeat(3_000_000));
  const written = Promise.all(parts.map((part) => socket.write(encoder.encode(part)))).then(() =>
    socket.closeWrite()
  );
  const received = await other.rest();
  await written;
  assert(received === parts.join(""), "what was received is what was sent, in order");
});

Deno.test(
  "Socket.write() begins at once when nothing is unsent, also after one that ended at once",
  TIME,
  async () => {
    const log: unknown[] = [];
    const socket = new Socket(connectionWith({
      write: (bytes) => {
        if (bytes.length === 1) throw new Error("at once");
        log.push(bytes.length);
        return Promise.resolve(bytes.length);
      },
    }));
    await socket.write(new Uint8Array(0));
    const second = socket.write(new Uint8Array(2));
    log.push("begun");
    await second;
    await assertRejects(() => socket.write(new Uint8Array(1)), Error, "at once");
    const third = socket.write(new Uint8Array(3));
    log.push("begun");
    await third;
    assertEquals(log, [2, "begun", 3, "begun"]);
  },
);

Deno.test(
  "Socket, Cancellation: a write that has begun goes on when its tasklet is killed",
  TIME,
  async () => {
    await using reception = new Reception(LOCAL);
    const [socket, other] = await reception.client();
    using _ = other;
    const large = "x".repeat(20_000_000);
    const task = Tasklet.new(() => socket.write(encoder.encode(large)))();
    await Tasklet.yield();
    await task.kill();
    const more = socket.write(encoder.encode("y")).then(() => socket.closeWrite());
    const received = await other.rest();
    await more;
    assert(received === large + "y", `received ${received.length} characters`);
  },
);

Deno.test(
  "Socket, Cancellation: what fails when a killed tasklet began it is nobody's error",
  TIME,
  async () => {
    using reports = catchReports();
    await using reception = new Reception(LOCAL);
    const log: unknown[] = [];
    const begin: ((socket: Socket) => Promise<unknown>)[] = [
      (socket) => socket.read(new Uint8Array(1)),
      (socket) => socket.write(new Uint8Array(1)),
      (socket) => socket.writeSome(new Uint8Array(1)),
      (socket) => socket.closeWrite(),
      (socket) => new BufferedStream(socket).reader.readLine(),
    ];
    for (const operation of begin) {
      const [socket, other] = await reception.client();
      using _ = other;
      const { promise, resolve } = Promise.withResolvers<void>();
      const task = Tasklet.new(async () => {
        await promise; // no wait point
        await operation(socket);
      })();
      await Tasklet.yield();
      socket.close();
      const ended = task.kill();
      resolve();
      await ended;
      await task.join().catch((error) => log.push(error.cause instanceof TaskletExit));
    }
    await reports.settled();
    assertEquals([log, reports.texts], [begin.map(() => true), []]);
  },
);

Deno.test(
  "Socket.closeWrite() ends one side: the peer reads to the end, and can still send",
  TIME,
  async () => {
    await using reception = new Reception(LOCAL);
    const [socket, other] = await reception.client();
    using _ = other;
    await socket.write(encoder.encode("bye"));
    await socket.closeWrite();
    const log: unknown[] = [await other.rest()];
    await other.send("thanks");
    log.push(await readSome(socket));
    assertEquals(log, ["bye", "thanks"]);
  },
);

Deno.test("Socket, Half-close: a client that has ended its side still gets its answer", TIME, async () => {
  await using server = Server.serve(LOCAL, async (socket) => {
    const stream = new BufferedStream(socket);
    const lines = await Array.fromAsync(stream.reader.readLines());
    stream.writer.writeLine(lines.join("+"));
    await stream.writer.flush();
  });
  using other = await client(server.port);
  await other.send("one\ntwo");
  await other.end();
  assertEquals(await other.rest(), "one+two\n");
});

Deno.test("Socket.close() is harmless twice, resolves closed, and ends what is under way", TIME, async () => {
  await using reception = new Reception(LOCAL);
  const [socket, other] = await reception.client();
  using _ = other;
  const log: unknown[] = [];
  void socket.closed.then(() => log.push("closed"));
  const reading = readSome(socket).catch(() => "read ended");
  await Tasklet.yield();
  log.push("open");
  socket.close();
  socket.close();
  log.push(await reading);
  await socket.closed;
  await assertRejects(() => readSome(socket));
  await assertRejects(() => socket.write(new Uint8Array(1)));
  assertEquals([log, await other.line()], [["open", "closed", "read ended"], null]);
});

Deno.test("Socket is closed by using", TIME, async () => {
  await using reception = new Reception(LOCAL);
  const arriving = reception.next();
  {
    using _ = await Socket.connect({ port: reception.server.port });
  }
  assertEquals(await readSome(await arriving), null);
});

Deno.test("Socket sends what is small at once", TIME, async () => {
  const calls: boolean[] = [];
  await using reception = new Reception(LOCAL);
  const connection = await Deno.connect({ ...LOCAL, port: reception.server.port });
  const { setNoDelay } = connection;
  connection.setNoDelay = (on) => {
    calls.push(on ?? true);
    setNoDelay.call(connection, on);
  };
  using _ = new Socket(connection);
  assertEquals(calls, [true]);
});

/* ------------------------------------------------ isDisconnect() --------------------------------------------- */

Deno.test("isDisconnect() knows what a read and a write of a reset connection throw", TIME, async () => {
  await using server = Server.serve(LOCAL, async (socket) => {
    log.push(isDisconnect(await socket.read(new Uint8Array(1)).catch((error) => error)));
    log.push(isDisconnect(await writeOn(socket).catch((error) => error)));
    resolve();
  });
  const log: unknown[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  await vanish(server.port, "", 0);
  await promise;
  assertEquals(log, [true, true]);
});

Deno.test("isDisconnect() knows what writing to a peer throws that has closed", TIME, async () => {
  await using reception = new Reception(LOCAL);
  const [socket, other] = await reception.client();
  other.close();
  const error = await writeOn(socket).catch((error) => error);
  assertStrictEquals(isDisconnect(error), true, `threw ${error}`);
});

Deno.test("isDisconnect() is false for everything else", () => {
  const others = [
    new Error("reset"),
    new TimeoutError("late"),
    new Deno.errors.NotFound(),
    undefined,
    null,
    "reset",
  ];
  assertEquals(others.map(isDisconnect), others.map(() => false));
});
