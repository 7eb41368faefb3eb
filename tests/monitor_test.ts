import { assertEquals } from "@std/assert";
import { Monitor, type Watched } from "../monitor.ts";

Deno.test("Monitor.endAll() tells all who watch, in the order they began, once, and why", () => {
  const [one, other] = [somebody(), somebody()];
  const log: unknown[] = [];
  for (const name of ["first", "second"]) new Monitor(one, other, (error) => log.push([name, error]));
  Monitor.endAll(one, "why");
  Monitor.endAll(one, "again");
  assertEquals(log, [["first", "why"], ["second", "why"]]);
});

Deno.test("Monitor.endAll() says whether anybody takes the error for his concern", () => {
  const log: boolean[] = [];
  for (const answers of [[], [undefined, 1], [false, true, false]]) {
    const one = somebody();
    for (const answer of answers) new Monitor(one, undefined, () => answer);
    log.push(Monitor.endAll(one, new Error("why")));
  }
  assertEquals(log, [false, false, true]);
});

Deno.test("Monitor tells nobody who has ended, nor for whom it was disposed, also during the telling", () => {
  const [one, other, third] = [somebody(), somebody(), somebody()];
  const log: string[] = [];
  new Monitor(one, other, () => log.push("ended"));
  new Monitor(one, third, () => log.push("disposed"))[Symbol.dispose]();
  new Monitor(one, third, () => {
    log.push("told");
    last[Symbol.dispose]();
  });
  const last = new Monitor(one, third, () => log.push("disposed meanwhile"));
  Monitor.endAll(other, undefined);
  Monitor.endAll(one, undefined);
  last[Symbol.dispose]();
  assertEquals([log, third.watching?.size], [["told"], 0]);
});

function somebody(): Watched {
  return { monitors: undefined, watching: undefined };
}
