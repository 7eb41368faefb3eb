/**
 * The network as servers and sockets see it: what they need of an operating system, and who gives it to them.
 *
 * The system's own network is in charge unless another one takes its place ({@linkcode useNetwork}). What listens or is
 * connected already stays with the network it began with.
 *
 * Runtime-neutral: no Deno namespace.
 *
 * @module
 */

/** A TCP address. */
export interface NetAddress {
  /**
   * A name or an IP address.
   *
   * @default {"localhost"}
   */
  hostname?: string | undefined;
  /** The port; to listen on, 0 for any that is free. */
  port: number;
}

/** The address of a unix socket. */
export interface UnixAddress {
  /** The path of the socket. */
  path: string;
}

/** Where to connect to, or where a peer is. */
export type Address = NetAddress | UnixAddress;

/** Where to listen. With `cert` and `key`, connections are encrypted by TLS. */
export type ServerAddress =
  | (NetAddress & {
    /** The certificate chain, in PEM format. */
    cert?: string | undefined;
    /** The private key, in PEM format. */
    key?: string | undefined;
  })
  | UnixAddress;

/** Where one end of a connection is: host and port, or a path, which the client of a unix socket lacks. */
export interface Endpoint {
  /** The IP address. */
  readonly hostname?: string | undefined;
  /** The port. */
  readonly port?: number | undefined;
  /** The path of the unix socket. */
  readonly path?: string | null | undefined;
}

/** One end of a connection: a `Deno.Conn`, or what does the same. */
export interface Connection extends Disposable {
  /** Whether the peer is of this program too: then virtual time knows when nothing more can come, and need not wait. */
  readonly isInside?: boolean | undefined;
  /** Where this end is. */
  readonly localAddr: Endpoint;
  /** Where the other end is. */
  readonly remoteAddr: Endpoint;
  /** Reads into `buffer`: how many bytes, at least one; `null` at the end. */
  read(buffer: Uint8Array): Promise<number | null>;
  /** Writes some of `bytes`: how many, at least one. They may be changed afterwards. */
  write(bytes: Uint8Array): Promise<number>;
  /** Ends this side: the peer reads to the end, and can still send. */
  closeWrite(): Promise<void>;
  /** Closes both sides. What is under way ends with `Interrupted`, what comes after with `BadResource`. */
  close(): void;
}

/** What accepts connections: a `Deno.Listener`, or what does the same. */
export interface Listener {
  /** Whether its peers are of this program too: then virtual time knows when nothing more can come, and need not wait. */
  readonly isInside?: boolean | undefined;
  /** Where it listens; with the port that was picked, if it was to pick one. */
  readonly addr: Endpoint;
  /** The next connection; fails with `BadResource` when the listener is closed. */
  accept(): Promise<Connection>;
  /** Listens no more; whoever was not accepted is reset. */
  close(): void;
}

/** How to listen. */
export interface ListenOptions {
  /** Whether several may listen on the same port. */
  readonly reusePort: boolean;
}

/** What can go wrong in a network, by the names of `Deno.errors`. */
export type SystemErrorName =
  | "AddrInUse"
  | "AddrNotAvailable"
  | "BadResource"
  | "BrokenPipe"
  | "ConnectionRefused"
  | "ConnectionReset"
  | "Interrupted"
  | "NotConnected"
  | "NotFound"
  | "NotSupported";

/**
 * What servers and sockets are built on.
 *
 * What fails does so as in Deno: with an error whose `name` is a {@linkcode SystemErrorName}.
 */
export interface Network {
  /** Whether all its ends are of this program too: then virtual time knows when nothing more can come, and need not wait. */
  readonly isInside?: boolean | undefined;
  /**
   * Listens on `address`, which is bound when it returns.
   *
   * @throws An error of the name `AddrInUse` if the address is taken.
   */
  listen(address: ServerAddress, options: ListenOptions): Listener;
  /** Connects to `address`, without TLS. When `signal` is aborted, it fails, or gives the connection all the same. */
  connect(address: Address, signal: AbortSignal): Promise<Connection>;
}

let replacement: Network | undefined;

/** The network that has been put in charge; `undefined` if that is the system's. */
export function currentNetwork(): Network | undefined {
  return replacement;
}

/** Puts `network` in charge of whatever listens or connects from now on, until disposed. For tests. */
export function useNetwork(network: Network): Disposable {
  const previous = replacement;
  replacement = network;
  return {
    [Symbol.dispose]: () => {
      if (replacement === network) replacement = previous; // otherwise it has been disposed already
    },
  };
}
