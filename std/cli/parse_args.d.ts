/**
 * Types of `@std/cli/parse-args`; the npm package has none.
 *
 * Simpler than the official ones, and never looser for flat names: dotted names (`"a.b"`) are not unfolded.
 */

type Name = string | undefined;
type BooleanName = boolean | string | undefined;
type Names<N> = N | ReadonlyArray<Extract<N, string>>;
type Defaults = Record<string, unknown> | undefined;
type Aliases = Partial<Record<string, string | ReadonlyArray<string>>> | undefined;

/** How to read a command line; names are those of the flags, without dashes. */
export interface ParseOptions<
  B extends BooleanName = BooleanName,
  S extends Name = Name,
  C extends Name = Name,
  N extends Name = Name,
  D extends Defaults = Defaults,
  A extends Aliases = Aliases,
  DD extends boolean | undefined = boolean | undefined,
> {
  /** Whether what stands behind `--` goes to `args["--"]` instead of `args._`. @default {false} */
  "--"?: DD;
  /** Other names of a flag. */
  alias?: A;
  /** Flags that are true or false, `false` if absent. `true`: all of the form `--name`. */
  boolean?: Names<B>;
  /** Values of flags that are absent. */
  default?: D;
  /** Whether all behind the first argument that is no flag goes to `args._`. @default {false} */
  stopEarly?: boolean;
  /** Flags that stay text, even if they look like a number. */
  string?: Names<S>;
  /** Flags that may be repeated; an array, empty if absent. */
  collect?: Names<C>;
  /** Flags that `--no-name` sets to `false`. */
  negatable?: Names<N>;
  /** Called with what no option names (`key` is missing if it is no flag); `false` leaves it out of the result. */
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}

/** What {@linkcode parseArgs} found: the flags by name, and in `_` all that is no flag. */
export type Args<
  // deno-lint-ignore no-explicit-any
  T extends Record<string, unknown> = Record<string, any>,
  DD extends boolean | undefined = undefined,
> =
  & T
  & { _: Array<string | number> }
  & (boolean extends DD ? { "--"?: string[] } : true extends DD ? { "--": string[] } : unknown);

/** Without any name there is nothing to know about the result, as in the official types. */
type Values<B, S, C, N, D, A> = [Extract<B | S | C, string | true>] extends [never]
  // deno-lint-ignore no-explicit-any
  ? Record<string, any>
  : Record<string, unknown> & Flat<Aliased<Named<Str<B>, Str<S>, Str<C>, Str<N>, D>, A>>;

type Named<B extends string, S extends string, C extends string, N extends string, D> =
  & { [K in Exclude<B, C | keyof D>]: boolean }
  & { [K in Extract<B, C>]: boolean[] | Negated<K, N> }
  & { [K in Exclude<S, C | keyof D>]?: string | Negated<K, N> }
  & { [K in Extract<S, C>]: string[] | Negated<K, N> }
  & { [K in Exclude<C, B | S>]: unknown[] | Negated<K, N> }
  & {
    [K in Exclude<keyof D, C>]:
      | D[K]
      | (K extends B ? boolean : K extends S ? string | Negated<K, N> : unknown);
  };

type Negated<K, N> = K extends N ? false : never;

type Aliased<T, A> =
  & T
  & {
    [K in keyof T as K extends keyof A ? Str<A[K] extends ReadonlyArray<infer E> ? E : A[K]> : never]: T[K];
  };

/** The names among `T`, nothing if they are not known to the compiler. */
type Str<T> = T extends string ? string extends T ? never : T : never;
type Flat<T> = { [K in keyof T]: T[K] };

/** Reads a command line into an object of flags; unknown flags are accepted unless `unknown` objects. */
export function parseArgs<
  B extends BooleanName = undefined,
  S extends Name = undefined,
  C extends Name = undefined,
  N extends Name = undefined,
  D extends Defaults = undefined,
  const A extends Aliases = undefined,
  DD extends boolean | undefined = undefined,
>(args: string[], options?: ParseOptions<B, S, C, N, D, A, DD>): Args<Values<B, S, C, N, D, A>, DD>;
