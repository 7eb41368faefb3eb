import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { connect } from "node:net";
import { setImmediate } from "node:timers";
import { BufferedStream, isDisconnect, Server, Socket } from "../net.ts";
import { JoinError, Tasklet, TaskletExit } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { Timeout, TimeoutError } from "../timer.ts";
import { type Client, client, vanish } from "./client.ts";
import { moduleOf, NARROW, type Outcome, Program, startWithFewDescriptors } from "./program.ts";
import { requires } from "./requires.ts";
import { certificate } from "./certificate.ts";
import { catchReports } from "./reports.ts";

const LOCAL = { hostname: "localhost", port: 0 };
const TIME = { timeout: 20_000 };

const encoder = new TextEncoder();
const decoder = new TextDecoder();

async function echo(socket: Socket): Promise<void> {
  const stream = new BufferedStream(socket);
  for await (const line of stream.reader.readLines()) {
    stream.writer.writeLine(line);
    await stream.writer.flush();
  }
}

/** As `echo`, to peers that may be gone at any time. */
async function patient(socket: Socket): Promise<void> {
  try {
    await echo(socket);
  } catch (error) {
    if (!isDisconnect(error)) throw error;
  }
}

/** Sends a line and gives what is answered. */
async function ask(client: Client, line: string): Promise<string | null> {
  await client.send(line + "\n");
  return await client.line();
}

/** Reads once, at most `most` bytes, as text. */
async function readText(socket: Socket, most = 1000): Promise<string | null> {
  const buffer = new Uint8Array(most);
  const n = await socket.read(buffer);
  return n === null ? null : decoder.decode(buffer.subarray(0, n));
}

/** A server whose sockets the test holds in its hands. */
class Reception implements AsyncDisposable {
  readonly server: Server;
  readonly #arrived: Socket[] = [];
  #waiting: ((socket: Socket) => void)[] = [];

  constructor(options: Parameters<typeof Server.serve>[2] = {}) {
    this.server = Server.serve(LOCAL, async (socket) => {
      const next = this.#waiting.shift();
      if (next === undefined) this.#arrived.push(socket);
      else next(socket);
      await Tasklet.wait(socket.closed);
    }, options);
  }

  /** The next socket that is accepted. */
  next(): Promise<Socket> {
    const socket = this.#arrived.shift();
    return socket ? Promise.resolve(socket) : new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** A socket and its other end. */
  async pair(): Promise<[Socket, Client]> {
    const arriving = this.next();
    const other = await client(this.server.port);
    return [await arriving, other];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.stop();
  }
}

/** Whether nobody listens on a port. */
async function isRefused(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "localhost", port })).close();
    return false;
  } catch (error) {
    return error instanceof Deno.errors.ConnectionRefused;
  }
}

/** Whether nobody talks to who connects to a port. */
async function isUnserved(port: number): Promise<boolean> {
  try {
    using other = await client(port);
    return await other.rest() === "";
  } catch (error) {
    return error instanceof Deno.errors.ConnectionRefused || isDisconnect(error);
  }
}

/* ----------------------------------------------- Server.serve() ---------------------------------------------- */

Deno.test("Server.serve() has bound its address when it returns", TIME, async () => {
  await using server = Server.serve(LOCAL, echo);
  using other = await client(server.port); // nothing has run in between
  assert(server.port > 0);
  assertEquals(server.address, { hostname: "127.0.0.1", port: server.port });
  assertEquals([await ask(other, "hello"), server.connections], ["hello", 1]);
});

Deno.test("Server.serve() throws AddrInUse with the address in its text if it is taken", TIME, async () => {
  await using server = Server.serve(LOCAL, echo);
  const error = assertThrows(
    () => Server.serve({ hostname: "localhost", port: server.port }, echo),
    Deno.errors.AddrInUse,
  );
  assertEquals(error.message, `Cannot listen on localhost:${server.port}: the address is in use`);
  assert(error.cause instanceof Deno.errors.AddrInUse);
});

Deno.test("Server.serve() refuses options that make no sense, and binds nothing", TIME, () => {
  for (const maxConnections of [0, -1, 1.5, NaN]) {
    assertThrows(() => Server.serve(LOCAL, echo, { maxConnections }), RangeError, "maxConnections");
  }
  for (const idleTimeout of [-1, NaN]) {
    assertThrows(() => Server.serve(LOCAL, echo, { idleTimeout }), RangeError, "idleTimeout");
  }
  assertThrows(
    () => Server.serve({ ...LOCAL, cert: "x" }, echo),
    TypeError,
    `TLS needs both "cert" and "key"`,
  );
});

Deno.test(
  "Server.serve() runs each handler as a tasklet, named after it, child of the server's",
  TIME,
  async () => {
    const log: unknown[] = [];
    const owner = Tasklet.new(async function owner() {
      const { promise, resolve } = Promise.withResolvers<void>();
      await using server = Server.serve(LOCAL, function handle() {
        for (let task = Tasklet.current(); task; task = task.parent) log.push(task.name);
        resolve();
      });
      using _ = await client(server.port);
      await promise;
    })();
    await owner.join();
    assertEquals(log, ["handle", "server", "owner"]);
  },
);

Deno.test("Server serves many at once, each with its own lines", TIME, async () => {
  await using server = Server.serve(LOCAL, echo);
  const answers = await Promise.all(Array.from({ length: 50 }, async (_, i) => {
    using other = await client(server.port);
    return [await ask(other, `a${i}`), await ask(other, `b${i}`)];
  }));
  assertEquals(answers, Array.from({ length: 50 }, (_, i) => [`a${i}`, `b${i}`]));
});

Deno.test("Server.address and remoteAddress tell both ends", TIME, async () => {
  await using reception = new Reception();
  const [socket, other] = await reception.pair();
  using _ = other;
  assertEquals(socket.remoteAddress, { hostname: "127.0.0.1", port: other.port });
  assertEquals(socket.localAddress, { hostname: "127.0.0.1", port: reception.server.port });
});

/* ------------------------------------------------- Server, Failure ------------------------------------------- */

Deno.test(
  "Server, Ownership: when a handler ends, its tasklets are killed and its socket is closed",
  TIME,
  async () => {
    const log: string[] = [];
    await using server = Server.serve(LOCAL, async (socket) => {
      Tasklet.new(async () => {
        try {
          await Tasklet.sleep(1e9);
        } finally {
          await Tasklet.sleep(1);
          log.push("cleaned up");
        }
      })();
      void socket.closed.then(() => log.push("closed"));
      await readText(socket);
    });
    using other = await client(server.port);
    await other.send("go");
    assertEquals(await other.line(), null);
    assertEquals(log, ["cleaned up", "closed"]);
  },
);

Deno.test(
  "Server, Failure: the error of a handler is reported once, and the server lives on",
  TIME,
  async () => {
    using reports = catchReports();
    const log: unknown[] = [];
    await using server = Server.serve(LOCAL, async function handle(socket) {
      if (await readText(socket) === "fail\n") throw new Error("handler broke");
      await socket.write(encoder.encode("fine\n"));
    });
    for (const line of ["fail", "work", "fail", "work"]) {
      using other = await client(server.port);
      log.push(await ask(other, line));
    }
    await reports.settled();
    assertEquals(log, [null, "fine", null, "fine"]);
    assertEquals(reports.texts.length, 2, reports.texts.join("\n"));
    for (const text of reports.texts) assertMatch(text, /^handle#\d+ failed: Error: handler broke/);
  },
);

Deno.test(
  "Server, Failure: a handler that throws at once, or needs no waiting, closes its socket too",
  TIME,
  async () => {
    using reports = catchReports();
    await using server = Server.serve(LOCAL, () => {
      throw new Error("at once");
    });
    using one = await client(server.port);
    using two = await client(server.port);
    assertEquals([await one.rest(), await two.rest()], ["", ""]);
    await reports.settled();
    assertEquals([reports.texts.length, server.connections], [2, 0]);
  },
);

Deno.test(
  "Server, Failure: a handler that is killed closes its socket, and nothing is reported",
  TIME,
  async () => {
    using reports = catchReports();
    await using server = Server.serve(LOCAL, async (socket) => {
      await readText(socket);
      void Tasklet.current()!.kill();
      await Tasklet.sleep(1e9);
    });
    using other = await client(server.port);
    assertEquals(await ask(other, "go"), null);
    using next = await client(server.port);
    assertEquals(await ask(next, "go"), null);
    await reports.settled();
    assertEquals(reports.texts, []);
  },
);

Deno.test(
  "Server, Failure: peers that reset at any time are no reason to report anything but what the handler throws",
  TIME,
  async () => {
    using reports = catchReports();
    await using server = Server.serve(LOCAL, async (socket) => {
      try {
        await socket.write(encoder.encode("hello\n"));
        await echo(socket);
      } catch (error) {
        if (!isDisconnect(error)) throw error;
      }
    });
    await Promise.all(
      Array.from({ length: 30 }, (_, i) => vanish(server.port, i % 2 ? "line\n" : "", i % 7)),
    );
    using other = await client(server.port);
    assertEquals([await other.line(), await ask(other, "still here")], ["hello", "still here"]);
    await reports.settled();
    assertEquals(reports.texts, []);
  },
);

Deno.test("Server goes on after peers that have reset before they were accepted", TIME, async () => {
  using reports = catchReports();
  await using server = Server.serve(LOCAL, patient, { maxConnections: 1 });
  using first = await client(server.port);
  assertEquals(await ask(first, "one"), "one"); // the others are not accepted while this one is there
  for (let i = 0; i < 20; i++) {
    await new Promise<void>((resolve) => {
      const socket = connect(server.port, "localhost", () => socket.resetAndDestroy());
      socket.on("close", () => resolve());
    });
  }
  first.close();
  using last = await client(server.port);
  assertEquals(await ask(last, "two"), "two");
  await reports.settled();
  assertEquals(reports.texts, []);
});

Deno.test(
  "Server survives running out of descriptors, and accepts again afterwards",
  { timeout: 60_000, ...requires("bash") },
  async () => {
    await using program = startWithFewDescriptors("examples/chat.ts", ["--port", "0"], 64);
    const port = await program.port();
    const clients = await Promise.all(Array.from({ length: 200 }, () => client(port)));
    await greeted(clients, 30); // it has descriptors for some more, and not for all
    for (const client of clients) client.close();
    using one = await client(port);
    using two = await client(port);
    assertEquals(await Promise.all([one.line(), two.line()]), [
      "type 'quit' to exit..",
      "type 'quit' to exit..",
    ]);
    await one.send("hello\n");
    assertEquals(await two.line(), "hello");
    program.signal("SIGINT");
    assertEquals(await program.end(), { code: 130, lines: [], stderr: "" });
  },
);

/** Waits until `count` of `clients` have got a line. */
function greeted(clients: readonly Client[], count: number): Promise<void> {
  return new Promise((resolve) => {
    let greeted = 0;
    for (const client of clients) void client.line().then(() => ++greeted === count && resolve(), () => {});
  });
}

/* -------------------------------------------- Server, maxConnections ----------------------------------------- */

Deno.test("Server, maxConnections: further ones wait, and are served when one has gone", TIME, async () => {
  const log: unknown[] = [];
  await using server = Server.serve(LOCAL, echo, { maxConnections: 2 });
  using one = await client(server.port);
  using two = await client(server.port);
  log.push(await ask(one, "one"), await ask(two, "two"));
  using three = await client(server.port);
  using four = await client(server.port);
  const waiting = Promise.all([ask(three, "three"), ask(four, "four")]).then((answers) =>
    log.push(...answers)
  );
  log.push(await ask(one, "still one"), server.connections);
  one.close();
  two.close();
  await waiting;
  log.push(server.connections);
  assertEquals(log, ["one", "two", "still one", 2, "three", "four", 2]);
});

Deno.test("Server, maxConnections: never more handlers at once, however many come and go", TIME, async () => {
  let now = 0;
  let most = 0;
  await using server = Server.serve(LOCAL, async (socket) => {
    most = Math.max(most, ++now);
    try {
      await echo(socket);
    } finally {
      now--;
    }
  }, { maxConnections: 3 });
  const answers = await Promise.all(Array.from({ length: 40 }, async (_, i) => {
    using other = await client(server.port);
    return await ask(other, `${i}`);
  }));
  assertEquals([most, answers], [3, answers.map((_, i) => `${i}`)]);
});

/* --------------------------------------------- Server, idleTimeout ------------------------------------------- */

Deno.test("Server, idleTimeout: a read of a silent peer ends with TimeoutError", TIME, async () => {
  await using time = virtualTime();
  const log: unknown[] = [];
  await using server = Server.serve(LOCAL, async (socket) => {
    log.push(await readText(socket), time.now);
    log.push((await assertRejects(() => readText(socket), TimeoutError)).name, time.now);
  }, { idleTimeout: 60_000 });
  using other = await client(server.port);
  await other.send("hello");
  log.push(await other.line());
  assertEquals(log, ["hello", 0, "TimeoutError", 60_000, null]);
});

Deno.test("Server, idleTimeout: what was sent in time is read, however late", TIME, async () => {
  await using _ = virtualTime();
  const log: unknown[] = [];
  await using server = Server.serve(LOCAL, async (socket) => {
    for (let i = 0; i < 3; i++) {
      await Tasklet.sleep(60_000); // longer than a peer may be silent
      log.push(await readText(socket, 1));
    }
  }, { idleTimeout: 50_000 });
  using other = await client(server.port);
  await other.send("abc");
  assertEquals(await other.line(), null);
  assertEquals(log, ["a", "b", "c"]);
});

Deno.test("Server, idleTimeout: a line that comes after the TimeoutError is read", TIME, async () => {
  await using _ = virtualTime();
  const log: unknown[] = [];
  await using server = Server.serve(LOCAL, async (socket) => {
    const stream = new BufferedStream(socket);
    await assertRejects(() => stream.reader.readLine(), TimeoutError);
    stream.writer.writeLine("still there?");
    await stream.writer.flush();
    let line: string | null | undefined;
    while (line === undefined) {
      line = await stream.reader.readLine().catch((error) => {
        if (!(error instanceof TimeoutError)) throw error;
        return undefined;
      });
    }
    log.push(line);
  }, { idleTimeout: 60_000 });
  using other = await client(server.port);
  await other.send("half a ");
  log.push(await other.line());
  await other.send("line\n");
  log.push(await other.line());
  assertEquals(log, ["still there?", "half a line", null]);
});

/* ------------------------------------------------ Server.stop() ---------------------------------------------- */

Deno.test(
  "Server.stop() accepts nothing more, tells the handlers, and waits until they are done",
  TIME,
  async () => {
    const log: unknown[] = [];
    const server = Server.serve(LOCAL, async (socket) => {
      const stream = new BufferedStream(socket);
      try {
        await stream.reader.readLine();
      } catch (exit) {
        log.push(exit instanceof TaskletExit, await isUnserved(server.port));
        stream.writer.writeLine("bye");
        throw exit;
      } finally {
        await stream.close();
        await Tasklet.sleep(1);
        log.push("cleaned up");
      }
    });
    const { port } = server;
    using one = await client(port);
    await one.send("no whole line");
    while (server.connections === 0) await Tasklet.yield();
    const stopped = server.stop().then(() => log.push("stopped"));
    log.push(await one.line(), await one.line());
    await stopped;
    await server.stop();
    assertEquals(log, [true, true, "bye", null, "cleaned up", "stopped"]);
    assertEquals([server.connections, await isRefused(port)], [0, true]);
  },
);

Deno.test("Server.stop() closes the listener, whenever it is called after serve()", TIME, async () => {
  const log: unknown[] = [];
  for (let turns = 0; turns < 10; turns++) {
    const server = Server.serve(LOCAL, echo);
    for (let i = 0; i < turns; i++) await null;
    await server.stop();
    log.push(await isRefused(server.port));
  }
  assertEquals(log, Array(10).fill(true));
});

Deno.test(
  "Server.stop() at the moment of a connection closes it, and leaves nothing behind",
  TIME,
  async () => {
    using reports = catchReports();
    const log: unknown[] = [];
    for (let turns = 0; turns < 30; turns++) {
      const server = Server.serve(LOCAL, echo);
      await Tasklet.yield();
      using other = await client(server.port);
      for (let i = 0; i < turns; i++) await null;
      await server.stop();
      log.push(await other.rest().catch((error) => isDisconnect(error) ? "" : error), server.connections);
    }
    await reports.settled();
    assertEquals([log, reports.texts], [Array(30).fill(["", 0]).flat(), []]);
  },
);

Deno.test("Server.stop() closes the sockets of handlers that do not end within the grace", TIME, async () => {
  await using time = virtualTime();
  using reports = catchReports();
  const { promise, resolve } = Promise.withResolvers<void>();
  const server = Server.serve(LOCAL, async (socket) => {
    await socket.write(encoder.encode("hello\n"));
    await promise; // no wait point
  });
  using other = await client(server.port);
  await other.line();
  await server.stop({ grace: 6000 });
  assertEquals([await other.rest(), server.connections, time.now], ["", 0, 6000]);
  assertMatch(reports.texts.join("\n"), /was abandoned/);
  resolve();
  await Tasklet.yield();
});

Deno.test(
  "Server, Closing: a kill of its owner closes the sockets of handlers that do not end within the grace",
  TIME,
  async () => {
    await using time = virtualTime();
    using reports = catchReports();
    const { promise, resolve } = Promise.withResolvers<void>();
    let server: Server | undefined;
    const owner = Tasklet.new(async () => {
      server = Server.serve(LOCAL, async (socket) => {
        await socket.write(encoder.encode("hello\n"));
        await promise; // no wait point
      });
      await Tasklet.receiveOne();
    })();
    while (server === undefined) await null;
    using one = await client(server.port);
    using two = await client(server.port);
    const log: unknown[] = [await one.line(), await two.line()];
    await owner.kill({ grace: 6000 });
    log.push(time.now, await one.rest(), await two.rest(), server.connections, await isRefused(server.port));
    assertEquals(log, ["hello", "hello", 6000, "", "", 0, true]);
    assertEquals(reports.texts.filter((text) => text.includes("was abandoned")).length, 2);
    resolve();
    await Tasklet.yield();
  },
);

Deno.test("Server, Closing: await using stops it", TIME, async () => {
  let port: number;
  {
    await using server = Server.serve(LOCAL, echo);
    port = server.port;
    using other = await client(port);
    await ask(other, "hello");
  }
  assert(await isRefused(port));
});

Deno.test(
  "Server, Closing: it dies with the tasklet that it belongs to, killed at once or later",
  TIME,
  async () => {
    const log: unknown[] = [];
    for (let turns = 0; turns < 5; turns++) {
      let port = 0;
      const owner = Tasklet.new(() => {
        port = Server.serve(LOCAL, echo).port;
      })();
      while (port === 0) await null;
      for (let i = 0; i < turns; i++) await Tasklet.yield();
      log.push(owner.alive);
      await owner.kill();
      log.push(await isRefused(port));
    }
    assertEquals(log, Array(10).fill(true));
  },
);

Deno.test("Server, Closing: a server that has stopped leaves its address free", TIME, async () => {
  const first = Server.serve(LOCAL, echo);
  const { port } = first;
  await Tasklet.yield();
  await first.stop();
  await using second = Server.serve({ hostname: "localhost", port }, echo);
  using other = await client(second.port);
  assertEquals(await ask(other, "hello"), "hello");
});

Deno.test(
  "Server.stop() frees the port at once, also before accepting has begun or at the moment of a connection",
  TIME,
  async () => {
    const log: unknown[] = [];
    for (const isConnected of [false, true]) {
      for (let turns = 0; turns < 8; turns++) {
        const first = Server.serve(LOCAL, echo);
        const { port } = first;
        for (let i = 0; i < turns; i++) await (turns < 4 ? null : Tasklet.yield());
        // Only begun, so that stop() is not later than without a connection.
        const connecting = isConnected ? client(port).catch(() => undefined) : undefined;
        await first.stop();
        const second = Server.serve({ hostname: "localhost", port }, echo);
        log.push(second.port === port);
        await second.stop();
        (await connecting)?.close();
      }
    }
    assertEquals(log, Array(16).fill(true));
  },
);

/* -------------------------------------------- Server, kinds of address --------------------------------------- */

Deno.test("Server.serve() listens on a unix socket, and Socket.connect() reaches it", TIME, async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/socket`;
    await using server = Server.serve({ path }, echo);
    await using stream = new BufferedStream(await Socket.connect({ path }));
    stream.writer.writeLine("hello");
    await stream.writer.flush();
    assertEquals([await stream.reader.readLine(), server.address, server.port], ["hello", { path }, 0]);
    const error = assertThrows(() => Server.serve({ path }, echo), Deno.errors.AddrInUse);
    assertEquals(error.message, `Cannot listen on ${path}: the address is in use`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test(
  "Socket addresses of a unix socket are paths at both ends, empty where there is none",
  TIME,
  async () => {
    const folder = await Deno.makeTempDir();
    try {
      const path = `${folder}/socket`;
      const { promise, resolve } = Promise.withResolvers<unknown[]>();
      await using server = Server.serve(
        { path },
        (socket) => resolve([socket.remoteAddress, socket.localAddress]),
      );
      using socket = await Socket.connect({ path: (server.address as { path: string }).path });
      const atServer = await promise;
      assertEquals([atServer, socket.remoteAddress, socket.localAddress], [
        [{ path: "" }, { path }],
        { path },
        { path: "" },
      ]);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
);

Deno.test(
  "Server.serve() with reusePort shares a port",
  { ...TIME, ignore: Deno.build.os !== "linux" },
  async () => {
    const outcome = await runModule(`
    const first = Server.serve({ port: 0 }, () => {}, { reusePort: true });
    const second = Server.serve({ port: first.port }, () => {}, { reusePort: true });
    console.log(first.port === second.port);
    await first.stop();
    await second.stop();
  `);
    assertEquals(outcome, { code: 0, lines: ["true"], stderr: "" });
  },
);

Deno.test("Server.serve() encrypts with cert and key", { ...TIME, ...requires("openssl") }, async () => {
  using reports = catchReports();
  const { cert, key } = await certificate();
  const large = "x".repeat(1_000_000);
  await using server = Server.serve({ ...LOCAL, cert, key }, async (socket) => {
    await using stream = new BufferedStream(socket, { maxBuffered: Infinity });
    for await (const line of stream.reader.readLines()) {
      stream.writer.writeLine(line);
      stream.writer.writeLine(large);
    }
  });
  const connection = await Deno.connectTls({ hostname: "localhost", port: server.port, caCerts: [cert] });
  await using stream = new BufferedStream(new Socket(connection), { maxLineLength: Infinity });
  stream.writer.writeLine("secret");
  await stream.writer.flush();
  await connection.closeWrite();
  const lines = await Array.fromAsync(stream.reader.readLines());
  assertEquals(lines.map((line) => line.length), [6, 1_000_000]);

  using plain = await client(server.port); // who does not speak TLS harms nobody else
  await plain.send("hello\n");
  await plain.rest().catch(() => {});
  const again = await Deno.connectTls({ hostname: "localhost", port: server.port, caCerts: [cert] });
  await again.handshake();
  again.close();
  await reports.settled();
});

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
    assertEquals(await ask(last, "hello"), "hello");
    while (server.connections > 1) await Tasklet.yield(); // the others have come to their end
  },
);

/* --------------------------------------------------- Socket -------------------------------------------------- */

Deno.test(
  "Socket.read() gives bytes as they come, and null at the end, as often as asked",
  TIME,
  async () => {
    await using reception = new Reception();
    const [socket, other] = await reception.pair();
    using _ = other;
    await other.send("hello");
    const log: unknown[] = [await readText(socket, 2), await readText(socket)];
    await other.end();
    log.push(await readText(socket), await readText(socket));
    assertEquals(log, ["he", "llo", null, null]);
  },
);

Deno.test("Socket.read() refuses a second reader at the same time", TIME, async () => {
  await using reception = new Reception();
  const [socket, other] = await reception.pair();
  using _ = other;
  const reading = readText(socket);
  await assertRejects(() => readText(socket), Error, "Cannot read: another read is under way");
  await other.send("hello");
  assertEquals(await reading, "hello");
});

Deno.test(
  "Socket, Cancellation: a killed reader loses nothing, whatever buffer the next one has",
  TIME,
  async () => {
    await using reception = new Reception();
    const [socket, other] = await reception.pair();
    using _ = other;
    const killed = Tasklet.new(() => readText(socket))();
    await Tasklet.yield();
    await killed.kill();
    await other.send("hello world");
    const log: unknown[] = [];
    for (let i = 0; i < 3; i++) log.push(await readText(socket, 4));
    await other.end();
    log.push(await readText(socket));
    assertEquals(log, ["hell", "o wo", "rld", null]);
  },
);

Deno.test(
  "Socket, Cancellation: a reader killed when its bytes are there already loses nothing",
  TIME,
  async () => {
    await using reception = new Reception();
    const [socket, other] = await reception.pair();
    using _ = other;
    const first = Tasklet.new(() => readText(socket))();
    await Tasklet.yield();
    await first.kill();
    await other.send("hello world");
    const { promise, resolve } = Promise.withResolvers<void>();
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const second = Tasklet.new(async () => {
      await readText(socket, 2); // the rest is kept
      begin();
      await promise; // no wait point
      await readText(socket, 2);
    })();
    await begun;
    const ended = second.kill();
    resolve();
    await ended;
    assertEquals(await readText(socket), "llo world");
  },
);

Deno.test("Socket, Cancellation: a reader whose deadline passes loses nothing", TIME, async () => {
  await using _time = virtualTime();
  await using reception = new Reception();
  const [socket, other] = await reception.pair();
  using _ = other;
  const task = Tasklet.new(async () => {
    {
      using _ = Timeout.push(60_000);
      await assertRejects(() => readText(socket), TimeoutError);
    }
    await other.send("late");
    return await readText(socket);
  })();
  assertEquals(await task.join(), "late");
});

Deno.test(
  "Socket, Cancellation: a failure after a reader was killed is told to the next ones, who take turns and meet kills",
  TIME,
  async () => {
    const reset = new Deno.errors.ConnectionReset("reset");
    const { promise: arriving, reject: fail } = Promise.withResolvers<number | null>();
    const address: Deno.NetAddr = { transport: "tcp", hostname: "127.0.0.1", port: 1 };
    const connection: Partial<Deno.Conn> = { remoteAddr: address, localAddr: address, close: () => {} };
    // As the operating system does it: it tells once.
    connection.read = () => {
      connection.read = () => Promise.resolve(null);
      return arriving;
    };
    const socket = new Socket(connection as Deno.Conn);
    const killed = Tasklet.new(() => readText(socket))();
    await Tasklet.yield();
    await killed.kill();
    fail(reset);
    await Tasklet.yield();

    const log: unknown[] = [];
    const outcome = () => readText(socket).catch((error) => error.name);
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

Deno.test("Socket.write() sends all, in order, also when several write at once", TIME, async () => {
  await using reception = new Reception();
  const [socket, other] = await reception.pair();
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
  "Socket, Cancellation: a write that has begun goes on when its tasklet is killed",
  TIME,
  async () => {
    await using reception = new Reception();
    const [socket, other] = await reception.pair();
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
    await using reception = new Reception();
    const log: unknown[] = [];
    const begin: ((socket: Socket) => Promise<unknown>)[] = [
      (socket) => socket.read(new Uint8Array(1)),
      (socket) => socket.write(new Uint8Array(1)),
      (socket) => socket.writeSome(new Uint8Array(1)),
      (socket) => socket.closeWrite(),
      (socket) => new BufferedStream(socket).reader.readLine(),
    ];
    for (const operation of begin) {
      const [socket, other] = await reception.pair();
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
    await using reception = new Reception();
    const [socket, other] = await reception.pair();
    using _ = other;
    await socket.write(encoder.encode("bye"));
    await socket.closeWrite();
    const log: unknown[] = [await other.rest()];
    await other.send("thanks");
    log.push(await readText(socket));
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
  await using reception = new Reception();
  const [socket, other] = await reception.pair();
  using _ = other;
  const log: unknown[] = [];
  void socket.closed.then(() => log.push("closed"));
  const reading = readText(socket).catch(() => "read ended");
  await Tasklet.yield();
  log.push("open");
  socket.close();
  socket.close();
  log.push(await reading);
  await socket.closed;
  await assertRejects(() => readText(socket));
  await assertRejects(() => socket.write(new Uint8Array(1)));
  assertEquals([log, await other.line()], [["open", "closed", "read ended"], null]);
});

Deno.test("Socket is closed by using", TIME, async () => {
  await using reception = new Reception();
  const arriving = reception.next();
  {
    using _ = await Socket.connect({ port: reception.server.port });
  }
  assertEquals(await readText(await arriving), null);
});

Deno.test("Socket sends what is small at once", TIME, async () => {
  const calls: boolean[] = [];
  await using reception = new Reception();
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
    log.push(isDisconnect(await writeOn(socket)));
    resolve();
  });
  const log: unknown[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  await vanish(server.port, "", 0);
  await promise;
  assertEquals(log, [true, true]);
});

Deno.test("isDisconnect() knows what writing to a peer throws that has closed", TIME, async () => {
  await using reception = new Reception();
  const [socket, other] = await reception.pair();
  other.close();
  const error = await writeOn(socket);
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

/** Writes until that fails, and gives the error. */
async function writeOn(socket: Socket): Promise<unknown> {
  try {
    while (true) await socket.write(new Uint8Array(65_536));
  } catch (error) {
    return error;
  }
}

/* ------------------------------------------------- Permissions ----------------------------------------------- */

Deno.test("Server.serve() and Socket.connect() need no more than the address they name", TIME, async () => {
  const outcome = await runModule(`
    const server = Server.serve({ port: 0 }, () => {});
    (await Socket.connect({ port: server.port })).close();
    await server.stop();
    console.log("done");
  `);
  assertEquals(outcome, { code: 0, lines: ["done"], stderr: "" });
});

/** Runs a module that may use servers and sockets, with the permission to use this machine's network. */
async function runModule(source: string): Promise<Outcome> {
  const file = `import { Server, Socket } from "${new URL("../net.ts", import.meta.url)}"; ${source}`;
  const args = ["run", "--config", "deno.json", ...NARROW, moduleOf(file)];
  await using program = new Program(Deno.execPath(), args);
  return await program.end();
}
