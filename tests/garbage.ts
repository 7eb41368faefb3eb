/**
 * The garbage collector, called by tests of what is kept in memory.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import v8 from "node:v8";
import vm from "node:vm";

/** Collects garbage. There is no switch for `gc` in a test's file, but the flag can be set while the program runs. */
export function collectGarbage(): void {
  v8.setFlagsFromString("--expose-gc");
  (vm.runInNewContext("gc") as () => void)();
}

/** How many bytes more are in use after `f` than before. */
export async function growth(f: () => unknown): Promise<number> {
  collectGarbage();
  const before = Deno.memoryUsage().heapUsed;
  await f();
  await new Promise<void>((resolve) => setImmediate(resolve));
  collectGarbage();
  return Deno.memoryUsage().heapUsed - before;
}
