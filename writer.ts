/**
 * The writing side of buffered streams: what is queued goes out in as few writes as possible.
 *
 * Writing belongs to the stream, not to the tasklet that waits for it: one that is killed meanwhile leaves nothing half
 * written.
 *
 * Runtime-neutral.
 *
 * @module
 */
import { running } from "./context.ts";
import { Line, type Place } from "./mailbox.ts";
import { pass, waitFor } from "./suspend.ts";
import { checkMs, now } from "./timer.ts";
import { type Origin, Wait, type Waiter, type WaitOptions } from "./wait.ts";

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

/** Where what a socket gives and takes comes from and goes to. */
export function originOf(socket: ByteStream): Origin {
  return socket.isOutside ? "outside" : "inside";
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

/** A wait until what was queued has been sent. */
class FlushWait extends Wait<void> implements Place<FlushWait> {
  earlier: FlushWait | undefined;
  later: FlushWait | undefined;
  /** How many bytes must have been sent since the beginning. */
  readonly upTo: number;
  readonly #line: Line<FlushWait>;

  constructor(line: Line<FlushWait>, upTo: number, origin: Origin) {
    super(running.getStore() as Waiter | undefined, false, origin);
    this.#line = line;
    this.upTo = upTo;
  }

  override describe(): string {
    return "for a socket to take bytes";
  }

  protected override left(): void {
    this.#line.leave(this);
  }
}

// How many bytes that nobody wrote may be queued, whatever `maxBuffered`: a peer that asks and asks, and never reads the
// answers, is no reason to fill the memory.
const MOST_ASIDE = 4096;
const NOTHING = new Uint8Array(0);
const settled = Promise.resolve();
// Those who begin to send when all have run who can: a system call after the other, with nothing in between, takes a
// tenth less time.
let beginning: BufferedWriter[] = [];
// One for all who have none. Nothing is ever pushed to it: the first of several makes an array of its own.
const NONE: never[] = [];

/** The writing side of a {@linkcode BufferedStream}. */
export class BufferedWriter {
  readonly #socket: ByteStream;
  readonly #maxBuffered: number;
  readonly #stallTimeout: number;
  // What is queued: bytes, then texts that are not encoded yet. These are counted as if each character took three bytes,
  // and encoded to know better only when that would be too much.
  #parts: Uint8Array[] = NONE;
  #texts: string[] = NONE;
  #length = 0; // characters in #texts
  #queued = 0; // bytes in #parts
  #aside = 0; // of these, the ones that nobody wrote
  #left: Uint8Array = NOTHING; // of what is on its way
  #sending = 0; // bytes of it
  #sent = 0; // bytes since the beginning
  #flushes: Line<FlushWait> | undefined; // in order of `upTo`
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
    return this.#sending > 0 ? now() - this.#stalledSince : 0;
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
    if (this.#failure !== undefined || length === 0) return; // what has no bytes is never sent, so it must not queue up
    if (this.#texts === NONE) this.#texts = [text, end]; // a literal, because an empty one grows to 17 places at once
    else this.#texts.push(text, end);
    this.#length += length;
  }

  #writeBytes(bytes: Uint8Array): void {
    if (this.#failure !== undefined || bytes.length === 0) return;
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
    checkMs("flush", "timeout", timeout);
    if (this.#failure !== undefined) return pass(() => this.#throwFailure());
    this.#encode();
    const left = this.buffered;
    if (left === 0) return pass(() => {});
    if (!this.#isSending) this.#begin();
    const flushes = this.#flushes ??= new Line();
    const wait = new FlushWait(flushes, this.#sent + left, originOf(this.#socket));
    if (wait.begin(timeout)) flushes.join(wait);
    return wait.promise;
  }

  /**
   * Begins to send all that is queued, without waiting. What the socket has not taken when it is closed is lost: if that
   * matters, {@linkcode BufferedWriter.flush} at the end, or close the stream and not the socket.
   *
   * @returns Whether all that was sent before has been taken. If it has not, or if the peer has gone, call
   * {@linkcode BufferedWriter.flush} before writing more.
   */
  send(): boolean {
    const isFree = !this.#isSending && this.#failure === undefined;
    if (isFree && this.buffered > 0) this.#begin();
    return isFree;
  }

  #throwFailure(): never {
    throw this.#failure!.error;
  }

  /** Sends bytes that nobody waits for, if there is room. */
  sendAside(bytes: Uint8Array): void {
    if (this.#failure !== undefined || this.buffered + bytes.length > this.#maxBuffered) return;
    if (this.#aside + bytes.length > MOST_ASIDE) return;
    this.#aside += bytes.length;
    this.#add(bytes);
    if (!this.#isSending) this.#begin();
  }

  // Sends until nothing is queued, in nobody's name. Whoever flushes gets the error, or whoever writes next.
  #begin(): void {
    this.#isSending = true;
    if (beginning.push(this) === 1) void settled.then(BufferedWriter.#beginOutside);
  }

  static readonly #beginOutside = (): void => running.exit(BufferedWriter.#beginAll);

  static #beginAll(this: void): void {
    const writers = beginning;
    const at = now();
    beginning = [];
    for (const writer of writers) writer.#sendNext(at);
  }

  #sendNext(at: number): void {
    this.#stalledSince = at;
    this.#writeSome().then((n) => this.#sentSome(n), (error) => this.#failed(error));
  }

  #sentSome(n: number): void {
    this.#left = n === this.#left.length ? NOTHING : this.#left.subarray(n);
    this.#sending -= n;
    this.#sent += n;
    let next = this.#flushes?.first;
    for (; next !== undefined && next.upTo <= this.#sent; next = this.#flushes?.first) next.resume();
    if (this.buffered === 0) return void (this.#isSending = false);
    this.#stalledSince = now();
    this.#begin();
  }

  #failed(error: unknown): void {
    this.#isSending = false;
    this.#failure = { error };
    for (let wait = this.#flushes?.first; wait !== undefined; wait = this.#flushes?.first) wait.fail(error);
    this.#left = NOTHING;
    this.#parts = NONE;
    this.#texts = NONE;
    this.#length = this.#queued = this.#sending = 0;
  }

  #writeSome(): Promise<number> {
    try {
      if (this.#left.length === 0) this.#left = this.#take();
      const written = this.#socket.writeSome(this.#left);
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

  // All that is queued.
  #take(): Uint8Array {
    if (this.#parts !== NONE) this.#encode();
    const bytes = this.#parts === NONE
      ? this.#takeTexts()
      : this.#parts.length === 1
      ? this.#parts[0]!
      : concat(this.#parts, this.#queued);
    this.#parts = NONE;
    this.#queued = this.#aside = 0;
    this.#sending = bytes.length;
    return bytes;
  }

  #encode(): void {
    if (this.#length > 0) this.#add(this.#takeTexts());
  }

  #takeTexts(): Uint8Array {
    const bytes = encode(this.#texts, this.#length);
    this.#texts = NONE;
    this.#length = 0;
    return bytes;
  }

  #add(bytes: Uint8Array): void {
    if (this.#parts === NONE) this.#parts = [bytes];
    else this.#parts.push(bytes);
    this.#queued += bytes.length;
  }
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

function concat(parts: readonly Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
