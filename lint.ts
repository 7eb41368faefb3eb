/**
 * Lint rules for programs made of tasklets: what the compiler cannot see.
 *
 * In `deno.json`, then `deno lint`:
 *
 * ```json
 * { "lint": { "plugins": ["jsr:@x/concurrence/lint"] } }
 * ```
 *
 * - **`concurrence/message-name`**: a message class is named `MSG_*`, and its literal is that name. Messages are told
 *   apart by the literal, so one that was copied and not changed makes two classes that travel under one name.
 *   *Fixed*: the literal, if the name of the class is well-formed and nobody else uses the literal's base.
 * - **`concurrence/rethrow-exit`**: a `catch` around a wait point lets `TaskletExit` pass, so that a killed tasklet ends.
 *   Any of `throw error`, `if (error instanceof TaskletExit) throw error` and `if (!(error instanceof X)) throw error`
 *   does; wrapping it in another error does not. Code at the top level of a module and the bodies of tests are left
 *   alone: nobody kills them. *Fixed*: the second form is inserted.
 * - **`concurrence/no-floating-wait`**: what a `call`, `join`, `kill`, `Tasklet.sleep` and their like promise is awaited,
 *   or `void` says that nobody waits for it. *Fixed*: `await` is inserted in async functions, but not before a `kill`,
 *   for which both make sense.
 *
 * The rules see one file at a time and no types. Where a file does not say what something is, they are silent.
 *
 * Needs Deno.
 *
 * @module
 */
import { swallowerOf } from "./lint_exits.ts";
import { inner, isFunction, methodOf, Names, parentOf } from "./lint_names.ts";

type Node = Deno.lint.Node;
type Rule = Deno.lint.Rule;
type Context = Deno.lint.RuleContext;

// ------------------------------------------------------------------------------------------------
// message-name

/** What stands behind `extends`. */
interface Base {
  /** The texts to change if the literal is: that of `Message("MSG_X")`, and that of a written type. */
  readonly literals: Deno.lint.StringLiteral[];
  /** The classes that extend it directly. */
  readonly classes: (Deno.lint.ClassDeclaration | Deno.lint.ClassExpression)[];
}

const MESSAGE_NAME = /^MSG_[A-Z0-9_]+$/;

const messageName: Rule = {
  create(context) {
    const names = new Names();
    const constants = new Map<string, Base>();
    const bases: Base[] = [];
    const derived = new Set<string>(); // the names of message classes

    function baseOf(node: Node | null): Base | undefined {
      if (node?.type === "Identifier") return constants.get(node.name);
      if (node?.type !== "CallExpression" || node.callee.type !== "Identifier") return undefined;
      const [literal] = node.arguments;
      if (node.callee.name !== names.importOf("Message")?.local.name || !isText(literal)) return undefined;
      const base: Base = { literals: [literal], classes: [] };
      bases.push(base);
      return base;
    }

    function visit(node: Deno.lint.ClassDeclaration | Deno.lint.ClassExpression): void {
      const name = nameOf(node);
      const base = baseOf(node.superClass);
      base?.classes.push(node);
      const isMessage = base !== undefined ||
        (node.superClass?.type === "Identifier" && derived.has(node.superClass.name));
      if (!isMessage || name === undefined) return;
      derived.add(name.name);
      if (!MESSAGE_NAME.test(name.name)) reportName(context, name, base);
    }

    return {
      ...names.visitor, // of which only the imports are needed
      VariableDeclarator(node) {
        const base = node.id.type === "Identifier" ? baseOf(node.init) : undefined;
        if (base === undefined) return;
        const { name, typeAnnotation } = node.id as Deno.lint.Identifier;
        constants.set(name, base);
        const written = typeAnnotation?.typeAnnotation;
        if (written?.type !== "TSTypeReference") return;
        const [argument] = written.typeArguments?.params ?? [];
        if (argument?.type === "TSLiteralType" && isText(argument.literal)) {
          base.literals.push(argument.literal);
        }
      },
      ClassDeclaration: visit,
      ClassExpression: visit,
      "Program:exit"() {
        for (const base of bases) reportLiteral(context, base);
      },
    };
  },
};

function isText(node: Node | undefined): node is Deno.lint.StringLiteral {
  return node?.type === "Literal" && typeof node.value === "string";
}

function reportName(context: Context, name: Deno.lint.Identifier, base: Base | undefined): void {
  const literal = base?.literals[0]?.value;
  const better = literal !== undefined && MESSAGE_NAME.test(literal) ? literal : messageNameFrom(name.name);
  context.report({
    node: name,
    message: `A message class is named MSG_*, got ${name.name}`,
    hint: `Call the class and its literal ${better}.`,
  });
}

// Not reported where the class has to be renamed first.
function reportLiteral(context: Context, { literals, classes }: Base): void {
  const [literal] = literals as [Deno.lint.StringLiteral];
  for (const each of classes) {
    const name = nameOf(each)?.name;
    if (name === undefined || !MESSAGE_NAME.test(name) || name === literal.value) continue;
    context.report({
      node: literal,
      message: `The literal of message class ${name} is ${JSON.stringify(literal.value)}, not its name`,
      hint: `Messages are told apart by their literal: write Message("${name}").`,
      fix: (fixer) => classes.length > 1 ? [] : literals.map((text) => fixer.replaceText(text, `"${name}"`)),
    });
  }
}

// A class expression goes by the name of the variable it is assigned to.
function nameOf(
  node: Deno.lint.ClassDeclaration | Deno.lint.ClassExpression,
): Deno.lint.Identifier | undefined {
  if (node.id !== null) return node.id;
  const { parent } = node as Node as { parent: Node };
  return parent.type === "VariableDeclarator" && parent.id.type === "Identifier" ? parent.id : undefined;
}

function messageNameFrom(name: string): string {
  const words = name.replaceAll(/(?<=[a-z0-9])(?=[A-Z])/g, "_").toUpperCase();
  return words.startsWith("MSG_") ? words : `MSG_${words}`;
}

// ------------------------------------------------------------------------------------------------
// rethrow-exit

const rethrowExit: Rule = {
  create(context) {
    const names = new Names();
    const waits: Node[] = [];
    return {
      ...names.visitor,
      AwaitExpression: (node) => void waits.push(node),
      ForOfStatement: (node) => void (node.await && waits.push(node)),
      "Program:exit"() {
        if (!names.isOfLibrary) return;
        const points = waits.filter((node) => names.isWaitPoint(node));
        const handlers = new Set(points.map(swallowerOf).filter((handler) => handler !== undefined));
        let canImport = true; // once: fixes of one run must not import twice
        for (const handler of handlers) {
          const hasImported = reportSwallower(context, handler, names, canImport);
          if (hasImported) canImport = false;
        }
      },
    };
  },
};

/** Reports a handler; whether its fix imports something. */
function reportSwallower(
  context: Context,
  handler: Deno.lint.CatchClause,
  names: Names,
  canImport: boolean,
): boolean {
  const exit = names.importOf("TaskletExit");
  const neighbour = canImport ? names.importOf("Tasklet") : undefined; // whoever exports it exports the other, too
  const isKnown = exit !== undefined || neighbour !== undefined;
  const text = isKnown ? rethrowing(context, handler, exit?.local.name ?? "TaskletExit") : undefined;
  const range: Deno.lint.Range = [handler.range[0], handler.body.range[0] + 1];
  context.report({
    range,
    message: "This catch is around a wait point and swallows the TaskletExit of a kill",
    hint: "Let it begin with: if (error instanceof TaskletExit) throw error;",
    fix(fixer) {
      if (text === undefined) return [];
      const inserted = fixer.replaceTextRange(range, text);
      return exit === undefined ? [inserted, fixer.insertTextAfter(neighbour!, ", TaskletExit")] : [inserted];
    },
  });
  return text !== undefined && exit === undefined;
}

/** The beginning of `handler`, up to where it has thrown an exit again. */
function rethrowing(
  { sourceCode }: Context,
  { range, param, body }: Deno.lint.CatchClause,
  exit: string,
): string | undefined {
  if (param !== null && param.type !== "Identifier") return undefined;
  if (param === null && /\berror\b/.test(sourceCode.getText(body))) return undefined; // `error` would hide another one
  const { text } = sourceCode;
  const header = param === null ? "catch (error) " : text.slice(range[0], body.range[0]);
  const between = text.slice(body.range[0] + 1, body.body[0]?.range[0] ?? body.range[1] - 1);
  const space = /^\s+$/.test(between) ? between : " "; // where a comment stands first, it stays
  const error = param?.name ?? "error";
  return `${header}{${space}if (${error} instanceof ${exit}) throw ${error};`;
}

// ------------------------------------------------------------------------------------------------
// no-floating-wait

const noFloatingWait: Rule = {
  create(context) {
    const names = new Names();
    const statements: Node[] = [];
    return {
      ...names.visitor,
      ExpressionStatement: (node) => void statements.push(node.expression),
      "Program:exit"() {
        for (const node of statements.flatMap(dropped)) {
          if (node.type === "CallExpression" && names.isWait(node)) reportFloating(context, node);
        }
      },
    };
  },
};

/** The parts of an expression whose values nobody takes if nobody takes that of the whole. */
function dropped(expression: Node): Node[] {
  const node = inner(expression);
  switch (node.type) {
    case "LogicalExpression":
      return dropped(node.right);
    case "ConditionalExpression":
      return [node.consequent, node.alternate].flatMap(dropped);
    case "SequenceExpression":
      return node.expressions.flatMap(dropped);
    default:
      return [node];
  }
}

function reportFloating(context: Context, node: Deno.lint.CallExpression): void {
  const what = methodOf(node);
  const canAwait = what !== "kill" && isAsync(node);
  context.report({
    node,
    message: `The promise of this ${what} is neither awaited nor marked as void`,
    hint: "Write `await` to wait for it, or `void` if nobody does.",
    fix: (fixer) => canAwait ? fixer.insertTextBefore(node, "await ") : [],
  });
}

/** Whether `await` may stand there. */
function isAsync(node: Node): boolean {
  let at = parentOf(node);
  while (at !== undefined && !isFunction(at) && at.type !== "StaticBlock") at = parentOf(at);
  return at === undefined || (isFunction(at) && at.async);
}

/** The rules, by the name of `concurrence`. */
const plugin: Deno.lint.Plugin = {
  name: "concurrence",
  rules: {
    "message-name": messageName,
    "no-floating-wait": noFloatingWait,
    "rethrow-exit": rethrowExit,
  },
};

export default plugin;
