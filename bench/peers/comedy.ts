/**
 * Comedy: actors that are objects, here all in this process ("in-memory", the default mode).
 *
 * @module
 */
import createSystem, { type Actor, type ActorRef } from "comedy";
import { type Peer, RING } from "./peer.ts";

// "test" is what silences its log.
const system = (createSystem as unknown as (options: object) => { rootActor(): Promise<Actor> })({
  test: true,
});
const root = await system.rootActor();

/** `send` without waiting for the promise it gives, as its first example does, and `sendAndReceive`. */
export const peer: Peer = {
  async oneWay(n) {
    const { promise, resolve } = Promise.withResolvers<void>();
    let left = n;
    const receiver = await root.createChild({
      item(_: number) {
        if (--left === 0) resolve();
      },
    });
    for (let i = 0; i < n; i++) void receiver.send("item", i);
    await promise;
    await receiver.destroy();
  },

  async call(n) {
    const server = await root.createChild({ ask: (n: number) => n + 1 });
    for (let i = 0; i < n; i++) await server.sendAndReceive("ask", i);
    await server.destroy();
  },

  async hop(n) {
    const { promise, resolve } = Promise.withResolvers<void>();
    const ring: ActorRef[] = [];
    for (let i = 0; i < RING; i++) {
      ring.push(
        await root.createChild({
          item(left: number) {
            if (left === 0) resolve();
            else void ring[(i + 1) % RING]!.send("item", left - 1);
          },
        }),
      );
    }
    void ring[0]!.send("item", n);
    await promise;
    for (const actor of ring) await actor.destroy();
  },

  // An actor has no end of its own: it is destroyed.
  async spawnJoin(n) {
    for (let i = 0; i < n; i++) await (await root.createChild({ item() {} })).destroy();
  },

  async park(n) {
    const actors: ActorRef[] = [];
    for (let i = 0; i < n; i++) actors.push(await root.createChild({ item() {} }));
    return actors;
  },
};
