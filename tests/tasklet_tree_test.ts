import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { AsyncLocalStorage } from "node:async_hooks";
import { type AnyTasklet, JoinError, Tasklet, TaskletExit, type TaskletStatus } from "../tasklet.ts";
import { virtualTime } from "../testing.ts";
import { timerCount } from "../timer.ts";
import { catchReports } from "./reports.ts";

// What the tasklets of a random tree do, one step after the other.
type Step =
  | { readonly do: "sleep"; readonly ms: number }
  | { readonly do: "yield" | "plain" | "wait" | "fail" | "reject" | "return" | "scope" }
  | { readonly do: "spawn"; readonly plan: Plan }
  | { readonly do: "join" | "monitor"; readonly who: number; readonly ms: number }
  | { readonly do: "kill"; readonly who: number; readonly grace: number; readonly awaited: boolean };

interface Plan {
  readonly steps: readonly Step[];
  /** Milliseconds that its cleanup takes. */
  readonly cleanup: number;
  /** Whether its cleanup fails. */
  readonly fails: boolean;
}

// As large and deep as they come: a few tasklets a run, in some of them fifty.
const { plan } = fc.letrec<{ plan: Plan; step: Step }>((tie) => ({
  plan: fc.record({
    steps: fc.array(tie("step"), { maxLength: 7, size: "max" }),
    cleanup: fc.constantFrom(0, 0, 5, 200),
    fails: fc.boolean(),
  }),
  step: fc.oneof(
    { maxDepth: 4, depthSize: "max" },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("sleep" as const), ms: fc.nat(50) }) },
    { weight: 5, arbitrary: fc.record({ do: fc.constant("spawn" as const), plan: tie("plan") }) },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constantFrom("yield" as const, "plain" as const, "wait" as const) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constantFrom("fail" as const, "reject" as const, "return" as const, "scope" as const),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constantFrom("join" as const, "monitor" as const),
        who: fc.nat(),
        ms: fc.nat(50),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant("kill" as const),
        who: fc.nat(),
        grace: fc.constantFrom(0, 20, 5000),
        awaited: fc.boolean(),
      }),
    },
  ),
}));

const FINAL: readonly TaskletStatus[] = ["done", "failed", "killed"];

/** Everything that happened to the tasklets of one run. */
class Run {
  readonly tasks: AnyTasklet[] = [];
  /** The bodies that have not ended. */
  readonly bodies = new Set<AnyTasklet>();
  readonly ended: AnyTasklet[] = [];
  readonly abandoned = new Set<AnyTasklet>();
  readonly wrong: string[] = [];
  /** The joins that have not settled. */
  open = 0;
  readonly #outside = AsyncLocalStorage.snapshot();

  spawn(plan: Plan): Tasklet<void> {
    const task = Tasklet.new((plan: Plan) => this.#body(plan))(plan);
    this.tasks.push(task);
    this.open++;
    // In the name of nobody, because a joiner that belongs to the tree ends with it.
    this.#outside(() => {
      void task.join().then(() => {}, (error) => this.#check(task, error)).then(() => {
        this.open--;
        this.ended.push(task);
      });
    });
    return task;
  }

  async #body(plan: Plan): Promise<void> {
    const self = Tasklet.current()!;
    this.bodies.add(self);
    try {
      for (const step of plan.steps) {
        if (step.do === "return") return;
        await this.#do(step);
      }
    } finally {
      try {
        if (plan.cleanup > 0) await Tasklet.sleep(plan.cleanup);
        // deno-lint-ignore no-unsafe-finally
        if (plan.fails && plan.cleanup === 5) throw new Error("cleanup");
      } finally {
        this.bodies.delete(self);
      }
    }
  }

  async #do(step: Step): Promise<void> {
    switch (step.do) {
      case "sleep":
        return await Tasklet.sleep(step.ms);
      case "yield":
        return await Tasklet.yield();
      case "plain":
        for (let i = 0; i < 5; i++) await null;
        return;
      case "wait":
        return await Tasklet.wait(Promise.resolve());
      case "fail":
        throw new Error("body");
      case "reject":
        void Promise.reject(new Error("floating"));
        return await Tasklet.sleep(5);
      case "scope":
        return await Tasklet.scope(() => {
          this.spawn({ steps: [{ do: "sleep", ms: 10 }], cleanup: 5, fails: false });
          this.spawn({ steps: [{ do: "sleep", ms: 5 }, { do: "fail" }], cleanup: 0, fails: false });
        });
      case "spawn":
        this.spawn(step.plan);
        return;
      case "join":
        return void await this.#at(step.who).join({ timeout: step.ms }).catch(unlessKilled);
      case "monitor":
        Tasklet.monitor(this.#at(step.who));
        return void await Tasklet.receiveOne(undefined, { timeout: step.ms }).catch(unlessKilled);
      case "kill": {
        const killed = this.#at(step.who).kill({ grace: step.grace });
        if (step.awaited) await killed;
        else killed.catch(() => {});
      }
    }
  }

  #at(who: number): AnyTasklet {
    return this.tasks[who % this.tasks.length]!;
  }

  #check(task: AnyTasklet, error: unknown): void {
    if (!(error instanceof JoinError) || error.tasklet !== task) {
      this.wrong.push(`${task} ended with ${error}`);
      return;
    }
    if (error.abandoned) this.abandoned.add(task);
    else if (task.alive) this.wrong.push(`${task} was joined too early`);
    if (task.status === "killed" && !(error.cause instanceof TaskletExit)) {
      this.wrong.push(`${task} was killed by ${error.cause}`);
    }
  }
}

function unlessKilled(error: unknown): void {
  if (error instanceof TaskletExit) throw error;
}

Deno.test({
  name:
    "A random tree of tasklets: after the root has ended nothing is alive, every join settles, statuses are final",
  timeout: 300_000,
  fn: async () => {
    using reports = catchReports();
    await fc.assert(
      fc.asyncProperty(plan, fc.option(fc.nat(150), { nil: undefined }), async (plan, killAt) => {
        await using time = virtualTime();
        const run = new Run();
        const root = run.spawn(plan);
        const killer = killAt === undefined
          ? undefined
          : Tasklet.later(killAt, () => root.kill({ grace: 1000 }), { daemon: true })();
        await time.advance(100_000);
        await root.join().catch(() => {});
        await killer?.join();
        for (let turns = 0; turns < 3; turns++) await Tasklet.yield();

        assertEquals(run.wrong, []);
        assertEquals(run.tasks.filter((task) => task.alive).map((task) => `${task} ${task.status}`), []);
        assert(run.tasks.every((task) => FINAL.includes(task.status)));
        assertEquals([run.open, run.bodies.size, timerCount()], [0, 0, 0]);
        assertEquals([...root.tree()].length, 1);
        // Children end before their parents, unless one of them was abandoned.
        for (const task of run.tasks) {
          const place = run.ended.indexOf(task.parent as AnyTasklet);
          if (place < 0 || run.abandoned.has(task) || run.abandoned.has(run.ended[place]!)) continue;
          assert(run.ended.indexOf(task) < place, `${task.parent} ended before its child ${task}`);
        }
        const statuses = run.tasks.map((task) => task.status);
        await Promise.all(run.tasks.map((task) => task.kill()));
        assertEquals(run.tasks.map((task) => task.status), statuses);
      }),
      { numRuns: 3000 },
    );
    await reports.settled();
  },
});
