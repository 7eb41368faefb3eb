/** No library: promises and forty lines, which guarantee nothing. */
import { BareMailbox } from "../bare.ts";
import { type Peer, RING } from "./peer.ts";

/** What the other benches have as their baseline, too. */
export const peer: Peer = {
  async oneWay(n) {
    const mailbox = new BareMailbox<number>();
    const receiver = (async () => {
      for (let i = 0; i < n; i++) await mailbox.receive();
    })();
    for (let i = 0; i < n; i++) mailbox.send(i);
    await receiver;
  },

  async call(n) {
    const mailbox = new BareMailbox<[number, (n: number) => void]>();
    const server = (async () => {
      for (let i = 0; i < n; i++) {
        const [asked, reply] = await mailbox.receive();
        reply(asked + 1);
      }
    })();
    for (let i = 0; i < n; i++) await new Promise<number>((resolve) => mailbox.send([i, resolve]));
    await server;
  },

  async hop(n) {
    const ring = Array.from({ length: RING }, () => new BareMailbox<number>());
    const members = ring.map(async (mailbox, index) => {
      const next = ring[(index + 1) % RING]!;
      for (;;) {
        const left = await mailbox.receive();
        next.send(left - 1);
        if (left <= 0) return; // the end goes round once, too
      }
    });
    ring[0]!.send(n);
    await Promise.all(members);
  },

  async spawnJoin(n) {
    for (let i = 0; i < n; i++) await (async () => await i)();
  },

  async park(n) {
    const mailboxes = Array.from({ length: n }, () => new BareMailbox<string>());
    const tasks = mailboxes.map(async (mailbox) => {
      while (await mailbox.receive() !== "stop");
    });
    await Promise.resolve();
    return [mailboxes, tasks];
  },
};
