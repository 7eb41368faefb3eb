/**
 * Telnet: what its clients send between the bytes that are typed.
 *
 * Source: RFC 854 (commands), RFC 860 (timing mark). Every option is declined. Runtime-neutral and pure.
 *
 * @module
 */

const IAC = 255; // the next byte is a command
const DONT = 254;
const DO = 253;
const WONT = 252;
const WILL = 251;
const SB = 250; // options follow, up to IAC SE
const IP = 244; // interrupt: Ctrl-C
const SE = 240;
const CTRL_D = 4;
const CR = 13;
const LF = 10;

/** What is left of some bytes. */
export interface Filtered {
  /** How many bytes of content are left; they stand at the front. */
  readonly length: number;
  /** What is to be sent back, often nothing. */
  readonly answers: readonly number[];
}

const NONE: readonly number[] = [];

// "option": after WILL, WONT, DO or DONT; "parameters": between SB and SE; "ending": an IAC within these.
type State = "content" | "return" | "command" | "option" | "parameters" | "ending";

/** Takes the commands out of what a client sends, however it was cut. */
export class TelnetFilter {
  #state: State = "content";
  #verb = 0;
  #hasEnded = false;

  /** Whether the client has typed Ctrl-C or Ctrl-D; what comes behind is no content. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Moves the content of `bytes` to its front. */
  filter(bytes: Uint8Array): Filtered {
    if (!this.#mustLook(bytes)) return { length: bytes.length, answers: NONE };
    const answers: number[] = [];
    let length = 0;
    for (const byte of bytes) {
      const content = this.#step(byte, answers);
      if (content !== undefined && !this.#hasEnded) bytes[length++] = content;
    }
    return { length, answers };
  }

  // Nearly all that comes is content: the three searches are a tenth of what looking at each byte costs.
  #mustLook(bytes: Uint8Array): boolean {
    const isPlain = this.#state === "content" || this.#state === "return";
    if (!isPlain || this.#hasEnded || bytes.length === 0) return true;
    if (bytes.includes(IAC) || bytes.includes(CTRL_D) || bytes.includes(0)) return true;
    this.#to(bytes[bytes.length - 1] === CR ? "return" : "content");
    return false;
  }

  #step(byte: number, answers: number[]): number | undefined {
    switch (this.#state) {
      case "return":
      case "content":
        if (byte === IAC) return this.#to("command");
        if (byte === CTRL_D) return this.#end();
        if (byte === 0 && this.#state === "return") return this.#to("content", LF); // CR NUL ends a line, too
        return this.#to(byte === CR ? "return" : "content", byte);
      case "command":
        if (byte === IAC) return this.#to("content", IAC);
        if (byte === SB) return this.#to("parameters");
        if (byte === IP) return this.#end();
        if (byte < WILL) return this.#to("content");
        this.#verb = byte;
        return this.#to("option");
      case "option":
        if (this.#verb === DO) answers.push(IAC, WONT, byte);
        if (this.#verb === WILL) answers.push(IAC, DONT, byte);
        return this.#to("content");
      case "parameters":
        return byte === IAC ? this.#to("ending") : undefined;
      case "ending":
        return this.#to(byte === SE ? "content" : "parameters");
    }
  }

  #to(state: State, content?: number): number | undefined {
    this.#state = state;
    return content;
  }

  #end(): undefined {
    this.#hasEnded = true;
    this.#state = "content";
  }
}
