import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import type { Server } from "../net.ts";
import { Tasklet } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import type { ServerOptions } from "../examples/server.ts";
import { directory } from "../examples/directory.ts";
import { namesOf, simulate } from "../examples/users.ts";
import { type Client, client, vanish } from "./client.ts";
import { NARROW, start } from "./program.ts";
import { requires } from "./requires.ts";
import { catchReports } from "./reports.ts";
import {
  assertOneLine,
  assertRefused,
  DIRECTORY,
  FREE,
  Log,
  outcome,
  run,
  talk,
  testServerProgram,
  TIME,
} from "./servers.ts";

const encoder = new TextEncoder();

/** Starts a directory in this process, and tells what it logs. */
function open(options: ServerOptions = {}): { server: Server; log: Log; port: number } & AsyncDisposable {
  const log = new Log();
  const server = directory({ ...FREE, ...options, log: log.write });
  return { server, log, port: server.port, [Symbol.asyncDispose]: () => server.stop() };
}

/** Connects and registers, framed. */
async function register(port: number, name: string): Promise<Client> {
  const user = await client(port);
  assertEquals(await user.ask(`register,${name}\n`, "ack\n"), "ack\n");
  return user;
}

/** Sends a framed command, and gives the line that is answered. */
async function ask(user: Client, command: string | Uint8Array): Promise<string> {
  await user.send(command);
  let line = "";
  for (let next; (next = await user.bytes(1)).length > 0 && next[0] !== 10;) {
    line += String.fromCharCode(next[0]!);
  }
  return new TextDecoder().decode(Uint8Array.from(line, (c) => c.charCodeAt(0)));
}

/** The names that a directory lists, asked by somebody who is not there. */
async function list(port: number): Promise<string> {
  using asker = await client(port);
  return await ask(asker, "list,all\n");
}

/* ---------------------------------------------------- framing ---------------------------------------------------- */

Deno.test("directory answers a command that ends with a newline by a line", TIME, async () => {
  await using opened = open();
  using jane = await client(opened.port);
  using zak = await client(opened.port);
  assertEquals(await jane.ask("register,Jane\n", "ack\n"), "ack\n");
  assertEquals(await zak.ask("register,Zak\n", "ack\n"), "ack\n");
  assertEquals(await jane.ask("list,all\n", "Jane,Zak\n"), "Jane,Zak\n");
  await jane.send("chat,Zak\n");
  assertEquals(await zak.read("Jane says hi\n"), "Jane says hi\n");
  await zak.send("chat,Jane,How are you?\n");
  assertEquals(await jane.read("Zak says How are you?\n"), "Zak says How are you?\n");
  await Promise.all([jane.end(), zak.end()]);
  assertEquals([await jane.rest(), await zak.rest()], ["", ""]); // and by nothing else
});

Deno.test(
  "directory answers a command that ends with its chunk by as many bytes, without a newline",
  TIME,
  async () => {
    await using opened = open();
    using jane = await client(opened.port);
    using zak = await client(opened.port);
    assertEquals(await jane.ask("register,Jane", "ack"), "ack");
    assertEquals(await zak.ask("register,Zak", "ack"), "ack");
    assertEquals(await jane.ask("list,all", "Jane,Zak"), "Jane,Zak");
    await jane.send("chat,Zak");
    assertEquals(await zak.read("Jane says hi\n"), "Jane says hi\n");
    await zak.send("chat,Jane,How are you?");
    assertEquals(await jane.read("Zak says How are you?\n"), "Zak says How are you?\n");
    assertMatch(await jane.ask("register,Zak", "error: "), /^error: /);
    await Promise.all([jane.end(), zak.end()]);
    assertMatch(await jane.rest(), /^[^\n]+$/);
    assertEquals(await zak.rest(), "");
  },
);

Deno.test("directory takes CR LF for the end of a command, and answers with a newline", TIME, async () => {
  await using opened = open();
  using jane = await client(opened.port);
  assertEquals(await jane.ask("register,Jane\r\n", "ack\n"), "ack\n");
  assertEquals(await jane.ask("list,all\r\n", "Jane\n"), "Jane\n");
  assertEquals(await jane.ask("chat,Jane\r\n", "Jane says hi\n"), "Jane says hi\n");
  assertEquals(await jane.ask("chat,Jane,x\r\n", "Jane says x\n"), "Jane says x\n");
  await jane.end();
  assertEquals(await jane.rest(), "");
});

Deno.test("directory answers each command of a chunk as it ended", TIME, async () => {
  await using opened = open();
  using jane = await client(opened.port);
  await jane.send("register,Jane\nlist,a\nlist,b");
  assertEquals(await jane.read("ack\nJane\nJane"), "ack\nJane\nJane");
  await jane.send("list,c\n");
  assertEquals(await jane.read("Jane\n"), "Jane\n");
  await jane.end();
  assertEquals(await jane.rest(), "");
});

Deno.test("directory ends a command with its chunk, also when the rest comes later", TIME, async () => {
  await using opened = open();
  using jane = await client(opened.port);
  assertEquals(await jane.ask("register,Ja", "ack"), "ack");
  assertMatch(await ask(jane, "ne\n"), /^error: /);
  assertEquals(await list(opened.port), "Ja");
});

Deno.test("directory answers the last command of a half-closed client", TIME, async () => {
  await using opened = open();
  using other = await register(opened.port, "Zak");
  for (const [command, answer] of [["register,A", "ack"], ["register,B\nlist,x", "ack\nZak,B"]] as const) {
    using user = await client(opened.port);
    await user.send(command);
    await user.end();
    assertEquals(await user.rest(), answer);
    await other.ask("list,all\n", "Zak\n"); // whoever was there has been seen to go
  }
});

Deno.test("directory puts a large command together again that TCP cut, framed or not", TIME, async () => {
  await using opened = open();
  using jane = await register(opened.port, "Jane");
  using zak = await register(opened.port, "Zak");
  const text = "ä€😀x".repeat(400); // 10 bytes each, so that cuts fall into characters too
  const said = `Zak says ${text}\n`;
  for (const before of ["", "list,a\n".repeat(100), "list,ab\n".repeat(1000)]) {
    for (const end of ["\n", ""]) {
      const answers = "Jane,Zak\n".repeat(before.split("\n").length - 1);
      assertEquals(await zak.ask(`${before}chat,Jane,${text}${end}`, answers), answers);
      assertEquals(await jane.read(said), said);
    }
  }
  await zak.end();
  assertEquals(await zak.rest(), "");
});

Deno.test("directory answers 20 000 commands of one burst, each once", TIME, async () => {
  await using opened = open();
  using jane = await register(opened.port, "Jane");
  const count = 20_000;
  const sent = jane.send("list,abcdefg\n".repeat(count)).then(() => jane.end());
  const [answers] = await Promise.all([jane.rest(), sent]);
  const lines = answers.split("\n");
  assertEquals([...new Set(lines)], ["Jane", ""]); // and no error of a command that was cut
  assertEquals(lines.length, count + 1);
});

/* --------------------------------------------------- registering ------------------------------------------------- */

Deno.test(
  "directory lists names in the order of registration, whatever list is asked about",
  TIME,
  async () => {
    await using opened = open();
    assertEquals(await list(opened.port), "");
    using zak = await register(opened.port, "Zak");
    using jane = await register(opened.port, "Jane");
    using _ = await register(opened.port, "10");
    using _nine = await register(opened.port, "9"); // keys of objects that are numbers would come first, in order
    for (const about of ["all", "", " ", "Zak", ",", "a,b,c"]) {
      assertEquals(await ask(zak, `list,${about}\n`), "Zak,Jane,10,9");
    }
    jane.close();
    while (await list(opened.port) !== "Zak,10,9");
    using _jane = await register(opened.port, "Jane");
    assertEquals(await list(opened.port), "Zak,10,9,Jane");
  },
);

Deno.test(
  "directory takes names of 1 to 32 characters of any script, also those that objects have by birth",
  TIME,
  async () => {
    await using opened = open();
    const names = [
      "__proto__",
      "constructor",
      "toString",
      "hasOwnProperty",
      "x",
      "x".repeat(32),
      "名".repeat(32),
      "😀".repeat(32),
      "Jane Doe",
      "<b>",
      "a:b",
      "0",
      "null",
    ];
    const users: Client[] = [];
    for (const name of names) users.push(await register(opened.port, name));
    assertEquals(await list(opened.port), names.join(","));
    using other = await register(opened.port, "other");
    for (const [i, name] of names.entries()) {
      await other.send(`chat,${name}\n`);
      assertEquals(await users[i]!.read("other says hi\n"), "other says hi\n", name);
      const said = `${name} says hello\n`;
      await users[i]!.send("chat,other,hello\n");
      assertEquals(await other.read(said), said);
      users[i]!.close();
    }
  },
);

Deno.test(
  "directory refuses a name that is taken, bad or endless, and the connection stays",
  TIME,
  async () => {
    await using opened = open();
    using _ = await register(opened.port, "Zak");
    using jane = await client(opened.port);
    const bad = ["Zak", " Zak ", "", " ", "a,b", ",", "x".repeat(33), "😀".repeat(33), "x".repeat(4000)];
    const unprintable = ["\x1b[2J", "a\0b", "\x07", "a\tb", "a\u007f", "a\u0085b", "a\rb"];
    for (const name of [...bad, ...unprintable]) {
      assertMatch(await ask(jane, `register,${name}\n`), /^error: [ -~]+$/, JSON.stringify(name));
    }
    assertEquals(await list(opened.port), "Zak");
    assertEquals(await ask(jane, "register,Jane\n"), "ack");
    assertEquals(await list(opened.port), "Zak,Jane");
    assertEquals(opened.log.lines, ["Zak registered", "Jane registered"]);
  },
);

Deno.test("directory takes a name for taken that looks like one, until that one has gone", TIME, async () => {
  await using opened = open();
  using jane = await register(opened.port, "Jane");
  using other = await client(opened.port);
  const alike = "\uff2aane"; // the J is of full width
  assertEquals(await ask(other, `register,${alike}\n`), `error: the name ${alike} is taken`);
  await jane.end();
  assertEquals(await jane.rest(), "");
  assertEquals(await ask(other, `register,${alike}\n`), "ack");
});

Deno.test("directory gives a name to one of many who ask at once", TIME, async () => {
  await using opened = open();
  const all = await Promise.all(Array.from({ length: 20 }, () => client(opened.port)));
  const answers = await Promise.all(all.map((each) => ask(each, "register,Jane\n")));
  assertEquals(answers.filter((answer) => answer === "ack").length, 1);
  assertEquals(answers.filter((answer) => answer.startsWith("error: ")).length, 19);
  for (const each of all) each.close();
});

Deno.test("directory leaves no name behind of who registers twice", TIME, async () => {
  await using opened = open();
  {
    using jane = await register(opened.port, "Jane");
    await ask(jane, "register,Janet\n");
    await ask(jane, "register,Jane\n");
  }
  while (await list(opened.port) !== "");
  for (const name of ["Jane", "Janet"]) {
    using _ = await register(opened.port, name);
  }
});

Deno.test("directory frees the name of a client that has gone, in any way", TIME, async () => {
  using reports = catchReports();
  await using _time = virtualTime({ patience: 100 });
  await using opened = open({ idleTimeout: 60_000 });
  const ways: Record<string, (jane: Client) => unknown> = {
    close: (jane) => jane.close(),
    "half-close": (jane) => jane.end(),
    "a command that is too long": (jane) => jane.send("x".repeat(5000)),
    "Ctrl-D": (jane) => jane.send(new Uint8Array([4])),
    "Ctrl-C": (jane) => jane.send(new Uint8Array([255, 244, 255, 253, 6])),
    silence: (jane) => jane.rest(),
  };
  for (const leave of Object.values(ways)) {
    using jane = await register(opened.port, "Jane");
    await leave(jane);
    while (await list(opened.port) !== "");
  }
  await vanish(opened.port, "register,Jane\n", 4);
  while (await list(opened.port) !== "");
  using _ = await register(opened.port, "Jane");
  await reports.settled();
  assertEquals(reports.texts, []);
});

/* ---------------------------------------------------- chatting --------------------------------------------------- */

Deno.test("directory calls who has not registered unknown", TIME, async () => {
  await using opened = open();
  using jane = await register(opened.port, "Jane");
  using other = await client(opened.port);
  await other.send("chat,Jane\nchat,Jane,who am I?");
  const said = "unknown says hi\nunknown says who am I?\n";
  assertEquals(await jane.read(said), said);
  await other.end();
  assertEquals(await other.rest(), "");
});

Deno.test(
  "directory says TEXT verbatim but for controls, commas and all, also to oneself",
  TIME,
  async () => {
    await using opened = open();
    using jane = await register(opened.port, "Jane");
    const texts: [sent: string, said: string][] = [
      ["a,b,,c,", "a,b,,c,"],
      ["名前 ä 😀", "名前 ä 😀"],
      ["chat,Jane,x", "chat,Jane,x"],
      ["\x1b[2Jclear\x07\u009b31m", "[2Jclear31m"],
      ["one\rZak says two", "oneZak says two"],
      ["tab\tstays", "tab\tstays"],
      ["ack", "ack"],
    ];
    for (const [sent, heard] of texts) {
      const said = `Jane says ${heard}\n`;
      assertEquals(await jane.ask(`chat,Jane,${sent}\n`, said), said);
    }
  },
);

Deno.test(
  "directory tells a framed sender of an unknown receiver, an unframed one not, and logs both",
  TIME,
  async () => {
    await using opened = open();
    using jane = await register(opened.port, "Jane");
    assertEquals(await opened.log.line(), "Jane registered");
    for (const name of ["Bob", "__proto__", "constructor", "toString", "jane"]) {
      assertMatch(await ask(jane, `chat,${name}\n`), /^error: /, name);
      assertEquals(await opened.log.line(), `No user by the name <${name}>`);
      await jane.send(`chat,${name}`);
      assertEquals(await opened.log.line(), `No user by the name <${name}>`);
    }
    await jane.end();
    assertEquals(await jane.rest(), "");
  },
);

Deno.test(
  "directory answers an unknown command and a missing comma, framed as they were, and stays",
  TIME,
  async () => {
    await using opened = open();
    using jane = await client(opened.port);
    const commands = [
      "",
      "list",
      "register",
      "hello",
      "dance,Jane",
      ",",
      ",x",
      "LIST,all",
      "__proto__,x",
      "constructor,x",
    ];
    for (const command of [...commands, "\x1b[2J,x", "x".repeat(4000)]) {
      assertMatch(await ask(jane, `${command}\n`), /^error: [ -~]+$/, JSON.stringify(command));
      if (command === "") continue;
      using other = await client(opened.port);
      await other.send(command);
      await other.end();
      assertMatch(await other.rest(), /^error: [ -~]+$/, JSON.stringify(command));
    }
    assertEquals(await ask(jane, "register,Jane\n"), "ack");
  },
);

/* ------------------------------------------------- what is malformed --------------------------------------------- */

Deno.test("directory takes commands of up to 4 KiB, their end not counted", TIME, async () => {
  await using opened = open();
  using jane = await register(opened.port, "Jane");
  const text = "x".repeat(4096 - "chat,Jane,".length);
  for (const end of ["\n", ""]) {
    const said = `Jane says ${text}\n`;
    assertEquals(await jane.ask(`chat,Jane,${text}${end}`, said), said);
  }
});

Deno.test(
  "directory tells who sends a longer one why, in one line, and closes, with a newline or not",
  TIME,
  async () => {
    await using opened = open();
    for (const length of [4097, 5000, 8192, 100_000]) {
      for (const end of ["\n", ""]) {
        using jane = await client(opened.port);
        // It may be closed before all was taken.
        const sent = jane.send("register," + "x".repeat(length - 9) + end).catch(() => {});
        assertMatch(await jane.rest().catch(() => "reset: too long\n"), /^[^\n]*too long[^\n]*\n$/);
        await sent;
      }
    }
    assertEquals(opened.log.lines, []);
  },
);

Deno.test("directory keeps to a smaller limit that it is given", TIME, async () => {
  await using opened = open({ maxLine: 20 });
  using jane = await register(opened.port, "Jane");
  assertEquals(await ask(jane, `list,${"x".repeat(15)}\n`), "Jane");
  await jane.send(`list,${"x".repeat(16)}\n`);
  assertMatch(await jane.rest(), /^[^\n]*too long[^\n]*\n$/);
});

Deno.test("directory takes invalid UTF-8 as U+FFFD, and what follows as it is", TIME, async () => {
  await using opened = open();
  using jane = await client(opened.port);
  const bytes = (text: string, ...more: number[]) => new Uint8Array([...encoder.encode(text), ...more]);
  assertEquals(await ask(jane, bytes("register,A", 0xc3, 10)), "ack");
  assertEquals(await ask(jane, "list,all\n"), "A\uFFFD");
  using zak = await client(opened.port);
  assertEquals(await zak.ask(bytes("register,B", 0xe2, 0x82), "ack"), "ack");
  const names = "A\uFFFD,B\uFFFD";
  assertEquals(await zak.ask("list,all", names), names);
});

Deno.test("directory logs no name that could forge a line or turn its direction", TIME, async () => {
  await using opened = open();
  using jane = await client(opened.port);
  for (const name of ["a\rb", "c\u0085d", "e\u2028f", "\u202eevil", "g\u2066h", "\x1b]0;h\x07"]) {
    using other = await client(opened.port);
    await ask(other, `register,${name}\n`);
    await ask(jane, `chat,${name}!\n`);
  }
  await opened.server.stop();
  // deno-lint-ignore no-control-regex
  const unsafe = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/;
  assertEquals(opened.log.lines.filter((line) => unsafe.test(line)), []);
});

Deno.test("directory goes on when a user takes nothing", TIME, async () => {
  using reports = catchReports();
  await using opened = open();
  using _stuck = await register(opened.port, "Stuck");
  using jane = await register(opened.port, "Jane");
  for (let i = 0; i < 4000; i++) { // 16 MB
    const list = await ask(jane, `chat,Stuck,${"x".repeat(4000)}\nlist,all\n`);
    if (list === "Stuck,Jane") continue;
    assertMatch(list, /^(Jane|error: .*)$/); // the user was dropped
    break;
  }
  await opened.server.stop();
  await reports.settled();
  assertEquals(reports.texts, []);
});

/* ---------------------------------------------------- simulate --------------------------------------------------- */

Deno.test(
  "simulate() registers all, lets each hear of all, and greets random friends until the end",
  TIME,
  async () => {
    using reports = catchReports();
    // Sockets know nothing of virtual time. Patience at each of hundreds of sleeps would take seconds; without it, a tick
    // of 10 ms keeps the clock from jumping over them.
    await using time = virtualTime({ patience: 0 });
    const ticks = Tasklet.interval(10, () => {})();
    await using opened = open();
    const names = ["Jane", "Zak", "Abhishek", "Natasha"];
    const log = new Log();
    await simulate(opened.server.address, { names, seconds: 300, log: log.write });
    assert(time.now >= 300_000 && time.now < 301_000, `${time.now}`);
    await ticks.kill();
    assertEquals(opened.log.lines.toSorted(), names.map((name) => `${name} registered`).toSorted());
    const pairs = log.lines.map((line) => {
      // deno-lint-ignore no-control-regex
      const plain = line.replaceAll(/\x1b\[\d+m/g, "");
      const [, receiver, sender] = /^(\w+) received: (\w+) says hi$/.exec(plain) ?? [];
      assert(names.includes(receiver!) && names.includes(sender!), line);
      return `${sender} to ${receiver}`;
    });
    // 4 users who speak every 2 to 6 s: 200 to 600 in 300 s.
    assert(pairs.length >= 190 && pairs.length <= 600, `${pairs.length} messages`);
    assertEquals(new Set(pairs).size, 16); // everybody to everybody, itself included
    await reports.settled();
    assertEquals(reports.texts, []);
  },
);

Deno.test("simulate() takes names for what they are, also one that looks like a greeting", TIME, async () => {
  await using _time = virtualTime({ patience: 0 });
  const ticks = Tasklet.interval(10, () => {})();
  await using opened = open();
  const log = new Log();
  const names = ["A says B", "C"];
  await simulate(opened.server.address, { names, seconds: 100, log: log.write });
  await ticks.kill();
  // deno-lint-ignore no-control-regex
  const plain = log.lines.map((line) => line.replaceAll(/\x1b\[\d+m/g, ""));
  const expected = names.flatMap((to) => names.map((from) => `${to} received: ${from} says hi`));
  assertEquals([...new Set(plain)].toSorted(), expected.toSorted());
});

Deno.test("simulate() fails, and leaves nobody behind, if a name is taken", TIME, async () => {
  await using opened = open();
  using _ = await register(opened.port, "Zak");
  const running = Tasklet.new(() =>
    simulate(opened.server.address, { names: ["Jane", "Zak"], seconds: 1000, log: () => {} })
  )();
  const error = await assertRejects(() => running.join());
  assertMatch(Deno.inspect(error), /Zak/);
  while (await list(opened.port) !== "Zak");
});

Deno.test("namesOf() takes different names with commas between, and refuses others", () => {
  assertEquals(namesOf(" Jane,Zak ,A"), ["Jane", "Zak", "A"]);
  for (const wrong of ["", ",", "Jane,", "Jane,Jane", "Jane, Jane ", "J\x07", "x".repeat(33)]) {
    assertMatch(assertThrows(() => namesOf(wrong), Error).message, /--users/);
  }
});

Deno.test(
  "directory --simulate is allowed to connect by the permission that its header names",
  TIME,
  async () => {
    const flags = ["--port", "0", "--simulate", "--duration", "1"];
    const { code, lines, stderr } = await outcome("directory", flags, NARROW);
    assertEquals([code, stderr], [0, ""]);
    const names = ["Jane", "Zak", "Abhishek", "Natasha"].map((name) => `${name} registered`);
    assertEquals(lines.slice(1).toSorted(), names.toSorted());
  },
);

Deno.test(
  "directory --simulate refuses users that are no names, and --duration 0 ends at once",
  TIME,
  async () => {
    const bad = ["Jane,Jane", "a\tb", "x".repeat(33), ",", "Jane,"];
    await Promise.all(
      bad.map((users) => assertRefused("directory", ["--simulate", "--users", users], "--users")),
    );
    const allow = ["--no-prompt", "--allow-net=localhost,127.0.0.1"];
    const { code, stderr } = await outcome(
      "directory",
      ["--port", "0", "--simulate", "--duration", "0"],
      allow,
    );
    assertEquals([code, stderr], [0, ""]);
  },
);

// The one test that takes its time: users speak for the first time after 2 to 6 seconds.
Deno.test(
  "directory --simulate greets in real time, plain in a pipe and colourful on a terminal, and ends with 0",
  { ...TIME, ...requires("script") },
  async () => {
    const allow = ["--no-prompt", "--allow-net=localhost,127.0.0.1"];
    const names = ["Ada", "Bo", "Cy"];
    const flags = ["--port", "0", "--simulate", "--users", names.join(","), "--duration", "7"];
    const command = [Deno.execPath(), "run", "--quiet", ...allow, "examples/directory.ts", ...flags].join(
      " ",
    );
    const [piped, typed] = await Promise.all([
      outcome("directory", flags, allow),
      new Deno.Command("script", {
        args: ["-qec", command, "/dev/null"],
        cwd: new URL("..", import.meta.url),
        env: { TERM: "xterm", NO_COLOR: "" },
        stdin: "null",
      }).output(),
    ]);
    assertEquals([piped.code, piped.stderr, typed.code], [0, "", 0]);
    const [announcement, ...lines] = piped.lines;
    assertMatch(announcement!, /^listening on port \d+$/);
    assertEquals(lines.slice(0, 3).toSorted(), names.map((name) => `${name} registered`));
    const said = lines.slice(3);
    for (const line of said) assertMatch(line, /^(Ada|Bo|Cy) received: (Ada|Bo|Cy) says hi$/);
    assert(said.length >= 3 && said.length <= 9, said.join("\n"));
    for (const name of names) assert(said.some((line) => line.endsWith(`: ${name} says hi`)), name);
    const shown = new TextDecoder().decode(typed.stdout).replaceAll("\x1b", "ESC");
    assertMatch(shown, /ESC\[\d+m(Ada|Bo|Cy)ESC\[0m received: \w+ says hi\r\n/);
  },
);

/* --------------------------------------------------- the program ------------------------------------------------- */

testServerProgram(DIRECTORY);

Deno.test("directory logs who registers, and whom nobody knows", TIME, async () => {
  await using running = await run(DIRECTORY);
  using jane = await register(running.port, "Jane");
  assertMatch(await ask(jane, "chat,Bob,are you there?\n"), /^error: /);
  assertEquals(await running.stop("SIGINT"), {
    code: 130,
    lines: ["Jane registered", "No user by the name <Bob>"],
    stderr: "",
  });
});

Deno.test("directory at SIGTERM is not held up by a user who does not read", TIME, async () => {
  await using running = await run(DIRECTORY, ["--quiet"]);
  using _stuck = await register(running.port, "Stuck");
  using jane = await register(running.port, "Jane");
  for (let i = 0; i < 1800; i++) { // 7 MB, more than the system takes for a user
    assertEquals(await ask(jane, `chat,Stuck,${"x".repeat(4000)}\nlist,all\n`), "Stuck,Jane");
  }
  assertEquals(await running.stop(), { code: 143, lines: [], stderr: "" });
});

Deno.test("directory --simulate ends at a signal, with nothing on stderr", TIME, async () => {
  for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
    const allow = ["--no-prompt", "--allow-net=localhost,127.0.0.1"];
    await using program = start("examples/directory.ts", ["--port", "0", "--simulate"], allow);
    for (let i = 0; i < 5; i++) await program.line(); // the announcement, and four who register
    program.signal(signal);
    assertEquals(await program.end(), { code, lines: [], stderr: "" });
  }
});

Deno.test("directory --max-line, --max-connections and --idle-timeout reach the server", TIME, async () => {
  await using running = await run(
    DIRECTORY,
    ["--max-line", "20", "--max-connections", "1", "--idle-timeout", "1", "--quiet"],
  );
  using first = await client(running.port);
  using second = await client(running.port);
  await second.send("list,all\n");
  await first.send("list," + "x".repeat(16));
  assertMatch(await first.rest(), /^[^\n]*too long[^\n]*\n$/);
  assertEquals(await second.line(), "");
  await second.rest(); // it has been silent for a second
  assertEquals(await running.stop(), { code: 143, lines: [], stderr: "" });
});

Deno.test("directory --max-line that is bad is named", TIME, async () => {
  const { code, stderr } = await outcome("directory", ["--max-line", "5000"]);
  assertEquals(code, 2);
  assertOneLine(stderr, "5000");
});

Deno.test("directory talks to nc, byte by byte", { ...TIME, ...requires("nc", "bash") }, async () => {
  await using running = await run(DIRECTORY);
  for (
    const [input, output] of [
      ["register,Jane", "ack"],
      ["register,Jane\\n", "ack\n"],
      ["register,Jane\\nlist,all\\nchat,Jane,How are you?\\n", "ack\nJane\nJane says How are you?\n"],
      ["register,Jane\\nlist,all", "ack\nJane"],
    ] as const
  ) {
    const args = ["-c", `printf '${input}' | nc -N localhost ${running.port}`];
    const { stdout } = await new Deno.Command("bash", { args }).output();
    assertEquals(new TextDecoder().decode(stdout), output);
    assertEquals(await running.line(), "Jane registered");
  }
});

Deno.test("directory talks to telnet", { ...TIME, ...requires("telnet") }, async () => {
  await using running = await run(DIRECTORY);
  const input = "register,Jane\nlist,all\nchat,Jane\n\x04";
  const printed = await talk("telnet", ["localhost", `${running.port}`], input);
  assertMatch(printed, /\nack\nJane\nJane says hi\n$/);
});
