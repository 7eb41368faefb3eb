/**
 * Who is running: the one asynchronous context of the library.
 *
 * The context follows `await`, timers, streams and socket reads. It is wrong or absent in event listeners
 * and in the bodies of async generators, so whoever needs it there captures it beforehand.
 *
 * Runtime-neutral.
 *
 * @module
 */
import { AsyncLocalStorage } from "node:async_hooks";

/**
 * Holds the running tasklet.
 *
 * Typed `unknown`, because each module above sees only the part it knows: `message.ts` a sender, `timer.ts`
 * something that has deadlines, `tasklet.ts` a tasklet.
 */
export const running: AsyncLocalStorage<unknown> = new AsyncLocalStorage();
