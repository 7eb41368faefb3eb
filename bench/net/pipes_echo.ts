/**
 * The line echo as Deno's users write it, with streams of the web piped into each other: what denoland/deno#16523
 * compared with Node.
 *
 *     deno run --allow-net bench/net/pipes_echo.ts
 *
 * @module
 */
import { TextLineStream } from "@std/streams";

const encoder = new TextEncoder();

const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
console.log(`Serving on ('127.0.0.1', ${listener.addr.port})`);
for await (const connection of listener) void serve(connection);

async function serve(connection: Deno.TcpConn): Promise<void> {
  connection.setNoDelay(true);
  try {
    const lines = connection.readable.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
    for await (const line of lines) {
      let bytes = encoder.encode(line + "\n");
      while (bytes.length > 0) bytes = bytes.subarray(await connection.write(bytes));
    }
  } catch (error) {
    const { BadResource, BrokenPipe, ConnectionReset, NotConnected } = Deno.errors;
    if (![BadResource, BrokenPipe, ConnectionReset, NotConnected].some((each) => error instanceof each)) {
      throw error;
    }
  }
}
