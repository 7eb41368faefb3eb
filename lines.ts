/**
 * Lines out of bytes: a buffer that a stream of bytes is read into, and that gives lines or bytes in turn.
 *
 * Lines are made by `TextLineStream` of `@std/streams`, behind a guard that counts bytes, so that what a peer sends
 * without a line end cannot fill the memory. What comes out does not depend on where the stream happened to be cut.
 *
 * Runtime-neutral and pure: no sockets, no tasklets.
 *
 * @module
 */
import { TextLineStream } from "@std/streams/text-line-stream";

const SMALLEST_ROOM = 512; // what an idle connection holds
const LARGEST_ROOM = 65_536; // what a busy one reads at once
const STEP = 16; // from one to the other there are two
const LF = 10;
const CR = 13;
// One of each for all buffers that have nothing.
const NO_BYTES = new Uint8Array(0);
const NOTHING: readonly never[] = [];

/** A line that is longer than allowed. The stream gives no further lines after it. */
export class LineTooLongError extends Error {
  /** `"LineTooLongError"`. */
  override readonly name = "LineTooLongError";
  /** How many bytes a line may have, its end not counted. */
  readonly maxLineLength: number;

  /** Creates the error for lines of more than `maxLineLength` bytes. */
  constructor(maxLineLength: number) {
    super(`Cannot read line: it is longer than ${maxLineLength} bytes`);
    this.maxLineLength = maxLineLength;
  }
}

/**
 * Bytes that were received and not read yet.
 *
 * - **Order**: what is put in comes out once, in order, as lines or as bytes.
 * - **Bounds**: it holds one line of at most `maxLineLength` bytes, and one read on top.
 */
export class LineBuffer {
  readonly #maxLineLength: number;
  #bytes: Uint8Array<ArrayBuffer> = NO_BYTES;
  #start = 0; // of what is not read yet
  #end = 0;
  #searched = 0; // up to here there is no line end that is not counted in #sizes
  #room = SMALLEST_ROOM;
  #hasEnded = false;
  #isTooLong = false;
  // Lines that were split ahead; their bytes count as unread until the line is taken.
  #lines: readonly string[] = NOTHING;
  #sizes: readonly number[] = NOTHING;
  #next = 0;

  /**
   * Creates an empty buffer.
   *
   * @throws {RangeError} If `maxLineLength` is not a positive integer or `Infinity`.
   */
  constructor(maxLineLength: number) {
    if (!(maxLineLength === Infinity || Number.isSafeInteger(maxLineLength)) || maxLineLength < 1) {
      throw new RangeError(
        `Cannot create line buffer: "maxLineLength" must be a positive integer, got ${maxLineLength}`,
      );
    }
    this.#maxLineLength = maxLineLength;
  }

  /** How many bytes are unread. */
  get length(): number {
    return this.#end - this.#start;
  }

  /** How many lines were split ahead. */
  get lines(): number {
    return this.#lines.length - this.#next;
  }

  /** Whether nothing more will come. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Whether {@linkcode LineBuffer.takeLine} has nothing to say yet. */
  get mustSplit(): boolean {
    return this.mustReadOn || (this.#lines.length === 0 && !this.#isTooLong && this.length > 0);
  }

  /** Whether neither a line nor the end is there, so that more must be put in. */
  get mustReadOn(): boolean {
    return this.#lines.length === 0 && !this.#isTooLong && !this.#hasEnded;
  }

  /** Where the next bytes are to be written, `least` or more; tell how many with {@linkcode LineBuffer.filled}. */
  room(least = 0): Uint8Array<ArrayBuffer> {
    if (this.length === 0) {
      this.#start = this.#end = this.#searched = 0;
      const size = Math.max(this.#room, least);
      if (this.#bytes.length !== size) this.#bytes = new Uint8Array(size);
    } else if (this.#end === this.#bytes.length) {
      const size = this.#start > this.#end / 2 ? this.#bytes.length : 2 * this.#bytes.length;
      this.#move(Math.max(size, this.#room, least));
    }
    return this.#end === 0 ? this.#bytes : this.#bytes.subarray(this.#end);
  }

  #move(size: number): void {
    const bytes = new Uint8Array(size);
    bytes.set(this.#bytes.subarray(this.#start, this.#end));
    this.#bytes = bytes;
    this.#searched -= this.#start;
    this.#end -= this.#start;
    this.#start = 0;
  }

  /** Tells that `n` bytes were written to {@linkcode LineBuffer.room}, or could be kept of them. */
  filled(n: number): void {
    const isFull = this.#end + n === this.#bytes.length;
    this.#end += n;
    if (isFull) this.#room = Math.min(STEP * this.#room, LARGEST_ROOM);
    else if (n < this.#room / STEP) this.#room = Math.max(this.#room / STEP, SMALLEST_ROOM);
  }

  /** Tells that nothing more will come. */
  end(): void {
    this.#hasEnded = true;
  }

  /**
   * Takes the next line that was split ahead, without its end.
   *
   * @returns `undefined` if there is none yet ({@linkcode LineBuffer.split} finds more), `null` if there will be none.
   * @throws {LineTooLongError} If the next line is too long, now and from now on.
   */
  takeLine(): string | null | undefined {
    if (this.#next < this.#lines.length) {
      this.#start += this.#sizes[this.#next]!;
      const line = this.#lines[this.#next++]!;
      if (this.#next === this.#lines.length) this.#forgetLines();
      return line;
    }
    if (this.#isTooLong) throw new LineTooLongError(this.#maxLineLength);
    return this.#hasEnded && this.length === 0 ? null : undefined;
  }

  /** Splits all that is there into lines, once those that were split before have been taken. */
  async split(): Promise<void> {
    if (this.#lines.length > 0 || this.#isTooLong) return;
    const start = this.#start;
    const { sizes, end } = this.#measure();
    if (sizes.length === 0) return;
    let text = decoder.decode(this.#bytes.subarray(start, end));
    // The last line of the stream may lack its end. A lone CR there is part of the line, so add both.
    if (this.#bytes[end - 1] !== LF) text += "\r\n";
    const lines = await splitText(text, sizes.length);
    if (this.#start !== start) return; // read as bytes meanwhile
    this.#lines = lines;
    this.#sizes = sizes;
  }

  // The guard: finds the lines that are whole and short enough, and notices one that is or will be too long.
  #measure(): { sizes: number[]; end: number } {
    const sizes: number[] = [];
    let lineStart = this.#start;
    let from = Math.max(this.#searched, lineStart);
    const bytes = this.#bytes.subarray(0, this.#end);
    for (let at = bytes.indexOf(LF, from); at >= 0; at = bytes.indexOf(LF, from)) {
      const hasCR = at > lineStart && this.#bytes[at - 1] === CR;
      if (at - lineStart - (hasCR ? 1 : 0) > this.#maxLineLength) {
        this.#isTooLong = true;
        return { sizes, end: lineStart };
      }
      from = at + 1;
      sizes.push(from - lineStart);
      lineStart = from;
    }
    this.#searched = this.#end;
    const rest = this.#end - lineStart;
    if (this.#hasEnded) {
      if (rest > this.#maxLineLength) this.#isTooLong = true;
      else if (rest > 0) sizes.push(rest);
      return { sizes, end: this.#isTooLong ? lineStart : this.#end };
    }
    // One byte more may be the CR of a line end that is still to come.
    const mayEnd = rest <= this.#maxLineLength + (this.#bytes[this.#end - 1] === CR ? 1 : 0);
    if (!mayEnd) this.#isTooLong = true;
    return { sizes, end: lineStart };
  }

  /** Takes up to `max` bytes, as a copy; none if there are none. */
  takeBytes(max: number): Uint8Array<ArrayBuffer> {
    this.#forgetLines();
    const bytes = this.#bytes.slice(this.#start, Math.min(this.#end, this.#start + max));
    this.#start += bytes.length;
    this.#searched = this.#start;
    this.#isTooLong = false; // where lines begin is for the reader of bytes to say
    return bytes;
  }

  #forgetLines(): void {
    if (this.#next < this.#lines.length) this.#searched = this.#start;
    this.#lines = NOTHING;
    this.#sizes = NOTHING;
    this.#next = 0;
  }
}

// A byte order mark is content here: what is decoded at once is not the beginning of anything.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

// One TextLineStream serves all buffers, one after the other. It only ever gets whole lines, so nothing of one
// stays in it for the next; and a connection need not pay for a stream of its own.
let lineStream:
  | { writer: WritableStreamDefaultWriter<string>; reader: ReadableStreamDefaultReader<string> }
  | undefined;
let turn: Promise<unknown> = Promise.resolve();

/** Splits text of `count` lines that all have their end. */
function splitText(text: string, count: number): Promise<string[]> {
  const mine = turn.then(() => splitAlone(text, count));
  turn = mine.catch(() => lineStream = undefined); // the next one begins anew
  return mine;
}

async function splitAlone(text: string, count: number): Promise<string[]> {
  if (lineStream === undefined) {
    const { readable, writable } = new TextLineStream();
    lineStream = { writer: writable.getWriter(), reader: readable.getReader() };
  }
  const written = lineStream.writer.write(text);
  const lines: string[] = [];
  for (let i = 0; i < count; i++) lines.push((await lineStream.reader.read()).value!);
  await written;
  return lines;
}
