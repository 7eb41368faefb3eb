/**
 * The price of the primitives, beside a bare promise mailbox that guarantees nothing.
 *
 *     deno task bench
 *
 * Each case does its operation `N` times, so that the time per iteration divided by `N` is the price of one.
 */
import { Message, Tasklet } from "../mod.ts";
import { BareMailbox } from "./bare.ts";

const N = 1000;

class MSG_ITEM extends Message("MSG_ITEM")<[n: number]> {}
class MSG_ASK extends Message("MSG_ASK")<[n: number], number> {}

Deno.bench(`bare mailbox: send + receive × ${N}`, { group: "send + receive", baseline: true }, async () => {
  const mailbox = new BareMailbox<number>();
  const receiver = (async () => {
    for (let i = 0; i < N; i++) await mailbox.receive();
  })();
  for (let i = 0; i < N; i++) mailbox.send(i);
  await receiver;
});

Deno.bench(`tasklet: send + receive × ${N}`, { group: "send + receive" }, async () => {
  const receiver = Tasklet.new(async () => {
    let n = 0;
    for await (const _ of Tasklet.receive()) if (++n === N) break;
  })();
  for (let i = 0; i < N; i++) MSG_ITEM.send(receiver)(i);
  await receiver.join();
});

Deno.bench(`tasklet: send + receiveOne × ${N}`, { group: "send + receive" }, async () => {
  const receiver = Tasklet.new(async () => {
    for (let i = 0; i < N; i++) await Tasklet.receiveOne();
  })();
  for (let i = 0; i < N; i++) MSG_ITEM.send(receiver)(i);
  await receiver.join();
});

Deno.bench(`bare mailbox: call + reply × ${N}`, { group: "call + reply", baseline: true }, async () => {
  const mailbox = new BareMailbox<[number, (n: number) => void]>();
  const server = (async () => {
    for (let i = 0; i < N; i++) {
      const [n, reply] = await mailbox.receive();
      reply(n + 1);
    }
  })();
  for (let i = 0; i < N; i++) await new Promise<number>((resolve) => mailbox.send([i, resolve]));
  await server;
});

Deno.bench(`tasklet: call + reply × ${N}`, { group: "call + reply" }, async () => {
  const server = Tasklet.new(async () => {
    for await (const msg of Tasklet.receive()) if (msg.match(MSG_ASK)) msg.reply(msg.args[0] + 1);
  })();
  const client = Tasklet.new(async () => {
    for (let i = 0; i < N; i++) await MSG_ASK.call(server)(i);
  })();
  await client.join();
  await server.kill();
});

Deno.bench(`async function: start + await × ${N}`, { group: "spawn + join", baseline: true }, async () => {
  for (let i = 0; i < N; i++) await (async () => await i)();
});

Deno.bench(`tasklet: spawn + join × ${N}`, { group: "spawn + join" }, async () => {
  for (let i = 0; i < N; i++) await Tasklet.new(() => i)().join();
});
