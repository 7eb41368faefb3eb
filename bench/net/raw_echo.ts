/**
 * The echo without the library and without its guarantees, as fast as Deno allows: what `examples/echo.ts --raw` is
 * measured against.
 *
 *     deno run --allow-net bench/net/raw_echo.ts
 *
 * One buffer a connection; what has been read is written before the next is read, so that nothing has to be kept.
 *
 * @module
 */

const BUFFER = 65_536;

const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
console.log(`Serving on ('127.0.0.1', ${listener.addr.port})`);
for await (const connection of listener) void serve(connection);

async function serve(connection: Deno.TcpConn): Promise<void> {
  using _ = connection;
  connection.setNoDelay(true);
  const buffer = new Uint8Array(BUFFER);
  try {
    for (let n; (n = await connection.read(buffer)) !== null;) {
      for (let at = 0; at < n;) at += await connection.write(buffer.subarray(at, n));
    }
  } catch (error) {
    const { BrokenPipe, ConnectionReset, NotConnected } = Deno.errors;
    if (![BrokenPipe, ConnectionReset, NotConnected].some((each) => error instanceof each)) throw error;
  }
}
