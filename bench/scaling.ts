/**
 * What four times the work costs: at most 4.4 times as much, if nothing goes through all there is for each one of it.
 *
 *     deno task bench:scaling
 *     deno task bench:scaling --only line,sleepers --rounds 21
 *
 * What is measured is the time of the processor. In each round a load of `n` is measured four times as often as one of
 * `4n`, so that both do the same work in all. The ratio is the median of the rounds.
 *
 * The sizes are such that memory tells little, and the task gives V8 a young generation that is much larger: what is
 * measured is the library, and not what of it the collector happens to find alive. `--size 10` makes all loads ten times
 * larger, and so tells what memory costs, too.
 *
 * @module
 */
import { program, wholeNumber } from "../examples/cli.ts";
import { Tasklet } from "../mod.ts";
import { digits, duration, median } from "./net/figures.ts";
import { only, picked } from "./net/flags.ts";
import type { Row } from "./scaling/row.ts";
import { STREAMS } from "./scaling/streams.ts";
import { MESSAGES, TASKLETS } from "./scaling/tasklets.ts";
import { CHANNELS, TIME } from "./scaling/waits.ts";

const TIMES = 4;
const TARGET = 4.4;
const WARM_UP = 300; // milliseconds
const READING = 40; // milliseconds for 4n, at least

const ROWS = [...MESSAGES, ...TASKLETS, ...TIME, ...CHANNELS, ...STREAMS];
const NAMES = ROWS.map(({ name }) => name);

interface Reading {
  /** Milliseconds for `n`. */
  readonly one: number;
  /** Milliseconds for `4n`. */
  readonly four: number;
}

/** A row, of the size it has now. */
class Load {
  readonly #cost: Row["cost"];
  readonly #n: number;
  #goes = 1; // in a reading

  constructor({ cost }: Row, n: number) {
    this.#cost = cost;
    this.#n = n;
  }

  async measure(rounds: number): Promise<Reading[]> {
    await this.#warmUp();
    const readings: Reading[] = [];
    for (let round = 0; round < rounds; round++) readings.push(await this.#read());
    return readings;
  }

  // Also finds out how often it must be done to be measured well.
  async #warmUp(): Promise<void> {
    const end = performance.now() + WARM_UP;
    let ms = 0;
    while (performance.now() < end) ms = (await this.#read()).four;
    this.#goes = Math.ceil(READING / ms);
  }

  // Each go has both sizes, so that what disturbs it disturbs both.
  async #read(): Promise<Reading> {
    let [one, four] = [0, 0];
    for (let go = 0; go < this.#goes; go++) {
      if (go % 2 === 0) four += await this.#once(TIMES);
      for (let i = 0; i < TIMES; i++) one += await this.#once(1);
      if (go % 2 === 1) four += await this.#once(TIMES);
    }
    return { one: one / (TIMES * this.#goes), four: four / this.#goes };
  }

  async #once(times: number): Promise<number> {
    const ms = await this.#cost(times * this.#n);
    await Tasklet.yield();
    return ms;
  }
}

/* --------------------------------------------------- the table -------------------------------------------------- */

const HEAD = ["load", "n", "cost of n", `of ${TIMES}n`, "ratio", "spread", ""];
const WIDTHS = [97, 8, 9, 7, 5, 9, 4];

function print(cells: readonly string[]): void {
  const padded = cells.map((cell, i) => i === 0 ? cell.padEnd(WIDTHS[i]!) : cell.padStart(WIDTHS[i]!));
  console.log(`| ${padded.join(" | ")} |`);
}

function lineOf({ name, about }: Row, n: number, readings: readonly Reading[]): string[] {
  const ratios = readings.map(({ one, four }) => four / one);
  const ratio = median(ratios);
  return [
    `${name}: n ${about}`,
    String(n),
    duration(1e6 * median(readings.map(({ one }) => one))),
    duration(1e6 * median(readings.map(({ four }) => four))),
    digits(ratio),
    `${digits(Math.min(...ratios))}–${digits(Math.max(...ratios))}`,
    ratio > TARGET ? "over" : "",
  ];
}

if (import.meta.main) {
  const flags = {
    only: only("rows", NAMES),
    rounds: wholeNumber("rounds", 11, 1, 1000),
    size: wholeNumber("by how much all loads are larger", 1, 1, 1000),
  };
  program(
    { name: "bench:scaling", about: "Measures what four times the work costs.", flags },
    async (values) => {
      const names = picked(values.only, "row", NAMES);
      print(HEAD);
      print(WIDTHS.map((width) => "-".repeat(width)));
      for (const row of ROWS.filter(({ name }) => names.includes(name))) {
        const n = values.size * row.n;
        print(lineOf(row, n, await new Load(row, n).measure(values.rounds)));
      }
    },
  );
}
