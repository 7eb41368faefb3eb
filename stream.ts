/**
 * Buffered streams: lines and bytes to and from something that takes and gives bytes.
 *
 * Runtime-neutral: a socket is whatever has the methods of {@linkcode ByteStream}.
 *
 * @module
 */
import { Pace, type PaceOptions } from "./pace.ts";
import { BufferedReader } from "./reader.ts";
import { suspend } from "./suspend.ts";
import { checkMs, now, Timeout, TimeoutError } from "./timer.ts";
import { TaskletExit, type WaitOptions } from "./wait.ts";
import { BufferedWriter, type ByteStream } from "./writer.ts";

export { BufferedReader, UnexpectedEndError } from "./reader.ts";
export { BufferedWriter, type ByteStream, WriteOverflowError } from "./writer.ts";

/** How a {@linkcode BufferedStream} is bounded, and what it understands. */
export interface BufferedStreamOptions {
  /**
   * How many bytes a line may have, its end not counted.
   *
   * @default {65536}
   */
  maxLineLength?: number | undefined;
  /**
   * How many bytes may be queued for writing.
   *
   * @default {1048576}
   */
  maxBuffered?: number | undefined;
  /**
   * Whether to take out, and decline, what telnet clients negotiate. Ctrl-C and Ctrl-D then end the stream.
   *
   * @default {false}
   */
  telnet?: boolean | undefined;
  /**
   * How fast lines are given to who reads them: so many at once, then so many a second. Those of a faster peer are not
   * lost, they wait; beyond what the buffers of both sides hold, the peer waits with them.
   *
   * @default {as fast as they come}
   */
  linePace?: PaceOptions | undefined;
  /**
   * Milliseconds for which the peer may take nothing of what is being sent; then nothing more is sent, and whoever
   * flushes gets a `TimeoutError`.
   *
   * @default {Infinity}
   */
  stallTimeout?: number | undefined;
}

/** How long the end of a stream may take. */
export interface CloseOptions extends WaitOptions {
  /**
   * Milliseconds for which the socket may take nothing.
   *
   * @default {1000}
   */
  stall?: number | undefined;
  /**
   * Milliseconds for which what the peer still sends is read and dropped, once it has been sent everything. Without it,
   * closing on bytes that were not read resets the connection, and the peer may never see what it was sent last.
   *
   * @default {0}
   */
  linger?: number | undefined;
}

/**
 * Lines and bytes over a socket: a {@linkcode BufferedReader} and a {@linkcode BufferedWriter}.
 *
 * - **Bounds**: lines, and what is queued for writing, have a maximum.
 * - **Cancellation**: a killed reader loses nothing, the next one gets the bytes; a killed writer leaves nothing half sent.
 * - **Half-close**: a peer that has ended its side can still be answered.
 * - **Text** is UTF-8; what is not arrives as U+FFFD.
 */
export class BufferedStream implements AsyncDisposable {
  /** What comes in. */
  readonly reader: BufferedReader;
  /** What goes out. */
  readonly writer: BufferedWriter;
  readonly #socket: ByteStream;

  /**
   * Lays buffers over `socket`, which from now on should be used through them alone.
   *
   * @throws {RangeError} If an option makes no sense.
   */
  constructor(socket: ByteStream, options: BufferedStreamOptions = {}) {
    const { maxLineLength = 65_536, maxBuffered = 1_048_576, telnet = false, stallTimeout = Infinity } =
      options;
    this.#socket = socket;
    this.writer = new BufferedWriter(socket, maxBuffered, stallTimeout);
    const pace = options.linePace === undefined ? undefined : new Pace(options.linePace);
    this.reader = new BufferedReader(socket, maxLineLength, telnet ? this.writer : undefined, pace);
  }

  /**
   * Sends what is queued, then closes the socket. A peer that reads gets all of it; one that does not cannot hold the
   * end up.
   *
   * @param options.stall Milliseconds for which the socket may take nothing. @default {1000}
   * @param options.timeout Milliseconds for all of it. @default {Infinity}
   * @param options.linger Milliseconds for which the peer may go on sending to no effect. @default {0}
   * @returns Whether all was sent: `false` if the peer had gone, or the time was up.
   * @throws {RangeError} If a time is negative or not a number; then nothing is closed.
   */
  async close({ stall = 1000, timeout = Infinity, linger = 0 }: CloseOptions = {}): Promise<boolean> {
    checkMs("close", "stall", stall);
    checkMs("close", "timeout", timeout);
    checkMs("close", "linger", linger);
    const end = timeout === Infinity ? Infinity : now() + timeout;
    let exit: TaskletExit | undefined;
    try {
      while (this.writer.buffered > 0) {
        const left = Math.min(stall - this.writer.stalled, end - now());
        if (left <= 0) break;
        try {
          await this.writer.flush({ timeout: left });
          // deno-lint-ignore concurrence/rethrow-exit -- it is thrown when what is queued has been sent
        } catch (error) {
          if (!(error instanceof TaskletExit)) {
            if (error instanceof TimeoutError && Timeout.current() > 0) continue;
            break;
          }
          // A kill that is met here for the first time leaves the grace to go on; the second says that it is over.
          if (exit !== undefined) throw exit;
          exit = error;
        }
      }
      if (exit !== undefined) throw exit;
      if (linger > 0) await this.#linger(linger);
      return this.writer.buffered === 0 && !this.writer.hasFailed;
    } finally {
      this.#socket.close();
    }
  }

  async #linger(ms: number): Promise<void> {
    try {
      await this.#socket.closeWrite?.();
      await suspend<void>((resume, fail) => void this.#drain().then(resume, fail), ms, "for a peer to end");
    } catch (error) {
      if (error instanceof TaskletExit) throw error; // otherwise the peer has gone, or the time is up
    }
  }

  async #drain(): Promise<void> {
    while (await this.reader.readChunk() !== null);
  }

  /** The same as {@linkcode BufferedStream.close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
