/**
 * The border of a cluster: how messages become bytes, and what of the bytes that come is let in.
 *
 * What comes from elsewhere is a guess until it has been here. It is measured before it is decoded, decoded without
 * running any of it, and looked at before anybody gets it: the type must be one of the classes that were named, the
 * arguments an array, and, if the class has a `schema`, what that wants. Everything else is a {@linkcode BorderError},
 * which says what to count it as and what to answer.
 *
 * Runtime-neutral and pure: no network, no tasklets.
 *
 * @module
 */
import type { AnyMessage, CallErrorReason, MessageConstructor } from "./message.ts";
import { printable } from "./text.ts";

/**
 * How values become bytes. All nodes of a cluster must use the same.
 *
 * What `decode` returns must be made of plain data alone. What it throws counts as malformed.
 */
export interface Codec {
  /** Makes bytes of an array of plain values, or throws. */
  encode(value: unknown): Uint8Array;
  /** The way back. It must neither run what it reads nor set the prototype of anything. */
  decode(bytes: Uint8Array): unknown;
}

/**
 * A validator in the form of Standard Schema (version 1), which zod, valibot, arktype and others have.
 *
 * @typeParam T What comes out of it.
 */
export interface StandardSchema<out T = unknown> {
  /** What the validator is made of. */
  readonly "~standard": {
    /** The version of the form. */
    readonly version: 1;
    /** Who made the validator. */
    readonly vendor: string;
    /** Tells whether a value is right. It must not be asynchronous here: order would be lost. */
    readonly validate: (value: unknown) => SchemaResult<T> | Promise<SchemaResult<T>>;
  };
}

/** What a validator says: a value, or what is wrong with it. */
export type SchemaResult<T> =
  | { readonly value: T; readonly issues?: undefined }
  | { readonly issues: readonly { readonly message: string }[] };

/** A message class that may cross the border. */
export interface BorderClass<M extends AnyMessage = AnyMessage> extends MessageConstructor<M> {
  /** The name under which it travels. */
  readonly type: string;
  /** What its arguments must be; what comes out of it is what the receiver gets. */
  readonly schema?: StandardSchema | undefined;
}

/**
 * Why something was not let in, or could not go out.
 *
 * - `"oversized"`: more bytes than are allowed;
 * - `"malformed"`: no JSON, a key `__proto__`, or not of the form of a message;
 * - `"unknown"`: a type that is none of the classes named;
 * - `"invalid"`: arguments that the schema or the constructor of the class refuses.
 */
export type BorderReason = "oversized" | "malformed" | "unknown" | "invalid";

/** Something that does not cross the border. */
export class BorderError extends Error {
  /** `"BorderError"`. */
  override readonly name = "BorderError";
  /** What it counts as. */
  readonly reason: BorderReason;

  /** Creates the error; `message` is for the sender, and so tells nothing of this node. */
  constructor(reason: BorderReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** What comes for a name or a group. */
export type Parcel =
  | {
    readonly kind: "message";
    readonly message: AnyMessage;
    /** Where the sender thinks that the callee is, `""` if it does not know; `undefined` if it wants no answer. */
    readonly node: string | undefined;
  }
  | { readonly kind: "lookup" };

/** What comes for a call, or for a lookup. */
export type Answer =
  | { readonly kind: "value"; readonly value: unknown }
  | { readonly kind: "failure"; readonly failure: Failure }
  | {
    readonly kind: "none";
    readonly reason: CallErrorReason;
    readonly text: string;
    readonly node: string;
    readonly cause: Failure | undefined;
  }
  | { readonly kind: "at"; readonly node: string; readonly isPool: boolean };

/** An error of another node: never a stack. */
export interface Failure {
  /** What it is called. */
  readonly name: string;
  /** What it says. */
  readonly text: string;
}

const LONGEST_NAME = 256;
const LONGEST_TEXT = 1000;
const REASONS: readonly string[] = ["finished", "refused", "forgotten", "deadlock", "disconnected"];

/* -------------------------------------------------- JSON -------------------------------------------------- */

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true }); // a strict one takes three times as long

/**
 * The codec that is used unless another is given: JSON, with its rules. A `Date` arrives as a string, `undefined`
 * inside of arrays as `null`, a `Map` as `{}`; a `bigint` or a circle cannot be sent.
 *
 * A key `__proto__` is malformed: whoever copies such an object key by key would set a prototype.
 */
export const json: Codec = {
  encode: (value) => encoder.encode(JSON.stringify(value)),
  decode(bytes) {
    const text = decoder.decode(bytes);
    // The long way only for texts that have it, be it not as a key, or that may have it written with an escape.
    const isSuspect = text.includes("__proto__") || text.includes("\\u00");
    return isSuspect ? JSON.parse(text, refuseProto) : JSON.parse(text);
  },
};

function refuseProto(key: string, value: unknown): unknown {
  if (key === "__proto__") throw new SyntaxError("a key is __proto__");
  return value;
}

/* ------------------------------------------------- messages ------------------------------------------------ */

/** The border of one node: which classes may cross it, by which codec, and how big. */
export class Border {
  readonly #codec: Codec;
  readonly #classes = new Map<string, BorderClass>();
  #maxPayload: number;

  /**
   * Creates a border that lets messages of `classes` across.
   *
   * @param maxPayload How many bytes may come or go at once.
   * @throws {TypeError} If two of them have the same type.
   */
  constructor(classes: readonly BorderClass[], codec: Codec, maxPayload: number) {
    this.#codec = codec;
    this.#maxPayload = maxPayload;
    for (const each of classes) {
      if (this.#classes.has(each.type)) {
        throw new TypeError(`Cannot tell messages apart: two classes have the type ${each.type}`);
      }
      this.#classes.set(each.type, each);
    }
  }

  /** Lets no more than so many bytes across, if it has let more. */
  limit(maxPayload: number): void {
    this.#maxPayload = Math.min(this.#maxPayload, maxPayload);
  }

  /** Whether messages such as this one may cross it. */
  admits(message: AnyMessage): boolean {
    const known = this.#classes.get(message.type);
    return known !== undefined && message instanceof known;
  }

  /**
   * The bytes of a message.
   *
   * @param node Where the callee is thought to be, `""` if that is not known; left out if it is no call.
   * @throws {BorderError} If it may not go out, or is too big.
   */
  pack(message: AnyMessage, node?: string): Uint8Array {
    const { type } = message;
    if (!this.admits(message)) {
      throw new BorderError("unknown", `${type} is none of the messages of the cluster`);
    }
    const args = withoutLastUndefined(message.args);
    return this.encode(node === undefined ? [type, args] : [type, args, node]);
  }

  /**
   * What came for a name or a group.
   *
   * @throws {BorderError} If it is not let in.
   */
  open(bytes: Uint8Array): Parcel {
    const value = this.decode(bytes);
    if (!Array.isArray(value)) throw new BorderError("malformed", "a message must be an array");
    const type: unknown = value[0];
    const args: unknown = value[1];
    const node: unknown = value[2];
    if (type === 0) return { kind: "lookup" };
    if (typeof type !== "string" || !Array.isArray(args) || !(node === undefined || isId(node, 0))) {
      throw new BorderError("malformed", "a message must be a type and an array of arguments");
    }
    const Class = this.#classes.get(type);
    if (Class === undefined) throw new BorderError("unknown", `there is no message ${cut(type, 100)} here`);
    return { kind: "message", message: create(Class, args), node };
  }

  /**
   * Makes bytes of any value.
   *
   * @throws {BorderError} If it cannot be encoded, or is too big.
   */
  encode(value: readonly unknown[]): Uint8Array {
    let bytes: Uint8Array;
    try {
      bytes = this.#codec.encode(value);
    } catch (error) {
      throw new BorderError("malformed", `it cannot be encoded: ${textOf(error)}`, { cause: error });
    }
    this.#measure(bytes);
    return bytes;
  }

  /**
   * The way back.
   *
   * @throws {BorderError} If that is not possible, or there are too many bytes.
   */
  decode(bytes: Uint8Array): unknown {
    this.#measure(bytes);
    try {
      return this.#codec.decode(bytes);
    } catch (error) {
      throw new BorderError("malformed", `it cannot be decoded: ${textOf(error)}`);
    }
  }

  #measure(bytes: Uint8Array): void {
    if (bytes.length <= this.#maxPayload) return;
    throw new BorderError("oversized", `${bytes.length} bytes are more than the ${this.#maxPayload} allowed`);
  }
}

function create(Class: BorderClass, args: unknown[]): AnyMessage {
  try {
    return new Class(...(Class.schema === undefined ? args : validated(Class.schema, args)));
  } catch (error) {
    throw new BorderError("invalid", `the arguments of ${Class.type} are refused: ${textOf(error)}`);
  }
}

function validated(schema: StandardSchema, args: unknown[]): unknown[] {
  const result = schema["~standard"].validate(args);
  if (result instanceof Promise) {
    result.catch(() => {}); // nobody waits for it
    throw new TypeError("the schema is asynchronous");
  }
  if (result.issues !== undefined) {
    throw new TypeError(result.issues.map((issue) => String(issue.message)).join("; "));
  }
  if (!Array.isArray(result.value)) throw new TypeError("the schema makes no array of them");
  return result.value;
}

// An optional argument that was not given must not arrive as `null`.
function withoutLastUndefined(args: readonly unknown[]): readonly unknown[] {
  let length = args.length;
  while (length > 0 && args[length - 1] === undefined) length--;
  return length === args.length ? args : args.slice(0, length);
}

/* -------------------------------------------------- answers ------------------------------------------------ */

/** What a reply travels as. */
export function valueParcel(value: unknown): readonly unknown[] {
  return value === undefined ? ["value"] : ["value", value];
}

/** What an error travels as: its name and text, and nothing else. */
export function failureParcel(error: unknown): readonly unknown[] {
  const { name, text } = failureOf(error);
  return ["failure", name, text];
}

/** What travels if there is no reply; `cause` is an error, if there is one behind it. */
export function noneParcel(
  reason: CallErrorReason,
  text: string,
  node: string,
  cause?: unknown,
): readonly unknown[] {
  if (cause === undefined) return ["none", reason, cut(text), node];
  const failure = failureOf(cause);
  return ["none", reason, cut(text), node, failure.name, failure.text];
}

/** What tells where a call has arrived, or where a name is. */
export function atParcel(node: string, isPool: boolean): readonly unknown[] {
  return ["at", node, isPool];
}

/** The answer in a decoded value, or `undefined` if it is none. */
export function readAnswer(value: unknown): Answer | undefined {
  if (!Array.isArray(value)) return undefined;
  const [kind, a, b, c, d, e] = value;
  if (kind === "value") return { kind, value: a };
  if (kind === "at" && isId(a) && typeof b === "boolean") return { kind, node: a, isPool: b };
  if (kind === "failure") return isText(a) && isText(b) ? { kind, failure: readFailure(a, b) } : undefined;
  if (kind !== "none" || !isText(a) || !REASONS.includes(a) || !isText(b) || !isId(c)) return undefined;
  const cause = isText(d) && isText(e) ? readFailure(d, e) : undefined;
  return { kind, reason: a as CallErrorReason, text: cut(printable(b)), node: c, cause };
}

/** The error that another node tells of, cut to size. */
export function readFailure(name: string, text: string): Failure {
  return { name: cut(printable(name), 100), text: cut(printable(text)) };
}

/** Name and text of an error, or of whatever was thrown. */
export function failureOf(error: unknown): Failure {
  const name = shown(() => error instanceof Error ? error.name : "Error", 100) ?? "Error";
  return { name, text: textOf(error) };
}

function textOf(error: unknown): string {
  return shown(() => error instanceof Error ? error.message : error) ?? "it cannot be shown";
}

// `undefined`: it throws when it is read or made a text.
function shown(read: () => unknown, most?: number): string | undefined {
  try {
    return cut(printable(String(read())), most);
  } catch {
    return undefined;
  }
}

/* ------------------------------------------------ names and ids --------------------------------------------- */

/** Whether a value is the id of a node, as {@linkcode newId} makes it. */
export function isId(value: unknown, least = 1): value is string {
  return typeof value === "string" && value.length >= least && value.length <= 32 &&
    /^[0-9a-z]*$/.test(value);
}

/** A new id, which nobody else has and nobody can guess. */
export function newId(): string {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => (byte % 36).toString(36)).join("");
}

/**
 * A name as one part of a subject: what has a meaning there is escaped.
 *
 * @throws {RangeError} If it is no text of 1 to 256 characters.
 */
export function partOf(name: string): string {
  if (typeof name !== "string" || name === "" || name.length > LONGEST_NAME || !name.isWellFormed()) {
    const shown = JSON.stringify(typeof name === "string" ? cut(name, 40) : name);
    throw new RangeError(`Cannot use a name: it must have 1 to ${LONGEST_NAME} characters, got ${shown}`);
  }
  return encodeURIComponent(name).replaceAll(/[.*]/g, (c) => (c === "." ? "%2E" : "%2A"));
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function cut(text: string, most = LONGEST_TEXT): string {
  return text.length <= most ? text : text.slice(0, most) + "…";
}
