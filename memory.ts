/**
 * A network in memory, for tests: servers and sockets run on it unchanged, in virtual time if one likes, and under
 * whatever conditions the test dictates.
 *
 * ```ts
 * import { BufferedStream, isDisconnect, Server, Socket } from "@x/concurrence";
 * import { memoryNetwork, virtualTime } from "@x/concurrence/testing";
 *
 * async function echo(socket: Socket) {
 *   const stream = new BufferedStream(socket);
 *   try {
 *     for await (const line of stream.reader.readLines()) {
 *       stream.writer.writeLine(line);
 *       await stream.writer.flush();
 *     }
 *   } catch (error) {
 *     if (!isDisconnect(error)) throw error;
 *   }
 * }
 *
 * await using time = virtualTime();
 * using network = memoryNetwork({ latency: 50 });
 * await using server = Server.serve({ port: 9010 }, echo);
 * await using client = new BufferedStream(await Socket.connect({ port: 9010 }));
 *
 * client.writer.writeLine("hello");
 * await client.writer.flush();
 * console.log(await client.reader.readLine(), time.now); // hello 200
 *
 * {
 *   using _ = network.partition();
 *   client.writer.writeLine("is anybody there?");
 *   await client.writer.flush(); // the bytes are on their way
 *   await time.advance(60_000);
 * }
 * console.log(await client.reader.readLine(), time.now); // is anybody there? 60250
 *
 * network.connections[0]!.reset();
 * console.log(await client.reader.readLine().catch(isDisconnect)); // true
 * ```
 *
 * Runtime-neutral: where there is no Deno, errors are plain ones of the same names.
 *
 * @module
 */
import { type End, errorOf, Link, type MemoryConnection, type Porter, Turns } from "./link.ts";
import { Deque } from "./mailbox.ts";
import { systemError } from "./net.ts";
import {
  type Address,
  type Connection,
  type Listener,
  type ListenOptions,
  type Network,
  type ServerAddress,
  useNetwork,
} from "./network.ts";
import { randomOf } from "./schedule.ts";
import { checkBytes, Conditions, type NetworkConditions } from "./wire.ts";

export type { MemoryConnection } from "./link.ts";
export type { NetworkConditions } from "./wire.ts";

/** How a network in memory begins. */
export interface MemoryNetworkOptions {
  /** Milliseconds that everything takes, each way. @default {0} */
  latency?: number | undefined;
  /** Bytes a second that pass, each way. @default {Infinity} */
  bandwidth?: number | undefined;
  /** How many bytes a read gives at most. @default {Infinity} */
  chunk?: number | undefined;
  /**
   * How many bytes may be on their way or unread, each way; further writes wait.
   *
   * @default {65536}
   */
  window?: number | undefined;
  /**
   * How many connections may wait for a listener to accept them; further ones wait to be connected.
   *
   * @default {511}
   */
  backlog?: number | undefined;
  /**
   * With it, each read gives and each write takes a random number of bytes, often few: always the same ones for the same
   * seed.
   */
  seed?: number | undefined;
}

/**
 * A network in memory, in charge until disposed.
 *
 * - **Order**: bytes arrive once, and in the order in which they were sent, whatever happens to the connection.
 * - **Backpressure**: no more than the window is held for a peer that does not read; writes wait until it does.
 * - **Closing**: as with TCP, each side ends on its own; what was sent before is still read. Sending to an end that has
 *   closed, or closing with bytes unread, breaks the connection for the other one.
 * - **Failure**: errors are those of the system, so that `isDisconnect` and `catch` clauses meet what they know.
 * - **Time** is that of the library: in virtual time, no latency, timeout or partition takes any. But virtual time does
 *   not go on while there is something to do, so give a peer that sends without end a latency or a bandwidth.
 *
 * It knows every hostname: each is a machine of its own, and `0.0.0.0` listens on all of them.
 */
export interface MemoryNetwork extends NetworkConditions, Network, Disposable {
  /** The connections that neither both ends have closed nor something has broken, oldest first. */
  readonly connections: readonly MemoryConnection[];
  /** Called with each connection when it is made, before a byte has passed. */
  onConnection: ((connection: MemoryConnection) => void) | undefined;
  /**
   * The connection of which `socket` is an end.
   *
   * @throws {Error} If there is none, or the addresses, as those of unix sockets, do not tell which it is.
   */
  connectionOf(socket: { readonly localAddress: Address; readonly remoteAddress: Address }): MemoryConnection;
}

/**
 * Puts a network in memory in charge of all that listens or connects, until disposed. What is left of it then is closed.
 * Disposing it twice is harmless.
 *
 * @throws {RangeError} If an option makes no sense.
 */
export function memoryNetwork(options: MemoryNetworkOptions = {}): MemoryNetwork {
  return new Memory(options);
}

const FIRST_PORT = 49_152;
const LAST_PORT = 65_535;

class Memory extends Conditions implements MemoryNetwork {
  readonly isInside = true;
  readonly #window: number;
  readonly #backlog: number;
  readonly #random: (() => number) | undefined;
  readonly #doors = new Set<Door>();
  readonly #links = new Set<Link>();
  readonly #ports = new Set<number>(); // of clients
  readonly #restored: Disposable;
  #nextPort = FIRST_PORT;
  #knocks = 0;
  onConnection: ((connection: MemoryConnection) => void) | undefined;

  constructor({ latency, bandwidth, chunk, window = 65_536, backlog = 511, seed }: MemoryNetworkOptions) {
    super(undefined, () => this.#links.forEach((link) => link.go()));
    this.#window = checkBytes("create network", "window", window);
    this.#backlog = checkBytes("create network", "backlog", backlog);
    if (latency !== undefined) this.latency = latency;
    if (bandwidth !== undefined) this.bandwidth = bandwidth;
    if (chunk !== undefined) this.chunk = chunk;
    if (seed !== undefined) this.#random = randomOf(seed);
    this.#restored = useNetwork(this);
  }

  get connections(): readonly MemoryConnection[] {
    return [...this.#links].filter((link) => link.isMade);
  }

  connectionOf({ localAddress, remoteAddress }: Ends): MemoryConnection {
    const ends = [format(localAddress), format(remoteAddress)];
    const found = this.connections.filter(({ client, server }) =>
      ends.includes(format(client)) && ends.includes(format(server))
    );
    if (found.length === 1) return found[0]!;
    throw new Error(`Cannot find connection: ${found.length} are open between ${ends.join(" and ")}`);
  }

  listen(address: ServerAddress, { reusePort }: ListenOptions): Listener {
    if ("cert" in address && address.cert !== undefined) {
      throw systemError("NotSupported", "Cannot listen: a network in memory has no TLS");
    }
    const place = placeOf(address);
    if (!("path" in place) && place.port === 0) place.port = this.#freePort();
    const isTaken = this.#doorsAt(place).some((door) => !(door.isShared && reusePort));
    if (isTaken) throw errorOf("AddrInUse");
    const door = new Door(place, reusePort, this.#backlog, {
      onMade: (link) => this.onConnection?.(link),
      onClosed: () => void this.#doors.delete(door),
    });
    this.#doors.add(door);
    return door;
  }

  connect(address: Address, signal: AbortSignal): Promise<Connection> {
    const server = placeOf(address);
    const port = this.#freePort();
    const link = new Link(this, {
      client: "path" in server ? { path: "" } : { hostname: "127.0.0.1", port },
      server,
      window: this.#window,
      portion: (n) => this.#portion(n),
      onDown: () => {
        this.#links.delete(link);
        this.#ports.delete(port);
      },
    });
    this.#ports.add(port);
    this.#links.add(link);
    return link.connect(() => this.#doorTo(server), signal);
  }

  #doorsAt(place: Place): Door[] {
    return [...this.#doors].filter((door) => door.isAt(place));
  }

  // Those that share a port take turns.
  #doorTo(place: Place): Door | undefined {
    const doors = this.#doorsAt(place);
    return doors[this.#knocks++ % doors.length];
  }

  #freePort(): number {
    const taken = [...this.#doors].map(({ addr }) => "path" in addr ? 0 : addr.port);
    for (let tries = FIRST_PORT; tries <= LAST_PORT; tries++) {
      const port = this.#nextPort;
      this.#nextPort = port === LAST_PORT ? FIRST_PORT : port + 1;
      if (!this.#ports.has(port) && !taken.includes(port)) return port;
    }
    throw errorOf("AddrNotAvailable");
  }

  // As often fewer than ten bytes as tens, hundreds or thousands.
  #portion(n: number): number {
    return this.#random === undefined ? n : Math.floor((n + 1) ** this.#random());
  }

  [Symbol.dispose](): void {
    this.#restored[Symbol.dispose]();
    for (const link of this.#links) link.reset();
    for (const door of this.#doors) door.close();
  }
}

/** Somebody who listens. */
class Door implements Listener, Porter {
  readonly isInside = true;
  readonly addr: Place;
  readonly isShared: boolean;
  readonly #capacity: number;
  readonly #onMade: (link: Link) => void;
  readonly #onClosed: () => void;
  readonly #backlog = new Deque<End>(); // connected, and not accepted
  readonly #knocking = new Set<Link>(); // not connected, because the backlog is full
  readonly #accepts = new Turns();
  #isClosed = false;

  constructor(
    addr: Place,
    isShared: boolean,
    capacity: number,
    { onMade, onClosed }: { onMade: (link: Link) => void; onClosed: () => void },
  ) {
    this.addr = addr;
    this.isShared = isShared;
    this.#capacity = capacity;
    this.#onMade = onMade;
    this.#onClosed = onClosed;
  }

  isAt(place: Place): boolean {
    if ("path" in this.addr || "path" in place) {
      return "path" in this.addr && format(this.addr) === format(place);
    }
    const { hostname, port } = this.addr;
    return port === place.port && (hostname === place.hostname || isAny(hostname) || isAny(place.hostname));
  }

  accept(): Promise<Connection> {
    if (this.#isClosed) return Promise.reject(listenerClosed());
    return this.#accepts.wait(() => {
      const end = this.#backlog.shift();
      if (end === undefined) return undefined;
      const [next] = this.#knocking;
      if (next !== undefined) this.#let(next);
      if (end.isBroken) throw errorOf("NotConnected");
      return end;
    });
  }

  knock(link: Link): void {
    if (this.#backlog.length === this.#capacity) return void this.#knocking.add(link);
    this.#let(link);
    this.#accepts.go();
  }

  leave(link: Link): void {
    this.#knocking.delete(link);
  }

  #let(link: Link): void {
    this.#knocking.delete(link);
    this.#backlog.push(link.make());
    this.#onMade(link);
  }

  close(): void {
    if (this.#isClosed) throw errorOf("BadResource");
    this.#isClosed = true;
    this.#accepts.fail(listenerClosed());
    for (let end = this.#backlog.shift(); end !== undefined; end = this.#backlog.shift()) end.abort();
    for (const link of this.#knocking) link.refuse();
    this.#knocking.clear();
    this.#onClosed();
  }
}

/** An address with its hostname. */
type Place = { hostname: string; port: number } | { path: string };

/** What tells which connection a socket is an end of. */
type Ends = { readonly localAddress: Address; readonly remoteAddress: Address };

function placeOf(address: Address): Place {
  if ("path" in address) return { path: address.path };
  const { hostname = "localhost", port } = address;
  if (!Number.isInteger(port)) throw new TypeError(`Invalid port: ${port}`);
  if (port < 0 || port > LAST_PORT) throw new RangeError(`Invalid port (out of range): ${port}`);
  return { hostname: hostname === "localhost" ? "127.0.0.1" : hostname, port };
}

function listenerClosed(): Error {
  return systemError("BadResource", "Listener has been closed");
}

function isAny(hostname: string): boolean {
  return hostname === "0.0.0.0" || hostname === "::";
}

function format(address: Address): string {
  return "path" in address ? address.path : `${address.hostname}:${address.port}`;
}
