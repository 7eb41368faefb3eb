/**
 * What becomes of the network where there is no Deno, as a program that prints it.
 *
 * @module
 */
import { BufferedStream, isDisconnect, Server, Socket } from "@x/concurrence";
import { memoryNetwork, virtualTime } from "@x/concurrence/testing";

/** What `attempt` throws, in words. */
async function failureOf(attempt: () => unknown): Promise<string> {
  try {
    return `no failure, but ${await attempt()}`;
  } catch (error) {
    return String(error);
  }
}

async function echo(socket: Socket): Promise<void> {
  const stream = new BufferedStream(socket);
  try {
    for await (const line of stream.reader.readLines()) {
      stream.writer.writeLine(line);
      await stream.writer.flush();
    }
  } catch (error) {
    if (!isDisconnect(error)) throw error;
  }
}

console.log(await failureOf(() => Server.serve({ port: 0 }, echo)));
console.log(await failureOf(() => Socket.connect({ port: 1 })));

await using time = virtualTime();
using network = memoryNetwork({ latency: 50 });
await using server = Server.serve({ port: 9010 }, echo);
await using client = new BufferedStream(await Socket.connect({ port: server.port }));
client.writer.writeLine("hello");
await client.writer.flush();
console.log("in memory", await client.reader.readLine(), time.now);
console.log(await failureOf(() => Server.serve({ port: 9010 }, echo)));
network.connections[0]!.reset();
console.log("reset", await client.reader.readLine().catch(isDisconnect));
