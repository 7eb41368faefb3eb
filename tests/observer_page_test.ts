import { assert, assertEquals } from "@std/assert";
import { type Browser, chromium, type Page } from "playwright-core";
import { Message, Tasklet } from "../mod.ts";
import { Observer } from "../observer.ts";
import { virtualTime } from "../testing.ts";
import { start } from "./program.ts";
import { requires } from "./requires.ts";
import { catchReports } from "./reports.ts";

class MSG_A extends Message("MSG_A") {}
class MSG_ASK extends Message("MSG_ASK")<[n: number], number> {}

// The browser keeps pipes and timers of its own in this process until it has gone.
const BROWSER = { ...requires("chromium"), timeout: 60_000, sanitizeOps: false, sanitizeResources: false };

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-background-networking",
  "--disable-component-update",
  "--host-resolver-rules=MAP evil.example 127.0.0.1",
];

// Starting it takes longer than most tests do, so that all share it.
let started: Promise<Browser> | undefined;
Deno.test.afterAll(async () => await (await started)?.close());

/** Tests with the browser. The pages that are opened in it are closed at the end. */
function test(name: string, body: (browser: Browser) => Promise<void>): void {
  Deno.test(name, BROWSER, async () => {
    const browser = await (started ??= chromium.launch({ executablePath: "/usr/bin/chromium", args: FLAGS }));
    try {
      await body(browser);
    } finally {
      for (const context of browser.contexts()) await context.close();
    }
  });
}

/** The page of an observer. Whatever it says on its console is kept. */
async function open(browser: Browser, url: string, options: object = {}): Promise<Page & { log: string[] }> {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, ...options });
  const log: string[] = [];
  page.on("console", (message) => log.push(message.text()));
  page.on("pageerror", (error) => log.push(error.message));
  page.on("dialog", (dialog) => log.push(dialog.message()) && void dialog.dismiss());
  await page.goto(url);
  await page.locator("#state", { hasText: "live" }).waitFor();
  return Object.assign(page, { log });
}

function row(page: Page, name: string) {
  return page.locator(".row:not([hidden])", { hasText: name });
}

/** What is seen of the rows: their names, in order. */
function names(page: Page): Promise<string[]> {
  return page.locator(".row:not([hidden])").evaluateAll((all) =>
    (all as unknown as { style: { transform: string }; querySelector(s: string): { textContent: string } }[])
      .toSorted((a, b) => parseInt(a.style.transform.slice(11)) - parseInt(b.style.transform.slice(11)))
      .map((each) => each.querySelector(".name").textContent)
  );
}

/** Waits until these are seen: rows are painted some time after what changed them. */
async function shows(page: Page, expected: readonly string[]): Promise<void> {
  const end = performance.now() + 10_000;
  let seen = await names(page);
  while (`${seen}` !== `${expected}` && performance.now() < end) {
    await page.evaluate(`new Promise(requestAnimationFrame)`);
    seen = await names(page);
  }
  assertEquals(seen, expected);
}

function parked(name: string, options: object = {}): Tasklet<void> {
  return Tasklet.new(async () => {
    await Tasklet.suspend(() => {}, { what: "for ever" });
  }, { name, ...options })();
}

test("The page shows tasklets as they come and go, each below its parent", async (browser) => {
  await using observer = Observer.serve({ port: 0, title: "a test" });
  const page = await open(browser, observer.url);
  const parent = Tasklet.new(async () => {
    parked("child");
    await Tasklet.sleep(60_000);
  }, { name: "parent" })();
  const other = parked("other");
  await row(page, "other").waitFor();
  await shows(page, ["parent", "child", "other"]);
  assertEquals(await page.title(), "a test");
  assertEquals(await row(page, "child").getAttribute("aria-level"), "2");
  assertEquals(await row(page, "child").locator(".what").textContent(), "waiting for ever");

  await other.kill();
  await page.locator('.row[data-status="killed"]', { hasText: "other" }).waitFor(); // it lingers
  await page.locator("#ended").uncheck();
  await row(page, "other").waitFor({ state: "hidden" });
  await page.locator("#ended").check();

  await page.locator("#pause").click();
  const late = parked("late");
  await page.locator("#state", { hasText: "paused" }).waitFor();
  assertEquals(await row(page, "late").count(), 0);
  await page.locator("#pause").click();
  await row(page, "late").waitFor();
  await Promise.all([parent.kill(), late.kill()]);

  await observer.close();
  await page.locator("#banner", { hasText: "connection is lost" }).waitFor();
  assertEquals(
    page.log.filter((line) => !line.includes("ERR_CONNECTION_REFUSED") && !line.includes("ERR_")),
    [],
  );
});

test("The page warns of a mailbox that grows, and leads to it", async (browser) => {
  await using time = virtualTime();
  await using observer = Observer.serve({ port: 0 });
  const page = await open(browser, observer.url);
  const reader = parked("slow reader");
  for (let second = 0; second <= 8; second++) {
    for (let i = 0; i < 10; i++) MSG_A.send(reader)();
    await time.advance(1000);
    await (await fetch(new URL("/healthz", observer.url))).text(); // the observer has its turn
    await (await fetch(new URL("/metrics", observer.url))).text(); // ... and looks
  }
  const warning = page.locator("#warning-list li", { hasText: "mailbox of slow reader" });
  await warning.waitFor();
  assert(
    /has grown for \d+ s, to 90: slow reader#\d+ has taken no message/.test((await warning.textContent())!),
  );
  await warning.getByRole("button").click();
  await page.locator("#detail h2", { hasText: "slow reader" }).waitFor();
  await reader.kill();
  await warning.waitFor({ state: "hidden" });
});

test("The page filters, sorts, and shows detail: messages, errors with causes, a diagram", async (browser) => {
  using _ = catchReports();
  await using observer = Observer.serve({ port: 0, sites: true });
  const page = await open(browser, observer.url);
  const server = Tasklet.new(async () => {
    for await (const msg of Tasklet.receive([MSG_ASK])) if (msg.match(MSG_ASK)) msg.reply(msg.args[0]);
  }, { name: "server" })();
  const caller = Tasklet.new(async () => {
    await MSG_ASK.call(server)(1);
    await Tasklet.sleep(60_000);
  }, { name: "caller" })();
  const busy = parked("busy");
  for (let i = 0; i < 3; i++) MSG_A.send(busy)();
  Tasklet.new(() => {
    throw new Error("Cannot print", { cause: new RangeError("no page 7") });
  }, { name: "printer" })();
  await row(page, "printer").waitFor();

  await page.locator("#filter").fill("SERV");
  await row(page, "busy").waitFor({ state: "hidden" });
  await shows(page, ["server"]);
  await page.locator("#filter").fill("no such");
  await page.locator("#nothing").waitFor();
  await page.locator("#filter").fill("");

  await page.locator("#view-table").click();
  await page.locator("[data-key=length] button").click();
  await page.waitForFunction(`document.querySelector("[data-key=length]").ariaSort === "descending"`);
  await page.locator('.row[aria-rowindex="2"]', { hasText: "busy" }).waitFor();
  await page.locator("[data-key=name] button").click();
  await page.waitForFunction(`document.querySelector("[data-key=name]").ariaSort === "ascending"`);
  await shows(page, ["busy", "caller", "printer", "server"]);

  await row(page, "printer").click();
  await page.locator("#detail .cause").nth(1).waitFor();
  assertEquals(await page.locator("#detail .cause p").allTextContents(), [
    "Error: Cannot print",
    "because of RangeError: no page 7",
  ]);
  await row(page, "server").click();
  await page.locator("#detail .letters li").nth(1).waitFor();
  const letters = await page.locator("#detail .letters .body").allTextContents();
  assertEquals(letters, [`MSG_ASK reply to ${caller}`, `MSG_ASK from ${caller}`]);
  assertEquals(await page.locator("#detail svg .arrow").count(), 2);
  assert((await page.locator("#detail details pre").textContent())!.startsWith("sequenceDiagram\n"));
  assert((await page.locator("#detail > pre").textContent())!.includes("observer_page_test.ts"));
  await Promise.all([server.kill(), caller.kill(), busy.kill()]);
  assertEquals(page.log, []);
});

test("The page is used by keys alone, and tells where they are", async (browser) => {
  await using observer = Observer.serve({ port: 0 });
  const page = await open(browser, observer.url);
  const parent = Tasklet.new(async () => {
    parked("child");
    await Tasklet.sleep(60_000);
  }, { name: "parent" })();
  await row(page, "child").waitFor();
  const active = () =>
    page.evaluate(
      `document.getElementById(document.getElementById("rows").getAttribute("aria-activedescendant")).querySelector(".name").textContent`,
    );
  await page.keyboard.press("/");
  await page.keyboard.type("child");
  await page.keyboard.press("Escape"); // back to the rows
  await page.keyboard.press("ArrowDown");
  const seen: unknown[] = [await active()];
  await page.keyboard.press("ArrowDown");
  seen.push(await active());
  await page.keyboard.press("Enter");
  await page.locator("#detail h2", { hasText: "child" }).waitFor();
  await page.keyboard.press(" ");
  await page.locator("#detail button", { hasText: "Take out of the diagram" }).waitFor();
  await page.keyboard.press("Escape");
  await page.locator("#detail").waitFor({ state: "hidden" });
  await page.locator("#filter").fill("");
  await page.locator("#rows").focus();
  await page.keyboard.press("Home");
  await page.keyboard.press("ArrowLeft");
  await row(page, "child").waitFor({ state: "hidden" });
  seen.push(await row(page, "parent").getAttribute("aria-expanded"));
  await page.keyboard.press("p");
  seen.push(await page.locator("#pause").getAttribute("aria-pressed"));
  assertEquals(seen, ["parent", "child", "false", "true"]);
  await parent.kill();
});

test("The page is dark where people want it so, and fits a phone", async (browser) => {
  await using observer = Observer.serve({ port: 0 });
  const task = parked("a tasklet with a name that is much longer than a phone is wide, and then some");
  const lights: number[] = [];
  for (const colorScheme of ["light", "dark"]) {
    const page = await open(browser, observer.url, { colorScheme, viewport: { width: 360, height: 740 } });
    await row(page, "a tasklet").waitFor();
    const [width, ground, ink] = await page.evaluate(
      `[document.documentElement.scrollWidth, getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]`,
    ) as [number, string, string];
    assertEquals(width, 360);
    lights.push(lightness(ground), lightness(ink));
  }
  const [ground, ink, darkGround, darkInk] = lights as [number, number, number, number];
  assert(ground > 0.9 && ink < 0.25 && darkGround < 0.15 && darkInk > 0.75, `${lights}`);
  await task.kill();
});

function lightness(color: string): number {
  const parts = color.match(/\d+/g)!.slice(0, 3).map(Number);
  return parts.reduce((a, b) => a + b) / 3 / 255;
}

test("A name with markup and controls stays text", async (browser) => {
  await using observer = Observer.serve({ port: 0, title: "<b>title</b>" });
  const page = await open(browser, observer.url);
  const evil = parked(`<script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m\u202Eevil`);
  await row(page, "evil").click();
  await page.locator("#detail h2", { hasText: "evil" }).waitFor();
  await page.locator("#detail h3", { hasText: "Created" }).waitFor();
  const name = `<script>alert(1)</script><img src=x onerror=alert(2)>\u241b[31m\ufffdevil`;
  assertEquals(await row(page, "evil").locator(".name").textContent(), name);
  assertEquals(await page.locator("#detail h2").textContent(), `${name}#${evil.id}`);
  assertEquals(await page.locator("h1").textContent(), "<b>title</b>");
  assertEquals([
    await page.locator("script").count(),
    await page.locator("#rows img, #detail img, b").count(),
  ], [1, 0]);
  await evil.kill();
  assertEquals(page.log, []);
});

test("A page from elsewhere cannot read the observer, nor can one whose name leads here", async (browser) => {
  await using observer = Observer.serve({ port: 0 });
  await using elsewhere = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    () =>
      new Response("<!doctype html><title>elsewhere</title>", { headers: { "content-type": "text/html" } }),
  );
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${elsewhere.addr.port}/`);
  const read = (url: string) => page.evaluate(`fetch("${url}").then((r) => r.text(), (e) => e.name)`);
  assertEquals(await read(`${observer.url}snapshot.json`), "TypeError");
  const opaque = await page.evaluate(
    `fetch("${observer.url}snapshot.json", { mode: "no-cors" }).then((r) => r.text(), (e) => e.name)`,
  );
  assertEquals(opaque, "TypeError");
  const rebound = await page.goto(`http://evil.example:${observer.port}/snapshot.json`);
  assertEquals([rebound!.status(), await rebound!.text()], [403, "This host name is not served here\n"]);
});

test("Ten thousand tasklets cost the page no more than those that are seen", async (browser) => {
  const tasks = Array.from({ length: 10_000 }, (_, i) => parked(`task ${i}`));
  await using observer = Observer.serve({ port: 0 });
  const page = await open(browser, observer.url);
  await page.locator("#count", { hasText: "10000 tasklets" }).waitFor();
  await page.locator("#rows").focus();
  await page.keyboard.press("End");
  await row(page, "task 9999").waitFor();
  assert(await page.locator(".row").count() < 60);
  assertEquals(await page.locator("#rows").getAttribute("aria-rowcount"), "10001");
  await page.locator("#filter").fill("task 4321");
  await row(page, "task 4321").waitFor();
  await shows(page, ["task 4321"]);
  await Promise.all(tasks.map((task) => task.kill()));
  assertEquals(page.log, []);
});

test("What is wrong in the troubled program is named within ten seconds", async (browser) => {
  const allow = ["--no-prompt", "--allow-net=localhost"];
  await using program = start("examples/troubled.ts", ["--observe", "0"], allow);
  const [url] = /http:\S+/.exec((await program.error())!)!;
  const page = await open(browser, url);
  // In real time, as whoever runs it sees it: a mailbox must have grown for some seconds.
  const warnings = page.locator("#warning-list li");
  for (
    const words of [
      /^Deadlock: left#\d+ waits for right#\d+ waits for left#\d+$/,
      /^Leak of tasklets\? \d+ "forgotten" of leaky#\d+ live/,
      /^The mailbox of reader#\d+ has grown for \d+ s, to \d+: .* waits for a promise$/,
      /^The event loop was blocked for \d+ ms, it seems by cruncher#\d+/,
      /^printer#\d+ failed: Error: Cannot print the book$/,
    ]
  ) await warnings.filter({ hasText: words }).waitFor({ timeout: 10_000 });
  program.signal("SIGTERM");
});
