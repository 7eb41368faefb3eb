import { assertEquals, assertMatch } from "@std/assert";
import { Program } from "./program.ts";
import { pack } from "./package.ts";

/** How a program of `essentials.ts` is run, and what is to come of it. */
interface Expected {
  readonly code: number;
  readonly lines: readonly string[];
  readonly stderr?: RegExp;
  /** Sent one after the other, each when it has printed one more line. */
  readonly signals?: readonly Deno.Signal[];
}

/** A runtime. */
interface Runtime {
  readonly name: string;
  /** Where it is; `undefined` if it cannot be had. */
  readonly path: string | undefined;
  /** What comes of a rejection that nobody awaits within a tasklet. */
  readonly drops: Expected;
}

const PROGRAMS: Readonly<Record<string, Expected>> = {
  returns: { code: 0, lines: ["done"] },
  fails: { code: 1, lines: [], stderr: /main#\d+ failed: .*RangeError: no luck/s },
  drains: { code: 0, lines: ["ready", "cleaned up"] },
  quits: { code: 3, lines: ["cleaned up"] },
  daemon: { code: 0, lines: ["ready", "cleaned up"] },
  rejects: { code: 1, lines: [], stderr: /RangeError: nobody's/ },
  "listens, SIGINT": { code: 130, lines: ["ready", "cleaned up"], signals: ["SIGINT"] },
  "listens, SIGTERM": { code: 143, lines: ["ready", "cleaned up"], signals: ["SIGTERM"] },
  "stubborn, twice": { code: 130, lines: ["ready", "busy"], signals: ["SIGTERM", "SIGINT"] },
};

const FAILS_ITS_TASKLET: Expected = { code: 0, lines: ["failed dropped"] };
// Bun does not tell in whose name a promise was rejected.
const ENDS_THE_PROCESS: Expected = { code: 1, lines: [], stderr: /RangeError: dropped/ };

const TIME = { timeout: 120_000 }; // whoever has no Node or Bun in the cache of npm downloads them
const SOURCES = new URL("runtimes/", import.meta.url);
const DENO: Runtime = { name: "Deno", path: Deno.execPath(), drops: FAILS_ITS_TASKLET };
const OTHERS: readonly Runtime[] = [
  { name: "Node", path: await find("node", 24), drops: FAILS_ITS_TASKLET },
  { name: "Bun", path: await find("bun", 1), drops: ENDS_THE_PROCESS },
];

/** Where the package is installed, with the programs beside it. */
let folder = "";

Deno.test.beforeAll(async () => {
  if (OTHERS.every(({ path }) => path === undefined)) return;
  folder = await Deno.makeTempDir();
  await pack(`${folder}/package.tgz`);
  await Deno.writeTextFile(`${folder}/package.json`, `{ "private": true, "type": "module" }`);
  for (const name of ["essentials.ts", "network.ts"]) {
    await Deno.copyFile(new URL(name, SOURCES), `${folder}/${name}`);
  }
  const { code, text } = await output("npm", ["install", "--no-audit", "--no-fund", "./package.tgz"], folder);
  assertEquals(code, 0, text);
});

Deno.test.afterAll(async () => {
  if (folder !== "") await Deno.remove(folder, { recursive: true });
});

for (const runtime of [DENO, ...OTHERS]) {
  const { name, path, drops } = runtime;
  const options = { ...TIME, ignore: path === undefined };

  Deno.test(`${name} runs programs to the same ends: exit codes, signals, cleanup`, options, async (test) => {
    for (const [program, expected] of Object.entries({ ...PROGRAMS, drops })) {
      await test.step(program, () => assertOutcome(runtime, program, expected));
    }
  });

  if (runtime === DENO) continue;

  Deno.test(`${name} prints the same essentials as Deno`, options, async () => {
    await using there = start(DENO, "essentials");
    await using here = start(runtime, "essentials");
    const [expected, found] = await Promise.all([there.end(), here.end()]);
    assertEquals([expected.code, expected.lines.length > 20], [0, true], expected.stderr);
    assertEquals(found, expected);
  });

  Deno.test(
    `${name} is told in one error that the network needs Deno, or is one in memory`,
    options,
    async () => {
      await using program = new Program(path!, [`${folder}/network.ts`]);
      assertEquals(await program.end(), {
        code: 0,
        lines: [
          "Error: Cannot serve: this needs Deno, or another network",
          "Error: Cannot connect: this needs Deno, or another network",
          "in memory hello 200",
          "AddrInUse: Cannot listen on localhost:9010: the address is in use",
          "reset true",
        ],
        stderr: "",
      });
    },
  );

  Deno.test(`${name} is told in one error that the programs need Deno`, options, async () => {
    await using program = new Program(path!, [`${folder}/node_modules/@x/concurrence/examples/greeting.js`]);
    const { code, lines, stderr } = await program.end();
    assertEquals([code, lines], [1, []]);
    assertMatch(stderr, /^error: Cannot run greeting: this needs Deno$/im);
  });
}

/** Starts a program of `essentials.ts`. */
function start({ path }: Runtime, name: string): Program {
  if (path !== DENO.path) return new Program(path!, [`${folder}/essentials.ts`, name]);
  return new Program(path!, ["run", "--quiet", "-A", new URL("essentials.ts", SOURCES).href, name]);
}

async function assertOutcome(runtime: Runtime, name: string, expected: Expected): Promise<void> {
  await using program = start(runtime, name.split(",")[0]!);
  const lines: (string | undefined)[] = [];
  for (const signal of expected.signals ?? []) {
    lines.push(await program.line());
    program.signal(signal);
  }
  const outcome = await program.end();
  lines.push(...outcome.lines);
  assertEquals([outcome.code, lines], [expected.code, expected.lines], outcome.stderr);
  assertMatch(outcome.stderr, expected.stderr ?? /^$/);
}

/** Where a runtime of at least that version is: one that is installed, or else one from npm, which is needed anyway. */
async function find(name: string, least: number): Promise<string | undefined> {
  // Where there is no Node, Deno answers in its name.
  const script =
    `console.log(JSON.stringify([process.execPath, process.versions.${name}, process.versions.deno]))`;
  const hasNpm = (await output("npm", ["--version"])).code === 0;
  for (const [command, ...args] of hasNpm ? [[name], ["npx", "-y", `${name}@${least}`]] : []) {
    const { code, text } = await output(command!, [...args, "-e", script]);
    const [path, version, deno] = code === 0 ? JSON.parse(text) : [];
    if (parseInt(version) >= least && deno === null) return path;
  }
  const needed = `npm, and ${name} ${least} or newer, installed or by npx`;
  if (Deno.env.has("CI")) throw new Error(`Cannot run tests: they need ${needed}`);
  console.log(`Skipping some tests: they need ${needed}`);
  return undefined;
}

/** Runs a command to its end; one that is not there ends with 127. */
async function output(
  command: string,
  args: string[],
  cwd?: string,
): Promise<{ code: number; text: string }> {
  try {
    const { code, stdout } = await new Deno.Command(command, {
      args,
      ...(cwd !== undefined && { cwd }),
      env: { npm_config_fetch_retries: "0", npm_config_prefer_offline: "true", NO_COLOR: "1" },
      stdin: "null",
      stderr: "null",
    }).output();
    return { code, text: new TextDecoder().decode(stdout) };
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return { code: 127, text: "" };
  }
}
