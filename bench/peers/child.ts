/**
 * A process that measures one operation of one library, and nothing else: its garbage and its optimised code are its own.
 *
 *     child.ts LIBRARY peer|usual OPERATION
 *
 * It warms up, says "ready" ("none" if the library has no such operation), and then takes one reading for each line on
 * stdin: nanoseconds for one operation, or bytes for one parked task.
 *
 * @module
 */
import process from "node:process";
import { TextLineStream } from "@std/streams";
import type { Peer, PeerModule } from "./peer.ts";

const WARM_UP = 500; // milliseconds
const READING = 150; // milliseconds, at least

// How many make one go. Bursts are short enough to stay in the cache, rings and parked tasks enough for setting up not
// to count.
const COUNTS: Record<keyof Peer, number> = {
  oneWay: 1000,
  call: 1000,
  hop: 20_000,
  spawnJoin: 1000,
  park: 10_000,
};

const [library, form, name] = Deno.args as [string, keyof PeerModule, keyof Peer];
const kept: unknown[] = []; // all that was ever parked here, so that nothing but the new ones counts
const { gc: collect } = globalThis as unknown as { gc: () => void }; // --expose-gc
const module: PeerModule = await import(`./${library}.ts`);
const operation = module[form]?.[name];
if (operation === undefined) console.log("none");
else await serve(name === "park" ? () => bytesEach(operation) : await timer(operation));

async function serve(read: () => Promise<number>): Promise<void> {
  const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
  console.log("ready");
  for await (const _ of lines) console.log(await read());
}

async function timer(operation: (n: number) => Promise<unknown>): Promise<() => Promise<number>> {
  await nanosecondsEach(operation, WARM_UP);
  return () => nanosecondsEach(operation, READING);
}

async function nanosecondsEach(operation: (n: number) => Promise<unknown>, atLeast: number): Promise<number> {
  // No collection before: a forced one throws optimised code away, too, and a call takes twice as long afterwards.
  const n = COUNTS[name];
  let goes = 0;
  const start = performance.now();
  let elapsed = 0;
  do {
    await operation(n);
    goes++;
    elapsed = performance.now() - start;
  } while (elapsed < atLeast);
  return 1e6 * elapsed / (goes * n);
}

async function bytesEach(park: (n: number) => Promise<unknown>): Promise<number> {
  const before = await heapUsed();
  kept.push(await park(COUNTS.park));
  return (await heapUsed() - before) / COUNTS.park;
}

// What was done in the last turns may still hold on to something.
async function heapUsed(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    collect();
  }
  return process.memoryUsage().heapUsed;
}
