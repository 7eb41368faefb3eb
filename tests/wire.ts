/**
 * A connection whose bytes are counted: for replies that end without a newline, and for data that is no text.
 *
 * @module
 */

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** A connection whose bytes are counted. */
export class Wire implements Disposable {
  readonly #connection: Deno.TcpConn;
  #unread = new Uint8Array(0);
  #isClosed = false;

  /** Use {@linkcode wire}. */
  constructor(connection: Deno.TcpConn) {
    this.#connection = connection;
  }

  /** Its own port. */
  get port(): number {
    return this.#connection.localAddr.port;
  }

  /** Sends all of it, in one chunk if it is small. */
  async send(data: string | Uint8Array): Promise<void> {
    let bytes = typeof data === "string" ? encoder.encode(data) : data;
    while (bytes.length > 0) bytes = bytes.subarray(await this.#connection.write(bytes));
  }

  /** The next bytes, as many as there are in `like`; fewer at the end. As text. */
  async read(like: string): Promise<string> {
    return decoder.decode(await this.bytes(encoder.encode(like).length));
  }

  /** Sends a command, and reads as much as the answer should have. */
  async ask(command: string | Uint8Array, answer: string): Promise<string> {
    await this.send(command);
    return await this.read(answer);
  }

  /** The next `count` bytes; fewer at the end. */
  async bytes(count: number): Promise<Uint8Array> {
    const parts = [this.#unread];
    let length = this.#unread.length;
    while (length < count) {
      const buffer = new Uint8Array(65_536);
      const n = await this.#connection.read(buffer);
      if (n === null) break;
      parts.push(buffer.subarray(0, n));
      length += n;
    }
    const all = new Uint8Array(length);
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    this.#unread = all.slice(count);
    return all.subarray(0, count);
  }

  /** All that comes until the end, as text. */
  async rest(): Promise<string> {
    return decoder.decode(await this.bytes(Infinity));
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

  /** The same as {@linkcode Wire.close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Connects to a port of this machine. */
export async function wire(port: number): Promise<Wire> {
  const connection = await Deno.connect({ hostname: "localhost", port });
  connection.setNoDelay(true);
  return new Wire(connection);
}
