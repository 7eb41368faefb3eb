/**
 * Flags that only the measuring programs have; the others are those of `examples/cli.ts`.
 *
 * @module
 */
import type { Flag } from "../../examples/cli.ts";

/** A number above 0, with or without a fraction; `otherwise` if it is not given. */
export function positive(about: string, otherwise: number): Flag<number> {
  const read = (text: string) =>
    /^[0-9]*\.?[0-9]+$/.test(text) && Number(text) > 0 ? Number(text) : undefined;
  return { placeholder: "N", about, default: otherwise, read, wants: "a number above 0" };
}
