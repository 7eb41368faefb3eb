/**
 * A room that several chat servers share, over NATS.
 *
 * @module
 */
import type { Cluster, ClusterGroup, StandardSchema } from "../cluster.ts";
import { Message, type MessageClass, printable, Tasklet } from "../mod.ts";
import { enter, TEXTS } from "./join.ts";

/** Which room it is. */
export interface RoomOptions {
  /** Its name. */
  readonly room: string;
  /** The file with what to log in with. @default {nothing} */
  readonly credentials?: string | undefined;
}

const Said: MessageClass<"MSG_SAID"> = Message("MSG_SAID");

/** To the clients of other servers: a line that was said. */
export class MSG_SAID extends Said<[line: string]> {
  /** A text. */
  static readonly schema: StandardSchema<string[]> = TEXTS;
}

/** The room of a chat in which nobody has a name. */
export class ChatRoom {
  readonly #cluster: Cluster<MSG_SAID>;
  readonly #group: ClusterGroup<MSG_SAID>;

  private constructor(cluster: Cluster<MSG_SAID>, name: string) {
    this.#cluster = cluster;
    this.#group = cluster.group(name);
  }

  /** Joins the cluster in which the room is. */
  static async enter(
    program: string,
    servers: string,
    { room, credentials }: RoomOptions,
  ): Promise<ChatRoom> {
    return new ChatRoom(await enter(program, servers, credentials, [MSG_SAID]), `${program} ${room}`);
  }

  /** Calls `hear` with what is said on other servers from now on. */
  listen(hear: (lines: readonly string[]) => void): void {
    this.#group.join(
      Tasklet.new(async function room() {
        for await (const batch of Tasklet.batches()) {
          const said = batch.filter((msg) => msg.match(MSG_SAID));
          hear(said.map(({ args: [line] }) => printable(line)));
        }
      }, { mailbox: { capacity: 100_000 } })(),
    );
  }

  /** Says lines on the other servers. */
  say(lines: readonly string[]): void {
    for (const line of lines) MSG_SAID.send(this.#group.elsewhere)(line);
  }

  /** Waits until all that is said on other servers can be heard. */
  async ready(): Promise<void> {
    await this.#cluster.flush();
  }
}
