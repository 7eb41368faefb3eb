/**
 * A chat: each line goes to all other clients.
 *
 *     deno run --allow-net=localhost:9010 chat.ts
 *
 * Then, in several terminals, `telnet localhost 9010` or `nc localhost 9010`. `quit` leaves.
 *
 * @module
 */
import { type AnyMessage, printable, type Server, type Socket, Tasklet } from "../mod.ts";
import { program, wholeNumber } from "./cli.ts";
import { placeOf, serve, serverFlags, type ServerOptions, serverOptions } from "./server.ts";
import { Client, MSG_LINE_READ, MSG_QUIT } from "./client.ts";

export type { ServerOptions } from "./server.ts";

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
        const lines: string[] = [];
        let goesOn = hear(msg, lines);
        for (const next of Tasklet.pending()) goesOn = goesOn && hear(next, lines);
        Client.multicast([...clients].filter((other) => other !== client), lines);
        if (!goesOn) break;
      }
      farewell = undefined;
    } finally {
      clients.delete(client);
      await client.close(farewell);
    }
  }

  // Adds what was said to `lines`; whether the client stays.
  function hear(msg: AnyMessage, lines: string[]): boolean {
    if (!msg.match(MSG_LINE_READ)) return !msg.match(MSG_QUIT);
    const line = printable(msg.args[0]).trim();
    if (line !== "quit") lines.push(line);
    return line !== "quit";
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
  program({ name: "chat", about: "A chat: each line goes to all other clients.", flags }, async (values) => {
    const server = chat({ ...await serverOptions(values), backlog: values.backlog });
    console.log(`listening for connections on ${placeOf(server)}`);
  });
}
