/**
 * A program in which everything goes wrong that the observer can name.
 *
 *     deno run --allow-net=localhost:9999 examples/troubled.ts --observe 9999
 *
 * Then open http://localhost:9999 and wait ten seconds.
 *
 * @module
 */
import { Message, Tasklet } from "../mod.ts";
import { program } from "./cli.ts";

class MSG_ASK extends Message("MSG_ASK")<[], string> {}
class MSG_LINE extends Message("MSG_LINE")<[text: string]> {}
class MSG_CRUNCH extends Message("MSG_CRUNCH")<[milliseconds: number]> {}

/** Two that ask each other while they are busy otherwise, so that nothing refuses the calls: a deadlock. */
export function deadlock(): void {
  async function ask(whom: () => Tasklet): Promise<void> {
    await Promise.all([Tasklet.sleep(100), MSG_ASK.call(whom())()]);
  }
  const left: Tasklet = Tasklet.new(ask, { name: "left" })(() => right);
  const right: Tasklet = Tasklet.new(ask, { name: "right" })(() => left);
}

/** One that starts others and forgets them: a leak. */
export function leak(): Tasklet {
  const forgotten = async () => await Tasklet.suspend(() => {}, { what: "for nothing that will come" });
  return Tasklet.interval(50, () => void Tasklet.new(forgotten)(), { name: "leaky" })();
}

/** One that gets lines and waits for something else: a stuck reader. */
export function stuckReader(): Tasklet {
  const reader = Tasklet.new(async () => {
    await Tasklet.receiveOne([MSG_LINE]);
    await Tasklet.wait(new Promise(() => {}));
  }, { name: "reader" })();
  return Tasklet.interval(20, () => void MSG_LINE.send(reader)("hello"), { name: "writer" })();
}

/** One that computes without a wait point: a blocked event loop. */
export function blocker(): Tasklet {
  const cruncher = Tasklet.receiver((msg: MSG_CRUNCH) => {
    const end = performance.now() + msg.args[0];
    while (performance.now() < end);
  }, { name: "cruncher" });
  return Tasklet.interval(4000, () => void MSG_CRUNCH.send(cruncher)(300), { name: "clock" })();
}

/** One that fails, with a cause. */
export function failing(): Tasklet {
  return Tasklet.later(2000, () => {
    const cause = new RangeError("There is no page 7");
    throw new Error("Cannot print the book", { cause });
  }, { name: "printer" })();
}

/** All of it at once, until it is killed. */
export async function troubled(): Promise<void> {
  deadlock();
  leak();
  stuckReader();
  blocker();
  failing();
  await Tasklet.suspend(() => {}, { what: "for the end of the trouble" });
}

if (import.meta.main) {
  program({ name: "troubled", about: "Goes wrong in every way.", flags: {} }, troubled);
}
