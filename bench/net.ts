/**
 * The load test: how fast `chat.ts` and `echo.ts` are beside servers that do the same without the library.
 *
 *     deno task bench:net
 *     deno task bench:net --only chat-64,chat-1 --rounds 9 --peers
 *
 * The servers of a row live side by side as child processes on one core, and get their load in turn, A B A B …, from this
 * process on another core. Each round gives ratios of neighbours in time; their median travels from machine to machine,
 * the absolute figures do not. Before the first round, each server gets its load for some seconds that do not count: those in
 * which V8 has not yet compiled what is called most.
 *
 * Two more columns tell how far a ratio can be trusted. "busy" is the part of the time for which server and load had their
 * cores: where the load is always busy and the server is not, the load measures itself. "CPU each" is the time of the
 * server's core for one operation, which depends on other programs and on the load's speed far less than the throughput.
 *
 * Every line and byte is checked; if one is lost, or comes twice or otherwise, the exit code is 1.
 *
 * @module
 */
import { program, wholeNumber } from "../examples/cli.ts";
import { quit, Tasklet, TaskletExit } from "../mod.ts";
import { Child } from "./net/child.ts";
import { type Cores, pickCores } from "./net/cores.ts";
import { digits, duration, median, percent, rate } from "./net/figures.ts";
import { only, picked, positive } from "./net/flags.ts";
import { Histogram } from "./net/histogram.ts";
import { pause, type Reading } from "./net/reading.ts";
import { type Rival, type Row, rowsOf } from "./net/rows.ts";

interface Plan {
  readonly rounds: number;
  readonly seconds: number;
  readonly warmUp: number;
  readonly still: number;
  readonly withPeers: boolean;
  readonly cores: Cores;
}

/** A server under test, and what was read of it. */
interface Contender {
  readonly rival: Rival;
  readonly readings: Reading[];
  server: Child | undefined;
}

const NAMES = rowsOf(0, 0).map(({ name }) => name);
const SHARED = "Servers and load share all cores: ratios say less than they could.";
const DISTURBING = 0.2; // cores
const LONGEST = 120_000; // milliseconds that a load may take beside its measurement
const BETWEEN = 50; // milliseconds from one load to the next

async function runAll(rows: readonly Row[], plan: Plan): Promise<Reading[]> {
  const readings: Reading[] = [];
  printLine(HEAD);
  printLine(HEAD.map((_, i) => "-".repeat(WIDTHS[i]!)));
  for (const row of rows) readings.push(...await runRow(row, plan));
  return readings;
}

async function runRow(row: Row, plan: Plan): Promise<Reading[]> {
  const rivals = row.rivals.filter((rival) => isThere(rival) && (plan.withPeers || !rival.isPeer));
  const contenders: Contender[] = rivals.map((rival) => ({ rival, readings: [], server: undefined }));
  const rounds = row.isFresh ? Math.ceil(plan.rounds / 4) : plan.rounds; // one takes long, and gives the same each time
  try {
    if (!row.isFresh) { for (const contender of contenders) await read(row, contender, plan, plan.warmUp); }
    for (let round = 0; round < rounds; round++) {
      for (const contender of contenders) {
        contender.readings.push(await read(row, contender, plan, plan.seconds));
        if (row.isFresh) await end(contender);
        await pause(BETWEEN);
      }
    }
  } finally {
    for (const contender of contenders) await end(contender);
  }
  for (const contender of contenders) printLine(lineOf(row, contender, contenders[0]!));
  return contenders.flatMap(({ readings }) => readings);
}

async function read(
  row: Row,
  contender: Contender,
  { cores, still }: Plan,
  seconds: number,
): Promise<Reading> {
  const { rival } = contender;
  const server = contender.server ??= await Child.start(rival.command, cores.server);
  try {
    const longest = 1000 * (row.isFresh ? 2 * still : seconds) + LONGEST; // still before and after
    return await Tasklet.wait(row.load(server, seconds), { timeout: longest });
  } catch (error) {
    if (error instanceof TaskletExit) throw error;
    throw new Error(`Cannot measure ${rival.name} in row ${row.name}: ${error}`, { cause: error });
  }
}

async function end(contender: Contender): Promise<void> {
  const { server } = contender;
  contender.server = undefined;
  if (server === undefined) return;
  await using _ = server;
  const { stderr } = await server.stop();
  if (stderr !== "") console.error(`${contender.rival.name} reported: ${stderr}`);
}

const isMissing = new Map<string, boolean>();

function isThere({ command: [program] }: Rival): boolean {
  if (!isMissing.has(program!)) isMissing.set(program!, !canRun(program!));
  return !isMissing.get(program!);
}

function canRun(program: string): boolean {
  try {
    return new Deno.Command(program, { args: ["--version"], stdout: "null", stderr: "null" }).outputSync()
      .success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/* --------------------------------------------------- the table -------------------------------------------------- */

const HEAD = [
  "load",
  "server",
  "result",
  "ratio",
  "spread",
  "p50",
  "p99",
  "CPU each",
  "ratio",
  "busy",
  "load",
  "lost",
];
const WIDTHS = [46, 15, 8, 5, 11, 7, 7, 8, 5, 5, 5, 4];

function printLine(cells: readonly string[]): void {
  const padded = cells.map((cell, i) => i < 2 ? cell.padEnd(WIDTHS[i]!) : cell.padStart(WIDTHS[i]!));
  console.log(`| ${padded.join(" | ")} |`);
}

function lineOf(row: Row, { rival, readings }: Contender, base: Contender): string[] {
  const latency = new Histogram();
  for (const reading of readings) latency.merge(reading.latency);
  const value = median(readings.map(({ value }) => value));
  const ratios = readings.map(({ value }, i) => value / base.readings[i]!.value);
  const cpu = median(readings.map(({ cpu }) => cpu));
  const cpuRatio = median(readings.map(({ cpu }, i) => cpu / base.readings[i]!.cpu));
  return [
    base.rival === rival ? row.about : "",
    rival.name,
    row.unit === "bytes" ? `${digits(value / 1024)} KB` : rate(value),
    digits(median(ratios)),
    `${digits(Math.min(...ratios))}–${digits(Math.max(...ratios))}`,
    duration(1e6 * latency.percentile(0.5)),
    duration(1e6 * latency.percentile(0.99)),
    duration(cpu),
    digits(cpuRatio),
    percent(median(readings.map(({ busy }) => busy))),
    percent(median(readings.map(({ loadBusy }) => loadBusy))),
    String(lostIn(readings)),
  ];
}

function disturbed(others: number): string {
  return `Other programs had ${digits(others)} cores meanwhile: ratios are rough, those of "CPU each" least.`;
}

function lostIn(readings: readonly Reading[]): number {
  return readings.reduce((sum, { lost }) => sum + lost, 0);
}

if (import.meta.main) {
  const flags = {
    only: only("rows", NAMES),
    rounds: wholeNumber("rounds, of which the row of idle connections makes a quarter", 4, 1, 1000),
    seconds: positive("seconds for which a server is measured in a round", 1),
    "warm-up": positive("seconds for which each server has its load before it counts", 8),
    idle: wholeNumber("idle connections", 5000, 1, 50_000),
    still: positive("seconds after which idle connections are measured", 40),
    peers: { about: "other runtimes, too, as far as they are installed" },
  };
  program({ name: "bench:net", about: "Measures the servers beside raw ones.", flags }, async (values) => {
    const names = picked(values.only, "row", NAMES);
    const rows = rowsOf(values.idle, values.still).filter(({ name }) => names.includes(name));
    const plan: Plan = {
      ...values,
      warmUp: values["warm-up"],
      withPeers: values.peers,
      cores: pickCores(),
    };
    if (plan.cores.server === undefined) console.log(SHARED);
    const readings = await runAll(rows, plan);
    const others = median(readings.map(({ others }) => others).filter((cores) => !Number.isNaN(cores)));
    if (others > DISTURBING) console.log(disturbed(others));
    if (lostIn(readings) > 0) quit(1);
  });
}
