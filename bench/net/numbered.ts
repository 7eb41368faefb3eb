/**
 * Lines that tell who has sent them and how many before them, and accounts of those that have come.
 *
 * All lines of a load have the same length, so that none has to be searched for its end, and each is checked in a few
 * nanoseconds: millions of them a second must not slow the load down.
 *
 * @module
 */

/** The most senders there can be. */
export const MOST_SENDERS = 64;

const LF = 10;
const BASE = 48; // "0"; 64 characters from here on are printable and no blanks
const HEAD = 6; // the sender and five digits

/** The lines `first` to `first + count - 1` of `sender`, `length` bytes each with their ends. */
export function numbered(sender: number, first: number, count: number, length: number): Uint8Array {
  const bytes = new Uint8Array(count * length).fill(120);
  for (let i = 0; i < count; i++) {
    const at = i * length;
    const n = first + i;
    bytes[at] = BASE + sender;
    for (let digit = 1; digit < HEAD; digit++) bytes[at + digit] = BASE + ((n >>> (30 - 6 * digit)) & 63);
    bytes[at + length - 1] = LF;
  }
  return bytes;
}

/** What one client should get: every line of every other sender, in order. */
export class Account {
  /** How many lines came that should have, each when it should. */
  right = 0;
  /** How many came twice, too late, too early because one is missing, or not as they were sent. */
  wrong = 0;
  readonly #length: number;
  readonly #onLines: (sender: number, first: number, end: number) => void;
  readonly #next = new Int32Array(MOST_SENDERS); // by sender

  /**
   * Opens an account for lines of `length` bytes.
   *
   * @param onLines Is told of the lines that are right, as many at once as came in a row: up to the one before `end`.
   */
  constructor(length: number, onLines: (sender: number, first: number, end: number) => void) {
    this.#length = length;
    this.#onLines = onLines;
  }

  /** Books what has come; how many bytes at the end are no whole line. */
  readonly take = (bytes: Uint8Array): number => {
    const length = this.#length;
    const rest = bytes.length % length;
    for (let at = 0; at < bytes.length - rest;) {
      const sender = bytes[at]! - BASE;
      const first = this.#next[sender];
      let n = first;
      while (n !== undefined && isLine(bytes, at, length, sender, n)) {
        at += length;
        n++;
      }
      if (first !== undefined && n !== undefined && n > first) this.#book(sender, first, n);
      else at += this.#bookWrong(bytes, at, sender);
    }
    return rest;
  };

  #book(sender: number, first: number, end: number): void {
    this.#next[sender] = end;
    this.right += end - first;
    this.#onLines(sender, first, end);
  }

  // Those in between are missing, and stay so.
  #bookWrong(bytes: Uint8Array, at: number, sender: number): number {
    this.wrong++;
    const n = numberAt(bytes, at);
    if (n > (this.#next[sender] ?? Infinity)) this.#next[sender] = n + 1;
    return this.#length;
  }
}

function isLine(bytes: Uint8Array, at: number, length: number, sender: number, n: number): boolean {
  return bytes[at] === BASE + sender && numberAt(bytes, at) === n && bytes[at + length - 1] === LF;
}

function numberAt(bytes: Uint8Array, at: number): number {
  return ((bytes[at + 1]! - BASE) << 24) | ((bytes[at + 2]! - BASE) << 18) | ((bytes[at + 3]! - BASE) << 12) |
    ((bytes[at + 4]! - BASE) << 6) | (bytes[at + 5]! - BASE);
}
