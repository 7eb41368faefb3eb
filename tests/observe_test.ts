import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { Message, type Observation, observe, snapshot, Tasklet } from "../mod.ts";
import { Mailbox } from "../message.ts";
import { virtualTime } from "../testing.ts";
import { catchReports } from "./reports.ts";

class MSG_A extends Message("MSG_A") {}
class MSG_B extends Message("MSG_B") {}
class MSG_ASK extends Message("MSG_ASK")<[n: number], number> {}

/** An observation in words. */
function words(event: Observation): string {
  switch (event.type) {
    case "spawned":
    case "started":
      return `${event.type} ${event.task.name}`;
    case "finished":
      return `finished ${event.task.name}: ${event.task.status}`;
    case "sent":
      return `sent ${event.message.type} to ${event.to.name}`;
    case "received":
      return `received ${event.message.type} by ${event.by.name}`;
    case "replied":
      return `replied ${event.message.type} by ${event.by?.name}${event.failure ? " with an error" : ""}`;
    case "dropped":
      return `dropped ${event.message.type} for ${event.to.name}: ${event.reason}`;
  }
}

/** What happens, in words, until disposed. */
function record(): { log: string[] } & Disposable {
  const log: string[] = [];
  const listening = observe((event) => log.push(words(event)));
  return { log, [Symbol.dispose]: () => listening[Symbol.dispose]() };
}

/* --------------------------------------------------- observe() --------------------------------------------------- */

Deno.test("observe() tells of each step in the order in which it happens", async () => {
  using recorded = record();
  const server = Tasklet.new(async function server() {
    for await (const msg of Tasklet.receive()) {
      if (msg.match(MSG_A)) return;
      if (msg.match(MSG_ASK) && msg.args[0] > 0) msg.reply(msg.args[0]);
      else msg.fail(new Error("not more than 0"));
    }
  })();
  const client = Tasklet.new(async function client() {
    await MSG_ASK.call(server)(1);
    await MSG_ASK.call(server)(0).catch(() => {});
    MSG_A.send(server)();
  })();
  await Promise.all([server.join(), client.join()]);
  assertEquals(recorded.log, [
    "spawned server",
    "spawned client",
    "started server",
    "started client",
    "sent MSG_ASK to server",
    "received MSG_ASK by server",
    "replied MSG_ASK by server",
    "sent MSG_ASK to server",
    "received MSG_ASK by server",
    "replied MSG_ASK by server with an error",
    "sent MSG_A to server",
    "received MSG_A by server",
    "finished client: done",
    "finished server: done",
  ]);
});

Deno.test("observe() Order: queued messages are sent first, and received by receiveOne and pending alike", async () => {
  using recorded = record();
  const task = Tasklet.new(async () => {
    await Tasklet.receiveOne([MSG_B]);
    for (const _ of Tasklet.pending());
  }, { name: "task" })();
  MSG_A.send(task)();
  MSG_B.send(task)();
  MSG_A.send(task)();
  await task.join();
  assertEquals(recorded.log.filter((line) => / MSG_/.test(line)), [
    "sent MSG_A to task",
    "sent MSG_B to task",
    "sent MSG_A to task",
    "received MSG_B by task",
    "received MSG_A by task",
    "received MSG_A by task",
  ]);
});

Deno.test("observe() tells what is dropped, and why", async () => {
  using recorded = record();
  const park = async () => await Tasklet.suspend(() => {});
  const full = Tasklet.new(park, { name: "full", mailbox: { capacity: 1 } })();
  const newest = Tasklet.new(park, {
    name: "newest",
    mailbox: { capacity: 1, overflow: "drop-oldest" },
  })();
  MSG_A.send([full, newest])();
  MSG_B.send([full, newest])();
  await Promise.all([full.kill(), newest.kill()]);
  MSG_A.send(full)();
  await MSG_ASK.call(full)(1).catch(() => {});
  assertEquals(recorded.log.filter((line) => line.startsWith("dropped")), [
    "dropped MSG_B for full: refused",
    "dropped MSG_A for newest: oldest",
    "dropped MSG_A for full: finished",
    "dropped MSG_ASK for full: finished",
  ]);
});

Deno.test("observe() tells of a call that is refused because of a cycle, with its names", async () => {
  const cycles: string[] = [];
  using _ = observe((event) => event.type === "dropped" && cycles.push(`${event.reason}: ${event.why}`));
  const first: Tasklet = Tasklet.new(async () => {
    const msg = await Tasklet.receiveOne([MSG_ASK]);
    msg.reply(await MSG_ASK.call(second)(1).catch((error) => error.reason === "deadlock" ? 1 : 2));
  }, { name: "first" })();
  const second = Tasklet.new(async () => {
    return await MSG_ASK.call(first)(1);
  }, { name: "second" })();
  assertEquals(await second.join(), 1);
  assertMatch(cycles.join(), /^deadlock: first#\d+ → second#\d+ → first#\d+$/);
});

Deno.test("observe() tells how tasklets end, with the error", async () => {
  const ends: unknown[] = [];
  using _ = observe((event) =>
    event.type === "finished" && ends.push([event.task.name, event.task.status, event.error])
  );
  const error = new Error("no");
  const failing = Tasklet.new(() => Promise.reject(error), { name: "failing" })();
  await failing.join().catch(() => {});
  const killed = Tasklet.new(() => {}, { name: "killed" })();
  await killed.kill();
  const [first, second] = ends as [unknown[], unknown[]];
  assertEquals([first, second.slice(0, 2), (second[2] as Error).name], [
    ["failing", "failed", error],
    ["killed", "killed"],
    "TaskletExit",
  ]);
});

Deno.test("observe() At once: the listener runs in the name of whoever does it, before it goes on", async () => {
  const log: string[] = [];
  using _ = observe((event) => {
    if (event.type === "sent") log.push(`sent by ${Tasklet.current()?.name}, ${event.message.sender?.name}`);
  });
  const task = Tasklet.new(async () => {
    await Tasklet.receiveOne();
  })();
  const sender = Tasklet.new(() => {
    MSG_A.send(task)();
    log.push("sent");
  }, { name: "sender" })();
  await Promise.all([task.join(), sender.join()]);
  assertEquals(log, ["sent by sender, sender", "sent"]);
});

Deno.test("observe() Apart: an error of the listener is reported and changes nothing", async () => {
  using reports = catchReports();
  using _ = observe((event) => {
    if (event.type === "sent") throw new Error("listener is broken");
  });
  const task = Tasklet.new(async () => await Tasklet.receiveOne())();
  assertEquals(MSG_A.send(task)(), true);
  assertEquals((await task.join()).type, "MSG_A");
  assertEquals(reports.texts.length, 1);
  assertMatch(reports.texts.join(), /A listener of observe\(\) failed:.*listener is broken/s);
});

Deno.test("observe() Apart: what the listener itself sends is not observed", async () => {
  const log: string[] = [];
  const auditor = Tasklet.new(async () => {
    for await (const msg of Tasklet.receive()) if (msg.match(MSG_A)) log.push(msg.type);
  })();
  using _ = observe((event) => {
    if (event.type === "sent") log.push(words(event)), MSG_A.send(auditor)();
  });
  const task = Tasklet.new(async () => await Tasklet.receiveOne(), { name: "task" })();
  MSG_B.send(task)();
  await task.join();
  assertEquals(log, ["sent MSG_B to task", "MSG_A"]);
  await auditor.kill();
});

Deno.test("observe() ends when disposed, each listener for itself", async () => {
  const logs: [string[], string[]] = [[], []];
  const first = observe((event) => logs[0].push(event.type));
  const second = observe((event) => logs[1].push(event.type));
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  await Tasklet.new(() => {})().join();
  second[Symbol.dispose]();
  await Tasklet.new(() => {})().join();
  assertEquals(logs, [[], ["spawned", "started", "finished"]]);
});

/* --------------------------------------------------- snapshot() -------------------------------------------------- */

Deno.test("snapshot() has each tasklet with its parent, its status and what it waits for", async () => {
  const server = Tasklet.new(async () => {
    for await (const msg of Tasklet.receive([MSG_ASK])) msg.defer();
  }, { name: "server" })();
  const parent = Tasklet.new(async () => {
    Tasklet.new(async () => await MSG_ASK.call(server)(1), { name: "caller" })();
    await Tasklet.sleep(60_000);
  }, { name: "parent" })();
  const joiner = Tasklet.new(async () => await parent.join(), { name: "joiner" })();
  const unstarted = Tasklet.new(() => {}, { name: "unstarted" })();
  assertEquals(snapshot().find(({ id }) => id === unstarted.id)?.status, "ready");
  await rest();
  const seen = snapshot();
  const nameOf = (id: number | undefined) => seen.find((task) => task.id === id)?.name;
  assertEquals(
    seen.map(({ name, parent, status, waits }) => [
      name,
      nameOf(parent),
      status,
      ...waits.map(({ what }) => what.replace(/#\d+/, "")),
    ]),
    [
      ["server", undefined, "waiting", "for MSG_ASK"],
      ["parent", undefined, "waiting", "for a time"],
      ["caller", "parent", "waiting", "for the reply of server to MSG_ASK"],
      ["joiner", undefined, "waiting", "for the end of parent"],
    ],
  );
  assertEquals(seen.find(({ name }) => name === "joiner")?.waits[0]?.on, parent.id);
  await Promise.all([server.kill(), parent.kill(), joiner.kill()]);
  assertEquals(snapshot(), []);
});

Deno.test("snapshot() has mailboxes with their oldest message, and the names of a tasklet", async () => {
  const task = Tasklet.new(async () => {
    Tasklet.register("first name");
    Tasklet.register("second name");
    await Tasklet.receiveOne([MSG_B]);
    await Tasklet.suspend(() => {});
  }, { mailbox: { capacity: 10 } })();
  await rest();
  assertEquals(snapshot()[0]?.mailbox, { length: 0, capacity: 10, oldest: undefined });
  MSG_A.send(task)();
  MSG_ASK.send(task)(1);
  MSG_B.send(task)();
  const { mailbox, names } = snapshot()[0]!;
  assertEquals([mailbox.length, mailbox.oldest?.type, names], [2, "MSG_A", ["first name", "second name"]]);
  await task.kill();
});

Deno.test("snapshot() remembers since when a wait lasts, and forgets it with the wait", async () => {
  await using time = virtualTime();
  const start = snapshotTime();
  const task = Tasklet.new(async () => {
    for await (const msg of Tasklet.receive([MSG_A])) msg.defer();
  })();
  await rest();
  MSG_B.send(task)();
  const seen: unknown[] = [];
  const look = () => {
    const { waits: [wait], mailbox } = snapshot()[0]!;
    seen.push([wait!.since - start, mailbox.oldest!.since - start]);
  };
  look();
  await time.advance(1000);
  look();
  MSG_A.send(task)(); // the loop waits again
  await rest();
  await time.advance(1000);
  look();
  assertEquals(seen, [[0, 0], [0, 0], [2000, 0]]);
  await task.kill();
});

/** Lets all tasklets go on until they wait. */
async function rest(): Promise<void> {
  for (let turns = 0; turns < 5; turns++) await Tasklet.yield();
}

/** What a snapshot holds for now. */
function snapshotTime(): number {
  const probe = Tasklet.new(() => {})();
  MSG_A.send(probe)();
  const at = snapshot()[0]!.mailbox.oldest!.since;
  void probe.kill();
  return at;
}

/* ----------------------------------------------------- Mailbox --------------------------------------------------- */

Deno.test("Mailbox.oldest is what take() takes next, in either form", () => {
  const mailbox = new Mailbox<MSG_A | MSG_B>();
  const items = [new MSG_A(), new MSG_B(), new MSG_A()];
  const seen: unknown[] = [mailbox.oldest];
  for (const item of items) mailbox.put(item);
  seen.push(mailbox.oldest);
  mailbox.takeOf([MSG_B]);
  seen.push(mailbox.oldest);
  mailbox.take();
  seen.push(mailbox.oldest);
  mailbox.take();
  seen.push(mailbox.oldest);
  assertEquals(seen.map((item) => items.indexOf(item as MSG_A)), [-1, 0, 0, 2, -1]);
  assertThrows(() => new Mailbox({ capacity: 0 }), RangeError);
});
