import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { ClusterGroup, Registration, RemoteTasklet } from "../cluster.ts";
import { Tasklet } from "../tasklet.ts";
import { MemoryBus } from "./bus.ts";
import {
  type Any,
  close,
  HEARTBEAT,
  MSG_SUM,
  type Node,
  nodes,
  servant,
  virtually,
  watcher,
} from "./nodes.ts";

/** Things that happen to the lines of three nodes. */
const TROUBLE = fc.oneof(
  fc.record({ kind: fc.constant("piece" as const), who: fc.nat(2), piece: fc.nat(1) }),
  fc.record({ kind: fc.constant("connection" as const), who: fc.nat(2), isThere: fc.boolean() }),
  fc.record({ kind: fc.constant("silence" as const), who: fc.nat(2), isSilent: fc.boolean() }),
  fc.record({ kind: fc.constant("wait" as const), ms: fc.nat(12 * HEARTBEAT) }),
);
type Trouble = typeof TROUBLE extends fc.Arbitrary<infer T> ? T : never;

async function trouble(step: Trouble, all: Node[]): Promise<void> {
  if (step.kind === "wait") return await Tasklet.sleep(step.ms);
  const { line } = all[step.who]!;
  if (step.kind === "piece") line.piece = step.piece;
  else if (step.kind === "silence") line.isSilent = step.isSilent;
  else if (step.isThere) line.reconnect();
  else line.disconnect();
}

/** Ends all trouble, and waits until it is forgotten. */
async function heal(all: Node[]): Promise<void> {
  for (const { line } of all) {
    line.piece = 0;
    line.isSilent = false;
    line.reconnect();
  }
  await Tasklet.sleep(40 * HEARTBEAT);
}

/** Plays any steps on three nodes, in virtual time. */
function property<S>(
  steps: fc.Arbitrary<S>,
  play: (steps: S[], all: Node[]) => Promise<void>,
): () => Promise<void> {
  return () =>
    fc.assert(
      fc.asyncProperty(fc.array(steps, { maxLength: 25 }), async (steps) => {
        await virtually(async () => {
          const all = await nodes(3, new MemoryBus());
          await play(steps, all);
          await close(all);
        });
      }),
      { numRuns: 300 },
    );
}

Deno.test(
  "Cluster: whatever was cut off in what order, in the end each name has one owner, whom all find",
  { timeout: 120_000 },
  property(
    fc.oneof(
      TROUBLE,
      fc.record({ kind: fc.constant("register" as const), who: fc.nat(2), name: fc.constantFrom("x", "y") }),
      fc.record({ kind: fc.constant("unregister" as const), name: fc.constantFrom("x", "y") }),
    ),
    async (steps, all) => {
      const held: Registration[] = [];
      const pending: Promise<unknown>[] = [];
      for (const step of steps) {
        if (step.kind === "register") {
          const registering = all[step.who]!.cluster.register(step.name, servant());
          pending.push(registering.then((registration) => held.push(registration), () => {}));
        } else if (step.kind === "unregister") {
          await held.find(({ name, state }) => name === step.name && state === "held")?.unregister();
        } else await trouble(step, all);
      }
      await heal(all);
      await Promise.all(pending);
      await Tasklet.sleep(20 * HEARTBEAT);
      for (const name of ["x", "y"]) {
        const owners = held.filter((each) => each.name === name && each.state === "held").length;
        const found = [];
        for (const { cluster } of all) found.push((await cluster.lookup(name))?.node);
        assert(owners <= 1 && new Set(found).size === 1, `${name} has ${owners} owners: ${found}`);
        assertEquals(found[0] !== undefined, owners === 1);
      }
    },
  ),
);

Deno.test(
  "Cluster: whatever was cut off in what order, every call ends, and every monitor is told of what has ended",
  { timeout: 120_000 },
  property(
    fc.oneof(
      TROUBLE,
      fc.record({ kind: fc.constant("end" as const) }),
      fc.record({
        kind: fc.constant("call" as const),
        who: fc.nat(2),
        to: fc.constantFrom("name" as const, "pool" as const, "group" as const),
      }),
    ),
    async (steps, all) => {
      for (const { cluster } of all) {
        await cluster.register("pool", servant(), { pool: true });
        cluster.group("group").join(servant());
      }
      const task = servant();
      await all[0]!.cluster.register("name", task);
      const names = new Map<string, RemoteTasklet<Any> | ClusterGroup<Any>>();
      for (const [who, { cluster }] of all.entries()) {
        names.set(`${who} name`, (await cluster.lookup("name"))!);
        names.set(`${who} pool`, (await cluster.lookup("pool"))!);
        names.set(`${who} group`, cluster.group("group"));
      }
      const watchers = all.map((node) => watcher(node, "name"));
      await Tasklet.sleep(1);
      const open = new Set<string>();
      for (const [i, step] of steps.entries()) {
        if (step.kind === "end") await task.kill();
        else if (step.kind !== "call") await trouble(step, all);
        else {
          const call = `${i}: ${step.who} to ${step.to}`;
          open.add(call);
          const done = () => open.delete(call);
          void MSG_SUM.call(names.get(`${step.who} ${step.to}`)!)(1).then(done, done);
        }
      }
      await heal(all);
      await task.kill();
      await Tasklet.sleep(20 * HEARTBEAT);
      assertEquals([...open], []);
      assertEquals(watchers.map((each) => each.alive), [false, false, false]);
    },
  ),
);
