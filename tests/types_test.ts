// deno-lint-ignore-file concurrence/no-floating-wait -- most of what stands here never runs
/**
 * What the compiler must accept, refuse and infer: checked by `deno check`, so most functions here never run.
 *
 * @module
 */
import { assert } from "@std/assert";
import {
  type AnyMessage,
  type CallOptions,
  Message,
  type MessageConstructor,
  type Receiver,
  type ReplyOf,
  type Sender,
} from "../message.ts";
import { after, Channel, messages, select, type Selected, type Source } from "../channel.ts";
import {
  type AnyTasklet,
  JoinError,
  type Life,
  type MailboxView,
  MSG_DOWN,
  type Self,
  Tasklet,
} from "../tasklet.ts";

class MSG_GREETING extends Message("MSG_GREETING")<[name: string]> {}
class MSG_LOUD_GREETING extends MSG_GREETING {
  readonly volume = 11;
}
class MSG_FAREWELL extends Message("MSG_FAREWELL")<[name: string]> {}
class MSG_SUM extends Message("MSG_SUM")<number[], number> {}
class MSG_FIND extends Message("MSG_FIND")<[name: string, options?: { deep: boolean }], string | undefined> {}
class MSG_QUIT extends Message("MSG_QUIT") {}

/** Whether two types are the same, also as to `any`, `readonly` and optional members. */
type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false;

/** Checks at compile time that a type is `true`. */
function check<_T extends true>(): void {}

/** Checks the type of a value. */
function typeOf<T>(_value: T): { is<U>(..._: Equal<T, U> extends true ? [] : ["not the same type"]): void } {
  return { is: () => {} };
}

declare const anybody: Receiver;
declare const greeted: Tasklet<void, MSG_GREETING | MSG_QUIT>;
declare const adder: Receiver<MSG_SUM>;
declare const someone: AnyMessage;

Deno.test("Equal<A, B> tells types apart that are assignable to each other", () => {
  check<Equal<{ a: 1 }, { a: 1 }>>();
  // deno-lint-ignore no-explicit-any
  type Any = any;
  // @ts-expect-error: any is not unknown
  check<Equal<Any, unknown>>();
  // @ts-expect-error: readonly counts
  check<Equal<{ a: 1 }, { readonly a: 1 }>>();
  // @ts-expect-error: so does a wider member
  typeOf(1 as number).is<number | string>();
});

// ------------------------------------------------------------------------------------------------
// Message classes

Deno.test("Message() types type, args and reply", () => {
  check<Equal<typeof MSG_GREETING.type, "MSG_GREETING">>();
  check<Equal<MSG_GREETING["type"], "MSG_GREETING">>();
  check<Equal<MSG_GREETING["args"], [name: string]>>();
  check<Equal<MSG_QUIT["args"], []>>();
  check<Equal<MSG_SUM["args"], number[]>>();
  check<Equal<MSG_LOUD_GREETING["args"], [name: string]>>();
  check<Equal<ReplyOf<MSG_SUM>, number>>();
  check<Equal<ReplyOf<MSG_FIND>, string | undefined>>();
  check<Equal<ReplyOf<MSG_GREETING>, void>>();
  check<Equal<MSG_GREETING["sender"], Sender | undefined>>();
});

Deno.test("Message() is made with its arguments only", () => {
  void (() => {
    new MSG_GREETING("World");
    // @ts-expect-error: an argument is missing
    new MSG_GREETING();
    // @ts-expect-error: not a string
    new MSG_GREETING(1);
    // @ts-expect-error: it takes none
    new MSG_QUIT(1);
    // @ts-expect-error: the name is a string
    Message(1);
  });
});

Deno.test("Message classes are nominal: equal arguments do not make them the same", () => {
  void (() => {
    const greeting: MSG_GREETING = new MSG_LOUD_GREETING("World"); // a subclass will do
    // @ts-expect-error: another class with the same arguments will not
    const farewell: MSG_FAREWELL = greeting;
    void farewell;
    // @ts-expect-error: nor when sent
    MSG_FAREWELL.send(greeted)("World");
  });
});

Deno.test("A message's members are read-only", () => {
  void ((msg: MSG_GREETING) => {
    // @ts-expect-error: type
    msg.type = "MSG_GREETING";
    // @ts-expect-error: args
    msg.args = ["World"];
    // @ts-expect-error: sender
    msg.sender = undefined;
  });
});

// ------------------------------------------------------------------------------------------------
// send and call

Deno.test("MSG.send() takes the arguments of the class and gives a boolean", () => {
  void (() => {
    typeOf(MSG_GREETING.send(anybody)("World")).is<boolean>();
    typeOf(MSG_GREETING.send(anybody)).is<(name: string) => boolean>();
    MSG_FIND.send(anybody)("a");
    MSG_FIND.send(anybody)("a", { deep: true });
    // @ts-expect-error: no argument
    MSG_GREETING.send(anybody)();
    // @ts-expect-error: wrong argument
    MSG_GREETING.send(anybody)(1);
    // @ts-expect-error: one too many
    MSG_GREETING.send(anybody)("a", "b");
    // @ts-expect-error: one of many is wrong
    MSG_SUM.send(anybody)(1, "2");
    // @ts-expect-error: wrong member of an option
    MSG_FIND.send(anybody)("a", { deep: 1 });
    // @ts-expect-error: nothing to send to
    MSG_GREETING.send()("World");
    // @ts-expect-error: no receiver
    MSG_GREETING.send({})("World");
    // @ts-expect-error: a tasklet that may have ended is to be looked at first
    MSG_GREETING.send(undefined as Tasklet | undefined)("World");
  });
});

Deno.test("MSG.send() refuses what the receiver does not accept", () => {
  void (() => {
    MSG_GREETING.send(greeted)("World");
    MSG_LOUD_GREETING.send(greeted)("World");
    MSG_QUIT.send(greeted)();
    // @ts-expect-error: not in its protocol
    MSG_SUM.send(greeted)(1);
    // @ts-expect-error: not in that of all of them
    MSG_SUM.send([adder, greeted])(1);
    // @ts-expect-error: a set of receivers as well
    MSG_SUM.send(new Set([greeted]))(1);
    MSG_GREETING.send([greeted, anybody])("World");
    MSG_GREETING.send(new Set([greeted]))("World");
    MSG_GREETING.send(new Map([["a", greeted]]).values())("World");
    MSG_QUIT.send(Tasklet.current()!)();
  });
});

Deno.test("MSG.call() promises the reply of the class", () => {
  void (async () => {
    typeOf(MSG_SUM.call(adder)(1, 2)).is<Promise<number>>();
    typeOf(await MSG_SUM.call(adder, { timeout: 500 })(1, 2)).is<number>();
    typeOf(await MSG_FIND.call(anybody)("a")).is<string | undefined>();
    typeOf(await MSG_QUIT.call(anybody)()).is<void>();
    typeOf(MSG_SUM.call(adder)).is<(...args: number[]) => Promise<number>>();
    // @ts-expect-error: wrong argument
    MSG_SUM.call(adder)("1");
    // @ts-expect-error: not in the protocol
    MSG_FIND.call(adder)("a");
    // @ts-expect-error: one callee only
    MSG_SUM.call([adder])(1);
    // @ts-expect-error: no such option
    MSG_SUM.call(adder, { within: 500 })(1);
    // @ts-expect-error: milliseconds are a number
    MSG_SUM.call(adder, { timeout: "1s" })(1);
  });
});

Deno.test("CallOptions take undefined for each", () => {
  ({ timeout: undefined, signal: undefined }) satisfies CallOptions;
  ({ timeout: 1, signal: new AbortController().signal }) satisfies CallOptions;
});

Deno.test("msg.reply() takes the reply of the class", () => {
  void ((sum: MSG_SUM, quit: MSG_QUIT, find: MSG_FIND, any: AnyMessage) => {
    typeOf(sum.reply(1)).is<boolean>();
    typeOf(sum.fail(new Error())).is<boolean>();
    typeOf(sum.defer()).is<MSG_SUM>();
    // @ts-expect-error: not a number
    sum.reply("1");
    // @ts-expect-error: nothing
    sum.reply();
    // @ts-expect-error: not yet a number
    sum.reply(Promise.resolve(1));
    quit.reply();
    quit.reply(undefined);
    // @ts-expect-error: it has no reply
    quit.reply(1);
    find.reply(undefined);
    any.reply("whatever");
  });
});

// ------------------------------------------------------------------------------------------------
// match

Deno.test("msg.match() narrows any message, and to a subclass", () => {
  void (() => {
    const msg = someone;
    if (msg.match(MSG_GREETING)) {
      typeOf(msg.args).is<[name: string]>();
      typeOf(msg.type).is<"MSG_GREETING">();
      if (msg.match(MSG_LOUD_GREETING)) typeOf(msg.args).is<[name: string]>();
    } else if (msg.match(MSG_SUM)) {
      typeOf(msg.args).is<number[]>();
      // @ts-expect-error: the reply is narrowed as well
      msg.reply("1");
    }
    // @ts-expect-error: not a message class
    msg.match(Date);
  });
});

Deno.test("msg.match() narrows a union until nothing is left", () => {
  void ((msg: MSG_GREETING | MSG_FAREWELL | MSG_QUIT) => {
    if (msg.match(MSG_GREETING)) typeOf(msg).is<MSG_GREETING>();
    else if (msg.match(MSG_FAREWELL)) typeOf(msg).is<MSG_FAREWELL>();
    else if (msg.match(MSG_QUIT)) typeOf(msg).is<MSG_QUIT>();
    else msg satisfies never;

    if (msg.match(MSG_GREETING)) return;
    if (msg.match(MSG_QUIT)) return;
    // @ts-expect-error: MSG_FAREWELL is left
    msg satisfies never;
    typeOf(msg).is<MSG_FAREWELL>();
  });
});

Deno.test("switch (msg.type) narrows as match does", () => {
  void ((msg: MSG_GREETING | MSG_SUM | MSG_QUIT) => {
    switch (msg.type) {
      case "MSG_GREETING":
        typeOf(msg).is<MSG_GREETING>();
        break;
      case "MSG_SUM":
        typeOf(msg).is<MSG_SUM>();
        break;
      // @ts-expect-error: no message of that name
      case "MSG_OTHER":
        break;
      case "MSG_QUIT":
        typeOf(msg).is<MSG_QUIT>();
        break;
      default:
        msg satisfies never;
    }
  });
});

// ------------------------------------------------------------------------------------------------
// Receiver

Deno.test("Receiver is contravariant: one of more messages serves where one of fewer is wanted", () => {
  void ((both: Receiver<MSG_GREETING | MSG_QUIT>, loud: Receiver<MSG_LOUD_GREETING>) => {
    both satisfies Receiver<MSG_QUIT>;
    anybody satisfies Receiver<MSG_QUIT>;
    both satisfies Receiver<MSG_LOUD_GREETING>;
    greeted satisfies Receiver<MSG_GREETING>;
    greeted satisfies Receiver<never>;
    // @ts-expect-error: the reverse does not hold
    both satisfies Receiver;
    // @ts-expect-error: nor for a subclass
    loud satisfies Receiver<MSG_GREETING>;
    // @ts-expect-error: nor for a tasklet
    greeted satisfies Receiver<MSG_SUM>;
    // @ts-expect-error: nor between tasklets
    greeted satisfies Tasklet<void, MSG_GREETING | MSG_QUIT | MSG_SUM>;
    greeted satisfies Tasklet<unknown, MSG_QUIT>;
    greeted satisfies AnyTasklet;
  });
});

Deno.test("msg.sender can be sent to", () => {
  void ((msg: MSG_GREETING) => {
    MSG_FAREWELL.send(msg.sender!)(`${msg.sender?.name} ${msg.sender?.id.toFixed()}`);
    // @ts-expect-error: there may be none
    MSG_FAREWELL.send(msg.sender)("World");
  });
});

// ------------------------------------------------------------------------------------------------
// Tasklet.new()

Deno.test("Tasklet.new() infers arguments, result and protocol of the body", () => {
  void (() => {
    typeOf(Tasklet.new(() => {})()).is<Tasklet<void>>();
    typeOf(Tasklet.new(() => 1)()).is<Tasklet<number>>();
    typeOf(Tasklet.new((n: number, s: string) => Promise.resolve({ n, s }))(1, "a")).is<
      Tasklet<{ n: number; s: string }>
    >();
    // deno-lint-ignore require-await
    async function printer(this: Self<MSG_GREETING | MSG_QUIT>, prefix: string): Promise<number> {
      return prefix.length;
    }
    const task = Tasklet.new(printer, { name: "printer" })("> ");
    typeOf(task).is<Tasklet<number, MSG_GREETING | MSG_QUIT>>();
    typeOf(task.join()).is<Promise<number>>();
    // @ts-expect-error: the body takes a string
    Tasklet.new(printer)(1);
    // @ts-expect-error: and needs it
    Tasklet.new(printer)();
    // @ts-expect-error: outside of its protocol
    MSG_SUM.send(task)(1);
    // @ts-expect-error: it must be run by Tasklet.new
    printer("> ");
    // @ts-expect-error: no such option
    Tasklet.new(printer, { prio: 1 });
    // @ts-expect-error: no such overflow
    Tasklet.new(printer, { mailbox: { capacity: 1, overflow: "drop-newest" } });
  });
});

Deno.test("Tasklet without a protocol accepts every message", () => {
  void (() => {
    const task = Tasklet.new(async () => {
      for await (const msg of Tasklet.receive()) typeOf(msg).is<AnyMessage>();
    })();
    MSG_GREETING.send(task)("World");
    MSG_SUM.call(task)(1);
  });
});

Deno.test("Tasklet is not thenable, and made by Tasklet.new() alone", () => {
  void (async (task: Tasklet<number>) => {
    typeOf(await task).is<Tasklet<number>>();
    // @ts-expect-error: no then
    task.then;
    // @ts-expect-error: the constructor is not for users
    new Tasklet("name", {});
    // @ts-expect-error: what happens to it is not set from outside
    task.status = "done";
    typeOf(task.mailbox).is<MailboxView>();
  });
});

// ------------------------------------------------------------------------------------------------
// receive

Deno.test("this.receive() yields the union, and of classes their instances", () => {
  void async function (this: Self<MSG_GREETING | MSG_FAREWELL | MSG_QUIT>) {
    for await (const msg of this.receive()) typeOf(msg).is<MSG_GREETING | MSG_FAREWELL | MSG_QUIT>();
    for await (const msg of this.receive([MSG_QUIT])) typeOf(msg).is<MSG_QUIT>();
    for await (const msg of this.receive([MSG_GREETING, MSG_QUIT], { timeout: 10 })) {
      typeOf(msg).is<MSG_GREETING | MSG_QUIT>();
    }
    typeOf(await this.receiveOne()).is<MSG_GREETING | MSG_FAREWELL | MSG_QUIT>();
    typeOf(await this.receiveOne([MSG_FAREWELL])).is<MSG_FAREWELL>();
    for (const msg of this.pending()) typeOf(msg).is<MSG_GREETING | MSG_FAREWELL | MSG_QUIT>();
    // @ts-expect-error: not in its protocol
    this.receive([MSG_SUM]);
    // @ts-expect-error: not in its protocol
    this.receiveOne([MSG_GREETING, MSG_SUM]);
    // @ts-expect-error: classes come in an array
    this.receive(MSG_QUIT);
    MSG_QUIT.send(this)();
    // @ts-expect-error: also to itself it sends only what it accepts
    MSG_SUM.send(this)(1);
  };
});

Deno.test("this.receive() proves a chain of matches complete", () => {
  void async function (this: Self<MSG_GREETING | MSG_SUM>) {
    for await (const msg of this.receive()) {
      if (msg.match(MSG_GREETING)) typeOf(msg.args).is<[name: string]>();
      else if (msg.match(MSG_SUM)) msg.reply(msg.args.reduce((a, b) => a + b));
      else msg satisfies never;
    }
  };
  void async function (this: Self<MSG_GREETING | MSG_SUM>) {
    for await (const msg of this.receive()) {
      if (msg.match(MSG_GREETING)) continue;
      // @ts-expect-error: MSG_SUM is not handled
      else msg satisfies never;
    }
  };
});

Deno.test("Tasklet.receive() yields any message, and of classes their instances", () => {
  void (async () => {
    for await (const msg of Tasklet.receive()) typeOf(msg).is<AnyMessage>();
    for await (const msg of Tasklet.receive([MSG_GREETING, MSG_SUM])) {
      typeOf(msg).is<MSG_GREETING | MSG_SUM>();
    }
    typeOf(await Tasklet.receiveOne()).is<AnyMessage>();
    typeOf(await Tasklet.receiveOne([MSG_SUM], { timeout: 10 })).is<MSG_SUM>();
    typeOf(await Tasklet.receiveOne([MSG_DOWN])).is<MSG_DOWN>();
    for (const msg of Tasklet.pending()) typeOf(msg).is<AnyMessage>();
    // @ts-expect-error: not message classes
    Tasklet.receive([Date]);
    // @ts-expect-error: not in an array
    Tasklet.receiveOne(MSG_SUM);
  });
});

Deno.test("Tasklet.receiver() types its function's message as its protocol", () => {
  void (() => {
    const task = Tasklet.receiver((msg: MSG_GREETING | MSG_SUM) => void msg.args);
    MSG_GREETING.send(task)("World");
    // @ts-expect-error: not in its protocol
    MSG_QUIT.send(task)();
    typeOf(task.join()).is<Promise<void>>();
  });
});

// ------------------------------------------------------------------------------------------------
// join and the rest

Deno.test("Tasklet.joinAll() gives a tuple for a tuple and an array for an array", () => {
  void (async (a: Tasklet<number>, b: Tasklet<string, MSG_QUIT>, many: Tasklet<Date>[]) => {
    typeOf(await Tasklet.joinAll([a, b])).is<[number | JoinError, string | JoinError]>();
    typeOf(await Tasklet.joinAll(many)).is<(Date | JoinError)[]>();
    typeOf(await Tasklet.joinAll([])).is<[]>();
    const [first] = await Tasklet.joinAll([a, b], { timeout: 10 });
    if (first instanceof JoinError) typeOf(first.tasklet).is<Life>();
    else typeOf(first).is<number>();
    // @ts-expect-error: not tasklets
    Tasklet.joinAll([Promise.resolve(1)]);
  });
});

Deno.test("Tasklet's functions give what their body gives, awaited", () => {
  void (async () => {
    typeOf(await Tasklet.scope(() => Promise.resolve(1))).is<number>();
    typeOf(await Tasklet.wait(Promise.resolve("a"), { timeout: 1 })).is<string>();
    typeOf(await Tasklet.suspend<number>((resume) => resume(1))).is<number>();
    // @ts-expect-error: not a number
    Tasklet.suspend<number>((resume) => resume("1"));
    typeOf(Tasklet.later(10, (n: number) => `${n}`)(1)).is<Tasklet<string>>();
    typeOf(Tasklet.interval(10, () => {}, { immediate: true })()).is<Tasklet<never>>();
    // @ts-expect-error: later takes no such option
    Tasklet.later(10, () => {}, { immediate: true });
    Tasklet.rate(10, (time, n: number) => time.toFixed(n))(1);
    typeOf(Tasklet.current()).is<Tasklet | undefined>();
    typeOf(Tasklet.whereis("name")).is<Tasklet | undefined>();
  });
});

Deno.test("Tasklet.monitor() takes MSG_DOWN or a class with its arguments", () => {
  class MSG_GONE extends Message("MSG_GONE")<[task: AnyTasklet, error: unknown]> {}
  void ((task: Tasklet<number, MSG_QUIT>) => {
    using _down = Tasklet.monitor(task);
    using _gone = Tasklet.monitor(task, MSG_GONE);
    check<Equal<MSG_DOWN["args"], [task: AnyTasklet, error: unknown]>>();
    // @ts-expect-error: its argument is a string
    Tasklet.monitor(task, MSG_GREETING);
  });
});

// ------------------------------------------------------------------------------------------------
// Channels and select

Deno.test("Channel<T> gives and takes T only", () => {
  void (async (channel: Channel<number | undefined>, numbers: Channel<number>) => {
    typeOf(new Channel()).is<Channel<unknown>>();
    typeOf(channel.send(1)).is<Promise<void>>();
    typeOf(await channel.receive({ timeout: undefined })).is<number | undefined>();
    typeOf(channel.tryReceive()).is<{ readonly value: number | undefined } | undefined>();
    for await (const value of channel) typeOf(value).is<number | undefined>();
    channel.trySend(undefined);
    numbers.sendError("anything");
    // @ts-expect-error: not a number
    numbers.send("1");
    // @ts-expect-error: nor here
    numbers.trySend(undefined);
    // @ts-expect-error: no such option
    numbers.receive({ within: 1 });
    // @ts-expect-error: what it is, is for the channel to say
    numbers.balance = 1;
    numbers satisfies Source<number>;
    numbers satisfies Source<number | undefined>; // who only takes is content with more
    // @ts-expect-error: who sends as well is not
    numbers satisfies Channel<number | undefined>;
    // @ts-expect-error: nor who wants a number each time
    channel satisfies Channel<number>;
  });
});

Deno.test("select() resolves to a union that its key tells apart", () => {
  void (async (a: Channel<number>, b: Channel<string>, c: Channel<boolean> | undefined) => {
    const sources = {
      a,
      b,
      c,
      msg: messages([MSG_GREETING, MSG_SUM]),
      any: messages(),
      idle: after(10),
      1: a,
    };
    const [key, value] = await select(sources, { timeout: 10 });
    typeOf(key).is<"a" | "b" | "c" | "msg" | "any" | "idle" | "1">();
    if (key === "a" || key === "1") typeOf(value).is<number>();
    else if (key === "b") typeOf(value).is<string>();
    else if (key === "c") typeOf(value).is<boolean>();
    else if (key === "msg") typeOf(value).is<MSG_GREETING | MSG_SUM>();
    else if (key === "any") typeOf(value).is<AnyMessage>();
    else if (key === "idle") typeOf(value).is<undefined>();
    else key satisfies never;
    typeOf(await select({ a })).is<[key: "a", value: number]>();
    // @ts-expect-error: not yet told apart
    value.toFixed();
    // @ts-expect-error: a promise is no source
    select({ a, b: Promise.resolve(1) });
    // @ts-expect-error: sources have names
    select([a, b]);
    // @ts-expect-error: a class that is no message
    messages([Date]);
  });
});

Deno.test("select() takes sources that are known only when it runs", () => {
  void (async (a: Channel<number>, all: Record<string, Channel<number>>, b?: Channel<string>) => {
    typeOf(await select(all)).is<[key: string, value: number]>();
    const [key, value] = await select({ a, ...(b && { b }) });
    if (key === "b") typeOf(value).is<string>();
    else typeOf(value).is<number>();
    check<Equal<Selected<{ a?: Channel<number>; b: Source<string> }>, ["a", number] | ["b", string]>>();
  });
});

Deno.test("MessageConstructor covers every message class", () => {
  const classes: MessageConstructor[] = [
    MSG_GREETING,
    MSG_LOUD_GREETING,
    MSG_FAREWELL,
    MSG_SUM,
    MSG_FIND,
    MSG_QUIT,
  ];
  assert(classes.every((Class) => typeof Class === "function"));
});
