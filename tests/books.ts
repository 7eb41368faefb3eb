/**
 * A pool of numbers that keeps books.
 *
 * @module
 */
import { Pool, type PoolOptions } from "../pool.ts";
import { Tasklet } from "../tasklet.ts";

/** What is opened and closed, how slowly, and who is told. */
export interface Books extends Omit<PoolOptions<number>, "open" | "close"> {
  /** How long opening, checking and closing take. */
  openFor?: number;
  checkFor?: number;
  closeFor?: number;
  /** Called with each resource that is about to have been opened or closed. */
  opened?: (n: number) => void;
  closed?: (n: number) => void;
}

/** A pool of numbers, from 1 on, and what happened to them; with the time, if there is one to read. */
export function books(
  { openFor, checkFor, closeFor, opened, closed, ...options }: Books = {},
  time: { now: number } | null = null,
): { pool: Pool<number>; log: unknown[] } {
  const log: unknown[] = [];
  let count = 0;
  const note = (what: string, n: number) => log.push(`${what} ${n}${time === null ? "" : ` at ${time.now}`}`);
  const pool = new Pool<number>({
    check: checkFor === undefined ? undefined : () => Tasklet.sleep(checkFor).then(() => true),
    ...options,
    open: async () => {
      const n = ++count;
      if (openFor !== undefined) await Tasklet.sleep(openFor);
      opened?.(n);
      note("open", n);
      return n;
    },
    close: async (n) => {
      if (closeFor !== undefined) await Tasklet.sleep(closeFor);
      note("close", n);
      closed?.(n);
    },
  });
  return { pool, log };
}
