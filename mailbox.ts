/**
 * Mailboxes: ordered queues that one tasklet empties and anyone may fill.
 *
 * Runtime-neutral and pure: no timers, no tasklets; a mailbox knows of its items only their class.
 *
 * @module
 */

/** How a mailbox is bounded. */
export interface MailboxOptions {
  /**
   * How many messages may wait, a positive integer.
   *
   * @default {Infinity}
   */
  capacity?: number | undefined;
  /**
   * What happens to a message that finds the mailbox full: `"refuse"` turns it away (`send` is `false`),
   * `"drop-oldest"` makes room for it.
   *
   * @default {"refuse"}
   */
  overflow?: "refuse" | "drop-oldest" | undefined;
}

/** A class whose instances are `T`. */
// deno-lint-ignore no-explicit-any
export type ClassOf<T> = abstract new (...args: any[]) => T;

// One for all mailboxes in which nothing is: nothing is ever put into it.
const NONE: never[] = [];
// From here on, room that is not needed is given back, and not kept for later.
const SPACIOUS = 1024;

/** A message of an indexed mailbox, with its place in the order of arrival. */
interface Placed<T> {
  readonly place: number;
  readonly item: T;
}

/**
 * An ordered queue of objects that can also be emptied by class.
 *
 * - **Order**: items leave in the order they came, also when only some classes are taken.
 * - **Cost**: O(1) at both ends, and O(1) per class for {@linkcode takeOf}.
 * - **Memory**: what a burst took is given back as it drains.
 *
 * @typeParam T What is queued.
 */
export class Mailbox<T extends object> {
  /** How many messages may wait; `Infinity` without a bound. */
  readonly capacity: number;
  /** What happens to a message that finds the mailbox full. */
  readonly overflow: "refuse" | "drop-oldest";

  // Most mailboxes are only ever emptied in order, and pay for one array. The first `takeOf` moves everything into one ring
  // per class, with places to tell the order; when that has drained, the mailbox is plain again.
  // Invariant: only one of the two has anything in it.
  #plain: (T | undefined)[] = NONE;
  #head = 0; // what stood in #plain before it has been taken
  #indexed: Map<unknown, Deque<Placed<T>>> | undefined;
  #length = 0;
  #taken = 0;
  #firstPlace = 0;
  #nextPlace = 0;

  /**
   * Creates an empty mailbox.
   *
   * @throws {RangeError} If `capacity` is not a positive integer or `Infinity`.
   */
  constructor({ capacity = Infinity, overflow = "refuse" }: MailboxOptions = {}) {
    if (!(capacity === Infinity || Number.isSafeInteger(capacity)) || capacity < 1) {
      throw new RangeError(`Cannot create mailbox: "capacity" must be a positive integer, got ${capacity}`);
    }
    this.capacity = capacity;
    this.overflow = overflow;
  }

  /** How many messages wait. */
  get length(): number {
    return this.#length;
  }

  /** How many have left since the beginning. */
  get taken(): number {
    return this.#taken;
  }

  /** What `take` would take, or `undefined` when empty. */
  get oldest(): T | undefined {
    if (this.#indexed === undefined) return this.#plain[this.#head];
    let oldest: Placed<T> | undefined;
    for (const { first } of this.#indexed.values()) {
      if (first !== undefined && (oldest === undefined || first.place < oldest.place)) oldest = first;
    }
    return oldest?.item;
  }

  /** Adds at the end, whatever the capacity: whoever puts decides what a full mailbox means. */
  put(item: T): void {
    this.#length++;
    if (this.#plain !== NONE) this.#plain.push(item);
    else if (this.#indexed === undefined) this.#plain = [item]; // a literal: an empty one grows to 17 places at once
    else this.#ringOf(this.#indexed, item).push({ place: this.#nextPlace++, item });
  }

  /** Adds at the front: what was taken by mistake is the next to leave. */
  putBack(item: T): void {
    this.#length++;
    this.#taken--;
    if (this.#indexed !== undefined) {
      return this.#ringOf(this.#indexed, item).unshift({ place: --this.#firstPlace, item });
    }
    if (this.#head === 0) this.#makeRoom();
    this.#plain[--this.#head] = item;
  }

  // In front, for half as many as there are: then each costs O(1) on average, and `take` does not give it back at once.
  #makeRoom(): void {
    this.#head = 1 + (this.#plain.length >> 1);
    this.#plain = [...new Array<undefined>(this.#head), ...this.#plain];
  }

  /** Takes the oldest, or `undefined` when empty. */
  take(): T | undefined {
    if (this.#length === 0) return undefined;
    if (this.#indexed !== undefined) return this.#takeFrom(this.#indexed.values());
    const item = this.#plain[this.#head];
    this.#plain[this.#head++] = undefined;
    this.#length--;
    this.#taken++;
    if (this.#length === 0) this.#empty();
    else if (this.#head > SPACIOUS && this.#head > this.#length) {
      this.#plain = this.#plain.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** Takes all there is, oldest first. */
  takeAll(): T[] {
    const all: T[] = [];
    if (this.#indexed !== undefined) {
      for (let item = this.take(); item !== undefined; item = this.take()) all.push(item);
    }
    if (this.#length === 0) return all;
    const items = this.#head === 0 ? this.#plain : this.#plain.slice(this.#head);
    this.#taken += this.#length;
    this.#length = 0;
    this.#empty();
    return items as T[];
  }

  #empty(): void {
    this.#plain = NONE;
    this.#head = 0;
  }

  /** Takes the oldest that is an instance of one of `classes`, or `undefined`; the others stay where they are. */
  takeOf(classes: readonly ClassOf<T>[]): T | undefined {
    if (this.#length === 0) return undefined;
    this.#indexed ??= this.#index();
    const rings: Deque<Placed<T>>[] = [];
    for (const [of, ring] of this.#indexed) if (includes(classes, of as ClassOf<T>)) rings.push(ring);
    return this.#takeFrom(rings);
  }

  #takeFrom(rings: Iterable<Deque<Placed<T>>>): T | undefined {
    let oldest: Deque<Placed<T>> | undefined;
    for (const ring of rings) {
      if (ring.length > 0 && (oldest === undefined || ring.first!.place < oldest.first!.place)) oldest = ring;
    }
    if (oldest === undefined) return undefined;
    this.#taken++;
    if (--this.#length === 0) this.#indexed = undefined;
    return oldest.shift()!.item;
  }

  #index(): Map<unknown, Deque<Placed<T>>> {
    const index = new Map<unknown, Deque<Placed<T>>>();
    this.#firstPlace = this.#nextPlace = 0;
    for (let i = this.#head; i < this.#plain.length; i++) {
      const item = this.#plain[i]!;
      this.#ringOf(index, item).push({ place: this.#nextPlace++, item });
    }
    this.#empty();
    return index;
  }

  #ringOf(index: Map<unknown, Deque<Placed<T>>>, item: T): Deque<Placed<T>> {
    let ring = index.get(item.constructor);
    if (ring === undefined) index.set(item.constructor, ring = new Deque());
    return ring;
  }
}

/** Whether instances of `of` are instances of one of `classes`. */
export function includes<T>(classes: readonly ClassOf<T>[], of: ClassOf<T>): boolean {
  for (const each of classes) if (of === each || of.prototype instanceof each) return true;
  return false;
}

const SMALLEST = 8;

/**
 * A double-ended queue in a ring whose size is a power of two.
 *
 * It doubles when full and, above 1024 places, halves when three quarters are empty: both ends cost O(1) on average, and a
 * drained burst keeps little memory.
 */
export class Deque<T> {
  #ring: (T | undefined)[] = new Array(SMALLEST);
  #head = 0;
  #length = 0;

  /** How many items there are. */
  get length(): number {
    return this.#length;
  }

  /** The item that leaves next, or `undefined` when empty. */
  get first(): T | undefined {
    return this.#ring[this.#head];
  }

  /** Adds at the end. */
  push(item: T): void {
    if (this.#length === this.#ring.length) this.#resize(this.#length * 2);
    this.#ring[(this.#head + this.#length) & (this.#ring.length - 1)] = item;
    this.#length++;
  }

  /** Adds at the front. */
  unshift(item: T): void {
    if (this.#length === this.#ring.length) this.#resize(this.#length * 2);
    this.#head = (this.#head - 1) & (this.#ring.length - 1);
    this.#ring[this.#head] = item;
    this.#length++;
  }

  /** Takes from the front, or `undefined` when empty. */
  shift(): T | undefined {
    if (this.#length === 0) return undefined;
    const item = this.#ring[this.#head];
    this.#ring[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#ring.length - 1);
    this.#length--;
    if (this.#length < this.#ring.length / 4 && this.#ring.length > SPACIOUS) {
      this.#resize(this.#ring.length / 2);
    }
    return item;
  }

  #resize(size: number): void {
    const ring = new Array<T | undefined>(size);
    for (let i = 0; i < this.#length; i++) ring[i] = this.#ring[(this.#head + i) & (this.#ring.length - 1)];
    this.#ring = ring;
    this.#head = 0;
  }
}

/** Who can stand in a {@linkcode Line}. */
export interface Place<P> {
  /** Who stands before it. Kept by the line alone. */
  earlier: P | undefined;
  /** Who stands behind it. Kept by the line alone. */
  later: P | undefined;
}

/** Those who wait, in the order they came; whoever leaves knows its neighbours, so that nobody has to look for it. */
export class Line<P extends Place<P>> {
  /** How many there are. */
  length = 0;
  /** Who came first. */
  first: P | undefined;
  #last: P | undefined;

  /** Adds at the end. */
  join(place: P): void {
    this.length++;
    place.earlier = this.#last;
    if (this.#last !== undefined) this.#last.later = place;
    else this.first = place;
    this.#last = place;
  }

  /** Takes out. Whether it stood in the line. */
  leave(place: P): boolean {
    if (place.earlier === undefined && place !== this.first) return false;
    this.length--;
    if (place.earlier !== undefined) place.earlier.later = place.later;
    else this.first = place.later;
    if (place.later !== undefined) place.later.earlier = place.earlier;
    else this.#last = place.earlier;
    place.earlier = place.later = undefined;
    return true;
  }
}
