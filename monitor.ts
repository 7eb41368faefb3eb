/**
 * Monitors: who is told when somebody else has come to the end.
 *
 * Runtime-neutral and pure: knows of those who come to an end only that they do.
 *
 * @module
 */
import { Line, type Place } from "./mailbox.ts";

/** Somebody who comes to an end, of which others are told, and who is told of theirs until then. */
export interface Watched {
  /** Of others, on this one. Kept by the monitors alone. */
  monitors: Line<Monitor> | undefined;
  /** Of this one, on others. Kept by the monitors alone. */
  watching: Set<Monitor> | undefined;
}

/** Tells of the end of one, until it has come, or that of whoever wants to know, or until it is disposed. */
export class Monitor implements Place<Monitor>, Disposable {
  earlier: Monitor | undefined;
  later: Monitor | undefined;
  readonly #watched: Watched;
  readonly #watcher: Watched | undefined;
  readonly #tell: (error: unknown) => unknown;

  /** Calls `tell` with what ended `watched`; whether that is somebody's concern now is what it returns. */
  constructor(watched: Watched, watcher: Watched | undefined, tell: (error: unknown) => unknown) {
    this.#watched = watched;
    this.#watcher = watcher;
    this.#tell = tell;
    (watched.monitors ??= new Line()).join(this);
    if (watcher !== undefined) (watcher.watching ??= new Set()).add(this);
  }

  /** Tells nobody any more. */
  [Symbol.dispose](): void {
    this.#watched.monitors?.leave(this);
    this.#watcher?.watching?.delete(this);
  }

  /**
   * Ends the monitors of one that has come to its end because of `error`: what it watched it is not told of, and who
   * watched it is told.
   *
   * @returns Whether the error is somebody's concern now.
   */
  static endAll(of: Watched, error: unknown): boolean {
    const { monitors, watching } = of;
    if (watching !== undefined) { for (const monitor of watching) monitor[Symbol.dispose](); }
    let isKnown = false;
    for (let monitor = monitors?.first; monitor !== undefined; monitor = monitors?.first) {
      monitor[Symbol.dispose]();
      if (monitor.#tell(error) === true) isKnown = true;
    }
    of.monitors = of.watching = undefined;
    return isKnown;
  }
}
