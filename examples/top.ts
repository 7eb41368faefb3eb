/**
 * The tasklets of a running program in a terminal, those with most to do first.
 *
 *     deno run --allow-net=localhost:9999 examples/top.ts --port 9999
 *
 * The program is one that was started with `--observe 9999`. Where stdout is no terminal, this prints the tree once.
 *
 * @module
 */
import { printable, Tasklet, TaskletExit, TimeoutError } from "../mod.ts";
import { CannotStartError, program, wholeNumber } from "./cli.ts";
import { inWords, type Seen, treeOf } from "./seeing.ts";

export type { Seen } from "./seeing.ts";

/** What `/snapshot.json` of an observer says, as far as it matters here. */
export interface Snapshot {
  /** What the program is called. */
  readonly title: string;
  /** The sums. */
  readonly totals: {
    readonly tasklets: number;
    readonly sent: number;
    readonly queued: number;
    readonly lag: number;
  };
  /** What is wrong. */
  readonly warnings: readonly { readonly text: string }[];
  /** All that live. */
  readonly tasklets: readonly (Seen & { readonly received: number })[];
}

const LONGEST = 5000; // milliseconds for an answer

/**
 * Asks the observer at a port of this machine.
 *
 * @throws {CannotStartError} If no observer answers; the text tells why.
 */
export async function ask(port: number): Promise<Snapshot> {
  const answer = fetch(`http://localhost:${port}/snapshot.json`).then((response) => response.json());
  try {
    const snapshot = await Tasklet.wait(answer, { timeout: LONGEST });
    if (!Array.isArray(snapshot?.tasklets)) throw new SyntaxError("This is no snapshot");
    return snapshot;
  } catch (error) {
    if (error instanceof TaskletExit) throw error;
    throw new CannotStartError(`Cannot ask localhost:${port}: ${whyNot(error, port)}`, { cause: error });
  }
}

function whyNot(error: unknown, port: number): string {
  if (error instanceof TimeoutError) return "the program does not answer, so it is blocked or stopped";
  if (error instanceof SyntaxError) return "what runs there is no observer";
  if (error instanceof TypeError) return `no program runs there with --observe ${port}`; // as fetch has it
  return error instanceof Error ? error.message : `${error}`;
}

/** A snapshot as plain text, all of it. */
export function plain({ title, totals, warnings, tasklets }: Snapshot): string[] {
  const { length } = tasklets;
  return [
    printable(`${title}: ${length} tasklets, ${totals.sent} messages sent, ${totals.queued} in mailboxes`),
    ...warnings.map(({ text }) => printable(`! ${text}`)),
    ...treeOf(tasklets),
  ];
}

/** A snapshot as what fits a terminal, with what happened since the one before. */
export function screen(now: Snapshot, before: Snapshot, columns: number, rows: number): string[] {
  const counts = new Map(before.tasklets.map(({ id, received }) => [id, received]));
  const busy = now.tasklets.map((task) => ({ task, rate: task.received - (counts.get(task.id) ?? 0) }))
    .toSorted((a, b) =>
      b.task.mailbox.length - a.task.mailbox.length || b.rate - a.rate || a.task.id - b.task.id
    );
  const { tasklets, queued, sent, lag } = now.totals;
  const lines = [
    `${now.title}  ${tasklets} tasklets  ${sent - before.totals.sent} messages/s  ${queued} in mailboxes  ${
      Math.round(lag)
    } ms lag`,
    ...now.warnings.map(({ text }) => `! ${text}`),
    "",
    " msg/s  tasklet",
    ...busy.map(({ task, rate }) => `${String(rate || "").padStart(6)}  ${inWords(task)}`),
  ];
  return lines.slice(0, rows - 1).map((line) => [...printable(line)].slice(0, columns).join(""));
}

async function watch(port: number): Promise<void> {
  const write = (text: string) => Deno.stdout.writeSync(new TextEncoder().encode(text));
  write("\x1b[?1049h\x1b[?25l");
  try {
    for (let before = await ask(port);;) {
      const now = await ask(port);
      const { columns, rows } = Deno.consoleSize();
      write(
        "\x1b[H" + screen(now, before, columns || 80, rows || 24).map((line) =>
          `${line}\x1b[K\r\n`
        ).join("") + "\x1b[J",
      );
      before = now;
      await Tasklet.sleep(1000);
    }
  } finally {
    write("\x1b[?25h\x1b[?1049l");
  }
}

if (import.meta.main) {
  const flags = { port: wholeNumber("port that the program was given by --observe", 9999, 1, 65_535) };
  program({ name: "top", about: "Shows the tasklets of a running program.", flags }, async ({ port }) => {
    if (Deno.stdout.isTerminal()) await watch(port);
    else console.log(plain(await ask(port)).join("\n"));
  });
}
