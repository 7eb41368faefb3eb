/**
 * Servers under fire: what anybody who can open a connection may do to them.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { chat } from "../examples/chat.ts";
import { chatter } from "../examples/chatter.ts";
import { directory } from "../examples/directory.ts";
import { BufferedStream, isDisconnect, printable, type Server, Socket } from "../net.ts";
import { Tasklet } from "../tasklet.ts";
import { memoryNetwork, virtualTime } from "../testing.ts";
import { client, vanish } from "./client.ts";
import { start } from "./program.ts";

const SEED = 20_260_101;
const encoder = new TextEncoder();

/** A sequence of integers below what is asked for, the same for the same seed (mulberry32). */
function chance(seed: number): (below: number) => number {
  return (below) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let n = Math.imul(seed ^ (seed >>> 15), seed | 1);
    n ^= n + Math.imul(n ^ (n >>> 7), n | 61);
    return ((n ^ (n >>> 14)) >>> 0) % below;
  };
}

/** Pieces that do harm if anything does: telnet commands, parts of UTF-8, controls, escape sequences, lines. */
const PIECES: readonly (readonly number[])[] = [
  [255, 253, 6],
  [255, 251, 1],
  [255, 250, 24],
  [255, 240],
  [255],
  [255, 255],
  [0xe2, 0x82],
  [0xf0, 0x9f],
  [0x80],
  [0xc3],
  [0xed, 0xa0, 0x80],
  [0],
  [7],
  [8],
  [27, 91, 50, 74],
  [27, 93, 48, 59],
  [0xc2, 0x9b],
  [127],
  [10],
  [13, 10],
  [13, 0],
  [13],
  [9],
  ...["hello", "quit", "/who", "register,x", "list,all", "chat,x,y", "__proto__", "\u202ebidi"].map((
    text,
  ) => [
    ...encoder.encode(text),
  ]),
];

function hostileBytes(random: (below: number) => number): Uint8Array {
  const bytes: number[] = [];
  for (let left = random(12); left > 0; left--) {
    const kind = random(20);
    if (kind === 0) bytes.push(...new Array(random(5000)).fill(32 + random(90)));
    else if (kind < 4) bytes.push(random(256));
    else bytes.push(...PIECES[random(PIECES.length)]!);
  }
  return Uint8Array.from(bytes);
}

/** Sends `bytes` in random pieces, and goes: by ending its side, or without a word. */
async function attack(server: Server, bytes: Uint8Array, random: (below: number) => number): Promise<void> {
  using socket = await Socket.connect({ port: server.port });
  const drained = Tasklet.new(async () => {
    const buffer = new Uint8Array(4096);
    try {
      while (await socket.read(buffer) !== null);
    } catch (error) {
      if (!isDisconnect(error)) throw error;
    }
  })();
  try {
    for (let at = 0; at < bytes.length;) {
      const end = at + 1 + random(40);
      await socket.write(bytes.subarray(at, end));
      at = end;
    }
    if (random(2) === 0) return await drained.kill();
    await socket.closeWrite();
  } catch (error) {
    if (!isDisconnect(error)) throw error; // it was sent away
  }
  await drained.join();
}

const SERVERS = {
  chat: { open: () => chat({ port: 0, maxLine: 2000 }), login: "", say: "still here" },
  chatter: { open: () => chatter({ port: 0, maxLine: 2000 }), login: "ann\n", say: "still here" },
  directory: { open: () => directory({ port: 0 }), login: "register,ann\n", say: "list,all" },
};

for (const [name, { open, login, say }] of Object.entries(SERVERS)) {
  Deno.test({
    name:
      `${name}: 4 000 random byte strings leave another client's view free of controls, and the server alive (seed ${SEED})`,
    timeout: 120_000,
    fn: async () => {
      await using _time = virtualTime({ patience: 0 });
      using _network = memoryNetwork();
      const random = chance(SEED);
      await Tasklet.new(async () => {
        await using server = open();
        await using witness = new BufferedStream(await Socket.connect({ port: server.port }));
        const seen: string[] = [];
        witness.writer.write(login);
        await witness.writer.flush();
        const watching = Tasklet.new(async () => {
          for await (const line of witness.reader.readLines()) seen.push(line);
        })();
        for (let round = 0; round < 4000; round += 20) {
          const attacks = Array.from(
            { length: 20 },
            () => Tasklet.new(attack)(server, hostileBytes(random), random),
          );
          for (const task of attacks) await task.join();
        }
        using late = await Socket.connect({ port: server.port });
        const friend = new BufferedStream(late);
        friend.writer.write(login.replace("ann", "bob") + say + "\n");
        await friend.writer.flush();
        await Tasklet.sleep(10_000);
        await watching.kill();
        const harmful = seen.filter((line) => printable(line) !== line);
        assertEquals(harmful, []);
        if (name !== "directory") assert(seen.at(-1)!.endsWith(say), seen.at(-1));
        assertEquals(server.connections, 2);
      })().join();
    },
  });
}

/** How many descriptors a process has open. */
async function descriptors(pid: number): Promise<number> {
  return (await Array.fromAsync(Deno.readDir(`/proc/${pid}/fd`))).length;
}

Deno.test({
  name: "chat.ts: a thousand connections that are reset leave no descriptor behind",
  timeout: 120_000,
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    await using program = start("examples/chat.ts", ["--port", "0"]);
    const port = await program.port();
    using witness = await client(port);
    await witness.line();
    const before = await descriptors(program.pid);
    for (let round = 0; round < 50; round++) {
      await Promise.all(
        Array.from({ length: 20 }, (_, i) => vanish(port, i % 3 === 0 ? "hello\n" : "", i % 2)),
      );
    }
    using late = await client(port);
    assertEquals(await late.line(), "type 'quit' to exit..");
    late.close();
    while (await descriptors(program.pid) > before) await new Promise((resolve) => setImmediate(resolve));
    program.signal("SIGTERM");
    assertEquals((await program.end()).stderr, "");
  },
});

Deno.test({
  name:
    "chat.ts: SIGTERM under load loses no line that anybody got, exits with 143, and says nothing on stderr",
  timeout: 60_000,
  fn: async () => {
    await using program = start("examples/chat.ts", ["--port", "0"]);
    const port = await program.port();
    const readers = await Promise.all(Array.from({ length: 8 }, () => client(port)));
    const senders = await Promise.all(Array.from({ length: 4 }, () => client(port)));
    using witness = await client(port);
    let hasEnded = false;
    let [said, witnessed] = [0, 0];
    const sending = senders.map(async (sender, s) => {
      for (let n = 0; !hasEnded; n++) {
        // No faster than this process can read: who falls 8 MiB behind is dropped.
        while (said - witnessed > 5000 && !hasEnded) await new Promise((resolve) => setImmediate(resolve));
        const lines = Array.from({ length: 50 }, (_, i) => `from ${s}: ${50 * n + i}\n`).join("");
        said += 50;
        await sender.send(lines).catch(() => hasEnded = true);
        await new Promise((resolve) => setImmediate(resolve));
      }
    });
    const reading = [...readers, ...senders].map((each) => each.rest().catch(() => ""));
    const isUnderLoad = Promise.withResolvers<void>();
    const witnessing = (async () => {
      while (await witness.line() !== null) if (++witnessed === 5000) isUnderLoad.resolve();
    })();
    await isUnderLoad.promise;
    program.signal("SIGTERM");
    const { code, lines, stderr } = await program.end();
    hasEnded = true;
    await Promise.all([...sending, witnessing]);
    assertEquals([code, lines, stderr], [143, [], ""]);
    const heard = (await Promise.all(reading.slice(0, 8))).map((text) => text.split("\n"));
    const ends = heard.map((all) => {
      assertEquals(all.slice(-2), ["server is shutting down", ""]);
      return senders.map((_, s) => inOrder(all.filter((line) => line.startsWith(`from ${s}: `)))).join();
    });
    assertEquals(new Set(ends).size, 1, `readers differ: ${ends.join(" | ")}`);
    for (const each of [...readers, ...senders]) each.close();
  },
});

/** The number of the last line, if none is missing before it. */
function inOrder(lines: readonly string[]): number {
  for (const [n, line] of lines.entries()) assert(line.endsWith(`: ${n}`), `${line} in place of ${n}`);
  return lines.length;
}
