/**
 * What the library reports on stderr while a test runs.
 *
 * @module
 */
import { setImmediate } from "node:timers";

/** Reports, caught instead of printed. */
export interface Reports extends Disposable {
  /** One text a report, errors with their stack and causes. */
  readonly texts: readonly string[];
  /** Resolves after the turn by whose end an error nobody asked for is reported. */
  settled(): Promise<void>;
}

/** Catches what is written with `console.error` until disposed. */
export function catchReports(): Reports {
  const { error } = console;
  const texts: string[] = [];
  console.error = (...what: unknown[]) => {
    texts.push(what.map((part) => typeof part === "string" ? part : Deno.inspect(part)).join(" "));
  };
  return {
    texts,
    settled: async () => {
      for (let turns = 0; turns < 3; turns++) await new Promise<void>((resolve) => setImmediate(resolve));
    },
    [Symbol.dispose]: () => void (console.error = error),
  };
}
