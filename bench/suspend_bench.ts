/**
 * The price of a wait point, beside the promise that does the same and can neither be killed nor run out of time.
 *
 *     deno bench --allow-all bench/suspend_bench.ts
 *
 * Each case does its operation `N` times, so that the time per iteration divided by `N` is the price of one.
 */
import { Tasklet } from "../mod.ts";

const N = 1000;

/** Runs `body` as a tasklet until it has ended. */
async function inTasklet(body: () => Promise<void>): Promise<void> {
  await Tasklet.new(body)().join();
}

Deno.bench(`new Promise × ${N}`, { group: "suspend", baseline: true }, async () => {
  for (let i = 0; i < N; i++) await new Promise<void>((resolve) => queueMicrotask(resolve));
});

Deno.bench(`Tasklet.suspend × ${N}`, { group: "suspend" }, async () => {
  await inTasklet(async () => {
    for (let i = 0; i < N; i++) await Tasklet.suspend((resume) => queueMicrotask(resume));
  });
});

Deno.bench(`await × ${N}`, { group: "wait", baseline: true }, async () => {
  for (let i = 0; i < N; i++) await Promise.resolve(i);
});

Deno.bench(`Tasklet.wait × ${N}`, { group: "wait" }, async () => {
  await inTasklet(async () => {
    for (let i = 0; i < N; i++) await Tasklet.wait(Promise.resolve(i));
  });
});
