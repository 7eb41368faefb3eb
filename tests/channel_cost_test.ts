/**
 * What a channel costs: turns of the event loop, time and memory.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { setImmediate } from "node:timers";
import { Channel } from "../channel.ts";
import { Tasklet } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { timerCount } from "../timer.ts";
import { collectGarbage, growth } from "./garbage.ts";

const MIB = 2 ** 20;

// ------------------------------------------------------------------------------------------------
// Fairness, cost, memory

Deno.test("Channel lets the event loop have a turn after at most 256 deliveries, waiting or ready", async () => {
  const [there, back, own] = [new Channel<number>(), new Channel<number>(), new Channel<number>(1)];
  let rounds = 0;
  const bodies = [
    async () => {
      for (;; rounds++) {
        await there.send(rounds);
        await back.receive();
      }
    },
    async () => {
      for await (const n of there) await back.send(n);
    },
    async () => {
      for (;; rounds++) {
        await own.send(1);
        await own.receive();
      }
    },
  ];
  for (const pair of [bodies.slice(0, 2), bodies.slice(2)]) {
    const tasks = pair.map((body) => Tasklet.new(body)());
    const counts: number[] = [];
    rounds = 0;
    for (let i = 0; i < 20; i++) {
      const before = rounds;
      await new Promise<void>((resolve) => setImmediate(resolve));
      counts.push(rounds - before);
    }
    await Promise.all(tasks.map((task) => task.kill()));
    assert(counts.every((count) => count <= 256), `rounds between turns: ${counts}`);
    assert(rounds > 0, "they go on");
  }
});

Deno.test({
  name: "Channel: Cost: a hundred thousand waits end in the middle of the line, and leave nothing behind",
  timeout: 60_000,
  fn: async () => {
    await using time = virtualTime();
    const N = 100_000;
    const channel = new Channel<number>();
    const waitFor = async (wait: (timeout: number) => Promise<unknown>) => {
      let ended = 0;
      const end = () => void ended++;
      // Those in the odd places end first, and the newest of them before the oldest.
      for (let i = 0; i < N; i++) wait(i % 2 === 1 ? 1 + (N - i) / N : 1000).then(undefined, end);
      assertEquals(Math.abs(channel.balance), N);
      await time.advance(10);
      assertEquals([ended, Math.abs(channel.balance)], [N / 2, N / 2]);
      await time.advance(1000);
      assertEquals([ended, channel.balance, timerCount()], [N, 0, 0]);
    };
    await waitFor((timeout) => channel.receive({ timeout: timeout / 2 })); // makes what is kept for ever
    const left = await growth(async () => {
      await waitFor((timeout) => channel.receive({ timeout }));
      await waitFor((timeout) => channel.send(1, { timeout }));
    });
    assert(left < MIB, `${left} bytes are left`);
  },
});

Deno.test("Channel: a million values through a buffer leave nothing behind", async () => {
  const channel = new Channel<{ n: number }>(1000);
  const left = await growth(async () => {
    const sender = Tasklet.new(async () => {
      for (let n = 0; n < 1_000_000; n++) await channel.send({ n });
    })();
    for (let n = 0; n < 1_000_000; n++) assert((await channel.receive()).n === n);
    await sender.join();
  });
  assert(left < MIB, `${left} bytes are left`);
  assertEquals(channel.stats, {
    sent: 1_000_000,
    received: 1_000_000,
    largestBalance: channel.stats.largestBalance,
    smallestBalance: channel.stats.smallestBalance,
  });
});

Deno.test("Channel holds on to nothing that it has given away, nor to what a sender took back", async () => {
  await using time = virtualTime();
  const channels = [new Channel<object>(), new Channel<object>(3)];
  const refs = await Tasklet.new(async () => {
    const refs: WeakRef<object>[] = [];
    const value = () => {
      const made = {};
      refs.push(new WeakRef(made));
      return made;
    };
    for (const channel of channels) {
      const sent = [1, 2, 3, 4, 5].map(() => channel.send(value(), { timeout: 10 }).catch(() => {}));
      for (let i = 0; i < 4; i++) await channel.receive();
      await time.advance(20);
      await Promise.all(sent);
      while (channel.tryReceive() !== undefined);
    }
    return refs;
  })().join();
  await new Promise<void>((resolve) => setImmediate(resolve)); // a WeakRef keeps its target for the turn it was made in
  collectGarbage();
  assertEquals([refs.length, refs.filter((ref) => ref.deref() !== undefined).length], [10, 0]);
  assertEquals(channels.map((channel) => channel.balance), [0, 0]);
});
