// Tabs of one browser that share a connection: ten of them, the one that has it closed or hung, one that comes back late.
//   ORIGIN=http://127.0.0.1:PORT TOKEN=… node tabs.mjs
import assert from "node:assert/strict";
import { launchProfile, within as untilSo } from "./browser.mjs";

const { ORIGIN, TOKEN } = process.env;
const context = await launchProfile();
const trouble = [];

const within = (what, look) => untilSo(what, look).catch((error) => assert.fail(`${error.message}; said: ${trouble}`));

/** A tab with a page of the hub's origin, that reads `topic`. */
async function tab(topic, options = {}) {
  const page = await context.newPage();
  page.on("console", (message) => trouble.push(message.text()));
  page.on("pageerror", (error) => trouble.push(error.message));
  await page.route("**/blank", (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html><title>tab</title>" }));
  await page.goto(`${ORIGIN}/blank`);
  await page.evaluate(
    async ([topics, options]) => {
      const { SseClient } = await import("/sse/client.js");
      window.seen = [];
      window.client = new SseClient("/sse", { topics, shared: true, json: true, silenceMs: 3000, ...options });
      window.client.addEventListener("message", (event) => window.seen.push(event.data));
    },
    [topic, options],
  );
  return page;
}

const seen = (page) => page.evaluate(() => window.seen);
const isOpen = (page) => page.evaluate(() => window.client.state === "open");
const authorization = { Authorization: `Bearer ${TOKEN}` };

async function publish(topic, data) {
  const headers = { ...authorization, "Content-Type": "application/json" };
  const response = await fetch(`${ORIGIN}/sse/publish`, { method: "POST", headers, body: JSON.stringify({ topic, data }) });
  assert.equal(response.status, 200);
}

async function streams(topic) {
  const { connections } = await (await fetch(`${ORIGIN}/sse/connections?limit=1000`, { headers: authorization })).json();
  return connections.filter(({ topics }) => topics.includes(topic)).length;
}

async function all(pages, what, expected) {
  for (const page of pages) await within(what, async () => (await seen(page)).length >= expected.length);
  for (const page of pages) assert.deepEqual(await seen(page), expected, what);
}

/** Which of the pages has the connection. */
async function holder(pages) {
  return within("one of them has the connection", async () => {
    for (const page of pages) {
      const held = await page.evaluate(async () => {
        const { held } = await navigator.locks.query();
        return held.map(({ clientId }) => clientId);
      });
      const own = await page.evaluate(() =>
        navigator.locks.request("who", { ifAvailable: true }, async () => {
          const { held } = await navigator.locks.query();
          return held.find(({ name }) => name === "who")?.clientId;
        }),
      );
      if (held.includes(own)) return page;
    }
    return null;
  });
}

const topic = "tabs";
let tabs = [];
for (let n = 0; n < 10; n += 1) tabs.push(await tab(topic));
for (const page of tabs) await within("it is open", () => isOpen(page));
assert.equal(await streams(topic), 1);
const expected = [];
const next = async () => {
  expected.push(expected.length);
  await publish(topic, expected.at(-1));
};
for (let n = 0; n < 20; n += 1) await next();
await all(tabs, "ten tabs hear everything once", expected);
console.log("ten tabs, one connection");

for (let round = 0; round < 4; round += 1) {
  const gone = await holder(tabs);
  tabs = tabs.filter((page) => page !== gone);
  const closed = gone.close();
  for (let n = 0; n < 20; n += 1) await next();
  await closed;
  await all(tabs, "after the tab that had the connection was closed", expected);
  assert.equal(await streams(topic), 1);
}
console.log("the tab with the connection closed four times, nothing lost or doubled");

const first = await within("the first event's id", async () => (await fetch(`${ORIGIN}/sse/health`).then((answer) => answer.json())).history.oldest);
const late = await tab(topic, { lastEventId: first });
const [, ...missed] = expected;
await all([late], "one that comes late catches up", missed);
await next();
await all(tabs, "the others go on", expected);
await all([late], "and it with them", [...missed, expected.at(-1)]);
await within("one connection again", async () => (await streams(topic)) === 1);
console.log("one that came late caught up, with one connection in the end");

const hung = await holder([...tabs, late]);
const hanging = hung.evaluate(() => {
  const until = Date.now() + 15_000;
  while (Date.now() < until);
});
const awake = tabs.filter((page) => page !== hung);
for (let n = 0; n < 20; n += 1) await next();
await all(awake, "while the tab with the connection hangs", expected);
await hanging;
if (hung !== late) await all([hung], "it hears from another what it missed", expected);
await within("one connection in the end", async () => (await streams(topic)) === 1);
console.log("the tab with the connection hung, another took it");
assert.deepEqual(trouble, []);
await context.close();
