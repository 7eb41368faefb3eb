/**
 * `MSG.call()`: the reply, and every other end of the wait for it.
 *
 * @module
 */
import { assertEquals, assertInstanceOf, assertMatch, assertStrictEquals } from "@std/assert";
import type { CallError, CallOptions } from "../message.ts";
import { Tasklet } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { Timeout, TimeoutError, timerCount } from "../timer.ts";
import { runSource } from "./program.ts";
import { CountingSignal } from "./signal.ts";
import {
  collector,
  MSG_ASK,
  MSG_GREETING,
  MSG_NUMBER,
  MSG_QUIT,
  MSG_SUM,
  named,
  served,
} from "./messages.ts";
import { failureOf, outcome } from "./outcomes.ts";

// ------------------------------------------------------------------------------------------------
// Message.call()

Deno.test("MSG.call() gives the reply, in a tasklet and outside of any", async () => {
  const task = served((msg) => msg.reply(msg.args.reduce((a: number, b: number) => a + b, 0)));
  const inside = Tasklet.new(() => MSG_SUM.call(task)(1, 2, 3))();
  assertEquals([await inside.join(), await MSG_SUM.call(task)(4, 5), await MSG_SUM.call(task)()], [6, 9, 0]);
  await task.kill();
});

Deno.test("MSG.call() from many callers gives each its own reply", async () => {
  const task = Tasklet.new(async () => {
    const held: MSG_SUM[] = [];
    while (held.length < 50) held.push(await Tasklet.receiveOne([MSG_SUM]));
    for (const msg of held.reverse()) msg.reply(msg.args[0]!);
  })();
  const calls = Array.from({ length: 50 }, (_, n) => Tasklet.new(() => MSG_SUM.call(task)(n))());
  assertEquals(await Tasklet.joinAll(calls), calls.map((_, n) => n));
});

Deno.test("MSG.call() waits in order with what was sent before", async () => {
  const log: unknown[] = [];
  const task = Tasklet.new(async () => {
    for await (const msg of Tasklet.receive()) {
      log.push(...msg.args);
      msg.reply(log.length);
    }
  })();
  MSG_NUMBER.send(task)(1);
  const called = MSG_SUM.call(task)(2);
  MSG_NUMBER.send(task)(3);
  assertEquals([await called, log], [2, [1, 2]]);
  await task.kill();
});

Deno.test("MSG.call() leaves no timer and no listener behind", async () => {
  const task = served((msg) => msg.reply(1));
  const signal = new CountingSignal();
  const timers = timerCount();
  await MSG_SUM.call(task, { timeout: 1000, signal })();
  assertEquals([timerCount() - timers, signal.listeners], [0, 0]);
  await task.kill();
});

// ------------------------------------------------------------------------------------------------
// Message.call(): CallError "finished"

Deno.test('MSG.call() ends with "finished" when the callee has finished before', async () => {
  const task = Tasklet.new(() => {}, { name: "callee" })();
  await task.join();
  const error = await failureOf(MSG_ASK.call(task)());
  assertEquals([error.reason, error.name, error.cause], ["finished", "CallError", undefined]);
  assertMatch(error.message, /MSG_ASK.*callee#\d+ has finished/);
});

Deno.test('MSG.call() ends with "finished" and the callee\'s error as cause when it had failed before', async () => {
  const failure = new Error("No luck");
  const task = Tasklet.new(() => Promise.reject(failure))();
  await outcome(task.join());
  const { reason, cause } = await failureOf(MSG_ASK.call(task)());
  assertEquals(reason, "finished");
  assertStrictEquals(cause, failure);
});

Deno.test('MSG.call() ends with "finished" when the callee returns without having taken the message', async () => {
  const task = Tasklet.new(() => Tasklet.receiveOne([MSG_QUIT]))();
  const call = failureOf(MSG_ASK.call(task)());
  MSG_QUIT.send(task)();
  const { reason, cause } = await call;
  assertEquals([reason, cause], ["finished", undefined]);
});

Deno.test('MSG.call() ends with "finished" when the callee returns having taken the message', async () => {
  const task = Tasklet.new(() => Tasklet.receiveOne([MSG_ASK]))();
  assertEquals(await outcome(MSG_ASK.call(task)()), "finished");
});

Deno.test('MSG.call() ends with "finished" and the callee\'s error as cause when it fails meanwhile', async () => {
  const failure = new Error("No luck");
  const task = Tasklet.new(async () => {
    await Tasklet.receiveOne([MSG_ASK]);
    throw failure;
  })();
  const joined = outcome(task.join());
  const { reason, cause } = await failureOf(MSG_ASK.call(task)());
  assertEquals(reason, "finished");
  assertStrictEquals(cause, failure);
  assertEquals(await joined, "JoinError");
});

Deno.test('MSG.call() ends with "finished" when the callee returned and only waits for its children', async () => {
  const log: unknown[] = [];
  const task = Tasklet.new(async () => {
    Tasklet.new(() => Tasklet.suspend(() => {}), { name: "child" })();
    await Tasklet.receiveOne([MSG_ASK]);
  })();
  log.push(await outcome(MSG_ASK.call(task)()), task.status, await outcome(MSG_ASK.call(task)()));
  await task.kill();
  assertEquals(log, ["finished", "waiting", "finished"]);
});

Deno.test('MSG.call() ends with "finished" and the exit as cause when the callee is killed', async () => {
  const task = Tasklet.new(async () => {
    await Tasklet.receiveOne([MSG_ASK]);
    await Tasklet.suspend(() => {});
  })();
  const [taken, queued] = [failureOf(MSG_ASK.call(task)()), failureOf(MSG_ASK.call(task)())];
  await Tasklet.yield();
  await task.kill();
  const after = failureOf(MSG_ASK.call(task)());
  const log: unknown[] = [];
  for (const error of await Promise.all([taken, queued, after])) {
    log.push([error.reason, (error.cause as Error).name]);
  }
  assertEquals(log, [1, 2, 3].map(() => ["finished", "TaskletExit"]));
});

Deno.test('MSG.call() ends with "finished" when the callee is killed before it started', async () => {
  const task = Tasklet.new(() => {})();
  const call = outcome(MSG_ASK.call(task)());
  await task.kill();
  assertEquals(await call, "finished");
});

Deno.test('MSG.call() ends with "finished" when a callee that deferred the reply has finished', async () => {
  const held: MSG_ASK[] = [];
  const task = Tasklet.new(async () => void held.push((await Tasklet.receiveOne([MSG_ASK])).defer()))();
  const call = outcome(MSG_ASK.call(task)());
  assertEquals([await call, held[0]!.reply("too late")], ["finished", false]);
});

Deno.test("MSG.call() with a deferred reply is answered by a child after the callee's body has returned", async () => {
  await using _time = virtualTime();
  const task = Tasklet.new(async () => {
    const msg = (await Tasklet.receiveOne([MSG_ASK])).defer();
    Tasklet.later(10, () => msg.reply("from a child"))();
  })();
  assertEquals(await outcome(MSG_ASK.call(task)()), "from a child");
  await task.join();
});

// ------------------------------------------------------------------------------------------------
// Message.call(): CallError "refused"

Deno.test('MSG.call() ends with "refused" when the mailbox is full', async () => {
  const task = collector({ capacity: 1 }, "busy");
  MSG_QUIT.send(task)();
  const error = await failureOf(MSG_ASK.call(task)());
  assertEquals(error.reason, "refused");
  assertMatch(error.message, /MSG_ASK.*busy#\d+ is full/);
  assertEquals(await task.join(), []);
});

Deno.test('MSG.call() ends with "refused" when its message is dropped for a newer one', async () => {
  const task = Tasklet.new(async function busy() {
    await Tasklet.suspend(() => {});
  }, { mailbox: { capacity: 2, overflow: "drop-oldest" } })();
  const calls = [failureOf(MSG_ASK.call(task)()), failureOf(MSG_ASK.call(task)())];
  const accepted = [MSG_QUIT.send(task)(), MSG_QUIT.send(task)()];
  const log = (await Promise.all(calls)).map((error) => error.reason);
  assertEquals([accepted, log], [[true, true], ["refused", "refused"]]);
  await task.kill();
});

// ------------------------------------------------------------------------------------------------
// Message.call(): CallError "forgotten"

Deno.test('MSG.call() ends with "forgotten" when the receiving loop goes on to its next message', async () => {
  const task = Tasklet.new(async function sloppy() {
    for await (const msg of Tasklet.receive()) if (msg.match(MSG_QUIT)) return;
  })();
  const error = await failureOf(MSG_ASK.call(task)());
  assertEquals(error.reason, "forgotten");
  assertMatch(error.message, /MSG_ASK.*sloppy#\d+/);
  MSG_QUIT.send(task)();
  await task.join();
});

Deno.test('MSG.call() ends with "forgotten" when a batch of pending() goes on', async () => {
  const task = Tasklet.new(async () => {
    await Tasklet.yield();
    for (const _ of Tasklet.pending());
    await Tasklet.suspend(() => {});
  })();
  assertEquals(await Promise.all([MSG_ASK.call(task)(), MSG_ASK.call(task)()].map(outcome)), [
    "forgotten",
    "forgotten",
  ]);
  await task.kill();
});

Deno.test("MSG.call() is not forgotten while the loop works on it, however long", async () => {
  await using _time = virtualTime();
  const task = Tasklet.new(async () => {
    for await (const msg of Tasklet.receive([MSG_ASK])) {
      await Tasklet.sleep(60_000);
      msg.reply("at last");
    }
  })();
  assertEquals(await Promise.all([MSG_ASK.call(task)(), MSG_ASK.call(task)()].map(outcome)), [
    "at last",
    "at last",
  ]);
  await task.kill();
});

Deno.test("MSG.call() is not forgotten when the loop is left before it replies", async () => {
  const task = Tasklet.new(async () => {
    for await (const msg of Tasklet.receive([MSG_ASK])) {
      await Tasklet.yield();
      setTurn(() => msg.reply("after the loop"));
      break;
    }
    await Tasklet.receiveOne([MSG_QUIT]);
  })();
  assertEquals(await outcome(MSG_ASK.call(task)()), "after the loop");
  MSG_QUIT.send(task)();
  await task.join();
});

Deno.test("MSG.call() is not forgotten with receiveOne(): there is no loop to go on", async () => {
  const task = Tasklet.new(async () => {
    const first = await Tasklet.receiveOne([MSG_ASK]);
    const second = await Tasklet.receiveOne([MSG_ASK]);
    second.reply("second");
    first.reply("first");
  })();
  assertEquals(await Promise.all([MSG_ASK.call(task)(), MSG_ASK.call(task)()].map(outcome)), [
    "first",
    "second",
  ]);
  await task.join();
});

// ------------------------------------------------------------------------------------------------
// Message.call(): CallError "deadlock"

Deno.test('MSG.call() ends with "deadlock" when the callee calls the caller, and names the cycle', async () => {
  const alice = named("alice", async () => {
    try {
      return await MSG_ASK.call(bob)();
      // deno-lint-ignore concurrence/rethrow-exit -- nothing else may come
    } catch (error) {
      return (error as Error).message;
    }
  });
  const bob: Tasklet<unknown> = named("bob", async () => {
    const msg = await Tasklet.receiveOne([MSG_ASK]);
    const error = await failureOf(MSG_ASK.call(alice)());
    msg.reply(error.reason);
    return error.message;
  });
  assertEquals(await alice.join(), "deadlock");
  assertMatch(await bob.join() as string, /MSG_ASK.*bob#\d+.*alice#\d+.*bob#\d+/);
});

Deno.test('MSG.call() ends with "deadlock" when the callee waits for the caller through a third', async () => {
  const alice: Tasklet<unknown> = named("alice", () => outcome(MSG_ASK.call(bob)()));
  const bob: Tasklet<unknown> = named("bob", async () => {
    const msg = await Tasklet.receiveOne([MSG_ASK]);
    msg.reply(await MSG_ASK.call(carol)());
  });
  const carol: Tasklet<unknown> = named("carol", async () => {
    const msg = await Tasklet.receiveOne([MSG_ASK]);
    const error = await failureOf(MSG_ASK.call(alice)());
    msg.reply(error.reason);
    return error.message;
  });
  assertEquals(await alice.join(), "deadlock");
  assertMatch(await carol.join() as string, /carol#\d+.*alice#\d+.*bob#\d+.*carol#\d+/);
  await bob.join();
});

Deno.test('MSG.call() of oneself ends with "deadlock"', async () => {
  const task = named("narcissus", () => failureOf(MSG_ASK.call(Tasklet.current()!)()));
  const error = await task.join();
  assertEquals(error.reason, "deadlock");
  assertMatch(error.message, /narcissus#\d+.*narcissus#\d+/);
});

Deno.test('MSG.call() ends with "deadlock" when the callee joins the caller', async () => {
  const alice: Tasklet<CallError> = named("alice", async () => {
    await Tasklet.yield();
    return await failureOf(MSG_ASK.call(bob)());
  });
  const bob: Tasklet<unknown> = named("bob", () => alice.join());
  const error = await alice.join();
  assertEquals(error.reason, "deadlock");
  assertMatch(error.message, /alice#\d+.*bob#\d+.*alice#\d+/);
  await bob.join();
});

Deno.test('MSG.call() ends with "deadlock" when the callee joins all of a group with the caller in it', async () => {
  const alice: Tasklet<unknown> = named("alice", async () => {
    await Tasklet.yield();
    return await outcome(MSG_ASK.call(bob, { timeout: 1000 })());
  });
  const bob: Tasklet<unknown> = named("bob", () => Tasklet.joinAll([alice, named("zoe", () => {})]));
  assertEquals(await alice.join(), "deadlock");
  await bob.join();
});

Deno.test('MSG.call() ends with "deadlock" when the callee joins one that waits for its child, the caller', async () => {
  await using _time = virtualTime();
  const boss: Tasklet<unknown> = named("boss", () => middle.join());
  let child: Tasklet<unknown> | undefined;
  const middle: Tasklet<unknown> = named("middle", () => {
    child = named("child", async () => {
      await Tasklet.yield(); // by now the body of "middle" has returned, and "middle" waits for this child
      return await outcome(MSG_ASK.call(boss, { timeout: 1000 })());
    });
  });
  await boss.join();
  assertEquals(await child!.join(), "deadlock");
});

Deno.test('MSG.call() ends with "deadlock" when the callee is in a scope with the caller', async () => {
  await using _time = virtualTime();
  let answer: unknown;
  const boss: Tasklet<unknown> = named("boss", () =>
    Tasklet.scope(() => {
      named("child", async () => {
        await Tasklet.yield();
        answer = await outcome(MSG_ASK.call(boss, { timeout: 1000 })());
      });
    }));
  await boss.join();
  assertEquals(answer, "deadlock");
});

Deno.test("MSG.call() is no deadlock when the callee waits for the caller beside something else", async () => {
  const alice: Tasklet<unknown> = named("alice", async () => {
    const called = MSG_ASK.call(bob)();
    const msg = await Tasklet.receiveOne([MSG_ASK]); // while it waits for bob's reply
    msg.reply("yes");
    return await called;
  });
  const bob: Tasklet<unknown> = named("bob", async () => {
    const msg = await Tasklet.receiveOne([MSG_ASK]);
    msg.reply(await MSG_ASK.call(alice)());
  });
  assertEquals(await alice.join(), "yes");
  await bob.join();
});

Deno.test("MSG.call() is no deadlock after the first call has ended", async () => {
  await using _time = virtualTime();
  const alice: Tasklet<unknown> = named("alice", async () => {
    const first = await outcome(MSG_ASK.call(bob, { timeout: 10 })());
    const msg = await Tasklet.receiveOne([MSG_ASK]);
    msg.reply("yes");
    return first;
  });
  const bob: Tasklet<unknown> = named("bob", async () => {
    await Tasklet.sleep(20);
    return await outcome(MSG_ASK.call(alice)());
  });
  assertEquals([await alice.join(), await bob.join()], ["TimeoutError", "yes"]);
});

Deno.test("MSG.call() is no deadlock when the callee waits for a reply that the caller has deferred", async () => {
  await using _time = virtualTime();
  const alice: Tasklet<unknown> = named("alice", async () => {
    const first = await outcome(MSG_ASK.call(bob)()); // carol answers it
    const msg = await Tasklet.receiveOne([MSG_ASK]);
    msg.reply("to bob");
    return first;
  });
  const bob: Tasklet<unknown> = named("bob", async () => {
    const msg = (await Tasklet.receiveOne([MSG_ASK])).defer();
    const carol = named("carol", async () => {
      await Tasklet.sleep(10);
      msg.reply("from carol");
    });
    const answer = await outcome(MSG_ASK.call(alice, { timeout: 1000 })());
    await carol.join();
    return answer;
  });
  assertEquals([await alice.join(), await bob.join()], ["from carol", "to bob"]);
});

Deno.test("MSG.call() of oneself is no deadlock while a loop of the same tasklet serves beside it", async () => {
  await using _time = virtualTime();
  async function serve(): Promise<void> {
    for await (const msg of Tasklet.receive([MSG_ASK])) msg.reply("from myself");
  }
  const direct = named("direct", async () => {
    void serve();
    return await outcome(MSG_ASK.call(Tasklet.current()!, { timeout: 1000 })());
  });
  const through: Tasklet<unknown> = named("through another", async () => {
    void serve();
    return await outcome(MSG_ASK.call(other, { timeout: 1000 })());
  });
  const other: Tasklet<unknown> = named("other", async () => {
    const msg = await Tasklet.receiveOne([MSG_ASK]);
    msg.reply(await outcome(MSG_ASK.call(through, { timeout: 1000 })()) as string);
  });
  assertEquals([await direct.join(), await through.join()], ["from myself", "from myself"]);
  await other.join();
});

Deno.test("MSG.call() of a ring that the caller is no part of ends with its timeout", async () => {
  await using _time = virtualTime();
  // Both wait for their calls first, so that neither sees the other wait.
  const ring: Tasklet<unknown>[] = [0, 1].map((i) =>
    named(`ring${i}`, async () => {
      const both = [MSG_ASK.call(ring[1 - i]!, { timeout: 100 })(), Tasklet.sleep(10)];
      return await Promise.all(both.map(outcome));
    })
  );
  await Tasklet.sleep(50);
  assertEquals(await outcome(MSG_ASK.call(ring[0]!, { timeout: 10 })()), "TimeoutError");
  await Tasklet.joinAll(ring);
});

// ------------------------------------------------------------------------------------------------
// Message.call(): timeout, signal, kill

Deno.test("MSG.call() rejects with TimeoutError when no reply came within timeout", async () => {
  await using time = virtualTime();
  const task = Tasklet.new(() => Tasklet.suspend(() => {}), { name: "deaf" })();
  const error = await MSG_ASK.call(task, { timeout: 500 })().catch((error) => error);
  assertInstanceOf(error, TimeoutError);
  assertMatch(error.message, /500 ms.*deaf#\d+.*MSG_ASK/);
  assertEquals([time.now, task.mailbox.length], [500, 1]);
  await task.kill();
});

Deno.test("MSG.call() rejects with TimeoutError when an enclosing deadline passes", async () => {
  await using time = virtualTime();
  const deaf = Tasklet.new(() => Tasklet.suspend(() => {}))();
  const caller = Tasklet.new(async () => {
    using _ = Timeout.push(100);
    return await outcome(MSG_ASK.call(deaf, { timeout: 500 })());
  })();
  assertEquals([await caller.join(), time.now], ["TimeoutError", 100]);
  await deaf.kill();
});

Deno.test("MSG.call() with a reply in time leaves the timeout without effect", async () => {
  await using time = virtualTime();
  const task = Tasklet.new(async () => {
    for await (const msg of Tasklet.receive([MSG_ASK])) {
      await Tasklet.sleep(99);
      msg.reply("in time");
    }
  })();
  assertEquals([await outcome(MSG_ASK.call(task, { timeout: 100 })()), time.now], ["in time", 99]);
  await time.advance(1000);
  await task.kill();
});

Deno.test("MSG.call() with a signal that is aborted already sends nothing and rejects with its reason", async () => {
  const task = Tasklet.new(() => Tasklet.suspend(() => {}))();
  const reason = { any: "reason" };
  const error = await MSG_ASK.call(task, { signal: AbortSignal.abort(reason) })().catch((error) => error);
  assertStrictEquals(error, reason);
  assertEquals(task.mailbox.length, 0);
  await task.kill();
});

Deno.test("MSG.call() rejects with the reason of the signal when it is aborted meanwhile", async () => {
  const task = Tasklet.new(() => Tasklet.suspend(() => {}))();
  const controller = new AbortController();
  const reason = new Error("enough");
  const call = MSG_ASK.call(task, { signal: controller.signal })().catch((error) => error);
  await Tasklet.yield();
  controller.abort(reason);
  assertStrictEquals(await call, reason);
  await task.kill();
});

Deno.test("MSG.call() lets go of the signal when the call ends, however it ends", async () => {
  await using _time = virtualTime();
  const log: unknown[] = [];
  const ends: Record<string, (callee: Tasklet<unknown>, caller: Tasklet<unknown>) => unknown> = {
    reply: (callee) => MSG_GREETING.send(callee)("reply"),
    fail: (callee) => MSG_GREETING.send(callee)("fail"),
    finished: (callee) => callee.kill(),
    killed: (_, caller) => caller.kill(),
    timeout: () => Tasklet.sleep(100),
  };
  for (const [how, end] of Object.entries(ends)) {
    const signal = new CountingSignal();
    const callee = Tasklet.new(async () => {
      const ask = await Tasklet.receiveOne([MSG_ASK]);
      const [how] = (await Tasklet.receiveOne([MSG_GREETING])).args;
      if (how === "reply") ask.reply("yes");
      else ask.fail(new Error("no"));
    })();
    const caller = Tasklet.new(() => outcome(MSG_ASK.call(callee, { signal, timeout: 50 })()))();
    await Tasklet.yield();
    const during = signal.listeners;
    await end(callee, caller);
    await Tasklet.joinAll([caller]);
    log.push([how, during, signal.listeners]);
    await callee.kill();
  }
  assertEquals(log, Object.keys(ends).map((how) => [how, 1, 0]));
});

Deno.test("MSG.call() rejects with the exit when the caller is killed, at once and in its cleanup", async () => {
  const deaf = Tasklet.new(() => Tasklet.suspend(() => {}))();
  const log: unknown[] = [];
  const caller = Tasklet.new(async () => {
    log.push(await outcome(MSG_ASK.call(deaf)()));
    log.push(await outcome(MSG_ASK.call(deaf)()));
  })();
  await Tasklet.yield();
  await caller.kill();
  assertEquals([log, deaf.mailbox.length], [["TaskletExit", "TaskletExit"], 1]);
  await deaf.kill();
});

Deno.test("MSG.call() takes undefined for each option", async () => {
  const task = served((msg) => msg.reply(1));
  const options: CallOptions[] = [{}, { timeout: undefined, signal: undefined }];
  const log = [await MSG_SUM.call(task, undefined)()];
  for (const each of options) log.push(await MSG_SUM.call(task, each)());
  assertEquals(log, [1, 1, 1]);
  await task.kill();
});

// In child programs, because a rejection that is blamed on nobody ends the process.
Deno.test("MSG.call() that nobody awaits fails its caller, not the callee that answers with an error", async () => {
  assertEquals(
    await floating(`
      for await (const msg of Tasklet.receive()) msg.fail(new Error("no"));
    `),
    ["callee waiting", "caller failed"],
  );
});

Deno.test("MSG.call() that nobody awaits fails its caller, not the callee that forgets the reply", async () => {
  assertEquals(await floating(`for await (const _ of Tasklet.receive());`), [
    "callee waiting",
    "caller failed",
  ]);
});

Deno.test("MSG.call() that nobody awaits fails its caller, not the process, when the callee finishes", async () => {
  assertEquals(await floating(`await Tasklet.receiveOne();`), ["callee done", "caller failed"]);
});

Deno.test("MSG.call() that nobody awaits fails its caller, not another that waits, when it times out", async () => {
  assertEquals(await floating(`await Tasklet.sleep(30);`), ["callee done", "caller failed"]);
});

/** How a callee ends, and a caller that leaves its call alone. */
async function floating(body: string): Promise<readonly string[]> {
  const { lines, stderr } = await runSource(`
    const callee = Tasklet.new(async () => { ${body} }, { name: "callee" })();
    const caller = Tasklet.new(async () => {
      void MSG_ASK.call(callee, { timeout: 30 })();
      await Tasklet.sleep(100);
    }, { name: "caller" })();
    await Tasklet.sleep(200);
    for (const task of [callee, caller]) console.log(task.name, task.status);
  `);
  return lines.length > 0 ? lines : stderr.split("\n");
}

function setTurn(f: () => void): void {
  void new Promise((resolve) => setTimeout(resolve)).then(f);
}
