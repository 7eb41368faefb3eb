/**
 * What `explore()` finds: faults of many kinds, and nothing where nothing is wrong.
 *
 * @module
 */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { Channel, select } from "../channel.ts";
import { CallError, Message } from "../message.ts";
import { type AnyTasklet, Tasklet } from "../tasklet.ts";
import { assertQuiet, explore } from "../testing.ts";
import { now, TimeoutError, timerCount } from "../timer.ts";
import { failure, lostUpdate } from "./lost_update.ts";

class MSG_GET extends Message("MSG_GET")<[], number> {}
class MSG_SET extends Message("MSG_SET")<[value: number]> {}
class MSG_ADD extends Message("MSG_ADD")<[amount: number]> {}
class MSG_ITEM extends Message("MSG_ITEM")<[from: string, n: number]> {}
class MSG_TAKE extends Message("MSG_TAKE")<[], void> {}
class MSG_RETURN extends Message("MSG_RETURN") {}
class MSG_BALL extends Message("MSG_BALL")<[from: Tasklet]> {}

/** The same with an owner of the state, who is asked and told, but not in one message. */
async function lostUpdateByMessages() {
  await using owner = Tasklet.new(async function owner() {
    let value = 0;
    for await (const msg of Tasklet.receive()) {
      if (msg.match(MSG_GET)) msg.reply(value);
      else if (msg.match(MSG_SET)) value = msg.args[0];
    }
  })();
  async function increment() {
    MSG_SET.send(owner)(await MSG_GET.call(owner)() + 1);
  }
  await Tasklet.joinAll([Tasklet.new(increment)(), Tasklet.new(increment)()]);
  assertEquals(await MSG_GET.call(owner)(), 2);
}

/** Each of two waits for a message of the other before it sends its own. */
async function eachReceivesFirst() {
  const tasks: Tasklet<void>[] = [];
  async function polite(i: number) {
    await Tasklet.receiveOne([MSG_SET]);
    MSG_SET.send(tasks[1 - i]!)(i);
  }
  for (const i of [0, 1]) tasks.push(Tasklet.new(polite, { name: `polite ${i}` })(i));
  await Tasklet.joinAll(tasks);
}

/** Two that take the same two forks, in a different order. */
async function philosophers() {
  async function fork() {
    while (true) {
      (await Tasklet.receiveOne([MSG_TAKE])).reply();
      await Tasklet.receiveOne([MSG_RETURN]);
    }
  }
  const forks = ["left", "right"].map((name) => Tasklet.new(fork, { name })());
  async function philosopher(first: AnyTasklet, second: AnyTasklet) {
    await MSG_TAKE.call(first as Tasklet)();
    await MSG_TAKE.call(second as Tasklet)();
    MSG_RETURN.send([first as Tasklet, second as Tasklet])();
  }
  const [left, right] = forks as [Tasklet, Tasklet];
  const plato = Tasklet.new(philosopher, { name: "plato" })(left, right);
  const kant = Tasklet.new(philosopher, { name: "kant" })(right, left);
  await plato.join();
  await kant.join();
  await Promise.all(forks.map((fork) => fork.kill()));
}

/** A reader that expects what comes from A before what comes from B. */
async function assumesOrder() {
  const reader = Tasklet.new(async function reader() {
    const from: string[] = [];
    for await (const msg of Tasklet.receive([MSG_ITEM])) if (from.push(msg.args[0]) === 2) break;
    return from;
  })();
  for (const name of ["A", "B"]) {
    Tasklet.new(async () => {
      await Tasklet.yield();
      MSG_ITEM.send(reader)(name, 0);
    }, { name })();
  }
  assertEquals(await reader.join(), ["A", "B"]);
}

Deno.test("explore() finds a lost update", async () => {
  const error = await failure(lostUpdate);
  assertStringIncludes(error.message, "an update was lost");
  assertEquals((error.cause as Error).name, "AssertionError");
});

Deno.test("explore() finds a lost update between messages", async () => {
  assert((await failure(lostUpdateByMessages)).cause instanceof Error);
});

Deno.test("explore() finds a deadlock, and names who waits for what", async () => {
  const error = await failure(eachReceivesFirst);
  const [first, ...lines] = error.message.replaceAll(/#\d+/g, "").split("\n");
  assertEquals(first, `Run 1 of 1000 failed under seed ${error.seed}: Deadlock: nothing can go on any more`);
  assertEquals(lines, [
    "  eachReceivesFirst (waiting): waits for the end of polite 0",
    "  polite 0 (waiting): waits for MSG_SET",
    "  polite 1 (waiting): waits for MSG_SET",
    `To replay it: explore(body, { seed: ${error.seed} })`,
  ]);
  assertEquals("cause" in error, false);
});

Deno.test("explore() finds a deadlock that few orders lead to", async () => {
  const error = await failure(philosophers);
  assertStringIncludes(error.message, "Deadlock");
  assertEquals(error.message.match(/(plato|kant)#\d+ \(waiting\): waits for the reply of/g)?.length, 2);
});

Deno.test("explore() finds callers in a cycle, whom the library tells", async () => {
  const error = await failure(async () => {
    const tasks: Tasklet[] = [];
    async function asks(i: number) {
      return await MSG_GET.call(tasks[1 - i]!)();
    }
    for (const i of [0, 1]) tasks.push(Tasklet.new(asks, { name: `asks ${i}` })(i) as AnyTasklet as Tasklet);
    for (const task of tasks) await task.join();
  });
  const reasons: unknown[] = [];
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof CallError) reasons.push(cause.reason);
  }
  assertEquals(reasons.at(-1), "deadlock");
});

Deno.test("explore() finds a deadlock at promises that are no wait points", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const error = await failure(async function stuck() {
    await promise;
  });
  resolve();
  assertStringIncludes(error.message, "stuck");
  assertStringIncludes(error.message, "(running): awaits something that is no wait point");
});

Deno.test("explore() finds what assumes the order of two senders", async () => {
  assertStringIncludes((await failure(assumesOrder)).message, "Values are not equal");
});

Deno.test("explore() finds what needs one to be thirty steps ahead of another", async () => {
  await failure(async () => {
    let isReady = false;
    const slow = Tasklet.new(async () => {
      await Tasklet.yield();
      isReady = true;
    })();
    const fast = Tasklet.new(async () => {
      for (let i = 0; i < 30; i++) await Tasklet.yield();
      assert(isReady);
    })();
    await slow.join();
    await fast.join();
  });
});

Deno.test("explore() finds what needs one to be left behind at the wrong moment", async () => {
  await failure(async () => {
    let isOpen = false;
    let seenOpen = 0;
    const door = Tasklet.new(async () => {
      for (let i = 0; i < 5; i++) await Tasklet.yield();
      isOpen = true;
      await Tasklet.yield();
      isOpen = false;
    })();
    const visitor = Tasklet.new(async () => {
      for (let i = 0; i < 30; i++) {
        await Tasklet.yield();
        if (isOpen) seenOpen++;
      }
    })();
    await Tasklet.joinAll([door, visitor]);
    assert(seenOpen < 25);
  }, { runs: 1000, seed: 1 });
});

Deno.test("explore() finds what depends on when a tasklet starts", async () => {
  await failure(async () => {
    let isStarted = false;
    const ticker = Tasklet.new(async () => {
      await Tasklet.receiveOne();
      assert(isStarted, "it has not started");
    })();
    MSG_RETURN.send(ticker)();
    await Tasklet.yield();
    const late = Tasklet.new(() => void (isStarted = true))();
    await ticker.join();
    await late.join();
  });
});

// ------------------------------------------------------------------------------------------------
// Programs without a bug, under a thousand orders

/** The bugs from above, mended; and other correct programs. */
const CORRECT: Record<string, () => Promise<unknown>> = {
  "an owner that adds": async () => {
    await using owner = Tasklet.new(async () => {
      let value = 0;
      for await (const msg of Tasklet.receive()) {
        if (msg.match(MSG_GET)) msg.reply(value);
        else if (msg.match(MSG_ADD)) value += msg.args[0];
      }
    })();
    async function add() {
      for (let i = 0; i < 3; i++) {
        MSG_ADD.send(owner)(1);
        await Tasklet.yield();
      }
    }
    await Tasklet.joinAll([Tasklet.new(add)(), Tasklet.new(add)(), Tasklet.new(add)()]);
    assertEquals(await MSG_GET.call(owner)(), 9);
  },
  "philosophers who agree on the order of forks": async () => {
    async function fork() {
      while (true) {
        (await Tasklet.receiveOne([MSG_TAKE])).reply();
        await Tasklet.receiveOne([MSG_RETURN]);
      }
    }
    const forks = [1, 2, 3].map((n) => Tasklet.new(fork, { name: `fork ${n}` })());
    let meals = 0;
    async function philosopher(i: number) {
      const [first, second] = [i, (i + 1) % 3].sort().map((n) => forks[n]!) as [Tasklet, Tasklet];
      await MSG_TAKE.call(first)();
      await MSG_TAKE.call(second)();
      await Tasklet.sleep(1);
      meals++;
      MSG_RETURN.send([first, second])();
    }
    await Tasklet.joinAll([0, 1, 2].map((i) => Tasklet.new(philosopher)(i)));
    assertEquals(meals, 3);
  },
  "ping-pong": async () => {
    let rounds = 0;
    async function player() {
      await Tasklet.yield();
      const self = Tasklet.current()!;
      for await (const msg of Tasklet.receive([MSG_BALL])) {
        if (++rounds >= 10) return void MSG_BALL.send(msg.args[0])(self);
        MSG_BALL.send(msg.args[0])(self);
      }
    }
    const players = [Tasklet.new(player)(), Tasklet.new(player)()] as Tasklet[];
    MSG_BALL.send(players[0]!)(players[1]!);
    await Tasklet.joinAll(players);
    assertEquals(rounds, 11);
  },
  "a scope whose failure ends the others": async () => {
    const log: string[] = [];
    const error = await Tasklet.scope(async () => {
      Tasklet.new(() => Tasklet.sleep(1000).finally(() => log.push("killed")))();
      Tasklet.new(async () => {
        for (let i = 0; i < 3; i++) await Tasklet.yield();
      })();
      Tasklet.new(async () => {
        await Tasklet.yield();
        throw new Error("first");
      })();
      await Tasklet.receiveOne();
    }).catch((error) => error);
    assertEquals([error.message, log.length <= 1, now()], ["first", true, 0]);
  },
  "timeouts that leave nothing behind": async () => {
    const silent = Tasklet.new(() => Tasklet.sleep(100))();
    const waits = [
      () => silent.join({ timeout: 10 }),
      () => MSG_GET.call(silent, { timeout: 10 })(),
      () => Tasklet.receiveOne(undefined, { timeout: 10 }),
      () => Tasklet.suspend(() => {}, { timeout: 10 }),
    ];
    await Tasklet.joinAll(waits.map((wait) =>
      Tasklet.new(async () => {
        await Tasklet.yield();
        await assertRejects(wait, TimeoutError);
        assertEquals(now(), 10);
      })()
    ));
    await silent.join();
    assertEquals(timerCount(), 0);
  },
  "producers and consumers on a channel with room for one": async () => {
    const channel = new Channel<number>(1);
    const taken: number[] = [];
    async function produce(first: number) {
      for (let n = first; n < first + 3; n++) await channel.send(n);
    }
    async function consume() {
      for await (const n of channel) taken.push(n);
    }
    const consumers = [Tasklet.new(consume)(), Tasklet.new(consume)()];
    await Tasklet.joinAll([Tasklet.new(produce)(0), Tasklet.new(produce)(10)]);
    channel.close();
    await Tasklet.joinAll(consumers);
    assertEquals(taken.toSorted((a, b) => a - b), [0, 1, 2, 10, 11, 12]);
  },
  "a select that takes exactly one at a time": async () => {
    const [a, b] = [new Channel<number>(), new Channel<number>()];
    const senders = [a, b].map((channel, i) => Tasklet.new(() => channel.send(i))());
    const got = [await select({ a, b }), await select({ a, b })];
    assertEquals(got.map(([key]) => key).toSorted(), ["a", "b"]);
    await Tasklet.joinAll(senders);
    assertEquals([a.balance, b.balance], [0, 0]);
  },
  "a plain promise between two tasklets, and a wait for one": async () => {
    const { promise, resolve } = Promise.withResolvers<number>();
    const plain = Tasklet.new(async () => {
      await Tasklet.yield();
      return await promise + 1;
    })();
    const waiting = Tasklet.new(async () => {
      await Tasklet.yield();
      return await Tasklet.wait(promise);
    })();
    Tasklet.later(50, resolve)(1);
    assertEquals(await Tasklet.joinAll([plain, waiting]), [2, 1]);
  },
};

for (const [name, body] of Object.entries(CORRECT)) {
  Deno.test(`explore() finds nothing in 1000 runs of ${name}`, async () => {
    const { runs, orders } = await explore(body, { runs: 1000 });
    assertEquals(runs, 1000);
    assert(orders > 2, `only ${orders} orders`);
    assertQuiet();
  });
}
