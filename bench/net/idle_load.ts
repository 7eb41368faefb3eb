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

const QUIET = 1000; // milliseconds that a server gets to become still

/**
 * Measures the memory that `count` idle connections take in a chat server.
 *
 * The server has to be a fresh one: memory that it has once had is not given back soon.
 */
export async function idleLoad(server: Child, count: number): Promise<Reading> {
  const [first] = await openAll(server.port, 1); // so that what is only loaded on demand is there
  await pause(QUIET);
  const before = server.rss;
  const connections = await openAll(server.port, count);
  const greeted = await Promise.all(connections.map((connection) => connection.readText(GREETING)));
  await pause(QUIET);
  const value = (server.rss - before) / count;
  for (const connection of [first!, ...connections]) connection.close();
  const lost = greeted.filter((ok) => !ok).length;
  return { value, cpu: NaN, busy: NaN, loadBusy: NaN, others: NaN, latency: new Histogram(), lost };
}
