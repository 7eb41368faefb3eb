/**
 * The price of being supervised, beside tasklets that nobody starts again.
 *
 *     deno bench --allow-all bench/supervisor_bench.ts
 *
 * Each case does its operation `N` times, so that the time per iteration divided by `N` is the price of one.
 */
import { Message, type Self, Supervisor, Tasklet } from "../mod.ts";
import { virtualTime } from "../testing.ts";

const N = 1000;

class MSG_ASK extends Message("MSG_ASK")<[n: number], number> {}

async function server(this: Self<MSG_ASK>): Promise<void> {
  for await (const msg of this.receive()) msg.reply(msg.args[0]);
}

Deno.bench(`tasklets: start, call + kill × ${N}`, { group: "start + stop", baseline: true }, async () => {
  const tasks = Array.from({ length: N }, () => Tasklet.new(server)());
  for (const task of tasks) await MSG_ASK.call(task)(1);
  for (const task of tasks.reverse()) await task.kill();
});

Deno.bench(`children: start, call + stop × ${N}`, { group: "start + stop" }, async () => {
  const supervisor = new Supervisor();
  const children = Array.from({ length: N }, (_, i) => supervisor.start({ name: `${i}`, body: server }));
  for (const child of children) await MSG_ASK.call(child)(1);
  await supervisor.stop();
});

Deno.bench(`a tasklet: call × ${N}`, { group: "supervised call", baseline: true }, async () => {
  const task = Tasklet.new(server)();
  for (let i = 0; i < N; i++) await MSG_ASK.call(task)(i);
  await task.kill();
});

Deno.bench(`a child: call × ${N}`, { group: "supervised call" }, async () => {
  const supervisor = new Supervisor();
  const child = supervisor.start({ name: "server", body: server });
  for (let i = 0; i < N; i++) await MSG_ASK.call(child)(i);
  await supervisor.stop();
});

// A loop that does by hand what is left of a restart: the end, a sleep, a new tasklet. Time is virtual, so that nobody
// waits for it, and what each restart prints is not printed.
Deno.bench(`a loop: fails, starts again × ${N}`, { group: "restart", baseline: true }, async () => {
  await using _ = virtualTime();
  await Tasklet.new(async () => {
    for (let i = 0; i < N; i++) {
      await Tasklet.new(() => Promise.reject(FAILURE))().join().catch(() => {});
      await Tasklet.sleep(1);
    }
  })().join();
});

Deno.bench(`a child: fails, is started again × ${N}`, { group: "restart" }, async () => {
  await using _ = virtualTime();
  using _quiet = silence();
  let left = N;
  const { promise, resolve } = Promise.withResolvers<void>();
  const body = (): Promise<void> => {
    if (left-- > 0) return Promise.reject(FAILURE);
    resolve();
    return Tasklet.sleep(60_000);
  };
  const supervisor = new Supervisor({
    intensity: { restarts: 1, within: 0 },
    backoff: { first: 1, factor: 1, jitter: 0 },
  });
  supervisor.start({ name: "failing", body });
  await promise;
  await supervisor.stop();
});

const FAILURE = new Error("on purpose");

function silence(): Disposable {
  const { error } = console;
  console.error = () => {};
  return { [Symbol.dispose]: () => void (console.error = error) };
}
