/**
 * What every library is asked to do, so that all are measured alike.
 *
 * @module
 */

/**
 * A library, by what it can do. What it has nothing for is left out.
 *
 * Each function does its operation `n` times and resolves when all of it is done. It starts what it needs, and leaves
 * nothing behind but what {@linkcode Peer.park} gives.
 */
export interface Peer {
  /** Sends `n` messages in a burst to one task, which takes one after the other. */
  readonly oneWay?: (n: number) => Promise<void>;
  /** Asks one task `n` times, waiting for each answer before it asks again. */
  readonly call?: (n: number) => Promise<void>;
  /** Passes one message on `n` times, round a ring of {@linkcode RING} tasks, of which each waits for it. */
  readonly hop?: (n: number) => Promise<void>;
  /** Starts a task and waits for its end, `n` times, one after the other. */
  readonly spawnJoin?: (n: number) => Promise<void>;
  /** Starts `n` tasks, each of which can be sent to and waits for that; gives what keeps them alive. */
  readonly park?: (n: number) => Promise<unknown>;
}

/** What a library's file exports. */
export interface PeerModule {
  /** The fastest that its documentation knows for each operation. */
  readonly peer: Peer;
  /** What its documentation shows first, where that is something else. */
  readonly usual?: Peer;
}

/** How many tasks make a ring. */
export const RING = 50;
