/**
 * Effect: fibers, queues and deferred values.
 *
 * What has an `Unsafe` form is called by it where the documentation offers that to code that is synchronous anyway: it is
 * the fastest. `Queue.takeAll` would be faster still, but takes batches; its like here is `Tasklet.pending`.
 *
 * @module
 */
import { Deferred, Effect, Exit, Fiber, Queue } from "effect";
import { type Peer, RING } from "./peer.ts";

/** Each run is one `Effect.runPromise`, so that no operation pays for the way into Effect. */
export const peer: Peer = {
  oneWay: (n) =>
    Effect.runPromise(Effect.gen(function* () {
      const queue = yield* Queue.unbounded<number>();
      const receiver = yield* Effect.forkChild(Effect.gen(function* () {
        for (let i = 0; i < n; i++) yield* Queue.take(queue);
      }));
      for (let i = 0; i < n; i++) Queue.offerUnsafe(queue, i);
      yield* Fiber.join(receiver);
    })),

  // A call is a deferred value in the message.
  call: (n) =>
    Effect.runPromise(Effect.gen(function* () {
      const queue = yield* Queue.unbounded<[number, Deferred.Deferred<number>]>();
      const server = yield* Effect.forkChild(Effect.gen(function* () {
        for (;;) {
          const [asked, answer] = yield* Queue.take(queue);
          Deferred.doneUnsafe(answer, Exit.succeed(asked + 1));
        }
      }));
      for (let i = 0; i < n; i++) {
        const answer = Deferred.makeUnsafe<number>();
        Queue.offerUnsafe(queue, [i, answer]);
        yield* Deferred.await(answer);
      }
      yield* Fiber.interrupt(server);
    })),

  hop: (n) =>
    Effect.runPromise(Effect.gen(function* () {
      const ring: Queue.Queue<number>[] = [];
      for (let i = 0; i < RING; i++) ring.push(yield* Queue.unbounded<number>());
      const end = Deferred.makeUnsafe<void>();
      const members: Fiber.Fiber<never>[] = [];
      for (const [index, queue] of ring.entries()) {
        const next = ring[(index + 1) % RING]!;
        members.push(
          yield* Effect.forkChild(Effect.gen(function* () {
            for (;;) {
              const left = yield* Queue.take(queue);
              if (left === 0) Deferred.doneUnsafe(end, Exit.void);
              else Queue.offerUnsafe(next, left - 1);
            }
          })),
        );
      }
      Queue.offerUnsafe(ring[0]!, n);
      yield* Deferred.await(end);
      yield* Fiber.interruptAll(members);
    })),

  // Started at once, a fiber that need not wait is over before the scheduler has heard of it.
  spawnJoin: (n) =>
    Effect.runPromise(Effect.gen(function* () {
      for (let i = 0; i < n; i++) {
        yield* Fiber.join(yield* Effect.forkChild(Effect.succeed(i), { startImmediately: true }));
      }
    })),

  async park(n) {
    const { promise, resolve } = Promise.withResolvers<void>();
    const fiber = Effect.runFork(Effect.gen(function* () {
      for (let i = 0; i < n; i++) {
        const queue = yield* Queue.unbounded<string>();
        yield* Effect.forkChild(Queue.take(queue), { startImmediately: true });
      }
      resolve();
      return yield* Effect.never;
    }));
    await promise;
    return fiber;
  },
};

/** Offered as an effect; forked as one does, to begin at the next turn of the scheduler. */
export const usual: Peer = {
  oneWay: (n) =>
    Effect.runPromise(Effect.gen(function* () {
      const queue = yield* Queue.unbounded<number>();
      const receiver = yield* Effect.forkChild(Effect.gen(function* () {
        for (let i = 0; i < n; i++) yield* Queue.take(queue);
      }));
      for (let i = 0; i < n; i++) yield* Queue.offer(queue, i);
      yield* Fiber.join(receiver);
    })),

  spawnJoin: (n) =>
    Effect.runPromise(Effect.gen(function* () {
      for (let i = 0; i < n; i++) yield* Fiber.join(yield* Effect.forkChild(Effect.succeed(i)));
    })),
};
