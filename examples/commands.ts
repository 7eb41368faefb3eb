/**
 * Commands out of chunks: a command ends at a newline, or with the chunk in which it was received.
 *
 * @module
 */
import {
  type BufferedReader,
  LineTooLongError,
  Message,
  type MessageClass,
  Pace,
  type PaceOptions,
  Tasklet,
  Timeout,
  TimeoutError,
} from "../mod.ts";
import { now } from "../timer.ts";

/** How many bytes a command may have. */
export const LONGEST_COMMAND = 4096;

const CHUNK = 4096;
// What a client that uses newlines has sent behind the last of them may be the beginning of a command, which TCP has
// cut: then the rest follows at once.
const AT_ONCE = 500; // milliseconds

const Command: MessageClass<"MSG_COMMAND"> = Message("MSG_COMMAND");

/** A command that was received, and whether a newline ended it. */
export class MSG_COMMAND extends Command<[text: string, isFramed: boolean]> {}

/**
 * Sends the commands that `reader` gives to `to`, until the end, no faster than `linePace` allows.
 *
 * @throws {LineTooLongError} If a command is longer than `longest` bytes.
 */
export async function readCommands(
  reader: BufferedReader,
  to: Tasklet,
  longest: number,
  linePace: PaceOptions = { perSecond: Infinity },
): Promise<void> {
  const pace = new Pace(linePace);
  const decoder = new TextDecoder();
  let rest = "";
  let isCut = false;
  for (let chunk; (chunk = await (isCut ? readAtOnce(reader) : reader.readChunk(CHUNK))) !== null;) {
    const commands: string[] = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = commands.pop()!;
    for (const command of commands) await send(command, true);
    check(rest, longest);
    isCut = rest !== "" && chunk.length > 0 && (isCut || commands.length > 0 || chunk.length === CHUNK);
    if (!isCut) await sendUnframed();
  }
  await sendUnframed();

  async function sendUnframed(): Promise<void> {
    rest = check(rest + decoder.decode(), longest);
    if (rest !== "") await send(rest, false);
    rest = "";
  }

  async function send(command: string, isFramed: boolean): Promise<void> {
    const delay = pace.delay(now());
    if (delay > 0) await Tasklet.sleep(delay);
    pace.count(now());
    MSG_COMMAND.send(to)(check(command, longest), isFramed);
  }
}

async function readAtOnce(reader: BufferedReader): Promise<Uint8Array | null> {
  using _ = Timeout.push(AT_ONCE);
  try {
    return await reader.readChunk(CHUNK);
  } catch (error) {
    if (error instanceof TimeoutError) return new Uint8Array(0);
    throw error;
  }
}

function check(command: string, longest: number): string {
  if (new TextEncoder().encode(command).length > longest) throw new LineTooLongError(longest);
  return command;
}

/** Cuts text at its first comma: what stands before it, and what behind, if there is one. */
export function cut(text: string): [before: string, behind: string | undefined] {
  const comma = text.indexOf(",");
  return comma < 0 ? [text.trim(), undefined] : [text.slice(0, comma).trim(), text.slice(comma + 1)];
}
