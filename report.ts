/**
 * Reports: failures that nobody has asked for, and that must not be lost.
 *
 * They go to stderr unless somebody else takes them. Runtime-neutral.
 *
 * @module
 */

/** Takes a report: a text and, mostly, an error. */
export type Reporter = (...what: unknown[]) => void;

let reporter: Reporter | undefined;

/** Reports `what`. */
export function report(...what: unknown[]): void {
  if (reporter !== undefined) reporter(...what);
  else console.error(...what);
}

/** Tells of something that is no failure. Nobody hears of it where reports are taken. */
export function notice(text: string): void {
  if (reporter === undefined) console.error(text);
}

/** Gives all reports to `replacement` until disposed. For tests and tools. */
export function useReporter(replacement: Reporter): Disposable {
  const previous = reporter;
  reporter = replacement;
  return { [Symbol.dispose]: () => void (reporter = previous) };
}
