/**
 * Sees a program run: a page with all its tasklets, what each waits for, and what is wrong, in words.
 *
 * ```ts
 * import { Tasklet } from "@x/concurrence";
 * import { Observer } from "@x/concurrence/observer";
 *
 * await using observer = Observer.serve({ port: 0 }); // a fixed port, to keep the page open
 * const task = Tasklet.new(async () => await Tasklet.sleep(60_000), { name: "sleeper" })();
 * await Tasklet.yield();
 *
 * const response = await fetch(new URL("/snapshot.json", observer.url)); // the page itself is at observer.url
 * const { tasklets: [sleeper] } = await response.json();
 * console.log(sleeper.name, sleeper.status, sleeper.waits[0].what); // "sleeper" "waiting" "for a time"
 * await task.kill();
 * ```
 *
 * Besides the page there are `/snapshot.json` for programs, `/metrics` for Prometheus, and `/healthz`.
 *
 * @module
 */
import { clearTimeout, setTimeout } from "node:timers";
import { Account, type Sample } from "./account.ts";
import { Feed } from "./feed.ts";
import { LoopMeter } from "./lag.ts";
import { mermaid, partiesOf, prometheus } from "./metrics.ts";
import { PAGE, STYLE } from "./page.ts";
import { SCRIPT } from "./page_script.ts";
import { now } from "./timer.ts";
import { type Warning, Watch } from "./warnings.ts";

export type { Cycle, Detail, ErrorLine, Letter, Party, Row, Sample, Totals } from "./account.ts";
export type { Block } from "./lag.ts";
export type { Warning } from "./warnings.ts";

const PERIOD = 500; // milliseconds between samples while somebody looks
const IDLE_PERIOD = 1000; // ... and while nobody does
const LARGEST_SHARE = 20; // a sample may cost one part of so many of the time
const MOST_SPECTATORS = 20;
const MOST_CHOSEN = 20;

/** Where an observer listens, and what it records. */
export interface ObserverOptions {
  /**
   * The name or address to listen on. Whoever can reach it can read: names of tasklets, types of messages, errors.
   *
   * @default {"localhost"}
   */
  hostname?: string | undefined;
  /** The port to listen on, 0 for any that is free. */
  port: number;
  /**
   * What the page is called.
   *
   * @default {"Concurrence"}
   */
  title?: string | undefined;
  /**
   * Whether to record where each tasklet is created; that costs some microseconds for each.
   *
   * @default {false}
   */
  sites?: boolean | undefined;
  /**
   * Further host names under which it may be asked for, as behind a proxy.
   *
   * @default {[]}
   */
  hosts?: readonly string[] | undefined;
}

/**
 * A small web server that shows the tasklets of this process, and changes nothing.
 *
 * - **Read-only**: it answers `GET` and `HEAD`, and nothing it answers to has an effect on the program.
 * - **Closed**: it listens on this machine unless told otherwise; a request under a foreign host name is refused, so
 *   that no other page can read it, and the page itself loads nothing from elsewhere.
 * - **Bounded**: a busy program is sampled less often and its rows are sent in parts, so that the page costs a small
 *   share of the time and of the network; a spectator who reads slowly misses steps and holds nobody up.
 * - **Quiet**: it keeps no program alive, and has no tasklet of its own.
 */
export class Observer implements AsyncDisposable {
  readonly #options: ObserverOptions;
  readonly #account: Account;
  readonly #meter: LoopMeter;
  readonly #watch = new Watch();
  readonly #feed = new Feed();
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #sample: Sample | undefined;
  #warnings: readonly Warning[] = [];
  #cost = 0; // of the last sample, in milliseconds
  #isClosed = false;

  /** Use {@linkcode Observer.serve}. */
  private constructor(options: ObserverOptions) {
    this.#options = options;
    const { hostname = "localhost", port } = options;
    // Not before it listens: a port that is taken must leave nothing behind.
    this.#server = listen(hostname, port, (request) => this.#answer(request));
    this.#server.unref();
    this.#account = new Account({ sites: options.sites ?? false });
    this.#meter = new LoopMeter((from) => this.#account.workerOf(from));
    this.#go();
  }

  /**
   * Shows the tasklets of this process at `http://hostname:port/`, until closed.
   *
   * @throws {Deno.errors.AddrInUse} If the port is taken; other errors of `Deno.serve`, if it may not be had.
   */
  static serve(options: ObserverOptions): Observer {
    return new Observer(options);
  }

  /** The port it listens on. */
  get port(): number {
    return this.#server.addr.port;
  }

  /** The address of the page. */
  get url(): string {
    const { hostname = "localhost" } = this.#options;
    return `http://${hostname.includes(":") ? `[${hostname}]` : hostname}:${this.port}/`;
  }

  /** Ends it: spectators are told, and nothing is recorded any more. Harmless twice. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#meter[Symbol.dispose]();
    this.#account[Symbol.dispose]();
    this.#feed.close();
    await this.#server.shutdown();
  }

  /** The same as {@linkcode Observer.close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #go(): void {
    const begin = performance.now();
    this.#look();
    this.#feed.send(this.#sample!, this.#warnings);
    this.#cost = performance.now() - begin;
    this.#schedule();
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    const period = this.#feed.spectators > 0 ? PERIOD : IDLE_PERIOD;
    this.#timer = setTimeout(() => this.#go(), Math.max(period, this.#cost * LARGEST_SHARE));
    this.#timer.unref();
  }

  #look(): void {
    this.#sample = this.#account.sample(this.#meter.read());
    this.#warnings = this.#watch.look(this.#sample);
  }

  // With many tasklets, what is asked for often is not looked for each time.
  #fresh(): Sample {
    const { at, rows } = this.#sample!;
    if (rows.length < 1000 || now() - at > this.#cost * LARGEST_SHARE) this.#look();
    return this.#sample!;
  }

  #answer(request: Request): Response {
    const refusal = this.#refusalOf(request);
    if (refusal !== undefined) return refusal;
    const url = new URL(request.url);
    switch (url.pathname) {
      case "/":
        return reply("text/html", PAGE);
      case "/observer.css":
        return reply("text/css", STYLE);
      case "/observer.js":
        return reply("text/javascript", SCRIPT);
      case "/icon.svg":
        return reply("image/svg+xml", ICON);
      case "/healthz":
        return reply("text/plain", "ok\n");
      case "/metrics":
        return reply("text/plain; version=0.0.4", prometheus(this.#fresh(), this.#warnings.length));
      case "/snapshot.json":
        return json(this.#snapshot());
      case "/tasklet.json":
        return json(this.#tasklet(Number(url.searchParams.get("id"))));
      case "/sequence.json":
        return json(this.#sequence(url.searchParams.get("ids") ?? ""));
      case "/events":
        return this.#events(request);
      default:
        return reply("text/plain", "There is no such page\n", 404);
    }
  }

  #refusalOf(request: Request): Response | undefined {
    if (request.method !== "GET" && request.method !== "HEAD") {
      return reply("text/plain", "Only GET and HEAD\n", 405, { allow: "GET, HEAD" });
    }
    const host = request.headers.get("host") ?? "";
    if (!this.#isOurs(host)) return reply("text/plain", "This host name is not served here\n", 403);
    const site = request.headers.get("sec-fetch-site");
    const isVisit = request.headers.get("sec-fetch-mode") === "navigate";
    if (site === "cross-site" && !isVisit) return reply("text/plain", "Not for other sites\n", 403);
    return undefined;
  }

  // A foreign name that leads here is how a page from elsewhere would read this one. An address leads nowhere else.
  #isOurs(host: string): boolean {
    const name = URL.parse(`http://${host}`)?.hostname;
    if (name === undefined || host.includes("/") || host.includes("@")) return false;
    const { hostname = "localhost", hosts = [] } = this.#options;
    const isAddress = /^\d+\.\d+\.\d+\.\d+$/.test(name) || name.startsWith("[");
    return isAddress || name === "localhost" || name === hostname || hosts.includes(name);
  }

  #events(request: Request): Response {
    if (request.method === "HEAD") return reply("text/event-stream", null);
    if (this.#feed.spectators >= MOST_SPECTATORS) return reply("text/plain", "Too many look already\n", 503);
    const stream = this.#feed.open(this.#fresh(), this.#warnings, this.#options.title ?? "Concurrence");
    this.#schedule();
    return reply("text/event-stream", stream);
  }

  #snapshot(): unknown {
    const { at, rows, totals } = this.#fresh();
    return {
      title: this.#options.title ?? "Concurrence",
      time: Date.now(),
      at,
      totals,
      warnings: this.#warnings,
      tasklets: rows.filter(({ ended }) => ended === undefined),
      ended: rows.filter(({ ended }) => ended !== undefined),
    };
  }

  #tasklet(id: number): unknown {
    const row = this.#fresh().rows.find((row) => row.id === id);
    const detail = this.#account.detail(id);
    return { at: now(), row, sites: this.#options.sites ?? false, ...detail };
  }

  #sequence(list: string): unknown {
    const ids = list.split(",").filter((id) => /^\d+$/.test(id)).map(Number).slice(0, MOST_CHOSEN);
    const letters = this.#account.between(ids).slice(-60);
    return { at: now(), parties: partiesOf(letters), letters, mermaid: mermaid(letters) };
  }
}

function listen(
  hostname: string,
  port: number,
  answer: (request: Request) => Response,
): Deno.HttpServer<Deno.NetAddr> {
  try {
    return Deno.serve({ hostname, port, onListen: () => {} }, answer);
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) {
      throw new Deno.errors.AddrInUse(`Cannot observe at ${hostname}:${port}: the address is in use`, {
        cause: error,
      });
    }
    throw error;
  }
}

const ICON = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">' +
  '<g fill="none" stroke="#3d8f86" stroke-width="2.5"><path d="M16 9v7M16 16L8 24M16 16l8 8"/>' +
  '<circle cx="16" cy="7" r="4" fill="#3d8f86"/><circle cx="7" cy="25" r="3.5"/><circle cx="25" cy="25" r="3.5"/></g></svg>\n';

// "self" for all: what the page is made of comes from here, and nothing is inline.
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join("; ");

function reply(
  type: string,
  body: BodyInit | null,
  status = 200,
  more: Readonly<Record<string, string>> = {},
): Response {
  const headers = {
    "content-type": type.startsWith("image/") ? type : `${type}; charset=utf-8`,
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
    ...more,
  };
  return new Response(body, { status, headers });
}

function json(value: unknown): Response {
  return reply("application/json", JSON.stringify(value));
}
