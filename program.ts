/**
 * The process around the tasklets: signals, the end of the event loop, exit codes, and rejections nobody awaits.
 *
 * Knows nothing of tasklets. Runtime-neutral: what Deno, Node and Bun share is `node:process`.
 *
 * @module
 */
import process from "node:process";

/** A signal by name, such as `"SIGTERM"`. */
export type Signal = "SIGINT" | "SIGTERM" | "SIGHUP" | "SIGQUIT" | "SIGUSR1" | "SIGUSR2" | "SIGBREAK";

const NUMBERS: Record<Signal, number> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGUSR1: 10,
  SIGUSR2: 12,
  SIGTERM: 15,
  SIGBREAK: 21,
};

/** The exit code of a program that a signal ends: 128 and the signal's number. */
export function exitCodeOf(signal: Signal): number {
  return 128 + NUMBERS[signal];
}

/** Calls `f` with each of `signals` that arrives, in place of what the signal does otherwise, until disposed. */
export function onSignals(signals: readonly Signal[], f: (signal: Signal) => void): Disposable {
  const listener = (signal: NodeJS.Signals) => f(signal as Signal);
  for (const signal of signals) process.on(signal, listener);
  return {
    [Symbol.dispose]: () => {
      for (const signal of signals) process.off(signal, listener);
    },
  };
}

/** Calls `f` when the event loop has nothing left to wait for, until disposed. `f` may start new work. */
export function onDrain(f: () => void): Disposable {
  process.on("beforeExit", f);
  return { [Symbol.dispose]: () => void process.off("beforeExit", f) };
}

/** Ends the process. */
export function exit(code: number): never {
  process.exit(code);
}

/**
 * Calls `adopt` with the reason of each promise rejection that nobody handles, in the context of the promise.
 * What it does not adopt ends the process, as without this.
 */
export function onFloatingRejection(adopt: (reason: unknown) => boolean): void {
  if ("onunhandledrejection" in globalThis) {
    globalThis.addEventListener("unhandledrejection", (event) => {
      if (adopt(event.reason)) event.preventDefault();
    });
  } else {
    process.on("unhandledRejection", (reason) => {
      if (!adopt(reason)) throw reason;
    });
  }
}
