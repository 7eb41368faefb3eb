/**
 * NATS as the bus of a cluster.
 *
 * The only module that names it. What it adds to the client of NATS: it tells at once when the connection is lost, it says
 * no instead of keeping what cannot be sent, a reset connection does not end the program, and it shows no credentials,
 * whatever goes wrong.
 *
 * @module
 */
import {
  type ConnectionOptions,
  credsAuthenticator,
  headers as newHeaders,
  type Msg,
  type MsgHdrs,
  type NatsConnection,
  NatsConnectionImpl,
  setTransportFactory,
} from "@nats-io/transport-node";
import { NodeTransport } from "@nats-io/transport-node/lib/node_transport.js";
import type { Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions as TlsOptions, type TLSSocket } from "node:tls";
import type { Bus, BusListener, Delivery, PublishOptions } from "./bus.ts";
import { report } from "./report.ts";
import { waitFor } from "./suspend.ts";
import { printable } from "./text.ts";

const encoder = new TextEncoder();

// For how many milliseconds a server may keep the last messages waiting.
const PARTING = 1000;

/** What to trust and to show, in PEM format: as text, or as the path of a file. */
export interface NatsTls {
  /** Who has signed the certificates of servers, as text. @default {whom the system trusts} */
  readonly ca?: string;
  /** The same, as a file. */
  readonly caFile?: string;
  /** The certificate of this node, as text, for servers that want one. */
  readonly cert?: string;
  /** The same, as a file. */
  readonly certFile?: string;
  /** Its private key, as text. */
  readonly key?: string;
  /** The same, as a file. */
  readonly keyFile?: string;
  /** Whether to begin with TLS at once, for servers that are set up so. @default {false} */
  readonly handshakeFirst?: boolean;
}

/** How to reach NATS. */
export interface NatsOptions {
  /**
   * Where the servers are: `nats://HOST:PORT`, `tls://HOST:PORT` or `HOST:PORT`, one or several, in an array or with commas
   * between. A `USER:PASSWORD@` or `TOKEN@` before the host is taken as such, and never shown.
   */
  readonly servers: string | readonly string[];
  /** A token to log in with. */
  readonly token?: string | undefined;
  /** A user to log in as. */
  readonly user?: string | undefined;
  /** The password of the user. */
  readonly pass?: string | undefined;
  /** What is in a creds file (JWT and seed): `await Deno.readFile("node.creds")`. */
  readonly creds?: Uint8Array | string | undefined;
  /** Certificates for TLS, which then must be used. Without it, it is used where the server has it. */
  readonly tls?: NatsTls | undefined;
  /**
   * Milliseconds within which the first connection must be there.
   *
   * @default {10000}
   */
  readonly timeout?: number | undefined;
  /**
   * Milliseconds between two attempts to get a lost connection back; as much again is added by chance.
   *
   * @default {250}
   */
  readonly reconnectDelay?: number | undefined;
  /**
   * How many bytes may be on their way to the server; what is more is not accepted.
   *
   * @default {8388608}
   */
  readonly maxPending?: number | undefined;
}

/** A bus that could not be reached, or that one was not let in to. Its text has no credentials. */
export class ConnectError extends Error {
  /** `"ConnectError"`. */
  override readonly name = "ConnectError";
}

/** Connects to NATS, for whom nobody is running. Rejects with {@linkcode ConnectError}. */
export async function connectToNats(
  options: NatsOptions,
  id: string,
  heartbeat: number,
  listener: BusListener,
): Promise<Bus> {
  const { servers, settings } = settingsOf(options, id, heartbeat);
  const open = async (): Promise<NatsConnection> => {
    try {
      return await connect({ ...settings });
    } catch (error) {
      throw new ConnectError(`Cannot connect to NATS at ${servers.join(", ")}: ${why(error, servers)}`, {
        cause: error,
      });
    }
  };
  return new NatsBus(await open(), open, options.maxPending ?? 8 * 1024 * 1024, listener);
}

class NatsBus implements Bus {
  readonly #nats: NatsConnection;
  // What this node shares with others comes by a connection of its own. On the other one it would not hear what it has
  // published itself, and so never get its share of that.
  #shares: Promise<NatsConnection> | undefined;
  readonly #open: () => Promise<NatsConnection>;
  readonly #listener: BusListener;
  readonly #maxPending: number;
  #pending = 0; // bytes of which the server has not said that it has them
  #isConfirming = false;
  #isUp = true;
  #closing: Promise<void> | undefined;

  constructor(
    nats: NatsConnection,
    open: () => Promise<NatsConnection>,
    maxPending: number,
    listener: BusListener,
  ) {
    this.#nats = nats;
    this.#open = open;
    this.#maxPending = maxPending;
    this.#listener = listener;
    void this.#follow();
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  get server(): string {
    return this.#nats.getServer();
  }

  get maxPayload(): number {
    return this.#nats.info?.max_payload ?? Infinity;
  }

  // Ends when the connection is closed.
  async #follow(): Promise<void> {
    for await (const status of this.#nats.status()) {
      if (status.type === "disconnect") this.#down();
      else if (status.type === "reconnect") void this.#up();
      else if (status.type === "error") this.#listener.error(status.error);
    }
    if (this.#closing === undefined) this.#down(); // the client has given up
  }

  #down(): void {
    if (!this.#isUp) return;
    this.#isUp = false;
    this.#pending = 0; // the client forgets it all
    this.#listener.down();
  }

  // The server has been told again what this node listens to, and is up for others when it has taken notice of that: until
  // then, what they send here would be answered by "nobody".
  async #up(): Promise<void> {
    const isThere = await this.#nats.flush().then(() => true, () => false); // if not, it is down again, and told so
    if (!isThere || this.#isUp || this.#closing !== undefined) return;
    this.#isUp = true;
    this.#listener.up();
  }

  publish(subject: string, payload: Uint8Array, { reply, headers }: PublishOptions = {}): boolean {
    const size = payload.length + subject.length;
    if (!this.#isUp || this.#pending + size > this.#maxPending) return false;
    try {
      if (reply === undefined && headers === undefined) this.#nats.publish(subject, payload);
      else {
        const rest = { ...(reply && { reply }), ...(headers && { headers: headersOf(headers) }) };
        this.#nats.publish(subject, payload, rest);
      }
    } catch {
      return false; // with its headers it is too big for this server, or the connection is being closed
    }
    this.#pending += size;
    if (this.#pending > this.#maxPending / 4) this.#confirm();
    return true;
  }

  // Asks the server whether it has got all that. Until it says so, it counts as waiting.
  #confirm(): void {
    if (this.#isConfirming) return;
    this.#isConfirming = true;
    const asked = this.#pending;
    const confirmed = () => {
      this.#isConfirming = false;
      this.#pending = Math.max(0, this.#pending - asked);
    };
    this.#nats.flush().then(confirmed, () => this.#isConfirming = false); // then it is down, and told so
  }

  subscribe(subject: string, handle: (delivery: Delivery) => void): () => void {
    const subscription = this.#nats.subscribe(subject, { callback: callback(handle) });
    return () => subscription.unsubscribe();
  }

  async share(subject: string, handle: (delivery: Delivery) => void): Promise<() => void> {
    this.#shares ??= this.#open();
    this.#shares.catch(() => this.#shares = undefined); // so that the next one tries again
    const nats = await this.#shares;
    const subscription = nats.subscribe(subject, { queue: "pool", callback: callback(handle) });
    await nats.flush();
    return () => subscription.unsubscribe();
  }

  flush(): Promise<void> {
    return this.#nats.flush();
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    // What cannot be sent any more is lost with the connection: there is nobody left to be told.
    if (this.#isUp) await waitFor(this.#nats.flush(), PARTING, "for NATS", "outside").catch(() => {});
    await this.#nats.close();
    await (await this.#shares?.catch(() => undefined))?.close();
    this.#isUp = false;
  }
}

// A handler that throws would end the connection.
function callback(handle: (delivery: Delivery) => void): (error: Error | null, message: Msg) => void {
  return (error, message) => {
    if (error !== null) return; // the bus refuses the subject: the listener is told of that
    try {
      handle(deliveryOf(message));
    } catch (error) {
      report("A message from NATS could not be handled:", error);
    }
  };
}

function deliveryOf(message: Msg): Delivery {
  const { subject, data: payload, reply = "" } = message;
  const isNobody = payload.length === 0 && message.headers?.code === 503;
  return { subject, payload, reply, isNobody, header: (name) => message.headers?.get(name) ?? "" };
}

function headersOf(texts: Readonly<Record<string, string>>): MsgHdrs {
  const headers = newHeaders();
  for (const [name, text] of Object.entries(texts)) headers.set(name, printable(text));
  return headers;
}

/* ------------------------------------------------- sockets ------------------------------------------------ */

function connect(options: ConnectionOptions): Promise<NatsConnection> {
  setTransportFactory({ factory: () => new GuardedTransport() });
  return NatsConnectionImpl.connect(options);
}

/**
 * Keeps a reset connection from ending the program, and one to a server that says nothing from outliving its attempt.
 *
 * When the client closes a socket, it takes away all its listeners. If the server has reset the connection in the same
 * moment, as it may after having refused credentials, the error of the socket is still on its way then, finds no
 * listener, and counts as uncaught. So each socket gets one that cannot be taken away. Nothing is hidden by it: the client
 * has listeners of its own as long as it wants to know.
 *
 * A socket on which the server has not introduced itself, the client does not close when it gives up.
 */
class GuardedTransport extends NodeTransport {
  constructor() {
    super();
    let socket = this.socket;
    Object.defineProperty(this, "socket", {
      get: () => socket,
      set: (next: Socket | undefined) => {
        if (next !== undefined && next !== socket) guard(next);
        socket = next!;
      },
    });
  }

  override startTLS(): Promise<TLSSocket> {
    return this.#secure({ socket: this.socket });
  }

  override tlsFirst({ hostname, port }: { hostname: string; port: number }): Promise<TLSSocket> {
    return this.#secure({ host: hostname, port });
  }

  // As the client does it, but for the guard: who refuses a certificate does so right behind the handshake.
  async #secure(to: TlsOptions): Promise<TLSSocket> {
    const certificates = (this.options.tls && await this.loadClientCerts()) as TlsOptions | undefined;
    const socket = connectTls({ ...to, ...certificates, servername: this.tlsName, rejectUnauthorized: true });
    guard(socket);
    return await new Promise((resolve, reject) => {
      let why: Error | undefined;
      socket.on("error", (error) => why = error);
      socket.on("close", () => reject(why ?? new Error("connection closed")));
      socket.on("secureConnect", () => {
        socket.removeAllListeners();
        resolve(socket);
      });
    });
  }

  override close(error?: Error): Promise<void> {
    if (!this.connected) this.discard();
    return super.close(error);
  }
}

function guard(socket: Socket): void {
  const ignore = () => {};
  const removeAllListeners = socket.removeAllListeners.bind(socket);
  socket.removeAllListeners = (...args) => removeAllListeners(...args).on("error", ignore);
  socket.on("error", ignore);
}

/* ------------------------------------------------- settings ----------------------------------------------- */

interface Address {
  readonly host: string;
  readonly isTls: boolean;
  readonly login: { readonly user: string; readonly pass: string } | { readonly token: string } | undefined;
}

interface Settings {
  /** Where the servers are, without credentials. */
  readonly servers: readonly string[];
  readonly settings: ConnectionOptions;
}

function settingsOf(options: NatsOptions, id: string, heartbeat: number): Settings {
  const given = typeof options.servers === "string" ? options.servers.split(",") : options.servers;
  const found = given.map((text) => parse(text.trim()));
  if (found.length === 0) throw new ConnectError("Cannot connect to NATS: no server is named");
  const { timeout = 10_000, reconnectDelay = 250, tls } = options;
  return {
    servers: found.map(({ host }) => host),
    settings: {
      servers: found.map(({ host }) => host),
      name: `concurrence ${id}`,
      noEcho: true,
      noAsyncTraces: true,
      ignoreAuthErrorAbort: true, // who is not let in now may be let in later
      maxReconnectAttempts: -1,
      reconnectTimeWait: reconnectDelay,
      reconnectJitter: reconnectDelay,
      reconnectJitterTLS: reconnectDelay,
      resolve: false, // by the system as it connects, for which the permission to do so is enough
      timeout: Math.min(timeout, 5000),
      pingInterval: heartbeat,
      maxPingOut: 2,
      ...(tls !== undefined || found.some(({ isTls }) => isTls) ? { tls: tls ?? {} } : {}),
      ...loginOf(options, found),
    },
  };
}

// What the options say goes before what stands in an address.
function loginOf({ user, pass, token, creds }: NatsOptions, found: readonly Address[]): ConnectionOptions {
  const named = found.find((address) => address.login !== undefined)?.login;
  if (creds !== undefined) {
    return { authenticator: credsAuthenticator(typeof creds === "string" ? encoder.encode(creds) : creds) };
  }
  if (token !== undefined) return { token };
  if (user !== undefined) return { user, ...(pass !== undefined ? { pass } : {}) };
  return named ?? {};
}

// No error of this shows the text: it may have a password in it, and the wrong form may be due to that.
function parse(text: string): Address {
  const url = URL.parse(text.includes("://") ? text : `nats://${text}`);
  const isAddress = url !== null && ["nats:", "tls:"].includes(url.protocol) && url.hostname !== "" &&
    ["", "/"].includes(url.pathname) && url.search === "" && url.hash === "";
  if (!isAddress) {
    throw new ConnectError("Cannot connect to NATS: a server must be nats://HOST:PORT or tls://HOST:PORT");
  }
  const [user, pass] = [decoded(url.username), decoded(url.password)];
  const login = pass !== "" ? { user, pass } : user !== "" ? { token: user } : undefined;
  return { host: `${url.hostname}:${url.port || 4222}`, isTls: url.protocol === "tls:", login };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a password with a % that means itself
  }
}

function why(error: unknown, servers: readonly string[]): string {
  const text = error instanceof Error ? printable(error.message) : "it is not known why";
  const isForbidden = error instanceof Error && (error.name === "NotCapable" || /\bEPERM\b/.test(text));
  return isForbidden ? `it needs --allow-net=${servers.join(",")}` : text.replaceAll("'", "").toLowerCase();
}
