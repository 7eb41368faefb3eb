/**
 * Visitors of a chat: connect, read the greeting, say a line, quit, wait for the end; and again.
 *
 * @module
 */
import { GREETING } from "./chat_load.ts";
import type { Child } from "./child.ts";
import { Connection } from "./connection.ts";
import { measure, Meter, type Reading, settle } from "./reading.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Measures visits, of which `atOnce` are always under way; one who stays checks that each has been heard once. */
export async function churnLoad(server: Child, seconds: number, atOnce: number): Promise<Reading> {
  const meter = new Meter();
  const heard = new Map<string, number>(); // how often
  using witness = await Connection.open(server.port);
  let wrong = await witness.readText(GREETING) ? 0 : 1;
  const listening = witness.readAll((bytes) => {
    const end = bytes.lastIndexOf(10) + 1;
    for (const line of decoder.decode(bytes.subarray(0, end)).split("\n")) {
      if (line !== "") heard.set(line, (heard.get(line) ?? 0) + 1);
    }
    return bytes.length - end;
  });
  let visits = 0;
  let hasEnded = false;
  const visitor = async (): Promise<void> => {
    while (!hasEnded) {
      const since = performance.now();
      if (!await visit(server.port, `visit ${visits++}`)) wrong++;
      meter.latency.add(performance.now() - since);
      meter.done++;
    }
  };
  const visitors = Array.from({ length: atOnce }, visitor);
  const result = await measure(server, seconds, meter);
  hasEnded = true;
  await Promise.all(visitors);
  await settle(() => heard.size === visits, () => heard.size);
  witness.close();
  if (await listening) wrong++;
  for (let i = 0; i < visits; i++) if (heard.get(`visit ${i}`) !== 1) wrong++;
  return { ...result, lost: wrong };
}

// Whether it went as it should.
async function visit(port: number, line: string): Promise<boolean> {
  using connection = await Connection.open(port);
  if (!await connection.readText(GREETING)) return false;
  connection.send(encoder.encode(`${line}\nquit\n`));
  return await connection.readAll(() => 0, 4096);
}
