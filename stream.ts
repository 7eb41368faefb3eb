/**
 * Buffered streams: lines and bytes to and from something that takes and gives bytes.
 *
 * Reading and writing belong to the stream, not to the tasklet that waits for them: one that is killed meanwhile takes
 * nothing with it, and leaves nothing half written.
 *
 * Runtime-neutral: a socket is whatever has the methods of {@linkcode ByteStream}.
 *
 * @module
 */
import { running } from "./context.ts";
import { LineBuffer } from "./lines.ts";
import { Pace, type PaceOptions } from "./pace.ts";
import { pass, sleep, suspend, waitFor } from "./suspend.ts";
import { TelnetFilter } from "./telnet.ts";
import { checkMs, now, Timeout, TimeoutError } from "./timer.ts";
import { type Origin, TaskletExit, Wait, type Waiter, type WaitOptions } from "./wait.ts";

/** What a {@linkcode BufferedStream} is laid over: a socket. */
export interface ByteStream {
  /** Whether the peer may be outside of this program, so that virtual time has patience with it. @default {false} */
  readonly isOutside?: boolean | undefined;
  /** Reads into `buffer`: how many bytes, at least one; `null` at the end. */
  read(buffer: Uint8Array): Promise<number | null>;
  /** Writes some of `bytes`: how many, at least one. */
  writeSome(bytes: Uint8Array): Promise<number>;
  /** Ends the writing side alone, where that can be done. */
  closeWrite?(): Promise<void>;
  /** Closes both directions. Harmless twice. */
  close(): void;
}

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

/** More was queued for writing than may be. Nothing of the last `write` was. */
export class WriteOverflowError extends Error {
  /** `"WriteOverflowError"`. */
  override readonly name = "WriteOverflowError";
  /** How many bytes may be queued. */
  readonly maxBuffered: number;

  /** Creates the error for queues of more than `maxBuffered` bytes. */
  constructor(maxBuffered: number) {
    super(`Cannot write: more than ${maxBuffered} bytes would wait to be sent`);
    this.maxBuffered = maxBuffered;
  }
}

/** The stream ended before all that was wanted had come. */
export class UnexpectedEndError extends Error {
  /** `"UnexpectedEndError"`. */
  override readonly name = "UnexpectedEndError";
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
   */
  async close({ stall = 1000, timeout = Infinity, linger = 0 }: CloseOptions = {}): Promise<boolean> {
    const end = timeout === Infinity ? Infinity : now() + timeout;
    let exit: TaskletExit | undefined;
    try {
      while (this.writer.buffered > 0) {
        const left = Math.min(stall - this.writer.stalled, end - now());
        if (left <= 0) break;
        try {
          await this.writer.flush({ timeout: left });
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

const NOTHING = new Uint8Array(0);

/** The reading side of a {@linkcode BufferedStream}. Lines and bytes may be read in turn, by one tasklet at a time. */
export class BufferedReader {
  readonly #socket: ByteStream;
  readonly #buffer: LineBuffer;
  readonly #filter: TelnetFilter | undefined;
  readonly #answers: BufferedWriter | undefined;
  readonly #pace: Pace | undefined;
  #failure: { readonly error: unknown } | undefined;
  #first: ReadWait | undefined; // who waits longest; then down the line by `behind`
  #isAdvancing = false; // bytes are being split, or read into #room
  #room: Uint8Array = NOTHING;

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
    return this.#take(LINE, this.#takeLine);
  }

  // Nothing is taken before its time, so a kill meanwhile loses nothing.
  async #readLineAtPace(pace: Pace): Promise<string | null> {
    const delay = pace.delay(now());
    if (delay > 0) await sleep(delay);
    const line = await this.#take(LINE, this.#takeLine);
    if (line !== null) pace.count(now());
    return line;
  }

  /** Reads lines until the end; `break` leaves the rest for later. */
  readLines(): AsyncIterableIterator<string> {
    // Written by hand: in the body of an async generator, the running tasklet is whoever calls `next`.
    const takeResult = () => resultOf(this.#takeLine());
    const iterator: AsyncIterableIterator<string> = {
      next: () => this.#pace === undefined ? this.#take(LINE, takeResult) : this.readLine().then(resultOf),
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
    return this.#take(1, () => this.#buffer.length === 0 ? null : this.#buffer.takeBytes(max));
  }

  /**
   * Reads `n` bytes, fewer only at the end.
   *
   * @returns A copy; `null` if the end has come before.
   */
  readBytes(n: number): Promise<Uint8Array<ArrayBuffer> | null> {
    checkCount("n", n, 0);
    return this.#take(n, () => this.#buffer.length === 0 && n > 0 ? null : this.#buffer.takeBytes(n));
  }

  /**
   * Reads exactly `n` bytes.
   *
   * @throws {UnexpectedEndError} If the end comes before; what has come stays unread.
   */
  readExactly(n: number): Promise<Uint8Array<ArrayBuffer>> {
    checkCount("n", n, 0);
    return this.#take(n, () => {
      if (this.#buffer.length >= n) return this.#buffer.takeBytes(n);
      throw new UnexpectedEndError(`Cannot read ${n} bytes: the stream ended after ${this.#buffer.length}`);
    });
  }

  // A property, so that a line costs no closure.
  readonly #takeLine = (): string | null => this.#buffer.takeLine()!;

  // Waits until so many bytes are there, or the end, and takes what is wanted of them.
  #take<T>(bytes: number | typeof LINE, take: () => T): Promise<T> {
    if (this.#isThere(bytes)) return pass(take);
    const wait = new ReadWait<T>(bytes, take, originOf(this.#socket), this.#leave);
    if (wait.begin()) {
      this.#join(wait as ReadWait);
      if (!this.#isAdvancing) this.#advance();
    }
    return wait.promise;
  }

  #isThere(bytes: number | typeof LINE): boolean {
    if (bytes === LINE) return !this.#buffer.mustSplit;
    return this.#buffer.length >= bytes || this.#buffer.hasEnded;
  }

  #join(wait: ReadWait): void {
    if (this.#first === undefined) return void (this.#first = wait);
    let last = this.#first;
    while (last.behind !== undefined) last = last.behind;
    last.behind = wait;
  }

  readonly #leave = (wait: ReadWait): void => {
    if (this.#first === wait) {
      this.#first = wait.behind;
    } else {
      let previous = this.#first;
      while (previous !== undefined && previous.behind !== wait) previous = previous.behind;
      if (previous !== undefined) previous.behind = wait.behind;
    }
    wait.behind = undefined;
  };

  // Splits or reads on for who waits longest, if anybody does. What it has begun outlives whoever wanted it.
  #advance(isSplit = false): void {
    this.#isAdvancing = this.#first !== undefined;
    if (this.#first === undefined) return;
    if (this.#first.bytes === LINE && this.#buffer.length > 0 && (!isSplit || this.#buffer.hasEnded)) {
      this.#buffer.split().then(this.#hasSplit, this.#hasFailed);
    } else if (this.#failure !== undefined) {
      this.#hasFailed(this.#failure.error);
    } else {
      this.#room = this.#buffer.room(this.#first.bytes === LINE ? 0 : CHUNK);
      running.exit(this.#read); // in nobody's name
    }
  }

  readonly #read = (): void => {
    try {
      this.#socket.read(this.#room).then(this.#hasRead, this.#hasFailed);
    } catch (error) {
      this.#hasFailed(error); // a socket that throws at once is as gone as one that rejects
    }
  };

  readonly #hasRead = (n: number | null): void => {
    if (n === null) this.#buffer.end();
    else this.#keep(n);
    this.#endWaits();
    this.#advance();
  };

  readonly #hasSplit = (): void => {
    this.#endWaits();
    this.#advance(true);
  };

  #keep(n: number): void {
    if (this.#filter === undefined) return this.#buffer.filled(n);
    const { length, answers } = this.#filter.filter(this.#room.subarray(0, n));
    this.#buffer.filled(length);
    if (this.#filter.hasEnded) this.#buffer.end();
    if (answers.length > 0) this.#answers!.sendAside(new Uint8Array(answers));
  }

  // Ends the waits of those for whom enough has come.
  #endWaits(): void {
    for (let wait = this.#first; wait !== undefined && this.#isThere(wait.bytes); wait = this.#first) {
      wait.end();
    }
  }

  readonly #hasFailed = (error: unknown): void => {
    // A peer that was silent for too long may still speak.
    if (!(error instanceof TimeoutError)) this.#failure = { error };
    this.#isAdvancing = false;
    for (let wait = this.#first; wait !== undefined; wait = this.#first) wait.fail(error);
  };
}

// What a reader waits for that is not a number of bytes.
const LINE = "line";
// How many bytes are read at once, at least, for who does not want lines.
const CHUNK = 4096;

/** A wait for what comes in. */
class ReadWait<T = unknown> extends Wait<T> {
  /** How many bytes must be there. */
  readonly bytes: number | typeof LINE;
  /** The one behind. Kept by the reader alone. */
  behind: ReadWait | undefined;
  readonly #take: () => T;
  readonly #leave: (wait: ReadWait) => void;

  constructor(
    bytes: number | typeof LINE,
    take: () => T,
    origin: Origin,
    leave: (wait: ReadWait) => void,
  ) {
    super(running.getStore() as Waiter | undefined, false, origin);
    this.bytes = bytes;
    this.#take = take;
    this.#leave = leave;
  }

  override describe(): string {
    return "for bytes from a socket";
  }

  /** Ends well, with what has come. */
  end(): void {
    let taken: T;
    try {
      taken = this.#take();
    } catch (error) {
      return this.fail(error);
    }
    this.resume(taken);
  }

  protected override left(): void {
    this.#leave(this as ReadWait);
  }
}

/** A wait until what was queued has been sent. */
class FlushWait extends Wait<void> {
  /** How many bytes must have been sent since the beginning. */
  upTo = 0;
  readonly #others: FlushWait[];

  constructor(others: FlushWait[], origin: Origin) {
    super(running.getStore() as Waiter | undefined, false, origin);
    this.#others = others;
  }

  override describe(): string {
    return "for a socket to take bytes";
  }

  protected override left(early: boolean): void {
    if (early) this.#others.splice(this.#others.indexOf(this), 1);
  }
}

/** The writing side of a {@linkcode BufferedStream}. */
export class BufferedWriter {
  readonly #socket: ByteStream;
  readonly #maxBuffered: number;
  readonly #stallTimeout: number;
  // What is queued: bytes, then texts that are not encoded yet. These are counted as if each character took three bytes,
  // and encoded to know better only when that would be too much.
  #parts: Uint8Array[] = [];
  #texts: string[] = [];
  #length = 0; // characters in #texts
  #queued = 0; // bytes in #parts
  #left: Uint8Array = NOTHING; // of what is on its way
  #sending = 0; // bytes of it
  #sent = 0; // bytes since the beginning
  readonly #flushes: FlushWait[] = []; // in order of `upTo`
  #isSending = false;
  #stalledSince = 0;
  #failure: { readonly error: unknown } | undefined;

  /** Use {@linkcode BufferedStream}. */
  constructor(socket: ByteStream, maxBuffered: number, stallTimeout: number) {
    checkMs("create buffered stream", "stallTimeout", stallTimeout);
    if (!(maxBuffered === Infinity || Number.isSafeInteger(maxBuffered)) || maxBuffered < 1) {
      throw new RangeError(
        `Cannot create buffered stream: "maxBuffered" must be a positive integer, got ${maxBuffered}`,
      );
    }
    this.#socket = socket;
    this.#maxBuffered = maxBuffered;
    this.#stallTimeout = stallTimeout;
  }

  /** Whether the peer has gone, so that what was queued is lost. */
  get hasFailed(): boolean {
    return this.#failure !== undefined;
  }

  /** How many bytes wait to be sent, at least: text counts a byte a character until it is on its way. */
  get buffered(): number {
    return this.#queued + this.#length + this.#sending;
  }

  /** For how many milliseconds the socket has taken nothing of what is being sent; 0 if nothing is. */
  get stalled(): number {
    return this.#isSending ? now() - this.#stalledSince : 0;
  }

  /**
   * Queues text, or bytes, which are taken over and not copied. Call {@linkcode BufferedWriter.flush} to send.
   *
   * What is written to a peer that has gone is lost, and the next flush tells.
   *
   * @throws {WriteOverflowError} If more than `maxBuffered` bytes would wait.
   */
  write(data: string | Uint8Array): void {
    if (typeof data === "string") this.#writeText(data, "");
    else this.#writeBytes(data);
  }

  /** Queues text and a line end (LF), as {@linkcode BufferedWriter.write}. */
  writeLine(text: string): void {
    this.#writeText(text, "\n");
  }

  #writeText(text: string, end: string): void {
    const length = text.length + end.length;
    if (this.#sending + this.#queued + 3 * (this.#length + length) > this.#maxBuffered) {
      return this.#writeBytes(encoder.encode(text + end));
    }
    if (this.#failure !== undefined) return;
    this.#texts.push(text);
    if (end !== "") this.#texts.push(end);
    this.#length += length;
  }

  #writeBytes(bytes: Uint8Array): void {
    if (this.#failure !== undefined) return;
    this.#encode();
    if (this.buffered + bytes.length > this.#maxBuffered) throw new WriteOverflowError(this.#maxBuffered);
    this.#add(bytes);
  }

  /**
   * Sends all that is queued, in as few writes as possible, waiting for room.
   *
   * If the wait ends early, what was queued goes on being sent, until the socket is closed.
   *
   * @param options.timeout Milliseconds to wait at most. @default {Infinity}
   * @throws What ended the sending, such as a peer that has gone.
   * @throws {TimeoutError} If not all was sent in time.
   */
  flush({ timeout = Infinity }: WaitOptions = {}): Promise<void> {
    if (this.#failure !== undefined) return pass(() => this.#throwFailure());
    this.#encode();
    const left = this.buffered;
    if (left === 0) return pass(() => {});
    if (!this.#isSending) this.#send();
    checkMs("flush", "timeout", timeout);
    const wait = new FlushWait(this.#flushes, originOf(this.#socket));
    wait.upTo = this.#sent + left;
    if (wait.begin(timeout)) this.#flushes.push(wait);
    return wait.promise;
  }

  #throwFailure(): never {
    throw this.#failure!.error;
  }

  /** Sends bytes that nobody waits for, if there is room. */
  sendAside(bytes: Uint8Array): void {
    if (this.#failure !== undefined || this.buffered + bytes.length > this.#maxBuffered) return;
    this.#add(bytes);
    if (!this.#isSending) this.#send();
  }

  // Sends until nothing is queued, in nobody's name. Whoever flushes gets the error, or whoever writes next.
  #send(): void {
    this.#isSending = true;
    running.exit(this.#sendNext); // holds until it returns, and costs a hundredth of `run`
  }

  // Properties, so that a write costs no closures.
  readonly #sendNext = (): void => {
    if (this.#left.length === 0) this.#left = this.#take();
    if (this.#left.length === 0) return void (this.#isSending = false);
    this.#stalledSince = now();
    this.#writeSome(this.#left).then(this.#sentSome, this.#failed);
  };

  readonly #sentSome = (n: number): void => {
    this.#left = n === this.#left.length ? NOTHING : this.#left.subarray(n);
    this.#sending -= n;
    this.#sent += n;
    for (
      let next = this.#flushes[0];
      next !== undefined && next.upTo <= this.#sent;
      next = this.#flushes[0]
    ) {
      this.#flushes.shift();
      next.resume();
    }
    running.exit(this.#sendNext);
  };

  readonly #failed = (error: unknown): void => {
    this.#isSending = false;
    this.#failure = { error };
    for (const flush of this.#flushes.splice(0)) flush.fail(error);
    this.#left = NOTHING;
    this.#parts = [];
    this.#texts = [];
    this.#length = this.#queued = this.#sending = 0;
  };

  #writeSome(bytes: Uint8Array): Promise<number> {
    try {
      const written = this.#socket.writeSome(bytes);
      if (this.#stallTimeout === Infinity) return written;
      return waitFor(
        written,
        this.#stallTimeout,
        "for a socket to take bytes",
        originOf(this.#socket),
      );
    } catch (error) {
      return Promise.reject(error); // a socket that throws at once is as gone as one that rejects
    }
  }

  #take(): Uint8Array {
    this.#encode();
    if (this.#parts.length === 0) return NOTHING;
    const bytes = this.#parts.length === 1 ? this.#parts[0]! : concat(this.#parts, this.#queued);
    this.#parts = [];
    this.#sending = this.#queued;
    this.#queued = 0;
    return bytes;
  }

  #encode(): void {
    if (this.#length === 0) return;
    this.#add(encode(this.#texts, this.#length));
    this.#texts = [];
    this.#length = 0;
  }

  #add(bytes: Uint8Array): void {
    this.#parts.push(bytes);
    this.#queued += bytes.length;
  }
}

function originOf(socket: ByteStream): Origin {
  return socket.isOutside ? "outside" : "inside";
}

const encoder = new TextEncoder();

// A multicast writes the same texts to many streams, one after the other: they are made and encoded once. Strings that
// are the same object are compared at no cost; long ones are not kept for what may never come.
const LONGEST_KEPT = 65_536;
let encodedTexts: readonly string[] = [];
let encodedBytes = NOTHING;

// The bytes must not be changed, since others may have them, too.
function encode(texts: readonly string[], length: number): Uint8Array {
  if (length > LONGEST_KEPT) return encoder.encode(texts.join(""));
  if (!areEqual(texts, encodedTexts)) {
    encodedTexts = texts;
    encodedBytes = encoder.encode(texts.join(""));
  }
  return encodedBytes;
}

function areEqual(texts: readonly string[], others: readonly string[]): boolean {
  if (texts.length !== others.length) return false;
  for (let i = 0; i < texts.length; i++) if (texts[i] !== others[i]) return false;
  return true;
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

function concat(parts: readonly Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
