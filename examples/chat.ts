/**
 * A chat: each line goes to all other clients.
 *
 *     deno run --allow-net=localhost:9010 chat.ts
 *
 * Then, in several terminals, `telnet localhost 9010` or `nc localhost 9010`. `quit` leaves.
 *
 * @module
 */
import { printable, type Server, type Socket, Tasklet } from "../mod.ts";
import { program, serve, serverFlags, type ServerOptions, serverOptions, wholeNumber } from "./cli.ts";
import { Client, MSG_LINE_READ, MSG_QUIT } from "./client.ts";

export type { ServerOptions } from "./cli.ts";

/** What {@linkcode chat} can be told. */
export interface ChatOptions extends ServerOptions {
  /** How many lines may wait for a client whose socket takes nothing. @default {1000} */
  readonly backlog?: number;
}

/** Starts the chat server. */
export function chat(options: ChatOptions = {}): Server {
  const clients = new Set<Client>();

  async function handle(socket: Socket): Promise<void> {
    const client = new Client(socket, options);
    let farewell: string | undefined = "server is shutting down";
    clients.add(client);
    client.writeLine("type 'quit' to exit..");
    try {
      for await (const msg of Tasklet.receive()) {
        if (msg.match(MSG_QUIT)) break;
        if (!msg.match(MSG_LINE_READ)) continue;
        const line = printable(msg.args[0]).trim();
        if (line === "quit") break;
        Client.multicast([...clients].filter((other) => other !== client), line);
      }
      farewell = undefined;
    } finally {
      clients.delete(client);
      await client.close(farewell);
    }
  }

  return serve(options, 9010, handle);
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
