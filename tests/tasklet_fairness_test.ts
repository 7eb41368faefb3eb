import { assert, assertEquals, assertRejects } from "@std/assert";
import { setImmediate } from "node:timers";
import { CallError, Message } from "../message.ts";
import { BufferedStream } from "../stream.ts";
import { type AnyTasklet, JoinError, Tasklet, TimeoutError } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { Timeout } from "../timer.ts";
import { collectGarbage } from "./garbage.ts";

class MSG_BALL extends Message("MSG_BALL")<[from: Tasklet]> {}
class MSG_N extends Message("MSG_N")<[n: number]> {}
class MSG_ASK extends Message("MSG_ASK")<[], number> {}

/** Two tasklets that send each other a ball for ever, and how often they did. */
function pingPong(): { readonly rounds: number; readonly players: Tasklet[] } & AsyncDisposable {
  let rounds = 0;
  async function player() {
    const self = Tasklet.current()!;
    for await (const msg of Tasklet.receive([MSG_BALL])) {
      rounds++;
      MSG_BALL.send(msg.args[0])(self);
    }
  }
  const players = [Tasklet.new(player)(), Tasklet.new(player)()] as Tasklet[];
  MSG_BALL.send(players[0]!)(players[1]!);
  return {
    players,
    get rounds() {
      return rounds;
    },
    [Symbol.asyncDispose]: async () => void await Promise.all(players.map((task) => task.kill())),
  };
}

// Turns

Deno.test("Fairness: an endless ping-pong lets the event loop have a turn after at most 256 deliveries each", async () => {
  await using game = pingPong();
  const counts: number[] = [];
  for (let i = 0; i < 20; i++) {
    const before = game.rounds;
    await new Promise<void>((resolve) => setImmediate(resolve));
    counts.push(game.rounds - before);
  }
  assert(counts.every((count) => count <= 2 * 256), `rounds between turns: ${counts}`);
  assert(game.rounds > 20, "the game goes on");
});

Deno.test("Fairness: an endless ping-pong does not delay an interval of 10 ms by more than a few", async () => {
  await using game = pingPong();
  const delays: number[] = [];
  for (let due = performance.now() + 10; delays.length < 30; due = performance.now() + 10) {
    await new Promise<void>((resolve) => setTimeout(resolve, 10));
    delays.push(performance.now() - due);
  }
  delays.sort((a, b) => a - b);
  assert(delays[26]! < 50, `the 90th percentile of the delay is ${delays[26]} ms`);
  assert(game.rounds > 1000, `only ${game.rounds} rounds`);
});

Deno.test("Fairness: an endless ping-pong does not delay a tasklet's sleep or a socket", async () => {
  await using _game = pingPong();
  using listener = Deno.listen({ hostname: "localhost", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const echo = Tasklet.new(async () => {
    using conn = await Tasklet.wait(listener.accept());
    const buffer = new Uint8Array(1);
    while (await Tasklet.wait(conn.read(buffer)) !== null) await Tasklet.wait(conn.write(buffer));
  })();
  const client = Tasklet.new(async () => {
    using conn = await Tasklet.wait(Deno.connect({ hostname: "localhost", port }));
    const times: number[] = [];
    for (let i = 0; i < 20; i++) {
      const start = performance.now();
      await Tasklet.wait(conn.write(new Uint8Array(1)));
      await Tasklet.wait(conn.read(new Uint8Array(1)));
      await Tasklet.sleep(1);
      times.push(performance.now() - start);
    }
    return times.sort((a, b) => a - b);
  })();
  const times = await client.join();
  await echo.join();
  assert(times[17]! < 100, `the 90th percentile of a round is ${times[17]} ms`);
});

Deno.test("Fairness: one tasklet that always has a message lets the event loop have its turn", async () => {
  const task = Tasklet.new(async () => {
    let turned = 0;
    setImmediate(() => turned = taken);
    let taken = 0;
    for await (const _ of Tasklet.receive()) if (++taken === 10_000) break;
    return turned;
  })();
  for (let n = 0; n < 10_000; n++) MSG_N.send(task)(n);
  const turned = await task.join();
  assert(turned > 0 && turned <= 257, `the turn came after ${turned} messages`);
});

Deno.test("Fairness: 4 ms without a turn are enough for one, however few the deliveries", async () => {
  const task = Tasklet.new(async () => {
    let turned = -1;
    let taken = 0;
    setImmediate(() => turned = taken);
    for await (const _ of Tasklet.receive()) {
      taken++;
      const end = performance.now() + 2;
      while (performance.now() < end) { /* work */ }
      if (taken === 40) break;
    }
    return turned;
  })();
  for (let n = 0; n < 40; n++) MSG_N.send(task)(n);
  const turned = await task.join();
  assert(turned >= 0 && turned <= 10, `the turn came after ${turned} messages of 2 ms`);
});

Deno.test({
  name:
    "Fairness: 10 000 tasklets that go on for ever let the event loop have a turn after at most 256 deliveries",
  timeout: 60_000,
  fn: async () => {
    const bodies: Record<string, (went: () => void) => Promise<void>> = {
      yield: async (went) => {
        while (true) {
          await Tasklet.yield();
          went();
        }
      },
      "message to oneself": async (went) => {
        const self = Tasklet.current()!;
        MSG_N.send(self)(0);
        for await (const _ of Tasklet.receive()) {
          went();
          MSG_N.send(self)(0);
        }
      },
      "ping-pong": async (went) => {
        const self = Tasklet.current()!;
        Tasklet.new(async () => {
          MSG_BALL.send(self)(Tasklet.current()!);
          for await (const msg of Tasklet.receive([MSG_BALL])) MSG_BALL.send(msg.args[0])(self);
        })();
        for await (const msg of Tasklet.receive([MSG_BALL])) {
          went();
          MSG_BALL.send(msg.args[0])(self);
        }
      },
    };
    const most: Record<string, number> = {};
    for (const [name, body] of Object.entries(bodies)) {
      let count = 0;
      const root = Tasklet.new(async () => {
        for (let i = 0; i < 10_000; i++) Tasklet.new(body)(() => count++);
        await Tasklet.sleep(1_000_000);
      })();
      while (count < 10_000) await turn();
      most[name] = 0;
      for (let i = 0; i < 200; i++) {
        const before = count;
        await turn();
        most[name] = Math.max(most[name], count - before);
      }
      await root.kill();
    }
    // Some are let go at the beginning of a turn, and some go on before its end.
    assert(Object.values(most).every((n) => n > 0 && n <= 2 * 256), Deno.inspect(most));
  },
});

Deno.test({
  name: "Fairness: 1 000 tasklets that yield for ever keep no memory of their turns",
  timeout: 60_000,
  fn: async () => {
    const root = Tasklet.new(async () => {
      for (let i = 0; i < 1000; i++) {
        Tasklet.new(async () => {
          while (true) {
            await Tasklet.yield();
            count++;
          }
        })();
      }
      await Tasklet.sleep(1_000_000);
    })();
    let count = 0;
    while (count < 100_000) await turn();
    const before = heapUsed();
    while (count < 600_000) await turn();
    const each = (heapUsed() - before) / 500_000;
    await root.kill();
    assert(each < 2, `${each.toFixed(1)} bytes are kept of each turn`);
  },
});

Deno.test("Fairness: calls and replies, joins and suspends take their turns too", async () => {
  const server = Tasklet.receiver((msg: MSG_ASK) => msg.reply(1));
  const done = Tasklet.new(() => {})();
  await done.join();
  const waits: Record<string, () => Promise<unknown>> = {
    call: () => MSG_ASK.call(server)(),
    join: () => done.join(),
    suspend: () => Tasklet.suspend<void>((resume) => resume()),
    spawn: () => Tasklet.new(() => {})().join(),
  };
  assertEquals(await turnsOf(waits), Object.fromEntries(Object.keys(waits).map((name) => [name, true])));
  await server.kill();
});

// In the form of a loop that gives up, because one that goes on for ever would keep the test from ending.
Deno.test("Fairness: waits that fail at once take their turns too", async () => {
  const failed = Tasklet.new(() => Promise.reject(new Error("no luck")))();
  await assertRejects(() => failed.join(), JoinError);
  const waits: Record<string, () => Promise<unknown>> = {
    "call to a finished one": () =>
      MSG_ASK.call(failed)().catch((error) => assert(error instanceof CallError)),
    "join of a failed one": () => failed.join().catch((error) => assert(error instanceof JoinError)),
    "past the deadline": async () => {
      using _ = Timeout.push(0);
      await Tasklet.sleep(1).catch((error) => assert(error instanceof TimeoutError));
    },
  };
  assertEquals(await turnsOf(waits), Object.fromEntries(Object.keys(waits).map((name) => [name, true])));
});

Deno.test("Fairness: a killed tasklet that swallows its exit takes its turns too", async () => {
  const task = Tasklet.new(async () => {
    let turned = false;
    setImmediate(() => turned = true);
    void Tasklet.current()!.kill();
    for (let i = 0; i < 5000 && !turned; i++) await Tasklet.receiveOne().catch(() => {});
    log.push(turned);
  })();
  const log: boolean[] = [];
  await assertRejects(() => task.join(), JoinError);
  assertEquals(log, [true]);
});

/** For each wait, whether the event loop had a turn within 5000 of them in a row. */
async function turnsOf(waits: Record<string, () => Promise<unknown>>): Promise<Record<string, boolean>> {
  const outcome: Record<string, boolean> = {};
  for (const [name, wait] of Object.entries(waits)) {
    await Tasklet.new(async () => {
      await Tasklet.yield();
      outcome[name] = false;
      setImmediate(() => outcome[name] = true);
      for (let i = 0; i < 5000 && !outcome[name]; i++) await wait();
    })().join();
  }
  return outcome;
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

// Scale

Deno.test({
  name: "Scale: 100 000 tasklets are created, parked, messaged and joined",
  timeout: 60_000,
  fn: async () => {
    const count = 100_000;
    const root = Tasklet.new(async () => {
      const tasks = Array.from(
        { length: count },
        () => Tasklet.new(async () => (await Tasklet.receiveOne([MSG_N])).args[0])(),
      );
      await Tasklet.yield();
      assertEquals(tasks.filter((task) => task.status === "waiting").length, count);
      tasks.forEach((task, n) => MSG_N.send(task)(n));
      const results = await Tasklet.joinAll(tasks);
      assertEquals(Tasklet.current()!.children.length, 0);
      return (results as number[]).reduce((a, b) => a + b);
    })();
    assertEquals(await root.join(), count * (count - 1) / 2);
  },
});

Deno.test({
  name: "Scale: 100 000 parked tasklets are killed with their parent, a chain of 10 000 from its head",
  timeout: 60_000,
  fn: async () => {
    const wide = Tasklet.new(async () => {
      for (let i = 0; i < 100_000; i++) Tasklet.new(() => Tasklet.sleep(1_000_000))();
      await Tasklet.sleep(1_000_000);
    })();
    let depth = 0;
    let deepest: AnyTasklet | undefined;
    async function chain(): Promise<void> {
      deepest = Tasklet.current();
      if (++depth < 10_000) Tasklet.new(chain)();
      await Tasklet.sleep(1_000_000);
    }
    const deep = Tasklet.new(chain)();
    while (depth < 10_000) await Tasklet.yield();
    await Tasklet.yield();
    await Promise.all([wide.kill(), deep.kill()]);
    assertEquals([wide.status, deep.status, deepest!.status], ["killed", "killed", "killed"]);
    assertEquals([[...wide.tree()].length, [...deep.tree()].length], [1, 1]);
  },
});

Deno.test({
  name: "Scale: a line of 1 000 tasklets, each joining the one before, and calls through as many",
  timeout: 60_000,
  fn: async () => {
    const { promise, resolve } = Promise.withResolvers<number>();
    let last: Tasklet<number> = Tasklet.new(() => promise)();
    for (let i = 0; i < 1000; i++) {
      const before = last;
      last = Tasklet.new(async () => await before.join() + 1)();
    }
    let server: Tasklet<void, MSG_ASK> = Tasklet.receiver((msg: MSG_ASK) => msg.reply(0));
    const servers = [server];
    for (let i = 0; i < 1000; i++) {
      const behind = server;
      server = Tasklet.receiver(async (msg: MSG_ASK) => msg.reply(await MSG_ASK.call(behind)() + 1));
      servers.push(server);
    }
    await Tasklet.yield();
    resolve(0);
    assertEquals([await last.join(), await MSG_ASK.call(server)()], [1000, 1000]);
    await Promise.all(servers.map((task) => task.kill()));
  },
});

Deno.test({
  name: "Scale: 10 000 tasklets, each of which spawns the next one and joins it, alone, in a scope or by all",
  timeout: 10_000,
  fn: async () => {
    const spawn: Record<string, (n: number) => Promise<number>> = {
      join: async (n) => await Tasklet.new(down)(n, spawn.join!).join(),
      joinAll: async (n) => (await Tasklet.joinAll([Tasklet.new(down)(n, spawn.joinAll!)]))[0] as number,
      scope: async (n) => await Tasklet.scope(() => down(n, spawn.scope!)),
    };
    async function down(n: number, next: (n: number) => Promise<number>): Promise<number> {
      return n === 0 ? 0 : 1 + await next(n - 1);
    }
    const depths: Record<string, number> = {};
    for (const [name, next] of Object.entries(spawn)) depths[name] = await next(10_000);
    assertEquals(depths, { join: 10_000, joinAll: 10_000, scope: 10_000 });
  },
});

Deno.test({
  name: "Scale: a burst of 1 000 000 messages is drained in order and leaves no memory behind",
  timeout: 120_000,
  fn: async () => {
    const count = 1_000_000;
    const { promise, resolve } = Promise.withResolvers<void>();
    const task = Tasklet.new(async () => {
      await Tasklet.receiveOne([MSG_N]);
      let next = 1;
      for await (const msg of Tasklet.receive([MSG_N])) {
        assert(msg.args[0] === next, `${msg.args[0]} came in place of ${next}`);
        if (++next === count) break;
      }
      resolve();
      await Tasklet.receiveOne();
    })();
    const before = heapUsed();
    for (let n = 0; n < count; n++) MSG_N.send(task)(n);
    assertEquals(task.mailbox.length, count);
    const full = heapUsed();
    await promise;
    const after = heapUsed();
    assertEquals(task.mailbox.length, 0);
    await task.kill();
    assert(
      after - before < (full - before) / 10,
      `${mega(full - before)} MB were queued, and ${mega(after - before)} MB are still there`,
    );
  },
});

Deno.test({
  name: "Scale: what has ended leaves no memory behind in tasklets that live on",
  timeout: 120_000,
  fn: async () => {
    await using _ = virtualTime();
    const { signal } = new AbortController();
    const server = Tasklet.receiver((msg: MSG_ASK) => msg.reply(1));
    const hoarder = Tasklet.receiver((msg: MSG_ASK) => void msg.defer());
    const silent = Tasklet.new(() => Tasklet.sleep(1_000_000))();
    const rounds: Record<string, () => unknown> = {
      child: () => Tasklet.new(() => {})().join(),
      "child with a signal": () => Tasklet.new(() => {}, { signal })().join(),
      "child of a child": () => Tasklet.new(() => void Tasklet.new(() => {})())().join(),
      "killed child": () => Tasklet.new(() => Tasklet.sleep(1_000_000))().kill(),
      call: () => MSG_ASK.call(server, { timeout: 1_000_000, signal })(),
      "call in vain": () => MSG_ASK.call(hoarder, { timeout: 0 })().catch(() => {}),
      "receive in vain": () => Tasklet.receiveOne([MSG_N], { timeout: 0 }).catch(() => {}),
      "join in vain": () => silent.join({ timeout: 0 }).catch(() => {}),
      monitor: () => Tasklet.monitor(silent)[Symbol.dispose](),
      deadline: () => Timeout.push(1_000_000)[Symbol.dispose](),
      suspend: () => Tasklet.suspend<void>((resume) => resume()),
      scope: () => Tasklet.scope(() => {}),
      register: () => {
        const task = Tasklet.new(() => {})();
        Tasklet.register("name", task);
        return task.join();
      },
    };
    const kept: string[] = [];
    await Tasklet.new(async () => {
      for (const [name, round] of Object.entries(rounds)) {
        for (let i = 0; i < 500; i++) await round();
        const before = heapUsed();
        for (let i = 0; i < 5000; i++) await round();
        await Tasklet.yield();
        // What is kept would be a hundred bytes a round at the least; what is not may have cost some to compile.
        const each = (heapUsed() - before) / 5000;
        if (each > 60) kept.push(`${name}: ${Math.round(each)} bytes`);
      }
    })().join();
    await Promise.all([server.kill(), hoarder.kill(), silent.kill()]);
    assertEquals(kept, []);
  },
});

Deno.test({
  name: "Scale: 100 000 reads that time out on a silent peer leave no memory behind",
  timeout: 60_000,
  fn: async () => {
    await using _ = virtualTime();
    const { reader } = new BufferedStream({
      read: () => new Promise(() => {}),
      writeSome: (bytes) => Promise.resolve(bytes.length),
      close: () => {},
    });
    const round = async () => {
      using _ = Timeout.push(1);
      await assertRejects(() => reader.readLine(), TimeoutError);
    };
    const each = await Tasklet.new(async () => {
      for (let i = 0; i < 1000; i++) await round();
      const before = heapUsed();
      for (let i = 0; i < 100_000; i++) await round();
      await Tasklet.yield();
      return (heapUsed() - before) / 100_000;
    })().join();
    assert(each < 30, `${Math.round(each)} bytes are kept of each read`);
  },
});

function heapUsed(): number {
  collectGarbage();
  collectGarbage();
  return Deno.memoryUsage().heapUsed;
}

function mega(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}
