/**
 * What sockets promise on every network: one list, which each runs through.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { BufferedStream, isDisconnect, Server, Socket } from "../net.ts";
import { Tasklet } from "../tasklet.ts";
import { Timeout, TimeoutError } from "../timer.ts";
import { Reception, turn } from "./networks.ts";
import { catchReports } from "./reports.ts";
import {
  ask,
  join,
  outcome,
  patient,
  read,
  readAll,
  readBytes,
  readSome,
  write,
  writeOn,
} from "./sockets.ts";
import { onEach } from "./networks.ts";

// For how many milliseconds nothing happens to what cannot go on. In memory they take no time.
const STUCK = 300;

const encoder = new TextEncoder();

/** Writes until that has no effect for a while: what was written, the last part of it not to the end. */
async function fill(socket: Socket): Promise<{ bytes: number; last: Promise<void> }> {
  const piece = new Uint8Array(65_536);
  for (let bytes = piece.length;; bytes += piece.length) {
    const last = socket.write(piece);
    last.catch(() => {});
    if (await outcome(Tasklet.wait(last, { timeout: STUCK })) !== undefined) return { bytes, last };
  }
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
  await using server = Server.serve(network.free(), patient, { maxConnections: 1 });
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
  const server = Server.serve(network.free(), patient);
  await server.stop();
  for (const address of [network.nobody(), server.address]) {
    const error = await assertRejects(() => Socket.connect(address), Error);
    const name = "path" in address ? "NotFound" : "ConnectionRefused";
    assertEquals([error.name, isDisconnect(error)], [name, false]);
  }
});

onEach("Socket.connect() that is killed at any moment leaves no connection", async (network) => {
  await using server = Server.serve(network.free(), patient);
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
  await using server = Server.serve(network.free(), patient, { maxConnections: 1 });
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
