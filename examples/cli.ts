/**
 * What all programs share: how they read flags, announce, log, and report what went wrong.
 *
 * A bad flag is one line on stderr and exit code 2; an address that cannot be had, or a permission that is missing, is
 * one line and exit code 1.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import config from "../deno.json" with { type: "json" };
import { dispatch, printable, quit } from "../mod.ts";

/** A flag with a value: `--name PLACEHOLDER`. */
export interface Flag<T> {
  /** What stands for the value in `--help`. */
  readonly placeholder: string;
  /** What it does, with its unit. */
  readonly about: string;
  /** Its value if it is not given. */
  readonly default: T;
  /** What `--help` says of that, if it is not the value. */
  readonly defaultText?: string;
  /** Reads a value; `undefined` if it is none. */
  readonly read: (text: string) => T | undefined;
  /** What it wants, if `read` finds none. */
  readonly wants: string;
  /** The flag without which it means nothing. */
  readonly with?: string;
}

/** A flag without a value. */
export interface Switch {
  /** What it does. */
  readonly about: string;
}

/** The flags of a program, by name. */
export type Flags = Record<string, Flag<unknown> | Switch>;

/** The values of flags. */
export type Values<F extends Flags> = { [K in keyof F]: F[K] extends Flag<infer T> ? T : boolean };

/** A whole number from `least` to `most`; `otherwise` if it is not given. */
export function wholeNumber<const T>(
  about: string,
  otherwise: T,
  least: number,
  most: number,
): Flag<number | T> {
  const read = (text: string) => {
    const n = /^[0-9]+$/.test(text) ? Number(text) : NaN;
    return n >= least && n <= most ? n : undefined;
  };
  const range = most === Number.MAX_SAFE_INTEGER ? `${least} or more` : `${least} to ${most}`;
  return { placeholder: "N", about, default: otherwise, read, wants: `a whole number, ${range}` };
}

/** Any text but none; `otherwise` if it is not given. */
export function text<T>(placeholder: string, about: string, otherwise: T): Flag<string | T> {
  return { placeholder, about, default: otherwise, read: (text) => text || undefined, wants: "a value" };
}

/** What a program is. */
export interface Program<F extends Flags> {
  /** What it is called. */
  readonly name: string;
  /** What it does, in a sentence. */
  readonly about: string;
  /** What it can be told, beside `--help` and `--version`. */
  readonly flags: F;
}

/** What a program needs and cannot have: an address, a file, a permission. */
export class CannotStartError extends Error {
  /** `"CannotStartError"`. */
  override readonly name = "CannotStartError";
}

/** Flags that do not go together. */
export class UsageError extends Error {
  /** `"UsageError"`. */
  override readonly name = "UsageError";
}

// The flags of all programs, beside `--help` and `--version`.
const SEEING = {
  observe: {
    ...wholeNumber("port of a page that shows the tasklets, 0 for any that is free", undefined, 0, 65_535),
    defaultText: "no page",
  },
  tree: { about: "print the tasklets on SIGQUIT (Ctrl-\\) and SIGUSR1" },
};

/** Runs a program: reads its flags from the command line, then dispatches `main` with them. */
export function program<F extends Flags>(about: Program<F>, main: (values: Values<F>) => unknown): void {
  if (typeof Deno === "undefined") throw new Error(`Cannot run ${about.name}: this needs Deno`);
  const values = readFlags(about, Deno.args);
  if (values === undefined) return;
  dispatch(async () => {
    try {
      if (values.observe !== undefined || values.tree) await see(about.name, values);
      await main(values);
    } catch (error) {
      if (error instanceof UsageError) await complain(about, error.message, 2);
      else if (error instanceof CannotStartError || error instanceof Deno.errors.AddrInUse) {
        await complain(about, error.message, 1);
      } else throw error;
    }
  });
}

// `undefined`: there is nothing to run.
function readFlags<F extends Flags>(
  about: Program<F>,
  args: string[],
): Values<F & typeof SEEING> | undefined {
  const flags: Flags = {
    ...about.flags,
    ...SEEING,
    help: { about: "this text" },
    version: { about: "the version" },
  };
  const names = Object.keys(flags);
  const unknown: string[] = [];
  const given = parseArgs(args, {
    string: names.filter((name) => "read" in flags[name]!),
    boolean: names.filter((name) => !("read" in flags[name]!)),
    unknown: (arg) => unknown.push(arg) === 0,
  });
  unknown.push(...given._.map(String)); // behind a `--`
  const values: Record<string, unknown> = {};
  const wrong = unknown.map((arg) => `unknown ${arg.startsWith("-") ? "flag" : "argument"} ${quote(arg)}`);
  for (const [name, flag] of Object.entries(flags)) {
    const value = given[name];
    if (!("read" in flag) && args.some((arg) => arg.startsWith(`--${name}=`))) {
      wrong.push(`--${name} takes no value`);
    }
    if (!("read" in flag)) values[name] = value;
    else values[name] = value === undefined ? flag.default : flag.read(value as string);
    if (values[name] === undefined && value !== undefined && "read" in flag) {
      wrong.push(`--${name} wants ${flag.wants}, got ${quote(value as string)}`);
    }
    if ("read" in flag && flag.with !== undefined && value !== undefined && !given[flag.with]) {
      wrong.push(`--${name} means nothing without --${flag.with}`);
    }
  }
  if (wrong.length > 0) return void complain(about, `${wrong[0]} (see --help)`, 2);
  if (values.help) return void console.log(help(about, flags));
  if (values.version) return void console.log(`${about.name} ${config.version}`);
  return values as Values<F & typeof SEEING>;
}

// Loaded when it is asked for: a program that nobody looks at does not pay for it.
async function see(name: string, { observe, tree }: Values<typeof SEEING>): Promise<void> {
  const { showPage, showTreeOnSignal } = await import("./seeing.ts");
  if (tree) showTreeOnSignal();
  if (observe === undefined) return;
  try {
    showPage(name, observe);
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse || !(error instanceof Error)) throw error;
    throw new CannotStartError(`Cannot observe at localhost:${observe}: ${error.message}`, { cause: error });
  }
}

function complain(about: Program<Flags>, what: string, code: number): Promise<never> {
  console.error(`${about.name}: ${what}`);
  return quit(code);
}

function help(about: Program<Flags>, flags: Flags): string {
  const rows = Object.entries(flags).map(([name, flag]) => {
    if (!("read" in flag)) return [`--${name}`, flag.about];
    const where = flag.with === undefined ? "" : `, with --${flag.with}`;
    return [
      `--${name} ${flag.placeholder}`,
      `${flag.about}${where} (default: ${flag.defaultText ?? flag.default})`,
    ];
  });
  const width = Math.max(...rows.map(([left]) => left!.length));
  return [about.about, "", ...rows.map(([left, right]) => `  ${left!.padEnd(width)}  ${right}`)].join("\n");
}

// Controls, line separators, and what turns the direction of the text around it.
const UNSAFE = /[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Whether text is fit to be shown as a name: 1 to 32 characters of any script, all of them harmless, and some seen. */
export function isName(text: string): boolean {
  return text.trim() === text && looksOf(text).trim() !== "" && [...text].length <= 32 &&
    !text.includes("\t") &&
    printable(text) === text && text.search(UNSAFE) < 0;
}

/** What two names have in common that look the same: what Unicode says is compatible (NFKC), without what is not seen. */
export function looksOf(name: string): string {
  return name.normalize("NFKC").replace(/\p{Default_Ignorable_Code_Point}/gu, "");
}

/** Text from outside in quotes, so that it can forge no line and drive no terminal. */
export function quote(text: string): string {
  return JSON.stringify(text).replace(UNSAFE, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
}
