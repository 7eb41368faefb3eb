/**
 * `@std/streams` as npm has it: the part of it that this package uses.
 *
 * @module
 */
export { TextLineStream, type TextLineStreamOptions } from "./text_line_stream.ts";
