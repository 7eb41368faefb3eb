/**
 * Text from strangers, made harmless.
 *
 * Runtime-neutral and pure.
 *
 * @module
 */

// deno-lint-ignore no-control-regex
const CONTROLS = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/g;

/**
 * The text without control characters (C0, DEL and C1; the tab stays), so that it cannot drive a terminal.
 *
 * ```ts
 * import { printable } from "@x/concurrence/net";
 *
 * console.log(printable("\x1b[2Jboo\r\n")); // "[2Jboo"
 * ```
 */
export function printable(text: string): string {
  return text.replace(CONTROLS, "");
}
