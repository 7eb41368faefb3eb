/**
 * The price of a cluster, beside the bare client of NATS that puts the same bytes on the wire by hand: JSON, with the name
 * of the message and its arguments, parsed and looked at by nobody, for functions instead of tasklets.
 *
 *     deno bench --allow-all bench/cluster_bench.ts
 *
 * All nodes live in this process, so that what is measured is the work of both ends and of the server. Each case does its
 * operation `N` times.
 */
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { Cluster } from "../cluster.ts";
import { Message, Tasklet } from "../mod.ts";
import { requires } from "../tests/requires.ts";
import { NatsServer } from "../tests/nats_server.ts";

const N = 1000;

class MSG_LINE extends Message("MSG_LINE")<[line: string]> {}
class MSG_ASK extends Message("MSG_ASK")<[n: number], number> {}

const LINE = "x".repeat(60);
const SUBJECT = "bare.client.group."; // as long as those of a cluster
const NODE = "0123456789ab";
const { ignore } = requires("nats-server");

/** Counts what arrives, and tells when it is enough. */
class Counter {
  #left = 0;
  #resolve: () => void = () => {};

  /** Resolves after `count` more. */
  expect(count: number): Promise<void> {
    this.#left = count;
    return new Promise((resolve) => this.#resolve = resolve);
  }

  readonly add = (): void => {
    if (--this.#left === 0) this.#resolve();
  };
}

async function callsAndSends(servers: string): Promise<void> {
  const counter = new Counter();
  const [here, there] = [await connect({ servers }), await connect({ servers })];
  there.subscribe(SUBJECT + "ask", {
    callback: (_, msg) => {
      const [, [n]] = msg.json<[string, [number]]>();
      msg.respond(JSON.stringify(["value", n + 1]));
    },
  });
  there.subscribe(SUBJECT + "line", { callback: (_, msg) => (msg.json(), counter.add()) });
  await there.flush();

  const options = { servers, messages: [MSG_LINE, MSG_ASK] };
  const [a, b] = [await Cluster.connect(options), await Cluster.connect(options)];
  await b.register("callee", callee(counter));
  const remote = (await a.lookup("callee"))!;

  const ask = async (n: number) =>
    (await here.request(SUBJECT + "ask", JSON.stringify(["MSG_ASK", [n], NODE]))).json<[string, number]>()[1];

  Deno.bench("bare client: request + respond, one after the other × 100", {
    group: "call, one after the other",
    baseline: true,
  }, async () => {
    for (let i = 0; i < 100; i++) await ask(i);
  });

  Deno.bench(
    "cluster: call + reply, one after the other × 100",
    { group: "call, one after the other" },
    async () => {
      for (let i = 0; i < 100; i++) await MSG_ASK.call(remote)(i);
    },
  );

  Deno.bench(
    `bare client: request + respond, all at once × ${N}`,
    { group: "call", baseline: true },
    async () => {
      await Promise.all(Array.from({ length: N }, (_, i) => ask(i)));
    },
  );

  Deno.bench(`cluster: call + reply, all at once × ${N}`, { group: "call" }, async () => {
    await Promise.all(Array.from({ length: N }, (_, i) => MSG_ASK.call(remote)(i)));
  });

  Deno.bench(`bare client: publish × ${N}`, { group: "send", baseline: true }, async () => {
    const arrived = counter.expect(N);
    for (let i = 0; i < N; i++) here.publish(SUBJECT + "line", JSON.stringify(["MSG_LINE", [LINE]]));
    await arrived;
  });

  Deno.bench(`cluster: send × ${N}`, { group: "send" }, async () => {
    const arrived = counter.expect(N);
    for (let i = 0; i < N; i++) MSG_LINE.send(remote)(LINE);
    await arrived;
  });
}

async function fanOut(servers: string): Promise<void> {
  const counter = new Counter();
  const NODES = 4; // the speaker's is one of them
  const bare: NatsConnection[] = [];
  for (let i = 0; i < NODES; i++) {
    const client = await connect({ servers, noEcho: true });
    client.subscribe(SUBJECT + "room", { callback: (_, msg) => (msg.json(), counter.add()) });
    await client.flush();
    bare.push(client);
  }
  const nodes: Cluster<MSG_LINE>[] = [];
  for (let i = 0; i < NODES; i++) {
    const cluster = await Cluster.connect({ servers, messages: [MSG_LINE] });
    cluster.group("room").join(callee(counter));
    await cluster.flush();
    nodes.push(cluster);
  }
  const room = nodes[0]!.group("room");

  Deno.bench(
    `bare client: a line to a room on ${NODES} nodes × ${N}`,
    { group: "room", baseline: true },
    async () => {
      const arrived = counter.expect(N * NODES);
      for (let i = 0; i < N; i++) {
        bare[0]!.publish(SUBJECT + "room", JSON.stringify(["MSG_LINE", [LINE]]));
        counter.add(); // its own member
      }
      await arrived;
    },
  );

  Deno.bench(`cluster: a line to a room on ${NODES} nodes × ${N}`, { group: "room" }, async () => {
    const arrived = counter.expect(N * NODES);
    for (let i = 0; i < N; i++) MSG_LINE.send(room)(LINE);
    await arrived;
  });
}

/** A tasklet that takes both messages, a batch at a time. */
function callee(counter: Counter): Tasklet {
  return Tasklet.new(async function callee() {
    for await (const msg of Tasklet.receive()) {
      take(msg);
      for (const each of Tasklet.pending()) take(each);
    }
  }, { daemon: true })();

  function take(msg: Message): void {
    if (msg.match(MSG_ASK)) msg.reply(msg.args[0] + 1);
    else counter.add();
  }
}

if (!ignore) {
  const server = await NatsServer.start();
  await callsAndSends(server.url);
  await fanOut(server.url);
  addEventListener("unload", () => server.stop());
}
