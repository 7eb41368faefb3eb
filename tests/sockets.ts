/**
 * Servers and clients made of the library's own sockets: what one reads and writes in tests of them.
 *
 * @module
 */
import { concat } from "./client.ts";
import { BufferedStream, isDisconnect, type Server, Socket } from "../net.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Answers each line with itself. */
export async function echo(socket: Socket): Promise<void> {
  const stream = new BufferedStream(socket);
  for await (const line of stream.reader.readLines()) {
    stream.writer.writeLine(line);
    await stream.writer.flush();
  }
}

/** As {@linkcode echo}, to peers that may be gone at any time. */
export async function patient(socket: Socket): Promise<void> {
  try {
    await echo(socket);
  } catch (error) {
    if (!isDisconnect(error)) throw error;
  }
}

/** A stream to a server. */
export async function join(server: Server): Promise<BufferedStream> {
  return new BufferedStream(await Socket.connect(server.address));
}

/** Sends a line and gives what is answered. */
export async function ask(stream: BufferedStream, line: string): Promise<string | null> {
  stream.writer.writeLine(line);
  await stream.writer.flush();
  return await stream.reader.readLine();
}

/** Reads once, at most `most` bytes, as text. */
export async function readSome(socket: Socket, most = 1000): Promise<string | null> {
  const buffer = new Uint8Array(most);
  const n = await socket.read(buffer);
  return n === null ? null : decoder.decode(buffer.subarray(0, n));
}

/** Reads `length` bytes, fewer at the end, as text. */
export async function read(socket: Socket, length: number): Promise<string> {
  let text = "";
  for (let part; text.length < length && (part = await readSome(socket, length - text.length)) !== null;) {
    text += part;
  }
  return text;
}

/** Reads to the end. */
export async function readAll(socket: Socket): Promise<string> {
  return decoder.decode(await readBytes(socket));
}

/** The same, as bytes. */
export async function readBytes(socket: Socket): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  const buffer = new Uint8Array(65_536);
  for (let n; (n = await socket.read(buffer)) !== null;) parts.push(buffer.slice(0, n));
  return concat(parts);
}

/** What is read until the end, or until it fails: what was read, and the name of the error. */
export async function readOn(socket: Socket): Promise<[text: string, end: string | null]> {
  let text = "";
  try {
    for (let part; (part = await readSome(socket)) !== null;) text += part;
    return [text, null];
  } catch (error) {
    return [text, (error as Error).name];
  }
}

/** Writes a text. */
export function write(socket: Socket, text: string): Promise<void> {
  return socket.write(encoder.encode(text));
}

/** Writes until that fails. */
export async function writeOn(socket: Socket): Promise<never> {
  while (true) await socket.write(new Uint8Array(1000));
}

/** How an operation ended: what it gave, "gone" if the peer has, or the name of the error. */
export async function outcome(operation: Promise<unknown>): Promise<unknown> {
  try {
    return await operation;
  } catch (error) {
    return isDisconnect(error) ? "gone" : (error as Error).name;
  }
}
