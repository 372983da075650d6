// Seven tabs of one browser, each with a plain EventSource on the same host: over HTTP/2 all are live at once, over HTTP/1.1
// six are, and the seventh waits until one of them goes.
//   PLAIN=http://localhost:PORT TLS=https://localhost:PORT TOKEN=… node seven-tabs.mjs
import assert from "node:assert/strict";
import { launchProfile, within } from "./browser.mjs";

const { PLAIN, TLS, TOKEN } = process.env;
const TABS = 7;
const context = await launchProfile({ ignoreHTTPSErrors: true });

const headers = { Authorization: `Bearer ${TOKEN}`, "Content-Type": "application/json" };

async function publish(data) {
  const body = JSON.stringify({ topic: "tabs", data });
  const answer = await fetch(`${PLAIN.replace("localhost", "127.0.0.1")}/sse/publish`, { method: "POST", headers, body });
  assert.equal(answer.status, 200);
  return (await answer.json()).receivers;
}

/** Tabs of an origin, each with its stream; the first `live` of them are open. */
async function open(origin, live) {
  const pages = [];
  for (let n = 0; n < TABS; n += 1) {
    const page = await context.newPage();
    await page.route("**/blank", (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html><title>tab</title>" }));
    await page.goto(`${origin}/blank`);
    await page.evaluate(() => {
      window.seen = [];
      window.source = new EventSource("/sse?topic=tabs");
      window.source.onmessage = (event) => window.seen.push(event.data);
    });
    if (n < live) await within(`tab ${n + 1} of ${origin} is open`, () => isOpen(page));
    pages.push(page);
  }
  return pages;
}

const isOpen = (page) => page.evaluate(() => window.source.readyState === EventSource.OPEN);
const seen = (page) => page.evaluate(() => window.seen);

/** What the browser says it spoke. */
async function protocol(page) {
  await page.evaluate(async () => (await fetch("/sse/health/live")).text());
  return within("the browser has noted the request", () =>
    page.evaluate(() => performance.getEntriesByType("resource").find(({ name }) => name.endsWith("/sse/health/live"))?.nextHopProtocol),
  );
}

const secure = await open(TLS, TABS);
assert.equal(await protocol(secure[0]), "h2");
assert.equal(await publish("h2"), TABS);
for (const page of secure) await within("each hears the event", async () => (await seen(page)).length === 1);
assert.deepEqual(await Promise.all(secure.map(isOpen)), Array(TABS).fill(true));
console.log(`HTTP/2: ${TABS} of ${TABS} streams are live`);
for (const page of secure) await page.close();
await within("their places are free", async () => (await publish("nobody")) === 0);

const plain = await open(PLAIN, TABS - 1);
const waiting = plain.at(-1);
assert.equal(await publish("first"), TABS - 1);
for (const page of plain.slice(0, -1)) await within("six hear the event", async () => (await seen(page)).length === 1);
assert.deepEqual([await isOpen(waiting), await seen(waiting)], [false, []]);
console.log(`HTTP/1.1: ${TABS - 1} of ${TABS} streams are live, one waits for a connection`);
await plain[0].close();
await within("the seventh is open once another has gone", () => isOpen(waiting));
await within("it is the sixth", async () => (await publish("second")) === TABS - 1);
await within("it hears what comes", async () => (await seen(waiting)).includes("second"));
console.log("the one that waited is live once another tab is closed");
await context.close();
