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
  Server,
  Socket,
  Tasklet,
  TimeoutError,
} from "../mod.ts";
import { type Flag, logOf, program, type ServerFlags, serverFlags, type Values, wholeNumber } from "./cli.ts";

class MSG_WRITE_LINE extends Message("MSG_WRITE_LINE")<[line: string]> {}
class MSG_QUIT extends Message("MSG_QUIT") {}
class MSG_LINE_READ extends Message("MSG_LINE_READ")<[line: string]> {}

/** What {@linkcode chat} can be told, as on its command line. */
export const FLAGS: ServerFlags & { backlog: Flag<number> } = {
  ...serverFlags(9010),
  backlog: wholeNumber("lines that may wait for a client whose socket takes nothing", 1000, 1, 1_000_000),
};

interface Client {
  readonly task: Tasklet;
  readonly writer: Tasklet;
  readonly stream: BufferedStream;
}

/** Starts the chat server. */
export function chat(options: Values<typeof FLAGS>): Server {
  const clients = new Set<Client>();
  const log = logOf(options);

  async function handle(socket: Socket): Promise<void> {
    const stream = new BufferedStream(socket, {
      maxLineLength: options["max-line"],
      maxBuffered: Infinity, // the backlog is the bound
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
    return waiting >= options.backlog && (stream.writer.stalled > 1000 || waiting >= 32 * options.backlog);
  }

  return Server.serve({ hostname: options.hostname, port: options.port }, handle, {
    maxConnections: options["max-connections"],
    idleTimeout: options["idle-timeout"] === 0 ? Infinity : options["idle-timeout"] * 1000,
  });
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

/** Starts the chat server and says so. */
export function main(options: Values<typeof FLAGS>): void {
  const server = chat(options);
  console.log(`listening for connections on port ${server.port}`);
}

if (import.meta.main) {
  program({ name: "chat", about: "A chat: each line goes to all other clients.", flags: FLAGS }, main);
}
