/**
 * The price of waiting for one of several things: messages, channels, time.
 *
 *     deno bench --allow-all bench/select_bench.ts
 *
 * Each case does its operation `N` times, so that the time per iteration divided by `N` is the price of one. What has
 * only channels is in `channel_bench.ts`.
 */
import { after, Channel, Message, messages, select, Tasklet } from "../mod.ts";
import { BareMailbox } from "./bare.ts";

const N = 1000;

class MSG_ITEM extends Message("MSG_ITEM")<[n: number]> {}

// A race of mailboxes would lose what comes to those that lose: what they have must go into one.
Deno.bench(`bare mailbox: one for all × ${N}`, { group: "select", baseline: true }, async () => {
  const mailbox = new BareMailbox<number>();
  const receiver = (async () => {
    for (let i = 0; i < N; i++) await mailbox.receive();
  })();
  for (let i = 0; i < N; i++) {
    mailbox.send(i);
    await Promise.resolve();
  }
  await receiver;
});

Deno.bench(`receiveOne × ${N}`, { group: "select" }, async () => {
  await taking(() => Tasklet.receiveOne());
});

Deno.bench(`select: messages or a channel × ${N}`, { group: "select" }, async () => {
  const channel = new Channel<number>();
  await taking(() => select({ message: messages(), channel }));
});

Deno.bench(`receiveOne with a timeout × ${N}`, { group: "select" }, async () => {
  await taking(() => Tasklet.receiveOne(undefined, { timeout: 60_000 }));
});

Deno.bench(`select: messages or time × ${N}`, { group: "select" }, async () => {
  await taking(() => select({ message: messages(), late: after(60_000) }));
});

/** A tasklet that waits for each message before it is sent. */
async function taking(take: () => Promise<unknown>): Promise<void> {
  const receiver = Tasklet.new(async () => {
    for (let i = 0; i < N; i++) await take();
  })();
  for (let i = 0; i < N; i++) {
    await Promise.resolve();
    MSG_ITEM.send(receiver)(i);
  }
  await receiver.join();
}
