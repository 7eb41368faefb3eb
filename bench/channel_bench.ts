/**
 * The price of channels: ready, waiting, and by `select`.
 *
 *     deno bench --allow-all bench/channel_bench.ts
 *
 * Each case does its operation `N` times, so that the time per iteration divided by `N` is the price of one.
 */
import { Channel, select, Tasklet } from "../mod.ts";
import { BareMailbox } from "./bare.ts";

const N = 1000;

/** Runs both as tasklets until both have ended. */
async function both(a: () => Promise<void>, b: () => Promise<void>): Promise<void> {
  const tasks = [Tasklet.new(a)(), Tasklet.new(b)()];
  for (const task of tasks) await task.join();
}

Deno.bench(`bare mailbox: send + receive × ${N}`, { group: "channel", baseline: true }, async () => {
  const mailbox = new BareMailbox<number>();
  for (let i = 0; i < N; i++) {
    mailbox.send(i);
    await mailbox.receive();
  }
});

Deno.bench(`trySend + tryReceive × ${N}`, { group: "channel" }, () => {
  const channel = new Channel<number>(1);
  for (let i = 0; i < N; i++) {
    channel.trySend(i);
    channel.tryReceive();
  }
});

Deno.bench(`send + receive, neither waits × ${N}`, { group: "channel" }, async () => {
  const channel = new Channel<number>(1);
  for (let i = 0; i < N; i++) {
    await channel.send(i);
    await channel.receive();
  }
});

Deno.bench(`send + receive, each waits for the other × ${N}`, { group: "channel" }, async () => {
  const channel = new Channel<number>();
  await both(async () => {
    for (let i = 0; i < N; i++) await channel.send(i);
  }, async () => {
    for (let i = 0; i < N; i++) await channel.receive();
  });
});

Deno.bench(`send + for await, through a buffer of 100 × ${N}`, { group: "channel" }, async () => {
  const channel = new Channel<number>(100);
  await both(async () => {
    for (let i = 0; i < N; i++) await channel.send(i);
    channel.close();
  }, async () => {
    for await (const _ of channel);
  });
});

Deno.bench(`trySend + select of two, one ready × ${N}`, { group: "channel" }, async () => {
  const channels = { a: new Channel<number>(1), b: new Channel<number>(1) };
  for (let i = 0; i < N; i++) {
    (i % 2 === 0 ? channels.a : channels.b).trySend(i);
    await select(channels);
  }
});

Deno.bench(`send + select of two, waiting × ${N}`, { group: "channel" }, async () => {
  const channels = { a: new Channel<number>(), b: new Channel<number>() };
  await both(async () => {
    for (let i = 0; i < N; i++) await (i % 2 === 0 ? channels.a : channels.b).send(i);
  }, async () => {
    for (let i = 0; i < N; i++) await select(channels);
  });
});
