/**
 * What the pages tell that no test of a module, program or page looks at.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import config from "../deno.json" with { type: "json" };
import { Cluster } from "../cluster.ts";
import * as library from "../mod.ts";
import { Message, Tasklet } from "../mod.ts";
import { Observer } from "../observer.ts";
import { type Clock, useClock } from "../timer.ts";
import { outcome, TIME } from "./servers.ts";

const ROOT = new URL("../", import.meta.url);
const PAGES = await filesOf(["", "docs/", "bench/"], ".md");
const MODULES = await filesOf([""], ".ts");
const PROGRAMS = Object.entries(config.exports).filter(([, path]) => path.startsWith("./examples/"))
  .map(([name]) => name.slice(2));

/** The texts of the files in `folders` that end so, by path. */
async function filesOf(folders: readonly string[], end: string): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>();
  for (const folder of folders) {
    for await (const { name } of Deno.readDir(new URL(`./${folder}`, ROOT))) {
      if (name.endsWith(end)) files.set(folder + name, await Deno.readTextFile(new URL(folder + name, ROOT)));
    }
  }
  return files;
}

/** What `pattern` finds in all pages, with the page. */
function* found(pattern: RegExp): Generator<[page: string, match: RegExpMatchArray]> {
  for (const [page, text] of PAGES) {
    for (const match of text.matchAll(pattern)) yield [page, match];
  }
}

/** The cells of the rows of a page's tables. */
function rowsOf(page: string): string[][] {
  return PAGES.get(page)!.split("\n").filter((line) => line.startsWith("|"))
    .map((line) => line.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim()));
}

/** What a program says of its flags. */
async function helpOf(program: string): Promise<string> {
  return (await outcome(program, ["--help"])).lines.join("\n");
}

/* ------------------------------------------------- all pages ---------------------------------------------- */

Deno.test("Pages: each file and heading that one links to is there", async () => {
  const missing: string[] = [];
  for (const [page, [, path, heading]] of found(/\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)/g)) {
    const url = path === "" ? new URL(page, ROOT) : new URL(path!, new URL(page, ROOT));
    const isThere = await Deno.stat(url).then(() => true, () => false);
    const headings = isThere && heading !== undefined ? headingsOf(await Deno.readTextFile(url)) : [];
    if (!isThere || (heading !== undefined && !headings.includes(heading))) {
      missing.push(`${page}: ${path}#${heading ?? ""}`);
    }
  }
  assertEquals(missing, []);
});

// As GitHub makes them.
function headingsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, title]) =>
    title!.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-")
  );
}

Deno.test("Pages: each task that one tells to run is there", () => {
  const tasks = Object.keys(config.tasks);
  const named = [...found(/\bdeno(?:@[\d.]+)? task ((?!NAME\b)[\w:]+)/g)];
  const missing = named.filter(([, [, task]]) => !tasks.includes(task!));
  assertEquals([named.length > 20, missing.map(([page, [text]]) => `${page}: ${text}`)], [true, []]);
});

Deno.test("Pages: each member of a class that one names is there", () => {
  const classes: Record<string, unknown> = { ...library, Cluster, Observer };
  const names = Object.keys(classes).filter((name) => /^[A-Z][a-z]/.test(name)).join("|");
  const named = [...found(new RegExp(`\\b(${names})\\.(\\w+)\\b(?!\\.md|\\.ts)`, "g"))];
  const theirs = ["Timeout.pop"]; // of the Python original
  const missing = named.filter(([, [text, name, member]]) => {
    if (theirs.includes(text)) return false;
    const Class = classes[name!] as { readonly prototype?: object };
    return !(member! in Class) && !(Class.prototype !== undefined && member! in Class.prototype);
  });
  assertEquals([named.length > 60, missing.map(([page, [text]]) => `${page}: ${text}`)], [true, []]);
});

/* ------------------------------------------------- README.md ---------------------------------------------- */

Deno.test("README: each program takes the flags that are told", TIME, async () => {
  const told = /each takes (.*?), a server also (.*?), a chat also (.*?)\.$/m.exec(PAGES.get("README.md")!)!;
  const [all, servers, chats] = told.slice(1).map((list) => [...list.matchAll(/--[\w-]+/g)].map(String));
  const missing: string[] = [];
  for (const name of PROGRAMS) {
    const stdout = await helpOf(name);
    const isServer = stdout.includes("--max-connections");
    const isChat = name.startsWith("chat");
    for (const flag of [...all!, ...(isServer ? servers! : []), ...(isChat ? chats! : [])]) {
      if (!stdout.includes(`\n  ${flag} `)) missing.push(`${name} ${flag}`);
    }
  }
  assertEquals([all!.length, servers!.length, chats!.length, missing], [2, 6, 3, []]);
});

/* ------------------------------------------------ SECURITY.md --------------------------------------------- */

Deno.test("SECURITY: each limit has the default that is told, as an option and as a flag", TIME, async () => {
  const sources = [...MODULES.values()].join("\n") +
    await Deno.readTextFile(new URL("examples/client.ts", ROOT));
  const help = {
    chat: await helpOf("chat"),
    directory: await helpOf("directory"),
  };
  const wrong: string[] = [];
  let looked = 0;
  for (const [what, limit, option, flags] of rowsOf("SECURITY.md").slice(2)) {
    const wanted = limit!.replaceAll(" ", "").replace(/^5s$/, "5000").replace(/^nolimit$/, "Infinity");
    const name = /^`(\w+)`$/.exec(option!)?.[1];
    if (name !== undefined) {
      const defaults = [...sources.matchAll(defaultsOf(name))].map(([, value]) => value!);
      looked++;
      if (!defaults.includes(wanted) && !(name === "linePace" && wanted === "Infinity")) {
        wrong.push(`${what}: ${name} is ${defaults}`);
      }
    }
    const flag = /^`(--[\w-]+)`/.exec(flags!)?.[1];
    if (flag !== undefined) {
      const text = help[what!.includes("directory") ? "directory" : "chat"];
      const value = new RegExp(`^  ${flag} .*\\(default: (\\w+)\\)$`, "m").exec(text)?.[1];
      looked++;
      if (value !== wanted && !(wanted === "Infinity" && value === "0")) wrong.push(`${flag} is ${value}`);
    }
  }
  assertEquals([looked, wrong], [17, []]);
});

// The default of an optional property, in the doc comment right before it.
function defaultsOf(name: string): RegExp {
  return new RegExp(`@default \\{(\\w+)\\}(?:\\s|\\*/)+(?:readonly )?${name}\\?:`, "g");
}

/* ----------------------------------------------- docs/inside.md ------------------------------------------- */

Deno.test("inside.md: what it calls by its name in the code is there", () => {
  const sources = [...MODULES.values()].join("\n");
  const names = [...PAGES.get("docs/inside.md")!.matchAll(/`(?:\w+\.)?(#?\w+)(?:\(\w*\))?`/g)].map((
    [, name],
  ) => name!);
  assertEquals([names.length > 20, names.filter((name) => !sources.includes(name))], [true, []]);
});

Deno.test("inside.md: each drawing tells what it shows, loads nothing, and has colours for the dark", async () => {
  const paths = [...PAGES.get("docs/inside.md")!.matchAll(/^!\[.{40,}\]\((.*\.svg)\)$/gm)].map(([, path]) =>
    path!
  );
  assertEquals(paths, ["kill.svg", "fairness.svg", "deadlines.svg"]);
  for (const path of paths) {
    const text = await Deno.readTextFile(new URL(`docs/${path}`, ROOT));
    for (
      const wanted of [/<title\s/, /<desc\s/, /aria-labelledby="title desc"/, /prefers-color-scheme: dark/]
    ) {
      assert(wanted.test(text), `${path} has no ${wanted}`);
    }
    assert(!/href|@import|url\(|<script|<image/.test(text), `${path} loads something`);
  }
});

Deno.test("inside.md: the clock is looked at at every eighth delivery at most, and once a turn", async () => {
  class MSG_X extends Message("MSG_X") {}
  let looks = 0;
  const perTurn: number[] = [];
  const clock: Clock = {
    now: () => (looks++, 0),
    wakeAt: () => {},
    turn: (go) => void setImmediate(() => (perTurn.push(looks), looks = 0, go())),
  };
  using _ = useClock(clock);
  const task = Tasklet.new(async () => {
    for (let n = 0; n < 2000; n++) await Tasklet.receiveOne([MSG_X]);
  })();
  for (let n = 0; n < 2000; n++) MSG_X.send(task)();
  await task.join();
  const whole = perTurn.slice(1, -1); // the first and the last turn may be begun or left elsewhere
  assertEquals([whole.length > 3, whole.every((looks) => looks <= 256 / 8 + 2)], [true, true], `${perTurn}`);
});
