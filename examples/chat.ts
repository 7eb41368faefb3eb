/**
 * A chat: each line goes to all other clients.
 *
 *     deno run --allow-net=localhost chat.ts
 *
 * Then, in several terminals, `telnet localhost 9010` or `nc localhost 9010`. `quit` leaves.
 *
 * Each connection is three tasklets. The *reader* turns lines into messages to the *client*; the client knows the others
 * and passes its lines on; the *writer* sends what the others said, many lines at once if they come fast.
 *
 * @module
 */
import {
  BufferedStream,
  isDisconnect,
  LineTooLongError,
  Message,
  printable,
  type Server,
  type Socket,
  Tasklet,
  TimeoutError,
} from "../mod.ts";
import { program, serve, serverFlags, type ServerOptions, serverOptions, wholeNumber } from "./cli.ts";

export type { ServerOptions } from "./cli.ts";

class MSG_WRITE_LINE extends Message("MSG_WRITE_LINE")<[line: string]> {}
class MSG_QUIT extends Message("MSG_QUIT") {}
class MSG_LINE_READ extends Message("MSG_LINE_READ")<[line: string]> {}

/** What {@linkcode chat} can be told. */
export interface ChatOptions extends ServerOptions {
  /** How many lines may wait for a client whose socket takes nothing. @default {1000} */
  readonly backlog?: number;
}

interface Client {
  readonly task: Tasklet;
  readonly writer: Tasklet;
  readonly stream: BufferedStream;
}

/** Starts the chat server. */
export function chat({ backlog = 1000, log = () => {}, ...options }: ChatOptions = {}): Server {
  const clients = new Set<Client>();

  async function handle(socket: Socket): Promise<void> {
    // The backlog is the bound of what waits to be written.
    const stream = new BufferedStream(socket, {
      maxLineLength: options.maxLine,
      maxBuffered: Infinity,
      telnet: true,
    });
    const task = Tasklet.current()!;
    const writer = Tasklet.new(write)(stream, task);
    Tasklet.new(read)(stream, task);
    const client = { task, writer, stream };
    clients.add(client);
    MSG_WRITE_LINE.send(writer)("type 'quit' to exit..");
    try {
      for await (const msg of Tasklet.receive()) {
        if (msg.match(MSG_QUIT)) break;
        else if (msg.match(MSG_WRITE_LINE)) MSG_WRITE_LINE.send(writer)(msg.args[0]);
        else if (msg.match(MSG_LINE_READ)) multicast(client, msg.args[0]);
      }
    } catch (exit) {
      await writer.kill(); // what was said before is sent before
      stream.writer.writeLine("server is shutting down");
      throw exit;
    } finally {
      clients.delete(client);
      await writer.kill();
      await stream.close({ timeout: 1000 });
    }
  }

  function multicast(from: Client, line: string): void {
    const others = [...clients].filter((client) => client !== from);
    MSG_WRITE_LINE.send(others.map((client) => client.writer))(line);
    for (const client of others.filter(isStuck)) {
      log(`dropped a client that reads nothing: ${client.writer.mailbox.length} lines wait for it`);
      clients.delete(client);
      MSG_QUIT.send(client.task)();
    }
  }

  // Who reads at all, however slowly, is given a second for it; who does not is no reason to fill the memory.
  function isStuck({ writer, stream }: Client): boolean {
    const waiting = writer.mailbox.length;
    return waiting >= backlog && (stream.writer.stalled > 1000 || waiting >= 32 * backlog);
  }

  return serve(options, 9010, handle);
}

async function read(stream: BufferedStream, client: Tasklet): Promise<void> {
  try {
    for await (const line of stream.reader.readLines()) {
      const text = printable(line).trim();
      if (text === "quit") break;
      MSG_LINE_READ.send(client)(text);
    }
  } catch (error) {
    if (error instanceof LineTooLongError) MSG_WRITE_LINE.send(client)("line too long, goodbye");
    else if (error instanceof TimeoutError) MSG_WRITE_LINE.send(client)("silent for too long, goodbye");
    else if (!isDisconnect(error)) throw error;
  }
  MSG_QUIT.send(client)();
}

async function write(stream: BufferedStream, client: Tasklet): Promise<void> {
  try {
    for await (const msg of Tasklet.receive([MSG_WRITE_LINE])) {
      stream.writer.writeLine(msg.args[0]);
      for (const more of Tasklet.pending()) {
        if (more.match(MSG_WRITE_LINE)) stream.writer.writeLine(more.args[0]);
      }
      await stream.writer.flush();
    }
  } catch (error) {
    if (!isDisconnect(error)) throw error;
    MSG_QUIT.send(client)();
  } finally {
    for (const msg of Tasklet.pending()) if (msg.match(MSG_WRITE_LINE)) stream.writer.writeLine(msg.args[0]);
  }
}

if (import.meta.main) {
  const backlog = wholeNumber(
    "lines that may wait for a client whose socket takes nothing",
    1000,
    1,
    1_000_000,
  );
  const flags = { ...serverFlags(9010), backlog };
  program({ name: "chat", about: "A chat: each line goes to all other clients.", flags }, (values) => {
    const server = chat({ ...serverOptions(values), backlog: values.backlog });
    console.log(`listening for connections on port ${server.port}`);
  });
}
