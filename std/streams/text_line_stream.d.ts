/** Types of `@std/streams/text-line-stream`; the npm package has none. */

export interface TextLineStreamOptions {
  /** Whether a lone `\r` ends a line too. @default {false} */
  allowCR?: boolean;
}

/** Cuts text into lines at `\n` and `\r\n`; the last one needs no line end. */
export class TextLineStream extends TransformStream<string, string> {
  constructor(options?: TextLineStreamOptions);
}
