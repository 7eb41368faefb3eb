/**
 * How messages and tasklets scale.
 *
 * @module
 */
import { Group, Message, type Self, Tasklet } from "../../mod.ts";
import { type Row, time } from "./row.ts";

class MSG_ITEM extends Message("MSG_ITEM")<[n: number]> {}
class MSG_RARE extends Message("MSG_RARE")<[n: number]> {}
class MSG_ASK extends Message("MSG_ASK")<[n: number], number> {}

/** Rows of messages: in one mailbox, to many, round a ring. */
export const MESSAGES: readonly Row[] = [
  {
    name: "messages",
    about: "messages through one mailbox, never more than 100 in it",
    n: 2500,
    cost: (n) =>
      time(async () => {
        const task = Tasklet.new(counter)();
        for (let i = 0; i < n; i += 100) {
          for (let k = 0; k < 100; k++) MSG_ITEM.send(task)(k);
          await MSG_ASK.call(task)(0);
        }
        await task.kill();
      }),
  },
  {
    name: "burst",
    about: "messages queued in one mailbox, then received",
    n: 2500,
    cost: (n) =>
      time(async () => {
        const task = Tasklet.new(counter)();
        for (let i = 0; i < n; i++) MSG_ITEM.send(task)(i);
        await MSG_ASK.call(task)(0);
        await task.kill();
      }),
  },
  {
    name: "pending",
    about: "messages queued in one mailbox, then taken in one batch",
    n: 2500,
    cost: (n) =>
      time(async () => {
        const task = Tasklet.new(() => [...Tasklet.pending()].length)();
        for (let i = 0; i < n; i++) MSG_ITEM.send(task)(i);
        await task.join();
      }),
  },
  {
    name: "selective",
    about: "messages of one class received while as many of another stay queued",
    n: 500,
    cost: (n) =>
      time(async () => {
        const task = Tasklet.new(async () => {
          for (let i = 0; i < n; i++) await Tasklet.receiveOne([MSG_RARE]);
        })();
        for (let i = 0; i < n; i++) MSG_ITEM.send(task)(i);
        for (let i = 0; i < n; i++) MSG_RARE.send(task)(i);
        await task.join();
      }),
  },
  {
    name: "calls",
    about: "open calls to one tasklet, then answered",
    n: 500,
    cost: (n) =>
      time(async () => {
        const server = Tasklet.new(async () => {
          const asked: MSG_ASK[] = [];
          for await (const msg of Tasklet.receive([MSG_ASK])) {
            if (asked.push(msg.defer()) === n) break;
          }
          for (const msg of asked) msg.reply(1);
        })();
        await Promise.all(Array.from({ length: n }, (_, i) => MSG_ASK.call(server)(i)));
        await server.join();
      }),
  },
  {
    name: "multicast",
    about: "receivers of a message, 100 times",
    n: 50,
    cost: async (n) => {
      const tasks = Array.from({ length: n }, () => Tasklet.new(counter)());
      const ms = await time(async () => {
        for (let i = 0; i < 100; i++) {
          MSG_ITEM.send(tasks)(i);
          await MSG_ASK.call(tasks.at(-1)!)(0);
        }
      });
      await killAll(tasks);
      return ms;
    },
  },
  {
    name: "group",
    about: "members who join a group, get a message, and end",
    n: 100,
    cost: (n) =>
      time(async () => {
        const group = new Group<MSG_ITEM | MSG_ASK>();
        const tasks = Array.from({ length: n }, () => Tasklet.new(counter)());
        for (const task of tasks) group.join(task);
        MSG_ITEM.send(group)(1);
        await killAll(tasks);
      }),
  },
];

/** Rows of tasklets: alive, started, killed, watched. */
export const TASKLETS: readonly Row[] = [
  {
    name: "alive",
    about: "tasklets alive, each of which gets 20 messages in turn",
    n: 100,
    cost: async (n) => {
      const tasks = Array.from({ length: n }, () => Tasklet.new(counter)());
      await Tasklet.yield();
      const ms = await time(async () => {
        for (let i = 0; i < 20; i++) {
          for (const task of tasks) MSG_ITEM.send(task)(i);
          await MSG_ASK.call(tasks.at(-1)!)(0);
        }
      });
      await killAll(tasks);
      return ms;
    },
  },
  {
    name: "ring",
    about: "tasklets in a ring, round which a message goes 20 times",
    n: 100,
    cost: async (n) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const ring: Tasklet[] = [];
      async function member(index: number): Promise<void> {
        for await (const msg of Tasklet.receive([MSG_ITEM])) {
          if (msg.args[0] === 0) resolve();
          else MSG_ITEM.send(ring[(index + 1) % n]!)(msg.args[0] - 1);
        }
      }
      for (let i = 0; i < n; i++) ring.push(Tasklet.new(member)(i));
      await Tasklet.yield();
      const ms = await time(async () => {
        MSG_ITEM.send(ring[0]!)(20 * n);
        await promise;
      });
      await killAll(ring);
      return ms;
    },
  },
  {
    name: "children",
    about: "children of one tasklet, started, then joined",
    n: 100,
    cost: (n) =>
      time(async () => {
        const parent = Tasklet.new(async () => {
          const tasks = Array.from({ length: n }, (_, i) => Tasklet.new(() => i)());
          for (const task of tasks) await task.join();
        })();
        await parent.join();
      }),
  },
  {
    name: "kill",
    about: "children that wait for messages, killed with their parent",
    n: 100,
    cost: async (n) => {
      const parent = Tasklet.new(async () => {
        for (let i = 0; i < n; i++) Tasklet.new(counter)();
        await Tasklet.receiveOne();
      })();
      await Tasklet.yield();
      return await time(() => parent.kill());
    },
  },
  {
    name: "depth",
    about: "generations, each the only child of the one before",
    n: 50,
    cost: (n) =>
      time(async () => {
        async function generation(left: number): Promise<void> {
          if (left > 0) await Tasklet.new(generation)(left - 1).join();
        }
        await Tasklet.new(generation)(n).join();
      }),
  },
  {
    name: "joiners",
    about: "tasklets that join the same one",
    n: 100,
    cost: (n) =>
      time(async () => {
        const task = Tasklet.new(() => Tasklet.receiveOne())();
        const joiners = Array.from({ length: n }, () => Tasklet.new(() => task.join())());
        await Tasklet.yield();
        MSG_ITEM.send(task)(1);
        for (const joiner of joiners) await joiner.join();
      }),
  },
  {
    name: "monitors",
    about: "tasklets monitored by one, which is told of the end of each",
    n: 100,
    cost: (n) =>
      time(async () => {
        const tasks = Array.from({ length: n }, () => Tasklet.new(counter)());
        const watcher = Tasklet.new(async () => {
          for (const task of tasks) Tasklet.monitor(task);
          for (let i = 0; i < n; i++) await Tasklet.receiveOne();
        })();
        await Tasklet.yield();
        await killAll(tasks);
        await watcher.join();
      }),
  },
  {
    name: "watchers",
    about: "monitors of the same tasklet, half of them ended before it is",
    n: 500,
    cost: (n) =>
      time(async () => {
        const task = Tasklet.new(counter)();
        const watcher = Tasklet.new(async () => {
          const monitors = Array.from({ length: n }, () => Tasklet.monitor(task));
          for (let i = 0; i < n / 2; i++) monitors[i]![Symbol.dispose]();
          void task.kill();
          for (let i = n / 2; i < n; i++) await Tasklet.receiveOne();
        })();
        await watcher.join();
      }),
  },
];

async function counter(this: Self<MSG_ITEM | MSG_ASK>): Promise<void> {
  let count = 0;
  for await (const msg of this.receive()) {
    if (msg.match(MSG_ASK)) msg.reply(count);
    else count++;
  }
}

async function killAll(tasks: readonly Tasklet<unknown, never>[]): Promise<void> {
  for (const ended of tasks.map((task) => task.kill())) await ended;
}
