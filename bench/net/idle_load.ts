/**
 * Connections that do nothing: what each costs.
 *
 * @module
 */
import { GREETING } from "./chat_load.ts";
import type { Child } from "./child.ts";
import { openAll } from "./connection.ts";
import { Histogram } from "./histogram.ts";
import { pause, type Reading } from "./reading.ts";

/**
 * Measures the memory that `count` idle connections take in a chat server that has been still for `seconds`, before they
 * came and afterwards: V8 gives back what it does not need when nothing has happened for half a minute.
 *
 * The server has to be a fresh one: memory that it has once had is not all given back.
 */
export async function idleLoad(server: Child, seconds: number, count: number): Promise<Reading> {
  const [first] = await openAll(server.port, 1); // so that what is only loaded on demand is there
  await pause(1000 * seconds);
  const before = server.rss;
  const connections = await openAll(server.port, count);
  const greeted = await Promise.all(connections.map((connection) => connection.readText(GREETING)));
  await pause(1000 * seconds);
  const value = (server.rss - before) / count;
  for (const connection of [first!, ...connections]) connection.close();
  const lost = greeted.filter((ok) => !ok).length;
  return { value, cpu: NaN, busy: NaN, loadBusy: NaN, others: NaN, latency: new Histogram(), lost };
}
