import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { Presence } from "../presence.ts";

const TIMES = { heartbeat: 100, deadAfter: 400 };

Deno.test("Presence.heard() tells who is new, and knows them then", () => {
  const presence = new Presence(TIMES);
  assertEquals(["a", "b", "a"].map((node) => presence.heard(node, 0)), ["new", "new", "known"]);
  assertEquals(presence.nodes, ["a", "b"]);
});

Deno.test("Presence.look() names the quiet, and lets go of the gone: Gone", () => {
  const presence = new Presence(TIMES);
  presence.heard("a", 0);
  presence.heard("b", 100);
  const log = [149, 150, 399, 400, 500, 501].map((time) => presence.look(time));
  assertEquals(log, [
    { quiet: [], gone: [] },
    { quiet: ["a"], gone: [] },
    { quiet: ["a", "b"], gone: [] },
    { quiet: ["b"], gone: ["a"] },
    { quiet: [], gone: ["b"] },
    { quiet: [], gone: [] },
  ]);
  assertEquals(presence.nodes, []);
});

Deno.test("Presence.heard() tells who is back after having gone in silence, but not after a good-bye: Back", () => {
  const presence = new Presence(TIMES);
  for (const node of ["silent", "lost", "polite"]) presence.heard(node, 0);
  assertEquals([presence.lost("lost"), presence.left("polite")], [true, true]);
  presence.look(400);
  assertEquals(["silent", "lost", "polite"].map((node) => presence.heard(node, 500)), [
    "back",
    "back",
    "new",
  ]);
  assertEquals([presence.lost("nobody"), presence.left("nobody")], [false, false]);
});

Deno.test("Presence.excuse() begins to count anew for all", () => {
  const presence = new Presence(TIMES);
  presence.heard("a", 0);
  presence.excuse(300);
  assertEquals(presence.look(400), { quiet: [], gone: [] });
  assertEquals(presence.look(700).gone, ["a"]);
});

Deno.test("Presence knows so many nodes, and remembers as many of those that have gone: Bounds", () => {
  const presence = new Presence(TIMES, 2);
  assertEquals(["a", "b", "c"].map((node) => presence.heard(node, 0)), ["new", "new", "ignored"]);
  presence.look(400);
  assertEquals(["c", "d"].map((node) => presence.heard(node, 400)), ["new", "new"]);
  presence.look(800); // remembers c and d
  assertEquals(["a", "c"].map((node) => presence.heard(node, 800)), ["new", "back"]);
});

Deno.test("Presence keeps exactly those who were heard in time, whatever happens in what order", () => {
  const node = fc.constantFrom("a", "b", "c");
  const step = fc.oneof(
    fc.record({ kind: fc.constant("heard" as const), node }),
    fc.record({ kind: fc.constant("left" as const), node }),
    fc.record({ kind: fc.constant("look" as const), node }),
  );
  fc.assert(fc.property(fc.array(fc.tuple(step, fc.nat(300))), (steps) => {
    const presence = new Presence(TIMES);
    const heardAt = new Map<string, number>();
    let time = 0;
    for (const [{ kind, node }, after] of steps) {
      time += after;
      if (kind === "heard") {
        presence.heard(node, time);
        heardAt.set(node, time);
      } else if (kind === "left") {
        assertEquals(presence.left(node), heardAt.delete(node));
      } else {
        const gone = [...heardAt].filter(([, at]) => time - at >= TIMES.deadAfter).map(([node]) => node);
        assertEquals(presence.look(time).gone.toSorted(), gone.toSorted());
        for (const each of gone) heardAt.delete(each);
      }
      assertEquals(presence.nodes.toSorted(), [...heardAt.keys()].toSorted());
    }
  }));
});
