/**
 * Figures for people: three digits and a unit, and tables of them.
 *
 * @module
 */

/** How many a second. */
export function rate(perSecond: number): string {
  if (Number.isNaN(perSecond)) return "";
  if (perSecond >= 1e6) return `${digits(perSecond / 1e6)} M/s`;
  return perSecond >= 1e3 ? `${digits(perSecond / 1e3)} k/s` : `${digits(perSecond)} /s`;
}

/** How long, from nanoseconds. */
export function duration(ns: number): string {
  if (Number.isNaN(ns)) return "";
  if (ns >= 1e9) return `${digits(ns / 1e9)} s`;
  if (ns >= 1e6) return `${digits(ns / 1e6)} ms`;
  return ns >= 1e3 ? `${digits(ns / 1e3)} µs` : `${digits(ns)} ns`;
}

/** A share of 1, in percent. */
export function percent(share: number): string {
  return Number.isNaN(share) ? "" : `${Math.round(100 * share)} %`;
}

/** Three digits at least, and no more than are needed. */
export function digits(n: number): string {
  if (Number.isNaN(n)) return "";
  const rounded = Number(n.toPrecision(3)); // 9.999 is 10.0
  const size = rounded === 0 ? 0 : Math.floor(Math.log10(Math.abs(rounded)));
  return n.toFixed(Math.max(0, Math.min(3, 2 - size)));
}

/** The one in the middle; `NaN` of none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/** A table as Markdown has it, the first row its head, every column as wide as its widest cell. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((cells) => cells[i]!.length)));
  const rule = widths.map((width) => "-".repeat(width));
  const lines = [rows[0]!, rule, ...rows.slice(1)];
  return lines.map((cells) => `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ")} |`).join(
    "\n",
  );
}
