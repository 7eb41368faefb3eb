/**
 * The networks that servers and sockets run on, each with what the tests of all of them need to know of it.
 *
 * @module
 */
import { once } from "node:events";
import { connect } from "node:net";
import { setImmediate } from "node:timers";
import { type Address, type Handler, type ServeOptions, Server, type ServerAddress, Socket } from "../net.ts";
import { Tasklet } from "../tasklet.ts";
import { memoryNetwork, type MemoryNetworkOptions, virtualTime } from "../testing.ts";
import { type Client, client } from "./client.ts";

const encoder = new TextEncoder();

/** A network under test, in charge until disposed. */
export interface TestNetwork extends AsyncDisposable {
  /** An address that is free to listen on, and to whose server one can connect by `server.address`. */
  free(): ServerAddress;
  /** An address at which nobody listens. */
  nobody(): Address;
  /** Connects somebody who can break the connection from the middle. */
  connectBreakable(address: Address): Promise<Breakable>;
}

/** Somebody who can break his connection, so that the other end meets `ConnectionReset`. */
export interface Breakable extends Disposable {
  /** Sends a text. */
  send(text: string): Promise<void>;
  /**
   * Breaks the connection, once what was sent has arrived.
   *
   * @param other The other end, if it has sent him nothing that he has not read: a unix socket needs that.
   */
  break(other?: Socket): Promise<void>;
}

/** The networks by name. */
const NETWORKS: Readonly<Record<string, () => Promise<TestNetwork>>> = {
  tcp: () => Promise.resolve(new Tcp()),
  unix: async () => new Unix(await Deno.makeTempDir()),
  memory: () => Promise.resolve(new InMemory({})),
  "memory, far and in pieces": () => Promise.resolve(new InMemory({ latency: 5, window: 1000, seed: 1 })),
};

class Tcp implements TestNetwork {
  free(): ServerAddress {
    return { hostname: "localhost", port: 0 };
  }

  nobody(): Address {
    using listener = Deno.listen({ hostname: "localhost", port: 0 });
    return { hostname: "localhost", port: listener.addr.port };
  }

  async connectBreakable(address: Address): Promise<Breakable> {
    const socket = connect((address as { port: number }).port, "localhost");
    await once(socket, "connect");
    return {
      send: (text) => new Promise((resolve) => socket.write(text, () => resolve())),
      break: async () => {
        socket.resetAndDestroy();
        await once(socket, "close");
      },
      [Symbol.dispose]: () => void socket.destroy(),
    };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

class Unix implements TestNetwork {
  readonly #folder: string;
  #sockets = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  free(): ServerAddress {
    return { path: `${this.#folder}/${this.#sockets++}` };
  }

  nobody(): Address {
    return { path: `${this.#folder}/nobody` };
  }

  async connectBreakable(address: Address): Promise<Breakable> {
    const socket = await Socket.connect(address);
    return {
      send: (text) => socket.write(encoder.encode(text)),
      break: async (other) => {
        await other?.write(encoder.encode("x")); // closing on what was not read is what breaks it
        socket.close();
      },
      [Symbol.dispose]: () => socket.close(),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.#folder, { recursive: true });
  }
}

class InMemory implements TestNetwork {
  readonly #time = virtualTime({ patience: 0 });
  readonly #network;

  constructor(options: MemoryNetworkOptions) {
    this.#network = memoryNetwork(options);
  }

  free(): ServerAddress {
    return { hostname: "localhost", port: 0 };
  }

  nobody(): Address {
    return { hostname: "localhost", port: 9 };
  }

  async connectBreakable(address: Address): Promise<Breakable> {
    const socket = await Socket.connect(address);
    return {
      send: (text) => socket.write(encoder.encode(text)),
      break: async () => {
        await Tasklet.sleep(100); // virtual
        this.#network.connectionOf(socket).reset();
      },
      [Symbol.dispose]: () => socket.close(),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#network[Symbol.dispose]();
    await this.#time[Symbol.asyncDispose]();
  }
}

/** Tests a promise on every network. */
export function onEach(promise: string, test: (network: TestNetwork) => Promise<void>): void {
  for (const [name, open] of Object.entries(NETWORKS)) {
    Deno.test(`${promise} (${name})`, { timeout: 30_000 }, async () => {
      await using network = await open();
      await test(network);
    });
  }
}

/** A server whose sockets the test holds in its hands. */
export class Reception implements AsyncDisposable {
  /** The server. */
  readonly server: Server;
  readonly #arrived: Socket[] = [];
  readonly #waiting: ((socket: Socket) => void)[] = [];

  /** Listens on `address`. */
  constructor(address: ServerAddress, options: ServeOptions = {}) {
    const handle: Handler = async (socket) => {
      const next = this.#waiting.shift();
      if (next === undefined) this.#arrived.push(socket);
      else next(socket);
      await Tasklet.wait(socket.closed);
    };
    this.server = Server.serve(address, handle, options);
  }

  /** The next socket that is accepted. */
  next(): Promise<Socket> {
    const socket = this.#arrived.shift();
    if (socket !== undefined) return Promise.resolve(socket);
    return Tasklet.wait(new Promise((resolve) => this.#waiting.push(resolve)));
  }

  /** A connection: the end of the server, and that of who has connected. */
  async pair(): Promise<[here: Socket, there: Socket]> {
    const there = await Socket.connect(this.server.address);
    return [await this.next(), there];
  }

  /** The same, where a plain client has connected. */
  async client(): Promise<[here: Socket, there: Client]> {
    const there = await client((this.server.address as { port: number }).port);
    return [await this.next(), there];
  }

  /** The same, where he who has connected can break it. */
  async breakable(network: TestNetwork): Promise<[here: Socket, there: Breakable]> {
    const there = await network.connectBreakable(this.server.address);
    return [await this.next(), there];
  }

  /** Stops. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.stop();
  }
}

/** One turn of the real event loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
