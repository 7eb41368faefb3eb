import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { credentials } from "./creds.ts";
import type { Client } from "./client.ts";
import { requires } from "./requires.ts";
import { freePort, NatsServer } from "./nats_server.ts";
import { assertOneLine, CHATTER, outcome, run, type Running, type ServerProgram } from "./servers.ts";
import { makeFolder } from "./folder.ts";

const OPTIONS = { timeout: 60_000, ...requires("nats-server") };
const GREETING = "type 'quit' to exit..";

const CHAT: ServerProgram = {
  name: "chat",
  announcement: (port) => `listening for connections on port ${port}`,
  port: 9010,
  flags: {},
};

/** The least a server may be allowed that is in a cluster. */
function narrow(nats: NatsServer, port = 0): string[] {
  return ["--no-prompt", `--allow-net=localhost:${port},127.0.0.1:${nats.port}`];
}

/** A server in a room. */
async function server(
  program: ServerProgram,
  nats: NatsServer,
  room = "lobby",
  flags: readonly string[] = [],
): Promise<Running> {
  return await run(program, ["--cluster", nats.url, "--room", room, "--quiet", ...flags], narrow(nats));
}

/** Tests so many servers in one room, at most three, that were started together. */
function test(
  name: string,
  count: number,
  program: ServerProgram,
  body: (nats: NatsServer, one: Running, two: Running, three: Running) => Promise<void>,
): void {
  Deno.test(name, OPTIONS, async () => {
    await using nats = await NatsServer.start();
    await using servers = new AsyncDisposableStack();
    const starting = Array.from({ length: count }, async () => servers.use(await server(program, nats)));
    const running = await Promise.all(starting);
    await body(nats, ...running as [Running, Running, Running]);
  });
}

/** A client of a chat that has read the greeting. */
async function visit(running: Running): Promise<Client> {
  const client = await running.client();
  assertEquals(await client.line(), GREETING);
  return client;
}

/** A client of a chatter with a handle, who has read that it is in. */
async function login(running: Running, handle: string): Promise<Client> {
  const client = await running.client();
  await client.send(`${handle}\n`);
  assertEquals(await client.lines(2), ["What is your handle?", `${handle} has joined the chat.`]);
  return client;
}

/** The lines of a client up to one of them. */
async function upTo(client: Client, last: string): Promise<(string | null)[]> {
  const lines: (string | null)[] = [];
  while (lines.at(-1) !== last) {
    lines.push(await client.line());
    assert(lines.at(-1) !== null, `It ended before ${last}: ${lines.join("\n")}`);
  }
  return lines;
}

/** Who is there, as a member is told. */
async function who(client: Client): Promise<string> {
  await client.send("/who\n");
  while (true) {
    const line = await client.line();
    if (!/( says: .*| the chat\.)$/.test(line!)) return line!;
  }
}

/* --------------------------------------------------- chat ------------------------------------------------- */

test(
  "chat --cluster: what is said at one server is heard at all, in order, and not by who said it",
  2,
  CHAT,
  async (_, one, two) => {
    using jane = await visit(one);
    using zak = await visit(two);
    using eve = await visit(two);
    const lines = Array.from({ length: 2000 }, (_, i) => `line ${i}`);
    await jane.send(lines.map((line) => line + "\n").join(""));
    assertEquals(await zak.lines(2000), lines);
    assertEquals(await eve.lines(2000), lines);
    await zak.send("hi jane\n\x1b[2Jboo\n");
    assertEquals([await jane.lines(2), await eve.lines(2)], [["hi jane", "[2Jboo"], ["hi jane", "[2Jboo"]]);
    await jane.send("bye\nquit\n");
    assertEquals([await zak.line(), await eve.line(), await jane.rest()], ["bye", "bye", ""]);
  },
);

Deno.test("chat --room: rooms do not hear each other, nor do chat and chatter", OPTIONS, async () => {
  await using nats = await NatsServer.start();
  const rooms = [[CHAT, "lobby"], [CHAT, "Küche 1.*>"], [CHAT, "Küche 1.*>"], [CHATTER, "lobby"]] as const;
  await using servers = new AsyncDisposableStack();
  const [lobby, other, again, chatter] = await Promise.all(
    rooms.map(async ([program, room]) => servers.use(await server(program, nats, room))),
  ) as [Running, Running, Running, Running];
  using jane = await visit(lobby);
  using zak = await visit(other);
  using eve = await visit(again);
  using max = await login(chatter, "Max");
  await max.send("hi\n");
  await max.line();
  await jane.send("to nobody\n");
  await zak.send("to eve\n");
  assertEquals(await eve.line(), "to eve");
  await eve.send("to zak\n");
  assertEquals(await zak.line(), "to zak");
});

Deno.test("chat --reuse-port: four processes share a port, and a room", OPTIONS, async () => {
  await using nats = await NatsServer.start();
  const port = freePort();
  await using servers = new AsyncDisposableStack();
  const flags = ["--port", `${port}`, "--reuse-port", "--cluster", nats.url, "--quiet"];
  const starting = Array.from(
    { length: 4 },
    async () => servers.use(await run(CHAT, flags, narrow(nats, port))),
  );
  const running = await Promise.all(starting);
  const clients: Client[] = [];
  // The system decides who gets a connection: with 40, all four do.
  for (let i = 0; i < 40; i++) clients.push(await visit(running[0]!));
  for (const [i, client] of clients.entries()) await client.send(`hi from ${i}\n`);
  for (const [i, client] of clients.entries()) {
    const heard = await client.lines(39);
    const expected = clients.map((_, from) => `hi from ${from}`).filter((_, from) => from !== i);
    assertEquals(heard.toSorted(), expected.toSorted());
  }
  const outcomes = await Promise.all(running.map((each) => each.stop()));
  assertEquals(outcomes.map(({ code, stderr }) => [code, stderr]), Array(4).fill([143, ""]));
  for (const client of clients) client.close();
});

test(
  "chat --cluster: without NATS a server goes on for its own, says so in one line each way, and comes back",
  2,
  CHAT,
  async (nats, one, two) => {
    using jane = await visit(one);
    using zak = await visit(one);
    using eve = await visit(two);
    await nats.kill();
    for (const text of ["still here", "and here"]) {
      await jane.send(text + "\n");
      assertEquals(await zak.line(), text);
    }
    await nats.restart();
    const told = [
      "chat: lost the cluster, going on alone",
      `chat: back in the cluster, at 127.0.0.1:${nats.port}`,
    ];
    for (const { program } of [one, two]) assertEquals([await program.error(), await program.error()], told);
    await zak.send("back?\n"); // what is said before both are back is lost
    assertEquals([await jane.line(), await eve.line()], ["back?", "back?"]);
    for (const each of [one, two]) {
      const { code, stderr } = await each.stop();
      assertEquals([code, stderr], [143, told.join("\n") + "\n"]);
    }
  },
);

test(
  "chat --cluster: a server that is killed or frozen holds up nobody on the others",
  3,
  CHAT,
  async (_, one, two, three) => {
    using jane = await visit(one);
    using zak = await visit(three);
    two.program.signal("SIGSTOP");
    await jane.send("1\n");
    assertEquals(await zak.line(), "1");
    two.program.signal("SIGKILL");
    await jane.send("2\n");
    assertEquals(await zak.line(), "2");
  },
);

test(
  "chat --cluster ends at SIGTERM with its farewell, be it that NATS does not answer any more",
  2,
  CHAT,
  async (nats, one, two) => {
    using jane = await visit(one);
    assertEquals((await one.stop()).code, 143);
    assertEquals(await jane.rest(), "server is shutting down\n");
    using zak = await visit(two);
    await nats.freeze();
    const start = performance.now();
    const { code, stderr } = await two.stop("SIGINT");
    assertEquals([code, await zak.rest()], [130, "server is shutting down\n"], stderr);
    assert(performance.now() - start < 5000, "and not when it is found out that NATS is silent");
  },
);

/* -------------------------------------------------- chatter ----------------------------------------------- */

test(
  "chatter --cluster: a handle is unique in the cluster, and free again when its owner has gone",
  2,
  CHATTER,
  async (_, one, two) => {
    using jane = await login(one, "Jane");
    using late = await two.client();
    await late.send("Jane\nＪａｎｅ\n");
    const taken = ["That handle is already taken.", "What is your handle?"];
    assertEquals(await late.lines(5), ["What is your handle?", ...taken, ...taken]);
    await jane.send("/quit\n");
    assertEquals(await jane.rest(), "");
    let answer: string | null;
    do {
      await late.send("Jane\n"); // until the other server has given it back
      answer = await late.line();
      if (answer === taken[0]) await late.line();
    } while (answer === taken[0]);
    assertEquals(answer, "Jane has joined the chat.");
  },
);

test(
  "chatter --cluster: of two who want a handle at the same time, one gets it",
  2,
  CHATTER,
  async (_, one, two) => {
    for (let round = 0; round < 10; round++) {
      using a = await one.client();
      using b = await two.client();
      await Promise.all([a.send(`H${round}\n`), b.send(`H${round}\n`)]);
      const answers = await Promise.all([a, b].map(async (client) => (await client.lines(2))[1]));
      assertEquals(answers.toSorted(), [`H${round} has joined the chat.`, "That handle is already taken."]);
    }
  },
);

test(
  "chatter --cluster: all members hear who comes, what is said and who goes, and /who lists them all",
  2,
  CHATTER,
  async (nats, one, two) => {
    using jane = await login(one, "Jane");
    using zak = await login(two, "Zak");
    assertEquals(await jane.line(), "Zak has joined the chat.");
    await jane.send("hi zak\n/who\n");
    assertEquals(await jane.lines(2), ["Jane says: hi zak", "Jane, Zak"]);
    await zak.send("hi jane\n/who\n");
    assertEquals((await zak.lines(3)).toSorted(), ["Jane says: hi zak", "Zak says: hi jane", "Zak, Jane"]);
    assertEquals(await jane.line(), "Zak says: hi jane");
    await using three = await server(CHATTER, nats);
    using eve = await login(three, "Eve"); // who has come later knows who is there
    await upTo(jane, "Eve has joined the chat.");
    while ((await who(eve)).split(", ").toSorted().join() !== "Eve,Jane,Zak");
    zak.close();
    await upTo(jane, "Zak has left the chat.");
    await upTo(eve, "Zak has left the chat.");
  },
);

test(
  "chatter --cluster: the members of a server that is killed have left, once each, and their handles are free",
  2,
  CHATTER,
  async (_, one, two) => {
    using jane = await login(one, "Jane");
    using _zak = await login(two, "Zak");
    using _eve = await login(two, "Eve");
    await upTo(jane, "Eve has joined the chat.");
    two.program.signal("SIGKILL");
    // Nobody tells that it is gone: that takes as long as it may be silent.
    assertEquals((await jane.lines(2)).toSorted(), ["Eve has left the chat.", "Zak has left the chat."]);
    using zak = await login(one, "Zak");
    await jane.send("/who\n");
    assertEquals(await jane.lines(2), ["Zak has joined the chat.", "Jane, Zak"]);
    zak.close();
  },
);

test(
  "chatter --cluster: at the end of a server its members have left, for those on other servers, too",
  2,
  CHATTER,
  async (_, one, two) => {
    using jane = await login(one, "Jane");
    using zak = await login(two, "Zak");
    await upTo(jane, "Zak has joined the chat.");
    const { code, stderr } = await two.stop();
    assertEquals([code, stderr], [143, ""]);
    assertStringIncludes(await zak.rest(), "server is shutting down\n");
    assertEquals(await jane.line(), "Zak has left the chat.");
  },
);

test(
  "chatter --cluster: without NATS members come and go as on one server, and the rest is settled when it is back",
  2,
  CHATTER,
  async (nats, one, two) => {
    using jane = await login(one, "Jane");
    using zak = await login(two, "Zak");
    await upTo(jane, "Zak has joined the chat.");
    await nats.kill();
    using max = await login(one, "Max"); // a handle that both servers give away
    await upTo(jane, "Max has joined the chat.");
    using other = await login(two, "Max");
    await jane.send("alone\n");
    assertEquals([await jane.line(), await max.line()], ["Jane says: alone", "Jane says: alone"]);
    await nats.restart();
    // One of the two must go, and is told why; the other stays, and all know.
    const told = await Promise.race([max, other].map(async (client, i) => {
      const lines = await client.rest();
      return [i, lines] as const;
    }));
    assertStringIncludes(
      told[1],
      "Somebody else had that handle while the servers had lost each other. Goodbye.\n",
    );
    const [winner, loserSide] = told[0] === 0 ? [other, jane] : [max, zak];
    await upTo(loserSide, "Max has left the chat.");
    await winner.send("it's me\n");
    await upTo(loserSide, "Max says: it's me");
  },
);

/* ------------------------------------------------ what may fail ------------------------------------------- */

Deno.test(
  "chat and chatter --cluster end with one line and 1 if NATS cannot be had, and never show a password",
  OPTIONS,
  async () => {
    await using open = await NatsServer.start();
    await using closed = await NatsServer.start({ args: ["--user", "jane", "--pass", "right"] });
    const nobody = freePort();
    const secret = closed.url.replace("//", "//jane:s3cret@");
    const all = (port: number) => ["--no-prompt", `--allow-net=localhost:0,127.0.0.1:${port}`];
    const cases: [url: string, allow: string[], named: string][] = [
      [`nats://127.0.0.1:${nobody}`, all(nobody), "connection refused"],
      [secret, all(closed.port), "authorization violation"],
      [closed.url, all(closed.port), "authorization violation"],
      [open.url, ["--no-prompt", "--allow-net=localhost:0"], `--allow-net=127.0.0.1:${open.port}`],
      [open.url.replace("127.0.0.1", "localhost"), ["--no-prompt"], `--allow-net=localhost:${open.port}`],
      ["http://jane:s3cret@x", all(1), "nats://HOST:PORT"],
      ["s3cret@:::", all(1), "nats://HOST:PORT"],
    ];
    for (const name of ["chat", "chatter"]) {
      await Promise.all(cases.map(async ([url, allow, named]) => {
        const { code, lines, stderr } = await outcome(name, ["--port", "0", "--cluster", url], allow);
        assertEquals([code, lines], [1, []], stderr);
        assertOneLine(stderr, named);
        assert(stderr.startsWith(`${name}: `) && !stderr.includes("s3cret"), stderr);
      }));
    }
  },
);

Deno.test(
  "chat --credentials logs in with a token, user and password, or creds, and names a file it cannot read",
  OPTIONS,
  async () => {
    const { config, creds } = credentials();
    await using folder = await makeFolder({
      "nats.conf": config,
      creds,
      user: "jane:pass:word\n",
      token: "t0ken\n",
    });
    const servers: [file: string, args: string[]][] = [
      ["creds", ["-c", `${folder.path}/nats.conf`]],
      ["user", ["--user", "jane", "--pass", "pass:word"]],
      ["token", ["--auth", "t0ken"]],
    ];
    for (const [file, args] of servers) {
      await using nats = await NatsServer.start({ args });
      const flags = ["--cluster", nats.url, "--credentials", `${folder.path}/${file}`];
      await using running = await run(CHAT, flags, [...narrow(nats), `--allow-read=${folder.path}/${file}`]);
      assertEquals((await running.stop()).code, 143);
      const { code, stderr } = await outcome("chat", ["--port", "0", ...flags], narrow(nats));
      assertEquals(code, 1);
      assertOneLine(stderr, `${folder.path}/${file}`);
      assertStringIncludes(stderr, "--allow-read");
      assertMatch(stderr, /^chat: Cannot read /);
    }
  },
);

Deno.test("chat and chatter load NATS only when they are told to", async () => {
  const loaded = new Set<string>();
  const visit = async (url: URL): Promise<void> => {
    if (loaded.has(url.href)) return;
    loaded.add(url.href);
    const source = await Deno.readTextFile(url);
    for (const [, from] of source.matchAll(/^(?:import|export)\s(?!type\s)[^;]*?from "([^"]+)"/gm)) {
      if (from!.startsWith(".") && from!.endsWith(".ts")) await visit(new URL(from!, url));
      else loaded.add(from!);
    }
  };
  for (const name of ["chat", "chatter"]) await visit(new URL(`../examples/${name}.ts`, import.meta.url));
  assertEquals([...loaded].filter((each) => /cluster\.ts|nats/.test(each)), []);
  assert([...loaded].some((each) => each.endsWith("/net.ts")));
});
