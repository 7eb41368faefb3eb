/**
 * Probes: tasklets that stand in for others in a test, and remember what they got.
 *
 * Runtime-neutral.
 *
 * @module
 */
import { inspect } from "node:util";
import type { AnyMessage, CallOptions, MessageConstructor, Receiver } from "./message.ts";
import { pass, suspend } from "./suspend.ts";
import { onFinish } from "./life.ts";
import { Tasklet } from "./tasklet.ts";
import { checkMs, Timeout, TimeoutError } from "./timer.ts";

/** For how long something is expected. */
export interface ExpectOptions {
  /**
   * Milliseconds; in virtual time, virtual ones.
   *
   * @default {1000 for a message, 100 for nothing}
   */
  within?: number | undefined;
}

/** How a probe is created. */
export interface ProbeOptions {
  /**
   * Its name, for people.
   *
   * @default {"probe"}
   */
  name?: string | undefined;
}

/**
 * A tasklet that records what it gets.
 *
 * ```ts
 * import { Message, type Receiver, Tasklet } from "@x/concurrence";
 * import { probe } from "@x/concurrence/testing";
 *
 * class MSG_PRICE extends Message("MSG_PRICE")<[item: string], number> {}
 * class MSG_TOTAL extends Message("MSG_TOTAL")<[amount: number]> {}
 *
 * async function till(prices: Receiver<MSG_PRICE>, display: Receiver<MSG_TOTAL>, items: string[]) {
 *   let total = 0;
 *   for (const item of items) total += await MSG_PRICE.call(prices)(item);
 *   MSG_TOTAL.send(display)(total);
 * }
 *
 * await using prices = probe<MSG_PRICE>({ name: "prices" });
 * await using display = probe<MSG_TOTAL>({ name: "display" });
 * await using _ = Tasklet.new(till)(prices, display, ["tea", "cake"]);
 *
 * for (const price of [2, 3]) (await prices.expect(MSG_PRICE)).reply(price);
 * console.log((await display.expect(MSG_TOTAL)).args[0]); // 5
 * await display.expectNothing();
 * ```
 *
 * It is a child of the tasklet that creates it, which cannot finish before the probe is disposed.
 *
 * @typeParam M The messages it accepts, a union.
 */
export function probe<M extends AnyMessage = AnyMessage>(options: ProbeOptions = {}): Probe<M> {
  return new Probe<M>(options);
}

/** What {@linkcode probe} makes. A message is recorded as soon as it is sent. */
export class Probe<in out M extends AnyMessage = AnyMessage> implements Receiver<M>, AsyncDisposable {
  /** The tasklet behind it, to be registered under a name or monitored; what it is sent is recorded here. */
  readonly task: Tasklet<never, M>;
  readonly #messages: M[] = [];
  readonly #unexpected: M[] = []; // ... so far
  readonly #expectations = new Set<Expectation<M>>();

  /** Use {@linkcode probe}. */
  constructor({ name = "probe" }: ProbeOptions) {
    this.task = Tasklet.new<[], Promise<never>, M>(
      () => suspend<never>(() => {}, Infinity, "to be disposed"),
      { name },
    )();
    this.#listen(this.task);
    onFinish(this.task, () => {
      for (const { fail } of this.#expectations) fail(new Error(`Cannot expect: ${this.task} has finished`));
    });
  }

  // All that is sent to a tasklet, be it called or be it called as one of a group, passes the one method that is
  // replaced here. The tasklet has no loop that receives: what it accepts stays in its mailbox, where no reply counts as
  // forgotten, until its end fails the calls.
  #listen({ inbox }: Tasklet<never, M>): void {
    const { deliver } = inbox;
    inbox.deliver = (message) => {
      const isAccepted = deliver.call(inbox, message);
      if (isAccepted) this.#record(message as M);
      return isAccepted;
    };
  }

  /** All that it got, in order, expected or not. */
  get messages(): readonly M[] {
    return this.#messages;
  }

  /** Takes a message. @ignore */
  deliver(message: M): boolean {
    return this.task.deliver(message);
  }

  /** Takes a message and promises its reply. @ignore */
  ask(message: M, options: CallOptions): Promise<unknown> {
    return this.task.ask(message, options);
  }

  /**
   * Waits for the oldest message of a class that was not expected before. Others stay where they are.
   *
   * @param Class A message class; its subclasses count as well.
   * @returns The message; if it came by a call, it can be replied to.
   * @throws {Error} If none came in time; the text tells what did.
   */
  async expect<C extends M>(
    Class: MessageConstructor<C>,
    { within = 1000 }: ExpectOptions = {},
  ): Promise<C> {
    checkMs("expect a message", "within", within);
    const takes = (message: M): boolean => message.match(Class);
    const at = this.#unexpected.findIndex(takes);
    if (at >= 0) return await pass(() => this.#unexpected.splice(at, 1)[0] as unknown as C);
    try {
      return await this.#await(takes, within, `for an expected ${Class.name}`) as unknown as C;
    } catch (error) {
      if (!isOwnTimeout(error)) throw error;
      throw new Error(
        `Expected ${Class.name} at ${this.task} within ${within} ms, got ${textOf(this.#unexpected)}`,
      );
    }
  }

  /**
   * Waits to see that nothing comes, and that nothing is there that was not expected.
   *
   * @throws {Error} As soon as something is; the text tells what.
   */
  async expectNothing({ within = 100 }: ExpectOptions = {}): Promise<void> {
    checkMs("expect nothing", "within", within);
    try {
      if (this.#unexpected.length === 0) await this.#await(() => true, within, "for nothing to come", true);
      else await pass(() => {});
    } catch (error) {
      if (isOwnTimeout(error)) return;
      throw error;
    }
    throw new Error(`Expected nothing at ${this.task} for ${within} ms, got ${textOf(this.#unexpected)}`);
  }

  #await(takes: (message: M) => boolean, within: number, what: string, leaves = false): Promise<M> {
    return suspend<M>(
      (resume, fail) => {
        const expectation = { takes, leaves, resume, fail };
        this.#expectations.add(expectation);
        return () => void this.#expectations.delete(expectation);
      },
      within,
      what,
    );
  }

  #record(message: M): void {
    this.#messages.push(message);
    const expectation = [...this.#expectations].find(({ takes }) => takes(message));
    if (expectation === undefined || expectation.leaves) this.#unexpected.push(message);
    if (expectation === undefined) return;
    this.#expectations.delete(expectation);
    expectation.resume(message);
  }

  /** Ends the tasklet. Calls that were not answered fail as finished, and so does what is expected still. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.task.kill();
  }
}

/** Somebody who waits for a message. */
interface Expectation<M> {
  readonly takes: (message: M) => boolean;
  /** Whether the message stays for others. */
  readonly leaves: boolean;
  readonly resume: (message: M) => void;
  readonly fail: (error: unknown) => void;
}

// Whether the time that an expectation was given is over, and not that of the tasklet.
function isOwnTimeout(error: unknown): boolean {
  return error instanceof TimeoutError && Timeout.current() > 0;
}

const MOST_SHOWN = 10;

function textOf(messages: readonly AnyMessage[]): string {
  if (messages.length === 0) return "nothing";
  const shown = messages.slice(0, MOST_SHOWN).map((message) => {
    const args = message.args.map((arg: unknown) => inspect(arg, { breakLength: Infinity }));
    return `${message.type}(${args.join(", ")})`;
  });
  const more = messages.length - shown.length;
  return shown.join(", ") + (more > 0 ? ` and ${more} more` : "");
}
