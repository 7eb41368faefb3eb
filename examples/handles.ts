/**
 * Handles that are unique in a cluster.
 *
 * @module
 */
import { type Cluster, NameTakenError, type Registration } from "../cluster.ts";
import { CallError, Tasklet } from "../mod.ts";

/** The handles that this server has. */
export class Handles {
  readonly #cluster: Pick<Cluster, "register">;
  readonly #nameOf: (handle: string) => string;
  readonly #claims = new Map<string, Registration>();
  readonly #unclaimed = new Map<string, [task: Tasklet, lose: () => void]>(); // until the cluster is back

  /** Creates an empty list of handles, which in `cluster` have the names that `nameOf` tells. */
  constructor(cluster: Pick<Cluster, "register">, nameOf: (handle: string) => string) {
    this.#cluster = cluster;
    this.#nameOf = nameOf;
  }

  /**
   * Takes a handle for the running tasklet: whether it was free. Without a connection it counts as that.
   *
   * @param lose Called when somebody else turns out to have it.
   */
  take(handle: string, lose: () => void): Promise<boolean> {
    return this.#take(handle, Tasklet.current()!, lose);
  }

  async #take(handle: string, task: Tasklet, lose: () => void): Promise<boolean> {
    try {
      this.#claims.set(handle, await this.#cluster.register(this.#nameOf(handle), task, { onLost: lose }));
    } catch (error) {
      if (error instanceof NameTakenError) return false;
      if (!(error instanceof CallError) || error.reason !== "disconnected") throw error;
      this.#unclaimed.set(handle, [task, lose]); // those who are cut off go on among themselves
    }
    return true;
  }

  /** Gives a handle back. */
  leave(handle: string): void {
    this.#unclaimed.delete(handle);
    void this.#claims.get(handle)?.unregister();
    this.#claims.delete(handle);
  }

  /** Takes what was taken without a connection. */
  async reclaim(): Promise<void> {
    for (const [handle, [task, lose]] of this.#unclaimed) {
      this.#unclaimed.delete(handle);
      if (!await this.#take(handle, task, lose)) lose();
    }
  }
}
