/**
 * `Server` on real sockets. What it promises on every network is in `network_server_test.ts`.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { connect } from "node:net";
import { BufferedStream, type Handler, isDisconnect, Server } from "../net.ts";
import { Tasklet, TaskletExit } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { TimeoutError } from "../timer.ts";
import { type Client, client, vanish } from "./client.ts";
import { startWithFewDescriptors } from "./program.ts";
import { requires } from "./requires.ts";
import { catchReports } from "./reports.ts";
import { echo, patient, readSome } from "./sockets.ts";
import { Reception } from "./networks.ts";

const LOCAL = { hostname: "localhost", port: 0 };
const TIME = { timeout: 20_000 };

const encoder = new TextEncoder();

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
  assertEquals([await other.say("hello"), server.connections], ["hello", 1]);
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
    return [await other.say(`a${i}`), await other.say(`b${i}`)];
  }));
  assertEquals(answers, Array.from({ length: 50 }, (_, i) => [`a${i}`, `b${i}`]));
});

Deno.test("Server.address and remoteAddress tell both ends", TIME, async () => {
  await using reception = new Reception(LOCAL);
  const [socket, other] = await reception.client();
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
      await readSome(socket);
    });
    using other = await client(server.port);
    await other.send("go");
    assertEquals(await other.line(), null);
    assertEquals(log, ["cleaned up", "closed"]);
  },
);

Deno.test(
  "Server, Ownership: a tasklet that a handler creates after its end, while others clean up, is killed with them",
  TIME,
  async () => {
    await using server = Server.serve(LOCAL, async (socket) => {
      const ended = Promise.withResolvers<void>();
      const created = Promise.withResolvers<void>();
      Tasklet.new(async () => {
        try {
          await Tasklet.sleep(1e9);
        } finally {
          ended.resolve();
          await Tasklet.wait(created.promise);
        }
      })();
      void ended.promise.then(() => Tasklet.new(() => Tasklet.sleep(1e9))()).then(() => created.resolve());
      await readSome(socket);
    });
    using other = await client(server.port);
    await other.send("go");
    assertEquals(await other.line(), null);
  },
);

Deno.test(
  "Server, Failure: the error of a handler is reported once, and the server lives on",
  TIME,
  async () => {
    using reports = catchReports();
    const log: unknown[] = [];
    await using server = Server.serve(LOCAL, async function handle(socket) {
      if (await readSome(socket) === "fail\n") throw new Error("handler broke");
      await socket.write(encoder.encode("fine\n"));
    });
    for (const line of ["fail", "work", "fail", "work"]) {
      using other = await client(server.port);
      log.push(await other.say(line));
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
      await readSome(socket);
      void Tasklet.current()!.kill();
      await Tasklet.sleep(1e9);
    });
    using other = await client(server.port);
    assertEquals(await other.say("go"), null);
    using next = await client(server.port);
    assertEquals(await next.say("go"), null);
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
    assertEquals([await other.line(), await other.say("still here")], ["hello", "still here"]);
    await reports.settled();
    assertEquals(reports.texts, []);
  },
);

Deno.test("Server goes on after peers that have reset before they were accepted", TIME, async () => {
  using reports = catchReports();
  await using server = Server.serve(LOCAL, patient, { maxConnections: 1 });
  using first = await client(server.port);
  assertEquals(await first.say("one"), "one"); // the others are not accepted while this one is there
  for (let i = 0; i < 20; i++) {
    await new Promise<void>((resolve) => {
      const socket = connect(server.port, "localhost", () => socket.resetAndDestroy());
      socket.on("close", () => resolve());
    });
  }
  first.close();
  using last = await client(server.port);
  assertEquals(await last.say("two"), "two");
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
  log.push(await one.say("one"), await two.say("two"));
  using three = await client(server.port);
  using four = await client(server.port);
  const waiting = Promise.all([three.say("three"), four.say("four")]).then((answers) => log.push(...answers));
  log.push(await one.say("still one"), server.connections);
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
    return await other.say(`${i}`);
  }));
  assertEquals([most, answers], [3, answers.map((_, i) => `${i}`)]);
});

/* --------------------------------------------- Server, idleTimeout ------------------------------------------- */

Deno.test("Server, idleTimeout: a read of a silent peer ends with TimeoutError", TIME, async () => {
  await using time = virtualTime();
  const log: unknown[] = [];
  await using server = Server.serve(LOCAL, async (socket) => {
    log.push(await readSome(socket), time.now);
    log.push((await assertRejects(() => readSome(socket), TimeoutError)).name, time.now);
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
      log.push(await readSome(socket, 1));
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
  const closes = async (turns: number): Promise<boolean> => {
    const server = Server.serve(LOCAL, echo);
    for (let i = 0; i < turns; i++) await null;
    await server.stop();
    return await isRefused(server.port);
  };
  for (let turns = 0; turns < 10; turns++) {
    // Another program may be given the port in the instant in which it is free; but not twice.
    log.push(await closes(turns) || await closes(turns));
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

// A handler that greets, and does not end before `end` is there, whoever kills it.
function stubborn(end: Promise<void>): Handler {
  return async (socket) => {
    await socket.write(encoder.encode("hello\n"));
    await end; // no wait point
  };
}

Deno.test("Server.stop() closes the sockets of handlers that do not end within the grace", TIME, async () => {
  await using time = virtualTime();
  using reports = catchReports();
  const { promise, resolve } = Promise.withResolvers<void>();
  const server = Server.serve(LOCAL, stubborn(promise));
  using other = await client(server.port);
  await other.line();
  await server.stop({ grace: 6000 });
  assertEquals([await other.rest(), server.connections, time.now], ["", 0, 6000]);
  assertMatch(reports.texts.join("\n"), /was abandoned/);
  resolve();
  await Tasklet.yield();
});

Deno.test(
  "Server, Ownership: a handler that is killed alone and abandoned loses its socket then",
  TIME,
  async () => {
    await using time = virtualTime();
    using reports = catchReports();
    const { promise, resolve } = Promise.withResolvers<void>();
    let handler: Tasklet | undefined;
    await using server = Server.serve(LOCAL, (socket) => {
      handler = Tasklet.current();
      return stubborn(promise)(socket);
    });
    using other = await client(server.port);
    await other.line();
    await handler!.kill({ grace: 6000 });
    assertEquals([await other.rest(), server.connections, time.now], ["", 0, 6000]);
    assertEquals(reports.texts.length, 1);
    resolve();
    await Tasklet.yield();
  },
);

Deno.test(
  "Server, Closing: a kill of its owner closes the sockets of handlers that do not end within the grace",
  TIME,
  async () => {
    await using time = virtualTime();
    using reports = catchReports();
    const { promise, resolve } = Promise.withResolvers<void>();
    let server: Server | undefined;
    const owner = Tasklet.new(async () => {
      server = Server.serve(LOCAL, stubborn(promise));
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
    await other.say("hello");
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
  assertEquals(await other.say("hello"), "hello");
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
