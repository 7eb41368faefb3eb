/**
 * What servers and sockets promise on every network: one list, which each runs through.
 *
 * @module
 */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  BufferedStream,
  isDisconnect,
  LineTooLongError,
  Server,
  Socket,
  UnexpectedEndError,
  WriteOverflowError,
} from "../net.ts";
import { JoinError, Tasklet, TaskletExit } from "../tasklet.ts";
import { Timeout, TimeoutError } from "../timer.ts";
import { NETWORKS, Reception, type TestNetwork, turn } from "./networks.ts";
import { floods, neverReads, neverSpeaks, readsSlowly, resetsAfter, send, sendsSlowly } from "./peers.ts";
import { catchReports } from "./reports.ts";

const TIME = { timeout: 30_000 };
// For how many milliseconds nothing happens to what cannot go on. In memory they take no time.
const STUCK = 300;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Tests a promise on every network. */
function onEach(promise: string, test: (network: TestNetwork) => Promise<void>): void {
  for (const [name, open] of Object.entries(NETWORKS)) {
    Deno.test(`${promise} (${name})`, TIME, async () => {
      await using network = await open();
      await test(network);
    });
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

/** A stream to a server. */
async function join(server: Server): Promise<BufferedStream> {
  return new BufferedStream(await Socket.connect(server.address));
}

/** Sends a line and gives what is answered. */
async function ask(stream: BufferedStream, line: string): Promise<string | null> {
  stream.writer.writeLine(line);
  await stream.writer.flush();
  return await stream.reader.readLine();
}

/** Reads once, at most `most` bytes, as text. */
async function readSome(socket: Socket, most = 1000): Promise<string | null> {
  const buffer = new Uint8Array(most);
  const n = await socket.read(buffer);
  return n === null ? null : decoder.decode(buffer.subarray(0, n));
}

/** Reads `like.length` bytes, fewer at the end, as text. */
async function read(socket: Socket, length: number): Promise<string> {
  let text = "";
  for (let part; text.length < length && (part = await readSome(socket, length - text.length)) !== null;) {
    text += part;
  }
  return text;
}

/** Reads to the end. */
async function readAll(socket: Socket): Promise<string> {
  return decoder.decode(await readBytes(socket));
}

async function readBytes(socket: Socket): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  const buffer = new Uint8Array(65_536);
  for (let n; (n = await socket.read(buffer)) !== null;) parts.push(buffer.slice(0, n));
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function write(socket: Socket, text: string): Promise<void> {
  return socket.write(encoder.encode(text));
}

/** How an operation ended: what it gave, "gone" if the peer has, or the name of the error. */
async function outcome(operation: Promise<unknown>): Promise<unknown> {
  try {
    return await operation;
  } catch (error) {
    return isDisconnect(error) ? "gone" : (error as Error).name;
  }
}

/** Writes until that has no effect for a while: what was written, the last part of it not to the end. */
async function fill(socket: Socket): Promise<{ bytes: number; last: Promise<void> }> {
  const piece = new Uint8Array(65_536);
  for (let bytes = piece.length;; bytes += piece.length) {
    const last = socket.write(piece);
    last.catch(() => {});
    if (await outcome(Tasklet.wait(last, { timeout: STUCK })) !== undefined) return { bytes, last };
  }
}

/** Writes until that fails. */
async function writeOn(socket: Socket): Promise<never> {
  while (true) await socket.write(new Uint8Array(1000));
}

/** A number from 0 to 1, always the same ones. */
function randomNumbers(): () => number {
  let n = 1;
  return () => (n = (n * 48_271) % 2_147_483_647) / 2_147_483_647;
}

function randomBytes(length: number): Uint8Array {
  const random = randomNumbers();
  return Uint8Array.from({ length }, () => 256 * random());
}

function assertSame(actual: Uint8Array, expected: Uint8Array): void {
  assertEquals(actual.length, expected.length);
  assertEquals(actual.findIndex((byte, i) => byte !== expected[i]), -1, "the first byte that differs");
}

/* ----------------------------------------------- Socket.connect() -------------------------------------------- */

onEach("Socket.connect() reaches a server, and each end knows where the other is", async (network) => {
  await using reception = new Reception(network.free());
  const [here, there] = await reception.pair();
  using _ = there;
  assertEquals([here.localAddress, there.remoteAddress], [
    reception.server.address,
    reception.server.address,
  ]);
  assertEquals(here.remoteAddress, there.localAddress);
  assertEquals([here.read.length, await outcome(write(there, "hi")), await read(here, 2)], [
    1,
    undefined,
    "hi",
  ]);
});

onEach("Socket.connect() is connected before it is accepted, and what it sends is kept", async (network) => {
  await using server = Server.serve(network.free(), echo, { maxConnections: 1 });
  await using one = await join(server);
  assertEquals(await ask(one, "one"), "one");
  await using two = await join(server);
  two.writer.writeLine("two");
  await two.writer.flush();
  assertEquals([await ask(one, "still one"), server.connections], ["still one", 1]);
  await one.close();
  assertEquals(await two.reader.readLine(), "two");
});

onEach("Socket.connect() fails where nobody listens, and where nobody does so any more", async (network) => {
  const server = Server.serve(network.free(), echo);
  await server.stop();
  for (const address of [network.nobody(), server.address]) {
    const error = await assertRejects(() => Socket.connect(address), Error);
    const name = "path" in address ? "NotFound" : "ConnectionRefused";
    assertEquals([error.name, isDisconnect(error)], [name, false]);
  }
});

onEach("Socket.connect() that is killed at any moment leaves no connection", async (network) => {
  await using server = Server.serve(network.free(), echo);
  for (let turns = 0; turns < 12; turns++) {
    const task = Tasklet.new(async () => {
      using _ = await Socket.connect(server.address);
      await Tasklet.sleep(1e9);
    })();
    for (let i = 0; i < turns; i++) await turn();
    await task.kill();
  }
  await using last = await join(server);
  assertEquals(await ask(last, "hello"), "hello");
  while (server.connections > 1) await Tasklet.sleep(1); // the others have come to their end
});

/* ------------------------------------------------- Order, bytes ---------------------------------------------- */

onEach("Socket carries bytes in order, whole and once, however they are cut", async (network) => {
  await using reception = new Reception(network.free());
  const [here, there] = await reception.pair();
  using _ = there;
  const sent = randomBytes(2 ** 20);
  const random = randomNumbers();
  async function sendAll(socket: Socket): Promise<void> {
    for (let at = 0; at < sent.length;) {
      const size = 1 + Math.floor(100_000 ** random());
      await socket.write(sent.subarray(at, at + size));
      at += size;
    }
    await socket.closeWrite();
  }
  // Both ways at once.
  const [atThere, atHere] = await Promise.all([
    readBytes(there),
    readBytes(here),
    sendAll(here),
    sendAll(there),
  ]);
  assertSame(atThere, sent);
  assertSame(atHere, sent);
});

onEach(
  "Socket.write() sends what it was given, whatever becomes of the buffer afterwards",
  async (network) => {
    await using reception = new Reception(network.free());
    const [here, there] = await reception.pair();
    using _ = there;
    const buffer = new Uint8Array(1);
    for (const letter of encoder.encode("abcdef")) {
      buffer[0] = letter;
      await here.write(buffer);
    }
    buffer[0] = 0;
    await here.closeWrite();
    assertEquals(await readAll(there), "abcdef");
  },
);

onEach("Socket.write() of several at once does not mingle them", async (network) => {
  await using reception = new Reception(network.free());
  const [here, there] = await reception.pair();
  using _ = there;
  const parts = ["a", "b", "c"].map((letter) => letter.repeat(200_000));
  const written = Promise.all(parts.map((part) => write(here, part))).then(() => here.closeWrite());
  const received = await readAll(there);
  await written;
  assert(received === parts.join(""), "what was received is what was sent, in order");
});

onEach("Socket.read() into no room and Socket.write() of nothing are done at once", async (network) => {
  await using reception = new Reception(network.free());
  const [here, there] = await reception.pair();
  using _ = there;
  assertEquals([await here.read(new Uint8Array(0)), await write(here, "")], [0, undefined]);
  await write(there, "x");
  assertEquals([await here.read(new Uint8Array(0)), await readSome(here)], [0, "x"]);
});

onEach("Socket.read() refuses a second reader at the same time", async (network) => {
  await using reception = new Reception(network.free());
  const [here, there] = await reception.pair();
  using _ = there;
  const reading = readSome(here);
  await assertRejects(() => readSome(here), Error, "Cannot read: another read is under way");
  await write(there, "x");
  assertEquals(await reading, "x");
});

/* --------------------------------------------------- Half-close ---------------------------------------------- */

onEach(
  "Socket.closeWrite() ends one side, then the other, each after what was sent before",
  async (network) => {
    await using reception = new Reception(network.free());
    const [here, there] = await reception.pair();
    using _ = there;
    await write(here, "bye");
    await here.closeWrite();
    const log: unknown[] = [await readAll(there), await readSome(there)];
    await write(there, "thanks");
    log.push(await read(here, 6));
    await write(there, "bye");
    await there.closeWrite();
    log.push(await readAll(here), await readSome(here));
    assertEquals(log, ["bye", null, "thanks", "bye", null]);
  },
);

onEach("Socket.closeWrite() is harmless twice, and refuses what is written after it", async (network) => {
  await using reception = new Reception(network.free());
  const [here, there] = await reception.pair();
  using _ = there;
  await here.closeWrite();
  await here.closeWrite();
  assertEquals([await outcome(write(here, "x")), await readAll(there)], ["gone", ""]);
});

onEach(
  "Socket.closeWrite() comes after what was written before it, also if nobody waited for that",
  async (network) => {
    await using reception = new Reception(network.free());
    const [here, there] = await reception.pair();
    using _ = there;
    const text = "x".repeat(8_000_000); // more than is taken at once
    const written = write(here, text);
    const ended = here.closeWrite();
    assertEquals(await outcome(Tasklet.wait(ended, { timeout: STUCK })), "TimeoutError");
    const received = await readAll(there);
    await Promise.all([written, ended]);
    assert(received === text, `received ${received.length} characters`);
  },
);

onEach("Socket, Half-close: a client that has ended its side still gets its answer", async (network) => {
  await using server = Server.serve(network.free(), async (socket) => {
    const stream = new BufferedStream(socket);
    const lines = await Array.fromAsync(stream.reader.readLines());
    stream.writer.writeLine(lines.join("+"));
    await stream.writer.flush();
  });
  using socket = await Socket.connect(server.address);
  await write(socket, "one\ntwo");
  await socket.closeWrite();
  assertEquals(await readAll(socket), "one+two\n");
});

/* ---------------------------------------------------- Closing ------------------------------------------------ */

onEach("Socket.close() ends what is under way at this end, and refuses what comes after", async (network) => {
  await using reception = new Reception(network.free());
  const [here, there] = await reception.pair();
  using _ = there;
  const log: unknown[] = [];
  void here.closed.then(() => log.push("closed"));
  const reading = outcome(readSome(here));
  const { last } = await fill(here);
  const writing = outcome(last);
  const ending = outcome(here.closeWrite());
  await turn();
  log.push("open");
  here.close();
  here.close();
  log.push(await reading, await writing, await ending);
  log.push(await outcome(readSome(here)), await outcome(write(here, "x")), await outcome(here.closeWrite()));
  const [interrupted, bad] = ["Interrupted", "BadResource"];
  assertEquals(log, ["open", "closed", interrupted, interrupted, bad, bad, bad, bad]);
});

onEach("Socket.close() is the end for the peer, after all that was sent", async (network) => {
  await using reception = new Reception(network.free());
  const [here, there] = await reception.pair();
  using _ = there;
  const reading = readAll(there);
  const text = "x".repeat(50_000);
  await write(here, text);
  here.close();
  assertEquals([await reading === text, await readSome(there)], [true, null]);
  // It may take a write to learn that nobody reads.
  assertEquals([await outcome(writeOn(there)), await outcome(write(there, "x"))], ["gone", "gone"]);
});

onEach("Socket.close() with bytes unread breaks the connection for who writes", async (network) => {
  await using reception = new Reception(network.free());
  const [here, there] = await reception.pair();
  using _ = there;
  const { last } = await fill(there);
  const waiting = outcome(last);
  here.close();
  assertEquals([await waiting, await outcome(write(there, "x"))], ["gone", "gone"]);
});

onEach("Socket is closed by using, and with its handler", async (network) => {
  await using server = Server.serve(network.free(), (socket) => readSome(socket));
  const log: unknown[] = [];
  {
    using socket = await Socket.connect(server.address);
    await write(socket, "x");
    log.push(await readSome(socket));
  }
  await using reception = new Reception(network.free());
  {
    using _ = await Socket.connect(reception.server.address);
  }
  log.push(await readSome(await reception.next()));
  assertEquals(log, [null, null]);
});

/* ---------------------------------------------------- Failure ------------------------------------------------ */

onEach("Socket.read() meets a reset once, after what had arrived, and then the end", async (network) => {
  await using reception = new Reception(network.free());
  const [here, there] = await reception.breakable(network);
  using _ = there;
  await there.send("last words");
  await there.break(here);
  assertEquals(await read(here, 10), "last words");
  assertEquals([await outcome(readSome(here)), await outcome(readSome(here))], ["gone", null]);
  assertEquals([await outcome(writeOn(here)), await outcome(here.closeWrite())], ["gone", undefined]);
});

onEach("Socket.read() that waits meets a reset", async (network) => {
  await using reception = new Reception(network.free());
  const [here, there] = await reception.breakable(network);
  using _ = there;
  const reading = outcome(readSome(here));
  await turn();
  await there.break(here);
  assertEquals([await reading, await outcome(readSome(here))], ["gone", null]);
});

onEach("Socket.write() that waits meets a reset", async (network) => {
  await using reception = new Reception(network.free());
  const [here, there] = await reception.breakable(network);
  using _ = there;
  const { last } = await fill(here);
  const writing = outcome(last);
  await Promise.all([there.break(), writing]);
  assertEquals([await writing, await outcome(write(here, "x"))], ["gone", "gone"]);
});

onEach("Server, Failure: connections that break before they are accepted harm nobody", async (network) => {
  using reports = catchReports();
  await using server = Server.serve(network.free(), echo, { maxConnections: 1 });
  await using first = await join(server);
  assertEquals(await ask(first, "one"), "one"); // the others are not accepted while this one is there
  for (let i = 0; i < 10; i++) {
    using there = await network.connectBreakable(server.address);
    await there.break();
  }
  await first.close();
  await using last = await join(server);
  assertEquals(await ask(last, "two"), "two");
  await reports.settled();
  assertEquals(reports.texts, []);
});

/* -------------------------------------------------- Backpressure --------------------------------------------- */

onEach(
  "Socket, Backpressure: a write to a peer that does not read waits, and goes on when it reads",
  async (network) => {
    await using reception = new Reception(network.free());
    const [here, there] = await reception.pair();
    using _ = there;
    const { bytes, last } = await fill(here);
    assert(bytes < 16 * 2 ** 20, `${bytes} bytes were taken`);
    const ended = last.then(() => here.closeWrite());
    assertEquals(await outcome(Tasklet.wait(ended, { timeout: STUCK })), "TimeoutError");
    const received = await readBytes(there);
    await ended;
    assertEquals(received.length, bytes);
  },
);

onEach("Socket, Backpressure: each direction has its own", async (network) => {
  await using reception = new Reception(network.free());
  const [here, there] = await reception.pair();
  using _ = there;
  const { last } = await fill(here);
  await write(there, "hello");
  assertEquals(await read(here, 5), "hello");
  there.close();
  assertEquals(await outcome(last), "gone");
});

/* -------------------------------------------------- Cancellation --------------------------------------------- */

onEach(
  "Socket, Cancellation: a killed reader loses nothing, whatever buffer the next one has",
  async (network) => {
    await using reception = new Reception(network.free());
    const [here, there] = await reception.pair();
    using _ = there;
    const text = "hello world, good day and good bye";
    const killed = Tasklet.new(() => readSome(here))();
    await Tasklet.yield();
    await killed.kill();
    await write(there, text);
    let received = "";
    for (let n = 1; received.length < text.length; n++) {
      const task = Tasklet.new(() => readSome(here, n))();
      if (n % 2 === 0) received += await task.join();
      else await task.kill(); // before it began
    }
    assertEquals(received, text);
  },
);

onEach("Socket, Cancellation: readers that are killed at any moment lose nothing", async (network) => {
  await using reception = new Reception(network.free());
  const [here, there] = await reception.pair();
  using _ = there;
  const sent = "0123456789".repeat(20);
  let received = "";
  const writing = Tasklet.new(async () => {
    for (const digit of sent) {
      await write(there, digit);
      await Tasklet.yield();
    }
    await there.closeWrite();
  })();
  const reader = async () => {
    // What was handed over is received, whether or not the exit is met behind it.
    for (let text; (text = await readSome(here, 3)) !== null;) received += text;
  };
  for (let turns = 0; writing.alive; turns = (turns + 1) % 5) {
    const task = Tasklet.new(reader)();
    for (let i = 0; i < turns; i++) await turn();
    await task.kill();
  }
  await Tasklet.new(reader)().join();
  assertEquals(received, sent);
});

onEach("Socket, Cancellation: a reader whose deadline passes loses nothing", async (network) => {
  await using reception = new Reception(network.free());
  const [here, there] = await reception.pair();
  using _ = there;
  const task = Tasklet.new(async () => {
    {
      using _ = Timeout.push(10);
      await assertRejects(() => readSome(here), TimeoutError);
    }
    await write(there, "late");
    return await read(here, 4);
  })();
  assertEquals(await task.join(), "late");
});

onEach("Socket, Cancellation: a write that has begun goes on when its tasklet is killed", async (network) => {
  await using reception = new Reception(network.free());
  const [here, there] = await reception.pair();
  using _ = there;
  const large = "x".repeat(6_000_000).slice(0, "path" in reception.server.address ? 600_000 : undefined);
  const task = Tasklet.new(() => write(here, large))();
  await Tasklet.yield();
  await task.kill();
  const more = write(here, "y").then(() => here.closeWrite());
  const received = await readAll(there);
  await more;
  assert(received === large + "y", `received ${received.length} characters`);
});

/* ------------------------------------------------ Server.serve() --------------------------------------------- */

onEach("Server.serve() throws AddrInUse with the address in its text if it is taken", async (network) => {
  await using server = Server.serve(network.free(), echo);
  const { address } = server;
  const error = assertThrows(() => Server.serve(address, echo), Deno.errors.AddrInUse);
  const text = "path" in address ? address.path : `${address.hostname}:${address.port}`;
  assertEquals(error.message, `Cannot listen on ${text}: the address is in use`);
  assert(error.cause instanceof Deno.errors.AddrInUse);
  await using stream = await join(server);
  assertEquals(await ask(stream, "still here"), "still here");
});

onEach("Server.serve() serves many at once, each with its own lines", async (network) => {
  await using server = Server.serve(network.free(), echo);
  const answers = await Promise.all(Array.from({ length: 50 }, async (_, i) => {
    await using stream = await join(server);
    return [await ask(stream, `a${i}`), await ask(stream, `b${i}`)];
  }));
  assertEquals(answers, Array.from({ length: 50 }, (_, i) => [`a${i}`, `b${i}`]));
});

onEach(
  "Server, maxConnections: further ones wait in the backlog, and are served in turn",
  async (network) => {
    const log: unknown[] = [];
    await using server = Server.serve(network.free(), echo, { maxConnections: 2 });
    await using one = await join(server);
    await using two = await join(server);
    log.push(await ask(one, "one"), await ask(two, "two"));
    await using three = await join(server);
    await using four = await join(server);
    const waiting = Promise.all([ask(three, "three"), ask(four, "four")]);
    waiting.then((answers) => log.push(...answers));
    log.push(await ask(one, "still one"), server.connections);
    await one.close();
    await two.close();
    await waiting;
    log.push(server.connections);
    assertEquals(log, ["one", "two", "still one", 2, "three", "four", 2]);
  },
);

onEach("Server, maxConnections: never more handlers at once, however many come and go", async (network) => {
  let now = 0;
  let most = 0;
  await using server = Server.serve(network.free(), async (socket) => {
    most = Math.max(most, ++now);
    try {
      await echo(socket);
    } finally {
      now--;
    }
  }, { maxConnections: 3 });
  const answers = await Promise.all(Array.from({ length: 40 }, async (_, i) => {
    await using stream = await join(server);
    return await ask(stream, `${i}`);
  }));
  assertEquals([most, answers], [3, answers.map((_, i) => `${i}`)]);
});

onEach(
  "Server, idleTimeout: a read of a silent peer ends with TimeoutError, and a later one goes on",
  async (network) => {
    const log: unknown[] = [];
    await using server = Server.serve(network.free(), async (socket) => {
      log.push(await read(socket, 5));
      log.push(await outcome(readSome(socket)));
      await write(socket, "still there?\n");
      for (let part: unknown = ""; part !== null; log.push(part)) {
        while ((part = await outcome(readSome(socket))) === "TimeoutError") await Tasklet.sleep(1);
      }
    }, { idleTimeout: 50 });
    using socket = await Socket.connect(server.address);
    await write(socket, "hello");
    log.push(await read(socket, 13));
    await write(socket, "!");
    await socket.closeWrite();
    await readAll(socket);
    assertEquals(log, ["hello", "TimeoutError", "still there?\n", "!", null]);
  },
);

/* ------------------------------------------------- Server.stop() --------------------------------------------- */

onEach(
  "Server.stop() before anybody came leaves the address free, whenever it is called",
  async (network) => {
    const log: unknown[] = [];
    for (let turns = 0; turns < 6; turns++) {
      const first = Server.serve(network.free(), echo);
      const { address } = first;
      for (let i = 0; i < turns; i++) await (turns % 2 === 0 ? null : turn());
      await first.stop();
      await using second = Server.serve(address, echo);
      await using stream = await join(second);
      log.push(await ask(stream, "hello"));
    }
    assertEquals(log, Array(6).fill("hello"));
  },
);

onEach(
  "Server.stop() tells handlers that read, that write and that are at work, and waits for them",
  async (network) => {
    const log: unknown[] = [];
    const server = Server.serve(network.free(), async (socket) => {
      const what = await read(socket, 1);
      try {
        if (what === "r") await readSome(socket);
        else if (what === "w") await writeOn(socket);
        else await Tasklet.sleep(1e9);
      } catch (exit) {
        log.push(`${what} ${exit instanceof TaskletExit}`);
        throw exit;
      } finally {
        await Tasklet.sleep(1);
        log.push(`${what} cleaned up`);
      }
    });
    const sockets = await Promise.all(["r", "w", "s"].map(async (what) => {
      const socket = await Socket.connect(server.address);
      await write(socket, what);
      return socket;
    }));
    await Tasklet.sleep(STUCK); // the writer is stuck
    await server.stop();
    await server.stop();
    log.sort().push(server.connections);
    for (const socket of sockets) {
      log.push(await outcome(readAll(socket).then((text) => text.length > 0 && "much")));
      socket.close();
    }
    const told = ["r cleaned up", "r true", "s cleaned up", "s true", "w cleaned up", "w true"];
    assertEquals(log, [...told, 0, false, "much", false]);
  },
);

onEach("Server.stop() ends who waits in the backlog", async (network) => {
  const server = Server.serve(network.free(), echo, { maxConnections: 1 });
  await using one = await join(server);
  assertEquals(await ask(one, "one"), "one");
  const waiting = await Promise.all([1, 2, 3].map(() => Socket.connect(server.address)));
  await write(waiting[0]!, "hello\n");
  await server.stop();
  const log = await Promise.all(waiting.map(async (socket) => {
    const text = await outcome(readAll(socket));
    socket.close();
    return text === "gone" ? "" : text;
  }));
  assertEquals([log, await one.reader.readLine()], [["", "", ""], null]);
});

onEach(
  "Server.stop() at the moment of a connection closes it, and leaves nothing behind",
  async (network) => {
    using reports = catchReports();
    const log: unknown[] = [];
    for (let turns = 0; turns < 20; turns++) {
      const server = Server.serve(network.free(), echo);
      const connecting = Socket.connect(server.address);
      connecting.catch(() => {});
      for (let i = 0; i < turns; i++) await (turns % 2 === 0 ? null : turn());
      await server.stop();
      const text = await outcome(connecting.then(async (socket) => {
        using _ = socket;
        return await readAll(socket);
      }));
      log.push(["", "gone", "ConnectionRefused", "NotFound"].includes(text as string), server.connections);
    }
    await reports.settled();
    assertEquals([log, reports.texts], [Array(20).fill([true, 0]).flat(), []]);
  },
);

onEach("Server, Closing: it dies with the tasklet that it belongs to", async (network) => {
  const { promise, resolve } = Promise.withResolvers<Server>();
  const owner = Tasklet.new(async () => {
    resolve(Server.serve(network.free(), echo));
    await Tasklet.sleep(1e9);
  })();
  const server = await promise;
  await using stream = await join(server);
  assertEquals(await ask(stream, "hello"), "hello");
  await owner.kill();
  assertEquals([await stream.reader.readLine(), server.connections], [null, 0]);
  assert(["ConnectionRefused", "NotFound"].includes(await outcome(Socket.connect(server.address)) as string));
  assert((await assertRejects(() => owner.join(), JoinError)).cause instanceof TaskletExit);
});

/* ------------------------------------------------- BufferedStream -------------------------------------------- */

onEach("BufferedStream reads lines however they are cut, and answers after the end", async (network) => {
  await using reception = new Reception(network.free());
  const [here, there] = await reception.pair();
  await using stream = new BufferedStream(here);
  using _ = there;
  const text = "one\r\ntwo\n\nthr€e\r\r\nfo\rur\nlast";
  for (const byte of encoder.encode(text)) await there.write(new Uint8Array([byte]));
  await there.closeWrite();
  const lines = await Array.fromAsync(stream.reader.readLines());
  stream.writer.writeLine(`${lines.length}`);
  await stream.writer.flush();
  assertEquals([lines, await read(there, 2)], [["one", "two", "", "thr€e\r", "fo\rur", "last"], "6\n"]);
});

onEach("BufferedStream reads exactly so many bytes, or tells that they did not come", async (network) => {
  await using reception = new Reception(network.free());
  const [here, there] = await reception.pair();
  await using stream = new BufferedStream(here);
  const written = write(there, "x".repeat(100_000) + "abc").then(() => there.close());
  assertEquals((await stream.reader.readExactly(100_000)).length, 100_000);
  await written;
  await assertRejects(() => stream.reader.readExactly(4), UnexpectedEndError);
  assertEquals(decoder.decode((await stream.reader.readBytes(4))!), "abc");
});

onEach(
  "BufferedStream ends a line that is too long, and who sent it to the end can read why",
  async (network) => {
    await using server = Server.serve(network.free(), async (socket) => {
      const stream = new BufferedStream(socket, { maxLineLength: 1000 });
      try {
        for await (const line of stream.reader.readLines()) stream.writer.writeLine(line);
      } catch (error) {
        if (!(error instanceof LineTooLongError)) throw error;
        stream.writer.writeLine("too long");
      }
      await stream.close({ linger: 5000 });
    });
    using socket = await Socket.connect(server.address);
    await write(socket, "short\n" + "x".repeat(500_000)); // as nc does, which gives up if that fails
    assertEquals(await readAll(socket), "short\ntoo long\n");
  },
);

onEach(
  "BufferedStream holds no more than maxBuffered for a peer that does not read, and loses none of it",
  async (network) => {
    await using reception = new Reception(network.free());
    const [here, there] = await reception.pair();
    using _ = there;
    await fillAndRead(there, here);
  },
);

/** Fills a stream over `here` up to its bound, then reads all of it at `there`. */
async function fillAndRead(there: Socket, here: Socket): Promise<void> {
  const stream = new BufferedStream(here, { maxBuffered: 100_000 });
  const line = "x".repeat(9_999) + "\n";
  let lines = 0;
  let isFull = false;
  for (; !isFull; lines += isFull ? 0 : 1) {
    try {
      stream.writer.write(line);
    } catch (error) {
      assert(error instanceof WriteOverflowError, `${error}`);
      isFull = await outcome(stream.writer.flush({ timeout: STUCK })) === "TimeoutError";
      if (!isFull) lines--; // it was not taken
    }
  }
  const [received, wasSent] = await Promise.all([readAll(there), stream.close()]);
  assertEquals([received.length, wasSent], [lines * line.length, true]);
}

onEach(
  "BufferedStream.close() waits for a peer that reads, and not for one that does not",
  async (network) => {
    await using reception = new Reception(network.free());
    const log: unknown[] = [];
    for (const doesRead of [true, false]) {
      const [here, there] = await reception.pair();
      const stream = new BufferedStream(here, { maxBuffered: Infinity });
      const text = "x".repeat(8_000_000);
      stream.writer.write(text);
      const reading = doesRead ? readAll(there) : undefined;
      log.push(
        await stream.close({ stall: STUCK }),
        doesRead ? await reading === text : await hasGone(there),
      );
      there.close();
    }
    assertEquals(log, [true, true, false, true]);
  },
);

/** Whether the other end of `socket` has gone, after all that was sent is read. */
async function hasGone(socket: Socket): Promise<boolean> {
  const length = await outcome(readAll(socket).then((text) => text.length));
  return length === "gone" || (length as number) < 8_000_000;
}

onEach(
  "BufferedStream with a stallTimeout gives up on a peer that takes nothing, and on no other",
  async (network) => {
    await using reception = new Reception(network.free());
    const text = "x".repeat(8_000_000);
    const log: unknown[] = [];
    for (const doesRead of [true, false]) {
      const [here, there] = await reception.pair();
      const stream = new BufferedStream(here, { maxBuffered: Infinity, stallTimeout: STUCK });
      stream.writer.write(text);
      const reading = doesRead ? readAll(there) : Promise.resolve(text);
      log.push(await outcome(stream.writer.flush()));
      here.close();
      log.push(await reading === text);
      there.close();
    }
    assertEquals(log, [undefined, true, "TimeoutError", true]);
  },
);

/* ------------------------------------------------------ Peers ------------------------------------------------ */

const FAST = { every: 2 };

onEach("A server serves others while peers do what they like", async (network) => {
  using reports = catchReports();
  await using server = Server.serve(network.free(), echo);
  const { address } = server;
  const text = "what is said\n";
  const peers = [
    send(neverReads, address),
    send(neverSpeaks, address),
    send(readsSlowly(FAST), address),
    send(sendsSlowly(text, FAST), address),
    send(resetsAfter(20, text.repeat(1000)), address),
    send(floods(text), address),
  ];
  await using stream = await join(server);
  for (let i = 0; i < 20; i++) {
    assertEquals(await ask(stream, `${i}`), `${i}`);
    await Tasklet.sleep(2);
  }
  assertEquals(await peers[4]!.join(), text.repeat(2).slice(0, 20));
  await Promise.all(peers.map((peer) => peer.kill()));
  while (server.connections > 1) await Tasklet.sleep(1);
  await reports.settled();
  assertEquals(reports.texts, []);
});

onEach(
  "A peer that sends slowly is heard to the end, and one that reads slowly reads it all",
  async (network) => {
    const text = "slow and steady\n";
    await using server = Server.serve(network.free(), async (socket) => {
      const line = await new BufferedStream(socket).reader.readLine();
      await write(socket, `${line}\n`);
    });
    const sent = await send(sendsSlowly(text, FAST), server.address).join();
    await using second = Server.serve(network.free(), (socket) => write(socket, text));
    const read = await send(readsSlowly(FAST), second.address).join();
    assertEquals([sent, read], [text, text]);
  },
);

onEach("A peer that floods and reads nothing is held up, and ends with its connection", async (network) => {
  let read = 0;
  await using server = Server.serve(network.free(), async (socket) => {
    const stream = new BufferedStream(socket, { maxBuffered: 100_000 });
    try {
      for await (const line of stream.reader.readLines()) {
        read += line.length;
        stream.writer.writeLine(line);
        await stream.writer.flush({ timeout: STUCK });
      }
    } catch (error) {
      if (!(error instanceof TimeoutError)) throw error;
    }
  });
  const peer = send(floods("x".repeat(999) + "\n"), server.address);
  assertEquals(await peer.join(), "");
  assert(read < 16 * 2 ** 20, `${read} bytes were read`);
});
