/**
 * A sample as texts for other tools: metrics in the form of Prometheus, a sequence of messages in that of Mermaid.
 *
 * Pure.
 *
 * @module
 */
import type { Letter, Party, Sample } from "./account.ts";

/** A sample as Prometheus reads it (text format 0.0.4). */
export function prometheus(sample: Sample, warnings: number): string {
  const { totals } = sample;
  const byStatus: Record<string, number> = { ready: 0, running: 0, waiting: 0, stopping: 0 };
  let longest = 0;
  for (const { ended, status, mailbox } of sample.rows) {
    if (ended === undefined) byStatus[status] = (byStatus[status] ?? 0) + 1;
    longest = Math.max(longest, mailbox.length);
  }
  return [
    metric("tasklets", "gauge", "Tasklets that live, by status", labelled("status", byStatus)),
    metric("tasklets_spawned_total", "counter", "Tasklets created", totals.spawned),
    metric("tasklets_ended_total", "counter", "Tasklets that ended", labelled("outcome", totals.ended)),
    metric("messages_sent_total", "counter", "Messages sent", totals.sent),
    metric("messages_received_total", "counter", "Messages received", totals.received),
    metric("messages_dropped_total", "counter", "Messages lost", labelled("reason", totals.dropped)),
    metric("replies_total", "counter", "Calls answered, with errors too", totals.replied),
    metric("replies_failed_total", "counter", "Calls answered with an error", totals.failures),
    metric("mailbox_messages", "gauge", "Messages that wait in mailboxes", totals.queued),
    metric("mailbox_longest_messages", "gauge", "Messages that wait in the fullest mailbox", longest),
    metric("event_loop_lag_seconds", "gauge", "Longest delay of the event loop lately", totals.lag / 1000),
    metric("heap_bytes", "gauge", "Heap in use", totals.heap),
    metric("memory_bytes", "gauge", "Memory of the process", totals.memory),
    metric("warnings", "gauge", "Things that are wrong now", warnings),
  ].join("");
}

function metric(
  name: string,
  type: string,
  help: string,
  values: number | readonly (readonly [labels: string, value: number])[],
): string {
  const full = `concurrence_${name}`;
  const lines = typeof values === "number"
    ? [`${full} ${values}`]
    : values.map(([labels, value]) => `${full}${labels} ${value}`);
  return `# HELP ${full} ${help}\n# TYPE ${full} ${type}\n${lines.join("\n")}\n`;
}

function labelled(label: string, values: Readonly<Record<string, number>>): [string, number][] {
  return Object.entries(values).map(([name, value]) => [`{${label}="${name}"}`, value]);
}

/** Who takes part in a sequence, in the order of their first message, and `undefined` for the outside. */
export function partiesOf(letters: readonly Letter[]): (Party | undefined)[] {
  const parties = new Map<number | undefined, Party | undefined>();
  for (const { from, to } of letters) for (const each of [from, to]) parties.set(each?.id, each);
  return [...parties.values()];
}

/** Messages as a sequence diagram in the language of Mermaid. */
export function mermaid(letters: readonly Letter[]): string {
  const lines = partiesOf(letters).map((each) =>
    `  participant ${alias(each)} as ${each === undefined ? "outside" : `${plain(each.name)}#35;${each.id}`}`
  );
  for (const { type, kind, from, to, dropped } of letters) {
    const arrow = dropped !== undefined ? "-x" : kind === "message" ? "->>" : "-->>";
    const text = plain(type) +
      (kind === "reply" ? " reply" : kind === "failure" ? " error" : dropped ? " refused" : "");
    lines.push(`  ${alias(from)}${arrow}${alias(to)}: ${text}`);
  }
  return ["sequenceDiagram", ...lines, ""].join("\n");
}

function alias(each: Party | undefined): string {
  return each === undefined ? "outside" : `t${each.id}`;
}

// Letters, digits and a few signs as they are, all else by its number, as Mermaid has it; nothing can end the line.
function plain(text: string): string {
  return text.slice(0, 60).replace(/[^\p{L}\p{N} _.:-]/gu, (sign) => `#${sign.codePointAt(0)};`);
}
