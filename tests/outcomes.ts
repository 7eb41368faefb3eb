/**
 * How promises end, as something that can be compared.
 *
 * @module
 */
import { assertInstanceOf } from "@std/assert";
import { CallError } from "../message.ts";

/** What a promise gives; its error in a word. */
export function outcome(promise: Promise<unknown>): Promise<unknown> {
  return promise.catch(nameOf);
}

/** An error in a word: the reason of a call's, the text of a plain one, or else its name. */
export function nameOf(error: unknown): unknown {
  if (error instanceof CallError) return error.reason;
  if (!(error instanceof Error)) return error;
  return error.constructor === Error ? error.message : error.name;
}

/** The error of a call that must fail. */
export async function failureOf(promise: Promise<unknown>): Promise<CallError> {
  const error = await promise.then((value) => `no error but ${value}`, (error) => error);
  assertInstanceOf(error, CallError);
  return error;
}
