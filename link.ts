/**
 * Links: connections in memory, two ends with a wire each way, which behave and fail as those of TCP.
 *
 * Runtime-neutral.
 *
 * @module
 */
import { Deque } from "./mailbox.ts";
import { systemError } from "./net.ts";
import type { Address, Connection, SystemErrorName } from "./network.ts";
import { onAbort } from "./wait.ts";
import { Conditions, type NetworkConditions, Wire } from "./wire.ts";

/** A connection, seen from the network: what can happen to it. What is not set here is as in the network. */
export interface MemoryConnection extends NetworkConditions {
  /** Where the end is that has connected. */
  readonly client: Address;
  /** Where the end is that listens. */
  readonly server: Address;
  /** Breaks it now: what is on its way is lost; both ends read what has arrived, and then meet `ConnectionReset`. */
  reset(): void;
  /**
   * Breaks it when `bytes` further bytes have arrived, both ways together.
   *
   * @throws {RangeError} If `bytes` is no positive integer.
   */
  resetAfter(bytes: number): void;
}

/** What a link connects, and how. */
export interface LinkOptions {
  /** Where the end is that connects. */
  readonly client: Address;
  /** Where it connects to. */
  readonly server: Address;
  /** How many bytes may be on their way or unread, each way. */
  readonly window: number;
  /** How many of `n` bytes are read or written at once. */
  readonly portion: (n: number) => number;
  /** Called when it is no connection any more. */
  readonly onDown: () => void;
}

/** Who answers those who want to connect: whoever listens. */
export interface Porter {
  /** Somebody wants to connect: sooner or later, {@linkcode Link.make} or {@linkcode Link.refuse}. */
  knock(link: Link): void;
  /** He wants it no more. */
  leave(link: Link): void;
}

/** A connection, from the wish for one to its end. */
export class Link extends Conditions implements MemoryConnection {
  /** As in {@linkcode MemoryConnection}. */
  readonly client: Address;
  /** As in {@linkcode MemoryConnection}. */
  readonly server: Address;
  readonly #clientEnd: End;
  readonly #serverEnd: End;
  readonly #toServer: Wire;
  readonly #toClient: Wire;
  readonly #onDown: () => void;
  // From "asking" to "made" to "down", or from "asking" to "down".
  #state: "asking" | "made" | "down" = "asking";
  #answer: Answer | undefined; // what who asks is waiting for
  #porter: Porter | undefined; // who has not answered yet
  #left = Infinity; // bytes that may still arrive

  /** Creates a link on which nobody has asked for a connection, under the conditions of `base` unless told otherwise. */
  constructor(base: Conditions, options: LinkOptions) {
    super(base, () => this.go());
    const { client, server, window, portion, onDown } = options;
    this.client = client;
    this.server = server;
    this.#onDown = onDown;
    this.#toServer = new Wire(this, () => this.#serverEnd.go());
    this.#toClient = new Wire(this, () => this.#clientEnd.go());
    this.#clientEnd = new End(this, this.#toServer, { local: client, remote: server, window, portion });
    this.#serverEnd = new End(this, this.#toClient, { local: server, remote: client, window, portion });
    this.#clientEnd.peer = this.#serverEnd;
    this.#serverEnd.peer = this.#clientEnd;
  }

  /** Whether it is a connection: somebody has answered, and it has not come to its end. */
  get isMade(): boolean {
    return this.#state === "made";
  }

  /** Asks whoever `find` gives when the wish arrives: the end of who connects. */
  connect(find: () => Porter | undefined, signal: AbortSignal): Promise<Connection> {
    return new Promise((resolve, reject) => {
      this.#answer = { resolve, reject, onAbort: onAbort(signal, () => this.#giveUp(signal.reason)) };
      if (signal.aborted) return this.#giveUp(signal.reason);
      this.#toServer.send(() => {
        this.#porter = find();
        if (this.#porter === undefined) this.refuse();
        else this.#porter.knock(this);
      });
    });
  }

  /** Accepts: the end of who listens. */
  make(): End {
    this.#porter = undefined;
    this.#state = "made";
    this.#toClient.send(() => this.#settle()?.resolve(this.#clientEnd));
    return this.#serverEnd;
  }

  /** Refuses. */
  refuse(): void {
    this.#porter = undefined;
    this.#toClient.send(() => {
      this.#settle()?.reject(errorOf("path" in this.server ? "NotFound" : "ConnectionRefused"));
      this.takeDown();
    });
  }

  // Who wanted to connect does so no more. If the other side knows of him already, it learns that he has gone.
  #giveUp(reason: unknown): void {
    const answer = this.#settle();
    if (answer === undefined) return;
    answer.reject(reason);
    if (this.#state === "made") return this.#clientEnd.close();
    this.#porter?.leave(this);
    this.takeDown();
  }

  #settle(): Answer | undefined {
    const answer = this.#answer;
    this.#answer = undefined;
    answer?.onAbort[Symbol.dispose]();
    return answer;
  }

  /** Goes on after a partition. */
  go(): void {
    this.#toServer.go();
    this.#toClient.go();
  }

  /** Brings `bytes` to `end`, or what may still pass of them. */
  bring(bytes: Uint8Array, end: End): void {
    const passing = bytes.length < this.#left ? bytes : bytes.subarray(0, this.#left);
    this.#left -= passing.length;
    end.receive(passing);
    if (this.#left === 0) this.reset();
  }

  /** As in {@linkcode MemoryConnection}. */
  resetAfter(bytes: number): void {
    if (!Number.isSafeInteger(bytes) || bytes < 1) {
      throw new RangeError(`Cannot reset connection: "bytes" must be a positive integer, got ${bytes}`);
    }
    this.#left = bytes;
  }

  /** As in {@linkcode MemoryConnection}. */
  reset(): void {
    if (this.#state === "down") return;
    this.#settle()?.reject(errorOf("ConnectionReset"));
    this.#porter?.leave(this);
    this.#clientEnd.break();
    this.#serverEnd.break();
    this.takeDown();
  }

  /** Told by an end that it has closed. */
  closed(): void {
    if (this.#clientEnd.isClosed && this.#serverEnd.isClosed) this.takeDown();
  }

  /** Ends it: nothing passes any more. */
  takeDown(): void {
    if (this.#state === "down") return;
    this.#state = "down";
    this.#toServer.takeDown();
    this.#toClient.takeDown();
    this.#onDown();
  }
}

interface Answer {
  readonly resolve: (end: Connection) => void;
  readonly reject: (error: unknown) => void;
  readonly onAbort: Disposable;
}

interface EndOptions {
  readonly local: Address;
  readonly remote: Address;
  readonly window: number;
  readonly portion: (n: number) => number;
}

/**
 * One end of a link.
 *
 * What it holds is what has arrived and was not read. What it has sent is on the wire, which is why the room for it is
 * counted here and given back by the peer.
 */
export class End implements Connection {
  readonly isInside = true;
  /** Where it is. */
  readonly localAddr: Address;
  /** Where its peer is. */
  readonly remoteAddr: Address;
  /** The other end. */
  peer!: End;
  readonly #link: Link;
  readonly #wire: Wire; // to the peer
  readonly #portion: (n: number) => number;
  readonly #reads = new Turns();
  readonly #writes = new Turns();
  #unread = new Deque<Uint8Array>();
  #unreadLength = 0;
  #room: number; // bytes that may be sent before the peer has read more
  #incoming: "open" | "ended" | "broken" = "open"; // behind what is unread; "broken" until somebody was told
  #mayWrite = true; // until this end ends its side, or the link breaks
  #isClosed = false;

  /** Use {@linkcode Link}. */
  constructor(link: Link, wire: Wire, { local, remote, window, portion }: EndOptions) {
    this.#link = link;
    this.#wire = wire;
    this.localAddr = local;
    this.remoteAddr = remote;
    this.#room = window;
    this.#portion = portion;
  }

  /** Whether it was closed at this end. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Whether the link broke, and nobody at this end was told. */
  get isBroken(): boolean {
    return this.#incoming === "broken";
  }

  /** As in {@linkcode Connection}. */
  read(buffer: Uint8Array): Promise<number | null> {
    return this.#operate(this.#reads, () => {
      if (buffer.length === 0) return 0;
      if (this.#unreadLength > 0) return this.#take(buffer);
      if (this.#incoming === "open") return undefined;
      this.#throwOnce();
      return null;
    });
  }

  /** As in {@linkcode Connection}. */
  write(bytes: Uint8Array): Promise<number> {
    return this.#operate(this.#writes, () => {
      if (!this.#mayWrite) {
        this.#throwOnce();
        throw errorOf("BrokenPipe");
      }
      if (bytes.length === 0) return 0;
      if (this.#room === 0) return undefined;
      const n = this.#portion(Math.min(bytes.length, this.#room));
      this.#room -= n;
      this.#wire.sendBytes(bytes.slice(0, n), (piece) => this.#link.bring(piece, this.peer));
      return n;
    });
  }

  /** As in {@linkcode Connection}. It waits for the writes before it. */
  async closeWrite(): Promise<void> {
    await this.#operate(this.#writes, () => {
      this.#end();
      return true;
    });
  }

  /** As in {@linkcode Connection}. With bytes unread, the peer is told that the rest of what it sends is lost. */
  close(): void {
    if (this.#isClosed) throw errorOf("BadResource");
    this.#end();
    if (this.#unreadLength > 0) this.abort();
    else this.#leave();
  }

  /** Closes it without an end: the peer is told that the link broke. */
  abort(): void {
    this.#wire.send(() => this.peer.#meetReset());
    this.#leave();
  }

  /** The same as {@linkcode End.close}. Harmless when it is closed. */
  [Symbol.dispose](): void {
    if (!this.#isClosed) this.close();
  }

  /** Gets bytes from the wire. */
  receive(bytes: Uint8Array): void {
    if (this.#isClosed) return this.#wire.send(() => this.peer.#meetReset());
    this.#unread.push(bytes);
    this.#unreadLength += bytes.length;
  }

  /** Is told that the link broke. The first at this end who asks is told, all others find an end. */
  break(): void {
    if (this.#incoming === "open") this.#incoming = "broken";
    this.#mayWrite = false;
    this.go();
  }

  /** Lets go on who waits for what has changed. */
  go(): void {
    this.#reads.go();
    this.#writes.go();
  }

  #meetReset(): void {
    this.break();
    this.#link.takeDown();
  }

  #meetEnd(): void {
    if (this.#incoming === "open") this.#incoming = "ended";
  }

  #operate<T>(turns: Turns, attempt: () => T | undefined): Promise<T> {
    return this.#isClosed ? Promise.reject(errorOf("BadResource")) : turns.wait(attempt);
  }

  #throwOnce(): void {
    if (this.#incoming !== "broken") return;
    this.#incoming = "ended";
    throw errorOf("ConnectionReset");
  }

  #take(buffer: Uint8Array): number {
    const n = this.#portion(Math.min(buffer.length, this.#unreadLength, this.#link.chunk));
    for (let at = 0; at < n;) {
      const bytes = this.#unread.shift()!;
      const part = bytes.subarray(0, n - at);
      buffer.set(part, at);
      at += part.length;
      if (part.length < bytes.length) this.#unread.unshift(bytes.subarray(part.length));
    }
    this.#unreadLength -= n;
    this.#wire.send(() => this.peer.#room += n);
    return n;
  }

  #end(): void {
    this.#mayWrite = false;
    this.#wire.send(() => this.peer.#meetEnd());
  }

  #leave(): void {
    this.#isClosed = true;
    this.#reads.fail(errorOf("Interrupted"));
    this.#writes.fail(errorOf("Interrupted"));
    this.#unread = new Deque();
    this.#unreadLength = 0;
    this.#link.closed();
  }
}

/** Operations that take turns: the first is tried again whenever something has changed, those behind it wait. */
export class Turns {
  readonly #waiting = new Deque<
    { readonly isOver: () => boolean; readonly fail: (error: unknown) => void }
  >();

  /** Waits until `attempt` gives something, or throws. */
  wait<T>(attempt: () => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const isOver = (): boolean => {
        const value = attempt();
        if (value !== undefined) resolve(value);
        return value !== undefined;
      };
      this.#waiting.push({ isOver, fail: reject });
      this.go();
    });
  }

  /** Tries again, because something has changed. */
  go(): void {
    for (let first = this.#waiting.first; first !== undefined; first = this.#waiting.first) {
      try {
        if (!first.isOver()) return;
      } catch (error) {
        first.fail(error);
      }
      this.#waiting.shift();
    }
  }

  /** Ends all that wait. */
  fail(error: unknown): void {
    for (let first = this.#waiting.shift(); first !== undefined; first = this.#waiting.shift()) {
      first.fail(error);
    }
  }
}

const ERRORS: Readonly<Record<SystemErrorName, readonly [message: string, code?: string]>> = {
  AddrInUse: ["Address already in use (os error 98)", "EADDRINUSE"],
  AddrNotAvailable: ["Cannot assign requested address (os error 99)", "EADDRNOTAVAIL"],
  BadResource: ["Bad resource ID"],
  BrokenPipe: ["Broken pipe (os error 32)", "EPIPE"],
  ConnectionRefused: ["Connection refused (os error 111)", "ECONNREFUSED"],
  ConnectionReset: ["Connection reset by peer (os error 104)", "ECONNRESET"],
  Interrupted: ["operation canceled", "EINTR"],
  NotConnected: ["Transport endpoint is not connected (os error 107)", "ENOTCONN"],
  NotFound: ["No such file or directory (os error 2)", "ENOENT"],
  NotSupported: ["The operation is not supported"],
};

/** An error as Deno throws it on Linux. */
export function errorOf(name: SystemErrorName): Error {
  const [message, code] = ERRORS[name];
  const error = systemError(name, message);
  return code === undefined ? error : Object.assign(error, { code });
}
