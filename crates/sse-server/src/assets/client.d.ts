// Types of client.js, the browser's side of sse-server.

/** `waiting`: the next attempt to connect has its time, which `retryMs` of the event says. */
export type State = "connecting" | "open" | "waiting" | "closed";

export interface Options {
  /** Topics and filters, such as `job:42` or `job:*`; none: every topic that the reader may read. */
  topics?: string | string[];
  /** Event types to receive; none: all. */
  types?: string | string[];
  /** Asks for the topics of each event. With `json` they are its `topics`, else they stand in its data. */
  envelope?: boolean;
  /** Makes `data` the value that its JSON stands for; what is no JSON stays text. */
  json?: boolean;
  /** One connection for all tabs of this origin that read the same. Where there are no Web Locks each has its own. */
  shared?: boolean;
  /** Goes on behind this id; `earliest`: from the oldest event that is kept. */
  lastEventId?: string;
  /** Keeps the position under this name in sessionStorage, so that the next page load of this tab goes on from there. */
  resume?: string | null;
  /** More headers, or a function that makes them for each attempt, such as `Authorization`. */
  headers?: Record<string, string> | (() => Record<string, string> | Promise<Record<string, string>>);
  /** Sends cookies to another origin too. */
  withCredentials?: boolean;
  /** Silence after which a stream counts as dead, in milliseconds; by default 1.5 times what the server says of its heartbeats. */
  silenceMs?: number | null;
  /** The first wait before a new attempt, in milliseconds (1000); it doubles, and up to half of it is cut off at random. */
  retryMinMs?: number;
  /** The longest such wait, in milliseconds (30,000). */
  retryMaxMs?: number;
  /** A stream that lasted so long makes the next wait the first again, in milliseconds (60,000). */
  goodMs?: number;
  /** Another `fetch`. */
  fetch?: typeof fetch;
}

export interface StateEvent extends Event {
  readonly state: State;
  /** The wait until the next attempt, in milliseconds. */
  readonly retryMs: number | null;
}

export interface ErrorEvent extends Event {
  readonly message: string;
  /** The answer's status, if there was an answer. */
  readonly status: number | null;
  /** Nothing more is tried by itself, as after 401 and 403: `reconnect()` tries again. */
  readonly isFinal: boolean;
  readonly retryMs: number | null;
}

/** An event of the stream; its type is the event's. */
export interface StreamEvent<T = unknown> extends MessageEvent<T> {
  /** With `json` and `envelope`. */
  readonly topics?: string[];
}

/** The types of the events that the server makes itself: `connected`, `heartbeat`, `reset`, `shutdown`. */
export const OWN_EVENTS: readonly string[];

/** The hub's own events, whose data is always a value. */
export interface OwnEvents {
  connected: MessageEvent<{
    connection_id: string;
    topics: string[];
    types: string[];
    heartbeat_seconds: number;
    last_event_id: string;
  }>;
  heartbeat: MessageEvent<Record<string, never>>;
  /** Events may be missing: fetch anew what the page shows. */
  reset: MessageEvent<{ reason: "history_truncated" | "unknown_id"; oldest: string | null }>;
  shutdown: MessageEvent<{ retry_ms: number }>;
  open: Event;
  state: StateEvent;
  error: ErrorEvent;
}

export class SseClient extends EventTarget {
  static readonly CONNECTING: 0;
  static readonly OPEN: 1;
  static readonly CLOSED: 2;

  constructor(url?: string | URL, options?: Options);

  onopen: ((this: SseClient, event: Event) => unknown) | null;
  onmessage: ((this: SseClient, event: StreamEvent) => unknown) | null;
  onerror: ((this: SseClient, event: ErrorEvent) => unknown) | null;
  onstate: ((this: SseClient, event: StateEvent) => unknown) | null;
  /** Every event of the stream, whatever its type. */
  onevent: ((this: SseClient, event: StreamEvent) => unknown) | null;

  readonly readyState: 0 | 1 | 2;
  readonly state: State;
  readonly url: string;
  readonly withCredentials: boolean;
  /** The id of the newest event that this client has passed. */
  readonly lastEventId: string;

  /** Reads other topics or types from now on; nothing is lost in between. */
  change(subscription: { topics?: string | string[]; types?: string | string[] }): void;
  /** Connects now. */
  reconnect(): void;
  close(): void;

  addEventListener<K extends keyof OwnEvents>(
    type: K,
    listener: (this: SseClient, event: OwnEvents[K]) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: ((this: SseClient, event: StreamEvent<any>) => unknown) | EventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

export default SseClient;

export interface Publication {
  topic: string | string[];
  event?: string;
  data: unknown;
  /** Made by `publish` where it is missing. */
  idempotency_key?: string;
}

export interface PublishOptions {
  url?: string | URL;
  /** The publish token, or a signed one; a page of the same origin may have it in a cookie instead. */
  token?: string;
  /** How often it is tried again after 429, 5xx and a lost connection (3). */
  retries?: number;
  fetch?: typeof fetch;
  signal?: AbortSignal;
}

/** A publish that was not accepted; `status` says how. */
export class PublishError extends Error {
  readonly status: number;
}

/** Publishes one event. */
export function publish(event: Publication, options?: PublishOptions): Promise<{ id: string; receivers: number }>;
/** Publishes a batch: all of it or nothing. */
export function publish(events: Publication[], options?: PublishOptions): Promise<{ ids: string[]; receivers: number }>;

/** Cuts text into events (WHATWG HTML 9.2.6). */
export class Parser {
  constructor(
    on: {
      event(event: { type: string; data: string; id: string }): unknown;
      position?(id: string): unknown;
      retry?(ms: number): unknown;
    },
    lastEventId?: string,
  );
  id: string;
  push(text: string): void;
}
