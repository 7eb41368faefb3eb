/**
 * The well-behaved: clients that talk at a human pace, read at once, and keep account of every line that they should get.
 *
 * Each line tells who said it, how many before it, and when. All talkers are there before the first line and stay until
 * after the last, so each line has to come to all others, once, in order, as it was said.
 *
 * @module
 */
import { GREETING } from "../net/chat_load.ts";
import { type Connection, openAll } from "../net/connection.ts";
import { Histogram } from "../net/histogram.ts";
import { PATIENCE, pause, settle } from "../net/reading.ts";
import type { Random } from "./random.ts";

/** What the talkers have found so far. */
export interface Findings {
  /** Lines they have said. */
  said: number;
  /** Lines that came to them, each to each, as they should. */
  delivered: number;
  /** Lines that came when a later one had come, or twice, or to who said them. */
  duplicates: number;
  /** Lines that were missing when the next one came. */
  gaps: number;
  /** Lines that came otherwise than they were said. */
  altered: number;
  /** Control characters in what came, whoever had sent them. */
  controls: number;
  /** Talkers whom the server has sent away. */
  dropped: number;
  /** Talkers that have quit and whom the server has kept. */
  kept: number;
}

const PACE = 100; // milliseconds from one line of a talker to the next, on average
const LF = 10;
const TAB = 9;
const DEL = 127;
const MARK = 126; // "~"
const LINE = /^~(\w+) (\d+) (\d+) (\d+\.\d+) (.*)$/; // pass, talker, number, time, words
const WORDS = ["hello", "wie geht’s", "ça va", "добрый день", "你好", "😀 ok", "a\ttab", "x".repeat(60)];
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Some talkers in one chat. */
export class Talkers {
  /** What they have found. */
  readonly findings: Findings = {
    said: 0,
    delivered: 0,
    duplicates: 0,
    gaps: 0,
    altered: 0,
    controls: 0,
    dropped: 0,
    kept: 0,
  };
  /** How long lines took, since somebody last took it and put a new one there. */
  latency: Histogram = new Histogram();
  readonly #connections: readonly Connection[];
  readonly #random: Random;
  readonly #pass: string; // by which they know their own lines from those of strangers
  readonly #said: number[]; // by talker
  readonly #next: number[][]; // by talker who listens, then by talker who speaks: the number of the next line
  readonly #reading: Promise<boolean>[];
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();

  private constructor(connections: readonly Connection[], random: Random) {
    this.#connections = connections;
    this.#random = random;
    this.#pass = random.whole(0, 2 ** 32 - 1).toString(36);
    this.#said = connections.map(() => 0);
    this.#next = connections.map(() => connections.map(() => 0));
    this.#reading = connections.map((connection, i) => this.#listen(connection, i));
  }

  /**
   * Connects `count` talkers.
   *
   * @throws {Error} If one of them is not greeted.
   */
  static async join(port: number, count: number, random: Random): Promise<Talkers> {
    const connections = await openAll(port, count);
    for (const connection of connections) {
      if (!await connection.readText(GREETING)) throw new Error("Cannot join the chat: it has not greeted");
    }
    return new Talkers(connections, random);
  }

  /** How many deliveries have not come (yet). */
  get missing(): number {
    const due = this.findings.said * (this.#connections.length - 1);
    return due - this.findings.delivered - this.findings.altered;
  }

  /** Begins to talk. */
  start(): void {
    for (let i = 0; i < this.#connections.length; i++) this.#sayLater(i);
  }

  /** Says no more, waits for what is under way, and quits. */
  async end(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    await settle(() => this.missing === 0, () => this.findings.delivered);
    const { dropped } = this.findings; // before we ask for it
    for (const connection of this.#connections) connection.send(encoder.encode("quit\n"));
    await Promise.race([Promise.all(this.#reading), pause(PATIENCE)]);
    for (const connection of this.#connections) connection.close();
    const byServer = (await Promise.all(this.#reading)).filter((byServer) => byServer);
    this.findings.kept = this.#connections.length - byServer.length;
    this.findings.dropped = dropped;
  }

  async #listen(connection: Connection, listener: number): Promise<boolean> {
    const byServer = await connection.readAll((bytes) => this.#hear(listener, bytes));
    if (byServer) this.findings.dropped++;
    return byServer;
  }

  #sayLater(talker: number): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#say(talker);
      this.#sayLater(talker);
    }, PACE * 2 * this.#random.next());
    this.#timers.add(timer);
  }

  #say(talker: number): void {
    const n = this.#said[talker]!++;
    this.findings.said++;
    const line = `~${this.#pass} ${talker} ${n} ${performance.now().toFixed(3)} ${wordsOf(talker, n)}\n`;
    this.#connections[talker]!.send(encoder.encode(line));
  }

  // How many bytes at the end are no whole line.
  #hear(listener: number, bytes: Uint8Array): number {
    let start = 0;
    for (let at = 0; at < bytes.length; at++) {
      const byte = bytes[at]!;
      if (byte === LF) {
        if (bytes[start] === MARK) this.#check(listener, decoder.decode(bytes.subarray(start, at)));
        start = at + 1;
      } else if ((byte < 32 && byte !== TAB) || byte === DEL || (byte >> 5 === 4 && bytes[at - 1] === 0xc2)) {
        this.findings.controls++; // C0, DEL, or C1, which is C2 80 to C2 9F
      }
    }
    return bytes.length - start;
  }

  #check(listener: number, line: string): void {
    const match = LINE.exec(line);
    if (match?.[1] !== this.#pass) return; // of somebody else
    const talker = Number(match[2]);
    const next = this.#next[listener]![talker]!;
    const n = Number(match[3]);
    if (n < next || talker === listener) return void this.findings.duplicates++;
    this.findings.gaps += n - next;
    this.#next[listener]![talker] = n + 1;
    if (match[5] !== wordsOf(talker, n)) return void this.findings.altered++;
    this.findings.delivered++;
    this.latency.add(performance.now() - Number(match[4]));
  }
}

function wordsOf(talker: number, n: number): string {
  return Array.from({ length: 1 + n % 4 }, (_, i) => WORDS[(talker + 3 * n + i) % WORDS.length]).join(" ");
}
