import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { Deque, includes, Mailbox, type MailboxOptions } from "../mailbox.ts";
import { collectGarbage, growth } from "./garbage.ts";

class Item {
  readonly id: number;
  constructor(id: number) {
    this.id = id;
  }
}
class Animal extends Item {}
class Cat extends Animal {}
class Dog extends Animal {}
class Plant extends Item {}

const KINDS = [Animal, Cat, Dog, Plant] as const;
type Kind = typeof Item;

const BURST = 1_000_000;
const MIB = 2 ** 20;

// ------------------------------------------------------------------------------------------------
// Mailbox: what it is made with

Deno.test("new Mailbox() is empty, unbounded and refuses by default", () => {
  const { length, capacity, overflow } = new Mailbox();
  assertEquals({ length, capacity, overflow }, { length: 0, capacity: Infinity, overflow: "refuse" });
});

Deno.test("new Mailbox() keeps the capacity and the overflow it was given", () => {
  const { capacity, overflow } = new Mailbox({ capacity: 3, overflow: "drop-oldest" });
  assertEquals({ capacity, overflow }, { capacity: 3, overflow: "drop-oldest" });
  assertEquals(new Mailbox({ capacity: undefined }).capacity, Infinity);
});

Deno.test("new Mailbox() refuses a capacity that is no positive integer, naming it", () => {
  const bad: unknown[] = [0, -1, 1.5, NaN, -Infinity, 2 ** 53, "3", null, 3n];
  const log: string[] = [];
  for (const capacity of bad) {
    const error = assertThrows(() => new Mailbox({ capacity } as MailboxOptions), RangeError);
    log.push(error.message);
  }
  const why = `Cannot create mailbox: "capacity" must be a positive integer, got `;
  assertEquals(log, bad.map((capacity) => why + capacity));
});

// ------------------------------------------------------------------------------------------------
// Mailbox.put(), putBack(), take()

Deno.test("Mailbox.take() gives items in the order they were put, then undefined", () => {
  const mailbox = new Mailbox<Item>();
  for (let id = 0; id < 100; id++) mailbox.put(new Item(id));
  assertEquals(mailbox.length, 100);
  assertEquals(idsOf(drain(mailbox)), range(100));
  assertEquals([mailbox.take(), mailbox.length], [undefined, 0]);
});

Deno.test("Mailbox.putBack() makes the item the next to leave", () => {
  const mailbox = new Mailbox<Item>();
  for (let id = 0; id < 3; id++) mailbox.put(new Item(id));
  mailbox.putBack(mailbox.take()!);
  mailbox.putBack(new Item(-1));
  mailbox.putBack(new Item(-2));
  assertEquals(mailbox.length, 5);
  assertEquals(idsOf(drain(mailbox)), [-2, -1, 0, 1, 2]);
});

Deno.test("Mailbox.put() and putBack() leave it to their caller what a full mailbox means", () => {
  const mailbox = new Mailbox<Item>({ capacity: 1 });
  for (let id = 0; id < 3; id++) mailbox.put(new Item(id));
  mailbox.putBack(new Item(-1));
  assertEquals([mailbox.length, idsOf(drain(mailbox))], [4, [-1, 0, 1, 2]]);
});

Deno.test("Mailbox.takeAll() gives what is there in order, and keeps none of what comes later from it", () => {
  const mailbox = new Mailbox<Item>();
  assertEquals(mailbox.takeAll(), []);
  for (let id = 0; id < 4; id++) mailbox.put(new Item(id));
  const first = mailbox.take()!.id;
  const all = mailbox.takeAll();
  mailbox.put(new Item(4));
  const next = mailbox.takeAll();
  mailbox.put(new Item(5));
  assertEquals([first, idsOf(all), idsOf(next), mailbox.length, mailbox.taken], [0, [1, 2, 3], [4], 1, 5]);
});

Deno.test("Mailbox, Cost: O(1) at both ends: it copies a few items per operation at most", () => {
  const n = 20_000;
  const patterns: Record<string, (mailbox: Mailbox<Item>, item: Item) => void> = {
    "filled, then all put back": (mailbox, item) => {
      for (let i = 0; i < n; i++) mailbox.put(item);
      for (const each of drain(mailbox)) mailbox.putBack(each);
    },
    "filled from the front and drained": (mailbox, item) => {
      for (let i = 0; i < n; i++) mailbox.putBack(item);
      drain(mailbox);
    },
    "never empty": (mailbox, item) => {
      for (let i = 0; i < 3000; i++) mailbox.put(item);
      for (let i = 0; i < n; i++) mailbox.put(mailbox.take()!);
    },
    "to and fro where it gives room back": (mailbox, item) => {
      for (let i = 0; i < 4096; i++) mailbox.put(item);
      for (let i = 0; i < n; i++) for (let k = 0; k < 3; k++) mailbox.putBack(mailbox.take()!);
      for (let i = 0; i < 2049; i++) mailbox.take();
      for (let i = 0; i < n; i++) mailbox.putBack(mailbox.take()!);
    },
  };
  const expensive: string[] = [];
  for (const [name, pattern] of Object.entries(patterns)) {
    const copied = copiedBy(() => pattern(new Mailbox(), new Item(0)));
    if (copied > 8 * n) expensive.push(`${name}: ${copied} items copied in ${n} operations`);
  }
  assertEquals(expensive, []);
});

// ------------------------------------------------------------------------------------------------
// Mailbox.takeOf()

Deno.test("Mailbox.takeOf() takes the oldest of a class with its subclasses and leaves the others in order", () => {
  const mailbox = new Mailbox<Item>();
  [Plant, Cat, Dog, Plant, Animal, Cat].forEach((Kind, id) => mailbox.put(new Kind(id)));
  const log = {
    cat: mailbox.takeOf([Cat])?.id,
    animals: [1, 2, 3].map(() => mailbox.takeOf([Animal])?.id),
    noMore: mailbox.takeOf([Animal]),
    rest: idsOf(drain(mailbox)),
  };
  assertEquals(log, { cat: 1, animals: [2, 4, 5], noMore: undefined, rest: [0, 3] });
});

Deno.test("Mailbox.takeOf() with several classes takes the oldest of them all", () => {
  const mailbox = new Mailbox<Item>();
  [Animal, Dog, Plant, Cat, Dog].forEach((Kind, id) => mailbox.put(new Kind(id)));
  const taken = [1, 2, 3, 4].map(() => mailbox.takeOf([Cat, Plant, Dog])?.id);
  assertEquals([taken, idsOf(drain(mailbox))], [[1, 2, 3, 4], [0]]);
});

Deno.test("Mailbox.takeOf() of no class takes nothing", () => {
  const mailbox = new Mailbox<Item>();
  assertEquals(mailbox.takeOf([Item]), undefined);
  mailbox.put(new Cat(0));
  assertEquals([mailbox.takeOf([]), mailbox.length], [undefined, 1]);
});

Deno.test("Mailbox.putBack() goes to the front also between takes by class", () => {
  const mailbox = new Mailbox<Item>();
  [Cat, Dog, Cat, Dog].forEach((Kind, id) => mailbox.put(new Kind(id)));
  const dog = mailbox.takeOf([Dog])!;
  mailbox.put(new Plant(4));
  mailbox.putBack(dog);
  mailbox.putBack(new Cat(-1));
  assertEquals(idsOf(drain(mailbox)), [-1, 1, 0, 2, 3, 4]);
});

Deno.test("Mailbox.takeOf() costs work for each kind of item, not for each item that is queued", () => {
  let looks = 0;
  class Counted extends Item {
    static override [Symbol.hasInstance](value: unknown): boolean {
      looks++;
      return Function.prototype[Symbol.hasInstance].call(this, value);
    }
  }
  class Wanted extends Counted {}
  const mailbox = new Mailbox<Item>();
  for (let id = 0; id < 10_000; id++) mailbox.put(new Plant(id));
  for (let id = 0; id < 100; id++) mailbox.put(new Wanted(id));
  const taken = range(100).map(() => mailbox.takeOf([Counted])!.id);
  assertEquals(taken, range(100));
  assert(looks <= 2 * 100, `${looks} looks at classes for 100 takes among two kinds`);
});

Deno.test("Mailbox.takeOf() sorts what is queued once, not at every take", () => {
  let reads = 0;
  class Read extends Item {}
  Object.defineProperty(Read.prototype, "constructor", { get: () => (reads++, Read) });
  const mailbox = new Mailbox<Item>();
  for (let id = 0; id < 1000; id++) mailbox.put(new Read(id));
  for (let id = 0; id < 1000; id++) {
    mailbox.put(new Cat(id));
    mailbox.takeOf([Cat]);
    mailbox.takeOf([Dog]);
  }
  assertEquals(mailbox.length, 1000);
  assert(reads <= 2 * 1000, `${reads} looks at 1000 items that nobody takes`);
});

// ------------------------------------------------------------------------------------------------
// Mailbox: memory

Deno.test("Mailbox gives back the memory of a burst of a million when it is drained in order", async () => {
  const mailbox = new Mailbox<Item>();
  const left = await growth(() => {
    for (let id = 0; id < BURST; id++) mailbox.put(new Item(id));
    for (let id = 0; id < BURST; id++) assert(mailbox.take()!.id === id);
  });
  assert(left < MIB, `${left} bytes are left`);
  assertEquals(mailbox.take(), undefined);
});

Deno.test("Mailbox gives back the memory of a burst of a million when it is drained by class", async () => {
  const mailbox = new Mailbox<Item>();
  const left = await growth(() => {
    for (let id = 0; id < BURST; id++) mailbox.put(id % 2 === 0 ? new Cat(id) : new Plant(id));
    for (let id = 0; id < BURST; id += 2) assert(mailbox.takeOf([Animal])!.id === id);
    for (let id = 1; id < BURST; id += 2) assert(mailbox.takeOf([Plant])!.id === id);
  });
  assert(left < MIB, `${left} bytes are left`);
  assertEquals(mailbox.take(), undefined);
});

Deno.test("Mailbox gives back the memory of a burst of a million while one item stays", async () => {
  const mailbox = new Mailbox<Item>();
  mailbox.put(new Plant(-1));
  const left = await growth(() => {
    for (let id = 0; id < BURST; id++) mailbox.put(new Cat(id));
    for (let id = 0; id < BURST; id++) assert(mailbox.takeOf([Cat])!.id === id);
  });
  assert(left < MIB, `${left} bytes are left`);
  assertEquals(mailbox.take()?.id, -1);
});

Deno.test("Mailbox holds on to nothing that it has given away", async () => {
  const mailbox = new Mailbox<Item>();
  mailbox.put(new Plant(0));
  const taken = (() => {
    for (let id = 0; id < 20; id++) mailbox.put(new Cat(id));
    return range(20).map((id) =>
      new WeakRef(id % 2 === 0 ? mailbox.takeOf([Cat])! : mailbox.takeOf([Animal])!)
    );
  })();
  await new Promise((resolve) => setTimeout(resolve)); // a WeakRef keeps its target for the turn it was made in
  collectGarbage();
  assertEquals(taken.filter((ref) => ref.deref() !== undefined).length, 0);
  assertEquals(mailbox.length, 1);
});

// ------------------------------------------------------------------------------------------------
// includes()

Deno.test("includes() tells classes with their subclasses", () => {
  const log = KINDS.map((of) => [includes([Animal], of), includes([Cat, Plant], of), includes([], of)]);
  assertEquals(log, [
    [true, false, false],
    [true, true, false],
    [true, false, false],
    [false, true, false],
  ]);
});

// ------------------------------------------------------------------------------------------------
// Deque

Deno.test("Deque takes at both ends and gives from the front", () => {
  const deque = new Deque<number>();
  for (const n of [3, 4, 5]) deque.push(n);
  for (const n of [2, 1, 0]) deque.unshift(n);
  assertEquals([deque.length, deque.first], [6, 0]);
  assertEquals(range(7).map(() => deque.shift()), [0, 1, 2, 3, 4, 5, undefined]);
  assertEquals([deque.length, deque.first], [0, undefined]);
});

Deno.test("Deque.first is undefined after a drain, whatever stood there", () => {
  const deque = new Deque<number>();
  for (let n = 0; n < 100; n++) deque.push(n);
  for (let n = 0; n < 100; n++) deque.shift();
  assertEquals([deque.first, deque.shift(), deque.length], [undefined, undefined, 0]);
});

Deno.test("Deque costs O(1) at both ends: it makes room for a few items per operation at most", () => {
  const n = 100_000;
  const patterns: Record<string, (deque: Deque<number>) => void> = {
    "fill and drain": (deque) => {
      for (let i = 0; i < n; i++) deque.push(i);
      for (let i = 0; i < n; i++) deque.shift();
    },
    "fill from the front and drain": (deque) => {
      for (let i = 0; i < n; i++) deque.unshift(i);
      for (let i = 0; i < n; i++) deque.shift();
    },
    "steady": (deque) => {
      for (let i = 0; i < 3000; i++) deque.push(i);
      for (let i = 0; i < n; i++) deque.push(deque.shift()!);
    },
    "to and fro where it grows": (deque) => {
      for (let i = 0; i < 4096; i++) deque.push(i);
      for (let i = 0; i < n; i++) (deque.push(i), deque.shift());
    },
    "to and fro where it shrinks": (deque) => {
      for (let i = 0; i < 4096; i++) deque.push(i);
      while (deque.length > 1024) deque.shift();
      for (let i = 0; i < n; i++) (deque.shift(), deque.unshift(i));
    },
  };
  const expensive: string[] = [];
  for (const [name, pattern] of Object.entries(patterns)) {
    const slots = slotsMadeBy(() => pattern(new Deque()));
    if (slots > 4 * n) expensive.push(`${name}: ${slots} slots for ${n} operations`);
  }
  assertEquals(expensive, []);
});

// ------------------------------------------------------------------------------------------------
// Properties: any program does what it would do to a plain array

type Step =
  | { do: "put" | "putBack"; kind: number; times: number }
  | { do: "take" | "takeAll"; times: number }
  | { do: "takeOf"; kinds: number[]; times: number };

const kind = fc.nat({ max: KINDS.length - 1 });
const few = fc.nat({ max: 5 });
// Now and then enough to make rings grow and shrink.
const times = fc.oneof({ weight: 20, arbitrary: few }, { weight: 1, arbitrary: fc.nat({ max: 3000 }) });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constantFrom("put" as const, "putBack" as const), kind, times }),
  fc.record({ do: fc.constant("take" as const), times }),
  fc.record({ do: fc.constant("takeAll" as const), times: fc.constant(1) }),
  fc.record({ do: fc.constant("takeOf" as const), kinds: fc.uniqueArray(kind), times }),
);

Deno.test("Mailbox does what a plain array would, for random programs", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (program) => {
      const mailbox = new Mailbox<Item>();
      const model: Item[] = [];
      let created = 0;
      const run: Record<Step["do"], (step: never) => void> = {
        put({ kind }: { kind: number }) {
          const item = new KINDS[kind]!(created++);
          mailbox.put(item);
          model.push(item);
        },
        putBack({ kind }: { kind: number }) {
          const item = new KINDS[kind]!(created++);
          mailbox.putBack(item);
          model.unshift(item);
        },
        take() {
          assert(mailbox.take() === model.shift());
        },
        takeAll() {
          assertEquals(idsOf(mailbox.takeAll()), idsOf(model.splice(0)));
        },
        takeOf({ kinds }: { kinds: number[] }) {
          const classes: Kind[] = kinds.map((kind) => KINDS[kind]!);
          const at = model.findIndex((item) => classes.some((each) => item instanceof each));
          assert(mailbox.takeOf(classes) === (at < 0 ? undefined : model.splice(at, 1)[0]));
        },
      };
      for (const step of program) {
        for (let i = 0; i < step.times; i++) {
          run[step.do](step as never);
          assert(mailbox.length === model.length && mailbox.oldest === model[0]);
        }
      }
      assertEquals(idsOf(drain(mailbox)), idsOf(model));
    }),
    { numRuns: 500 },
  );
});

Deno.test("Deque does what a plain array would, for random programs", () => {
  const step = fc.tuple(fc.constantFrom("push" as const, "unshift" as const, "shift" as const), times);
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (program) => {
      const deque = new Deque<number>();
      const model: number[] = [];
      let created = 0;
      for (const [method, times] of program) {
        for (let i = 0; i < times; i++) {
          if (method === "shift") assert(deque.shift() === model.shift());
          else deque[method](created), model[method](created++);
          assert(deque.length === model.length && deque.first === model[0]);
        }
      }
      assertEquals(range(model.length).map(() => deque.shift()), model);
    }),
    { numRuns: 500 },
  );
});

// ------------------------------------------------------------------------------------------------

function drain(mailbox: Mailbox<Item>): Item[] {
  const items: Item[] = [];
  for (let item = mailbox.take(); item !== undefined; item = mailbox.take()) items.push(item);
  return items;
}

function idsOf(items: Item[]): number[] {
  return items.map((item) => item.id);
}

function range(length: number): number[] {
  return Array.from({ length }, (_, i) => i);
}

/** How many array slots `new Array(size)` makes in `f`: every ring is made so, and only filled by copying. */
function slotsMadeBy(f: () => void): number {
  let slots = 0;
  const Original = globalThis.Array;
  globalThis.Array = new Proxy(Original, {
    construct(target, [size]: [number]) {
      slots += size;
      return new target(size);
    },
  });
  try {
    f();
  } finally {
    globalThis.Array = Original;
  }
  assert(slots > 0, "no ring was made by new Array(size): count its work in another way");
  return slots;
}

/** How many items of arrays `f` copies: by `slice`, or by spreading them. */
function copiedBy(f: () => void): number {
  let copied = 0;
  const { slice, [Symbol.iterator]: iterator } = Array.prototype;
  const count = <A extends unknown[], R>(method: (this: unknown[], ...args: A) => R) =>
    function (this: unknown[], ...args: A): R {
      copied += this.length;
      return method.apply(this, args);
    };
  Array.prototype.slice = count(slice);
  Array.prototype[Symbol.iterator] = count(iterator);
  try {
    f();
  } finally {
    Object.assign(Array.prototype, { slice, [Symbol.iterator]: iterator });
  }
  assert(copied > 0, "nothing was copied by slicing or spreading: count its work in another way");
  return copied;
}
