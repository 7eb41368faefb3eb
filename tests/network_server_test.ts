/**
 * What servers promise on every network, and streams, and with peers of every kind.
 *
 * @module
 */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  BufferedStream,
  LineTooLongError,
  Server,
  Socket,
  UnexpectedEndError,
  WriteOverflowError,
} from "../net.ts";
import { JoinError, Tasklet, TaskletExit } from "../tasklet.ts";
import { TimeoutError } from "../timer.ts";
import { Reception, turn } from "./networks.ts";
import { floods, neverReads, neverSpeaks, readsSlowly, resetsAfter, send, sendsSlowly } from "./peers.ts";
import { catchReports } from "./reports.ts";
import { ask, join, outcome, patient, read, readAll, readSome, write, writeOn } from "./sockets.ts";
import { onEach } from "./networks.ts";

// For how many milliseconds nothing happens to what cannot go on. In memory they take no time.
const STUCK = 300;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/* ------------------------------------------------ Server.serve() --------------------------------------------- */

onEach("Server.serve() throws AddrInUse with the address in its text if it is taken", async (network) => {
  await using server = Server.serve(network.free(), patient);
  const { address } = server;
  const error = assertThrows(() => Server.serve(address, patient), Deno.errors.AddrInUse);
  const text = "path" in address ? address.path : `${address.hostname}:${address.port}`;
  assertEquals(error.message, `Cannot listen on ${text}: the address is in use`);
  assert(error.cause instanceof Deno.errors.AddrInUse);
  await using stream = await join(server);
  assertEquals(await ask(stream, "still here"), "still here");
});

onEach("Server.serve() serves many at once, each with its own lines", async (network) => {
  await using server = Server.serve(network.free(), patient);
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
    await using server = Server.serve(network.free(), patient, { maxConnections: 2 });
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
      await patient(socket);
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

// Another program may be given the port in the instant in which it is free; but not three times.
async function despiteOthers(f: () => Promise<void>, tries = 3): Promise<void> {
  try {
    await f();
  } catch (error) {
    if (tries === 1 || !(error instanceof Deno.errors.AddrInUse)) throw error;
    await despiteOthers(f, tries - 1);
  }
}

onEach(
  "Server.stop() before anybody came leaves the address free, whenever it is called",
  async (network) => {
    const log: unknown[] = [];
    const stopAndServe = async (turns: number) => {
      const first = Server.serve(network.free(), patient);
      const { address } = first;
      for (let i = 0; i < turns; i++) await (turns % 2 === 0 ? null : turn());
      await first.stop();
      await using second = Server.serve(address, patient);
      await using stream = await join(second);
      log.push(await ask(stream, "hello"));
    };
    for (let turns = 0; turns < 6; turns++) await despiteOthers(() => stopAndServe(turns));
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
  const server = Server.serve(network.free(), patient, { maxConnections: 1 });
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
      const server = Server.serve(network.free(), patient);
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
    resolve(Server.serve(network.free(), patient));
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
  await using server = Server.serve(network.free(), patient);
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
