/**
 * Servers of NATS as child processes.
 *
 * @module
 */
import { TextLineStream } from "@std/streams";

/** How a server is started. */
export interface NatsServerOptions {
  /** The port. @default {any that is free} */
  readonly port?: number;
  /** Further arguments. */
  readonly args?: readonly string[];
}

/** A `nats-server` on this machine. Disposing it ends it by force. */
export class NatsServer implements AsyncDisposable {
  /** Where it listens. */
  readonly port: number;
  readonly #args: readonly string[];
  #child: Deno.ChildProcess;
  #log: Promise<void>;

  private constructor(port: number, args: readonly string[], child: Deno.ChildProcess, log: Promise<void>) {
    this.port = port;
    this.#args = args;
    this.#child = child;
    this.#log = log;
  }

  /** Starts a server, and waits until it is ready. */
  static async start({ port, args = [] }: NatsServerOptions = {}): Promise<NatsServer> {
    // A port that is free now may be taken when the server comes to it.
    for (let attempt = 0;; attempt++) {
      const at = port ?? freePort();
      const started = await spawn(at, args);
      if (started !== undefined) return new NatsServer(at, args, ...started);
      if (port !== undefined || attempt === 10) throw new Error(`Cannot start nats-server on port ${at}`);
    }
  }

  /** Where it can be reached, for clients. */
  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  /** Lets it stand still, until {@linkcode NatsServer.thaw}. */
  async freeze(): Promise<void> {
    this.#child.kill("SIGSTOP");
    // The state is the first letter behind the name, which is in parentheses.
    const isFrozen = async () => /\) T/.test(await Deno.readTextFile(`/proc/${this.#child.pid}/stat`));
    while (!await isFrozen());
  }

  /** Lets it go on. */
  thaw(): void {
    this.#child.kill("SIGCONT");
  }

  /** Ends it at once, as when the power fails. */
  async kill(): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch { /* it has ended */ }
    await this.#child.status;
    await this.#log;
  }

  /** The same, without waiting for it. */
  stop(): void {
    void this.kill();
  }

  /** Starts it again on the same port, with other arguments if they are given. */
  async restart(args: readonly string[] = this.#args): Promise<void> {
    await this.kill();
    const started = await spawn(this.port, args);
    if (started === undefined) throw new Error(`Cannot start nats-server on port ${this.port} again`);
    [this.#child, this.#log] = started;
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

/** A port of this machine that nobody listens on. */
export function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

// `undefined`: it has ended without getting ready.
async function spawn(
  port: number,
  args: readonly string[],
): Promise<[Deno.ChildProcess, Promise<void>] | undefined> {
  const child = new Deno.Command("nats-server", {
    args: ["-a", "127.0.0.1", "-p", `${port}`, ...args],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const lines = child.stderr.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream())
    .getReader();
  for (let next = await lines.read(); !next.done; next = await lines.read()) {
    if (next.value.includes("Server is ready")) return [child, drain(lines)];
  }
  await child.status;
  return undefined;
}

// What nobody reads would fill the pipe, and then hold up the server.
async function drain(lines: ReadableStreamDefaultReader<string>): Promise<void> {
  while (!(await lines.read()).done);
}
