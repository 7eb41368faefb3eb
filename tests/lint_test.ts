import { assertEquals } from "@std/assert";
import { makeFolder } from "./folder.ts";
import plugin from "../lint.ts";

const IMPORTS =
  `import { type AnyTasklet, Channel, dispatch, Message, select, type Self, Server } from "@x/concurrence";
import { Pool, Socket, Supervisor, Tasklet } from "@x/concurrence";\n`;

/** What the rule by that name, or all of them, find in a module: the marked text, the message, and the module when fixed. */
function lint(
  source: string,
  rule: string,
): { marked: string; message: string; hint: string | undefined; fixed: string }[] {
  return Deno.lint.runPlugin(plugin, "module.ts", source).filter(({ id }) => id === `concurrence/${rule}`)
    .map(({ message, hint, range, fix = [] }) => ({
      marked: source.slice(...range),
      message,
      hint,
      fixed: apply(source, fix),
    }));
}

/** What a rule marks in a module that imports what it needs. */
function marked(source: string, rule: string): string[] {
  return lint(IMPORTS + source, rule).map((found) => found.marked);
}

/** A module as the first finding of a rule would have it, without the imports if they are the same. */
function fixed(source: string, rule: string): string | undefined {
  return lint(IMPORTS + source, rule)[0]?.fixed.replace(IMPORTS, "");
}

function apply(source: string, fixes: readonly Deno.lint.Fix[]): string {
  let result = source;
  for (const { range, text = "" } of fixes.toSorted((a, b) => b.range[0] - a.range[0])) {
    result = result.slice(0, range[0]) + text + result.slice(range[1]);
  }
  return result;
}

/** Tells for each module what is marked in it. */
function assertMarked(rule: string, expected: Readonly<Record<string, readonly string[]>>): void {
  const found = Object.keys(expected).map((source) => [source, marked(source, rule)]);
  assertEquals(Object.fromEntries(found), expected);
}

// ------------------------------------------------------------------------------------------------
// concurrence/message-name

Deno.test("message-name finds message classes that are not named MSG_*", () => {
  assertMarked("message-name", {
    'class Greeting extends Message("MSG_GREETING")<[name: string]> {}': ["Greeting"],
    'class Greeting extends Message("Greeting") {}': ["Greeting"],
    'export class MsgGreeting extends Message("MsgGreeting") {}': ["MsgGreeting"],
    'const Greeting = class extends Message("MSG_GREETING") {};': ["Greeting"],
    'const BASE: MessageClass<"MSG_A"> = Message("MSG_A"); class A extends BASE<[string]> {}': ["A"],
    'class MSG_A extends Message("MSG_A") {} class Special extends MSG_A {}': ["Special"],
    'function f() { class MSG_lower extends Message("MSG_lower") {} }': ["MSG_lower"],
  });
});

Deno.test("message-name finds literals that are not the name of their class", () => {
  assertMarked("message-name", {
    'class MSG_B extends Message("MSG_A")<[string]> {}': ['"MSG_A"'],
    'const MSG_B = class extends Message("MSG_A")<[string]> {};': ['"MSG_A"'],
    'const BASE = Message("MSG_A"); class MSG_B extends BASE {}': ['"MSG_A"'],
    'const BASE: MessageClass<"MSG_A"> = Message("MSG_A"); export class MSG_B extends BASE {}': ['"MSG_A"'],
    'const BASE = Message("MSG_A"); class MSG_A extends BASE {} class MSG_B extends BASE {}': ['"MSG_A"'],
  });
  const [found] = lint(
    `import { Message as M } from "./mod.ts"; class MSG_B extends M("MSG_A") {}`,
    "message-name",
  );
  assertEquals(
    [found?.message, found?.hint],
    [
      'The literal of message class MSG_B is "MSG_A", not its name',
      'Messages are told apart by their literal: write Message("MSG_B").',
    ],
  );
});

Deno.test("message-name leaves alone what is well named, and what is no message class", () => {
  assertMarked("message-name", {
    'class MSG_A extends Message("MSG_A")<[string], number> {}': [],
    'export class MSG_A_2 extends Message("MSG_A_2") {}': [],
    'const BASE: MessageClass<"MSG_A"> = Message("MSG_A"); export class MSG_A extends BASE<[string]> {}': [],
    'class MSG_A extends Message("MSG_A") {} class MSG_SPECIAL extends MSG_A {}': [],
    "class Room extends House {}": [],
    "class Room {}": [],
    "class Typed extends Message(name) {}": [],
    'call(class extends Message("MSG_A") {});': [],
    'class Text extends Other("MSG_A") {}': [],
  });
  assertEquals(lint('import { Message } from "mail"; new Message("x");', "message-name"), []);
  assertEquals(lint('function Message(_: string) {} class A extends Message("A") {}', "message-name"), []);
});

Deno.test("message-name fixes a literal, and the written type of its base with it", () => {
  const rule = "message-name";
  assertEquals(
    fixed('class MSG_B extends Message("MSG_A")<[string]> {}', rule),
    'class MSG_B extends Message("MSG_B")<[string]> {}',
  );
  assertEquals(
    fixed('const BASE: MessageClass<"MSG_A"> = Message("MSG_A"); export class MSG_B extends BASE {}', rule),
    'const BASE: MessageClass<"MSG_B"> = Message("MSG_B"); export class MSG_B extends BASE {}',
  );
});

Deno.test("message-name fixes neither names nor the literal of two classes", () => {
  for (
    const source of [
      'class Greeting extends Message("MSG_GREETING") {} new Greeting();',
      'const BASE = Message("MSG_A"); class MSG_B extends BASE {} class MSG_A extends BASE {}',
    ]
  ) {
    assertEquals(fixed(source, "message-name"), source);
  }
  const hints = ['class LineRead extends Message("x") {}', 'class Other extends Message("MSG_LINE_READ") {}']
    .map((source) => lint(IMPORTS + source, "message-name")[0]?.hint);
  assertEquals(hints, Array(2).fill("Call the class and its literal MSG_LINE_READ."));
});

// ------------------------------------------------------------------------------------------------
// concurrence/rethrow-exit

/** A tasklet's body with `tried` in a `try` and `handler` behind it. */
function body(tried: string, handler = "catch (error) { console.error(error); }"): string {
  return `async function body(this: Self, task: Tasklet, socket: Socket) {\n  try { ${tried} } ${handler}\n}`;
}

/** Of some modules, those in which `rethrow-exit` finds something. */
function swallowing(sources: readonly string[]): string[] {
  return sources.filter((source) => marked(source, "rethrow-exit").length > 0);
}

Deno.test("rethrow-exit knows the wait points", () => {
  const waits = [
    "await Tasklet.sleep(1);",
    "await Tasklet.wait(fetch(url));",
    "const msg = await Tasklet.receiveOne();",
    "const msg = await this.receiveOne([MSG_A]);",
    "for await (const msg of Tasklet.receive()) f(msg);",
    "for await (const batch of Tasklet.batches()) f(batch);",
    "for await (const msg of this.receive([MSG_A])) f(msg);",
    "for await (const line of stream.reader.readLines()) f(line);",
    "return await MSG_SUM.call(task, { timeout: 500 })(1, 2);",
    "await task.join();",
    "await task?.join();",
    "await other.kill();",
    "await Tasklet.current()!.kill();",
    "const line = await stream.reader.readLine();",
    "await stream.writer.flush();",
    "await socket.write(bytes);",
    "await Socket.connect({ port: 1 });",
    "await new Channel().send(1);",
    "for await (const job of new Channel()) f(job);",
    "await select({ a, b });",
    "await Promise.all([f(), MSG_A.call(task)()]);",
    "if (a) { while (b) { await Tasklet.yield(); } }",
    "try { await Tasklet.sleep(1); } finally { f(); }",
    "try { await Tasklet.sleep(1); } catch (error) { throw error; }",
    "try { f(); } catch (error) { await Tasklet.sleep(1); }",
  ].map((wait) => body(wait));
  assertEquals(swallowing(waits), waits);
});

Deno.test("rethrow-exit knows what is no wait point of this catch", () => {
  assertEquals(
    swallowing([
      body("f();"),
      body("await fetch(url);"),
      body("await process.kill;"),
      body("task.kill();"),
      body("return task.join();"),
      body("const path = parts.join();"),
      body("await Promise.allSettled([f()]);"),
      body("for await (const line of lines) f(line);"),
      body("for (const each of this.receive()) f(each);"),
      body("const f = async () => { await Tasklet.sleep(1); };"),
      body("f(async function () { await Tasklet.sleep(1); });"),
      body("f();", "catch (error) { await Tasklet.sleep(1); }"),
      body("f();", "finally { await Tasklet.sleep(1); }"),
      body("await Tasklet.sleep(1);", "finally { f(); }"),
    ]),
    [],
  );
});

Deno.test("rethrow-exit reports a wait point at the innermost catch that swallows, and there once", () => {
  const inner = body("try { await Tasklet.sleep(1); await Tasklet.sleep(2); } catch { f(); }");
  assertEquals(marked(inner, "rethrow-exit"), ["catch {"]);
});

Deno.test("rethrow-exit finds handlers that swallow an exit", () => {
  const handlers = [
    "catch {}",
    "catch (error) {}",
    "catch { return; }",
    "catch (error) { console.error(error); }",
    "catch ({ message }) { throw message; }",
    "catch (error) { throw new Error('Cannot read', { cause: error }); }",
    "catch (error) { throw other; }",
    "catch (error) { return; throw error; }",
    "catch (error) { if (error instanceof TimeoutError) throw error; }",
    "catch (error) { if (!(error instanceof TaskletExit)) throw error; }",
    "catch (error) { if (error instanceof TaskletExit) return; throw error; }",
    "catch (error) { if (error instanceof Error) return; else throw error; }",
    "catch (error) { if (error instanceof TaskletExit) break; throw error; }",
    "catch (error) { if (!(error instanceof Error)) { throw error; } f(); }",
    "catch (error) { if (error instanceof A && a) throw error; }",
    "catch (error) { if (!(error instanceof A) && error instanceof B) throw error; }",
    "catch (error) { f(() => { throw error; }); }",
    "catch (error) { return Promise.reject(other); }",
    "catch (error) { try { throw error; } catch { f(); } }",
    "catch (error) { try { throw error; } finally { return; } }",
    "catch (error) { for (;;) f(); }",
  ].map((handler) => body("await Tasklet.sleep(1);", handler));
  assertEquals(swallowing(handlers), handlers);
});

Deno.test("rethrow-exit finds nothing wrong with handlers that let an exit pass", () => {
  assertEquals(
    swallowing([
      "catch (error) { throw error; }",
      "catch (error) { throw error as Error; }",
      "catch (error) { console.error(error); throw error; }",
      "catch (error) { if (error instanceof TaskletExit) throw error; f(); }",
      "catch (error) { if (error instanceof TaskletExit) { f(); throw error; } f(); }",
      "catch (error) { if (error instanceof Error) throw error; }",
      "catch (error) { if (!(error instanceof TimeoutError)) throw error; f(); }",
      "catch (error) { if (!(error instanceof Deno.errors.NotFound)) throw error; f(); }",
      "catch (error) { if (error instanceof TimeoutError) f(); else throw error; }",
      "catch (error) { if (error instanceof A || error instanceof B) return; throw error; }",
      "catch (error) { if (!(error instanceof A || error instanceof B)) throw error; }",
      "catch (error) { if (error instanceof A && error.code === 1) return; throw error; }",
      "catch (error) { if (!isSerious(error)) return; throw error; }",
      "catch (error) { if (!isDisconnect(error)) throw error; }",
      "catch (error) { if (error.code !== 'ENOENT') throw error; }",
      "catch (error) { { throw error; } }",
      "catch (error) { try { f(); } finally { throw error; } }",
      "catch (error) { try { throw error; } finally { f(); } }",
      "catch (error) { try { f(); } catch { g(); } throw error; }",
      "catch (error) { switch (error.code) { case 1: break; default: throw error; } }",
      "catch (error) { for (const each of all) { if (each(error)) throw error; } }",
      "catch (error) { return Promise.reject(error); }",
      "catch (error) { console.error(error); Deno.exit(1); }",
      "catch (error) { console.error(error); await quit(1); }",
    ].map((handler) => body("await Tasklet.sleep(1);", handler))),
    [],
  );
});

Deno.test("rethrow-exit leaves alone where nobody is killed", () => {
  const tried = "try { await Tasklet.sleep(1); } catch {}";
  assertEquals(
    swallowing([
      tried,
      `if (import.meta.main) { ${tried} }`,
      `Deno.test("...", async () => { ${tried} });`,
      `Deno.test.only({ name: "...", async fn() { ${tried} } });`,
      `Deno.test("...", async (t) => { await t.step("...", async () => { ${tried} }); });`,
      `it("...", async function () { ${tried} });`,
    ]),
    [],
  );
  const tasklet = `Deno.test("...", async () => { await Tasklet.new(async () => { ${tried} })().join(); });`;
  assertEquals(swallowing([tasklet]), [tasklet]);
  assertEquals(lint("async function f(a) { try { await a.join(); } catch {} }", "rethrow-exit"), []);
});

Deno.test("rethrow-exit fixes a handler by rethrowing first, and imports TaskletExit if need be", () => {
  const rule = "rethrow-exit";
  const source = body("await Tasklet.sleep(1);", "catch (cause) {\n    console.error(cause);\n  }");
  const [found] = lint(IMPORTS + source, rule);
  assertEquals(
    found?.fixed,
    IMPORTS.replace("Tasklet }", "Tasklet, TaskletExit }") + body(
      "await Tasklet.sleep(1);",
      "catch (cause) {\n    if (cause instanceof TaskletExit) throw cause;\n    console.error(cause);\n  }",
    ),
  );
  assertEquals(lint(found!.fixed, rule), []);

  const imported = `import { TaskletExit as Exit, Tasklet } from "@x/concurrence/tasklet";\n`;
  const handlers: Record<string, string> = {
    "catch {}": "catch (error) { if (error instanceof Exit) throw error;}",
    "catch { /* it has gone */ }":
      "catch (error) { if (error instanceof Exit) throw error; /* it has gone */ }",
    "catch { f(); }": "catch (error) { if (error instanceof Exit) throw error; f(); }",
    "catch (e: unknown) { f(e); }": "catch (e: unknown) { if (e instanceof Exit) throw e; f(e); }",
  };
  for (const [handler, expected] of Object.entries(handlers)) {
    const [found] = lint(imported + body("await Tasklet.sleep(1);", handler), rule);
    assertEquals(found?.fixed, imported + body("await Tasklet.sleep(1);", expected));
  }
});

Deno.test("rethrow-exit fixes nothing where it would break something", () => {
  const unfixed = [
    IMPORTS + body("await Tasklet.sleep(1);", "catch { console.log(error); }"), // another `error`
    IMPORTS + body("await Tasklet.sleep(1);", "catch ({ message }) { console.log(message); }"),
    `import type { Tasklet } from "@x/concurrence";\n` + body("await task.join();"), // nothing to import it from
    `import type { Tasklet, TaskletExit } from "@x/concurrence";\n` + body("await task.join();"),
  ];
  assertEquals(unfixed.map((source) => lint(source, "rethrow-exit")[0]?.fixed), unfixed);
  const two = IMPORTS + body("await Tasklet.sleep(1);") + body("await Tasklet.sleep(1);");
  const isFixed = lint(two, "rethrow-exit").map(({ fixed }) => fixed !== two);
  assertEquals(isFixed, [true, false], "two fixes would import TaskletExit twice");
});

// ------------------------------------------------------------------------------------------------
// concurrence/no-floating-wait

Deno.test("no-floating-wait finds promises of the library that nobody awaits", () => {
  assertMarked("no-floating-wait", {
    "MSG_A.call(task)();": ["MSG_A.call(task)()"],
    "MSG_A.call(task, { timeout: 5 })(1, 2);": ["MSG_A.call(task, { timeout: 5 })(1, 2)"],
    "Tasklet.sleep(1000);": ["Tasklet.sleep(1000)"],
    "Tasklet.current()!.kill();": ["Tasklet.current()!.kill()"],
    "Tasklet.whereis('a')?.kill();": ["Tasklet.whereis('a')?.kill()"],
    "Tasklet.new(f)(1).join();": ["Tasklet.new(f)(1).join()"],
    "const task = Tasklet.new(f)(); task.kill();": ["task.kill()"],
    "task.kill(); const task = Tasklet.new(f)();": ["task.kill()"],
    "let task: Tasklet<void> | undefined; task?.kill({ grace: 0 });": ["task?.kill({ grace: 0 })"],
    "function f(task: Tasklet) { if (g) task.kill(); }": ["task.kill()"],
    "function f(task: AnyTasklet) { task.kill(); }": ["task.kill()"],
    "const root = dispatch(main); root.kill();": ["root.kill()"],
    "function f(this: Self, task: Tasklet) { task.parent!.kill(); }": ["task.parent!.kill()"],
    "for (const child of Tasklet.current()!.children) child.kill();": ["child.kill()"],
    "class Room { readonly #task: Tasklet; close() { this.#task.kill(); } }": ["this.#task.kill()"],
    "class Room { task = Tasklet.new(f)(); close() { this.task.kill(); } }": ["this.task.kill()"],
    "interface Room { task: Tasklet } function f(room: Room) { room.task.kill(); }": ["room.task.kill()"],
    "const server = Server.serve({ port: 0 }, f); server.stop();": ["server.stop()"],
    "const socket = await Socket.connect({ port: 1 }); socket.write(bytes);": ["socket.write(bytes)"],
    "const supervisor = new Supervisor(); supervisor.stop();": ["supervisor.stop()"],
    "stream.writer.flush();": ["stream.writer.flush()"],
    "function f(jobs: Channel<number>) { jobs.send(1); }": ["jobs.send(1)"],
    "select({ a, b });": ["select({ a, b })"],
    "const pool = new Pool({ open }); pool.close();": ["pool.close()"],
    "const task = Tasklet.new(f)(); a && task.kill(); a ? task.join() : b;": ["task.kill()", "task.join()"],
    "const task = Tasklet.new(f)(); a(), task.kill();": ["task.kill()"],
  });
});

Deno.test("no-floating-wait leaves alone what is awaited, used, marked as void, or not known", () => {
  const task = "const task = Tasklet.new(f)();";
  assertMarked("no-floating-wait", {
    [`${task} await task.kill();`]: [],
    [`${task} void task.kill();`]: [],
    [`${task} const killed = task.kill();`]: [],
    [`${task} task.join().catch(report);`]: [],
    [`${task} const f = () => task.kill();`]: [],
    [`${task} function f() { return task.join(); }`]: [],
    [`${task} f(task.kill());`]: [],
    [`${task} task.mailbox;`]: [],
    [`${task} process.kill(1);`]: [],
    "const child = new Deno.Command('ls').spawn(); child.kill();": [],
    "const task = start(); task.kill();": [],
    "function f(child: Deno.ChildProcess) { child.kill(); }": [],
    "function f(task: Tasklet) { task.kill; } function g(task: Worker) { task.kill(); }": [], // two things of one name
    "function f(task: Worker) { task.kill(); } function g(task: Tasklet) { task.kill; }": [],
    "const task = Tasklet.new(f)(); function g() { const task = start(); task.kill(); }": [],
    "words.join();": [],
    "MSG_A.send(task)();": [],
    "f.call(this)();": [],
    "Tasklet.new(f)();": [],
    "Tasklet.interval(5, f)();": [],
    "Tasklet.register('a');": [],
    "new Channel().trySend(1);": [],
  });
  const others = 'import { Server } from "node:http"; Tasklet.sleep(1); new Channel().receive(); select({});';
  assertEquals(lint(others, "no-floating-wait"), []); // nothing of it is imported
});

Deno.test("no-floating-wait fixes by await where that may stand, but not before a kill", () => {
  const cases: Record<string, string> = {
    "Tasklet.sleep(1);": "await Tasklet.sleep(1);",
    "async () => { MSG_A.call(task)(); };": "async () => { await MSG_A.call(task)(); };",
    "async function f(task?: Tasklet) { a && task?.join(); }":
      "async function f(task?: Tasklet) { a && await task?.join(); }",
    "() => { Tasklet.sleep(1); };": "() => { Tasklet.sleep(1); };",
    "class A { static { Tasklet.sleep(1); } }": "class A { static { Tasklet.sleep(1); } }",
    "Tasklet.current()!.kill();": "Tasklet.current()!.kill();",
  };
  for (const [source, expected] of Object.entries(cases)) {
    assertEquals(fixed(source, "no-floating-wait"), expected);
  }
});

// ------------------------------------------------------------------------------------------------
// As a plugin of `deno lint`

Deno.test("deno lint --fix with the plugin leaves nothing to fix, and what it wrote compiles", async () => {
  const config = { lint: { plugins: [import.meta.resolve("../lint.ts")], rules: { tags: [] } } };
  await using folder = await makeFolder({ "main.ts": BEFORE, "deno.json": JSON.stringify(config) });
  const found = await deno(folder.path, "lint", "--compact");
  const fix = await deno(folder.path, "lint", "--fix");
  const check = await deno(folder.path, "check", "main.ts");
  assertEquals([found.code, fix.code, check.code], [1, 0, 0], found.text + fix.text + check.text);
  assertEquals([...found.text.matchAll(/concurrence\/([\w-]+)/g)].map(([, rule]) => rule).toSorted(), [
    "message-name",
    "no-floating-wait",
    "rethrow-exit",
    "rethrow-exit",
  ]);
  assertEquals(await Deno.readTextFile(`${folder.path}/main.ts`), AFTER);
});

const BEFORE = `import { Message } from "${import.meta.resolve("../message.ts")}";
import { Tasklet } from "${import.meta.resolve("../tasklet.ts")}";
class MSG_B extends Message("MSG_A") {}
async function body(): Promise<void> {
  Tasklet.sleep(1);
  try {
    await Tasklet.sleep(1);
  } catch {
    console.log("late");
  }
  try {
    await Tasklet.receiveOne([MSG_B]);
  } catch (error) {
    console.log(error);
  }
}
Tasklet.new(body)();
`;

const AFTER = `import { Message } from "${import.meta.resolve("../message.ts")}";
import { Tasklet, TaskletExit } from "${import.meta.resolve("../tasklet.ts")}";
class MSG_B extends Message("MSG_B") {}
async function body(): Promise<void> {
  await Tasklet.sleep(1);
  try {
    await Tasklet.sleep(1);
  } catch (error) {
    if (error instanceof TaskletExit) throw error;
    console.log("late");
  }
  try {
    await Tasklet.receiveOne([MSG_B]);
  } catch (error) {
    if (error instanceof TaskletExit) throw error;
    console.log(error);
  }
}
Tasklet.new(body)();
`;

async function deno(cwd: string, ...args: string[]): Promise<{ code: number; text: string }> {
  const command = new Deno.Command(Deno.execPath(), { args, cwd, env: { NO_COLOR: "1" } });
  const { code, stdout, stderr } = await command.output();
  return { code, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}
