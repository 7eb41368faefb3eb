/**
 * Random programs on channels, beside a model that is plain enough to be believed: lists, and loops over them.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Channel, ChannelClosedError, type ChannelStats, select } from "../channel.ts";
import { running } from "../context.ts";
import { useChance } from "../select.ts";
import { Tasklet, TaskletExit, TimeoutError } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { Timeout, timerCount } from "../timer.ts";

const MOST_CHANNELS = 3;

/** One step of a program. What waits is done in the name of a tasklet of its own, which can be killed. */
type Step =
  | { readonly do: "send" | "sendError"; readonly channel: number; readonly limit: Limit }
  | { readonly do: "receive"; readonly channel: number; readonly limit: Limit }
  | { readonly do: "next"; readonly channel: number; readonly limit: Limit }
  | { readonly do: "select"; readonly channels: number[]; readonly start: number; readonly limit: Limit }
  | { readonly do: "trySend" | "tryReceive" | "close"; readonly channel: number }
  | { readonly do: "kill"; readonly who: number }
  | { readonly do: "pass"; readonly ms: number };

/** What ends a wait early: by an option, or by a deadline of its tasklet. */
interface Limit {
  readonly timeout: number | undefined;
  readonly deadline: number | undefined;
}

const channel = fc.nat(MOST_CHANNELS - 1);
const ms = fc.option(fc.nat(5), { nil: undefined, freq: 2 });
const limit = fc.record({ timeout: ms, deadline: ms });
const deadline = fc.record({ timeout: fc.constant(undefined), deadline: ms });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ do: fc.constant("send"), channel, limit }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("sendError"), channel, limit }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant("receive"), channel, limit }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("next"), channel, limit: deadline }) },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("select"),
      channels: fc.array(channel, { minLength: 1, maxLength: 4 }),
      start: fc.nat(3),
      limit,
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom("trySend", "tryReceive"), channel }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("close"), channel }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("kill"), who: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("pass"), ms: fc.nat(4) }) },
) as fc.Arbitrary<Step>;

// ------------------------------------------------------------------------------------------------
// The model

/** What is sent: a number, or an error with a number. */
interface Sent {
  readonly n: number;
  readonly isError: boolean;
}

/** Who waits in the model, on one channel or, by select, on several. */
interface Pending {
  readonly id: number;
  readonly kind: "send" | "receive" | "next" | "select";
  /** Indexes of channels, in the order of their names. */
  readonly on: number[];
  readonly item?: Sent;
  /** When it ends by a timeout or a deadline. */
  readonly end: number;
  /** Whether its deadline has passed before it begins to wait. */
  readonly isLate: boolean;
}

interface ModelChannel extends ChannelStats {
  readonly capacity: number;
  readonly buffer: Sent[];
  closed: boolean;
  sent: number;
  received: number;
  largestBalance: number;
  smallestBalance: number;
}

class Model {
  readonly outcomes: string[] = [];
  readonly channels: ModelChannel[];
  pending: Pending[] = [];
  now = 0;

  constructor(capacities: number[]) {
    const stats = { sent: 0, received: 0, largestBalance: 0, smallestBalance: 0 };
    this.channels = capacities.map((capacity) => ({ ...stats, capacity, buffer: [], closed: false }));
  }

  waiting(i: number, isSender: boolean): Pending[] {
    return this.pending.filter((p) => (p.kind === "send") === isSender && p.on.includes(i));
  }

  // A select counts once for each of the names under which it has the channel.
  balance(i: number): number {
    const places = this.waiting(i, false).flatMap((p) => p.on.filter((on) => on === i));
    return this.channels[i]!.buffer.length + this.waiting(i, true).length - places.length;
  }

  /** Whether it was sent. */
  put(i: number, item: Sent): boolean {
    const at = this.channels[i]!;
    const receiver = this.waiting(i, false)[0];
    if (at.closed || (receiver === undefined && at.buffer.length >= at.capacity)) return false;
    at.sent++;
    if (receiver !== undefined) this.give(receiver, i, item);
    else at.buffer.push(item);
    return true;
  }

  /** Takes the next, if there is one. */
  take(i: number): Sent | undefined {
    const at = this.channels[i]!;
    const sender = this.waiting(i, true)[0];
    if (sender !== undefined) {
      at.buffer.push(sender.item!);
      at.sent++;
      this.end(sender.id, "sent");
    }
    const item = at.buffer.shift();
    if (item !== undefined) at.received++;
    return item;
  }

  give({ id, kind, on }: Pending, i: number, item: Sent): void {
    this.channels[i]!.received++;
    this.end(
      id,
      item.isError ? `error ${item.n}` : kind === "select" ? `c${on.indexOf(i)} ${item.n}` : `${item.n}`,
    );
  }

  end(id: number, outcome: string): void {
    this.pending = this.pending.filter((p) => p.id !== id);
    this.outcomes[id] = outcome;
  }

  send(pending: Pending): void {
    const i = pending.on[0]!;
    if (this.channels[i]!.closed) this.end(pending.id, "closed");
    else if (this.put(i, pending.item!)) this.end(pending.id, "sent");
    else this.wait(pending);
  }

  receive(pending: Pending, start = 0): void {
    const { id, kind, on } = pending;
    for (let n = 0; n < on.length; n++) {
      const place = (start + n) % on.length;
      const item = this.take(on[place]!);
      if (item?.isError) return this.end(id, `error ${item.n}`);
      if (item !== undefined) return this.end(id, kind === "select" ? `c${place} ${item.n}` : `${item.n}`);
      if (this.channels[on[place]!]!.closed) return this.end(id, kind === "next" ? "done" : "closed");
    }
    this.wait(pending);
  }

  wait(pending: Pending): void {
    if (pending.isLate) this.end(pending.id, "timeout");
    else this.pending.push(pending);
  }

  close(i: number): void {
    this.channels[i]!.closed = true;
    for (const p of [...this.waiting(i, true), ...this.waiting(i, false)]) {
      this.end(p.id, p.kind === "next" ? "done" : "closed");
    }
  }

  kill(id: number): void {
    if (this.pending.some((p) => p.id === id)) this.end(id, "killed");
  }

  pass(ms: number): void {
    this.now += ms;
    for (const p of this.pending) if (p.end <= this.now) this.end(p.id, "timeout");
  }

  /** At the end of each step; within one, no balance goes both ways. */
  note(): void {
    for (const [i, at] of this.channels.entries()) {
      at.largestBalance = Math.max(at.largestBalance, this.balance(i));
      at.smallestBalance = Math.min(at.smallestBalance, this.balance(i));
    }
  }
}

// ------------------------------------------------------------------------------------------------
// Both side by side

/** What an operation came to, in the words of the model. */
function outcomeOf(promise: Promise<unknown>): Promise<string> {
  const word = (value: unknown): string => {
    if (value === undefined) return "sent";
    if (Array.isArray(value)) return value.join(" ");
    if (typeof value === "number") return `${value}`;
    const { done, value: next } = value as IteratorResult<number>;
    return done ? "done" : `${next}`;
  };
  return promise.then(word, (error) => {
    if (error instanceof ChannelClosedError) return "closed";
    if (error instanceof TaskletExit) return "killed";
    if (error instanceof TimeoutError) return "timeout";
    return error.message;
  });
}

/** What was received, by `tryReceive` or in the words of an outcome. */
function received(f: () => unknown): string | undefined {
  try {
    const value = f();
    return value === undefined ? undefined : `${value}`;
  } catch (error) {
    return (error as Error).message;
  }
}

async function run(capacities: number[], program: Step[]): Promise<void> {
  await using time = virtualTime();
  const model = new Model(capacities);
  const channels = capacities.map((capacity) => new Channel<number>(capacity));
  const tasks = program.map(() => Tasklet.new(() => Tasklet.suspend(() => {}).catch(() => {}))());
  await Tasklet.yield();
  const outcomes: string[] = [];
  const waits: Promise<void>[] = [];
  const sent: number[] = [];
  const taken: string[] = [];

  /** Does an operation in the name of the tasklet `id`. */
  function operate(id: number, deadline: number | undefined, f: () => Promise<unknown>): void {
    const promise = running.run(tasks[id], () => {
      if (deadline !== undefined) Timeout.push(deadline);
      return f();
    });
    waits.push(outcomeOf(promise).then((outcome) => void (outcomes[id] = outcome)));
  }

  async function act(step: Step, id: number): Promise<void> {
    const i = "channel" in step ? step.channel % channels.length : 0;
    const channel = channels[i]!;
    const { timeout, deadline } = "limit" in step ? step.limit : { timeout: undefined, deadline: undefined };
    const end = model.now + Math.min(timeout ?? Infinity, deadline ?? Infinity);
    const pending = { id, on: [i], end, isLate: deadline === 0 };
    switch (step.do) {
      case "send":
        operate(id, deadline, () => channel.send(id, { timeout }));
        return model.send({ ...pending, kind: "send", item: { n: id, isError: false } });
      case "sendError":
        operate(id, deadline, () => channel.sendError(new Error(`error ${id}`), { timeout }));
        return model.send({ ...pending, kind: "send", item: { n: id, isError: true } });
      case "receive":
        operate(id, deadline, () => channel.receive({ timeout }));
        return model.receive({ ...pending, kind: "receive" });
      case "next":
        operate(id, deadline, () => channel[Symbol.asyncIterator]().next());
        return model.receive({ ...pending, kind: "next" });
      case "select": {
        const on = step.channels.map((n) => n % channels.length);
        const sources = Object.fromEntries(on.map((n, place) => [`c${place}`, channels[n]!]));
        using _ = useChance((n) => step.start % n);
        operate(id, deadline, () => select(sources, { timeout }));
        return model.receive({ ...pending, kind: "select", on }, step.start);
      }
      case "trySend": {
        const isSent = channel.trySend(id);
        if (isSent) sent.push(id);
        return assertEquals(isSent, model.put(i, { n: id, isError: false }));
      }
      case "tryReceive": {
        const got = received(() => channel.tryReceive()?.value);
        if (got !== undefined) taken.push(got);
        const item = model.take(i);
        return assertEquals(got, item?.isError ? `error ${item.n}` : item && `${item.n}`);
      }
      case "close":
        channel.close();
        return model.close(i);
      case "kill":
        if (id === 0) return;
        void tasks[step.who % id]!.kill();
        return model.kill(step.who % id);
      case "pass":
        await time.advance(step.ms);
        return model.pass(step.ms);
    }
  }

  function compare(): void {
    model.note();
    for (const [i, channel] of channels.entries()) {
      const { closed, capacity, buffer, ...stats } = model.channels[i]!;
      assertEquals({ balance: channel.balance, closed: channel.closed, ...channel.stats }, {
        balance: model.balance(i),
        closed,
        ...stats,
      });
      assertEquals(channel.hasSender, model.waiting(i, true).length > 0);
      assertEquals(channel.hasReceiver, model.waiting(i, false).length > 0);
      assert(
        !channel.hasReceiver || (!channel.hasSender && channel.balance < 0),
        "a receiver waits for nothing",
      );
      assert(!channel.hasSender || buffer.length === capacity, "a sender waits for nothing");
    }
  }

  for (const [id, step] of program.entries()) {
    await act(step, id);
    compare();
  }
  // Whoever still waits ends with the channels, and then each operation has come to what the model says.
  for (const [i, channel] of channels.entries()) {
    channel.close();
    model.close(i);
  }
  compare();
  await Promise.all(waits);
  assertEquals({ ...outcomes }, { ...model.outcomes });
  // Without the model: what was sent was received once, or is still there.
  for (const [id, step] of program.entries()) {
    if (outcomes[id] === "sent") sent.push(id);
    else if (!step.do.startsWith("send") && /\d$/.test(outcomes[id] ?? "")) taken.push(outcomes[id]!);
  }
  for (const channel of channels) {
    for (let n = channel.balance; n > 0; n--) taken.push(received(() => channel.tryReceive()?.value)!);
  }
  const ids = taken.map((word) => Number(word.split(" ").at(-1)));
  assertEquals(ids.toSorted((a, b) => a - b), sent.toSorted((a, b) => a - b));
  await Promise.all(tasks.map((task) => task.kill()));
  assertEquals(timerCount(), 0);
}

Deno.test("Channel and select() agree with a plain model in random programs, in what each operation comes to", async () => {
  const program = fc.array(step, { maxLength: 60, size: "max" });
  const capacities = fc.array(fc.nat(3), { minLength: 1, maxLength: MOST_CHANNELS, size: "max" });
  await fc.assert(fc.asyncProperty(capacities, program, run), { numRuns: 1000 });
});
