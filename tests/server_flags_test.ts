import { assert, assertEquals } from "@std/assert";
import { chat, type ChatOptions } from "../examples/chat.ts";
import { directory } from "../examples/directory.ts";
import { BufferedStream, type Server, Socket } from "../net.ts";
import { Tasklet } from "../tasklet.ts";
import { memoryNetwork, virtualTime } from "../testing.ts";
import { now } from "../timer.ts";
import { certificate } from "./certificate.ts";
import { type Outcome, Program } from "./program.ts";
import { requires } from "./requires.ts";
import { TIME } from "./servers.ts";
import { makeFolder } from "./folder.ts";

const GREETING = "type 'quit' to exit..";

/** Starts a program of `examples/` that may do anything, and gives it and the first line it prints. */
async function start(
  name: string,
  ...args: string[]
): Promise<{ program: Program; first: string | undefined }> {
  const program = new Program(Deno.execPath(), ["run", "--quiet", "-A", `examples/${name}.ts`, ...args]);
  return { program, first: await program.line() };
}

async function end(program: Program): Promise<Outcome> {
  program.signal("SIGTERM");
  return await program.end();
}

async function lineFrom(stream: BufferedStream): Promise<string | null> {
  return await stream.reader.readLine();
}

Deno.test("--unix listens on a path, which is removed at the end", TIME, async () => {
  await using temporary = await makeFolder();
  const path = `${temporary.path}/chat`;
  const { program, first } = await start("chat", "--unix", path);
  await using _program = program;
  assertEquals(first, `listening for connections on ${path}`);
  {
    await using stream = new BufferedStream(await Socket.connect({ path }));
    assertEquals(await lineFrom(stream), GREETING);
  }
  const { code, stderr } = await end(program);
  assertEquals([code, stderr], [143, ""]);
  assertEquals(await Array.fromAsync(Deno.readDir(temporary.path)), []);
});

Deno.test(
  "--unix takes over the path of a server that was killed, but not that of one that lives",
  TIME,
  async () => {
    await using temporary = await makeFolder();
    const path = `${temporary.path}/chat`;
    const { program: killed } = await start("chat", "--unix", path);
    killed.signal("SIGKILL");
    await killed.end();
    assert((await Deno.lstat(path)).isSocket, "it has left its path behind");

    await using living = (await start("chat", "--unix", path)).program;
    const late = (await start("chat", "--unix", path)).program;
    const { code, lines, stderr } = await late.end();
    assertEquals([code, lines, stderr], [1, [], `chat: Cannot listen on ${path}: the address is in use\n`]);
    await using stream = new BufferedStream(await Socket.connect({ path }));
    assertEquals(await lineFrom(stream), GREETING);
    await end(living);
  },
);

Deno.test("--unix leaves a file alone that is no socket", TIME, async () => {
  await using temporary = await makeFolder();
  const path = `${temporary.path}/diary`;
  await Deno.writeTextFile(path, "dear diary");
  const { code, stderr } = await (await start("chatter", "--unix", path)).program.end();
  assertEquals([code, stderr], [1, `chatter: Cannot listen on ${path}: the address is in use\n`]);
  assertEquals(await Deno.readTextFile(path), "dear diary");
});

Deno.test(
  "--tls-cert and --tls-key encrypt, for each server",
  { ...TIME, ...requires("openssl") },
  async () => {
    await using temporary = await makeFolder();
    const { cert, key } = await certificate();
    const [certFile, keyFile] = [`${temporary.path}/cert.pem`, `${temporary.path}/key.pem`];
    await Deno.writeTextFile(certFile, cert);
    await Deno.writeTextFile(keyFile, key);
    for (const [name, hello] of [["chat", GREETING], ["chatter", "What is your handle?"]] as const) {
      const flags = ["--port", "0", "--tls-cert", certFile, "--tls-key", keyFile];
      const { program, first } = await start(name, ...flags);
      await using _program = program;
      const port = Number(/\d+$/.exec(first!)![0]);
      const connection = await Deno.connectTls({ hostname: "localhost", port, caCerts: [cert] });
      await using stream = new BufferedStream(new Socket(connection));
      assertEquals(await lineFrom(stream), hello);
      assertEquals((await end(program)).stderr, "");
    }
  },
);

Deno.test(
  "--tls-cert is refused in one line without --tls-key, with --unix, and if it cannot be read",
  TIME,
  async () => {
    const outcomes = [
      [["--tls-cert", "a"], 2, "chat: --tls-cert and --tls-key go together (see --help)"],
      [
        ["--tls-cert", "a", "--tls-key", "b", "--unix", "/nowhere/c"],
        2,
        "chat: --unix and --tls-cert do not go together (see --help)",
      ],
      [
        ["--tls-cert", "/nowhere/a", "--tls-key", "b"],
        1,
        "chat: Cannot read /nowhere/a: No such file or directory (os error 2): readfile '/nowhere/a'",
      ],
    ] as const;
    for (const [flags, code, text] of outcomes) {
      const outcome = await (await start("chat", "--port", "0", ...flags)).program.end();
      assertEquals(outcome, { code, lines: [], stderr: `${text}\n` });
    }
  },
);

Deno.test(
  "A flag that means nothing without another is refused in one line that names both, with 2",
  TIME,
  async () => {
    const outcomes = [
      ["chat", ["--room", "attic"], "--room means nothing without --cluster"],
      ["chatter", ["--credentials", "file"], "--credentials means nothing without --cluster"],
      ["directory", ["--users", "Jane,Zak"], "--users means nothing without --simulate"],
      ["directory", ["--duration", "7"], "--duration means nothing without --simulate"],
      ["echo", ["--line-burst", "7"], "--line-burst means nothing without --line-rate"],
    ] as const;
    for (const [name, flags, text] of outcomes) {
      const outcome = await (await start(name, "--port", "0", ...flags)).program.end();
      assertEquals(outcome, { code: 2, lines: [], stderr: `${name}: ${text} (see --help)\n` });
    }
  },
);

Deno.test("--help tells of a flag that means nothing without another which one that is", TIME, async () => {
  const { lines } = await (await start("directory", "--help")).program.end();
  const told = lines.filter((line) => line.includes(", with --")).map((line) => line.trim().split(" ")[0]);
  assertEquals(told, ["--line-burst", "--users", "--duration"]);
});

// In memory and in virtual time from here on

/** A server in memory, its clients, and virtual time. */
async function inMemory(
  serve: () => Server,
  body: (connect: () => Promise<BufferedStream>, server: Server) => Promise<void>,
): Promise<void> {
  await using _time = virtualTime({ patience: 0 });
  using _network = memoryNetwork();
  await Tasklet.new(async () => {
    await using server = serve();
    const streams: BufferedStream[] = [];
    const connect = async () => {
      const stream = new BufferedStream(await Socket.connect({ port: server.port }));
      streams.push(stream);
      return stream;
    };
    try {
      await body(connect, server);
    } finally {
      for (const stream of streams) await stream.close();
    }
  })().join();
}

const FREE: ChatOptions = { port: 0 };

Deno.test("maxPerAddress closes further connections from one address at once, and lets new ones in when others go", async () => {
  await inMemory(() => chat({ ...FREE, maxPerAddress: 2 }), async (connect, server) => {
    const [first, second] = [await connect(), await connect()];
    assertEquals([await lineFrom(first), await lineFrom(second)], [GREETING, GREETING]);
    const third = await connect();
    assertEquals(await lineFrom(third).catch((error) => error.name), null);
    assertEquals(server.connections, 2);
    await first.close();
    await Tasklet.sleep(100);
    assertEquals(await lineFrom(await connect()), GREETING);
  });
});

Deno.test("maxPerAddress counts connections that have gone no more, however many come and go", async () => {
  await inMemory(() => chat({ ...FREE, maxPerAddress: 1 }), async (connect, server) => {
    for (let n = 0; n < 100; n++) {
      const stream = await connect();
      assertEquals(await lineFrom(stream), GREETING);
      await stream.close();
      while (server.connections > 0) await Tasklet.sleep(1);
    }
  });
});

Deno.test("linePace takes a burst of lines from a chat client, then so many a second, and loses none", async () => {
  const linePace = { burst: 10, perSecond: 5 };
  await inMemory(() => chat({ ...FREE, linePace }), async (connect) => {
    const [flood, reader] = [await connect(), await connect()];
    assertEquals(await lineFrom(reader), GREETING);
    const start = now();
    for (let n = 0; n < 30; n++) flood.writer.writeLine(`${n}`);
    await flood.writer.flush();
    const times: number[] = [];
    for (let n = 0; n < 30; n++) {
      assertEquals(await lineFrom(reader), `${n}`);
      times.push(Math.round(now() - start));
    }
    assertEquals(times.slice(0, 12), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 200, 400]);
    assertEquals(times.at(-1), 4000);
  });
});

Deno.test("linePace holds for the commands of the directory, too", async () => {
  const linePace = { burst: 2, perSecond: 10 };
  await inMemory(() => directory({ ...FREE, linePace }), async (connect) => {
    const user = await connect();
    const start = now();
    user.writer.write("register,Ann\nlist,all\nlist,all\nlist,all\n");
    await user.writer.flush();
    const answers: string[] = [];
    for (let n = 0; n < 4; n++) answers.push(`${await lineFrom(user)} ${Math.round(now() - start)}`);
    assertEquals(answers, ["ack 0", "Ann 0", "Ann 100", "Ann 200"]);
  });
});
