/**
 * Programs that run as child processes of a test.
 *
 * @module
 */
import { TextLineStream } from "@std/streams";

const PRELUDE = `
import { dispatch, quit, Tasklet, TaskletExit, TimeoutError } from "${new URL(
  "../tasklet.ts",
  import.meta.url,
)}";
import { Message } from "${new URL("../message.ts", import.meta.url)}";
import { Timeout } from "${new URL("../timer.ts", import.meta.url)}";
class MSG_A extends Message("MSG_A") {}
class MSG_ASK extends Message("MSG_ASK")<[], number> {}
`;

/** How a program ended. */
export interface Outcome {
  /** Its exit code; 128 and more if a signal ended it. */
  readonly code: number;
  /** The lines it printed that were not read before. */
  readonly lines: string[];
  /** What it reported. */
  readonly stderr: string;
}

/** A program under test. */
export class Program implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;
  readonly #stderr: Promise<string>;
  readonly #watchdog: ReturnType<typeof setTimeout>;

  /**
   * Starts a program. `source` may use what the library exports, and the messages `MSG_A` and `MSG_ASK`.
   *
   * After `within` milliseconds it is ended by force, with code 137, be it that it keeps its event loop busy.
   */
  constructor(source: string, within = 10_000) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        "--no-config",
        `data:application/typescript,${encodeURIComponent(PRELUDE + source)}`,
      ],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      env: { NO_COLOR: "1" },
    }).spawn();
    this.#lines = this.#child.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream())
      .getReader();
    this.#stderr = new Response(this.#child.stderr).text();
    this.#watchdog = setTimeout(() => this.#child.kill("SIGKILL"), within);
  }

  /** The next line it prints; `undefined` at the end. */
  async line(): Promise<string | undefined> {
    return (await this.#lines.read()).value;
  }

  /** Sends it a signal. */
  signal(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  /** Waits for its end. */
  async end(): Promise<Outcome> {
    const lines: string[] = [];
    for (let line = await this.line(); line !== undefined; line = await this.line()) lines.push(line);
    const [{ code }, stderr] = await Promise.all([this.#child.status, this.#stderr]);
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

/** Runs a program to its end, or for `within` milliseconds: then it is ended by force, with code 137. */
export async function run(source: string, within?: number): Promise<Outcome> {
  await using program = new Program(source, within);
  return await program.end();
}
