/**
 * Functions called again and again: what `Tasklet.later`, `interval`, `rate`, `loop` and `receiver` run.
 *
 * An error of the function is reported on stderr, and the repetition goes on; only a kill ends it.
 *
 * Runtime-neutral.
 *
 * @module
 */
import { running } from "./context.ts";
import type { AnyMessage } from "./message.ts";
import { report } from "./report.ts";
import { sleep, suspend } from "./suspend.ts";
import { now } from "./timer.ts";
import { TaskletExit, type Waiter } from "./wait.ts";

const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 30_000;

/** Calls `f` after `ms` milliseconds. */
export async function later<R>(ms: number, f: () => R): Promise<Awaited<R>> {
  await sleep(ms);
  return await f();
}

/** Calls `f` after each `ms` milliseconds of sleep, and at once if `immediate`. */
export async function interval(ms: number, f: () => unknown, immediate: boolean): Promise<never> {
  if (immediate) await attempt(f);
  while (true) {
    await sleep(ms);
    await attempt(f);
  }
}

/** Calls `f` at multiples of `period` milliseconds from now, with the time; leaves out those that are missed. */
export async function rate(period: number, f: (time: number) => unknown): Promise<never> {
  const start = now();
  for (let n = 1;; n = Math.max(n + 1, Math.ceil((now() - start) / period))) {
    const time = start + n * period;
    await sleep(Math.max(0, time - now()));
    await attempt(() => f(time));
  }
}

/** Calls `f` again as soon as it has ended, and after a pause when it has failed. */
export async function loop(f: () => unknown): Promise<never> {
  let pause = FIRST_PAUSE;
  while (true) {
    if (await attempt(f)) {
      pause = FIRST_PAUSE;
      await suspend<void>((resume) => resume(), Infinity, "for its next round"); // for an `f` without a wait point
    } else {
      await sleep(pause);
      pause = Math.min(2 * pause, LONGEST_PAUSE);
    }
  }
}

/** Calls `f` with each message; an error answers the call that the message brought, if it did. */
export async function each<M extends AnyMessage>(
  messages: AsyncIterable<M>,
  f: (message: M) => unknown,
): Promise<void> {
  for await (const message of messages) await attempt(() => f(message), (error) => message.fail(error));
}

/** Calls `f`; its error goes to `answer` or, where that is not wanted, is reported. Whether there was none. */
async function attempt(
  f: () => unknown,
  answer: (error: unknown) => boolean = () => false,
): Promise<boolean> {
  let isWell = true;
  try {
    await f();
  } catch (error) {
    if (error instanceof TaskletExit) throw error;
    if (!answer(error)) report(`${running.getStore()} goes on after an error:`, error);
    isWell = false;
  }
  // `f` may have swallowed the exit.
  const exit = (running.getStore() as Waiter).refuse(true);
  if (exit !== undefined) throw exit;
  return isWell;
}
