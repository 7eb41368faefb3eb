/**
 * A peer that need not behave: a connection whose every step ends, by an error, when the server has gone from it or the
 * soak is over.
 *
 * @module
 */
import { connect } from "node:net";
import { isGone } from "../net/connection.ts";
import { pause } from "../net/reading.ts";

/** The server has closed or reset the connection. */
export class GoneError extends Error {
  /** `"GoneError"`. */
  override readonly name = "GoneError";
}

/** A connection to a server of this machine. */
export class Peer implements Disposable {
  readonly #connection: Deno.TcpConn;
  readonly #signal: AbortSignal;
  readonly #buffer = new Uint8Array(16_384);
  #isClosed = false;

  private constructor(connection: Deno.TcpConn, signal: AbortSignal) {
    this.#connection = connection;
    this.#signal = signal;
    signal.addEventListener("abort", this.#close);
  }

  /** Connects to `port`; once `signal` is aborted, every step rejects with its reason. */
  static async open(port: number, signal: AbortSignal): Promise<Peer> {
    const connection = await Deno.connect({ hostname: "127.0.0.1", port });
    connection.setNoDelay(true);
    const peer = new Peer(connection, signal);
    if (signal.aborted) peer.#close();
    return peer;
  }

  /**
   * Sends all of it.
   *
   * @throws {GoneError} If the server has gone.
   */
  async send(data: Uint8Array): Promise<void> {
    await this.#step(async () => {
      for (let left = data; left.length > 0;) left = left.subarray(await this.#connection.write(left));
    });
  }

  /**
   * Reads up to `most` bytes, and forgets them.
   *
   * @throws {GoneError} If the server has gone.
   */
  async read(most: number = this.#buffer.length): Promise<number> {
    return await this.#step(async () => {
      const n = await this.#connection.read(this.#buffer.subarray(0, most));
      if (n === null) throw new GoneError();
      return n;
    });
  }

  /** Reads whatever comes, beside what else is done. Call it once. */
  drain(): void {
    const all = async () => {
      while (await this.read());
    };
    all().catch((error) => {
      if (!(error instanceof GoneError) && !this.#isClosed) throw error; // the next step is told
    });
  }

  /** Ends its own side. */
  async end(): Promise<void> {
    await this.#step(() => this.#connection.closeWrite());
  }

  /** Does nothing for `ms` milliseconds. */
  rest(ms: number): Promise<void> {
    return restUnless(this.#signal, ms);
  }

  async #step<T>(step: () => Promise<T>): Promise<T> {
    try {
      return await step();
    } catch (error) {
      this.#signal.throwIfAborted();
      throw isGone(error) ? new GoneError() : error;
    }
  }

  readonly #close = (): void => {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#signal.removeEventListener("abort", this.#close);
    this.#connection.close();
  };

  /** Closes it. */
  [Symbol.dispose](): void {
    this.#close();
  }
}

/** Waits `ms` milliseconds, but no longer than `signal` allows: then it rejects with its reason. */
export async function restUnless(signal: AbortSignal, ms: number): Promise<void> {
  signal.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", abort);
      resolve();
    }, ms);
    const abort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    signal.addEventListener("abort", abort, { once: true });
  });
}

/** Connects, sends `data`, waits for some bytes or for `ms` milliseconds, and is gone: the server learns of it by a reset. */
export async function vanish(port: number, data: Uint8Array, bytes: number, ms: number): Promise<void> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  socket.on("error", () => {}); // the server may be the first to go; then it is closed, too
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  const seen = new Promise<void>((resolve) => {
    let left = bytes;
    socket.on("data", (chunk: Uint8Array) => (left -= chunk.length) > 0 || resolve());
  });
  socket.write(data);
  await Promise.race([seen, closed, pause(ms)]);
  socket.resetAndDestroy();
  await closed;
}
