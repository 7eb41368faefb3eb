/**
 * The one hook of the core: who wants to know what tasklets do is told here.
 *
 * Nobody does, as a rule. So each place that tells pays one look at a variable, and makes nothing before it has looked.
 * Who sets the hook sees to it that it neither throws nor waits.
 *
 * Knows neither tasklets nor messages, which are above. Runtime-neutral.
 *
 * @module
 */

/** Why a message does not reach a tasklet. */
export type DropReason = "refused" | "oldest" | "finished" | "deadlock";

/** What is told, in the name of whoever is running. */
export interface Hook {
  /** A tasklet was created. */
  spawned(task: object): void;
  /** Its body is called now. */
  started(task: object): void;
  /** It has finished; `error` as in `MSG_DOWN`. */
  finished(task: object, error: unknown): void;
  /** A message was sent to a tasklet; `dropped` follows if it is not accepted. */
  sent(message: object, to: object): void;
  /** A tasklet has taken a message. */
  received(message: object, by: object): void;
  /** The call that a message brought was answered, with an error if `failure` is there. */
  replied(message: object, failure: { readonly error: unknown } | undefined): void;
  /** A message will not be received. */
  dropped(message: object, to: object, reason: DropReason, why: string): void;
}

/** Who is told; `undefined` as long as nobody wants to know. */
export let hook: Hook | undefined;

/** Sets who is told. */
export function setHook(told: Hook | undefined): void {
  hook = told;
}
