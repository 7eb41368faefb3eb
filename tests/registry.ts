/**
 * This package as JSR would serve it, on loopback: the files that `deno publish` would send.
 *
 * The `@std` packages of `std/` come along, so that nothing is needed but the npm registry, or its cache.
 *
 * @module
 */
import { Program, ROOT } from "./program.ts";

/** What of a `deno.json` matters here. */
interface Config {
  readonly name: string;
  readonly version: string;
  readonly exports: string | Readonly<Record<string, string>>;
  readonly imports?: Readonly<Record<string, string>>;
}

/** A registry on loopback. */
export interface Registry extends AsyncDisposable {
  /** Its address, for `JSR_URL`. */
  readonly url: string;
  /** The paths that were asked for and are not there. */
  readonly missing: readonly string[];
}

/** Serves this package, and those of `std/`, until disposed. */
export async function serveRegistry(): Promise<Registry> {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  await addPackage(files, ROOT, await publishedFiles());
  for (const name of ["cli", "streams"]) {
    const folder = new URL(`std/${name}/`, ROOT);
    const entries = await Array.fromAsync(Deno.readDir(folder));
    await addPackage(files, folder, entries.filter(({ isFile }) => isFile).map(({ name }) => name));
  }
  const missing: string[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const { pathname } = new URL(request.url);
    const file = files.get(pathname);
    if (file !== undefined) return new Response(file, { headers: { "content-type": typeOf(pathname) } });
    missing.push(pathname);
    return new Response(`There is no ${pathname}`, { status: 404 });
  });
  return {
    url: `http://127.0.0.1:${server.addr.port}/`,
    missing,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** What `deno publish` would send, by path. */
export async function publishedFiles(): Promise<string[]> {
  const args = ["publish", "--dry-run", "--allow-dirty", "--no-check"];
  await using program = new Program(Deno.execPath(), args);
  const { code, lines, stderr } = await program.end();
  const told = lines.join("\n") + stderr;
  const paths = [...told.matchAll(/^\s+(file:\/\/\S+) \([\d.]+\w+\)$/gm)].map(([, url]) =>
    url!.slice(ROOT.href.length)
  );
  if (code !== 0 || paths.length === 0) throw new Error(`Cannot tell what would be published: ${told}`);
  return paths;
}

async function addPackage(
  files: Map<string, Uint8Array<ArrayBuffer>>,
  folder: URL,
  paths: readonly string[],
): Promise<void> {
  const config: Config = JSON.parse(await Deno.readTextFile(new URL("deno.json", folder)));
  const { name, version } = config;
  const manifest: Record<string, { size: number; checksum: string }> = {};
  for (const path of paths) {
    const source = await Deno.readFile(new URL(path, folder));
    const file = /\.ts$/.test(path) ? unfold(source, config.imports ?? {}) : source;
    files.set(`/${name}/${version}/${path}`, file);
    manifest[`/${path}`] = { size: file.length, checksum: await checksum(file) };
  }
  const exports = typeof config.exports === "string" ? { ".": config.exports } : config.exports;
  const [scope, base] = name.slice(1).split("/");
  files.set(`/${name}/meta.json`, json({ scope, name: base, latest: version, versions: { [version]: {} } }));
  files.set(`/${name}/${version}_meta.json`, json({ manifest, exports }));
}

// Publishing replaces the names of the import map by what they stand for.
function unfold(source: Uint8Array, imports: Readonly<Record<string, string>>): Uint8Array<ArrayBuffer> {
  const text = new TextDecoder().decode(source);
  return new TextEncoder().encode(
    text.replaceAll(/(\bfrom\s*|\bimport\s*)"([^".][^"]*)"/g, (all, how, what) => {
      const found = Object.entries(imports).find(([name]) => what === name || what.startsWith(`${name}/`));
      return found === undefined ? all : `${how}"${found[1]}${what.slice(found[0].length)}"`;
    }),
  );
}

async function checksum(file: Uint8Array<ArrayBuffer>): Promise<string> {
  return `sha256-${new Uint8Array(await crypto.subtle.digest("SHA-256", file)).toHex()}`;
}

function json(value: unknown): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(value));
}

function typeOf(path: string): string {
  return path.endsWith(".json") ? "application/json" : "application/typescript";
}
