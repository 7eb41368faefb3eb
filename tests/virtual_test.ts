/**
 * The servers among the programs, as they are, over a network in memory and in virtual time: what takes them minutes and
 * hours, and what a network does to them.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { chat } from "../examples/chat.ts";
import { chatter } from "../examples/chatter.ts";
import { directory } from "../examples/directory.ts";
import { echo } from "../examples/echo.ts";
import { simulate } from "../examples/users.ts";
import { type Address, BufferedStream, isDisconnect, type Server, Socket } from "../net.ts";
import { Tasklet } from "../tasklet.ts";
import { type MemoryNetwork, memoryNetwork, type MemoryNetworkOptions, virtualTime } from "../testing.ts";
import { TimeoutError, timerCount } from "../timer.ts";
import { floods, neverReads, neverSpeaks, readsSlowly, resetsAfter, send, sendsSlowly } from "./peers.ts";
import { catchReports } from "./reports.ts";

const TIME = { timeout: 20_000 }; // in real time
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const GREETING = "type 'quit' to exit..";

/** What a test is played on. */
interface Stage {
  readonly network: MemoryNetwork;
  /** Milliseconds since the test began. */
  readonly now: number;
}

/** Plays a test in virtual time, over a network of its own; in the end nothing may be left, nor reported. */
function play(title: string, options: MemoryNetworkOptions, test: (stage: Stage) => Promise<void>): void {
  Deno.test(title, TIME, async () => {
    using reports = catchReports();
    const timers = timerCount();
    {
      await using time = virtualTime({ patience: 0 });
      using network = memoryNetwork(options);
      await test({
        network,
        get now() {
          return time.now;
        },
      });
    }
    await reports.settled();
    assertEquals([reports.texts, timerCount()], [[], timers]);
  });
}

/** Somebody at a terminal. */
class Person implements AsyncDisposable {
  readonly socket: Socket;
  readonly #stream: BufferedStream;

  constructor(socket: Socket) {
    this.socket = socket;
    this.#stream = new BufferedStream(socket, { maxBuffered: Infinity });
  }

  static async connect(address: Address): Promise<Person> {
    return new Person(await Socket.connect(address));
  }

  /** Types text. */
  async type(text: string): Promise<void> {
    this.#stream.writer.write(text);
    await this.#stream.writer.flush();
  }

  /** Types a line. */
  async say(line: string): Promise<void> {
    await this.type(line + "\n");
  }

  /** The next line that comes, or `null` at the end. */
  line(): Promise<string | null> {
    return this.#stream.reader.readLine();
  }

  /** The next `count` lines. */
  async lines(count: number): Promise<(string | null)[]> {
    const lines: (string | null)[] = [];
    while (lines.length < count) lines.push(await this.line());
    return lines;
  }

  /** All lines to the end. */
  rest(): Promise<string[]> {
    return Array.fromAsync(this.#stream.reader.readLines());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stream.close();
  }
}

/** Somebody in a chat. */
async function join(server: Server): Promise<Person> {
  const person = await Person.connect(server.address);
  assertEquals(await person.line(), GREETING);
  return person;
}

/** Somebody in a chat with handles. */
async function login(server: Server, handle: string): Promise<Person> {
  const person = await Person.connect(server.address);
  await person.say(handle);
  assertEquals(await person.lines(2), ["What is your handle?", `${handle} has joined the chat.`]);
  return person;
}

/* ------------------------------------------------------- chat ------------------------------------------------ */

play(
  "chat sends who is silent for ten minutes away, and nobody who types a letter a minute",
  {},
  async (stage) => {
    await using server = chat({ port: 0, idleTimeout: 10 * MINUTE });
    const silent = await join(server);
    const slow = await join(server);
    await using listener = await join(server);
    const ended = silent.rest().then((lines) => [lines, stage.now / MINUTE]);
    const alive = Tasklet.interval(9 * MINUTE, () => listener.say(""))();
    for (const letter of "it takes a while") {
      await Tasklet.sleep(MINUTE);
      await slow.type(letter);
    }
    await slow.say("");
    let line: string | null;
    while ((line = await listener.line()) === "");
    const log: unknown[] = [line, stage.now / MINUTE, await ended];
    log.push((await slow.rest()).filter((line) => line !== ""), stage.now / MINUTE);
    await alive.kill();
    const away = "silent for too long, goodbye";
    assertEquals(log, ["it takes a while", 16, [["", away], 10], [away], 26]);
  },
);

play(
  "chat tells everybody who reads of its end, and is held up for no more than a second by those who do not",
  {},
  async (stage) => {
    await using server = chat({ port: 0 });
    const peers = [
      send(neverReads, server.address),
      send(neverSpeaks, server.address),
      send(readsSlowly({ every: 300 }), server.address),
      send(sendsSlowly("never to the end ".repeat(100)), server.address),
    ];
    const alice = await join(server);
    // Without a bound, the flood would leave no time to anybody.
    stage.network.onConnection = (connection) => connection.bandwidth = 10_000;
    peers.push(send(floods("so much to say\n"), server.address));
    const rest = alice.rest();
    await Tasklet.sleep(10 * SECOND);
    const begin = stage.now;
    await server.stop();
    assert(stage.now - begin <= SECOND, `it took ${stage.now - begin} ms`);
    const heard = await rest;
    assert(heard.length > 1000, `${heard.length} lines`);
    assertEquals(heard.at(-1), "server is shutting down");
    const read = await Promise.all(peers.slice(1).map((peer) => peer.join()));
    assert(read[0]!.endsWith("server is shutting down\n"), read[0]!.slice(-100));
    assert(read[1]!.length > 0, "one byte now and then is something");
    await Promise.all(peers.map((peer) => peer.kill()));
  },
);

play(
  "chat drops a client that never reads once it has stalled for a second at its backlog, and no other",
  {},
  async (stage) => {
    const log: [line: string, at: number][] = [];
    await using server = chat({ port: 0, backlog: 100, log: (line) => log.push([line, stage.now]) });
    const stuck = send(neverReads, server.address);
    await using alice = await join(server);
    await using bob = await join(server);
    const text = "x".repeat(1000);
    let said = 0;
    for (; server.connections > 2; said++) {
      await alice.say(`${said} ${text}`);
      assertEquals(await bob.line(), `${said} ${text}`);
      await Tasklet.sleep(5);
    }
    const dropped = log[0]!;
    assertMatch(dropped[0], /^dropped a client that takes nothing: \d+ lines wait for it$/);
    // 65 lines fill its window, 100 more its backlog; then it is given a second to take its last lines.
    assert(log.length === 1 && dropped[1] > SECOND && dropped[1] < 2 * SECOND, `${log}`);
    assert(stage.now < dropped[1] + 2 * SECOND, `it was gone after ${stage.now} ms`);
    await stuck.kill();
  },
);

play(
  "chat waits a second for who goes and reads nothing, and a minute for who reads slowly",
  {},
  async (stage) => {
    await using server = chat({ port: 0 });
    await using alice = await join(server);
    const log: unknown[] = [];
    for (const peer of [neverReads, readsSlowly({ every: 500 })]) {
      using socket = await Socket.connect(server.address);
      for (let i = 0; i < 100; i++) await alice.say("x".repeat(1000)); // more than it can be sent at once
      await socket.write(new TextEncoder().encode("quit\n"));
      const begin = stage.now;
      const reading = Tasklet.new(() => peer(socket))();
      while (server.connections > 1) await Tasklet.sleep(100);
      log.push(Math.floor((stage.now - begin) / SECOND));
      await reading.kill();
    }
    assertEquals(log, [1, 60]);
  },
);

play(
  "chat passes on after an hour's partition what was said before and during it, in order",
  { latency: 40 },
  async (stage) => {
    await using server = chat({ port: 0 });
    await using alice = await join(server);
    await using bob = await join(server);
    await alice.say("before");
    const begin = stage.now;
    {
      using _ = stage.network.partition();
      for (let i = 0; i < 60; i++) {
        await alice.say(`${i}`);
        await Tasklet.sleep(MINUTE);
      }
    }
    const heard = await bob.lines(61);
    // Both ways to go, when it is mended.
    assertEquals([heard, stage.now - begin], [
      ["before", ...Array.from({ length: 60 }, (_, i) => `${i}`)],
      HOUR + 40,
    ]);
  },
);

play(
  "chat goes on for the others while one client is cut off, and drops it only if it misses too much",
  {},
  async (stage) => {
    const log: string[] = [];
    await using server = chat({ port: 0, backlog: 10, log: (line) => log.push(line) });
    const alice = await join(server);
    const bob = await join(server);
    await using carol = await join(server);
    const cuts = [alice, bob].map(({ socket }) => stage.network.connectionOf(socket).partition());
    for (let i = 0; i < 50; i++) await carol.say(`${i}`); // they fit into the window
    await Tasklet.sleep(HOUR);
    cuts[0]![Symbol.dispose]();
    assertEquals((await alice.lines(50)).at(-1), "49");
    for (let i = 0; i < 100; i++) {
      await carol.say("x".repeat(1000));
      await alice.line();
      await Tasklet.sleep(SECOND);
    }
    assertEquals([server.connections, log.length], [2, 1]);
    cuts[1]![Symbol.dispose]();
    const rest: string[] = [];
    // What was sent before it was dropped has arrived whole; then the connection breaks or ends.
    for (let line; (line = await bob.line().catch(() => null)) !== null;) rest.push(line);
    assertEquals(rest.slice(0, 50), Array.from({ length: 50 }, (_, i) => `${i}`));
    await alice[Symbol.asyncDispose]();
  },
);

play(
  "chat treats a client whose connection breaks like one that quits, wherever it breaks",
  { latency: 5 },
  async (stage) => {
    await using server = chat({ port: 0 });
    await using alice = await join(server);
    const said = "first\nsecond\nthird\n";
    const whole = GREETING.length + 1 + said.length;
    for (let bytes = 1; bytes <= whole; bytes++) {
      stage.network.onConnection = (connection) => connection.resetAfter(bytes);
      const bob = await Person.connect(server.address);
      stage.network.onConnection = undefined;
      await bob.type(said).catch(() => {});
      assert(await bob.rest().then(() => true, isDisconnect)); // the reset is told once, here or when typing
      // Lines that came whole were said.
      const lines = said.slice(0, Math.max(0, bytes - GREETING.length - 1)).split("\n").slice(0, -1);
      assertEquals(await alice.lines(lines.length), lines);
    }
    while (server.connections > 1) await Tasklet.sleep(1);
  },
);

for (const seed of [1, 2, 3]) {
  play(`chat makes the same of whatever pieces the network makes (seed ${seed})`, {
    seed,
    window: 500,
    latency: 3,
  }, async () => {
    await using server = chat({ port: 0 });
    const people = await Promise.all(Array.from({ length: 6 }, () => join(server)));
    const lines = (who: number) => Array.from({ length: 50 }, (_, i) => `${who} ${i} é€😀 ${"x".repeat(i)}.`);
    await Promise.all(people.map(async (person, who) => {
      for (const line of lines(who)) await person.say(line);
    }));
    for (const [who, person] of people.entries()) {
      const heard = await person.lines(5 * 50);
      for (const other of people.keys()) {
        const expected = other === who ? [] : lines(other);
        assertEquals(heard.filter((line) => line!.startsWith(`${other} `)), expected);
      }
      await person[Symbol.asyncDispose]();
    }
  });
}

/* ----------------------------------------------------- chatter ----------------------------------------------- */

play("chatter keeps the handle of who is cut off, until the connection is known to be broken", {
  latency: 20,
}, async (stage) => {
  const log: string[] = [];
  await using server = chatter({ port: 0, log: (line) => log.push(line) });
  const alice = await login(server, "alice");
  await using bob = await login(server, "bob");
  const connection = stage.network.connectionOf(alice.socket);
  {
    using _ = connection.partition();
    await Tasklet.sleep(HOUR);
    await using impostor = await Person.connect(server.address);
    await impostor.say("alice");
    assertEquals(await impostor.lines(2), ["What is your handle?", "That handle is already taken."]);
    connection.reset();
  }
  assertEquals(await bob.line(), "alice has left the chat.");
  await using again = await login(server, "alice");
  assertEquals(await bob.line(), "alice has joined the chat.");
  await again.say("/who");
  assertEquals(await again.line(), "bob, alice");
  assertEquals(log, [
    "alice has joined the chat.",
    "bob has joined the chat.",
    "alice has left the chat.",
    "alice has joined the chat.",
  ]);
});

play(
  "chatter has exactly one left per joined, whatever the network does",
  { latency: 5, seed: 4 },
  async (stage) => {
    const log: string[] = [];
    await using server = chatter({ port: 0, log: (line) => log.push(line), idleTimeout: 5 * MINUTE });
    let made = 0;
    stage.network.onConnection = (connection) => {
      if (++made % 3 === 0) connection.resetAfter(made * 10);
      if (made % 4 === 0) connection.latency = 500;
    };
    await Promise.all(Array.from({ length: 40 }, (_, i) =>
      Tasklet.new(async () => {
        await Tasklet.sleep(i * 100);
        try {
          const person = await Person.connect(server.address);
          await person.say(`p${i}`);
          for (let n = 0; n < i % 5; n++) await person.say(`line ${n}`);
          if (i % 2 === 0) await person.say("/quit");
          await person.rest();
        } catch (error) {
          if (!isDisconnect(error)) throw error;
        }
      })().join()));
    while (server.connections > 0) await Tasklet.sleep(SECOND);
    const joined = log.filter((line) => line.endsWith(" joined the chat.")).map((line) => line.split(" ")[0]);
    const left = log.filter((line) => line.endsWith(" left the chat.")).map((line) => line.split(" ")[0]);
    assert(joined.length > 20, `${joined.length} have joined`);
    assertEquals(left.toSorted(), joined.toSorted());
  },
);

/* ---------------------------------------------------- directory ---------------------------------------------- */

play(
  "simulate() lets users chat with each other for an hour, far from their server",
  { latency: 100 },
  async (stage) => {
    const names = ["Jane", "Zak", "Abhishek", "Natasha"];
    const log: string[] = [];
    await using server = directory({ port: 0 });
    await simulate(server.address, { names, seconds: 3600, log: (line) => log.push(line) });
    assertEquals(stage.now, HOUR);
    // Each says something every 2 to 6 seconds.
    assert(log.length > 4 * 3600 / 6 - 20 && log.length < 4 * 3600 / 2, `${log.length} messages`);
    for (const line of log) {
      assertMatch(
        line,
        /^(Jane|Zak|Abhishek|Natasha) received: (Jane|Zak|Abhishek|Natasha) says hi$/,
      );
    }
  },
);

play("directory frees the name of who is reset in the middle of a command", {}, async (stage) => {
  await using server = directory({ port: 0 });
  const jane = await Person.connect(server.address);
  await jane.say("register,Jane");
  assertEquals(await jane.line(), "ack");
  stage.network.connectionOf(jane.socket).resetAfter(5);
  await jane.say("list,all");
  await assertRejects(() => jane.line(), Deno.errors.ConnectionReset);
  await using other = await Person.connect(server.address);
  await other.say("register,Jane");
  assertEquals(await other.line(), "ack");
});

/* ------------------------------------------------------- echo ------------------------------------------------ */

play("echo, sequential, lets the next client in when the first has gone, hours later", {}, async (stage) => {
  const log: string[] = [];
  await using server = echo({ port: 0, mode: "sequential", log: (line) => log.push(line) });
  const first = await Person.connect(server.address);
  await first.say("first");
  assertEquals(await first.line(), "first");
  await using second = await Person.connect(server.address);
  await second.say("second");
  const waiting = second.line().then((line) => [line, stage.now / HOUR]);
  await Tasklet.sleep(3 * HOUR);
  await first[Symbol.asyncDispose]();
  assertEquals(await waiting, ["second", 3]);
  assertEquals(log.filter((line) => line.startsWith("connection from")).length, 2);
});

play("echo, raw, carries a megabyte over a slow line in the time that takes", {
  bandwidth: 100_000,
  latency: 100,
}, async (stage) => {
  await using server = echo({ port: 0, mode: "raw" });
  using socket = await Socket.connect(server.address);
  const begin = stage.now;
  const bytes = new Uint8Array(2 ** 20).map((_, i) => i * i);
  const written = socket.write(bytes).then(() => socket.closeWrite());
  const parts: Uint8Array[] = [];
  const buffer = new Uint8Array(65_536);
  for (let n; (n = await socket.read(buffer)) !== null;) parts.push(buffer.slice(0, n));
  await written;
  const received = new Uint8Array(await new Blob(parts as Uint8Array<ArrayBuffer>[]).arrayBuffer());
  assertEquals(received.findIndex((byte, i) => byte !== bytes[i]), -1);
  const seconds = (stage.now - begin) / SECOND;
  assertEquals([received.length, Math.floor(seconds / 5)], [bytes.length, 2], `${seconds} s`);
});

play("echo serves others while peers do what they like for an hour", { latency: 20 }, async () => {
  for (const mode of ["chunks", "lines", "raw"] as const) {
    await using server = echo({ port: 0, mode });
    const { address } = server;
    const text = "what is said\n";
    const peers = [
      send(neverReads, address),
      send(neverSpeaks, address),
      send(readsSlowly(), address),
      send(sendsSlowly(text.repeat(20)), address),
      send(resetsAfter(20, text.repeat(1000)), address),
      send(floods(text), address),
    ];
    await using alice = await Person.connect(address);
    for (let i = 0; i < 60; i++) {
      await alice.say(`${i}`);
      assertEquals(await alice.line(), `${i}`);
      await Tasklet.sleep(MINUTE);
    }
    assertEquals(await peers[4]!.join(), text.repeat(2).slice(0, 20));
    await assertRejects(() => peers[5]!.join({ timeout: HOUR }), TimeoutError); // it is held up
    await Promise.all(peers.map((peer) => peer.kill()));
  }
});
