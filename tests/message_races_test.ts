/**
 * Messages in random programs: order, and the one end of every call.
 *
 * @module
 */
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import fc from "fast-check";
import { type AnyMessage, type CallOptions, Message, type MessageConstructor } from "../message.ts";
import { Tasklet } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { Timeout, TimeoutError } from "../timer.ts";
import { MSG_NUMBER, MSG_QUIT, MSG_SUM } from "./messages.ts";
import { nameOf, outcome } from "./outcomes.ts";
import { catchReports } from "./reports.ts";

// ------------------------------------------------------------------------------------------------
// Properties

class MSG_ODD extends MSG_NUMBER {} // taken by its base class
class MSG_EVEN extends Message("MSG_EVEN")<[n: number]> {}

/** What one of several senders does: how many it sends, and what it waits for after each. */
const pauses = fc.array(fc.constantFrom("none", "none", "yield", 1, 2, 5), { maxLength: 12 });
/** How a receiver goes for its messages, and how often. */
const ways = fc.array(
  fc.record({
    how: fc.constantFrom("receive", "receiveOne", "pending", "odd", "even", "sleep"),
    times: fc.integer({ min: 1, max: 6 }),
    timeout: fc.constantFrom(0, 1, 3),
  }),
  { maxLength: 20 },
);

async function pause(what: string | number): Promise<void> {
  if (what === "yield") await Tasklet.yield();
  else if (typeof what === "number") await Tasklet.sleep(what);
}

Deno.test("Messages of one sender arrive in order, none lost or twice, however senders and receives interleave", async () => {
  await using _time = virtualTime();
  const plan = fc.record({
    senders: fc.array(pauses, { minLength: 1, maxLength: 4 }),
    ways,
    capacity: fc.constantFrom(1, 3, Infinity),
  });
  await fc.assert(
    fc.asyncProperty(plan, async ({ senders, ways, capacity }) => {
      const accepted: string[] = [];
      const received: [name: string, n: number][] = [];
      const got = (msg: AnyMessage) => void received.push([msg.sender!.name, msg.args[0]]);
      const receiver = Tasklet.new(async () => {
        for (const way of ways) await go(way, got);
        for (const msg of Tasklet.pending()) got(msg); // what the ways left behind
        while (true) got(await Tasklet.receiveOne());
      }, { mailbox: { capacity } })();
      const tasks = senders.map((pauses, i) =>
        Tasklet.new(async () => {
          for (const [n, what] of pauses.entries()) {
            const sent = n % 2 === 0 ? MSG_EVEN.send(receiver)(n) : MSG_ODD.send(receiver)(n);
            if (sent) accepted.push(`sender${i}:${n}`);
            await pause(what);
          }
        }, { name: `sender${i}` })()
      );
      await Tasklet.joinAll(tasks);
      await Tasklet.sleep(10_000);
      await receiver.kill();

      assertEquals(received.map(([name, n]) => `${name}:${n}`).toSorted(), accepted.toSorted());
      for (const i of senders.keys()) {
        for (const parity of [0, 1]) {
          const numbers = received.filter(([name, n]) => name === `sender${i}` && n % 2 === parity).map((
            [, n],
          ) => n);
          assertEquals(numbers, numbers.toSorted((a, b) => a - b));
        }
        if (ways.some(({ how }) => how === "odd" || how === "even")) continue;
        const numbers = received.filter(([name]) => name === `sender${i}`).map(([, n]) => n);
        assertEquals(numbers, numbers.toSorted((a, b) => a - b));
      }
    }),
    { numRuns: 150 },
  );
});

async function go(
  { how, times, timeout }: { how: string; times: number; timeout: number },
  got: (msg: AnyMessage) => void,
): Promise<void> {
  const classes = { odd: [MSG_NUMBER], even: [MSG_EVEN] }[how] as MessageConstructor[] | undefined;
  try {
    if (how === "sleep") return await Tasklet.sleep(times);
    if (how === "receiveOne") return got(await Tasklet.receiveOne(undefined, { timeout }));
    if (how === "pending") {
      for (const msg of Tasklet.pending()) {
        got(msg);
        if (--times === 0) return;
      }
      return;
    }
    for await (const msg of Tasklet.receive(classes, { timeout })) {
      got(msg);
      if (--times === 0) break;
    }
    // deno-lint-ignore concurrence/rethrow-exit -- nothing else may come
  } catch (error) {
    assertInstanceOf(error, TimeoutError);
  }
}

type Answer = { how: "reply" | "fail" | "forget" | "defer" | "late" | "stranger"; after: number };
type Planned = { at: number; timeout?: number; abortAt?: number; killAt?: number; asChild: boolean };

const moment = fc.nat({ max: 12 });
const answer: fc.Arbitrary<Answer> = fc.record({
  how: fc.constantFrom<Answer["how"]>(
    "reply",
    "reply",
    "reply",
    "fail",
    "forget",
    "defer",
    "late",
    "stranger",
  ),
  after: fc.constantFrom(0, 0, 1, 3),
});
const planned: fc.Arbitrary<Planned> = fc.record(
  { at: moment, timeout: fc.nat({ max: 6 }), abortAt: moment, killAt: moment, asChild: fc.boolean() },
  { requiredKeys: ["at", "asChild"] },
);
const race = fc.record({
  answers: fc.array(answer, { minLength: 1, maxLength: 6 }),
  calls: fc.array(planned, { minLength: 1, maxLength: 8 }),
  sends: fc.array(moment, { maxLength: 8 }),
  mailbox: fc.constantFrom(
    {},
    { capacity: 1 },
    { capacity: 2 },
    { capacity: 2, overflow: "drop-oldest" as const },
  ),
  end: fc.record({
    how: fc.constantFrom("kill", "abandon", "return", "throw"),
    at: fc.integer({ min: 1, max: 20 }),
  }),
});

Deno.test("Every call settles once and lawfully, and no message is lost, in races of calls, kills and timeouts", async () => {
  await using _time = virtualTime();
  await fc.assert(
    fc.asyncProperty(race, async ({ answers, calls, sends, mailbox, end }) => {
      using _muted = catchReports(); // of abandoned tasklets
      const received: number[] = [];
      const left: number[] = [];
      const accepted: number[] = [];
      const answered = new Map<number, string>(); // whose reply or failure counted
      const outcomes = new Map<number, unknown[]>();
      const strangers: Tasklet<unknown>[] = [];
      const tell = (id: number, how: string, counted: boolean) => {
        if (!counted) return;
        assert(!answered.has(id), `call ${id} was answered twice`);
        answered.set(id, how);
      };

      async function work() {
        for await (const msg of Tasklet.receive()) {
          if (msg.match(MSG_QUIT)) throw new Error("told to");
          const id: number = msg.args[0];
          received.push(id);
          const { how, after } = answers[(received.length - 1) % answers.length]!;
          if (how !== "late" && how !== "stranger" && after > 0) await Tasklet.sleep(after);
          const reply = () => tell(id, "reply", msg.reply(id));
          if (how === "reply") reply();
          else if (how === "fail") tell(id, "fail", msg.fail(new Error(`failed ${id}`)));
          else if (how === "defer") msg.defer();
          else if (how === "late") (msg.defer(), Tasklet.later(after, reply)());
          else if (how === "stranger") {
            msg.defer();
            strangers.push(Tasklet.later(after, reply, { daemon: true })());
          }
        }
      }
      const callee: Tasklet<unknown> = Tasklet.new(async () => {
        try {
          if (end.how === "kill" || end.how === "abandon") return await work();
          using _ = Timeout.push(end.at);
          await work();
        } catch (error) {
          if (end.how === "return" && error instanceof TimeoutError) return;
          throw error;
        } finally {
          for (const msg of Tasklet.pending()) left.push(msg.args[0]);
          if (end.how === "abandon") await Tasklet.suspend(() => {}).catch(() => {});
        }
      }, { name: "callee", mailbox })();
      const ended = outcome(callee.join());

      async function call(id: number, { at, timeout, abortAt }: Planned, controller: AbortController) {
        const settled: unknown[] = [];
        await Tasklet.sleep(at);
        outcomes.set(id, settled);
        const options: CallOptions = { timeout };
        if (abortAt !== undefined) options.signal = controller.signal;
        const promise = MSG_SUM.call(callee, options)(id);
        await promise.then((value) => settled.push(value), (error) => settled.push(nameOf(error)));
      }
      const callers = calls.map((each, id) => {
        const controller = new AbortController();
        if (each.abortAt !== undefined) Tasklet.later(each.abortAt, () => controller.abort("aborted"))();
        const task = Tasklet.new(call, { name: `caller${id}`, daemon: !each.asChild })(id, each, controller);
        if (each.killAt !== undefined) Tasklet.later(each.killAt, () => task.kill())();
        return task;
      });
      const sender = Tasklet.new(async () => {
        let id = 100;
        for (const at of sends.toSorted((a, b) => a - b)) {
          const now = at - sends.length;
          if (now > 0) await Tasklet.sleep(1);
          if (MSG_NUMBER.send(callee)(id)) accepted.push(id);
          id++;
        }
      })();
      await Tasklet.sleep(end.at);
      if (end.how === "abandon") await callee.kill({ grace: 2 });
      else if (end.how === "kill") await callee.kill();
      await ended;
      await Tasklet.joinAll([...callers, ...strangers, sender], { timeout: 10_000 });
      await Tasklet.sleep(30); // all timers of the plan

      // Settled exactly once, with an outcome that the plan allows.
      for (const [id, settled] of outcomes) {
        const { timeout, abortAt, killAt } = calls[id]!;
        const how = answers.map(({ how }) => how);
        const legal: unknown[] = ["finished"];
        if (answered.get(id) === "reply") legal.splice(0, 1, id);
        else if (answered.get(id) === "fail") legal.splice(0, 1, `failed ${id}`);
        else {
          if (timeout !== undefined) legal.push("TimeoutError");
          if (abortAt !== undefined) legal.push("aborted");
          if (killAt !== undefined) legal.push("TaskletExit");
          if ("capacity" in mailbox) legal.push("refused");
          if (how.includes("forget") || left.includes(id)) legal.push("forgotten");
        }
        assert(settled.length === 1, `call ${id} settled ${settled.length} times: ${settled}`);
        assert(legal.includes(settled[0]), `call ${id} ended with ${settled[0]}, legal are ${legal}`);
        if (answered.has(id)) assert(received.includes(id));
        if (settled[0] === "forgotten") assert(received.includes(id) || left.includes(id));
        if (settled[0] === "refused") assert(!received.includes(id) && !left.includes(id));
      }
      // Whoever was answered has heard it.
      for (const id of answered.keys()) {
        assert(outcomes.get(id)?.length === 1, `the answer to ${id} got lost`);
      }
      // Nothing twice; nothing lost but what drop-oldest drops.
      const all = [...received, ...left];
      assertEquals(new Set(all).size, all.length);
      const kept = all.filter((id) => id >= 100);
      if ("overflow" in mailbox) assert(kept.every((id) => accepted.includes(id)));
      else assertEquals(kept.toSorted(), accepted.toSorted());
      assertEquals(kept, kept.toSorted());
    }),
    { numRuns: 400 },
  );
});

// ------------------------------------------------------------------------------------------------
