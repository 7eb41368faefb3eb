/**
 * Cores: the server gets one, whoever loads it another, so that neither takes time from the other.
 *
 * Where `taskset` or a second core is missing, both share what there is; ratios then say less.
 *
 * @module
 */

/** Which cores are used; `undefined` if the operating system decides. */
export interface Cores {
  /** For the server. */
  readonly server: string | undefined;
  /** For the load. */
  readonly load: string | undefined;
}

/** Picks two of the cores that this process may use. */
export function pickCores(): Cores {
  const [server, load] = allowed();
  if (server === undefined || load === undefined || !canPin(load)) {
    return { server: undefined, load: undefined };
  }
  return { server, load };
}

/** What has to stand before a command so that it runs on `core`. */
export function onCore(core: string | undefined): readonly string[] {
  return core === undefined ? [] : ["taskset", "-c", core];
}

// Moves this process, too, which is how we know that it can be done.
function canPin(core: string): boolean {
  try {
    const args = ["-a", "-c", "-p", core, String(Deno.pid)];
    return new Deno.Command("taskset", { args, stdout: "null", stderr: "null" }).outputSync().success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

// `0-3,6`, as Linux tells it.
function allowed(): string[] {
  const list = statusLine("self", "Cpus_allowed_list") ?? "";
  return list.split(",").flatMap((part) => {
    const [first, last = first] = part.split("-").map(Number);
    return Array.from({ length: last! - first! + 1 }, (_, i) => String(first! + i));
  });
}

/** What `/proc/PID/status` says of `key`; `undefined` where there is no such file. */
export function statusLine(pid: number | "self", key: string): string | undefined {
  try {
    const text = Deno.readTextFileSync(`/proc/${pid}/status`);
    return text.split("\n").find((line) => line.startsWith(`${key}:`))?.slice(key.length + 1).trim();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
