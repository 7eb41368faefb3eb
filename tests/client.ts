/**
 * Plain clients: what talks to a server over TCP, by lines or by bytes.
 *
 * Knows nothing of the library: what is tested with it is what a stranger sees.
 *
 * @module
 */
import { once } from "node:events";
import { connect } from "node:net";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const LF = 10;

/** Something that talks over TCP, like a person at a terminal. */
export class Client implements Disposable {
  readonly #connection: Deno.TcpConn;
  readonly #buffer = new Uint8Array(65_536);
  #unread = new Uint8Array(0);
  #isClosed = false;

  /** Use {@linkcode client}. */
  constructor(connection: Deno.TcpConn) {
    this.#connection = connection;
  }

  /** Its own port, by which a server knows it. */
  get port(): number {
    return this.#connection.localAddr.port;
  }

  /** The next line without its LF, what is left at the end, or `null` behind it. */
  async line(): Promise<string | null> {
    for (let searched = 0;;) {
      const end = this.#unread.indexOf(LF, searched);
      if (end >= 0) return decoder.decode(this.#take(end + 1).subarray(0, end));
      searched = this.#unread.length;
      if (await this.#read()) continue;
      return searched === 0 ? null : decoder.decode(this.#take(searched));
    }
  }

  /** The next `count` lines. */
  async lines(count: number): Promise<(string | null)[]> {
    const lines: (string | null)[] = [];
    while (lines.length < count) lines.push(await this.line());
    return lines;
  }

  /** The next `count` bytes; fewer at the end. */
  async bytes(count: number): Promise<Uint8Array> {
    const parts = [this.#unread];
    let length = this.#unread.length;
    while (length < count) {
      this.#unread = new Uint8Array(0);
      if (!await this.#read()) break;
      parts.push(this.#unread);
      length += this.#unread.length;
    }
    this.#unread = concat(parts);
    return this.#take(Math.min(count, length));
  }

  /** The next bytes, as many as there are in `like`; fewer at the end. As text. */
  async read(like: string): Promise<string> {
    return decoder.decode(await this.bytes(encoder.encode(like).length));
  }

  /** All that comes until the end, as text. */
  async rest(): Promise<string> {
    return decoder.decode(await this.bytes(Infinity));
  }

  /** Sends text or bytes, all of them, in one chunk if they are few. */
  async send(data: string | Uint8Array): Promise<void> {
    let bytes = typeof data === "string" ? encoder.encode(data) : data;
    while (bytes.length > 0) bytes = bytes.subarray(await this.#connection.write(bytes));
  }

  /** Sends a line, and gives the one that is answered. */
  async say(line: string): Promise<string | null> {
    await this.send(`${line}\n`);
    return await this.line();
  }

  /** Sends something, and reads as much as the answer should have. */
  async ask(data: string | Uint8Array, answer: string): Promise<string> {
    await this.send(data);
    return await this.read(answer);
  }

  /** Ends its side, and can still read. */
  async end(): Promise<void> {
    await this.#connection.closeWrite();
  }

  /** Closes both sides. Harmless twice. */
  close(): void {
    if (!this.#isClosed) this.#connection.close();
    this.#isClosed = true;
  }

  /** The same as {@linkcode Client.close}. */
  [Symbol.dispose](): void {
    this.close();
  }

  async #read(): Promise<boolean> {
    const n = await this.#connection.read(this.#buffer);
    if (n === null) return false;
    this.#unread = concat([this.#unread, this.#buffer.subarray(0, n)]);
    return true;
  }

  #take(count: number): Uint8Array {
    const taken = this.#unread.subarray(0, count);
    this.#unread = this.#unread.subarray(count);
    return taken;
  }
}

/** Connects to a port of this machine. */
export async function client(port: number): Promise<Client> {
  const connection = await Deno.connect({ hostname: "localhost", port });
  connection.setNoDelay(true);
  return new Client(connection);
}

/**
 * Connects to a port of this machine, sends `text`, and is gone without a word, as when a cable is pulled and plugged in
 * again: the peer learns of it by a reset.
 *
 * @param after How many bytes to wait for before. @default {1}
 */
export async function vanish(port: number, text = "", after = 1): Promise<void> {
  const socket = connect(port, "localhost");
  await once(socket, "connect");
  if (text !== "") await new Promise((resolve) => socket.write(text, resolve));
  for (let n = 0; n < after;) n += ((await once(socket, "data")) as [Uint8Array])[0].length;
  socket.resetAndDestroy();
  await once(socket, "close");
}

/** All of `parts`, one behind the other. */
export function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
