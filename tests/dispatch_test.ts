import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { Tasklet, TaskletExit } from "../tasklet.ts";
import { runSource, startSource } from "./program.ts";

// Each program runs in a process of its own; what it does is told by lines, never awaited by sleeping.
function program(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, timeout: 20_000 });
}

// A normal end

program("dispatch() of a main that returns ends with 0, after the children", async () => {
  const { code, lines, stderr } = await runSource(`
    dispatch(async function main() {
      Tasklet.new(async () => {
        await Tasklet.sleep(20);
        console.log("child");
      })();
      console.log("main", Tasklet.current()!.name);
    });
    console.log("dispatched");
  `);
  assertEquals([code, lines, stderr], [0, ["dispatched", "main main", "child"], ""]);
});

program("dispatch() gives the root tasklet, so that await dispatch(main) waits for nothing", async () => {
  const { code, lines } = await runSource(`
    const root = await dispatch(async function main() {
      await Tasklet.sleep(10);
      console.log("main ends");
      return 7;
    });
    console.log(root.alive, root instanceof Tasklet, root.parent, Tasklet.current());
    console.log(await root.join());
  `);
  assertEquals([code, lines], [0, ["true true undefined undefined", "main ends", "7"]]);
});

program("dispatch() checks its options", async () => {
  const { code, lines } = await runSource(`
    try { dispatch(() => {}, { grace: -1 }); } catch (error) { console.log(error.name, error.message); }
  `);
  assertEquals([code, lines.length], [0, 1]);
  assertMatch(lines[0]!, /^RangeError .*"grace"/);
});

// Failure

program("dispatch() of a main that fails reports it once, with its causes, and ends with 1", async () => {
  const { code, lines, stderr } = await runSource(`
    dispatch(async function main() {
      Tasklet.new(async () => {
        try {
          await Tasklet.sleep(10_000);
        } finally {
          await Tasklet.sleep(1);
          console.log("child cleans up");
        }
      })();
      await Tasklet.sleep(1);
      throw new Error("no luck", { cause: new TypeError("the reason") });
    });
  `);
  assertEquals([code, lines], [1, ["child cleans up"]]);
  assertEquals(stderr.match(/Error: no luck/g)?.length, 1, stderr);
  assertMatch(stderr, /main#\d+/);
  assertMatch(stderr, /TypeError: the reason/);
});

program("dispatch() of a main that fails at once, without waiting, ends with 1 too", async () => {
  const { code, stderr } = await runSource(`dispatch(() => { throw new Error("no luck"); });`);
  assertEquals([code, stderr.match(/Error: no luck/g)?.length], [1, 1]);
});

program(
  "dispatch() reports a child's error nobody asked for, also when main fails in the same turn",
  async () => {
    const { code, stderr } = await runSource(`
    dispatch(async function main() {
      const main = Tasklet.current()!;
      Tasklet.new(() => {
        MSG_A.send(main)();
        throw new Error("of the child");
      })();
      await Tasklet.receiveOne();
      throw new Error("of main");
    });
  `);
    assertEquals([code, stderr.match(/Error: of (the )?\w+/g)?.sort()], [1, [
      "Error: of main",
      "Error: of the child",
    ]]);
  },
);

program("dispatch() reports the error of a cleanup, also when it ends by a signal", async () => {
  await using program = startSource(`
    dispatch(async () => {
      Tasklet.new(async () => {
        try {
          await Tasklet.sleep(10_000);
        } finally {
          throw new Error("cannot flush");
        }
      })();
      console.log("ready");
      await Tasklet.sleep(10_000);
    });
  `);
  assertEquals(await program.line(), "ready");
  program.signal("SIGTERM");
  const { code, stderr } = await program.end();
  assertEquals([code, stderr.match(/Error: cannot flush/g)?.length], [143, 1], stderr);
});

program(
  "dispatch() does not change what a rejection outside of any tasklet does: the process ends",
  async () => {
    const { code, lines, stderr } = await runSource(`
    setTimeout(() => void Promise.reject(new Error("nobody's")), 20);
    dispatch(async () => {
      console.log("main");
      await Tasklet.sleep(10_000);
      console.log("went on");
    });
  `);
    assertEquals([code, lines], [1, ["main"]]);
    assertMatch(stderr, /Uncaught.*nobody's/s);
  },
);

program("dispatch() lives on when a child leaves a rejection behind", async () => {
  const { code, lines, stderr } = await runSource(`
    dispatch(async () => {
      Tasklet.new(async function careless() {
        void Promise.reject(new Error("floating"));
        await Tasklet.sleep(10_000);
      })();
      await Tasklet.sleep(20);
      console.log("lives on");
    });
  `);
  assertEquals([code, lines], [0, ["lives on"]]);
  assertMatch(stderr, /careless#\d+/);
  assertEquals(stderr.match(/Error: floating/g)?.length, 1);
});

// Signals

for (const [signal, expected] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
  program(
    `dispatch() at ${signal} kills the root with its children, runs cleanup, ends with ${expected}`,
    async () => {
      await using program = startSource(`
      async function body(name: string) {
        try {
          if (name === "main") Tasklet.new(body)("child");
          else console.log("ready");
          await Tasklet.sleep(100_000);
        } catch (error) {
          console.log(name, error instanceof TaskletExit);
          throw error;
        } finally {
          await Tasklet.sleep(10);
          console.log(name, "clean");
        }
      }
      dispatch(() => body("main"));
    `);
      assertEquals(await program.line(), "ready");
      program.signal(signal);
      const { code, lines, stderr } = await program.end();
      assertEquals([code, lines, stderr], [
        expected,
        ["child true", "main true", "child clean", "main clean"],
        "",
      ]);
    },
  );
}

program("dispatch() at a second signal exits at once, though cleanup hangs", async () => {
  await using program = startSource(`
    dispatch(async () => {
      try {
        console.log("ready");
        await Tasklet.sleep(100_000);
      } finally {
        console.log("cleaning");
        await new Promise(() => {});
      }
    }, { grace: 100_000 });
  `);
  assertEquals(await program.line(), "ready");
  program.signal("SIGINT");
  assertEquals(await program.line(), "cleaning");
  program.signal("SIGTERM");
  const { code, lines } = await program.end();
  assertEquals([code, lines], [143, []]);
});

// What a terminal and the `deno task` in it send at one Ctrl-C.
const TWICE = `process.emit("SIGINT", "SIGINT"), process.emit("SIGINT", "SIGINT")`;

program("dispatch() at a signal that comes twice in one instant cleans up as at one", async () => {
  const { code, lines } = await runSource(`
    import process from "node:process";
    dispatch(async () => {
      try {
        setTimeout(() => (${TWICE}), 1);
        await Tasklet.sleep(100_000);
      } finally {
        await Tasklet.sleep(100);
        console.log("clean");
      }
    });
  `);
  assertEquals([code, lines], [130, ["clean"]]);
});

program("dispatch() at a signal that came twice ends soon, though cleanup hangs", async () => {
  const { code } = await runSource(`
    import process from "node:process";
    dispatch(async () => {
      try {
        setTimeout(() => (${TWICE}), 1);
        await Tasklet.sleep(100_000);
      } finally {
        await new Promise(() => {});
      }
    }, { grace: 100_000 });
  `);
  assertEquals(code, 130);
});

program(
  "dispatch() at a signal abandons after the grace what hangs, reports it, and ends with its code",
  async () => {
    await using program = startSource(`
    dispatch(async () => {
      Tasklet.new(async function hangs() {
        try {
          await Tasklet.sleep(100_000);
        } finally {
          await new Promise(() => {});
        }
      })();
      console.log("ready");
      await Tasklet.sleep(100_000);
    }, { grace: 50 });
  `);
    assertEquals(await program.line(), "ready");
    program.signal("SIGTERM");
    const { code, stderr } = await program.end();
    assertEquals(code, 143);
    assertMatch(stderr, /hangs#\d+/);
  },
);

program("dispatch() ends at a signal a loop that swallows its exit for ever", async () => {
  await using program = startSource(`
    dispatch(async () => {
      console.log("ready");
      while (true) try { await Tasklet.sleep(100_000); } catch { /* swallowed */ }
    }, { grace: 50 });
  `);
  assertEquals(await program.line(), "ready");
  program.signal("SIGTERM");
  assertEquals((await program.end()).code, 143);
});

program("dispatch() ends at a signal two tasklets that play ping-pong for ever", async () => {
  await using program = startSource(`
    class MSG_BALL extends Message("MSG_BALL")<[from: Tasklet]> {}
    let rounds = 0;
    async function player() {
      for await (const msg of Tasklet.receive([MSG_BALL])) {
        MSG_BALL.send(msg.args[0])(Tasklet.current()!);
        if (++rounds === 10_000) console.log("playing");
      }
    }
    dispatch(() => {
      const [a, b] = [Tasklet.new(player)(), Tasklet.new(player)()];
      MSG_BALL.send(a)(b as Tasklet);
    });
  `);
  assertEquals(await program.line(), "playing");
  program.signal("SIGINT");
  assertEquals((await program.end()).code, 130);
});

program("dispatch() listens to the signals given, and leaves others what they are", async () => {
  const listeningTo = (signals: string[]) =>
    startSource(`
    dispatch(async () => {
      try {
        console.log("ready");
        await Tasklet.sleep(100_000);
      } finally {
        console.log("clean");
      }
    }, { signals: ${JSON.stringify(signals)} });
  `);
  await using program = listeningTo(["SIGUSR1"]);
  assertEquals(await program.line(), "ready");
  program.signal("SIGUSR1");
  const { code, lines } = await program.end();
  assertEquals([code, lines], [138, ["clean"]]);

  await using other = listeningTo([]);
  assertEquals(await other.line(), "ready");
  other.signal("SIGTERM");
  const { lines: none, code: ofSignal } = await other.end();
  assertEquals([ofSignal, none], [143, []]);
});

program("dispatch() lets go of the signals when main has finished", async () => {
  await using program = startSource(`
    await dispatch(() => {}).join();
    setTimeout(() => console.log("ready"), 20);
    setTimeout(() => {}, 100_000);
  `);
  assertEquals(await program.line(), "ready");
  program.signal("SIGTERM");
  assertEquals((await program.end()).code, 143);
});

// Tasklets outside of the root

const OUTSIDE = `
  function outside(name: string) {
    Tasklet.new(async () => {
      try {
        await Tasklet.sleep(100_000);
      } catch (error) {
        console.log(name, error instanceof TaskletExit);
        throw error;
      } finally {
        await Tasklet.sleep(10);
        console.log(name, "clean");
      }
    })();
  }
`;

program(
  "dispatch() at a signal kills tasklets created outside of any, before and after, with cleanup",
  async () => {
    await using program = startSource(`
    ${OUTSIDE}
    outside("before");
    dispatch(async () => {
      await Tasklet.sleep(20);
      console.log("ready");
      await Tasklet.sleep(100_000);
    });
    outside("after");
    setTimeout(() => outside("later"), 1);
  `);
    assertEquals(await program.line(), "ready");
    program.signal("SIGTERM");
    const { code, lines, stderr } = await program.end();
    const expected = ["before", "after", "later"].flatMap((name) => [`${name} true`, `${name} clean`]);
    assertEquals([code, lines.toSorted(), stderr], [143, expected.toSorted(), ""]);
  },
);

program("dispatch() kills tasklets created outside of any also by quit()", async () => {
  const { code, lines } = await runSource(`
    ${OUTSIDE}
    outside("task");
    dispatch(async () => {
      await Tasklet.sleep(1);
      await quit(3);
    });
  `);
  assertEquals([code, lines], [3, ["task true", "task clean"]]);
});

program("dispatch() leaves tasklets created outside of any alone when main returns", async () => {
  const { code, lines } = await runSource(`
    Tasklet.new(async () => {
      await Tasklet.sleep(50);
      console.log("outside ends");
    })();
    dispatch(() => console.log("main ends"));
  `);
  assertEquals([code, lines], [0, ["main ends", "outside ends"]]);
});

// Draining

program("dispatch() kills what nothing can wake, so that finally blocks run, and ends with 0", async () => {
  const { code, lines, stderr } = await runSource(`
    async function body(name: string) {
      try {
        await Tasklet.receiveOne();
      } catch (error) {
        console.log(name, error instanceof TaskletExit);
        throw error;
      } finally {
        await Tasklet.sleep(10);
        console.log(name, "clean");
      }
    }
    dispatch(() => {
      Tasklet.new(body)("child");
      return body("main");
    });
  `);
  assertEquals([code, lines, stderr], [0, ["child true", "main true", "child clean", "main clean"], ""]);
});

program("dispatch() drains also when main has returned and a child waits", async () => {
  const { code, lines } = await runSource(`
    dispatch(() => {
      const task = Tasklet.new(async () => {
        try {
          for await (const msg of Tasklet.receive()) console.log(msg.type);
        } finally {
          console.log("clean");
        }
      })();
      MSG_A.send(task)();
    });
  `);
  assertEquals([code, lines], [0, ["MSG_A", "clean"]]);
});

program(
  "dispatch() drains a tasklet that hangs at a plain promise: it is abandoned after the grace",
  async () => {
    const { code, stderr } = await runSource(`
    dispatch(async function main() {
      await new Promise(() => {});
    }, { grace: 50 });
  `);
    assertEquals(code, 0);
    assertMatch(stderr, /main#\d+/);
  },
);

program("dispatch() drains daemons too, when main has finished", async () => {
  const { code, lines } = await runSource(`
    dispatch(() => {
      Tasklet.new(async () => {
        try {
          console.log("daemon");
          await Tasklet.sleep(100_000);
        } finally {
          await Tasklet.sleep(10);
          console.log("daemon clean");
        }
      }, { daemon: true })();
      return Tasklet.yield();
    });
  `);
  assertEquals([code, lines], [0, ["daemon", "daemon clean"]]);
});

program("dispatch() does not linger for the timers of waits that have ended", async () => {
  const start = performance.now();
  const { code, lines } = await runSource(`
    dispatch(async () => {
      const server = Tasklet.receiver((msg: MSG_ASK) => msg.reply(1));
      console.log(await MSG_ASK.call(server, { timeout: 1_000_000 })());
      MSG_A.send(Tasklet.current()!)();
      await Tasklet.receiveOne([MSG_A], { timeout: 1_000_000 });
      await Tasklet.new(() => {})().join({ timeout: 1_000_000 });
      { using _ = Timeout.push(1_000_000); await Tasklet.yield(); }
      const killed = Tasklet.new(() => Tasklet.sleep(1_000_000))();
      await Tasklet.yield();
      await killed.kill({ grace: 1_000_000 });
      await server.kill();
    });
  `);
  assertEquals([code, lines], [0, ["1"]]);
  assert(performance.now() - start < 9000);
});

// quit

program("quit() kills the root, runs cleanup, and exits with its code", async () => {
  const { code, lines, stderr } = await runSource(`
    dispatch(async () => {
      Tasklet.new(async () => {
        try {
          await Tasklet.sleep(100_000);
        } finally {
          await Tasklet.sleep(10);
          console.log("child clean");
        }
      })();
      await Tasklet.sleep(1);
      try {
        await quit(3);
        console.log("went on");
      } catch (error) {
        console.log(error instanceof TaskletExit);
        throw error;
      }
    });
  `);
  assertEquals([code, lines, stderr], [3, ["true", "child clean"], ""]);
});

program("quit() twice exits with the first code", async () => {
  const { code } = await runSource(`
    dispatch(async () => {
      Tasklet.new(() => quit(4))();
      Tasklet.new(() => quit(5))();
      await Tasklet.sleep(100_000);
    });
  `);
  assertEquals(code, 4);
});

program(
  "quit() in a cleanup, a daemon, or outside of a tasklet, awaited or not, ends the program",
  async () => {
    const ends = {
      cleanup:
        `dispatch(async () => { try { throw new Error("x") } catch { void quit(3); await Tasklet.sleep(100_000); } });`,
      daemon: `dispatch(async () => {
      Tasklet.new(() => quit(3), { daemon: true })();
      await Tasklet.sleep(100_000);
    });`,
      outside: `dispatch(() => Tasklet.sleep(100_000)); setTimeout(() => void quit(3), 10);`,
      default: `dispatch(async () => { await quit(); });`,
    };
    const outcomes = await Promise.all(
      Object.entries(ends).map(async ([name, source]) => {
        const { code, stderr } = await runSource(source);
        return [name, code, stderr];
      }),
    );
    assertEquals(outcomes, [["cleanup", 3, ""], ["daemon", 3, ""], ["outside", 3, ""], ["default", 0, ""]]);
  },
);

program("quit() without a program exits at once", async () => {
  const { code, lines } = await runSource(`console.log("before"); void quit(6); console.log("after");`);
  assertEquals([code, lines], [6, ["before"]]);
});

program(
  "quit() lets the error of a cleanup be reported before it exits",
  async () => {
    const { code, stderr } = await runSource(`
    dispatch(async function main() {
      Tasklet.new(async () => {
        try { await Tasklet.sleep(100_000); } finally { throw new Error("of the daemon"); }
      }, { daemon: true, name: "daemon" })();
      await Tasklet.yield();
      await quit(3);
    });
  `);
    assertEquals([code, stderr.match(/Error: of the daemon/g)?.length], [3, 1], stderr);
  },
);

// In this process

Deno.test("dispatch() is not needed: tasklets run without it", async () => {
  const task = Tasklet.new(() => Tasklet.sleep(1000))();
  await Tasklet.yield();
  await task.kill();
  const error = await assertRejects(() => task.join());
  assert((error as Error).cause instanceof TaskletExit);
});
