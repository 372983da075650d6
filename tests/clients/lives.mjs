// What a page with client.js lives through, in Chromium against the whole stack: a cut network, a restarted and a stopped server, a frozen
// and a crashed tab, other topics, page loads; and the client in a worker and in a shared one.
//   ORIGIN=… TOKEN=… SUPERVISORCTL=… CONTROL=… node lives.mjs
import assert from "node:assert/strict";
import { application } from "./app.mjs";
import { launchBrowser } from "./browser.mjs";
import { health, ORIGIN, publish, streams, supervisorctl, within } from "./stack.mjs";

const options = '{ json: true, retryMinMs: 50, retryMaxMs: 500, ...given }';
const files = {
  "/": `<!doctype html><title>app</title><link rel="icon" href="data:,"><script type="module">
    import { SseClient } from "/sse/client.js";
    window.read = (given) => {
      const reader = (window.reader = { events: [], states: [], errors: [], gapMs: 0 });
      const client = (reader.client = new SseClient("/sse", ${options}));
      client.addEventListener("message", ({ data }) => reader.events.push(data));
      client.addEventListener("state", ({ state }) => reader.states.push(state));
      client.addEventListener("error", ({ message }) => reader.errors.push(message));
      let last = performance.now();
      const tick = (now) => ((reader.gapMs = Math.max(reader.gapMs, now - last)), (last = now));
      setInterval(() => tick(performance.now()), 50);
    };
    window.work = (worker) => {
      window.worked = [];
      (worker.port ?? worker).onmessage = ({ data }) => window.worked.push(data);
      window.worker = worker;
    };
  </script>`,
  "/worker.js": `import { SseClient } from "/sse/client.js";
    const given = { topics: "worker", shared: true };
    const client = new SseClient("/sse", ${options});
    client.onopen = () => postMessage("open");
    client.onmessage = ({ data }) => postMessage(data);`,
  "/shared.js": `import { SseClient } from "/sse/client.js";
    const given = { topics: "shared" };
    const ports = new Set();
    const client = new SseClient("/sse", ${options});
    const say = (data) => ports.forEach((port) => port.postMessage(data));
    client.onopen = () => say("open");
    client.onmessage = ({ data }) => say(data);
    self.onconnect = ({ ports: [port] }) => (ports.add(port), client.state === "open" && port.postMessage("open"));`,
};
const app = await application(ORIGIN, files);

const browser = await launchBrowser();
const context = await browser.newContext();

async function tab() {
  const page = await context.newPage();
  await page.goto(`${app.url}/`);
  return page;
}
const read = (page, given) => page.evaluate((given) => window.read(given), given);
const events = (page) => page.evaluate(() => window.reader.events);
const states = (page) => page.evaluate(() => window.reader.states);
const isOpen = (page) => within("it is open", () => page.evaluate(() => window.reader.client.state === "open"));
const upTo = (count, from = 0) => Array.from({ length: count - from }, (_, n) => from + n);

async function publishAll(topic, numbers) {
  for (const n of numbers) await publish(topic, n);
}

async function heard(page, expected) {
  await within(`${expected.length} events`, async () => (await events(page)).length >= expected.length);
  assert.deepEqual(await events(page), expected);
}

const lives = {
  async "the network is cut, and nothing is lost"() {
    const page = await tab();
    await read(page, { topics: "cut" });
    await isOpen(page);
    await publishAll("cut", upTo(10));
    app.cut();
    await within("it notices", async () => (await states(page)).includes("waiting"));
    await publishAll("cut", upTo(20, 10));
    app.mend();
    await heard(page, upTo(20));
    await page.close();
  },
  async "the server is restarted under load, and nothing is lost"() {
    const page = await tab();
    await read(page, { topics: "restart" });
    await isOpen(page);
    let count = 0;
    let isOver = false;
    const load = (async () => {
      while (!isOver) await publish("restart", count++);
    })();
    for (let round = 0; round < 2; round += 1) {
      const before = count;
      await within("events flow", () => count > before + 20);
      await supervisorctl("restart", "sse-server");
    }
    isOver = true;
    await load;
    await heard(page, upTo(count));
    assert.ok((await states(page)).filter((state) => state === "open").length >= 2);
    await page.close();
  },
  async "the server hangs: after one and a half heartbeats of silence it is left, and found again"() {
    const page = await tab();
    await read(page, { topics: "silence" });
    await isOpen(page);
    await publishAll("silence", upTo(3));
    const pid = Number(await supervisorctl("pid", "sse-server"));
    process.kill(pid, "SIGSTOP");
    try {
      await within("it is told", () => page.evaluate(() => window.reader.errors.includes("nothing was heard for too long")));
    } finally {
      process.kill(pid, "SIGCONT");
    }
    await publishAll("silence", upTo(6, 3));
    await heard(page, upTo(6));
    await page.close();
  },
  async "a frozen tab hears everything once it is awake"() {
    const page = await tab();
    await read(page, { topics: "frozen" });
    await isOpen(page);
    await publishAll("frozen", upTo(5));
    await heard(page, upTo(5));
    // The browser does not freeze a page that it believes to be seen, and this one has no other: its process sleeps.
    const devtools = await browser.newBrowserCDPSession();
    const { processInfo } = await devtools.send("SystemInfo.getProcessInfo");
    const signal = (name) => processInfo.forEach(({ type, id }) => type === "renderer" && process.kill(id, name));
    const { heartbeat } = await health();
    signal("SIGSTOP");
    try {
      await publishAll("frozen", upTo(25, 5));
      // Longer than the silence after which a page that is awake would connect again.
      await within("heartbeats pass", async () => (await health()).heartbeat.sent >= heartbeat.sent + 3);
    } finally {
      signal("SIGCONT");
    }
    await heard(page, upTo(25));
    await publishAll("frozen", [25]);
    await heard(page, upTo(26));
    assert.ok((await page.evaluate(() => window.reader.gapMs)) > 1500);
    await within("one connection", async () => (await streams("frozen")) === 1);
    await page.close();
  },
  async "the tab with the shared connection crashes, and another takes over"() {
    const first = await tab();
    await read(first, { topics: "crash", shared: true });
    await isOpen(first);
    const others = [await tab(), await tab()];
    for (const page of others) {
      await read(page, { topics: "crash", shared: true });
      await isOpen(page);
    }
    await publishAll("crash", upTo(10));
    for (const page of [first, ...others]) await heard(page, upTo(10));
    assert.equal(await streams("crash"), 1);
    const crashed = first.waitForEvent("crash");
    (await context.newCDPSession(first)).send("Page.crash").catch(() => {});
    await publishAll("crash", upTo(30, 10));
    await crashed;
    for (const page of others) await heard(page, upTo(30));
    await within("one connection", async () => (await streams("crash")) === 1);
    for (const page of [first, ...others]) await page.close();
  },
  async "topics change while events come"() {
    const page = await tab();
    await read(page, { topics: ["change:a"] });
    await isOpen(page);
    for (const n of upTo(40)) {
      await publish("change:a", n);
      if (n % 10 === 5) await page.evaluate((topics) => window.reader.client.change({ topics }), ["change:a", `change:${n}`]);
    }
    await publish("change:35", "end");
    await heard(page, [...upTo(40), "end"]);
    await page.close();
  },
  async "the next page load goes on where the last one was"() {
    const page = await tab();
    await read(page, { topics: "load", resume: "load" });
    await isOpen(page);
    await publishAll("load", upTo(3));
    await heard(page, upTo(3));
    await page.goto("about:blank");
    await publishAll("load", upTo(6, 3));
    await page.goto(`${app.url}/`);
    await read(page, { topics: "load", resume: "load" });
    await heard(page, upTo(6, 3));
    await page.reload();
    await publish("load", 6);
    await read(page, { topics: "load", resume: "load" });
    await heard(page, [6]);
    await page.close();
  },
  async "a worker and its page share a connection"() {
    const page = await tab();
    await page.evaluate(() => window.work(new Worker("/worker.js", { type: "module" })));
    const worked = () => page.evaluate(() => window.worked);
    await within("the worker is open", async () => (await worked())[0] === "open");
    await read(page, { topics: "worker", shared: true });
    await isOpen(page);
    await publishAll("worker", upTo(10));
    assert.equal(await streams("worker"), 1);
    app.cut();
    await within("the page is told", async () => (await states(page)).includes("waiting"));
    await publishAll("worker", upTo(20, 10));
    app.mend();
    await heard(page, upTo(20));
    await within("the worker hears all", async () => (await worked()).filter(Number.isInteger).length >= 20);
    assert.deepEqual((await worked()).filter(Number.isInteger), upTo(20));
    await page.evaluate(() => window.worker.terminate());
    await publish("worker", 20);
    await heard(page, upTo(21));
    await page.close();
  },
  async "a shared worker has one connection for its tabs and outlives the first"() {
    const pages = [await tab(), await tab()];
    const worked = (page) => page.evaluate(() => window.worked);
    for (const page of pages) {
      await page.evaluate(() => window.work(new SharedWorker("/shared.js", { type: "module" })));
      await within("the worker is open", async () => (await worked(page))[0] === "open");
    }
    await publishAll("shared", upTo(5));
    for (const page of pages) {
      await within("it hears all", async () => (await worked(page)).length >= 6);
      assert.deepEqual(await worked(page), ["open", ...upTo(5)]);
    }
    assert.equal(await streams("shared"), 1);
    const [first, second] = pages;
    await first.close();
    await publishAll("shared", upTo(10, 5));
    await within("it goes on", async () => (await worked(second)).length >= 11);
    assert.deepEqual(await worked(second), ["open", ...upTo(10)]);
    assert.equal(await streams("shared"), 1);
    await second.close();
  },
};

for (const [what, live] of Object.entries(lives)) {
  const began = Date.now();
  await live().catch((error) => {
    console.error(`failed: ${what}`);
    throw error;
  });
  console.log(`${what}: ${Date.now() - began} ms`);
}
await browser.close();
app.close();
