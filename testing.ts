/**
 * Tests of tasklets without sleeping, and of servers without a network.
 *
 * ```ts
 * import { Message, Tasklet } from "@x/concurrence";
 * import { assertQuiet, explore, probe, virtualTime } from "@x/concurrence/testing";
 *
 * class MSG_TICK extends Message("MSG_TICK")<[n: number]> {}
 *
 * async function threeTicks() {
 *   await using listener = probe<MSG_TICK>();
 *   Tasklet.new(async () => {
 *     for (let n = 1; n <= 3; n++) {
 *       await Tasklet.sleep(60_000);
 *       MSG_TICK.send(listener)(n);
 *     }
 *   })();
 *   for (let n = 1; n <= 3; n++) await listener.expect(MSG_TICK, { within: 100_000 });
 *   await listener.expectNothing({ within: 3_600_000 });
 * }
 *
 * await using time = virtualTime();
 * await Tasklet.new(threeTicks)().join(); // an hour, at once
 * console.log(time.now); // 3780000
 * console.log((await explore(threeTicks)).runs); // 100
 * assertQuiet();
 * ```
 *
 * - {@linkcode virtualTime}: time that stands still, and jumps when there is nothing else to do.
 * - {@linkcode explore}: the same program under many orders of wake-up.
 * - {@linkcode probe}: a tasklet that records what it gets.
 * - {@linkcode assertQuiet}: nothing is left.
 * - {@linkcode memoryNetwork}: a network in memory, whose conditions the test decides.
 *
 * Runtime-neutral.
 *
 * @module
 */
export { type Exploration, explore, ExploreError, type ExploreOptions } from "./explore.ts";
export {
  type MemoryConnection,
  type MemoryNetwork,
  memoryNetwork,
  type MemoryNetworkOptions,
  type NetworkConditions,
} from "./memory.ts";
export { type ExpectOptions, Probe, probe, type ProbeOptions } from "./probe.ts";
export { assertQuiet } from "./quiet.ts";
export { type VirtualTime, virtualTime, type VirtualTimeOptions } from "./virtual.ts";
