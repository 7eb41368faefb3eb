/**
 * The price of a life: killed, watched, and in the company of others.
 *
 *     deno bench --allow-all bench/life_bench.ts
 *
 * Each case does its operation `N` times, so that the time per iteration divided by `N` is the price of one.
 */
import { Tasklet, TaskletExit } from "../mod.ts";
import { BareMailbox } from "./bare.ts";

const N = 1000;

/** Waits until it is told to stop, by a signal of its own. */
async function aborted(signal: AbortSignal): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>();
  signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  await promise;
}

Deno.bench(`AbortController: abort + await × ${N}`, { group: "kill + join", baseline: true }, async () => {
  for (let i = 0; i < N; i++) {
    const controller = new AbortController();
    const ended = aborted(controller.signal).catch(() => {});
    await Promise.resolve();
    controller.abort(new TaskletExit());
    await ended;
  }
});

Deno.bench(`tasklet: start, kill + await × ${N}`, { group: "kill + join" }, async () => {
  for (let i = 0; i < N; i++) {
    const task = Tasklet.new(() => Tasklet.receiveOne())();
    await Promise.resolve();
    await task.kill();
  }
});

Deno.bench(`tasklet: killed before it has started × ${N}`, { group: "kill + join" }, async () => {
  for (let i = 0; i < N; i++) await Tasklet.new(() => Tasklet.receiveOne())().kill();
});

Deno.bench(`promise: then + bare mailbox × ${N}`, { group: "monitor", baseline: true }, async () => {
  const mailbox = new BareMailbox<number>();
  for (let i = 0; i < N; i++) {
    (async () => await i)().then((n) => mailbox.send(n));
    await mailbox.receive();
  }
});

Deno.bench(`tasklet: start, monitor, MSG_DOWN × ${N}`, { group: "monitor" }, async () => {
  await Tasklet.new(async () => {
    for (let i = 0; i < N; i++) {
      Tasklet.monitor(Tasklet.new(() => i)());
      await Tasklet.receiveOne();
    }
  })().join();
});

Deno.bench(`Promise.all of ${N} async functions`, { group: "many at once", baseline: true }, async () => {
  await Promise.all(Array.from({ length: N }, async (_, i) => await i));
});

Deno.bench(`joinAll of ${N} tasklets`, { group: "many at once" }, async () => {
  await Tasklet.joinAll(Array.from({ length: N }, (_, i) => Tasklet.new(() => i)()));
});

Deno.bench(`a scope with ${N} tasklets`, { group: "many at once" }, async () => {
  await Tasklet.scope(() => {
    for (let i = 0; i < N; i++) Tasklet.new(() => i)();
  });
});

Deno.bench(`Promise.all of two × ${N}`, { group: "scope", baseline: true }, async () => {
  for (let i = 0; i < N; i++) await Promise.all([(async () => await i)(), (async () => await i)()]);
});

Deno.bench(`a scope with two tasklets × ${N}`, { group: "scope" }, async () => {
  for (let i = 0; i < N; i++) {
    await Tasklet.scope(() => {
      Tasklet.new(() => i)();
      Tasklet.new(() => i)();
    });
  }
});
