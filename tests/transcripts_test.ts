import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { TIME } from "./servers.ts";
import { replay, TRANSCRIPTS } from "./transcripts.ts";

/** The programs: each has a session that tells what it does. */
const PROGRAMS = ["chat", "chatter", "directory", "echo", "greeting", "sleepers"];

const files = [...Deno.readDirSync(TRANSCRIPTS)].map(({ name }) => name).toSorted();

for (const file of files) {
  Deno.test(`The session of transcripts/${file} goes as it is written`, TIME, async () => {
    await replay(await Deno.readTextFile(new URL(file, TRANSCRIPTS)));
  });
}

Deno.test("Every program has a transcript", () => {
  assertEquals(PROGRAMS.filter((name) => !files.includes(`${name}.txt`)), []);
});

/* -------------------------------- The reader itself, which must not be fooled ----------------------------------- */

const SESSION = `any 1980: the port it listens on
any 50001: the port of jane
$ echo
log: Serving on ('localhost', 1980)
jane connects
jane> hello\\
jane< hello\\
log: Received "hello" from ('127.0.0.1', 50001)
log: Send: "hello"
jane ends her side
jane is closed
log: Close the client socket
^C
exit 130
`;

Deno.test("replay() accepts a session that goes as it is written", TIME, async () => {
  await replay(SESSION);
});

for (
  const [what, from, to, where] of [
    ["another answer", "jane< hello\\", "jane< hallo\\", "line 7: jane< hallo\\"],
    ["an answer with a newline that is none", "jane< hello\\", "jane< hello", "line 7: jane< hello"],
    ["less than was answered", "jane< hello\\", "jane< hell\\", "line 11: jane is closed"],
    ["more than was answered", "jane< hello\\", "jane< hello\\\njane< more\\", "line 8: jane< more\\"],
    ["no answer at all", "jane< hello\\\n", "", "line 10: jane is closed"],
    ["another log", `log: Send: "hello"`, `log: Send: "hallo"`, `line 9: log: Send: "hallo"`],
    ["less log", "log: Close the client socket\n", "", "line 13: exit 130"],
    [
      "the port of another",
      "', 50001)",
      "', 1980)",
      `line 8: log: Received "hello" from ('127.0.0.1', 1980)`,
    ],
    [
      "a port that is not declared",
      "any 50001: the port of jane\n",
      "",
      `line 7: log: Received "hello" from ('127.0.0.1', 50001)`,
    ],
    ["another exit code", "exit 130", "exit 0", "line 14: exit 0"],
    ["no end", "exit 130\n", "", "Values are not equal: a transcript goes on to the end of its program"],
    ["a line that it cannot read", "jane connects", "jane connects slowly", "line 5: jane connects slowly"],
  ] as const
) {
  Deno.test(`replay() refuses ${what}`, TIME, async () => {
    assertEquals(SESSION.includes(from), true);
    const error = await assertRejects(() => replay(SESSION.replace(from, () => to), 1000), Error);
    assertStringIncludes(error.message.split("\n")[0]!, where);
  });
}
