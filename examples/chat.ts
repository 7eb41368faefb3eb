/**
 * A chat: each line goes to all other clients.
 *
 *     deno run --allow-net=localhost:9010 examples/chat.ts
 *
 * Then, in several terminals, `telnet localhost 9010` or `nc localhost 9010`. `quit` leaves. With `--cluster`, clients of
 * several servers are in one room.
 *
 * @module
 */
import { type AnyMessage, printable, type Server, type Socket, Tasklet } from "../mod.ts";
import { chatFlags, chatOptions, type CommonOptions, joining } from "./chats.ts";
import { program } from "./cli.ts";
import { Client, MSG_LINE_READ, MSG_QUIT } from "./client.ts";
import { placeOf, serve } from "./server.ts";

export type { CommonOptions } from "./chats.ts";
export type { ServerOptions } from "./server.ts";

/** What {@linkcode chat} can be told. */
export interface ChatOptions extends CommonOptions {
  /** The clients of other servers. @default {none} */
  readonly room?: Room | undefined;
}

/** A room that is shared with other servers. */
export interface Room {
  /** Calls `hear` with what is said on other servers from now on. */
  listen(hear: (lines: readonly string[]) => void): void;
  /** Says lines on the other servers. */
  say(lines: readonly string[]): void;
}

/** Starts the chat server. */
export function chat(options: ChatOptions = {}): Server {
  let clients: readonly Client[] = [];
  const { room } = options;
  room?.listen((lines) => Client.multicast(clients, lines));

  async function handle(socket: Socket): Promise<void> {
    const client = new Client(socket, options);
    let farewell: string | undefined = "server is shutting down";
    clients = [...clients, client];
    client.writeLine("type 'quit' to exit..");
    try {
      for await (const msg of Tasklet.receive()) {
        const lines: string[] = [];
        let goesOn = hear(msg, lines);
        for (const next of Tasklet.pending()) goesOn = goesOn && hear(next, lines);
        Client.multicast(clients.filter((other) => other !== client), lines);
        room?.say(lines);
        if (!goesOn) break;
      }
      farewell = undefined;
    } finally {
      clients = clients.filter((other) => other !== client);
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
  const about = "A chat: each line goes to all other clients.";
  program({ name: "chat", about, flags: chatFlags(9010) }, async (values) => {
    const { cluster } = values;
    // Loaded only now: who is alone needs neither NATS nor its client.
    const enter = async () => (await import("./room.ts")).ChatRoom.enter("chat", cluster!, values);
    const room = cluster === undefined ? undefined : await joining(enter);
    const server = chat({ ...await chatOptions(values), room });
    await room?.ready();
    console.log(`listening for connections on ${placeOf(server)}`);
  });
}
