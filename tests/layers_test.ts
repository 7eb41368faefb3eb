import { assertEquals } from "@std/assert";

/**
 * What each top-level module may import, from the bottom up: a new module is a new row, below those that use it.
 *
 * "types" after a name: only its types, so that nothing of it is there at run time.
 */
const CORE: Record<string, string[]> = {
  "context.ts": ["node:async_hooks"],
  "hook.ts": [],
  "mailbox.ts": [],
  "pace.ts": [],
  "text.ts": [],
  "report.ts": [],
  "telnet.ts": [],
  "lines.ts": ["@std/streams"],
  "network.ts": [],
  "local.ts": ["context.ts"],
  "message.ts": ["context.ts", "hook.ts", "mailbox.ts"],
  "timer.ts": ["context.ts", "node:timers"],
  "program.ts": ["node:process", "report.ts", "timer.ts"],
  "wait.ts": ["context.ts", "timer.ts"],
  "suspend.ts": ["context.ts", "timer.ts", "wait.ts"],
  "repeat.ts": ["context.ts", "message.ts types", "report.ts", "suspend.ts", "timer.ts", "wait.ts"],
  "inbox.ts": ["context.ts", "hook.ts", "suspend.ts", "mailbox.ts", "message.ts", "timer.ts", "wait.ts"],
  "kin.ts": [],
  "monitor.ts": ["mailbox.ts"],
  "life.ts": [
    "context.ts",
    "hook.ts",
    "inbox.ts",
    "kin.ts",
    "local.ts types",
    "mailbox.ts types",
    "monitor.ts",
    "program.ts",
    "report.ts",
    "suspend.ts",
    "timer.ts",
    "wait.ts",
  ],
  "tasklet.ts": [
    "context.ts",
    "kin.ts types",
    "life.ts",
    "local.ts types",
    "mailbox.ts types",
    "message.ts",
    "program.ts",
    "repeat.ts",
    "suspend.ts",
    "timer.ts",
    "wait.ts",
  ],
  "observe.ts": [
    "context.ts",
    "hook.ts",
    "life.ts",
    "message.ts types",
    "report.ts",
    "tasklet.ts",
    "timer.ts",
    "wait.ts types",
  ],
  "select.ts": ["context.ts", "inbox.ts types", "life.ts types", "message.ts types", "timer.ts", "wait.ts"],
  "channel.ts": ["context.ts", "mailbox.ts", "select.ts", "timer.ts", "wait.ts"],
  "group.ts": [
    "context.ts",
    "inbox.ts",
    "life.ts",
    "message.ts",
    "suspend.ts",
    "tasklet.ts",
    "timer.ts",
    "wait.ts",
  ],
  "pool.ts": ["life.ts", "tasklet.ts", "timer.ts", "wait.ts"],
  "supervisor.ts": [
    "context.ts",
    "inbox.ts",
    "life.ts",
    "mailbox.ts types",
    "message.ts",
    "report.ts",
    "tasklet.ts",
    "text.ts",
    "timer.ts",
  ],
  "writer.ts": ["context.ts", "mailbox.ts", "suspend.ts", "timer.ts", "wait.ts"],
  "reader.ts": [
    "context.ts",
    "lines.ts",
    "mailbox.ts",
    "pace.ts types",
    "suspend.ts",
    "telnet.ts",
    "timer.ts",
    "wait.ts",
    "writer.ts",
  ],
  "stream.ts": ["pace.ts", "reader.ts", "suspend.ts", "timer.ts", "wait.ts", "writer.ts"],
  "net.ts": [
    "context.ts",
    "life.ts",
    "lines.ts",
    "mailbox.ts",
    "network.ts",
    "pace.ts",
    "stream.ts",
    "suspend.ts",
    "tasklet.ts",
    "text.ts",
    "timer.ts",
    "wait.ts",
  ],
  "mod.ts": [
    "message.ts",
    "timer.ts",
    "local.ts",
    "tasklet.ts",
    "channel.ts",
    "group.ts",
    "pool.ts",
    "supervisor.ts",
    "observe.ts",
    "net.ts",
  ],
};

/**
 * Entry points of their own, and what lies below them: they may import the core and npm packages, and nobody in the core
 * imports them.
 */
const OPT_IN: Record<string, string[]> = {
  "wire.ts": ["context.ts", "mailbox.ts", "timer.ts"],
  "link.ts": ["mailbox.ts", "net.ts", "network.ts types", "wait.ts", "wire.ts"],
  "schedule.ts": [],
  "memory.ts": ["link.ts", "mailbox.ts", "net.ts", "network.ts", "schedule.ts", "wire.ts"],
  "quiet.ts": ["life.ts", "tasklet.ts", "timer.ts", "wait.ts"],
  "virtual.ts": ["life.ts", "node:timers", "quiet.ts", "suspend.ts", "timer.ts", "wait.ts"],
  "probe.ts": ["life.ts", "message.ts types", "node:util", "suspend.ts", "tasklet.ts", "timer.ts"],
  "explore.ts": [
    "context.ts",
    "life.ts",
    "node:timers",
    "quiet.ts",
    "report.ts",
    "schedule.ts",
    "select.ts",
    "suspend.ts",
    "tasklet.ts",
    "timer.ts",
    "wait.ts",
  ],
  "testing.ts": ["explore.ts", "memory.ts", "probe.ts", "quiet.ts", "virtual.ts"],
  "lint_names.ts": [],
  "lint_exits.ts": ["lint_names.ts"],
  "lint.ts": ["lint_exits.ts", "lint_names.ts"],
  "otel.ts": ["@opentelemetry/api", "message.ts types", "node:timers", "observe.ts", "tasklet.ts types"],
  "lag.ts": ["node:timers", "timer.ts"],
  "account.ts": [
    "node:process",
    "lag.ts types",
    "message.ts types",
    "observe.ts",
    "tasklet.ts types",
    "timer.ts",
  ],
  "warnings.ts": ["account.ts types", "lag.ts types"],
  "metrics.ts": ["account.ts types"],
  "feed.ts": ["account.ts types", "warnings.ts types"],
  "page.ts": [],
  "page_views.ts": [],
  "page_script.ts": ["page_views.ts"],
  "observer.ts": [
    "node:timers",
    "account.ts",
    "feed.ts",
    "lag.ts",
    "metrics.ts",
    "page.ts",
    "page_script.ts",
    "timer.ts",
    "warnings.ts",
  ],
  "border.ts": ["message.ts types", "text.ts"],
  "presence.ts": [],
  "bus.ts": [],
  "nats.ts": [
    "@nats-io/transport-node",
    "bus.ts types",
    "node:net types",
    "node:tls",
    "report.ts",
    "suspend.ts",
    "text.ts",
  ],
  "post.ts": ["border.ts", "bus.ts types", "message.ts", "report.ts", "timer.ts"],
  "names.ts": [
    "border.ts",
    "bus.ts types",
    "life.ts",
    "message.ts",
    "post.ts",
    "presence.ts types",
    "tasklet.ts types",
    "timer.ts",
  ],
  "calls.ts": ["border.ts", "context.ts", "inbox.ts", "message.ts", "post.ts", "timer.ts", "wait.ts"],
  "site.ts": [
    "border.ts",
    "bus.ts types",
    "calls.ts",
    "channel.ts",
    "group.ts",
    "life.ts",
    "message.ts types",
    "names.ts",
    "post.ts",
    "presence.ts",
    "report.ts",
    "suspend.ts",
    "tasklet.ts types",
    "timer.ts",
  ],
  "cluster.ts": [
    "border.ts",
    "bus.ts types",
    "calls.ts types",
    "context.ts",
    "group.ts types",
    "life.ts",
    "message.ts types",
    "names.ts",
    "nats.ts",
    "post.ts",
    "site.ts",
    "suspend.ts",
    "tasklet.ts",
    "timer.ts",
  ],
};

/** Built from the types above alone. */
const MAY_NAME_DENO = ["net.ts", "observer.ts", "lint.ts", "lint_exits.ts", "lint_names.ts"];

const ROOT = new URL("../", import.meta.url);
const ALLOWED = { ...CORE, ...OPT_IN };
const MODULES = await sources("");
const EXAMPLES = await sources("examples/");

Deno.test("Every top-level module stands in the table, and every row has its module", () => {
  const missing = Object.keys(ALLOWED).filter((name) => !MODULES.has(name));
  const unknown = [...MODULES.keys()].filter((name) => !(name in ALLOWED));
  assertEquals({ missing, unknown }, { missing: [], unknown: [] });
});

Deno.test("The table only points down: each row names rows above it, and no opt-in entry point", () => {
  const names = Object.keys(CORE);
  const upwards: string[] = [];
  for (const [i, name] of names.entries()) {
    for (const import_ of CORE[name]!) {
      const target = import_.replace(" types", "");
      if (target.endsWith(".ts") && !names.slice(0, i).includes(target)) upwards.push(`${name} → ${target}`);
    }
  }
  assertEquals(upwards, []);
});

Deno.test("The table of what is opt-in only points down, too", () => {
  const names = Object.keys(OPT_IN);
  const upwards: string[] = [];
  for (const [i, name] of names.entries()) {
    for (const import_ of OPT_IN[name]!) {
      const target = import_.replace(" types", "");
      const isThere = target in CORE || names.slice(0, i).includes(target);
      if (target.endsWith(".ts") && !isThere) upwards.push(`${name} → ${target}`);
    }
  }
  assertEquals(upwards, []);
});

Deno.test("CONTRIBUTING.md has every module behind those it may know, and tells the idea of each", async () => {
  const [layers, ideas] = (await Deno.readTextFile(new URL("CONTRIBUTING.md", ROOT))).split("| file ");
  const order = namesIn(layers!).filter((name) => !name.includes("/"));
  const upwards = order.flatMap((name, i) =>
    (ALLOWED[name] ?? []).map((import_) => import_.replace(" types", ""))
      .filter((target) => target in ALLOWED && !order.slice(0, i).includes(target))
      .map((target) => `${name} → ${target}`)
  );
  assertEquals([upwards, order.toSorted()], [[], Object.keys(ALLOWED).toSorted()]);
  const patterns = namesIn(ideas!).map((name) =>
    new RegExp(`^${name.replace(".", "\\.").replace("*", ".*")}$`)
  );
  assertEquals(order.filter((name) => !patterns.some((pattern) => pattern.test(name))), []);
});

for (const [name, source] of MODULES) {
  Deno.test(`${name} imports only what the table allows`, () => {
    const allowed = ALLOWED[name] ?? [];
    const forbidden = importsOf(source).filter(({ from, isType }) =>
      !allowed.includes(from) && !(isType && allowed.includes(`${from} types`))
    );
    assertEquals(forbidden.map(({ from }) => from), []);
  });
}

Deno.test("The core imports no npm package: only itself, @std and node: builtins", () => {
  const foreign: string[] = [];
  for (const name of Object.keys(CORE)) {
    for (const { from } of importsOf(MODULES.get(name) ?? "")) {
      if (!(from in CORE) && !/^(@std\/|node:)/.test(from)) foreign.push(`${name} → ${from}`);
    }
  }
  assertEquals(foreign, []);
});

Deno.test("Only net.ts, observer.ts and the lint plugin name Deno, comments and texts aside", () => {
  const naming = [...MODULES].filter(([, source]) => /\bDeno\b/.test(codeOf(source))).map(([name]) => name);
  assertEquals(naming.filter((name) => !MAY_NAME_DENO.includes(name)), []);
});

Deno.test("mod.ts has re-exports and no logic", () => {
  const rest = codeOf(MODULES.get("mod.ts")!).replaceAll(/export\s*\{[^}]*\}\s*from\s*"[^"]*";?/g, "").trim();
  assertEquals(rest, "");
});

for (const [name, source] of EXAMPLES) {
  Deno.test(`${name} imports only what a user would`, () => {
    const foreign = importsOf(source).map(({ from }) => from).filter((from) =>
      !(from === "../mod.ts" || from === "../observer.ts" || from === "../timer.ts" ||
        from === "../cluster.ts" ||
        from.startsWith("@std/") ||
        from === "../deno.json" ||
        EXAMPLES.has(`examples/${from}`))
    );
    assertEquals(foreign, []);
  });
}

Deno.test("The examples import each other without a circle", () => {
  const circles: string[] = [];
  const visit = (name: string, way: string[]): void => {
    if (way.includes(name)) return void circles.push([...way, name].join(" → "));
    for (const { from } of importsOf(EXAMPLES.get(name) ?? "")) visit(`examples/${from}`, [...way, name]);
  };
  for (const name of EXAMPLES.keys()) visit(name, []);
  assertEquals(circles, []);
});

// ------------------------------------------------------------------------------------------------
// The reader itself, which must not be fooled

Deno.test("importsOf() finds every way to import, and skips comments and texts", () => {
  const source = `
    // import { no } from "./comment.ts";
    /** import { no } from "./doc.ts"; */
    import "./effect.ts";
    import { a, type B } from "./some.ts";
    import type { C } from "./types.ts";
    import type { D, E } from "./only_types.ts";
    import * as all from "@std/assert/equals";
    import json from "./data.json" with { type: "json" };
    export { f } from "../up.ts";
    export * from "npm:fast-check";
    const later = await import("node:process"), url = "https://x.y//z", text = 'from "./text.ts"';
    const template = \`import "./template.ts"\`;
  `;
  assertEquals(importsOf(source).map(({ from, isType }) => isType ? `${from} types` : from), [
    "effect.ts",
    "some.ts",
    "types.ts types",
    "only_types.ts types",
    "@std/assert",
    "data.json",
    "../up.ts",
    "npm:fast-check",
    "node:process",
  ]);
});

Deno.test("codeOf() leaves the code and drops comments and texts", () => {
  const source = `const a = "Deno"; // Deno\n/* Deno */ const b = 'it\\'s Deno' + \`Deno \${b} ""\` / 2;`;
  assertEquals(codeOf(source), `const a = ""; \n const b = "" + "" \${b} / 2;`);
});

// ------------------------------------------------------------------------------------------------

/** The names of modules in the rows of a table. */
function namesIn(table: string): string[] {
  const rows = table.split("\n").filter((line) => line.startsWith("|"));
  return [...rows.join("\n").matchAll(/`([\w/*]+\.ts)`/g)].map(([, name]) => name!);
}

interface Import {
  /** Siblings without "./", `@std` packages without the path inside. */
  readonly from: string;
  /** Whether only types are imported. */
  readonly isType: boolean;
}

/** The imports and re-exports of a module. */
function importsOf(source: string): Import[] {
  const texts: string[] = [];
  // Each text is replaced by its number, so that no pattern looks into one.
  const code = strip(source, (text) => `"${texts.push(text) - 1}"`);
  const pattern =
    /\b(?:import|export)\s+(type\s)?([\w*\s{},$]*?)\s*from\s*"(\d+)"|\bimport\s*"(\d+)"|\bimport\s*\(\s*"(\d+)"/g;
  return [...code.matchAll(pattern)].map(([, type, names, ...numbers]) => {
    const from = texts[Number(numbers.find((n) => n !== undefined))]!;
    const isType = type !== undefined ||
      (names !== undefined && /^\{(\s*type\s+\w+\s*,?)+\s*\}$/.test(names.trim()));
    return { from: from.replace(/^\.\//, "").replace(/^(@(?:std|nats-io)\/[^/]+)\/.*$/, "$1"), isType };
  });
}

/** A module without its comments, and with its texts emptied. */
function codeOf(source: string): string {
  return strip(source, () => `""`);
}

// Regular expressions with quotes in them would need a parser; a quote that begins no text ends with its line.
function strip(source: string, replace: (text: string) => string): string {
  const pattern = /\/\/.*|\/\*[\s\S]*?\*\/|"((?:[^"\\\n]|\\.)*)"|'((?:[^'\\\n]|\\.)*)'|`((?:[^`\\]|\\.)*)`/g;
  return source.replaceAll(pattern, (all, double, single, template) => {
    if (all.startsWith("/")) return "";
    if (template === undefined) return replace(double ?? single);
    const inserted = template.match(/\$\{[^}]*\}/g) ?? [];
    return [replace(template), ...inserted].join(" ");
  });
}

/** The modules in a folder, by their path from the root. */
async function sources(folder: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for await (const { name, isFile } of Deno.readDir(new URL(`./${folder}`, ROOT))) {
    if (!isFile || !name.endsWith(".ts")) continue;
    found.set(folder + name, await Deno.readTextFile(new URL(folder + name, ROOT)));
  }
  return new Map([...found].toSorted(([a], [b]) => a < b ? -1 : 1));
}
