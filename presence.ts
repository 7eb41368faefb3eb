/**
 * Who is there: the nodes of a cluster as one of them knows them, by when they were heard last.
 *
 * Runtime-neutral and pure: it is told what was heard and what time it is.
 *
 * @module
 */

/** How a node keeps time. */
export interface Times {
  /** Milliseconds between two signs of life. */
  readonly heartbeat: number;
  /** Milliseconds of silence after which a node is gone. */
  readonly deadAfter: number;
}

/** What a sign of life means: the node was not known; it had gone in silence; it was known; there is no room for it. */
export type Sign = "new" | "back" | "known" | "ignored";

/** What a look at the time has shown. */
export interface Silence {
  /** Nodes that should have been heard by now. */
  readonly quiet: readonly string[];
  /** Nodes that are gone. They are known no more. */
  readonly gone: readonly string[];
}

/**
 * The nodes that are there.
 *
 * - **Gone**: a node that was not heard for `deadAfter`, or that said good-bye, or of which it is known otherwise.
 * - **Back**: a node that had gone in silence and is heard again has been alive all the time, behind a wall: what was
 *   thought free since may have two owners.
 * - **Bounds**: it knows `most` nodes, and remembers as many of those that have gone in silence.
 */
export class Presence {
  readonly #times: Times;
  readonly #most: number;
  readonly #heardAt = new Map<string, number>();
  readonly #silent = new Set<string>(); // gone without a good-bye

  /** Creates an empty list of at most so many nodes; further ones are ignored. */
  constructor(times: Times, most: number = 10_000) {
    this.#times = times;
    this.#most = most;
  }

  /** The nodes that are there. */
  get nodes(): string[] {
    return [...this.#heardAt.keys()];
  }

  /** Takes a sign of life: what it means. */
  heard(node: string, now: number): Sign {
    const isKnown = this.#heardAt.has(node);
    if (!isKnown && this.#heardAt.size >= this.#most) return "ignored";
    this.#heardAt.set(node, now);
    if (isKnown) return "known";
    return this.#silent.delete(node) ? "back" : "new";
  }

  /** Takes a good-bye: whether it was known. */
  left(node: string): boolean {
    this.#silent.delete(node);
    return this.#heardAt.delete(node);
  }

  /** Takes notice that a node has gone in silence: whether it was known. */
  lost(node: string): boolean {
    if (!this.#heardAt.delete(node)) return false;
    if (this.#silent.size >= this.#most) this.#silent.delete(this.#silent.keys().next().value!);
    this.#silent.add(node);
    return true;
  }

  /** Takes back the silence: who listens has been away. */
  excuse(now: number): void {
    for (const node of this.#heardAt.keys()) this.#heardAt.set(node, now);
  }

  /** Looks at the time. */
  look(now: number): Silence {
    const { heartbeat, deadAfter } = this.#times;
    const quiet: string[] = [];
    const gone: string[] = [];
    for (const [node, heardAt] of this.#heardAt) {
      if (now - heardAt >= deadAfter) gone.push(node);
      else if (now - heardAt >= 1.5 * heartbeat) quiet.push(node);
    }
    for (const node of gone) this.lost(node);
    return { quiet, gone };
  }
}
