/**
 * Echo servers: what is received is sent back.
 *
 *     deno run --allow-net=localhost:8888 examples/echo.ts
 *     deno run --allow-net=localhost:10000 examples/echo.ts --sequential
 *
 * Then `telnet localhost 8888`. The first serves all clients at once, the second one after the other, so that a second
 * client waits until the first has gone. `--lines` echoes lines, `--raw` bytes, as fast as the client takes them.
 *
 * @module
 */
import {
  type Address,
  BufferedStream,
  isDisconnect,
  LineTooLongError,
  printable,
  type Server,
  type Socket,
  TimeoutError,
} from "../mod.ts";
import { program, quote, UsageError } from "./cli.ts";
import { serve, serverFlags, type ServerOptions, serverOptions } from "./server.ts";

export type { ServerOptions } from "./server.ts";

/** What {@linkcode echo} can be told. */
export interface EchoOptions extends ServerOptions {
  /** What is echoed: chunks, as they come; the same, one client after the other; lines; or any bytes. @default {"chunks"} */
  readonly mode?: "chunks" | "sequential" | "lines" | "raw";
}

// How many bytes are read at once.
const CHUNKS = { chunks: 100, sequential: 16, lines: 0, raw: 65_536 };

/** Starts an echo server. */
export function echo({ mode = "chunks", log = () => {}, ...options }: EchoOptions = {}): Server {
  async function handle(socket: Socket): Promise<void> {
    const from = format(socket.remoteAddress);
    const isLines = mode === "lines";
    const { maxLine: maxLineLength, linePace } = options;
    await using stream = new BufferedStream(socket, { maxLineLength, linePace, telnet: isLines });
    if (mode === "sequential") log(`connection from ${from}`);
    try {
      if (mode === "raw") await echoBytes(socket);
      else await (isLines ? echoLines(stream, from) : echoChunks(stream, from));
    } catch (error) {
      if (error instanceof LineTooLongError) {
        stream.writer.writeLine("line too long, goodbye");
        await stream.close({ linger: 1000 });
      } else if (!isDisconnect(error) && !(error instanceof TimeoutError)) throw error;
    } finally {
      if (mode !== "raw") log("Close the client socket");
    }
    if (mode === "sequential") log("waiting for a connection");
  }

  // Straight from the socket to the socket: there is nothing to keep in between.
  async function echoBytes(socket: Socket): Promise<void> {
    const buffer = new Uint8Array(CHUNKS.raw);
    for (let n; (n = await socket.read(buffer)) !== null;) await socket.write(buffer.subarray(0, n));
  }

  async function echoChunks(stream: BufferedStream, from: string): Promise<void> {
    for (let chunk; (chunk = await stream.reader.readChunk(CHUNKS[mode])) !== null;) {
      const text = new TextDecoder().decode(chunk);
      if (text.trim() === "") return;
      log(`Received ${quote(text)} from ${from}`);
      log(`Send: ${quote(text)}`);
      stream.writer.write(chunk);
      await stream.writer.flush();
    }
  }

  async function echoLines(stream: BufferedStream, from: string): Promise<void> {
    const echoLine = (line: string) => {
      log(`Received ${quote(line)} from ${from}`);
      stream.writer.writeLine(printable(line));
    };
    for await (const line of stream.reader.readLines()) {
      echoLine(line);
      for (const next of stream.reader.pending()) echoLine(next);
      await stream.writer.flush();
    }
  }

  const once = mode === "sequential" ? { maxConnections: 1 } : {};
  return serve({ ...options, ...once }, portOf(mode), handle);
}

function portOf(mode: keyof typeof CHUNKS): number {
  return mode === "sequential" ? 10_000 : 8888;
}

function format(address: Address): string {
  return "path" in address ? quote(address.path) : `('${address.hostname}', ${address.port})`;
}

if (import.meta.main) {
  const flags = {
    ...serverFlags(8888),
    port: { ...serverFlags(8888).port, default: undefined, defaultText: "8888, or 10000 with --sequential" },
    sequential: { about: "serve one client after the other, 16 bytes at a time" },
    lines: { about: "echo lines instead of chunks" },
    raw: { about: "echo any bytes to the end, without a log" },
  };
  program({ name: "echo", about: "Sends back what it receives.", flags }, async (values) => {
    const modes = (["sequential", "lines", "raw"] as const).filter((mode) => values[mode]);
    if (modes.length > 1) throw new UsageError(`--${modes.join(" and --")} do not go together (see --help)`);
    const mode = modes[0] ?? "chunks";
    const options = await serverOptions({ ...values, port: values.port ?? portOf(mode) });
    const server = echo({ ...options, mode });
    console.log(
      `Serving on ${options.unix === undefined ? `('${values.hostname}', ${server.port})` : options.unix}`,
    );
    if (mode === "sequential") options.log("waiting for a connection");
  });
}
