import { assertEquals } from "@std/assert";
import { AsyncLocalStorage } from "node:async_hooks";
import { Message } from "../message.ts";
import { explore } from "../testing.ts";
import { Tasklet } from "../tasklet.ts";

const store = new AsyncLocalStorage<string>();

class MSG_LOOK extends Message("MSG_LOOK")<[], string | undefined> {}

Deno.test("Tasklet.new() passes on the context of who created it, to each tasklet its own", async () => {
  const look = () => store.getStore();
  const lookLater = async () => {
    await Tasklet.yield();
    return store.getStore();
  };
  const tasks = ["a", "b"].flatMap((name) =>
    store.run(
      name,
      () => [Tasklet.new(look)(), Tasklet.new(lookLater)(), Tasklet.new(() => Tasklet.new(look)().join())()],
    )
  );
  tasks.push(Tasklet.new(look)());
  assertEquals(await Tasklet.joinAll(tasks), ["a", "a", "a", "b", "b", "b", undefined]);
});

Deno.test("Tasklet.new() passes it on also where the order is that of explore()", async () => {
  await explore(async () => {
    const tasks = ["a", "b"].map((name) => store.run(name, () => Tasklet.new(() => store.getStore())()));
    assertEquals(await Tasklet.joinAll(tasks), ["a", "b"]);
  }, { runs: 10 });
});

Deno.test("a tasklet keeps its context at every wait, whoever ends it", async () => {
  const server = store.run("server", () =>
    Tasklet.new(async () => {
      for await (const batch of Tasklet.batches()) {
        for (const msg of batch) if (msg.match(MSG_LOOK)) msg.reply(store.getStore());
      }
    })());
  const client = store.run("client", () =>
    Tasklet.new(async () => {
      const seen = [await MSG_LOOK.call(server)(), store.getStore()];
      await Tasklet.sleep(1);
      return [...seen, store.getStore()];
    })());
  assertEquals(await client.join(), ["server", "client", "client"]);
  await server.kill();
});
