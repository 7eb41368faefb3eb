/**
 * How a program joins a cluster, stays in it, and leaves it.
 *
 * Programs load it when they are told to, and not before. Each goes on alone when it has lost the others, and says so on
 * stderr: one line when they are lost, one when they are back.
 *
 * @module
 */
import { type BorderClass, Cluster, type NatsOptions, type StandardSchema } from "../cluster.ts";
import { printable, Tasklet } from "../mod.ts";
import { CannotStartError } from "./cli.ts";

/** A schema of arguments that are all texts. */
export const TEXTS: StandardSchema<string[]> = {
  "~standard": {
    version: 1,
    vendor: "concurrence",
    validate: (value) =>
      Array.isArray(value) && value.length > 0 && value.every((each) => typeof each === "string")
        ? { value }
        : { issues: [{ message: "texts are wanted" }] },
  },
};

/** Joins a cluster, and stays in it until the program ends; says on stderr when it is lost and back. */
export async function enter<C extends BorderClass>(
  program: string,
  servers: string,
  credentials: string | undefined,
  messages: readonly C[],
): Promise<Cluster<InstanceType<C>>> {
  const cluster = await Cluster.connect({ servers, messages, ...await loginOf(credentials) });
  const events = cluster.events();
  // A daemon ends after all others, which may have something to say at their end.
  Tasklet.new(async function stay() {
    try {
      for await (const event of events) {
        if (event.type === "disconnected") console.error(`${program}: lost the cluster, going on alone`);
        else if (event.type === "connected") {
          console.error(`${program}: back in the cluster, at ${event.server}`);
        } else if (event.type === "error") console.error(`${program}: ${printable(event.error.message)}`);
      }
    } finally {
      await cluster.close();
    }
  }, { daemon: true })();
  return cluster;
}

async function loginOf(file: string | undefined): Promise<Partial<NatsOptions>> {
  if (file === undefined) return {};
  const creds = await Deno.readTextFile(file).catch((error) => {
    throw new CannotStartError(`Cannot read ${file}: ${error.message}`, { cause: error });
  });
  if (creds.includes("-----BEGIN NATS USER JWT-----")) return { creds };
  const text = creds.trim();
  const colon = text.indexOf(":");
  return colon < 0 ? { token: text } : { user: text.slice(0, colon), pass: text.slice(colon + 1) };
}
