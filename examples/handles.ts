/**
 * Handles that are unique in a cluster.
 *
 * @module
 */
import { type Cluster, NameTakenError, type Registration } from "../cluster.ts";
import { CallError, Tasklet } from "../mod.ts";

/** Who has a handle. */
interface Holder {
  readonly task: Tasklet;
  /** Called when somebody else turns out to have it. */
  readonly lose: () => void;
  /** The name in the cluster; none before there was a connection. */
  claim?: Registration;
}

/** The handles that this server has. */
export class Handles {
  readonly #cluster: Pick<Cluster, "register">;
  readonly #nameOf: (handle: string) => string;
  readonly #holders = new Map<string, Holder>(); // by handle

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
  async take(handle: string, lose: () => void): Promise<boolean> {
    const holder = { task: Tasklet.current()!, lose };
    const isFree = await this.#claim(handle, holder);
    if (isFree) this.#holders.set(handle, holder);
    return isFree;
  }

  // Whether nobody else has it, as far as can be known.
  async #claim(handle: string, holder: Holder): Promise<boolean> {
    const { task, lose } = holder;
    try {
      holder.claim = await this.#cluster.register(this.#nameOf(handle), task, { onLost: lose });
    } catch (error) {
      if (error instanceof NameTakenError) return false;
      // Those who are cut off go on among themselves; and who has gone meanwhile needs no handle any more.
      const isCutOff = error instanceof CallError && error.reason === "disconnected";
      if (!isCutOff && task.alive) throw error;
    }
    return true;
  }

  /** Gives a handle back. */
  leave(handle: string): void {
    void this.#holders.get(handle)?.claim?.unregister();
    this.#holders.delete(handle);
  }

  /** Claims what was taken without a connection. */
  async reclaim(): Promise<void> {
    const unclaimed = [...this.#holders].filter(([, { claim }]) => claim === undefined);
    for (const [handle, holder] of unclaimed) {
      if (this.#holders.get(handle) !== holder) continue;
      const isOurs = await this.#claim(handle, holder);
      if (this.#holders.get(handle) !== holder) void holder.claim?.unregister(); // it was given back meanwhile
      else if (!isOurs) holder.lose();
    }
  }
}
