/**
 * How timers, deadlines and channels scale.
 *
 * @module
 */
import { Channel, select, Tasklet, Timeout } from "../../mod.ts";
import { virtualTime } from "../../testing.ts";
import { type Row, time } from "./row.ts";

/** Rows of time. The clock is virtual, so that nothing is measured but the work. */
export const TIME: readonly Row[] = [
  {
    name: "sleepers",
    about: "tasklets that sleep, each for another time, until all have woken",
    n: 100,
    cost: async (n) => {
      await using _ = virtualTime();
      const task = Tasklet.new(() => {
        for (let i = 0; i < n; i++) Tasklet.new(Tasklet.sleep)(1 + scattered(i, n));
      });
      return await time(() => task().join());
    },
  },
  {
    name: "together",
    about: "tasklets that sleep and wake at the same time",
    n: 100,
    cost: async (n) => {
      await using _ = virtualTime();
      const task = Tasklet.new(() => {
        for (let i = 0; i < n; i++) Tasklet.new(Tasklet.sleep)(10);
      });
      return await time(() => task().join());
    },
  },
  {
    name: "deadlines",
    about: "tasklets, each with a deadline that it sets and takes back 10 times",
    n: 100,
    cost: (n) =>
      time(async () => {
        const deadlines = async (ms: number): Promise<void> => {
          for (let i = 0; i < 10; i++) {
            using _ = Timeout.push(ms);
            await Promise.resolve();
          }
        };
        const tasks = Array.from({ length: n }, (_, i) => Tasklet.new(deadlines)(60_000 + scattered(i, n)));
        for (const task of tasks) await task.join();
      }),
  },
  {
    name: "nested",
    about: "deadlines of one tasklet, each inside the one before",
    n: 100,
    cost: (n) =>
      time(async () => {
        await Tasklet.new(() => {
          using stack = new DisposableStack();
          for (let i = 0; i < n; i++) stack.use(Timeout.push(60_000));
        })().join();
      }),
  },
];

/** Rows of channels. */
export const CHANNELS: readonly Row[] = [
  {
    name: "channel",
    about: "values handed over by a channel without a buffer",
    n: 1000,
    cost: (n) =>
      time(async () => {
        const channel = new Channel<number>();
        const sender = Tasklet.new(async () => {
          for (let i = 0; i < n; i++) await channel.send(i);
        })();
        for (let i = 0; i < n; i++) await channel.receive();
        await sender.join();
      }),
  },
  {
    name: "senders",
    about: "tasklets that wait to send to a channel, then are received from",
    n: 200,
    cost: (n) =>
      time(async () => {
        const channel = new Channel<number>();
        const tasks = Array.from({ length: n }, (_, i) => Tasklet.new(() => channel.send(i))());
        await Tasklet.yield();
        for (let i = 0; i < n; i++) await channel.receive();
        for (const task of tasks) await task.join();
      }),
  },
  {
    name: "selects",
    about: "tasklets that wait for two channels, of which one gets a value for each",
    n: 100,
    cost: (n) =>
      time(async () => {
        const channels = { a: new Channel<number>(), b: new Channel<number>() };
        const tasks = Array.from({ length: n }, () => Tasklet.new(() => select(channels))());
        await Tasklet.yield();
        for (let i = 0; i < n; i++) await channels.b.send(i);
        for (const task of tasks) await task.join();
      }),
  },
  {
    name: "sources",
    about: "channels of which one select takes, the last of them ready, 20 times",
    n: 50,
    cost: async (n) => {
      const channels: Record<string, Channel<number>> = {};
      for (let i = 0; i < n; i++) channels[`channel ${i}`] = new Channel(1);
      const last = channels[`channel ${n - 1}`]!;
      return await time(async () => {
        for (let i = 0; i < 20; i++) {
          last.trySend(i);
          await select(channels);
        }
      });
    },
  },
];

// The numbers from 0 to n - 1 in an order that is none, but the same each time: 7919 is prime to all sizes here.
function scattered(i: number, n: number): number {
  return (i * 7919) % n;
}
