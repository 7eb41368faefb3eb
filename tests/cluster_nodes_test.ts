import { assert, assertEquals, assertRejects } from "@std/assert";
import { connect } from "@nats-io/transport-node";
import { Cluster, type ClusterEvent, NameTakenError } from "../cluster.ts";
import { CallError } from "../message.ts";
import { MSG_DOWN, Tasklet, TimeoutError } from "../tasklet.ts";
import { answerer, MESSAGES, MSG_ASK, MSG_LINE, say, TIMES } from "./cluster_node.ts";
import { Program } from "./program.ts";
import { requires } from "./requires.ts";
import { freePort, NatsServer } from "./nats_server.ts";
import { makeFolder } from "./folder.ts";

const OPTIONS = { timeout: 60_000, ...requires("nats-server") };

type Node = Cluster<MSG_LINE | MSG_ASK>;

/** A node of this process. */
async function node(servers: string, times: object = {}): Promise<Node> {
  return await Cluster.connect({ servers, messages: MESSAGES, ...TIMES, ...times });
}

/** A node that is a program of its own. */
class Child implements AsyncDisposable {
  readonly program: Program;
  id = "";

  constructor(program: Program) {
    this.program = program;
  }

  /** Starts one that has a name, and waits until it has it. */
  static async start(servers: string, name: string, times: object = {}): Promise<Child> {
    const args = [
      "run",
      "--quiet",
      "--no-prompt",
      "--allow-net=127.0.0.1",
      "tests/cluster_node.ts",
      servers,
      name,
      JSON.stringify(times),
    ];
    const child = new Child(new Program(Deno.execPath(), args));
    const id = await child.program.line();
    if (id !== undefined) return Object.assign(child, { id });
    throw new Error(`Cannot start a node: ${(await child.program.end()).stderr}`);
  }

  /** Waits until it has said `line`. */
  async says(line: string): Promise<void> {
    assertEquals(await this.program.line(), line);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.program[Symbol.asyncDispose]();
  }
}

/** Tests a node of this process with programs of these names, two at most, that were started together. */
function test(
  name: string,
  names: string,
  body: (server: NatsServer, here: Node, one: Child, two: Child) => Promise<void>,
  times: object = {},
): void {
  Deno.test(name, OPTIONS, async () => {
    await using server = await NatsServer.start();
    await using all = new AsyncDisposableStack();
    const programs = await Promise.all(
      names.split(" ").map(async (name) => all.use(await Child.start(server.url, name, times))),
    );
    await using here = await node(server.url, times);
    await body(server, here, ...programs as [Child, Child]);
  });
}

/** Waits for an event of a node; what comes behind it can still be waited for. */
async function event(
  events: AsyncIterator<ClusterEvent>,
  type: ClusterEvent["type"],
  node?: string,
): Promise<void> {
  for (let next = await events.next(); !next.done; next = await events.next()) {
    const { value } = next;
    if (value.type === type && (node === undefined || ("node" in value && value.node === node))) return;
  }
  throw new Error(`There was no ${type}`);
}

/** Tries until it succeeds, as who waits for a server to be back must. */
async function eventually<T>(attempt: () => Promise<T>): Promise<T> {
  for (let left = 200;; left--) {
    try {
      return await attempt();
    } catch (error) {
      if (left === 0) throw error;
      await Tasklet.sleep(50);
    }
  }
}

/** The reason with which a call rejects. */
async function reason(call: Promise<unknown>): Promise<string> {
  return (await assertRejects(() => call, CallError)).reason;
}

/** The lines that whoever has `name` has heard from each speaker. */
async function heard(cluster: Node, name: string): Promise<Record<string, number[]>> {
  const lines = await MSG_ASK.call((await cluster.lookup(name))!)("lines") as string[];
  const groups: Record<string, number[]> = {};
  for (const [from, n] of lines.map((line) => line.split(" "))) (groups[from!] ??= []).push(Number(n));
  return groups;
}

function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

/* ----------------------------------------------------------------------------------------------------------- */

Deno.test("Cluster.connect() rejects when its time is up, if the server says nothing", OPTIONS, async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepted = listener.accept();
  const connecting = Cluster.connect({
    servers: `127.0.0.1:${listener.addr.port}`,
    messages: [],
    timeout: 50,
  });
  await assertRejects(() => connecting, TimeoutError, "waiting for the connection to the cluster");
  const connection = await accepted;
  assertEquals(await connection.read(new Uint8Array(1)), null); // it has given up
  connection.close();
});

test("Cluster of programs: names, calls and groups work as within one", "a b", async (server, here, a, b) => {
  const mine = answerer(here.node);
  here.group("room").join(mine);
  await here.register("c", mine);
  const ids = [];
  for (const name of ["a", "b", "c"]) ids.push(await MSG_ASK.call((await here.lookup(name))!)("id"));
  assertEquals(ids, [a.id, b.id, here.node]);
  await assertRejects(() => here.register("a", mine), NameTakenError);
  await using other = await node(server.url);
  say(here.group("room"), "here", 500);
  say(other.group("room"), "other", 500);
  await Promise.all([here.flush(), other.flush()]);
  for (const name of ["a", "b", "c"]) {
    assertEquals(
      await heard(name === "c" ? here : other, name),
      { here: upTo(500), other: upTo(500) },
      name,
    );
  }
});

test(
  "Cluster of programs: one that is killed frees its name, fails its callers, and is told to monitors",
  "a",
  async (_, here, a) => {
    const remote = (await here.lookup("a"))!;
    const call = reason(MSG_ASK.call(remote)("never"));
    const events = here.events();
    const monitor = Tasklet.new(async () => {
      here.monitor(remote);
      return (await Tasklet.receiveOne([MSG_DOWN])).args[1];
    })();
    await MSG_ASK.call(remote)("id");
    a.program.signal("SIGKILL");
    await a.program.end();
    const task = answerer("again");
    await eventually(() => here.register("a", task)); // as soon as NATS has noticed that the connection is closed
    await event(events, "down", a.id);
    assertEquals([await call, ((await monitor.join()) as CallError).reason], ["finished", "finished"]);
  },
);

test(
  "Cluster of programs: one that stands still holds nobody up, and has what it missed when it goes on",
  "slow fast",
  async (_, here, slow, fast) => {
    slow.program.signal("SIGSTOP");
    say(here.group("room"), "here", 5000);
    await here.flush();
    assertEquals(await heard(here, "fast"), { here: upTo(5000) });
    const call = MSG_ASK.call((await here.lookup("fast"))!, { timeout: 5000 })("id");
    assertEquals(await call, fast.id);
    slow.program.signal("SIGCONT");
    assertEquals(await eventually(() => heard(here, "slow")), { here: upTo(5000) });
  },
);

test(
  "Cluster of programs: one that stands still for too long is gone, its callers fail, and it comes back",
  "a",
  async (server, here, a) => {
    const remote = (await here.lookup("a"))!;
    const [down, up] = [here.events(), here.events()];
    a.program.signal("SIGSTOP");
    assertEquals(await reason(MSG_ASK.call(remote)("id")), "finished");
    await event(down, "down", a.id);
    // Whoever takes its name meanwhile keeps it, although it never knew that it was away.
    const registration = await here.register("a", answerer("other"));
    a.program.signal("SIGCONT");
    await event(up, "up", a.id);
    const other = await node(server.url);
    await eventually(async () => assertEquals(await MSG_ASK.call((await other.lookup("a"))!)("id"), "other"));
    assertEquals(registration.state, "held");
    await other.close();
  },
  { deadAfter: 1000 }, // it stands still for as long as that, in real time
);

test(
  "Cluster of programs: when NATS is killed all go on alone, calls fail at once, and all is well when it is back",
  "a b",
  async (server, here, a, b) => {
    const mine = answerer("mine");
    here.group("room").join(mine);
    await here.register("mine", mine);
    const remote = (await here.lookup("a"))!;
    const call = reason(MSG_ASK.call(remote)("never"));
    await MSG_ASK.call(remote)("id");
    const events = here.events();
    const start = performance.now();
    await server.kill();
    assertEquals(await call, "disconnected");
    assert(performance.now() - start < 2000, "not by a timeout");
    await event(events, "disconnected");
    await Promise.all([a.says("disconnected"), b.says("disconnected")]);
    assertEquals(await reason(MSG_ASK.call(remote)("id")), "disconnected");
    assertEquals([MSG_LINE.send(remote)("lost"), MSG_LINE.send(here.group("room"))("alone 0")], [
      false,
      false,
    ]);
    assertEquals(await MSG_ASK.call((await here.lookup("mine"))!)("lines"), ["alone 0"]); // who is here still hears it
    await server.restart();
    await event(events, "connected");
    await Promise.all([a.says("connected"), b.says("connected")]);
    assertEquals([await MSG_ASK.call(remote)("id"), remote.node], [a.id, a.id]);
    say(here.group("room"), "again", 100);
    await here.flush();
    for (const name of ["a", "b"]) assertEquals(await heard(here, name), { again: upTo(100) });
  },
);

Deno.test(
  "Cluster of programs: with three servers of NATS, all go on when one of them is stopped",
  OPTIONS,
  async () => {
    const ports = [freePort(), freePort(), freePort()];
    const routes = ports.map((port) => `nats://127.0.0.1:${port}`).join(",");
    const start = (port: number) =>
      NatsServer.start({
        args: ["--cluster_name", "t", "--cluster", `nats://127.0.0.1:${port}`, `--routes=${routes}`],
      });
    await using one = await start(ports[0]!);
    await using two = await start(ports[1]!);
    await using three = await start(ports[2]!);
    const servers = [one.url, two.url, three.url];
    await using a = await Child.start(`${servers[0]}`, "a");
    await using b = await Child.start(`${servers[1]}`, "b");
    await using here = await Cluster.connect({ servers: servers[2]!, messages: MESSAGES, ...TIMES });
    const remote = async (name: string) => (await here.lookup(name))!;
    assertEquals(await eventually(async () => MSG_ASK.call(await remote("a"))("id")), a.id);
    assertEquals(await eventually(async () => MSG_ASK.call(await remote("b"))("id")), b.id);
    await one.kill(); // where a is
    await a.says("disconnected");
    await a.says("connected");
    assertEquals(await eventually(async () => MSG_ASK.call(await remote("a"))("id")), a.id);
    say(here.group("room"), "here", 200);
    await here.flush();
    for (const name of ["a", "b"]) {
      assertEquals(await eventually(async () => (await heard(here, name)).here?.length), 200);
    }
  },
);

Deno.test(
  "Cluster: two owners that NATS has kept apart are one again when it is whole",
  OPTIONS,
  async () => {
    const ports = [freePort(), freePort()];
    const routes = ports.map((port) => `nats://127.0.0.1:${port}`).join(",");
    const start = (port: number) =>
      NatsServer.start({ args: ["--cluster_name", "t", "--cluster", `nats://127.0.0.1:${port}`] });
    await using one = await start(ports[0]!);
    await using two = await start(ports[1]!); // no routes: each is alone
    await using a = await node(one.url);
    await using b = await node(two.url);
    const lost: string[] = [];
    const [mine, other] = [answerer("a"), answerer("b")];
    await a.register("x", mine, { onLost: () => lost.push("a") });
    await b.register("x", other, { onLost: () => lost.push("b") });
    const [eventsA, eventsB] = [a.events(), b.events()];
    await one.restart([
      "--cluster_name",
      "t",
      "--cluster",
      `nats://127.0.0.1:${ports[0]}`,
      `--routes=${routes}`,
    ]);
    await Promise.any([event(eventsA, "lost"), event(eventsB, "lost")]);
    // The one that was disconnected for it is the later one.
    assertEquals(lost, ["a"]);
    assertEquals(await MSG_ASK.call(await eventually(async () => (await a.lookup("x"))!))("id"), "b");
  },
);

Deno.test(
  "Cluster: hostile payloads on real subjects are answered, counted and dropped",
  OPTIONS,
  async () => {
    await using folder = await makeFolder({ "nats.conf": "max_payload: 16MB\n" });
    await using server = await NatsServer.start({ args: ["-c", `${folder.path}/nats.conf`] });
    await using cluster = await node(server.url);
    const task = answerer("fine");
    await cluster.register("x", task);
    cluster.group("g").join(task);
    await cluster.flush();
    const stranger = await connect({ servers: server.url });
    const payloads: [payload: string | Uint8Array, counted: "malformed" | "unknown" | "oversized"][] = [
      ["{", "malformed"],
      [new Uint8Array([0, 255, 254]), "malformed"],
      [`["MSG_ASK",{"length":1e9},""]`, "malformed"],
      [`["MSG_LINE",[{"__proto__":{"isAdmin":true}}],""]`, "malformed"],
      [`["MSG_EVIL",[],""]`, "unknown"],
      [`["MSG_LINE",["${"x".repeat(10 * 1024 * 1024)}"],""]`, "oversized"],
    ];
    const before = cluster.stats;
    for (const subject of ["concurrence.name.x", "concurrence.group.g"]) {
      for (const [payload] of payloads) {
        stranger.publish(subject, payload);
        const answer = (await stranger.request(subject, payload, { timeout: 10_000 })).json<unknown[]>();
        assertEquals(answer.slice(0, 2), ["none", "refused"]);
      }
    }
    const after = cluster.stats;
    const counts = Object.fromEntries(
      (["malformed", "unknown", "oversized"] as const).map((kind) => [kind, after[kind] - before[kind]]),
    );
    assertEquals(counts, { malformed: 16, unknown: 4, oversized: 4 });
    const asked = await stranger.request("concurrence.name.x", `["MSG_ASK",["id"]]`);
    assertEquals(asked.json(), ["value", "fine"]); // who knows the form may use it
    assertEquals([await MSG_ASK.call((await cluster.lookup("x"))!)("lines"), task.alive], [[], true]);
    await stranger.close();
  },
);

Deno.test("Cluster: a name that was registered can be reached at once, from any node", OPTIONS, async () => {
  await using server = await NatsServer.start();
  await using a = await node(server.url);
  await using b = await node(server.url);
  const task = answerer("a");
  for (let i = 0; i < 50; i++) {
    await a.register(`x${i}`, task);
    assertEquals((await b.lookup(`x${i}`))?.node, a.node);
  }
});

Deno.test("Cluster: a message is refused that is too big for NATS, by whatever server", OPTIONS, async () => {
  await using folder = await makeFolder({ "nats.conf": "max_payload: 4096\n" });
  await using server = await NatsServer.start({ args: ["-c", `${folder.path}/nats.conf`] });
  await using a = await node(server.url);
  await using b = await node(server.url);
  await b.register("x", answerer("b"));
  const remote = (await a.lookup("x"))!;
  assertEquals(MSG_LINE.send(remote)("x".repeat(4096)), false);
  const error = await assertRejects(() => MSG_ASK.call(remote)("x".repeat(4096) as "id"), CallError);
  assertEquals(error.message, "Cannot call MSG_ASK: 4127 bytes are more than the 4096 allowed");
  assertEquals(await MSG_ASK.call(remote)("id"), "b"); // and the connection lives on
});

Deno.test("Cluster: what NATS does not permit is told as an event", OPTIONS, async () => {
  const users = `authorization { users: [{ user: u, password: p, permissions: {
    publish: ["concurrence.>"], subscribe: { allow: ["concurrence.>"], deny: ["concurrence.name.forbidden"] } } }] }`;
  await using folder = await makeFolder({ "nats.conf": users });
  await using server = await NatsServer.start({ args: ["-c", `${folder.path}/nats.conf`] });
  await using cluster = await Cluster.connect({
    servers: server.url,
    user: "u",
    pass: "p",
    messages: MESSAGES,
    ...TIMES,
  });
  const events = cluster.events();
  await cluster.register("allowed", answerer("x"));
  const told = event(events, "error");
  await cluster.register("forbidden", answerer("x"));
  await told;
});
