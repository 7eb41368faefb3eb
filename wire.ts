/**
 * Wires: one direction of a connection in memory, on which things arrive in order, late, or not before it is mended;
 * and the conditions that decide when.
 *
 * Runtime-neutral, and pure but for the clock.
 *
 * @module
 */
import { running } from "./context.ts";
import { Deque } from "./mailbox.ts";
import { checkMs, nextTurn, now, setTimer, type Timer } from "./timer.ts";

/** What connections have to bear. All of it may be changed at any time, for what is sent from then on. */
export interface NetworkConditions {
  /**
   * Milliseconds that everything takes, each way. What was sent first still arrives first.
   *
   * @default {0}
   */
  latency: number;
  /**
   * Bytes a second that pass, each way. They arrive in pieces of a tenth of that.
   *
   * @default {Infinity}
   */
  bandwidth: number;
  /**
   * How many bytes a read gives at most.
   *
   * @default {Infinity}
   */
  chunk: number;
  /**
   * Cuts the wires: nothing passes until the result is disposed. What was sent meanwhile arrives then, in order, and
   * who wanted to connect is connected.
   */
  partition(): Disposable;
}

/** The conditions of one connection, or of a network: what is not set is as in `base`. */
export class Conditions implements NetworkConditions {
  readonly #base: Conditions | undefined;
  readonly #mend: () => void;
  #latency: number | undefined;
  #bandwidth: number | undefined;
  #chunk: number | undefined;
  #cuts = 0;

  /** Creates conditions as in `base`; `mend` is called at the end of a partition, perhaps inside another one. */
  constructor(base: Conditions | undefined, mend: () => void) {
    this.#base = base;
    this.#mend = mend;
  }

  /** As in {@linkcode NetworkConditions}. */
  get latency(): number {
    return this.#latency ?? this.#base?.latency ?? 0;
  }

  set latency(ms: number) {
    checkMs("set conditions", "latency", ms);
    if (ms === Infinity) {
      throw new RangeError(`Cannot set conditions: "latency" is endless, partition() is meant`);
    }
    this.#latency = ms;
  }

  /** As in {@linkcode NetworkConditions}. */
  get bandwidth(): number {
    return this.#bandwidth ?? this.#base?.bandwidth ?? Infinity;
  }

  set bandwidth(bytes: number) {
    if (!(bytes > 0)) {
      throw new RangeError(
        `Cannot set conditions: "bandwidth" must be more than 0 bytes a second, got ${bytes}`,
      );
    }
    this.#bandwidth = bytes;
  }

  /** As in {@linkcode NetworkConditions}. */
  get chunk(): number {
    return this.#chunk ?? this.#base?.chunk ?? Infinity;
  }

  set chunk(bytes: number) {
    this.#chunk = checkBytes("set conditions", "chunk", bytes);
  }

  /** Whether nothing passes. */
  get isCut(): boolean {
    return this.#cuts > 0 || this.#base?.isCut === true;
  }

  /** As in {@linkcode NetworkConditions}. */
  partition(): Disposable {
    let isOver = false;
    this.#cuts++;
    return {
      [Symbol.dispose]: () => {
        if (isOver) return;
        isOver = true;
        this.#cuts--;
        this.#mend();
      },
    };
  }
}

/**
 * Checks a number of bytes.
 *
 * @throws {RangeError} If it is neither a positive integer nor `Infinity`; `what` says what cannot be done.
 */
export function checkBytes(what: string, option: string, bytes: number): number {
  if (bytes === Infinity || (Number.isSafeInteger(bytes) && bytes > 0)) return bytes;
  throw new RangeError(`Cannot ${what}: "${option}" must be a positive integer, got ${bytes}`);
}

/** Something on its way. */
interface Packet {
  /** When it arrives at the earliest. */
  readonly at: number;
  /** What happens then. */
  readonly arrive: () => void;
}

/**
 * One direction of a connection.
 *
 * Nothing arrives within the call that sends it: what takes no time takes a turn of the event loop, as with sockets.
 */
export class Wire {
  readonly #conditions: Conditions;
  readonly #onArrival: () => void;
  // In the order in which they were sent: who is faster than one before waits behind it.
  #packets = new Deque<Packet>();
  #freeAt = 0; // when the last of what was sent has left
  #isAwaiting = false;
  #timer: Timer | undefined;
  #isDown = false;

  /** Creates a wire that carries as `conditions` say, and calls `onArrival` when all that is due has arrived. */
  constructor(conditions: Conditions, onArrival: () => void) {
    this.#conditions = conditions;
    this.#onArrival = onArrival;
  }

  /** Sends bytes, in pieces if they take time: `arrive` gets each piece when it is there. */
  sendBytes(bytes: Uint8Array, arrive: (piece: Uint8Array) => void): void {
    const { bandwidth } = this.#conditions;
    const size = bandwidth === Infinity ? bytes.length : Math.max(1, Math.floor(bandwidth / 10));
    for (let at = 0; at < bytes.length; at += size) {
      const piece = bytes.subarray(at, at + size);
      this.send(() => arrive(piece), piece.length);
    }
  }

  /** Sends something of the size of `size` bytes: `arrive` is called when it is there. */
  send(arrive: () => void, size = 0): void {
    if (this.#isDown) return;
    const { latency, bandwidth } = this.#conditions;
    this.#freeAt = Math.max(this.#freeAt, now()) + (1000 * size) / bandwidth;
    this.#packets.push({ at: this.#freeAt + latency, arrive });
    this.go();
  }

  /** Goes on, where that was impossible before. */
  go(): void {
    const next = this.#packets.first;
    if (next === undefined || this.#isAwaiting || this.#conditions.isCut) return;
    this.#isAwaiting = true;
    if (next.at <= now()) nextTurn(this.#arrive);
    else this.#timer = setTimer(next.at, this.#arrive);
  }

  // In nobody's name: whoever sent is not who receives.
  readonly #arrive = (): void => running.run(undefined, () => this.#arriveAll());

  #arriveAll(): void {
    this.#isAwaiting = false;
    const time = now();
    while (!this.#conditions.isCut && (this.#packets.first?.at ?? Infinity) <= time) {
      this.#packets.shift()!.arrive();
    }
    this.#onArrival();
    this.go();
  }

  /** Loses what is on its way, and all that is sent from now on. */
  takeDown(): void {
    this.#isDown = true;
    this.#timer?.cancel();
    this.#packets = new Deque();
  }
}
