/**
 * Sleeping without blocking, and a counter that is right because one tasklet owns it.
 *
 *     deno run examples/sleepers.ts --count 100 --sleep 1000
 *
 * @module
 */
import { Message, Tasklet } from "../mod.ts";
import { now } from "../timer.ts";
import { program, wholeNumber } from "./cli.ts";

class MSG_INCREMENT extends Message("MSG_INCREMENT") {}
class MSG_COUNT extends Message("MSG_COUNT")<[], number> {}

/** What {@linkcode sleepers} can be told. */
export interface SleepersOptions {
  /** How many sleep at once. @default {100} */
  readonly count?: number;
  /** Milliseconds for which each sleeps. @default {1000} */
  readonly sleep?: number;
  /** Takes what happens, a line each. @default {console.log} */
  readonly log?: (line: string) => void;
  /** Takes how many have woken up, while they do. @default {nothing} */
  readonly progress?: (woken: number) => void;
}

/** Shows who wakes up when, and who counts right. */
export async function sleepers(options: SleepersOptions = {}): Promise<void> {
  const { count = 100, sleep = 1000, log = console.log, progress = () => {} } = options;
  log(`Woken up in the order ${(await wakeUps([300, 100, 200])).join(", ")}: whoever sleeps less is first`);
  const elapsed = await together(count, sleep, progress);
  log(`${count} sleepers of ${sleep} ms each ended together in ${elapsed.toFixed(0)} ms`);
  log(
    `1000 increments, each by a tasklet of its own that waits between reading and writing: ${await torn(
      1000,
    )}`,
  );
  log(`1000 increments through one tasklet that owns the counter: ${await owned(1000)}`);
}

/** Sleeps `times` at once, and tells in which order they were over. */
export async function wakeUps(times: readonly number[]): Promise<number[]> {
  const order: number[] = [];
  await Tasklet.joinAll(times.map((ms) => Tasklet.later(ms, () => order.push(ms))()));
  return order;
}

/** Lets `count` tasklets sleep at once, and tells how many milliseconds that took. */
export async function together(
  count: number,
  ms: number,
  progress: (woken: number) => void,
): Promise<number> {
  const start = now();
  let woken = 0;
  await Tasklet.joinAll(Array.from({ length: count }, () => Tasklet.later(ms, () => progress(++woken))()));
  return now() - start;
}

/** Increments a shared variable, as one should not: all read it before the first has written. */
export async function torn(increments: number): Promise<number> {
  let counter = 0;
  async function increment(): Promise<void> {
    const read = counter;
    await Tasklet.yield();
    counter = read + 1;
  }
  await Tasklet.joinAll(Array.from({ length: increments }, () => Tasklet.new(increment)()));
  return counter;
}

/** Increments a variable that one tasklet owns: the others send messages, which it takes one by one. */
export async function owned(increments: number): Promise<number> {
  const owner = Tasklet.new(async () => {
    let counter = 0;
    for await (const msg of Tasklet.receive()) {
      if (msg.match(MSG_INCREMENT)) counter++;
      else if (msg.match(MSG_COUNT)) msg.reply(counter);
    }
  })();
  await Tasklet.joinAll(
    Array.from({ length: increments }, () => Tasklet.new(() => MSG_INCREMENT.send(owner)())()),
  );
  const count = await MSG_COUNT.call(owner)();
  await owner.kill();
  return count;
}

if (import.meta.main) {
  const flags = {
    count: wholeNumber("how many sleep at once", 100, 0, 1_000_000),
    sleep: wholeNumber("milliseconds for which each sleeps", 1000, 0, 86_400_000),
  };
  const isTerminal = Deno.stdout.isTerminal();
  const show = (text: string) => Deno.stdout.writeSync(new TextEncoder().encode(`\r${text}`));
  const progress = (woken: number) => isTerminal && show(`${woken} have woken up `);
  const log = (line: string) => console.log(isTerminal ? `\r${line}` : line);
  program(
    { name: "sleepers", about: "Sleeps without blocking, and counts right.", flags },
    (values) => sleepers({ ...values, progress, log }),
  );
}
