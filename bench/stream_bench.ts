/**
 * The price of lines, without a network under them, beside the streams of the platform.
 *
 *     deno bench --allow-all bench/stream_bench.ts
 *
 * Each case reads or writes `N` lines of 64 characters, so that the time per iteration divided by `N` is the price of
 * one.
 */
import { TextLineStream } from "@std/streams";
import { BufferedStream } from "../mod.ts";
import { Bytes, linesOf } from "./bytes.ts";

const N = 1000;
const LENGTH = 64;
const WRITERS = 100;
const lines = linesOf(N, LENGTH);
const line = "x".repeat(LENGTH);

/** `lines` as the platform would have them, at most `chunk` bytes at a time. */
function streamOf(chunk: number): ReadableStream<Uint8Array<ArrayBuffer>> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at === lines.length) return controller.close();
      controller.enqueue(lines.slice(at, at += Math.min(chunk, lines.length - at)));
    },
  });
}

function piped(chunk: number): AsyncIterable<string> {
  return streamOf(chunk).pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
}

function buffered(chunk: number): AsyncIterable<string> {
  return new BufferedStream(new Bytes(lines, chunk)).reader.readLines();
}

async function count(read: AsyncIterable<string>): Promise<void> {
  let n = 0;
  for await (const _ of read) n++;
  if (n !== N) throw new Error(`Read ${n} lines`);
}

for (const [what, chunk] of [["in chunks of 16 KiB", 16_384], ["each alone", LENGTH + 1]] as const) {
  Deno.bench(`TextLineStream × ${N}`, { group: `lines ${what}`, baseline: true }, async () => {
    await count(piped(chunk));
  });
  Deno.bench(`readLines × ${N}`, { group: `lines ${what}` }, async () => {
    await count(buffered(chunk));
  });
  Deno.bench(`readLine + pending × ${N}`, { group: `lines ${what}` }, async () => {
    const { reader } = new BufferedStream(new Bytes(lines, chunk));
    let n = 0;
    while (await reader.readLine() !== null) {
      n++;
      for (const _ of reader.pending()) n++;
    }
    if (n !== N) throw new Error(`Read ${n} lines`);
  });
}

Deno.bench(`encode + write × ${N}`, { group: "write + flush", baseline: true }, async () => {
  const socket = new Bytes(lines);
  const encoder = new TextEncoder();
  for (let i = 0; i < N; i++) await socket.writeSome(encoder.encode(line + "\n"));
});

Deno.bench(`writeLine + flush × ${N}`, { group: "write + flush" }, async () => {
  const { writer } = new BufferedStream(new Bytes(lines));
  for (let i = 0; i < N; i++) {
    writer.writeLine(line);
    await writer.flush();
  }
});

Deno.bench(`writeLine × ${N}, one flush`, { group: "write + flush" }, async () => {
  const { writer } = new BufferedStream(new Bytes(lines));
  for (let i = 0; i < N; i++) writer.writeLine(line);
  await writer.flush();
});

Deno.bench(
  `encode once, write to ${WRITERS}`,
  { group: `a line to ${WRITERS}`, baseline: true },
  async () => {
    const bytes = new TextEncoder().encode(line + "\n");
    await Promise.all(sockets.map((socket) => socket.writeSome(bytes)));
  },
);

Deno.bench(`writeLine + flush to ${WRITERS}`, { group: `a line to ${WRITERS}` }, async () => {
  for (const writer of writers) writer.writeLine(line);
  await Promise.all(writers.map((writer) => writer.flush()));
});

const sockets = Array.from({ length: WRITERS }, () => new Bytes(lines));
const writers = sockets.map((socket) => new BufferedStream(socket).writer);
