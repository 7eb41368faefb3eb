/**
 * A server as a child process: where it listens, what it costs the machine, and how it ended.
 *
 * @module
 */
import { TextLineStream } from "@std/streams";
import { onCore } from "./cores.ts";
import { CpuTime, descriptorsOf, rssOf } from "./proc.ts";

// However this process ends, unless by force, they end with it.
const running = new Set<Deno.ChildProcess>();
addEventListener("unload", () => {
  for (const process of running) process.kill("SIGKILL");
});

// Where the paths of programs begin.
const ROOT = new URL("../../", import.meta.url);

/** How a child ended. */
export interface Ending {
  /** Its exit code; 128 and more if a signal ended it. */
  readonly code: number;
  /** What it reported. */
  readonly stderr: string;
}

/** A server that runs as a child and has told its port. Disposing it ends it by force. */
export class Child implements AsyncDisposable {
  /** Where it listens, on 127.0.0.1. */
  readonly port: number;
  readonly #process: Deno.ChildProcess;
  readonly #ending: Promise<Ending>;
  readonly #time: CpuTime;

  private constructor(process: Deno.ChildProcess, port: number, ending: Promise<Ending>) {
    this.#process = process;
    this.port = port;
    this.#ending = ending;
    this.#time = new CpuTime(process.pid);
  }

  /**
   * Starts `command` on `core`, and waits until it announces a port: the last number of its first line.
   *
   * @param onLine Takes the lines that it prints after that.
   * @throws {Error} If it ends before.
   */
  static async start(
    command: readonly string[],
    core: string | undefined,
    onLine: (line: string) => void = () => {},
  ): Promise<Child> {
    const [program, ...args] = [...onCore(core), ...command];
    const process = new Deno.Command(program!, {
      args,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      cwd: ROOT,
      env: { NO_COLOR: "1" },
    }).spawn();
    running.add(process);
    const lines = process.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
    const reader = lines.getReader();
    const ending = endOf(process);
    const first = (await reader.read()).value;
    const port = Number(first?.match(/(\d+)\D*$/)?.[1]);
    if (first !== undefined && port > 0) {
      void pass(reader, onLine);
      return new Child(process, port, ending);
    }
    process.kill("SIGKILL");
    await reader.cancel();
    throw new Error(
      `Cannot start ${command.join(" ")}: it printed ${first}, and reported ${(await ending).stderr}`,
    );
  }

  /** Nanoseconds for which its threads have run so far. */
  get cpu(): number {
    return this.#time.now;
  }

  /** Bytes of memory that it holds. */
  get rss(): number {
    return rssOf(this.#process.pid);
  }

  /** How many descriptors it has open. */
  get descriptors(): number {
    return descriptorsOf(this.#process.pid);
  }

  /** Asks it to end, and waits until it has. */
  async stop(): Promise<Ending> {
    this.#signal("SIGTERM");
    return await this.#ending;
  }

  /** Ends it by force, if it has not ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#signal("SIGKILL");
    await this.#ending;
  }

  #signal(signal: Deno.Signal): void {
    try {
      this.#process.kill(signal);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // otherwise it has ended
    }
  }
}

async function endOf(process: Deno.ChildProcess): Promise<Ending> {
  const [{ code }, stderr] = await Promise.all([process.status, new Response(process.stderr).text()]);
  running.delete(process);
  return { code, stderr };
}

async function pass(
  reader: ReadableStreamDefaultReader<string>,
  onLine: (line: string) => void,
): Promise<void> {
  for (let { value, done } = await reader.read(); !done; { value, done } = await reader.read()) {
    onLine(value!);
  }
}
