// The page for trying the stream by hand.
import { OWN_EVENTS, SseClient, publish } from "/sse/client.js";

/** The newest that are shown; what came before is not kept. */
const ROWS_MAX = 200;

const by = (id) => document.getElementById(id);
const fields = by("subscribe").elements;
let client = null;
let count = 0;
/** When the events were published that this page waits for, by id, and those that came before the answer did. */
const published = new Map();
const received = new Map();

by("subscribe").addEventListener("submit", (event) => {
  event.preventDefault();
  connect();
});
by("disconnect").addEventListener("click", () => client?.close());
by("clear").addEventListener("click", () => {
  by("events").replaceChildren();
  by("none").hidden = false;
});

function connect() {
  client?.close();
  const types = fields.types.value.split(",").map((type) => type.trim()).filter(Boolean);
  const envelope = fields.envelope.checked;
  const after = fields.after.value.trim();
  const mine = (client = new SseClient("/sse", {
    topics: fields.topics.value.replace(/\s/g, "") || "*",
    types,
    envelope,
    ...(after && { lastEventId: after }),
  }));
  mine.addEventListener("state", ({ state, retryMs }) => mine === client && showState(state, retryMs));
  mine.addEventListener("error", ({ message, status, isFinal }) => {
    if (mine === client && (status || isFinal)) addRow("error", "", status ? `${status}: ${message}` : message);
  });
  for (const type of OWN_EVENTS) mine.addEventListener(type, (event) => mine === client && showOwn(event));
  mine.onevent = (event) => mine === client && !OWN_EVENTS.includes(event.type) && show(event, envelope);
  showState(mine.state);
  by("disconnect").disabled = false;
}

function showState(state, retryMs) {
  by("state").dataset.state = state;
  by("state").textContent = state === "waiting" ? `waiting, again in ${(retryMs / 1000).toFixed(1)} s` : state;
  by("disconnect").disabled = state === "closed";
  if (state === "closed") by("connection").textContent = "none";
}

function showOwn({ type, data, lastEventId }) {
  by("position").textContent = lastEventId || "none";
  if (type === "connected") by("connection").textContent = `${data.connection_id}, heartbeats every ${data.heartbeat_seconds} s`;
  if (fields.own.checked || type === "reset" || type === "shutdown") addRow(type, lastEventId, JSON.stringify(data));
}

function show({ type, data, lastEventId }, envelope) {
  by("count").textContent = String((count += 1));
  by("position").textContent = lastEventId;
  let topics = "";
  let text = data;
  if (envelope) {
    const wrapped = JSON.parse(data);
    topics = wrapped.topics.join(", ");
    text = typeof wrapped.data === "string" ? wrapped.data : JSON.stringify(wrapped.data);
  }
  addRow(type, lastEventId, text, topics);
  received.set(lastEventId, performance.now());
  measure(lastEventId);
}

/** The event and the answer to its publish may come in either order. */
function measure(id) {
  const [from, to] = [published.get(id), received.get(id)];
  if (from !== undefined && to !== undefined) by("latency").textContent = `${Math.max(0, to - from).toFixed(1)} ms`;
  for (const times of [published, received]) if (times.size > ROWS_MAX) times.delete(times.keys().next().value);
}

/** Rows that the next frame shows: at a thousand events a second the page must still answer. */
let rows = [];

function addRow(type, id, data, topics = "") {
  if (by("pause").checked) return;
  if (rows.length === 0) requestAnimationFrame(showRows);
  rows.push([new Date().toISOString().slice(11, 23), id, type, topics, data]);
  if (rows.length > 2 * ROWS_MAX) rows = rows.slice(-ROWS_MAX);
}

function showRows() {
  const fresh = rows.splice(0).slice(-ROWS_MAX).reverse().map((texts) => {
    const row = document.createElement("tr");
    for (const text of texts) row.insertCell().textContent = text;
    return row;
  });
  by("none").hidden = true;
  by("events").prepend(...fresh);
  while (by("events").rows.length > ROWS_MAX) by("events").deleteRow(-1);
}

by("publish").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { token, topic, event: type, data } = event.target.elements;
  let value = data.value;
  try {
    value = JSON.parse(value);
  } catch {
    // Text is sent as it is.
  }
  const body = { topic: topic.value.trim(), data: value, ...(type.value.trim() && { event: type.value.trim() }) };
  const began = performance.now();
  try {
    const { id, receivers } = await publish(body, { token: token.value.trim(), retries: 0 });
    published.set(id, began);
    measure(id);
    say(`published as ${id} to ${receivers} ${receivers === 1 ? "stream" : "streams"}`);
  } catch (error) {
    say(error.status ? `${error.status}: ${error.message}` : error.message, true);
  }
});

function say(text, isFailed = false) {
  by("answer").textContent = text;
  by("answer").toggleAttribute("data-failed", isFailed);
}

connect();
