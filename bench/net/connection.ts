/**
 * A connection of a load: bytes in and out, as cheap as Deno has it, so that not the load is what is measured.
 *
 * @module
 */

/** What takes what has come; it returns how many bytes at the end of `bytes` it wants to see again with the next. */
export type Take = (bytes: Uint8Array) => number;

/** A connection to a server of this machine. */
export class Connection implements Disposable {
  readonly #connection: Deno.TcpConn;
  #waiting: Uint8Array[] = [];
  #isWriting = false;
  #isClosed = false;

  private constructor(connection: Deno.TcpConn) {
    this.#connection = connection;
  }

  /** Connects to `port` of this machine. */
  static async open(port: number): Promise<Connection> {
    const connection = await Deno.connect({ hostname: "127.0.0.1", port });
    connection.setNoDelay(true);
    return new Connection(connection);
  }

  /** Whether it was closed by us. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /**
   * Reads until the end.
   *
   * @param size Bytes of the buffer.
   * @returns Whether the server has ended it, and not we.
   */
  async readAll(take: Take, size: number = 65_536): Promise<boolean> {
    const buffer = new Uint8Array(size);
    let kept = 0;
    try {
      while (true) {
        const n = await this.#connection.read(kept === 0 ? buffer : buffer.subarray(kept));
        if (n === null) return !this.#isClosed;
        const end = kept + n;
        kept = take(buffer.subarray(0, end));
        if (kept > 0) buffer.copyWithin(0, end - kept, end);
      }
    } catch (error) {
      if (!this.#isClosed && !isGone(error)) throw error;
      return !this.#isClosed;
    }
  }

  /** Reads exactly `text`, which is ASCII. Whether that is what came. */
  async readText(text: string): Promise<boolean> {
    const buffer = new Uint8Array(text.length);
    for (let length = 0; length < buffer.length;) {
      const n = await this.#connection.read(buffer.subarray(length));
      if (n === null) return false;
      length += n;
    }
    return new TextDecoder().decode(buffer) === text;
  }

  /**
   * Sends all of `bytes`, in order; nobody waits for it. What is sent while a write is under way is one write after it.
   *
   * What is sent to a server that has gone is lost.
   */
  send(bytes: Uint8Array): void {
    this.#waiting.push(bytes);
    if (!this.#isWriting) void this.#write();
  }

  async #write(): Promise<void> {
    this.#isWriting = true;
    try {
      while (this.#waiting.length > 0) {
        let bytes = this.#waiting.length === 1 ? this.#waiting[0]! : concat(this.#waiting);
        this.#waiting = [];
        while (bytes.length > 0) bytes = bytes.subarray(await this.#connection.write(bytes));
      }
    } catch (error) {
      if (!this.#isClosed && !isGone(error)) throw error;
      this.#waiting = [];
    } finally {
      this.#isWriting = false;
    }
  }

  /** Closes it. Harmless twice. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#connection.close();
  }

  /** The same as {@linkcode Connection.close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Connects `count` times. */
export async function openAll(port: number, count: number): Promise<Connection[]> {
  const connections: Connection[] = [];
  while (connections.length < count) {
    const batch = Math.min(64, count - connections.length); // more would fill the backlog of a slow server
    connections.push(...await Promise.all(Array.from({ length: batch }, () => Connection.open(port))));
  }
  return connections;
}

/** Whether `error` says that the server has closed or reset the connection. */
export function isGone(error: unknown): boolean {
  const { BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected } = Deno.errors;
  return [BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected].some((each) => error instanceof each);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
