import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { TelnetFilter } from "../telnet.ts";

const [IAC, DONT, DO, WONT, WILL, SB, SE] = [255, 254, 253, 252, 251, 250, 240] as const;
const IP = 244;
const TIMING_MARK = 6;
const CTRL_D = 4;

interface Result {
  content: number[];
  answers: number[];
  hasEnded: boolean;
}

/** Filters `chunks` one after the other. */
function filter(...chunks: number[][]): Result {
  const telnet = new TelnetFilter();
  const result: Result = { content: [], answers: [], hasEnded: false };
  for (const chunk of chunks) {
    const bytes = new Uint8Array(chunk);
    const { length, answers } = telnet.filter(bytes);
    result.content.push(...bytes.subarray(0, length));
    result.answers.push(...answers);
  }
  return { ...result, hasEnded: telnet.hasEnded };
}

function content(...content: number[]): Result {
  return { content, answers: [], hasEnded: false };
}

function bytesOf(text: string): number[] {
  return [...new TextEncoder().encode(text)];
}

/* ------------------------------------------------ TelnetFilter ------------------------------------------------ */

Deno.test("TelnetFilter leaves text alone, with controls, line ends and any UTF-8", () => {
  const text = bytesOf("a\r\nb\nc\rd\t\x1b[2J\x03\0é€😀\u0085");
  assertEquals(filter(text), content(...text));
});

Deno.test("TelnetFilter takes IAC IAC as one 255", () => {
  assertEquals(filter([97, IAC, IAC, 98, IAC, IAC, IAC, IAC]), content(97, 255, 98, 255, 255));
});

Deno.test("TelnetFilter takes CR NUL as the end of a line, and NUL elsewhere as content", () => {
  assertEquals(filter([97, 13, 0, 98, 0, 13, 10, 0]), content(97, 13, 10, 98, 0, 13, 10, 0));
});

Deno.test("TelnetFilter declines every option", () => {
  const log: unknown[] = [];
  const expected: unknown[] = [];
  for (let option = 0; option < 256; option++) {
    for (const verb of [DO, WILL, DONT, WONT]) log.push(filter([97, IAC, verb, option, 98]));
    const answers = [[IAC, WONT, option], [IAC, DONT, option], [], []];
    expected.push(...answers.map((answers) => ({ ...content(97, 98), answers })));
  }
  assertEquals(log, expected);
});

Deno.test("TelnetFilter swallows every command without an option", () => {
  for (let command = 0; command < SB; command++) {
    if (command === IP) continue;
    assertEquals(filter([97, IAC, command, 98]), content(97, 98), `command ${command}`);
  }
});

Deno.test("TelnetFilter swallows what is negotiated in detail, up to IAC SE", () => {
  const size = [IAC, SB, 31, 0, 80, 0, IAC, IAC, IAC, SE]; // a window of 80 by 255
  const hostile = [IAC, SB, 24, CTRL_D, IAC, IP, IAC, DO, 13, 10, IAC, IAC, SE, IAC, SE];
  assertEquals(filter([97, ...size, 98, ...hostile, 99]), content(97, 98, 99));
});

Deno.test("TelnetFilter ends at Ctrl-C, and answers the mark that comes with it", () => {
  const ctrlC = [IAC, IP, IAC, DO, TIMING_MARK];
  const expected = { content: [97], answers: [IAC, WONT, TIMING_MARK], hasEnded: true };
  for (let at = 0; at <= ctrlC.length; at++) {
    assertEquals(
      filter([97, ...ctrlC.slice(0, at)], [...ctrlC.slice(at), 98, 10]),
      expected,
      `split at ${at}`,
    );
  }
});

Deno.test("TelnetFilter ends at Ctrl-D", () => {
  assertEquals(filter([97, CTRL_D, 98], [99]), { content: [97], answers: [], hasEnded: true });
});

Deno.test("TelnetFilter does not take a 4 for Ctrl-D where it is an option or a command", () => {
  assertEquals(filter([IAC, DO, CTRL_D, IAC, CTRL_D, 97]), { ...content(97), answers: [IAC, WONT, CTRL_D] });
});

Deno.test("TelnetFilter gives the same content and answers, however the input is split", () => {
  const token = (bytes: number[], result: Partial<Result> = {}) => ({
    bytes,
    result: { ...content(), ...result },
  });
  const option = fc.constantFrom(0, 1, 3, 4, 6, 13, 24, 31, 240, 250, 255);
  const anyToken = fc.oneof(
    fc.constantFrom("a", "\r\n", "\n", "\r ", "é", "😀").map(bytesOf).map((b) => token(b, { content: b })),
    fc.constant(token([13, 0], { content: [13, 10] })),
    fc.constant(token([IAC, IAC], { content: [255] })),
    fc.constantFrom(0, 4, 10, 236, 239, 240, 241, 245, 246, 249).map((command) => token([IAC, command])),
    option.map((o) => token([IAC, DO, o], { answers: [IAC, WONT, o] })),
    option.map((o) => token([IAC, WILL, o], { answers: [IAC, DONT, o] })),
    fc.tuple(fc.constantFrom(WONT, DONT), option).map(([verb, o]) => token([IAC, verb, o])),
    fc.array(fc.integer({ min: 0, max: 254 })).map((b) => token([IAC, SB, ...b, IAC, IAC, IAC, SE])),
    fc.constantFrom([CTRL_D], [IAC, IP]).map((b) => token([...b], { hasEnded: true })),
  );
  fc.assert(fc.property(fc.array(anyToken, { maxLength: 10 }), (tokens) => {
    const bytes = tokens.flatMap((token) => token.bytes);
    const expected = content();
    for (const { result } of tokens) {
      expected.hasEnded ||= result.hasEnded;
      if (!expected.hasEnded) expected.content.push(...result.content);
      expected.answers.push(...result.answers);
    }
    for (let at = 0; at <= bytes.length; at++) {
      assertEquals(filter(bytes.slice(0, at), bytes.slice(at)), expected, `split at ${at}`);
    }
    assertEquals(filter(...bytes.map((byte) => [byte])), expected, "byte by byte");
  }));
});
