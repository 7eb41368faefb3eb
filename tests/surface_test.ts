import { assertEquals } from "@std/assert";
import * as mod from "../mod.ts";
import * as channel from "../channel.ts";
import * as group from "../group.ts";
import * as local from "../local.ts";
import * as message from "../message.ts";
import * as net from "../net.ts";
import * as observe from "../observe.ts";
import * as pool from "../pool.ts";
import * as supervisor from "../supervisor.ts";
import * as tasklet from "../tasklet.ts";
import * as timer from "../timer.ts";

/** Every run-time name of `mod.ts`, under the module it comes from. Whoever adds one adds it here. */
const SURFACE: [module: Record<string, unknown>, names: string[]][] = [
  [message, ["Message", "Mailbox", "CallError"]],
  [local, ["TaskLocal"]],
  [timer, ["Timeout", "TimeoutError"]],
  [tasklet, ["Tasklet", "dispatch", "quit", "JoinError", "TaskletExit", "MSG_DOWN"]],
  [channel, ["Channel", "ChannelClosedError", "select", "messages", "after"]],
  [group, ["Group", "MSG_JOINED", "MSG_LEFT"]],
  [pool, ["Pool", "PoolClosedError"]],
  [supervisor, ["Supervisor", "SupervisorError"]],
  [observe, ["observe", "snapshot"]],
  [net, [
    "Server",
    "Socket",
    "BufferedStream",
    "BufferedReader",
    "BufferedWriter",
    "LineTooLongError",
    "UnexpectedEndError",
    "WriteOverflowError",
    "isDisconnect",
    "Pace",
    "removeStaleSocket",
    "printable",
  ]],
];

Deno.test("mod.ts exports exactly the listed names", () => {
  assertEquals(Object.keys(mod).toSorted(), SURFACE.flatMap(([, names]) => names).toSorted());
});

Deno.test("mod.ts exports what its modules export, and makes nothing of its own", () => {
  const surface: Record<string, unknown> = mod;
  const differing: string[] = [];
  for (const [module, names] of SURFACE) {
    for (const name of names) {
      if (surface[name] === undefined || surface[name] !== module[name]) differing.push(name);
    }
  }
  assertEquals(differing, []);
});

Deno.test("deno.json exports entry points that exist", async () => {
  const root = new URL("../", import.meta.url);
  const config = JSON.parse(await Deno.readTextFile(new URL("deno.json", root)));
  const missing: string[] = [];
  for (const [name, path] of Object.entries<string>(config.exports)) {
    const found = await Deno.stat(new URL(path, root)).then((stat) => stat.isFile, () => false);
    if (!found) missing.push(`${name}: ${path}`);
  }
  assertEquals(missing, []);
});
