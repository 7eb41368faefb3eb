/**
 * Transcripts: a session with a program as a text that people read, and that is replayed byte by byte.
 *
 *     # A comment.
 *     any 1980: the port it listens on
 *     any 50001: the port of jane
 *
 *     $ echo --sequential
 *     log: Serving on ('localhost', 1980)
 *     jane connects
 *     jane> she sends this line,
 *     jane> and this text without a newline\
 *     jane< she receives this line,
 *     jane< and this text without a newline\
 *     jane ends her side
 *     jane is closed
 *     jane closes
 *     ^C
 *     exit 130
 *
 * A line is complete: what comes behind it, on the wire or in the log, must be what the next line of that speaker
 * says, and behind the last one there is nothing. A number that is declared with `any` stands in the log for another
 * one, always the same; that of "the port of NAME" is known, and so checked.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { NARROW, type Outcome, type Program, start } from "./program.ts";
import { type Client, client } from "./client.ts";

/** Where the transcripts are. */
export const TRANSCRIPTS: URL = new URL("./transcripts/", import.meta.url);

/** A session that is under way. */
class Session implements AsyncDisposable {
  readonly #about: ReadonlyMap<string, string>; // what the declared numbers are
  readonly #numbers = new Map<string, string>(); // ... and what they turned out to be
  readonly #wires = new Map<string, Client>();
  readonly #runsAtPort: boolean;
  #program: Program | undefined;
  #port = 0;
  #outcome: Outcome | undefined;

  constructor(about: ReadonlyMap<string, string>) {
    this.#about = about;
    this.#runsAtPort = [...about.values()].includes("the port it listens on");
  }

  /** Replays a line of the transcript. */
  async play(line: string): Promise<void> {
    const [, name = "", rest = ""] = /^(\w+)(.*)$/.exec(line) ?? [];
    if (line.startsWith("$ ")) this.#start(line.slice(2).split(" "));
    else if (line.startsWith("log: ")) this.#expect(line, await this.#program!.line());
    else if (line === "^C") this.#program!.signal("SIGINT");
    else if (name === "exit") await this.#exit(Number(rest));
    else if (rest === " connects") await this.#connect(name);
    else if (rest.startsWith("> ")) await this.#client(name).send(textOf(rest));
    else if (rest.startsWith("< ")) assertEquals(await this.#client(name).read(textOf(rest)), textOf(rest));
    else if (rest === " ends her side") await this.#client(name).end();
    else if (rest === " is closed") assertEquals(await this.#client(name).rest(), "");
    else if (rest === " closes") this.#client(name).close();
    else throw new Error(`Cannot replay: ${line}`);
  }

  #start([name, ...flags]: string[]): void {
    const port = this.#runsAtPort ? ["--port", "0"] : [];
    this.#program = start(
      `examples/${name}.ts`,
      [...port, ...flags],
      this.#runsAtPort ? NARROW : ["--no-prompt"],
    );
  }

  async #connect(name: string): Promise<void> {
    const connection = await client(this.#port);
    this.#wires.set(name, connection);
    for (const [declared, about] of this.#about) {
      if (about === `the port of ${name}`) this.#numbers.set(declared, `${connection.port}`);
    }
  }

  #client(name: string): Client {
    const found = this.#wires.get(name);
    if (found === undefined) throw new Error(`Cannot replay: ${name} has not connected`);
    return found;
  }

  // What is declared stands for what is there; whatever else the line has must be there as it is.
  #expect(line: string, actual: string | undefined): void {
    let expected = line.slice("log: ".length);
    const unknown: string[] = [];
    for (const declared of this.#about.keys()) {
      if (!new RegExp(`\\b${declared}\\b`).test(expected)) continue;
      const known = this.#numbers.get(declared);
      if (known === undefined) unknown.push(declared);
      else expected = expected.replaceAll(new RegExp(`\\b${declared}\\b`, "g"), known);
    }
    for (const declared of unknown) {
      const [before, behind] = expected.split(new RegExp(`\\b${declared}\\b`)) as [string, string];
      const found = actual?.slice(before.length, actual.length - behind.length) ?? "";
      if (!/^\d+$/.test(found)) break; // then they differ, and that is told
      this.#numbers.set(declared, found);
      if (this.#about.get(declared) === "the port it listens on") this.#port = Number(found);
      expected = before + found + behind;
    }
    assertEquals(actual, expected);
  }

  async #exit(code: number): Promise<void> {
    this.#outcome = await this.#program!.end();
    assertEquals(this.#outcome, { code, lines: [], stderr: "" });
    for (const [name, wire] of this.#wires) {
      // One that has closed is not asked.
      const rest = await wire.rest().catch(() => "");
      assertEquals(rest, "", `${name} received more`);
    }
  }

  /** Checks that the program has ended. */
  end(): void {
    assertEquals(this.#outcome !== undefined, true, "a transcript goes on to the end of its program");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const wire of this.#wires.values()) wire.close();
    await this.#program?.[Symbol.asyncDispose]();
  }
}

function textOf(rest: string): string {
  const text = rest.slice(2);
  return text.endsWith("\\") ? text.slice(0, -1) : `${text}\n`;
}

/**
 * Replays a transcript against its program; an error names the line.
 *
 * @param within Milliseconds that a line may take: what does not come can only be told by a clock.
 */
export async function replay(transcript: string, within: number = 10_000): Promise<void> {
  const lines = transcript.split("\n");
  const about = new Map(lines.flatMap((line) => {
    const [, number, about] = /^any (\d+): (.*)$/.exec(line) ?? [];
    return number === undefined ? [] : [[number, about!] as const];
  }));
  await using session = new Session(about);
  for (const [i, line] of lines.entries()) {
    if (line === "" || line.startsWith("#") || line.startsWith("any ")) continue;
    try {
      await inTime(session.play(line), within);
    } catch (error) {
      throw new Error(`Cannot go on at line ${i + 1}: ${line}\n${(error as Error).message}`, {
        cause: error,
      });
    }
  }
  session.end();
}

async function inTime(playing: Promise<void>, within: number): Promise<void> {
  playing.catch(() => {}); // what is given up fails when the session ends
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`nothing more came within ${within} ms`)), within);
  await Promise.race([playing, promise]).finally(() => clearTimeout(timer));
}
