/**
 * Simulated users of the directory: real clients over TCP, each a tasklet.
 *
 * @module
 */
import { type Address, BufferedStream, Message, Socket, Tasklet } from "../mod.ts";
import { isName, UsageError } from "./cli.ts";

class MSG_REGISTERED extends Message("MSG_REGISTERED")<[], void> {}
class MSG_LIST extends Message("MSG_LIST")<[names: string[]]> {}

/** What {@linkcode simulate} can be told. */
export interface SimulateOptions {
  /** Who the users are. */
  readonly names: readonly string[];
  /** For how many seconds they chat. */
  readonly seconds: number;
  /** Takes what they receive, a line each. */
  readonly log: (line: string) => void;
}

type Print = (text: string) => void;

const COLOURS = [36, 33, 35, 32, 34, 31];

/** Lets users chat with each other at the server of `address`. */
export async function simulate(address: Address, { names, seconds, log }: SimulateOptions): Promise<void> {
  const isColourful = Deno.stdout.isTerminal() && !Deno.noColor;
  await Tasklet.scope(async () => {
    const gate = Tasklet.new(openWhenAllAreThere)(names.length);
    const users = names.map((name, i) => {
      const shown = isColourful ? `\x1b[${COLOURS[i % COLOURS.length]}m${name}\x1b[0m` : name;
      return Tasklet.new(user, { name })(
        address,
        name,
        names,
        gate,
        (text) => log(`${shown} received: ${text}`),
      );
    });
    await Tasklet.sleep(1000 * seconds);
    await Tasklet.killAll([gate, ...users]);
  });
}

/** The names in a list with commas between. */
export function namesOf(list: string): string[] {
  const names = list.split(",").map((name) => name.trim());
  const wrong = names.find((name, i) => !isName(name) || names.indexOf(name) !== i);
  if (wrong !== undefined) {
    throw new UsageError(`--users wants different names, got ${JSON.stringify(list)} (see --help)`);
  }
  return names;
}

// Answers nobody until `count` have called.
async function openWhenAllAreThere(count: number): Promise<void> {
  const waiting: MSG_REGISTERED[] = [];
  for await (const msg of Tasklet.receive([MSG_REGISTERED])) {
    waiting.push(msg.defer());
    if (waiting.length === count) { for (const each of waiting) each.reply(); }
  }
}

async function user(
  address: Address,
  name: string,
  names: readonly string[],
  gate: Tasklet,
  print: Print,
): Promise<void> {
  using socket = await Socket.connect(address);
  const stream = new BufferedStream(socket);
  await say(stream, `register,${name}`);
  const reply = await stream.reader.readLine();
  if (reply !== "ack") throw new Error(`Cannot register ${name}: ${reply}`);
  await MSG_REGISTERED.call(gate)();
  Tasklet.new(read)(stream, Tasklet.current()!, names, print);
  await say(stream, "list,all");
  const [friends] = (await Tasklet.receiveOne([MSG_LIST])).args;
  while (true) {
    await Tasklet.sleep(2000 + 4000 * Math.random());
    await say(stream, `chat,${friends[Math.floor(friends.length * Math.random())]}`);
  }
}

// A greeting never names everybody, so it cannot be taken for the list.
async function read(
  stream: BufferedStream,
  owner: Tasklet,
  names: readonly string[],
  print: Print,
): Promise<void> {
  for await (const line of stream.reader.readLines()) {
    const listed = line.split(",");
    if (names.every((name) => listed.includes(name))) MSG_LIST.send(owner)(listed);
    else print(line);
  }
}

async function say(stream: BufferedStream, line: string): Promise<void> {
  stream.writer.writeLine(line);
  await stream.writer.flush();
}
