/**
 * How lines and clients scale.
 *
 * @module
 */
import { chat } from "../../examples/chat.ts";
import { BufferedStream, Socket, Tasklet } from "../../mod.ts";
import { memoryNetwork } from "../../testing.ts";
import { Bytes, linesOf } from "../bytes.ts";
import { type Row, time } from "./row.ts";

const CHUNK = 1024; // bytes

/** Rows of streams. */
export const STREAMS: readonly Row[] = [
  {
    name: "line",
    about: "bytes of one line, in chunks of 1 KiB",
    n: 65_536,
    cost: (n) => reading(linesOf(1, n - 1), CHUNK),
  },
  {
    name: "text",
    about: "bytes of one line that takes two bytes a character, in chunks of 1 KiB",
    n: 65_536,
    cost: (n) => reading(new TextEncoder().encode("é".repeat(n / 2 - 1) + "\n"), CHUNK),
  },
  {
    name: "lines",
    about: "lines of 64 bytes in one chunk",
    n: 1000,
    cost: (n) => reading(linesOf(n, 64), Infinity),
  },
  {
    name: "chunks",
    about: "lines of 64 bytes, each of which comes alone",
    n: 500,
    cost: (n) => reading(linesOf(n, 64), 65),
  },
  {
    name: "exactly",
    about: "bytes read as one block, in chunks of 1 KiB",
    n: 65_536,
    cost: (n) => {
      const { reader } = new BufferedStream(new Bytes(new Uint8Array(n), CHUNK));
      return time(() => reader.readExactly(n));
    },
  },
  {
    name: "queued",
    about: "lines of 64 bytes queued for writing, then flushed",
    n: 2500,
    cost: (n) => {
      const { writer } = new BufferedStream(new Bytes(new Uint8Array(0)), { maxBuffered: Infinity });
      const line = "x".repeat(64);
      return time(async () => {
        for (let i = 0; i < n; i++) writer.writeLine(line + i % 10);
        await writer.flush();
      });
    },
  },
  {
    name: "writers",
    about: "streams, to each of which the same 20 lines are written",
    n: 100,
    cost: async (n) => {
      const writers = Array.from(
        { length: n },
        () => new BufferedStream(new Bytes(new Uint8Array(0))).writer,
      );
      return await time(async () => {
        for (let i = 0; i < 20; i++) {
          for (const writer of writers) writer.writeLine(`line ${i}`);
          await Promise.all(writers.map((writer) => writer.flush()));
        }
      });
    },
  },
  {
    name: "chat",
    about: "clients of a chat, on a network in memory, one of whom says 50 lines one after the other",
    n: 50,
    cost: chatting,
  },
];

async function reading(bytes: Uint8Array, chunk: number): Promise<number> {
  const { reader } = new BufferedStream(new Bytes(bytes, chunk), { maxLineLength: Infinity });
  return await time(async () => {
    for await (const _ of reader.readLines());
  });
}

async function chatting(n: number): Promise<number> {
  using _ = memoryNetwork();
  await using server = chat({ port: 9010 });
  const clients: BufferedStream[] = [];
  for (let i = 0; i < n; i++) {
    const client = new BufferedStream(await Socket.connect({ port: server.port }));
    await client.reader.readLine(); // the greeting
    clients.push(client);
  }
  const [speaker, ...others] = clients;
  const ms = await time(async () => {
    for (let i = 0; i < 50; i++) {
      const heard = others.map(({ reader }) => reader.readLine());
      speaker!.writer.writeLine(`line ${i}`);
      await speaker!.writer.flush();
      await Promise.all(heard);
    }
  });
  for (const client of clients) await client.close();
  await Tasklet.yield();
  return ms;
}
