// The browser's side of sse-server: an EventSource that notices silence, survives refusals and loses nothing.
// For browsers, workers and Node; types in client.d.ts. MIT OR Apache-2.0.

/** How long nothing may come before the first greeting says how often heartbeats do, in milliseconds. */
const SILENCE_MS = 45_000;
/** Heartbeats that may be missed before a stream counts as dead. */
const SILENT_HEARTBEATS = 1.5;
/** The longest that a Retry-After is followed. */
const RETRY_AFTER_MAX_MS = 300_000;
/** How often the position is kept for the next page load. */
const KEEP_EVERY_MS = 1_000;
/** How long the tab that holds the shared connection may leave a question unanswered. */
const ANSWER_MS = 5_000;
/** Events that a tab holds back while it catches up with the others. */
const HELD_MAX = 10_000;

/** The types of the events that the server makes itself. */
export const OWN_EVENTS = ["connected", "heartbeat", "reset", "shutdown"];

/** Cuts text into events, however it is cut into pieces (WHATWG HTML 9.2.6). */
export class Parser {
  #rest = "";
  #afterReturn = false;
  #data = "";
  #type = "";
  #on;

  /** `on`: `event({type, data, id})`, `position(id)` at each empty line, and `retry(ms)`. */
  constructor(on, lastEventId = "") {
    this.#on = on;
    this.id = lastEventId;
  }

  push(text) {
    if (text === "") return;
    // A line that ended in CR was passed on at once; the LF behind it belongs to it.
    const piece = this.#afterReturn && text[0] === "\n" ? text.slice(1) : text;
    this.#afterReturn = text.endsWith("\r");
    const lines = (this.#rest + piece).split(/\r\n|\n|\r/);
    this.#rest = lines.pop();
    for (const line of lines) this.#line(line);
  }

  #line(line) {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "data") this.#data += value + "\n";
    else if (field === "event") this.#type = value;
    else if (field === "id" && !value.includes("\0")) this.id = value;
    else if (field === "retry" && /^[0-9]+$/.test(value)) this.#on.retry?.(Number(value));
  }

  #dispatch() {
    const [type, data] = [this.#type || "message", this.#data];
    this.#type = this.#data = "";
    if (data !== "") this.#on.event({ type, data: data.slice(0, -1), id: this.id });
    else this.#on.position?.(this.id);
  }
}

/** One connection, made again whenever it ends. Says `event`, `position`, `state` and `error` to `on`. */
class Connection {
  #options;
  #on;
  #state = null;
  #attempt = null;
  #failures = 0;
  #timer;
  #heardAt = 0;
  #silenceMs;

  constructor(options, lastEventId, on) {
    this.#options = options;
    this.#on = on;
    this.lastEventId = lastEventId;
    this.#silenceMs = options.silenceMs ?? SILENCE_MS;
    this.connect();
  }

  connect() {
    this.#attempt?.abort();
    clearTimeout(this.#timer);
    const attempt = (this.#attempt = new AbortController());
    this.#become("connecting");
    this.#run(attempt).catch((error) => this.#ended(attempt, { message: String(error?.message ?? error) }));
  }

  reconnect() {
    this.#failures = 0;
    this.connect();
  }

  /** After a sleep timers come late, and what was connected may be gone; when there is a network again, nobody waits. */
  wake(isOnline) {
    const isOverdue = Date.now() - this.#heardAt > this.#silenceMs;
    if (this.#state === "waiting" ? isOnline : this.#attempt && isOverdue) this.reconnect();
  }

  close() {
    this.#attempt?.abort();
    this.#attempt = null;
    clearTimeout(this.#timer);
    this.#become("closed");
  }

  #become(state, retryMs = null) {
    if (state === this.#state) return;
    this.#state = state;
    this.#on.state(state, retryMs);
  }

  async #run(attempt) {
    const { headers, withCredentials, fetch } = this.#options;
    this.#hear(attempt);
    const response = await fetch(address(this.#options, this.lastEventId), {
      headers: { Accept: "text/event-stream", ...(typeof headers === "function" ? await headers() : headers) },
      credentials: withCredentials ? "include" : "same-origin",
      cache: "no-store",
      signal: attempt.signal,
    });
    const type = response.headers.get("content-type") ?? "";
    if (response.status !== 200 || !/^text\/event-stream\s*(;|$)/i.test(type)) return this.#refused(attempt, response);
    const stream = { openedAt: null, retryMs: null, goodbyeMs: null };
    const isOver = () => attempt.signal.aborted;
    const parser = new Parser(
      {
        event: (event) => isOver() || this.#received(stream, event),
        position: (id) => isOver() || this.#passed(id),
        retry: (ms) => (stream.retryMs = ms),
      },
      this.lastEventId,
    );
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    for (;;) {
      // One that breaks ends like any other.
      const { done, value } = await reader.read().catch(() => ({ done: true }));
      if (done || isOver()) break;
      parser.push(decoder.decode(value, { stream: true }));
      if (!isOver()) this.#hear(attempt);
    }
    this.#ended(attempt, { message: "the stream ended", ...stream });
  }

  #received(stream, event) {
    if (stream.openedAt === null) {
      stream.openedAt = Date.now();
      this.#become("open");
    }
    if (event.type === "connected" && this.#options.silenceMs === null) {
      const seconds = parsed(event.data)?.heartbeat_seconds;
      this.#silenceMs = seconds > 0 ? seconds * 1000 * SILENT_HEARTBEATS : seconds === 0 ? Infinity : SILENCE_MS;
    }
    if (event.type === "shutdown") stream.goodbyeMs = parsed(event.data)?.retry_ms ?? stream.retryMs;
    this.lastEventId = event.id;
    this.#on.event(event);
  }

  #passed(id) {
    this.lastEventId = id;
    this.#on.position(id);
  }

  /** Something came: the stream lives, and the next silence begins. */
  #hear(attempt) {
    this.#heardAt = Date.now();
    clearTimeout(this.#timer);
    if (this.#silenceMs === Infinity) return;
    const silent = () => this.#ended(attempt, { message: "nothing was heard for too long" });
    this.#timer = setTimeout(silent, this.#silenceMs);
  }

  async #refused(attempt, response) {
    const { status, headers } = response;
    const problem = parsed(await response.text().catch(() => ""));
    const unexpected = status === 200 ? "the answer is no event stream" : `refused with status ${status}`;
    const message = problem?.detail ?? problem?.error ?? unexpected;
    if (status === 429 || status === 408 || status >= 500) {
      return this.#ended(attempt, { message, status, afterMs: retryAfter(headers.get("retry-after")) });
    }
    if (attempt !== this.#attempt) return;
    // Asked again it would answer the same: whoever knows better calls reconnect().
    this.close();
    this.#on.error({ message, status, isFinal: true, retryMs: null });
  }

  /** Waits, and connects again. */
  #ended(attempt, { message, status = null, openedAt = null, retryMs = null, goodbyeMs = null, afterMs = 0 }) {
    if (attempt !== this.#attempt) return;
    this.#attempt = null;
    attempt.abort();
    clearTimeout(this.#timer);
    const { retryMinMs, retryMaxMs, goodMs } = this.#options;
    if (openedAt !== null && (goodbyeMs !== null || Date.now() - openedAt >= goodMs)) this.#failures = 0;
    const backoff = Math.min(retryMaxMs, retryMinMs * 2 ** this.#failures) * (0.5 + Math.random() / 2);
    const isFirst = openedAt !== null && this.#failures === 0;
    // A server that says when to come back has spread its readers already. From the second time on they do it themselves.
    const wait = isFirst ? (goodbyeMs ?? retryMs ?? backoff) : Math.max(backoff, Math.min(retryMs ?? 0, retryMaxMs));
    const delay = Math.max(wait, Math.min(afterMs, RETRY_AFTER_MAX_MS));
    this.#failures = Math.min(this.#failures + 1, 30);
    this.#timer = setTimeout(() => this.connect(), delay);
    this.#become("waiting", delay);
    this.#on.error({ message, status, isFinal: false, retryMs: delay });
  }
}

/** One connection for all tabs of an origin: the tab that holds the lock has it and passes on what it hears. */
class Share {
  #options;
  #on;
  #channel;
  #state = null;
  #leaving = new AbortController();
  #connection = null;
  #letGo = null;
  #timer;
  #catchUp = null;
  #held = [];

  static isPossible() {
    return typeof globalThis.navigator?.locks?.request === "function" && typeof BroadcastChannel === "function";
  }

  constructor(options, lastEventId, on) {
    this.#options = options;
    this.#on = on;
    this.lastEventId = lastEventId;
    this.name = `sse:${address(options, "")}`;
    this.#channel = new BroadcastChannel(this.name);
    this.#channel.onmessage = ({ data }) => this.#told(data);
    this.#become("connecting");
    this.#wantLock({ signal: this.#leaving.signal });
    this.#ask();
  }

  reconnect() {
    if (this.#connection) this.#connection.reconnect();
    else this.#channel.postMessage({ reconnect: true });
  }

  wake(isOnline) {
    if (this.#connection) this.#connection.wake(isOnline);
    else if (!this.#leaving.signal.aborted) this.#ask();
  }

  close() {
    if (this.#leaving.signal.aborted) return;
    this.#leaving.abort();
    clearTimeout(this.#timer);
    this.#catchUp?.close();
    this.#connection?.close();
    this.#letGo?.();
    this.#channel.close();
    this.#become("closed");
  }

  #become(state, retryMs = null) {
    if (state === this.#state) return;
    this.#state = state;
    this.#on.state(state, retryMs);
  }

  #wantLock(how) {
    const lead = () => (this.#leaving.signal.aborted ? undefined : new Promise((letGo) => this.#lead(letGo)));
    navigator.locks.request(this.name, how, lead).catch(() => {
      if (this.#leaving.signal.aborted) return;
      // Another tab took it, because this one did not answer.
      this.#connection?.close();
      this.#connection = null;
      this.#wantLock({ signal: this.#leaving.signal });
      this.#ask();
    });
  }

  #lead(letGo) {
    this.#letGo = letGo;
    clearTimeout(this.#timer);
    this.#catchUp?.close();
    this.#catchUp = null;
    const tell = (what) => this.#leaving.signal.aborted || this.#channel.postMessage(what);
    const on = {
      event: (event) => (this.#event(event), tell({ event })),
      position: (id) => (this.#position(id), tell({ position: id })),
      state: (state, retryMs) => {
        if (this.#leaving.signal.aborted) return;
        this.#become(state, retryMs);
        tell({ state, retryMs, position: this.lastEventId });
      },
      error: (error) => (this.#on.error(error), tell({ error })),
    };
    // Its first words come before there is a connection to call it by.
    queueMicrotask(() => {
      if (!this.#leaving.signal.aborted) this.#connection = new Connection(this.#options, this.lastEventId, on);
    });
  }

  /** What the others say. */
  #told({ ask, reconnect, event, position, state, retryMs, error }) {
    if (this.#connection) {
      if (ask) this.#channel.postMessage({ state: this.#state, position: this.#connection.lastEventId });
      if (reconnect) this.#connection.reconnect();
      return;
    }
    if (ask || reconnect) return;
    this.#listen();
    if (state) this.#meet(state, retryMs, position);
    if (event) this.#catchUp ? this.#hold(event) : this.#event(event);
    if (position !== undefined && !state && !this.#catchUp) this.#position(position);
    if (error) this.#on.error(error);
  }

  /** Takes on the state of the shared connection; whoever is behind it fetches the rest alone. */
  #meet(state, retryMs, position) {
    if (this.#catchUp) return;
    if (state === "open" && this.lastEventId === "") this.lastEventId = position;
    if (state !== "open" || !isAfter(position, this.lastEventId)) return this.#become(state, retryMs);
    const caughtUp = (id) => {
      this.#position(id);
      if (!isAfter(position, id)) this.#level();
    };
    this.#catchUp = new Connection(this.#options, this.lastEventId, {
      event: (event) => {
        // Its greeting is where it starts, not how far it has come.
        if (event.type === "connected") return;
        this.#event(event);
        caughtUp(event.id);
      },
      position: caughtUp,
      state: () => {},
      error: (error) => error.isFinal && this.#level(),
    });
  }

  #hold(event) {
    if (this.#held.push(event) > HELD_MAX) this.#held.shift();
  }

  #level() {
    this.#catchUp?.close();
    this.#catchUp = null;
    for (const event of this.#held.splice(0)) this.#event(event);
    this.#become("open");
  }

  /** An event that was heard from one tab may be heard from the next one again. */
  #event(event) {
    if (!OWN_EVENTS.includes(event.type) && this.lastEventId && !isAfter(event.id, this.lastEventId)) return;
    if (event.type !== "connected" || event.id) this.lastEventId = event.id;
    this.#on.event(event);
  }

  #position(id) {
    this.lastEventId = id;
    this.#on.position(id);
  }

  #ask() {
    this.#channel.postMessage({ ask: true });
    this.#listen(ANSWER_MS);
  }

  /** A tab that was put to sleep, or hangs, still has its lock; what does not answer loses it. */
  #listen(ms = this.#options.silenceMs ?? SILENCE_MS) {
    clearTimeout(this.#timer);
    if (this.#leaving.signal.aborted) return;
    this.#timer = setTimeout(() => (ms === ANSWER_MS ? this.#wantLock({ steal: true }) : this.#ask()), ms);
  }
}

/** A stream of events: EventSource's interface, and `state`, `change`, `reconnect`. */
export class SseClient extends EventTarget {
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSED = 2;

  onopen = null;
  onmessage = null;
  onerror = null;
  onstate = null;
  onevent = null;

  #options;
  #source = null;
  #state = null;
  #lastEventId;
  #keptAt = 0;
  #unlisten = [];

  constructor(url = "/sse", options = {}) {
    super();
    this.#options = {
      topics: [],
      types: [],
      envelope: false,
      json: false,
      shared: false,
      headers: {},
      withCredentials: false,
      resume: null,
      silenceMs: null,
      retryMinMs: 1_000,
      retryMaxMs: 30_000,
      goodMs: 60_000,
      fetch: (...request) => globalThis.fetch(...request),
      ...options,
      url: new URL(url, globalThis.location?.href),
    };
    this.#lastEventId = this.#options.lastEventId ?? this.#kept() ?? "";
    for (const type of ["open", "message", "error", "state"]) {
      this.addEventListener(type, (event) => this[`on${type}`]?.call(this, event));
    }
    this.#begin();
  }

  /** What EventSource calls it; `waiting` counts as connecting. */
  get readyState() {
    return { open: 1, closed: 2 }[this.#state] ?? 0;
  }

  /** `connecting`, `open`, `waiting` (to connect again) or `closed`. */
  get state() {
    return this.#state ?? "connecting";
  }

  /** The address of the next connection, with the position in it. */
  get url() {
    return address(this.#options, this.#lastEventId);
  }

  get withCredentials() {
    return this.#options.withCredentials;
  }

  /** The id of the newest event that this client has passed; a new client that is given it goes on from there. */
  get lastEventId() {
    return this.#lastEventId;
  }

  /** Reads other topics or types from now on. Nothing is lost in between: the new stream goes on from the same place. */
  change({ topics, types }) {
    if (topics !== undefined) this.#options.topics = topics;
    if (types !== undefined) this.#options.types = types;
    if (this.#state === "closed") return;
    const old = this.#source;
    this.#source = null;
    old?.close();
    this.#begin();
  }

  /** Connects now: after a login, for example, or without waiting any longer. */
  reconnect() {
    if (this.#source) this.#source.reconnect();
    else this.#begin();
  }

  close() {
    this.#source?.close();
    this.#source = null;
    for (const unlisten of this.#unlisten.splice(0)) unlisten();
    this.#keep();
    this.#become("closed");
  }

  #begin() {
    const on = {
      event: (event) => this.#received(event),
      position: (id) => this.#moveTo(id),
      state: (state, retryMs) => this.#source === source && this.#become(state, retryMs),
      error: (error) => this.dispatchEvent(happening("error", error)),
    };
    const Source = this.#options.shared && Share.isPossible() ? Share : Connection;
    let source;
    this.#become("connecting");
    this.#source = source = new Source({ ...this.#options }, this.#lastEventId, on);
    if (this.#unlisten.length > 0) return;
    this.#listen("online", () => this.#source?.wake(true));
    this.#listen("pageshow", () => this.#source?.wake(false));
    this.#listen("pagehide", () => this.#keep());
    this.#listen("visibilitychange", () => this.#source?.wake(false), globalThis.document);
  }

  #listen(type, listener, target = globalThis) {
    if (typeof globalThis.document === "undefined") return;
    target.addEventListener(type, listener);
    this.#unlisten.push(() => target.removeEventListener(type, listener));
  }

  #become(state, retryMs = null) {
    if (state === this.#state) return;
    this.#state = state;
    this.dispatchEvent(happening("state", { state, retryMs }));
    if (state === "open") this.dispatchEvent(happening("open"));
  }

  #received({ type, data, id }) {
    const { json, envelope, url } = this.#options;
    const isOwn = OWN_EVENTS.includes(type);
    const value = json || isOwn ? parsed(data) : undefined;
    const isEnveloped = json && envelope && !isOwn && Array.isArray(value?.topics);
    const content = isEnveloped ? value.data : value === undefined ? data : value;
    const message = new MessageEvent(type, { data: content, lastEventId: id, origin: url.origin });
    if (isEnveloped) Object.defineProperty(message, "topics", { value: value.topics, enumerable: true });
    this.#moveTo(id);
    this.onevent?.(message);
    this.dispatchEvent(message);
  }

  #moveTo(id) {
    this.#lastEventId = id;
    if (this.#options.resume && Date.now() - this.#keptAt >= KEEP_EVERY_MS) this.#keep();
  }

  /** The position of an earlier page load. */
  #kept() {
    try {
      return this.#options.resume ? globalThis.sessionStorage.getItem(`sse:${this.#options.resume}`) : null;
    } catch {
      return null;
    }
  }

  #keep() {
    if (!this.#options.resume) return;
    this.#keptAt = Date.now();
    try {
      globalThis.sessionStorage.setItem(`sse:${this.#options.resume}`, this.#lastEventId);
    } catch {
      // Where nothing can be kept, the next page load begins live.
    }
  }
}

/** A publish that was not accepted. */
export class PublishError extends Error {
  constructor(message, status) {
    super(message);
    this.name = "PublishError";
    this.status = status;
  }
}

/**
 * Publishes an event, or several as one batch, and returns the server's answer. What may be tried again is, with a key of its own,
 * so that it is one event however often.
 */
export async function publish(events, { url = "/sse/publish", token, retries = 3, fetch = globalThis.fetch, signal } = {}) {
  const keyed = (one) => ({ idempotency_key: crypto.randomUUID(), ...one });
  const body = JSON.stringify(Array.isArray(events) ? events.map(keyed) : keyed(events));
  const headers = { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) };
  for (let attempt = 0; ; attempt += 1) {
    let failed;
    let afterMs = 0;
    try {
      const response = await fetch(url, { method: "POST", headers, body, signal });
      const text = await response.text();
      if (response.ok) return JSON.parse(text);
      failed = new PublishError(parsed(text)?.detail ?? `refused with status ${response.status}`, response.status);
      afterMs = retryAfter(response.headers.get("retry-after"));
    } catch (error) {
      failed = error;
    }
    const isFinal = failed instanceof PublishError && failed.status !== 429 && failed.status < 500;
    if (isFinal || signal?.aborted || attempt >= retries) throw failed;
    const backoff = 1000 * 2 ** attempt * (0.5 + Math.random() / 2);
    await new Promise((resolve) => setTimeout(resolve, Math.max(backoff, Math.min(afterMs, RETRY_AFTER_MAX_MS))));
  }
}

/** Where a stream is, and from which event on. */
function address({ url, topics, types, envelope }, lastEventId) {
  const full = new URL(url);
  const set = (name, values) => {
    const list = [values].flat().join(",");
    if (list) full.searchParams.set(name, list);
  };
  set("topic", topics);
  set("types", types);
  set("envelope", envelope ? "1" : "");
  set("last_event_id", lastEventId);
  return full.href;
}

/** Whether the hub issued one id after the other: `<ms>-<seq>`, a pair of numbers. */
function isAfter(id, other) {
  const [ms, seq] = pair(id);
  const [otherMs, otherSeq] = pair(other);
  return ms > otherMs || (ms === otherMs && seq > otherSeq);
}

function pair(id) {
  return /^\d+-\d+$/.test(id) ? id.split("-").map(BigInt) : [-1n, -1n];
}

function happening(type, fields = {}) {
  return Object.assign(new Event(type), fields);
}

/** The value that a JSON text stands for; `undefined` if it is none. */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Milliseconds of a Retry-After, which is a number of seconds or a date. */
function retryAfter(value) {
  if (!value) return 0;
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return ms > 0 ? ms : 0;
}

export default SseClient;
