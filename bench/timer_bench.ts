/**
 * The price of time: sleeping, timeouts, deadlines.
 *
 *     deno bench --allow-all bench/timer_bench.ts
 *
 * Each case does its operation `N` times, so that the time per iteration divided by `N` is the price of one.
 */
import { Tasklet, Timeout } from "../mod.ts";

const N = 1000;
const LONG = 60_000; // milliseconds

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** The usual way, but not leaving the timer behind. */
async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<never>((_, reject) => timer = setTimeout(reject, ms));
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}

Deno.bench(`setTimeout: ${N} sleep a millisecond at once`, { group: "sleep", baseline: true }, async () => {
  await Promise.all(Array.from({ length: N }, () => sleep(1)));
});

Deno.bench(`Tasklet.sleep: ${N} sleep a millisecond at once`, { group: "sleep" }, async () => {
  await Promise.all(Array.from({ length: N }, () => Tasklet.sleep(1)));
});

Deno.bench(`setImmediate × ${N}`, { group: "turn", baseline: true }, async () => {
  for (let i = 0; i < N; i++) await new Promise(setImmediate);
});

Deno.bench(`Tasklet.yield × ${N}`, { group: "turn" }, async () => {
  await Tasklet.new(async () => {
    for (let i = 0; i < N; i++) await Tasklet.yield();
  })().join();
});

Deno.bench(`Promise.race with setTimeout × ${N}`, { group: "timeout", baseline: true }, async () => {
  for (let i = 0; i < N; i++) await within(LONG, Promise.resolve(i));
});

Deno.bench(`Tasklet.wait with a timeout × ${N}`, { group: "timeout" }, async () => {
  await Tasklet.new(async () => {
    for (let i = 0; i < N; i++) await Tasklet.wait(Promise.resolve(i), { timeout: LONG });
  })().join();
});

Deno.bench(`setTimeout + clearTimeout × ${N}`, { group: "deadline", baseline: true }, () => {
  for (let i = 0; i < N; i++) clearTimeout(setTimeout(() => {}, LONG));
});

Deno.bench(`using Timeout.push × ${N}`, { group: "deadline" }, async () => {
  await Tasklet.new(() => {
    for (let i = 0; i < N; i++) {
      using _ = Timeout.push(LONG);
    }
  })().join();
});

Deno.bench(`using Timeout.push inside of four others × ${N}`, { group: "deadline" }, async () => {
  await Tasklet.new(() => {
    using outer = new DisposableStack();
    for (let i = 0; i < 4; i++) outer.use(Timeout.push(LONG));
    for (let i = 0; i < N; i++) {
      using _ = Timeout.push(LONG);
    }
  })().join();
});
