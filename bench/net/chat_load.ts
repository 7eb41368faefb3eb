/**
 * A chat at full speed: some clients say numbered lines, all check what they get.
 *
 * @module
 */
import type { Child } from "./child.ts";
import { type Connection, openAll } from "./connection.ts";
import { Account, MOST_SENDERS, numbered } from "./numbered.ts";
import { measure, Meter, type Reading, settle } from "./reading.ts";

/** What a chat server says to who comes. */
export const GREETING = "type 'quit' to exit..\n";

/** Who says how much. */
export interface ChatShape {
  /** How many clients there are. */
  readonly clients: number;
  /** How many of them say something, 64 at most. */
  readonly senders: number;
  /** How many lines of each sender may be under way: not all others have got them. */
  readonly window: number;
  /** Bytes of a line, with its end. */
  readonly length: number;
}

/** Measures deliveries, and how long a line takes until all have got it. */
export async function chatLoad(server: Child, seconds: number, shape: ChatShape): Promise<Reading> {
  const connections = await openAll(server.port, shape.clients);
  const talk = new Talk(connections, shape);
  const greeted = await Promise.all(connections.map((connection) => connection.readText(GREETING)));
  const reading = connections.map((connection, i) => connection.readAll(talk.accounts[i]!.take));
  talk.start();
  const result = await measure(server, seconds, talk.meter);
  await talk.end();
  for (const connection of connections) connection.close();
  const dropped = (await Promise.all(reading)).filter((byServer) => byServer).length;
  return { ...result, lost: talk.lost + dropped + greeted.filter((ok) => !ok).length };
}

class Talk {
  readonly accounts: Account[];
  readonly meter = new Meter();
  readonly #connections: readonly Connection[];
  readonly #shape: ChatShape;
  // By sender: how many lines it has said, and how many of them are no longer under way.
  readonly #said = new Int32Array(MOST_SENDERS);
  readonly #over = new Int32Array(MOST_SENDERS);
  // By sender and line, going round in the window: when it was said, and how many have to get it still.
  readonly #saidAt: Float64Array;
  readonly #missing: Int32Array;
  #answering = new Set<number>();
  #hasEnded = false;

  constructor(connections: readonly Connection[], shape: ChatShape) {
    this.#connections = connections;
    this.#shape = shape;
    this.#saidAt = new Float64Array(shape.senders * shape.window);
    this.#missing = new Int32Array(shape.senders * shape.window);
    this.accounts = connections.map(() =>
      new Account(shape.length, (sender, first, end) => this.#delivered(sender, first, end))
    );
  }

  start(): void {
    for (let sender = 0; sender < this.#shape.senders; sender++) this.#say(sender);
  }

  async end(): Promise<void> {
    this.#hasEnded = true;
    await settle(() => this.lost === 0, () => this.meter.done);
  }

  get lost(): number {
    const said = this.#said.reduce((sum, n) => sum + n, 0);
    const due = said * (this.#shape.clients - 1);
    return this.accounts.reduce((sum, { right, wrong }) => sum - right + wrong, due);
  }

  #delivered(sender: number, first: number, end: number): void {
    this.meter.done += end - first;
    let over = 0;
    let place = this.#place(sender, first);
    for (let n = first; n < end; n++) {
      if (--this.#missing[place]! === 0) over++;
      place = (n + 1) % this.#shape.window === 0 ? this.#place(sender, 0) : place + 1;
    }
    if (over > 0) this.#finish(sender, over);
  }

  // They come to their end in order, because each client gets them in order.
  #finish(sender: number, count: number): void {
    const now = performance.now();
    for (let n = this.#over[sender]!; n < this.#over[sender]! + count; n++) {
      this.meter.latency.add(now - this.#saidAt[this.#place(sender, n)]!);
    }
    this.#over[sender]! += count;
    if (this.#answering.size === 0) setImmediate(() => this.#answer());
    this.#answering.add(sender);
  }

  // All that have room again say their next lines.
  #answer(): void {
    const senders = this.#answering;
    this.#answering = new Set();
    for (const sender of senders) this.#say(sender);
  }

  #say(sender: number): void {
    if (this.#hasEnded) return;
    const { clients, length, window } = this.#shape;
    const first = this.#said[sender]!;
    const count = this.#over[sender]! + window - first;
    const now = performance.now();
    for (let n = first; n < first + count; n++) {
      this.#saidAt[this.#place(sender, n)] = now;
      this.#missing[this.#place(sender, n)] = clients - 1;
    }
    this.#said[sender]! += count;
    this.#connections[sender]!.send(numbered(sender, first, count, length));
  }

  #place(sender: number, n: number): number {
    return sender * this.#shape.window + n % this.#shape.window;
  }
}
