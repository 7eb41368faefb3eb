/**
 * Programs as child processes of a test: those of `examples/`, modules given as text, and any other.
 *
 * @module
 */
import { TextLineStream } from "@std/streams";

/** The folder of this package, where programs run unless they are told otherwise. */
export const ROOT: URL = new URL("../", import.meta.url);

/** What a program may do: listen and connect on this machine, nothing else. */
export const NARROW: readonly string[] = ["--no-prompt", "--allow-net=localhost"];

const ANNOUNCEMENT = /^listening for connections on port (\d+)$/;

// What a module given as text may use.
const PRELUDE = `
import { dispatch, quit, Tasklet, TaskletExit, TimeoutError } from "${new URL("tasklet.ts", ROOT)}";
import { Message } from "${new URL("message.ts", ROOT)}";
import { Timeout } from "${new URL("timer.ts", ROOT)}";
class MSG_A extends Message("MSG_A") {}
class MSG_ASK extends Message("MSG_ASK")<[], number> {}
`;

/** How a program ended. */
export interface Outcome {
  /** Its exit code; 128 and more if a signal ended it. */
  readonly code: number;
  /** The lines it printed that were not read before. */
  readonly lines: readonly string[];
  /** What it reported. */
  readonly stderr: string;
}

/** How a program is started. */
export interface ProgramOptions {
  /** With "piped" it reads what is typed, otherwise nothing. @default {"null"} */
  readonly stdin?: "null" | "piped";
  /** Where it runs. @default {ROOT} */
  readonly cwd?: string | URL;
  /** Variables of its environment, beside those of this process. */
  readonly env?: Readonly<Record<string, string>>;
  /** Milliseconds after which it is ended by force, with code 137, be it that it keeps its event loop busy. */
  readonly within?: number;
}

/** A program under test. Disposing it ends it by force. */
export class Program implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;
  readonly #errors: ReadableStreamDefaultReader<string>;
  readonly #stderr: Promise<string>;
  readonly #watchdog: ReturnType<typeof setTimeout> | undefined;
  #keyboard: WritableStreamDefaultWriter<Uint8Array> | undefined;

  /** Starts `command`. */
  constructor(
    command: string,
    args: readonly string[],
    { stdin = "null", cwd = ROOT, env = {}, within }: ProgramOptions = {},
  ) {
    this.#child = new Deno.Command(command, {
      args: [...args],
      cwd,
      stdin,
      stdout: "piped",
      stderr: "piped",
      env: { NO_COLOR: "1", ...env },
    }).spawn();
    this.#lines = linesOf(this.#child.stdout);
    const [stderr, again] = this.#child.stderr.tee();
    this.#stderr = new Response(stderr).text();
    this.#errors = linesOf(again);
    this.#keyboard = stdin === "piped" ? this.#child.stdin.getWriter() : undefined;
    this.#watchdog = within === undefined ? undefined : setTimeout(() => this.#child.kill("SIGKILL"), within);
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

  /** The next line it reports; `undefined` at the end. */
  async error(): Promise<string | undefined> {
    return (await this.#errors.read()).value;
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
    await this.#errors.cancel();
    clearTimeout(this.#watchdog);
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

/** Starts a module with the flags in `args`, as those of `examples/`; `allow` are the flags of Deno. */
export function start(
  file: string,
  args: readonly string[] = [],
  allow: readonly string[] = NARROW,
): Program {
  return new Program(Deno.execPath(), ["run", "--quiet", ...allow, file, ...args]);
}

/** The same, with at most so many files and sockets open. */
export function startWithFewDescriptors(file: string, args: readonly string[], most: number): Program {
  const limited = `ulimit -n ${most}; exec "$0" "$@"`;
  return new Program("bash", ["-c", limited, Deno.execPath(), "run", "--quiet", ...NARROW, file, ...args]);
}

/**
 * Starts a module given as text. It may use tasklets, messages and deadlines, and the messages `MSG_A` and `MSG_ASK`.
 *
 * After `within` milliseconds it is ended by force, with code 137.
 */
export function startSource(source: string, within: number = 10_000): Program {
  const args = ["run", "-A", "--no-config", moduleOf(PRELUDE + source)];
  return new Program(Deno.execPath(), args, { within });
}

/** The same, to its end. */
export async function runSource(source: string, within?: number): Promise<Outcome> {
  await using program = startSource(source, within);
  return await program.end();
}

/** What the lines of a pipe are read from. */
function linesOf(pipe: ReadableStream<Uint8Array<ArrayBuffer>>): ReadableStreamDefaultReader<string> {
  return pipe.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream()).getReader();
}

/** A module given as text, as what Deno can run. */
export function moduleOf(source: string): string {
  return `data:application/typescript,${encodeURIComponent(source)}`;
}
