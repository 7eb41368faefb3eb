import { assert, assertEquals, assertInstanceOf, assertRejects, assertStringIncludes } from "@std/assert";
import type { Bus, BusListener, Delivery } from "../bus.ts";
import { ConnectError, connectToNats, type NatsOptions } from "../nats.ts";
import { MemoryBus } from "./bus.ts";
import { certificate } from "./certificate.ts";
import { credentials } from "./creds.ts";
import { requires } from "./requires.ts";
import { freePort, NatsServer } from "./nats_server.ts";
import { makeFolder } from "./folder.ts";

const TIME = { timeout: 30_000 };
const NATS = { ...TIME, ...requires("nats-server") };
const bytes = (text: string) => new TextEncoder().encode(text);
const text = (delivery: Delivery) => new TextDecoder().decode(delivery.payload);

/** A log that can be waited for. */
class Log {
  readonly lines: string[] = [];
  #wake: () => void = () => {};

  readonly add = (line: string): void => {
    this.lines.push(line);
    this.#wake();
  };

  /** Waits until it has `count` lines. */
  async until(count: number): Promise<string[]> {
    while (this.lines.length < count) await new Promise<void>((resolve) => this.#wake = resolve);
    return this.lines;
  }
}

const ignored: BusListener = { down() {}, up() {}, error() {} };

/** Adds what arrives for `subject` to a log. */
function hear(bus: Bus, subject: string, log: Log, who = ""): () => void {
  return bus.subscribe(subject, (delivery) => log.add(who + text(delivery)));
}

async function nats(
  server: NatsServer,
  options: Partial<NatsOptions> = {},
  listener = ignored,
): Promise<Bus> {
  return await connectToNats({ servers: server.url, reconnectDelay: 20, ...options }, "test", 1000, listener);
}

/* -------------------------------------- what every bus must do: one list ---------------------------------- */

interface Fixture extends AsyncDisposable {
  connect(): Promise<Bus>;
}

const BUSES: [name: string, options: { ignore?: boolean; timeout: number }, open: () => Promise<Fixture>][] =
  [
    ["The bus of the tests", TIME, () => {
      const bus = new MemoryBus();
      return Promise.resolve({
        connect: () => bus.connect(),
        [Symbol.asyncDispose]: () => Promise.resolve(),
      });
    }],
    ["NATS", NATS, async () => {
      const server = await NatsServer.start();
      const all: Bus[] = [];
      return {
        connect: async () => {
          const bus = await nats(server);
          all.push(bus);
          return bus;
        },
        [Symbol.asyncDispose]: async () => {
          for (const bus of all) await bus.close();
          await server.kill();
        },
      };
    }],
  ];

for (const [name, options, open] of BUSES) {
  Deno.test(
    `${name} delivers in order to all who listen elsewhere, and not to who publishes`,
    options,
    async () => {
      await using fixture = await open();
      const [a, b, c] = [await fixture.connect(), await fixture.connect(), await fixture.connect()];
      const logs = [new Log(), new Log(), new Log()];
      for (const [i, bus] of [a, b, c].entries()) hear(bus, "x.1", logs[i]!);
      await Promise.all([a.flush(), b.flush(), c.flush()]);
      const lines = Array.from({ length: 100 }, (_, i) => `${i}`);
      for (const line of lines) assert(a.publish("x.1", bytes(line)));
      assertEquals([await logs[1]!.until(100), await logs[2]!.until(100)], [lines, lines]);
      b.publish("x.1", bytes("from b"));
      assertEquals(await logs[0]!.until(1), ["from b"]);
    },
  );

  Deno.test(`${name} takes * for one part of a subject`, options, async () => {
    await using fixture = await open();
    const [a, b] = [await fixture.connect(), await fixture.connect()];
    const log = new Log();
    b.subscribe("x.*", ({ subject }) => log.add(subject));
    await b.flush();
    for (const subject of ["x.1", "x.1.2", "y.1", "x.%2E"]) a.publish(subject, bytes(""));
    b.publish("x.2", bytes(""));
    a.publish("x.end", bytes(""));
    assertEquals(await log.until(3), ["x.1", "x.%2E", "x.end"]);
  });

  Deno.test(`${name} ends a subscription at once`, options, async () => {
    await using fixture = await open();
    const [a, b] = [await fixture.connect(), await fixture.connect()];
    const log = new Log();
    const end = hear(b, "x", log, "first ");
    hear(b, "x", log, "second ");
    await b.flush();
    a.publish("x", bytes("1"));
    assertEquals((await log.until(2)).toSorted(), ["first 1", "second 1"]); // which of them first is not said
    end();
    end(); // harmless
    a.publish("x", bytes("2"));
    assertEquals((await log.until(3))[2], "second 2");
  });

  Deno.test(`${name} carries a reply subject and headers along`, options, async () => {
    await using fixture = await open();
    const [a, b] = [await fixture.connect(), await fixture.connect()];
    const log = new Log();
    b.subscribe("x", ({ reply, header }) => b.publish(reply, bytes("got it")) || log.add(header.name));
    b.subscribe("y", (delivery) => log.add(`${delivery.header("traceparent")} ${delivery.header("other")}`));
    hear(a, "r.1", log);
    await Promise.all([a.flush(), b.flush()]);
    a.publish("x", bytes(""), { reply: "r.1" });
    assertEquals(await log.until(1), ["got it"]);
    a.publish("y", bytes(""), { headers: { traceparent: "00-a-b-01\r\nother: forged" } });
    assertEquals((await log.until(2))[1], "00-a-b-01other: forged ");
  });

  Deno.test(
    `${name} tells at once that nobody is there to reply, be it that one listens oneself`,
    options,
    async () => {
      await using fixture = await open();
      const [a, b] = [await fixture.connect(), await fixture.connect()];
      const log = new Log();
      a.subscribe("r.*", ({ isNobody, subject }) => log.add(`${subject} ${isNobody}`));
      hear(a, "x", log);
      await a.flush();
      a.publish("x", bytes(""), { reply: "r.1" });
      assertEquals(await log.until(1), ["r.1 true"]);
      b.subscribe("x", ({ reply }) => b.publish(reply, bytes("")));
      await b.flush();
      a.publish("x", bytes(""), { reply: "r.2" });
      assertEquals((await log.until(2))[1], "r.2 false");
    },
  );

  Deno.test(
    `${name} gives each delivery to one of those who share a subject, the publisher among them`,
    options,
    async () => {
      await using fixture = await open();
      const [a, b, c] = [await fixture.connect(), await fixture.connect(), await fixture.connect()];
      const log = new Log();
      await a.share("x", () => log.add("a"));
      await b.share("x", () => log.add("b"));
      for (let i = 0; i < 200; i++) (i % 2 ? a : c).publish("x", bytes(""));
      const counts = Object.groupBy(await log.until(200), (who) => who);
      await Promise.all([a.flush(), b.flush(), c.flush()]);
      assertEquals(log.lines.length, 200);
      assert(counts.a!.length > 20 && counts.b!.length > 20, JSON.stringify(counts));
    },
  );

  Deno.test(`${name} ends a share like any subscription`, options, async () => {
    await using fixture = await open();
    const [a, b] = [await fixture.connect(), await fixture.connect()];
    const log = new Log();
    const end = await a.share("x", () => log.add("a"));
    await b.share("x", () => log.add("b"));
    end();
    await a.share("y", () => {}); // behind which it has ended
    for (let i = 0; i < 20; i++) a.publish("x", bytes(""));
    assertEquals(await log.until(20), Array(20).fill("b"));
  });

  Deno.test(`${name} takes nothing after close, which is harmless twice`, options, async () => {
    await using fixture = await open();
    const [a, b] = [await fixture.connect(), await fixture.connect()];
    const log = new Log();
    hear(b, "x", log);
    await b.flush();
    a.publish("x", bytes("last"));
    await a.close();
    await a.close();
    assertEquals([a.isUp, a.publish("x", bytes("late"))], [false, false]);
    await assertRejects(() => a.flush());
    assertEquals(await log.until(1), ["last"]);
  });
}

/* --------------------------------------------------- NATS ------------------------------------------------- */

Deno.test(
  "NATS: the bus tells that the connection is lost and back, says no meanwhile, and keeps nothing",
  NATS,
  async () => {
    await using server = await NatsServer.start();
    const log = new Log();
    const a = await nats(server, {}, { ...ignored, down: () => log.add("down"), up: () => log.add("up") });
    const heard = new Log();
    hear(a, "x", heard);
    await a.share("y", () => heard.add("share"));
    await server.kill();
    await log.until(1);
    assertEquals([a.isUp, a.publish("x", bytes("lost"))], [false, false]);
    await server.restart();
    assertEquals([await log.until(2), a.isUp], [["down", "up"], true]);
    const b = await nats(server);
    b.publish("x", bytes("after"));
    assertEquals(await heard.until(1), ["after"]);
    await a.close();
    await b.close();
    assertEquals(log.lines, ["down", "up"]);
  },
);

Deno.test(
  "NATS: the bus tries for ever, however often it is refused, and whatever the reason",
  NATS,
  async () => {
    const right = ["--auth", "right"];
    await using server = await NatsServer.start({ args: right });
    const log = new Log();
    const a = await nats(server, { token: "right" }, {
      ...ignored,
      down: () => log.add("down"),
      up: () => log.add("up"),
      error: (error) => log.add(error.name),
    });
    await server.kill();
    {
      using listener = Deno.listen({ hostname: "127.0.0.1", port: server.port });
      for (let i = 0; i < 12; i++) (await listener.accept()).close();
    }
    await server.restart(["--auth", "other"]);
    const refusals = await log.until(6);
    assertEquals(new Set(refusals.slice(1)), new Set(["AuthorizationError"]));
    await server.restart(right);
    while (log.lines.at(-1) !== "up") await log.until(log.lines.length + 1);
    assert(a.isUp);
    await a.close();
  },
);

Deno.test("NATS: flush rejects when the connection is lost, and close does not hang", NATS, async () => {
  await using server = await NatsServer.start();
  const down = Promise.withResolvers<void>();
  const a = await nats(server, {}, { ...ignored, down: down.resolve });
  await server.freeze();
  const flushed = assertRejects(() => a.flush());
  await server.kill();
  await flushed;
  await down.promise;
  await a.close();
});

Deno.test("NATS: a server that stands still is noticed by its silence", NATS, async () => {
  await using server = await NatsServer.start();
  const down = Promise.withResolvers<void>();
  const a = await connectToNats({ servers: server.url }, "test", 50, { ...ignored, down: down.resolve });
  await server.freeze();
  await down.promise;
  assertEquals(a.isUp, false);
  await a.close();
});

Deno.test(
  "NATS: no more than maxPending waits to be sent; then it says no, until the server takes it",
  NATS,
  async () => {
    await using server = await NatsServer.start();
    const a = await nats(server, { maxPending: 100_000 });
    await a.flush();
    await server.freeze();
    let sent = 0;
    while (a.publish("x", new Uint8Array(999))) sent++;
    assertEquals(sent, 100);
    server.thaw();
    await a.flush();
    await a.flush(); // behind its own
    assert(a.publish("x", new Uint8Array(999)));
    await a.close();
  },
);

Deno.test("NATS: a handler that throws is reported, and the connection lives on", NATS, async () => {
  await using server = await NatsServer.start();
  const [a, b] = [await nats(server), await nats(server)];
  const log = new Log();
  b.subscribe("x", (delivery) => {
    if (text(delivery) === "bad") throw new Error("on purpose");
    log.add(text(delivery));
  });
  await b.flush();
  const reported: unknown[] = [];
  const { error } = console;
  console.error = (...what) => reported.push(...what);
  a.publish("x", bytes("bad"));
  a.publish("x", bytes("good"));
  assertEquals(await log.until(1), ["good"]);
  console.error = error;
  assertStringIncludes(String(reported), "on purpose");
  await a.close();
  await b.close();
});

Deno.test("NATS: it learns of other servers, and goes on with one of them", NATS, async () => {
  const ports = [freePort(), freePort()];
  const routes = `--routes=${ports.map((port) => `nats://127.0.0.1:${port}`).join(",")}`;
  const cluster = (
    port: number,
  ) => ["--cluster_name", "test", "--cluster", `nats://127.0.0.1:${port}`, routes];
  await using one = await NatsServer.start({ args: cluster(ports[0]!) });
  await using other = await NatsServer.start({ args: cluster(ports[1]!) });
  const log = new Log();
  const a = await nats(one, { servers: [one.url, other.url] }, { ...ignored, up: () => log.add("up") });
  const first = a.server;
  await (first.endsWith(`${one.port}`) ? one : other).kill();
  await log.until(1);
  assert(a.server !== first);
  await a.close();
});

/* ----------------------------------------------- credentials ---------------------------------------------- */

/** What a bus is refused with. */
async function refusal(options: NatsOptions): Promise<string> {
  const error = await assertRejects(() => connectToNats(options, "test", 1000, ignored), ConnectError);
  return `${error.message} ${error.stack} ${Deno.inspect(error)}`;
}

Deno.test("NATS: token, user and password log in, as options and in the address", NATS, async () => {
  await using byToken = await NatsServer.start({ args: ["--auth", "s3cr%t"] });
  await using byUser = await NatsServer.start({ args: ["--user", "jane", "--pass", "p@ss:w0rd"] });
  const logins: NatsOptions[] = [
    { servers: byToken.url, token: "s3cr%t" },
    { servers: byToken.url.replace("//", "//s3cr%25t@") },
    { servers: byUser.url, user: "jane", pass: "p@ss:w0rd" },
    { servers: byUser.url.replace("//", "//jane:p%40ss%3Aw0rd@") },
    { servers: `127.0.0.1:${freePort()},${byUser.url.replace("nats://", "jane:p%40ss%3Aw0rd@")}` },
  ];
  for (const login of logins) await (await connectToNats(login, "test", 1000, ignored)).close();
});

Deno.test("NATS: creds log in, as text and as bytes", NATS, async () => {
  const { config, creds } = credentials();
  await using folder = await makeFolder({ "nats.conf": config });
  await using server = await NatsServer.start({ args: ["-c", `${folder.path}/nats.conf`] });
  for (const each of [creds, bytes(creds)]) await (await nats(server, { creds: each })).close();
  const { creds: others } = credentials();
  const told = await refusal({ servers: server.url, creds: others });
  assert(!told.includes(others.split("\n")[1]!) && !told.includes(others.split("\n")[5]!), told);
});

Deno.test("NATS: TLS is used where the server has it, trusts whom it is told to, and shows a certificate", {
  ...TIME,
  ...requires("nats-server", "openssl"),
}, async () => {
  const { cert, key } = await certificate();
  await using folder = await makeFolder({ "cert.pem": cert, "key.pem": key });
  const args = ["--tls", "--tlscert", `${folder.path}/cert.pem`, "--tlskey", `${folder.path}/key.pem`];
  await using server = await NatsServer.start({ args });
  for (const scheme of ["tls", "nats"]) {
    const servers = `${scheme}://localhost:${server.port}`;
    const bus = await connectToNats({ servers, tls: { ca: cert } }, "test", 1000, ignored);
    await bus.flush();
    await bus.close();
    assertStringIncludes(await refusal({ servers }), "certificate");
  }
  const strict = ["--tlsverify", "--tlscacert", `${folder.path}/cert.pem`, ...args.slice(1)];
  await using verifying = await NatsServer.start({ args: strict });
  const servers = `localhost:${verifying.port}`;
  const files = {
    caFile: `${folder.path}/cert.pem`,
    certFile: `${folder.path}/cert.pem`,
    keyFile: `${folder.path}/key.pem`,
  };
  await (await connectToNats({ servers, tls: files }, "test", 1000, ignored)).close();
  await (await connectToNats({ servers, tls: { ca: cert, cert, key } }, "test", 1000, ignored)).close();
  await refusal({ servers, tls: { ca: cert }, timeout: 100 });
  await using plain = await NatsServer.start();
  assertStringIncludes(await refusal({ servers: plain.url.replace("nats", "tls") }), "tls");
});

Deno.test("NATS: a server that refuses a certificate does not end the program", {
  ...TIME,
  ...requires("nats-server", "openssl"),
}, async () => {
  const { cert, key } = await certificate();
  await using folder = await makeFolder({ "cert.pem": cert, "key.pem": key });
  const files = ["--tlscert", `${folder.path}/cert.pem`, "--tlskey", `${folder.path}/key.pem`];
  await using server = await NatsServer.start({
    args: ["--tlsverify", "--tlscacert", `${folder.path}/cert.pem`, ...files],
  });
  const servers = `localhost:${server.port}`;
  for (let i = 0; i < 5; i++) await refusal({ servers, tls: { ca: cert }, timeout: 100 });
});

Deno.test("NATS: TLS can begin at once, for servers that say nothing before", {
  ...TIME,
  ...requires("openssl"),
}, async () => {
  const { cert, key } = await certificate();
  using listener = Deno.listenTls({ hostname: "localhost", port: 0, cert, key });
  const serving = (async () => {
    using connection = await listener.accept();
    const info = `{"server_id":"x","version":"2.10.0","proto":1,"max_payload":1024,"tls_required":true}`;
    await connection.write(bytes(`INFO ${info}\r\n`));
    const buffer = new Uint8Array(4096);
    for (let n = await connection.read(buffer); n !== null; n = await connection.read(buffer)) {
      const pings = new TextDecoder().decode(buffer.subarray(0, n)).match(/PING\r\n/g) ?? [];
      await connection.write(bytes("PONG\r\n".repeat(pings.length)));
    }
  })().catch((error) => assertInstanceOf(error, Deno.errors.UnexpectedEof)); // TLS was not ended
  const servers = `tls://localhost:${listener.addr.port}`;
  const bus = await connectToNats(
    { servers, tls: { ca: cert, handshakeFirst: true } },
    "test",
    1000,
    ignored,
  );
  assertEquals([bus.isUp, bus.maxPayload], [true, 1024]);
  await bus.close();
  await serving;
});

Deno.test("NATS: credentials that are refused are in no text, be they in the address", NATS, async () => {
  await using server = await NatsServer.start({ args: ["--user", "jane", "--pass", "right"] });
  const texts = [
    await refusal({ servers: server.url, user: "jane", pass: "s3cret" }),
    await refusal({ servers: server.url.replace("//", "//s3cret:s3cret@") }),
    await refusal({ servers: server.url, token: "s3cret" }),
    await refusal({ servers: server.url, creds: "s3cret" }),
  ];
  for (const text of texts) {
    assert(!text.includes("s3cret"), text);
    assertStringIncludes(text, `Cannot connect to NATS at 127.0.0.1:${server.port}: `);
  }
  assertStringIncludes(texts[0]!, "authorization violation");
});

Deno.test(
  "NATS: a server that refuses and resets the connection does not end the program",
  NATS,
  async () => {
    await using server = await NatsServer.start({ args: ["--auth", "right"] });
    for (let i = 0; i < 300; i++) await refusal({ servers: server.url, token: "wrong" });
  },
);

Deno.test("NATS: an address that is none is refused without being shown", async () => {
  for (
    const servers of [
      "http://s3cret@x",
      "nats://s3cret@",
      "nats://u:s3cret@x:99999",
      "nats://x/s3cret",
      "nats://s3c ret",
    ]
  ) {
    const text = await refusal({ servers });
    assertStringIncludes(text, "a server must be nats://HOST:PORT or tls://HOST:PORT");
    assert(!/s3c/.test(text.replaceAll(/at .*nats_test.*/g, "")), text);
  }
});

Deno.test("NATS: where nobody listens, it says so at once", TIME, async () => {
  const port = freePort();
  assertStringIncludes(
    await refusal({ servers: `nats://127.0.0.1:${port}` }),
    `Cannot connect to NATS at 127.0.0.1:${port}: connection refused`,
  );
});
