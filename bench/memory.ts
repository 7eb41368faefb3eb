/**
 * How much heap a parked tasklet takes: one that waits for a message.
 *
 *     deno task bench:memory
 */
import process from "node:process";
import v8 from "node:v8";
import vm from "node:vm";
import { Message, Tasklet } from "../mod.ts";
import { BareMailbox } from "./bare.ts";

const COUNT = 100_000;

class MSG_STOP extends Message("MSG_STOP") {}

v8.setFlagsFromString("--expose-gc");
const collect = vm.runInNewContext("gc") as () => void;

async function parked(): Promise<void> {
  for await (const msg of Tasklet.receive()) if (msg.match(MSG_STOP)) return;
}

async function bare(mailbox: BareMailbox<string>): Promise<void> {
  while (await mailbox.receive() !== "stop");
}

const mailboxes = Array.from({ length: COUNT }, () => new BareMailbox<string>());
const mailboxBytes = bytesEach(() => mailboxes.map(bare));
console.log(`bare mailbox: ${await mailboxBytes} bytes each of ${COUNT}, without the mailbox`);

const tasks: Tasklet<void>[] = [];
const taskBytes = bytesEach(() => {
  for (let i = 0; i < COUNT; i++) tasks.push(Tasklet.new(parked)());
});
console.log(`tasklet: ${await taskBytes} bytes each of ${COUNT}`);
MSG_STOP.send(tasks)();
await Tasklet.joinAll(tasks);

async function bytesEach(create: () => unknown): Promise<number> {
  collect();
  const before = process.memoryUsage().heapUsed;
  const kept = create();
  await Tasklet.yield();
  await Tasklet.yield();
  collect();
  const bytes = (process.memoryUsage().heapUsed - before) / COUNT;
  return kept === null ? 0 : Math.round(bytes);
}
