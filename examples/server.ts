/**
 * What all servers share: their flags, and how they listen.
 *
 * @module
 */
import { type Handler, type PaceOptions, removeStaleSocket, Server } from "../mod.ts";
import {
  CannotStartError,
  type Flag,
  type Switch,
  text,
  UsageError,
  type Values,
  wholeNumber,
} from "./cli.ts";

const MOST = Number.MAX_SAFE_INTEGER;

/** The flags of every server. */
export type ServerFlags = {
  readonly port: Flag<number>;
  readonly hostname: Flag<string>;
  readonly unix: Flag<string | undefined>;
  readonly "tls-cert": Flag<string | undefined>;
  readonly "tls-key": Flag<string | undefined>;
  readonly "max-connections": Flag<number>;
  readonly "max-per-address": Flag<number>;
  readonly "max-line": Flag<number>;
  readonly "line-rate": Flag<number>;
  readonly "line-burst": Flag<number>;
  readonly "idle-timeout": Flag<number>;
  readonly quiet: Switch;
};

/** The flags of a server that listens on `port` unless it is told otherwise. */
export function serverFlags(port: number): ServerFlags {
  return {
    port: wholeNumber("port to listen on, 0 for any that is free", port, 0, 65_535),
    hostname: text("HOST", "name or address to listen on", "localhost"),
    unix: optional("PATH", "unix socket to listen on, instead of a port"),
    "tls-cert": optional("FILE", "certificate chain in PEM format, for TLS"),
    "tls-key": optional("FILE", "its private key in PEM format"),
    "max-connections": wholeNumber("connections at once, further ones wait", 10_000, 1, MOST),
    "max-per-address": wholeNumber("connections at once from one address, 0 for any number", 0, 0, MOST),
    "max-line": wholeNumber("bytes that a line may have", 65_536, 1, MOST),
    "line-rate": wholeNumber("lines a second that are taken from a client, 0 for any number", 0, 0, MOST),
    "line-burst": { ...wholeNumber("lines that are taken at once", 100, 1, MOST), with: "line-rate" },
    "idle-timeout": wholeNumber("seconds for which a client may send nothing, 0 for ever", 0, 0, MOST),
    quiet: { about: "no log, only the announcement" },
  };
}

function optional(placeholder: string, about: string): Flag<string | undefined> {
  return { ...text(placeholder, about, undefined), defaultText: "none" };
}

/** What every server can be told. */
export interface ServerOptions {
  /** The name or address to listen on. @default {"localhost"} */
  readonly hostname?: string;
  /** The port to listen on, 0 for any that is free. */
  readonly port?: number;
  /** The unix socket to listen on, instead. */
  readonly unix?: string | undefined;
  /** The certificate chain and its private key, in PEM format, for TLS. @default {no TLS} */
  readonly tls?: { readonly cert: string; readonly key: string } | undefined;
  /** How many connections may be open at once. @default {10000} */
  readonly maxConnections?: number;
  /** How many of them from one address. @default {Infinity} */
  readonly maxPerAddress?: number;
  /** How many bytes a line may have. @default {65536} */
  readonly maxLine?: number;
  /** How fast lines are taken from a client. @default {as fast as they come} */
  readonly linePace?: PaceOptions | undefined;
  /** Milliseconds for which a client may send nothing. @default {Infinity} */
  readonly idleTimeout?: number;
  /** Whether other processes may listen on the same port. @default {false} */
  readonly reusePort?: boolean;
  /** Takes what happens, a line each. @default {nothing} */
  readonly log?: (line: string) => void;
}

/** What the flags of a server say. Reads the files they name, and removes what a killed server has left at `--unix`. */
export async function serverOptions(
  values: Values<ServerFlags>,
): Promise<Required<Omit<ServerOptions, "reusePort">>> {
  const { hostname, port, unix, quiet } = values;
  if (unix !== undefined) await starting(`listen on ${unix}`, () => removeStaleSocket(unix));
  return {
    hostname,
    port,
    unix,
    tls: await tlsOf(values),
    maxConnections: values["max-connections"],
    maxPerAddress: values["max-per-address"] || Infinity,
    maxLine: values["max-line"],
    linePace: values["line-rate"] === 0
      ? undefined
      : { burst: values["line-burst"], perSecond: values["line-rate"] },
    idleTimeout: values["idle-timeout"] === 0 ? Infinity : values["idle-timeout"] * 1000,
    log: quiet ? () => {} : (line) => console.log(line),
  };
}

async function tlsOf(values: Values<ServerFlags>): Promise<ServerOptions["tls"]> {
  const { unix, "tls-cert": cert, "tls-key": key } = values;
  if (cert === undefined && key === undefined) return undefined;
  if (cert === undefined || key === undefined) {
    throw new UsageError("--tls-cert and --tls-key go together (see --help)");
  }
  if (unix !== undefined) throw new UsageError("--unix and --tls-cert do not go together (see --help)");
  const read = (file: string) => starting(`read ${file}`, () => Deno.readTextFile(file));
  return { cert: await read(cert), key: await read(key) };
}

/** Listens as `options` say, on `port` if they do not. */
export function serve(options: ServerOptions, port: number, handle: Handler): Server {
  const { hostname = "localhost", unix, tls } = options;
  const address = unix !== undefined ? { path: unix } : { hostname, port: options.port ?? port, ...tls };
  try {
    return Server.serve(address, handle, options);
  } catch (error) {
    throw cannot(`listen on ${unix ?? `${hostname}:${options.port ?? port}`}`, error);
  }
}

/** Where a server listens, in words. */
export function placeOf(server: Server): string {
  return "path" in server.address ? server.address.path : `port ${server.port}`;
}

async function starting<T>(what: string, f: () => Promise<T>): Promise<T> {
  try {
    return await f();
  } catch (error) {
    throw cannot(what, error);
  }
}

// What it is not the user's to mend stays as it is.
function cannot(what: string, error: unknown): unknown {
  const isOurs = !(error instanceof Error) || error instanceof RangeError;
  if (isOurs || error instanceof Deno.errors.AddrInUse) return error;
  return new CannotStartError(`Cannot ${what}: ${error.message}`, { cause: error });
}
