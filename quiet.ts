/**
 * What is left: tasklets, timers, names and waits that somebody has forgotten to end.
 *
 * Runtime-neutral.
 *
 * @module
 */
import { type Life, roots } from "./life.ts";
import { registeredNames, Tasklet } from "./tasklet.ts";
import { timerCount } from "./timer.ts";
import { strangersWaits, type Wait } from "./wait.ts";

/**
 * Makes sure that nothing is left of what a test has started: no tasklet, no timer, no registered name, no wait.
 *
 * The running tasklet and those above it are not left over: they, their names, their waits and their deadlines do not
 * count, nor does who waits for their end. In an exploration, what is not of its run does not count either.
 *
 * ```ts
 * import { Tasklet } from "@x/concurrence";
 * import { assertQuiet } from "@x/concurrence/testing";
 *
 * const task = Tasklet.new(function forgotten() {
 *   return Tasklet.receiveOne();
 * })();
 * await Tasklet.yield();
 * try {
 *   assertQuiet();
 * } catch (error) {
 *   console.log((error as Error).message); // "Not quiet: 1 tasklet left\n  forgotten#1 (waiting): waits for a message"
 * }
 * await task.kill();
 * assertQuiet();
 * ```
 *
 * @throws {Error} If something is left; the text has a line for each.
 */
export function assertQuiet(): void {
  const here = withAncestors(Tasklet.current());
  const names = namesByOwner();
  const tasks = liveTasklets().filter((task) => !here.includes(task) && !disregarded.has(task));
  const isForUs = ({ target }: Wait): boolean => here.some((task) => task === target);
  const waits = strangersWaits().filter((wait) => !isForUs(wait) && !disregarded.has(wait));
  const timers = timerCount() -
    here.reduce((count, task) => count + timersOf(task), timedOf(strangersWaits().filter(isForUs)));
  if (tasks.length === 0 && timers === 0 && waits.length === 0) return;
  const counts = [countOf(tasks.length, "tasklet"), countOf(timers, "timer"), countOf(waits.length, "wait")];
  const lines = tasks.map((task) => `${describeTasklet(task)}${described(names.get(task))}`);
  if (timers > 0) lines.push(`timers: ${timers}`);
  for (const wait of waits) lines.push(`outside of any tasklet: waits ${wait.describe()}`);
  const left = counts.filter((count) => count !== undefined).join(", ");
  throw new Error([`Not quiet: ${left} left`, ...lines].join("\n  "));
}

/** All tasklets that have not finished, parents before their children; abandoned ones, too. */
export function liveTasklets(): Life[] {
  return [...roots].flatMap((root) => [...root.tree()].map(([task]) => task));
}

let disregarded: ReadonlySet<unknown> = new Set();

/** Lets the tasklets and waits that are there now not count as left over, until disposed. */
export function disregardWhatIsThere(): Disposable {
  const previous = disregarded;
  disregarded = new Set<unknown>([...previous, ...liveTasklets(), ...strangersWaits()]);
  return { [Symbol.dispose]: () => void (disregarded = previous) };
}

/** What a tasklet does, in words: its name, its state and what it waits for. */
export function describeTasklet(task: Life): string {
  return `${task} (${task.status}): ${doingOf(task)}`;
}

function doingOf(task: Life): string {
  if (task.status === "ready") return "has not started";
  const waits = waitsOf(task).map((wait) => wait.describe());
  if (waits.length > 0) return `waits ${waits.join(", and ")}`;
  if (task.status !== "running" && task.children.length > 0) {
    return `waits for the end of ${task.children.join(", ")}`;
  }
  return "awaits something that is no wait point";
}

/** The waits of a tasklet under way, oldest first. */
function waitsOf(task: Life): Wait[] {
  const waits: Wait[] = [];
  for (let wait = task.waits; wait !== undefined; wait = wait.older) waits.push(wait);
  return waits.reverse();
}

function timersOf(task: Life): number {
  return (task.timeouts?.length ?? 0) + timedOf(waitsOf(task));
}

function timedOf(waits: readonly Wait[]): number {
  return waits.filter((wait) => wait.timed).length;
}

function withAncestors(task: Life | undefined): Life[] {
  return task === undefined ? [] : [task, ...withAncestors(task.parent)];
}

function namesByOwner(): Map<Life, string[]> {
  const names = new Map<Life, string[]>();
  for (const [name, task] of registeredNames) names.set(task, [...names.get(task) ?? [], name]);
  return names;
}

function described(names: string[] | undefined): string {
  return names === undefined ? "" : `; registered as ${names.map((name) => JSON.stringify(name)).join(", ")}`;
}

function countOf(n: number, what: string): string | undefined {
  return n === 0 ? undefined : `${n} ${what}${n === 1 ? "" : "s"}`;
}
