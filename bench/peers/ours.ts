/** This library. */
import { Message, Tasklet } from "../../mod.ts";
import { type Peer, RING } from "./peer.ts";

class MSG_ITEM extends Message("MSG_ITEM")<[n: number]> {}
class MSG_ASK extends Message("MSG_ASK")<[n: number], number> {}

/** Messages taken in batches; calls and tasklets as the README shows them. */
export const peer: Peer = {
  async oneWay(n) {
    const receiver = Tasklet.new(async () => {
      let left = n;
      for await (const batch of Tasklet.batches()) {
        for (const _ of batch) left--;
        if (left === 0) break;
      }
    })();
    for (let i = 0; i < n; i++) MSG_ITEM.send(receiver)(i);
    await receiver.join();
  },

  async call(n) {
    const server = Tasklet.new(async () => {
      for await (const msg of Tasklet.receive()) if (msg.match(MSG_ASK)) msg.reply(msg.args[0] + 1);
    })();
    const client = Tasklet.new(async () => {
      for (let i = 0; i < n; i++) await MSG_ASK.call(server)(i);
    })();
    await client.join();
    await server.kill();
  },

  async hop(n) {
    const { promise, resolve } = Promise.withResolvers<void>();
    const ring: Tasklet[] = [];
    async function member(index: number): Promise<void> {
      const next = ring[(index + 1) % RING]!;
      for await (const msg of Tasklet.receive()) {
        if (!msg.match(MSG_ITEM)) continue;
        if (msg.args[0] === 0) resolve();
        else MSG_ITEM.send(next)(msg.args[0] - 1);
      }
    }
    for (let i = 0; i < RING; i++) ring.push(Tasklet.new(member)(i));
    MSG_ITEM.send(ring[0]!)(n);
    await promise;
    for (const task of ring) await task.kill();
  },

  async spawnJoin(n) {
    for (let i = 0; i < n; i++) await Tasklet.new(() => i)().join();
  },

  async park(n) {
    const tasks = Array.from({ length: n }, () =>
      Tasklet.new(async () => {
        for await (const msg of Tasklet.receive()) if (msg.match(MSG_ITEM)) return;
      })());
    await Tasklet.yield();
    return tasks;
  },
};

/** Messages taken one by one. */
export const usual: Peer = {
  async oneWay(n) {
    const receiver = Tasklet.new(async () => {
      let left = n;
      for await (const _ of Tasklet.receive()) if (--left === 0) break;
    })();
    for (let i = 0; i < n; i++) MSG_ITEM.send(receiver)(i);
    await receiver.join();
  },
};
