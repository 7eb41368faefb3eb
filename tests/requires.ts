/**
 * Tests that need tools of the operating system.
 *
 * @module
 */

/**
 * Options of a test that needs tools of the operating system. Where one is missing the test is skipped and says so;
 * in CI it runs, and fails.
 */
export function requires(...tools: string[]): { ignore: boolean } {
  const missing = tools.filter((tool) => !isInstalled(tool));
  if (missing.length === 0 || Deno.env.has("CI")) return { ignore: false };
  console.log(`Skipping a test: it needs ${missing.join(" and ")}`);
  return { ignore: true };
}

function isInstalled(tool: string): boolean {
  return (Deno.env.get("PATH") ?? "").split(":").some((folder) => {
    try {
      return Deno.statSync(`${folder}/${tool}`).isFile;
    } catch {
      return false;
    }
  });
}
