// What client.js does, in Node: against answers made here, and against a real hub behind a link that is cut.
//   ORIGIN=http://127.0.0.1:PORT TOKEN=… node --test client.test.mjs
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import net from "node:net";
import { test } from "node:test";
import { within } from "./within.mjs";

const { ORIGIN, TOKEN } = process.env;
// The file as it is served.
const source = await (await fetch(`${ORIGIN}/sse/client.js`)).text();
const { SseClient, Parser, publish, PublishError } = await import(`data:text/javascript,${encodeURIComponent(source)}`);

/** A server that answers with what the test says, and remembers what it was asked. */
async function serve(t, answer) {
  const asked = [];
  const server = createServer((request, response) => {
    asked.push(request);
    answer(response, request, asked.length);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${server.address().port}/sse`, asked };
}

const HEAD = { "Content-Type": "text/event-stream" };
const greeting = (id, heartbeat = 30) =>
  `retry: 50\nid: ${id}\nevent: connected\ndata: {"connection_id":"c","topics":[],"types":[],"heartbeat_seconds":${heartbeat},"last_event_id":"${id}"}\n\n`;
const quick = { retryMinMs: 20, retryMaxMs: 100 };

/** A client that notes everything, and is closed after its test. */
function connect(t, url, options, types = ["message", "tick"]) {
  const client = new SseClient(url, { ...quick, ...options });
  const seen = { events: [], states: [], errors: [] };
  for (const type of types) client.addEventListener(type, (event) => seen.events.push([event.lastEventId, event.data]));
  client.addEventListener("state", (event) => seen.states.push(event.state));
  client.addEventListener("error", ({ status, isFinal, message, retryMs }) => seen.errors.push({ status, isFinal, message, retryMs }));
  t.after(() => client.close());
  return { client, seen };
}

test("text is cut into events as the standard says, wherever it is cut into pieces", () => {
  const cases = [
    ["data: a\n\n", [["message", "a", ""]]],
    ["data:a\r\rdata: b\r\n\r\ndata:  c\n\n", [["message", "a", ""], ["message", "b", ""], ["message", " c", ""]]],
    ["data: a\ndata\ndata: \ndata:b\n\n", [["message", "a\n\n\nb", ""]]],
    ["data\n\n", [["message", "", ""]]],
    ["event: x\ndata: a\n\ndata: b\n\n", [["x", "a", ""], ["message", "b", ""]]],
    ["event: x\n\ndata: b\n\n", [["message", "b", ""]]],
    [": comment\nid: 1\ndata: a\n\nid\ndata: b\n\n", [["message", "a", "1"], ["message", "b", ""]]],
    ["id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n", [["message", "a", "1"], ["message", "b", "1"]]],
    ["id: 7\n\ndata: a\n\n", [["message", "a", "7"]]],
    ["data: a\nid: 3", []],
    ["data: a", []],
    ["unknown: x\ndata: a:b: c\n\n", [["message", "a:b: c", ""]]],
    ["data: \u{1f600}\u2028x\n\n", [["message", "\u{1f600}\u2028x", ""]]],
    ["data: a\r\n\r\n\r\n\ndata: b\r\r", [["message", "a", ""], ["message", "b", ""]]],
  ];
  for (const [text, expected] of cases) {
    for (let size = 1; size <= text.length; size += 1) {
      const events = [];
      const parser = new Parser({ event: ({ type, data, id }) => events.push([type, data, id]) });
      for (let at = 0; at < text.length; at += size) parser.push(text.slice(at, at + size));
      assert.deepEqual(events, expected, JSON.stringify({ text, size }));
    }
  }
  const retries = [];
  const parser = new Parser({ event() {}, retry: (ms) => retries.push(ms) });
  parser.push("retry: 50\nretry: 1.5\nretry: -1\nretry:\nretry: 7x\nretry:08\n\n");
  assert.deepEqual(retries, [50, 8]);
});

test("an event is there as soon as its last byte is, also after CR alone", () => {
  const events = [];
  const parser = new Parser({ event: ({ data }) => events.push(data) });
  parser.push("data: a\r\r");
  assert.deepEqual(events, ["a"]);
  parser.push("\n");
  parser.push("data: b\r");
  parser.push("\n");
  assert.deepEqual(events, ["a"]);
  parser.push("\n");
  assert.deepEqual(events, ["a", "b"]);
});

test("a byte order mark is no part of the first field, and characters are whole across reads", async (t) => {
  const bytes = Buffer.from("\ufeffdata: \u{1f600}ü\n\n");
  const { url } = await serve(t, async (response) => {
    response.writeHead(200, HEAD);
    for (const byte of bytes) {
      response.write(Buffer.of(byte));
      await new Promise(setImmediate);
    }
  });
  const { seen } = connect(t, url);
  await within("the event", () => seen.events.length === 1);
  assert.deepEqual(seen.events, [["", "\u{1f600}ü"]]);
});

test("a stream that ends is opened again behind the last id, and the server's own time to wait is kept", async (t) => {
  const { url, asked } = await serve(t, (response, _, n) => {
    response.writeHead(200, HEAD);
    response.write(greeting(`${n}-0`) + `id: ${n}-1\ndata: ${n}\n\n`);
    if (n < 3) response.end();
  });
  const { seen, client } = connect(t, `${url}?a=b`, { topics: ["job:*", "x"], types: "tick,message" });
  await within("the third stream", () => seen.events.length === 3);
  const first = "/sse?a=b&topic=job%3A*%2Cx&types=tick%2Cmessage";
  assert.deepEqual(asked.map(({ url }) => url), [first, `${first}&last_event_id=1-1`, `${first}&last_event_id=2-1`]);
  assert.equal(asked[0].headers.accept, "text/event-stream");
  assert.equal(seen.errors[0].retryMs, 50);
  assert.deepEqual(seen.states, ["open", "waiting", "connecting", "open", "waiting", "connecting", "open"]);
  assert.equal(client.readyState, SseClient.OPEN);
  client.close();
  assert.equal(client.readyState, SseClient.CLOSED);
});

test("429 and 503 are tried again, no sooner than they say and less and less often", async (t) => {
  const times = [];
  const { url } = await serve(t, (response, _, n) => {
    times.push(Date.now());
    if (n > 6) return response.writeHead(200, HEAD).write(greeting("1-0"));
    const headers = { "Content-Type": "application/problem+json", ...(n === 6 && { "Retry-After": "1" }) };
    response.writeHead(n % 2 ? 429 : 503, headers).end('{"detail":"the limit is 10"}');
  });
  const { seen } = connect(t, url, { retryMinMs: 40, retryMaxMs: 200 });
  await within("it is open", () => seen.states.includes("open"));
  const waits = seen.errors.map(({ retryMs }) => retryMs);
  const bounds = [40, 80, 160, 200, 200].map((most) => [most / 2, most]);
  for (const [n, [least, most]] of bounds.entries()) assert.ok(waits[n] >= least && waits[n] <= most, `${waits}`);
  assert.equal(waits[5], 1000);
  assert.ok(times[6] - times[5] >= 999, `${times}`);
  assert.deepEqual(seen.errors.map(({ status }) => status), [429, 503, 429, 503, 429, 503]);
  assert.ok(seen.errors.every(({ message, isFinal }) => message === "the limit is 10" && !isFinal));
});

test("401 and 403 are said once and not asked again, until the page says so", async (t) => {
  const { url, asked } = await serve(t, (response, _, n) => {
    if (n === 3) return response.writeHead(200, HEAD).write(greeting("1-0"));
    response.writeHead(n === 1 ? 401 : 403, { "Content-Type": "application/problem+json" }).end('{"detail":"who are you?"}');
  });
  const { seen, client } = connect(t, url);
  await within("it is refused", () => seen.errors.length === 1);
  assert.deepEqual(seen.errors, [{ status: 401, isFinal: true, message: "who are you?", retryMs: null }]);
  assert.equal(client.state, "closed");
  client.reconnect();
  await within("it is refused again", () => seen.errors.length === 2);
  client.reconnect();
  await within("it is open", () => client.state === "open");
  assert.equal(asked.length, 3);
});

test("what is no event stream is not read", async (t) => {
  const { url } = await serve(t, (response) => response.writeHead(200, { "Content-Type": "text/html" }).end("data: x\n\n"));
  const { seen, client } = connect(t, url);
  await within("it is refused", () => seen.errors.length === 1);
  assert.deepEqual([client.state, seen.errors[0].message, seen.events], ["closed", "the answer is no event stream", []]);
});

test("silence ends a stream after one and a half of the server's heartbeats", async (t) => {
  const { url, asked } = await serve(t, (response, _, n) => {
    response.writeHead(200, HEAD);
    response.write(greeting(`${n}-0`, 0.2));
  });
  const { seen } = connect(t, url);
  const began = Date.now();
  await within("a second stream", () => asked.length === 2);
  assert.ok(Date.now() - began >= 300, `${Date.now() - began}`);
  assert.equal(seen.errors[0].message, "nothing was heard for too long");
});

test("a server that never answers is given up too", async (t) => {
  const { url, asked } = await serve(t, () => {});
  connect(t, url, { silenceMs: 100 });
  await within("it asks again", () => asked.length >= 2);
});

test("a goodbye's time is when it comes back", async (t) => {
  const { url } = await serve(t, (response, _, n) => {
    response.writeHead(200, HEAD);
    response.write(greeting(`${n}-0`));
    if (n === 1) response.end('retry: 321\nevent: shutdown\ndata: {"retry_ms":321}\n\n');
  });
  const { seen } = connect(t, url);
  await within("it is back", () => seen.states.filter((state) => state === "open").length === 2);
  assert.equal(seen.errors[0].retryMs, 321);
});

test("JSON becomes values, with the topics beside them, and what is none stays text", async (t) => {
  const { url } = await serve(t, (response) => {
    response.writeHead(200, HEAD);
    response.write(`${greeting("1-0")}data: {"topics":["a"],"data":{"n":1}}\n\ndata: {"topics":["b"],"data":null}\n\ndata: plain\n\n`);
  });
  const { client } = connect(t, url, { json: true, envelope: true });
  const seen = [];
  client.onmessage = ({ data, topics }) => seen.push([topics, data]);
  await within("three events", () => seen.length === 3);
  assert.deepEqual(seen, [[["a"], { n: 1 }], [["b"], null], [undefined, "plain"]]);
  assert.match(client.url, /envelope=1/);
});

test("headers may be made for each attempt", async (t) => {
  const { url, asked } = await serve(t, (response) => response.writeHead(503).end());
  let n = 0;
  connect(t, url, { headers: async () => ({ Authorization: `Bearer ${(n += 1)}` }) });
  await within("two attempts", () => asked.length >= 2);
  assert.deepEqual(asked.slice(0, 2).map(({ headers }) => headers.authorization), ["Bearer 1", "Bearer 2"]);
});

test("a publish is repeated with its key until it is answered, and a refusal is not", async (t) => {
  const bodies = [];
  const { url } = await serve(t, async (response, request, n) => {
    let body = "";
    for await (const piece of request) body += piece;
    bodies.push(body);
    if (n === 1) return response.destroy();
    if (n === 2) return response.writeHead(503).end('{"detail":"draining"}');
    response.writeHead(n === 3 ? 200 : 413).end(n === 3 ? '{"id":"1-0","receivers":1}' : '{"detail":"too large"}');
  });
  assert.deepEqual(await publish({ topic: "a", data: 1 }, { url, token: "t" }), { id: "1-0", receivers: 1 });
  assert.equal(new Set(bodies).size, 1);
  assert.match(JSON.parse(bodies[0]).idempotency_key, /^[0-9a-f-]{36}$/);
  await assert.rejects(publish([{ topic: "a", data: 1 }], { url }), new PublishError("too large", 413));
  assert.equal(bodies.length, 4);
});

/** A link to the hub that can be cut. */
async function link(t) {
  const { hostname, port } = new URL(ORIGIN);
  const open = new Set();
  const server = net.createServer((client) => {
    const hub = net.connect(Number(port), hostname);
    for (const [from, to] of [[client, hub], [hub, client]]) {
      open.add(from);
      from.on("error", () => {}).on("close", () => (open.delete(from), to.destroy()));
      from.pipe(to);
    }
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const cut = () => open.forEach((socket) => socket.destroy());
  t.after(() => (cut(), server.close()));
  return { url: `http://127.0.0.1:${server.address().port}/sse`, cut, open };
}

const hub = { url: `${ORIGIN}/sse/publish`, token: TOKEN };

test("nothing is lost or doubled while the link is cut again and again and the topics change", async (t) => {
  const { url, cut } = await link(t);
  const { client, seen } = connect(t, url, { topics: "cut:a", json: true });
  await within("it is open", () => client.state === "open");
  const expected = [];
  for (let n = 0; n < 200; n += 1) {
    await publish({ topic: "cut:a", data: n }, hub);
    expected.push(n);
    if (n % 20 === 10) cut();
    if (n === 100) client.change({ topics: ["cut:a", "cut:b"] });
  }
  await publish({ topic: "cut:b", data: "end" }, hub);
  await within("everything", () => seen.events.length > expected.length);
  assert.deepEqual(seen.events.map(([, data]) => data), [...expected, "end"]);
});

test("another page goes on where the first one was", async (t) => {
  const first = connect(t, `${ORIGIN}/sse`, { topics: "page" });
  await within("it is open", () => first.client.state === "open");
  await publish({ topic: "page", data: "one" }, hub);
  await within("the first event", () => first.seen.events.length === 1);
  first.client.close();
  await publish([{ topic: "page", data: "two" }, { topic: "page", data: "three" }], hub);
  const second = connect(t, `${ORIGIN}/sse`, { topics: "page", lastEventId: first.client.lastEventId });
  await within("the rest", () => second.seen.events.length === 2);
  assert.deepEqual(second.seen.events.map(([, data]) => data), ["two", "three"]);
});

test("a position that the hub never reached is told as a reset", async (t) => {
  const { client, seen } = connect(t, `${ORIGIN}/sse`, { lastEventId: "99999999999999-0" }, ["reset"]);
  await within("the reset", () => seen.events.length === 1);
  assert.equal(seen.events[0][1].reason, "unknown_id");
  await within("it is open", () => client.state === "open");
});
