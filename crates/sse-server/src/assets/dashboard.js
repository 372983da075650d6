// The page with the figures, live; for who has the publish token also the programs and the connections.
import { SseClient } from "/sse/client.js";
import { Plot } from "/sse/plot.js";

/** How often programs and connections are asked for while somebody looks. */
const OPERATOR_EVERY_MS = 5_000;
/** Connections shown at first, and added each time. */
const CONNECTIONS_STEP = 100;
/** The most that one answer of the server holds. */
const CONNECTIONS_MAX = 1_000;

const by = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const small = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const count = (value) => (value < 10 ? small : number).format(value);
const percent = (value) => `${small.format(value)} %`;

function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit += 1) value /= 1024;
  return `${count(value)} ${units[unit]}`;
}

function time(ms) {
  if (ms >= 1000) return `${small.format(ms / 1000)} s`;
  return ms > 0 && ms < 1 ? `${number.format(ms * 1000)} µs` : `${count(ms)} ms`;
}

function duration(seconds) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([size]) => seconds >= size);
  if (first < 0) return "0 s";
  return parts.slice(first, first + 2).map(([size, name], n) => `${Math.floor(n ? (seconds % parts[first][0]) / size : seconds / size)} ${name}`).join(" ");
}

/** The plots: a title, what its lines are, how a value is written, and its values of one sample. */
const PLOTS = [
  { title: "Streams open", series: ["open"], format: count, least: 5, of: ({ health }) => [health.connections.active] },
  { title: "Events a second", series: ["published"], format: count, of: ({ rates }) => [rates.events_per_second] },
  { title: "Deliveries a second", series: ["delivered"], format: count, of: ({ rates }) => [rates.deliveries_per_second] },
  { title: "Delivery latency", series: ["p50", "p99"], format: time, of: ({ rates }) => [rates.delivery_ms.p50, rates.delivery_ms.p99] },
  { title: "Memory", series: ["resident"], format: bytes, least: 1 << 20, isBinary: true, of: ({ health }) => [health.system.memory_bytes] },
  { title: "CPU, 100 % is one core", series: ["used"], format: percent, least: 5, of: ({ health }) => [health.system.cpu_percent] },
  { title: "Saved by compression", series: ["saved"], format: percent, least: 100, of: ({ rates }) => [rates.saved_percent] },
  {
    title: "Refused a second",
    series: ["server full", "address full", "no token", "too often"],
    format: count,
    of: ({ rates: { refused, seconds } }) =>
      [refused.pool_full, refused.per_ip, refused.unauthorized, refused.rate_limited].map((value) => (seconds > 0 ? value / seconds : 0)),
  },
];
for (const plot of PLOTS) plot.plot = new Plot(by("plots").appendChild(document.createElement("figure")), plot);

/** Changes the text of an element only where it is another one, so that nobody is told the same again. */
function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Says it to who does not see the page: only what matters, and once. */
function announce(text) {
  set(by("said"), text);
}

/** Rows that stay where they are and change in place: `[key, texts]`, keyed by what they are about. */
function rows(body, list, make) {
  const old = new Map([...body.children].map((row) => [row.dataset.key, row]));
  list.forEach(([key, ...texts], n) => {
    const row = old.get(key) ?? make(texts.length);
    old.delete(key);
    row.dataset.key = key;
    texts.forEach((text, n) => set(row.cells[n], text));
    if (body.children[n] !== row) body.insertBefore(row, body.children[n] ?? null);
  });
  for (const row of old.values()) row.remove();
}

function plainRow(cells) {
  const row = document.createElement("tr");
  const head = row.appendChild(document.createElement("th"));
  head.scope = "row";
  while (row.cells.length < cells) row.insertCell();
  return row;
}

const REASONS = {
  pool_full: "the server is full", per_ip: "the address is full", unauthorized: "no right token or session", rate_limited: "too often",
  client: "the client went", slow: "too slow for the history", idle: "took no byte", drain: "the server drained",
  kicked: "ended by hand", expired: "the grant was over",
};
const reasons = (counts) => Object.entries(counts).map(([key, value]) => [key, REASONS[key] ?? key, number.format(value)]);

let newest = null;

function show(figures) {
  if (newest === null) requestAnimationFrame(draw);
  newest = figures;
  if (figures.rates) {
    const at = Date.now();
    for (const { plot, of } of PLOTS) plot.add(at, of(figures));
  }
}

/** A sample is drawn once, however many came while the page was not seen. */
function draw() {
  if (newest === null) return;
  const { health } = newest;
  newest = null;
  for (const { plot } of PLOTS) plot.draw();
  if (by("health").textContent !== health.status) announce(`Health: ${[health.status, ...health.reasons].join("; ")}`);
  set(by("health"), health.status);
  by("health").dataset.status = health.status;
  const said = [...by("reasons").children].map((item) => item.textContent);
  if (said.join("\n") !== health.reasons.join("\n")) {
    by("reasons").replaceChildren(...health.reasons.map((reason) => Object.assign(document.createElement("li"), { textContent: reason })));
  }
  const { connections, events, history, system, heartbeat, compression } = health;
  facts([
    ["Version", health.version],
    ["Up for", duration(health.uptime_seconds)],
    ["Streams", `${number.format(connections.active)} of ${connections.max || "any number"} open; peak ${number.format(connections.peak)}, ${number.format(connections.total)} in all`],
    ["Addresses", `${number.format(connections.addresses)}; the limit of each is ${connections.per_ip_limit ? `${connections.per_ip_limit} streams` : "off"}`],
    ["Events", `${number.format(events.published)} published, ${number.format(events.delivered)} delivered, ${number.format(events.replayed)} replayed`],
    ["Sent", bytes(events.bytes_sent)],
    ["History", `${number.format(history.events)} events, ${bytes(history.bytes)}, ${history.kind === "disk" ? "on disk" : "in memory"}`],
    ["Compression", compression.enabled ? `${number.format(compression.streams)} streams, ${percent(compression.saved_percent)} saved` : "off"],
    ["Heartbeats", `every ${heartbeat.interval_seconds} s, ${number.format(heartbeat.sent)} sent`],
    ["Memory", `${bytes(system.memory_bytes)}; ${percent(system.memory_percent)} of all in use`],
    ["Open files", `${number.format(system.open_files)} of ${number.format(system.open_files_max)}`],
    ["Load", system.load_average.map((load) => load.toFixed(2)).join(", ")],
  ]);
  rows(by("refused"), reasons(connections.rejected), plainRow);
  rows(by("closed"), reasons(connections.closed), plainRow);
  if (by("table").open) tabulate();
}

function facts(list) {
  const dl = by("facts");
  list.forEach(([name, value], n) => {
    const pair = dl.children[n] ?? dl.appendChild(document.createElement("div"));
    if (!pair.firstChild) pair.append(document.createElement("dt"), document.createElement("dd"));
    set(pair.firstChild, name);
    set(pair.lastChild, value);
  });
}

function tabulate() {
  const list = PLOTS.flatMap(({ title, series, plot }) =>
    plot.summary().map(({ name, now, least, most }) => [`${title} ${name}`, series.length > 1 ? `${title}, ${name}` : title, now, least, most]),
  );
  rows(by("numbers"), list, plainRow);
}
by("table").addEventListener("toggle", tabulate);

let wasOpen = null;
const client = new SseClient("/sse/dashboard/feed", { json: true, shared: true });
client.addEventListener("figures", ({ data }) => show(data));
client.addEventListener("state", ({ state, retryMs }) => {
  by("state").dataset.state = state;
  set(by("state"), state === "waiting" ? `waiting, again in ${(retryMs / 1000).toFixed(1)} s` : state === "open" ? "live" : state);
  if (state === "open" && wasOpen === false) announce("The figures are live again.");
  if (state !== "open" && wasOpen) announce("The figures are not live: the server does not answer.");
  if (state === "open" || wasOpen !== null) wasOpen = state === "open";
});
client.addEventListener("error", ({ isFinal, status, message }) => {
  if (!isFinal) return;
  set(by("state"), status === 401 || status === 403 ? "closed: log in again and load this page" : `closed: ${message}`);
  announce(by("state").textContent);
});

/** Kept here and nowhere else. */
let token = null;
let shown = CONNECTIONS_STEP;
let timer;

by("operator").addEventListener("submit", (event) => {
  event.preventDefault();
  token = event.target.elements.token.value.trim();
  shown = CONNECTIONS_STEP;
  refresh();
});
by("forget").addEventListener("click", () => {
  forget();
  say("The token is forgotten.");
  by("operator").elements.token.focus();
});
by("more").addEventListener("click", () => {
  shown = Math.min(shown + CONNECTIONS_STEP, CONNECTIONS_MAX);
  refresh();
});
document.addEventListener("visibilitychange", () => document.hidden || refresh());

function forget() {
  token = null;
  clearTimeout(timer);
  by("operator").reset();
  by("forget").disabled = true;
  for (const section of document.querySelectorAll("[data-operator]")) section.hidden = true;
  for (const id of ["programs", "connections"]) by(id).replaceChildren();
}

function say(text, isFailed = false) {
  set(by("answer"), text);
  by("answer").toggleAttribute("data-failed", isFailed);
}

async function ask(path) {
  const response = await fetch(path, { headers: { Authorization: `Bearer ${token}` }, cache: "no-store" });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error(answer.detail ?? "refused"), { status: response.status });
  return answer;
}

async function refresh() {
  clearTimeout(timer);
  if (token === null || document.hidden) return;
  const mine = token;
  try {
    const [programs, connections] = await Promise.all([ask("/sse/dashboard/programs"), ask(`/sse/connections?limit=${shown}`)]);
    if (token !== mine) return;
    showPrograms(programs);
    showConnections(connections);
    for (const section of document.querySelectorAll("[data-operator]")) section.hidden = false;
    by("forget").disabled = false;
    say("Programs and connections are shown below.");
  } catch (error) {
    if (token !== mine) return;
    if (error.status === 401) forget();
    say(error.status ? `${error.status}: ${error.message}` : "The server does not answer; this page goes on asking.", true);
  }
  clearTimeout(timer);
  if (token !== null) timer = setTimeout(refresh, OPERATOR_EVERY_MS);
}

function showPrograms({ programs, reason }) {
  set(by("programs-none"), programs ? (programs.length > 0 ? "" : "supervisord has no programs.") : `Not reachable: ${reason}.`);
  const list = by("programs");
  const old = new Map([...list.children].map((item) => [item.dataset.key, item]));
  for (const program of programs ?? []) {
    const key = `${program.group}:${program.name}`;
    const called = program.group === program.name ? program.name : key;
    const item = old.get(key) ?? list.appendChild(programItem(key, called));
    old.delete(key);
    const [name, state, description] = item.querySelector("p").children;
    set(name, called);
    set(state, program.state + (program.ready === false ? ", not ready" : ""));
    state.dataset.program = program.state;
    set(description, program.description);
    for (const channel of ["stdout", "stderr"]) {
      set(item.querySelector(`[data-channel=${channel}]`), program[channel].join("\n") || "nothing");
    }
  }
  for (const item of old.values()) item.remove();
}

function programItem(key, called) {
  const item = document.createElement("li");
  item.dataset.key = key;
  const line = item.appendChild(document.createElement("p"));
  line.append(document.createElement("strong"), document.createElement("span"), document.createElement("span"));
  for (const [channel, title] of [["stderr", `${called}: last lines of its errors`], ["stdout", `${called}: last lines of its output`]]) {
    const details = item.appendChild(document.createElement("details"));
    details.appendChild(document.createElement("summary")).textContent = title;
    const pre = details.appendChild(document.createElement("pre"));
    pre.dataset.channel = channel;
    pre.tabIndex = 0;
    pre.setAttribute("role", "region");
    pre.setAttribute("aria-label", title);
  }
  return item;
}

function showConnections({ connections, next }) {
  const one = connections.length === 1 ? "stream" : "streams";
  set(by("connections-count"), next ? `The first ${connections.length} streams by id; there are more.` : `${connections.length} ${one}.`);
  by("more").hidden = !next || shown >= CONNECTIONS_MAX;
  const list = connections.map((stream) => [
    stream.id, stream.address, stream.topics.join(", "), stream.types.join(", ") || "all",
    new Date(stream.connected_at).toLocaleTimeString("en-GB"), number.format(stream.events), bytes(stream.bytes), number.format(stream.lag),
    stream.encoding, stream.user_agent ?? "not told",
  ]);
  rows(by("connections"), list, connectionRow);
}

/** On a phone a row is a block, which must not keep it from being a row: so the roles are said. */
function connectionRow(cells) {
  const row = document.createElement("tr");
  row.setAttribute("role", "row");
  const titles = [...document.querySelectorAll("thead [role=columnheader]")].map((head) => head.textContent);
  for (let n = 0; n < cells; n += 1) {
    const cell = row.insertCell();
    cell.setAttribute("role", "cell");
    cell.dataset.title = titles[n];
  }
  return row;
}
