/**
 * This library beside others of npm that have tasks, mailboxes or messages: one table, from one run.
 *
 *     deno task bench:peers
 *     deno task bench:peers --only effect,nact --rounds 21
 *
 * Each library does each operation in a process of its own. They are asked in turn, A B C A B C …, so that whatever else
 * the machine does meets all of them; each round gives a ratio to this library, and their median is what is printed.
 *
 * The libraries have a manifest and a lock file of their own, in `peers/`: nothing else in this project needs them.
 *
 * @module
 */
import { TextLineStream } from "@std/streams";
import { program, wholeNumber } from "../examples/cli.ts";
import { digits, duration, median, table } from "./net/figures.ts";
import { only, picked } from "./net/flags.ts";
import { Tasklet } from "../mod.ts";
import type { Peer, PeerModule } from "./peers/peer.ts";

const OPERATIONS: Record<keyof Peer, string> = {
  oneWay: "send + receive",
  call: "call + reply",
  hop: "ring hop",
  spawnJoin: "spawn + join",
  park: "parked",
};

const LONGEST = 60_000; // milliseconds for a reading

/** A row of the table. */
interface Row {
  readonly library: string;
  readonly form: keyof PeerModule;
}

const ROWS: readonly Row[] = [
  { library: "ours", form: "peer" },
  { library: "ours", form: "usual" },
  { library: "bare", form: "peer" },
  { library: "effect", form: "peer" },
  { library: "effect", form: "usual" },
  { library: "effection", form: "peer" },
  { library: "effection", form: "usual" },
  { library: "nact", form: "peer" },
  { library: "comedy", form: "peer" },
  { library: "xstate", form: "peer" },
];
const OTHERS = [...new Set(ROWS.map(({ library }) => library).filter((library) => library !== "ours"))];

/** A library at one operation, in a process of its own. */
class Contender implements AsyncDisposable {
  readonly readings: number[] = [];
  readonly #child: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;
  readonly #orders: WritableStreamDefaultWriter<Uint8Array>;

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#lines = child.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream())
      .getReader();
    this.#orders = child.stdin.getWriter();
  }

  /** Starts it, and waits until it is warm; `undefined` if the library has no such operation. */
  static async start({ library, form }: Row, operation: keyof Peer): Promise<Contender | undefined> {
    const contender = new Contender(childOf(library, form, operation));
    const word = await contender.#line();
    if (word === "ready") return contender;
    await contender[Symbol.asyncDispose]();
    if (word === "none") return undefined;
    throw new Error(`Cannot measure ${operation} of ${library}: the child said ${word}`);
  }

  /** Takes a reading. */
  async read(): Promise<void> {
    await this.#orders.write(new TextEncoder().encode("\n"));
    const reading = Number(await this.#line());
    if (Number.isNaN(reading)) throw new Error("Cannot measure: a child has ended before its time");
    this.readings.push(reading);
  }

  async #line(): Promise<string | undefined> {
    return (await Tasklet.wait(this.#lines.read(), { timeout: LONGEST })).value;
  }

  /** Ends its process, whatever the library does. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // otherwise it has ended
    }
    await this.#child.status;
    await Promise.allSettled([this.#lines.cancel(), this.#orders.abort()]);
  }
}

function childOf(library: string, form: string, operation: string): Deno.ChildProcess {
  const folder = new URL("peers/", import.meta.url);
  return new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--quiet", "--allow-all", "--v8-flags=--expose-gc", "--config", "deno.json"],
      ...["child.ts", library, form, operation],
    ],
    cwd: folder,
    stdin: "piped",
    stdout: "piped",
    // Comedy looks for the folder of the program by means that only Node has, unless it is told.
    env: { APP_ROOT_PATH: folder.pathname },
  }).spawn();
}

async function measure(rows: readonly Row[], operation: keyof Peer, rounds: number): Promise<string[]> {
  await using stack = new AsyncDisposableStack();
  const contenders: (Contender | undefined)[] = [];
  for (const row of rows) {
    const contender = await Contender.start(row, operation);
    contenders.push(contender === undefined ? undefined : stack.use(contender));
  }
  for (let round = 0; round < rounds; round++) {
    for (const contender of contenders) await contender?.read();
  }
  return contenders.map((contender) => cell(operation, contender?.readings, contenders[0]!.readings));
}

/* --------------------------------------------------- the table -------------------------------------------------- */

function cell(operation: keyof Peer, readings: number[] | undefined, ours: readonly number[]): string {
  if (readings === undefined) return "";
  const value = median(readings);
  const ratio = median(readings.map((reading, i) => reading / ours[i]!));
  return `${operation === "park" ? `${Math.round(value)} bytes` : duration(value)} ×${digits(ratio)}`;
}

function nameOf({ library, form }: Row): string {
  if (library === "ours" && form === "peer") return "this library";
  if (library === "bare") return "bare promises";
  return form === "usual" ? "as usual" : `${library} ${versionOf(library)}`;
}

function versionOf(library: string): string {
  const lock = Deno.readTextFileSync(new URL("peers/deno.lock", import.meta.url));
  const versions: Record<string, string> = JSON.parse(lock).specifiers;
  const specifier = Object.keys(versions).find((key) => key.startsWith(`npm:${library}@`))!;
  return versions[specifier]!;
}

if (import.meta.main) {
  const flags = {
    only: only("libraries", OTHERS),
    rounds: wholeNumber("rounds", 11, 1, 1000),
  };
  program(
    { name: "bench:peers", about: "Measures other libraries beside this one.", flags },
    async (values) => {
      const names = picked(values.only, "library", OTHERS);
      const rows = ROWS.filter(({ library }) => library === "ours" || names.includes(library));
      const columns = [rows.map(nameOf)];
      for (const operation of Object.keys(OPERATIONS) as (keyof Peer)[]) {
        columns.push(await measure(rows, operation, operation === "park" ? 1 : values.rounds));
      }
      const head = ["", ...Object.values(OPERATIONS)];
      console.log(table([head, ...rows.map((_, i) => columns.map((column) => column[i]!))]));
    },
  );
}
