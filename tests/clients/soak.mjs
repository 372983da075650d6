// A page in Chromium for a long time, the server restarted again and again, events published all the while: what was answered is what
// the page has, in order.
//   ORIGIN=… TOKEN=… SUPERVISORCTL=… CONTROL=… SECONDS=1800 RESTART_SECONDS=60 node soak.mjs
import assert from "node:assert/strict";
import { application } from "./app.mjs";
import { launchBrowser } from "./browser.mjs";
import { ORIGIN, publish, supervisorctl, within } from "./stack.mjs";

const [lastsMs, restartMs] = [process.env.SECONDS, process.env.RESTART_SECONDS].map((seconds) => Number(seconds) * 1000);
/** Between two publishes. */
const PAUSE_MS = 20;
const html = `<!doctype html><title>soak</title><link rel="icon" href="data:,"><script type="module">
  import { SseClient } from "/sse/client.js";
  window.seen = [];
  window.opened = 0;
  window.client = new SseClient("/sse", { topics: "soak", json: true, shared: true });
  client.onmessage = ({ data, lastEventId }) => window.seen.push([data, lastEventId]);
  client.onopen = () => (window.opened += 1);
</script>`;
const app = await application(ORIGIN, { "/": html });

const browser = await launchBrowser();
const page = await browser.newPage();
const trouble = [];
page.on("pageerror", (error) => trouble.push(error.message));
await page.goto(`${app.url}/`);
await within("it is open", () => page.evaluate(() => window.client.state === "open"));

const began = Date.now();
const published = [];
let isOver = false;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const load = (async () => {
  while (!isOver) {
    const { id } = await publish("soak", published.length);
    published.push([published.length, id]);
    await pause(PAUSE_MS);
  }
})();
const opened = () => page.evaluate(() => window.opened);
let restarts = 0;
while (Date.now() - began + restartMs <= lastsMs) {
  await pause(restartMs);
  await supervisorctl("restart", "sse-server");
  restarts += 1;
  await within("the page is back", async () => (await opened()) > restarts);
}
await pause(Math.max(0, began + lastsMs - Date.now()));
isOver = true;
await load;
await within("the page has everything", async () => (await page.evaluate(() => window.seen.length)) >= published.length, 60_000);
const seen = await page.evaluate(() => window.seen);
assert.deepEqual(seen, published);
assert.ok(restarts > 0);
assert.deepEqual(trouble, []);
const seconds = Math.round((Date.now() - began) / 1000);
console.log(`${seconds} s, ${restarts} restarts: ${published.length} events published, ${seen.length} received, equal and in order`);
await browser.close();
app.close();
