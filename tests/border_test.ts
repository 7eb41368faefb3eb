import { assert, assertEquals, assertInstanceOf, assertNotEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  atParcel,
  Border,
  type BorderClass,
  BorderError,
  type Codec,
  failureParcel,
  isId,
  json,
  newId,
  noneParcel,
  partOf,
  readAnswer,
  type StandardSchema,
  valueParcel,
} from "../border.ts";
import { type AnyMessage, Message } from "../message.ts";

class MSG_LINE extends Message("MSG_LINE")<[line: string, times?: number]> {}
class MSG_ANY extends Message("MSG_ANY")<unknown[], unknown> {}

/** Takes a text, and makes it upper case. */
const upper: StandardSchema<[string]> = {
  "~standard": {
    version: 1,
    vendor: "test",
    validate: (value) => {
      const [text] = value as unknown[];
      if (typeof text === "string") return { value: [text.toUpperCase()] };
      return { issues: [{ message: "a text is wanted" }, { message: "nothing else" }] };
    },
  },
};
class MSG_UPPER extends Message("MSG_UPPER")<[text: string]> {
  static readonly schema = upper;
}

/** Another class of the same type as one of them. */
function namesake(): BorderClass {
  class MSG_LINE extends Message("MSG_LINE") {}
  return MSG_LINE;
}

const BIGGEST = 1000;
const border = new Border([MSG_LINE, MSG_ANY, MSG_UPPER], json, BIGGEST);
const bytes = (text: string) => new TextEncoder().encode(text);
const text = (payload: Uint8Array) => new TextDecoder().decode(payload);

/** The message in a payload. */
function open(payload: Uint8Array, at: Border = border): AnyMessage {
  const parcel = at.open(payload);
  assert(parcel.kind === "message");
  return parcel.message;
}

/** Why a payload is not let in, and what its sender is told. */
function refusal(payload: Uint8Array, at: Border = border): [reason: string, message: string] {
  const error = assertThrows(() => at.open(payload), BorderError);
  return [error.reason, error.message];
}

/* -------------------------------------------------- JSON -------------------------------------------------- */

Deno.test("json gives back what JSON can carry, of any script and shape", () => {
  fc.assert(fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
    const plain = JSON.parse(JSON.stringify([value])); // without -0
    fc.pre(!JSON.stringify(plain).includes("__proto__"));
    assertEquals(json.decode(json.encode([value])), plain);
  }));
});

Deno.test("json refuses a key __proto__ however it is written, and lets it be a text", () => {
  const refused = [
    `{"__proto__": {"isAdmin": true}}`,
    `["MSG_ANY", [{"a": [{"__proto__": null}]}]]`,
    String.raw`{"\u005f_proto__": 1}`,
    String.raw`{"__pr\u006fto__": 1}`,
    String.raw`{"_\u005Fproto_\u005f": 1}`,
    String.raw`{"\u005f\u005f\u0070\u0072\u006f\u0074\u006f\u005f\u005f": {"x": 1}}`,
  ].filter((each) => {
    try {
      json.decode(bytes(each));
      return true;
    } catch (error) {
      assertInstanceOf(error, SyntaxError);
      return false;
    }
  });
  assertEquals(refused, []);
  assertEquals(json.decode(bytes(`["__proto__", "\\u005f"]`)), ["__proto__", "_"]);
  assertEquals(({} as { isAdmin?: boolean }).isAdmin, undefined);
});

Deno.test("json shows U+FFFD for what is no UTF-8", () => {
  assertEquals(json.decode(new Uint8Array([0x22, 0xff, 0x22])), "\ufffd");
});

/* ------------------------------------------------ going out ----------------------------------------------- */

Deno.test("Border.pack() makes an array of the type and the arguments, and of the node if an answer is wanted", () => {
  assertEquals(text(border.pack(new MSG_LINE("hi", 2))), `["MSG_LINE",["hi",2]]`);
  assertEquals(text(border.pack(new MSG_LINE("hi"), "abc")), `["MSG_LINE",["hi"],"abc"]`);
  assertEquals(text(border.pack(new MSG_LINE("hi"), "")), `["MSG_LINE",["hi"],""]`);
});

Deno.test("Border.pack() leaves out arguments at the end that are undefined, so that they do not arrive as null", () => {
  assertEquals(open(border.pack(new MSG_LINE("hi", undefined))).args, ["hi"]);
  assertEquals(open(border.pack(new MSG_ANY(undefined, 1, undefined, undefined))).args, [null, 1]);
});

Deno.test("Border.pack() refuses classes that were not named, be it that they have the type of one that was", () => {
  class MSG_OTHER extends Message("MSG_OTHER") {}
  for (const message of [new MSG_OTHER(), new (namesake())()]) {
    assertEquals(border.admits(message), false);
    assertEquals(assertThrows(() => border.pack(message), BorderError).reason, "unknown");
  }
  class MSG_LOUD extends MSG_LINE {}
  assertEquals(text(border.pack(new MSG_LOUD("hi"))), `["MSG_LINE",["hi"]]`); // arrives as its base
});

Deno.test("Border.pack() refuses what cannot be encoded, and what is too big", () => {
  const circle: unknown[] = [];
  circle.push(circle);
  for (const arg of [1n, circle]) {
    assertEquals(assertThrows(() => border.pack(new MSG_ANY(arg)), BorderError).reason, "malformed");
  }
  const error = assertThrows(() => border.pack(new MSG_LINE("x".repeat(BIGGEST))), BorderError);
  assertEquals([error.reason, error.message], ["oversized", "1017 bytes are more than the 1000 allowed"]);
});

Deno.test("Border() refuses two classes of one type", () => {
  assertThrows(() => new Border([MSG_LINE, namesake()], json, 1), TypeError, "MSG_LINE");
});

/* ------------------------------------------------- coming in ---------------------------------------------- */

Deno.test("Border.open() makes the message that was packed: of its class, with its arguments, from nobody", () => {
  fc.assert(fc.property(fc.array(fc.jsonValue({ maxDepth: 2 }), { maxLength: 5 }), (args) => {
    const packed = new Border([MSG_ANY], json, Infinity).pack(new MSG_ANY(...args));
    fc.pre(!text(packed).includes("__proto__"));
    const message = open(packed, new Border([MSG_ANY], json, Infinity));
    assertInstanceOf(message, MSG_ANY);
    assertEquals(message.sender, undefined);
    assertEquals(message.args, JSON.parse(JSON.stringify(args)));
  }));
});

Deno.test("Border.open() tells where the callee is thought to be, and knows a lookup", () => {
  const at = (node?: string) => {
    const parcel = border.open(border.pack(new MSG_LINE("hi"), node));
    return parcel.kind === "message" ? parcel.node : parcel.kind;
  };
  assertEquals([at(), at(""), at("abc")], [undefined, "", "abc"]);
  assertEquals(border.open(border.encode([0])), { kind: "lookup" });
});

Deno.test("Border.open() does not let in what is no message, and says what it counts as", () => {
  const refused: [string, string][] = [
    ["", "malformed"],
    ["no JSON", "malformed"],
    ["{}", "malformed"],
    ["null", "malformed"],
    [`"MSG_LINE"`, "malformed"],
    ["[]", "malformed"],
    [`[1, []]`, "malformed"],
    [`["MSG_LINE"]`, "malformed"],
    [`["MSG_LINE", {"length": 1, "0": "hi"}]`, "malformed"],
    [`["MSG_LINE", "hi"]`, "malformed"],
    [`["MSG_LINE", ["hi"], 5]`, "malformed"],
    [`["MSG_LINE", ["hi"], "no id"]`, "malformed"],
    [`["MSG_LINE", ["hi"], "${"a".repeat(33)}"]`, "malformed"],
    [`["MSG_LINE", [{"__proto__": {}}]]`, "malformed"],
    [`["MSG_OTHER", []]`, "unknown"],
    [`["__proto__", []]`, "unknown"],
    [`["constructor", []]`, "unknown"],
    [`["toString", []]`, "unknown"],
    [`["MSG_UPPER", [5]]`, "invalid"],
    [`["MSG_LINE", ["${"x".repeat(BIGGEST)}"]]`, "oversized"],
  ];
  assertEquals(refused.map(([payload]) => [payload, refusal(bytes(payload))[0]]), refused);
});

Deno.test("Border.open() measures before it decodes", () => {
  const decoded: number[] = [];
  const codec: Codec = { ...json, decode: (payload) => (decoded.push(payload.length), json.decode(payload)) };
  const narrow = new Border([MSG_LINE], codec, 20);
  assertEquals(refusal(bytes(`["MSG_LINE",["hello"]]`), narrow)[0], "oversized");
  open(bytes(`["MSG_LINE",["hi"]]`), narrow);
  assertEquals(decoded, [19]);
});

Deno.test("Border.open() gives the receiver what the schema makes of the arguments", () => {
  assertEquals(open(bytes(`["MSG_UPPER",["hi"]]`)).args, ["HI"]);
  assertEquals(refusal(bytes(`["MSG_UPPER",[5]]`)), [
    "invalid",
    "the arguments of MSG_UPPER are refused: a text is wanted; nothing else",
  ]);
});

Deno.test("Border.open() counts it as invalid if a schema throws, is asynchronous or makes no array", () => {
  const validators: StandardSchema["~standard"]["validate"][] = [
    () => {
      throw new RangeError("out of order");
    },
    () => Promise.resolve({ value: [] }),
    () => Promise.reject(new Error("late")),
    () => ({ value: "hi" }),
  ];
  const messages = validators.map((validate) => {
    class MSG_ODD extends Message("MSG_ODD")<[]> {
      static readonly schema: StandardSchema = { "~standard": { version: 1, vendor: "test", validate } };
    }
    return refusal(bytes(`["MSG_ODD",[]]`), new Border([MSG_ODD], json, BIGGEST));
  });
  const start = "the arguments of MSG_ODD are refused: ";
  assertEquals(messages, [
    ["invalid", start + "out of order"],
    ["invalid", start + "the schema is asynchronous"],
    ["invalid", start + "the schema is asynchronous"],
    ["invalid", start + "the schema makes no array of them"],
  ]);
});

Deno.test("Border.open() counts it as invalid if the constructor of the class throws", () => {
  class MSG_PICKY extends Message("MSG_PICKY")<[n: number]> {
    constructor(n: number) {
      super(n);
      if (n < 0) throw new RangeError("n is negative");
    }
  }
  const picky = new Border([MSG_PICKY], json, BIGGEST);
  assertEquals(refusal(bytes(`["MSG_PICKY",[-1]]`), picky)[0], "invalid");
  assertEquals(open(bytes(`["MSG_PICKY",[1]]`), picky).args, [1]);
});

Deno.test("Border.open() survives arguments that are too many or too deep", () => {
  const big = new Border([MSG_ANY], json, 10_000_000);
  const many = refusal(bytes(`["MSG_ANY",[${"0,".repeat(2_000_000)}0]]`), big);
  assertEquals(many[0], "invalid");
  const depth = 1_000_000;
  const deep = bytes(`["MSG_ANY",[${"[".repeat(depth)}${"]".repeat(depth)}]]`);
  try {
    assertEquals(open(deep, big).args.length, 1);
  } catch (error) { // where the parser gives up on it
    assertInstanceOf(error, BorderError);
  }
});

Deno.test("Border.open() throws nothing but BorderError whatever the bytes, and leaves prototypes alone", () => {
  const before = Object.getOwnPropertyNames(Object.prototype);
  const anything = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.json().map(bytes),
    fc.tuple(fc.constantFrom("MSG_LINE", "MSG_ANY", "MSG_UPPER", "x"), fc.jsonValue(), fc.jsonValue())
      .map((value) => bytes(JSON.stringify(value))),
  );
  fc.assert(fc.property(anything, (payload) => {
    try {
      border.open(payload);
    } catch (error) {
      assertInstanceOf(error, BorderError);
      assert(error.message.length < 1200);
    }
  }));
  assertEquals(Object.getOwnPropertyNames(Object.prototype), before);
});

/* -------------------------------------------------- answers ----------------------------------------------- */

Deno.test("readAnswer() reads each kind of answer as it was sent", () => {
  const error = new RangeError("too far", { cause: new Error("hidden") });
  const read = [
    valueParcel(5),
    valueParcel(null),
    valueParcel(undefined),
    failureParcel(error),
    failureParcel("no error"),
    noneParcel("refused", "the mailbox is full", "abc"),
    noneParcel("finished", "it has finished", "abc", error),
    atParcel("abc", true),
  ].map((parcel) => readAnswer(border.decode(border.encode(parcel))));
  const failure = { name: "RangeError", text: "too far" };
  assertEquals(read, [
    { kind: "value", value: 5 },
    { kind: "value", value: null },
    { kind: "value", value: undefined },
    { kind: "failure", failure },
    { kind: "failure", failure: { name: "Error", text: "no error" } },
    { kind: "none", reason: "refused", text: "the mailbox is full", node: "abc", cause: undefined },
    { kind: "none", reason: "finished", text: "it has finished", node: "abc", cause: failure },
    { kind: "at", node: "abc", isPool: true },
  ]);
});

Deno.test("readAnswer() takes nothing else for an answer", () => {
  const others = [
    undefined,
    null,
    5,
    {},
    [],
    ["value?"],
    ["failure"],
    ["failure", "Error"],
    ["failure", {}, {}],
    ["none", "remote", "text", "abc"],
    ["none", "constructor", "text", "abc"],
    ["none", "refused", 5, "abc"],
    ["none", "refused", "text", "NO ID"],
    ["at", "abc"],
    ["at", "", true],
    ["at", ["abc"], true],
  ];
  assertEquals(others.map(readAnswer), others.map(() => undefined));
});

Deno.test("failureParcel() tells name and text alone, short and without controls, also of what is no error", () => {
  class Odd {
    toString(): string {
      throw new Error("no text");
    }
  }
  class Nameless extends Error {
    override get name(): string {
      throw new Error("no name");
    }
  }
  const told = [
    new Error("\x1b[2Jboo"),
    new Error("x".repeat(5000)),
    new Odd(),
    new Nameless("text"),
    null,
    Symbol("s"),
  ]
    .map(failureParcel);
  assertEquals(told, [
    ["failure", "Error", "[2Jboo"],
    ["failure", "Error", "x".repeat(1000) + "…"],
    ["failure", "Error", "it cannot be shown"],
    ["failure", "Error", "text"],
    ["failure", "Error", "null"],
    ["failure", "Error", "Symbol(s)"],
  ]);
});

/* ------------------------------------------------ names and ids ------------------------------------------- */

Deno.test("newId() makes ids, each time another", () => {
  assert(isId(newId()));
  assertNotEquals(newId(), newId());
  assertEquals(
    ["", "A", "a.b", "a b", "ü", "x".repeat(33), 5, null].map((each) => isId(each)),
    Array(8).fill(false),
  );
});

Deno.test("partOf() makes one part of a subject of any name, and never the same of two", () => {
  const names = fc.string({ unit: "binary", minLength: 1, maxLength: 20 }).filter((name) =>
    name.isWellFormed()
  );
  fc.assert(fc.property(names, names, (a, b) => {
    assert(/^[^\s.*>]+$/.test(partOf(a)), partOf(a));
    assertEquals(partOf(a) === partOf(b), a === b);
  }));
  assertEquals(["room.lobby", "*", ">", "a b", "日本"].map(partOf), [
    "room%2Elobby",
    "%2A",
    "%3E",
    "a%20b",
    "%E6%97%A5%E6%9C%AC",
  ]);
});

Deno.test("partOf() refuses names that are empty, too long or no text", () => {
  for (const name of ["", "x".repeat(257), "\ud800", undefined as unknown as string]) {
    assertThrows(() => partOf(name), RangeError, "Cannot use a name");
  }
  assert(partOf("日".repeat(256)).length < 4096);
});
