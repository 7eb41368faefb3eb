/**
 * Members of groups under test.
 *
 * @module
 */
import type { MailboxOptions } from "../message.ts";
import { type AnyTasklet, Tasklet, TaskletExit } from "../tasklet.ts";

/** A tasklet that only waits. */
export function parked(
  name = "parked",
  mailbox: MailboxOptions = {},
): Tasklet {
  return Tasklet.new(() => Tasklet.suspend(() => {}), { name, mailbox })();
}

/** Kills them, one after the other. */
export async function endAll(tasks: Iterable<AnyTasklet>): Promise<void> {
  for (const task of tasks) await task.kill();
}

/** What an error or an exit says. */
export function textOf(error: unknown): string {
  return error instanceof TaskletExit || error instanceof Error ? error.message : String(error);
}
