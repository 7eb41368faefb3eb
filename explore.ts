/**
 * Exploration: the same program under many orders of wake-up, to find the ones under which it fails.
 *
 * What can go wrong in a program of tasklets depends on who goes on first when several may. In a plain run that is
 * nearly always the same; here it is decided by a seed, at each step anew:
 *
 * - *held* is who may go on: its wait has ended, or it is about to start. Each tasklet is a line of its own, in which
 *   things keep their order; those that start form another, since they start in the order they were created.
 * - a *step* lets one of them go, whichever the schedule picks. The next step comes when it waits again, which is after
 *   one turn of the event loop, because by then all promises have run.
 * - all have *come to rest* when nothing is held. Then, first, turns of the event loop end; then time jumps to the next
 *   timer. If there is none, nothing can go on any more: the run is over, or it is a deadlock.
 *
 * Runtime-neutral.
 *
 * @module
 */
import { setImmediate, setTimeout } from "node:timers";
import { running } from "./context.ts";
import { countAtWork, Life, onFinish } from "./life.ts";
import { describeTasklet, disregardWhatIsThere, liveTasklets } from "./quiet.ts";
import { useReporter } from "./report.ts";
import { type Candidate, randomOf, type Schedule, scheduleOf } from "./schedule.ts";
import { useChance } from "./select.ts";
import { suspend } from "./suspend.ts";
import { type Self, Tasklet } from "./tasklet.ts";
import { type Clock, useOwnTime } from "./timer.ts";
import { useOrder, waitCounts } from "./wait.ts";

/** How much is explored. */
export interface ExploreOptions {
  /**
   * How many runs, each with a seed of its own.
   *
   * @default {100, or 1 if a seed is given}
   */
  runs?: number | undefined;
  /**
   * The seed of the first run, an integer from 0 to 2³² − 1; the others follow it one by one.
   *
   * @default {a random one}
   */
  seed?: number | undefined;
  /**
   * How many steps a run may take before it counts as one that never ends.
   *
   * @default {100000}
   */
  steps?: number | undefined;
}

/** What was explored. */
export interface Exploration {
  /** How many runs there were. */
  readonly runs: number;
  /** In how many different orders they went, as far as a checksum of 32 bits can tell them apart. */
  readonly orders: number;
}

/** A program that fails under some order. `cause` is its error, if it has one. */
export class ExploreError extends Error {
  /** `"ExploreError"`. */
  override readonly name = "ExploreError";
  /** The seed under which it fails. */
  readonly seed: number;

  /** Creates the error for a run with `seed`. */
  constructor(seed: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.seed = seed;
  }
}

/**
 * Runs `body` under many orders of wake-up, and tells under which it fails.
 *
 * ```ts
 * import { Tasklet } from "@x/concurrence";
 * import { explore, ExploreError } from "@x/concurrence/testing";
 *
 * async function lostUpdate() {
 *   let total = 0;
 *   async function increment() {
 *     const read = total;
 *     await Tasklet.yield();
 *     total = read + 1;
 *   }
 *   await Tasklet.joinAll([Tasklet.new(increment)(), Tasklet.new(increment)()]);
 *   if (total !== 2) throw new Error(`Expected 2, got ${total}`);
 * }
 *
 * const error = await explore(lostUpdate).catch((error) => error);
 * console.log(error.message); // "Run 1 of 100 failed under seed 2859125103: … Expected 2, got 1 …"
 * await explore(lostUpdate, { seed: error.seed }).catch((error) => console.log(error instanceof ExploreError)); // true
 * ```
 *
 * Each run has a clock and a heap of timers of its own, begins at time 0, and ends when the body and all it has started
 * have come to their end, or nothing can go on any more. What is left then, of a body that has returned, is killed.
 *
 * - **Failure**: a run fails if the body throws, if an error is reported because nobody has asked for it, if nothing
 *   can go on and the body has not returned (a deadlock: all who wait are named), or if it never ends.
 * - **Replay**: the seed of a run decides everything in it, as long as the body brings in nothing else: no `Math.random`,
 *   no real clock, no `jitter` of a supervisor, nothing left by the run before.
 * - **Order**: what the library guarantees holds under every order: tasklets start in order of creation, messages of one
 *   sender arrive in order, timers go off in order of their times.
 * - **Isolation**: tasklets that were there before take no part; nothing a run has started outlives it.
 *
 * What comes from outside of the program (sockets, files, child programs) comes in no order that a seed could bring back,
 * and time does not wait for it.
 *
 * @param body Runs as a tasklet without a parent, once a run.
 * @throws {ExploreError} At the first run that fails; the text names its seed and how to replay it.
 * @throws {RangeError} If an option makes no sense.
 * @throws {Error} If an exploration is under way already.
 */
export async function explore(
  body: (this: Self) => unknown,
  options: ExploreOptions = {},
): Promise<Exploration> {
  const plan = planOf(options);
  if (isExploring) throw new Error("Cannot explore: an exploration is under way");
  return await suspend(
    (resume, fail) => {
      isExploring = true;
      let isWanted = true;
      // In nobody's name: the waits and reports of a run are not those of whoever explores.
      const exploration = running.run(undefined, () => exploreAll(body, plan, () => isWanted));
      void exploration.finally(() => void (isExploring = false)).then(resume, fail);
      return () => void (isWanted = false);
    },
    Infinity,
    "for an exploration",
    "outside",
  );
}

let isExploring = false;

/** Which runs there will be. */
interface Plan {
  readonly runs: number;
  readonly seed: number;
  readonly steps: number;
}

function planOf({ seed, runs = seed === undefined ? 100 : 1, steps = 100_000 }: ExploreOptions): Plan {
  checkPositive("runs", runs);
  checkPositive("steps", steps);
  if (seed === undefined) return { runs, steps, seed: Math.floor(Math.random() * 2 ** 32) };
  if (Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32) return { runs, steps, seed };
  throw new RangeError(`Cannot explore: "seed" must be an integer from 0 to 4294967295, got ${seed}`);
}

function checkPositive(option: string, value: number): void {
  if (Number.isSafeInteger(value) && value > 0) return;
  throw new RangeError(`Cannot explore: "${option}" must be a positive integer, got ${value}`);
}

async function exploreAll(
  body: (this: Self) => unknown,
  plan: Plan,
  isWanted: () => boolean,
): Promise<Exploration> {
  using _ = disregardWhatIsThere();
  const strangers = new Set(liveTasklets());
  const orders = new Set<number>();
  for (let i = 0; i < plan.runs && isWanted(); i++) {
    const seed = (plan.seed + i) % 2 ** 32;
    const run = new Run(seed, plan.steps, strangers, isWanted);
    const failure = await run.end(body);
    if (failure !== undefined) {
      const text = `Run ${i + 1} of ${plan.runs} failed under seed ${seed}: ${failure.text}`;
      const options = "error" in failure ? { cause: failure.error } : {};
      throw new ExploreError(seed, `${text}\nTo replay it: explore(body, { seed: ${seed} })`, options);
    }
    orders.add(run.order);
  }
  return { runs: plan.runs, orders: orders.size };
}

/** Why a run has failed. */
interface Failure {
  readonly text: string;
  readonly error?: unknown;
}

/** What goes on in the order it came: a tasklet, or those that start. */
interface Line extends Candidate {
  readonly number: number;
  readonly held: (() => void)[];
}

// Real milliseconds for which a run that cannot go on waits for what is none of its business: promises that are no
// wait points, and the outside.
const PATIENCE = 500;
const NAP = 5;
// Turns for which it waits for what was there before, and may go on for ever.
const MOST_TURNS = 20;

/** One run, which is the clock of all in it. */
class Run implements Clock {
  /** A checksum of who went on when. */
  order = 0;
  readonly #schedule: Schedule;
  readonly #random: () => number; // for what is left to chance beside the order
  readonly #strangers: ReadonlySet<Life>;
  readonly #isWanted: () => boolean;
  readonly #mostSteps: number;
  readonly #lines = new Map<unknown, Line>();
  readonly #held: Line[] = []; // those in which something is held
  #turns: (() => void)[] = [];
  #strangersGoing = 0;
  #turnsForStrangers = MOST_TURNS; // that are left, since anything went on
  #now = 0;
  #alarm: { readonly at: number; readonly wake: () => void } | undefined;
  #root!: Life;
  readonly #elsewhere = countElsewhere(); // without this run
  #steps = 0;
  #naps = 0; // since anything went on
  #failure: Failure | undefined;
  #killed: Set<Life> | undefined; // what was left; from then on, the run comes to its end

  constructor(seed: number, steps: number, strangers: ReadonlySet<Life>, isWanted: () => boolean) {
    this.#schedule = scheduleOf(seed);
    this.#random = randomOf((seed + 2 ** 31) % 2 ** 32); // half a period away from what the schedule draws
    this.#mostSteps = steps;
    this.#strangers = strangers;
    this.#isWanted = isWanted;
  }

  now(): number {
    return this.#now;
  }

  wakeAt(at: number, wake: () => void): void {
    this.#alarm = at === Infinity ? undefined : { at, wake };
  }

  turn(go: () => void): void {
    this.#turns.push(go);
  }

  /** Runs `body` to its end: why it has failed, if it has. */
  async end(body: (this: Self) => unknown): Promise<Failure | undefined> {
    using _time = useOwnTime(this);
    using _order = useOrder((go, line) => this.#hold(go, line));
    using _chance = useChance((n) => Math.floor(this.#random() * n));
    using _reports = useReporter((text, error) => this.#fail({ text: `${text} ${textOf(error)}`, error }));
    this.#root = Tasklet.new(body, { name: body.name || "body", daemon: true })();
    onFinish(this.#root, (error) => {
      if (error !== undefined && this.#killed === undefined) this.#fail({ text: textOf(error), error });
    });
    do await this.#settle(); while (this.#goOn());
    for (const go of this.#turns) setImmediate(go); // of those who were there before
    return this.#failure;
  }

  // The first failure is what is reported; what comes after it may be its consequence.
  #fail(failure: Failure): void {
    this.#failure ??= failure;
  }

  #hold(go: () => void, line: unknown): void {
    const known = this.#lines.get(line) ?? this.#newLine(line);
    if (known === undefined) this.#letStrangerGo(go);
    else if (known.held.push(go) === 1) this.#held.push(known);
  }

  // Not held, but in a turn of its own, as a plain run has it.
  #letStrangerGo(go: () => void): void {
    this.#strangersGoing++;
    setImmediate(() => {
      this.#strangersGoing--;
      go();
    });
  }

  #newLine(line: unknown): Line | undefined {
    for (let task = line; task instanceof Life; task = task.parent) {
      if (this.#strangers.has(task)) return undefined;
    }
    const added: Line = { number: this.#lines.size + 1, rank: this.#schedule.rank(), held: [] };
    this.#lines.set(line, added);
    return added;
  }

  // Resolves when all promises have run; and, if something may come from elsewhere, a little later.
  #settle(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#naps === 0) setImmediate(resolve);
      else setTimeout(resolve, NAP);
    });
  }

  // Does the next thing there is to do, if there is one.
  #goOn(): boolean {
    if (this.#killed === undefined && (this.#failure !== undefined || !this.#isWanted())) {
      return this.#endAll();
    }
    if (this.#held.length > 0) return this.#step();
    if (this.#turns.length > 0) return this.#endTurns();
    if (this.#strangersGoing > 0 && this.#turnsForStrangers-- > 0) return true;
    if (this.#killed !== undefined) return this.#endAll();
    if (!this.#root.alive) return this.#endAll();
    if (this.#alarm !== undefined) return this.#jump();
    if (this.#hasReturned) return this.#endAll();
    if (this.#mayHearFromElsewhere()) return true;
    this.#fail({ text: `Deadlock: nothing can go on any more\n  ${this.#describe()}` });
    return this.#endAll();
  }

  #step(): boolean {
    if (++this.#steps > this.#mostSteps) return this.#giveUp();
    const place = this.#schedule.next(this.#held);
    const line = this.#held[place]!;
    const go = line.held.shift()!;
    if (line.held.length === 0) this.#held.splice(place, 1);
    this.order = Math.imul(this.order ^ line.number, 0x01000193); // FNV-1, by Fowler, Noll and Vo
    this.#naps = 0;
    this.#turnsForStrangers = MOST_TURNS;
    go();
    return true;
  }

  #endTurns(): boolean {
    const turns = this.#turns;
    this.#turns = [];
    for (const go of turns) go();
    return true;
  }

  #jump(): boolean {
    const { at, wake } = this.#alarm!;
    this.#alarm = undefined;
    this.#now = Math.max(this.#now, at);
    if (++this.#steps > this.#mostSteps) return this.#giveUp();
    wake();
    return true;
  }

  #giveUp(): boolean {
    this.#fail({ text: `It has not ended after ${this.#mostSteps} steps\n  ${this.#describe()}` });
    return this.#killed === undefined && this.#endAll();
  }

  // Kills what is left, then gives its cleanup the time it takes. Whether there is more to do.
  #endAll(): boolean {
    const isFirst = this.#killed === undefined;
    if (isFirst) this.#steps = 0; // the cleanup gets as many again
    this.#killed ??= new Set();
    const left = this.#tasklets();
    const fresh = left.filter((task) => task.parent === undefined && !this.#killed!.has(task));
    for (const task of fresh) {
      this.#killed.add(task);
      void task.kill();
    }
    if (isFirst || fresh.length > 0) return true;
    return left.length > 0 && this.#alarm !== undefined && this.#jump();
  }

  #tasklets(): Life[] {
    return liveTasklets().filter((task) => !this.#strangers.has(task));
  }

  // Its body is not under way, so if it waits, then for its children.
  get #hasReturned(): boolean {
    return this.#root.status === "waiting" && this.#root.waits === undefined;
  }

  #mayHearFromElsewhere(): boolean {
    return countElsewhere() > this.#elsewhere && this.#naps++ < PATIENCE / NAP;
  }

  #describe(): string {
    const isHeld = (task: Life): boolean => (this.#lines.get(task)?.held.length ?? 0) > 0;
    return this.#tasklets().map((task) => isHeld(task) ? `${task}: may go on` : describeTasklet(task)).join(
      "\n  ",
    );
  }
}

// How many wait for what a run does not bring about.
function countElsewhere(): number {
  const { outside, unknown } = waitCounts();
  return outside + unknown.size + countAtWork();
}

function textOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : `${error ?? ""}`;
}
