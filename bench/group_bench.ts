/**
 * The price of groups: joining, sending to all, the first answer.
 *
 *     deno bench --allow-all bench/group_bench.ts
 *
 * Each case does its operation `N` times, so that the time per iteration divided by `N` is the price of one.
 */
import { Group, Message, type Self, Tasklet } from "../mod.ts";
import { BareMailbox } from "./bare.ts";

const N = 1000;
const MEMBERS = 10;

class MSG_ASK extends Message("MSG_ASK")<[n: number], number> {}

async function member(this: Self<MSG_ASK>): Promise<void> {
  for await (const msg of this.receive()) msg.reply(msg.args[0] + 1);
}

const tasks = Array.from({ length: MEMBERS }, () => Tasklet.new(member, { daemon: true })());
const group = new Group<MSG_ASK>();
for (const task of tasks) group.join(task);

type Question = [n: number, answer: (n: number) => void];
const mailboxes = Array.from({ length: MEMBERS }, () => new BareMailbox<Question>());
for (const mailbox of mailboxes) void answer(mailbox);

async function answer(mailbox: BareMailbox<Question>): Promise<void> {
  for (;;) {
    const [n, reply] = await mailbox.receive();
    reply(n + 1);
  }
}

Deno.bench(`Set: add + delete × ${N}`, { group: "group: join", baseline: true }, () => {
  const set = new Set<unknown>();
  for (let i = 0; i < N; i++) {
    set.add(tasks[0]);
    set.delete(tasks[0]);
  }
});

Deno.bench(`Group: join + leave × ${N}`, { group: "group: join" }, () => {
  const other = new Group<MSG_ASK>();
  for (let i = 0; i < N; i++) {
    other.join(tasks[0]!);
    other.leave(tasks[0]!);
  }
});

Deno.bench(`an array: send to ${MEMBERS} × ${N}`, { group: "group: send", baseline: true }, async () => {
  for (let i = 0; i < N; i++) {
    MSG_ASK.send(tasks)(i);
    if (i % 10 === 9) await Promise.resolve(); // or all of it would be queued first
  }
  await MSG_ASK.call(tasks.at(-1)!)(0);
});

Deno.bench(`a group: send to ${MEMBERS} × ${N}`, { group: "group: send" }, async () => {
  for (let i = 0; i < N; i++) {
    MSG_ASK.send(group)(i);
    if (i % 10 === 9) await Promise.resolve();
  }
  await MSG_ASK.call(tasks.at(-1)!)(0);
});

Deno.bench(
  `bare mailboxes: first of ${MEMBERS} × ${N}`,
  { group: "group: call", baseline: true },
  async () => {
    for (let i = 0; i < N; i++) {
      await new Promise<number>((resolve) => {
        for (const mailbox of mailboxes) mailbox.send([i, resolve]);
      });
    }
  },
);

Deno.bench(`Promise.any of ${MEMBERS} calls × ${N}`, { group: "group: call" }, async () => {
  for (let i = 0; i < N; i++) await Promise.any(tasks.map((task) => MSG_ASK.call(task)(i)));
});

Deno.bench(`a group: call × ${N}`, { group: "group: call" }, async () => {
  for (let i = 0; i < N; i++) await MSG_ASK.call(group)(i);
});
