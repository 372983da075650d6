// Reads a stream with Chromium's own EventSource, in a page of the stack's origin; prints one JSON line for each event.
//   chromium.mjs ORIGIN PATH COUNT
// Runs until COUNT events came, or for ever if COUNT is 0.
import { launchProfile } from "./browser.mjs";

const [origin, path, count] = process.argv.slice(2);
const context = await launchProfile({ handleSIGTERM: false });
process.on("SIGTERM", async () => {
  await context.close();
  process.exit(0);
});
const page = await context.newPage();
let seen = 0;
let done;
const finished = new Promise((resolve) => (done = resolve));
await page.exposeFunction("show", (line) => {
  console.log(line);
  if (JSON.parse(line).counted && ++seen === Number(count)) done();
});
// A page as an application would serve it: what the hub answers itself forbids everything to whoever takes it for a page.
await page.route("**/blank", (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html><title>page</title>" }));
await page.goto(`${origin}/blank`);
await page.evaluate((path) => {
  const source = new EventSource(path);
  const note = (event) =>
    window.show(
      JSON.stringify({
        id: event.lastEventId,
        event: event.type,
        data: event.data,
        at: Date.now(),
        counted: !["connected", "heartbeat"].includes(event.type),
      }),
    );
  for (const type of ["message", "connected", "heartbeat", "reset", "shutdown", "tick"]) source.addEventListener(type, note);
  source.onopen = () => window.show(JSON.stringify({ open: true }));
  source.onerror = () => window.show(JSON.stringify({ error: source.readyState === 2 ? "closed for good" : "reconnecting" }));
}, path);
await finished;
await context.close();
