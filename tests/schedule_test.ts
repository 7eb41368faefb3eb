import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { randomOf, scheduleOf } from "../schedule.ts";

// ------------------------------------------------------------------------------------------------
// Schedules

Deno.test("randomOf() is mulberry32", () => {
  const random = randomOf(0);
  assertEquals([random(), random(), random()], [
    0.26642920868471265,
    0.0003297457005828619,
    0.2232720274478197,
  ]);
});

Deno.test("randomOf() gives numbers from 0 to 1, evenly, for each seed its own", () => {
  const firsts = new Set<number>();
  const counts = new Array<number>(10).fill(0);
  for (let seed = 0; seed < 10_000; seed++) {
    const n = randomOf(seed)();
    firsts.add(n);
    counts[Math.floor(n * 10)]!++;
  }
  assert(firsts.size > 9_800);
  assert(counts.every((count) => count > 850 && count < 1150), `${counts}`);
});

Deno.test("scheduleOf() makes the same decisions for the same seed, within bounds, whatever the seed", () => {
  fc.assert(fc.property(
    fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 200 }),
    (seed, counts) => {
      const decide = () => {
        const schedule = scheduleOf(seed);
        const all = Array.from({ length: 5 }, () => ({ rank: schedule.rank() }));
        return counts.map((count) => schedule.next(all.slice(0, count)));
      };
      const decisions = decide();
      assertEquals(decide(), decisions);
      assert(decisions.every((decision, i) => decision >= 0 && decision < counts[i]!));
    },
  ));
});

Deno.test("scheduleOf() lets everybody go on in the end, be somebody always ready", () => {
  for (let seed = 0; seed < 200; seed++) {
    const schedule = scheduleOf(seed);
    const all = Array.from({ length: 4 }, () => ({ rank: schedule.rank() }));
    const chosen = new Set<number>();
    for (let step = 0; step < 5000; step++) chosen.add(schedule.next(all));
    assertEquals(chosen.size, 4, `seed ${seed}`);
  }
});

Deno.test("scheduleOf() has seeds that keep to one as long as they can, and seeds that switch all the time", () => {
  const switches: number[] = [];
  for (let seed = 0; seed < 200; seed++) {
    const schedule = scheduleOf(seed);
    const all = Array.from({ length: 3 }, () => ({ rank: schedule.rank() }));
    let last = schedule.next(all);
    let count = 0;
    for (let step = 0; step < 15; step++) {
      const next = schedule.next(all);
      if (next !== last) count++;
      last = next;
    }
    switches.push(count);
  }
  const few = switches.filter((count) => count <= 3).length;
  const many = switches.filter((count) => count >= 6).length;
  assert(few > 60 && many > 60, `${few} keep, ${many} switch`);
});
