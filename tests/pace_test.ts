import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { Pace, type PaceOptions } from "../pace.ts";

/** The times at which things happen that are wanted at `wanted`, each as soon as the pace allows. */
function times(options: PaceOptions, wanted: readonly number[]): number[] {
  const pace = new Pace(options);
  let now = 0;
  return wanted.map((at) => {
    now = Math.max(now, at);
    now += pace.delay(now);
    pace.count(now);
    return now;
  });
}

Deno.test("Pace: a burst goes at once, then one each period", () => {
  assertEquals(times({ burst: 3, perSecond: 10 }, [0, 0, 0, 0, 0, 0]), [0, 0, 0, 100, 200, 300]);
});

Deno.test("Pace: without a burst, one each period", () => {
  assertEquals(times({ perSecond: 2 }, [0, 0, 0]), [0, 500, 1000]);
});

Deno.test("Pace: a pause gives the burst back, one each period, and no more than that", () => {
  const wanted = [0, 0, 0, 150, 150, 10_000, 10_000, 10_000, 10_000];
  assertEquals(times({ burst: 3, perSecond: 10 }, wanted), [
    0,
    0,
    0,
    150,
    200,
    10_000,
    10_000,
    10_000,
    10_100,
  ]);
});

Deno.test("Pace: in no stretch of time there are more than the burst and what the rate allows", () => {
  const options = fc.record({
    burst: fc.integer({ min: 1, max: 5 }),
    perSecond: fc.integer({ min: 1, max: 100 }),
  });
  fc.assert(
    fc.property(options, fc.array(fc.nat(2000), { maxLength: 40 }), ({ burst, perSecond }, wanted) => {
      const happened = times({ burst, perSecond }, wanted.toSorted((a, b) => a - b));
      for (const [i, from] of happened.entries()) {
        for (const [j, to] of happened.entries()) {
          if (j < i) continue;
          assert(j - i + 1 <= burst + ((to - from) * perSecond) / 1000 + 1e-6, `${happened}`);
        }
      }
    }),
  );
});

Deno.test("new Pace() refuses what makes no sense", () => {
  assertThrows(() => new Pace({ perSecond: 0 }), RangeError, '"perSecond" must be more than 0, got 0');
  assertThrows(
    () => new Pace({ perSecond: 1, burst: 0.5 }),
    RangeError,
    '"burst" must be a positive integer, got 0.5',
  );
});
