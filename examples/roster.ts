/**
 * The members of a chat on other servers, over NATS: their handles, which are unique in the cluster, and what they say.
 *
 * Each server keeps a list of the members elsewhere. It is told of new ones, and monitors their names: so whoever goes, be
 * it that a server has crashed, is reported once. To who has lost the others they have gone, until it finds them again and
 * asks who is there.
 *
 * @module
 */
import type { Cluster, ClusterGroup, RemoteTasklet, StandardSchema } from "../cluster.ts";
import { Message, type MessageClass, printable, Tasklet, TaskletExit } from "../mod.ts";
import { isName, looksOf } from "./cli.ts";
import { Handles } from "./handles.ts";
import { enter, TEXTS } from "./join.ts";
import type { Elsewhere } from "./members.ts";
import { MSG_SAID, type RoomOptions } from "./room.ts";

const Joined: MessageClass<"MSG_JOINED"> = Message("MSG_JOINED");
const Who: MessageClass<"MSG_WHO"> = Message("MSG_WHO");

/** To other servers: a member has come here, or is here. */
export class MSG_JOINED extends Joined<[handle: string]> {
  /** A text. */
  static readonly schema: StandardSchema<string[]> = TEXTS;
}
/** To other servers: who is there? */
export class MSG_WHO extends Who {}

class MSG_GONE extends Message("MSG_GONE")<[remote: RemoteTasklet<never>, error: unknown]> {}

type Tell = (lines: readonly string[]) => void;
/** What servers tell each other. */
export type Ours = MSG_SAID | MSG_JOINED | MSG_WHO;

// For how many milliseconds a server may keep the others waiting whose member has come.
const LOOKUP = 2000;

/** The members on other servers. */
export class Roster implements Elsewhere {
  readonly #cluster: Cluster<Ours>;
  readonly #group: ClusterGroup<Ours>;
  readonly #handles: Handles; // of those who are members here, or are about to be
  readonly #here = new Set<string>(); // handles of members
  readonly #elsewhere = new Map<string, string>(); // handles by name

  /** Creates an empty list of the members of a room. */
  constructor(cluster: Cluster<Ours>, room: string) {
    this.#cluster = cluster;
    this.#group = cluster.group(room);
    this.#handles = new Handles(cluster, (handle) => this.#nameOf(handle));
  }

  /** Joins the cluster in which the room is. */
  static async enter(program: string, servers: string, { room, credentials }: RoomOptions): Promise<Roster> {
    const cluster = await enter(program, servers, credentials, [MSG_SAID, MSG_JOINED, MSG_WHO]);
    return new Roster(cluster, `${program} ${room}`);
  }

  get handles(): Iterable<string> {
    return this.#elsewhere.values();
  }

  follow(tell: Tell): void {
    const events = this.#cluster.events();
    Tasklet.new(async () => {
      for await (const event of events) {
        if (event.type === "connected") await this.#return();
        else if (event.type === "up" && event.isBack) MSG_WHO.send(this.#group.elsewhere)(); // its members had gone
      }
    }, { name: "notice", daemon: true })();
    const mailbox = { capacity: 100_000 }; // should others say more than can be told here
    this.#group.join(Tasklet.new(() => this.#listen(tell), { name: "roster", daemon: true, mailbox })());
    MSG_WHO.send(this.#group.elsewhere)();
  }

  async #listen(tell: Tell): Promise<void> {
    for await (const msg of Tasklet.receive()) {
      if (msg.match(MSG_SAID)) tell([printable(msg.args[0])]);
      else if (msg.match(MSG_JOINED)) await this.#meet(msg.args[0], tell);
      else if (msg.match(MSG_GONE)) this.#part(msg.args[0].name, tell);
      else if (msg.match(MSG_WHO)) this.#present();
    }
  }

  async #meet(handle: string, tell: Tell): Promise<void> {
    const name = this.#nameOf(handle);
    if (!isName(handle) || this.#elsewhere.has(name)) return;
    const remote = await this.#find(name);
    // It has gone already, or the cluster has; or it is somebody here who has it by now.
    if (remote === undefined || remote.node === this.#cluster.node) return;
    this.#elsewhere.set(name, handle);
    this.#cluster.monitor(remote, MSG_GONE);
    tell([`${handle} has joined the chat.`]);
  }

  #part(name: string, tell: Tell): void {
    const handle = this.#elsewhere.get(name)!;
    this.#elsewhere.delete(name);
    tell([`${handle} has left the chat.`]);
    // It may be back already, on another server: that news can overtake this one.
    const roster = Tasklet.current()!;
    Tasklet.new(async () => {
      if (await this.#find(name) !== undefined) MSG_JOINED.send(roster)(handle);
    }, { name: "seek" })();
  }

  #find(name: string): Promise<RemoteTasklet<Ours> | undefined> {
    return this.#cluster.lookup(name, { timeout: LOOKUP }).catch((error) => {
      if (error instanceof TaskletExit) throw error;
      return undefined; // nobody answers, or the cluster is lost: it will be told of again
    });
  }

  #present(): void {
    for (const handle of this.#here) this.join(handle);
  }

  async #return(): Promise<void> {
    await this.#handles.reclaim();
    this.#present();
    MSG_WHO.send(this.#group.elsewhere)();
  }

  take(handle: string, lose: () => void): Promise<boolean> {
    return this.#handles.take(handle, lose);
  }

  join(handle: string): void {
    this.#here.add(handle);
    MSG_JOINED.send(this.#group.elsewhere)(handle);
  }

  leave(handle: string): void {
    this.#here.delete(handle);
    this.#handles.leave(handle);
  }

  say(line: string): void {
    MSG_SAID.send(this.#group.elsewhere)(line);
  }

  /** Waits until all that happens on other servers is noticed. */
  async ready(): Promise<void> {
    await this.#cluster.flush();
  }

  #nameOf(handle: string): string {
    return `${this.#group.name} ${looksOf(handle)}`;
  }
}
