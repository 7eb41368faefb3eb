/**
 * What a server can listen at on a real network: unix sockets, TLS, what it is permitted.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { BufferedStream, Server, Socket } from "../net.ts";
import { client } from "./client.ts";
import { moduleOf, NARROW, type Outcome, Program } from "./program.ts";
import { requires } from "./requires.ts";
import { certificate } from "./certificate.ts";
import { catchReports } from "./reports.ts";
import { echo } from "./sockets.ts";
import { makeFolder } from "./folder.ts";

const LOCAL = { hostname: "localhost", port: 0 };
const TIME = { timeout: 20_000 };

/* -------------------------------------------- Server, kinds of address --------------------------------------- */

Deno.test("Server.serve() listens on a unix socket, and Socket.connect() reaches it", TIME, async () => {
  await using folder = await makeFolder();
  const path = `${folder.path}/socket`;
  await using server = Server.serve({ path }, echo);
  await using stream = new BufferedStream(await Socket.connect({ path }));
  stream.writer.writeLine("hello");
  await stream.writer.flush();
  assertEquals([await stream.reader.readLine(), server.address, server.port], ["hello", { path }, 0]);
  const error = assertThrows(() => Server.serve({ path }, echo), Deno.errors.AddrInUse);
  assertEquals(error.message, `Cannot listen on ${path}: the address is in use`);
});

Deno.test(
  "Socket addresses of a unix socket are paths at both ends, empty where there is none",
  TIME,
  async () => {
    await using folder = await makeFolder();
    const path = `${folder.path}/socket`;
    const { promise, resolve } = Promise.withResolvers<unknown[]>();
    await using server = Server.serve(
      { path },
      (socket) => resolve([socket.remoteAddress, socket.localAddress]),
    );
    using socket = await Socket.connect({ path: (server.address as { path: string }).path });
    const atServer = await promise;
    assertEquals([atServer, socket.remoteAddress, socket.localAddress], [
      [{ path: "" }, { path }],
      { path },
      { path: "" },
    ]);
  },
);

Deno.test(
  "Server.serve() with reusePort shares a port",
  { ...TIME, ignore: Deno.build.os !== "linux" },
  async () => {
    const outcome = await runModule(`
    const first = Server.serve({ port: 0 }, () => {}, { reusePort: true });
    const second = Server.serve({ port: first.port }, () => {}, { reusePort: true });
    console.log(first.port === second.port);
    await first.stop();
    await second.stop();
  `);
    assertEquals(outcome, { code: 0, lines: ["true"], stderr: "" });
  },
);

Deno.test("Server.serve() encrypts with cert and key", { ...TIME, ...requires("openssl") }, async () => {
  using reports = catchReports();
  const { cert, key } = await certificate();
  const large = "x".repeat(1_000_000);
  await using server = Server.serve({ ...LOCAL, cert, key }, async (socket) => {
    await using stream = new BufferedStream(socket, { maxBuffered: Infinity });
    for await (const line of stream.reader.readLines()) {
      stream.writer.writeLine(line);
      stream.writer.writeLine(large);
    }
  });
  const connection = await Deno.connectTls({ hostname: "localhost", port: server.port, caCerts: [cert] });
  await using stream = new BufferedStream(new Socket(connection), { maxLineLength: Infinity });
  stream.writer.writeLine("secret");
  await stream.writer.flush();
  await connection.closeWrite();
  const lines = await Array.fromAsync(stream.reader.readLines());
  assertEquals(lines.map((line) => line.length), [6, 1_000_000]);

  using plain = await client(server.port); // who does not speak TLS harms nobody else
  await plain.send("hello\n");
  await plain.rest().catch(() => {});
  const again = await Deno.connectTls({ hostname: "localhost", port: server.port, caCerts: [cert] });
  await again.handshake();
  again.close();
  await reports.settled();
});

/* ------------------------------------------------- Permissions ----------------------------------------------- */

Deno.test("Server.serve() and Socket.connect() need no more than the address they name", TIME, async () => {
  const outcome = await runModule(`
    const server = Server.serve({ port: 0 }, () => {});
    (await Socket.connect({ port: server.port })).close();
    await server.stop();
    console.log("done");
  `);
  assertEquals(outcome, { code: 0, lines: ["done"], stderr: "" });
});

/** Runs a module that may use servers and sockets, with the permission to use this machine's network. */
async function runModule(source: string): Promise<Outcome> {
  const file = `import { Server, Socket } from "${new URL("../net.ts", import.meta.url)}"; ${source}`;
  const args = ["run", "--config", "deno.json", ...NARROW, moduleOf(file)];
  await using program = new Program(Deno.execPath(), args);
  return await program.end();
}
