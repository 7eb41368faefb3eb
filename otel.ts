/**
 * Traces and metrics of tasklets for OpenTelemetry: a span for each message that is handled, linked to its sender's.
 *
 * ```ts
 * import { Message, Tasklet } from "@x/concurrence";
 * import { instrument } from "@x/concurrence/otel";
 *
 * class MSG_GREETING extends Message("MSG_GREETING")<[name: string]> {}
 *
 * using _ = instrument(); // does nothing unless something records: run with OTEL_DENO=true
 * const task = Tasklet.new(async () => {
 *   for await (const msg of Tasklet.receive()) if (msg.match(MSG_GREETING)) console.log("Hello", msg.args[0]);
 * })();
 * MSG_GREETING.send(task)("World");
 * await Tasklet.yield();
 * await task.kill();
 * ```
 *
 * With Deno's own exporter nothing else is needed: `OTEL_DENO=true OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318`.
 * On Node and Bun, set up an SDK of OpenTelemetry before.
 *
 * @module
 */
import {
  type Attributes,
  type Counter,
  createNoopMeter,
  isSpanContextValid,
  type Link,
  type Meter,
  metrics,
  type ObservableGauge,
  type ObservableResult,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  trace,
  type Tracer,
} from "@opentelemetry/api";
import { clearInterval, setInterval } from "node:timers";
import type { AnyMessage } from "./message.ts";
import { type Observation, observe, snapshot } from "./observe.ts";
import type { AnyTasklet } from "./tasklet.ts";

// Source: W3C Trace Context, section 3.2.
const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

/** What is recorded. */
export interface InstrumentOptions {
  /**
   * The name of the instrumentation scope.
   *
   * @default {"concurrence"}
   */
  name?: string | undefined;
  /**
   * Whether to record a span for each message.
   *
   * @default {true}
   */
  spans?: boolean | undefined;
  /**
   * Whether to count what happens, and to measure mailboxes.
   *
   * @default {true}
   */
  metrics?: boolean | undefined;
}

/** A recording that is under way. Disposing it ends it. */
export interface Instrumentation extends Disposable {
  /**
   * Takes traces to other nodes of a cluster, and on from there: `Cluster.connect({ tracer, ... })`. They travel as
   * `traceparent` (W3C Trace Context).
   */
  readonly tracer: {
    /** The headers for a message that is sent to another node. */
    readonly inject: (message: AnyMessage) => Readonly<Record<string, string>> | undefined;
    /** Takes the headers of a message that has come from another node. */
    readonly extract: (message: AnyMessage, headers: Readonly<Record<string, string>>) => void;
  };
}

/**
 * Records what tasklets do, until disposed.
 *
 * - **Spans**: `receive MSG_X` lasts from the receipt of a message until its tasklet answers the call, takes the next
 *   message, or ends. It is linked to the span in which the message was sent, and carries names
 *   and ids; what was sent with the message is never recorded.
 * - **Clusters**: with `tracer`, the link also leads to the sender's span on another node.
 * - **Errors**: a span has failed if the call was answered with an error, or the tasklet failed while it lasted.
 * - **Metrics**: counters of tasklets, messages, replies and losses; gauges of tasklets, by status, and of mailboxes. Counts are
 *   handed on once a second, and when this is disposed.
 * - **Cost**: where nothing records spans, none are begun; where nothing measures either, nothing is observed at all, and
 *   sending costs what it always did. Who records must be set up before.
 */
export function instrument(options: InstrumentOptions = {}): Instrumentation {
  const { name = "concurrence" } = options;
  const tracer = trace.getTracer(name);
  const recorders: ((event: Observation) => void)[] = [];
  const spans = (options.spans ?? true) && records(tracer) ? new Spans(tracer) : undefined;
  const meter = metrics.getMeter(name);
  const counts = (options.metrics ?? true) && measures(meter) ? new Counts(meter) : undefined;
  if (spans !== undefined) recorders.push((event) => spans.take(event));
  if (counts !== undefined) recorders.push((event) => counts.take(event));
  const tracing: Instrumentation["tracer"] = {
    inject: (message) => spans?.inject(message),
    extract: (message, headers) => spans?.extract(message, headers),
  };
  if (recorders.length === 0) return { tracer: tracing, [Symbol.dispose]: () => {} };
  const listening = observe((event) => {
    for (const record of recorders) record(event);
  });
  return {
    tracer: tracing,
    [Symbol.dispose]: () => {
      listening[Symbol.dispose]();
      spans?.end();
      counts?.end();
    },
  };
}

// To begin a span that nobody records costs more than to send a message, so this is found out once. A span that was
// only not sampled is valid; it is not ended, so that nobody is told of it.
function records(tracer: Tracer): boolean {
  return isSpanContextValid(tracer.startSpan("concurrence").spanContext());
}

// Without a provider there is one counter for all, which counts nothing.
function measures(meter: Meter): boolean {
  return meter.createCounter("concurrence.messages.sent") !== createNoopMeter().createCounter("none");
}

/** The spans of messages that are handled now. */
class Spans {
  readonly #tracer: Tracer;
  readonly #open = new Map<number, { readonly span: Span; readonly message: object }>(); // by the id of the tasklet
  readonly #origins = new WeakMap<object, SpanContext>(); // of messages

  constructor(tracer: Tracer) {
    this.#tracer = tracer;
  }

  take(event: Observation): void {
    switch (event.type) {
      case "sent":
        return this.#sent(event);
      case "received":
        return this.#received(event);
      case "replied":
        return this.#replied(event);
      case "finished":
        return this.#close(
          event.task.id,
          event.error !== undefined && event.task.status === "failed" ? event : undefined,
        );
    }
  }

  #sent({ message }: Observation & { type: "sent" }): void {
    if (this.#origins.has(message)) return; // it has come from another node
    const context = this.#contextOf(message);
    if (context !== undefined) this.#origins.set(message, context);
  }

  // Within the span of the message that its sender handles, or what is active where it is no tasklet.
  #contextOf({ sender }: AnyMessage): SpanContext | undefined {
    const open = sender === undefined ? undefined : this.#open.get(sender.id);
    return (open?.span ?? trace.getActiveSpan())?.spanContext();
  }

  /** What goes along with a message to another node. */
  inject(message: AnyMessage): Record<string, string> | undefined {
    const context = this.#contextOf(message);
    if (context === undefined || !isSpanContextValid(context)) return undefined;
    const flags = context.traceFlags.toString(16).padStart(2, "0");
    return { traceparent: `00-${context.traceId}-${context.spanId}-${flags}` };
  }

  /** Takes what came along with a message from another node. */
  extract(message: AnyMessage, { traceparent = "" }: Readonly<Record<string, string>>): void {
    const [, traceId, spanId, flags] = TRACEPARENT.exec(traceparent) ?? [];
    if (traceId === undefined || spanId === undefined) return;
    const context = { traceId, spanId, traceFlags: Number(`0x${flags}`), isRemote: true };
    if (isSpanContextValid(context)) this.#origins.set(message, context);
  }

  #received({ message, by }: Observation & { type: "received" }): void {
    this.#close(by.id);
    const origin = this.#origins.get(message);
    const links: Link[] = origin === undefined ? [] : [{ context: origin }];
    const attributes = {
      ...about(by),
      "messaging.operation.type": "process",
      "messaging.message.type": message.type,
    };
    const { sender } = message;
    const from: Attributes = sender === undefined
      ? {}
      : { "concurrence.sender": `${sender.name}#${sender.id}` };
    const span = this.#tracer.startSpan(`receive ${message.type}`, {
      kind: SpanKind.CONSUMER,
      root: true,
      links,
      attributes: { ...attributes, ...from },
    });
    this.#open.set(by.id, { span, message });
  }

  // An answer may come from anybody; the span that ends by it is that of whoever handles the message.
  #replied({ message, by, failure }: Observation & { type: "replied" }): void {
    if (by === undefined || this.#open.get(by.id)?.message !== message) return;
    this.#close(by.id, failure);
  }

  #close(id: number, failure?: { readonly error: unknown }): void {
    const open = this.#open.get(id);
    if (open === undefined) return;
    this.#open.delete(id);
    if (failure !== undefined) {
      const { error } = failure;
      open.span.recordException(error instanceof Error ? error : `${error}`);
      open.span.setStatus({
        code: SpanStatusCode.ERROR,
        message: error instanceof Error ? error.message : `${error}`,
      });
    }
    open.span.end();
  }

  end(): void {
    for (const id of [...this.#open.keys()]) this.#close(id);
  }
}

function about({ id, name }: AnyTasklet): Attributes {
  return { "concurrence.tasklet": name, "concurrence.tasklet.id": id };
}

/** The metrics. What happens is counted here, and handed on once a second: each addition costs more than a message. */
class Counts {
  readonly #counts = new Map<string, number>(); // by the name of the counter and its attribute
  readonly #counters: Readonly<Record<string, Counter>>;
  readonly #gauges: readonly [tasklets: ObservableGauge, queued: ObservableGauge];
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #lookAtTasklets = (result: ObservableResult): void => {
    const counts: Record<string, number> = { ready: 0, running: 0, waiting: 0, stopping: 0 };
    for (const { status } of snapshot()) counts[status] = (counts[status] ?? 0) + 1;
    for (const [status, count] of Object.entries(counts)) result.observe(count, { status });
  };
  readonly #lookAtMailboxes = (result: ObservableResult): void => {
    result.observe(snapshot().reduce((sum, { mailbox }) => sum + mailbox.length, 0));
  };

  constructor(meter: Meter) {
    const counter = (what: string, description: string) =>
      meter.createCounter(`concurrence.${what}`, { description });
    this.#counters = {
      spawned: counter("tasklets.spawned", "Tasklets created"),
      finished: counter("tasklets.ended", "Tasklets that ended"),
      sent: counter("messages.sent", "Messages sent"),
      received: counter("messages.received", "Messages received"),
      replied: counter("replies", "Calls answered"),
      dropped: counter("messages.dropped", "Messages lost"),
    };
    this.#gauges = [
      meter.createObservableGauge("concurrence.tasklets", { description: "Tasklets that live" }),
      meter.createObservableGauge("concurrence.mailbox.messages", { description: "Messages in mailboxes" }),
    ];
    this.#gauges[0].addCallback(this.#lookAtTasklets);
    this.#gauges[1].addCallback(this.#lookAtMailboxes);
    this.#timer = setInterval(() => this.#handOn(), 1000);
    this.#timer.unref();
  }

  take(event: Observation): void {
    switch (event.type) {
      case "started":
        return;
      case "finished":
        return this.#count(`finished outcome ${event.task.status}`);
      case "replied":
        return this.#count(event.failure === undefined ? "replied outcome reply" : "replied outcome failure");
      case "dropped":
        return this.#count(`dropped reason ${event.reason}`);
      default:
        return this.#count(event.type);
    }
  }

  #count(what: string): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1);
  }

  #handOn(): void {
    for (const [what, count] of this.#counts) {
      const [name, attribute, value] = what.split(" ");
      this.#counters[name!]!.add(count, attribute === undefined ? {} : { [attribute]: value });
    }
    this.#counts.clear();
  }

  end(): void {
    clearInterval(this.#timer);
    this.#handOn();
    this.#gauges[0].removeCallback(this.#lookAtTasklets);
    this.#gauges[1].removeCallback(this.#lookAtMailboxes);
  }
}
