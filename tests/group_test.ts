import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { Group, MSG_JOINED, MSG_LEFT } from "../group.ts";
import { type AnyMessage, Message, type Receiver } from "../message.ts";
import { type AnyTasklet, type Self, Tasklet } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { catchReports } from "./reports.ts";
import { collectGarbage } from "./garbage.ts";
import { endAll, parked, textOf } from "./members.ts";

class MSG_SAY extends Message("MSG_SAY")<[text: string]> {}
class MSG_ASK extends Message("MSG_ASK")<[question: string], string> {}
class MSG_GO_ON extends Message("MSG_GO_ON") {}

// ------------------------------------------------------------------------------------------------
// Group.join(), leave(), has(), size

Deno.test("Group.join() makes a member of the running tasklet or the one given, once", async () => {
  const group = new Group();
  const given = parked("given");
  const log: unknown[] = [group.join(given), group.join(given), group.has(given), group.size];
  const own = Tasklet.new(async () => {
    log.push(group.has(own), group.join(), group.join(), group.has(own), group.size);
    await Tasklet.suspend(() => {});
  })();
  await Tasklet.yield();
  assertEquals(log, [true, false, true, 1, false, true, false, true, 2]);
  await endAll(group);
});

Deno.test("Group.join() is false for a tasklet that has finished, in whichever way", async () => {
  await using _ = virtualTime();
  using reports = catchReports();
  const group = new Group();
  const done = Tasklet.new(() => {})();
  const failed = Tasklet.new(() => Promise.reject(new Error("No luck")))();
  const killed = parked();
  await Promise.all([done.join(), failed.join().catch(() => {}), killed.kill()]);
  const { promise, resolve } = Promise.withResolvers<void>();
  const abandoned = Tasklet.new(() => promise)();
  await Tasklet.yield();
  await abandoned.kill({ grace: 10 });
  assertEquals([done, failed, killed, abandoned].map((task) => group.join(task)), [
    false,
    false,
    false,
    false,
  ]);
  assertEquals([group.size, [...group], reports.texts.length], [0, [], 1]);
  resolve();
});

Deno.test("Group.leave() ends the membership of the running tasklet or the one given", async () => {
  const group = new Group();
  const given = parked("given");
  group.join(given);
  const log: unknown[] = [group.leave(given), group.leave(given), group.has(given), group.size];
  await Tasklet.new(() => {
    group.join();
    log.push(group.leave(), group.leave(), group.size);
  })().join();
  assertEquals(log, [true, false, false, 0, true, false, 0]);
  await given.kill();
});

Deno.test("Group.join(), leave() and monitor() of nobody throw outside of a tasklet", () => {
  const group = new Group("lobby");
  assertThrows(() => group.join(), Error, "Cannot join lobby: no tasklet is running");
  assertThrows(() => group.leave(), Error, "Cannot leave lobby: no tasklet is running");
  assertThrows(() => group.monitor(), Error, "Cannot monitor lobby: no tasklet is running");
});

Deno.test("Group.toString() is its name", () => {
  assertEquals([`${new Group("lobby")}`, `${new Group()}`], ["lobby", "group"]);
});

// ------------------------------------------------------------------------------------------------
// The guarantees

Deno.test("Group: Membership: a member leaves by ending, before its joiners go on", async () => {
  await using _ = virtualTime();
  using reports = catchReports();
  const group = new Group();
  const returning = Tasklet.new(() => Tasklet.sleep(10))();
  const failing = Tasklet.new(() => Tasklet.sleep(20).then(() => Promise.reject(new Error("No luck"))))();
  const killed = parked();
  const { promise, resolve } = Promise.withResolvers<void>();
  const stubborn = Tasklet.new(() => promise)();
  const tasks = [returning, failing, killed, stubborn];
  for (const task of tasks) group.join(task);
  const log: unknown[] = [];
  const note = (task: AnyTasklet) => () => void log.push([group.has(task), group.size]);
  await returning.join().then(note(returning));
  await failing.join().catch(note(failing));
  await killed.kill().then(note(killed));
  await stubborn.kill({ grace: 10 }).then(note(stubborn)); // abandoned
  assertEquals(log, [[false, 3], [false, 2], [false, 1], [false, 0]]);
  assertEquals(reports.texts.length, 1);
  resolve();
});

Deno.test("Group: Membership: one that is stopping or waits for its children is a member still, and refuses", async () => {
  await using _ = virtualTime();
  const group = new Group();
  const stopping = Tasklet.new(() => Tasklet.suspend(() => {}).finally(() => Tasklet.sleep(10)))();
  const parent = Tasklet.new(() => void Tasklet.later(20, () => {})())();
  group.join(stopping);
  group.join(parent);
  await Tasklet.yield();
  const killed = stopping.kill();
  const log = [group.size, MSG_SAY.send(group)("hi"), [...group].map((member) => MSG_SAY.send(member)("hi"))];
  await killed;
  await parent.join();
  assertEquals([log, group.size], [[2, false, [false, false]], 0]);
});

Deno.test("Group: Order: members are gone through in the order in which they joined", async () => {
  const group = new Group();
  const [a, b, c] = [parked("a"), parked("b"), parked("c")];
  for (const task of [c, a, b]) group.join(task);
  const log = [names(group)];
  group.leave(c);
  group.join(c);
  log.push(names(group));
  await a.kill();
  log.push(names(group));
  assertEquals(log, ["c a b", "a b c", "b c"]);
  await endAll(group);
});

Deno.test("Group: Order: who joins or leaves meanwhile changes nothing for a loop that has begun", async () => {
  const group = new Group();
  const tasks = ["a", "b", "c"].map((name) => parked(name));
  for (const task of tasks) group.join(task);
  const seen: string[] = [];
  for (const member of group) {
    seen.push(member.name);
    group.leave(member);
    group.join(member); // at the end: a loop over what is there then would never end
    group.leave(tasks[2]!);
  }
  assertEquals([seen, names(group)], [["a", "b", "c"], "a b"]);
  await endAll(tasks);
});

Deno.test("Group: Sending: one message object for all, in order; true if all have accepted", async () => {
  const group = new Group<MSG_SAY>();
  const got: [string, AnyMessage][] = [];
  const member = (name: string, capacity: number) =>
    Tasklet.new(async () => {
      await Tasklet.receiveOne([MSG_GO_ON]);
      for (const msg of Tasklet.pending()) got.push([name, msg]);
    }, { name, mailbox: { capacity } })();
  const tasks = [member("a", 9), member("b", 1), member("c", 9)];
  for (const task of tasks) group.join(task);
  await Tasklet.yield();
  const sent = [MSG_SAY.send(group)("one"), MSG_SAY.send(group)("two")];
  for (const task of tasks) {
    task.inbox.deliverAnyway(new MSG_GO_ON());
    await task.join();
  }
  assertEquals(sent, [true, false]); // the mailbox of b is full
  assertEquals(got.map(([name, msg]) => `${name} ${msg.args[0]}`), [
    "a one",
    "a two",
    "b one",
    "c one",
    "c two",
  ]);
  assertStrictEquals(got[0]![1], got[2]![1]);
  assertStrictEquals(got[0]![1], got[3]![1]);
});

Deno.test("Group: Sending: to a group without members is true, as to an empty list", () => {
  assertEquals([MSG_SAY.send(new Group())("hi"), MSG_SAY.send([])("hi")], [true, true]);
});

Deno.test("Group: Notices: a monitor is told of each change, in order, whatever the capacity of its mailbox", async () => {
  await using _ = virtualTime();
  using reports = catchReports();
  const group = new Group("lobby");
  const [a, b] = [parked("a"), parked("b")];
  const c = Tasklet.new(() => Tasklet.sleep(10).then(() => Promise.reject(error)), { name: "c" })();
  const error = new Error("No luck");
  const log: unknown[] = [];
  group.join(a);
  const watcher = Tasklet.new(async () => {
    group.monitor();
    log.push([...group].map(String)); // who is there already
    await Tasklet.sleep(20);
    for await (const msg of Tasklet.receive([MSG_JOINED, MSG_LEFT])) {
      const [task, of, cause] = msg.args;
      assertStrictEquals(of, group);
      assertStrictEquals(msg.sender, task);
      log.push(`${msg.type} ${task.name}${cause === undefined ? "" : `: ${textOf(cause)}`}`);
      if (task === watcher) break;
    }
  }, { name: "watcher", mailbox: { capacity: 1, overflow: "drop-oldest" } })();
  await Tasklet.yield();
  group.join(b);
  group.leave(a);
  group.join(c);
  group.join(a);
  MSG_SAY.send(watcher)("drops");
  MSG_SAY.send(watcher)("no notice");
  await b.kill();
  await c.join().catch(() => {});
  group.join(watcher);
  await watcher.join();
  assertEquals(
    log,
    [
      [`${a}`],
      "MSG_JOINED b",
      "MSG_LEFT a",
      "MSG_JOINED c",
      "MSG_JOINED a",
      `MSG_LEFT b: ${b} was killed`,
      "MSG_LEFT c: No luck",
      "MSG_JOINED watcher",
    ].map((line) => line === "MSG_JOINED watcher" ? `MSG_JOINED ${watcher.name}` : line),
  );
  assertEquals([names(group), reports.texts], ["a", []]);
  await endAll(group);
});

Deno.test("Group: Notices: the error of a member is reported as ever, though a monitor hears of it", async () => {
  using reports = catchReports();
  const group = new Group();
  const watcher = Tasklet.new(async () => {
    group.monitor();
    return (await Tasklet.receiveOne([MSG_LEFT])).args[2];
  })();
  await Tasklet.yield();
  const error = new Error("No luck");
  group.join(Tasklet.new(() => Promise.reject(error))());
  assertStrictEquals(await watcher.join(), error);
  await reports.settled();
  assertEquals(reports.texts.length, 1);
});

Deno.test("Group.monitor() sends the classes it is given, and ends when disposed or with the tasklet", async () => {
  class MSG_HERE extends Message("MSG_HERE")<[task: AnyTasklet, group: unknown]> {}
  class MSG_GONE extends Message("MSG_GONE")<[task: AnyTasklet, group: unknown, error: unknown]> {}
  const group = new Group();
  const log: string[] = [];
  const ended = Tasklet.new(() => void group.monitor())();
  const watcher = Tasklet.new(async () => {
    const monitor = group.monitor({ joined: MSG_HERE });
    const second = group.monitor({ left: MSG_GONE });
    await Tasklet.receiveOne([MSG_GO_ON]);
    monitor[Symbol.dispose]();
    monitor[Symbol.dispose]();
    await Tasklet.receiveOne([MSG_GO_ON]);
    second[Symbol.dispose]();
    await Tasklet.receiveOne([MSG_GO_ON]);
    for (const msg of Tasklet.pending()) log.push(msg.type);
  })();
  const task = parked();
  await ended.join();
  for (let n = 0; n < 3; n++) {
    group.join(task);
    group.leave(task);
    MSG_GO_ON.send(watcher)();
    await Tasklet.yield();
  }
  await watcher.join();
  assertEquals(log, ["MSG_HERE", "MSG_JOINED", "MSG_LEFT", "MSG_GONE", "MSG_JOINED", "MSG_GONE"]);
  await task.kill();
});

Deno.test("Group.monitor() leaves the error of the monitor itself to be reported", async () => {
  using reports = catchReports();
  const group = new Group();
  Tasklet.new(() => {
    group.monitor();
    throw new Error("No luck");
  })();
  await reports.settled();
  assertEquals(reports.texts.length, 1);
});

Deno.test("Group: Lifetime: a tasklet that has left holds no group, and a group holds none that has ended", async () => {
  class MSG_WATCH extends Message("MSG_WATCH")<[group: Group]> {}
  const task = parked();
  const monitor = Tasklet.receiver((msg: MSG_WATCH) => {
    using _ = msg.args[0].monitor();
  });
  const lasting = new Group();
  const forgotten = await (async () => {
    const group = new Group();
    const ending = parked();
    for (const each of [task, ending]) {
      lasting.join(each);
      group.join(each);
      MSG_SAY.send(lasting)("hi");
    }
    const monitoring = Tasklet.new(() => {
      group.monitor();
      lasting.monitor();
    })();
    await monitoring.join();
    MSG_WATCH.send(monitor)(group);
    await Tasklet.yield();
    group.leave(task);
    await ending.kill();
    return [new WeakRef(group), new WeakRef(ending), new WeakRef(monitoring)];
  })();
  MSG_WATCH.send(monitor)(lasting); // its loop keeps the last message
  await new Promise((resolve) => setTimeout(resolve)); // a WeakRef keeps its target for the turn it was made in
  collectGarbage();
  assertEquals(forgotten.map((ref) => ref.deref()?.toString()), [undefined, undefined, undefined]);
  await endAll([task, monitor]);
});

// ------------------------------------------------------------------------------------------------
// Types

Deno.test("Group types its members and what they are sent", () => {
  const never = async (group: Group<MSG_SAY | MSG_ASK>, all: Group) => {
    MSG_SAY.send(group)("hi") satisfies boolean;
    await MSG_ASK.call(group)("who?") satisfies string;
    // @ts-expect-error: the members do not accept it
    MSG_GO_ON.send(group)();
    // @ts-expect-error: nor does it take a number
    MSG_SAY.send(group)(1);
    for (const member of group) member satisfies Tasklet<unknown, MSG_SAY>;
    // @ts-expect-error: this one does not accept all that is sent to members
    group.join(parkedFor<MSG_SAY>());
    group.join(parkedFor<MSG_SAY | MSG_ASK | MSG_GO_ON>());
    group.has(parkedFor<MSG_GO_ON>());
    group satisfies Receiver<MSG_SAY>;
    // @ts-expect-error: whoever had it so could make a member that does not accept all
    group satisfies Group<MSG_SAY>;
    all.join(parked());
  };
  void never;
});

function parkedFor<P extends AnyMessage>(): Tasklet<void, P> {
  return Tasklet.new(async function (this: Self<P>) {})();
}

function names(tasks: Iterable<AnyTasklet>): string {
  return [...tasks].map((task) => task.name).join(" ");
}
