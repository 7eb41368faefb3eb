/**
 * The soak: a chat under fire for minutes, with well-behaved clients who check every line among hostile ones.
 *
 *     deno task soak --minutes 10
 *
 * `examples/chat.ts` runs as a child process with its default limits. The hostile do what `bench/soak/hostile.ts` lists;
 * all that they do follows from the seed, which is printed, and can be had again with `--seed`, as far as the timing of a
 * network can. The exit code is 1 if a line is lost, comes twice, late, to who said it, altered or with control characters, if a
 * well-behaved client is sent away, if the server writes to stderr or does not end as it should, if it holds more memory
 * than `--max-rss` or grows faster than `--max-slope`, or if descriptors are left when all have gone.
 *
 * @module
 */
import { program, wholeNumber } from "../examples/cli.ts";
import { quit, Tasklet } from "../mod.ts";
import { Child, type Ending } from "./net/child.ts";
import { pickCores } from "./net/cores.ts";
import { digits, duration, table } from "./net/figures.ts";
import { positive } from "./net/flags.ts";
import { Histogram } from "./net/histogram.ts";
import { pause, settle } from "./net/reading.ts";
import { attack, KINDS, type Tally } from "./soak/hostile.ts";
import { Random } from "./soak/random.ts";
import { type Findings, Talkers } from "./soak/talkers.ts";
import { type Sample, slope, Watch } from "./soak/watch.ts";

interface Options {
  readonly minutes: number;
  readonly seed: number;
  readonly talkers: number;
  readonly maxRss: number;
  readonly maxSlope: number;
}

interface Report {
  readonly findings: Findings;
  readonly missing: number;
  readonly latency: Histogram;
  readonly tallies: readonly Tally[];
  readonly samples: readonly Sample[];
  readonly stuck: number; // how often the server has said that a client takes nothing
  readonly ending: Ending;
  readonly cut: unknown; // why it was over too soon
}

const CHAT = ["examples/chat.ts", "--port", "0", "--hostname", "127.0.0.1"];
const SAMPLES = 1000; // milliseconds from one to the next
const PROGRESS = 10_000; // milliseconds from one line to the next
const WARM_UP = 0.2; // of the run, before which the memory may grow
const SLOPE_FROM = 5; // minutes that a run has to take so that a slope says something
const MIB = 1024 * 1024;
const TERMINATED = 143;

async function soak({ minutes, seed, talkers: count }: Options): Promise<Report> {
  const random = new Random(seed);
  let stuck = 0;
  const command = [Deno.execPath(), "run", "--quiet", "--allow-net", ...CHAT];
  await using server = await Child.start(command, pickCores().server, (line) => {
    if (line.startsWith("dropped a client")) stuck++;
  });
  using watch = new Watch(server, SAMPLES);
  const talkers = await Talkers.join(server.port, count, random.split());
  const tallies: Tally[] = [];
  const latency = new Histogram();
  const over = new AbortController();
  const attacking = attack(KINDS, server.port, random.split(), tallies, over.signal);
  const progress = setInterval(() => tellProgress(watch.look(), talkers, tallies, latency), PROGRESS);
  talkers.start();
  // The attack does not end by itself, unless it can no longer reach the server.
  const cut = await Promise.race([pause(60_000 * minutes), attacking]).catch((error) => error);
  clearInterval(progress);
  over.abort();
  await Promise.allSettled([attacking]);
  await talkers.end();
  const { missing } = talkers;
  latency.merge(talkers.latency);
  const before = watch.samples[0]!.descriptors;
  await settle(() => server.descriptors === before, () => server.descriptors);
  watch.look();
  const ending = await server.stop();
  return {
    findings: talkers.findings,
    missing,
    latency,
    tallies,
    samples: watch.samples,
    stuck,
    ending,
    cut,
  };
}

/* --------------------------------------------------- what is told ------------------------------------------------- */

function tellProgress(sample: Sample, talkers: Talkers, tallies: readonly Tally[], all: Histogram): void {
  const latency = talkers.latency;
  talkers.latency = new Histogram();
  all.merge(latency);
  const { said, delivered, gaps, duplicates, dropped } = talkers.findings;
  console.log(
    [
      `${Math.round(60 * sample.minute)} s`.padStart(6),
      `rss ${digits(sample.rss / MIB)} MiB`,
      `${sample.descriptors} descriptors`,
      `said ${said}, delivered ${delivered}, lost ${gaps}, twice ${duplicates}`,
      `p50 ${ms(latency, 0.5)}, p99 ${ms(latency, 0.99)}, max ${duration(1e6 * latency.most)}`,
      `hostile ${sum(tallies, "came")}, dropped ${sum(tallies, "dropped")}, talkers dropped ${dropped}`,
    ].join("; "),
  );
}

function tell({ findings, missing, latency, tallies, samples, stuck, ending }: Report): void {
  tellTable([
    ["what", "result"],
    ["lines said", String(findings.said)],
    ["lines delivered", String(findings.delivered)],
    ["lines lost", String(missing)],
    ["lines that came twice, late or to who said them", String(findings.duplicates)],
    ["lines altered", String(findings.altered)],
    ["control characters", String(findings.controls)],
    ["latency p50, p99, max", `${ms(latency, 0.5)}, ${ms(latency, 0.99)}, ${duration(1e6 * latency.most)}`],
    ["RSS at the begin, most, at the end", `${range(samples, ({ rss }) => Math.round(rss / MIB))} MiB`],
    ["RSS slope after warm-up", `${Math.round(growth(samples))} KiB a minute`],
    [
      "descriptors at the begin, most, at the end",
      range(samples, ({ descriptors }) => descriptors),
    ],
    ["well-behaved clients dropped", String(findings.dropped)],
    ["log lines that a client takes nothing", String(stuck)],
    ["server", `ended with ${ending.code}, ${ending.stderr === "" ? "nothing" : "something"} on stderr`],
  ]);
  tellTable([
    ["hostile", "came", "closed by the server"],
    ...tallies.map(({ name, came, dropped }) => [name, `${came}`, `${dropped}`]),
  ]);
}

function tellTable(rows: readonly (readonly string[])[]): void {
  console.log(`\n${table(rows)}`);
}

function range(samples: readonly Sample[], value: (sample: Sample) => number): string {
  const values = samples.map(value);
  return [values[0]!, Math.max(...values), values.at(-1)!].join(", ");
}

/* --------------------------------------------------- what is wrong ------------------------------------------------ */

function faultsOf(report: Report, { minutes, maxRss, maxSlope }: Options): string[] {
  const { findings, missing, samples, ending, cut } = report;
  const first = samples[0]!.descriptors;
  const last = samples.at(-1)!.descriptors;
  const rss = Math.max(...samples.map(({ rss }) => rss));
  const faults: [boolean, string][] = [
    [cut !== undefined, `it was over too soon: ${cut}`],
    [findings.delivered === 0, "nothing was delivered"],
    [missing !== 0, `${missing} lines were lost`],
    [findings.gaps !== 0, `${findings.gaps} lines were missing when the next one came`],
    [findings.duplicates !== 0, `${findings.duplicates} lines came twice, late or to who said them`],
    [findings.altered !== 0, `${findings.altered} lines were altered`],
    [findings.controls !== 0, `${findings.controls} control characters came through`],
    [findings.dropped !== 0, `${findings.dropped} well-behaved clients were dropped`],
    [findings.kept !== 0, `${findings.kept} well-behaved clients quit, and were kept`],
    [rss > maxRss * MIB, `the server held ${digits(rss / MIB)} MiB, more than ${maxRss}`],
    [
      minutes >= SLOPE_FROM && growth(samples) > maxSlope,
      `its memory grew by ${Math.round(growth(samples))} KiB a minute`,
    ],
    [last > first, `${last - first} descriptors are open still`],
    [ending.stderr !== "", `the server reported: ${ending.stderr}`],
    [ending.code !== TERMINATED, `the server ended with ${ending.code}`],
  ];
  return faults.filter(([isThere]) => isThere).map(([, what]) => what);
}

// KiB a minute, after the warm-up.
function growth(samples: readonly Sample[]): number {
  const end = samples.at(-1)!.minute;
  const warm = samples.filter(({ minute }) => minute >= WARM_UP * end && minute < end); // the last: all have gone
  return slope(warm, ({ rss }) => rss / 1024);
}

function ms(latency: Histogram, share: number): string {
  return duration(1e6 * latency.percentile(share));
}

function sum(tallies: readonly Tally[], key: "came" | "dropped"): number {
  return tallies.reduce((sum, tally) => sum + tally[key], 0);
}

if (import.meta.main) {
  const flags = {
    minutes: positive("minutes under fire", 10),
    seed: { ...wholeNumber("seed of all chance", undefined, 0, 2 ** 32 - 1), defaultText: "any" },
    talkers: wholeNumber("well-behaved clients", 20, 2, 1000),
    "max-slope": wholeNumber(
      `KiB a minute by which that may grow after the warm-up, in a run of ${SLOPE_FROM} minutes or more`,
      2048,
      0,
      1_000_000,
    ),
    "max-rss": wholeNumber("MiB that the server may hold", 200, 1, 1_000_000),
  };
  program({ name: "soak", about: "Keeps a chat under fire.", flags }, async (values) => {
    const seed = values.seed ?? crypto.getRandomValues(new Uint32Array(1))[0]!;
    const options = { ...values, seed, maxRss: values["max-rss"], maxSlope: values["max-slope"] };
    console.log(`seed ${seed}`);
    const report = await Tasklet.wait(soak(options));
    tell(report);
    const faults = faultsOf(report, options);
    for (const fault of faults) console.error(`soak: ${fault}`);
    if (faults.length > 0) quit(1);
  });
}
