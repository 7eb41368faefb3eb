import { assertEquals } from "@std/assert";
import type { Cluster } from "../cluster.ts";
import { MSG_SAID } from "../examples/room.ts";
import { MSG_JOINED, MSG_WHO, type Ours, Roster } from "../examples/roster.ts";
import { Tasklet } from "../tasklet.ts";
import { type Line, MemoryBus } from "./bus.ts";
import { HEARTBEAT, join, virtually } from "./nodes.ts";

/** A server of a chat, without clients: its members are tasklets. */
class Server {
  readonly cluster: Cluster<Ours>;
  readonly line: Line;
  readonly roster: Roster;
  /** What its members have heard from other servers. */
  readonly log: string[] = [];
  /** Who has lost a handle. */
  readonly lost: string[] = [];
  readonly #members = new Map<string, Tasklet>();

  private constructor(cluster: Cluster<Ours>, line: Line) {
    this.cluster = cluster;
    this.line = line;
    this.roster = new Roster(cluster, "room");
    this.roster.follow((lines) => this.log.push(...lines));
  }

  static async open(bus: MemoryBus): Promise<Server> {
    const { cluster, line } = await join(bus, { messages: [MSG_SAID, MSG_JOINED, MSG_WHO] });
    return new Server(cluster, line);
  }

  /** Whether somebody could log in. */
  async login(handle: string): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const task = Tasklet.new(async () => {
      const isFree = await this.roster.take(handle, () => this.lost.push(handle));
      if (isFree) this.roster.join(handle);
      resolve(isFree);
      if (isFree) await Tasklet.suspend(() => {});
    })();
    this.#members.set(handle, task as Tasklet);
    return await promise;
  }

  /** Lets somebody go. */
  async logout(handle: string): Promise<void> {
    this.roster.leave(handle);
    await this.#members.get(handle)!.kill();
  }

  /** What has been heard since the last time, in alphabetical order. */
  heard(): string[] {
    return this.log.splice(0).toSorted();
  }
}

/** Runs a test with so many servers, in virtual time. */
function test(name: string, count: number, body: (...servers: Server[]) => Promise<void>): void {
  Deno.test(name, { timeout: 20_000 }, () =>
    virtually(async () => {
      const bus = new MemoryBus();
      const servers: Server[] = [];
      while (servers.length < count) servers.push(await Server.open(bus));
      await body(...servers);
      for (const { cluster } of servers) await cluster.close();
    }));
}

const joined = (handle: string) => `${handle} has joined the chat.`;
const left = (handle: string) => `${handle} has left the chat.`;
const soon = () => Tasklet.sleep(1);

test(
  "Roster tells who comes and goes on other servers, once each, and what is said there",
  3,
  async (a, b, c) => {
    await a!.login("Jane");
    await b!.login("Zak");
    a!.roster.say("Jane says: hi");
    await soon();
    assertEquals([a!.heard(), b!.heard(), c!.heard()], [
      [joined("Zak")],
      ["Jane says: hi", joined("Jane")].toSorted(),
      ["Jane says: hi", joined("Jane"), joined("Zak")].toSorted(),
    ]);
    assertEquals([...c!.roster.handles].toSorted(), ["Jane", "Zak"]);
    await a!.logout("Jane");
    await soon();
    assertEquals([a!.heard(), b!.heard(), c!.heard()], [[], [left("Jane")], [left("Jane")]]);
  },
);

test("Roster of a server that has come later knows who is there", 2, async (a, b) => {
  await a!.login("Jane");
  await b!.login("Zak");
  await soon();
  const late = new Roster(b!.cluster, "room"); // of another program that is connected there
  const log: string[] = [];
  late.follow((lines) => log.push(...lines));
  await soon();
  assertEquals(log, [joined("Jane")]); // who is on the same node is its own affair
});

test(
  "Roster gives a handle to one, whatever it is written with, and again when it is free",
  2,
  async (a, b) => {
    assertEquals([await a!.login("Jane"), await b!.login("Jane"), await b!.login("Ｊａｎｅ")], [
      true,
      false,
      false,
    ]);
    await a!.logout("Jane");
    await soon();
    assertEquals(await b!.login("Ｊａｎｅ"), true);
    await soon();
    assertEquals([a!.heard(), b!.heard()], [[joined("Ｊａｎｅ")], [joined("Jane"), left("Jane")].toSorted()]);
  },
);

test("Roster lets the members of a server go that has gone without a word", 2, async (a, b) => {
  await a!.login("Jane");
  await a!.login("Zak");
  await soon();
  b!.heard();
  a!.line.die();
  await Tasklet.sleep(3 * HEARTBEAT);
  assertEquals([b!.heard(), [...b!.roster.handles]], [[left("Jane"), left("Zak")], []]);
  assertEquals(await b!.login("Jane"), true);
});

test(
  "Roster of a server that was cut off: its members have left and come back, for the others and for it",
  3,
  async (a, b, c) => {
    for (const [server, handle] of [[a, "A"], [b, "B"], [c, "C"]] as const) await server!.login(handle);
    await soon();
    for (const server of [a, b, c]) server!.heard();
    a!.line.disconnect();
    await Tasklet.sleep(6 * HEARTBEAT);
    assertEquals([a!.heard(), b!.heard(), c!.heard()], [[left("B"), left("C")], [left("A")], [left("A")]]);
    a!.line.reconnect();
    await Tasklet.sleep(2 * HEARTBEAT);
    assertEquals([a!.heard(), b!.heard(), c!.heard()], [[joined("B"), joined("C")], [joined("A")], [
      joined("A"),
    ]]);
  },
);

test(
  "Roster of a server that has stood still: its members have left and come back, for the others",
  2,
  async (a, b) => {
    await a!.login("A");
    await b!.login("B");
    await soon();
    for (const server of [a, b]) server!.heard();
    a!.line.isSilent = true;
    await Tasklet.sleep(6 * HEARTBEAT);
    assertEquals(b!.heard(), [left("A")]);
    await Tasklet.sleep(2000 + 6 * HEARTBEAT); // so long that nobody looks for it any more
    a!.line.isSilent = false;
    await Tasklet.sleep(3 * HEARTBEAT);
    assertEquals(b!.heard(), [joined("A")]);
  },
);

test("Roster of a server that was disconnected for a moment tells nothing", 2, async (a, b) => {
  await a!.login("A");
  await b!.login("B");
  await soon();
  for (const server of [a, b]) server!.heard();
  for (const server of [a, b]) server!.line.disconnect();
  await Tasklet.sleep(HEARTBEAT);
  for (const server of [a, b]) server!.line.reconnect();
  await Tasklet.sleep(10 * HEARTBEAT);
  assertEquals([a!.heard(), b!.heard()], [[], []]);
});

test(
  "Roster of a server that was disconnected for a moment learns who has come meanwhile, and tells it",
  2,
  async (a, b) => {
    a!.line.disconnect();
    await a!.login("A");
    await b!.login("B");
    await a!.login("gone");
    await a!.logout("gone");
    a!.line.reconnect();
    await soon();
    assertEquals([a!.heard(), b!.heard()], [[joined("B")], [joined("A")]]);
    assertEquals([await b!.login("gone"), await b!.login("A")], [true, false]);
  },
);

test(
  "Roster finds who has gone to another server, be it that the news comes before that of the end",
  3,
  async (a, b, c) => {
    await a!.login("Jane");
    await soon();
    a!.line.disconnect(); // so that it cannot tell yet
    await a!.logout("Jane");
    await b!.login("Jane");
    await soon();
    assertEquals(c!.heard(), [joined("Jane")]);
    a!.line.reconnect();
    await soon();
    assertEquals(c!.log.splice(0), [left("Jane"), joined("Jane")]);
    await b!.logout("Jane");
    await soon();
    assertEquals(c!.heard(), [left("Jane")]);
  },
);

test(
  "Roster goes on hearing while it looks for somebody on a server that says nothing",
  3,
  async (a, b, c) => {
    for (const handle of ["X", "Y", "Z"]) await a!.login(handle);
    await soon();
    c!.heard();
    a!.line.isSilent = true;
    await Tasklet.sleep(5 * HEARTBEAT);
    assertEquals(c!.heard(), [left("X"), left("Y"), left("Z")]);
    b!.roster.say("hi");
    await b!.login("B");
    await soon();
    assertEquals(c!.heard(), [joined("B"), "hi"]);
    await Tasklet.sleep(3000);
  },
);

test(
  "Roster without a connection gives away any handle; when it is back, the later of two loses it",
  3,
  async (a, b, c) => {
    a!.line.disconnect();
    assertEquals([await a!.login("Jane"), await a!.login("Zak"), await b!.login("Jane")], [true, true, true]);
    await soon();
    assertEquals(c!.heard(), [joined("Jane")]);
    a!.line.reconnect();
    await Tasklet.sleep(2 * HEARTBEAT);
    assertEquals([a!.lost, b!.lost], [["Jane"], []]);
    assertEquals([a!.heard(), b!.heard(), c!.heard()], [[joined("Jane")], [joined("Zak")], [joined("Zak")]]);
  },
);

test(
  "Roster claims nothing for a member that has gone meanwhile, and tries again if the connection is lost again",
  2,
  async (a, b) => {
    a!.line.disconnect();
    for (const handle of ["A", "B", "C"]) await a!.login(handle);
    a!.line.reconnect();
    a!.line.disconnect();
    await soon();
    a!.line.reconnect();
    while (!a!.line.published.some(([, text]) => text.startsWith(`["claim"`))) await null; // it has begun with A
    for (const handle of ["A", "B"]) a!.roster.leave(handle); // the tasklets live on for their last words
    await soon();
    const isFree = [];
    for (const handle of ["A", "B", "C"]) isFree.push(await b!.login(handle));
    assertEquals(isFree, [true, true, false]);
  },
);

test(
  "Roster: a handle that two have, behind a wall, is lost by the later one when the wall is gone",
  2,
  async (a, b) => {
    b!.line.piece = 1;
    await Tasklet.sleep(6 * HEARTBEAT);
    await a!.login("Jane");
    await Tasklet.sleep(1);
    await b!.login("Jane");
    b!.line.piece = 0;
    await Tasklet.sleep(5 * HEARTBEAT);
    assertEquals([a!.lost, b!.lost], [[], ["Jane"]]);
  },
);

test("Roster shows no handle that is none, whoever says so", 2, async (a, b) => {
  await a!.cluster.register("room Jane\x1b[2J", Tasklet.current()!);
  MSG_JOINED.send(a!.cluster.group("room").elsewhere)("Jane\x1b[2J");
  MSG_SAID.send(a!.cluster.group("room").elsewhere)("boo\x1b[2J");
  await soon();
  assertEquals(b!.heard(), ["boo[2J"]);
});
