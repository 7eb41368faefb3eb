/**
 * The process around the tasklets: signals, the end of the event loop, exit codes, and rejections nobody awaits.
 *
 * Knows nothing of tasklets. Runtime-neutral: what Deno, Node and Bun share is `node:process`.
 *
 * @module
 */
import process from "node:process";
import { report } from "./report.ts";
import { nextTurn, now, setTimer } from "./timer.ts";

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

/** How `dispatch` runs a program. */
export interface DispatchOptions {
  /**
   * The signals that end the program.
   *
   * @default {["SIGINT", "SIGTERM"]}
   */
  signals?: readonly Signal[] | undefined;
  /**
   * Milliseconds for which `finally` blocks may wait when it ends.
   *
   * @default {5000}
   */
  grace?: number | undefined;
}

/** What a program consists of. */
export interface Root {
  /** Ends all of it, with `grace` milliseconds for cleanup; resolves when it has ended. */
  kill(grace: number): Promise<void>;
  /** The same for what should not outlive the main part. */
  killDaemons(grace: number): Promise<void>;
  /** Resolves when the main part has ended: with its error, if it has failed. */
  readonly failure: Promise<{ readonly error: unknown } | undefined>;
  /** Its name, for people. */
  toString(): string;
}

// Milliseconds within which the same signal again is no second one, and for how long such a pair leaves cleanup alone.
// A Ctrl-C under `deno task` comes twice, within a millisecond: from the terminal, which tells all of its programs, and
// from the task, which passes on what it was told.
const ECHO = 50;
const PATIENCE = 1000;

// The program that runs, if there is one. A second one takes its place for `endProgram`, and both go on.
let end: ((code: number) => void) | undefined;

/** Binds `root` to the process: signals and the end of the event loop end it, and its end sets the exit code. */
export function runProgram(
  { signals = ["SIGINT", "SIGTERM"], grace = 5000 }: DispatchOptions,
  root: Root,
): void {
  let exitCode: number | undefined;
  let first: { readonly signal: Signal; readonly at: number } | undefined;
  const endThis = (code: number): void => {
    exitCode ??= code;
    void root.kill(grace);
  };
  const onSignal = (signal: Signal): void => {
    const code = 128 + NUMBERS[signal];
    const at = now();
    if (exitCode === undefined) {
      first = { signal, at };
      endThis(code);
    } else if (signal === first?.signal && at - first.at < ECHO) {
      setTimer(at + PATIENCE, () => process.exit(code));
    } else {
      process.exit(code);
    }
  };
  const onDrain = (): void => endThis(0);
  for (const signal of signals) process.on(signal, onSignal);
  process.on("beforeExit", onDrain);
  end = endThis;
  void root.failure.then(async (failure) => {
    if (failure !== undefined) report(`${root} failed:`, failure.error);
    if (exitCode !== undefined) await root.kill(grace);
    await root.killDaemons(grace);
    await new Promise<void>(nextTurn); // in which errors that nobody asked for are reported
    for (const signal of signals) process.off(signal, onSignal);
    process.off("beforeExit", onDrain);
    if (end === endThis) end = undefined;
    if (failure !== undefined) process.exit(1);
    if (exitCode !== undefined) process.exit(exitCode);
  });
}

/** Ends the program that runs, or the process if there is none. */
export function endProgram(code: number): void {
  if (end === undefined) process.exit(code);
  end(code);
}

/**
 * Calls `adopt` with the reason of each promise rejection that nobody handles, in the context of the promise.
 * What it does not adopt ends the process, as without this.
 */
export function onFloatingRejection(adopt: (reason: unknown, promise: Promise<unknown>) => boolean): void {
  if ("onunhandledrejection" in globalThis) {
    globalThis.addEventListener("unhandledrejection", (event) => {
      if (adopt(event.reason, event.promise)) event.preventDefault();
    });
  } else {
    process.on("unhandledRejection", (reason, promise) => {
      if (!adopt(reason, promise)) throw reason;
    });
  }
}
