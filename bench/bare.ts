/** The least that can be called a mailbox: a queue and promises. Baseline of the benches; guarantees nothing. */
export class BareMailbox<T> {
  readonly #queue: T[] = [];
  #head = 0;
  #waiting: ((item: T) => void) | undefined;

  /** Hands over, or queues. */
  send(item: T): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return void this.#queue.push(item);
    this.#waiting = undefined;
    waiting(item);
  }

  /** Takes the oldest, waiting for it. One at a time. */
  receive(): Promise<T> {
    if (this.#head < this.#queue.length) {
      const item = this.#queue[this.#head++]!;
      if (this.#head === this.#queue.length) this.#queue.length = this.#head = 0;
      return Promise.resolve(item);
    }
    return new Promise((resolve) => this.#waiting = resolve);
  }
}
