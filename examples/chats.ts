/**
 * What the two chats share: their flags, and how they join others.
 *
 * @module
 */
import { printable, TaskletExit } from "../mod.ts";
import { CannotStartError, type Flag, type Switch, text, type Values, wholeNumber } from "./cli.ts";
import { type ServerFlags, serverFlags, type ServerOptions, serverOptions } from "./server.ts";

/** The flags of a chat, beside those of every server. */
export type ChatFlags = ServerFlags & {
  readonly backlog: Flag<number>;
  readonly "reuse-port": Switch;
  readonly cluster: Flag<string | undefined>;
  readonly room: Flag<string>;
  readonly credentials: Flag<string | undefined>;
};

/** The flags of a chat that listens on `port` unless it is told otherwise. */
export function chatFlags(port: number): ChatFlags {
  return {
    ...serverFlags(port),
    backlog: wholeNumber("lines that may wait for a client whose socket takes nothing", 1000, 1, 1_000_000),
    "reuse-port": { about: "share the port with other processes that do the same" },
    cluster: {
      ...text(
        "URL",
        "NATS that connects several servers: nats://HOST:PORT, or several with commas",
        undefined,
      ),
      defaultText: "none",
    },
    room: {
      ...text("NAME", "which of the rooms in the cluster", "lobby"),
      read: (text) => text !== "" && text.length <= 64 && printable(text) === text ? text : undefined,
      wants: "1 to 64 characters",
      with: "cluster",
    },
    credentials: {
      ...text("FILE", "what to log in to the cluster with: creds, USER:PASSWORD or TOKEN", undefined),
      defaultText: "none",
      with: "cluster",
    },
  };
}

/** What both chats can be told. */
export interface CommonOptions extends ServerOptions {
  /** How many lines may wait for a client whose socket takes nothing. @default {1000} */
  readonly backlog?: number;
}

/** What the flags of a chat say. */
export async function chatOptions(values: Values<ChatFlags>): Promise<Required<CommonOptions>> {
  return { ...await serverOptions(values), backlog: values.backlog, reusePort: values["reuse-port"] };
}

/** Promises what `enter` does; if that fails, the program ends with one line. */
export async function joining<T>(enter: () => Promise<T>): Promise<T> {
  try {
    return await enter();
  } catch (error) {
    if (error instanceof TaskletExit || !(error instanceof Error)) throw error;
    throw new CannotStartError(printable(error.message.split("\n")[0]!), { cause: error });
  }
}
