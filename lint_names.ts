/**
 * What one file says about the library without its types: what is imported from it, which names stand for its tasklets,
 * sockets and so on, and so which calls wait.
 *
 * A name is known by what it is made of (`Tasklet.new(f)()`, `new Supervisor()`) or by its written type. Scopes are not
 * looked at: a name that stands for two things in one file stands for neither.
 *
 * Needs Deno, for its types alone.
 *
 * @module
 */

type Node = Deno.lint.Node;

// Other names for the same; `Self` is a tasklet as its own body sees it.
const SAME: Readonly<Record<string, string>> = { AnyTasklet: "Tasklet", Self: "Tasklet" };

/** The members that make one of a class, and those that wait, of the class itself and of what it makes. */
interface Members {
  readonly make?: readonly string[];
  readonly waitStatically?: readonly string[];
  readonly wait: readonly string[];
}

const CLASSES: Readonly<Record<string, Members>> = {
  Tasklet: {
    make: ["current", "interval", "later", "loop", "new", "rate", "receiver", "whereis"],
    waitStatically: ["joinAll", "joinChildren", "receiveOne", "scope", "sleep", "suspend", "wait", "yield"],
    wait: ["join", "kill", "receiveOne"],
  },
  Supervisor: { wait: ["join", "stop"] },
  Channel: { wait: ["receive", "send", "sendError"] },
  Pool: { wait: ["acquire", "close", "use"] },
  Server: { make: ["serve"], wait: ["stop"] },
  Socket: {
    make: ["connect"],
    waitStatically: ["connect"],
    wait: ["closeWrite", "read", "write", "writeSome"],
  },
  BufferedStream: { wait: ["close"] },
  BufferedReader: { wait: ["readBytes", "readChunk", "readExactly", "readLine"] },
  BufferedWriter: { wait: ["flush"] },
};

// Properties that have one meaning, whatever they are a property of ...
const PROPERTIES: Readonly<Record<string, string>> = { reader: "BufferedReader", writer: "BufferedWriter" };
// ... and methods, when they are awaited.
const AWAITED = ["join", "kill", "receive", "receiveOne", ...CLASSES.BufferedReader!.wait, "flush"];
const ITERATED = ["batches", "readLines", "receive"];

/** What one file says about the names in it. */
export class Names {
  readonly #imports = new Map<string, Deno.lint.ImportSpecifier>(); // by the name of the library
  readonly #locals = new Map<string, string>(); // the name of the library, by that of the file
  readonly #types = new Map<string, string>(); // by the name of a variable, a parameter or a field; "" for others

  /** Reads the file, as part of the visitor of a rule, which finds all known in `Program:exit`. */
  readonly visitor: Deno.lint.LintVisitor = {
    ImportSpecifier: (node) => {
      const name = node.imported.type === "Identifier" ? node.imported.name : node.imported.value;
      this.#imports.set(name, node);
      this.#locals.set(node.local.name, name);
    },
    Identifier: (node) => this.#note(node.name, this.#written(node.typeAnnotation)),
    PropertyDefinition: (node) =>
      this.#note(keyOf(node.key), this.#written(node.typeAnnotation) ?? this.typeOf(node.value)),
    TSPropertySignature: (node) => this.#note(keyOf(node.key), this.#written(node.typeAnnotation)),
    VariableDeclarator: (node) => {
      if (node.id.type !== "Identifier" || node.id.typeAnnotation !== undefined) return;
      const loop = node.parent.parent;
      const type = loop.type === "ForOfStatement" && loop.left === node.parent
        ? this.#elementOf(loop.right)
        : this.typeOf(node.init);
      this.#note(node.id.name, type ?? "");
    },
  };

  /** Whether the file uses the library at all. */
  get isOfLibrary(): boolean {
    return [...this.#imports.keys()].some((name) => name in CLASSES || name in SAME || name === "Message");
  }

  /** How `name` of the library was imported, unless for its type alone. */
  importOf(name: string): Deno.lint.ImportSpecifier | undefined {
    const found = this.#imports.get(name);
    const isType = found?.importKind === "type" ||
      (found?.parent as Deno.lint.ImportDeclaration | undefined)?.importKind === "type";
    return isType ? undefined : found;
  }

  /** The class of the library that `node` is an instance of, if the file says so. */
  typeOf(node: Node | null | undefined): string | undefined {
    switch (node?.type) {
      case "Identifier":
        return this.#types.get(node.name) || undefined;
      case "AwaitExpression":
        return this.typeOf(node.argument);
      case "ChainExpression":
      case "TSNonNullExpression":
        return this.typeOf(node.expression);
      case "NewExpression":
        return this.#classOf(node.callee);
      case "MemberExpression": {
        const name = keyOf(node.property);
        if (name === "parent" && this.typeOf(node.object) === "Tasklet") return "Tasklet";
        return PROPERTIES[name] ?? (this.#types.get(name) || undefined);
      }
      case "CallExpression":
        return this.#typeOfCall(node);
      default:
        return undefined;
    }
  }

  // `Tasklet.new(f)(...args)` is a call of what `Tasklet.new(f)` returns: both count as a tasklet, as nobody uses a half.
  #typeOfCall({ callee }: Deno.lint.CallExpression): string | undefined {
    if (callee.type === "CallExpression") return this.#typeOfCall(callee);
    if (callee.type === "Identifier") {
      return this.#locals.get(callee.name) === "dispatch" ? "Tasklet" : undefined;
    }
    if (callee.type !== "MemberExpression") return undefined;
    const type = this.#classOf(callee.object);
    return type !== undefined && CLASSES[type]!.make?.includes(keyOf(callee.property)) ? type : undefined;
  }

  #elementOf(node: Node): string | undefined {
    const isChildren = node.type === "MemberExpression" && keyOf(node.property) === "children";
    return isChildren ? this.typeOf(node.object) : undefined;
  }

  /** Whether `node` is a call that surely returns a promise of this library's. */
  isWait(node: Node): boolean {
    if (node.type !== "CallExpression") return false;
    if (isMessageCall(node)) return true;
    const callee = inner(node.callee);
    if (callee.type === "Identifier") return this.#locals.get(callee.name) === "select";
    if (callee.type !== "MemberExpression") return false;
    const type = this.#classOf(callee.object);
    const waits = type !== undefined
      ? CLASSES[type]!.waitStatically
      : CLASSES[this.typeOf(callee.object) ?? ""]?.wait;
    return waits?.includes(keyOf(callee.property)) ?? false;
  }

  /** Whether `node`, an `await` or a `for await`, is a wait point, going by names alone where it is not known of what. */
  isWaitPoint(node: Node): boolean {
    if (node.type === "AwaitExpression") return this.#isWaitWhenAwaited(node.argument);
    if (node.type !== "ForOfStatement") return false;
    if (this.typeOf(node.right) === "Channel") return true;
    return node.right.type === "CallExpression" && ITERATED.includes(methodOf(node.right));
  }

  #isWaitWhenAwaited(node: Node): boolean {
    const call = inner(node);
    if (call.type !== "CallExpression") return false;
    if (/^Promise\.(all|any|race)$/.test(calleeOf(call))) {
      const [list] = call.arguments;
      return list?.type === "ArrayExpression" && list.elements.some((each) => this.#isWaitWhenAwaited(each));
    }
    return this.isWait(call) || AWAITED.includes(methodOf(call));
  }

  #classOf(node: Node): string | undefined {
    const name = node.type === "Identifier" ? this.#locals.get(node.name) : undefined;
    return name !== undefined && name in CLASSES ? name : undefined;
  }

  #note(name: string, type: string | undefined): void {
    if (type === undefined) return;
    const before = this.#types.get(name);
    this.#types.set(name, before === undefined || before === type ? type : "");
  }

  // "" for a type of somebody else's; `undefined` if there is none.
  #written(annotation: Deno.lint.TSTypeAnnotation | undefined): string | undefined {
    const type = annotation?.typeAnnotation;
    const parts = type?.type === "TSUnionType" ? type.types : [type];
    const [named] = parts.filter((part) => part?.type === "TSTypeReference");
    if (named?.typeName.type !== "Identifier") return type && "";
    const name = this.#locals.get(named.typeName.name) ?? "";
    return SAME[name] ?? (name in CLASSES ? name : "");
  }
}

/** What is meant where `?.`, `!` or `as` stand around it. */
export function inner(node: Node): Node {
  switch (node.type) {
    case "ChainExpression":
    case "TSAsExpression":
    case "TSNonNullExpression":
      return inner(node.expression);
    default:
      return node;
  }
}

/** What `node` is part of. */
export function parentOf(node: Node): Node | undefined {
  return (node as { readonly parent?: Node | null }).parent ?? undefined; // of a whole file, it is null
}

/** Whether `node` is a function. */
export function isFunction(
  node: Node,
): node is Deno.lint.ArrowFunctionExpression | Deno.lint.FunctionDeclaration | Deno.lint.FunctionExpression {
  return ["ArrowFunctionExpression", "FunctionDeclaration", "FunctionExpression"].includes(node.type);
}

/** What is called, as it is written: "Deno.test". "" where it is more than names and dots. */
export function calleeOf({ callee }: Deno.lint.CallExpression): string {
  return path(callee);
}

function path(node: Node): string {
  const found = inner(node);
  if (found.type !== "MemberExpression") return keyOf(found);
  const object = path(found.object);
  return object === "" ? "" : `${object}.${keyOf(found.property)}`;
}

/** The name behind a dot, or of a field; "" if it is computed. */
function keyOf(node: Node): string {
  if (node.type === "PrivateIdentifier") return `#${node.name}`;
  return node.type === "Identifier" ? node.name : "";
}

/** The name of the method that is called; of `MSG_X.call(to)(...args)` that is "call". "" for a function. */
export function methodOf({ callee }: Deno.lint.CallExpression): string {
  const called = inner(callee);
  if (called.type === "CallExpression") return methodOf(called);
  return called.type === "MemberExpression" ? keyOf(called.property) : "";
}

// MSG_X.call(to)(...args)
function isMessageCall({ callee }: Deno.lint.CallExpression): boolean {
  if (callee.type !== "CallExpression" || callee.callee.type !== "MemberExpression") return false;
  const { object, property } = callee.callee;
  return object.type === "Identifier" && object.name.startsWith("MSG_") && keyOf(property) === "call";
}
