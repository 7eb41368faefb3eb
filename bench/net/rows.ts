/**
 * What is measured: each row is a load, and the servers that get it in turn.
 *
 * @module
 */
import { chatLoad, type ChatShape } from "./chat_load.ts";
import type { Child } from "./child.ts";
import { churnLoad } from "./churn_load.ts";
import { echoLoad, type EchoShape } from "./echo_load.ts";
import { idleLoad } from "./idle_load.ts";
import type { Reading } from "./reading.ts";

/** A server that takes part. */
export interface Rival {
  /** How it is called in the table. */
  readonly name: string;
  /** How it is started. */
  readonly command: readonly string[];
  /** Whether it is only there to compare with other runtimes. */
  readonly isPeer?: boolean;
}

/** One load, and who gets it. */
export interface Row {
  /** What `--only` calls it. */
  readonly name: string;
  /** What it is, for people. */
  readonly about: string;
  /** What is counted: things a second, or bytes each. */
  readonly unit: "per second" | "bytes";
  /** The first one is what the others are compared with. */
  readonly rivals: readonly Rival[];
  /** Whether each reading wants a server that has served nobody. */
  readonly isFresh?: boolean;
  /** Loads a server and takes a reading. */
  readonly load: (server: Child, seconds: number) => Promise<Reading>;
}

/** The rows, where `idle` connections do nothing for `still` seconds. */
export function rowsOf(idle: number, still: number): readonly Row[] {
  return [
    chat("chat-64", { clients: 50, senders: 5, window: 64, length: LINE }),
    chat("chat-1", { clients: 50, senders: 5, window: 1, length: LINE }),
    chat("chat-200", { clients: 200, senders: 1, window: 16, length: LINE }),
    echo("echo-1", { connections: 1, depth: 1, size: 64 }),
    echo("echo-50", { connections: 50, depth: 16, size: 64 }),
    echo("echo-16k", { connections: 50, depth: 16, size: 16_384 }),
    {
      name: "lines",
      about: `lines echoed: ${shapeOf(LINES)}`,
      unit: "per second",
      rivals: LINE_RIVALS,
      load: (server, seconds) => echoLoad(server, seconds, LINES),
    },
    {
      name: "idle",
      about: `chat, ${idle} idle connections, after ${still} s: each`,
      unit: "bytes",
      rivals: CHAT_RIVALS,
      isFresh: true,
      load: (server) => idleLoad(server, still, idle),
    },
    {
      name: "churn",
      about: `chat: connect, greeting, line, quit; ${AT_ONCE} at once`,
      unit: "per second",
      rivals: CHAT_RIVALS,
      load: (server, seconds) => churnLoad(server, seconds, AT_ONCE),
    },
  ];
}

const LINE = 32; // bytes
const AT_ONCE = 8;
const LINES: EchoShape = { connections: 50, depth: 16, size: 64 };

const NETWORK = ["--port", "0", "--hostname", "127.0.0.1", "--quiet"];

const CHAT_RIVALS: readonly Rival[] = [
  { name: "raw", command: deno("bench/net/raw_chat.ts") },
  { name: "chat.ts", command: deno("examples/chat.ts", ...NETWORK) },
  { name: "Node net", command: ["node", "bench/net/node_chat.mjs"], isPeer: true },
  { name: "asyncio", command: ["python3", "bench/net/asyncio_chat.py"], isPeer: true },
];

const ECHO_RIVALS: readonly Rival[] = [
  { name: "raw", command: deno("bench/net/raw_echo.ts") },
  { name: "echo.ts --raw", command: deno("examples/echo.ts", ...NETWORK, "--raw") },
  { name: "Node net", command: ["node", "bench/net/node_echo.mjs"], isPeer: true },
  { name: "asyncio", command: ["python3", "bench/net/asyncio_echo.py"], isPeer: true },
];

const LINE_RIVALS: readonly Rival[] = [
  { name: "Node readline", command: ["node", "bench/net/node_readline.mjs"] },
  { name: "Node for await", command: ["node", "bench/net/node_readline.mjs", "iterate"] },
  { name: "Deno by pipes", command: deno("bench/net/pipes_echo.ts") },
  { name: "echo.ts --lines", command: deno("examples/echo.ts", ...NETWORK, "--lines") },
];

function deno(...args: readonly string[]): readonly string[] {
  return [Deno.execPath(), "run", "--quiet", "--allow-net", ...args];
}

function chat(name: string, shape: ChatShape): Row {
  const { clients, senders, window } = shape;
  return {
    name,
    about: `chat, ${clients} clients, ${senders} sending, window ${window}`,
    unit: "per second",
    rivals: CHAT_RIVALS,
    load: (server, seconds) => chatLoad(server, seconds, shape),
  };
}

function echo(name: string, shape: EchoShape): Row {
  return {
    name,
    about: `echo, ${shapeOf(shape)}`,
    unit: "per second",
    rivals: ECHO_RIVALS,
    load: (server, seconds) => echoLoad(server, seconds, shape),
  };
}

function shapeOf({ connections, depth, size }: EchoShape): string {
  const block = size < 1024 ? `${size} B` : `${size / 1024} KB`;
  return `${connections} ${connections === 1 ? "connection" : "connections"}, depth ${depth}, ${block}`;
}
