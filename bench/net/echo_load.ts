/**
 * An echo at full speed: each connection keeps some blocks of bytes under way and checks what comes back.
 *
 * @module
 */
import type { Child } from "./child.ts";
import { type Connection, openAll } from "./connection.ts";
import { measure, Meter, type Reading, settle } from "./reading.ts";

/** How much is under way. */
export interface EchoShape {
  /** How many connections there are. */
  readonly connections: number;
  /** How many blocks of each may be under way. */
  readonly depth: number;
  /** Bytes of a block; it ends with a line end. */
  readonly size: number;
}

/** Measures round trips of a block, and how long one takes. */
export async function echoLoad(server: Child, seconds: number, shape: EchoShape): Promise<Reading> {
  const connections = await openAll(server.port, shape.connections);
  const meter = new Meter();
  const pattern = blocks(shape);
  const trips = connections.map((connection) => new Trips(connection, shape, pattern, meter));
  const reading = connections.map((connection, i) => connection.readAll(trips[i]!.take));
  for (const trip of trips) trip.start();
  const result = await measure(server, seconds, meter);
  for (const trip of trips) trip.end();
  const lost = () => trips.reduce((sum, trip) => sum + trip.lost, 0);
  await settle(() => lost() === 0, () => meter.done);
  for (const connection of connections) connection.close();
  const dropped = (await Promise.all(reading)).filter((byServer) => byServer).length;
  return { ...result, lost: lost() + dropped };
}

const KINDS = 31; // of blocks, one after the other: odd, so that no loss of a power of two goes unnoticed
const STEP = 64; // bytes from one that is checked to the next
const LF = 10;

// As many in a row as may be sent at once, wherever in the pattern that begins.
function blocks({ depth, size }: EchoShape): Uint8Array {
  const bytes = new Uint8Array((KINDS + depth) * size);
  for (let i = 0; i < KINDS + depth; i++) {
    const kind = i % KINDS;
    for (let at = 0; at < size; at++) bytes[i * size + at] = 65 + (kind + (at >> 6)) % KINDS;
    bytes[(i + 1) * size - 1] = LF;
  }
  return bytes;
}

/** The blocks of one connection. */
class Trips {
  readonly #connection: Connection;
  readonly #shape: EchoShape;
  readonly #pattern: Uint8Array;
  readonly #meter: Meter;
  readonly #sentAt: Float64Array; // of those under way, going round
  #sent = 0; // blocks
  #received = 0; // bytes
  #wrong = 0;
  #hasEnded = false;

  constructor(connection: Connection, shape: EchoShape, pattern: Uint8Array, meter: Meter) {
    this.#connection = connection;
    this.#shape = shape;
    this.#pattern = pattern;
    this.#meter = meter;
    this.#sentAt = new Float64Array(shape.depth);
  }

  /** Sends the first blocks. */
  start(): void {
    this.#send(this.#shape.depth);
  }

  /** Sends no more. */
  end(): void {
    this.#hasEnded = true;
  }

  /** How many blocks have not come back, or not as they were sent. */
  get lost(): number {
    return Math.abs(this.#sent - this.#received / this.#shape.size) + this.#wrong;
  }

  /** Checks what has come back, and sends as much. */
  readonly take = (bytes: Uint8Array): number => {
    const { depth, size } = this.#shape;
    this.#check(bytes);
    const first = Math.floor(this.#received / size);
    this.#received += bytes.length;
    const back = Math.floor(this.#received / size) - first;
    if (back === 0) return 0;
    const now = performance.now();
    for (let i = first; i < first + back; i++) this.#meter.latency.add(now - this.#sentAt[i % depth]!);
    this.#meter.done += back;
    this.#send(back);
    return 0;
  };

  // The first byte, the last, and some in between: whatever is lost or comes twice shifts them all.
  #check(bytes: Uint8Array): void {
    const from = this.#received % (KINDS * this.#shape.size);
    const last = bytes.length - 1;
    let isWrong = bytes[last] !== this.#at(from + last);
    for (let i = 0; i < last && !isWrong; i += STEP) isWrong = bytes[i] !== this.#at(from + i);
    if (isWrong) this.#wrong++;
  }

  #at(place: number): number {
    return this.#pattern[place % (KINDS * this.#shape.size)]!;
  }

  #send(count: number): void {
    if (this.#hasEnded) return;
    const { depth, size } = this.#shape;
    const now = performance.now();
    for (let i = this.#sent; i < this.#sent + count; i++) this.#sentAt[i % depth] = now;
    const from = (this.#sent % KINDS) * size;
    this.#sent += count;
    this.#connection.send(this.#pattern.subarray(from, from + count * size));
  }
}
