/**
 * The measuring programs: that they run, and that they see what they have to see. No figure is judged here.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { median } from "../bench/net/figures.ts";
import { Histogram } from "../bench/net/histogram.ts";
import { Account, numbered } from "../bench/net/numbered.ts";
import { anything } from "../bench/soak/hostile.ts";
import { Random } from "../bench/soak/random.ts";
import { slope } from "../bench/soak/watch.ts";
import { type Outcome, Program } from "./program.ts";
import { requires } from "./requires.ts";

const TIME = { timeout: 60_000 };

/* --------------------------------------------------- the programs ------------------------------------------------- */

Deno.test("bench:net measures each load on each server, and finds nothing lost", TIME, async () => {
  const { code, lines, stderr } = (await all()).net!;
  assertEquals([code, stderr], [0, ""]);
  assertEquals(serversIn(lines), [
    "raw",
    "chat.ts",
    "raw",
    "echo.ts --raw",
    "raw",
    "chat.ts",
    "raw",
    "chat.ts",
  ]);
});

Deno.test(
  "bench:net --peers adds other runtimes, and the row of line echoes is compared with Node",
  { ...TIME, ...requires("node") },
  async () => {
    const { code, lines, stderr } = (await all()).peers!;
    assertEquals([code, stderr], [0, ""]);
    assertEquals(serversIn(lines).filter((server) => server !== "asyncio"), [ // if there is Python
      ...["raw", "chat.ts", "Node net"],
      ...["raw", "echo.ts --raw", "Node net"],
      ...["Node readline", "Node for await", "Deno by pipes", "echo.ts --lines"],
    ]);
  },
);

Deno.test(
  "bench:net --only refuses a row that there is not, in one line that names it, with 2",
  TIME,
  async () => {
    const { code, lines, stderr } = await run("bench/net.ts", ["--only", "chat-1,chat-7"]);
    assertEquals([code, lines], [2, []]);
    assertEquals(stderr, `bench:net: --only knows no row "chat-7" (see --help)\n`);
  },
);

Deno.test("bench:scaling measures each row that is asked for, at n and at 4n", TIME, async () => {
  const { code, lines, stderr } = (await all()).scaling!;
  assertEquals([code, stderr], [0, ""]);
  const rows = lines.slice(2).map((line) => line.split("|").map((cell) => cell.trim()));
  assertEquals(rows.map(([, about, n]) => [about!.split(":")[0], n]), [
    ["children", "100"],
    ["sleepers", "100"],
    ["line", "65536"],
  ]);
  for (const [, about, , , , ratio] of rows) assert(Number(ratio) > 0, about);
});

Deno.test("bench:scaling and bench:peers refuse names that there are not, with 2", TIME, async () => {
  const scaling = await run("bench/scaling.ts", ["--only", "line,lime"]);
  assertEquals([scaling.code, scaling.stderr], [
    2,
    `bench:scaling: --only knows no row "lime" (see --help)\n`,
  ]);
  const peers = await run("bench/peers.ts", ["--only", "bare,ours"]);
  assertEquals([peers.code, peers.stderr], [
    2,
    `bench:peers: --only knows no library "ours" (see --help)\n`,
  ]);
});

Deno.test("bench:peers: the libraries are dependencies of their folder, and not of the project", async () => {
  const importsOf = async (file: string): Promise<string[]> =>
    Object.keys(JSON.parse(await Deno.readTextFile(file)).imports);
  const peers = (await importsOf("bench/peers/deno.json")).filter((name) => !name.startsWith("@std/"));
  assertEquals(peers, ["comedy", "effect", "effection", "nact", "xstate"]);
  assertEquals((await importsOf("deno.json")).filter((name) => peers.includes(name)), []);
  const lock: Record<string, string> = JSON.parse(await Deno.readTextFile("deno.lock")).specifiers;
  const locked = Object.keys(lock).filter((name) => peers.some((peer) => name.startsWith(`npm:${peer}@`)));
  assertEquals(locked, []);
});

Deno.test("soak lets the hostile loose on a chat, and finds nothing wrong", TIME, async () => {
  const { code, lines, stderr } = (await all()).soak!;
  assertEquals([code, stderr, lines[0]], [0, "", "seed 7"]);
  const cells = new Map(
    lines.map((line) => line.split("|").map((cell) => cell.trim())).map(([, a, b]) => [a, b]),
  );
  assert(Number(cells.get("lines delivered")) > 0, lines.join("\n"));
  assertEquals(Number(cells.get("lines delivered")), 2 * Number(cells.get("lines said")));
  assertEquals(cells.get("server"), "ended with 143, nothing on stderr");
  assert(Number(cells.get("floods")) > 0, lines.join("\n"));
});

/* --------------------------------------------------- what they see ------------------------------------------------ */

Deno.test("Account.take() books lines in order, however they were cut", () => {
  const seen: string[] = [];
  const account = new Account(16, (sender, first, end) => seen.push(`${sender}: ${first} to ${end}`));
  const bytes = join(numbered(3, 0, 70, 16), numbered(5, 0, 1, 16), numbered(3, 70, 1, 16));
  const cut = 100 * 3 + 7;
  const rest = account.take(bytes.subarray(0, cut));
  assertEquals(rest, cut % 16);
  assertEquals(account.take(bytes.subarray(cut - rest)), 0);
  assertEquals([account.right, account.wrong], [72, 0]);
  assertEquals(seen, ["3: 0 to 19", "3: 19 to 70", "5: 0 to 1", "3: 70 to 71"]);
});

Deno.test("Account.take() finds what is lost, comes twice or late, and what was altered", () => {
  const lines = [0, 1, 3, 3, 2, 4].map((n) => numbered(0, n, 1, 16));
  lines[5]![15] = 65; // no line end
  const account = new Account(16, () => {});
  account.take(join(...lines, numbered(63, 9, 1, 16)));
  assertEquals([account.right, account.wrong], [2, 5]); // 3 is not due, nor is 3 again; 2 is late, 4 altered, 9 not due
});

Deno.test("Histogram.percentile() is right within 2.2 %, and the longest is exact", () => {
  const histogram = new Histogram();
  for (let ms = 1; ms <= 1000; ms++) histogram.add(ms);
  const ratios = [0.01, 0.5, 0.99].map((share) => histogram.percentile(share) / (1000 * share));
  for (const ratio of ratios) assert(Math.abs(ratio - 1) < 0.022, `${ratios}`);
  assertEquals([histogram.total, histogram.most], [1000, 1000]);
  assert(Number.isNaN(new Histogram().percentile(0.5)));
});

Deno.test("Histogram.merge() is as if all had been added to one", () => {
  const [a, b, both] = [new Histogram(), new Histogram(), new Histogram()];
  for (const ms of [0.1, 1, 2]) for (const histogram of [a, both]) histogram.add(ms);
  for (const ms of [3, 50]) for (const histogram of [b, both]) histogram.add(ms);
  a.merge(b);
  const shares = [0.2, 0.4, 0.6, 0.8, 1];
  assertEquals(shares.map((share) => a.percentile(share)), shares.map((share) => both.percentile(share)));
  assertEquals([a.total, a.most], [5, 50]);
});

Deno.test("median() is the one in the middle, or between two", () => {
  assertEquals([median([3, 1, 2]), median([4, 1, 2, 3]), median([7])], [2, 2.5, 7]);
});

Deno.test("slope() is by how much a value grows in a minute", () => {
  const samples = [0, 1, 2, 5].map((minute) => ({ minute, rss: 100 + 7 * minute, descriptors: 4 }));
  assertEquals([slope(samples, ({ rss }) => rss), slope(samples, ({ descriptors }) => descriptors)], [7, 0]);
  assertEquals([slope(samples.slice(0, 1), ({ rss }) => rss), slope([], ({ rss }) => rss)], [0, 0]);
});

Deno.test("Random gives the same bytes to the hostile for the same seed, and others for another", () => {
  const [a, b, c] = [1, 1, 2].map((seed) => {
    const random = new Random(seed).split();
    return Array.from({ length: 20 }, () => anything(random));
  });
  assertEquals(a, b);
  assert(String(a) !== String(c));
});

/* ------------------------------------------------------------------------------------------------------------------ */

const SHORT = [
  "bench/net.ts",
  "--rounds",
  "1",
  "--seconds",
  "0.1",
  "--warm-up",
  "0.1",
  "--idle",
  "20",
  "--still",
  "0.1",
];

/** The programs that take their time, run at the same time: mostly they wait, and no figure is judged here. */
const PROGRAMS: Readonly<Record<string, readonly string[]>> = {
  net: [...SHORT, "--only", "chat-1,echo-1,idle,churn"],
  peers: [...SHORT, "--peers", "--only", "chat-1,echo-1,lines"],
  scaling: ["bench/scaling.ts", "--rounds", "1", "--only", "children,sleepers,line"],
  soak: ["bench/soak.ts", "--minutes", "0.02", "--seed", "7", "--talkers", "3"],
};

let ended: Promise<Record<string, Outcome>> | undefined;

/** How they have ended, each by its name. */
function all(): Promise<Record<string, Outcome>> {
  return ended ??= (async () => {
    const outcomes = Object.entries(PROGRAMS).map(async ([name, [file, ...flags]]) =>
      [name, await run(file!, flags)] as const
    );
    return Object.fromEntries(await Promise.all(outcomes));
  })();
}

async function run(file: string, flags: readonly string[]): Promise<Outcome> {
  await using program = new Program(Deno.execPath(), ["run", "--quiet", "--allow-all", file, ...flags]);
  return await program.end();
}

// The servers in a table, each of which has lost nothing.
function serversIn(lines: readonly string[]): (string | undefined)[] {
  const rows = lines.map((line) => line.split("|").map((cell) => cell.trim())).filter(({ length }) =>
    length === 14
  );
  const measured = rows.slice(2);
  for (const row of measured) assertEquals(row.at(-2), "0", `lost: ${row}`);
  return measured.map(([, , server]) => server);
}

function join(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}
