/**
 * The members of a chat in which everybody has a handle: here, and on other servers.
 *
 * @module
 */
import { Tasklet } from "../mod.ts";
import { looksOf } from "./cli.ts";
import { Client, MSG_QUIT } from "./client.ts";

/** The members on other servers. */
export interface Elsewhere {
  /** Their handles. */
  readonly handles: Iterable<string>;
  /** Calls `tell` from now on with lines of who comes and goes there, and of what is said there. */
  follow(tell: (lines: readonly string[]) => void): void;
  /** Whether nobody there has a handle that looks the same; then nobody gets it, until the running tasklet ends. */
  take(handle: string, lose: () => void): Promise<boolean>;
  /** Tells the others that the member with that handle has come. */
  join(handle: string): void;
  /** Gives a handle back, which tells the others that the member has gone. */
  leave(handle: string): void;
  /** Tells the others what a member has said. */
  say(line: string): void;
}

type Member = { readonly handle: string; readonly client: Client };

/** Who is in the chat. Handles that look the same count as the same. */
export class Members {
  readonly #members = new Map<string, Member>(); // by the looks of their handles
  readonly #taken = new Set<string>(); // the looks of handles, also of those who are about to join
  readonly #elsewhere: Elsewhere | undefined;

  /** Creates an empty list. */
  constructor(elsewhere: Elsewhere | undefined) {
    this.#elsewhere = elsewhere;
    elsewhere?.follow((lines) => this.tell(lines));
  }

  /** The handles of all, those on other servers among them. */
  get handles(): string[] {
    return [...[...this.#members.values()].map(({ handle }) => handle), ...this.#elsewhere?.handles ?? []];
  }

  /** Gives a handle to the client that the running tasklet serves: whether it was free. */
  async take(handle: string, client: Client): Promise<boolean> {
    const looks = looksOf(handle);
    if (this.#taken.has(looks)) return false;
    this.#taken.add(looks); // before anybody is waited for, so that nobody can come between
    const task = Tasklet.current()!;
    const lose = () => {
      client.writeLine("Somebody else had that handle while the servers had lost each other. Goodbye.");
      MSG_QUIT.send(task)();
    };
    const isFree = await this.#elsewhere?.take(handle, lose).catch((error) => {
      this.#taken.delete(looks);
      throw error;
    });
    if (isFree === false) return !this.#taken.delete(looks);
    this.#members.set(looks, { handle, client });
    this.#elsewhere?.join(handle);
    return true;
  }

  /** Takes a handle back. */
  leave(handle: string): void {
    this.#members.delete(looksOf(handle));
    this.#taken.delete(looksOf(handle));
    this.#elsewhere?.leave(handle);
  }

  /** Tells all members on this server. */
  tell(lines: readonly string[]): void {
    Client.multicast([...this.#members.values()].map(({ client }) => client), lines);
  }

  /** Tells all members, those on other servers among them. */
  say(line: string): void {
    this.tell([line]);
    this.#elsewhere?.say(line);
  }
}
