import { assertEquals, assertThrows } from "@std/assert";
import { TaskLocal } from "../local.ts";
import { Message } from "../message.ts";
import { Tasklet } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";

class MSG_NOTE extends Message("MSG_NOTE")<[what: string]> {}

// TaskLocal.get

Deno.test("TaskLocal.get() is the initial value where none was set, and outside of any tasklet", async () => {
  const user = new TaskLocal("nobody");
  const trace = new TaskLocal<string | undefined>();
  const task = Tasklet.new(() => [user.get(), trace.get()])();
  assertEquals([user.get(), trace.get(), ...await task.join()], ["nobody", undefined, "nobody", undefined]);
});

Deno.test("TaskLocal.get() is right across wait points, plain promises and timers", async () => {
  await using _ = virtualTime();
  const user = new TaskLocal("nobody");
  const log: string[] = [];
  async function body(name: string) {
    using _ = user.set(name);
    await Tasklet.sleep(10);
    log.push(user.get());
    await Promise.resolve();
    log.push(user.get());
    await new Promise<void>((resolve) => setTimeout(() => (log.push(user.get()), resolve()), 0));
  }
  await Tasklet.joinAll([Tasklet.new(body)("Jane"), Tasklet.new(body)("Zak")]);
  assertEquals(log, ["Jane", "Zak", "Jane", "Zak", "Jane", "Zak"]);
});

Deno.test("TaskLocal.get() tells task locals apart, also when they hold the same", async () => {
  const one = new TaskLocal("1");
  const two = new TaskLocal("1");
  const log = await Tasklet.new(() => {
    using _ = one.set("one");
    const inside = [one.get(), two.get()];
    using __ = two.set("two");
    return [...inside, one.get(), two.get()];
  })().join();
  assertEquals(log, ["one", "1", "one", "two"]);
});

Deno.test("TaskLocal.get() gives values that look like none", async () => {
  const value = new TaskLocal<unknown>("initial");
  const log = await Tasklet.new(() =>
    [undefined, null, 0, ""].map((each) => {
      using _ = value.set(each);
      return value.get();
    })
  )().join();
  assertEquals(log, [undefined, null, 0, ""]);
});

// TaskLocal.set

Deno.test("TaskLocal.set() holds until disposed, which is harmless twice", async () => {
  const user = new TaskLocal("nobody");
  const log = await Tasklet.new(() => {
    const jane = user.set("Jane");
    const log = [user.get()];
    jane[Symbol.dispose]();
    log.push(user.get());
    using _ = user.set("Zak");
    jane[Symbol.dispose]();
    log.push(user.get());
    return log;
  })().join();
  assertEquals(log, ["Jane", "nobody", "Zak"]);
});

Deno.test("TaskLocal.set() throws outside of a tasklet, and in the name of one that has finished", async () => {
  const user = new TaskLocal("nobody");
  assertThrows(() => user.set("Jane"), Error, "no tasklet is running");
  const { promise, resolve } = Promise.withResolvers<void>();
  const { promise: tried, resolve: report } = Promise.withResolvers<unknown>();
  const task = Tasklet.new(() => {
    user.set("Jane");
    void promise.then(() => {
      assertThrows(() => user.set("Zak"), Error, "no tasklet is running");
      report(user.get());
    }).catch(report);
  })();
  await task.join();
  resolve();
  assertEquals([await tried, task.locals], ["nobody", undefined]); // it remembers nothing
});

Deno.test("TaskLocal.set() holds for the children and the cleanup of a tasklet whose body has ended", async () => {
  await using _ = virtualTime();
  const user = new TaskLocal("nobody");
  const log: string[] = [];
  const killed = Tasklet.new(async () => {
    user.set("Jane");
    Tasklet.later(10, () => log.push(`child of ${user.get()}`))();
    try {
      await Tasklet.sleep(20);
    } finally {
      log.push(`cleanup of ${user.get()}`);
    }
  })();
  const returned = Tasklet.new(() => {
    user.set("Zak");
    Tasklet.later(10, () => log.push(`child of ${user.get()}`))();
  })();
  await Tasklet.sleep(15);
  await killed.kill();
  await returned.join();
  assertEquals(log, ["child of Jane", "child of Zak", "cleanup of Jane"]);
});

Deno.test("Disposing what TaskLocal.set() returned acts on the tasklet that set it, whoever does it", async () => {
  const user = new TaskLocal("nobody");
  const { promise, resolve } = Promise.withResolvers<void>();
  let jane!: Disposable;
  const setter = Tasklet.new(async () => {
    jane = user.set("Jane");
    await promise;
    return user.get();
  })();
  await Tasklet.yield();
  const other = Tasklet.new(() => {
    using _ = user.set("Zak");
    jane[Symbol.dispose]();
    return user.get();
  })();
  const left = await other.join();
  resolve();
  assertEquals([left, await setter.join()], ["Zak", "nobody"]);
  jane[Symbol.dispose](); // after its end
});

// The guarantees

Deno.test("TaskLocal: Inheritance: a child has what its parent had when it created the child, and keeps it", async () => {
  await using _ = virtualTime();
  const user = new TaskLocal("nobody");
  const look = () => Tasklet.sleep(10).then(() => user.get());
  const log = await Tasklet.new(async () => {
    const before = Tasklet.new(look)();
    const jane = user.set("Jane");
    const during = Tasklet.new(() => {
      const grandchild = Tasklet.new(look)();
      using _ = user.set("Zak");
      return grandchild.join();
    })();
    jane[Symbol.dispose]();
    const after = Tasklet.new(look)();
    return await Tasklet.joinAll([before, during, after]);
  })().join();
  assertEquals(log, ["nobody", "Jane", "nobody"]);
});

Deno.test("TaskLocal: Inheritance: scope, later, interval, loop and receiver have the values, a daemon has not", async () => {
  await using _ = virtualTime();
  const user = new TaskLocal("nobody");
  const log: string[] = [];
  const note = (what: string) => void log.push(`${what} ${user.get()}`);
  const task = Tasklet.new(async () => {
    const jane = user.set("Jane");
    Tasklet.later(10, note)("later");
    Tasklet.interval(10, note)("interval");
    Tasklet.loop((what: string) => Tasklet.sleep(10).then(() => note(what)))("loop");
    MSG_NOTE.send(Tasklet.receiver((msg: MSG_NOTE) => note(msg.args[0])))("receiver");
    Tasklet.new(note, { daemon: true })("daemon");
    const result = await Tasklet.scope(() => {
      note("scope");
      user.set("Zak"); // until the scope has ended
      Tasklet.new(note)("child of scope");
      return user.get();
    });
    note(`after ${result}`);
    jane[Symbol.dispose]();
    await Tasklet.sleep(15);
  })();
  await Tasklet.sleep(15);
  await task.kill();
  assertEquals(log, [
    "daemon nobody",
    "scope Jane",
    "receiver Jane",
    "child of scope Zak",
    "after Zak Jane",
    "later Jane",
    "interval Jane",
    "loop Jane",
  ]);
});

Deno.test("TaskLocal: Nesting: disposing a value brings the one before back, in whichever order", async () => {
  const user = new TaskLocal("nobody");
  const orders = ["abc", "acb", "bac", "bca", "cab", "cba"];
  const log = await Tasklet.new(() =>
    orders.map((order) => {
      const set = Object.fromEntries(["a", "b", "c"].map((name) => [name, user.set(name)]));
      return [...order].map((name) => {
        set[name]![Symbol.dispose]();
        return user.get();
      }).join(" ");
    })
  )().join();
  assertEquals(log, ["c c nobody", "c b nobody", "c c nobody", "c a nobody", "b b nobody", "b a nobody"]);
});

Deno.test("TaskLocal: Nesting: a child is not touched when its parent disposes in whichever order", async () => {
  await using _ = virtualTime();
  const user = new TaskLocal("nobody");
  const log: string[] = [];
  await Tasklet.new(async () => {
    const jane = user.set("Jane");
    const zak = user.set("Zak");
    Tasklet.new(async () => {
      const own = user.set("own");
      await Tasklet.sleep(10);
      log.push(user.get());
      own[Symbol.dispose]();
      log.push(user.get());
      jane[Symbol.dispose](); // the parent's
      zak[Symbol.dispose]();
      log.push(user.get());
    })();
    await Tasklet.sleep(5);
    jane[Symbol.dispose]();
    log.push(user.get());
    await Tasklet.sleep(10);
    log.push(user.get());
  })().join();
  assertEquals(log, ["Zak", "own", "Zak", "Zak", "nobody"]);
});

Deno.test("TaskLocal: Nesting: of very many values the oldest can be disposed first", async () => {
  const depth = new TaskLocal(0);
  const log = await Tasklet.new(() => {
    const oldest = depth.set(1);
    for (let n = 2; n <= 100_000; n++) depth.set(n);
    oldest[Symbol.dispose]();
    return depth.get();
  })().join();
  assertEquals(log, 100_000);
});

Deno.test("TaskLocal: Isolation: what a tasklet sets is seen by no other that runs already", async () => {
  await using _ = virtualTime();
  const user = new TaskLocal("nobody");
  const log: string[] = [];
  const note = (who: string) => void log.push(`${who}: ${user.get()}`);
  await Tasklet.new(async () => {
    using _ = user.set("root");
    const child = Tasklet.new(async () => {
      await Tasklet.sleep(10);
      note("child");
      using _ = user.set("child");
      await Tasklet.sleep(10);
    })();
    Tasklet.new(() => Tasklet.sleep(15).then(() => note("sibling")))();
    await Tasklet.sleep(5);
    using __ = user.set("parent, later");
    await child.join();
    note("parent");
  })().join();
  assertEquals([log, user.get()], [["child: root", "sibling: root", "parent: parent, later"], "nobody"]);
});

// Types

Deno.test("TaskLocal types what it holds, and asks for an initial value where undefined is none", () => {
  const never = () => {
    const user = new TaskLocal("nobody");
    user.get() satisfies string;
    // @ts-expect-error: a number is no string
    user.set(1);
    // @ts-expect-error: a number needs an initial value
    new TaskLocal<number>();
    new TaskLocal<number | undefined>().get() satisfies number | undefined;
    // @ts-expect-error: whoever sets the wider would break who gets the narrower
    new TaskLocal<string>("") satisfies TaskLocal<string | number>;
    // @ts-expect-error: whoever gets the narrower would be given the wider
    new TaskLocal<string | number>("") satisfies TaskLocal<string>;
  };
  void never;
});
