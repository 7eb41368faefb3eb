/**
 * Task locals: values that belong to a tasklet and to all it starts.
 *
 * Runtime-neutral.
 *
 * @module
 */
import { running } from "./context.ts";

/** A value that a task local has in one tasklet. Chained, newest first; a chain is never changed, so children share it. */
export interface Binding {
  /** Which task local. */
  readonly local: unknown;
  /** By which call of `set`; copies have it in common. */
  readonly setting: object;
  /** Its value. */
  readonly value: unknown;
  /** The one bound before. */
  readonly older: Binding | undefined;
}

/** What task locals act on: the running tasklet, as this module sees it. */
export interface LocalScope {
  /** What is bound in it, newest first. Kept by {@linkcode TaskLocal} alone. */
  locals: Binding | undefined;
  /** Whether it has not finished. */
  readonly alive: boolean;
}

/**
 * A variable with a value of its own in each tasklet: who is served, in which language, under which trace.
 *
 * ```ts
 * import { Tasklet, TaskLocal } from "@x/concurrence";
 *
 * const user = new TaskLocal("nobody");
 *
 * const task = Tasklet.new(async () => {
 *   {
 *     using _ = user.set("Jane");
 *     const child = Tasklet.new(() => user.get())();
 *     console.log(user.get(), await child.join()); // "Jane" "Jane"
 *   }
 *   console.log(user.get()); // "nobody"
 * })();
 * await task.join();
 * ```
 *
 * - **Inheritance**: a child has the values its parent had when it created the child, and keeps them. A daemon, which
 *   has no parent, begins with the initial ones.
 * - **Nesting**: disposing a value brings the one before back; disposing that one first leaves the newer in place.
 * - **Isolation**: what a tasklet sets is seen by no other tasklet that runs already.
 *
 * @typeParam T What it holds.
 */
export class TaskLocal<in out T> {
  readonly #initial: T;

  /** Creates a variable that is `initial` wherever it has not been set. */
  constructor(...initial: undefined extends T ? [initial?: T] : [initial: T]) {
    this.#initial = initial[0] as T;
  }

  /** The value in the running tasklet; the initial one where it was not set, and outside of any. */
  get(): T {
    const scope = running.getStore() as LocalScope | undefined;
    for (let at = scope?.locals; at !== undefined; at = at.older) {
      if (at.local === this) return at.value as T;
    }
    return this.#initial;
  }

  /**
   * Sets the value in the running tasklet, until the result is disposed or the tasklet has finished: `using _ =
   * user.set("Jane")`. Without disposal, each call adds to what the tasklet remembers.
   *
   * @throws {Error} Outside of a tasklet.
   */
  set(value: T): Disposable {
    const scope = running.getStore() as LocalScope | undefined;
    if (scope === undefined || !scope.alive) {
      throw new Error("Cannot set a task local: no tasklet is running");
    }
    const setting = {};
    scope.locals = { local: this, setting, value, older: scope.locals };
    return { [Symbol.dispose]: () => void (scope.locals = without(scope.locals, setting)) };
  }
}

/** The chain from `newest` on, with everything but what was bound by `setting`. */
function without(newest: Binding | undefined, setting: object): Binding | undefined {
  const newer: Binding[] = [];
  let at = newest;
  for (; at !== undefined && at.setting !== setting; at = at.older) newer.push(at);
  if (at === undefined) return newest;
  let chain = at.older;
  for (const binding of newer.reverse()) chain = { ...binding, older: chain };
  return chain;
}
