/**
 * A reading: what one server did under one load for a while, and what that cost.
 *
 * @module
 */
import type { Child } from "./child.ts";
import { Histogram } from "./histogram.ts";
import { CpuTime, cpuTimeOfAll } from "./proc.ts";

/** What a load counts while it runs. */
export class Meter {
  /** How many have been done. */
  done = 0;
  /** How long they took. */
  latency: Histogram = new Histogram();
}

/** What one server did under one load. */
export interface Reading {
  /** What is compared: how many a second; for memory, how many bytes each. */
  readonly value: number;
  /** Nanoseconds of the server's core for each; `NaN` if that cannot be known, or is not what it is about. */
  readonly cpu: number;
  /** Which part of the time the server had its core. */
  readonly busy: number;
  /** Which part of the time the load had its own. A load that is always busy measures itself. */
  readonly loadBusy: number;
  /** How many cores other programs had meanwhile; `NaN` if that cannot be known. */
  readonly others: number;
  /** How long each took. */
  readonly latency: Histogram;
  /** How many were lost, came twice, or came otherwise than they were sent. */
  readonly lost: number;
}

/** Milliseconds without progress, after which what has not come is lost. */
export const PATIENCE = 3000;
const RAMP = 100; // milliseconds before a measurement, in which a load comes to its speed

/** Measures for some seconds what a load that is under way does; `lost` is for the load to say when it is over. */
export async function measure(server: Child, seconds: number, meter: Meter): Promise<Omit<Reading, "lost">> {
  await pause(RAMP);
  meter.latency = new Histogram();
  const before = look(server, meter);
  await pause(1000 * seconds);
  const after = look(server, meter);
  const ms = after.at - before.at;
  const done = after.done - before.done;
  const busy = (after.cpu - before.cpu) / ms / 1e6;
  const loadBusy = (after.load - before.load) / ms / 1e6;
  return {
    value: 1000 * done / ms,
    cpu: done === 0 ? NaN : (after.cpu - before.cpu) / done,
    busy,
    loadBusy,
    others: Math.max(0, (after.all - before.all) / ms / 1e6 - busy - loadBusy),
    latency: meter.latency,
  };
}

const ownTime = new CpuTime(Deno.pid);

function look(server: Child, { done }: Meter) {
  return { at: performance.now(), done, cpu: server.cpu, load: ownTime.now, all: cpuTimeOfAll() };
}

/** Waits some milliseconds. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits until `isDone()`, or until `progress()` has been the same for too long. */
export async function settle(isDone: () => boolean, progress: () => number): Promise<void> {
  let last = progress();
  let since = performance.now();
  while (!isDone() && performance.now() - since < PATIENCE) {
    await pause(5);
    if (!Object.is(progress(), last)) since = performance.now();
    last = progress();
  }
}
