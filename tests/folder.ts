/**
 * A folder for one test.
 *
 * @module
 */

/** A folder that is there until disposed. */
export interface Folder extends AsyncDisposable {
  /** Where it is. */
  readonly path: string;
}

/** Makes a folder with files in it, by name. */
export async function makeFolder(files: Readonly<Record<string, string>> = {}): Promise<Folder> {
  const path = await Deno.makeTempDir();
  for (const [name, text] of Object.entries(files)) await Deno.writeTextFile(`${path}/${name}`, text);
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}
