/**
 * A node as a program of its own, for tests that end it, freeze it, or cut it off.
 *
 *     deno run --allow-net cluster_node.ts SERVERS NAME [TIMES]
 *
 * It prints its id once it has the name and is in the group `room`, then what happens to its connection.
 *
 * @module
 */
import { Cluster, type ClusterGroup } from "../cluster.ts";
import { Message, type MessageClass, Tasklet } from "../mod.ts";

const Line: MessageClass<"MSG_LINE"> = Message("MSG_LINE");
const Ask: MessageClass<"MSG_ASK"> = Message("MSG_ASK");

/** To members of the group: a line. */
export class MSG_LINE extends Line<[line: string]> {}
/** To the owner of a name: what is asked. */
export class MSG_ASK extends Ask<[what: "id" | "lines" | "never"], unknown> {}

/** What nodes of the tests send each other. */
export const MESSAGES: readonly [typeof MSG_LINE, typeof MSG_ASK] = [MSG_LINE, MSG_ASK];

/** How fast nodes of the tests notice what happens: soon, but not before a busy machine does. */
export const TIMES = { heartbeat: 250, deadAfter: 3000, reconnectDelay: 50 };

/** A tasklet that answers what it is asked, and collects lines. */
export function answerer(id: string): Tasklet<void> {
  const lines: string[] = [];
  return Tasklet.new(async function answerer() {
    for await (const msg of Tasklet.receive()) {
      if (msg.match(MSG_LINE)) lines.push(msg.args[0]);
      else if (msg.match(MSG_ASK) && msg.args[0] === "id") msg.reply(id);
      else if (msg.match(MSG_ASK) && msg.args[0] === "lines") msg.reply(lines);
      else if (msg.match(MSG_ASK)) msg.defer();
    }
  }, { daemon: true })();
}

/** Says lines in a group, one after the other, each numbered. */
export function say(room: ClusterGroup<MSG_LINE | MSG_ASK>, from: string, count: number): void {
  for (let i = 0; i < count; i++) MSG_LINE.send(room)(`${from} ${i}`);
}

if (import.meta.main) {
  const [servers, name, times = "{}"] = Deno.args;
  const cluster = await Cluster.connect({
    servers: servers!,
    messages: MESSAGES,
    ...TIMES,
    ...JSON.parse(times),
  });
  const events = cluster.events();
  const task = answerer(cluster.node);
  await cluster.register(name!, task);
  cluster.group("room").join(task);
  await cluster.flush();
  console.log(cluster.node);
  for await (const { type } of events) if (type === "connected" || type === "disconnected") console.log(type);
}
