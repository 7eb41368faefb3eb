/**
 * The smallest program: one tasklet greets whom another one names.
 *
 *     deno run greeting.ts
 *
 * It never ends its printer. When nothing is left that could wake it, the program is over.
 *
 * @module
 */
import { Message, Tasklet } from "../mod.ts";
import { program } from "./cli.ts";

class MSG_HELLO extends Message("MSG_HELLO")<[name: string]> {}
class MSG_GOODBYE extends Message("MSG_GOODBYE")<[name: string]> {}

/** Starts the printer and sends it two messages. */
export function greeting(): void {
  const task = Tasklet.new(printer)();
  MSG_HELLO.send(task)("World");
  MSG_GOODBYE.send(task)("World");
}

async function printer(): Promise<void> {
  for await (const msg of Tasklet.receive()) {
    if (msg.match(MSG_HELLO)) console.log("Hello", msg.args[0]);
    else if (msg.match(MSG_GOODBYE)) console.log("Goodbye", msg.args[0]);
  }
}

if (import.meta.main) program({ name: "greeting", about: "Prints two greetings.", flags: {} }, greeting);
