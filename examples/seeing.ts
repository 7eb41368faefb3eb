/**
 * What `--observe` and `--tree` do, for all programs: a page with the tasklets, and their tree on a signal.
 *
 * @module
 */
import { printable, snapshot } from "../mod.ts";
import { Observer } from "../observer.ts";

/** Shows the tasklets of this process at `http://localhost:port/` as long as it runs. */
export function showPage(title: string, port: number): Observer {
  const observer = Observer.serve({ port, title });
  console.error(`observer: ${observer.url}`); // not on stdout, which belongs to the program
  return observer;
}

/** Prints the tree of all tasklets on stderr when the process gets SIGQUIT or SIGUSR1. */
export function showTreeOnSignal(): void {
  let printedAt = -Infinity;
  const print = () => {
    const at = performance.now();
    if (at - printedAt > 50) console.error(treeOf(snapshot()).join("\n")); // `deno task` repeats what a terminal sends
    printedAt = at;
  };
  for (const signal of ["SIGQUIT", "SIGUSR1"] as const) Deno.addSignalListener(signal, print);
}

/** A tasklet as {@linkcode snapshot} has it, and as it comes from `/snapshot.json`. */
export interface Seen {
  /** Its id. */
  readonly id: number;
  /** Its name. */
  readonly name: string;
  /** The id of its parent. */
  readonly parent?: number | undefined;
  /** Where it is in its life. */
  readonly status: string;
  /** What it waits for. */
  readonly waits: readonly { readonly what: string }[];
  /** How many messages wait for it, and which is the oldest. */
  readonly mailbox: { readonly length: number; readonly oldest?: { readonly type: string } | undefined };
}

/** The tree of tasklets, a line each, drawn with lines. */
export function treeOf(tasklets: readonly Seen[]): string[] {
  const ids = new Set(tasklets.map(({ id }) => id));
  const children = new Map<number | undefined, Seen[]>();
  for (const task of tasklets) {
    const parent = ids.has(task.parent ?? NaN) ? task.parent : undefined;
    const siblings = children.get(parent);
    if (siblings === undefined) children.set(parent, [task]);
    else siblings.push(task);
  }
  const lines: string[] = [];
  const draw = (task: Seen, first: string, rest: string): void => {
    lines.push(`${first}${inWords(task)}`);
    const below = children.get(task.id) ?? [];
    for (const [i, child] of below.entries()) {
      const isLast = i === below.length - 1;
      draw(child, rest + (isLast ? "└─ " : "├─ "), rest + (isLast ? "   " : "│  "));
    }
  };
  for (const root of children.get(undefined) ?? []) draw(root, "", "");
  return lines;
}

/** A tasklet in a line: who it is, what it does, and what waits for it. Names drive no terminal. */
export function inWords({ id, name, status, waits, mailbox }: Seen): string {
  const doing = waits.length === 0 ? status : `${status} ${waits.map(({ what }) => what).join(", and ")}`;
  const mail = mailbox.length === 0
    ? ""
    : `; ${mailbox.length} in its mailbox, first ${mailbox.oldest?.type}`;
  return printable(`${name}#${id} ${doing}${mail}`);
}
