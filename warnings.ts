/**
 * What is wrong, in words: found by comparing what there is with what there was.
 *
 * Pure: knows neither clock nor tasklets, only samples.
 *
 * @module
 */
import type { Party, Row, Sample } from "./account.ts";
import type { Block } from "./lag.ts";

const PATIENCE = 5000; // milliseconds for which something must last to be told
const LEAST_GROWTH = 10; // messages
const LEAST_LEAK = 20; // tasklets
const RECENT = 30_000; // milliseconds for which something that is over is told
const MOST = 50;

/** Something that is wrong. */
export interface Warning {
  /** Stays the same as long as it goes on. */
  readonly key: string;
  /** What it is, a sentence. */
  readonly text: string;
  /** The ids of those it is about. */
  readonly ids: readonly number[];
}

interface Growth {
  since: number;
  from: number;
  last: number;
  grewAt: number;
}

interface Reading {
  received: number;
  since: number; // for how long it has received no more, with something to receive
}

/** Finds what is wrong in one sample after the other. */
export class Watch {
  #growth = new Map<number, Growth>();
  #readings = new Map<number, Reading>();
  #families = new Map<string, Growth>();

  /** What is wrong now. */
  look(sample: Sample): Warning[] {
    const living = sample.rows.filter(({ ended }) => ended === undefined);
    const deadlocks = cyclesOf(living);
    const held = new Set(deadlocks.flatMap(({ ids }) => ids)); // of whom more needs not be said
    return [
      ...deadlocks,
      ...this.#leaks(sample.at, living),
      ...this.#mailboxes(sample.at, living).filter(({ ids: [id] }) => !held.has(id!)),
      ...refusals(sample),
      ...blocks(sample),
      ...failures(sample),
    ].slice(0, MOST);
  }

  #mailboxes(at: number, rows: readonly Row[]): Warning[] {
    const growth = new Map<number, Growth>();
    const readings = new Map<number, Reading>();
    const warnings: Warning[] = [];
    for (const row of rows) {
      if (row.mailbox.length === 0) continue;
      const grown = grow(this.#growth.get(row.id), row.mailbox.length, at);
      growth.set(row.id, grown);
      const before = this.#readings.get(row.id);
      const reading = before?.received === row.received ? before : { received: row.received, since: at };
      readings.set(row.id, reading);
      const text = mailboxInWords(row, at, grown, reading);
      if (text !== undefined) warnings.push({ key: `mailbox ${row.id}`, text, ids: [row.id] });
    }
    this.#growth = growth;
    this.#readings = readings;
    return warnings;
  }

  // Children of one name that become ever more.
  #leaks(at: number, rows: readonly Row[]): Warning[] {
    const families = new Map<string, { count: number; name: string; parent: number | undefined }>();
    for (const { name, parent } of rows) {
      const key = `${parent} ${name}`;
      const family = families.get(key);
      if (family === undefined) families.set(key, { count: 1, name, parent });
      else family.count++;
    }
    const before = this.#families;
    this.#families = new Map();
    const warnings: Warning[] = [];
    for (const [key, { count, name, parent }] of families) {
      if (count < 2) continue;
      const grown = grow(before.get(key), count, at);
      this.#families.set(key, grown);
      if (!lasts(grown, at, LEAST_LEAK)) continue;
      const owner = rows.find(({ id }) => id === parent);
      const whose = owner === undefined ? "without a parent" : `of ${label(owner)}`;
      const text = `Leak of tasklets? ${count} "${name}" ${whose} live: ${count - grown.from} more in ${
        seconds(at - grown.since)
      }, and never fewer`;
      warnings.push({ key: `leak ${key}`, text, ids: owner === undefined ? [] : [owner.id] });
    }
    return warnings;
  }
}

function grow(before: Growth | undefined, length: number, at: number): Growth {
  if (before === undefined || length < before.last) {
    return { since: at, from: length, last: length, grewAt: at };
  }
  return { ...before, last: length, grewAt: length > before.last ? at : before.grewAt };
}

function lasts({ since, from, last, grewAt }: Growth, at: number, least: number): boolean {
  return at - since >= PATIENCE && last - from >= least && at - grewAt < PATIENCE / 2;
}

function mailboxInWords(row: Row, at: number, grown: Growth, reading: Reading): string | undefined {
  const name = label(row);
  const { length, oldest } = row.mailbox;
  const isGrowing = lasts(grown, at, LEAST_GROWTH);
  const isStuck = at - reading.since >= PATIENCE;
  const wait = row.waits[0];
  const doing = wait === undefined ? `is ${row.status}, at no wait point` : `waits ${wait.what}`;
  const stuck = `${name} has taken no message for ${seconds(at - reading.since)}, and ${doing}`;
  if (isGrowing && isStuck) {
    return `The mailbox of ${name} has grown for ${seconds(at - grown.since)}, to ${length}: ${stuck}`;
  }
  if (isGrowing) {
    return `The mailbox of ${name} has grown for ${
      seconds(at - grown.since)
    }, to ${length}; the oldest is ${oldest?.type}`;
  }
  if (isStuck) {
    return `${stuck}; ${length === 1 ? "1 message waits" : `${length} messages wait`}, first ${oldest?.type}`;
  }
  return undefined;
}

// Only of those who wait for one thing each: another wait might end, and let its owner go on.
function cyclesOf(rows: readonly Row[]): Warning[] {
  const waiting = new Map<number, Row>();
  for (const row of rows) {
    if (row.waits.length === 1 && row.waits[0]!.on !== undefined) waiting.set(row.id, row);
  }
  const warnings: Warning[] = [];
  const visited = new Set<number>();
  for (const start of waiting.values()) {
    const way: Row[] = [];
    let at: Row | undefined = start;
    for (; at !== undefined && !visited.has(at.id); at = waiting.get(at.waits[0]!.on!)) {
      visited.add(at.id);
      way.push(at);
    }
    const first = at === undefined ? -1 : way.indexOf(at);
    if (first < 0) continue;
    const ring = way.slice(first);
    const names = [...ring, ring[0]!].map(label).join(" waits for ");
    const key = `deadlock ${ring.map(({ id }) => id).toSorted((a, b) => a - b)}`;
    warnings.push({ key, text: `Deadlock: ${names}`, ids: ring.map(({ id }) => id) });
  }
  return warnings;
}

function refusals({ cycles, at }: Sample): Warning[] {
  return cycles.filter((cycle) => at - cycle.at < RECENT).map((cycle) => ({
    key: `cycle ${cycle.at}`,
    text: `A call of ${cycle.type} was refused, because it would wait for itself: ${cycle.names}`,
    ids: [],
  }));
}

// One warning for each who did it, with the last time. Who it was is a guess: whoever began something just before.
function blocks({ blocks, at }: Sample): Warning[] {
  const times = new Map<number | undefined, Block[]>();
  for (const block of blocks) {
    if (at - block.at > RECENT) continue;
    times.set(block.by?.id, [block, ...times.get(block.by?.id) ?? []]);
  }
  return [...times.values()].slice(0, 5).map((list) => {
    const { by, ms } = list[0]!;
    const whom = by === undefined ? "" : `, it seems by ${label(by)}`;
    const often = list.length === 1 ? "" : `; ${list.length} times lately`;
    const text = `The event loop was blocked for ${ms} ms${whom}${often}`;
    return { key: `block ${by?.id}`, text, ids: by === undefined ? [] : [by.id] };
  });
}

function failures({ rows, at }: Sample): Warning[] {
  return rows.filter(({ status, ended }) => status === "failed" && ended !== undefined && at - ended < RECENT)
    .slice(-5).toReversed().map((row) => ({
      key: `failed ${row.id}`,
      text: `${label(row)} failed: ${row.error}`,
      ids: [row.id],
    }));
}

function label({ name, id }: Party): string {
  return `${name}#${id}`;
}

function seconds(ms: number): string {
  return `${Math.floor(ms / 1000)} s`;
}
