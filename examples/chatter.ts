/**
 * A chat in which everybody has a handle.
 *
 *     deno run --allow-net=localhost:1980 chatter.ts
 *
 * Then, in several terminals, `telnet localhost 1980`. `/who` lists the handles, `/quit` leaves.
 *
 * @module
 */
import { printable, type Server, type Socket, Tasklet } from "../mod.ts";
import { isName, looksOf, program, wholeNumber } from "./cli.ts";
import { placeOf, serve, serverFlags, type ServerOptions, serverOptions } from "./server.ts";
import { Client, MSG_LINE_READ, MSG_QUIT } from "./client.ts";

export type { ServerOptions } from "./server.ts";

/** What {@linkcode chatter} can be told. */
export interface ChatterOptions extends ServerOptions {
  /** How many lines may wait for a member whose socket takes nothing. @default {1000} */
  readonly backlog?: number;
}

type Member = { readonly handle: string; readonly client: Client };

/** Starts the chat server. */
export function chatter(options: ChatterOptions = {}): Server {
  const { log = () => {} } = options;
  const members = new Map<string, Member>(); // by the looks of their handles

  // A login for each connection; who has not logged in is no member, and hears nothing.
  async function login(socket: Socket): Promise<void> {
    const client = new Client(socket, options);
    let farewell: string | undefined = "server is shutting down";
    try {
      const handle = await handleOf(client);
      if (handle !== undefined) await converse({ handle, client });
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
        // There is no wait between looking and taking, so nobody can come between.
        const looks = looksOf(handle);
        if (!members.has(looks)) return members.set(looks, { handle, client }) && handle;
        client.writeLine("That handle is already taken.");
      }
      client.writeLine("What is your handle?");
    }
    return undefined;
  }

  async function converse({ handle, client }: Member): Promise<void> {
    announce(`${handle} has joined the chat.`);
    try {
      for await (const msg of Tasklet.receive()) {
        if (msg.match(MSG_QUIT)) return;
        if (!msg.match(MSG_LINE_READ)) continue;
        const line = printable(msg.args[0]).trim();
        if (line === "/quit") return;
        else if (line === "/who") {
          client.writeLine([...members.values()].map((member) => member.handle).join(", "));
        } else if (line.startsWith("/")) client.writeLine(`There is no ${line}, only /who and /quit.`);
        else tellAll(`${handle} says: ${line}`);
      }
    } finally {
      members.delete(looksOf(handle));
      announce(`${handle} has left the chat.`);
    }
  }

  function announce(line: string): void {
    log(line);
    tellAll(line);
  }

  function tellAll(line: string): void {
    Client.multicast([...members.values()].map((member) => member.client), [line]);
  }

  return serve(options, 1980, login);
}

if (import.meta.main) {
  const backlog = wholeNumber(
    "lines that may wait for a member whose socket takes nothing",
    1000,
    1,
    1_000_000,
  );
  const flags = { ...serverFlags(1980), backlog };
  program({ name: "chatter", about: "A chat in which everybody has a handle.", flags }, async (values) => {
    const server = chatter({ ...await serverOptions(values), backlog: values.backlog });
    console.log(`listening on ${placeOf(server)}`);
  });
}
