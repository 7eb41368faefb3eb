/**
 * Waiting for several things at once, and taking exactly one of them.
 *
 * Knows sources, and of channels only that they are some. Runtime-neutral.
 *
 * @module
 */
import { running } from "./context.ts";
import type { Inbox } from "./inbox.ts";
import type { Life } from "./life.ts";
import type { AnyMessage, MessageConstructor } from "./message.ts";
import { checkMs, now, setTimer } from "./timer.ts";
import { Wait, type Waiter, type WaitOptions } from "./wait.ts";

/**
 * What {@linkcode select} can take from: channels, {@linkcode messages}, {@linkcode after}, and whatever else has the
 * two methods.
 *
 * @typeParam T What is taken.
 */
export interface Source<out T> {
  /** Whether taking from it serves others, which ends with the kill of the tasklet: a `select` with it does not begin. */
  readonly serving?: boolean | undefined;
  /**
   * Takes what is there now, in an object, since it may be `undefined`; without an object, nothing is there.
   *
   * @throws What is there in place of a value, such as an error that was sent. It counts as taken, and ends the `select`.
   */
  poll(): { readonly value: T } | undefined;
  /**
   * Gives the next to `taker`, once. Called when `poll` has found nothing.
   *
   * @returns The undo: takes the taker back, so that it is given nothing. Called unless the taker was given something;
   * it must neither wait nor throw.
   */
  subscribe(taker: Taker<T>): () => void;
}

/** What waits for something from a {@linkcode Source}, alone or among others. */
export interface Taker<in T> {
  /** Gives it a value. */
  take(value: T): void;
  /** Gives it an error in place of a value. */
  fail(error: unknown): void;
}

/** Sources by name. One that is `undefined` takes no part. */
export type Sources = Readonly<Record<string, Source<unknown> | undefined>>;

/** What {@linkcode select} resolves to: the name of the source, and what was taken from it. A union, told apart by the name. */
export type Selected<S extends Sources> = {
  [K in keyof S]-?: NonNullable<S[K]> extends Source<infer T>
    ? [key: K extends number ? `${K}` : K & string, value: T]
    : never;
}[keyof S];

/**
 * Waits for several sources, and takes from exactly one of them.
 *
 * ```ts
 * import { after, Channel, Message, messages, select, Tasklet } from "@x/concurrence";
 *
 * class MSG_STOP extends Message("MSG_STOP") {}
 *
 * async function collector(numbers: Channel<number>, words: Channel<string>) {
 *   while (true) {
 *     const sources = { number: numbers, word: words, stop: messages([MSG_STOP]), idle: after(1000) };
 *     const [key, value] = await select(sources);
 *     if (key === "number") console.log(value.toFixed(2)); // here, value is a number
 *     else if (key === "word") console.log(value.toUpperCase()); // and here, a string
 *     else return key;
 *   }
 * }
 *
 * const [numbers, words] = [new Channel<number>(), new Channel<string>()];
 * const task = Tasklet.new(collector)(numbers, words);
 * await words.send("pi");
 * await numbers.send(Math.PI);
 * MSG_STOP.send(task)();
 * console.log(await task.join()); // "stop"
 * ```
 *
 * - **Exactly one**: from all other sources, nothing is taken. A kill, a timeout or a deadline takes nothing at all.
 * - **Fair choice**: if several are ready, chance decides with which to begin, and the first that is ready from there
 *   on, in the order of their names, is taken. So none that stays ready is passed over for ever. The chances are the
 *   same in each run of a program.
 * - **Ready is ready**: a `select` that need not wait does not fail because the deadline has passed.
 * - **Errors**: a source that has an error in place of a value ends the `select` with that error. So does a channel
 *   that is closed and drained, with a `ChannelClosedError` whose `channel` tells which: being closed is a way of being
 *   ready. To go on without it, leave it `undefined`.
 *
 * While it waits, it counts as a receiver of each of its channels, in line with the others.
 *
 * @param sources What to take from, by name; at least one. The same channel may have several names.
 * @param options.timeout Milliseconds to wait at most. @default {Infinity}
 * @returns The name, and what was taken.
 * @throws {TypeError} If there is no source, or something else among them.
 * @throws {TimeoutError} If none was ready in time, or an enclosing deadline has passed.
 */
export function select<S extends Sources>(
  sources: S,
  { timeout = Infinity }: WaitOptions = {},
): Promise<Selected<S>> {
  checkMs("select", "timeout", timeout);
  const wait = new SelectWait(running.getStore() as Waiter | undefined, sources);
  wait.start(timeout);
  return wait.promise as Promise<unknown> as Promise<Selected<S>>;
}

/**
 * The mailbox of whoever calls {@linkcode select}, as a source.
 *
 * As with `Tasklet.receiveOne`, nobody checks whether a reply was forgotten. A tasklet that is killed receives nothing
 * any more, so a `select` with this source does not begin.
 *
 * @param classes Message classes to take, with their subclasses; others stay queued. Without it, all.
 */
export function messages<C extends MessageConstructor = MessageConstructor>(
  classes?: readonly C[],
): Source<InstanceType<C>> {
  const source: Source<AnyMessage> = {
    serving: true,
    poll: () => {
      const message = ownInbox().take(classes);
      return message === undefined ? undefined : { value: message };
    },
    subscribe: (taker) => ownInbox().subscribe(classes, (message) => taker.take(message)),
  };
  return source as Source<InstanceType<C>>;
}

function ownInbox(): Inbox {
  const task = running.getStore() as Life | undefined;
  if (task === undefined) throw new Error("Cannot select messages: no tasklet is running");
  return task.inbox;
}

/**
 * A time, as a source: ready `ms` milliseconds after {@linkcode select} has begun to wait.
 *
 * With 0 it lets everything go first that is ready.
 *
 * @param ms Milliseconds.
 * @throws {RangeError} If `ms` is negative or not a number.
 */
export function after(ms: number): Source<undefined> {
  checkMs("select by time", "ms", ms);
  return {
    poll: () => undefined,
    subscribe: (taker) => {
      const timer = setTimer(now() + ms, () => taker.take(undefined));
      return () => timer.cancel();
    },
  };
}

/** Decides by chance: gives an integer from 0 to `n` - 1. */
export type Chance = (n: number) => number;

// Where to begin must not follow the calls in any simple way: with a counter, of two selects that take turns each would
// always begin at the same place. (Source: G. Marsaglia, "Xorshift RNGs", 2003: xorshift32.)
let state = 1;
let chance: Chance = (n) => {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % n;
};

/** Puts `replacement` in charge of what {@linkcode select} leaves to chance, until disposed. For tests. */
export function useChance(replacement: Chance): Disposable {
  const previous = chance;
  chance = replacement;
  return { [Symbol.dispose]: () => void (chance = previous) };
}

/** One source of a select. */
class Branch implements Taker<unknown> {
  readonly key: string;
  readonly source: Source<unknown>;
  /** Takes it back from its source, if it waits there. */
  undo: (() => void) | undefined;
  readonly #wait: SelectWait;

  constructor(wait: SelectWait, key: string, source: Source<unknown>) {
    this.#wait = wait;
    this.key = key;
    this.source = source;
  }

  take(value: unknown): void {
    this.#wait.taken = this;
    this.#wait.resume([this.key, value]);
  }

  fail(error: unknown): void {
    this.#wait.taken = this;
    this.#wait.fail(error);
  }
}

/** A wait for one of several sources. */
class SelectWait extends Wait<[key: string, value: unknown]> {
  /** What ended it: this one is not to be taken back. */
  taken: Branch | undefined;
  readonly #branches: Branch[] = [];

  constructor(owner: Waiter | undefined, sources: Sources) {
    const keys = Object.keys(sources);
    super(owner, keys.some((key) => sources[key]?.serving));
    for (const key of keys) {
      const source = sources[key];
      if (source !== undefined) this.#branches.push(new Branch(this, key, checked(key, source)));
    }
    if (this.#branches.length === 0) throw new TypeError("Cannot select: there is no source to take from");
  }

  override describe(): string {
    return `for ${this.#branches.map((branch) => branch.key).join(" or ")}`;
  }

  /** Takes what is ready, or else begins to wait; no deadline matters to what is ready. */
  start(timeout: number): void {
    if (!this.enter()) return;
    try {
      this.#poll();
      if (!this.open || !this.limit(timeout)) return;
      for (const branch of this.#branches) if (this.open) this.#subscribe(branch);
    } catch (error) {
      this.fail(error);
    }
  }

  #poll(): void {
    const { length } = this.#branches;
    const start = length === 1 ? 0 : chance(length);
    for (let i = 0; i < length; i++) {
      const branch = this.#branches[(start + i) % length]!;
      const ready = branch.source.poll();
      if (ready !== undefined) return branch.take(ready.value);
    }
  }

  // A source may give something, or end the wait, even before it returns.
  #subscribe(branch: Branch): void {
    const undo = branch.source.subscribe(branch);
    if (this.open) branch.undo = undo;
    else if (this.taken !== branch) undo();
  }

  protected override left(): void {
    for (const branch of this.#branches) {
      if (branch !== this.taken) branch.undo?.();
      branch.undo = undefined;
    }
  }
}

function checked(key: string, source: Source<unknown>): Source<unknown> {
  if (typeof source?.poll === "function" && typeof source.subscribe === "function") return source;
  throw new TypeError(
    `Cannot select: ${JSON.stringify(key)} must be a source, with "poll" and "subscribe", got ${source}`,
  );
}
