/**
 * Tasklets with mailboxes, typed messages between them, and servers made of them.
 *
 * ```ts
 * import { Message, Tasklet } from "@x/concurrence";
 *
 * class MSG_ADD extends Message("MSG_ADD")<[amount: number]> {}
 * class MSG_TOTAL extends Message("MSG_TOTAL")<[], number> {}
 *
 * const counter = Tasklet.new(async () => {
 *   let total = 0;
 *   for await (const msg of Tasklet.receive()) {
 *     if (msg.match(MSG_ADD)) total += msg.args[0];
 *     else if (msg.match(MSG_TOTAL)) msg.reply(total);
 *   }
 * })();
 *
 * for (let i = 0; i < 1000; i++) MSG_ADD.send(counter)(1);
 * console.log(await MSG_TOTAL.call(counter)()); // 1000
 * await counter.kill();
 * ```
 *
 * - {@linkcode Tasklet}: async functions with an identity, a mailbox, an owner and an end.
 * - {@linkcode Message}: what they send each other, checked by the compiler.
 * - {@linkcode Channel}, {@linkcode select}: values handed from tasklet to tasklet, and one of several taken.
 * - {@linkcode Timeout}: deadlines for all that a tasklet waits for.
 * - {@linkcode TaskLocal}: values that belong to a tasklet and to all it starts.
 * - {@linkcode Group}: tasklets that are sent to and called as one.
 * - {@linkcode Pool}: things that are costly to open, lent to one tasklet at a time.
 * - {@linkcode Supervisor}: who starts others again when they fail.
 * - {@linkcode Server}, {@linkcode BufferedStream}: a tasklet for each connection, and lines to talk in.
 * - {@linkcode observe}, {@linkcode snapshot}: what tasklets do, and what each of them waits for.
 * - {@linkcode dispatch}: a program of tasklets, with signals, cleanup and exit codes.
 *
 * @module
 */
export {
  type AnyMessage,
  CallError,
  type CallErrorReason,
  type CallOptions,
  Mailbox,
  type MailboxOptions,
  Message,
  type MessageClass,
  type MessageConstructor,
  type Receiver,
  type ReplyOf,
  type Sender,
} from "./message.ts";
export { TaskLocal } from "./local.ts";
export { Timeout, TimeoutError } from "./timer.ts";
export {
  type AnyTasklet,
  dispatch,
  type DispatchOptions,
  JoinError,
  type KillOptions,
  type Life,
  type MailboxView,
  MSG_DOWN,
  quit,
  type Self,
  type Signal,
  Tasklet,
  TaskletExit,
  type TaskletOptions,
  type TaskletStatus,
  type WaitOptions,
} from "./tasklet.ts";
export { type AnyGroup, Group, type GroupMonitorOptions, MSG_JOINED, MSG_LEFT } from "./group.ts";
export { type AcquireOptions, type Lease, Pool, PoolClosedError, type PoolOptions } from "./pool.ts";
export {
  after,
  Channel,
  ChannelClosedError,
  type ChannelStats,
  messages,
  select,
  type Selected,
  type Source,
  type Sources,
  type Taker,
} from "./channel.ts";
export {
  type Backoff,
  type Child,
  type ChildSpec,
  type Intensity,
  type Restart,
  type Strategy,
  Supervisor,
  SupervisorError,
  type SupervisorOptions,
} from "./supervisor.ts";
export {
  type DropReason,
  type Listener,
  type MailboxSnapshot,
  type Observation,
  observe,
  snapshot,
  type TaskletSnapshot,
  type WaitSnapshot,
} from "./observe.ts";
export {
  type Address,
  BufferedReader,
  BufferedStream,
  type BufferedStreamOptions,
  BufferedWriter,
  type ByteStream,
  type CloseOptions,
  type Handler,
  isDisconnect,
  LineTooLongError,
  type NetAddress,
  Pace,
  type PaceOptions,
  printable,
  removeStaleSocket,
  type ServeOptions,
  Server,
  type ServerAddress,
  Socket,
  UnexpectedEndError,
  type UnixAddress,
  WriteOverflowError,
} from "./net.ts";
