/**
 * A stream of bytes whose other end is the test, and streams on it.
 *
 * @module
 */
import { BufferedStream, type BufferedStreamOptions, type ByteStream } from "../stream.ts";
import { Tasklet } from "../tasklet.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A socket whose other end is the test. */
export class Wire implements ByteStream {
  /** What was written, one entry a write. */
  readonly writes: Uint8Array[] = [];
  /** How many bytes it takes before it is stuck. */
  room: number = Infinity;
  /** How many bytes it takes in one write. */
  mouthful: number = Infinity;
  isClosed = false;
  /** How many reads were begun. */
  reads = 0;
  #incoming: (Uint8Array | null | Error)[] = [];
  #reader: (() => void) | undefined;
  #writer: (() => void) | undefined;
  #brokenBy: Error | undefined;

  /** All that was written, as text. */
  get text(): string {
    return decoder.decode(this.bytes);
  }

  /** All that was written. */
  get bytes(): Uint8Array {
    return new Uint8Array(this.writes.flatMap((bytes) => [...bytes]));
  }

  /** Sends text or bytes to the reader, all in one read if its buffer allows; `null` is the end. */
  feed(...data: (string | number[] | null | Error)[]): void {
    for (const each of data) {
      if (typeof each === "string") this.#incoming.push(encoder.encode(each));
      else this.#incoming.push(Array.isArray(each) ? new Uint8Array(each) : each);
    }
    this.#reader?.();
  }

  /** Takes further `n` bytes. */
  take(n: number): void {
    this.room += n;
    this.#writer?.();
  }

  /** Lets all further writes fail, the one under way as well. */
  break(error: Error): void {
    this.#brokenBy = error;
    this.#writer?.();
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    this.reads++;
    while (this.#incoming.length === 0) await new Promise<void>((resolve) => this.#reader = resolve);
    const data = this.#incoming.shift()!;
    if (data === null || data instanceof Error) {
      this.#incoming.unshift(data); // as often as it is asked
      if (data instanceof Error) throw data;
      return data;
    }
    const n = Math.min(data.length, buffer.length);
    buffer.set(data.subarray(0, n));
    if (n < data.length) this.#incoming.unshift(data.subarray(n));
    return n;
  }

  async writeSome(bytes: Uint8Array): Promise<number> {
    await Promise.resolve();
    while (this.room === 0 && this.#brokenBy === undefined) {
      await new Promise<void>((resolve) => this.#writer = resolve);
    }
    if (this.#brokenBy !== undefined) throw this.#brokenBy;
    const n = Math.min(bytes.length, this.room, this.mouthful);
    this.writes.push(bytes.slice(0, n));
    this.room -= n;
    return n;
  }

  close(): void {
    this.isClosed = true;
    this.break(new Error("closed here"));
  }
}

/** A stream on a {@linkcode Wire}. */
export function open(
  options?: BufferedStreamOptions,
): { wire: Wire } & Pick<BufferedStream, "reader" | "writer" | "close"> {
  const wire = new Wire();
  const stream = new BufferedStream(wire, options);
  return { wire, reader: stream.reader, writer: stream.writer, close: (o) => stream.close(o) };
}

/** Bytes as text. */
export function text(bytes: Uint8Array | null): string | null {
  return bytes && decoder.decode(bytes);
}

/** What `f` gives, or the name of the error with which it fails. */
export async function outcome(f: () => unknown): Promise<unknown> {
  try {
    return await f();
  } catch (error) {
    return (error as Error).name;
  }
}

/** Lets everything happen that can. */
export async function settle(): Promise<void> {
  for (let turns = 0; turns < 4; turns++) await Tasklet.yield();
}
