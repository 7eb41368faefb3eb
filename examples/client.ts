/**
 * A client of a line server: two tasklets and three messages.
 *
 * The *reader* turns what the client types into messages to the tasklet that created it; the *writer* sends what that
 * tasklet and others have for the client, many lines at once if they come fast. A client whose socket takes nothing is
 * told to quit once its backlog is full; nobody waits for it.
 *
 * @module
 */
import {
  type AnyMessage,
  BufferedStream,
  isDisconnect,
  LineTooLongError,
  Message,
  type MessageClass,
  type PaceOptions,
  type Socket,
  Tasklet,
  TaskletExit,
  TimeoutError,
} from "../mod.ts";

const WriteLine: MessageClass<"MSG_WRITE_LINE"> = Message("MSG_WRITE_LINE");
const Write: MessageClass<"MSG_WRITE"> = Message("MSG_WRITE");
const Quit: MessageClass<"MSG_QUIT"> = Message("MSG_QUIT");
const LineRead: MessageClass<"MSG_LINE_READ"> = Message("MSG_LINE_READ");

/** To a writer: a line for its client, or several with line ends between. */
export class MSG_WRITE_LINE extends WriteLine<[line: string]> {}
/** To a writer: text for its client, as it is. */
export class MSG_WRITE extends Write<[text: string]> {}
/** To the tasklet of a client: it has gone, or must go. */
export class MSG_QUIT extends Quit {}
/** To the tasklet of a client: a line that it typed, as it came. */
export class MSG_LINE_READ extends LineRead<[line: string]> {}

/** How a client is bounded. */
export interface ClientOptions {
  /** How many bytes a line may have. @default {65536} */
  readonly maxLine?: number | undefined;
  /** How fast lines are taken from it. @default {as fast as they come} */
  readonly linePace?: PaceOptions | undefined;
  /** How many lines may wait for a client whose socket takes nothing. @default {1000} */
  readonly backlog?: number | undefined;
  /** Takes what happens, a line each. @default {nothing} */
  readonly log?: ((line: string) => void) | undefined;
}

// For how long a socket may take nothing, in milliseconds, before a full backlog counts; and how many characters are too
// many even for one that does take something.
const STALLED = 1000;
const LARGEST = 8_388_608;
// How many milliseconds a client has to take its last lines, if it reads at all: when it goes, and when all must go.
const PARTING = 60_000;
const FAREWELL = 1000;
// One for all clients: to make an error for each would cost as much as what a short visit says.
const LEFT = new TaskletExit("the client has left");

/** A client, as the tasklet sees it that serves it. */
export class Client {
  readonly #task = Tasklet.current()!;
  readonly #stream: BufferedStream;
  readonly #writer: Tasklet;
  readonly #reader: Tasklet;
  #lines = 0; // that wait for the writer
  #length = 0; // of them all
  #isDropped = false;
  readonly #backlog: number;
  readonly #log: ((line: string) => void) | undefined;
  #lastWords: string | undefined; // why it has to go

  /**
   * Starts the writer and the reader, as children of the running tasklet.
   *
   * @param read Sends what it reads to `client`. @default {lines, as `MSG_LINE_READ`}
   */
  constructor(
    socket: Socket,
    { maxLine, linePace, backlog = 1000, log }: ClientOptions,
    read: Read = readLines,
  ) {
    this.#stream = new BufferedStream(socket, {
      maxLineLength: maxLine,
      maxBuffered: Infinity,
      linePace,
      telnet: true,
    });
    this.#backlog = backlog;
    this.#log = log;
    this.#writer = Tasklet.new(() => this.#writeAll(), { name: "writer" })();
    this.#reader = Tasklet.new(() => this.#read(read), { name: "reader" })();
  }

  /** Sends lines to all of `clients`. */
  static multicast(clients: readonly Client[], lines: readonly string[]): void {
    if (lines.length === 0) return;
    const text = lines.join("\n");
    MSG_WRITE_LINE.send(clients.map((client) => client.#writerFor(lines.length, text.length)))(text);
  }

  /** Sends a line to this client. */
  writeLine(line: string): void {
    Client.multicast([this], [line]);
  }

  /** Sends text to this client, as it is. */
  write(text: string): void {
    MSG_WRITE.send(this.#writerFor(1, text.length))(text);
  }

  // One that reads at all, however slowly, is given its time; one that does not is no reason to fill the memory.
  #writerFor(lines: number, length: number): Tasklet {
    this.#lines += lines;
    this.#length += length;
    const isFull = this.#length >= LARGEST ||
      (this.#lines >= this.#backlog && this.#stream.writer.stalled > STALLED);
    if (isFull && !this.#isDropped) this.#drop();
    return this.#writer;
  }

  #drop(): void {
    this.#isDropped = true;
    if (!MSG_QUIT.send(this.#task)()) return;
    this.#log?.(`dropped a client that takes nothing: ${this.#lines} lines wait for it`);
  }

  async #writeAll(): Promise<void> {
    const { writer } = this.#stream;
    try {
      for await (const batch of Tasklet.batches()) { // what others say in the same turn goes along
        this.#take(batch);
        if (!writer.send()) await writer.flush();
      }
    } catch (error) {
      if (!isDisconnect(error)) throw error;
      MSG_QUIT.send(this.#task)();
    } finally {
      this.#take(Tasklet.pending());
    }
  }

  #take(messages: Iterable<AnyMessage>): void {
    const { writer } = this.#stream;
    for (const msg of messages) {
      if (msg.match(MSG_WRITE_LINE)) writer.writeLine(msg.args[0]);
      else if (msg.match(MSG_WRITE)) writer.write(msg.args[0]);
    }
    this.#lines = this.#length = 0;
  }

  // No async function: for each client it would be one more to keep.
  #read(read: Read): Promise<void> {
    const end = () => void MSG_QUIT.send(this.#task)();
    return read(this.#stream.reader, this.#task).then(end, (error) => {
      if (error instanceof LineTooLongError) this.#lastWords = "line too long, goodbye";
      else if (error instanceof TimeoutError) this.#lastWords = "silent for too long, goodbye";
      else if (!isDisconnect(error)) throw error;
      end();
    });
  }

  /** Sends what is queued, and a farewell, to a client that takes it, then closes. */
  async close(farewell?: string): Promise<void> {
    await Tasklet.killAll([this.#reader, this.#writer], { exit: LEFT }); // the writer leaves its lines to the stream
    const last = farewell ?? this.#lastWords;
    if (last !== undefined) this.#stream.writer.writeLine(last);
    const linger = this.#lastWords === undefined ? 0 : FAREWELL; // it may be sending still, and should read why it goes
    await this.#stream.close({ timeout: farewell === undefined ? PARTING : FAREWELL, linger });
  }
}

/** What reads from a client. */
export type Read = (reader: BufferedStream["reader"], client: Tasklet) => Promise<void>;

async function readLines(reader: BufferedStream["reader"], client: Tasklet): Promise<void> {
  for await (const line of reader.readLines()) {
    MSG_LINE_READ.send(client)(line);
    for (const next of reader.pending()) MSG_LINE_READ.send(client)(next);
  }
}
