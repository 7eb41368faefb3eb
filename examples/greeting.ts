/**
 * The smallest program: one tasklet greets whom another one names.
 *
 *     deno run examples/greeting.ts
 *     deno run examples/greeting.ts --two      two tasklets, one after the other
 *     deno run examples/greeting.ts --call     with replies
 *
 * Nobody ends the printer. When nothing is left that could wake it, the program is over.
 *
 * @module
 */
import { Message, Tasklet } from "../mod.ts";
import { program, UsageError } from "./cli.ts";

class MSG_HELLO extends Message("MSG_HELLO")<[name: string], string> {}
class MSG_GOODBYE extends Message("MSG_GOODBYE")<[name: string], string> {}

async function printer(): Promise<void> {
  for await (const msg of Tasklet.receive()) {
    if (msg.match(MSG_HELLO)) console.log("Hello", msg.args[0]);
    else if (msg.match(MSG_GOODBYE)) console.log("Goodbye", msg.args[0]);
  }
}

/** Sends a printer two messages. */
export function greeting(): void {
  const task = Tasklet.new(printer)();
  MSG_HELLO.send(task)("World");
  MSG_GOODBYE.send(task)("World");
}

/** Starts two tasklets, which print one word each, after this function has ended. */
export function two(): void {
  Tasklet.new(() => console.log("Hello"))();
  Tasklet.new(() => console.log("World"))();
  console.log("start done.");
}

async function greeter(): Promise<void> {
  for await (const msg of Tasklet.receive()) {
    if (msg.match(MSG_HELLO)) msg.reply(`Hello ${msg.args[0]}`);
    else if (msg.match(MSG_GOODBYE)) msg.reply(`Goodbye ${msg.args[0]}`);
  }
}

/** Asks a greeter for its greetings, and prints them. */
export async function call(): Promise<void> {
  const task = Tasklet.new(greeter)();
  console.log(await MSG_HELLO.call(task)("World"));
  console.log(await MSG_GOODBYE.call(task)("World"));
}

if (import.meta.main) {
  const flags = {
    two: { about: "two tasklets that print a word each" },
    call: { about: "greetings that are asked for" },
  };
  program({ name: "greeting", about: "Prints two greetings.", flags }, (values) => {
    if (values.two && values.call) throw new UsageError("--two and --call do not go together (see --help)");
    return values.two ? two() : values.call ? call() : greeting();
  });
}
