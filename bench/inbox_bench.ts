/**
 * The price of a mailbox: one class among others, batches, many receivers, and who passes a message on.
 *
 *     deno bench --allow-all bench/inbox_bench.ts
 *
 * Each case does its operation `N` times, so that the time per iteration divided by `N` is the price of one.
 */
import { Message, Tasklet } from "../mod.ts";
import { BareMailbox } from "./bare.ts";

const N = 1000;
const RING = 50;

class MSG_ITEM extends Message("MSG_ITEM")<[n: number]> {}
class MSG_RARE extends Message("MSG_RARE")<[n: number]> {}

/* Receive one class. */

Deno.bench(`bare mailbox for each kind × ${N}`, { group: "one class of two", baseline: true }, async () => {
  const [items, rare] = [new BareMailbox<number>(), new BareMailbox<number>()];
  const receiver = (async () => {
    for (let i = 0; i < N; i++) await rare.receive();
  })();
  for (let i = 0; i < N; i++) {
    items.send(i);
    rare.send(i);
  }
  await receiver;
});

Deno.bench(`receiveOne([MSG_RARE]) × ${N}, the others stay`, { group: "one class of two" }, async () => {
  const receiver = Tasklet.new(async () => {
    for (let i = 0; i < N; i++) await Tasklet.receiveOne([MSG_RARE]);
  })();
  for (let i = 0; i < N; i++) {
    MSG_ITEM.send(receiver)(i);
    MSG_RARE.send(receiver)(i);
  }
  await receiver.join();
});

Deno.bench(`receive([MSG_RARE]) × ${N}, the others stay`, { group: "one class of two" }, async () => {
  const receiver = Tasklet.new(async () => {
    let left = N;
    for await (const _ of Tasklet.receive([MSG_RARE])) if (--left === 0) break;
  })();
  for (let i = 0; i < N; i++) {
    MSG_ITEM.send(receiver)(i);
    MSG_RARE.send(receiver)(i);
  }
  await receiver.join();
});

/* Batches. */

Deno.bench(`array: push + for of × ${N}`, { group: "batch", baseline: true }, () => {
  const queue: { n: number }[] = [];
  for (let n = 0; n < N; n++) queue.push({ n });
  let sum = 0;
  for (const { n } of queue) sum += n;
  if (sum !== N * (N - 1) / 2) throw new Error(`Lost something: ${sum}`);
});

Deno.bench(`send + pending × ${N}`, { group: "batch" }, async () => {
  const receiver = Tasklet.new(() => {
    let sum = 0;
    for (const msg of Tasklet.pending()) if (msg.match(MSG_ITEM)) sum += msg.args[0];
    if (sum !== N * (N - 1) / 2) throw new Error(`Lost something: ${sum}`);
  })();
  for (let i = 0; i < N; i++) MSG_ITEM.send(receiver)(i);
  await receiver.join();
});

/* Rings. */

Deno.bench(`bare mailboxes: ring hop × ${N}`, { group: "ring hop", baseline: true }, async () => {
  const ring = Array.from({ length: RING }, () => new BareMailbox<number>());
  const members = ring.map(async (mailbox, i) => {
    const next = ring[(i + 1) % RING]!;
    for (let left = await mailbox.receive();; left = await mailbox.receive()) {
      next.send(left - 1);
      if (left <= 0) return;
    }
  });
  ring[0]!.send(N);
  await Promise.all(members);
});

Deno.bench(
  `tasklets: ring hop × ${N}, with ${RING} tasklets started and ended`,
  { group: "ring hop" },
  async () => {
    const ring: Tasklet[] = [];
    async function member(index: number): Promise<void> {
      const next = ring[(index + 1) % RING]!;
      for await (const msg of Tasklet.receive([MSG_ITEM])) {
        MSG_ITEM.send(next)(msg.args[0] - 1);
        if (msg.args[0] <= 0) return;
      }
    }
    for (let i = 0; i < RING; i++) ring.push(Tasklet.new(member)(i));
    MSG_ITEM.send(ring[0]!)(N);
    for (const task of ring) await task.join();
  },
);

/* Multicast. */

Deno.bench(`bare mailboxes: send to 100 × ${N}`, { group: "multicast", baseline: true }, async () => {
  const mailboxes = Array.from({ length: 100 }, () => new BareMailbox<number>());
  const receivers = mailboxes.map(async (mailbox) => {
    for (let i = 0; i < N; i++) await mailbox.receive();
  });
  for (let i = 0; i < N; i++) {
    for (const mailbox of mailboxes) mailbox.send(i);
    if (i % 10 === 9) await Promise.resolve(); // or all of it would be queued first
  }
  await Promise.all(receivers);
});

Deno.bench(`tasklets: send to 100 × ${N}`, { group: "multicast" }, async () => {
  const receivers = Array.from({ length: 100 }, () =>
    Tasklet.new(async () => {
      for (let i = 0; i < N; i++) await Tasklet.receiveOne();
    })());
  for (let i = 0; i < N; i++) {
    MSG_ITEM.send(receivers)(i);
    if (i % 10 === 9) await Promise.resolve();
  }
  await Tasklet.joinAll(receivers);
});
