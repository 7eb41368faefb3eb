/**
 * A directory of users, who register, list each other, and chat.
 *
 *     deno run --allow-net=localhost:9020 examples/directory.ts
 *     deno run --allow-net=localhost examples/directory.ts --simulate --duration 30
 *
 * Then `nc localhost 9020` and `register,Jane`, `list,all`, `chat,Jane` or `chat,Jane,How are you?`.
 *
 * A command ends at a newline, or with the chunk in which it was received; its reply ends as the command did.
 *
 * @module
 */
import { printable, type Server, type Socket, Tasklet } from "../mod.ts";
import { isName, looksOf, program, quote, text, wholeNumber } from "./cli.ts";
import { placeOf, serve, serverFlags, type ServerOptions, serverOptions } from "./server.ts";
import { Client, MSG_QUIT } from "./client.ts";
import { cut, LONGEST_COMMAND, MSG_COMMAND, readCommands } from "./commands.ts";
import { namesOf, simulate } from "./users.ts";

export type { ServerOptions } from "./server.ts";

type User = { readonly client: Client; name?: string };

/** Starts the directory server. */
export function directory({ maxLine = LONGEST_COMMAND, ...options }: ServerOptions = {}): Server {
  const { log = () => {} } = options;
  const users = new Map<string, User>();
  const looks = new Set<string>(); // of their names

  async function handle(socket: Socket): Promise<void> {
    const client = new Client(
      socket,
      options,
      (reader, task) => readCommands(reader, task, maxLine, options.linePace),
    );
    const user: User = { client };
    try {
      for await (const msg of Tasklet.receive()) {
        if (msg.match(MSG_QUIT)) break;
        if (!msg.match(MSG_COMMAND)) continue;
        const reply = answer(user, ...msg.args);
        if (reply !== undefined) client.write(msg.args[1] ? `${reply}\n` : reply);
      }
    } finally {
      if (user.name !== undefined) {
        users.delete(user.name);
        looks.delete(looksOf(user.name));
      }
      await client.close();
    }
  }

  function answer(user: User, command: string, isFramed: boolean): string | undefined {
    const [verb, rest] = cut(command);
    if (rest === undefined) return "error: a command is a word, a comma, and what it is about";
    if (verb === "register") return register(user, rest.trim());
    if (verb === "list") return [...users.keys()].join(",");
    if (verb === "chat") return chat(user, rest, isFramed);
    return `error: there is no command ${quote(verb)}`;
  }

  function register(user: User, name: string): string {
    if (user.name !== undefined) return `error: you are registered as ${user.name}`;
    if (!isName(name) || name.includes(",")) return "error: a name is 1 to 32 characters, without a comma";
    if (looks.has(looksOf(name))) return `error: the name ${name} is taken`;
    users.set(name, user);
    looks.add(looksOf(name));
    user.name = name;
    log(`${name} registered`);
    return "ack";
  }

  function chat(from: User, rest: string, isFramed: boolean): string | undefined {
    const [to, text = "hi"] = cut(rest);
    const receiver = users.get(to);
    receiver?.client.writeLine(`${from.name ?? "unknown"} says ${printable(text)}`);
    if (receiver !== undefined) return undefined;
    log(`No user by the name <${quote(to).slice(1, -1)}>`);
    return isFramed ? `error: there is no user by the name ${quote(to)}` : undefined;
  }

  return serve(options, 9020, handle);
}

if (import.meta.main) {
  const flags = {
    ...serverFlags(9020),
    "max-line": wholeNumber("bytes that a command may have", LONGEST_COMMAND, 1, LONGEST_COMMAND),
    simulate: { about: "also run users, who chat with each other" },
    users: {
      ...text("NAMES", "who they are, with commas between", "Jane,Zak,Abhishek,Natasha"),
      with: "simulate",
    },
    duration: { ...wholeNumber("seconds for which they chat", 30, 0, 1_000_000), with: "simulate" },
  };
  program({ name: "directory", about: "A directory of users, who chat.", flags }, async (values) => {
    const names = namesOf(values.users);
    const options = await serverOptions(values);
    await using server = directory(options);
    console.log(`listening on ${placeOf(server)}`);
    if (!values.simulate) return await Tasklet.suspend(() => {}, { what: "for a signal" });
    const address = options.unix !== undefined ? { path: options.unix } : { ...options, port: server.port };
    await simulate(address, { names, seconds: values.duration, log: options.log });
  });
}
