import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { makeFolder } from "./folder.ts";
import { Program } from "./program.ts";
import { TIME } from "./servers.ts";

/** A span as OTLP has it in JSON, as far as it matters here. */
interface OtlpSpan {
  readonly name: string;
  readonly spanId: string;
  readonly kind: number;
  readonly links?: readonly { readonly spanId: string }[];
  readonly attributes: readonly { readonly key: string; readonly value: { readonly stringValue?: string } }[];
  readonly status?: { readonly code?: number; readonly message?: string };
  readonly events?: readonly { readonly name: string }[];
}

interface OtlpMetric {
  readonly name: string;
  readonly sum?: { readonly dataPoints: readonly Point[] };
  readonly gauge?: { readonly dataPoints: readonly Point[] };
}

interface Point {
  readonly asInt?: string | number;
  readonly asDouble?: number;
  readonly attributes?: readonly { readonly value: { readonly stringValue?: string } }[];
}

/** A collector of OTLP over HTTP in JSON, the smallest there is: of all spans, it keeps those of one scope. */
class Collector implements AsyncDisposable {
  readonly spans: OtlpSpan[] = [];
  readonly metrics: OtlpMetric[] = [];
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  #heard: () => void = () => {};

  constructor(ours = "concurrence") {
    this.#server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
      const body = await request.json();
      for (const { scopeSpans } of body.resourceSpans ?? []) {
        for (const { scope, spans } of scopeSpans) {
          if (scope.name === ours) this.spans.push(...spans);
        }
      }
      for (const { scopeMetrics } of body.resourceMetrics ?? []) {
        for (const { scope, metrics } of scopeMetrics) if (scope.name === ours) this.metrics.push(...metrics);
      }
      this.#heard();
      return Response.json({});
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  /** The last value of a metric; with an attribute of that value, if one is given. */
  value(name: string, attribute?: string): number | undefined {
    const points = this.metrics.filter((metric) => metric.name === name)
      .flatMap(({ sum, gauge }) => (sum ?? gauge)!.dataPoints)
      .filter(({ attributes = [] }) =>
        attribute === undefined || attributes.some(({ value }) => value.stringValue === attribute)
      );
    const last = points.at(-1);
    return last === undefined ? undefined : Number(last.asInt ?? last.asDouble);
  }

  /** Waits until what it was told fulfils a condition. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#heard = resolve);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

/** Runs `body` as a program that is instrumented, which may read until `isSeen`: what it prints. */
async function run(
  body: string,
  env: Record<string, string>,
  isSeen: Promise<void> = Promise.resolve(),
): Promise<readonly string[]> {
  const source = `
    import { Message, Tasklet, observe } from ${from("mod")};
    import { instrument } from ${from("otel")};
    import * as hook from ${from("hook")};
    class MSG_A extends Message("MSG_A") {}
    class MSG_ASK extends Message("MSG_ASK")<[n: number], number> {}
    ${body}`;
  await using folder = await makeFolder({ "program.ts": source });
  const args = ["run", "-A", "--quiet", "--config", "deno.json", `${folder.path}/program.ts`];
  await using program = new Program(Deno.execPath(), args, { env, stdin: "piped" });
  await isSeen;
  const { code, lines, stderr } = await program.end();
  assertEquals([code, stderr], [0, ""]);
  return lines;
}

/** A module of this package, as a program elsewhere imports it. */
function from(name: string): string {
  return JSON.stringify(new URL(`../${name}.ts`, import.meta.url).href);
}

const SCENE = `
  using _ = instrument();
  const last = Tasklet.new(async () => { await Tasklet.receiveOne([MSG_A]); }, { name: "last" })();
  const server = Tasklet.new(async () => {
    for await (const msg of Tasklet.receive()) {
      if (msg.match(MSG_ASK) && msg.args[0] > 0) { MSG_A.send(last)(); msg.reply(1); }
      else msg.fail(new Error("not more than 0"));
    }
  }, { name: "server" })();
  const caller = Tasklet.new(async () => {
    await MSG_ASK.call(server)(1);
    await MSG_ASK.call(server)(0).catch(() => {});
  }, { name: "caller" })();
  await caller.join();
  await last.join();
  await new Response(Deno.stdin.readable).text(); // the gauges are told only while there is something to be seen
  await server.kill();
`;

Deno.test(
  "instrument() Spans, Errors and Metrics reach a collector through Deno's own exporter",
  TIME,
  async () => {
    await using collector = new Collector();
    await run(
      SCENE,
      {
        OTEL_DENO: "true",
        OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
        OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
        OTEL_METRIC_EXPORT_INTERVAL: "50",
      },
      collector.until(() =>
        collector.value("concurrence.replies", "failure") === 1 &&
        collector.value("concurrence.tasklets", "waiting") === 1
      ),
    );
    const attributesOf = (span: OtlpSpan) =>
      Object.fromEntries(span.attributes.map(({ key, value }) => [key, value.stringValue]));
    assertEquals(collector.spans.map(({ name }) => name).toSorted(), [
      "receive MSG_A",
      "receive MSG_ASK",
      "receive MSG_ASK",
    ]);
    const sent = collector.spans.find(({ name }) => name === "receive MSG_A")!;
    const [good, bad] = collector.spans.filter(({ name }) => name === "receive MSG_ASK")
      .toSorted((a, b) => (a.status?.code ?? 0) - (b.status?.code ?? 0)) as [OtlpSpan, OtlpSpan];
    assertEquals(sent.links?.map(({ spanId }) => spanId), [good.spanId]); // sent while that one was handled
    assertEquals([sent.kind, attributesOf(sent)["concurrence.tasklet"]], [5, "last"]);
    assertStringIncludes(attributesOf(good)["concurrence.sender"]!, "caller#");
    assertEquals([bad.status?.code, bad.status?.message, bad.events?.[0]?.name], [
      2,
      "not more than 0",
      "exception",
    ]);

    assertEquals(
      {
        spawned: collector.value("concurrence.tasklets.spawned"),
        sent: collector.value("concurrence.messages.sent"),
        received: collector.value("concurrence.messages.received"),
        failures: collector.value("concurrence.replies", "failure"),
        waiting: collector.value("concurrence.tasklets", "waiting"),
        queued: collector.value("concurrence.mailbox.messages"),
      },
      { spawned: 3, sent: 3, received: 3, failures: 1, waiting: 1, queued: 0 },
    );
    assert(collector.metrics.length > 0);
  },
);

Deno.test("InstrumentOptions: spans or metrics alone, under a name of one's own", TIME, async () => {
  const recorded: unknown[] = [];
  for (const options of [{ spans: false, name: "bank" }, { metrics: false, name: "bank" }]) {
    await using collector = new Collector("bank");
    await run(SCENE.replace("instrument()", `instrument(${JSON.stringify(options)})`), {
      OTEL_DENO: "true",
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_METRIC_EXPORT_INTERVAL: "300",
    });
    recorded.push([collector.spans.length, collector.value("concurrence.messages.sent")]);
  }
  assertEquals(recorded, [[0, 3], [3, undefined]]);
});

Deno.test(
  "instrument() Clusters: the link of a span leads to the sender's span on another node",
  TIME,
  async () => {
    await using collector = new Collector();
    await run(
      `
    const { Cluster } = await import(${from("cluster")});
    const { MemoryBus } = await import(${from("tests/bus")});
    using otel = instrument();
    const bus = new MemoryBus();
    const join = () => Cluster.over((_, listener) => bus.connect(listener), {
      messages: [MSG_A, MSG_ASK],
      tracer: otel.tracer,
    });
    const [here, there] = [await join(), await join()];
    const callee = Tasklet.new(async () => {
      for await (const msg of Tasklet.receive()) msg.reply(msg.args[0]);
    }, { name: "callee" })();
    await there.register("callee", callee);
    const remote = await here.lookup("callee");
    const caller = Tasklet.new(async () => {
      await Tasklet.receiveOne([MSG_A]);
      await MSG_ASK.call(remote)(1);
    }, { name: "caller" })();
    MSG_A.send(caller)();
    await caller.join();
    await callee.kill();
    await Promise.all([here.close(), there.close()]);
  `,
      {
        OTEL_DENO: "true",
        OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
        OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      },
    );
    const [asked, ordered] = ["receive MSG_ASK", "receive MSG_A"].map((name) =>
      collector.spans.find((span) => span.name === name)!
    );
    assertEquals(asked!.links?.map(({ spanId }) => spanId), [ordered!.spanId]);
  },
);

Deno.test("instrument() Cost: where nothing records, nothing is observed at all", TIME, async () => {
  const lines = await run("using _ = instrument(); console.log(hook.hook === undefined);", {
    OTEL_DENO: "false",
  });
  assertEquals(lines, ["true"]);
});

Deno.test("instrument() records nothing any more when it is disposed", TIME, async () => {
  await using collector = new Collector();
  const lines = await run("instrument()[Symbol.dispose](); console.log(hook.hook === undefined);", {
    OTEL_DENO: "true",
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
  });
  assertEquals([lines, collector.spans.map(({ name }) => name)], [["true"], []]);
});
