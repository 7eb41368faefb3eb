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

const { plan } = fc.letrec<{ plan: Plan; step: Step }>((tie) => ({
  plan: fc.record({
    steps: fc.array(tie("step"), { maxLength: 6, depthIdentifier: "plan" }),
    cleanup: fc.constantFrom(0, 0, 5, 200),
    fails: fc.boolean(),
  }),
  step: fc.oneof(
    { depthIdentifier: "plan", maxDepth: 5 },
    fc.record({ do: fc.constant("sleep" as const), ms: fc.nat(50) }),
    fc.record({
      do: fc.constantFrom(
        "yield" as const,
        "plain" as const,
        "wait" as const,
        "fail" as const,
        "reject" as const,
        "return" as const,
        "scope" as const,
      ),
    }),
    fc.record({ do: fc.constant("spawn" as const), plan: tie("plan") }),
    fc.record({ do: fc.constant("spawn" as const), plan: tie("plan") }),
    fc.record({ do: fc.constantFrom("join" as const, "monitor" as const), who: fc.nat(), ms: fc.nat(50) }),
    fc.record({
      do: fc.constant("kill" as const),
      who: fc.nat(),
      grace: fc.constantFrom(0, 20, 5000),
      awaited: fc.boolean(),
    }),
  ),
}));

const FINAL: readonly TaskletStatus[] = ["done", "failed", "killed"];

/** Everything that happened to the tasklets of one run. */
class Run {
  readonly tasks: AnyTasklet[] = [];
  /** The bodies that have not ended. */
  readonly bodies = new Set<AnyTasklet>();
  readonly ended: AnyTasklet[] = [];
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
    } else if (error.abandoned !== task.alive) this.wrong.push(`${task} was abandoned? ${error.abandoned}`);
    else if (task.status === "killed" && !(error.cause instanceof TaskletExit)) {
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
        // Whoever was not abandoned ended after its children.
        for (const task of run.tasks) {
          const parent = task.parent;
          if (parent === undefined || !run.ended.includes(parent as AnyTasklet)) continue;
          const abandoned = await task.join().then(() => false, (error: JoinError) => error.abandoned);
          assert(
            abandoned || run.ended.indexOf(task) < run.ended.indexOf(parent as AnyTasklet),
            `${parent} ended before its child ${task}`,
          );
        }
        const statuses = run.tasks.map((task) => task.status);
        await Promise.all(run.tasks.map((task) => task.kill()));
        assertEquals(run.tasks.map((task) => task.status), statuses);
      }),
      { numRuns: 500 },
    );
    await reports.settled();
  },
});
