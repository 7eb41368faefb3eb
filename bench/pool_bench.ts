/**
 * The price of a pool, beside an array of what is free.
 *
 *     deno bench --allow-all bench/pool_bench.ts
 *
 * Each case does its operation `N` times, so that the time per iteration divided by `N` is the price of one.
 */
import { Pool, Tasklet } from "../mod.ts";
import { BareMailbox } from "./bare.ts";

const N = 1000;

let count = 0;
const pool = new Pool({ open: () => ++count, max: 2 });
const free = new BareMailbox<number>();
free.send(1);
free.send(2);

Deno.bench(`bare mailbox: receive + send × ${N}`, { group: "pool: free", baseline: true }, async () => {
  for (let i = 0; i < N; i++) free.send(await free.receive());
});

Deno.bench(`using pool.acquire × ${N}`, { group: "pool: free" }, async () => {
  await Tasklet.new(async () => {
    for (let i = 0; i < N; i++) {
      using _ = await pool.acquire();
    }
  })().join();
});

Deno.bench(`pool.use × ${N}`, { group: "pool: free" }, async () => {
  await Tasklet.new(async () => {
    for (let i = 0; i < N; i++) await pool.use((n) => n);
  })().join();
});

Deno.bench(`tasklets alone × ${N}`, { group: "pool: two for all", baseline: true }, async () => {
  const tasks = Array.from({ length: N }, () => Tasklet.new(() => Tasklet.wait(Promise.resolve()))());
  for (const task of tasks) await task.join();
});

Deno.bench(`tasklets that all want one × ${N}`, { group: "pool: two for all" }, async () => {
  const visitor = async (): Promise<void> => {
    using _ = await pool.acquire();
    await Tasklet.wait(Promise.resolve());
  };
  const tasks = Array.from({ length: N }, () => Tasklet.new(visitor)());
  for (const task of tasks) await task.join();
});
