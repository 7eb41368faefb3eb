/**
 * `@std/cli` as npm has it: the part of it that this package uses.
 *
 * Not `unicodeWidth`: the npm package lacks its table.
 *
 * @module
 */
export { type Args, parseArgs, type ParseOptions } from "./parse_args.ts";
