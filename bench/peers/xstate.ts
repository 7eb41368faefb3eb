/**
 * XState: actors of the lightest kinds, without a state machine. It has no calls: an actor is asked by an event and
 * answers, if at all, by another.
 *
 * @module
 */
import {
  type ActorRefFrom,
  type CallbackActorLogic,
  createActor,
  fromCallback,
  fromPromise,
  fromTransition,
  toPromise,
} from "xstate";
import { type Peer, RING } from "./peer.ts";

type Item = { type: "item"; left: number };

/** `send` runs the receiver in place, unless it runs already: nothing is awaited, and nobody waits. */
export const peer: Peer = {
  async oneWay(n) {
    const { promise, resolve } = Promise.withResolvers<void>();
    const receive = (left: number, _: Item) => {
      if (left === 1) resolve();
      return left - 1;
    };
    const receiver = createActor(fromTransition(receive, n)).start();
    for (let left = n; left > 0; left--) receiver.send({ type: "item", left });
    await promise;
    receiver.stop();
  },

  async hop(n) {
    const { promise, resolve } = Promise.withResolvers<void>();
    const ring: ActorRefFrom<CallbackActorLogic<Item>>[] = [];
    for (let i = 0; i < RING; i++) {
      const logic = fromCallback<Item>(({ receive }) => {
        receive(({ left }) => {
          if (left === 0) resolve();
          else ring[(i + 1) % RING]!.send({ type: "item", left: left - 1 });
        });
      });
      ring.push(createActor(logic).start());
    }
    ring[0]!.send({ type: "item", left: n });
    await promise;
    for (const actor of ring) actor.stop();
  },

  async spawnJoin(n) {
    for (let i = 0; i < n; i++) await toPromise(createActor(fromPromise(() => Promise.resolve(i))).start());
  },

  async park(n) {
    const logic = fromCallback<Item>(({ receive }) => receive(() => {}));
    const actors = Array.from({ length: n }, () => createActor(logic).start());
    await Promise.resolve();
    return actors;
  },
};
