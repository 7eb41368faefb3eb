/**
 * What Linux tells about processes in `/proc`. Elsewhere, and of a process that has ended, all figures are `NaN`.
 *
 * @module
 */

const TICK = 1e7; // nanoseconds in which Linux counts the time of all programs

/** How long the threads of a process have run, those that have ended included. */
export class CpuTime {
  readonly #pid: number;
  readonly #byThread = new Map<string, number>();

  /** Looks at the process `pid`. */
  constructor(pid: number) {
    this.#pid = pid;
  }

  /** Nanoseconds so far. */
  get now(): number {
    for (const thread of list(`/proc/${this.#pid}/task`) ?? []) {
      const text = read(`/proc/${this.#pid}/task/${thread}/schedstat`);
      if (text !== undefined) this.#byThread.set(thread, Number(text.split(" ")[0]));
    }
    if (this.#byThread.size === 0) return NaN;
    return [...this.#byThread.values()].reduce((sum, ns) => sum + ns);
  }
}

/** Nanoseconds for which all programs of this machine have run so far, on all cores together. */
export function cpuTimeOfAll(): number {
  const [, user, nice, system] = (read("/proc/stat") ?? "").split(/\s+/, 4);
  return TICK * (Number(user) + Number(nice) + Number(system));
}

/** Bytes of memory that a process holds. */
export function rssOf(pid: number): number {
  return 1024 * parseInt(statusOf(pid, "VmRSS") ?? "");
}

/** How many descriptors a process has open. */
export function descriptorsOf(pid: number): number {
  return list(`/proc/${pid}/fd`)?.length ?? NaN;
}

/** The cores that this process may use. */
export function allowedCores(): string[] {
  const ranges = statusOf(Deno.pid, "Cpus_allowed_list")?.split(",") ?? []; // such as 0-3 and 6
  return ranges.flatMap((range) => {
    const [first, last = first] = range.split("-").map(Number);
    return Array.from({ length: last! - first! + 1 }, (_, i) => String(first! + i));
  });
}

function statusOf(pid: number, key: string): string | undefined {
  const line = read(`/proc/${pid}/status`)?.split("\n").find((line) => line.startsWith(`${key}:`));
  return line?.slice(key.length + 1).trim();
}

function read(path: string): string | undefined {
  return unlessGone(() => Deno.readTextFileSync(path));
}

function list(path: string): string[] | undefined {
  return unlessGone(() => [...Deno.readDirSync(path)].map(({ name }) => name));
}

// A process may end between two looks at it (ESRCH).
function unlessGone<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || (error as { code?: string }).code === "ESRCH") {
      return undefined;
    }
    throw error;
  }
}
