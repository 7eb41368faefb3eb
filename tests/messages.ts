/**
 * Messages for the tests of messages, and tasklets that take them.
 *
 * @module
 */
import { type MailboxOptions, Message, type MessageClass } from "../message.ts";
import { type Self, Tasklet } from "../tasklet.ts";

const Greeting: MessageClass<"MSG_GREETING"> = Message("MSG_GREETING");
const Sum: MessageClass<"MSG_SUM"> = Message("MSG_SUM");
const Ask: MessageClass<"MSG_ASK"> = Message("MSG_ASK");
const Quit: MessageClass<"MSG_QUIT"> = Message("MSG_QUIT");
const Number: MessageClass<"MSG_NUMBER"> = Message("MSG_NUMBER");

/** A greeting for somebody. */
export class MSG_GREETING extends Greeting<[name: string]> {}
/** Numbers, whose sum is the reply. */
export class MSG_SUM extends Sum<number[], number> {}
/** A question. */
export class MSG_ASK extends Ask<[], string> {}
/** The end of a {@linkcode collector}. */
export class MSG_QUIT extends Quit {}
/** A number. */
export class MSG_NUMBER extends Number<[n: number]> {}

/** Collects the first arguments of its messages as text, until `MSG_QUIT`. */
export function collector(mailbox?: MailboxOptions, name: string = "collector"): Tasklet<string[]> {
  return Tasklet.new(async () => {
    const log: string[] = [];
    for await (const msg of Tasklet.receive()) {
      if (msg.match(MSG_QUIT)) break;
      log.push(String(msg.args[0]));
    }
    return log;
  }, { name, mailbox })();
}

/** Calls `f` with each `MSG_SUM`. */
export function served(f: (msg: MSG_SUM) => unknown): Tasklet<void, MSG_SUM> {
  return Tasklet.new(async function (this: Self<MSG_SUM>) {
    for await (const msg of this.receive()) f(msg);
  })();
}

/** A tasklet of that name. */
export function named<R>(name: string, body: () => R): Tasklet<Awaited<R>> {
  return Tasklet.new(body, { name })();
}
