/**
 * The reading side of buffered streams: lines and bytes, for whoever waits longest.
 *
 * Reading belongs to the stream, not to the tasklet that waits for it: one that is killed meanwhile takes nothing with it.
 *
 * Runtime-neutral.
 *
 * @module
 */
import { running } from "./context.ts";
import { LineBuffer } from "./lines.ts";
import { Line, type Place } from "./mailbox.ts";
import type { Pace } from "./pace.ts";
import { pass, sleep } from "./suspend.ts";
import { TelnetFilter } from "./telnet.ts";
import { now, TimeoutError } from "./timer.ts";
import { type Origin, Wait, type Waiter } from "./wait.ts";
import { type BufferedWriter, type ByteStream, originOf } from "./writer.ts";

/** The stream ended before all that was wanted had come. */
export class UnexpectedEndError extends Error {
  /** `"UnexpectedEndError"`. */
  override readonly name = "UnexpectedEndError";
}

const NOTHING = new Uint8Array(0);

let nextLine: (reader: BufferedReader, loop: LineLoop) => Promise<IteratorResult<string>>;

/** The reading side of a {@linkcode BufferedStream}. Lines and bytes may be read in turn, by one tasklet at a time. */
export class BufferedReader {
  readonly #socket: ByteStream;
  readonly #buffer: LineBuffer;
  readonly #filter: TelnetFilter | undefined;
  readonly #answers: BufferedWriter | undefined;
  readonly #pace: Pace | undefined;
  #failure: { readonly error: unknown } | undefined;
  readonly #waits = new Line<ReadWait>();
  #isAdvancing = false; // bytes are being split, or read into #room
  #room: Uint8Array = NOTHING;

  static {
    nextLine = (reader, loop) => reader.#nextLine(loop);
  }

  /** Use {@linkcode BufferedStream}. `telnet` is where negotiation is answered, if it is understood. */
  constructor(
    socket: ByteStream,
    maxLineLength: number,
    telnet: BufferedWriter | undefined,
    pace: Pace | undefined,
  ) {
    this.#socket = socket;
    this.#pace = pace;
    this.#buffer = new LineBuffer(maxLineLength);
    this.#answers = telnet;
    this.#filter = telnet === undefined ? undefined : new TelnetFilter();
  }

  /**
   * Reads a line, without its end (LF or CR LF). The last line needs no end.
   *
   * @returns `null` at the end.
   * @throws {LineTooLongError} Once the next line is longer than `maxLineLength` bytes, whether or not its end has come.
   */
  readLine(): Promise<string | null> {
    if (this.#pace !== undefined) return this.#readLineAtPace(this.#pace);
    return this.#take(LINE, takeLine);
  }

  // Nothing is taken before its time, so a kill meanwhile loses nothing.
  async #readLineAtPace(pace: Pace): Promise<string | null> {
    const delay = pace.delay(now());
    if (delay > 0) await sleep(delay);
    const line = await this.#take(LINE, takeLine);
    if (line !== null) pace.count(now());
    return line;
  }

  /** Reads lines until the end; `break` leaves the rest for later. */
  readLines(): AsyncIterableIterator<string> {
    return this.#pace === undefined
      ? new LineLoop(this, originOf(this.#socket), this.#waits)
      : this.#linesAtPace();
  }

  #linesAtPace(): AsyncIterableIterator<string> {
    const iterator: AsyncIterableIterator<string> = {
      next: () => this.readLine().then(resultOf),
      return: () => Promise.resolve({ done: true, value: undefined }),
      [Symbol.asyncIterator]: () => iterator,
    };
    return iterator;
  }

  /**
   * Takes the lines that are there already, without waiting: a batch. What comes while it is read is left for later.
   *
   * A line is there when the stream has been waited for, by {@linkcode BufferedReader.readLine} or in a loop: one that
   * gets a line finds here what came with it.
   */
  *pending(): Generator<string, void> {
    if (this.#pace !== undefined) return; // each has its time
    for (let n = this.#buffer.lines; n > 0; n--) {
      const line = this.#buffer.takeLine();
      if (typeof line !== "string") return; // somebody else has taken it meanwhile
      yield line;
    }
  }

  /**
   * Reads what is there, waiting for at least one byte.
   *
   * @param max How many bytes at most. @default {65536}
   * @returns A copy; `null` at the end.
   */
  readChunk(max = 65_536): Promise<Uint8Array<ArrayBuffer> | null> {
    checkCount("max", max, 1);
    return this.#take(1, (buffer) => buffer.length === 0 ? null : buffer.takeBytes(max));
  }

  /**
   * Reads `n` bytes, fewer only at the end.
   *
   * @returns A copy; `null` if the end has come before.
   */
  readBytes(n: number): Promise<Uint8Array<ArrayBuffer> | null> {
    checkCount("n", n, 0);
    return this.#take(n, (buffer) => buffer.length === 0 && n > 0 ? null : buffer.takeBytes(n));
  }

  /**
   * Reads exactly `n` bytes.
   *
   * @throws {UnexpectedEndError} If the end comes before; what has come stays unread.
   */
  readExactly(n: number): Promise<Uint8Array<ArrayBuffer>> {
    checkCount("n", n, 0);
    return this.#take(n, (buffer) => {
      if (buffer.length >= n) return buffer.takeBytes(n);
      throw new UnexpectedEndError(`Cannot read ${n} bytes: the stream ended after ${buffer.length}`);
    });
  }

  // Waits until so many bytes are there, or the end, and takes what is wanted of them.
  #take<T>(bytes: number | typeof LINE, take: Take<T>): Promise<T> {
    if (this.#isThere(bytes)) return pass(take, this.#buffer);
    return this.#wait(new ReadWait<T>(bytes, take, originOf(this.#socket), this.#waits));
  }

  #nextLine(loop: LineLoop): Promise<IteratorResult<string>> {
    return this.#isThere(LINE) ? pass(takeResult, this.#buffer) : this.#wait(loop);
  }

  #wait<T>(wait: ReadWait<T>): Promise<T> {
    if (wait.begin()) {
      this.#waits.join(wait as ReadWait);
      if (!this.#isAdvancing) this.#advance();
    }
    return wait.promise;
  }

  #isThere(bytes: number | typeof LINE): boolean {
    if (bytes === LINE) return !this.#buffer.mustSplit;
    return this.#buffer.length >= bytes || this.#buffer.hasEnded;
  }

  // Splits or reads on for who waits longest, if anybody does. What it has begun outlives whoever wanted it.
  #advance(isSplit = false): void {
    const { first } = this.#waits;
    this.#isAdvancing = first !== undefined;
    if (first === undefined) return;
    if (first.bytes === LINE && this.#buffer.length > 0 && (!isSplit || this.#buffer.hasEnded)) {
      this.#buffer.split().then(() => this.#hasSplit(), this.#hasFailed);
    } else if (this.#failure !== undefined) {
      this.#hasFailed(this.#failure.error);
    } else {
      this.#room = this.#buffer.room(first.bytes === LINE ? 0 : CHUNK);
      running.exit(BufferedReader.#read, this); // in nobody's name
    }
  }

  static #read(this: void, reader: BufferedReader): void {
    try {
      reader.#socket.read(reader.#room).then(reader.#hasRead, reader.#hasFailed);
    } catch (error) {
      reader.#hasFailed(error); // a socket that throws at once is as gone as one that rejects
    }
  }

  // Properties, so that a read costs no closures.
  readonly #hasRead = (n: number | null): void => {
    if (n === null) this.#buffer.end();
    else this.#keep(n);
    this.#endWaits();
    this.#advance();
  };

  #hasSplit(): void {
    this.#endWaits();
    this.#advance(true);
  }

  #keep(n: number): void {
    if (this.#filter === undefined) return this.#buffer.filled(n);
    const { length, answers } = this.#filter.filter(this.#room.subarray(0, n));
    this.#buffer.filled(length);
    if (this.#filter.hasEnded) this.#buffer.end();
    if (answers.length > 0) this.#answers!.sendAside(new Uint8Array(answers));
  }

  // Ends the waits of those for whom enough has come.
  #endWaits(): void {
    let wait = this.#waits.first;
    for (; wait !== undefined && this.#isThere(wait.bytes); wait = this.#waits.first) wait.end(this.#buffer);
  }

  readonly #hasFailed = (error: unknown): void => {
    // A peer that was silent for too long may still speak.
    if (!(error instanceof TimeoutError)) this.#failure = { error };
    this.#isAdvancing = false;
    for (let wait = this.#waits.first; wait !== undefined; wait = this.#waits.first) wait.fail(error);
  };
}

// What a reader waits for that is not a number of bytes.
const LINE = "line";
// How many bytes are read at once, at least, for who does not want lines.
const CHUNK = 4096;

/** What takes what is wanted, once it is there. */
type Take<T> = (buffer: LineBuffer) => T;

function takeLine(buffer: LineBuffer): string | null {
  return buffer.takeLine()!;
}

function takeResult(buffer: LineBuffer): IteratorResult<string> {
  return resultOf(takeLine(buffer));
}

/** A wait for what comes in. */
class ReadWait<T = unknown> extends Wait<T> implements Place<ReadWait> {
  earlier: ReadWait | undefined;
  later: ReadWait | undefined;
  /** How many bytes must be there. */
  readonly bytes: number | typeof LINE;
  readonly #take: Take<T>;
  readonly #line: Line<ReadWait>;

  constructor(
    bytes: number | typeof LINE,
    take: Take<T>,
    origin: Origin,
    line: Line<ReadWait>,
  ) {
    super(running.getStore() as Waiter | undefined, false, origin);
    this.bytes = bytes;
    this.#take = take;
    this.#line = line;
  }

  override describe(): string {
    return "for bytes from a socket";
  }

  /** Ends well, with what has come. */
  end(buffer: LineBuffer): void {
    let taken: T;
    try {
      taken = this.#take(buffer);
    } catch (error) {
      return this.fail(error);
    }
    this.resume(taken);
  }

  protected override left(): void {
    this.#line.leave(this as ReadWait);
  }
}

/**
 * A loop over lines as they come, and its wait for the next one.
 *
 * Written by hand: in the body of an async generator, the running tasklet is whoever calls `next`.
 */
class LineLoop extends ReadWait<IteratorResult<string>> implements AsyncIterableIterator<string> {
  readonly #reader: BufferedReader;

  constructor(reader: BufferedReader, origin: Origin, line: Line<ReadWait>) {
    super(LINE, takeResult, origin, line);
    this.#reader = reader;
  }

  next(): Promise<IteratorResult<string>> {
    // Whoever asks twice at once has two loops, in effect; so has whoever asks in another's.
    const isFree = !this.open && this.owner === running.getStore();
    return isFree ? nextLine(this.#reader, this) : this.#reader.readLines().next();
  }

  return(): Promise<IteratorResult<string>> {
    this.resume({ done: true, value: undefined }); // whoever waits for the next one gets none
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

function resultOf(line: string | null): IteratorResult<string> {
  return line === null ? { done: true, value: undefined } : { done: false, value: line };
}

function checkCount(option: string, n: number, least: number): void {
  if (Number.isSafeInteger(n) && n >= least) return;
  throw new RangeError(
    `Cannot read: "${option}" must be a whole number of bytes, ${least} or more, got ${n}`,
  );
}
