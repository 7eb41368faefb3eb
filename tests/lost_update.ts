/**
 * A program with a lost update, and how to look for it: what tests of `explore()` begin with.
 *
 * @module
 */
import { assertEquals, assertRejects } from "@std/assert";
import { Tasklet } from "../tasklet.ts";
import { explore, ExploreError, type ExploreOptions } from "../testing.ts";

/** The error of an exploration that must fail. */
export async function failure(
  body: () => unknown,
  options: ExploreOptions = { runs: 1000 },
): Promise<ExploreError> {
  return await assertRejects(() => explore(body, options), ExploreError) as ExploreError;
}

/** Each log tells what a run did. */
export const logs: string[][] = [];

/** Two that read, yield and write: one of the two updates is lost if both read first. */
export async function lostUpdate(): Promise<void> {
  const log: string[] = [];
  logs.push(log);
  let total = 0;
  async function increment(name: string) {
    const read = total;
    log.push(`${name} reads ${read}`);
    await Tasklet.yield();
    total = read + 1;
    log.push(`${name} writes ${total}`);
  }
  await Tasklet.joinAll(["a", "b", "c"].map((name) => Tasklet.new(increment)(name)));
  assertEquals(total, 3, "an update was lost");
}
