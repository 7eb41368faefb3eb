/**
 * Servers and sockets for tasklets: each connection is one.
 *
 * ```ts
 * import { BufferedStream, Server, Socket, Tasklet } from "@x/concurrence";
 *
 * async function echo(socket: Socket) {
 *   const stream = new BufferedStream(socket);
 *   for await (const line of stream.reader.readLines()) {
 *     stream.writer.writeLine(line);
 *     await stream.writer.flush();
 *   }
 * }
 *
 * const task = Tasklet.new(async () => {
 *   await using server = Server.serve({ hostname: "localhost", port: 0 }, echo);
 *   await using client = new BufferedStream(await Socket.connect({ hostname: "localhost", port: server.port }));
 *   client.writer.writeLine("Hello");
 *   await client.writer.flush();
 *   console.log(await client.reader.readLine()); // "Hello"
 * })();
 * await task.join();
 * ```
 *
 * Needs Deno, and permission to use the network.
 *
 * @module
 */
import { running } from "./context.ts";
import { Line, type Place } from "./mailbox.ts";
import {
  type Address,
  type Connection,
  currentNetwork,
  type Endpoint,
  type Listener,
  type Network,
  type ServerAddress,
  type SystemErrorName,
} from "./network.ts";
import type { ByteStream } from "./stream.ts";
import { endsChildren, onFinish } from "./life.ts";
import { pass, waitFor } from "./suspend.ts";
import { checkMs, now } from "./timer.ts";
import { type KillOptions, Tasklet, type WaitOptions } from "./tasklet.ts";
import { Wait, type Waiter } from "./wait.ts";

export { LineTooLongError } from "./lines.ts";
export { Pace, type PaceOptions } from "./pace.ts";
export {
  type Address,
  type Connection,
  type Endpoint,
  type Listener,
  type ListenOptions,
  type NetAddress,
  type Network,
  type ServerAddress,
  type SystemErrorName,
  type UnixAddress,
  useNetwork,
} from "./network.ts";
export {
  BufferedReader,
  BufferedStream,
  type BufferedStreamOptions,
  BufferedWriter,
  type ByteStream,
  type CloseOptions,
  UnexpectedEndError,
  WriteOverflowError,
} from "./stream.ts";
export { printable } from "./text.ts";

/** How a server is bounded. */
export interface ServeOptions {
  /**
   * How many connections may be open at once, or `Infinity`; further ones wait in the backlog of the operating system.
   *
   * @default {10000}
   */
  maxConnections?: number | undefined;
  /**
   * How many of them from one address, or `Infinity`; further ones are closed at once.
   *
   * @default {Infinity}
   */
  maxPerAddress?: number | undefined;
  /**
   * Milliseconds for which a peer may send nothing; then whoever reads from it gets a `TimeoutError`.
   *
   * @default {Infinity}
   */
  idleTimeout?: number | undefined;
  /**
   * Whether several processes may listen on the same port. Deno 2.9 wants `--unstable-net` for it.
   *
   * @default {false}
   */
  reusePort?: boolean | undefined;
}

interface Bounds {
  readonly maxConnections: number;
  readonly maxPerAddress: number;
  readonly idleTimeout: number;
}

/** What a connection is handled with. It runs as a tasklet of its own. */
export type Handler = (socket: Socket) => unknown;

// What a listener that has run out of descriptors waits for: that somebody closes something.
const DESCRIPTOR_PAUSE = 100;

/**
 * A listening socket, with a tasklet for each connection.
 *
 * - **Ownership**: the server is a child of the tasklet that started it, and each handler is a child of the server.
 *   When a handler ends in any way, its tasklets are killed and its socket is closed.
 * - **Failure**: the error of a handler is reported; the server lives on, also when the operating system runs out of
 *   descriptors.
 * - **Closing**: {@linkcode Server.stop}, or killing the tasklet it belongs to: nothing new is accepted, then the
 *   handlers are killed and may clean up, then all is closed.
 */
export class Server implements AsyncDisposable {
  /** Where it listens; with the port that was picked, if it was to pick one. */
  readonly address: Address;
  readonly #listener: Listener;
  readonly #handle: Handler;
  readonly #attending: { readonly name: string };
  readonly #maxConnections: number;
  readonly #maxPerAddress: number;
  readonly #idleTimeout: number;
  // No `Set`: one that many come to and go from leaves a chain of tables behind it, which keep them from being collected.
  readonly #visits = new Line<Visit>();
  readonly #perAddress = new Map<string, number>(); // how many of them, where that matters
  readonly #task: Tasklet<void>;
  #accepting: Promise<Connection> | undefined;
  #onRoom: (() => void) | undefined; // what waits for a connection to close

  private constructor(listener: Listener, handle: Handler, options: Bounds) {
    this.#listener = listener;
    this.address = addressOf(listener.addr);
    this.#handle = handle;
    this.#attending = { name: handle.name || "handle" };
    this.#maxConnections = options.maxConnections;
    this.#maxPerAddress = options.maxPerAddress;
    this.#idleTimeout = options.idleTimeout;
    this.#task = Tasklet.new(() => this.#acceptAll(), { name: "server" })();
    // Not in the tasklet alone: one that is killed before it starts has no `finally`.
    this.#task.signal.addEventListener("abort", () => close(listener));
  }

  /**
   * Listens on `address`, and calls `handle` with each connection in a tasklet of its own.
   *
   * It has bound the address when it returns.
   *
   * @throws {Deno.errors.AddrInUse} If the address is taken; the text names it.
   * @throws {Error} If this is not Deno, and no other network is in use.
   * @throws {RangeError} If an option makes no sense.
   * @throws {TypeError} If there is a `cert` without a `key`, or the other way round.
   */
  static serve(address: ServerAddress, handle: Handler, options: ServeOptions = {}): Server {
    const { maxConnections = 10_000, maxPerAddress = Infinity, idleTimeout = Infinity } = options;
    for (const [name, n] of Object.entries({ maxConnections, maxPerAddress })) {
      if ((n === Infinity || Number.isSafeInteger(n)) && n >= 1) continue;
      throw new RangeError(`Cannot serve: "${name}" must be a positive integer, got ${n}`);
    }
    checkMs("serve", "idleTimeout", idleTimeout);
    const listener = listen(address, options.reusePort ?? false);
    return new Server(listener, handle, { maxConnections, maxPerAddress, idleTimeout });
  }

  /** The port it listens on; 0 for a unix socket. */
  get port(): number {
    return "port" in this.address ? this.address.port : 0;
  }

  /** How many connections are open. */
  get connections(): number {
    return this.#visits.length;
  }

  /**
   * Stops: accepts nothing more, kills the handlers, and waits until all have cleaned up and are closed.
   *
   * @param options.grace Milliseconds for which the handlers may clean up. @default {5000}
   * @param options.exit What their waits reject with. @default {a new one}
   */
  async stop(options: KillOptions = {}): Promise<void> {
    await this.#task.kill(options);
  }

  /** The same as {@linkcode Server.stop}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #acceptAll(): Promise<void> {
    try {
      while (true) {
        if (this.connections >= this.#maxConnections) await this.#room();
        const connection = await this.#accept();
        if (connection === undefined) return;
        const visit = this.#welcome(new Socket(connection, this.#idleTimeout));
        if (visit !== undefined) this.#attend(visit);
      }
    } finally {
      close(this.#listener);
      // The address is not free before the last accept has noticed.
      await this.#accepting?.then(() => {}, () => {});
    }
  }

  // Takes a socket in, or closes it, if there are too many from where it comes.
  #welcome(socket: Socket): Visit | undefined {
    const from = this.#maxPerAddress === Infinity ? "" : hostOf(socket);
    const others = this.#perAddress.get(from) ?? 0;
    if (others >= this.#maxPerAddress) {
      socket.close();
      return undefined;
    }
    if (from !== "") this.#perAddress.set(from, others + 1);
    const visit: Visit = { socket, from, earlier: undefined, later: undefined };
    this.#visits.join(visit);
    return visit;
  }

  // The next connection, or `undefined` when the listener was closed.
  async #accept(): Promise<Connection | undefined> {
    while (true) {
      try {
        const accept = () => this.#accepting = this.#listener.accept();
        return await taking(accept, () => close(this.#listener), {
          what: "for a connection",
          outside: !this.#listener.isInside,
        });
      } catch (error) {
        if (isNamed(error, "BadResource", "Interrupted")) return undefined;
        if (isOutOfDescriptors(error)) await Tasklet.sleep(DESCRIPTOR_PAUSE);
        else if (!isDisconnect(error)) throw error;
      }
    }
  }

  #room(): Promise<void> {
    return Tasklet.suspend<void>((resume) => {
      this.#onRoom = resume;
      return () => void (this.#onRoom = undefined);
    }, { what: "for a connection to close" });
  }

  // No async function around the handler: for each connection it would be one more to keep.
  #attend(visit: Visit): void {
    const task = Tasklet.new(this.#handle, this.#attending)(visit.socket);
    endsChildren(task);
    onFinish(task, () => this.#part(visit));
  }

  #part(visit: Visit): void {
    visit.socket.close();
    if (!this.#visits.leave(visit)) return;
    const others = (this.#perAddress.get(visit.from) ?? 0) - 1;
    if (others > 0) this.#perAddress.set(visit.from, others);
    else this.#perAddress.delete(visit.from);
    this.#onRoom?.();
  }
}

/** A connection that is served. */
interface Visit extends Place<Visit> {
  readonly socket: Socket;
  /** Its host, where those from one are counted. */
  readonly from: string;
}

let forget: (socket: Socket, reader: Reader) => void;

/**
 * A connection.
 *
 * - **Cancellation**: a killed reader loses nothing, the next one gets the bytes; a write that has begun goes on.
 * - **Closing**: harmless twice. Reads and writes under way end with an error.
 */
export class Socket implements ByteStream, Disposable {
  readonly #connection: Connection;
  /** Whether the peer may be outside of this program. @ignore */
  readonly isOutside: boolean;
  readonly #idleTimeout: number;
  #lastByteAt = 0;
  #isReading = false;
  #reader: Reader | undefined; // who waits for it
  #kept: Uint8Array | undefined; // read for somebody who had gone
  #failure: { readonly error: unknown } | undefined; // of a read for somebody who had gone
  #writing: Promise<void> | undefined; // what was written last, while something is not sent yet
  #unsent = 0; // how many writes that are
  #isClosed = false;
  #closing: PromiseWithResolvers<void> | undefined; // if somebody wants to know of it

  static {
    forget = (socket, reader) => {
      if (socket.#reader === reader) socket.#reader = undefined;
    };
  }

  /** Use {@linkcode Socket.connect}, or {@linkcode Server.serve}. @ignore */
  constructor(connection: Connection, idleTimeout: number = Infinity) {
    this.#connection = connection;
    this.isOutside = !connection.isInside;
    this.#idleTimeout = idleTimeout;
    if (idleTimeout !== Infinity) this.#lastByteAt = now();
    setNoDelay(connection);
  }

  /** Where the peer is. */
  get remoteAddress(): Address {
    return addressOf(this.#connection.remoteAddr);
  }

  /** Where this end is. */
  get localAddress(): Address {
    return addressOf(this.#connection.localAddr);
  }

  /** Resolves when this end has been closed. */
  get closed(): Promise<void> {
    this.#closing ??= Promise.withResolvers();
    if (this.#isClosed) this.#closing.resolve();
    return this.#closing.promise;
  }

  /**
   * Connects to `address`, without TLS.
   *
   * @param options.timeout Milliseconds to wait at most. @default {Infinity}
   * @throws {Deno.errors.ConnectionRefused} If nobody listens there.
   * @throws {Error} If this is not Deno, and no other network is in use.
   * @throws {TimeoutError} If there was no connection in time.
   */
  static async connect(address: Address, { timeout }: WaitOptions = {}): Promise<Socket> {
    const controller = new AbortController();
    const { signal } = controller;
    const net = network("connect");
    const connect = () => net.connect(address, signal);
    const connection = await taking(connect, () => controller.abort(), {
      timeout,
      what: "for a connection",
      outside: !net.isInside,
    });
    return new Socket(connection);
  }

  /**
   * Reads into `buffer`, waiting for at least one byte.
   *
   * If the wait ends early, the bytes that come are kept for the next reader; until then the buffer must not be reused
   * for anything else.
   *
   * @returns How many bytes; `null` at the end.
   * @throws {TimeoutError} If the peer sent nothing for the server's `idleTimeout`.
   * @throws {Error} If another read is under way.
   */
  read(buffer: Uint8Array): Promise<number | null> {
    if (this.#isReading || this.#kept !== undefined || this.#failure !== undefined) return this.#read(buffer);
    if (this.#idleTimeout !== Infinity || running.getStore() !== undefined) {
      return this.#readOnce(buffer) as Promise<number | null>; // into this buffer, as nobody else has begun
    }
    // In nobody's name the wait cannot end early, so nothing has to be kept for others.
    const reading = this.#connection.read(buffer);
    this.#isReading = true;
    this.#reader = NOBODY;
    return reading.then((n) => {
      this.#isReading = false;
      this.#reader = undefined;
      return n;
    }, (error) => {
      this.#isReading = false;
      this.#reader = undefined;
      throw error;
    });
  }

  async #read(buffer: Uint8Array): Promise<number | null> {
    while (this.#kept === undefined) {
      if (this.#failure !== undefined) return await pass(() => this.#throwFailure());
      const n = await this.#readOnce(buffer);
      if (n !== undefined) return n;
    }
    return await pass(() => this.#takeKept(buffer));
  }

  #throwFailure(): never {
    throw this.#failure!.error;
  }

  #takeKept(buffer: Uint8Array): number {
    const kept = this.#kept!;
    const n = Math.min(buffer.length, kept.length);
    buffer.set(kept.subarray(0, n));
    this.#kept = n === kept.length ? undefined : kept.subarray(n);
    return n;
  }

  // `undefined`: what was read is in another buffer, and has been kept.
  #readOnce(buffer: Uint8Array): Promise<number | null | undefined> {
    const reader = new ReadWait(this, buffer);
    if (reader.begin(this.#idleTime())) {
      if (this.#reader !== undefined) reader.fail(new Error("Cannot read: another read is under way"));
      else this.#readFor(reader);
    }
    return reader.promise;
  }

  // A read cannot be taken back, so it goes on when its reader has gone, and the next one joins it.
  #readFor(reader: ReadWait): void {
    this.#reader = reader;
    if (this.#isReading) return;
    const { buffer } = reader;
    this.#isReading = true;
    try {
      this.#connection.read(buffer).then((n) => this.#hasRead(buffer, n), (error) => this.#hasFailed(error));
    } catch (error) {
      this.#hasFailed(error); // a connection that throws at once is as gone as one that rejects
    }
  }

  #hasRead(buffer: Uint8Array, n: number | null): void {
    this.#isReading = false;
    if (this.#idleTimeout !== Infinity) this.#lastByteAt = now();
    const isHere = n === null || this.#reader?.buffer === buffer;
    if (!isHere) this.#kept = buffer.slice(0, n);
    this.#reader?.resume(isHere ? n : undefined);
  }

  #hasFailed(error: unknown): void {
    this.#isReading = false;
    if (this.#reader !== undefined) this.#reader.fail(error);
    else this.#failure = { error }; // the next reader is told
  }

  #idleTime(): number {
    return this.#idleTimeout === Infinity
      ? Infinity
      : Math.max(0, this.#lastByteAt + this.#idleTimeout - now());
  }

  /**
   * Writes all of `bytes`, which must not be changed meanwhile. Writes do not mingle.
   *
   * @throws {Deno.errors.BrokenPipe} If the peer has gone.
   */
  write(bytes: Uint8Array): Promise<void> {
    return this.#afterWrites(() => this.#writeAll(bytes));
  }

  #afterWrites(step: () => Promise<void>): Promise<void> {
    this.#unsent++;
    const writing = this.#writing === undefined ? step() : this.#writing.then(step, step);
    if (this.#unsent > 0) this.#writing = writing; // it may have ended at once
    return this.#taken(writing);
  }

  async #writeAll(bytes: Uint8Array): Promise<void> {
    try {
      for (let left = bytes; left.length > 0;) left = left.subarray(await this.#connection.write(left));
    } finally {
      this.#hasWritten();
    }
  }

  #hasWritten(): void {
    if (--this.#unsent === 0) this.#writing = undefined;
  }

  /**
   * Writes as much of `bytes` as there is room for at once, waiting for at least one byte.
   *
   * @returns How many bytes.
   * @throws {Deno.errors.BrokenPipe} If the peer has gone.
   */
  writeSome(bytes: Uint8Array): Promise<number> {
    const written = this.#connection.write(bytes);
    return running.getStore() === undefined ? written : this.#taken(written);
  }

  #taken<T>(promise: Promise<T>): Promise<T> {
    return waitFor(promise, Infinity, "for a socket to take bytes", this.isOutside ? "outside" : "inside");
  }

  /** Ends this side, after all that was written before: the peer reads to the end, and can still send. */
  closeWrite(): Promise<void> {
    return this.#afterWrites(async () => {
      try {
        await this.#connection.closeWrite();
      } finally {
        this.#hasWritten();
      }
    });
  }

  /** Closes both sides. Harmless twice. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    close(this.#connection);
    this.#closing?.resolve();
  }

  /** The same as {@linkcode Socket.close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Whether `error` says that the peer has gone: a connection that was reset, aborted or closed at the other end. */
export function isDisconnect(error: unknown): boolean {
  return isNamed(error, "BrokenPipe", "ConnectionAborted", "ConnectionReset", "NotConnected", "TimedOut");
}

// Not by their classes: other networks run where there is no Deno, and so no `Deno.errors`.
function isNamed(error: unknown, ...names: string[]): boolean {
  return error instanceof Error && names.includes(error.name);
}

/** An error as the system's network throws it: one of `Deno.errors` or, where there is no Deno, one of that name. */
export function systemError(name: SystemErrorName, message: string, options?: ErrorOptions): Error {
  if (typeof Deno !== "undefined") return new Deno.errors[name](message, options);
  return Object.assign(new Error(message, options), { name });
}

// Empty where there is none: at a unix socket, all peers are of this machine.
function hostOf(socket: Socket): string {
  const { remoteAddress: address } = socket;
  return "path" in address ? "" : address.hostname ?? "";
}

/**
 * Removes the file of a unix socket on which nobody listens any more, because its server was killed.
 *
 * Anything else at `path` stays: a file of another kind, or a socket on which somebody listens.
 *
 * @returns Whether there was one.
 */
export async function removeStaleSocket(path: string): Promise<boolean> {
  try {
    if (!(await Deno.lstat(path)).isSocket) return false;
    using _ = await Socket.connect({ path });
    return false;
  } catch (error) {
    if (isNamed(error, "NotFound")) return false;
    if (!isNamed(error, "ConnectionRefused")) throw error;
  }
  await Deno.remove(path);
  return true;
}

/** Who waits for bytes. */
interface Reader {
  /** Where it wants them. */
  readonly buffer: Uint8Array;
  resume(n: number | null | undefined): void;
  fail(error: unknown): void;
}

/** A wait for bytes. */
class ReadWait extends Wait<number | null | undefined> implements Reader {
  readonly buffer: Uint8Array;
  readonly #socket: Socket;

  constructor(socket: Socket, buffer: Uint8Array) {
    super(running.getStore() as Waiter | undefined, false, socket.isOutside ? "outside" : "inside");
    this.#socket = socket;
    this.buffer = buffer;
  }

  override describe(): string {
    return "for bytes from a socket";
  }

  protected override left(): void {
    forget(this.#socket, this);
  }
}

const NOBODY: Reader = { buffer: new Uint8Array(0), resume: () => {}, fail: () => {} };

// The network of the operating system.
const system: Network = {
  listen(address, { reusePort }) {
    if ("path" in address) return listenAt(address.path);
    const { hostname = "localhost", port, cert, key } = address;
    if (cert === undefined || key === undefined) return Deno.listen({ hostname, port, reusePort });
    return Deno.listenTls({ hostname, port, reusePort, cert, key });
  },
  connect(address, signal) {
    if ("path" in address) return Deno.connect({ transport: "unix", path: address.path });
    const { hostname = "localhost", port } = address;
    return Deno.connect({ hostname, port, signal });
  },
};

// The file of a unix socket goes with its listener.
function listenAt(path: string): Listener {
  const listener = Deno.listen({ transport: "unix", path });
  return {
    addr: listener.addr as Deno.UnixAddr,
    accept: () => listener.accept(),
    close: () => {
      listener.close();
      try {
        Deno.removeSync(path);
      } catch (error) {
        if (!isNamed(error, "NotFound")) throw error; // somebody else has removed it
      }
    },
  };
}

function network(what: string): Network {
  const current = currentNetwork();
  if (current === undefined && typeof Deno === "undefined") {
    throw new Error(`Cannot ${what}: this needs Deno, or another network`);
  }
  return current ?? system;
}

function listen(address: ServerAddress, reusePort: boolean): Listener {
  if (!("path" in address) && (address.cert === undefined) !== (address.key === undefined)) {
    throw new TypeError(`Cannot serve: TLS needs both "cert" and "key"`);
  }
  try {
    return network("serve").listen(address, { reusePort });
  } catch (error) {
    if (!isNamed(error, "AddrInUse")) throw error;
    throw systemError("AddrInUse", `Cannot listen on ${format(address)}: the address is in use`, {
      cause: error,
    });
  }
}

function format(address: Address): string {
  return "path" in address ? address.path : `${address.hostname ?? "localhost"}:${address.port}`;
}

function addressOf({ hostname, port, path }: Endpoint): Address {
  if (port === undefined) return { path: path ?? "" }; // a client of a unix socket has none
  return { hostname, port };
}

/** Waits for something that must be disposed if nobody wants it any more when it comes. */
function taking<T extends Disposable>(
  begin: () => Promise<T>,
  cancel: () => void,
  options: WaitOptions & { what: string; outside: boolean },
): Promise<T> {
  return Tasklet.suspend<T>((resume, fail) => {
    let isWanted = true;
    begin().then((value) => isWanted ? resume(value) : value[Symbol.dispose](), fail);
    return () => {
      isWanted = false;
      cancel();
    };
  }, options);
}

function setNoDelay(connection: Connection): void {
  if (!("setNoDelay" in connection)) return; // a unix socket, or TLS, for which Deno has no way
  try {
    (connection as Deno.TcpConn).setNoDelay(true);
  } catch (error) {
    // The peer has gone already; whoever reads is told.
    if (!isNamed(error, "BadResource") && (error as { code?: string }).code === undefined) throw error;
  }
}

function close(resource: { close(): void }): void {
  try {
    resource.close();
  } catch (error) {
    if (!isNamed(error, "BadResource")) throw error; // otherwise it is closed already
  }
}

function isOutOfDescriptors(error: unknown): boolean {
  const { code } = error as { code?: string };
  return code === "EMFILE" || code === "ENFILE";
}
