/**
 * Cores: the server gets one, whoever loads it another, so that neither takes time from the other.
 *
 * Where `taskset` or a second core is missing, both share what there is; ratios then say less.
 *
 * @module
 */
import { allowedCores } from "./proc.ts";

/** Which cores are used; `undefined` if the operating system decides. */
export interface Cores {
  /** For the server. */
  readonly server: string | undefined;
  /** For the load. */
  readonly load: string | undefined;
}

/** Picks two of the cores that this process may use. */
export function pickCores(): Cores {
  const [server, load] = allowedCores();
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
