/**
 * A signal that tells whether anybody was left behind.
 *
 * @module
 */

/** A signal that counts who listens. */
export class CountingSignal extends EventTarget implements AbortSignal {
  /** How many listen. */
  listeners = 0;
  readonly aborted = false;
  readonly reason = undefined;
  onabort = null;
  throwIfAborted(): void {}
  override addEventListener(...args: Parameters<EventTarget["addEventListener"]>): void {
    this.listeners++;
    super.addEventListener(...args);
  }
  override removeEventListener(...args: Parameters<EventTarget["removeEventListener"]>): void {
    this.listeners--;
    super.removeEventListener(...args);
  }
}
