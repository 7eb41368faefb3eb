/**
 * What becomes of the network where there is no Deno, as a program that prints it.
 *
 * @module
 */
import { BufferedStream, type ByteStream, Server, Socket, Tasklet } from "@x/concurrence";
import * as net from "@x/concurrence/net";

/** Reads what was written to it. */
class Loop implements ByteStream {
  #bytes = new Uint8Array(0);

  read(buffer: Uint8Array): Promise<number | null> {
    const n = Math.min(buffer.length, this.#bytes.length);
    buffer.set(this.#bytes.subarray(0, n));
    this.#bytes = this.#bytes.subarray(n);
    return Promise.resolve(n === 0 ? null : n);
  }

  writeSome(bytes: Uint8Array): Promise<number> {
    this.#bytes = bytes.slice();
    return Promise.resolve(bytes.length);
  }

  close(): void {}
}

/** What `attempt` throws, in words. */
async function failureOf(attempt: () => unknown): Promise<string> {
  try {
    return `no failure, but ${await attempt()}`;
  } catch (error) {
    return String(error);
  }
}

console.log(await failureOf(() => Server.serve({ port: 0 }, () => {})));
console.log(await failureOf(() => Socket.connect({ port: 1 })));

const stream = new BufferedStream(new Loop());
stream.writer.writeLine("streams");
stream.writer.writeLine("work");
await stream.writer.flush();
const lines = await Tasklet.new(() => Array.fromAsync(stream.reader.readLines()))().join();
console.log(lines.join(" "), net.printable("any\u0007where"));
