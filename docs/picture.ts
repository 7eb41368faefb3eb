/**
 * Makes `docs/observer.png`: the page of the observer with the troubled program, as README shows it.
 *
 *     deno task picture
 *
 * Needs Debian's chromium.
 *
 * @module
 */
import { TextLineStream } from "@std/streams";
import { chromium } from "playwright-core";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-background-networking",
  "--disable-component-update",
];

await using stack = new AsyncDisposableStack();
const program = new Deno.Command(Deno.execPath(), {
  args: ["run", "--allow-net", "examples/troubled.ts", "--observe", "0"],
  stdout: "null",
  stderr: "piped",
}).spawn();
stack.defer(async () => {
  program.kill("SIGKILL");
  await program.status;
});
const lines = program.stderr.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream())
  .getReader();
stack.defer(() => lines.cancel());
const { value: line = "nothing" } = await lines.read();
const url = line.match(/^observer: (.*)$/)?.[1];
if (url === undefined) throw new Error(`Cannot make the picture: the program said ${line}`);

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: FLAGS });
stack.defer(() => browser.close());
const page = await browser.newPage({ viewport: { width: 1180, height: 720 }, reducedMotion: "reduce" });
await page.goto(url);
const trouble = page.locator("#warning-list li");
for (const words of ["Deadlock", "Leak", "mailbox of reader", "blocked"]) {
  await trouble.filter({ hasText: words }).waitFor({ timeout: 20_000 });
}
await trouble.filter({ hasText: "Deadlock" }).getByRole("button").click();
await page.locator(".diagram svg").waitFor();
await page.mouse.move(0, 0);
await page.screenshot({ path: "docs/observer.png" });
