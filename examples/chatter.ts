/**
 * A chat in which everybody has a handle.
 *
 *     deno run --allow-net=localhost:1980 examples/chatter.ts
 *
 * Then, in several terminals, `telnet localhost 1980`. `/who` lists the handles, `/quit` leaves. With `--cluster`, members
 * of several servers are in one room.
 *
 * @module
 */
import { printable, type Server, type Socket, Tasklet } from "../mod.ts";
import { chatFlags, chatOptions, type CommonOptions, joining } from "./chats.ts";
import { isName, program } from "./cli.ts";
import { Client, MSG_LINE_READ, MSG_QUIT } from "./client.ts";
import { type Elsewhere, Members } from "./members.ts";
import { placeOf, serve } from "./server.ts";

export type { CommonOptions } from "./chats.ts";
export type { Elsewhere } from "./members.ts";
export type { ServerOptions } from "./server.ts";

/** What {@linkcode chatter} can be told. */
export interface ChatterOptions extends CommonOptions {
  /** The members on other servers. @default {none} */
  readonly elsewhere?: Elsewhere | undefined;
}

/** Starts the chat server. */
export function chatter(options: ChatterOptions = {}): Server {
  const { log = () => {} } = options;
  const members = new Members(options.elsewhere);

  // A login for each connection; who has not logged in is no member, and hears nothing.
  async function login(socket: Socket): Promise<void> {
    const client = new Client(socket, options);
    let farewell: string | undefined = "server is shutting down";
    try {
      const handle = await handleOf(client);
      if (handle !== undefined) await converse(handle, client);
      farewell = undefined;
    } finally {
      await client.close(farewell);
    }
  }

  async function handleOf(client: Client): Promise<string | undefined> {
    client.writeLine("What is your handle?");
    for await (const msg of Tasklet.receive()) {
      if (msg.match(MSG_QUIT)) return undefined;
      if (!msg.match(MSG_LINE_READ)) continue;
      const handle = msg.args[0].trim();
      if (isName(handle)) {
        if (await members.take(handle, client)) return handle;
        client.writeLine("That handle is already taken.");
      }
      client.writeLine("What is your handle?");
    }
    return undefined;
  }

  async function converse(handle: string, client: Client): Promise<void> {
    announce(`${handle} has joined the chat.`);
    try {
      for await (const msg of Tasklet.receive()) {
        if (msg.match(MSG_QUIT)) return;
        if (!msg.match(MSG_LINE_READ)) continue;
        const line = printable(msg.args[0]).trim();
        if (line === "/quit") return;
        else if (line === "/who") client.writeLine(members.handles.join(", "));
        else if (line.startsWith("/")) client.writeLine(`There is no ${line}, only /who and /quit.`);
        else members.say(`${handle} says: ${line}`);
      }
    } finally {
      members.leave(handle);
      announce(`${handle} has left the chat.`);
    }
  }

  function announce(line: string): void {
    log(line);
    members.tell([line]);
  }

  return serve(options, 1980, login);
}

if (import.meta.main) {
  const about = "A chat in which everybody has a handle.";
  program({ name: "chatter", about, flags: chatFlags(1980) }, async (values) => {
    const { cluster } = values;
    // Loaded only now: who is alone needs neither NATS nor its client.
    const enter = async () => (await import("./roster.ts")).Roster.enter("chatter", cluster!, values);
    const elsewhere = cluster === undefined ? undefined : await joining(enter);
    const server = chatter({ ...await chatOptions(values), elsewhere });
    await elsewhere?.ready();
    console.log(`listening on ${placeOf(server)}`);
  });
}
