/**
 * nact: actors that are functions of a state and a message.
 *
 * @module
 */
import { dispatch, query, type Ref, spawn, spawnStateless, start, stop } from "nact";
import { type Peer, RING } from "./peer.ts";

type Ask = { n: number; sender: Ref<number> };

const system = start();
let count = 0; // the names it makes up are random numbers, of which two may be the same

/** `dispatch` and `query`, as there is nothing else. Stateless actors, except that the state of one is what is counted. */
export const peer: Peer = {
  async oneWay(n) {
    const { promise, resolve } = Promise.withResolvers<void>();
    let left = n;
    const receiver = spawnStateless(system, (_: number) => {
      if (--left === 0) resolve();
    });
    for (let i = 0; i < n; i++) dispatch(receiver, i);
    await promise;
    stop(receiver);
  },

  // It wants a timeout.
  async call(n) {
    const server = spawnStateless(system, ({ n, sender }: Ask) => dispatch(sender, n + 1));
    for (let i = 0; i < n; i++) await query(server, (sender: Ref<number>) => ({ n: i, sender }), 10_000);
    stop(server);
  },

  async hop(n) {
    const { promise, resolve } = Promise.withResolvers<void>();
    const ring: Ref<number>[] = [];
    for (let i = 0; i < RING; i++) {
      ring.push(spawnStateless(system, (left: number) => {
        if (left === 0) resolve();
        else dispatch(ring[(i + 1) % RING]!, left - 1);
      }));
    }
    dispatch(ring[0]!, n);
    await promise;
    ring.forEach(stop);
  },

  // An actor has no end of its own: it is stopped, and tells so.
  async spawnJoin(n) {
    for (let i = 0; i < n; i++) {
      const { promise, resolve } = Promise.withResolvers<void>();
      stop(spawn(system, () => i, `stopped-${count++}`, { afterStop: () => resolve() }));
      await promise;
    }
  },

  async park(n) {
    const actors = Array.from({ length: n }, () => spawnStateless(system, () => {}, `parked-${count++}`));
    await Promise.resolve();
    return actors;
  },
};
