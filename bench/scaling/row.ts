/**
 * A row of the scaling table: a load of any size.
 *
 * @module
 */
import process from "node:process";

/** What is done `n` times over, or with `n` of something. */
export interface Row {
  /** What `--only` calls it. */
  readonly name: string;
  /** What it is, for people; it goes on from "n". */
  readonly about: string;
  /** The smaller size. */
  readonly n: number;
  /** Does it, and gives what {@linkcode time} says of it, without what had to be prepared. */
  readonly cost: (n: number) => Promise<number>;
}

/**
 * The milliseconds of the processor that `work` takes. Nothing here waits, so on a quiet machine they are those of the
 * clock; on a busy one, those that other programs take are not counted.
 */
export async function time(work: () => unknown): Promise<number> {
  const start = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1000;
}
