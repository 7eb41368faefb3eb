/**
 * The chat without the library and without its guarantees, as fast as Deno allows: what `examples/chat.ts` is measured
 * against.
 *
 *     deno run --allow-net bench/net/raw_chat.ts [bytes of a read buffer]
 *
 * What makes it fast: one buffer a connection into which it reads; nothing is decoded but whole lines; what all have said
 * in one turn of the event loop is encoded once, and each client gets it in one write, begun from `setImmediate`; what
 * comes while a write is under way waits for it and is one write again.
 *
 * What it lacks: a line or a backlog may grow without end, telnet commands are content, nobody is told of the shutdown,
 * an idle client stays for ever, and any error that is not a client's going ends it.
 *
 * @module
 */

interface Peer {
  readonly connection: Deno.TcpConn;
  queue: Uint8Array[]; // what waits for the write under way
  isWriting: boolean;
  hasGone: boolean;
}

interface Said {
  readonly from: Peer;
  readonly bytes: Uint8Array;
}

const LF = 10;
// deno-lint-ignore no-control-regex
const CONTROLS = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/g;
const BUFFER = Number(Deno.args[0] ?? 16_384);
const encoder = new TextEncoder();
const decoder = new TextDecoder();
const greeting = encoder.encode("type 'quit' to exit..\n");
const peers = new Set<Peer>();
let said: Said[] = []; // in this turn

const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
console.log(`listening for connections on port ${listener.addr.port}`);
for await (const connection of listener) void serve(connection);

async function serve(connection: Deno.TcpConn): Promise<void> {
  const peer: Peer = { connection, queue: [greeting], isWriting: false, hasGone: false };
  try {
    connection.setNoDelay(true);
    peers.add(peer);
    void write(peer);
    await read(peer);
  } catch (error) {
    if (!isDisconnect(error)) throw error;
  }
  leave(peer);
}

async function read(peer: Peer): Promise<void> {
  let buffer = new Uint8Array(BUFFER);
  let kept = 0; // bytes of a line that has no end yet
  while (true) {
    const n = await peer.connection.read(buffer.subarray(kept));
    if (n === null) return;
    const length = kept + n;
    const end = buffer.lastIndexOf(LF, length - 1) + 1;
    if (end > 0 && !hear(peer, decoder.decode(buffer.subarray(0, end)))) return;
    kept = length - end;
    if (end > 0) buffer.copyWithin(0, end, length);
    else if (kept === buffer.length) {
      const larger = new Uint8Array(2 * buffer.length);
      larger.set(buffer);
      buffer = larger;
    }
  }
}

// Whether the client stays.
function hear(from: Peer, text: string): boolean {
  const lines = text.split("\n");
  let heard = "";
  let i = 0;
  for (; i < lines.length - 1; i++) {
    const line = lines[i]!.replace(CONTROLS, "").trim();
    if (line === "quit") break;
    heard += line + "\n";
  }
  if (heard !== "") {
    if (said.length === 0) setImmediate(tell);
    said.push({ from, bytes: encoder.encode(heard) });
  }
  return i === lines.length - 1;
}

// Gives everybody what the others have said in this turn.
function tell(): void {
  const all = said;
  said = [];
  const shared = concat(all);
  const speakers = new Set(all.map(({ from }) => from));
  for (const peer of peers) {
    const bytes = speakers.has(peer) ? concat(all.filter(({ from }) => from !== peer)) : shared;
    if (bytes.length === 0) continue;
    peer.queue.push(bytes);
    if (!peer.isWriting) void write(peer);
  }
}

async function write(peer: Peer): Promise<void> {
  peer.isWriting = true;
  try {
    while (peer.queue.length > 0) {
      let bytes = peer.queue.length === 1 ? peer.queue[0]! : concat(peer.queue.map((bytes) => ({ bytes })));
      peer.queue = [];
      while (bytes.length > 0) bytes = bytes.subarray(await peer.connection.write(bytes));
    }
  } catch (error) {
    if (!isDisconnect(error)) throw error;
    leave(peer);
  }
  peer.isWriting = false;
  if (peer.hasGone) close(peer);
}

function concat(parts: readonly { readonly bytes: Uint8Array }[]): Uint8Array {
  if (parts.length === 1) return parts[0]!.bytes;
  let length = 0;
  for (const { bytes } of parts) length += bytes.length;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const { bytes } of parts) {
    whole.set(bytes, at);
    at += bytes.length;
  }
  return whole;
}

function leave(peer: Peer): void {
  peer.hasGone = true;
  if (peers.delete(peer) && !peer.isWriting) close(peer);
}

function close(peer: Peer): void {
  try {
    peer.connection.close();
  } catch (error) {
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}

function isDisconnect(error: unknown): boolean {
  const { BadResource, BrokenPipe, ConnectionReset, Interrupted, NotConnected } = Deno.errors;
  return [BadResource, BrokenPipe, ConnectionReset, Interrupted, NotConnected].some((each) =>
    error instanceof each
  );
}
