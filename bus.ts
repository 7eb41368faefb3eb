/**
 * What a cluster needs of a message bus, and nothing more.
 *
 * Types alone, without anything at run time.
 *
 * @module
 */

/**
 * A bus as one node sees it. A node never gets what it has published itself, unless as one of those who share a subject.
 * What it calls runs in nobody's name, no tasklet is running, and never within a call of the bus.
 */
export interface Bus {
  /** Whether it is connected. */
  readonly isUp: boolean;
  /** Where to, for people. */
  readonly server: string;
  /** How many bytes may be published at once. */
  readonly maxPayload: number;
  /** Publishes; neither throws nor waits. `false`: not connected, or too much waits to be sent. */
  publish(subject: string, payload: Uint8Array, options?: PublishOptions): boolean;
  /** Calls `handle` with all that is published for `subject` from now on; ends with what it returns. */
  subscribe(subject: string, handle: (delivery: Delivery) => void): () => void;
  /** The same, but each delivery goes to one of those who share the subject. */
  share(subject: string, handle: (delivery: Delivery) => void): Promise<() => void>;
  /** Resolves when all that was asked for before has reached the bus; rejects when the connection is lost. */
  flush(): Promise<void>;
  /** Sends what waits to be sent, and ends. Harmless twice. */
  close(): Promise<void>;
}

/** What goes along with a payload. */
export interface PublishOptions {
  /** Where answers should go. */
  readonly reply?: string | undefined;
  /** Further texts, by name. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** What has come. */
export interface Delivery {
  /** Where to. */
  readonly subject: string;
  /** What. */
  readonly payload: Uint8Array;
  /** Where an answer should go; `""` if none is wanted. */
  readonly reply: string;
  /** Whether it is the word of the bus that nobody is at the subject for which this would be the answer. */
  readonly isNobody: boolean;
  /** A text that came along; `""` if it did not. */
  readonly header: (name: string) => string;
}

/** What a bus tells of itself. */
export interface BusListener {
  /** The connection is lost. It is tried to get it back for ever. */
  readonly down: () => void;
  /** It is back. */
  readonly up: () => void;
  /** The bus refuses something, such as a subject for which there is no permission. */
  readonly error: (error: Error) => void;
}
