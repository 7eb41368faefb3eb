/**
 * What becomes of a `TaskletExit` in the handlers around a wait point.
 *
 * A handler is run in thought with an exit as its error. Where a condition does not tell what an exit does, the better
 * outcome is taken: the rule built on this would rather miss something than be wrong.
 *
 * Needs Deno, for its types alone.
 *
 * @module
 */
import { calleeOf, inner, isFunction, parentOf } from "./lint_names.ts";

type Node = Deno.lint.Node;

/** The innermost `catch` around `node` that swallows an exit; `undefined` also where nobody is killed. */
export function swallowerOf(node: Node): Deno.lint.CatchClause | undefined {
  let found: Deno.lint.CatchClause | undefined;
  let child = node;
  let at = parentOf(child);
  while (at !== undefined && !isFunction(at)) {
    const handler = at.type === "TryStatement" && at.block === child ? at.handler : null;
    if (handler !== null && swallows(handler)) found ??= handler;
    child = at;
    at = parentOf(child);
  }
  return at === undefined || isTestBody(at) ? undefined : found;
}

function swallows({ param, body }: Deno.lint.CatchClause): boolean {
  return outcomeOf(body, param?.type === "Identifier" ? param.name : "") !== "throws";
}

/** What a statement does when the error by the name of `error` is an exit. To leave is to `return`, `break`, and so on. */
type Outcome = "throws" | "leaves" | "goes on";

function outcomeOf(node: Node, error: string): Outcome {
  switch (node.type) {
    case "ThrowStatement":
      return isError(node.argument, error) ? "throws" : "leaves";
    case "ReturnStatement":
      return node.argument !== null && isRejection(node.argument, error) ? "throws" : "leaves";
    case "BreakStatement":
    case "ContinueStatement":
      return "leaves";
    case "ExpressionStatement":
      return endsProgram(node.expression) ? "throws" : "goes on";
    case "BlockStatement":
      return outcomeOfAll(node.body, error);
    case "IfStatement":
      return outcomeOfBranch(node, error);
    case "TryStatement":
      return outcomeOfTry(node, error);
    case "SwitchStatement":
      return better(node.cases.map((each) => outcomeOfAll(each.consequent, error)));
    case "DoWhileStatement":
    case "ForInStatement":
    case "ForOfStatement":
    case "ForStatement":
    case "LabeledStatement":
    case "WhileStatement":
      return better([outcomeOf(node.body, error), "goes on"]);
    default:
      return "goes on";
  }
}

function outcomeOfAll(statements: readonly Node[], error: string): Outcome {
  for (const statement of statements) {
    const outcome = outcomeOf(statement, error);
    if (outcome !== "goes on") return outcome;
  }
  return "goes on";
}

function outcomeOfBranch({ test, consequent, alternate }: Deno.lint.IfStatement, error: string): Outcome {
  const truth = truthOf(test, error);
  const outcomes: Outcome[] = [];
  if (truth !== false) outcomes.push(outcomeOf(consequent, error));
  if (truth !== true) outcomes.push(alternate === null ? "goes on" : outcomeOf(alternate, error));
  return better(outcomes);
}

// What a handler within the handler does is not looked into: it is about another error.
function outcomeOfTry({ block, handler, finalizer }: Deno.lint.TryStatement, error: string): Outcome {
  const outcome = handler === null ? outcomeOf(block, error) : "goes on";
  const last = finalizer === null ? "goes on" : outcomeOf(finalizer, error);
  return last === "goes on" ? outcome : last;
}

function better(outcomes: readonly Outcome[]): Outcome {
  if (outcomes.includes("throws")) return "throws";
  return outcomes.every((outcome) => outcome === "leaves") ? "leaves" : "goes on";
}

/** Whether `test` holds when the error is an exit; `undefined` if it does not tell. */
function truthOf(test: Node, error: string): boolean | undefined {
  if (test.type === "UnaryExpression" && test.operator === "!") {
    const truth = truthOf(test.argument, error);
    return truth === undefined ? undefined : !truth;
  }
  if (test.type === "LogicalExpression" && test.operator !== "??") {
    const decisive = test.operator === "||"; // this value on one side is that of the whole
    const truths = [truthOf(test.left, error), truthOf(test.right, error)];
    if (truths.includes(decisive)) return decisive;
    return truths.includes(undefined) ? undefined : !decisive;
  }
  if (test.type === "BinaryExpression" && test.operator === "instanceof" && isError(test.left, error)) {
    // Anything else is another class of errors. `Error` is what an exit is, too.
    return test.right.type === "Identifier" && ["Error", "TaskletExit"].includes(test.right.name);
  }
  return undefined;
}

function isError(node: Node, error: string): boolean {
  const found = inner(node);
  return found.type === "Identifier" && found.name === error;
}

// Promise.reject(error)
function isRejection(node: Node, error: string): boolean {
  if (node.type !== "CallExpression" || calleeOf(node) !== "Promise.reject") return false;
  return node.arguments.length === 1 && isError(node.arguments[0]!, error);
}

function endsProgram(node: Node): boolean {
  const call = node.type === "AwaitExpression" || node.type === "UnaryExpression" ? node.argument : node;
  return call.type === "CallExpression" && ["Deno.exit", "process.exit", "quit"].includes(calleeOf(call));
}

// A test runs outside of any tasklet: `Deno.test("...", async () => {})`, `test.step(...)`, `it(...)`.
function isTestBody(node: Node): boolean {
  let at = parentOf(node);
  if (at?.type === "Property") at = parentOf(parentOf(at)!); // Deno.test({ fn() {} })
  return at?.type === "CallExpression" && /^(Deno\.(test|bench)\b.*|test|it|.*\.step)$/.test(calleeOf(at));
}
