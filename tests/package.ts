/**
 * This package for Node and Bun: a tarball that `npm install` takes.
 *
 *     deno run -A tests/package.ts
 *
 * `deno pack` does the work, on a copy, because it leaves two things as they are that mean nothing elsewhere: names of
 * the import map, and the import of a `deno.json`.
 *
 * @module
 */
import config from "../deno.json" with { type: "json" };
import { ROOT } from "./program.ts";
import { publishedFiles } from "./registry.ts";

/** Packs this package into `file`. */
export async function pack(file: string): Promise<void> {
  const folder = new URL(`file://${await Deno.makeTempDir()}/`);
  try {
    const shims = await shimsOf(config.links);
    for (const path of await publishedFiles()) await copy(path, folder, shims);
    const { name, version, license, exports, unstable, compilerOptions } = config;
    await Deno.writeTextFile(new URL("about.json", folder), JSON.stringify({ version }));
    const ours = Object.entries(config.imports).filter(([name]) => /^@(opentelemetry|nats-io)\//.test(name));
    const imports = Object.fromEntries(ours);
    const copied = { name, version, license, exports, imports, unstable, compilerOptions };
    await Deno.writeTextFile(new URL("deno.json", folder), JSON.stringify(copied));
    const command = new Deno.Command(Deno.execPath(), {
      args: ["pack", "--quiet", "--no-source-maps", "--output", file],
      cwd: folder,
      env: { NO_COLOR: "1" },
    });
    const { code, stderr } = await command.output();
    if (code !== 0) throw new Error(`Cannot pack: ${new TextDecoder().decode(stderr)}`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The files that stand for the names of `@std`: what `links` makes of them here. */
async function shimsOf(links: readonly string[]): Promise<Map<string, string>> {
  const shims = new Map<string, string>();
  for (const link of links) {
    const folder = link.slice("./".length);
    const { name, exports } = JSON.parse(await Deno.readTextFile(new URL(`${folder}/deno.json`, ROOT)));
    for (const [entry, path] of Object.entries<string>(exports)) {
      shims.set(name + entry.slice(1), folder + path.slice(1));
    }
  }
  return shims;
}

async function copy(path: string, folder: URL, shims: ReadonlyMap<string, string>): Promise<void> {
  const target = new URL(path, folder);
  await Deno.mkdir(new URL(".", target), { recursive: true });
  if (!path.endsWith(".ts")) return await Deno.copyFile(new URL(path, ROOT), target);
  const up = "../".repeat(path.split("/").length - 1) || "./";
  const source = await Deno.readTextFile(new URL(path, ROOT));
  await Deno.writeTextFile(
    target,
    source.replaceAll(/(?<=\bfrom ")([^".][^"]*|\.\.\/deno\.json)(?=")/g, (name) => {
      if (name === "../deno.json") return "../about.json";
      const shim = shims.get(name);
      return shim === undefined ? name : up + shim;
    }),
  );
}

if (import.meta.main) {
  const file = `${Deno.cwd()}/${config.name.slice(1).replace("/", "-")}-${config.version}.tgz`;
  await pack(file);
  console.log(file);
}
