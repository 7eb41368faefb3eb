/**
 * Effection: tasks, queues and signals.
 *
 * @module
 */
import {
  createQueue,
  createSignal,
  each,
  run,
  spawn,
  suspend,
  type Task,
  until,
  withResolvers,
} from "effection";
import { type Peer, RING } from "./peer.ts";

/** A queue of one's own is the fastest: no stream to subscribe to, and `add` is a plain function. */
export const peer: Peer = {
  oneWay: (n) =>
    run(function* () {
      const queue = createQueue<number, void>();
      const receiver = yield* spawn(function* () {
        for (let i = 0; i < n; i++) yield* queue.next();
      });
      for (let i = 0; i < n; i++) queue.add(i);
      yield* receiver;
    }),

  // A call is a resolver in the message.
  call: (n) =>
    run(function* () {
      const queue = createQueue<[number, (n: number) => void], never>();
      const server = yield* spawn(function* () {
        for (;;) {
          const [asked, resolve] = (yield* queue.next()).value;
          resolve(asked + 1);
        }
      });
      for (let i = 0; i < n; i++) {
        const { operation, resolve } = withResolvers<number>();
        queue.add([i, resolve]);
        yield* operation;
      }
      yield* server.halt();
    }),

  hop: (n) =>
    run(function* () {
      const ring = Array.from({ length: RING }, () => createQueue<number, never>());
      const end = withResolvers<void>();
      const members: Task<never>[] = [];
      for (const [index, queue] of ring.entries()) {
        const next = ring[(index + 1) % RING]!;
        members.push(
          yield* spawn(function* () {
            for (;;) {
              const left = (yield* queue.next()).value;
              if (left === 0) end.resolve();
              else next.add(left - 1);
            }
          }),
        );
      }
      ring[0]!.add(n);
      yield* end.operation;
      for (const member of members) yield* member.halt();
    }),

  spawnJoin: (n) =>
    run(function* () {
      for (let i = 0; i < n; i++) {
        yield* yield* spawn(function* () {
          return i;
        });
      }
    }),

  async park(n) {
    const { promise, resolve } = Promise.withResolvers<void>();
    const task = run(function* () {
      for (let i = 0; i < n; i++) {
        const queue = createQueue<string, never>();
        yield* spawn(() => queue.next());
      }
      resolve();
      yield* suspend();
    });
    await promise;
    return [task]; // itself it is a promise of its end
  },
};

/** A signal, and a loop over what it sends: what its guide shows for events. */
export const usual: Peer = {
  oneWay: (n) =>
    run(function* () {
      const signal = createSignal<number, void>();
      const receiver = yield* spawn(function* () {
        let left = n;
        for (const _ of yield* each(signal)) {
          if (--left === 0) break;
          yield* each.next();
        }
      });
      yield* until(new Promise(setImmediate)); // what nobody has subscribed to yet would be lost
      for (let i = 0; i < n; i++) signal.send(i);
      yield* receiver;
    }),
};
