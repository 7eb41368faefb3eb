import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { connect } from "node:net";
import { once } from "node:events";
import { Message, Tasklet } from "../mod.ts";
import { Observer, type ObserverOptions } from "../observer.ts";
import { Account, type Letter, type Row, type Sample } from "../account.ts";
import { mermaid } from "../metrics.ts";
import { Feed } from "../feed.ts";
import { SCRIPT } from "../page_script.ts";
import { Watch } from "../warnings.ts";
import { ask as askSnapshot, plain, screen, type Snapshot } from "../examples/top.ts";
import { treeOf } from "../examples/seeing.ts";
import { virtualTime } from "../testing.ts";
import { client } from "./client.ts";
import { start } from "./program.ts";
import { catchReports } from "./reports.ts";
import { assertOneLine, outcome, testCommandLine, TIME } from "./servers.ts";

class MSG_A extends Message("MSG_A") {}
class MSG_ASK extends Message("MSG_ASK")<[n: number], number> {}

function serve(options: Partial<ObserverOptions> = {}): Observer {
  return Observer.serve({ port: 0, ...options });
}

async function get(observer: Observer, path: string): Promise<string> {
  const response = await fetch(new URL(path, observer.url));
  assertEquals(response.status, 200);
  return await response.text();
}

/** The first line of the answer to a request with these header lines, and its body. */
async function ask(observer: Observer, method: string, host: string, ...more: string[]): Promise<string> {
  const socket = connect(observer.port, "localhost");
  await once(socket, "connect");
  socket.write(
    [`${method} /snapshot.json HTTP/1.1`, `Host: ${host}`, ...more, "Connection: close", "", ""].join("\r\n"),
  );
  let text = "";
  for await (const chunk of socket) text += chunk;
  return text.split("\r\n")[0]!;
}

/* ------------------------------------------------- Observer: pages ----------------------------------------------- */

Deno.test("Observer serves its page, with nothing inline and nothing from elsewhere", TIME, async () => {
  await using observer = serve();
  const page = await get(observer, "/");
  assertEquals(page.match(/\son\w+=|style=|<style|<script>|https?:/g), null);
  for (
    const [path, type] of [
      ["/", "text/html"],
      ["/observer.js", "text/javascript"],
      ["/observer.css", "text/css"],
      ["/icon.svg", "image/svg+xml"],
      ["/snapshot.json", "application/json"],
      ["/metrics", "text/plain; version=0.0.4"],
      ["/healthz", "text/plain"],
    ] as const
  ) {
    const response = await fetch(new URL(path, observer.url));
    assert((await response.text()).length > 0);
    assertStringIncludes(response.headers.get("content-type")!, type);
    const policy = response.headers.get("content-security-policy")!;
    assertStringIncludes(policy, "default-src 'none'; script-src 'self'; style-src 'self'");
    assert(!policy.includes("unsafe"));
    assertEquals(
      [
        response.headers.get("x-content-type-options"),
        response.headers.get("cross-origin-resource-policy"),
        response.headers.get("access-control-allow-origin"),
      ],
      ["nosniff", "same-origin", null],
    );
  }
  const missing = await fetch(new URL("/nothing", observer.url));
  assertEquals([missing.status, (await missing.text()).length > 0], [404, true]);
});

Deno.test("The script of the page parses, and never makes markup of text", () => {
  new Function(SCRIPT);
  assertEquals(SCRIPT.match(/innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(/), null);
});

Deno.test("Observer Read-only: anything but GET and HEAD is refused", TIME, async () => {
  await using observer = serve();
  const host = `localhost:${observer.port}`;
  const statuses: string[] = [];
  for (const method of ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]) {
    statuses.push((await ask(observer, method, host)).split(" ")[1]!);
  }
  assertEquals(statuses, ["200", "200", "405", "405", "405", "405"]);
});

Deno.test(
  "Observer Closed: a foreign host name is refused, an own one and any address are not",
  TIME,
  async () => {
    await using observer = serve({ hosts: ["lab.example"] });
    const { port } = observer;
    const statusOf = async (...request: [host: string, ...more: string[]]) =>
      Number((await ask(observer, "GET", ...request)).split(" ")[1]);
    const statuses: Record<string, number> = {};
    for (
      const host of [
        `localhost:${port}`,
        `127.0.0.1:${port}`,
        `[::1]:${port}`,
        "lab.example",
        "evil.example",
        `localhost.evil.example:${port}`,
        `evil.example:${port}`,
        "127.0.0.1.evil.example",
      ]
    ) statuses[host.replace(`:${port}`, "")] = await statusOf(host);
    assertEquals(statuses, {
      "localhost": 200,
      "127.0.0.1": 200,
      "[::1]": 200,
      "lab.example": 200,
      "evil.example": 403,
      "localhost.evil.example": 403,
      "127.0.0.1.evil.example": 403,
    });
    assertEquals(await statusOf("localhost", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors"), 403);
    assertEquals(await statusOf("localhost", "Sec-Fetch-Site: same-origin"), 200);
  },
);

Deno.test("Observer at a port that is taken throws, names it, and leaves nothing behind", TIME, async () => {
  await using observer = serve();
  const error = assertThrows(() => serve({ port: observer.port }), Deno.errors.AddrInUse);
  assertStringIncludes(error.message, `localhost:${observer.port}`);
});

Deno.test("Observer.close() ends the streams of events, and is harmless twice", TIME, async () => {
  const observer = serve();
  const response = await fetch(new URL("/events", observer.url));
  const reader = response.body!.getReader();
  const { value } = await reader.read();
  assertMatch(new TextDecoder().decode(value), /^event: everything\ndata: \{.*"rows":\[.*\]\}\n\n/s);
  await observer.close();
  await observer.close();
  while (!(await reader.read()).done);
  await assertRejects(() => fetch(observer.url));
});

/* ------------------------------------------------- Observer: data ------------------------------------------------ */

Deno.test(
  "/snapshot.json has tasklets with their waits, mailboxes and counts, and those that have ended",
  TIME,
  async () => {
    using _ = catchReports();
    await using observer = serve({ title: "a test" });
    const task = Tasklet.new(async () => {
      for await (const msg of Tasklet.receive([MSG_ASK])) if (msg.match(MSG_ASK)) msg.reply(msg.args[0]);
    }, { name: "server", mailbox: { capacity: 2 } })();
    const broken = Tasklet.new(() => Promise.reject(new Error("no", { cause: new Error("why") })), {
      name: "broken",
    })();
    await MSG_ASK.call(task)(1);
    for (let i = 0; i < 3; i++) MSG_A.send(task)();
    await broken.join().catch(() => {});
    const seen = JSON.parse(await get(observer, "/snapshot.json"));
    const [server] = seen.tasklets;
    assertEquals(
      [
        seen.title,
        server.name,
        server.status,
        server.waits[0].what,
        server.mailbox.length,
        server.mailbox.capacity,
      ],
      ["a test", "server", "waiting", "for MSG_ASK", 2, 2],
    );
    assertEquals([server.mailbox.oldest.type, server.received, server.dropped], ["MSG_A", 1, 1]);
    assertEquals(seen.ended.map((row: Row) => [row.name, row.status, row.error]), [[
      "broken",
      "failed",
      "Error: no",
    ]]);
    assertEquals([seen.totals.sent, seen.totals.replied, seen.totals.ended.failed], [4, 1, 1]);
    assertEquals(seen.warnings.map(({ text }: { text: string }) => text), [`${broken} failed: Error: no`]);
    const detail = JSON.parse(await get(observer, `/tasklet.json?id=${broken.id}`));
    assertEquals(detail.errors.map(({ text }: { text: string }) => text), ["Error: no", "Error: why"]);
    await task.kill();
  },
);

Deno.test(
  "/tasklet.json has the last twenty messages, and where a tasklet was created if that is asked for",
  TIME,
  async () => {
    await using observer = serve({ sites: true });
    const task = Tasklet.new(async function task() {
      for await (const msg of Tasklet.receive()) if (msg.match(MSG_ASK)) msg.reply(1);
    })();
    for (let i = 0; i < 30; i++) MSG_A.send(task)();
    await MSG_ASK.call(task)(1);
    const { letters, site, sites } = JSON.parse(await get(observer, `/tasklet.json?id=${task.id}`));
    assertEquals(
      letters.map(({ type, kind }: Letter) => `${type} ${kind}`),
      [...Array(18).fill("MSG_A message"), "MSG_ASK message", "MSG_ASK reply"],
    );
    assertEquals([sites, site.length > 0], [true, true]);
    assertStringIncludes(site[0], "observer_test.ts");
    await task.kill();
  },
);

Deno.test("/sequence.json has the messages between chosen tasklets, and as Mermaid", TIME, async () => {
  await using observer = serve();
  const server = Tasklet.new(async () => {
    for await (const msg of Tasklet.receive()) if (msg.match(MSG_ASK)) msg.reply(msg.args[0]);
  }, { name: 'ser;ver\n"' })();
  const caller = Tasklet.new(async () => await MSG_ASK.call(server)(1), { name: "caller" })();
  await caller.join();
  MSG_A.send(server)(); // from outside, which was not chosen
  const { letters, mermaid } = JSON.parse(
    await get(observer, `/sequence.json?ids=${server.id},${caller.id}`),
  );
  assertEquals(letters.length, 2);
  const [s, c] = [server.id, caller.id];
  assertEquals(mermaid.split("\n"), [
    "sequenceDiagram",
    `  participant t${c} as caller#35;${c}`,
    `  participant t${s} as ser#59;ver#10;#34;#35;${s}`,
    `  t${c}->>t${s}: MSG_ASK`,
    `  t${s}-->>t${c}: MSG_ASK reply`,
    "",
  ]);
  await server.kill();
});

Deno.test("/metrics is what Prometheus reads", TIME, async () => {
  await using observer = serve();
  const task = Tasklet.new(async () => await Tasklet.suspend(() => {}))();
  await Tasklet.yield();
  MSG_A.send(task)();
  MSG_A.send(task)();
  const text = await get(observer, "/metrics");
  const lines = text.trimEnd().split("\n");
  for (const line of lines) {
    assertMatch(line, /^(# (HELP|TYPE) concurrence_\w+ .+|concurrence_\w+(\{\w+="\w+"\})? [\d.e+-]+)$/);
  }
  for (
    const line of [
      'concurrence_tasklets{status="waiting"} 1',
      "concurrence_tasklets_spawned_total 1",
      "concurrence_messages_sent_total 2",
      "concurrence_messages_received_total 0",
      "concurrence_mailbox_messages 2",
    ]
  ) assert(lines.includes(line), `${line} in ${text}`);
  await task.kill();
});

Deno.test("mermaid() has an arrow for each kind of message", () => {
  const [a, b] = [{ id: 1, name: "a" }, { id: 2, name: "b" }];
  const letters: Letter[] = [
    { order: 1, at: 0, type: "MSG_A", kind: "message", from: undefined, to: a },
    { order: 2, at: 1, type: "MSG_A", kind: "message", from: a, to: b, dropped: "refused" },
    { order: 3, at: 2, type: "MSG_A", kind: "failure", from: b, to: a },
  ];
  assertEquals(mermaid(letters).split("\n").slice(4), [
    "  outside->>t1: MSG_A",
    "  t1-xt2: MSG_A refused",
    "  t2-->>t1: MSG_A error",
    "",
  ]);
});

/* ---------------------------------------------------- warnings --------------------------------------------------- */

const NONE = { refused: 0, oldest: 0, finished: 0, deadlock: 0 };
const TOTALS = {
  tasklets: 0,
  spawned: 0,
  ended: { done: 0, failed: 0, killed: 0 },
  sent: 0,
  received: 0,
  replied: 0,
  failures: 0,
  dropped: NONE,
  queued: 0,
  lag: 0,
  heap: 0,
  memory: 0,
};

function row(id: number, name: string, more: Partial<Row> = {}): Row {
  const mailbox = { length: 0, capacity: Infinity, oldest: undefined };
  return {
    id,
    name,
    parent: undefined,
    status: "waiting",
    waits: [],
    mailbox,
    names: [],
    sent: 0,
    received: 0,
    dropped: 0,
    ...more,
  };
}

/** What is warned of at the end of samples taken at these times. */
function warnedOf(
  times: readonly number[],
  rows: (at: number) => Row[],
  more: Partial<Sample> = {},
): string[] {
  const watch = new Watch();
  let texts: string[] = [];
  for (const at of times) {
    texts = watch.look({ at, rows: rows(at), totals: TOTALS, blocks: [], cycles: [], ...more })
      .map(({ text }) => text);
  }
  return texts;
}

const TEN_SECONDS = Array.from({ length: 21 }, (_, i) => i * 500);
const mailbox = (length: number) => ({ length, capacity: Infinity, oldest: { type: "MSG_A", since: 0 } });

Deno.test("Watch warns of a mailbox that grows, for how long and to what", () => {
  const grown = warnedOf(
    TEN_SECONDS,
    (at) => [row(1, "slow", { mailbox: mailbox(1 + at / 100), received: at })],
  );
  assertEquals(grown, ["The mailbox of slow#1 has grown for 10 s, to 101; the oldest is MSG_A"]);
  const steady = warnedOf(TEN_SECONDS, (at) => [row(1, "busy", { mailbox: mailbox(100), received: at })]);
  const shrinking = warnedOf(
    TEN_SECONDS,
    (at) => [row(1, "busy", { mailbox: mailbox(900 - at / 50), received: at })],
  );
  const wave = warnedOf(
    TEN_SECONDS,
    (at) => [row(1, "busy", { mailbox: mailbox(10 + (at / 500 % 7) * 20), received: at })],
  );
  assertEquals([steady, shrinking, wave], [[], [], []]);
});

Deno.test("Watch warns of a reader that takes nothing, and tells what it does instead", () => {
  const waits = [{ what: "for a promise", since: 0, on: undefined }];
  assertEquals(warnedOf(TEN_SECONDS, () => [row(1, "reader", { mailbox: mailbox(3), waits })]), [
    "reader#1 has taken no message for 10 s, and waits for a promise; 3 messages wait, first MSG_A",
  ]);
});

Deno.test("Watch warns of a ring of tasklets that wait for each other, and of nobody who has another wait", () => {
  const waitsOn = (id: number) => [{ what: "", since: 0, on: id }];
  const ring = [
    row(1, "a", { waits: waitsOn(2) }),
    row(2, "b", { waits: waitsOn(3) }),
    row(3, "c", { waits: waitsOn(2) }),
  ];
  assertEquals(warnedOf([0], () => ring), ["Deadlock: b#2 waits for c#3 waits for b#2"]);
  const served = [ring[0]!, ring[1]!, row(3, "c", { waits: [...waitsOn(2), ...waitsOn(9)] })];
  assertEquals(warnedOf([0], () => served), []);
});

Deno.test("Watch warns of children that become ever more, and not of those that come and go", () => {
  const family = (count: number) =>
    Array.from({ length: count }, (_, i) => row(i + 2, "child", { parent: 1 }));
  assertEquals(warnedOf(TEN_SECONDS, (at) => [row(1, "parent"), ...family(2 + at / 100)]), [
    'Leak of tasklets? 102 "child" of parent#1 live: 100 more in 10 s, and never fewer',
  ]);
  assertEquals(warnedOf(TEN_SECONDS, (at) => [row(1, "parent"), ...family(50 + (at / 500 % 7) * 20)]), []);
});

Deno.test("Watch warns of a blocked event loop, refused calls and failures, for a while", () => {
  const by = { id: 7, name: "cruncher" };
  const more = {
    blocks: [{ at: 0, ms: 120, by }, { at: 1, ms: 300, by }, { at: 2, ms: 110, by: undefined }],
    cycles: [{ at: 0, names: "a#1 → b#2 → a#1", type: "MSG_ASK" }],
  };
  const rows = () => [row(3, "printer", { status: "failed", ended: 0, error: "Error: no" })];
  assertEquals(warnedOf([10], rows, more), [
    "A call of MSG_ASK was refused, because it would wait for itself: a#1 → b#2 → a#1",
    "The event loop was blocked for 300 ms, it seems by cruncher#7; 2 times lately",
    "The event loop was blocked for 110 ms",
    "printer#3 failed: Error: no",
  ]);
  assertEquals(warnedOf([60_000], rows, more), []);
});

/* ------------------------------------------------------ Feed ----------------------------------------------------- */

function sampleOf(at: number, rows: Row[]): Sample {
  return { at, rows, totals: TOTALS, blocks: [], cycles: [] };
}

/** Reads one event of a stream. */
async function next(
  reader: ReadableStreamDefaultReader<Uint8Array>,
): Promise<{ event: string; ids: number[]; gone?: number[] }> {
  const [first, second] = new TextDecoder().decode((await reader.read()).value).split("\n");
  const data = JSON.parse(second!.slice("data: ".length));
  return { event: first!.slice("event: ".length), ids: data.rows.map(({ id }: Row) => id), gone: data.gone };
}

Deno.test("Feed sends everything once, then what has changed and what has gone", async () => {
  const feed = new Feed();
  const [a, b] = [row(1, "a"), row(2, "b")];
  const reader = feed.open(sampleOf(0, [a, b]), [], "title").getReader();
  feed.send(sampleOf(1, [a, { ...b, sent: 1 }]), []);
  feed.send(sampleOf(2, [{ ...b, sent: 1 }]), []);
  assertEquals([await next(reader), await next(reader), await next(reader)], [
    { event: "everything", ids: [1, 2], gone: undefined },
    { event: "step", ids: [2], gone: [] },
    { event: "step", ids: [], gone: [1] },
  ] as never);
  await reader.cancel();
  assertEquals(feed.spectators, 0);
});

Deno.test("Observer Bounded: a step has at most a thousand rows, and each gets its turn", async () => {
  const feed = new Feed();
  const rows = (sent: number) => Array.from({ length: 2500 }, (_, i) => row(i, "x", { sent }));
  const reader = feed.open(sampleOf(0, rows(0)), [], "title").getReader();
  await next(reader);
  const seen = new Set<number>();
  for (let i = 1; i <= 3; i++) {
    feed.send(sampleOf(i, rows(i)), []);
    const { ids } = await next(reader);
    assertEquals(ids.length, 1000);
    for (const id of ids) seen.add(id);
  }
  assertEquals(seen.size, 2500);
  feed.close();
});

Deno.test("Observer Bounded: who reads slowly misses steps, and then gets everything", async () => {
  const feed = new Feed();
  const reader = feed.open(sampleOf(0, [row(1, "a")]), [], "title").getReader();
  for (let i = 1; i <= 100; i++) feed.send(sampleOf(i, [row(1, "a", { sent: i })]), []);
  const events: string[] = [];
  for (let i = 0; i < 4; i++) events.push((await next(reader)).event);
  feed.send(sampleOf(101, [row(1, "a", { sent: 101 })]), []);
  events.push((await next(reader)).event);
  assertEquals(events, ["everything", "step", "step", "step", "everything"]);
  feed.close();
});

Deno.test("Observer Bounded: twenty may look at once, further ones are refused", TIME, async () => {
  await using observer = serve();
  const looks: Response[] = [];
  for (let i = 0; i < 21; i++) looks.push(await fetch(new URL("/events", observer.url)));
  const statuses = looks.map(({ status }) => status);
  await Promise.all(looks.map(({ body }) => body!.cancel()));
  assertEquals(statuses, [...Array.from({ length: 20 }, () => 200), 503]);
});

Deno.test("Account remembers who has ended for ten seconds, failures for a minute, and five hundred at most", async () => {
  await using time = virtualTime();
  using _ = catchReports();
  using account = new Account({ sites: false });
  const counts: number[] = [];
  const count = () => counts.push(account.sample({ blocks: [], lag: 0 }).rows.length);
  await Tasklet.joinAll(Array.from({ length: 600 }, () => Tasklet.new(() => {})()));
  count();
  await Tasklet.new(() => Promise.reject(new Error("no luck")))().join().catch(() => {});
  await time.advance(10_000);
  count();
  await time.advance(50_000);
  count();
  assertEquals(counts, [500, 1, 0]);
});

/* ---------------------------------------------------- programs --------------------------------------------------- */

testCommandLine("top", { port: "9999" });
testCommandLine("troubled", {});

Deno.test("Observer Quiet: it keeps no program alive", TIME, async () => {
  const { code, lines, stderr } = await outcome("greeting", ["--observe", "0"], ["--allow-net=localhost:0"]);
  assertEquals([code, lines], [0, ["Hello World", "Goodbye World"]]);
  assertMatch(stderr, /^observer: http:\/\/localhost:\d+\/\n$/);
});

Deno.test(
  "--observe at a port that is taken, or without permission, ends with one line and 1",
  TIME,
  async () => {
    await using observer = serve();
    for (const allow of [[`--allow-net=localhost:${observer.port}`], []]) {
      const { code, stderr } = await outcome("troubled", ["--observe", `${observer.port}`], [
        "--no-prompt",
        ...allow,
      ]);
      assertEquals(code, 1);
      assertOneLine(stderr, `localhost:${observer.port}`);
    }
  },
);

Deno.test(
  "top prints one plain snapshot where there is no terminal, with the warnings and the tree",
  TIME,
  async () => {
    await using observer = serve({ title: "a test" });
    const allow = ["--no-prompt", `--allow-net=localhost:${observer.port}`];
    const parent = Tasklet.new(async () => {
      const child = async () => await Tasklet.sleep(60_000);
      for (let i = 0; i < 2; i++) Tasklet.new(child, { name: "child\x1b[2J" })();
      await Tasklet.sleep(60_000);
    }, { name: "parent" })();
    await using program = start("examples/top.ts", ["--port", `${observer.port}`], allow);
    const { code, lines } = await program.end();
    assertEquals([code, lines.map((line) => line.replaceAll(/#\d+/g, ""))], [0, [
      "a test: 3 tasklets, 0 messages sent, 0 in mailboxes",
      "parent waiting for a time",
      "├─ child[2J waiting for a time",
      "└─ child[2J waiting for a time",
    ]]);
    await parent.kill();
  },
);

Deno.test("top tells in one line that nobody is there, or which permission is missing", TIME, async () => {
  const listener = Deno.listen({ hostname: "localhost", port: 0 });
  const { port } = listener.addr;
  listener.close(); // now nobody listens there
  const permission = `--allow-net=localhost:${port}`;
  for (const [flags, said] of [[[permission], `--observe ${port}`], [[], "--allow-net"]] as const) {
    const { code, stderr } = await outcome("top", ["--port", `${port}`], ["--no-prompt", ...flags]);
    assertEquals(code, 1);
    assertOneLine(stderr, `Cannot ask localhost:${port}`);
    assertOneLine(stderr, said);
  }
});

Deno.test("ask() of a server that is no observer, or does not answer, tells so", TIME, async () => {
  await using _ = virtualTime({ patience: 500 });
  const answers = ["hello", "{}"];
  const silence = Promise.withResolvers<Response>();
  await using server = Deno.serve({ hostname: "localhost", port: 0, onListen: () => {} }, () => {
    const answer = answers.pop();
    return answer === undefined ? silence.promise : new Response(answer);
  });
  const { port } = server.addr;
  const told: string[] = [];
  for (let i = 0; i < 3; i++) told.push((await assertRejects(() => askSnapshot(port), Error)).message);
  silence.resolve(new Response("{}"));
  assertEquals(told.map((text) => text.replace(`Cannot ask localhost:${port}: `, "")), [
    "what runs there is no observer",
    "what runs there is no observer",
    "the program does not answer, so it is blocked or stopped",
  ]);
});

Deno.test("screen() fits a terminal and has the busiest first", () => {
  const tasklets = [0, 5, 9].map((length, id) => ({
    ...{ id, name: `task`, status: "waiting", waits: [{ what: "for a message" }], received: id },
    mailbox: { length, oldest: { type: "MSG_A" } },
  }));
  const now: Snapshot = {
    title: "x",
    totals: { tasklets: 3, sent: 10, queued: 14, lag: 1.4 },
    warnings: [{ text: "bad \x07" }],
    tasklets,
  };
  const before = {
    ...now,
    totals: { ...now.totals, sent: 4 },
    tasklets: tasklets.map((t) => ({ ...t, received: 0 })),
  };
  assertEquals(screen(now, before, 40, 7), [
    "x  3 tasklets  6 messages/s  14 in mailb",
    "! bad ",
    "",
    " msg/s  tasklet",
    "     2  task#2 waiting for a message; 9 ",
    "     1  task#1 waiting for a message; 5 ",
  ]);
  assertEquals(plain(now)[0], "x: 3 tasklets, 10 messages sent, 14 in mailboxes");
});

Deno.test("treeOf() draws those whose parent has gone as roots", () => {
  const seen = (id: number, parent?: number) => ({
    id,
    name: "t",
    parent,
    status: "running",
    waits: [],
    mailbox: { length: 0 },
  });
  assertEquals(treeOf([seen(1), seen(2, 1), seen(3, 2), seen(4, 1), seen(5, 99)]), [
    "t#1 running",
    "├─ t#2 running",
    "│  └─ t#3 running",
    "└─ t#4 running",
    "t#5 running",
  ]);
});

for (const signal of ["SIGQUIT", "SIGUSR1"] as const) {
  Deno.test(`--tree prints the tree on ${signal}, and the program goes on`, TIME, async () => {
    const allow = ["--no-prompt", "--allow-net=localhost:0"];
    await using program = start("examples/echo.ts", ["--port", "0", "--tree"], allow);
    const port = Number((await program.line())!.match(/(\d+)\)$/)![1]);
    using one = await client(port);
    await one.send("hello\n");
    await one.line();
    program.signal(signal);
    await one.send("again\n");
    await one.line();
    program.signal("SIGTERM");
    const { code, stderr } = await program.end();
    assertEquals(code, 143);
    assertMatch(stderr, /^main#\d+ .*\n└─ .*\n/);
    assertMatch(stderr, /handle#\d+ waiting/);
  });
}
