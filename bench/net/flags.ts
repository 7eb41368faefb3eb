/**
 * Flags that only the measuring programs have; the others are those of `examples/cli.ts`.
 *
 * @module
 */
import { type Flag, quote, text, UsageError } from "../../examples/cli.ts";

/** A number above 0, with or without a fraction; `otherwise` if it is not given. */
export function positive(about: string, otherwise: number): Flag<number> {
  const read = (text: string) =>
    /^[0-9]*\.?[0-9]+$/.test(text) && Number(text) > 0 ? Number(text) : undefined;
  return { placeholder: "N", about, default: otherwise, read, wants: "a number above 0" };
}

/** `--only`: some of `names`, comma-separated; all if it is not given. What it gets goes through {@linkcode picked}. */
export function only(what: string, names: readonly string[]): Flag<string> {
  const all = names.join(",");
  return {
    ...text("NAMES", `only some ${what}, comma-separated: ${names.join(", ")}`, all),
    defaultText: "all",
  };
}

/**
 * The names in what `--only` got.
 *
 * @throws {UsageError} If one of them is none of `names`; `what` tells what those are.
 */
export function picked(list: string, what: string, names: readonly string[]): string[] {
  const wanted = list.split(",");
  const unknown = wanted.find((name) => !names.includes(name));
  if (unknown !== undefined) throw new UsageError(`--only knows no ${what} ${quote(unknown)} (see --help)`);
  return wanted;
}
