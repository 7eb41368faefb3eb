/**
 * Makes `docs/observer.png`: the page of the observer with the troubled program, as README shows it.
 *
 *     deno task picture
 *
 * Needs Debian's chromium.
 *
 * @module
 */
import { chromium } from "playwright-core";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-background-networking",
  "--disable-component-update",
];
const PORT = 9999;

const program = new Deno.Command(Deno.execPath(), {
  args: ["run", "--allow-net", "examples/troubled.ts", "--observe", `${PORT}`],
  stdout: "null",
  stderr: "null",
}).spawn();
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: FLAGS });
try {
  const page = await browser.newPage({ viewport: { width: 1180, height: 720 }, reducedMotion: "reduce" });
  while (!await page.goto(`http://localhost:${PORT}/`).then(() => true, () => false)) {
    await page.waitForTimeout(100);
  }
  const trouble = page.locator("#warning-list li");
  for (const words of ["Deadlock", "Leak", "mailbox of reader", "blocked"]) {
    await trouble.filter({ hasText: words }).waitFor({ timeout: 20_000 });
  }
  await trouble.filter({ hasText: "Deadlock" }).getByRole("button").click();
  await page.locator(".diagram svg").waitFor();
  await page.mouse.move(0, 0);
  await page.screenshot({ path: "docs/observer.png" });
} finally {
  await browser.close();
  program.kill("SIGTERM");
  await program.status;
}
