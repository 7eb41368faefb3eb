/**
 * What spectators get, as server-sent events: everything once, then what has changed.
 *
 * Runtime-neutral.
 *
 * @module
 */
import type { Row, Sample } from "./account.ts";
import type { Warning } from "./warnings.ts";

const MOST_ROWS = 20_000;
const MOST_CHANGES = 1000; // rows in one step
const HISTORY = 120; // steps
const MOST_UNREAD = 4; // steps that may wait for a spectator

interface Spectator {
  readonly controller: ReadableStreamDefaultController<Uint8Array>;
  isBehind: boolean; // it has missed a step, and gets everything as soon as there is room
}

/** What the curves are drawn from. */
interface Point {
  readonly at: number;
  readonly tasklets: number;
  readonly sent: number;
  readonly queued: number;
  readonly lag: number;
  readonly heap: number;
}

/** Tells spectators what there is to see. */
export class Feed {
  readonly #spectators = new Set<Spectator>();
  readonly #sent = new Map<number, string>(); // the rows, as the spectators know them
  readonly #history: Point[] = [];
  readonly #encoder = new TextEncoder();
  #title = "";
  #turn = 0; // where in the rows the next step begins, so that each gets its turn
  #isKept = false; // whether #sent is what spectators know

  /** How many there are. */
  get spectators(): number {
    return this.#spectators.size;
  }

  /** A stream that begins with everything there is. */
  open(sample: Sample, warnings: readonly Warning[], title: string): ReadableStream<Uint8Array> {
    this.#title = title;
    if (!this.#isKept) this.#changes(sample, Infinity);
    this.#isKept = true;
    let spectator: Spectator;
    return new ReadableStream({
      start: (controller) => {
        spectator = { controller, isBehind: false };
        this.#spectators.add(spectator);
        controller.enqueue(this.#everything(sample, warnings));
      },
      cancel: () => this.#leave(spectator),
    }, { highWaterMark: MOST_UNREAD });
  }

  /** Sends what has changed. */
  send(sample: Sample, warnings: readonly Warning[]): void {
    const { tasklets, sent: messages, queued, lag, heap } = sample.totals;
    this.#history.push({ at: sample.at, tasklets, sent: messages, queued, lag, heap });
    if (this.#history.length > HISTORY) this.#history.shift();
    if (this.#spectators.size === 0) return;
    const { rows, gone } = this.#changes(sample, MOST_CHANGES);
    const { at, totals } = sample;
    const rest = JSON.stringify({ at, totals, warnings, gone, hidden: hidden(sample) });
    const step = this.#event("step", `${rest.slice(0, -1)},"rows":[${rows.join()}]}`);
    let everything: Uint8Array | undefined;
    for (const spectator of this.#spectators) {
      if ((spectator.controller.desiredSize ?? 0) <= 0) {
        spectator.isBehind = true;
      } else if (spectator.isBehind) {
        spectator.isBehind = false;
        spectator.controller.enqueue(everything ??= this.#everything(sample, warnings));
      } else {
        spectator.controller.enqueue(step);
      }
    }
  }

  /** Ends all streams. */
  close(): void {
    for (const spectator of this.#spectators) {
      spectator.controller.close();
      this.#leave(spectator);
    }
  }

  #leave(spectator: Spectator): void {
    this.#spectators.delete(spectator);
    if (this.#spectators.size > 0) return;
    this.#isKept = false;
    this.#sent.clear();
  }

  // Rows that differ from what was sent, in turn if there are more than `most`.
  #changes(sample: Sample, most: number): { rows: string[]; gone: number[] } {
    const list = sample.rows.slice(0, MOST_ROWS);
    const rows: string[] = [];
    const begin = list.length === 0 ? 0 : this.#turn % list.length;
    let i = 0;
    for (; i < list.length && rows.length < most; i++) {
      const row = list[(begin + i) % list.length]!;
      const text = JSON.stringify(shown(row));
      if (this.#sent.get(row.id) === text) continue;
      this.#sent.set(row.id, text);
      rows.push(text);
    }
    this.#turn = i < list.length ? begin + i : 0;
    return { rows, gone: this.#gone(list) };
  }

  #gone(list: readonly Row[]): number[] {
    const ids = new Set(list.map(({ id }) => id));
    const gone = [...this.#sent.keys()].filter((id) => !ids.has(id));
    for (const id of gone) this.#sent.delete(id);
    return gone;
  }

  #everything(sample: Sample, warnings: readonly Warning[]): Uint8Array {
    const { at, totals } = sample;
    const history = this.#history;
    const rest = { title: this.#title, at, totals, warnings, history, hidden: hidden(sample) };
    return this.#event(
      "everything",
      `${JSON.stringify(rest).slice(0, -1)},"rows":[${[...this.#sent.values()].join()}]}`,
    );
  }

  #event(name: string, data: string): Uint8Array {
    return this.#encoder.encode(`event: ${name}\ndata: ${data}\n\n`);
  }
}

function hidden({ rows }: Sample): number {
  return Math.max(0, rows.length - MOST_ROWS);
}

// What the list needs of a row, rounded so that little changes for nothing.
function shown(row: Row): unknown {
  const { id, name, parent, status, names, sent, received, dropped, error, mailbox, ended } = row;
  return {
    id,
    name: name.slice(0, 200),
    parent,
    status,
    waits: row.waits.slice(0, 3).map(({ what, since, on }) => ({ what, since: Math.round(since), on })),
    length: mailbox.length,
    capacity: mailbox.capacity === Infinity ? undefined : mailbox.capacity,
    oldest: mailbox.oldest && { type: mailbox.oldest.type, since: Math.round(mailbox.oldest.since) },
    names: names.length === 0 ? undefined : names,
    sent,
    received,
    dropped: dropped || undefined,
    ended: ended === undefined ? undefined : Math.round(ended),
    error: error?.slice(0, 300),
  };
}
