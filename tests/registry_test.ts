import { assert, assertEquals, assertMatch } from "@std/assert";
import config from "../deno.json" with { type: "json" };
import { type Outcome, Program, ROOT } from "./program.ts";
import { requires } from "./requires.ts";
import { NatsServer } from "./nats_server.ts";
import { publishedFiles, serveRegistry } from "./registry.ts";
import { CHATTER, DIRECTORY, ECHO } from "./servers.ts";
import { client } from "./client.ts";

// Whoever has no npm package in the cache downloads it, so this may take longer than it does here.
const TIME = { timeout: 60_000 };

/** A folder of somebody else's, and an empty cache beside it that shares the npm packages of this one. */
class Elsewhere implements AsyncDisposable {
  readonly #folder: string;
  readonly #jsrUrl: string;

  private constructor(folder: string, jsrUrl: string) {
    this.#folder = folder;
    this.#jsrUrl = jsrUrl;
  }

  static async open(jsrUrl: string): Promise<Elsewhere> {
    const folder = await Deno.makeTempDir();
    await Deno.mkdir(`${folder}/empty`);
    await Deno.mkdir(`${folder}/cache`);
    const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
    const { npmCache } = JSON.parse(new TextDecoder().decode(stdout));
    await Deno.mkdir(npmCache, { recursive: true });
    await Deno.symlink(npmCache, `${folder}/cache/npm`);
    return new Elsewhere(folder, jsrUrl);
  }

  /** Runs `deno` there. */
  deno(...args: string[]): Program {
    const env = { DENO_DIR: `${this.#folder}/cache`, JSR_URL: this.#jsrUrl };
    return new Program(Deno.execPath(), args, { cwd: `${this.#folder}/empty`, env });
  }

  /** Runs `deno` there to its end. */
  async run(...args: string[]): Promise<Outcome> {
    await using program = this.deno(...args);
    return await program.end();
  }

  /** Writes a file there. */
  async write(name: string, text: string): Promise<void> {
    await Deno.writeTextFile(`${this.#folder}/empty/${name}`, text);
  }

  /** What lies in the folder. */
  async files(): Promise<string[]> {
    return (await Array.fromAsync(Deno.readDir(`${this.#folder}/empty`))).map(({ name }) => name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.#folder, { recursive: true }); // of the npm packages only the link
  }
}

/** What each program prints first, and whether it is a server. */
const PROGRAMS: Record<
  string,
  { readonly prints: RegExp; readonly flags: string[]; readonly isServer: boolean }
> = {
  chat: { prints: /^listening for connections on port (\d+)$/, flags: ["--port", "0"], isServer: true },
  chatter: server(CHATTER.announcement("PORT")),
  directory: server(DIRECTORY.announcement("PORT")),
  echo: server(ECHO.announcement("PORT")),
  greeting: { prints: /^Hello World$/, flags: [], isServer: false },
  sleepers: { prints: /100, 200, 300/, flags: ["--count", "3", "--sleep", "10"], isServer: false },
};

function server(announcement: string): { prints: RegExp; flags: string[]; isServer: boolean } {
  const pattern = announcement.replaceAll(/[()]/g, "\\$&").replace("PORT", "(\\d+)");
  return { prints: new RegExp(`^${pattern}$`), flags: ["--port", "0"], isServer: true };
}

Deno.test("Every program runs from an empty folder through jsr:@x/concurrence/NAME", TIME, async (test) => {
  await using registry = await serveRegistry();
  await using elsewhere = await Elsewhere.open(registry.url);

  for (const [name, { prints, flags, isServer }] of Object.entries(PROGRAMS)) {
    await test.step(name, async () => {
      const allow = isServer ? ["--allow-net=localhost:0"] : [];
      await using program = elsewhere.deno(
        "run",
        "--no-prompt",
        ...allow,
        `jsr:${config.name}/${name}`,
        ...flags,
      );
      const first = await program.line();
      if (first === undefined) assertEquals((await program.end()).stderr, "", "it printed nothing");
      const [, port] = prints.exec(first!) ?? [];
      try {
        assertMatch(first!, prints);
        if (!isServer) return;
        using user = await client(Number(port));
        if (name === "directory") assertEquals(await user.ask("list,all\n", "\n"), "\n");
        else if (name === "echo") assertEquals(await user.ask("hello\n", "hello\n"), "hello\n");
        else assert((await user.bytes(1)).length === 1);
      } finally {
        if (isServer) program.signal("SIGTERM");
        const { code, stderr } = await program.end();
        const errors = stderr.split("\n").filter((line) => !/^(Download .*)?$/.test(line.trim()));
        assertEquals([code, errors], [isServer ? 143 : 0, []]);
      }
    });
  }

  await test.step("--version and --help, without any permission", async () => {
    await Promise.all(
      Object.keys(PROGRAMS).map(async (name) => {
        const run = (flag: string) => elsewhere.run("run", "--no-prompt", `jsr:${config.name}/${name}`, flag);
        const [version, help] = await Promise.all([run("--version"), run("--help")]);
        assertEquals([version.code, version.lines], [0, [`${name} ${config.version}`]]);
        assertEquals([help.code, help.lines.some((line) => line.includes("--version"))], [0, true]);
      }),
    );
  });

  assertEquals(registry.missing, []);
  assertEquals(await elsewhere.files(), []);
});

Deno.test(
  "chat --cluster runs from an empty folder, too",
  { ...TIME, ...requires("nats-server") },
  async () => {
    await using nats = await NatsServer.start();
    await using registry = await serveRegistry();
    await using elsewhere = await Elsewhere.open(registry.url);
    const allow = `--allow-net=localhost:0,127.0.0.1:${nats.port}`;
    const flags = ["--port", "0", "--cluster", nats.url];
    await using program = elsewhere.deno(
      "run",
      "--quiet",
      "--no-prompt",
      allow,
      `jsr:${config.name}/chat`,
      ...flags,
    );
    assertMatch(await program.line() ?? "nothing", PROGRAMS.chat!.prints);
    program.signal("SIGTERM");
    assertEquals(await program.end(), { code: 143, lines: [], stderr: "" });
  },
);

Deno.test("Whoever has only the README is served from an empty folder", TIME, async (test) => {
  await using registry = await serveRegistry();
  await using elsewhere = await Elsewhere.open(registry.url);
  const entries = Object.keys(config.exports).map((entry) => `jsr:${config.name}${entry.slice(1)}`);

  await test.step("every entry point can be imported, and does nothing by itself", async () => {
    const source = `for (const entry of ${JSON.stringify(entries)}) await import(entry);`;
    assertEquals(await elsewhere.run("eval", "--quiet", source), { code: 0, lines: [], stderr: "" });
  });

  await test.step("every entry point type-checks", async () => {
    const { code, stderr } = await elsewhere.run("check", ...entries);
    assertEquals(code, 0, stderr);
  });

  await test.step("the first program runs, and a wrong message in it does not compile", async () => {
    const readme = await Deno.readTextFile(new URL("README.md", ROOT));
    const [, source, output] = /```ts\n(.*?)```\n\n```\n(.*?)```\n/s.exec(readme)!;
    await elsewhere.write("deno.json", JSON.stringify({ imports: { [config.name]: `jsr:${config.name}` } }));
    await elsewhere.write("main.ts", source!);
    const run = await elsewhere.run("run", "--quiet", "--check", "main.ts");
    assertEquals(run, { code: 0, lines: output!.split("\n").slice(0, -1), stderr: "" });

    await elsewhere.write(
      "main.ts",
      source!.replace('MSG_GREETING.send(task)("World")', "MSG_GREETING.send(task)(42)"),
    );
    const check = await elsewhere.run("check", "main.ts");
    assertEquals(check.code, 1);
    assertMatch(check.stderr, /Argument of type 'number' is not assignable to parameter of type 'string'/);
  });

  await test.step("the lint plugin is found, and finds something", async () => {
    await elsewhere.write("deno.json", JSON.stringify({ lint: { plugins: [`jsr:${config.name}/lint`] } }));
    await elsewhere.write("main.ts", `import { Tasklet } from "jsr:${config.name}";\nTasklet.sleep(1);\n`);
    const { code, stderr } = await elsewhere.run("lint", "--compact", "main.ts");
    const rules = [...stderr.matchAll(/\((concurrence\/.*)\)/g)].map(([, rule]) => rule);
    assertEquals([code, rules], [1, ["concurrence/no-floating-wait"]], stderr);
  });

  assertEquals(registry.missing, []);
});

Deno.test("The published files are all modules, the README, the licence and what is promised, and nothing else", async () => {
  const paths = await publishedFiles();
  const expected = ["LICENSE", "README.md", "SECURITY.md", "deno.json"];
  for (const folder of ["", "examples/", "std/cli/", "std/streams/"]) {
    for await (const { name } of Deno.readDir(new URL(`./${folder}`, ROOT))) {
      if (name.endsWith(".ts") || (folder.startsWith("std/") && name === "deno.json")) {
        expected.push(folder + name);
      }
    }
  }
  assertEquals(paths.toSorted(), expected.toSorted());
});

// What else counts for the score (symbols with docs, no slow types) is looked at by `deno task gate`.
Deno.test("Every entry point has a module doc, and the README an example", async () => {
  const missing: string[] = [];
  for (const [name, path] of Object.entries(config.exports)) {
    const source = await Deno.readTextFile(new URL(path, ROOT));
    if (!/^(\/\/.*\n)*\/\*\*(?:(?!\*\/).)* @module\b/s.test(source)) missing.push(name);
  }
  assertEquals(missing, []);
  assertMatch(await Deno.readTextFile(new URL("README.md", ROOT)), /```ts\n/);
});
