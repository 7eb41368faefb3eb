/**
 * The hostile: what a stranger can do to a chat server without any password.
 *
 * @module
 */
import { GoneError, Peer, restUnless, vanish } from "./peer.ts";
import type { Random } from "./random.ts";

/** A kind of peer. */
export interface Kind {
  /** What it does. */
  readonly name: string;
  /** How many of them there are at once; when one has gone, the next one comes. */
  readonly count: number;
  /** One life of one of them. It ends by itself, or with an error when the server has gone. */
  readonly live: (port: number, random: Random, signal: AbortSignal) => Promise<void>;
}

/** How it went for a kind. */
export interface Tally {
  /** What they did. */
  readonly name: string;
  /** How many came. */
  came: number;
  /** How many of them the server has sent away, or closed as they had asked for. */
  dropped: number;
}

const encoder = new TextEncoder();

/** Every kind that the soak knows. */
export const KINDS: readonly Kind[] = [
  { name: "never reads", count: 5, live: withPeer(neverReads) },
  { name: "reads a byte a second", count: 3, live: withPeer(readsSlowly) },
  { name: "sends a byte a second", count: 3, live: withPeer(sendsSlowly) },
  { name: "resets after n bytes", count: 3, live: resets },
  { name: "floods", count: 2, live: withPeer(floods) },
  { name: "never speaks", count: 5, live: withPeer(neverSpeaks) },
  { name: "over-long lines", count: 2, live: withPeer(sendsTooLong) },
  { name: "random bytes", count: 3, live: withPeer(sendsAnything) },
  { name: "connects, says, quits", count: 2, live: withPeer(comesAndGoes) },
  { name: "ends its side", count: 1, live: withPeer(endsItsSide) },
];

/** Lets all `kinds` loose on a server until `signal` is aborted. */
export async function attack(
  kinds: readonly Kind[],
  port: number,
  random: Random,
  tallies: Tally[],
  signal: AbortSignal,
): Promise<void> {
  await Promise.all(kinds.flatMap((kind) => {
    const tally: Tally = { name: kind.name, came: 0, dropped: 0 };
    tallies.push(tally);
    return Array.from(
      { length: kind.count },
      () => liveAgainAndAgain(kind, port, random.split(), tally, signal),
    );
  }));
}

async function liveAgainAndAgain(
  kind: Kind,
  port: number,
  random: Random,
  tally: Tally,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    tally.came++;
    try {
      await kind.live(port, random, signal);
    } catch (error) {
      if (error instanceof GoneError) tally.dropped++;
      else if (!signal.aborted) throw error;
    }
  }
}

function withPeer(live: (peer: Peer, random: Random) => Promise<void>): Kind["live"] {
  return async (port, random, signal) => {
    using peer = await Peer.open(port, signal);
    await live(peer, random);
  };
}

async function neverReads(peer: Peer): Promise<void> {
  while (true) {
    await peer.send(encoder.encode("I do not listen\n")); // or it would never learn that it was dropped
    await peer.rest(2000);
  }
}

async function readsSlowly(peer: Peer): Promise<void> {
  while (true) {
    await peer.send(encoder.encode("I listen, a little\n")); // see above
    for (let i = 0; i < 5; i++) {
      await peer.read(1);
      await peer.rest(1000);
    }
  }
}

async function sendsSlowly(peer: Peer, random: Random): Promise<void> {
  peer.drain();
  for (const byte of encoder.encode(`I have ${random.whole(1, 1e9)} seconds\n`)) {
    await peer.send(Uint8Array.of(byte));
    await peer.rest(1000);
  }
}

async function resets(port: number, random: Random, signal: AbortSignal): Promise<void> {
  const line = encoder.encode("now you see me, now you do not\n");
  const cut = line.subarray(0, random.whole(0, line.length));
  await vanish(port, cut, random.whole(0, 4000), random.whole(0, 500));
  await restUnless(signal, random.whole(0, 500));
}

async function floods(peer: Peer, random: Random): Promise<void> {
  peer.drain();
  for (let burst = random.whole(1, 10); burst > 0; burst--) {
    const line = "flood ".repeat(random.whole(1, 30)) + "\n";
    await peer.send(encoder.encode(line.repeat(Math.ceil(random.whole(16_384, 131_072) / line.length))));
    await peer.rest(random.whole(1000, 4000));
  }
}

async function neverSpeaks(peer: Peer, random: Random): Promise<void> {
  peer.drain();
  await peer.rest(random.whole(1000, 30_000));
}

async function sendsTooLong(peer: Peer, random: Random): Promise<void> {
  await peer.rest(random.whole(0, 1000));
  await peer.send(new Uint8Array(random.whole(65_537, 200_000)).fill(120));
  while (await peer.read());
}

async function comesAndGoes(peer: Peer, random: Random): Promise<void> {
  await peer.rest(random.whole(0, 50));
  await peer.send(encoder.encode("hello\nquit\n"));
  while (await peer.read());
}

async function endsItsSide(peer: Peer, random: Random): Promise<void> {
  await peer.rest(random.whole(0, 500));
  await peer.send(encoder.encode("last words, without an end"));
  await peer.end();
  while (await peer.read());
}

async function sendsAnything(peer: Peer, random: Random): Promise<void> {
  peer.drain();
  for (let pieces = random.whole(1, 50); pieces > 0; pieces--) {
    let bytes = anything(random);
    while (bytes.length > 0) {
      const cut = random.whole(1, bytes.length);
      await peer.send(bytes.subarray(0, cut));
      bytes = bytes.subarray(cut);
      if (random.next() < 0.2) await peer.rest(random.whole(0, 50));
    }
    await peer.rest(random.whole(0, 200));
  }
}

/** Bytes that no well-behaved client sends. */
export function anything(random: Random): Uint8Array {
  const pieces = Array.from({ length: random.whole(1, 12) }, () => random.pick(PIECES)(random));
  const bytes = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

const IAC = 255;
const SB = 250;
const SE = 240;

const PIECES: readonly ((random: Random) => Uint8Array | number[])[] = [
  (random) => random.bytes(random.whole(0, 300)),
  (random) => [IAC, random.whole(251, 254), random.whole(0, 255)], // an option
  (random) => [IAC, SB, ...random.bytes(random.whole(0, 20)), IAC, SE],
  (random) => [IAC, random.whole(0, 255)], // a command, which may be Ctrl-C
  () => [IAC, IAC],
  () => [0xf0, 0x9f, 0x98], // three bytes of four
  () => [0xc2, 0x9b, 0x31, 0x6d], // CSI as C1, in UTF-8
  () => [0xed, 0xa0, 0x80], // a lone surrogate
  () => encoder.encode("\x1b[2J\x1b]0;owned\x07\x1b[31m"),
  () => encoder.encode("\u202eright to left\u2066"),
  (random) => Array.from({ length: random.whole(1, 20) }, () => random.whole(0, 31)),
  () => encoder.encode("\n\r\n\r\0\n\n"),
  () => encoder.encode("~0 0 0.000 forged\n"), // as a talker might have said it
  (random) => encoder.encode("word ".repeat(random.whole(0, 2000)) + "\n"),
];
