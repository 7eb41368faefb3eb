import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Channel, ChannelClosedError, messages, select } from "../channel.ts";
import { CallError, Message } from "../message.ts";
import { JoinError, MSG_DOWN, Tasklet, TaskletExit } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { now, Timeout, TimeoutError, timerCount } from "../timer.ts";
import { catchReports } from "./reports.ts";

/**
 * Random programs, and what must hold whatever they do.
 *
 * A program is a tree of tasklets, each with a list of steps; whom a step concerns is a number, taken modulo those that
 * exist. The model is the plain account of what was accepted, received, asked, answered and watched.
 */
type Step =
  | { readonly do: "spawn"; readonly steps: readonly Step[]; readonly capacity: number }
  | { readonly do: "send" | "call" | "kill" | "join" | "monitor"; readonly whom: number; readonly ms: number }
  | { readonly do: "receive" | "put" | "take" | "select"; readonly count: number; readonly ms: number }
  | { readonly do: "deadline"; readonly steps: readonly Step[]; readonly ms: number }
  | { readonly do: "sleep"; readonly ms: number }
  | { readonly do: "yield" | "fail" | "close" };

class MSG_TELL extends Message("MSG_TELL")<[id: number]> {}
class MSG_ASK extends Message("MSG_ASK")<[id: number], number> {}

/** A message that was accepted: from whom to whom, and how often it was received. */
interface Sent {
  readonly from: Tasklet;
  readonly to: Tasklet;
  received: number;
}

/** Somebody who watches somebody, and how often that was told. */
interface Watch {
  readonly watcher: Tasklet;
  readonly watched: Tasklet;
  told: number;
}

class World {
  readonly tasks: Tasklet[] = [];
  readonly sent = new Map<number, Sent>();
  readonly lastFrom = new Map<string, number>(); // the last id received, by sender and receiver
  readonly watches: Watch[] = [];
  readonly channels = [new Channel<number>(), new Channel<number>(1)];
  readonly put = [0, 0];
  readonly taken: number[][] = [[], []];
  readonly wrong: string[] = [];
  readonly calls = new Map<number, Tasklet>(); // that have not settled, with who should reply
  #ids = 0;

  spawn(steps: readonly Step[], capacity: number): void {
    const mailbox = capacity > 0 ? { capacity } : undefined;
    const task = Tasklet.new(() => this.run(steps), { name: `t${this.tasks.length}`, mailbox })();
    this.tasks.push(task as Tasklet);
  }

  async run(steps: readonly Step[]): Promise<void> {
    for (const step of steps) {
      try {
        await this.do(step);
      } catch (error) {
        if (error instanceof TaskletExit || (error as Error).message === "planned") throw error;
        if (!isExpected(error)) this.wrong.push(`${step.do} threw ${error}`);
      }
    }
    while (true) await this.receive(Infinity); // serves until it is killed
  }

  async do(step: Step): Promise<void> {
    const self = Tasklet.current()!;
    switch (step.do) {
      case "spawn":
        return this.spawn(step.steps, step.capacity);
      case "send": {
        const [id, to] = [this.#ids++, this.whom(step.whom)];
        if (MSG_TELL.send(to)(id)) this.sent.set(id, { from: self, to, received: 0 });
        return;
      }
      case "call":
        return await this.call(this.whom(step.whom), step.ms);
      case "kill":
        return await this.whom(step.whom).kill({ grace: step.ms });
      case "join":
        return void await this.within(step.ms, () => this.whom(step.whom).join({ timeout: step.ms }));
      case "monitor": {
        const watched = this.whom(step.whom);
        this.watches.push({ watcher: self, watched, told: 0 });
        Tasklet.monitor(watched);
        return;
      }
      case "receive":
        for (let n = 0; n < step.count; n++) await this.within(step.ms, () => this.receive(step.ms));
        return;
      case "put": {
        const channel = this.channels[step.count % 2]!;
        const value = this.#ids++;
        await this.within(step.ms, () => channel.send(value, { timeout: step.ms }));
        this.put[step.count % 2]!++;
        return;
      }
      case "take": {
        const at = step.count % 2;
        const value = await this.within(step.ms, () => this.channels[at]!.receive({ timeout: step.ms }));
        this.taken[at]!.push(value);
        return;
      }
      case "select": {
        const [zero, one] = this.channels as [Channel<number>, Channel<number>];
        const sources = { zero, one, mail: messages([MSG_TELL]) };
        const [key, value] = await this.within(step.ms, () => select(sources, { timeout: step.ms }));
        if (key === "mail") this.got(value);
        else this.taken[key === "zero" ? 0 : 1]!.push(value);
        return;
      }
      case "deadline": {
        using _ = Timeout.push(step.ms);
        for (const each of step.steps) await this.do(each);
        return;
      }
      case "sleep":
        return await Tasklet.sleep(step.ms);
      case "yield":
        return await Tasklet.yield();
      case "close":
        return this.channels[1]!.close();
      case "fail":
        throw new Error("planned");
    }
  }

  async call(to: Tasklet, timeout: number): Promise<void> {
    const id = this.#ids++;
    this.calls.set(id, to);
    try {
      const reply = await this.within(timeout, () => MSG_ASK.call(to, { timeout })(id));
      if (reply !== 2 * id) this.wrong.push(`the reply to ${id} was ${reply}`);
    } catch (error) {
      if ((error as Error).message !== `failed ${id}`) throw error;
    } finally {
      this.calls.delete(id);
    }
  }

  async receive(timeout: number): Promise<void> {
    this.got(await Tasklet.receiveOne(undefined, { timeout }));
  }

  got(msg: Message): void {
    const self = Tasklet.current()!;
    if (msg.match(MSG_DOWN)) {
      const watch = this.watches.find((each) =>
        each.watcher === self && each.watched === msg.args[0] && each.told === 0
      );
      if (watch === undefined) this.wrong.push(`${self} was told twice of the end of ${msg.args[0]}`);
      else watch.told++;
    } else if (msg.match(MSG_ASK)) {
      const [id] = msg.args;
      if (id % 3 === 0) msg.fail(new Error(`failed ${id}`));
      else msg.reply(2 * id);
    } else if (msg.match(MSG_TELL)) {
      const [id] = msg.args;
      const sent = this.sent.get(id)!;
      if (sent.to !== self || sent.received++ > 0) this.wrong.push(`${id} was received wrongly or twice`);
      const way = `${sent.from} → ${self}`;
      if (id < (this.lastFrom.get(way) ?? -1)) this.wrong.push(`${id} came out of order`);
      this.lastFrom.set(way, id);
    }
  }

  /** Does what waits for `ms` at most: if it throws, then in time. */
  async within<T>(ms: number, f: () => Promise<T>): Promise<T> {
    const start = now();
    try {
      return await f();
    } finally {
      if (now() > start + ms) this.wrong.push(`a wait of ${ms} ms took ${now() - start} ms`);
    }
  }

  whom(n: number): Tasklet {
    return this.tasks[n % this.tasks.length]!;
  }

  /** What must hold when nothing moves any more. */
  checkAtRest(): void {
    for (const task of this.tasks) {
      if (!task.alive) continue;
      const waiting = [...this.sent.values()].filter((each) => each.to === task && each.received === 0);
      if (isServing(task)) assertEquals(waiting.length, 0, `${task} waits for a message, and has some`);
      else assert(task.mailbox.length >= waiting.length, `${task} has lost a message`);
    }
    for (const [at, channel] of this.channels.entries()) {
      const queued = Math.max(0, channel.balance);
      assert(this.taken[at]!.length <= this.put[at]! + queued, `channel ${at} gave more than it got`);
      assertEquals(new Set(this.taken[at]).size, this.taken[at]!.length, `channel ${at} gave a value twice`);
    }
    for (const [id, callee] of this.calls) {
      assert(callee.alive, `${callee} has ended, and call ${id} has not`);
    }
    for (const { watcher, watched, told } of this.watches) {
      if (!isServing(watcher)) continue;
      assertEquals(told, watched.alive ? 0 : 1, `${watcher} was told ${told} times of ${watched}`);
    }
  }
}

function isServing(task: Tasklet): boolean {
  return task.waits?.describe() === "for a message";
}

function isExpected(error: unknown): boolean {
  return [TimeoutError, CallError, JoinError, ChannelClosedError].some((each) => error instanceof each);
}

const { steps } = fc.letrec<{ step: Step; steps: Step[] }>((tie) => {
  const ms = fc.nat(20);
  const whom = fc.nat(7);
  return {
    steps: fc.array(tie("step"), { maxLength: 7 }),
    step: fc.oneof(
      { depthSize: "small" },
      fc.record({ do: fc.constantFrom("send", "kill", "monitor"), whom, ms }),
      fc.record({ do: fc.constantFrom("call", "join"), whom, ms: fc.oneof(ms, fc.constant(Infinity)) }),
      fc.record({ do: fc.constantFrom("receive", "put", "take", "select"), count: fc.nat(3), ms }),
      fc.record({ do: fc.constant("sleep"), ms }),
      fc.record({ do: fc.constantFrom("yield", "fail", "close") }),
      fc.record({ do: fc.constant("spawn"), steps: tie("steps"), capacity: fc.nat(2) }),
      fc.record({ do: fc.constant("deadline"), steps: tie("steps"), ms }),
    ) as fc.Arbitrary<Step>,
  };
});

Deno.test({
  name:
    "Random programs: messages once and in order, calls and waits settle in time, monitors once, nothing is left",
  timeout: 120_000,
  fn: async () => {
    const program = fc.array(steps, { minLength: 2, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(program, async (bodies) => {
        await using _time = virtualTime();
        using _reports = catchReports();
        const world = new World();
        const root = Tasklet.new(async () => {
          for (const body of bodies) world.spawn(body, 0);
          await Tasklet.sleep(100_000);
        })();
        try {
          await Tasklet.sleep(50_000);
          world.checkAtRest();
          assertEquals(world.wrong, []);
        } finally {
          await root.kill({ grace: 100 });
        }
        assertEquals(world.calls.size, 0, "a call has not settled");
        assertEquals(world.tasks.filter((task) => task.alive).map(String), [], "tasklets are left");
        for (const channel of world.channels) {
          assertEquals(
            [channel.hasReceiver, channel.hasSender],
            [false, false],
            "somebody waits at a channel",
          );
        }
        assertEquals(timerCount(), 0, "timers are left");
      }),
      { numRuns: 1500 },
    );
  },
});
