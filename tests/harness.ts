/**
 * Programs as child processes, plain clients to talk to them, and tools of the operating system.
 *
 * Knows nothing of the library: what is tested here is what a stranger sees.
 *
 * @module
 */
import { TextLineStream } from "@std/streams";
import { once } from "node:events";
import { connect } from "node:net";

const ANNOUNCEMENT = /^listening for connections on port (\d+)$/;

/** What a program may do: listen and connect on this machine, nothing else. */
export const NARROW: readonly string[] = ["--no-prompt", "--allow-net=localhost"];

/** How a program ended. */
export interface Outcome {
  /** Its exit code; 128 and more if a signal ended it. */
  readonly code: number;
  /** The lines it printed that were not read before. */
  readonly lines: readonly string[];
  /** What it reported. */
  readonly stderr: string;
}

/** A program under test. Disposing it ends it by force. */
export class Program implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;
  readonly #stderr: Promise<string>;
  #keyboard: WritableStreamDefaultWriter<Uint8Array> | undefined;

  /** Starts `command`; with `stdin: "piped"` it reads what is typed, otherwise nothing. */
  constructor(
    command: string,
    args: readonly string[],
    { stdin = "null" }: { stdin?: "null" | "piped" } = {},
  ) {
    this.#child = new Deno.Command(command, {
      args: [...args],
      cwd: new URL("..", import.meta.url),
      stdin,
      stdout: "piped",
      stderr: "piped",
      env: { NO_COLOR: "1" },
    }).spawn();
    const text = this.#child.stdout.pipeThrough(new TextDecoderStream());
    this.#lines = text.pipeThrough(new TextLineStream()).getReader();
    this.#stderr = new Response(this.#child.stderr).text();
    this.#keyboard = stdin === "piped" ? this.#child.stdin.getWriter() : undefined;
  }

  /** The id of its process. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Types `text`. */
  async type(text: string): Promise<void> {
    await this.#keyboard!.write(new TextEncoder().encode(text));
  }

  /** Ends what it reads. */
  async endInput(): Promise<void> {
    const keyboard = this.#keyboard;
    this.#keyboard = undefined;
    await keyboard?.close().catch(() => {}); // it may have gone
  }

  /** The next line it prints; `undefined` at the end. */
  async line(): Promise<string | undefined> {
    return (await this.#lines.read()).value;
  }

  /** Waits until it announces the port it listens on. */
  async port(): Promise<number> {
    const line = await this.line();
    const port = ANNOUNCEMENT.exec(line ?? "")?.[1];
    if (port !== undefined) return Number(port);
    const { code, stderr } = await this.end();
    throw new Error(`Cannot find port: the program printed ${line} and ended with ${code}: ${stderr}`);
  }

  /** Sends it a signal. */
  signal(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  /** Ends what it reads, and waits for its end. */
  async end(): Promise<Outcome> {
    await this.endInput();
    const lines: string[] = [];
    for (let line = await this.line(); line !== undefined; line = await this.line()) lines.push(line);
    const [{ code }, stderr] = await Promise.all([this.#child.status, this.#stderr]);
    return { code, lines, stderr };
  }

  /** Ends it, if it has not ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch { /* it has ended */ }
    await this.end();
  }
}

/** Starts a program of `examples/` with the flags in `args`; `allow` are the flags of Deno. */
export function start(
  file: string,
  args: readonly string[] = [],
  allow: readonly string[] = NARROW,
): Program {
  return new Program(Deno.execPath(), ["run", "--quiet", ...allow, file, ...args]);
}

/** Starts a module given as text that may have `most` files and sockets open. */
export function startWithFewDescriptors(file: string, args: readonly string[], most: number): Program {
  const limited = `ulimit -n ${most}; exec "$0" "$@"`;
  return new Program("bash", ["-c", limited, Deno.execPath(), "run", "--quiet", ...NARROW, file, ...args]);
}

/** Something that talks over TCP, like a person at a terminal. */
export class Client implements Disposable {
  readonly #connection: Deno.TcpConn;
  readonly #decoder = new TextDecoder();
  readonly #buffer = new Uint8Array(65_536);
  #text = "";
  #isClosed = false;

  /** Use {@linkcode client}. */
  constructor(connection: Deno.TcpConn) {
    this.#connection = connection;
  }

  /** Its own port, by which a server knows it. */
  get port(): number {
    return this.#connection.localAddr.port;
  }

  /** The next line without its LF, what is left at the end, or `null` behind it. */
  async line(): Promise<string | null> {
    let end: number;
    while ((end = this.#text.indexOf("\n")) < 0) {
      if (await this.#read()) continue;
      const rest = this.#text;
      this.#text = "";
      return rest === "" ? null : rest;
    }
    const line = this.#text.slice(0, end);
    this.#text = this.#text.slice(end + 1);
    return line;
  }

  /** The next `count` lines. */
  async lines(count: number): Promise<(string | null)[]> {
    const lines: (string | null)[] = [];
    while (lines.length < count) lines.push(await this.line());
    return lines;
  }

  /** All that comes until the end. */
  async rest(): Promise<string> {
    while (await this.#read());
    const rest = this.#text;
    this.#text = "";
    return rest;
  }

  async #read(): Promise<boolean> {
    const n = await this.#connection.read(this.#buffer);
    if (n !== null) this.#text += this.#decoder.decode(this.#buffer.subarray(0, n), { stream: true });
    return n !== null;
  }

  /** Sends text or bytes, all of them. */
  async send(data: string | Uint8Array): Promise<void> {
    let bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
    while (bytes.length > 0) bytes = bytes.subarray(await this.#connection.write(bytes));
  }

  /** Ends its side, and can still read. */
  async end(): Promise<void> {
    await this.#connection.closeWrite();
  }

  /** Closes both sides. Harmless twice. */
  close(): void {
    if (!this.#isClosed) this.#connection.close();
    this.#isClosed = true;
  }

  /** The same as {@linkcode Client.close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Connects to a port of this machine. */
export async function client(port: number): Promise<Client> {
  const connection = await Deno.connect({ hostname: "localhost", port });
  connection.setNoDelay(true);
  return new Client(connection);
}

/**
 * Connects to a port of this machine, sends `text`, and is gone without a word, as when a cable is pulled and plugged in
 * again: the peer learns of it by a reset.
 *
 * @param after How many bytes to wait for before. @default {1}
 */
export async function vanish(port: number, text = "", after = 1): Promise<void> {
  const socket = connect(port, "localhost");
  await once(socket, "connect");
  if (text !== "") await new Promise((resolve) => socket.write(text, resolve));
  for (let n = 0; n < after;) n += ((await once(socket, "data")) as [Uint8Array])[0].length;
  socket.resetAndDestroy();
  await once(socket, "close");
}

/**
 * Options of a test that needs tools of the operating system. Where one is missing the test is skipped and says so;
 * in CI it runs, and fails.
 */
export function requires(...tools: string[]): { ignore: boolean } {
  const missing = tools.filter((tool) => !isInstalled(tool));
  if (missing.length === 0 || Deno.env.has("CI")) return { ignore: false };
  console.log(`Skipping a test: it needs ${missing.join(" and ")}`);
  return { ignore: true };
}

function isInstalled(tool: string): boolean {
  return (Deno.env.get("PATH") ?? "").split(":").some((folder) => {
    try {
      return Deno.statSync(`${folder}/${tool}`).isFile;
    } catch {
      return false;
    }
  });
}
