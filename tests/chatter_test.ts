import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Server } from "../net.ts";
import { Tasklet } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { chatter, type ChatterOptions } from "../examples/chatter.ts";
import { type Client, client, vanish } from "./client.ts";
import { Program } from "./program.ts";
import { requires } from "./requires.ts";
import { catchReports } from "./reports.ts";
import { CHATTER, FREE, Log, run, talk, testServerProgram, TIME } from "./servers.ts";

const encoder = new TextEncoder();

/** Starts a chat in this process, and tells what it logs. */
function open(options: ChatterOptions = {}): { server: Server; log: Log } & AsyncDisposable {
  const log = new Log();
  const server = chatter({ ...FREE, ...options, log: log.write });
  return { server, log, [Symbol.asyncDispose]: () => server.stop() };
}

/** Connects, and gives a handle that is free. */
async function join(port: number, handle: string): Promise<Client> {
  const member = await client(port);
  await member.send(`${handle}\n`);
  assertEquals(await member.lines(2), ["What is your handle?", `${handle} has joined the chat.`]);
  return member;
}

/** Says something, and gives what is heard next. */
async function say(member: Client, text: string): Promise<string | null> {
  await member.send(`${text}\n`);
  return await member.line();
}

/* ------------------------------------------------- what is said -------------------------------------------------- */

Deno.test(
  "chatter tells all members, the speaker too, who joins, says something and leaves",
  TIME,
  async () => {
    await using chat = open();
    using jane = await join(chat.server.port, "jane");
    using zak = await join(chat.server.port, "zak");
    await jane.send("hello\n");
    await zak.send("hi\n");
    assertEquals(await jane.lines(2), ["zak has joined the chat.", "jane says: hello"]);
    assertEquals(await zak.lines(2), ["jane says: hello", "zak says: hi"]);
    zak.close();
    assertEquals(await jane.lines(2), ["zak says: hi", "zak has left the chat."]);
  },
);

Deno.test(
  "chatter takes a handle for taken that looks like one, and for empty if nothing of it is seen",
  TIME,
  async () => {
    await using chat = open();
    using jane = await join(chat.server.port, "jane");
    using other = await client(chat.server.port);
    await other.send("\uff4a\uff41\uff4e\uff45\nja\u200bne\n\u2060\u200d\njane2\n"); // full width, zero width, nothing
    assertEquals(await other.lines(7), [
      "What is your handle?",
      ...Array(2).fill(["That handle is already taken.", "What is your handle?"]).flat(),
      "What is your handle?",
      "jane2 has joined the chat.",
    ]);
    jane.close();
    assertEquals(await other.line(), "jane has left the chat.");
    using third = await join(chat.server.port, "\uff4a\uff41\uff4e\uff45");
    assertEquals(await say(third, "free again"), "\uff4a\uff41\uff4e\uff45 says: free again");
  },
);

Deno.test("chatter tells nothing to who has not logged in", TIME, async () => {
  await using chat = open();
  using silent = await client(chat.server.port);
  assertEquals(await silent.line(), "What is your handle?");
  using jane = await join(chat.server.port, "jane");
  assertEquals(await say(jane, "hello"), "jane says: hello");
  using zak = await join(chat.server.port, "zak");
  zak.close();
  assertEquals(await jane.lines(2), ["zak has joined the chat.", "zak has left the chat."]);
  await silent.send("late\n");
  assertEquals(await silent.line(), "late has joined the chat.");
});

Deno.test("chatter gives nobody the lines of who has not logged in, and no left for him", TIME, async () => {
  await using chat = open();
  using jane = await join(chat.server.port, "jane");
  await vanish(chat.server.port, "", 21);
  using silent = await client(chat.server.port);
  await silent.send("\n\x1b\n");
  assertEquals(await silent.lines(3), Array(3).fill("What is your handle?"));
  silent.close();
  assertEquals(await say(jane, "alone"), "jane says: alone");
});

Deno.test("chatter says lines verbatim, once stripped and without controls", TIME, async () => {
  await using chat = open();
  using jane = await join(chat.server.port, "jane");
  const said: [sent: string, said: string][] = [
    ["  both  ends \t", "both  ends"],
    ["名前 ä 😀 e\u0301", "名前 ä 😀 e\u0301"],
    ["tab\tstays", "tab\tstays"],
    ["\x1b[2Jclear\x07\x9b31m", "[2Jclear31m"],
    ["one\rzak says: two", "onezak says: two"],
    ["nul\0 del\x7f", "nul del"],
    ["", ""],
    ["crlf\r", "crlf"],
    ["${x} %s \\n <b>", "${x} %s \\n <b>"],
    ["H says: me", "H says: me"],
  ];
  for (const [sent, heard] of said) assertEquals(await say(jane, sent), `jane says: ${heard}`);
});

Deno.test("chatter takes invalid UTF-8 as U+FFFD, and its sender stays", TIME, async () => {
  await using chat = open();
  using jane = await join(chat.server.port, "jane");
  await jane.send(new Uint8Array([...encoder.encode("a"), 0xc3, 0x28, 0x80, ...encoder.encode("b\n")]));
  assertEquals(await jane.line(), "jane says: a\uFFFD(\uFFFDb");
  assertEquals(await say(jane, "here"), "jane says: here");
});

Deno.test("chatter takes many lines of one chunk, and a line of many chunks", TIME, async () => {
  await using chat = open();
  using jane = await join(chat.server.port, "jane");
  await jane.send("1\r\n2\n3\r\n");
  assertEquals(await jane.lines(3), ["jane says: 1", "jane says: 2", "jane says: 3"]);
  for (const byte of encoder.encode("näh\n")) await jane.send(new Uint8Array([byte]));
  assertEquals(await jane.line(), "jane says: näh");
});

Deno.test("chatter loses no line of a burst of 20 000, and drops nobody who reads", TIME, async () => {
  await using chat = open();
  using jane = await join(chat.server.port, "jane");
  using zak = await join(chat.server.port, "zak");
  await jane.line();
  const count = 20_000;
  const burst = Array.from({ length: count }, (_, i) => `${i}\n`).join("");
  const expected = Array.from({ length: count }, (_, i) => `jane says: ${i}`);
  const [, ...heard] = await Promise.all([jane.send(burst), jane.lines(count), zak.lines(count)]);
  for (const lines of heard) assert(lines.join("\n") === expected.join("\n"));
  assertEquals(await say(zak, "still here"), "zak says: still here");
});

/* --------------------------------------------------- handles ----------------------------------------------------- */

Deno.test("chatter asks again for a handle that is empty, unprintable or endless", TIME, async () => {
  await using chat = open();
  using jane = await client(chat.server.port);
  assertEquals(await jane.line(), "What is your handle?");
  for (
    const handle of ["", "   ", "\t", "\x1b[2J", "a\0b", "a\x7f", "\x07", "a\u0085b", "x".repeat(10_000)]
  ) {
    assertEquals(await say(jane, handle), "What is your handle?", JSON.stringify(handle.slice(0, 20)));
  }
  assertEquals(await say(jane, "  jane\r"), "jane has joined the chat.");
  assertEquals(await say(jane, "hello"), "jane says: hello");
});

Deno.test("chatter takes any printable handle, also one that objects have by birth", TIME, async () => {
  await using chat = open();
  for (
    const handle of ["__proto__", "constructor", "toString", "名前", "😀", "Jane Doe", "a, b", "has left"]
  ) {
    using member = await join(chat.server.port, handle);
    assertEquals(await say(member, "hi"), `${handle} says: hi`);
    assertEquals(await say(member, "/who"), handle);
    await member.send("/quit\n");
    assertEquals(await member.rest(), "");
  }
});

Deno.test("chatter refuses a handle that is taken, and asks again", TIME, async () => {
  await using chat = open();
  using jane = await join(chat.server.port, "jane");
  using other = await client(chat.server.port);
  await other.send("jane\n jane\r\nJane\n");
  assertEquals(await other.lines(6), [
    "What is your handle?",
    "That handle is already taken.",
    "What is your handle?",
    "That handle is already taken.",
    "What is your handle?",
    "Jane has joined the chat.",
  ]);
  assertEquals(await jane.line(), "Jane has joined the chat.");
});

Deno.test("chatter gives a handle to one of many who ask at once", TIME, async () => {
  await using chat = open();
  const all = await Promise.all(Array.from({ length: 20 }, () => client(chat.server.port)));
  await Promise.all(all.map((each) => each.line()));
  await Promise.all(all.map((each) => each.send("jane\n")));
  const answers = await Promise.all(all.map((each) => each.line()));
  assertEquals(answers.toSorted(), [
    ...Array(19).fill("That handle is already taken."),
    "jane has joined the chat.",
  ]);
  for (const each of all) each.close();
});

Deno.test("chatter gives a handle again once its member has gone, in any way", TIME, async () => {
  await using chat = open();
  using other = await join(chat.server.port, "other");
  for (const way of ["/quit\n", "close", "reset"]) {
    if (way === "reset") {
      await vanish(chat.server.port, "jane\n", 47);
    } else {
      using jane = await join(chat.server.port, "jane");
      if (way !== "close") await jane.send(way);
    }
    assertEquals(await other.lines(2), ["jane has joined the chat.", "jane has left the chat."], way);
  }
  using _ = await join(chat.server.port, "jane");
});

/* --------------------------------------------------- commands ---------------------------------------------------- */

Deno.test("chatter /who lists the handles, to the asker alone", TIME, async () => {
  await using chat = open();
  using jane = await join(chat.server.port, "jane");
  using zak = await join(chat.server.port, "zak");
  await jane.line();
  using silent = await client(chat.server.port);
  await silent.line();
  const list = (await say(zak, "/who"))!;
  assertEquals(list.split(/[ ,]+/).toSorted(), ["jane", "zak"]);
  assertEquals(await say(jane, " /who\r"), list);
  assertEquals(await say(zak, "after"), "zak says: after");
  assertEquals(await jane.line(), "zak says: after");
});

Deno.test("chatter answers another /word to the asker, and says it to nobody", TIME, async () => {
  await using chat = open();
  using jane = await join(chat.server.port, "jane");
  using zak = await join(chat.server.port, "zak");
  await jane.line();
  for (const word of ["/help", "/quitter", "/QUIT", "/who else", "/", "//", "/\x1b[2Jx"]) {
    const answer = (await say(zak, word))!;
    assert(!answer.includes(" says: ") && !/[^\t -~]/.test(answer), answer);
  }
  assertEquals(await say(zak, "not a / word"), "zak says: not a / word");
  assertEquals(await jane.line(), "zak says: not a / word");
});

Deno.test("chatter /quit leaves: the others are told, and the connection is closed", TIME, async () => {
  await using chat = open();
  using jane = await join(chat.server.port, "jane");
  using zak = await join(chat.server.port, "zak");
  await zak.send("  /quit \r\nnot said\n");
  assertEquals(await zak.rest(), "");
  assertEquals(await jane.lines(2), ["zak has joined the chat.", "zak has left the chat."]);
  assertEquals(await say(jane, "hello"), "jane says: hello");
});

/* ------------------------------------------------- ways to leave ------------------------------------------------- */

const IAC = 255;
const IP = 244;

/** Every way in which a member may go; each gives what the member still reads, or `undefined` if it cannot. */
const WAYS: Record<string, (eve: Client) => Promise<string | undefined>> = {
  "/quit": async (eve) => {
    await eve.send("/quit\n");
    return await eve.rest();
  },
  "/quit twice": async (eve) => {
    await eve.send("/quit\n/quit\n");
    await eve.end();
    return undefined;
  },
  "a close": (eve) => {
    eve.close();
    return Promise.resolve(undefined);
  },
  "a half-close": async (eve) => {
    await eve.end();
    return await eve.rest();
  },
  "an over-long line": async (eve) => {
    await eve.send("x".repeat(2000) + "\n");
    return undefined;
  },
  "an over-long line without an end": async (eve) => {
    await eve.send("x".repeat(2000));
    return undefined;
  },
  "Ctrl-C in telnet": async (eve) => {
    await eve.send(new Uint8Array([IAC, IP, IAC, 253, 6]));
    const rest = await eve.rest();
    assert(rest.length <= 3, rest); // the mark that telnet waits for
    return undefined;
  },
  "Ctrl-D": async (eve) => {
    await eve.send(new Uint8Array([4]));
    return await eve.rest();
  },
  "silence": async (eve) => {
    await eve.rest();
    return undefined;
  },
};

for (const [way, leave] of Object.entries(WAYS)) {
  Deno.test(`chatter announces one joined and one left: ${way}`, TIME, async () => {
    using reports = catchReports();
    const isSilence = way === "silence";
    await using _time = isSilence ? virtualTime() : undefined;
    await using chat = open({ maxLine: 1000, idleTimeout: isSilence ? 60_000 : Infinity });
    {
      using jane = await join(chat.server.port, "jane");
      using eve = await join(chat.server.port, "eve");
      const rest = await leave(eve);
      if (rest !== undefined) assertEquals(rest, "");
      assertEquals(await jane.line(), "eve has joined the chat.");
      if (!isSilence) {
        assertEquals(await jane.line(), "eve has left the chat.");
        assertEquals(await say(jane, "alone"), "jane says: alone");
      }
    }
    await chat.server.stop();
    const left = ["jane has joined the chat.", "eve has joined the chat.", "eve has left the chat."];
    const lines = [...left, "jane has left the chat."];
    if (isSilence) assertEquals(chat.log.lines.toSorted(), lines.toSorted());
    else assertEquals(chat.log.lines, lines);
    await reports.settled();
    assertEquals(reports.texts, []);
  });
}

Deno.test("chatter announces one joined and one left: a reset", TIME, async () => {
  using reports = catchReports();
  await using chat = open();
  using jane = await join(chat.server.port, "jane");
  await vanish(chat.server.port, "eve\n", 45);
  assertEquals(await jane.lines(2), ["eve has joined the chat.", "eve has left the chat."]);
  assertEquals(await say(jane, "alone"), "jane says: alone");
  await reports.settled();
  assertEquals(reports.texts, []);
});

Deno.test("chatter announces one joined and one left: the server stops", TIME, async () => {
  using reports = catchReports();
  await using chat = open();
  const handles = ["jane", "zak", "eve", "名前"];
  const members: Client[] = [];
  for (const handle of handles) members.push(await join(chat.server.port, handle));
  await chat.server.stop();
  const ends = await Promise.all(members.map((member) => member.rest()));
  for (const end of ends) assertMatch(end, /(^|\n)server is shutting down\n$/);
  assertEquals(chat.log.lines.slice(4).toSorted(), handles.map((h) => `${h} has left the chat.`).toSorted());
  await reports.settled();
  assertEquals(reports.texts, []);
  for (const member of members) member.close();
});

Deno.test(
  "chatter announces as many left as joined when many come, go and the server stops meanwhile",
  TIME,
  async () => {
    using reports = catchReports();
    for (let round = 0; round < 20; round++) {
      const chat = open();
      const { port } = chat.server;
      const all = await Promise.all(Array.from({ length: 10 }, () => client(port)));
      await Promise.all(all.map((each, i) => each.send(`${i}\nhello\n`)));
      await all[0]!.lines(round % 3);
      for (const each of all.slice(5)) each.close();
      await chat.server.stop();
      for (const each of all) each.close();
      const by = (word: string) => chat.log.lines.filter((line) => line.endsWith(` has ${word} the chat.`));
      const handles = (lines: string[]) => lines.map((line) => line.split(" ")[0]).toSorted();
      assertEquals(handles(by("left")), handles(by("joined")));
    }
    await reports.settled();
    assertEquals(reports.texts, []);
  },
);

Deno.test(
  "chatter takes the last line of a half-closed member without its newline, and still answers",
  TIME,
  async () => {
    await using chat = open();
    using jane = await join(chat.server.port, "jane");
    using eve = await client(chat.server.port);
    await eve.send("eve\n/who\nbye");
    await eve.end();
    assertEquals(
      await eve.rest(),
      "What is your handle?\neve has joined the chat.\njane, eve\neve says: bye\n",
    );
    assertEquals(await jane.lines(3), [
      "eve has joined the chat.",
      "eve says: bye",
      "eve has left the chat.",
    ]);
  },
);

Deno.test("chatter tells the sender of an over-long line why, in one line, and closes", TIME, async () => {
  await using chat = open({ maxLine: 100 });
  for (const end of ["\n", "\r\n", "\nmore\n", ""]) {
    using eve = await client(chat.server.port);
    assertEquals(await eve.line(), "What is your handle?");
    await eve.send("x".repeat(101) + end);
    assertMatch(await eve.rest(), /^[^\n]*too long[^\n]*\n$/i);
    using zak = await join(chat.server.port, "zak");
    await zak.send("x".repeat(101) + end);
    assertMatch(await zak.rest(), /^[^\n]*too long[^\n]*\n$/i);
  }
});

Deno.test("chatter tells that as the last thing, behind the answers to what came before", TIME, async () => {
  await using chat = open({ maxLine: 100 });
  using eve = await client(chat.server.port);
  await eve.send(`eve\nhello\n/who\n${"x".repeat(101)}\n`);
  const told = (await eve.rest()).split("\n");
  assertEquals(told.slice(0, -2), [
    "What is your handle?",
    "eve has joined the chat.",
    "eve says: hello",
    "eve",
  ]);
  assertMatch(told.at(-2)!, /too long/);
});

Deno.test("chatter counts the length of a line in bytes, without its end", TIME, async () => {
  await using chat = open({ maxLine: 100 });
  using jane = await join(chat.server.port, "jane");
  for (const end of ["\n", "\r\n"]) {
    await jane.send("ä".repeat(50) + end);
    assertEquals(await jane.line(), `jane says: ${"ä".repeat(50)}`);
  }
  await jane.send("ä".repeat(50) + "x\n");
  assertMatch(await jane.rest(), /^[^\n]*too long[^\n]*\n$/i);
});

Deno.test("chatter counts the idle timeout from the last byte of each client", TIME, async () => {
  await using time = virtualTime({ patience: 20 });
  await using chat = open({ idleTimeout: 60_000 });
  using jane = await join(chat.server.port, "jane");
  using silent = await client(chat.server.port);
  let endedAt = 0;
  const ended = silent.rest().then(() => endedAt = time.now);
  for (let said = 0; said < 3; said++) {
    await Tasklet.sleep(40_000);
    assertEquals(await say(jane, `${said}`), `jane says: ${said}`);
  }
  await ended;
  assertEquals([endedAt, time.now], [60_000, 120_000]);
});

/* ---------------------------------------------- those who do not read -------------------------------------------- */

Deno.test("chatter broadcasts to a dead peer without disturbing anybody", TIME, async () => {
  using reports = catchReports();
  await using chat = open();
  using jane = await join(chat.server.port, "jane");
  for (let i = 0; i < 10; i++) {
    const gone = vanish(chat.server.port, `dead${i}\n`, 47);
    const heard: (string | null)[] = [];
    await jane.send("x\n".repeat(50));
    while (heard.filter((line) => line === "jane says: x").length < 50 || heard.length < 52) {
      heard.push(await jane.line());
    }
    await gone;
    assertEquals(heard.filter((line) => line !== "jane says: x"), [
      `dead${i} has joined the chat.`,
      `dead${i} has left the chat.`,
    ]);
  }
  await reports.settled();
  assertEquals(reports.texts, []);
});

Deno.test("chatter drops a member that takes nothing, and nobody waits for it", TIME, async () => {
  using reports = catchReports();
  await using chat = open({ backlog: 10 });
  using _stuck = await join(chat.server.port, "stuck");
  using jane = await join(chat.server.port, "jane");
  const text = "x".repeat(60_000);
  let lines = 0;
  let heard: string | null;
  do {
    heard = await say(jane, text);
    lines++;
  } while (heard === `jane says: ${text}` && lines < 2000);
  assertEquals(heard, "stuck has left the chat.");
  await reports.settled();
  assertEquals(reports.texts, []);
});

/* --------------------------------------------------- the program ------------------------------------------------- */

testServerProgram(CHATTER);

Deno.test("chatter logs who joins and leaves, and no more", TIME, async () => {
  await using running = await run(CHATTER);
  using jane = await join(running.port, "jane");
  assertEquals(await say(jane, "hello"), "jane says: hello");
  using silent = await client(running.port);
  assertEquals(await silent.line(), "What is your handle?");
  await jane.send("/quit\n");
  assertEquals(await jane.rest(), "");
  assertEquals(await running.stop("SIGINT"), {
    code: 130,
    lines: ["jane has joined the chat.", "jane has left the chat."],
    stderr: "",
  });
});

Deno.test("chatter logs no handle that could forge a line or turn its direction", TIME, async () => {
  await using chat = open();
  for (
    const handle of [
      "a\rzak has joined the chat.",
      "b\u0085c",
      "d\u2028e",
      "\u202eevil",
      "f\u2066g",
      "\x1b]0;h\x07",
    ]
  ) {
    using eve = await client(chat.server.port);
    await eve.send(`${handle}\n/quit\n`);
    await eve.lines(2); // in or asked again, as the server likes
  }
  await chat.server.stop();
  // deno-lint-ignore no-control-regex
  const unsafe = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/;
  assertEquals(chat.log.lines.filter((line) => unsafe.test(line)), []);
});

for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
  Deno.test(`chatter at ${signal} tells its members, and logs one left for each`, TIME, async () => {
    await using running = await run(CHATTER);
    using jane = await join(running.port, "jane");
    using zak = await join(running.port, "zak");
    running.program.signal(signal);
    assertMatch(await jane.rest(), /\nserver is shutting down\n$/);
    assertMatch(await zak.rest(), /^(.*\n)?server is shutting down\n$/);
    const outcome = await running.program.end();
    assertEquals([outcome.code, outcome.stderr], [code, ""]);
    assertEquals(outcome.lines.slice(0, 2), ["jane has joined the chat.", "zak has joined the chat."]);
    assertEquals(outcome.lines.slice(2).toSorted(), ["jane has left the chat.", "zak has left the chat."]);
  });
}

Deno.test("chatter at SIGTERM is not held up by a member that does not read", TIME, async () => {
  await using running = await run(CHATTER, ["--quiet"]);
  using _stuck = await join(running.port, "stuck");
  using jane = await join(running.port, "jane");
  const text = "x".repeat(60_000);
  for (let i = 0; i < 200; i++) assertEquals(await say(jane, text), `jane says: ${text}`); // 12 MB
  const outcome = running.stop();
  assertMatch(await jane.rest(), /server is shutting down\n$/);
  assertEquals(await outcome, { code: 143, lines: [], stderr: "" });
});

Deno.test("chatter at SIGTERM reports nothing while clients arrive", TIME, async () => {
  for (let round = 0; round < 10; round++) {
    await using running = await run(CHATTER);
    const all = await Promise.all(Array.from({ length: 20 }, () => running.client()));
    await Promise.all(all.map((each, i) => each.send(`${i}\n`)));
    const { code, lines, stderr } = await running.stop();
    assertEquals([code, stderr], [143, ""], `round ${round}`);
    const count = (word: string) => lines.filter((line) => line.endsWith(` has ${word} the chat.`)).length;
    assertEquals(count("left"), count("joined"));
    for (const each of all) each.close();
  }
});

Deno.test("chatter --max-connections lets further clients wait", TIME, async () => {
  await using running = await run(CHATTER, ["--max-connections", "1"]);
  using jane = await join(running.port, "jane");
  using next = await running.client();
  await next.send("next\n");
  assertEquals(await say(jane, "/who"), "jane");
  assertEquals(await say(jane, "/who"), "jane");
  jane.close();
  assertEquals(await next.lines(2), ["What is your handle?", "next has joined the chat."]);
});

Deno.test("chatter --max-line, --backlog and --idle-timeout reach the server", TIME, async () => {
  await using running = await run(CHATTER, ["--max-line", "10", "--backlog", "5", "--idle-timeout", "1"]);
  using jane = await join(running.port, "jane");
  assertMatch((await say(jane, "x".repeat(11)))!, /too long/);
  assertEquals(await jane.rest(), "");
  using silent = await running.client();
  assertMatch(await silent.rest(), /^What is your handle\?\n/);
  assertEquals((await running.stop()).stderr, "");
});

Deno.test("chatter talks to nc", { ...TIME, ...requires("nc", "bash") }, async () => {
  await using running = await run(CHATTER);
  const command = `printf 'jane\\nhello\\n/who\\nlast' | nc -N localhost ${running.port}`;
  await using nc = new Program("bash", ["-c", command]);
  assertEquals(await nc.end(), {
    code: 0,
    lines: [
      "What is your handle?",
      "jane has joined the chat.",
      "jane says: hello",
      "jane",
      "jane says: last",
    ],
    stderr: "",
  });
  assertEquals(await running.lines(2), ["jane has joined the chat.", "jane has left the chat."]);
});

Deno.test("chatter talks to telnet", { ...TIME, ...requires("telnet") }, async () => {
  await using running = await run(CHATTER);
  const printed = await talk("telnet", ["localhost", `${running.port}`], "jane\nhello\n/quit\n");
  assertMatch(printed, /\nWhat is your handle\?\njane has joined the chat\.\njane says: hello\n$/);
  assertEquals(await running.lines(2), ["jane has joined the chat.", "jane has left the chat."]);
});
