/**
 * Peers as a server meets them: those that do not read, that dawdle, that break off, that flood, that say nothing.
 *
 * They are made of `Socket` alone, so that they run on any network: in real time on the loopback device, in virtual
 * time in memory. Each ends when its connection does.
 *
 * @module
 */
import { type Address, isDisconnect, Socket } from "../net.ts";
import { Tasklet } from "../tasklet.ts";

const encoder = new TextEncoder();

/** How slow a peer is. */
export interface Pace {
  /** Milliseconds between bytes. @default {1000} */
  readonly every?: number;
}

/** What a peer does with its connection; what it gives is what it has read. */
export type Peer = (socket: Socket) => Promise<string>;

/** Lets a peer connect to `address`: a tasklet, whose result is what the peer has read. */
export function send(peer: Peer, address: Address): Tasklet<string> {
  return Tasklet.new(async () => {
    using socket = await Socket.connect(address);
    return await peer(socket);
  }, { name: peer.name })();
}

/** Reads nothing, for ever, and sends nothing. */
export async function neverReads(socket: Socket): Promise<string> {
  await Tasklet.wait(socket.closed);
  return "";
}

/** Reads all that comes, and says nothing. */
export function neverSpeaks(socket: Socket): Promise<string> {
  return readToEnd(socket, 65_536, 0);
}

/** Reads one byte a second. */
export function readsSlowly({ every = 1000 }: Pace = {}): Peer {
  return function readsSlowly(socket) {
    return readToEnd(socket, 1, every);
  };
}

/** Sends a text, one byte a second, then reads to the end. */
export function sendsSlowly(text: string, { every = 1000 }: Pace = {}): Peer {
  return async function sendsSlowly(socket) {
    await whileConnected(async () => {
      for (const byte of encoder.encode(text)) {
        await Tasklet.sleep(every);
        await socket.write(new Uint8Array([byte]));
      }
    });
    return await readToEnd(socket, 65_536, 0);
  };
}

/** Sends a text, reads so many bytes, and is gone with all behind them unread: whoever goes on writing is reset. */
export function resetsAfter(bytes: number, text: string): Peer {
  return async function resetsAfter(socket) {
    const read = new Uint8Array(bytes);
    let length = 0;
    const sending = whileConnected(() => socket.write(encoder.encode(text)));
    await whileConnected(async () => {
      while (length < bytes) length += await socket.read(read.subarray(length)) ?? Infinity;
    });
    socket.close();
    await sending;
    return new TextDecoder().decode(read.subarray(0, length));
  };
}

/** Sends a text again and again, as fast as it is taken, and reads nothing. */
export function floods(text: string): Peer {
  return async function floods(socket) {
    const bytes = encoder.encode(text.repeat(Math.ceil(65_536 / text.length)));
    await whileConnected(async () => {
      while (true) await socket.write(bytes);
    });
    return "";
  };
}

async function readToEnd(socket: Socket, most: number, pause: number): Promise<string> {
  const buffer = new Uint8Array(most);
  const decoder = new TextDecoder();
  let read = "";
  await whileConnected(async () => {
    for (let n; (n = await socket.read(buffer)) !== null;) {
      read += decoder.decode(buffer.subarray(0, n), { stream: true });
      if (pause > 0) await Tasklet.sleep(pause);
    }
  });
  return read;
}

async function whileConnected(body: () => Promise<void>): Promise<void> {
  try {
    await body();
  } catch (error) {
    const { name } = error as Error;
    if (!isDisconnect(error) && name !== "Interrupted" && name !== "BadResource") throw error; // closed by itself
  }
}
