/**
 * Streams without a network under them, so that nothing but what is above them is measured.
 *
 * @module
 */
import type { ByteStream } from "../mod.ts";

/** A stream from which `bytes` come, at most `chunk` at a time, and which takes whatever is written. */
export class Bytes implements ByteStream {
  readonly #bytes: Uint8Array;
  readonly #chunk: number;
  #at = 0;

  /** Nothing is copied before it is read. */
  constructor(bytes: Uint8Array, chunk: number = Infinity) {
    this.#bytes = bytes;
    this.#chunk = chunk;
  }

  /** Gives the next bytes; `null` after the last. */
  read(buffer: Uint8Array): Promise<number | null> {
    const length = Math.min(this.#chunk, buffer.length, this.#bytes.length - this.#at);
    if (length === 0) return Promise.resolve(null);
    buffer.set(this.#bytes.subarray(this.#at, this.#at + length));
    this.#at += length;
    return Promise.resolve(length);
  }

  /** Takes all of it. */
  writeSome(bytes: Uint8Array): Promise<number> {
    return Promise.resolve(bytes.length);
  }

  /** Has nothing to close. */
  close(): void {}
}

/** `count` lines of `length` characters each, with their ends. */
export function linesOf(count: number, length: number): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(("x".repeat(length) + "\n").repeat(count));
}
