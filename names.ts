/**
 * Names of a cluster: who has them, how they are claimed, and who is told when they are free.
 *
 * **Claims.** There is no referee. Who wants a name listens at the subject of its claims, then asks there whether
 * anybody objects. The bus says at once if nobody listens: then the name is free. An owner objects. Of two who claim at
 * the same time at least one hears the other, since each listens before it asks; the earlier claim wins (`since`, then
 * the id of the node), and the later gives way, so that the earlier, which asks again, finds nobody. Who does not answer
 * for as long as a node may be silent is gone, and its name free.
 *
 * **Conflicts.** While the network is in pieces, each piece has its own owners. So every owner says from time to time what
 * it has, and at once when it may have missed something: a heartbeat after it has got the name, when its connection was
 * lost and is back, and when a node is heard that was thought dead. Of two owners the later one loses the name; a connection
 * that was lost counts as letting go of all names and claiming them anew.
 *
 * **Watches.** Who watches a name is told by its owner when it is free, and by the node when that one goes. Since such news
 * can be lost, it looks from time to time itself. A name that nobody seems to have, although its node is there, may be that
 * of a node which is just getting its connection back: it is looked for once more before anybody is told.
 *
 * Runtime-neutral.
 *
 * @module
 */
import { type Failure, failureOf, isId, readFailure } from "./border.ts";
import type { Delivery } from "./bus.ts";
import { CallError } from "./message.ts";
import { onFinish } from "./life.ts";
import { disconnected, type Outcome, type Post, remoteCause } from "./post.ts";
import type { Times } from "./presence.ts";
import type { AnyTasklet, Tasklet } from "./tasklet.ts";
import { now } from "./timer.ts";

// After how many times the silence that makes a node dead an owner says again what it has, and a watch looks again.
const AGAIN = 4;

/** A name that somebody else in the cluster has. */
export class NameTakenError extends Error {
  /** `"NameTakenError"`. */
  override readonly name = "NameTakenError";
}

/** How a name is registered. */
export interface RegisterOptions {
  /**
   * Whether the name is shared: any number may have it, and each message goes to one of them.
   *
   * @default {false}
   */
  readonly pool?: boolean | undefined;
  /** Called when the name is lost to another node that has the better right to it, after the two were cut off. */
  readonly onLost?: (() => void) | undefined;
}

/** A right to a name, as its claims and conflicts see it. */
interface Claim {
  readonly node: string;
  readonly since: number;
  readonly isPool: boolean;
}

/** A name that a tasklet of this node has. It ends with the tasklet. */
export class Registration implements AsyncDisposable {
  /** The name. */
  readonly name: string;
  /** Who has it. */
  readonly task: AnyTasklet;
  /** Whether it is shared. */
  readonly isPool: boolean;
  /** Since when, in milliseconds; renewed when it was claimed anew. Kept by {@linkcode Names} alone. */
  since: number = time();
  /** Whether it is had. "ended" is for good. Kept by {@linkcode Names} alone. */
  state: "claiming" | "held" | "ended" = "claiming";
  /** What must end with it. Kept by {@linkcode Names} alone. */
  readonly ends: (() => void)[] = [];
  /** When it is said again that it is had. Kept by {@linkcode Names} alone. */
  sayAt = 0;
  /** Called when it is lost. */
  readonly onLost: () => void;
  readonly #names: Names;

  /** Use {@linkcode Names.register}. */
  constructor(names: Names, name: string, task: AnyTasklet, { pool = false, onLost }: RegisterOptions) {
    this.#names = names;
    this.name = name;
    this.task = task;
    this.isPool = pool;
    this.onLost = onLost ?? (() => {});
  }

  /** Gives the name back. Harmless twice, and without a connection. */
  async unregister(): Promise<void> {
    await this.#names.unregister(this);
  }

  /** The same as {@linkcode Registration.unregister}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.unregister();
  }
}

/** Where a name is. */
export interface Place {
  /** The node of its owner. */
  readonly node: string;
  /** Whether it is shared. */
  readonly isPool: boolean;
}

/** What names need of their node. */
export interface NamesOptions extends Times {
  /** Handles what comes for a name. */
  readonly serve: (registration: Registration, delivery: Delivery) => void;
  /** Called when a name was lost to another node. */
  readonly lost: (name: string) => void;
}

/** The names that one node has, and those it watches. */
export class Names {
  readonly #post: Post;
  readonly #options: NamesOptions;
  // Those of a pool may be several, those of a unique name one. None has ended.
  readonly #registrations = new Map<string, Registration[]>();
  readonly #watches = new Map<string, Watch>();
  readonly #untold = new Map<string, readonly string[]>(); // names given back while the connection was lost
  #isClosed = false;

  /** Creates an empty list. */
  constructor(post: Post, options: NamesOptions) {
    this.#post = post;
    this.#options = options;
  }

  /** The tasklet of this node that has a name for itself alone. */
  ownerOf(name: string): Tasklet | undefined {
    const first = this.#registrations.get(name)?.[0];
    return first?.state === "held" && !first.isPool ? first.task as Tasklet : undefined;
  }

  /**
   * Gets a name for a tasklet.
   *
   * @throws {NameTakenError} If somebody has it.
   * @throws {CallError} If the connection is lost.
   * @throws {Error} If the tasklet has finished.
   */
  async register(name: string, task: AnyTasklet, options: RegisterOptions): Promise<Registration> {
    const registration = new Registration(this, name, task, options);
    const fellows = this.#registrations.get(name) ?? [];
    if (!(registration.isPool && fellows.every((each) => each.isPool)) && fellows.length > 0) {
      throw taken(name);
    }
    if (task.isOver) throw this.#whyEnded(registration);
    this.#registrations.set(name, [...fellows, registration]);
    const watch = onFinish(task, (error) => {
      this.#end(registration, error === undefined ? undefined : failureOf(error));
    });
    registration.ends.push(() => watch[Symbol.dispose]());
    try {
      await this.#acquire(registration, fellows.some(({ state }) => state === "held"));
    } catch (error) {
      this.#end(registration);
      throw error;
    }
    return registration;
  }

  async #acquire(registration: Registration, isOurs: boolean): Promise<void> {
    const { name, isPool, ends } = registration;
    const { subjects } = this.#post;
    ends.push(
      this.#post.bus.subscribe(subjects.of("claim", name), (delivery) => this.#hear(registration, delivery)),
    );
    if (!isOurs) await this.#claim(registration);
    const serve = (delivery: Delivery) => this.#options.serve(registration, delivery);
    const subject = subjects.of("name", name);
    const end = isPool ? await this.#post.share(subject, serve) : this.#post.bus.subscribe(subject, serve);
    if (registration.state === "ended") end();
    else ends.push(end);
    if (registration.state === "claiming") registration.state = "held";
    // Soon: servers of the bus tell each other of subscriptions in their own time, so two claims may miss each other.
    registration.sayAt = now() + this.#options.heartbeat;
    await this.#post.flush();
    if (registration.state !== "held") throw this.#whyEnded(registration);
  }

  // Returns when nobody objects.
  async #claim(registration: Registration): Promise<void> {
    const { name } = registration;
    const end = now() + this.#options.deadAfter; // however often somebody gives way
    while (now() < end) {
      const outcome = await this.#ask(this.#post.subjects.of("claim", name), [
        "claim",
        ...this.#right(registration),
      ]);
      if (registration.state === "ended") throw this.#whyEnded(registration);
      if (outcome.kind === "disconnected") throw disconnected(`register ${JSON.stringify(name)}`);
      if (outcome.kind === "nobody" || outcome.kind === "timeout") return;
      const answer = outcome.kind === "value" ? outcome.value : undefined;
      if (answer === "join") return;
      if (answer !== "yield") throw taken(name);
      // Somebody has given way, and may not have been the only one.
    }
  }

  // Asks again and again: whoever has ended in the moment of the question, the bus knows by the next one. Who says
  // nothing for so long as a node may be silent is as good as gone.
  async #ask(subject: string, values: readonly unknown[]): Promise<Outcome> {
    const { heartbeat, deadAfter } = this.#options;
    const end = now() + deadAfter;
    for (let left = deadAfter; left > 0; left = end - now()) {
      const timeout = Math.min(heartbeat, left);
      const outcome = await new Promise<Outcome>((resolve) =>
        this.#post.request(subject, values, timeout, resolve)
      );
      if (outcome.kind !== "timeout") return outcome;
    }
    return { kind: "timeout" };
  }

  #right({ since, isPool }: Registration): [node: string, since: number, isPool: boolean] {
    return [this.#post.id, since, isPool];
  }

  #whyEnded({ name, task }: Registration): Error {
    if (!task.isOver && !this.#isClosed) return taken(name);
    const why = task.isOver ? `${task} has finished` : "the cluster is closed";
    return new Error(`Cannot register ${JSON.stringify(name)}: ${why}`);
  }

  /** Gives a name back. */
  async unregister(registration: Registration): Promise<void> {
    if (registration.state === "ended") return;
    this.#end(registration);
    if (this.#post.isUp) await this.#post.flush().catch(() => {}); // then the bus has let go of it anyway
  }

  /** Gives all names back, and tells all who watch some that they will not hear of them any more. */
  close(): void {
    this.#isClosed = true;
    for (const registration of this.#all()) this.#end(registration);
    for (const watch of [...this.#watches.values()]) {
      this.#fire(watch, new CallError("disconnected", `Cannot monitor ${watch.name}: the cluster is closed`));
    }
  }

  #all(): Registration[] {
    return [...this.#registrations.values()].flat();
  }

  #end(registration: Registration, failure?: Failure): void {
    if (registration.state === "ended") return;
    const { name } = registration;
    const wasHeld = registration.state === "held";
    registration.state = "ended";
    for (const end of registration.ends) end();
    const left = this.#registrations.get(name)!.filter((each) => each !== registration);
    if (left.length > 0) this.#registrations.set(name, left);
    else this.#registrations.delete(name);
    if (!wasHeld) return;
    const notice = failure === undefined ? [] : [failure.name, failure.text];
    if (!this.#tellGone(name, notice)) this.#untold.set(name, notice);
    this.#gone(name, this.#post.id, failure); // we do not hear ourselves
  }

  #tellGone(name: string, notice: readonly string[]): boolean {
    return this.#post.tell(this.#post.subjects.of("gone", name), ["gone", this.#post.id, ...notice]);
  }

  /* --------------------------------------------- claims of others -------------------------------------------- */

  #hear(registration: Registration, delivery: Delivery): void {
    const value = this.#post.read(delivery);
    if (value === undefined) return;
    const claim = readClaim(value);
    if (claim === undefined) return this.#post.malformed("claim", delivery.reply);
    if ((value as unknown[])[0] === "held") return this.#meet(registration, claim);
    const answer = answerTo(claim, registration, this.#post.id);
    if (answer === "yield") this.#end(registration);
    if (delivery.reply !== "") this.#post.tell(delivery.reply, ["value", answer]);
  }

  // Somebody else says that it has the name.
  #meet(registration: Registration, other: Claim): void {
    if (registration.isPool && other.isPool) return;
    const mine: Claim = { ...registration, node: this.#post.id };
    if (registration.state === "held" && isEarlier(mine, other)) return this.#assert(registration);
    const wasHeld = registration.state === "held";
    this.#end(registration);
    if (!wasHeld) return;
    this.#options.lost(registration.name);
    registration.onLost();
  }

  #assert(registration: Registration): void {
    if (registration.state !== "held") return;
    registration.sayAt = now() + AGAIN * this.#options.deadAfter;
    this.#post.tell(this.#post.subjects.of("claim", registration.name), [
      "held",
      ...this.#right(registration),
    ]);
  }

  /** Says what this node has, because somebody may not know. */
  assertAll(): void {
    for (const registration of this.#all()) this.#assert(registration);
  }

  /** Does what is due: says again what this node has, and looks again for what it watches. */
  tick(): void {
    const time = now();
    for (const registration of this.#all()) if (registration.sayAt <= time) this.#assert(registration);
    for (const watch of this.#watches.values()) if (watch.lookAt <= time) void this.#look(watch);
  }

  /** The connection was lost and is back: nothing that was had before can be relied on. */
  reconnected(): void {
    for (const [name, notice] of this.#untold) this.#tellGone(name, notice);
    this.#untold.clear();
    for (const registration of this.#all()) registration.since = time();
    this.assertAll();
    for (const watch of this.#watches.values()) void this.#look(watch);
  }

  /* ------------------------------------------------- watching ------------------------------------------------ */

  /**
   * Finds out where a name is; `undefined` if nobody has it, or its owner says nothing.
   *
   * @throws {CallError} If the connection is lost.
   */
  async find(name: string): Promise<Place | undefined> {
    const first = this.#registrations.get(name)?.[0];
    if (first?.state === "held") return { node: this.#post.id, isPool: first.isPool };
    const outcome = await this.#ask(this.#post.subjects.of("name", name), [0]);
    if (outcome.kind === "disconnected") throw disconnected(`look up ${JSON.stringify(name)}`);
    return outcome.kind === "at" ? { node: outcome.node, isPool: outcome.isPool } : undefined;
  }

  /** Calls `tell` once nobody has a name any more, or somebody else has it; with the reason, if it is an error. */
  watch(name: string, tell: (error: unknown) => void): Disposable {
    let watch = this.#watches.get(name);
    if (watch === undefined) {
      const end = this.#post.bus.subscribe(
        this.#post.subjects.of("gone", name),
        (delivery) => this.#hearGone(name, delivery),
      );
      watch = new Watch(name, end);
      this.#watches.set(name, watch);
      void this.#look(watch);
    }
    watch.tellers.add(tell);
    return {
      [Symbol.dispose]: () => {
        if (watch.tellers.delete(tell) && watch.tellers.size === 0) this.#unwatch(watch);
      },
    };
  }

  #unwatch(watch: Watch): void {
    watch.end();
    if (this.#watches.get(watch.name) === watch) this.#watches.delete(watch.name);
  }

  #hearGone(name: string, delivery: Delivery): void {
    const value = this.#post.read(delivery);
    if (value === undefined) return;
    const [kind, node, error, text] = Array.isArray(value) ? value : [];
    if (kind !== "gone" || !isId(node)) return this.#post.malformed("notice", delivery.reply);
    const failure = typeof error === "string" && typeof text === "string"
      ? readFailure(error, text)
      : undefined;
    this.#gone(name, node, failure);
  }

  #gone(name: string, node: string, failure: Failure | undefined): void {
    const watch = this.#watches.get(name);
    if (watch === undefined) return;
    if (watch.isLooking || watch.place?.isPool) return void this.#look(watch);
    if (watch.place?.node === node) this.#fire(watch, failure && failed(name, failure));
  }

  /** Takes notice that a node has gone. */
  nodeGone(node: string): void {
    for (const watch of [...this.#watches.values()]) {
      if (watch.place?.node !== node) continue;
      if (watch.place.isPool) void this.#look(watch);
      else this.#fire(watch, new CallError("finished", `The node of ${watch.name} has gone: ${node}`));
    }
  }

  // Again if something has happened meanwhile.
  async #look(watch: Watch): Promise<void> {
    const { heartbeat, deadAfter } = this.#options;
    watch.lookAt = now() + AGAIN * deadAfter;
    watch.isStale = true;
    if (watch.isLooking) return;
    watch.isLooking = true;
    let place: Place | undefined;
    try {
      while (watch.isStale) {
        watch.isStale = false;
        place = await this.find(watch.name);
      }
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
      return; // the connection is lost; it is looked for again when it is back
    } finally {
      watch.isLooking = false;
    }
    if (this.#watches.get(watch.name) !== watch) return;
    if (place !== undefined) return this.#found(watch, place);
    if (watch.place === undefined || watch.isMissed) {
      return this.#fire(watch, new CallError("finished", `Nobody has the name ${watch.name}`));
    }
    watch.isMissed = true;
    watch.lookAt = now() + 1.5 * heartbeat;
  }

  #found(watch: Watch, place: Place): void {
    const before = watch.place;
    watch.place = place;
    watch.isMissed = false;
    if (before === undefined || before.node === place.node || place.isPool) return;
    this.#fire(watch, new CallError("finished", `The name ${watch.name} has another owner`));
  }

  #fire(watch: Watch, error: unknown): void {
    this.#unwatch(watch);
    for (const tell of watch.tellers) tell(error);
  }
}

/** A name that is watched. */
class Watch {
  readonly name: string;
  readonly end: () => void;
  readonly tellers = new Set<(error: unknown) => void>();
  place: Place | undefined; // where it was found last
  isMissed = false; // it was looked for since, and not found
  lookAt = Infinity; // when it is looked for again
  isLooking = false;
  isStale = false; // while it is looked for: what comes out of that may not hold any more

  constructor(name: string, end: () => void) {
    this.name = name;
    this.end = end;
  }
}

function failed(name: string, failure: Failure): CallError {
  const why = `The owner of ${name} has failed: ${failure.name}: ${failure.text}`;
  return new CallError("remote", why, { cause: remoteCause(failure) });
}

function taken(name: string): NameTakenError {
  return new NameTakenError(`Cannot register ${JSON.stringify(name)}: the name is taken`);
}

// By the clock of the library, but in milliseconds that other nodes have, too.
function time(): number {
  return performance.timeOrigin + now();
}

function readClaim(value: unknown): Claim | undefined {
  if (!Array.isArray(value)) return undefined;
  const [kind, node, since, isPool] = value;
  const isClaim = (kind === "claim" || kind === "held") && isId(node) && Number.isFinite(since) &&
    typeof isPool === "boolean";
  return isClaim ? { node, since, isPool } : undefined;
}

function answerTo(
  claim: Claim,
  { state, since, isPool }: Registration,
  node: string,
): "taken" | "yield" | "join" {
  if (isPool && claim.isPool) return "join";
  if (state === "held" || isEarlier({ node, since, isPool }, claim)) return "taken";
  return "yield";
}

function isEarlier(a: Claim, b: Claim): boolean {
  return a.since < b.since || (a.since === b.since && a.node < b.node);
}
