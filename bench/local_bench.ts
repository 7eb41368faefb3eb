/**
 * The price of task locals, beside the runtime's own asynchronous context.
 *
 *     deno bench --allow-all bench/local_bench.ts
 *
 * Each case does its operation `N` times, so that the time per iteration divided by `N` is the price of one.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { Tasklet, TaskLocal } from "../mod.ts";

const N = 1000;
const storage = new AsyncLocalStorage<string>();
const user = new TaskLocal("nobody");

/** Runs `body` as a tasklet until it has ended. */
async function inTasklet(body: () => void): Promise<void> {
  await Tasklet.new(body)().join();
}

Deno.bench(`AsyncLocalStorage.getStore × ${N}`, { group: "local: get", baseline: true }, () => {
  storage.run("Jane", () => {
    for (let i = 0; i < N; i++) storage.getStore();
  });
});

Deno.bench(`TaskLocal.get × ${N}`, { group: "local: get" }, async () => {
  await inTasklet(() => {
    using _ = user.set("Jane");
    for (let i = 0; i < N; i++) user.get();
  });
});

Deno.bench(`TaskLocal.get × ${N}, set before ten others`, { group: "local: get" }, async () => {
  await inTasklet(() => {
    using stack = new DisposableStack();
    stack.use(user.set("Jane"));
    for (let i = 0; i < 10; i++) stack.use(new TaskLocal(0).set(i));
    for (let i = 0; i < N; i++) user.get();
  });
});

Deno.bench(`AsyncLocalStorage.run × ${N}`, { group: "local: set", baseline: true }, () => {
  for (let i = 0; i < N; i++) storage.run("Jane", () => {});
});

Deno.bench(`using TaskLocal.set × ${N}`, { group: "local: set" }, async () => {
  await inTasklet(() => {
    for (let i = 0; i < N; i++) {
      using _ = user.set("Jane");
    }
  });
});
